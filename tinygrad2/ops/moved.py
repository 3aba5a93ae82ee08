"""NumPy functions that move entries, repeat some and leave others out: put together of ops that have rules.

Some are views, as NumPy's are. The others are done by NumPy to the positions of the entries, which says of
every entry of the result where it comes from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from tinygrad2.ops.op import RULES, as_array, primitive, values

Copy = primitive(np.copy, lambda g, out, x: g, samples="normal(3, 2); normal(); normal(0, 3); normal(1, 1)")


def by_positions(function: Callable[..., Any], *places: int) -> Callable[..., Any]:
    """A rule for a function that only moves entries of its arguments at some places, each an array or a list of arrays."""

    def rule(*args: Any, **settings: Any) -> Any:
        entries: list[Any] = []

        def positions(x: Any) -> Any:
            if isinstance(x, list):
                return list(map(positions, x))
            x = as_array(x)
            start = sum(math.prod(part.shape) for part in entries)
            entries.append(np.reshape(x, (-1,)))
            return np.arange(start, start + x.size).reshape(x.shape)

        full = [positions(x) if i in places else values(x) for i, x in enumerate(args)]
        index = function(*full, **values(settings))
        return (entries[0] if len(entries) == 1 else np.concatenate(entries))[index]

    return rule


_OF_THE_FIRST: tuple[Any, ...] = (np.repeat, np.tile, np.roll, np.rot90, np.resize, np.delete, np.block)
RULES |= {function: by_positions(function, 0) for function in _OF_THE_FIRST}
RULES |= {np.compress: by_positions(np.compress, 1), np.extract: by_positions(np.extract, 1)}
_insert, _choose = by_positions(np.insert, 0, 2), by_positions(np.choose, 1)


def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """np.insert, which puts values into the dtype of the array."""
    arr = as_array(arr)
    return _insert(arr, obj, np.astype(as_array(values), arr.dtype), axis=axis)


def choose(a: Any, choices: Any, mode: str = "raise") -> Any:
    """np.choose: for every position, the entry there of the array with the number that `a` has there."""
    numpys: Any = np.choose
    return np.astype(_choose(a, list(choices), mode=mode), numpys(values(a), values(list(choices)), mode=mode).dtype)


def ravel(a: Any) -> Any:
    """All entries in order, as a view where there can be one."""
    return np.reshape(as_array(a), (-1,))


def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """The axes `source` at the places `destination`; the others keep their order."""
    a = as_array(a)
    source = normalize_axis_tuple(source, a.ndim, "source")
    destination = normalize_axis_tuple(destination, a.ndim, "destination")
    if len(source) != len(destination):
        raise ValueError(f"source {source} and destination {destination} must have the same number of axes")
    order = [i for i in range(a.ndim) if i not in source]
    for place, axis in sorted(zip(destination, source, strict=True)):
        order.insert(place, axis)
    return np.transpose(a, order)


def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """The axis before the one that is number `start` now."""
    a = as_array(a)
    axis, start = normalize_axis_index(axis, a.ndim), start + a.ndim * (start < 0)
    if not 0 <= start <= a.ndim:
        raise np.exceptions.AxisError(start, a.ndim + 1, "start")
    return moveaxis(a, axis, start - (axis < start))


def matrix_transpose(x: Any) -> Any:
    """The last two axes swapped."""
    x = as_array(x)
    if x.ndim < 2:
        raise ValueError(f"an array of shape {x.shape} is not a matrix: it has fewer than two axes")
    return np.swapaxes(x, -1, -2)


def at_least(n: int, x: Any) -> Any:
    """An array with n axes or more."""
    x = as_array(x)
    if x.ndim >= n:
        return x
    shape = x.shape or (1,)
    if n > 1:
        shape = (1, *shape) if len(shape) == 1 else shape
    if n > 2:
        shape = (*shape, 1)
    return np.reshape(x, shape)


def _each_at_least(n: int) -> Callable[..., Any]:
    def rule(*arys: Any) -> Any:
        found = tuple([at_least(n, x) for x in arys])
        return found[0] if len(found) == 1 else found

    return rule


RULES[np.atleast_1d], RULES[np.atleast_2d], RULES[np.atleast_3d] = map(_each_at_least, (1, 2, 3))


def hstack(tup: Any) -> Any:
    """Joined along the second axis; arrays of one axis, or none, along the first."""
    arrays = [at_least(1, x) for x in tup]
    return np.concatenate(arrays, axis=0 if arrays and arrays[0].ndim == 1 else 1)


def column_stack(tup: Any) -> Any:
    """Joined along the second axis; an array of one axis is a column."""
    arrays = [as_array(x) for x in tup]
    return np.concatenate([np.reshape(x, (-1, 1)) if x.ndim < 2 else x for x in arrays], axis=1)


def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """np.append: joined along an axis; without one, as one row."""
    return np.concatenate([arr, values], axis=axis)


def _split_along(axis: int, needed: int) -> Callable[..., Any]:
    def rule(ary: Any, indices_or_sections: Any) -> Any:
        ary = as_array(ary)
        if ary.ndim < needed:
            raise ValueError(f"an array of shape {ary.shape} has fewer than {needed} axes")
        return np.split(ary, indices_or_sections, 0 if ary.ndim == 1 else axis)

    return rule


def _flipped(axis: int) -> Callable[..., Any]:
    def rule(m: Any) -> Any:
        m = as_array(m)
        return np.flip(m, normalize_axis_index(axis, m.ndim))

    return rule


def broadcast_arrays(*args: Any) -> Any:
    """All with the one shape that they have together."""
    arrays = [as_array(x) for x in args]
    shape = np.broadcast_shapes(*(x.shape for x in arrays))
    return tuple([np.broadcast_to(x, shape) for x in arrays])


def meshgrid(*xi: Any, sparse: bool = False, indexing: str = "xy", copy: bool = True) -> Any:
    """np.meshgrid: the coordinates of a grid."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing {indexing!r} is neither 'xy' nor 'ij'")
    n = len(xi)
    order = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
    lines = [np.reshape(as_array(x), [-1 if a == order[i] else 1 for a in range(n)]) for i, x in enumerate(xi)]
    found = lines if sparse else broadcast_arrays(*lines)
    return tuple(map(np.copy, found) if copy else found)


def unstack(x: Any, *, axis: int = 0) -> Any:
    """The parts along an axis, without it."""
    return tuple(moveaxis(x, axis, 0))


RULES |= {
    np.insert: insert,
    np.choose: choose,
    np.ravel: ravel,
    np.moveaxis: moveaxis,
    np.rollaxis: rollaxis,
    np.matrix_transpose: matrix_transpose,
    np.linalg.matrix_transpose: matrix_transpose,
    np.hstack: hstack,
    np.vstack: lambda tup: np.concatenate([at_least(2, x) for x in tup]),
    np.dstack: lambda tup: np.concatenate([at_least(3, x) for x in tup], axis=2),
    np.column_stack: column_stack,
    np.append: append,
    np.hsplit: _split_along(1, 1),
    np.vsplit: _split_along(0, 2),
    np.dsplit: _split_along(2, 3),
    np.flipud: _flipped(0),
    np.fliplr: _flipped(1),
    np.broadcast_arrays: broadcast_arrays,
    np.meshgrid: meshgrid,
    np.unstack: unstack,
}
