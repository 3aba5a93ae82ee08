"""Arithmetic and choice between two arrays, entry by entry, with NumPy's broadcasting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad2 import kernels
from tinygrad2.ops.draws import uniform
from tinygrad2.ops.functions import sigmoid
from tinygrad2.ops.op import RULES, as_array, primitive
from tinygrad2.types import Array

PAIRS = (
    "normal(3, 4), normal(3, 4); normal(3, 4), normal(4); normal(3, 1), normal(1, 4); normal(), normal(2); normal(), normal(); "
    "normal(0, 3), normal(3)"
)
TWO_PAIRS = "normal(3, 1), normal(1, 4); normal(), normal(0, 2)"
POSITIVE_PAIRS = PAIRS.replace("normal", "positive")


def add(a: Array, b: Array) -> Array:
    """a + b, shared among threads where the two are alike."""
    return kernels.add(a, b) if np.ndim(a) > 1 and np.shape(a) == np.shape(b) and a.dtype == b.dtype else np.add(a, b)


Add = primitive(add, lambda g, out, a, b: g, lambda g, out, a, b: g, samples=PAIRS, of=np.add)
Subtract = primitive(np.subtract, lambda g, out, a, b: g, lambda g, out, a, b: -g, samples=PAIRS)
Multiply = primitive(np.multiply, lambda g, out, a, b: g * b, lambda g, out, a, b: g * a, samples=PAIRS + "; normal(3), 2.5")
Divide = primitive(np.divide, lambda g, out, a, b: g / b, lambda g, out, a, b: -g * out / b, samples=POSITIVE_PAIRS)
Negative = primitive(np.negative, lambda g, out, x: -g, samples="normal(3, 2); normal(); normal(0, 3); normal(1, 1)")

# The gradient for b is 0 where a is 0, its limit for b > 0, but -inf for b < 0; and not a number where a is negative.
# For b below 1/2, b - 1 is rounded, which the power would make worse.
Power = primitive(
    np.power,
    lambda g, out, a, b: (
        g
        * b
        * np.where(
            (b < 0.5) & (a != 0) & (np.abs(a) < np.inf),
            out / np.where((a == 0) | (np.abs(a) == np.inf), 1, a),
            np.where((a == 0) & (b == 0), 1, a) ** (b - 1),
        )
    ),
    lambda g, out, a, b: (
        g * out * np.where(a == 0, np.where(b < 0, -np.inf, 0), np.log(np.where(a > 0, a, np.where(a == 0, 1, np.nan))))
    ),
    samples=POSITIVE_PAIRS + "; normal(3), 3; normal(3), 0.0; normal(3), 1",
)

Hypot = primitive(  # at (0, 0) the gradient is 0
    np.hypot,
    lambda g, out, a, b: g * (a / np.where(out == 0, 1, out)),
    lambda g, out, a, b: g * (b / np.where(out == 0, 1, out)),
    samples=TWO_PAIRS,
)


def distance(a: Any, b: Any) -> Any:
    """From (0, 0), but 1 there: what is divided by it is 0 then."""
    return np.where((a == 0) & (b == 0), 1, np.hypot(a, b))


def for_opposite(g: Any, out: Any, a: Any, b: Any) -> Any:
    """At (0, 0) the gradient is 0. The square of r might overflow."""
    r = distance(a, b)
    return g * (b / r) / r


def for_adjacent(g: Any, out: Any, a: Any, b: Any) -> Any:
    """At (0, 0) the gradient is 0. The square of r might overflow."""
    r = distance(a, b)
    return -g * (a / r) / r


Arctan2 = primitive(np.arctan2, for_opposite, for_adjacent, samples=TWO_PAIRS)


def gap(a: Any, b: Any) -> Any:
    """a - b, and 0 where both are the same infinity."""
    both = (a == b) & np.isinf(a)
    return np.where(both, 0, a) - np.where(both, 0, b)


Logaddexp = primitive(
    np.logaddexp,
    lambda g, out, a, b: g * sigmoid(gap(a, b)),
    lambda g, out, a, b: g * sigmoid(gap(b, a)),
    samples=TWO_PAIRS,
)
Logaddexp2 = primitive(
    np.logaddexp2,
    lambda g, out, a, b: g * sigmoid(gap(a, b) * math.log(2)),
    lambda g, out, a, b: g * sigmoid(gap(b, a) * math.log(2)),
    samples=TWO_PAIRS,
)

# a minus a whole number of b, which stays the same nearby.
Remainder = primitive(
    np.remainder,
    lambda g, out, a, b: g,
    lambda g, out, a, b: -g * np.floor_divide(a, b),
    samples=TWO_PAIRS.replace("normal", "positive"),
)
Fmod = primitive(
    np.fmod,
    lambda g, out, a, b: g,
    lambda g, out, a, b: -g * np.rint((a - out) / b),
    samples=TWO_PAIRS.replace("normal", "positive"),
)

Copysign = primitive(  # where a is 0 the gradient is 0
    np.copysign, lambda g, out, a, b: g * np.sign(a) * np.copysign(1, b), lambda g, out, a, b: 0 * g, samples=TWO_PAIRS
)
Ldexp = primitive(
    np.ldexp,
    lambda g, out, a, b: np.ldexp(g, b),
    None,
    samples="normal(1, 3), np.array([[1, -2, 0]] * 2); normal(), 3; normal(0, 3), 1",
)


def heaviside(x1: Any, x2: Any) -> Any:
    """0 below 0, 1 above it, and `x2` at 0."""
    dtype = np.heaviside(*[np.ones((), x.dtype) if hasattr(x, "dtype") else x for x in (x1, x2)]).dtype
    x1, x2 = as_array(x1), as_array(x2)
    return np.where(x1 == 0, x2, np.where(x1 < 0, 0.0, np.where(x1 > 0, 1.0, x1))).astype(dtype)


RULES[np.heaviside] = heaviside
RULES[np.float_power] = lambda x1, x2: np.power(as_array(x1).astype(np.float64), as_array(x2).astype(np.float64))


def same(x: Any, out: Any) -> Any:
    """Whether an entry is the one that was selected: the two are equal, or both are NaN."""
    return (x == out) | ((x != x) & (out != out))


# Of a choice of one of two: where both are what was selected, each gets half. np.maximum and np.minimum select a NaN,
# np.fmax and np.fmin the other one. (No product with 0 or 1: 0 times an infinite g is not 0.)
EITHER = (
    lambda g, out, a, b: np.where(same(a, out), np.where(same(b, out), 0.5 * g, g), 0),
    lambda g, out, a, b: np.where(same(b, out), np.where(same(a, out), 0.5 * g, g), 0),
)
Maximum = primitive(np.maximum, *EITHER, samples=PAIRS)
Minimum = primitive(np.minimum, *EITHER, samples=PAIRS)
Fmax = primitive(np.fmax, *EITHER, samples=TWO_PAIRS)
Fmin = primitive(np.fmin, *EITHER, samples=TWO_PAIRS)
Where = primitive(
    np.where,
    None,
    lambda g, out, condition, a, b: np.where(condition, g, 0),
    lambda g, out, condition, a, b: np.where(condition, 0, g),
    samples="normal(3, 4) > 0, normal(3, 4), normal(4); normal(4) > 0, normal(3, 1), normal(1, 4); "
    "normal() > 0, normal(), normal(); normal(0, 3) > 0, normal(0, 3), normal(3)",
)

# The gradient passes where nothing was cut, a bound that is met and NaN included; elsewhere the bound that cut gets it.
Clip = primitive(
    np.clip,
    lambda g, out, x, a_min=None, a_max=None: np.where(same(x, out), g, 0),
    lambda g, out, x, a_min=None, a_max=None: np.where(same(x, out) | same(a_max, out), 0, g),
    lambda g, out, x, a_min=None, a_max=None: np.where(same(x, out), 0, np.where(same(a_max, out), g, 0)),
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
    x = as_array(x)
    return Dropout.call(x, keep=uniform(rng, x.shape) >= p, scale=1 / (1 - p)) if p else x
