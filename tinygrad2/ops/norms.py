"""Norms of vectors and matrices: np.linalg.norm."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinygrad2.errors import UnsupportedError
from tinygrad2.ops.op import RULES, primitive, real
from tinygrad2.ops.reductions import Axis, loses_digits, spread, total
from tinygrad2.types import Array


def for_norm(g: Any, out: Any, x: Any, *, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Any:
    """At 0 the gradient is 0."""
    unit = x / spread(np.where(out == 0, 1, out), x.shape, axis)
    slope = unit if ord == 2 else np.sign(x) * np.abs(np.where(x == 0, 1, unit)) ** (ord - 1)
    return spread(np.where(out == 0, 0, g), x.shape, axis) * slope


def _vector_norm(x: Array, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Array:
    if not loses_digits(x, axis):
        return np.linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=ord)
    return total(np.abs(x) ** ord, axis=axis, keepdims=keepdims) ** (1 / ord)


VectorNorm = primitive(
    _vector_norm,
    for_norm,
    name="vector_norm",
    samples="normal(2, 3, 4), axis=(0, -1); normal(2, 3); normal(2, 3), axis=1, keepdims=True, ord=3; normal(); "
    "normal(0, 3), axis=1; positive(3, 2), axis=0, ord=-1.5; normal(1, 1), axis=0",
    takes=real,
)


def vector_norm(x: Any, /, *, axis: Axis = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """(sum(|x|^ord))^(1 / ord); its limits for ord = inf and -inf; for ord = 0 the number of entries that are not 0."""
    if isinstance(ord, str):
        raise UnsupportedError(f"vector_norm: ord={ord!r} is for matrices; give a number")
    if ord in (np.inf, -np.inf):
        return (np.max if ord > 0 else np.min)(np.abs(x), axis=axis, keepdims=keepdims)
    if ord == 0:
        return np.sum(np.astype(x != 0, x.dtype), axis=axis, keepdims=keepdims)
    if ord == 1:
        return np.sum(np.abs(x), axis=axis, keepdims=keepdims)
    return VectorNorm.call(x, axis=axis, keepdims=keepdims, ord=ord)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """Of matrices: "fro", "nuc"; the largest or, with -, smallest sum of a row (inf) or column (1), or singular value (2)."""
    if ord in (None, "fro"):
        return VectorNorm.call(x, axis=(-2, -1), keepdims=keepdims)
    if ord in (1, -1, np.inf, -np.inf):
        summed, chosen = (-2, -1) if abs(ord) == 1 else (-1, -2)
        sums = np.sum(np.abs(x), axis=summed, keepdims=True)
        found = (np.max if ord > 0 else np.min)(sums, axis=chosen, keepdims=True)
        return found if keepdims else np.squeeze(found, (-2, -1))
    if ord not in ("nuc", 2, -2):
        raise UnsupportedError(f"norm: ord={ord!r} is not for matrices; choose from 'fro', 'nuc', 1, -1, 2, -2, inf, -inf")
    s = np.linalg.svdvals(x)
    found = np.sum(s, axis=-1) if ord == "nuc" else np.max(s, axis=-1) if ord == 2 else np.min(s, axis=-1)
    return np.expand_dims(found, (-2, -1)) if keepdims else found


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Of vectors along one axis, or of matrices along two; of all entries where neither `ord` nor `axis` is given."""
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if axis is None and ord is None:
        return VectorNorm.call(x, axis=axes, keepdims=keepdims)
    if len(axes) not in (1, 2):
        raise ValueError(f"norm: ord={ord!r} along {len(axes)} axes; give one axis for vectors, two for matrices")
    if len(axes) == 1:
        return vector_norm(x, axis=axes[0], keepdims=keepdims, ord=2 if ord is None else ord)
    folded = list(normalize_axis_tuple(axes, x.ndim))
    last = np.transpose(x, [i for i in range(x.ndim) if i not in folded] + folded)
    found = matrix_norm(last, ord=ord)
    return np.expand_dims(found, tuple(sorted(folded))) if keepdims else found


RULES |= {np.linalg.vector_norm: vector_norm, np.linalg.matrix_norm: matrix_norm, np.linalg.norm: norm}
