"""Ops that fold axes away, and those that run along one."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2.ops.op import primitive
from tinygrad2.types import Array

Axis = int | tuple[int, ...] | None
Shape = tuple[int, ...]

FOLDS = (
    "normal(2, 3, 4), axis=(0, -1); normal(2, 3); normal(2, 3), axis=1, keepdims=True; normal(); normal(0, 3), axis=1; "
    "normal(1, 1), axis=0"
)


def spread(g: Any, shape: Shape, axis: Axis) -> Any:
    """A reduced array, back over the axes that were folded away of an array of this shape."""
    folded = _axes(shape, axis)
    return np.broadcast_to(np.reshape(g, tuple(1 if i in folded else n for i, n in enumerate(shape))), shape)


def count(shape: Shape, axis: Axis) -> int:
    """How many entries of an array of this shape go into one of the reduced array."""
    return int(np.prod([shape[i] for i in _axes(shape, axis)]))


def _axes(shape: Shape, axis: Axis) -> set[int]:
    n = len(shape)
    if n == 0:  # NumPy folds a number over axis 0 too
        return set()
    return {a % n for a in (range(n) if axis is None else axis if isinstance(axis, tuple) else (axis,))}


Sum = primitive(np.sum, lambda g, out, x, *, axis=None, keepdims=False: spread(g, x.shape, axis), samples=FOLDS)
Mean = primitive(
    np.mean,
    lambda g, out, x, *, axis=None, keepdims=False: spread(g, x.shape, axis) / count(x.shape, axis),
    samples=FOLDS,
)


def for_var(g: Any, out: Any, x: Any, *, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """`ddof` is subtracted from the count that the squared distances from the mean are divided by."""
    centred = x - np.mean(x, axis=axis, keepdims=True)
    return 2 * spread(g, x.shape, axis) * centred / (count(x.shape, axis) - ddof)


def for_std(g: Any, out: Any, x: Any, *, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """Where the deviation is 0 the gradient is taken as 0."""
    centred = x - np.mean(x, axis=axis, keepdims=True)
    return spread(g / np.where(out == 0, 1, out), x.shape, axis) * centred / (count(x.shape, axis) - ddof)


def for_best(g: Any, out: Any, x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Of a largest or smallest entry: where several are equal, they share the gradient evenly."""
    best = x == spread(out, x.shape, axis)
    return np.where(best, spread(g / np.sum(best, axis=axis, keepdims=keepdims), x.shape, axis), 0)


def product_of_others(x: Any, axis: Axis) -> Any:
    """For every entry, the product of those it is multiplied with: the square of their number in memory."""
    folded = sorted(_axes(x.shape, axis))
    order = [i for i in range(x.ndim) if i not in folded] + folded
    last = np.transpose(x, order)
    n = count(x.shape, axis)
    rows = np.reshape(last, (*last.shape[: x.ndim - len(folded)], 1, n))
    others = np.prod(np.where(np.eye(n, dtype=bool), 1, rows), axis=-1)
    return np.transpose(np.reshape(others, last.shape), np.argsort(order))


Var = primitive(np.var, for_var, samples=FOLDS + "; normal(3, 4), axis=1, ddof=1")
Std = primitive(
    np.std,
    for_std,
    samples="normal(2, 3, 4), axis=(0, -1); normal(3, 4), axis=1, ddof=1; normal(2, 3), axis=1, keepdims=True; "
    "normal(0, 3), axis=1; normal(3, 1), axis=0",
)
Max = primitive(np.max, for_best, samples=FOLDS)
Min = primitive(np.min, for_best, samples=FOLDS)

# An entry's gradient is the product of the others, so zeros are no special case.
Prod = primitive(
    np.prod,
    lambda g, out, x, *, axis=None, keepdims=False: spread(g, x.shape, axis) * product_of_others(x, axis),
    samples=FOLDS + "; np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.5]]), axis=1",
)

# Without an axis the sums are one row.
Cumsum = primitive(
    np.cumsum,
    lambda g, out, x, *, axis=None: np.reshape(np.flip(np.cumsum(np.flip(g, axis or 0), axis=axis or 0), axis or 0), x.shape),
    samples="normal(3, 4), axis=1; normal(3, 4), axis=0; normal(2, 3); normal(3), -1; normal(); "
    "normal(0, 3), axis=0; normal(1, 1), axis=0",
)


def _logsumexp(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    top = np.max(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        total = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return total if keepdims else np.reshape(total, np.sum(x, axis=axis).shape)


def _log_softmax(x: Array, *, axis: Axis = -1) -> Array:
    return x - _logsumexp(x, axis=axis, keepdims=True)


Logsumexp = primitive(
    _logsumexp,
    lambda g, out, x, *, axis=None, keepdims=False: (
        spread(g, x.shape, axis) * np.exp(x - spread(np.where(np.isfinite(out), out, 0), x.shape, axis))
    ),
    name="logsumexp",
    samples=FOLDS,
)
LogSoftmax = primitive(
    _log_softmax,
    lambda g, out, x, *, axis=-1: g - np.exp(out) * np.sum(g, axis=axis, keepdims=True),
    name="log_softmax",
    samples="normal(2, 3, 4); normal(3, 4), axis=0; normal(2, 3, 2), axis=(0, 2); normal(0, 3); normal(3, 1)",
)

logsumexp = Logsumexp.call
"""log(sum(exp(x))) over all axes or some, without overflow; -inf where every entry is."""
log_softmax = LogSoftmax.call
"""x - logsumexp(x) along one or several axes, the last unless given."""
