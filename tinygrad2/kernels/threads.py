"""One pool of threads, for two ways to share work: whole shards of a batch, or the rows and heads of one kernel.

NumPy, BLAS and compiled kernels let go of the interpreter while they compute, so that threads overlap. A task of the pool
shares no further: what it calls runs on its own thread, so that no core is asked for twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

_here = threading.local()
_pool: ThreadPoolExecutor | None = None
_size = 0  # without a pool


def _stay_alone() -> None:
    _here.alone = True


@contextmanager
def pool(size: int) -> Iterator[ThreadPoolExecutor | None]:
    """Inside, kernels share their work among `size` threads; gives the pool, or None where there is one thread only."""
    global _pool, _size
    before = _pool, _size
    _pool, _size = (ThreadPoolExecutor(size, initializer=_stay_alone) if size > 1 else None), size
    try:
        yield _pool
    finally:
        if _pool is not None:
            _pool.shutdown(cancel_futures=True)
        _pool, _size = before


def open_pool() -> bool:
    """Whether a pool is open, of one thread or more."""
    return _size > 0


def parts(n: int, least: int = 1) -> list[slice]:
    """0..n in as many equal slices as there are threads to share it, none of fewer than `least`; one slice inside a task.

    Which slices there are depends on `n` and the size of the pool alone, so that a result does not depend on scheduling.
    """
    count = 1 if _pool is None or getattr(_here, "alone", False) else max(1, min(_size, n // least))
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]


def share(f: Callable[[slice], Any], n: int, least: int = 1) -> list[Any]:
    """f of each of `parts(n, least)`, at the same time; the results in order."""
    first, *rest = parts(n, least)
    if not rest:
        return [f(first)]
    assert _pool is not None
    others = [_pool.submit(f, part) for part in rest]
    _here.alone = True
    try:
        result = [f(first)]
    finally:
        _here.alone = False
    return result + [other.result() for other in others]
