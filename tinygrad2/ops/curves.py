"""NumPy functions of numbers in a row: differences, slopes, areas, sums of shifted copies, and what is between.

Each is put together of functions that have rules, and takes what NumPy's takes, by NumPy's names.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from tinygrad2.ops.moved import moveaxis, ravel
from tinygrad2.ops.op import RULES, as_array, floating, primitive, values, wide
from tinygrad2.ops.shape import along

Convolve = primitive(  # sum_j a[k - j] v[j], for every k where the two meet at all
    np.convolve,
    lambda g, out, a, v: np.correlate(g, v),
    lambda g, out, a, v: np.correlate(g, a),
    name="convolve",
    samples="normal(4), normal(3); normal(2), normal(5); normal(1), normal(1)",
    takes=wide,
)


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """What each entry is more than the one before it, n times."""
    a = as_array(a)
    axis = normalize_axis_index(axis, a.ndim)
    if n < 0:
        raise ValueError(f"order {n} is below 0")

    def end(x: Any) -> Any:
        x = as_array(x)
        return np.broadcast_to(x, (*a.shape[:axis], 1, *a.shape[axis + 1 :])) if x.ndim == 0 else x

    if n and (prepend is not None or append is not None):
        ends = ([] if x is None else [end(x)] for x in (prepend, append))
        a = np.concatenate([*next(ends), a, *next(ends)], axis)
    for _ in range(n):
        minus = np.not_equal if a.dtype == bool else np.subtract
        a = minus(a[along(a, axis, slice(1, None))], a[along(a, axis, slice(-1))])
    return a


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Slopes by differences, for steps of 1, of one length for each axis, or between coordinates."""
    f = floating(f)
    axes = range(f.ndim) if axis is None else normalize_axis_tuple(axis, f.ndim)
    steps = varargs or (1.0,)
    steps = steps * len(axes) if len(steps) == 1 and np.ndim(steps[0]) == 0 else steps
    if len(steps) != len(axes):
        raise ValueError(f"{len(steps)} spacings for {len(axes)} axes")
    if edge_order not in (1, 2):
        raise ValueError(f"edge_order {edge_order} is neither 1 nor 2")
    found = [moveaxis(_slopes(moveaxis(f, i, -1), step, edge_order), -1, i) for i, step in zip(axes, steps, strict=True)]
    return found[0] if len(found) == 1 else tuple(found)


def _slopes(f: Any, step: Any, edge_order: int) -> Any:
    n, step = f.shape[-1], floating(step)
    if n < edge_order + 1:
        raise ValueError(f"{n} entries along an axis are not enough for edge_order {edge_order}")
    if step.shape not in ((), (n,)):
        raise ValueError(f"coordinates of shape {step.shape} for {n} entries along an axis")
    h = np.broadcast_to(step, (n - 1,)) if step.ndim == 0 else np.diff(step)
    d = (f[..., 1:] - f[..., :-1]) / h
    if step.ndim == 0:  # so that an infinity in the middle stays out
        inside = (f[..., 2:] - f[..., :-2]) / (2.0 * step)
    else:
        inside = (d[..., :-1] * h[1:] + d[..., 1:] * h[:-1]) / (h[:-1] + h[1:])
    first, last = d[..., :1], d[..., -1:]
    if edge_order == 2:
        first = first + (d[..., :1] - d[..., 1:2]) * (h[0] / (h[0] + h[1]))
        last = last + (d[..., -1:] - d[..., -2:-1]) * (h[-1] / (h[-1] + h[-2]))
    return np.astype(np.concatenate([first, inside, last], axis=-1), f.dtype)


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The area below straight lines from entry to entry."""
    y, dx = as_array(y), as_array(dx) if isinstance(dx, (list, tuple)) else dx
    later, earlier = (y[along(y, axis, part)] for part in (slice(1, None), slice(-1)))
    if x is not None:
        x = as_array(x)
        dx = np.diff(x, axis=axis if x.ndim > 1 else 0)
        dx = np.reshape(dx, [-1 if i == axis % y.ndim else 1 for i in range(y.ndim)]) if x.ndim == 1 else dx
    return np.sum(dx * (later + earlier) / 2.0, axis=axis)


def conjugate(x: Any) -> Any:
    """The conjugate of complex numbers; NumPy's would turn truth values into numbers."""
    x = as_array(x)
    return np.conjugate(x) if x.dtype.kind == "c" else x


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """What each entry of all in order is more than the one before it."""
    ary = ravel(ary)
    if not all(np.can_cast(as_array(x).dtype, ary.dtype, "same_kind") for x in (to_begin, to_end) if x is not None):
        raise ValueError(f"to_begin and to_end must fit into {ary.dtype}")
    ends = [np.astype(ravel(x), ary.dtype) for x in (to_begin, to_end) if x is not None]
    parts = [*ends[: to_begin is not None], ary[1:] - ary[:-1], *ends[to_begin is not None :]]
    return np.concatenate(parts)


def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """sum_j a[k - j] v[j], for every k where the two meet at all, or (valid) in full; or (same) as many as the longer has."""
    a, v = (np.reshape(x, (-1,)) if x.ndim == 0 else x for x in (as_array(a), as_array(v)))
    if a.ndim != 1 or v.ndim != 1 or not a.size or not v.size:
        raise ValueError(f"both must be rows of numbers, not of shapes {a.shape} and {v.shape}")
    a, v = (a, v) if len(a) >= len(v) else (v, a)
    n, m = len(a), len(v)
    parts = {"full": (0, n + m - 1), "same": ((m - 1) // 2, n), "valid": (m - 1, n - m + 1)}
    if mode not in parts:
        raise ValueError(f"mode {mode!r} is unknown; choose from {', '.join(parts)}")
    first, length = parts[mode]
    return Convolve.call(a, v)[first : first + length]


def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """sum_j a[k + j] v[j]: a convolution with v in reverse."""
    a, v = as_array(a), np.flip(conjugate(v))
    found = convolve(a, v, mode)
    if mode == "same" and a.size < len(v) and len(a) % 2 == 0:  # NumPy's middle is that of the longer
        return convolve(a, v, "full")[len(a) // 2 :][: len(v)]
    return found


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Any:
    """On straight lines between the points (xp, fp), where xp grows; `left` and `right` are beyond them."""
    x, xp, fp = (np.astype(part := as_array(y), np.result_type(part.dtype, np.float64)) for y in (x, xp, fp))
    n = len(xp)
    if fp.shape != (n,) or not n:
        raise ValueError(f"xp and fp must be rows of one length, not of shapes {xp.shape} and {fp.shape}")
    at, knots, heights = values(x), values(xp), values(fp)
    i = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, n - 1)
    j, level = np.minimum(i + 1, n - 1), np.False_

    def line(x: Any, xp: Any, fp: Any, start: Any) -> Any:
        width = xp[j] - xp[i]
        steps = np.where(level, 0, x - xp[start])
        return fp[start] + steps * ((fp[j] - fp[i]) / np.where(values(width) == 0, 1, width))

    with np.errstate(invalid="ignore"):  # infinities: NumPy tries from the left, then from the right, and then stays level
        start = np.where(np.isnan(line(at, knots, heights, i)), j, i)
        lost = np.isnan(line(at, knots, heights, start)) & ((at == knots[i]) | (heights[i] == heights[j]))
        level = (lost & ~np.isnan(at)) | (at < knots[0]) | (at >= knots[-1]) | (n == 1)
        j, start = np.where(level, i, j), np.where(level, i, start)
        found = np.where(level, fp[i], line(x, xp, fp, start))
    found = found if right is None else np.where(x > xp[-1], right, found)
    return found if left is None else np.where(x < xp[0], left, found)


def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None, axis: int = 0
) -> Any:
    """`num` numbers at equal distances from `start` to `stop`."""
    if num < 0:
        raise ValueError(f"{num} numbers are fewer than 0")
    kinds = [x if type(x) in (int, float) else as_array(x).dtype for x in (start, stop)]
    start, stop = as_array(start), as_array(stop)
    parts = num - 1 if endpoint else num
    share = np.reshape(np.arange(num) / max(parts, 1), (-1, *[1] * max(start.ndim, stop.ndim)))
    found = start * (1 - share) + stop * share
    found = np.floor(found) if dtype is not None and np.issubdtype(dtype, np.integer) else found
    found = moveaxis(np.astype(found, np.result_type(1.0, *kinds) if dtype is None else dtype), 0, axis)
    return (found, (stop - start) / (parts or np.nan)) if retstep else found


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The powers of each number, in columns."""
    x = as_array(x)
    if x.ndim != 1:
        raise ValueError(f"x must be a row of numbers, not of shape {x.shape}")
    powers = np.arange(len(x) if N is None else N)
    return x[:, None] ** (powers if increasing else powers[::-1])


def polyval(p: Any, x: Any) -> Any:
    """A polynomial at x; p are its factors, that of the highest power first."""
    x = as_array(x)
    found = np.zeros_like(x)
    for factor in as_array(p):
        found = found * x + factor
    return found


RULES |= {
    np.diff: diff,
    np.gradient: gradient,
    np.trapezoid: trapezoid,
    np.ediff1d: ediff1d,
    np.convolve: convolve,
    np.correlate: correlate,
    np.interp: interp,
    np.linspace: linspace,
    np.vander: vander,
    np.polyval: polyval,
}
