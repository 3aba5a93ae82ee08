"""Ops that pick entries; their cotangents are scattered back into one buffer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from tinygrad2.errors import DtypeError, ShapeError
from tinygrad2.kernels.reference import MANY_ROWS
from tinygrad2.ops.op import RULES, as_array, primitive, values, wide
from tinygrad2.ops.reductions import total
from tinygrad2.ops.shape import along
from tinygrad2.types import Array


class Scatter:
    """A cotangent that is zero but at an index: added into the one buffer of its input, never spread out on its own."""

    __slots__ = ("index", "shape", "values")

    def __init__(self, index: Any, values: Array, shape: tuple[int, ...]) -> None:
        self.index, self.values, self.shape = index, values, shape

    def add_to(self, buffer: Array) -> None:
        """Add the values at the index of `buffer`, once for every repetition of an entry."""
        if isinstance(self.index, np.ndarray) and self.index.dtype.kind in "iu" and self.index.size and buffer.ndim > 1:
            add_rows(buffer, self.index, self.values)
        else:
            add_at(buffer, self.index, self.values)


def add_at(buffer: Array, index: Any, values: Array) -> None:
    """Add the values at an index, once for every repetition of an entry.

    Where many may meet in one, float32 is summed in float64, unless the buffer is too large to be copied for them.
    """
    if not may_repeat(index):
        buffer[index] += values
        return
    sums, number = wide(buffer), np.size(values)
    if sums.dtype == np.float32 and number >= MANY_ROWS and 8 * number >= buffer.size:
        sums = buffer.astype(np.float64)
    np.add.at(sums, index, np.asarray(values, sums.dtype))  # of one dtype NumPy is faster here
    if sums is not buffer:
        buffer[...] = sums


def may_repeat(index: Any) -> bool:
    """Whether an index can name an entry twice: only integers in an array can, not slices, single numbers, or masks."""
    parts = index if isinstance(index, tuple) else (index,)
    arrays = (np.asarray(part) for part in parts if not (part is None or part is Ellipsis or isinstance(part, slice)))
    return any(part.ndim and part.dtype.kind in "iu" for part in arrays)


def add_rows(buffer: Array, index: Array, values: Array) -> None:
    """np.add.at for integers (...) and values (..., *row): each row of the buffer is changed once, which is faster."""
    flat, rows = index.reshape(-1), values.reshape(index.size, *buffer.shape[1:])
    order = np.argsort(flat, kind="stable")
    ids = flat[order]
    starts = np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))
    for some in np.split(order, starts[1:]):
        buffer[flat[some[0]]] += total(rows[some].astype(np.result_type(rows, np.float32), copy=False), axis=0)


def scatter(g: Any, shape: tuple[int, ...], index: Any) -> Any:
    """`g` at `index` of zeros of this shape: a Scatter for arrays, a recorded op for Tensors."""
    return Scatter(index, g, shape) if isinstance(g, np.ndarray) else PutItem.call(g, shape=shape, index=index)


def _put_item(values: Array, *, shape: tuple[int, ...], index: Any) -> Array:
    out = np.zeros(shape, values.dtype)
    add_at(out, index, values)
    return out


def _rows(table: Array, ids: Array) -> Array:
    if ids.dtype.kind not in "iu":
        raise ShapeError(f"embedding: ids must be integers, not {ids.dtype}")
    if ids.size and (ids.min() < 0 or ids.max() >= len(table)):
        where = np.unravel_index(np.argmax((ids < 0) | (ids >= len(table))), ids.shape)
        at = ", ".join(map(str, where))
        raise ShapeError(f"embedding: id {ids[where]} at [{at}] is outside the table's {len(table)} rows")
    return table[ids]


GetItem = primitive(  # with everything that NumPy allows as an index
    lambda x, *, index: np.asarray(x[index]),
    lambda g, out, x, *, index: scatter(g, x.shape, index),
    name="get_item",
    samples="normal(3, 4), index=(slice(1, None), [0, 0, 2]); normal(3, 4), index=(slice(None, None, -2), None, 1); "
    "normal(3, 4), index=normal(3, 4) > 0; normal(3), index=-1; normal(), index=(); "
    "normal(0, 3), index=(slice(None), 1); normal(1, 3), index=0",
)
PutItem = primitive(  # the transpose of GetItem
    _put_item,
    lambda g, out, values, *, shape, index: g[index],
    name="put_item",
    samples="normal(3), shape=(4,), index=[0, 2, 2]; normal(), shape=(2, 2), index=(0, 1)",
)
Embedding = primitive(
    _rows,
    lambda g, out, table, ids: scatter(g, table.shape, ids),
    None,
    name="embedding",
    samples="normal(3, 4), np.array([[1, 2, 1], [0, 0, 1]]); normal(3, 4), np.zeros((0, 2), int); "
    "normal(1, 2), np.zeros(3, int)",
)


def embedding(table: Any, ids: Any) -> Any:
    """Look up rows: table (V, C), integer ids (...) -> (..., C). Raises ShapeError for an id that is not in 0..V-1."""
    return Embedding.call(as_array(table), np.asarray(ids))


def take(a: Any, indices: Any, axis: int | None = None, mode: str = "raise") -> Any:
    """The entries at some indices along an axis, or of all entries in order; an index may come several times.

    What is outside counts round the axis (mode "wrap"), is the nearest that there is ("clip"), or is an error.
    """
    a = as_array(a)
    indices = np.asarray(values(indices))
    if indices.dtype.kind not in "iub":
        raise DtypeError(f"take: indices must be integers, not {indices.dtype}")
    indices = indices.astype(np.intp)
    if axis is None or (a.ndim == 0 and axis in (0, -1)):
        a, axis = np.reshape(a, (-1,)), 0
    index = along(a, axis, indices)
    n = a.shape[len(index) - 1]
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"mode {mode!r} is unknown; choose from raise, wrap, clip")
    if indices.size and not n:
        raise ValueError(f"axis {axis} of an array of shape {a.shape} is empty: nothing can be taken")
    if mode != "raise" and n:
        index = (*index[:-1], indices % n if mode == "wrap" else np.clip(indices, 0, n - 1))
    return a[index]


def gather(x: Any, indices: Any, axis: int | None = -1) -> Any:
    """For every position, the entry of `x` at that position but for `axis`, where it is the one `indices` says.

    x and indices have the same rank; on the other axes their lengths are equal, or one of them is 1
    (`np.take_along_axis`). Without an axis, x is one row.
    """
    x, indices = as_array(x), np.asarray(values(indices))
    if axis is None:
        x, axis = np.reshape(x, (-1,)), 0
    if indices.ndim != x.ndim:
        raise ShapeError(f"gather: indices {indices.shape} for x {x.shape}: they need the same number of axes")
    if indices.dtype.kind not in "iu":
        raise ShapeError(f"gather: indices must be integers, not {indices.dtype}")
    mesh = list(np.ix_(*(np.arange(n) for n in x.shape)))
    mesh[normalize_axis_index(axis, x.ndim)] = indices
    return x[tuple(mesh)]


RULES[np.take] = take
RULES[np.take_along_axis] = gather
