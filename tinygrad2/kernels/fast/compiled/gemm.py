"""A library's products of matrices, called from compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import float32, float64, int64, prange, types, uint16, void
from numba.extending import intrinsic

from tinygrad2.kernels import reference
from tinygrad2.kernels.fast import products
from tinygrad2.kernels.fast.compiled.arithmetic import ONE, SPREADS, F, bounds, fits, parts_of, spread
from tinygrad2.kernels.fast.libraries import PLAIN, ROW_MAJOR
from tinygrad2.kernels.reference import FEW_ROWS, FEWEST, rows
from tinygrad2.types import Array


@intrinsic
def gemm(
    typing: Any, f: Any, flip_a: Any, flip_b: Any, m: Any, n: Any, k: Any,
    alpha: Any, a: Any, lda: Any, b: Any, ldb: Any, beta: Any, c: Any, ldc: Any,
) -> Any:  # fmt: skip
    """Call a product of cblas.h at the address `f`; matrices are addresses too. The machine code can so be kept on disk.

    `beta` has the type of what is added up: float32 or float64. See `libraries` on whole numbers.
    """
    number = beta
    whole, address = ir.IntType(64), ir.IntType(8).as_pointer()
    real = ir.FloatType() if number == float32 else ir.DoubleType()
    kinds = [whole] * 6 + [real, address, whole, address, whole, real, address, whole]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target = builder.inttoptr(arguments[0], ir.FunctionType(ir.VoidType(), kinds).as_pointer())
        values = [ir.Constant(whole, ROW_MAJOR)]
        for kind, given, value in zip(kinds[1:], signature.args[1:], arguments[1:], strict=True):
            if kind is address:
                values.append(builder.inttoptr(context.cast(builder, value, given, types.intp), address))
            else:
                values.append(context.cast(builder, value, given, types.int64 if kind is whole else number))
        builder.call(target, values)
        return context.get_dummy_value()

    return types.void(f, flip_a, flip_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc), generate


def _signature(operand: Any, result: Any) -> Any:
    """Of `_product`, for operands and a result of such numbers; all but the result may be read-only."""
    a, b, out = types.Array(operand, 2, "A", readonly=True), types.Array(operand, 2, "A", readonly=True), result[:, :]
    return void(*[int64] * 6, a, int64, b, int64, out, int64, result, types.Array(result, 1, "C", readonly=True), int64)


@spread([_signature(float32, float32), _signature(float64, float64), _signature(uint16, float32)])
def _product(
    f: Any, flip_a: Any, flip_b: Any, m: Any, n: Any, k: Any, a: Any, lda: Any, b: Any, ldb: Any, out: Any, ldc: Any,
    beta: Any, bias: Any, parts: Any,
) -> None:  # fmt: skip
    """out = a @ b + beta * out, in parts of its longer side; with a `bias`, which may be empty, that is what `out` was."""
    at_a, at_b, at_out, by_rows = a.ctypes.data, b.ctypes.data, out.ctypes.data, m >= n
    for part in prange(parts):
        i, j = bounds(m if by_rows else n, part, parts)
        if len(bias) and by_rows:
            for row in range(i, j):
                out[row] = bias
        elif len(bias):
            for row in range(m):
                out[row, i:j] = bias[i:j]
        if by_rows:
            a_part = at_a + a.itemsize * i * (lda if flip_a == PLAIN else 1)
            gemm(f, flip_a, flip_b, j - i, n, k, 1.0, a_part, lda, at_b, ldb, beta, at_out + out.itemsize * i * ldc, ldc)
        else:
            b_part = at_b + b.itemsize * i * (1 if flip_b == PLAIN else ldb)
            gemm(f, flip_a, flip_b, m, j - i, k, 1.0, at_a, lda, b_part, ldb, beta, at_out + out.itemsize * i, ldc)


NO_BIAS = {np.dtype(kind): np.empty(0, kind) for kind in (np.float32, np.float64)}


def product(a: Array, b: Array, out: Array, add: bool) -> None:
    """See `reference.product`."""
    library = products.library(a.dtype)
    if library is None or not SPREADS:
        return reference.product(a, b, out, add)
    call = library.call(a, b, out, add)
    if call is not None:
        _product(*call, out.dtype.type(add), NO_BIAS[out.dtype], parts_of(max(call.m, call.n), FEWEST))
    return None


def linear(x: Array, w: Array, b: Array | None) -> tuple[Array, Array | None]:
    """See `reference.linear`; a product begins with the bias, and adds to it."""
    x2, library = rows(x), products.library(np.dtype(np.uint16 if products.rounds() and x.dtype == F else x.dtype))
    if b is None or library is None or not SPREADS or len(x2) <= FEW_ROWS or w.dtype != F or not fits(x, b):
        return reference.linear(x, w, b)
    x2 = products.operand(x2)
    out = np.empty((len(x2), w.shape[1]), F)
    call = library.call(x2, products.weight(w, x2.dtype == np.uint16), out, False)
    if call is None:  # NumPy has made it
        reference.add_to_rows(out, b)
    else:
        _product(*call, ONE, b, parts_of(max(call.m, call.n), FEWEST))
    return out.reshape(*x.shape[:-1], w.shape[1]), x2 if x2.dtype != F else None
