"""Products of matrices: the one place through which the kernels multiply.

NumPy's own product is always there. Inside a pool of threads, MKL's is taken where it is installed, and a product is shared
by the threads along its longer side; outside, NumPy's library brings threads of its own.

With `bfloat16` on, what is multiplied is rounded to 8 bits of mantissa first, and summed in float32: processors with a unit
for that (AMX) are several times faster at it. NumPy has no such dtype: an array of uint16 stands for the upper halves of
float32 numbers.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from tinygrad2 import kernels
from tinygrad2.errors import UnsupportedError
from tinygrad2.kernels.fast import threads
from tinygrad2.kernels.fast.libraries import MKL
from tinygrad2.types import Array

# With bfloat16 on: copies of the parameters, by the address of what was copied.
_rounded: ContextVar[dict[int, Array] | None] = ContextVar("rounded", default=None)


@functools.cache
def mkl() -> MKL | None:
    """Intel's library, unless it is not installed or TINYGRAD2_KERNELS=numpy."""
    return None if os.environ.get("TINYGRAD2_KERNELS") == "numpy" else MKL.find(Path(sys.prefix))


def running() -> str:
    """Which library multiplies inside a pool of threads."""
    return "mkl" if mkl() else "numpy"


def unit() -> str:
    """What multiplies bfloat16 numbers here: "amx" or "avx512_bf16"; "float32" where products are only rounded."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return "unknown"
    return next((name for flag, name in (("amx_bf16", "amx"), ("avx512_bf16", "avx512_bf16")) if flag in flags), "float32")


def matmul(a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
    """a (M, K) @ b (K, N) -> (M, N), written into `out` if it is given, or added to it. Two uint16 arrays give float32."""
    if out is None:
        dtype = np.dtype(np.float32) if a.dtype == np.uint16 else np.result_type(a, b)
        out = np.empty((len(a), b.shape[1]), dtype)
    kernels.product(a, b, out, add)
    return out


def library(a: Array) -> MKL | None:
    """What multiplies such matrices, if NumPy does not: MKL inside a pool, and wherever bfloat16 is."""
    return mkl() if threads.size() or a.dtype == np.uint16 else None


@contextmanager
def bfloat16(parameters: Iterable[Array]) -> Iterator[None]:
    """Inside, linear layers multiply in bfloat16. Each parameter is rounded once, at the start."""
    if mkl() is None:
        raise UnsupportedError("bfloat16 products need MKL: pip install '.[mkl]' (and not TINYGRAD2_KERNELS=numpy)")
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
