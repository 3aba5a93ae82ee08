"""One pool of threads, for two ways to share work: whole shards of a batch, or the rows and heads of one kernel.

NumPy, BLAS and compiled kernels let go of the interpreter while they compute, so that threads overlap. A task of the pool
shares no further: what it calls runs on its own thread, so that no core is asked for twice. The pool that is open travels with
the context: two threads that each open one do not see each other's. While any is open, a matrix library has one thread: two
pools would get in each other's way.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from typing import Any

try:
    from threadpoolctl import OpenBLASController, ThreadpoolController
except ImportError:  # Tensors and gradients need NumPy alone
    ThreadpoolController = None


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OneBlasThread:
    """While anyone is inside, the matrix library has one thread. That is so for the whole process: the last one ends it."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._libraries: ThreadpoolController | None = None  # those that were there at first; to look for them takes 1 ms
        if hasattr(os, "register_at_fork"):  # or a child might wait for a thread that it does not have
            release = self._lock.release
            os.register_at_fork(before=self._lock.acquire, after_in_parent=release, after_in_child=release)

    def __enter__(self) -> None:
        with self._lock:
            if ThreadpoolController is None:
                return
            self._libraries = self._libraries or ThreadpoolController()
            OpenBLASController.clear_controlling_thread(force=True)  # or only the thread that was first may change it
            limits = self._libraries.limit(limits=1, user_api="blas")
            if not self._inside:
                self._before = limits
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if ThreadpoolController is None:
                return
            self._inside -= 1
            if not self._inside:
                OpenBLASController.clear_controlling_thread(force=True)
                self._before.restore_original_limits()
                OpenBLASController.clear_controlling_thread(force=True)


ONE_BLAS_THREAD = OneBlasThread()


class Pool(ThreadPoolExecutor):
    """Threads whose tasks find what is on around the call that submits them, such as NumPy's error state."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size, self.closed = size, False
        self.library: Any = ...  # of matrix products, once it is known: see products.library
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
        with ONE_BLAS_THREAD:
            yield mine if count > 1 else None
    finally:
        mine.closed = True  # for every context that has it
        mine.shutdown(cancel_futures=True)
        _open.set(tuple(other for other in _open.get() if other is not mine))


@contextmanager
def all_cores() -> Iterator[None]:
    """Inside, the pool that is open or, where there is none, one with a thread for each core."""
    with nullcontext() if current() else pool(cores()):
        yield


def current() -> Pool | None:
    """The pool that is open here, the innermost."""
    for pool in reversed(_open.get()):
        if not pool.closed:
            return pool
    return None


def size() -> int:
    """How many threads the open pool has; 0 without one."""
    pool = current()
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
    pool = current()
    if not rest or pool is None:  # another thread may have closed it just now
        return [f(part) for part in (first, *rest)]
    others = [pool.submit(f, part) for part in rest]
    before = _alone.set(True)
    try:
        result = [f(first)]
    finally:
        _alone.reset(before)
    return result + [other.result() for other in others]
