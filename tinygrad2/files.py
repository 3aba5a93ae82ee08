"""Files that are written whole or not at all, and the folder of what can be made again."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def cache_folder() -> Path:
    """Where what can be made again is kept: TINYGRAD2_CACHE, or ~/.cache/tinygrad2. It need not exist.

    A user without a home has one among the temporary files.
    """
    try:
        return Path(os.environ.get("TINYGRAD2_CACHE") or Path.home() / ".cache" / "tinygrad2")
    except RuntimeError:
        return Path(tempfile.gettempdir(), f"tinygrad2-{os.getuid()}" if hasattr(os, "getuid") else "tinygrad2")


def private_folder(folder: Path, must_be: bool = True) -> Path:
    """The folder without links in its path, in which nobody else can write or take its place; what is not there is made so.

    Raises OSError that says why it is not such a folder, and the fix; not for what is there already if it need not be one.
    Windows does not say in this way who may write where, so that nothing is refused there.
    """
    must_be = must_be and hasattr(os, "geteuid")
    real = Path(os.path.realpath(folder))
    for part in (*reversed(real.parents), real):
        if not os.path.lexists(part):
            part.mkdir(0o700, exist_ok=True)
        about = part.lstat()
        if must_be and about.st_uid not in ({os.geteuid()} if part == real else {os.geteuid(), 0}):
            raise OSError(errno.EPERM, f"{part} belongs to another user; set TINYGRAD2_CACHE to a folder of yours", str(part))
        sticky = part != real and about.st_mode & stat.S_ISVTX  # others may write there, but not replace what is not theirs
        if must_be and about.st_mode & 0o022 and not sticky:
            raise OSError(errno.EPERM, f"others may write into {part}; chmod go-w {part}", str(part))
    return real


@contextmanager
def atomic_file(path: Path, mark: str = "") -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` in one instant, once it is whole.

    A reader, or a crash at any moment, sees the old content or the new. Two processes that write the same path do not
    disturb each other: the last one wins. A symbolic link of that name is replaced, not followed. Raises OSError, also for a
    device or a pipe of that name, which no file can take the place of.

    Until then the content is in a file beside it, `.NAME.MARK.XXXXXXXX.tmp`, by which whoever gave the mark knows what a
    killed process has left; NAME is cut where it is long, for a name has at most 255 bytes.
    """
    with contextlib.suppress(FileNotFoundError):
        kind = path.lstat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind) or stat.S_ISDIR(kind)):
            raise OSError(errno.EINVAL, "it is a device or a pipe, and not a file", str(path))
    temporary = path.parent / f".{path.name[:40]}.{mark}.{secrets.token_hex(4)}.tmp"
    whole = open(temporary, "xb")  # noqa: SIM115 - it has the mode of any file, without asking for the umask of all threads
    try:
        with whole as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def unfinished(folder: Path, mark: str) -> list[Path]:
    """The files in a folder that processes which were killed have left of `atomic_file`, with that mark."""
    name = re.compile(rf"\..{{1,40}}\.{re.escape(mark)}\.[0-9a-f]{{8}}\.tmp", re.DOTALL)
    return [path for path in folder.glob(".*.tmp") if name.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode)]


def flush_folder(folder: Path) -> None:
    """Put the names in a folder on the disk: until then, a file that was renamed there may come back under its old name."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(path: Path, content: bytes, mark: str = "") -> None:
    """Replace a file in one instant: see `atomic_file`."""
    with atomic_file(path, mark) as file:
        file.write(content)


def check_kind(path: Path, begins: bytes, holds: bytes = b"") -> None:
    """Raise OSError for a file that is not empty, and does not begin so or does not hold that in its first 4 KiB: what would
    take its place is of another kind, or made of something else."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISREG(path.lstat().st_mode):
            with open(path, "rb") as file:
                found = file.read(max(len(begins), 1 << 12))
            if found and not (found.startswith(begins) and holds in found):
                what = "made in another way" if found.startswith(begins) else "of another format"
                why = f"a file {what} has that name, and is not overwritten: remove it, or choose another name"
                raise OSError(errno.EEXIST, why, str(path))


def write_anew(path: Path, content: bytes, holds: bytes = b"") -> None:
    """What `write_atomically` does, for a page or a picture that a command makes: it takes no other file's place, which is
    one without what its own hold in the beginning."""
    check_kind(path, content[:8], holds)
    write_atomically(path, content)
