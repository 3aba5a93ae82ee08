"""GPT-2's way to cut a text into words; no token reaches from one word into the next.

A word is a contraction, or letters, or numbers, or other signs, each with at most one space before it; or white space. The
last space of a run goes to the word that follows. Source: OpenAI's `encoder.py`, github.com/openai/gpt-2, 2019.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from gpt2.tokenizers.unicode import LETTERS, NUMBERS, WHITE_SPACE, character_class

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
        chunk = text[start:end]
        yield _pattern(bool(_ABOVE_BMP.search(chunk))).findall(chunk)
        start = end


_ABOVE_BMP = re.compile("[\U00010000-\U0010ffff]")


@functools.cache
def _pattern(all_of_unicode: bool) -> re.Pattern[str]:
    """GPT-2's pattern, written out for Python's `re`.

    `re` looks a character up in a table if all of the class are below U+10000, and otherwise tries range after range, which
    takes five times as long: there is one pattern for text that needs only the former.
    """
    last = 0x10FFFF if all_of_unicode else 0xFFFF
    L, N, s = (character_class(ranges, last) for ranges in (LETTERS, NUMBERS, WHITE_SPACE))
    return re.compile(rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{L}]+| ?[{N}]+| ?[^{s}{L}{N}]+|[{s}]+(?![^{s}])|[{s}]+")


@functools.cache
def _border() -> re.Pattern[str]:
    s = character_class(WHITE_SPACE)
    return re.compile(rf"[^{s}](?=[{s}])")
