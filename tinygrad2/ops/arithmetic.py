"""Arithmetic and choice between two arrays, entry by entry, with NumPy's broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2 import kernels
from tinygrad2.ops.op import primitive
from tinygrad2.types import Array

PAIRS = (
    "normal(3, 4), normal(3, 4); normal(3, 4), normal(4); normal(3, 1), normal(1, 4); normal(), normal(2); normal(), normal(); "
    "normal(0, 3), normal(3)"
)
POSITIVE_PAIRS = PAIRS.replace("normal", "positive")


def add(a: Array, b: Array) -> Array:
    """a + b, shared among threads where the two are alike."""
    return kernels.add(a, b) if np.ndim(a) > 1 and np.shape(a) == np.shape(b) and a.dtype == b.dtype else np.add(a, b)


Add = primitive(add, lambda g, out, a, b: g, lambda g, out, a, b: g, samples=PAIRS, of=np.add)
Subtract = primitive(np.subtract, lambda g, out, a, b: g, lambda g, out, a, b: -g, samples=PAIRS)
Multiply = primitive(np.multiply, lambda g, out, a, b: g * b, lambda g, out, a, b: g * a, samples=PAIRS + "; normal(3), 2.5")
Divide = primitive(np.divide, lambda g, out, a, b: g / b, lambda g, out, a, b: -g * out / b, samples=POSITIVE_PAIRS)
Negative = primitive(np.negative, lambda g, out, x: -g, samples="normal(3, 2); normal(); normal(0, 3); normal(1, 1)")

# The gradient for b is 0 where a is 0, its limit for b > 0, and not a number where a is negative.
Power = primitive(
    np.power,
    lambda g, out, a, b: g * b * a ** np.where(b == 0, 1, b - 1),
    lambda g, out, a, b: g * out * np.log(np.where(a > 0, a, np.where(a == 0, 1, np.nan))),
    samples=POSITIVE_PAIRS + "; normal(3), 3; normal(3), 0.0; normal(3), 1",
)

# Where the two are equal, each gets half of the gradient. (No product with 0 or 1: 0 times an infinite g is not 0.)
Maximum = primitive(
    np.maximum,
    lambda g, out, a, b: np.where(a > b, g, np.where(a == b, 0.5 * g, 0)),
    lambda g, out, a, b: np.where(b > a, g, np.where(a == b, 0.5 * g, 0)),
    samples=PAIRS,
)
Minimum = primitive(
    np.minimum,
    lambda g, out, a, b: np.where(a < b, g, np.where(a == b, 0.5 * g, 0)),
    lambda g, out, a, b: np.where(b < a, g, np.where(a == b, 0.5 * g, 0)),
    samples=PAIRS,
)
Where = primitive(
    np.where,
    None,
    lambda g, out, condition, a, b: np.where(condition, g, 0),
    lambda g, out, condition, a, b: np.where(condition, 0, g),
    samples="normal(3, 4) > 0, normal(3, 4), normal(4); normal(4) > 0, normal(3, 1), normal(1, 4); "
    "normal() > 0, normal(), normal(); normal(0, 3) > 0, normal(0, 3), normal(3)",
)

# The gradient passes where nothing was cut, a bound that is met included; elsewhere the bound that cut gets it.
Clip = primitive(
    np.clip,
    lambda g, out, x, a_min=None, a_max=None: np.where(x == out, g, 0),
    lambda g, out, x, a_min=None, a_max=None: np.where((x < out) & (out != a_max), g, 0),
    lambda g, out, x, a_min=None, a_max=None: np.where((x != out) & (out == a_max), g, 0),
    samples="normal(3, 4), -0.5, 0.8; normal(), a_min=0.0; normal(0, 3), -1, 1; normal(1, 1), a_max=0.5; "
    "normal(3, 4), normal(4) - 1, positive(3, 1); normal(3), normal(), None",
)


def astype(x: Array, *, dtype: Any, copy: bool = True) -> Array:
    """The same numbers in another dtype; the engine turns the cotangent back into the input's."""
    return np.astype(x, dtype, copy=copy)


Astype = primitive(
    astype,
    lambda g, out, x, *, dtype, copy=True: g,
    samples="normal(3), np.float64; normal(), np.float64; normal(0, 2), np.float64; normal(1), np.float64",
    of=np.astype,
)


def scaled(x: Array, *, keep: Array, scale: float) -> Array:
    """Zero where `keep` is False, and the rest times `scale`."""
    return x * np.multiply(keep, scale, dtype=x.dtype)


Dropout = primitive(
    scaled,
    lambda g, out, x, *, keep, scale: g * np.multiply(keep, scale, dtype=g.dtype),
    samples="normal(3, 4), keep=normal(3, 4) > 0, scale=2.0",
    name="dropout",
)


def dropout(x: Any, p: float, rng: np.random.Generator) -> Any:
    """Each entry of `x` is zeroed with probability `p`, the others are divided by 1 - p. Any shape; 0 <= p < 1.

    The mean stays (Srivastava et al., 2014).
    """
    if not 0 <= p < 1:
        raise ValueError(f"dropout: probability {p} is not in [0, 1)")
    return Dropout.call(x, keep=rng.random(x.shape, np.float32) >= p, scale=1 / (1 - p)) if p else x
