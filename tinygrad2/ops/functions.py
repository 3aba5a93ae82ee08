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
Expm1 = primitive(np.expm1, lambda g, out, x: g * np.exp(x), samples=ANY)
Log = primitive(np.log, lambda g, out, x: g / x, samples=POSITIVE)
Log1p = primitive(np.log1p, lambda g, out, x: g / (1 + x), samples=POSITIVE)
Sqrt = primitive(np.sqrt, lambda g, out, x: g / (2 * out), samples=POSITIVE)
Square = primitive(np.square, lambda g, out, x: 2 * g * x, samples=ANY)
Absolute = primitive(np.absolute, lambda g, out, x: g * np.sign(x), samples=ANY)  # at 0 the gradient is 0
Sign = primitive(np.sign, lambda g, out, x: 0 * g, samples=ANY)
Tanh = primitive(np.tanh, lambda g, out, x: g * sech2(x), samples=ANY)  # 1 - out^2 has no right digit where out is nearly 1
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


def _quarter_turns(x: Array) -> list[Array]:
    """sin(pi x + n pi / 2) for n = 0..3. Whole turns are taken off x, which is exact; off pi x, already rounded, it is not."""
    half = x - 2 * np.rint(x / 2)  # in [-1, 1]
    rest = half - np.rint(half)  # in [-1/2, 1/2]
    sign = np.where(np.abs(half) > 0.5, -1, 1).astype(x.dtype)
    sine, cosine = sign * np.sin(math.pi * rest), sign * np.sin(math.pi * (0.5 - np.abs(rest)))
    return [sine, cosine, -sine, -cosine]


def _sinc_slope(x: Array, *, order: int) -> Array:
    z = math.pi * x
    near = np.abs(z) < order + 1
    far = np.where(near, 1, z)
    turns = _quarter_turns(np.where(near, 0, x))
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


def _sech2(x: Array) -> Array:
    with np.errstate(over="ignore"):
        e = np.exp(-2 * np.abs(x))
    return 4 * e / np.square(1 + e)


Sech2 = primitive(_sech2, lambda g, out, x: -2 * g * out * np.tanh(x), name="sech2", samples=ANY, takes=real)
sech2: Any = Sech2.call
"""1 / cosh(x)^2, the slope of tanh, to the last digits also where tanh is 1 to all of its own."""


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


Sigmoid = primitive(_sigmoid, lambda g, out, x: 0.25 * g * sech2(0.5 * x), name="sigmoid", samples=ANY, takes=real)
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
    lambda g, out, x: g * sigmoid(x) * (1 + x * sigmoid(-x)),
    name="silu",
    samples=ANY,
    takes=real,
)
silu = Silu.call
"""x sigmoid(x) (Hendrycks & Gimpel, 2016; Elfwing et al., 2018)."""


def _split(x: Array) -> tuple[Array, Array]:
    """x in float64 at least, in two parts: products of the first ones are exact.

    It is cut off at 40, beyond which what falls as exp(-x^2 / 2) is 0.
    """
    x = np.clip(x, -40, 40).astype(np.result_type(x, np.float64))
    high = x.astype(np.float32).astype(x.dtype)
    return high, x - high


def _bell(x: Array, *, by: float) -> Array:
    high, low = _split(x)
    return (np.exp(-by * high * high) * np.exp(-by * low * (2 * high + low))).astype(x.dtype)


Bell = primitive(
    _bell,
    lambda g, out, x, *, by: -2 * by * g * x * out,
    name="bell",
    samples="normal(3, 2), by=0.5; normal(), by=1.0",
    takes=real,
)
bell: Any = Bell.call
"""exp(-by x^2), for `by` 1/2 or 1. The square is not rounded: in the exponential, that error would be x^2 times as large."""

_erf_of_each = np.vectorize(math.erf, otypes=[np.float64])
_erfc_of_each = np.vectorize(math.erfc, otypes=[np.float64])


def _erf(x: Array) -> Array:
    return np.asarray(_erf_of_each(x), np.asarray(x).dtype) if np.size(x) else np.array(x)


Erf = primitive(_erf, lambda g, out, x: g * (2 / math.sqrt(math.pi)) * bell(x, by=1.0), name="erf", samples=ANY, takes=real)
erf = Erf.call
"""The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""

ROOT_HIGH = 23726566 / 2**25
ROOT_LOW = 1.2101617104478969e-08
"""The two together are 1 / sqrt(2)."""


def _normal_cdf(x: Array) -> Array:
    high, low = _split(x)
    first, second = high * ROOT_HIGH, high * ROOT_LOW + low * (ROOT_HIGH + ROOT_LOW)
    z = first + second  # x / sqrt(2), and what is missing: the tail of erfc falls too fast to do without
    missing = (first - z) + second
    tail = np.asarray(_erfc_of_each(-z), z.dtype) if z.size else z
    return (0.5 * tail + _bell(z, by=1.0) * missing / math.sqrt(math.pi)).astype(x.dtype)


NormalCdf = primitive(
    _normal_cdf, lambda g, out, x: g * bell(x, by=0.5) / math.sqrt(2 * math.pi), name="normal_cdf", samples=ANY, takes=real
)
normal_cdf: Any = NormalCdf.call
"""The normal distribution function, (1 + erf(x / sqrt(2))) / 2, also where that sum would cancel."""


GeluErf = primitive(
    lambda x: x * _normal_cdf(x),
    lambda g, out, x: g * (normal_cdf(x) + x * bell(x, by=0.5) / math.sqrt(2 * math.pi)),
    name="gelu_erf",
    samples=ANY,
    takes=real,
)
gelu_erf = GeluErf.call
"""x times the normal distribution function of x: the exact GELU (Hendrycks & Gimpel, 2016, eq. 1)."""
