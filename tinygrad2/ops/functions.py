"""Functions of one array, entry by entry."""

from __future__ import annotations

import math

import numpy as np

from tinygrad2.ops.op import Array, Op

ANY = ("normal(3, 2)", "normal()", "normal(0, 3)", "normal(1, 1)")
POSITIVE = ("positive(3, 2)", "positive()", "positive(0, 3)", "positive(1, 1)")


class Exp(Op, of=np.exp):
    formula = "g * out"
    samples = ANY

    @staticmethod
    def forward(x: Array) -> Array:
        return np.exp(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g * out,)


class Expm1(Op, of=np.expm1):
    """exp(x) - 1, exact for small x."""

    formula = "g * (out + 1)"
    samples = ANY

    @staticmethod
    def forward(x: Array) -> Array:
        return np.expm1(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g * (out + 1),)


class Log(Op, of=np.log):
    formula = "g / x"
    samples = POSITIVE

    @staticmethod
    def forward(x: Array) -> Array:
        return np.log(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g / x,)


class Log1p(Op, of=np.log1p):
    """log(1 + x), exact for small x."""

    formula = "g / (1 + x)"
    samples = POSITIVE

    @staticmethod
    def forward(x: Array) -> Array:
        return np.log1p(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g / (1 + x),)


class Sqrt(Op, of=np.sqrt):
    formula = "g / (2 * out)"
    samples = POSITIVE

    @staticmethod
    def forward(x: Array) -> Array:
        return np.sqrt(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g / (2 * out),)


class Square(Op, of=np.square):
    formula = "2 * g * x"
    samples = ANY

    @staticmethod
    def forward(x: Array) -> Array:
        return np.square(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (2 * g * x,)


class Absolute(Op, of=np.absolute):
    """|x|; the gradient at 0 is 0."""

    formula = "g * np.sign(x)"
    samples = ANY

    @staticmethod
    def forward(x: Array) -> Array:
        return np.absolute(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g * np.sign(x),)


class Sign(Op, of=np.sign):
    formula = "0 * g"
    samples = ANY

    @staticmethod
    def forward(x: Array) -> Array:
        return np.sign(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (0 * g,)


class Tanh(Op, of=np.tanh):
    formula = "g * (1 - out * out)"
    samples = ANY

    @staticmethod
    def forward(x: Array) -> Array:
        return np.tanh(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g * (1 - out * out),)


class Sin(Op, of=np.sin):
    formula = "g * np.cos(x)"
    samples = ANY

    @staticmethod
    def forward(x: Array) -> Array:
        return np.sin(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g * np.cos(x),)


class Cos(Op, of=np.cos):
    formula = "-g * np.sin(x)"
    samples = ANY

    @staticmethod
    def forward(x: Array) -> Array:
        return np.cos(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (-g * np.sin(x),)


class Sigmoid(Op):
    """1 / (1 + exp(-x)), without overflow."""

    formula = "g * out * (1 - out)"
    samples = ANY

    @staticmethod
    def forward(x: Array) -> Array:
        return np.exp(-np.logaddexp(0, -x))

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g * out * (1 - out),)


class Softplus(Op):
    """log(1 + exp(x)), without overflow."""

    formula = "g * sigmoid(x)"
    samples = ANY

    @staticmethod
    def forward(x: Array) -> Array:
        return np.logaddexp(0, x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g * sigmoid(x),)


class Relu(Op):
    """max(x, 0); the gradient at 0 is 0 (Nair & Hinton, 2010)."""

    formula = "np.where(x > 0, g, 0)"
    samples = ANY

    @staticmethod
    def forward(x: Array) -> Array:
        return np.maximum(x, 0)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (np.where(x > 0, g, 0),)


class Silu(Op):
    """x sigmoid(x) (Hendrycks & Gimpel, 2016; Elfwing et al., 2018)."""

    formula = "g * sigmoid(x) * (1 + x * (1 - sigmoid(x)))"
    samples = ANY

    @staticmethod
    def forward(x: Array) -> Array:
        return x * sigmoid(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g * sigmoid(x) * (1 + x * (1 - sigmoid(x))),)


class Erf(Op):
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""

    formula = "g * (2 / math.sqrt(math.pi)) * np.exp(-x * x)"
    samples = ANY

    @staticmethod
    def forward(x: Array) -> Array:
        return _erf(x)

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g * (2 / math.sqrt(math.pi)) * np.exp(-x * x),)


class GeluErf(Op):
    """x times the normal distribution function of x: the exact GELU (Hendrycks & Gimpel, 2016, eq. 1)."""

    formula = "g * (0.5 * (1 + erf(x / math.sqrt(2))) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi))"
    samples = ANY

    @staticmethod
    def forward(x: Array) -> Array:
        return 0.5 * x * (1 + erf(x / math.sqrt(2)))

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g * (0.5 * (1 + erf(x / math.sqrt(2))) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)),)


sigmoid = Sigmoid.call
softplus = Softplus.call
relu = Relu.call
silu = Silu.call
erf = Erf.call
gelu_erf = GeluErf.call

_erf_of_each = np.vectorize(math.erf, otypes=[np.float64])


def _erf(x: Array) -> Array:
    return np.asarray(_erf_of_each(x), np.asarray(x).dtype) if np.size(x) else np.array(x)
