"""Arithmetic and choice between two arrays, entry by entry, with NumPy's broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2 import kernels
from tinygrad2.ops.op import Array, Op, shape_of

PAIRS = (
    "normal(3, 4), normal(3, 4)",
    "normal(3, 4), normal(4)",
    "normal(3, 1), normal(1, 4)",
    "normal(), normal(2)",
    "normal(), normal()",
    "normal(0, 3), normal(3)",
)
POSITIVE_PAIRS = tuple(pair.replace("normal", "positive") for pair in PAIRS)


class Add(Op, of=np.add):
    formula = "g; g"
    samples = PAIRS

    @staticmethod
    def forward(a: Array, b: Array) -> Array:
        return kernels.add(a, b) if np.ndim(a) > 1 and np.shape(a) == np.shape(b) and a.dtype == b.dtype else np.add(a, b)

    @staticmethod
    def vjp(g: Array, out: Array, a: Array, b: Array) -> tuple[Array, Array]:
        return g, g

    @classmethod
    def keep(cls, arrays: tuple[Any, ...], saved: Any) -> tuple[Any, ...]:
        return tuple([shape_of(x) for x in arrays])


class Subtract(Op, of=np.subtract):
    formula = "g; -g"
    samples = PAIRS

    @staticmethod
    def forward(a: Array, b: Array) -> Array:
        return np.subtract(a, b)

    @staticmethod
    def vjp(g: Array, out: Array, a: Array, b: Array) -> tuple[Array, Array]:
        return g, -g


class Multiply(Op, of=np.multiply):
    formula = "g * b; g * a"
    samples = (*PAIRS, "normal(3), 2.5")

    @staticmethod
    def forward(a: Array, b: Array) -> Array:
        return np.multiply(a, b)

    @staticmethod
    def vjp(g: Array, out: Array, a: Array, b: Array) -> tuple[Array, Array]:
        return g * b, g * a


class Divide(Op, of=np.divide):
    formula = "g / b; -g * out / b"
    samples = POSITIVE_PAIRS

    @staticmethod
    def forward(a: Array, b: Array) -> Array:
        return np.divide(a, b)

    @staticmethod
    def vjp(g: Array, out: Array, a: Array, b: Array) -> tuple[Array, Array]:
        return g / b, -g * out / b


class Negative(Op, of=np.negative):
    formula = "-g"
    samples = ("normal(3, 2)", "normal()", "normal(0, 3)", "normal(1, 1)")

    @staticmethod
    def forward(x: Array) -> Array:
        return np.negative(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (-g,)


class Power(Op, of=np.power):
    """a ** b. The gradient for b is 0 where a is 0, its limit for b > 0, and not a number where a is negative."""

    formula = "g * b * a ** np.where(b == 0, 1, b - 1); g * out * np.log(np.where(a > 0, a, np.where(a == 0, 1, np.nan)))"
    samples = (*POSITIVE_PAIRS, "normal(3), 3", "normal(3), 0.0", "normal(3), 1")

    @staticmethod
    def forward(a: Array, b: Array) -> Array:
        return np.power(a, b)

    @staticmethod
    def vjp(g: Array, out: Array, a: Array, b: Array) -> tuple[Array, Array]:
        log_a = np.log(np.where(a > 0, a, np.where(a == 0, 1, np.nan)))
        return g * b * a ** np.where(b == 0, 1, b - 1), g * out * log_a


class Maximum(Op, of=np.maximum):
    """The larger of two; where they are equal, each gets half of the gradient."""

    formula = "g * ((a > b) + (a == b) * 0.5); g * ((b > a) + (a == b) * 0.5)"
    samples = PAIRS

    @staticmethod
    def forward(a: Array, b: Array) -> Array:
        return np.maximum(a, b)

    @staticmethod
    def vjp(g: Array, out: Array, a: Array, b: Array) -> tuple[Array, Array]:
        return share(g, a > b, a == b), share(g, b > a, a == b)


class Minimum(Op, of=np.minimum):
    """The smaller of two; where they are equal, each gets half of the gradient."""

    formula = "g * ((a < b) + (a == b) * 0.5); g * ((b < a) + (a == b) * 0.5)"
    samples = PAIRS

    @staticmethod
    def forward(a: Array, b: Array) -> Array:
        return np.minimum(a, b)

    @staticmethod
    def vjp(g: Array, out: Array, a: Array, b: Array) -> tuple[Array, Array]:
        return share(g, a < b, a == b), share(g, b < a, a == b)


def share(g: Any, wins: Any, tie: Any) -> Any:
    """All of `g` where this side wins, half where it is a tie. (No product: 0 times an infinite g is not 0.)"""
    return np.where(wins, g, np.where(tie, 0.5 * g, 0))


class Where(Op, of=np.where):
    formula = "None; np.where(condition, g, 0); np.where(condition, 0, g)"
    samples = (
        "normal(3, 4) > 0, normal(3, 4), normal(4)",
        "normal(4) > 0, normal(3, 1), normal(1, 4)",
        "normal() > 0, normal(), normal()",
        "normal(0, 3) > 0, normal(0, 3), normal(3)",
    )

    @staticmethod
    def forward(condition: Array, a: Array, b: Array) -> Array:
        return np.where(condition, a, b)

    @staticmethod
    def vjp(g: Array, out: Array, condition: Array, a: Array, b: Array) -> tuple[None, Array, Array]:
        return None, np.where(condition, g, 0), np.where(condition, 0, g)


class Clip(Op, of=np.clip):
    """Between two numbers; the gradient passes where nothing was cut."""

    formula = "np.where(x == out, g, 0)"
    samples = ("normal(3, 4), -0.5, 0.8", "normal(), a_min=0.0", "normal(0, 3), -1, 1", "normal(1, 1), a_max=0.5")

    @staticmethod
    def forward(x: Array, *, a_min: float | None = None, a_max: float | None = None) -> Array:
        return np.clip(x, a_min, a_max)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, a_min: float | None = None, a_max: float | None = None) -> tuple[Array]:
        return (np.where(x == out, g, 0),)


class Astype(Op, of=np.astype):
    """Another dtype; the engine turns the cotangent back into the input's."""

    formula = "g"
    samples = ("normal(3), np.float64", "normal(), np.float64", "normal(0, 2), np.float64", "normal(1), np.float64")

    @staticmethod
    def forward(x: Array, *, dtype: Any) -> Array:
        return np.astype(x, dtype)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, dtype: Any) -> tuple[Array]:
        return (g,)


class Dropout(Op):
    """Zero the entries where `keep` is False and scale up the rest, so that the mean stays (Srivastava et al., 2014)."""

    formula = "g * (keep * scale)"
    samples = ("normal(3, 4), keep=normal(3, 4) > 0, scale=2.0",)

    @staticmethod
    def forward(x: Array, *, keep: Array, scale: float) -> Array:
        return x * np.multiply(keep, scale, dtype=x.dtype)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, keep: Array, scale: float) -> tuple[Array]:
        return (g * np.multiply(keep, scale, dtype=g.dtype),)

    @classmethod
    def keep(cls, arrays: tuple[Any, ...], saved: Any) -> tuple[Any, ...]:
        return (shape_of(arrays[0]),)


def dropout(x: Any, p: float, rng: np.random.Generator) -> Any:
    """Each entry of `x` is zeroed with probability `p`, the others are divided by 1 - p. Any shape; 0 <= p < 1."""
    if not 0 <= p < 1:
        raise ValueError(f"dropout: probability {p} is not in [0, 1)")
    return Dropout.call(x, keep=rng.random(x.shape, np.float32) >= p, scale=1 / (1 - p)) if p else x
