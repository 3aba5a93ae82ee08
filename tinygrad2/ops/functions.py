"""Functions of one array, entry by entry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad2.ops.op import primitive, real, wide
from tinygrad2.types import Array

ANY = "normal(3, 2); normal(); normal(0, 3); normal(1, 1)"
POSITIVE = ANY.replace("normal", "positive")
TWO, TWO_POSITIVE = "normal(3, 2); normal()", "positive(3, 2); positive()"
SMALL = "positive(3, 2) / 2; np.asarray(positive() / 2)"
ABOVE_ONE = "1 + positive(3, 2); np.asarray(1 + positive())"
INSIDE = "positive(3, 2) / -8 - 0.7; np.asarray(positive() / -8 - 0.7)"


Exp = primitive(np.exp, lambda g, out, x: g * out, samples=ANY)
Expm1 = primitive(np.expm1, lambda g, out, x: g * (out + 1), samples=ANY)
Log = primitive(np.log, lambda g, out, x: g / x, samples=POSITIVE)
Log1p = primitive(np.log1p, lambda g, out, x: g / (1 + x), samples=POSITIVE)
Sqrt = primitive(np.sqrt, lambda g, out, x: g / (2 * out), samples=POSITIVE)
Square = primitive(np.square, lambda g, out, x: 2 * g * x, samples=ANY)
Absolute = primitive(np.absolute, lambda g, out, x: g * np.sign(x), samples=ANY)  # at 0 the gradient is 0
Sign = primitive(np.sign, lambda g, out, x: 0 * g, samples=ANY)
Tanh = primitive(np.tanh, lambda g, out, x: g * (1 - out * out), samples=ANY)
Sin = primitive(np.sin, lambda g, out, x: g * np.cos(x), samples=ANY)
Cos = primitive(np.cos, lambda g, out, x: -g * np.sin(x), samples=ANY)
Tan = primitive(np.tan, lambda g, out, x: g * (1 + out * out), samples=SMALL)
Sinh = primitive(np.sinh, lambda g, out, x: g * np.cosh(x), samples=TWO)
Cosh = primitive(np.cosh, lambda g, out, x: g * np.sinh(x), samples=TWO)

# The inverses. (What could overflow is never squared.)
Arcsin = primitive(np.arcsin, lambda g, out, x: g / np.sqrt((1 - x) * (1 + x)), samples=INSIDE)
Arccos = primitive(np.arccos, lambda g, out, x: -g / np.sqrt((1 - x) * (1 + x)), samples=INSIDE)
Arctan = primitive(np.arctan, lambda g, out, x: g / np.hypot(1, x) / np.hypot(1, x), samples=TWO)
Arcsinh = primitive(np.arcsinh, lambda g, out, x: g / np.hypot(1, x), samples=TWO)
Arccosh = primitive(np.arccosh, lambda g, out, x: g / (np.sqrt(x - 1) * np.sqrt(x + 1)), samples=ABOVE_ONE)
Arctanh = primitive(np.arctanh, lambda g, out, x: g / ((1 - x) * (1 + x)), samples=INSIDE)

Exp2 = primitive(np.exp2, lambda g, out, x: g * out * math.log(2), samples=TWO)
Log2 = primitive(np.log2, lambda g, out, x: g / (x * math.log(2)), samples=TWO_POSITIVE)
Log10 = primitive(np.log10, lambda g, out, x: g / (x * math.log(10)), samples=TWO_POSITIVE)
Cbrt = primitive(np.cbrt, lambda g, out, x: g / (3 * out * out), samples=TWO_POSITIVE)
Reciprocal = primitive(np.reciprocal, lambda g, out, x: -g * out * out, samples=TWO_POSITIVE)
Fabs = primitive(np.fabs, lambda g, out, x: g * np.sign(x), samples=TWO)  # at 0 the gradient is 0
Positive = primitive(np.positive, lambda g, out, x: g, samples=TWO)
Deg2rad = primitive(np.deg2rad, lambda g, out, x: np.deg2rad(g), samples=TWO)
Radians = primitive(np.radians, lambda g, out, x: np.radians(g), samples=TWO)
Rad2deg = primitive(np.rad2deg, lambda g, out, x: np.rad2deg(g), samples=TWO)
Degrees = primitive(np.degrees, lambda g, out, x: np.degrees(g), samples=TWO)
Sinc = primitive(np.sinc, lambda g, out, x: g * sinc_slope(x, order=1), samples=TWO, takes=wide)  # 0 at 0


def _sinc_slope(x: Array, *, order: int) -> Array:
    z = math.pi * x
    near = np.abs(z) < order + 1
    far = np.where(near, 1, z)
    turns = [f(far) for f in (np.sin, np.cos, lambda y: -np.sin(y), lambda y: -np.cos(y))]
    out = turns[0] / far
    for n in range(1, order + 1):
        out = (turns[n % 4] - n * out) / far
    small, series = np.where(near, z, 0), np.zeros_like(z)
    for k in range(-(-order // 2), order // 2 + 20):
        power = 2 * k - order
        series += (-1) ** k / ((2 * k + 1) * math.factorial(power)) * small**power
    return math.pi**order * np.where(near, series, out)


# A derivative of sinc, of sin(z) / z: far from 0 by z f_n + n f_{n-1} = sin(z + n pi / 2), which would cancel near it.
SincSlope = primitive(
    _sinc_slope,
    lambda g, out, x, *, order: g * sinc_slope(x, order=order + 1),
    name="sinc_slope",
    samples="normal(3, 2), order=1; normal(), order=2; 3 * normal(4), order=1; normal(0, 3), order=3; normal(1, 1), order=1",
    takes=wide,
)
sinc_slope: Any = SincSlope.call


def _sigmoid(x: Array) -> Array:
    return np.exp(-np.logaddexp(0, -x))


Sigmoid = primitive(_sigmoid, lambda g, out, x: g * out * (1 - out), name="sigmoid", samples=ANY, takes=real)
sigmoid = Sigmoid.call
"""1 / (1 + exp(-x)), without overflow."""


Softplus = primitive(lambda x: np.logaddexp(0, x), lambda g, out, x: g * sigmoid(x), name="softplus", samples=ANY, takes=real)
softplus = Softplus.call
"""log(1 + exp(x)), without overflow."""


Relu = primitive(lambda x: np.maximum(x, 0), lambda g, out, x: np.where(x <= 0, 0, g), name="relu", samples=ANY)
relu = Relu.call
"""max(x, 0); the gradient at 0 is 0, and passes at NaN, which stays (Nair & Hinton, 2010)."""


Silu = primitive(
    lambda x: x * _sigmoid(x),
    lambda g, out, x: g * sigmoid(x) * (1 + x * (1 - sigmoid(x))),
    name="silu",
    samples=ANY,
    takes=real,
)
silu = Silu.call
"""x sigmoid(x) (Hendrycks & Gimpel, 2016; Elfwing et al., 2018)."""

_erf_of_each = np.vectorize(math.erf, otypes=[np.float64])


def _erf(x: Array) -> Array:
    return np.asarray(_erf_of_each(x), np.asarray(x).dtype) if np.size(x) else np.array(x)


Erf = primitive(_erf, lambda g, out, x: g * (2 / math.sqrt(math.pi)) * np.exp(-x * x), name="erf", samples=ANY, takes=real)
erf = Erf.call
"""The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""


GeluErf = primitive(
    lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    lambda g, out, x: g * (0.5 * (1 + erf(x / math.sqrt(2))) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)),
    name="gelu_erf",
    samples=ANY,
    takes=real,
)
gelu_erf = GeluErf.call
"""x times the normal distribution function of x: the exact GELU (Hendrycks & Gimpel, 2016, eq. 1)."""
