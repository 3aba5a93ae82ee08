"""Libraries of matrix products: any BLAS, called through its C interface.

Which function multiplies is its address, so that compiled code calls it, too. Whole numbers are handed over with 64 bits; a
library that takes 32 reads the lower half, which is where the calling conventions of x86-64 and 64-bit ARM put it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ctypes.util import find_library
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.linalg import _umath_linalg

from tinygrad2.types import Array

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112  # of cblas.h
SEQUENTIAL = 1  # of mkl_service.h
MOST = (1 << 31) - 1
"""Rows, columns, or numbers from one row to the next, that every library can count."""

NAMES = ("scipy_cblas_{}64_", "scipy_cblas_{}", "cblas_{}64_", "cblas_{}$NEWLAPACK$ILP64", "cblas_{}$NEWLAPACK", "cblas_{}")
"""What a function of cblas.h is called in what NumPy is built with: OpenBLAS of SciPy and of others, Accelerate."""

REALS = {"sgemm": ctypes.c_float, "dgemm": ctypes.c_double, "gemm_bf16bf16f32": ctypes.c_float}
"""The functions that are used, and in what they sum."""

OPERANDS = {np.dtype(np.float32): "sgemm", np.dtype(np.float64): "dgemm", np.dtype(np.uint16): "gemm_bf16bf16f32"}
"""The function for operands of a dtype; uint16 stands for bfloat16."""


class Call(NamedTuple):
    """The address of a function, and what it is called with: arrays stand for where they lie."""

    f: int
    flip_a: int
    flip_b: int
    m: int
    n: int
    k: int
    a: Array
    lda: int
    b: Array
    ldb: int
    out: Array
    ldc: int


class Library:
    """Its matrix products, each on the thread that calls.

    So it is for MKL, which is told so here, and for NumPy's own library where whoever opens a pool of threads has told it
    (threadpoolctl), as trainings do.
    """

    def __init__(self, functions: dict[str, Any]) -> None:
        """`functions` of ctypes by their names in REALS: "sgemm" and "dgemm" at least."""
        self._functions = functions
        self._addresses = {}
        for name, f in functions.items():
            whole, real, pointer = ctypes.c_int64, REALS[name], ctypes.c_void_p
            f.argtypes = [*[whole] * 6, real, pointer, whole, pointer, whole, real, pointer, whole]
            f.restype = None
            self._addresses[name] = ctypes.cast(f, pointer).value or 0

    def product(self, a: Array, b: Array, out: Array, add: bool) -> None:
        """out = a @ b, or out += a @ b: all float32, all float64, or uint16 that stands for bfloat16 into float32."""
        call = self.call(a, b, out, add)
        if call is not None:
            sizes, f = call[1:6], self._functions[OPERANDS[a.dtype]]
            at_a, at_b, at_out = (x.ctypes.data for x in (call.a, call.b, call.out))
            f(ROW_MAJOR, *sizes, 1.0, at_a, call.lda, at_b, call.ldb, float(add), at_out, call.ldc)

    def address(self, dtype: np.dtype[Any]) -> int:
        """Of the product of such matrices, for compiled code; 0 where there is none."""
        return self._addresses.get(OPERANDS.get(dtype, ""), 0)

    def call(self, a: Array, b: Array, out: Array, add: bool) -> Call | None:
        """What makes such a product; None where NumPy has made it, as of integers, or refused to."""
        kind = a.dtype
        f = self.address(kind)  # 0 in the other byte order
        alike = kind == b.dtype and out.dtype == (np.float32 if kind == np.uint16 else kind)
        meet = a.shape[1] == b.shape[0] and out.shape == (len(a), b.shape[1])
        usable = a.flags.aligned and b.flags.aligned and out.flags.behaved
        if not (f and alike and meet and usable and out.size and a.shape[1]):
            out[...] = out + a @ b if add else a @ b
            return None
        if not _by_rows(out):
            if _by_rows(out.T):
                return self.call(b.T, a.T, out.T, add)
            whole = np.empty(out.shape, out.dtype)
            self.product(a, b, whole, False)
            out[...] = out + whole if add else whole
            return None
        a, flip_a, lda = _as_operand(a)
        b, flip_b, ldb = _as_operand(b)
        (m, k), n = a.shape, b.shape[1]
        ldc = out.strides[0] // out.itemsize if m > 1 else n
        if max(m, n, k, lda, ldb, ldc) > MOST:
            out[...] = out + a @ b if add else a @ b
            return None
        return Call(f, flip_a, flip_b, m, n, k, a, lda, b, ldb, out, ldc)

    def is_right_on_threads(self, threads: int) -> bool:
        """Whether products that several threads make at once are those of one thread, to the bit: of some sizes, some times."""
        rng = np.random.default_rng(0)
        pairs = [(rng.random((m, k), np.float32), rng.random((k, n), np.float32)) for m, n, k in SIZES for _ in range(threads)]

        def all_of_them(_: int) -> list[bytes]:
            found = []
            for a, b in pairs:
                out = np.empty((len(a), b.shape[1]), np.float32)
                self.product(a, b, out, False)
                found.append(out.tobytes())
            return found

        expected = all_of_them(0)
        with ThreadPoolExecutor(threads) as pool:
            return all(found == expected for found in pool.map(all_of_them, range(4 * threads)))


SIZES = ((8, 8, 8), (64, 64, 32), (33, 130, 65), (128, 96, 256))
"""Rows, columns and sums of products that threads make at once, to see whether they may."""


def of_numpy() -> Library | None:
    """The library that NumPy multiplies with; where its functions are not to be seen, an OpenBLAS of this system."""
    others = (find_library(name) for name in ("openblas", "cblas"))  # asked for only where the first is not enough
    for path in (_umath_linalg.__file__, *_beside_numpy(), *filter(None, others)):
        try:
            library = ctypes.CDLL(str(path))  # a symbol is also looked for in what it is linked with
        except OSError:
            continue
        for name in NAMES:
            functions = {f: getattr(library, name.format(f), None) for f in ("sgemm", "dgemm")}
            if all(functions.values()):
                return Library(functions)
    return None


def _beside_numpy() -> Iterator[Path]:
    """The libraries that come in NumPy's wheel: Windows looks for a symbol in one file alone."""
    return Path(np.__file__).parent.with_name("numpy.libs").glob("*openblas*")


def mkl(prefix: Path) -> Library | None:
    """Intel's library of the `mkl` wheel in a Python environment, if it is there."""
    for pattern in ("lib/libmkl_rt.so*", "lib/libmkl_rt*.dylib", "Library/bin/mkl_rt*.dll"):
        for path in sorted(prefix.glob(pattern)):
            try:
                library = ctypes.CDLL(str(path))
                library.MKL_Set_Threading_Layer(SEQUENTIAL)
                return Library({name: getattr(library, f"cblas_{name}") for name in REALS})
            except (OSError, AttributeError):  # for another processor, or older than its bfloat16 products
                continue
    return None


def _by_rows(x: Array) -> bool:
    """Whether each row of a matrix is in one piece, and the rows follow one another."""
    rows, columns = x.shape
    return (columns == 1 or x.strides[1] == x.itemsize) and (
        rows == 1 or (x.strides[0] >= columns * x.itemsize and x.strides[0] % x.itemsize == 0)
    )


def _as_operand(x: Array) -> tuple[Array, int, int]:
    """A matrix, copied if it must be; whether it lies in memory by columns; and how far apart these rows or columns are."""
    rows, columns = x.shape
    down, along = x.strides
    size = x.itemsize
    if (along == size or columns == 1) and down % size == 0 and (down >= columns * size or rows == 1):
        return x, PLAIN, max(down // size, columns) if rows > 1 else columns
    if (down == size or rows == 1) and along % size == 0 and (along >= rows * size or columns == 1):
        return x, TRANSPOSED, max(along // size, rows) if columns > 1 else rows
    return np.ascontiguousarray(x), PLAIN, columns
