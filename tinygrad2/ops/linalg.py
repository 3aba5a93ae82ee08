"""Matrix products, with every rank that NumPy allows."""

from __future__ import annotations

import numpy as np

from tinygrad2.errors import ShapeError
from tinygrad2.ops.op import Array, Op


class Matmul(Op, of=np.matmul):
    """a @ b. A vector counts as a row on the left and as a column on the right; leading axes broadcast."""

    formula = "g @ np.swapaxes(b, -1, -2); np.swapaxes(a, -1, -2) @ g"

    @staticmethod
    def forward(a: Array, b: Array) -> Array:
        if np.ndim(a) and np.ndim(b):
            inner = a.shape[-1], b.shape[-2 if b.ndim > 1 else 0]
            if inner[0] != inner[1]:
                raise ShapeError(f"matmul: {a.shape} @ {b.shape}: inner dimensions {inner[0]} and {inner[1]} differ")
        return np.matmul(a, b)

    @staticmethod
    def vjp(g: Array, out: Array, a: Array, b: Array) -> tuple[Array, Array]:
        if a.ndim == 1 and b.ndim == 1:
            return g * b, g * a
        if a.ndim == 1:  # (k) @ (..., k, n) -> (..., n)
            g_row = np.reshape(g, (*g.shape[:-1], 1, g.shape[-1]))
            return np.sum(b * g_row, axis=-1), np.reshape(a, (-1, 1)) * g_row
        if b.ndim == 1:  # (..., m, k) @ (k) -> (..., m)
            g_column = np.reshape(g, (*g.shape, 1))
            return g_column * b, np.sum(a * g_column, axis=-2)
        return g @ np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2) @ g


matmul = Matmul.call
