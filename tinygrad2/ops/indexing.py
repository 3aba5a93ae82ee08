"""Ops that pick entries; their cotangents are scattered back into one buffer."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2.errors import ShapeError
from tinygrad2.ops.op import Array, Op, Scatter


class GetItem(Op):
    """x[index], with everything NumPy allows as an index."""

    formula = "scatter(g, x, index)"

    @staticmethod
    def forward(x: Array, *, index: Any) -> Array:
        return np.asarray(x[index])

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, index: Any) -> tuple[Any]:
        return (scatter(g, x, index),)


class PutItem(Op):
    """Zeros of the shape of `like` with `values` added at an index: the transpose of GetItem."""

    formula = "g[index]; None"

    @staticmethod
    def forward(values: Array, like: Array, *, index: Any) -> Array:
        out = np.zeros(like.shape, values.dtype)
        np.add.at(out, index, values)
        return out

    @staticmethod
    def vjp(g: Array, out: Array, values: Array, like: Array, *, index: Any) -> tuple[Array, None]:
        return g[index], None


class Embedding(Op):
    """Rows of a table by number."""

    formula = "scatter(g, table, ids); None"

    @staticmethod
    def forward(table: Array, ids: Array) -> Array:
        if ids.dtype.kind not in "iu":
            raise ShapeError(f"embedding: ids must be integers, not {ids.dtype}")
        if ids.size and (ids.min() < 0 or ids.max() >= len(table)):
            where = np.unravel_index(np.argmax((ids < 0) | (ids >= len(table))), ids.shape)
            at = ", ".join(map(str, where))
            raise ShapeError(f"embedding: id {ids[where]} at [{at}] is outside the table's {len(table)} rows")
        return table[ids]

    @staticmethod
    def vjp(g: Array, out: Array, table: Array, ids: Array) -> tuple[Any, None]:
        return scatter(g, table, ids), None


def scatter(g: Any, x: Any, index: Any) -> Any:
    """`g` at `index` of zeros like `x`: a Scatter for arrays, a recorded op for Tensors."""
    return Scatter(index, g) if isinstance(g, np.ndarray) else PutItem.call(g, x, index=index)


def embedding(table: Any, ids: Any) -> Any:
    """Look up rows: table (V, C), integer ids (...) -> (..., C). Raises ShapeError for an id that is not in 0..V-1."""
    return Embedding.call(table, np.asarray(ids))
