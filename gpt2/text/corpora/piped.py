"""Text that can be read only once, from standard input or a pipe: it is copied, so that training can read it many times."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from io import RawIOBase
from pathlib import Path

from gpt2.errors import DataError
from gpt2.text.corpora.corpus import Corpus, Document
from gpt2.text.corpora.reading import BLOCK, TextFile, decoded

WAIT = 2.0
"""Seconds in which somebody must have opened a pipe to write into it."""

FIX = "pipe a text into it: cat FILE | gpt2 ..."


def standard_input_corpus() -> Corpus:
    """The text that comes from standard input, called `stdin`. Raises DataError if there is none."""
    descriptor = standard_input()
    if os.isatty(descriptor):
        raise DataError(f"--data -: standard input is a terminal; {FIX}")
    found = _read_once("stdin", Path("-"), descriptor)
    if found is None:
        raise DataError(f"--data -: standard input is empty; {FIX}")
    return found


def standard_input() -> int:
    """Its descriptor. Raises DataError if it is closed."""
    if sys.stdin is None or sys.stdin.closed:
        raise DataError(f"standard input is closed; {FIX}")
    return sys.stdin.fileno()


def piped_corpus(path: Path) -> Corpus:
    """The text that comes through a pipe, such as `<(...)` of a shell, called `pipe`. Raises DataError if nobody writes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # otherwise it would wait here until somebody does
    try:
        found = _read_once("pipe", path, descriptor, WAIT)
    finally:
        os.close(descriptor)
    if found is None:
        raise DataError(f"--data {path}: nobody writes into this pipe; start the program that does first, or give a file")
    return found


def _read_once(name: str, path: Path, descriptor: int, wait: float | None = None) -> Corpus | None:
    """A corpus that is copied into a file without a name, which ends with this process; None if there is nothing to copy."""
    copy = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it is open as long as somebody has the text
    text = TextFile(path, copy=copy)
    weakref.finalize(text, copy.close)
    try:
        for _ in decoded(_kept(arriving(descriptor, wait), copy), path):  # what is no text is refused where it comes
            pass
    except OSError as error:
        raise DataError(
            f"--data {path}: cannot be read, or copied into a temporary file: {error.strerror}; give a file instead"
        ) from error
    return Corpus(name, lambda: [Document(text)], once=True) if any(text) else None


def arriving(descriptor: int, wait: float | None = None) -> Iterator[bytes]:
    """What comes through a descriptor until its end, also where that does not block: then its reader has to wait.

    Nothing comes of a pipe that nobody has opened to write within `wait` seconds.
    """
    poll = select.poll() if hasattr(select, "poll") else None  # Windows has none, and no descriptors that do not block
    if poll:
        poll.register(descriptor, select.POLLIN)
    while True:
        if poll:
            poll.poll(wait and wait * 1000)
        with contextlib.suppress(BlockingIOError):  # somebody has the pipe open, and has not written yet
            block = os.read(descriptor, BLOCK)
            if not block:
                return
            yield block


def _kept(blocks: Iterable[bytes], copy: RawIOBase) -> Iterator[bytes]:
    for block in blocks:
        waiting = memoryview(block)
        while waiting:
            waiting = waiting[copy.write(waiting) :]
        yield block
