"""Files into text: UTF-8, plain or gzipped, one block after another. However large a file is, little of it is in memory."""

from __future__ import annotations

import codecs
import contextlib
import glob
import gzip
import itertools
import os
import re
import stat
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

from gpt2.errors import DataError
from gpt2.files import KINDS, open_regular
from gpt2.text.corpora.corpus import Corpus, Document
from gpt2.text.corpora.matching import matches

BLOCK = 1 << 20
"""How many bytes are read at a time, and about how many characters a piece has."""


class NotTextError(DataError):
    """A file that holds something else."""


@dataclass(frozen=True)
class TextFile:
    """The text of a file in pieces: without a byte-order mark, and with `\\n` for `\\r\\n`.

    Reading raises NotTextError for what is not UTF-8 or has a zero byte, and DataError for what cannot be read or is no file.
    """

    path: Path
    block: int = BLOCK
    copy: RawIOBase | None = None
    """An open file with the bytes of what `path` stood for, where those could be had only once."""

    def __iter__(self) -> Iterator[str]:
        return pieces(unix_newlines(decoded(self._blocks(), self.path)), self.block)

    def _blocks(self) -> Iterator[bytes]:
        if self.copy is None:
            yield from blocks(self.path, self.block)
            return
        offset = 0  # its own place in the file: others may read it at the same time
        while block := _read_at(self.copy, self.block, offset):
            offset += len(block)
            yield block


def _read_at(file: RawIOBase, size: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), size, offset)
    file.seek(offset)  # on Windows
    return file.read(size) or b""


def blocks(path: Path, size: int) -> Iterator[bytes]:
    """The bytes of a file, decompressed where its name ends in .gz."""
    try:
        with open_regular(path) as file, gzip.open(file) if path.suffix == ".gz" else contextlib.nullcontext(file) as content:
            while block := content.read(size):
                yield block
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"--data {path}: a damaged .gz file: {error}") from error
    except OSError as error:
        raise DataError(f"--data {path}: {error.strerror or error}") from error


def decoded(blocks: Iterable[bytes], path: Path) -> Iterator[str]:
    """UTF-8 to text, of blocks that may end in the middle of a character."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0  # of the block in the file
    for block in _and_then(blocks, b""):
        waiting = len(decoder.getstate()[0])  # bytes of a character that the block before began
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            bad, at = error.object[error.start], offset - waiting + error.start
            raise NotTextError(f"--data {path}: not UTF-8 text (byte {bad:#04x} at offset {at})") from None
        if b"\0" in block:
            raise NotTextError(f"--data {path}: a binary file (a zero byte at offset {offset + block.index(0)}), not text")
        if offset - waiting == 0:
            text = text.removeprefix("\ufeff")
        offset += len(block)
        yield text


def unix_newlines(texts: Iterable[str]) -> Iterator[str]:
    r"""`\n` for `\r\n`, also where a text ends between the two. A `\r` alone stays."""
    held = ""
    for text in texts:
        text = held + text
        held = "\r" if text.endswith("\r") else ""
        yield text.removesuffix("\r").replace("\r\n", "\n")
    yield held


def pieces(texts: Iterable[str], size: int) -> Iterator[str]:
    """The same text in pieces of about `size` characters, each encoded as it is in the whole.

    A piece ends before a space or a newline that follows neither. There a token of GPT-2's ends whatever follows: none of
    its patterns goes on from a character that is not white space to one that is, and none looks back. Where there is no
    such place in 4 `size` characters (a word of four million letters) the piece ends there: memory comes first.
    """
    waiting, searched = "", 0
    for text in texts:
        waiting += text
        if len(waiting) >= size:
            place = _LAST_PLACE.match(waiting, searched)
            end = place.end() if place else len(waiting) if len(waiting) >= 4 * size else 0
            if end:
                yield waiting[:end]
                waiting = waiting[end:]
            searched = max(0, len(waiting) - 1)  # there is no place before that
    if waiting:
        yield waiting


_LAST_PLACE = re.compile(r".*\S(?=[ \n])", re.DOTALL)


def _and_then(items: Iterable[bytes], last: bytes) -> Iterator[bytes]:
    yield from items
    yield last


def files_corpus(data: str) -> Corpus | None:
    """The corpus of a file, of a folder, or of the files that a glob matches; None if there is nothing of that name.

    Each file is a document. Of a folder, or for a glob, they come in the order of their paths, hidden ones and empty ones
    are left out, and so are those that do not begin as text and what is no file: the corpus has a note of them. Raises
    OSError for a folder or a file that cannot be read.
    """
    path = Path(data)
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no file can have that name
        kind = 0
    if kind and not stat.S_ISDIR(kind):
        if not _begins_as_text(path):
            raise DataError(f"--data {data}: the file is empty")
        name = Path(path.stem).stem if path.suffix == ".gz" else path.stem
        return Corpus(_printable(name), lambda: [Document(TextFile(path))])
    parts: Sequence[str] = path.parts
    fixed = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    if kind:
        fixed, pattern, what = path, ["**", "*"], "the folder holds"
    elif glob.has_magic(data):
        pattern, what = list(parts[len(fixed.parts) :]), "the pattern matches"
    else:
        return None
    texts, skipped, others = [], [], []
    for p in sorted(set(matches(fixed, pattern)), key=lambda p: p.parts):
        kind = stat.S_IFMT(p.stat().st_mode)
        if kind != stat.S_IFREG:
            if not stat.S_ISDIR(kind) or p.is_symlink() or "**" not in pattern:  # other folders were looked into
                others.append(p)
            continue
        try:
            if _begins_as_text(p):
                texts.append(p)
        except NotTextError:
            skipped.append(p)
    if not texts:
        raise DataError(f"--data {data}: {what} no text" + (f", only {_some(skipped + others)}" if skipped + others else ""))
    notes = [f"--data {data}: left out what is not UTF-8 text: {_some(skipped)}"] * bool(skipped)
    notes += [f"--data {data}: left out what is no file: {_some(others)}"] * bool(others)
    name = os.path.basename(os.path.realpath(fixed))
    return Corpus(_printable(name) or "files", lambda: (Document(TextFile(p)) for p in texts), tuple(notes))


def _printable(name: str) -> str:
    """A name that can stand in a line, a picture, and the name of a folder."""
    return "".join(c if c.isprintable() else "_" for c in name)


def _begins_as_text(path: Path) -> bool:
    """Whether there is anything in a file. Raises NotTextError if it is no text, as far as its first 64 KiB show."""
    return any(list(itertools.islice(decoded(blocks(path, 1 << 16), path), 2)))  # the second may be the end


def _some(paths: list[Path]) -> str:
    def shown(path: Path) -> str:
        kind = KINDS.get(stat.S_IFMT(path.stat().st_mode))
        return f"{path} ({'a link to ' if path.is_symlink() else ''}{kind})" if kind else str(path)

    names = ", ".join(map(shown, paths[:3]))
    return names if len(paths) <= 3 else f"{names} and {len(paths) - 3} more"
