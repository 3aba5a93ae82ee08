"""State that travels with the context: what is on around a call is on in the tasks of `threads.pool` that it starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def within(variable: ContextVar[T], value: T) -> Iterator[T]:
    """Inside, a context variable has a value; afterwards, the one from before."""
    before = variable.get()
    variable.set(value)
    try:
        yield value
    finally:
        variable.set(before)
