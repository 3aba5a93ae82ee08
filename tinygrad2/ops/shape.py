"""Ops that move entries without changing them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from tinygrad2.ops.op import RULES, as_array, primitive, refuse_tensors

Reshape = primitive(
    np.reshape,
    lambda g, out, x, *, shape: np.reshape(g, x.shape),
    samples="normal(3, 4), (2, -1); normal(), (1, 1); normal(0, 3), (3, 0); normal(1, 1), ()",
)
Squeeze = primitive(
    np.squeeze,
    lambda g, out, x, *, axis=None: np.reshape(g, x.shape),
    samples="normal(3, 1, 2); normal(1, 3, 1), axis=-1; normal(); normal(1, 0)",
)
ExpandDims = primitive(
    np.expand_dims,
    lambda g, out, x, *, axis: np.reshape(g, x.shape),
    samples="normal(3, 2), 1; normal(3), axis=(0, -1); normal(), 0; normal(0, 3), 0; normal(1), 0",
)
Transpose = primitive(
    np.transpose,
    lambda g, out, x, *, axes=None: np.transpose(g, None if axes is None else np.argsort([a % g.ndim for a in axes])),
    samples="normal(2, 3, 4), (2, 0, 1); normal(2, 3, 4), (0, -1, 1); normal(2, 3); normal(); normal(0, 3); normal(1, 3)",
)
Swapaxes = primitive(
    np.swapaxes,
    lambda g, out, x, *, axis1, axis2: np.swapaxes(g, axis1, axis2),
    samples="normal(2, 3, 4), 0, -1; normal(0, 3), 0, 1; normal(1, 3), 0, 1",
)
Flip = primitive(
    np.flip,
    lambda g, out, x, *, axis=None: np.flip(g, axis),
    samples="normal(3, 4), 1; normal(3, 4); normal(2, 3, 2), axis=(0, -1); normal(); normal(0, 3), 1; normal(1, 3), 0",
)
Tril = primitive(
    np.tril,
    lambda g, out, x, *, k=0: np.tril(g, k),
    samples="normal(3, 4); normal(2, 3, 3), k=-1; normal(0, 3); normal(1, 3)",
)
Triu = primitive(
    np.triu,
    lambda g, out, x, *, k=0: np.triu(g, k),
    samples="normal(3, 4); normal(2, 3, 3), k=1; normal(0, 3); normal(3, 1)",
)


BroadcastTo = primitive(  # the engine sums the cotangent back
    np.broadcast_to,
    lambda g, out, x, *, shape: g,
    samples="normal(3, 1), (2, 3, 4); normal(), (2,); normal(0, 1), (0, 3)",
)


def piece(g: Any, i: int, lengths: Sequence[int], axis: int) -> Any:
    """Number `i` of the parts that have these lengths along an axis."""
    start = sum(lengths[:i])
    return g[(*(slice(None),) * (axis % g.ndim), slice(start, start + lengths[i]))]


def along(x: Any, axis: int, index: Any) -> tuple[Any, ...]:
    """An index along one axis of an array."""
    return (*(slice(None),) * normalize_axis_index(axis, x.ndim), index)


Concatenate = primitive(
    lambda *arrays, axis=0: np.concatenate(arrays, axis),
    lambda g, out, i, *arrays, axis=0: piece(g, i, [x.shape[axis] for x in arrays], axis),
    name="concatenate",
    samples="normal(2, 3), normal(2, 1), axis=-1; normal(2, 3), normal(1, 3), normal(0, 3); normal(3)",
)
Stack = primitive(
    lambda *arrays, axis=0: np.stack(arrays, axis),
    lambda g, out, i, *arrays, axis=0: np.take(g, i, axis),
    name="stack",
    samples="normal(2, 3), normal(2, 3), axis=1; normal(), normal(); normal(0, 2), normal(0, 2), axis=-1; normal(1)",
)


def _concatenate(arrays: Any, axis: int | None = 0) -> Any:
    arrays = [as_array(x) for x in arrays]
    if axis is None:
        arrays, axis = [np.reshape(x, (-1,)) for x in arrays], 0
    return Concatenate.call(*arrays, axis=axis)


def _split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    ary = as_array(ary)
    refuse_tensors("split", {"indices_or_sections": indices_or_sections, "axis": axis})
    length = ary.shape[normalize_axis_index(axis, ary.ndim)]
    if np.ndim(indices_or_sections) == 0:
        sections = operator.index(indices_or_sections)
        if sections < 1 or length % sections:
            raise ValueError(f"{length} entries along axis {axis} do not divide into {sections} equal parts")
    return _array_split(ary, indices_or_sections, axis)


def _array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """The parts are slices, each of them recorded on its own."""
    ary = as_array(ary)
    refuse_tensors("array_split", {"indices_or_sections": indices_or_sections, "axis": axis})
    parts = np.array_split(np.arange(ary.shape[normalize_axis_index(axis, ary.ndim)]), indices_or_sections)
    return [ary[along(ary, axis, slice(part[0], part[-1] + 1) if part.size else slice(0))] for part in parts]


RULES[np.concatenate] = _concatenate
RULES[np.stack] = lambda arrays, axis=0: Stack.call(*map(as_array, arrays), axis=axis)
RULES[np.split] = _split
RULES[np.array_split] = _array_split
