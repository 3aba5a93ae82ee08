"""What depends on the order of the entries: sorting, medians and quantiles. All of it is made of sorted entries.

Where entries are equal, which of them is picked is NumPy's choice. A NaN is last, and it is the median and quantile of its row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from tinygrad2.errors import UnsupportedError
from tinygrad2.ops.op import RULES, as_array, refuse_tensors, values
from tinygrad2.ops.reductions import Axis, together, with_ones


def sort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None) -> Any:
    """The entries along an axis, the smallest first; without an axis, all of them."""
    if order is not None:
        raise UnsupportedError(f"sort: order={order!r} is for fields, which arrays of numbers do not have; leave it out")
    a = as_array(a)
    if axis is None:
        return sort(np.reshape(a, (-1,)), 0, kind, stable=stable)
    axis = normalize_axis_index(axis, a.ndim)
    return np.take_along_axis(a, np.argsort(values(a), axis=axis, kind=kind, stable=stable), axis=axis)


def partition(a: Any, kth: Any, axis: int | None = -1, kind: Any = "introselect") -> Any:
    """The entries along an axis, with those at the places `kth` where sorting would have them."""
    a = as_array(a)
    if axis is None:
        return partition(np.reshape(a, (-1,)), kth, 0, kind)
    axis = normalize_axis_index(axis, a.ndim)
    return np.take_along_axis(a, np.argpartition(values(a), kth, axis=axis, kind=kind), axis=axis)


def in_rows(a: Any, axis: Axis) -> Any:
    """The axes to be folded as one, the last. Raises AxisError for one that there is not, or that is named twice."""
    if axis is not None:
        normalize_axis_tuple(axis, a.ndim)
    return together(a, axis)


def kept_axes(out: Any, shape: tuple[int, ...], axis: Axis, keepdims: bool, before: tuple[int, ...] = ()) -> Any:
    """A reduced array, with its folded axes back as ones if they are to be kept."""
    return np.reshape(out, (*before, *with_ones(shape, axis))) if keepdims else out


def median(a: Any, axis: Any = None, *, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    """The middle of the sorted entries, or the mean of the two that are."""
    a = as_array(a)
    rows = np.sort(in_rows(a, axis), axis=-1)
    n = rows.shape[-1]
    if n == 0:
        return kept_axes(np.mean(rows, axis=-1), a.shape, axis, keepdims)
    last = rows[..., -1]
    middle = np.mean(rows[..., (n - 1) // 2 : n // 2 + 1], axis=-1)
    return kept_axes(np.where(np.isnan(last), last, middle), a.shape, axis, keepdims)


def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    *,
    overwrite_input: bool = False,
    method: Any = "linear",
    keepdims: bool = False,
    weights: Any = None,
) -> Any:
    """Between two of the sorted entries, where a share `q` of them is below; for several q these are the first axes."""
    refuse_tensors("quantile", {"q": q, "weights": weights})
    if weights is not None:
        raise UnsupportedError("quantile: out= and weights= have no rule here; leave them out")
    a = as_array(a)
    rows = np.sort(in_rows(a, axis), axis=-1)
    n = rows.shape[-1]
    place = np.asarray(
        np.quantile(np.arange(float(n)), q, method=method)
    )  # the method says where; of 0, 1, 2... this is the place
    below = np.floor(place).astype(int)
    of_numpy: Any = np.quantile
    share = (place - below).astype(of_numpy(np.ones(1, rows.dtype), q, method=method).dtype)
    low, high = rows[..., below], rows[..., np.minimum(below + 1, n - 1)]
    between = low * (1 - share) + high * np.where(share == 0, 1, share)  # no inf times 0
    last = np.reshape(rows[..., -1], (*rows.shape[:-1], *[1] * place.ndim))
    found = np.where(np.isnan(last), last, np.where(share == 0, low, between))
    lead = rows.ndim - 1
    found = np.transpose(found, (*range(lead, found.ndim), *range(lead)))
    return kept_axes(found, a.shape, axis, keepdims, place.shape)


def percentile(
    a: Any,
    q: Any,
    axis: Any = None,
    *,
    overwrite_input: bool = False,
    method: Any = "linear",
    keepdims: bool = False,
    weights: Any = None,
) -> Any:
    """The quantile of a hundredth of `q`."""
    refuse_tensors("percentile", {"q": q})
    share = q / 100 if type(q) in (int, float) else np.asarray(q) / 100
    return quantile(a, share, axis, method=method, keepdims=keepdims, weights=weights)


RULES |= {
    np.sort: sort,
    np.partition: partition,
    np.median: median,
    np.quantile: quantile,
    np.percentile: percentile,
}
