"""Observing a computation op by op: what `detect_anomaly` and `study.record` have in common.

At most one observer is open in a context. The engine tells it of every op that is recorded and of every rule that is applied;
without one, it takes one test per op to see that nobody looks.
"""

from __future__ import annotations

import functools
import linecache
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tinygrad2.context import within
from tinygrad2.ops.op import Op
from tinygrad2.types import Array

PACKAGE = Path(__file__).parent
Observing = TypeVar("Observing", bound="Observer")
_call: ContextVar[Call | None] = ContextVar("call", default=None)  # of the innermost module that is being called
_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)


class Call(NamedTuple):
    """A module that is being called: its path in the outermost one, and by path what that one has, looked up once."""

    root: Any
    path: str
    modules: list[tuple[str, Any]]
    parameters: list[tuple[str, Any]]


@functools.cache
def _is_in(file: str, places: tuple[Path, ...]) -> bool:
    return any(Path(file).is_relative_to(place) for place in places)


def observing() -> Observer | None:
    """The observer that is open here, if there is one."""
    return _observer.get()


@contextmanager
def observe(observer: Observing) -> Iterator[Observing]:
    """Inside, `observer` is told of every op. An inner observer replaces an outer one."""
    try:
        with within(_observer, observer), within(_call, None):
            yield observer
    finally:
        observer.close()


class Observer:
    """Is told what happens, and knows where: in which module, and at which line. A subclass says what to do about it."""

    @contextmanager
    def inside(self, module: Any) -> Iterator[None]:
        """While a module is called."""
        call = _call.get()
        if call is None or all(one is not module for _, one in call.modules):  # the outermost, or made since that was entered
            root = module if call is None else call.root
            call = Call(root, "", list(root.named_modules()), list(root.named_parameters()))
        path = next((path for path, one in call.modules if one is module), "")
        with within(_call, call._replace(path=path)):
            yield

    @property
    def call(self) -> Call | None:
        """The call of the innermost module that is being called, or None."""
        return _call.get()

    def line(self, besides: tuple[Path, ...] = (PACKAGE,)) -> tuple[Any, str]:
        """The innermost frame whose file is in none of these folders or files, and its line as `file.py:12: text`."""
        frame = sys._getframe(1)
        while frame.f_back is not None and _is_in(frame.f_code.co_filename, besides):
            frame = frame.f_back
        file, line = frame.f_code.co_filename, frame.f_lineno
        return frame, f"{Path(file).name}:{line}: {linecache.getline(file, line).strip()}"

    def forward(self, op: type[Op], arrays: Sequence[Any], out: Array, leaves: Sequence[bool]) -> None:
        """`op` has made `out`; `leaves` says which of its inputs no other op has made."""

    def recorded(self, node: Any, out: Array) -> None:
        """A node was added to the graph."""

    def backward(self, node: Any, g: Any, cotangent: Any) -> None:
        """A rule of a node has made the cotangent of an input of its own, `g`."""

    def released(self, node: Any) -> None:
        """A node is about to let go of its arrays."""

    def close(self) -> None:
        """Nothing more will come."""
