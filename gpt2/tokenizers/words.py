"""GPT-2's way to cut a text into words; no token reaches from one word into the next.

A word is a contraction, or letters, or numbers, or other signs, each with at most one space before it; or white space. The
last space of a run goes to the word that follows. Source: OpenAI's `encoder.py`, github.com/openai/gpt-2, 2019.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from gpt2.tokenizers.unicode import LETTERS, NUMBERS, WHITE_SPACE, character_classes

CHUNK = 1 << 18
"""How many characters are cut at a time: words are many small objects, and a list of all of them would be large."""


def words(text: str) -> Iterator[list[str]]:
    """The words of a text, in order, a chunk of them at a time; joined, they are the text."""
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > CHUNK:  # white space after something else: no word reaches over that
            border = _border().search(text, start + CHUNK)
            end = border.end() if border else end
        yield _pattern().findall(text, start, end)
        start = end


@functools.cache
def _pattern() -> re.Pattern[str]:
    r"""GPT-2's pattern, `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, for Python's `re`.

    `re` looks a character up in a table if all of a class are below U+10000, and otherwise tries hundreds of ranges, one
    after another, at the end of every word. So each class is two, and the second is tried only on characters from there on.
    Nothing is possessive: Python 3.11.2 loses its place in a group that is.
    """
    (s, _), (L, above_L), (N, above_N) = map(character_classes, (WHITE_SPACE, LETTERS, NUMBERS))
    above = r"\U00010000-\U0010ffff"

    def run(below_of: str, above_of: str) -> str:
        beyond = rf"(?=[{above}])[{above_of}]+[{below_of}]*"
        return rf" ?(?:[{below_of}]+|{beyond})(?:{beyond})*"

    letters, numbers = run(L, above_L), run(N, above_N)
    others = run(f"^{s}{L}{N}{above}", rf"^\0-\uffff{above_L}{above_N}")
    return re.compile(rf"'s|'t|'re|'ve|'m|'ll|'d|{letters}|{numbers}|{others}|[{s}]+(?![^{s}])|[{s}]+")


@functools.cache
def _border() -> re.Pattern[str]:
    s, _ = character_classes(WHITE_SPACE)
    return re.compile(rf"[^{s}](?=[{s}])")
