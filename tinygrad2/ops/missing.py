"""What leaves NaN out, which gets no gradient: np.nan_to_num, and np.nansum and its kin, made of those of all entries."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tinygrad2.errors import UnsupportedError
from tinygrad2.ops.op import HALF, RULES, as_array, primitive, refuse_tensors, values, wide
from tinygrad2.ops.order import in_rows, kept_axes, median, sort
from tinygrad2.ops.reductions import FOLDS, Axis, for_best

NanMax = primitive(np.nanmax, for_best, samples=FOLDS)
NanMin = primitive(np.nanmin, for_best, samples=FOLDS)


def filled(x: Any, value: float) -> Any:
    """With a number in place of NaN."""
    return np.where(np.isnan(x), value, x) if x.dtype.kind == "f" else x


def _left(x: Any, axis: Axis, keepdims: bool, ddof: int = 0) -> Any:
    """How many are not NaN, less `ddof`; NaN where that is not positive."""
    n = np.asarray(np.sum(~np.isnan(values(x)), axis=axis, keepdims=keepdims)) - ddof
    return np.where(n > 0, n, np.nan).astype(x.dtype)


def nansum(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """The sum of those that are not NaN: 0 where there are only NaN."""
    return np.sum(filled(a, 0), axis=axis, keepdims=keepdims)


def nanprod(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """The product of those that are not NaN: 1 where there are only NaN."""
    return np.prod(filled(a, 1), axis=axis, keepdims=keepdims)


def nanmean(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """The mean of those that are not NaN; NaN where there are only NaN."""
    return nansum(a, axis, keepdims=keepdims) / _left(a, axis, keepdims)


def nanvar(a: Any, axis: Axis = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    """As np.var; NaN where not more than `ddof` entries are left."""
    far = np.where(np.isnan(a), 0, a - nanmean(a, axis, keepdims=True))
    return np.sum(far * far, axis=axis, keepdims=keepdims) / _left(a, axis, keepdims, ddof)


def nanstd(a: Any, axis: Axis = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    """As np.std: where the deviation is 0 the gradient is taken as 0."""
    v = nanvar(a, axis, ddof=ddof, keepdims=keepdims)
    return np.where(v == 0, 0, np.sqrt(np.where(v == 0, 1, v)))


def nanmedian(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """The middle of those that are not NaN; NaN where there are only NaN."""
    rows = sort(in_rows(a, axis))
    if not rows.shape[-1]:
        return median(a, axis, keepdims=keepdims)
    left = np.sum(~np.isnan(values(rows)), axis=-1, keepdims=True)
    low, high = (np.take_along_axis(rows, np.maximum(i, 0), axis=-1) for i in ((left - 1) // 2, left // 2 - (left == 0)))
    return kept_axes(((low + high) / 2)[..., 0], a.shape, axis, keepdims)


def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """Numbers in place of NaN and infinities, which get no gradient."""
    if not copy:
        raise UnsupportedError("nan_to_num: copy=False would write into the array of the tensor; leave it out")
    refuse_tensors("nan_to_num", {"nan": nan, "posinf": posinf, "neginf": neginf})
    return np.where(np.isfinite(x), x, np.nan_to_num(values(x), nan=nan, posinf=posinf, neginf=neginf))


def _of_floats(function: Any, of_all: Any) -> Any:
    """Other numbers are never NaN; float16 is computed in float32."""

    @functools.wraps(function)
    def rule(a: Any, *args: Any, **settings: Any) -> Any:
        a = as_array(a)
        if a.dtype.kind != "f":
            return of_all(a, *args, **settings)
        found = function(wide(a), *args, **settings)
        return found.astype(a.dtype) if a.dtype == HALF else found

    return rule


RULES |= {
    np.nan_to_num: nan_to_num,
    np.nansum: _of_floats(nansum, np.sum),
    np.nanprod: _of_floats(nanprod, np.prod),
    np.nanmean: _of_floats(nanmean, np.mean),
    np.nanvar: _of_floats(nanvar, np.var),
    np.nanstd: _of_floats(nanstd, np.std),
    np.nanmedian: _of_floats(nanmedian, np.median),
    np.nancumsum: lambda a, axis=None: np.cumsum(filled(a, 0), axis=axis),
    np.nancumprod: lambda a, axis=None: np.cumprod(filled(a, 1), axis=axis),
}
