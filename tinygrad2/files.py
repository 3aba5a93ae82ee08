"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` in one instant, once it is whole.

    A reader, or a crash at any moment, sees the old content or the new. Two processes that write the same path do not
    disturb each other: the last one wins.
    """
    descriptor, name = tempfile.mkstemp(suffix=".tmp", prefix=path.name + ".", dir=path.parent)
    temporary = Path(name)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's own mode would keep it from everyone else
        os.replace(temporary, path)
        flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Put the names in a folder on the disk: until then, a file that was renamed there may come back under its old name."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one instant: a reader, or a crash, sees the old content or the new."""
    with atomic_file(path) as file:
        file.write(content)
