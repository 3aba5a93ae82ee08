"""Ops that fold axes away, and those that run along one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad2 import kernels
from tinygrad2.kernels.reference import MANY_ROWS, centred
from tinygrad2.ops.arithmetic import same
from tinygrad2.ops.op import primitive, real, wide
from tinygrad2.types import Array

Axis = int | tuple[int, ...] | None
Shape = tuple[int, ...]

FOLDS = (
    "normal(2, 3, 4), axis=(0, -1); normal(2, 3); normal(2, 3), axis=1, keepdims=True; normal(); normal(0, 3), axis=1; "
    "normal(1, 1), axis=0"
)


def spread(g: Any, shape: Shape, axis: Axis) -> Any:
    """A reduced array, back over the axes that were folded away of an array of this shape."""
    return np.broadcast_to(np.reshape(g, with_ones(shape, axis)), shape)


def with_ones(shape: Shape, axis: Axis) -> Shape:
    """A shape with 1 for the axes that are folded away."""
    gone = folded(shape, axis)
    return tuple([1 if i in gone else n for i, n in enumerate(shape)])


def count(shape: Shape, axis: Axis, ddof: int = 0) -> int:
    """How many entries of an array of this shape go into one of the reduced array, less `ddof`, and at least 0."""
    return max(int(np.prod([shape[i] for i in folded(shape, axis)])) - ddof, 0)


def folded(shape: Shape, axis: Axis) -> set[int]:
    """Which axes of an array of this shape are folded away."""
    n = len(shape)  # NumPy takes 0 and -1 as the axis of a single number
    return {a % n for a in listed(axis, n) if n}


def listed(axis: Axis, n: int) -> Iterable[int]:
    """The axes of an array of n axes as they are given."""
    return range(n) if axis is None else axis if isinstance(axis, tuple) else (axis,)


def loses_digits(x: Array, axis: Axis) -> bool:
    """Whether np.sum adds so many numbers one after another that float32 has too few digits for it.

    Those that lie side by side in memory it adds in pairs, and of these sums one to the next.
    """
    if x.dtype != np.float32 or x.size < MANY_ROWS or (x.ndim < 3 and max(x.shape) < MANY_ROWS):
        return False
    most, given = count(x.shape, axis), [*listed(axis, x.ndim)]
    gone, pairs, step = folded(x.shape, axis), 1, x.itemsize
    if len(gone) < len(given) or not all(-x.ndim <= a < x.ndim for a in given):
        return False  # for NumPy to refuse
    order = sorted((abs(x.strides[i]) or math.inf, -i) for i, n in enumerate(x.shape) if n > 1)  # repeated ones come last
    for i in (-i for _, i in order):
        if i not in gone or (pairs > 1 and abs(x.strides[i]) != step):
            break
        pairs, step = pairs * x.shape[i], abs(x.strides[i]) * x.shape[i]
    return most >= MANY_ROWS * pairs


def total(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """np.sum, but in blocks or in float64 where it would lose the digits of float32."""
    if not loses_digits(x, axis):
        return x.sum(axis=axis, keepdims=keepdims)
    gone = sorted(folded(x.shape, axis))
    if same := [i for i in gone if x.shape[i] > 1 and not x.strides[i]]:  # what is broadcast is n times the first of it
        one = x[tuple(slice(1) if i in same else slice(None) for i in range(x.ndim))]
        return total(one * np.float32(math.prod(x.shape[i] for i in same)), axis=axis, keepdims=keepdims)
    first, last = gone[0], gone[-1] + 1
    if not x.flags.c_contiguous or last - first > len(gone):
        return x.sum(axis=axis, keepdims=keepdims, dtype=np.float64).astype(x.dtype)
    found = [kernels.column_sums(part) for part in x.reshape(math.prod(x.shape[:first]), -1, math.prod(x.shape[last:]))]
    return np.reshape(found, x.shape[:first] + (1,) * (last - first) * keepdims + x.shape[last:])


def mean(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """np.mean, of the sum of `total`."""
    if not loses_digits(x, axis):
        return np.mean(x, axis=axis, keepdims=keepdims)
    return total(x, axis=axis, keepdims=keepdims) / np.float32(count(x.shape, axis))


Sum = primitive(
    total,
    lambda g, out, x, *, axis=None, keepdims=False: spread(g, x.shape, axis),
    samples=FOLDS,
    takes=wide,
    of=np.sum,
    name="sum",
)
Mean = primitive(
    mean,
    lambda g, out, x, *, axis=None, keepdims=False: spread(g, x.shape, axis) / count(x.shape, axis),
    samples=FOLDS,
    takes=wide,
    of=np.mean,
    name="mean",
)
sums: Any = Sum.call
means: Any = Mean.call
"""np.sum and np.mean, which rules call so: for arrays too, the digits of long sums are kept."""


def variance(x: Array, *, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Array:
    """np.var, of the sums of `total`."""
    if not loses_digits(x, axis):
        return np.var(x, axis=axis, ddof=ddof, keepdims=keepdims)
    far = x - mean(x, axis=axis, keepdims=True)
    np.multiply(far, far, out=far)
    return total(far, axis=axis, keepdims=keepdims) / np.float32(count(x.shape, axis, ddof))


def deviation(x: Array, *, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Array:
    """np.std, of the sums of `total`."""
    return np.sqrt(variance(x, axis=axis, ddof=ddof, keepdims=keepdims))


def for_var(g: Any, out: Any, x: Any, *, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """`ddof` is subtracted from the count that the squared distances from the mean are divided by."""
    far = x - means(x, axis=axis, keepdims=True)
    return 2 * spread(g, x.shape, axis) * far / count(x.shape, axis, ddof)


def for_std(g: Any, out: Any, x: Any, *, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """Where the deviation is 0 the gradient is taken as 0."""
    far = x - means(x, axis=axis, keepdims=True)
    return spread(g / np.where(out == 0, 1, out), x.shape, axis) * far / count(x.shape, axis, ddof)


def for_best(g: Any, out: Any, x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Of a largest or smallest entry, or the NaN that NumPy picks: where there are several, they share the gradient evenly."""
    best = same(x, spread(out, x.shape, axis))
    return np.where(best, spread(g / np.sum(best, axis=axis, keepdims=keepdims), x.shape, axis), 0)


def together(x: Any, axis: Axis) -> Any:
    """An array with the axes to be folded as one, the last."""
    gone = sorted(folded(x.shape, axis))
    kept = [i for i in range(x.ndim) if i not in gone]
    return np.reshape(np.transpose(x, kept + gone), (*[x.shape[i] for i in kept], count(x.shape, axis)))


def apart(y: Any, shape: Shape, axis: Axis) -> Any:
    """The reverse of `together`, for an array of this shape."""
    gone = sorted(folded(shape, axis))
    order = [i for i in range(len(shape)) if i not in gone] + gone
    return np.transpose(np.reshape(y, tuple([shape[i] for i in order])), np.argsort(order))


def product_before(x: Any) -> Any:
    """For every entry, the product of those before it along the last axis."""
    return np.cumprod(np.concatenate([np.ones_like(x[..., :1]), x[..., :-1]], axis=-1), axis=-1)


def product_of_others(x: Any, axis: Axis) -> Any:
    """For every entry, the product of those it is multiplied with: of those before it, and those after it."""
    rows = together(x, axis)
    return apart(product_before(rows) * np.flip(product_before(np.flip(rows, -1)), -1), x.shape, axis)


Var = primitive(variance, for_var, samples=FOLDS + "; normal(3, 4), axis=1, ddof=1", takes=wide, of=np.var, name="var")
Std = primitive(
    deviation,
    for_std,
    of=np.std,
    name="std",
    samples="normal(2, 3, 4), axis=(0, -1); normal(3, 4), axis=1, ddof=1; normal(2, 3), axis=1, keepdims=True; "
    "normal(0, 3), axis=1; normal(3, 1), axis=0",
    takes=wide,
)
Max = primitive(np.max, for_best, samples=FOLDS)
Min = primitive(np.min, for_best, samples=FOLDS)

# An entry's gradient is the product of the others, so zeros are no special case.
Prod = primitive(
    np.prod,
    lambda g, out, x, *, axis=None, keepdims=False: spread(g, x.shape, axis) * product_of_others(x, axis),
    samples=FOLDS + "; np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.5]]), axis=1",
    takes=wide,
)


def running(x: Array, *, axis: int | None = None) -> Array:
    """np.cumsum, in float64 where float32 has too few digits for so many."""
    length = max(x.shape[axis:][:1], default=0) if isinstance(axis, int) else x.size
    many = x.dtype == np.float32 and length >= MANY_ROWS
    return np.cumsum(x, axis=axis, dtype=np.float64).astype(x.dtype) if many else np.cumsum(x, axis=axis)


# Without an axis the sums are one row.
Cumsum = primitive(
    running,
    lambda g, out, x, *, axis=None: np.reshape(np.flip(cumsum(np.flip(g, axis or 0), axis=axis or 0), axis or 0), x.shape),
    of=np.cumsum,
    name="cumsum",
    samples="normal(3, 4), axis=1; normal(3, 4), axis=0; normal(2, 3); normal(3), -1; normal(); "
    "normal(0, 3), axis=0; normal(1, 1), axis=0",
    takes=wide,
)
cumsum: Any = Cumsum.call


def _horner(a: Array, x: Array) -> Array:
    out = np.array(a)
    for i in range(out.shape[-1] - 2, -1, -1):
        out[..., i] += x[..., i + 1] * out[..., i + 1]
    return out


def from_next(x: Any) -> Any:
    """For every entry, the next along the last axis; for the last, the first."""
    return np.concatenate([x[..., 1:], x[..., :1]], axis=-1)


def for_factors(h: Any, out: Any) -> Any:
    """Each factor but the first, which is not used, multiplies the entry of `out` at its place into that before it."""
    return np.concatenate([np.zeros_like(h[..., :1]), h[..., :-1] * out[..., 1:]], axis=-1)


def from_previous(g: Any, x: Any) -> Any:
    """The same in the other direction, which is the transpose: out[i] = g[i] + x[i] * out[i - 1]."""
    return np.flip(horner(np.flip(g, -1), np.flip(from_next(x), -1)), -1)


# out[i] = a[i] + x[i + 1] * out[i + 1], along the last axis: what a running product needs, without a division.
Horner = primitive(
    _horner,
    lambda g, out, a, x: from_previous(g, x),
    lambda g, out, a, x: for_factors(from_previous(g, x), out),
    name="horner",
    samples="normal(3, 4), normal(3, 4); normal(3, 1), normal(3, 1); normal(2, 0), normal(2, 0); normal(5), normal(5)",
)
horner = Horner.call


def for_cumprod(g: Any, out: Any, x: Any, *, axis: int | None = None) -> Any:
    """Of an entry: what is before it, times all that follows; zeros are no special case. Without an axis, of one row."""
    rows = np.reshape(x, (-1,)) if axis is None else np.swapaxes(x, axis, -1)
    sums = horner(np.reshape(g, (-1,)) if axis is None else np.swapaxes(g, axis, -1), rows)
    return np.reshape(np.swapaxes(product_before(rows) * sums, 0 if axis is None else axis, -1), x.shape)


Cumprod = primitive(
    np.cumprod,
    for_cumprod,
    samples="normal(3, 4), axis=1; normal(3, 4), axis=0; normal(2, 3); normal(); normal(0, 3), axis=0; normal(1, 1), axis=0; "
    "np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.5]]), axis=1",
    takes=wide,
)


def _logsumexp(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore", over="ignore"):
        found = np.log(total(np.exp(x - top), axis=axis, keepdims=True)) + top
    return found if keepdims else np.squeeze(found, axis)


def _log_softmax(x: Array, *, axis: Axis = -1) -> Array:
    low = centred(x, axis)
    below = total(np.exp(low), axis=axis, keepdims=True)
    return low - np.log(np.where(below == 0, 1, below))


def parts(x: Any, total: Any, axis: Axis) -> Any:
    """exp(x - total), where `total` is logsumexp(x); where it is infinite, the entries that are have equal parts."""
    most = np.astype((x == np.inf) & (total == np.inf), x.dtype)
    below = np.where(x == np.inf, 0, x) - np.where(total == -np.inf, 0, total)
    return np.where(most, 1 / np.maximum(np.sum(most, axis=axis, keepdims=True), 1), np.exp(below))


Logsumexp = primitive(
    _logsumexp,
    lambda g, out, x, *, axis=None, keepdims=False: spread(g, x.shape, axis) * parts(x, spread(out, x.shape, axis), axis),
    name="logsumexp",
    samples=FOLDS,
    takes=real,
)
LogSoftmax = primitive(
    _log_softmax,
    lambda g, out, x, *, axis=-1: g - np.exp(out) * sums(g, axis=axis, keepdims=True),
    name="log_softmax",
    samples="normal(2, 3, 4); normal(3, 4), axis=0; normal(2, 3, 2), axis=(0, 2); normal(0, 3); normal(3, 1)",
    takes=real,
)

logsumexp = Logsumexp.call
"""log(sum(exp(x))) over all axes or some, without overflow; -inf where every entry is, or where there is none.

It is inf where an entry is, and the gradient is that of the limit: those entries have equal parts of it. A NaN gives NaN.
"""
log_softmax = LogSoftmax.call
"""x - logsumexp(x) along one or several axes, the last unless given: the logarithm of `softmax`, also where this is 0."""
