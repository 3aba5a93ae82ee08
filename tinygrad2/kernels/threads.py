"""One pool of threads, for two ways to share work: whole shards of a batch, or the rows and heads of one kernel.

NumPy, BLAS and compiled kernels let go of the interpreter while they compute, so that threads overlap. A task of the pool
shares no further: what it calls runs on its own thread, so that no core is asked for twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

_here = threading.local()
_pool: ThreadPoolExecutor | None = None
_size = 0  # without a pool


def _stay_alone() -> None:
    _here.alone = True


@contextmanager
def pool(count: int) -> Iterator[ThreadPoolExecutor | None]:
    """Inside, kernels share their work among `count` threads; gives the pool, or None where there is one thread only."""
    global _pool, _size
    before = _pool, _size
    _pool, _size = (ThreadPoolExecutor(count, initializer=_stay_alone) if count > 1 else None), count
    try:
        yield _pool
    finally:
        if _pool is not None:
            _pool.shutdown(cancel_futures=True)
        _pool, _size = before


def size() -> int:
    """How many threads the open pool has; 0 without one."""
    return _size


def count(n: int, least: int = 1) -> int:
    """How many threads share `n` rows, none taking fewer than `least`: one outside of a pool, and in a task of it."""
    return 1 if _size < 2 or getattr(_here, "alone", False) else max(1, min(_size, n // least))


def parts(n: int, least: int = 1) -> list[slice]:
    """0..n in as many equal slices as threads share it: a function of `n` and the pool alone, whatever the scheduling."""
    number = count(n, least)
    return [slice(n * i // number, n * (i + 1) // number) for i in range(number)]


def share(f: Callable[[slice], Any], n: int, least: int = 1) -> list[Any]:
    """f of each of `parts(n, least)`, at the same time; the results in order."""
    first, *rest = parts(n, least)
    if not rest:
        return [f(first)]
    assert _pool is not None
    others = [_pool.submit(copy_context().run, f, part) for part in rest]  # with NumPy's error state
    _here.alone = True
    try:
        result = [f(first)]
    finally:
        _here.alone = False
    return result + [other.result() for other in others]
