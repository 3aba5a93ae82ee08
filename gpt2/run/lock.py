"""A lock on an open file, which one process holds at a time. The system frees it when the process ends, however it ends."""

from __future__ import annotations

import errno
from importlib import import_module
from io import FileIO

PLACE = 1 << 30
"""Of the byte that is locked on Windows, where nobody else can read a locked byte: far behind the content of the file."""


def lock(file: FileIO) -> None:
    """Lock a file that is open to be written, until it is closed. Raises BlockingIOError at once if somebody else holds it."""
    try:
        import fcntl
    except ImportError:  # on Windows
        windows = import_module("msvcrt")
        position = file.tell()
        file.seek(PLACE)
        try:
            windows.locking(file.fileno(), windows.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(errno.EAGAIN, "it is locked") from error
        finally:
            file.seek(position)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
