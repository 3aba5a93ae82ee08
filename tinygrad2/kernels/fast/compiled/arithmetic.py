"""What compiled kernels are made of: how to compile, and functions of one number."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import config, float32, int32, int64, njit, set_num_threads, types
from numba.core import event

from tinygrad2.files import cache_folder, private_folder
from tinygrad2.kernels.fast import threads
from tinygrad2.types import Array

SUMS = {"reassoc", "contract", "nsz", "arcp"}
"""What the compiler may do to sums and products. It may not suppose that there is no NaN: those are to be found."""

vector, matrix, indices = float32[::1], float32[:, ::1], int64[::1]
row_in, rows_in = (types.Array(float32, axes, "C", readonly=True) for axes in (1, 2))
"""What is only read may be read-only."""


# OpenMP's threads wait for the next kernel by spinning: long enough for the interpreter to call it, and not for longer, because
# a core that another program has taken is only given back while nobody spins. 300,000 rounds is its own choice; beside one
# other busy program a step of 25 ms then took 460 to 1,300, and with these 75.
os.environ.setdefault("GOMP_SPINCOUNT", "6000")

try:
    import numba.np.ufunc.omppool  # noqa: F401

    SPREADS = True
except ImportError:
    SPREADS = False
"""Whether kernels can share their work among threads that wait without sleeping: OpenMP's. Numba's others wake too slowly."""

config.THREADING_LAYER = "omp" if SPREADS else "default"


_here = threading.local()


UNUSED = 30 * 86400
"""Seconds after which machine code in the cache folder is removed, if no start has asked for it."""


def _kept() -> str:
    """Where machine code is kept: a folder for each state of the sources, beside them or, if nobody may write there, among what
    can be made again; "" if there is no place at all.

    By itself numba would not notice that a function has changed which another file calls.
    """
    here = Path(__file__).parent
    state = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))).hexdigest()[:12]
    for place in (here / "__pycache__", cache_folder() / "kernels"):
        folder = place / f"numba-{state}"
        try:
            if place.parent != here:
                private_folder(place)
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            os.utime(folder)
        except OSError as error:
            why = error
            continue
        for other in set(place.glob("numba-*")) - {folder}:
            if place.parent == here or other.stat().st_mtime < time.time() - UNUSED:  # others may be of another installation
                shutil.rmtree(other, ignore_errors=True)
        return str(folder)
    print(f"compiled kernels are kept for this process only: {why}", file=sys.stderr)
    return ""


CACHE = _kept()


class _Note(event.Listener):  # type: ignore[misc]
    """Says that compiling takes a while, once, when it begins: what is only loaded is no such event."""

    said = False

    def on_start(self, event: Any) -> None:
        if not self.said:
            print("compiling kernels" + ", only this once" * bool(CACHE), file=sys.stderr)
        self.said = True

    def on_end(self, event: Any) -> None:
        pass


_note = _Note()


def _njit(signature: Any, parallel: bool) -> Callable[[Any], Any]:
    """A function for the processor here: it lets go of the interpreter, and divides by zero as NumPy does."""

    def compile_(f: Any) -> Any:
        how = {"nogil": True, "error_model": "numpy", "fastmath": SUMS, "parallel": parallel, "cache": bool(CACHE)}
        before, config.CACHE_DIR = config.CACHE_DIR, CACHE
        try:
            with event.install_listener("numba:compile", _note):
                return njit(signature, **how)(f)
        finally:
            config.CACHE_DIR = before

    return compile_


def compiled(signature: Any) -> Callable[[Any], Any]:
    """A compiled function of one thread."""
    return _njit(signature, parallel=False)


def spread(signature: Any) -> Callable[[Any], Any]:
    """A compiled function whose `prange` loops run on the threads of the pool, as many iterations at a time."""
    return _njit(signature, parallel=SPREADS)


def parts_of(n: int, least: int) -> int:
    """How many threads share `n` rows or entries, none taking fewer than `least`."""
    pool = threads.current() if SPREADS else None
    size = min(pool.size, config.NUMBA_NUM_THREADS) if pool else 1
    if SPREADS and getattr(_here, "size", 0) != size:
        set_num_threads(size)  # for this thread; the others would wait for work without sleeping
        _here.size = size
    return threads.count(n, least) if size > 1 and n >= 2 * least else 1


@compiled(types.UniTuple(int64, 2)(int64, int64, int64))
def bounds(n: Any, part: Any, parts: Any) -> Any:
    """Where a part of 0..n begins and ends."""
    return n * part // parts, n * (part + 1) // parts


F = np.float32
ONE, HALF = F(1), F(0.5)
LOG2_E, LN2_HIGH, LN2_LOW = F(1.44269504), F(0.693359375), F(-2.12194440e-4)
LOWEST, HIGHEST = F(-60), F(60)  # e^-60 = 9e-27: products of smaller numbers would be denormal, which is slow
E7, E6, E5, E4, E3, E2 = (F(c) for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 0.041665795894, 0.16666665459, 0.5))


@compiled(float32(float32))
def exp(x: Any) -> Any:
    """e^x within 2e-7 of it, 0 for x below -60, e^60 for x above 60: 2^n times a polynomial (Cephes, expf)."""
    small = x < LOWEST
    x = LOWEST if small else x
    x = HIGHEST if x > HIGHEST else x
    n = np.floor(x * LOG2_E + HALF)
    r = x - n * LN2_HIGH - n * LN2_LOW
    p = ((((E7 * r + E6) * r + E5) * r + E4) * r + E3) * r + E2
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return F(0) if small else (p * r * r + r + ONE) * power


@compiled(int32(float32))
def ordered(x: Any) -> Any:
    """An integer for each number, in the same order; the largest for NaN. Only of integers is a maximum vectorised."""
    bits = np.float32(x).view(np.int32)
    in_order = np.int32(bits ^ np.int32(np.int32(bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))
    return np.int32(0x7FFFFFFF) if np.int32(bits & np.int32(0x7FFFFFFF)) > np.int32(0x7F800000) else in_order


@compiled(float32(row_in))
def largest(x: Any) -> Any:
    """The largest entry; NaN if there is one."""
    top = np.int32(-0x80000000)
    for i in range(len(x)):
        k = ordered(x[i])
        top = k if k > top else top
    return np.int32(top ^ np.int32(np.int32(top >> np.int32(31)) & np.int32(0x7FFFFFFF))).view(np.float32)


def fits(*arrays: Array) -> bool:
    """Whether compiled kernels take these: float32, in one piece, aligned and not empty. What they write is looked at apart."""
    for x in arrays:  # noqa: SIM110 - a generator takes longer, and this is asked hundreds of times in a step
        if not (x.dtype == F and x.flags.c_contiguous and x.flags.aligned and x.size):
            return False
    return True
