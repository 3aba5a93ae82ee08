"""NumPy functions that are put together of others which have rules: products, averages, choices.

Each takes what NumPy's takes, by NumPy's names. Its gradient is that of its parts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinygrad2.errors import MatrixError
from tinygrad2.ops.arithmetic import Where
from tinygrad2.ops.curves import conjugate
from tinygrad2.ops.functions import ANY
from tinygrad2.ops.moved import moveaxis, ravel
from tinygrad2.ops.op import RULES, as_array, primitive, values

Conjugate = primitive(np.conjugate, lambda g, out, x: g, samples=ANY)
Real = primitive(np.real, lambda g, out, x: g, samples=ANY)


# -- products
def dot(a: Any, b: Any) -> Any:
    """Summed over the last axis of a and the last but one of b."""
    a, b = as_array(a), as_array(b)
    if a.ndim == 0 or b.ndim == 0:
        return np.multiply(a, b)
    return np.matmul(a, b) if b.ndim <= 2 else tensordot(a, b, (-1, -2))


def inner(a: Any, b: Any) -> Any:
    """Summed over the last axes of both."""
    a, b = as_array(a), as_array(b)
    return np.multiply(a, b) if a.ndim == 0 or b.ndim == 0 else tensordot(a, b, (-1, -1))


def outer(a: Any, b: Any) -> Any:
    """Every entry of a times every entry of b."""
    return np.multiply(np.reshape(as_array(a), (-1, 1)), np.reshape(as_array(b), (1, -1)))


def outer_of_vectors(x1: Any, x2: Any) -> Any:
    """np.linalg.outer."""
    x1, x2 = as_array(x1), as_array(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(f"both must be vectors, not of shapes {x1.shape} and {x2.shape}")
    return outer(x1, x2)


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Summed over the last `axes` of a and the first of b, or over the axes that are given for each."""
    a, b = as_array(a), as_array(b)
    of_a, of_b = axes if np.iterable(axes) else (range(a.ndim - axes, a.ndim), range(axes))
    of_a, of_b = (normalize_axis_tuple(tuple(x) if np.iterable(x) else x, y.ndim) for x, y in ((of_a, a), (of_b, b)))
    lengths = [a.shape[i] for i in of_a]
    if lengths != [b.shape[i] for i in of_b]:
        raise ValueError(f"{a.shape} over axes {of_a} with {b.shape} over axes {of_b}: the lengths differ")
    rest_a, rest_b = ([i for i in range(x.ndim) if i not in used] for x, used in ((a, of_a), (b, of_b)))
    down, right = [a.shape[i] for i in rest_a], [b.shape[i] for i in rest_b]
    n = math.prod(lengths)
    left = np.reshape(np.transpose(a, [*rest_a, *of_a]), (math.prod(down), n))
    return np.reshape(left @ np.reshape(np.transpose(b, [*of_b, *rest_b]), (n, math.prod(right))), (*down, *right))


def kron(a: Any, b: Any) -> Any:
    """Every entry of a times all of b, side by side."""
    a, b = as_array(a), as_array(b)
    n = max(a.ndim, b.ndim)
    of_a, of_b = ((1,) * (n - x.ndim) + x.shape for x in (a, b))
    wide = np.reshape(a, [m for i in of_a for m in (i, 1)]) * np.reshape(b, [m for i in of_b for m in (1, i)])
    return np.reshape(wide, [i * j for i, j in zip(of_a, of_b, strict=True)])


def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """The vector at right angles to two of three entries."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = moveaxis(a, axisa, -1), moveaxis(b, axisb, -1)
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        raise ValueError(f"vectors of {a.shape[-1]} and {b.shape[-1]} entries; give them three, the last one 0 in a plane")
    turned = [a[..., i - 2] * b[..., i - 1] - a[..., i - 1] * b[..., i - 2] for i in range(3)]
    return np.stack(turned, axis=axisc)


def vecdot(x1: Any, x2: Any, axis: int = -1) -> Any:
    """The product of vectors, which lie along an axis of both."""
    x1, x2 = moveaxis(x1, axis, -1), moveaxis(x2, axis, -1)
    return np.squeeze(np.matmul(conjugate(x1)[..., None, :], x2[..., None]), (-2, -1))


def matvec(x1: Any, x2: Any) -> Any:
    """Matrices times vectors."""
    return np.squeeze(np.matmul(x1, as_array(x2)[..., None]), -1)


def vecmat(x1: Any, x2: Any) -> Any:
    """Vectors times matrices."""
    return np.squeeze(np.matmul(conjugate(x1)[..., None, :], x2), -2)


def multi_dot(arrays: Any) -> Any:
    """The product of several matrices, of which the first and the last may be vectors, in the order of the fewest steps."""
    arrays = [as_array(x) for x in arrays]
    if len(arrays) < 2:
        raise ValueError(f"a product needs at least two arrays, not {len(arrays)}")
    if len(arrays) == 2:
        return dot(*arrays)
    if any(x.ndim != 2 for x in arrays[1:-1]) or not {arrays[0].ndim, arrays[-1].ndim} <= {1, 2}:
        raise MatrixError(
            f"multi_dot: shapes {[x.shape for x in arrays]}; all must be matrices, the first and the last may be vectors"
        )
    shape = (*arrays[0].shape[:-1], *arrays[-1].shape[1:])
    arrays[0], arrays[-1] = np.atleast_2d(arrays[0]), arrays[-1][:, None] if arrays[-1].ndim == 1 else arrays[-1]
    sizes, n = [*(len(x) for x in arrays), arrays[-1].shape[1]], len(arrays)
    steps, middle = {(i, i + 1): 0 for i in range(n)}, {}  # of the product of arrays[i:j], and where it is best cut in two
    for i, j in ((i, i + length) for length in range(2, n + 1) for i in range(n - length + 1)):
        steps[i, j], middle[i, j] = min(
            (steps[i, k] + steps[k, j] + sizes[i] * sizes[k] * sizes[j], k) for k in range(i + 1, j)
        )
    needed = [(0, n)]
    for i, j in needed:  # which grows
        needed += [(i, middle[i, j]), (middle[i, j], j)] if j - i > 1 else []
    products: dict[tuple[int, int], Any] = {}
    for i, j in reversed(needed):
        products[i, j] = arrays[i] if j - i == 1 else products[i, k := middle[i, j]] @ products[k, j]
    return np.reshape(products[0, n], shape)


# -- averages
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    """The mean, in which entries count as much as their weights say."""
    a = as_array(a)
    axis = None if axis is None else normalize_axis_tuple(axis, a.ndim)
    if weights is None:
        found = np.mean(a, axis=axis, keepdims=keepdims)
        total = np.asarray(a.size / max(found.size, 1), found.dtype)
    else:
        weights = as_array(weights)
        if weights.shape != a.shape:
            if axis is None:
                raise ValueError(f"weights of shape {weights.shape} for {a.shape} need axis=, the axes that they belong to")
            if weights.shape != tuple(a.shape[i] for i in axis):
                raise ValueError(f"weights of shape {weights.shape} do not fit axes {axis} of {a.shape}")
            weights = np.transpose(weights, np.argsort(axis))
            weights = np.reshape(weights, [n if i in axis else 1 for i, n in enumerate(a.shape)])
        dtype = np.result_type(a.dtype, weights.dtype, *["f8"] * (a.dtype.kind in "iub"))
        weights = np.broadcast_to(np.astype(weights, dtype), a.shape)
        total = np.sum(weights, axis=axis, keepdims=keepdims)
        if np.any(total == 0):
            raise ZeroDivisionError("average: the weights sum to 0")
        found = np.sum(a * weights, axis=axis, keepdims=keepdims) / total
    return (found, np.broadcast_to(total, found.shape)) if returned else found


def ptp(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The largest entry less the smallest."""
    return np.max(a, axis=axis, keepdims=keepdims) - np.min(a, axis=axis, keepdims=keepdims)


def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None, *, dtype: Any = None) -> Any:
    """How the rows of `m` (and `y`), or its columns, vary together."""

    def rows(x: Any) -> Any:
        x = as_array(x)
        x = np.astype(x, np.result_type(x.dtype, np.float64) if dtype is None else dtype)
        return np.reshape(x, (1, -1)) if x.ndim < 2 else x if rowvar else x.T

    if as_array(m).ndim > 2 or (y is not None and as_array(y).ndim > 2):
        raise ValueError("more than two axes")
    if dtype is not None and np.dtype(dtype).kind not in "fc":
        raise ValueError(f"dtype {np.dtype(dtype)} cannot hold it")
    x = rows(m) if y is None else np.concatenate([rows(m), rows(y)])
    low = x - np.mean(x, axis=1, keepdims=True)
    return np.squeeze(low @ conjugate(low.T) / max(0.0, x.shape[1] - (1 - bias if ddof is None else ddof)))


def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """The same of rows that are scaled to a deviation of 1."""
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    deviation = np.sqrt(c[(np.arange(len(c)),) * 2])
    return np.clip(c / deviation[:, None] / deviation[None, :], -1, 1)


# -- choices
def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """x where the condition holds, and y elsewhere; of a condition alone, where it holds."""
    if x is None and y is None:
        return np.nonzero(condition)
    if x is None or y is None:
        raise ValueError("give both x and y, or neither")
    x, y = (as_array(part) if isinstance(part, (list, tuple)) else part for part in (x, y))
    return Where.call(as_array(condition), x, y)


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """For every position the entry of the first choice whose condition holds there."""
    conditions = [as_array(c) for c in condlist]
    if len(conditions) != len(choicelist) or not conditions:
        raise ValueError(f"{len(conditions)} conditions for {len(choicelist)} choices")
    if any(c.dtype != bool for c in conditions):
        raise ValueError(f"conditions must be of bool, and are of {[str(c.dtype) for c in conditions]}")
    *choices, found = (x if type(x) in (int, float, complex) else as_array(x) for x in (*choicelist, default))
    dtype = np.result_type(*(getattr(x, "dtype", x) for x in (*choices, found)))
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        found = where(condition, choice, found)
    return np.astype(as_array(found), dtype)


def unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False, axis: Any = None, **how: Any
) -> Any:
    """np.unique: a value gets its gradient from the entry where it is met first."""
    numpys: Any = np.unique
    _, index, *others = numpys(values(ar), True, return_inverse, return_counts, axis, **how)
    found, others = np.take(ar, index, axis), [index] * bool(return_index) + others
    return (found, *others) if others else found


def modf(x: Any) -> Any:
    """What is behind the point, and what is before it, which has no gradient."""
    x = as_array(x)
    x = np.astype(x, np.modf(values(x))[0].dtype)
    whole = np.trunc(x)
    return np.where(np.isinf(x), 0, np.subtract(x, np.where(np.isinf(whole), 0, whole))), whole


def full_like(a: Any, fill_value: Any, dtype: Any = None, *, shape: Any = None) -> Any:
    """An array as another one, filled with a value."""
    a = as_array(a)
    return np.copy(np.broadcast_to(np.astype(as_array(fill_value), dtype or a.dtype), a.shape if shape is None else shape))


RULES |= {
    np.dot: dot,
    np.vdot: lambda a, b: np.matmul(conjugate(ravel(a)), ravel(b)),
    np.inner: inner,
    np.outer: outer,
    np.tensordot: tensordot,
    np.kron: kron,
    np.cross: cross,
    np.linalg.cross: lambda x1, x2, *, axis=-1: cross(x1, x2, axis=axis),
    np.linalg.matmul: lambda x1, x2: np.matmul(as_array(x1), as_array(x2)),
    np.linalg.outer: outer_of_vectors,
    np.linalg.tensordot: lambda x1, x2, *, axes=2: tensordot(x1, x2, axes),
    np.linalg.vecdot: lambda x1, x2, *, axis=-1: vecdot(x1, x2, axis),
    np.linalg.multi_dot: multi_dot,
    np.vecdot: vecdot,
    np.matvec: matvec,
    np.vecmat: vecmat,
    np.average: average,
    np.cov: cov,
    np.corrcoef: corrcoef,
    np.ptp: ptp,
    np.amax: lambda a, axis=None, *, keepdims=False: np.max(a, axis=axis, keepdims=keepdims),
    np.amin: lambda a, axis=None, *, keepdims=False: np.min(a, axis=axis, keepdims=keepdims),
    np.where: where,
    np.select: select,
    np.divmod: lambda x1, x2: (np.floor_divide(x1, x2), np.remainder(x1, x2)),
    np.modf: modf,
    np.full_like: full_like,
    np.unique: unique,
}
