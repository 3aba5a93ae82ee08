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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad2.errors import UnsupportedError
from tinygrad2.kernels import threads
from tinygrad2.kernels.mkl import MKL

Array = npt.NDArray[Any]

FEWEST = 32
"""Rows or columns of a product that are worth a thread of their own."""

_rounded: dict[int, Array] | None = None  # with bfloat16 on: copies of the parameters, by the address of what was copied


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
    library = mkl() if threads.open_pool() or a.dtype == np.uint16 else None
    one: Callable[[Array, Array, Array, bool], None] = _numpy_product if library is None else library.product
    whole = out
    if len(a) >= b.shape[1]:
        threads.share(lambda part: one(a[part], b, whole[part], add), len(a), FEWEST)
    else:
        threads.share(lambda part: one(a, b[:, part], whole[:, part], add), b.shape[1], FEWEST)
    return out


def _numpy_product(a: Array, b: Array, out: Array, add: bool) -> None:
    if add:
        out += a @ b
    else:
        np.matmul(a, b, out=out)


@contextmanager
def bfloat16(parameters: Iterable[Array]) -> Iterator[None]:
    """Inside, linear layers multiply in bfloat16. Each parameter is rounded once, at the start."""
    global _rounded
    if mkl() is None:
        raise UnsupportedError("bfloat16 products need MKL: pip install '.[mkl]' (and not TINYGRAD2_KERNELS=numpy)")
    before = _rounded
    _rounded = {id(array): round_to_bfloat16(array) for array in parameters if array.dtype == np.float32 and array.ndim == 2}
    try:
        yield
    finally:
        _rounded = before


def operand(x: Array) -> Array:
    """A matrix as it is multiplied: itself or, with bfloat16 on, its rounded copy."""
    return round_to_bfloat16(x) if _rounded is not None and x.dtype == np.float32 else x


def weight(w: Array) -> Array:
    """The same for a parameter, or a transposed one, of which there may be a copy."""
    if _rounded is None or w.dtype != np.float32:
        return w
    copy = _rounded.get(id(w))
    if copy is None and w.base is not None and id(w.base) in _rounded and w.base.T.shape == w.shape and _flipped(w, w.base):
        copy = _rounded[id(w.base)].T
    return operand(w) if copy is None else copy


def _flipped(a: Array, b: Array) -> bool:
    return a.strides == b.strides[::-1] and a.ctypes.data == b.ctypes.data


def round_to_bfloat16(x: Array) -> Array:
    """float32 (M, N) -> uint16 (M, N): the upper half of each number, rounded to nearest, ties to even. NaN stays NaN."""
    if not x.flags.c_contiguous and x.T.flags.c_contiguous:
        return round_to_bfloat16(x.T).T
    x = np.ascontiguousarray(x)
    out = np.empty(x.shape, np.uint16)
    flat, flat_out = x.reshape(-1), out.reshape(-1)
    threads.share(lambda part: rounding(flat[part], flat_out[part]), len(flat), 1 << 15)
    return out


def _rounding(x: Array, out: Array) -> None:
    """One part of it, flat."""
    for i in range(0, len(x), 1 << 15):
        bits = x[i : i + (1 << 15)].view(np.uint32)
        rounded = bits >> 16
        rounded &= 1
        rounded += bits
        rounded += 0x7FFF
        rounded >>= 16
        np.copyto(rounded, 0x7FC0, where=np.isnan(x[i : i + (1 << 15)]))
        out[i : i + (1 << 15)] = rounded


rounding: Callable[[Array, Array], None] = _rounding
"""Compiled kernels put theirs here."""
