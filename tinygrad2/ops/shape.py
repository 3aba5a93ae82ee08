"""Ops that move entries without changing them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad2.errors import UnsupportedError
from tinygrad2.ops.op import RULES, Array, Op

Axes = int | tuple[int, ...] | None


class Reshape(Op, of=np.reshape):
    formula = "np.reshape(g, x.shape)"
    samples = ("normal(3, 4), (2, -1)", "normal(), (1, 1)", "normal(0, 3), (3, 0)", "normal(1, 1), ()")

    @staticmethod
    def forward(x: Array, *, shape: int | tuple[int, ...]) -> Array:
        return np.reshape(x, shape)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, shape: int | tuple[int, ...]) -> tuple[Array]:
        return (np.reshape(g, x.shape),)


class Squeeze(Op, of=np.squeeze):
    formula = "np.reshape(g, x.shape)"
    samples = ("normal(3, 1, 2)", "normal(1, 3, 1), axis=-1", "normal()", "normal(1, 0)")

    @staticmethod
    def forward(x: Array, *, axis: Axes = None) -> Array:
        return np.squeeze(x, axis)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis: Axes = None) -> tuple[Array]:
        return (np.reshape(g, x.shape),)


class ExpandDims(Op, of=np.expand_dims):
    formula = "np.reshape(g, x.shape)"
    samples = ("normal(3, 2), 1", "normal(3), axis=(0, -1)", "normal(), 0", "normal(0, 3), 0", "normal(1), 0")

    @staticmethod
    def forward(x: Array, *, axis: int | tuple[int, ...]) -> Array:
        return np.expand_dims(x, axis)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis: int | tuple[int, ...]) -> tuple[Array]:
        return (np.reshape(g, x.shape),)


class Transpose(Op, of=np.transpose):
    formula = "np.transpose(g, None if axes is None else np.argsort([a % g.ndim for a in axes]))"
    samples = (
        "normal(2, 3, 4), (2, 0, 1)",
        "normal(2, 3, 4), (0, -1, 1)",
        "normal(2, 3)",
        "normal()",
        "normal(0, 3)",
        "normal(1, 3)",
    )

    @staticmethod
    def forward(x: Array, *, axes: Sequence[int] | None = None) -> Array:
        return np.transpose(x, axes)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axes: Sequence[int] | None = None) -> tuple[Array]:
        return (np.transpose(g, None if axes is None else np.argsort([a % g.ndim for a in axes])),)


class Swapaxes(Op, of=np.swapaxes):
    formula = "np.swapaxes(g, axis1, axis2)"
    samples = ("normal(2, 3, 4), 0, -1", "normal(0, 3), 0, 1", "normal(1, 3), 0, 1")

    @staticmethod
    def forward(x: Array, *, axis1: int, axis2: int) -> Array:
        return np.swapaxes(x, axis1, axis2)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis1: int, axis2: int) -> tuple[Array]:
        return (np.swapaxes(g, axis1, axis2),)


class Flip(Op, of=np.flip):
    formula = "np.flip(g, axis)"
    samples = (
        "normal(3, 4), 1",
        "normal(3, 4)",
        "normal(2, 3, 2), axis=(0, -1)",
        "normal()",
        "normal(0, 3), 1",
        "normal(1, 3), 0",
    )

    @staticmethod
    def forward(x: Array, *, axis: Axes = None) -> Array:
        return np.flip(x, axis)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis: Axes = None) -> tuple[Array]:
        return (np.flip(g, axis),)


class Tril(Op, of=np.tril):
    """The lower triangle of the last two axes, zeros above diagonal `k`."""

    formula = "np.tril(g, k)"
    samples = ("normal(3, 4)", "normal(2, 3, 3), k=-1", "normal(0, 3)", "normal(1, 3)")

    @staticmethod
    def forward(x: Array, *, k: int = 0) -> Array:
        return np.tril(x, k)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, k: int = 0) -> tuple[Array]:
        return (np.tril(g, k),)


class Triu(Op, of=np.triu):
    """The upper triangle of the last two axes, zeros below diagonal `k`."""

    formula = "np.triu(g, k)"
    samples = ("normal(3, 4)", "normal(2, 3, 3), k=1", "normal(0, 3)", "normal(3, 1)")

    @staticmethod
    def forward(x: Array, *, k: int = 0) -> Array:
        return np.triu(x, k)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, k: int = 0) -> tuple[Array]:
        return (np.triu(g, k),)


class Pad(Op, of=np.pad):
    """A constant around the edges; `pad_width` is a number, a pair, or a pair per axis, as in NumPy."""

    formula = "g[inside(x.shape, pad_width)]"
    samples = (
        "normal(2, 3), ((1, 0), (2, 1))",
        "normal(3), 2",
        "normal(2, 2), (1, 0), constant_values=7.0",
        "normal(0, 2), 1",
        "normal(1, 1), 1",
    )

    @staticmethod
    def forward(x: Array, *, pad_width: Any, mode: str = "constant", constant_values: float = 0) -> Array:
        if mode != "constant":
            raise UnsupportedError(f"pad: mode {mode!r} has no rule here; only 'constant' has")
        return np.pad(x, pad_width, constant_values=constant_values)

    @staticmethod
    def vjp(
        g: Array, out: Array, x: Array, *, pad_width: Any, mode: str = "constant", constant_values: float = 0
    ) -> tuple[Array]:
        return (g[inside(x.shape, pad_width)],)


def inside(shape: tuple[int, ...], pad_width: Any) -> tuple[slice, ...]:
    """Where an array of this shape is after padding."""
    widths = np.broadcast_to(pad_width, (len(shape), 2))
    return tuple(slice(int(before), int(before) + n) for n, (before, _) in zip(shape, widths, strict=True))


class BroadcastTo(Op, of=np.broadcast_to):
    """The same entries, repeated; the engine sums the cotangent back."""

    formula = "g"
    samples = ("normal(3, 1), (2, 3, 4)", "normal(), (2,)", "normal(0, 1), (0, 3)")

    @staticmethod
    def forward(x: Array, *, shape: tuple[int, ...]) -> Array:
        return np.broadcast_to(x, shape)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, shape: tuple[int, ...]) -> tuple[Array]:
        return (g,)


class Concatenate(Op):
    """Arrays one after another along an axis that exists."""

    formula = "*np.split(g, np.cumsum([x.shape[axis] for x in arrays])[:-1], axis)"
    samples = ("normal(2, 3), normal(2, 1), axis=-1", "normal(2, 3), normal(1, 3), normal(0, 3)", "normal(3)")

    @staticmethod
    def forward(*arrays: Array, axis: int = 0) -> Array:
        return np.concatenate(arrays, axis)

    @staticmethod
    def vjp(g: Array, out: Array, *arrays: Array, axis: int = 0) -> tuple[Array, ...]:
        return tuple(np.split(g, np.cumsum([x.shape[axis] for x in arrays])[:-1], axis))


class Stack(Op):
    """Arrays of one shape beside each other along a new axis."""

    formula = "*(np.take(g, i, axis) for i in range(len(arrays)))"
    samples = ("normal(2, 3), normal(2, 3), axis=1", "normal(), normal()", "normal(0, 2), normal(0, 2), axis=-1", "normal(1)")

    @staticmethod
    def forward(*arrays: Array, axis: int = 0) -> Array:
        return np.stack(arrays, axis)

    @staticmethod
    def vjp(g: Array, out: Array, *arrays: Array, axis: int = 0) -> tuple[Array, ...]:
        return tuple(np.take(g, i, axis) for i in range(len(arrays)))


def _concatenate(arrays: Sequence[Any], axis: int = 0) -> Any:
    return Concatenate.call(*arrays, axis=axis)


def _stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    return Stack.call(*arrays, axis=axis)


def _split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """The parts are slices, each of them recorded on its own."""
    length = x.shape[axis]
    if isinstance(indices_or_sections, int):
        if indices_or_sections < 1 or length % indices_or_sections:
            raise ValueError(f"split: {length} entries along axis {axis} do not divide into {indices_or_sections} equal parts")
        indices_or_sections = range(0, length, length // indices_or_sections)[1:]
    before = (slice(None),) * (axis % x.ndim)
    return [x[(*before, slice(a, b))] for a, b in itertools.pairwise([0, *indices_or_sections, length])]


RULES[np.concatenate] = _concatenate
RULES[np.stack] = _stack
RULES[np.split] = _split
