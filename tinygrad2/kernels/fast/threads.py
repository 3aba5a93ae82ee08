"""One pool of threads, for two ways to share work: whole shards of a batch, or the rows and heads of one kernel.

NumPy, BLAS and compiled kernels let go of the interpreter while they compute, so that threads overlap. A task of the pool
shares no further: what it calls runs on its own thread, so that no core is asked for twice. The pool that is open travels with
the context: two threads that each open one do not see each other's.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any


class Pool(ThreadPoolExecutor):
    """Threads whose tasks find what is on around the call that submits them, such as NumPy's error state."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size, self.closed = size, False
        _pools.add(self)

    def submit(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        context = copy_context()
        context.run(_alone.set, True)
        return super().submit(context.run, f, *args, **kwargs)


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_open: ContextVar[tuple[Pool, ...]] = ContextVar("open", default=())  # the innermost is the last
_alone: ContextVar[bool] = ContextVar("alone", default=False)


def _renew() -> None:
    """In a process that was forked, the threads of its parent are not there: the open pools start others."""
    for pool in list(_pools):
        if not pool.closed:
            pool.__init__(pool.size)  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


@contextmanager
def pool(count: int) -> Iterator[Pool | None]:
    """Inside, kernels share their work among `count` threads; gives the pool, or None where there is one thread only."""
    mine = Pool(count)
    _open.set((*_open.get(), mine))
    try:
        yield mine if count > 1 else None
    finally:
        mine.closed = True  # for every context that has it
        mine.shutdown(cancel_futures=True)
        _open.set(tuple(other for other in _open.get() if other is not mine))


def _current() -> Pool | None:
    return next((pool for pool in reversed(_open.get()) if not pool.closed), None)


def size() -> int:
    """How many threads the open pool has; 0 without one."""
    pool = _current()
    return pool.size if pool else 0


def count(n: int, least: int = 1) -> int:
    """How many threads share `n` rows, none taking fewer than `least`: one outside of a pool, and in a task of it."""
    return 1 if _alone.get() else max(1, min(size(), n // least))


def parts(n: int, least: int = 1) -> list[slice]:
    """0..n in as many equal slices as threads share it: a function of `n` and the pool alone, whatever the scheduling."""
    number = count(n, least)
    return [slice(n * i // number, n * (i + 1) // number) for i in range(number)]


def share(f: Callable[[slice], Any], n: int, least: int = 1) -> list[Any]:
    """f of each of `parts(n, least)`, at the same time; the results in order."""
    first, *rest = parts(n, least)
    pool = _current()
    if not rest or pool is None:  # another thread may have closed it just now
        return [f(part) for part in (first, *rest)]
    others = [pool.submit(f, part) for part in rest]
    before = _alone.set(True)
    try:
        result = [f(first)]
    finally:
        _alone.reset(before)
    return result + [other.result() for other in others]
