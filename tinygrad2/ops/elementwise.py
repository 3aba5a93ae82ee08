"""Ops that work entry by entry, with NumPy's broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2.ops.op import Array, Op


class Add(Op, of=np.add):
    formula = "g; g"

    @staticmethod
    def forward(a: Array, b: Array) -> Array:
        return np.add(a, b)

    @staticmethod
    def vjp(g: Array, out: Array, a: Array, b: Array) -> tuple[Array, Array]:
        return g, g


class Subtract(Op, of=np.subtract):
    formula = "g; -g"

    @staticmethod
    def forward(a: Array, b: Array) -> Array:
        return np.subtract(a, b)

    @staticmethod
    def vjp(g: Array, out: Array, a: Array, b: Array) -> tuple[Array, Array]:
        return g, -g


class Multiply(Op, of=np.multiply):
    formula = "g * b; g * a"

    @staticmethod
    def forward(a: Array, b: Array) -> Array:
        return np.multiply(a, b)

    @staticmethod
    def vjp(g: Array, out: Array, a: Array, b: Array) -> tuple[Array, Array]:
        return g * b, g * a


class Divide(Op, of=np.divide):
    formula = "g / b; -g * a / (b * b)"

    @staticmethod
    def forward(a: Array, b: Array) -> Array:
        return np.divide(a, b)

    @staticmethod
    def vjp(g: Array, out: Array, a: Array, b: Array) -> tuple[Array, Array]:
        return g / b, -g * a / (b * b)


class Negative(Op, of=np.negative):
    formula = "-g"

    @staticmethod
    def forward(x: Array) -> Array:
        return np.negative(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (-g,)


class Power(Op, of=np.power):
    """a ** b. The gradient for b is 0 where a is 0, its limit for b > 0, and not a number where a is negative."""

    formula = "g * b * a ** np.where(b == 0, 1, b - 1); g * out * np.log(np.where(a > 0, a, np.where(a == 0, 1, np.nan)))"

    @staticmethod
    def forward(a: Array, b: Array) -> Array:
        return np.power(a, b)

    @staticmethod
    def vjp(g: Array, out: Array, a: Array, b: Array) -> tuple[Array, Array]:
        log_a = np.log(np.where(a > 0, a, np.where(a == 0, 1, np.nan)))
        return g * b * a ** np.where(b == 0, 1, b - 1), g * out * log_a


class Exp(Op, of=np.exp):
    formula = "g * out"

    @staticmethod
    def forward(x: Array) -> Array:
        return np.exp(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g * out,)


class Log(Op, of=np.log):
    formula = "g / x"

    @staticmethod
    def forward(x: Array) -> Array:
        return np.log(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g / x,)


class Sqrt(Op, of=np.sqrt):
    formula = "g / (2 * out)"

    @staticmethod
    def forward(x: Array) -> Array:
        return np.sqrt(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g / (2 * out),)


class Tanh(Op, of=np.tanh):
    formula = "g * (1 - out * out)"

    @staticmethod
    def forward(x: Array) -> Array:
        return np.tanh(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g * (1 - out * out),)


class Sin(Op, of=np.sin):
    formula = "g * np.cos(x)"

    @staticmethod
    def forward(x: Array) -> Array:
        return np.sin(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g * np.cos(x),)


class Cos(Op, of=np.cos):
    formula = "-g * np.sin(x)"

    @staticmethod
    def forward(x: Array) -> Array:
        return np.cos(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (-g * np.sin(x),)


class Maximum(Op, of=np.maximum):
    """The larger of two; where they are equal, each gets half of the gradient."""

    formula = "g * ((a > b) + (a == b) * 0.5); g * ((b > a) + (a == b) * 0.5)"

    @staticmethod
    def forward(a: Array, b: Array) -> Array:
        return np.maximum(a, b)

    @staticmethod
    def vjp(g: Array, out: Array, a: Array, b: Array) -> tuple[Array, Array]:
        return np.where(a > b, g, np.where(a == b, 0.5 * g, 0 * g)), np.where(b > a, g, np.where(a == b, 0.5 * g, 0 * g))


class Where(Op, of=np.where):
    formula = "None; np.where(condition, g, 0 * g); np.where(condition, 0 * g, g)"

    @staticmethod
    def forward(condition: Array, a: Array, b: Array) -> Array:
        return np.where(condition, a, b)

    @staticmethod
    def vjp(g: Array, out: Array, condition: Array, a: Array, b: Array) -> tuple[None, Array, Array]:
        return None, np.where(condition, g, 0 * g), np.where(condition, 0 * g, g)


class Astype(Op, of=np.astype):
    """Another dtype; the engine turns the cotangent back into the input's."""

    formula = "g"

    @staticmethod
    def forward(x: Array, *, dtype: Any) -> Array:
        return np.astype(x, dtype)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, dtype: Any) -> tuple[Array]:
        return (g,)


class Dropout(Op):
    """Zero the entries where `keep` is False and scale up the rest, so that the mean stays (Srivastava et al., 2014)."""

    formula = "g * (keep * scale)"

    @staticmethod
    def forward(x: Array, *, keep: Array, scale: float) -> Array:
        return x * np.multiply(keep, scale, dtype=x.dtype)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array, *, keep: Array, scale: float) -> tuple[Array]:
        return (g * np.multiply(keep, scale, dtype=g.dtype),)


def dropout(x: Any, p: float, rng: np.random.Generator) -> Any:
    """Each entry of `x` is zeroed with probability `p`, the others are divided by 1 - p. Any shape; 0 <= p < 1."""
    if not 0 <= p < 1:
        raise ValueError(f"dropout: probability {p} is not in [0, 1)")
    return Dropout.call(x, keep=rng.random(x.shape, np.float32) >= p, scale=1 / (1 - p)) if p else x
