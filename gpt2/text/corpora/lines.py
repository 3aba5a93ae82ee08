"""Documents that are the lines of a file: each a JSON object with the text in one of its fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from json import JSONDecodeError
from pathlib import Path

from gpt2.errors import DataError
from gpt2.files import parse_object
from gpt2.text.corpora.corpus import Document
from gpt2.text.corpora.decoding import pieces, unix_newlines
from gpt2.tokenizers.base import to_utf8

LONGEST = 1 << 26
"""Characters of a line."""

SHOWN = 10
"""Names of fields that are told where the one is missing that was asked for."""


def json_documents(texts: Iterable[str], path: Path, field: str, block: int) -> Iterator[Document]:
    """The text of each line, in pieces of about `block` characters. Lines with nothing in them, or in the field, are none.

    Raises DataError naming the line that is no JSON object, or has no text in the field.
    """
    for number, line in enumerate(_lines(texts, path), 1):
        if line.strip():
            try:
                text = _field(parse_object(line), field)
                to_utf8(text)
            except ValueError as error:  # DataError too
                why = f"not JSON: {error.msg}, at character {error.pos + 1}" if isinstance(error, JSONDecodeError) else error
                raise DataError(f"{path}: line {number}: {why}") from None
            parts = unix_newlines(text[i : i + block] for i in range(0, len(text), block))
            if text:
                yield Document(list(pieces(parts, block)))


def _field(found: dict[str, object], field: str) -> str:
    text = found.get(field)
    if isinstance(text, str):
        return text
    if field in found:
        raise DataError(f"its {field!r} is {'null' if text is None else type(text).__name__}, not a text")
    there = ", ".join(map(repr, list(found)[:SHOWN])) + ", ..." * (len(found) > SHOWN)
    raise DataError(f"it has no field {field!r}{f', only {there}' * bool(found)}; name the text's field with --text-field")


def _lines(texts: Iterable[str], path: Path) -> Iterator[str]:
    """The lines of a text that comes in parts."""
    waiting = ""
    for text in texts:
        first, *others = text.split("\n")
        waiting += first
        for line in others:
            yield waiting
            waiting = line
        if len(waiting) > LONGEST:
            raise DataError(f"{path}: a line has more than {LONGEST:,} characters; write each document as a line")
    yield waiting
