"""Ops that move entries without changing them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad2.ops.op import RULES, Array, Op


class Reshape(Op, of=np.reshape):
    formula = "np.reshape(g, x.shape)"

    @staticmethod
    def forward(x: Array, *, shape: int | tuple[int, ...]) -> Array:
        return np.reshape(x, shape)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, shape: int | tuple[int, ...]) -> tuple[Array]:
        return (np.reshape(g, x.shape),)


class Transpose(Op, of=np.transpose):
    formula = "np.transpose(g, None if axes is None else np.argsort(axes))"

    @staticmethod
    def forward(x: Array, *, axes: Sequence[int] | None = None) -> Array:
        return np.transpose(x, axes)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axes: Sequence[int] | None = None) -> tuple[Array]:
        return (np.transpose(g, None if axes is None else np.argsort([a % g.ndim for a in axes])),)


class Swapaxes(Op, of=np.swapaxes):
    formula = "np.swapaxes(g, axis1, axis2)"

    @staticmethod
    def forward(x: Array, *, axis1: int, axis2: int) -> Array:
        return np.swapaxes(x, axis1, axis2)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis1: int, axis2: int) -> tuple[Array]:
        return (np.swapaxes(g, axis1, axis2),)


class BroadcastTo(Op, of=np.broadcast_to):
    """The same entries, repeated; the engine sums the cotangent back."""

    formula = "g"

    @staticmethod
    def forward(x: Array, *, shape: tuple[int, ...]) -> Array:
        return np.broadcast_to(x, shape)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, shape: tuple[int, ...]) -> tuple[Array]:
        return (g,)


class Concatenate(Op):
    formula = "*np.split(g, np.cumsum([x.shape[axis] for x in arrays])[:-1], axis)"

    @staticmethod
    def forward(*arrays: Array, axis: int = 0) -> Array:
        return np.concatenate(arrays, axis)

    @staticmethod
    def vjp(g: Array, out: Array, *arrays: Array, axis: int = 0) -> tuple[Array, ...]:
        ends = np.cumsum([x.shape[axis] for x in arrays])
        before = (slice(None),) * (axis % g.ndim)
        return tuple(g[(*before, slice(end - x.shape[axis], end))] for x, end in zip(arrays, ends, strict=True))


def _concatenate(arrays: Sequence[Any], axis: int = 0) -> Any:
    return Concatenate.call(*arrays, axis=axis)


RULES[np.concatenate] = _concatenate
