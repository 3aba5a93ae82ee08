"""Files into documents, plain or gzipped. However large a file is, little of it is in memory."""

from __future__ import annotations

import codecs
import contextlib
import glob
import gzip
import itertools
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import Self

from gpt2.config import TrainConfig
from gpt2.errors import DataError
from gpt2.files import KINDS, is_run_folder, open_regular
from gpt2.text.corpora.corpus import Corpus, Document
from gpt2.text.corpora.decoding import NotTextError, decoded, marked, pieces, unix_newlines
from gpt2.text.corpora.lines import json_documents
from gpt2.text.corpora.matching import matches

BLOCK = 1 << 20
"""How many bytes are read at a time, and about how many characters a piece has."""

BEGINNING = 1 << 16
"""Of how many bytes it is seen, before all of a file is read, whether they are text."""

GZIP = b"\x1f\x8b"
"""How a file begins that is compressed."""

TRIED = 3
"""Of how many files that are no text another encoding is looked for."""


@dataclass(frozen=True)
class Form:
    """How files hold their text. Raises DataError for an encoding that there is not.

    A byte-order mark comes before `encoding`. In a line of a .jsonl file the text is in `field`.
    """

    encoding: str = "utf-8"
    field: str = "text"

    def __post_init__(self) -> None:
        try:
            "".encode(self.encoding)  # which some codecs of Python are not for
            codecs.getincrementaldecoder(self.encoding)
        except (LookupError, ValueError):
            known = "Python knows utf-8, utf-16, cp1252, latin-1, gb18030, big5, shift-jis, euc-kr, koi8-r and many more"
            raise DataError(f"encoding = {self.encoding!r} is not an encoding of text; {known}") from None

    @classmethod
    def of(cls, config: TrainConfig) -> Self:
        """That of the text of a training."""
        return cls(config.encoding, config.text_field)


@dataclass(frozen=True)
class TextFile:
    """The text of a file in pieces: without a byte-order mark, and with `\\n` for `\\r\\n`.

    Reading raises NotTextError for what is not text in its encoding or has a zero byte, and DataError for what cannot be read
    or is no file.
    """

    path: Path
    block: int = BLOCK
    copy: RawIOBase | None = None
    """An open file with the bytes of what `path` stood for, where those could be had only once."""
    encoding: str = "utf-8"

    def __iter__(self) -> Iterator[str]:
        return pieces(self.texts(), self.block)

    def texts(self) -> Iterator[str]:
        """The same text, cut anywhere."""
        return unix_newlines(decoded(self._blocks(self.block), self.path, self.encoding))

    def mark(self) -> str | None:
        """The encoding that a byte-order mark names, if it begins with one."""
        return marked(b"".join(itertools.islice(self._blocks(4), 4)))

    def _blocks(self, size: int) -> Iterator[bytes]:
        if self.copy is None:
            yield from blocks(self.path, size)
            return
        offset = 0  # its own place in the file: others may read it at the same time
        while block := _read_at(self.copy, size, offset):
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
    except gzip.BadGzipFile as error:
        with open_regular(path) as file:
            if file.read(2) != GZIP:
                raise DataError(f"{path}: it is not compressed: rename it, without .gz") from error
        raise DataError(f"{path}: a damaged .gz file: {error}") from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path}: a damaged .gz file: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def documents(path: Path, form: Form, block: int = BLOCK) -> Iterable[Document]:
    """Those of a file: one, or each line of a .jsonl or .ndjson file."""
    text = TextFile(path, block, encoding=form.encoding)
    return json_documents(text.texts(), path, form.field, block) if _has_lines(path) else [Document(text)]


def _name(path: Path) -> tuple[str, str]:
    """The name of a file, and its kind, both without .gz."""
    inner = Path(path.stem) if path.suffix == ".gz" else path
    return inner.stem, inner.suffix


def _has_lines(path: Path) -> bool:
    """Whether each line of a file is a document."""
    return _name(path)[1].lower() in (".jsonl", ".ndjson")


def files_corpus(data: str, form: Form) -> Corpus | None:
    """The corpus of a file, of a folder, or of the files that a glob matches; None if there is nothing of that name.

    Each file is a document, and so is each line of a .jsonl file. Of a folder, or for a glob, they come in the order of their
    paths. Hidden ones and empty ones are left out, and so are those that do not begin as text, what is no file, and runs, for
    a text must not change by being trained on: the corpus has a note of them. Raises OSError for a folder or a file that cannot
    be read.
    """
    path = Path(data)
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no file can have that name
        kind = 0
    if kind and not stat.S_ISDIR(kind):
        if not _begins_as_text(path, form):
            raise DataError(f"{data}: the file is empty")
        return Corpus(_printable(_name(path)[0]), lambda: documents(path, form), tuple(told_by_mark([path])))
    parts: Sequence[str] = path.parts
    fixed = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    if kind:
        fixed, pattern, what = path, ["**", "*"], "the folder holds"
    elif glob.has_magic(data):
        pattern, what = list(parts[len(fixed.parts) :]), "the pattern matches"
    else:
        return None
    texts: list[Path] = []
    skipped: list[Path] = []
    others: list[Path] = []
    hints: list[str] = []
    runs: dict[Path, bool] = {}
    for p in sorted(set(matches(fixed, pattern)), key=lambda p: p.parts):
        above = [folder for folder in p.parents if len(folder.parts) > len(fixed.parts)]
        for folder in {*above} - runs.keys():
            runs[folder] = is_run_folder(folder)
        if any(runs[folder] for folder in above):
            continue
        kind = _kind(p)
        if kind != stat.S_IFREG:
            if not stat.S_ISDIR(kind) or p.is_symlink() or "**" not in pattern:  # other folders were looked into
                others.append(p)
            continue
        try:
            if _begins_as_text(p, form):
                texts.append(p)
        except NotTextError as error:
            skipped.append(p)
            if len(skipped) <= TRIED and not hints and (hint := error.hint()):
                hints.append(hint)
    left_out = [folder for folder, is_one in runs.items() if is_one]
    if not texts:
        only = skipped + others + left_out
        raise DataError(f"{data}: {what} no text" + f", only {_some(only)}{''.join(hints)}" * bool(only))
    notes = [f"{data}: left out files that are not {form.encoding.upper()} text: {_some(skipped)}{''.join(hints)}"] * bool(
        skipped
    )
    notes += [f"{data}: left out what is not a file: {_some(others)}"] * bool(others)
    notes += [f"{data}: left out what gpt2 train wrote: {_some(left_out)}"] * bool(left_out)
    name = os.path.basename(os.path.realpath(fixed))
    every = itertools.chain.from_iterable
    return Corpus(
        _printable(name) or "files",
        lambda: every(documents(p, form) for p in texts),
        (*notes, *told_by_mark(texts)),
    )


def told_by_mark(paths: Sequence[Path], copy: RawIOBase | None = None) -> Iterator[str]:
    """A note of the files that are not read as UTF-8 because they say so themselves."""
    marks = {path: TextFile(path, copy=copy).mark() for path in paths}
    for name in ("utf-16", "utf-32"):
        if found := [path for path, mark in marks.items() if mark == name]:
            yield f"read as {name.upper()}, by its byte-order mark: {_some(found)}"


def _printable(name: str) -> str:
    """A name that can stand in a line, a picture, and the name of a folder."""
    return "".join(c if c.isprintable() else "_" for c in name)


def _begins_as_text(path: Path, form: Form) -> bool:
    """Whether there is anything in a file. Raises NotTextError if it is no text, as far as its beginning shows."""
    if _has_lines(path):
        return next(iter(documents(path, form, BEGINNING)), None) is not None
    return any(list(itertools.islice(decoded(blocks(path, BEGINNING), path, form.encoding), 2)))  # the second may be the end


def _kind(path: Path) -> int:
    """What a path stands for, as in KINDS; a link that leads nowhere is a link. Raises OSError."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return stat.S_IFMT(path.lstat().st_mode)


def _some(paths: Sequence[Path]) -> str:
    """The first of them, with what each is that is no file."""

    def shown(path: Path) -> str:
        try:
            kind = KINDS.get(_kind(path))
        except FileNotFoundError:  # standard input
            kind = None
        if path.is_symlink():
            kind = kind and "a link to nothing" if not path.exists() else kind and f"a link to {kind}"
        return f"{path} ({kind})" if kind else str(path)

    names = ", ".join(map(shown, paths[:3]))
    return names if len(paths) <= 3 else f"{names} and {len(paths) - 3} more"
