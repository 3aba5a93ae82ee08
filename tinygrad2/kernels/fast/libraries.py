"""Intel's Math Kernel Library, called through its C interface."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, Self

import numpy as np

from tinygrad2.types import Array

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112  # of cblas.h
SEQUENTIAL = 1  # of mkl_service.h


class MKL:
    """Its matrix products, each on the thread that calls."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        library.MKL_Set_Threading_Layer(SEQUENTIAL)
        whole, real, pointer = ctypes.c_int, ctypes.c_float, ctypes.c_void_p
        arguments: list[Any] = [*[whole] * 6, real, pointer, whole, pointer, whole, real, pointer, whole]
        self._float32, self._bfloat16 = library.cblas_sgemm, library.cblas_gemm_bf16bf16f32
        self._float32.argtypes = self._bfloat16.argtypes = arguments
        self._float32.restype = self._bfloat16.restype = None
        self.sgemm, self.bfloat16 = (ctypes.cast(f, pointer).value or 0 for f in (self._float32, self._bfloat16))

    @classmethod
    def find(cls, prefix: Path) -> Self | None:
        """The library of the `mkl` wheel in a Python environment, if it is there."""
        for pattern in ("lib/libmkl_rt.so*", "lib/libmkl_rt*.dylib", "Library/bin/mkl_rt*.dll"):
            for path in sorted(prefix.glob(pattern)):
                try:
                    return cls(path)
                except (OSError, AttributeError):  # for another processor, or older than its bfloat16 products
                    continue
        return None

    def product(self, a: Array, b: Array, out: Array, add: bool) -> None:
        """out = a @ b, or out += a @ b: float32, or uint16 that stands for bfloat16, with a float32 result."""
        call = self.call(a, b, out, add)
        if call is not None:
            _, flip_a, flip_b, m, n, k, at_a, lda, at_b, ldb, at_out, ldc, _ = call
            f = self._bfloat16 if a.dtype == np.uint16 else self._float32
            f(ROW_MAJOR, flip_a, flip_b, m, n, k, 1.0, at_a, lda, at_b, ldb, float(add), at_out, ldc)

    def address(self, x: Array) -> int:
        """Of the product of such matrices, for compiled code."""
        return self.bfloat16 if x.dtype == np.uint16 else self.sgemm

    def call(self, a: Array, b: Array, out: Array, add: bool) -> tuple[Any, ...] | None:
        """The address of the function for such a product, and its arguments; None where NumPy has done it, as for float64."""
        plain = all(x.flags.aligned for x in (a, b, out)) and a.dtype in (
            np.float32,
            np.uint16,
        )  # not so in the other byte order
        if out.dtype != np.float32 or a.dtype != b.dtype or not plain or not out.size or not a.shape[1]:
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
        at_a, at_b, at_out = (x.__array_interface__["data"][0] for x in (a, b, out))
        alive = a, b  # they may be copies
        return self.address(a), flip_a, flip_b, m, n, k, at_a, lda, at_b, ldb, at_out, ldc, alive


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
