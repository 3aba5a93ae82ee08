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
from gpt2.text.corpora.decoding import decoded
from gpt2.text.corpora.reading import BLOCK, Form, TextFile, blocks, told_by_mark

WAIT = 2.0
"""Seconds in which somebody must have opened a pipe to write into it."""

STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
"""Its names."""

FIX = "pipe a text into it: cat FILE | gpt2 ..."


def is_pipe(path: Path) -> bool:
    """Whether it is a pipe, or a descriptor of this process (`<(...)` of a shell)."""
    return str(path.parent) in ("/dev/fd", "/proc/self/fd") or path.is_fifo()


def piped_corpus(data: str, encoding: str) -> Corpus:
    """The text that comes through standard input or a pipe, called `stdin` or `pipe`. Raises DataError if there is none.

    It is copied into a file without a name, which ends with this process.
    """
    is_standard = data in STANDARD_INPUT
    if is_standard and os.isatty(standard_input()):
        raise DataError(f"standard input is a terminal; {FIX}")
    path = Path("standard input" if is_standard else data)
    try:
        copy = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it is open as long as somebody has the text
        text = TextFile(path, copy=copy, encoding=encoding)
        weakref.finalize(text, copy.close)
        for _ in decoded(_kept(arriving(data), copy), path, encoding):  # what is no text is refused where it comes
            pass
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read, or copied into a temporary file: {error.strerror}; give a file instead"
        ) from error
    if not any(text):
        what = FIX if is_standard else "check whether the program that writes into it has failed"
        raise DataError(f"{path}{' ' if is_standard else ': the pipe '}is empty; {what}")
    return Corpus("stdin" if is_standard else "pipe", lambda: [Document(text)], tuple(told_by_mark([path], copy)), once=True)


def short_text(data: str, encoding: str, most: int = 1 << 24) -> str:
    """The text of a file, a pipe or standard input, in memory. Raises DataError, also for more than so many characters."""
    text, path = "", Path("standard input" if data in STANDARD_INPUT else data)
    content = arriving(data) if data in STANDARD_INPUT or is_pipe(path) else blocks(path, BLOCK)
    try:
        for part in decoded(content, path, Form(encoding).encoding):
            text += part
            if len(text) > most:
                raise DataError(f"{path} has more than {most:,} characters, too many to read at once; give a part of the text")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return text


def standard_input() -> int:
    """Its descriptor. Raises DataError if it is closed."""
    if sys.stdin is None or sys.stdin.closed:
        raise DataError(f"standard input is closed; {FIX}")
    return sys.stdin.fileno()


def arriving(data: str) -> Iterator[bytes]:
    """What comes through standard input or a pipe until its end, also where that does not block: then its reader has to wait.

    Raises DataError for a pipe that nobody has opened to write within `WAIT` seconds.
    """
    if data in STANDARD_INPUT:
        yield from _read(standard_input())
        return
    descriptor = os.open(data, os.O_RDONLY | os.O_NONBLOCK)  # otherwise it would wait here until somebody does
    try:
        yield from _read(descriptor, WAIT)
    except TimeoutError:
        raise DataError(f"{data}: no program writes into this pipe; start the writing program first, or give a file") from None
    finally:
        os.close(descriptor)


def _read(descriptor: int, wait: float | None = None) -> Iterator[bytes]:
    """What comes through a descriptor. Raises TimeoutError where nobody has it open to write within `wait` seconds."""
    poll = select.poll() if hasattr(select, "poll") else None  # Windows has none, and no descriptors that do not block
    if poll:
        poll.register(descriptor, select.POLLIN)
    while True:
        there = poll.poll(wait and wait * 1000) if poll else True
        with contextlib.suppress(BlockingIOError):  # somebody has the pipe open, and has not written yet
            block = os.read(descriptor, BLOCK)
            if not block and not there:  # who had it open and closed it would have been noticed
                raise TimeoutError
            if not block:
                return
            yield block


def _kept(blocks: Iterable[bytes], copy: RawIOBase) -> Iterator[bytes]:
    for block in blocks:
        waiting = memoryview(block)
        while waiting:
            waiting = waiting[copy.write(waiting) :]
        yield block
