"""Where text comes from: a file, or a corpus by name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from gpt2.errors import DataError


@dataclass(frozen=True)
class Corpus:
    """A text with a name."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Of the text as UTF-8."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def pydocs() -> str:
    """The language reference that Python itself carries for `help()`: English prose with grammar and code."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))


NAMED = {"pydocs": pydocs}


def load_corpus(data: str) -> Corpus:
    """A named corpus, or else the file of that path. Raises DataError where there is no text to be had."""
    if data in NAMED:
        return Corpus(data, NAMED[data]())
    path = Path(data)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"--data {data}: no such file, nor a corpus of that name (there is {', '.join(NAMED)})") from None
    except OSError as error:
        raise DataError(f"--data {data}: {error.strerror}") from error
    if not raw:
        raise DataError(f"--data {data}: the file is empty")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"--data {data}: not UTF-8 text (byte {raw[error.start]:#04x} at offset {error.start})") from None
    if "\0" in text:
        raise DataError(f"--data {data}: a binary file (a zero byte at offset {raw.index(0)}), not text")
    return Corpus(path.stem, text.replace("\r\n", "\n"))
