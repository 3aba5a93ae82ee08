"""A library's products of matrices, called from compiled code."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import float32, int64, prange, types, void
from numba.extending import intrinsic

from tinygrad2.kernels import reference
from tinygrad2.kernels.fast import products
from tinygrad2.kernels.fast.compiled.arithmetic import SPREADS, bounds, parts_of, spread
from tinygrad2.kernels.fast.libraries import PLAIN, ROW_MAJOR
from tinygrad2.kernels.reference import FEWEST
from tinygrad2.types import Array


@intrinsic
def gemm(
    typing: Any, f: Any, flip_a: Any, flip_b: Any, m: Any, n: Any, k: Any,
    alpha: Any, a: Any, lda: Any, b: Any, ldb: Any, beta: Any, c: Any, ldc: Any,
) -> Any:  # fmt: skip
    """Call a product of cblas.h at the address `f`; matrices are addresses too. The machine code can so be kept on disk."""
    whole, real, address = ir.IntType(32), ir.FloatType(), ir.IntType(8).as_pointer()
    kinds = [whole] * 6 + [real, address, whole, address, whole, real, address, whole]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target = builder.inttoptr(arguments[0], ir.FunctionType(ir.VoidType(), kinds).as_pointer())
        values = [ir.Constant(whole, ROW_MAJOR)]
        for kind, given, value in zip(kinds[1:], signature.args[1:], arguments[1:], strict=True):
            if kind is address:
                values.append(builder.inttoptr(context.cast(builder, value, given, types.intp), address))
            else:
                values.append(context.cast(builder, value, given, types.int32 if kind is whole else types.float32))
        builder.call(target, values)
        return context.get_dummy_value()

    return types.void(f, flip_a, flip_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc), generate


@spread(void(int64, *[int64] * 12, float32, int64, int64))
def _product(
    f: Any, by_rows: Any, flip_a: Any, flip_b: Any, m: Any, n: Any, k: Any,
    a: Any, lda: Any, b: Any, ldb: Any, c: Any, ldc: Any, beta: Any, size: Any, parts: Any,
) -> None:  # fmt: skip
    """A product of float32 results, in parts of its rows or columns; `size` is that of an operand's number in bytes."""
    for part in prange(parts):
        i, j = bounds(m if by_rows else n, part, parts)
        if by_rows:
            a_part = a + size * i * (lda if flip_a == PLAIN else 1)
            gemm(f, flip_a, flip_b, j - i, n, k, 1.0, a_part, lda, b, ldb, beta, c + 4 * i * ldc, ldc)
        else:
            b_part = b + size * i * (1 if flip_b == PLAIN else ldb)
            gemm(f, flip_a, flip_b, m, j - i, k, 1.0, a, lda, b_part, ldb, beta, c + 4 * i, ldc)


def product(a: Array, b: Array, out: Array, add: bool) -> None:
    """See `reference.product`."""
    mkl = products.library(a)
    if mkl is None or not SPREADS:
        return reference.product(a, b, out, add)
    call = mkl.call(a, b, out, add)
    if call is not None:
        f, flip_a, flip_b, m, n, k, at_a, lda, at_b, ldb, at_out, ldc, _ = call
        parts = parts_of(max(m, n), FEWEST)
        _product(f, m >= n, flip_a, flip_b, m, n, k, at_a, lda, at_b, ldb, at_out, ldc, float(add), a.itemsize, parts)
    return None
