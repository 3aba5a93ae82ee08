"""Numbers of many digits that NumPy's arrays of objects can compute with; they need mpmath.

`np.tanh` of an array of objects asks each of them for its method `tanh`. So a number with the methods that NumPy's functions
are named like is enough, and a function that was written for float64 computes in as many digits as it is given.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

from tinygrad2.types import Array

working = mpmath.workdps
"""For as long as it lasts, computing is done in so many digits."""


class Real:
    """A real number of many digits."""

    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = x

    def __float__(self) -> float:
        return float(self.x)

    def __bool__(self) -> bool:
        return bool(self.x)

    def __hash__(self) -> int:
        return hash(self.x)

    def __neg__(self) -> Real:
        return Real(-self.x)

    def __pos__(self) -> Real:
        return self

    def __abs__(self) -> Real:
        return Real(abs(self.x))

    def __eq__(self, other: object) -> bool:
        return bool(self.x == _plain(other))

    def conjugate(self) -> Real:
        """Itself."""
        return self


def _plain(x: Any) -> Any:
    if isinstance(x, Real):
        return x.x
    if isinstance(x, (complex, np.complexfloating)):
        raise TypeError("a complex number")
    return mpmath.mpf(x.item() if isinstance(x, np.generic) else x)


def _binary(f: Callable[[Any, Any], Any], turned: bool) -> Any:
    def computed(self: Real, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        a, b = self.x, _plain(other)
        found = f(b, a) if turned else f(a, b)
        if isinstance(found, mpmath.mpc):
            return Real(mpmath.nan)
        return Real(found)

    return computed


def _compared(f: Callable[[Any, Any], Any]) -> Any:
    return lambda self, other: bool(f(self.x, _plain(other)))


def _function(f: Callable[[Any], Any]) -> Any:
    def computed(self: Real) -> Real:
        found = f(self.x)
        return Real(mpmath.nan if isinstance(found, mpmath.mpc) else found)

    return computed


CIRCULAR = ("sin", "cos", "tan", "sinh", "cosh", "tanh")
for _name in ("add", "sub", "mul", "truediv", "pow", "mod", "floordiv"):
    setattr(Real, f"__{_name}__", _binary(getattr(operator, _name), False))
    setattr(Real, f"__r{_name}__", _binary(getattr(operator, _name), True))
for _name in ("lt", "le", "gt", "ge"):
    setattr(Real, f"__{_name}__", _compared(getattr(operator, _name)))
for _name in ("exp", "expm1", "log", "log1p", "log10", "sqrt", "cbrt", *CIRCULAR):
    setattr(Real, _name, _function(getattr(mpmath, _name)))
for _name in CIRCULAR:
    setattr(Real, f"arc{_name}", _function(getattr(mpmath, f"a{_name}")))
Real.exp2 = _function(lambda x: mpmath.power(2, x))  # type: ignore[attr-defined]
Real.log2 = _function(lambda x: mpmath.log(x, 2))  # type: ignore[attr-defined]


def exactly(x: Any) -> Any:
    """A number, or an array, as it is, in many digits."""
    if isinstance(x, np.ndarray):
        out = np.empty(x.shape, object)
        for at in np.ndindex(x.shape):
            out[at] = Real(mpmath.mpf(float(x[at])))
        return out
    return Real(mpmath.mpf(x))


def to_float(x: Array) -> Array:
    """An array of such numbers, rounded."""
    return np.array([float(n) for n in x.ravel()])
