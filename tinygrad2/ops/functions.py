"""Functions of one array, entry by entry."""

from __future__ import annotations

import math

import numpy as np

from tinygrad2.ops.op import primitive, real
from tinygrad2.types import Array

ANY = "normal(3, 2); normal(); normal(0, 3); normal(1, 1)"
POSITIVE = ANY.replace("normal", "positive")

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
