"""Ctrl-C and termination, taken at a moment when nothing is half done."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Self

raised = False
"""Whether a Ctrl-C has become a KeyboardInterrupt in this process."""


class Interrupts:
    """While this is open, SIGINT and SIGTERM only leave a note: `signal`, for the loop to look at between steps.

    A second SIGINT ends the process on the spot; files are only ever replaced whole, so that does no harm. Python calls
    signal handlers in the main thread alone, so on another thread this does nothing.
    """

    HANDLED = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if raised:  # while a compiled module was imported, say, and somebody took it for the absence of that
            raise KeyboardInterrupt
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self.HANDLED}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.signal == signal.SIGINT:
            os._exit(128 + number)
        self.signal = number


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
