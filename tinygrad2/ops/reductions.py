"""Ops that fold axes away, and those that run along one."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2.ops.op import Array, Op

Axis = int | tuple[int, ...] | None

FOLDS = (
    "normal(2, 3, 4), axis=(0, -1)",
    "normal(2, 3)",
    "normal(2, 3), axis=1, keepdims=True",
    "normal()",
    "normal(0, 3), axis=1",
    "normal(1, 1), axis=0",
)


def spread(g: Any, x: Any, axis: Axis) -> Any:
    """A reduced array, back over the axes of `x` that were folded away."""
    folded = _axes(x, axis)
    return np.broadcast_to(np.reshape(g, tuple(1 if i in folded else n for i, n in enumerate(x.shape))), x.shape)


def count(x: Any, axis: Axis) -> int:
    """How many entries of `x` go into one of the reduced array."""
    return int(np.prod([x.shape[i] for i in _axes(x, axis)]))


def _axes(x: Any, axis: Axis) -> set[int]:
    return {a % x.ndim for a in (range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,))}


class Sum(Op, of=np.sum):
    formula = "spread(g, x, axis)"
    samples = FOLDS

    @staticmethod
    def forward(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
        return np.sum(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array]:
        return (spread(g, x, axis),)


class Mean(Op, of=np.mean):
    formula = "spread(g, x, axis) / count(x, axis)"
    samples = FOLDS

    @staticmethod
    def forward(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
        return np.mean(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array]:
        return (spread(g, x, axis) / count(x, axis),)


class Var(Op, of=np.var):
    """The mean squared distance from the mean; `ddof` is subtracted from the count it is divided by."""

    formula = "2 * spread(g, x, axis) * (x - np.mean(x, axis=axis, keepdims=True)) / (count(x, axis) - ddof)"
    samples = (*FOLDS, "normal(3, 4), axis=1, ddof=1")

    @staticmethod
    def forward(x: Array, *, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Array:
        return np.var(x, axis=axis, ddof=ddof, keepdims=keepdims)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> tuple[Array]:
        centred = x - np.mean(x, axis=axis, keepdims=True)
        return (2 * spread(g, x, axis) * centred / (count(x, axis) - ddof),)


class Std(Op, of=np.std):
    """The root of the variance; where it is 0 the gradient is taken as 0."""

    formula = (
        "spread(g / np.where(out == 0, 1, out), x, axis) * (x - np.mean(x, axis=axis, keepdims=True)) / (count(x, axis) - ddof)"
    )
    samples = (
        "normal(2, 3, 4), axis=(0, -1)",
        "normal(3, 4), axis=1, ddof=1",
        "normal(2, 3), axis=1, keepdims=True",
        "normal(0, 3), axis=1",
        "normal(3, 1), axis=0",
    )

    @staticmethod
    def forward(x: Array, *, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Array:
        return np.std(x, axis=axis, ddof=ddof, keepdims=keepdims)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> tuple[Array]:
        centred = x - np.mean(x, axis=axis, keepdims=True)
        return (spread(g / np.where(out == 0, 1, out), x, axis) * centred / (count(x, axis) - ddof),)


class Max(Op, of=np.max):
    """The largest entry; where several are equal, they share the gradient evenly."""

    formula = (
        "best = x == spread(out, x, axis); np.where(best, spread(g / np.sum(best, axis=axis, keepdims=keepdims), x, axis), 0)"
    )
    samples = FOLDS

    @staticmethod
    def forward(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
        return np.max(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array]:
        best = x == spread(out, x, axis)
        return (np.where(best, spread(g / np.sum(best, axis=axis, keepdims=keepdims), x, axis), 0),)


class Min(Op, of=np.min):
    """The smallest entry; where several are equal, they share the gradient evenly."""

    formula = Max.formula
    samples = FOLDS

    @staticmethod
    def forward(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
        return np.min(x, axis=axis, keepdims=keepdims)

    vjp = Max.vjp


class Prod(Op, of=np.prod):
    """The product. An entry's gradient is the product of the others, so zeros are no special case."""

    formula = "spread(g, x, axis) * product_of_others(x, axis)"
    samples = (*FOLDS, "np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.5]]), axis=1")

    @staticmethod
    def forward(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
        return np.prod(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array]:
        return (spread(g, x, axis) * product_of_others(x, axis),)


def product_of_others(x: Any, axis: Axis) -> Any:
    """For every entry, the product of those it is multiplied with: the square of their number in memory."""
    folded = sorted(_axes(x, axis))
    order = [i for i in range(x.ndim) if i not in folded] + folded
    last = np.transpose(x, order)
    n = count(x, axis)
    rows = np.reshape(last, (*last.shape[: x.ndim - len(folded)], 1, n))
    others = np.prod(np.where(np.eye(n, dtype=bool), 1, rows), axis=-1)
    return np.transpose(np.reshape(others, last.shape), np.argsort(order))


class Cumsum(Op, of=np.cumsum):
    """Running sums along an axis, or of all entries in order."""

    formula = "np.reshape(np.flip(np.cumsum(np.flip(g, axis or 0), axis=axis or 0), axis or 0), x.shape)"
    samples = (
        "normal(3, 4), axis=1",
        "normal(3, 4), axis=0",
        "normal(2, 3)",
        "normal(3), -1",
        "normal()",
        "normal(0, 3), axis=0",
        "normal(1, 1), axis=0",
    )

    @staticmethod
    def forward(x: Array, *, axis: int | None = None) -> Array:
        return np.cumsum(x, axis=axis)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis: int | None = None) -> tuple[Array]:
        along = axis or 0  # without an axis the sums are one row
        return (np.reshape(np.flip(np.cumsum(np.flip(g, along), axis=along), along), x.shape),)


class Logsumexp(Op):
    """log(sum(exp(x))), without overflow; -inf where every entry is."""

    formula = "spread(g, x, axis) * np.exp(x - spread(np.where(np.isfinite(out), out, 0), x, axis))"
    samples = FOLDS

    @staticmethod
    def forward(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
        top = np.max(x, axis=axis, keepdims=True)
        top = np.where(np.isfinite(top), top, 0)
        with np.errstate(divide="ignore"):
            total = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
        return total if keepdims else np.reshape(total, np.sum(x, axis=axis).shape)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis: Axis = None, keepdims: bool = False) -> tuple[Array]:
        return (spread(g, x, axis) * np.exp(x - spread(np.where(np.isfinite(out), out, 0), x, axis)),)


class LogSoftmax(Op):
    """x - logsumexp(x) along one or several axes."""

    formula = "g - np.exp(out) * np.sum(g, axis=axis, keepdims=True)"
    samples = ("normal(2, 3, 4)", "normal(3, 4), axis=0", "normal(2, 3, 2), axis=(0, 2)", "normal(0, 3)", "normal(3, 1)")

    @staticmethod
    def forward(x: Array, *, axis: Axis = -1) -> Array:
        return x - Logsumexp.forward(x, axis=axis, keepdims=True)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, axis: Axis = -1) -> tuple[Array]:
        return (g - np.exp(out) * np.sum(g, axis=axis, keepdims=True),)


logsumexp = Logsumexp.call
log_softmax = LogSoftmax.call
