"""Ops that fold axes away: sum, mean, max."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2.ops.op import Array, Op

Axis = int | tuple[int, ...] | None


def spread(g: Any, x: Any, axis: Axis) -> Any:
    """A reduced array, back over the axes of `x` that were folded away."""
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    folded = {a % x.ndim for a in axes}
    return np.broadcast_to(np.reshape(g, tuple(1 if i in folded else n for i, n in enumerate(x.shape))), x.shape)


class Sum(Op, of=np.sum):
    formula = "spread(g, x, axis)"

    @staticmethod
    def forward(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
        return np.sum(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array]:
        return (spread(g, x, axis),)


class Mean(Op, of=np.mean):
    formula = "spread(g, x, axis) * (out.size / x.size)"

    @staticmethod
    def forward(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
        return np.mean(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array]:
        return (spread(g, x, axis) * (out.size / x.size),)


class Max(Op, of=np.max):
    """The largest entry; where several are equal, they share the gradient evenly."""

    formula = (
        "largest = x == spread(out, x, axis); spread(g / np.sum(largest, axis=axis, keepdims=keepdims), x, axis) * largest"
    )

    @staticmethod
    def forward(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
        return np.max(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array]:
        largest = x == spread(out, x, axis)
        share = g / np.sum(largest, axis=axis, keepdims=keepdims)
        return (np.where(largest, spread(share, x, axis), 0 * x),)
