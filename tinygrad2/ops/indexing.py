"""Ops that pick entries; their cotangents are scattered back into one buffer."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2.errors import ShapeError
from tinygrad2.ops.op import RULES, Array, Op, Scatter


class GetItem(Op):
    """x[index], with everything NumPy allows as an index."""

    formula = "scatter(g, x, index)"
    samples = (
        "normal(3, 4), index=(slice(1, None), [0, 0, 2])",
        "normal(3, 4), index=(slice(None, None, -2), None, 1)",
        "normal(3, 4), index=normal(3, 4) > 0",
        "normal(3), index=-1",
        "normal(), index=()",
        "normal(0, 3), index=(slice(None), 1)",
        "normal(1, 3), index=0",
    )

    @staticmethod
    def forward(x: Array, *, index: Any) -> Array:
        return np.asarray(x[index])

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, index: Any) -> tuple[Any]:
        return (scatter(g, x, index),)


class PutItem(Op):
    """Zeros of the shape of `like` with `values` added at an index: the transpose of GetItem."""

    formula = "g[index]; None"
    samples = ("normal(3), np.zeros(4), index=[0, 2, 2]", "normal(), np.zeros((2, 2)), index=(0, 1)")

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
    samples = (
        "normal(3, 4), np.array([[1, 2, 1], [0, 0, 1]])",
        "normal(3, 4), np.zeros((0, 2), int)",
        "normal(1, 2), np.zeros(3, int)",
    )

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


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The entries at some indices along an axis, or of all entries in order; an index may come several times."""
    if axis is None:
        return np.reshape(x, (-1,))[indices]
    return x[(*(slice(None),) * (axis % x.ndim), indices)]


def gather(x: Any, indices: Any, axis: int = -1) -> Any:
    """For every position, the entry of `x` at that position but for `axis`, where it is the one `indices` says.

    x and indices have the same rank and equal lengths on the other axes (`np.take_along_axis`).
    """
    indices = np.asarray(indices)
    if indices.ndim != x.ndim:
        raise ShapeError(f"gather: indices {indices.shape} for x {x.shape}: they need the same number of axes")
    mesh = list(np.ix_(*(np.arange(n) for n in indices.shape)))
    mesh[axis] = indices
    return x[tuple(mesh)]


RULES[np.take] = take
RULES[np.take_along_axis] = gather
