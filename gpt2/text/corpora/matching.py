"""Which files a pattern stands for, without walking in circles and without passing over what cannot be read."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def matches(base: Path, pattern: Sequence[str]) -> Iterator[Path]:
    """What there is in a folder whose path has the parts of a pattern; `**` stands for all folders below, at any depth.

    It is what `glob` gives, but a link to a folder is followed only where the pattern names it: there may be a circle of
    them. Otherwise it is given itself. Raises OSError for a folder that cannot be read.
    """
    if not pattern:
        yield base
        return
    part, rest = pattern[0], pattern[1:]
    if not glob.has_magic(part):
        try:
            (base / part).lstat()
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return
        yield from matches(base / part, rest)
    elif not base.is_dir():
        return
    elif part == "**":
        for folder in _folders(base):
            yield from matches(folder, rest or ["*"])
    else:
        for entry in _listed(base):
            if fnmatch.fnmatchcase(entry.name, part) and (part.startswith(".") or not entry.name.startswith(".")):
                below = rest and not (entry.is_symlink() and entry.is_dir())
                yield from matches(base / entry.name, rest) if below else [base / entry.name]


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _folders(top: Path) -> Iterator[Path]:
    """A folder, and all below it that are not hidden and not behind a link. However deep they are, it does not recurse."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        yield folder
        inside = (e for e in _listed(folder) if not e.name.startswith(".") and e.is_dir(follow_symlinks=False))
        waiting.extend(folder / entry.name for entry in inside)
