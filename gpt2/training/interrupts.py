"""Ctrl-C and termination, taken at a moment when nothing is half done."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Self

raised = 0
"""The signal that has become a KeyboardInterrupt in this process; 0 for none."""

SAID = b"gpt2: note: stopping, with a checkpoint; press Ctrl-C again to stop now\n"
"""On the first signal."""

_open: Interrupts | None = None


class Interrupted(KeyboardInterrupt):
    """What was being computed is given up: the number of the signal is its argument."""


class Interrupts:
    """While this is open, SIGINT and SIGTERM leave a note, `signal`, and end only what is `stoppable`.

    A SIGINT after either ends the process on the spot; files are only ever replaced whole, so that does no harm. One that is
    ignored, as a shell has it for what a script starts in the background, stays so. Python calls signal handlers in the main
    thread alone, so on another thread this does nothing.
    """

    HANDLED = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, quiet: bool = False) -> None:
        self.signal: int | None = None
        self.stops, self._quiet = False, quiet
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        global _open
        if raised:  # while a compiled module was imported, say, and somebody took it for the absence of that
            raise KeyboardInterrupt(raised)
        if threading.current_thread() is threading.main_thread():
            _open = self
            heeded = [number for number in self.HANDLED if signal.getsignal(number) != signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._note) for number in heeded}
        return self

    def __exit__(self, *_: object) -> None:
        global _open
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if _open is self:
            _open = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.signal is not None:
            os._exit(128 + number)
        if self.signal is None and not self._quiet:
            with contextlib.suppress(OSError):  # what is printed otherwise may be in the middle of a line right now
                os.write(2, b"\n" * os.isatty(2) + SAID)
        self.signal = number
        if self.stops:
            self.stops = False
            raise Interrupted(number)


def _of_this_thread() -> Interrupts | None:
    return _open if threading.current_thread() is threading.main_thread() else None


def requested() -> int:
    """The signal that has come since this thread's training began; 0 for none."""
    mine = _of_this_thread()
    return (mine and mine.signal) or 0


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Inside, a signal raises Interrupted, wherever that is: for what changes nothing that is kept, and may take long."""
    mine = _of_this_thread()
    if mine is None:
        yield
        return
    try:
        mine.stops = True
        if mine.signal:
            raise Interrupted(mine.signal)
        yield
    finally:
        mine.stops = False


@contextlib.contextmanager
def hangups_ignored() -> Iterator[None]:
    """While this is open, the end of the terminal (SIGHUP) does not end the process. Nothing outside of the main thread."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGHUP"):
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
