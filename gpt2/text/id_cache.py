"""The ids of a long text, kept in the cache folder: used again only if all that their note says is true.

A file's name is a hash of all that decides its content (its key); it takes that name when it is whole. A note beside it says
what is in it, and carries a hash over the content and the note. The folder is used only if nobody else can write there: who
can, can write a whole file too, and would choose what others train on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import numpy as np

from gpt2.errors import DataError
from gpt2.files import MOST_JSON, conform, open_regular, parse_object, read_regular
from tinygrad2.files import atomic_file, cache_folder, private_folder, unfinished, write_atomically
from tinygrad2.types import Array

Parts = Iterable[tuple[Array, bool]]
"""Ids in parts, and whether they validate; those that train come first."""

MARK = "ids"
"""Of the files that are not whole yet: see atomic_file."""


class Note(msgspec.Struct, forbid_unknown_fields=True):
    """What is in a file of ids: what made it, whose ids, of what type, how many, and how many before those that validate."""

    key: str
    corpus: str
    dtype: str
    tokens: Annotated[int, msgspec.Meta(ge=1, le=1 << 60)]
    cut: Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]
    sha256: str = ""
    """Of the content's SHA-256 and of all the above: see `sealed`."""

    def sealed(self, content: bytes) -> str:
        """What `sha256` must be for content with that digest."""
        return hashlib.sha256(content + json.dumps([*msgspec.structs.astuple(self)[:-1]]).encode()).hexdigest()


def kept_ids(
    key: str, corpus: str, kind: np.dtype[Any], vocab_size: int, parts: Callable[[], Parts], say: Callable[[str], object]
) -> tuple[Array, int]:
    """The ids of that key, mapped into memory, and how many come before those that validate; made of `parts` if need be.

    Raises DataError where no file can hold them.
    """
    folder = cache_folder() / "ids"
    try:
        path = private_folder(folder) / f"{key}.bin"
        found = _found(path, key, kind, vocab_size, say)
        if found is not None:
            return found
        _remove_leftovers(path.parent)
        with atomic_file(path, MARK) as file:
            note = _write(file, Note(key, corpus, kind.name, 1, 0), parts())
        write_atomically(path.with_suffix(".json"), (json.dumps(msgspec.structs.asdict(note)) + "\n").encode(), MARK)
        with open_regular(path, links=False) as whole:
            return _map(whole, kind, note)
    except OSError as error:
        say(f"{folder} is not used ({error.strerror}): this time the ids go into a temporary file")
    try:
        with tempfile.TemporaryFile() as temporary:
            note = _write(temporary, Note(key, corpus, kind.name, 1, 0), parts())
            temporary.flush()
            return _map(temporary, kind, note)
    except OSError as error:
        raise DataError(
            f"no temporary file can hold the ids of {corpus} ({error.strerror}): set TMPDIR to a folder with more room"
        ) from error


def _write(file: Any, note: Note, parts: Parts) -> Note:
    """All ids into a file; returns what there is to know of it."""
    digest, tokens, cut = hashlib.sha256(), 0, 0
    for ids, held_out in parts:
        file.write(ids.data)
        digest.update(ids.data)
        tokens += len(ids)
        cut += 0 if held_out else len(ids)
    note = msgspec.structs.replace(note, tokens=tokens, cut=cut)
    return msgspec.structs.replace(note, sha256=note.sealed(digest.digest()))


def _map(file: Any, kind: np.dtype[Any], note: Note) -> tuple[Array, int]:
    return np.asarray(np.memmap(file, kind, "r", shape=(note.tokens,))), note.cut


def _found(
    path: Path, key: str, kind: np.dtype[Any], vocab_size: int, say: Callable[[str], object]
) -> tuple[Array, int] | None:
    """What is in the cache, if it is there and is what was written."""
    try:
        note = conform(parse_object(read_regular(path.with_suffix(".json"), MOST_JSON, links=False)), Note)
        with open_regular(path, links=False) as file:
            _check(file, note, key, kind, vocab_size)
            return _map(file, kind, note)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        say(f"{path} is damaged, so it is written again: {getattr(error, 'strerror', None) or error}")
        return None


def _check(file: BinaryIO, note: Note, key: str, kind: np.dtype[Any], vocab_size: int) -> None:
    """Raise ValueError if a file, open at its beginning, is not what its note says, or not what is looked for."""
    size = os.fstat(file.fileno()).st_size
    if (note.key, note.dtype, note.tokens * kind.itemsize) != (key, kind.name, size) or note.cut > note.tokens:
        raise ValueError("its .json file does not match it")
    digest, highest = hashlib.sha256(), 0
    while block := file.read(1 << 20):
        digest.update(block)
        highest = max(highest, int(np.frombuffer(block, kind).max()))
    if note.sha256 != note.sealed(digest.digest()):
        raise ValueError("its content has changed")
    if highest >= vocab_size:
        raise ValueError(f"id {highest} is outside the vocabulary of {vocab_size}")


def _remove_leftovers(folder: Path) -> None:
    """Of preparations that were killed: what nobody has written to for a day."""
    for path in unfinished(folder, MARK):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > 24 * 3600:
                path.unlink()
