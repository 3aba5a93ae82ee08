"""Products of matrices: the one place through which the kernels multiply.

Outside of a pool of threads np.matmul multiplies, whose library brings threads of its own. Inside, the threads share a product
along its longer side, and each calls a library for its part: "openblas" is the one that NumPy itself is built with (whatever
its name is), called from compiled code; "mkl" is Intel's, where it is installed; "numpy" is np.matmul. Which is fastest depends
on the processor: a training measures it, and is `using` that one. TINYGRAD2_PRODUCTS in the environment overrides it.

With `bfloat16` on, what is multiplied is rounded to 8 bits of mantissa first, and summed in float32: processors with a unit
for that (AMX) are several times faster at it. NumPy has no such dtype: an array of uint16 stands for the upper halves of
float32 numbers.
"""

from __future__ import annotations

import functools
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

import numpy as np

from tinygrad2 import kernels
from tinygrad2.errors import UnsupportedError
from tinygrad2.kernels.fast import libraries, threads
from tinygrad2.kernels.fast.libraries import Library
from tinygrad2.types import Array

LIBRARIES = ("openblas", "mkl", "numpy")

# With bfloat16 on: copies of the parameters, by the address of what was copied.
_rounded: ContextVar[dict[int, Array] | None] = ContextVar("rounded", default=None)


_chosen: ContextVar[str | None] = ContextVar("chosen", default=None)


@functools.cache
def mkl() -> Library | None:
    """Intel's library, if it is installed."""
    return libraries.mkl(Path(sys.prefix))


@functools.cache
def _openblas() -> Library | None:
    return libraries.of_numpy()


def available() -> tuple[str, ...]:
    """What can multiply here, in a pool of threads: what is likely to be the fastest comes first.

    Raises UnsupportedError if TINYGRAD2_PRODUCTS names something else.
    """
    wanted = os.environ.get("TINYGRAD2_PRODUCTS") or None
    return _available(kernels.COMPILED, os.environ.get("TINYGRAD2_KERNELS"), wanted)


@functools.cache
def _available(compiled: bool, implementation: str | None, wanted: str | None) -> tuple[str, ...]:
    ours = "openblas" if compiled and _openblas() else "numpy"  # called from Python, it is np.matmul
    found = [ours]
    if (implementation != "numpy" or wanted == "mkl") and mkl():
        found.insert(0 if "GenuineIntel" in processor() else 1, "mkl")
    found += ["numpy"] if ours != "numpy" else []
    if wanted is None:
        return tuple(found)
    if wanted == "openblas" and not compiled:
        wanted = "numpy"  # the same library
    if wanted not in found:
        hint = "; pip install 'tinygrad2[mkl]' adds mkl" if wanted == "mkl" else ""
        known = f"it is one of {', '.join(LIBRARIES)}, of which there is {', '.join(found)} here"
        raise UnsupportedError(f"TINYGRAD2_PRODUCTS={wanted!r}: {known}{hint}")
    return (wanted,)


@contextmanager
def using(name: str) -> Iterator[None]:
    """In pools of threads that are opened inside, `name` multiplies, if it is `available`."""
    before = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(before)


def running(chosen: str | None = None) -> str:
    """What multiplies inside of a pool of threads, or would, `using` the chosen one: one of LIBRARIES."""
    found, chosen = available(), chosen or _chosen.get()
    return chosen if chosen in found else found[0]


def named(name: str) -> Library | None:
    """A library by its name; None for "numpy"."""
    return {"openblas": _openblas, "mkl": mkl}[name]() if name != "numpy" else None


@functools.cache
def processor() -> str:
    """What the system says of its first processor: its maker, its model and what it can do; "" where it says nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(line for line in lines if line.startswith(LASTING))


LASTING = ("vendor_id", "cpu family", "model", "stepping", "flags", "CPU", "Features")
"""Lines of /proc/cpuinfo that stay the same; the clock's do not."""


def unit() -> str:
    """What multiplies bfloat16 numbers here: "amx" or "avx512_bf16"; "float32" where products are only rounded."""
    if not processor():
        return "unknown"
    flags = processor().split()
    return next((name for flag, name in (("amx_bf16", "amx"), ("avx512_bf16", "avx512_bf16")) if flag in flags), "float32")


def matmul(a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
    """a (M, K) @ b (K, N) -> (M, N), written into `out` if it is given, or added to it. Two uint16 arrays give float32."""
    if out is None:
        dtype = np.dtype(np.float32) if a.dtype == np.uint16 else np.result_type(a, b)
        out = np.empty((len(a), b.shape[1]), dtype)
    kernels.product(a, b, out, add)
    return out


def library(dtype: np.dtype[Any]) -> Library | None:
    """What multiplies such numbers here, if np.matmul does not: the library in use inside a pool; MKL wherever bfloat16 is."""
    if dtype == np.uint16:
        return mkl()
    pool = threads.current()
    if pool is None:
        return None
    if pool.library is ...:
        pool.library = named(running())
    return cast(Library | None, pool.library)


@contextmanager
def bfloat16(parameters: Iterable[Array]) -> Iterator[None]:
    """Inside, linear layers multiply in bfloat16. Each parameter is rounded once, at the start."""
    if mkl() is None:
        raise UnsupportedError("bfloat16 products need MKL: pip install 'tinygrad2[mkl]'")
    copies = {id(array): round_to_bfloat16(array) for array in parameters if array.dtype == np.float32 and array.ndim == 2}
    before = _rounded.get()
    _rounded.set(copies)
    try:
        yield
    finally:
        _rounded.set(before)


def operand(x: Array) -> Array:
    """A matrix as it is multiplied: itself or, with bfloat16 on, its rounded copy."""
    return round_to_bfloat16(x) if rounds() and x.dtype == np.float32 else x


def rounds() -> bool:
    """Whether bfloat16 is on."""
    return _rounded.get() is not None


def weight(w: Array, rounded: bool) -> Array:
    """A parameter as it is multiplied, or a transposed one: itself or its rounded copy, which there may be already."""
    if not rounded or w.dtype != np.float32:
        return w
    copies = _rounded.get() or {}
    copy = copies.get(id(w))
    if copy is None and w.base is not None and id(w.base) in copies and _flipped(w, w.base):
        copy = copies[id(w.base)].T
    return round_to_bfloat16(w) if copy is None else copy


def _flipped(a: Array, b: Array) -> bool:
    return a.shape == b.shape[::-1] and a.strides == b.strides[::-1] and a.ctypes.data == b.ctypes.data


def round_to_bfloat16(x: Array) -> Array:
    """float32 -> uint16 of the same shape: the upper half of each number, rounded to nearest, ties to even. NaN stays NaN."""
    if x.ndim == 2 and not x.flags.c_contiguous and x.T.flags.c_contiguous:
        return round_to_bfloat16(x.T).T
    out = np.empty(x.shape, np.uint16)
    flat, flat_out = np.ascontiguousarray(x).reshape(-1), out.reshape(-1)
    kernels.rounding(flat, flat_out)
    return out
