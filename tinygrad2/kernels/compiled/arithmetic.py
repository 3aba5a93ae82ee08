"""What compiled kernels are made of: how to compile, and functions of one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import float32, int64, njit

from tinygrad2.kernels.reference import Array

SUMS = {"reassoc", "contract", "nsz", "arcp"}
"""What the compiler may do to sums and products. It may not suppose that there is no NaN: those are to be found."""

vector, matrix, indices = float32[::1], float32[:, ::1], int64[::1]


def compiled(*signature: Any, fastmath: Any = SUMS, **how: Any) -> Callable[[Any], Any]:
    """A function for the processor here: it lets go of the interpreter, and divides by zero as NumPy does."""
    return njit(*signature, nogil=True, cache=True, error_model="numpy", fastmath=fastmath, **how)


F = np.float32
ONE, HALF = F(1), F(0.5)
LOG2_E, LN2_HIGH, LN2_LOW = F(1.44269504), F(0.693359375), F(-2.12194440e-4)
LOWEST, HIGHEST = F(-87.3), F(88.0)
E7, E6, E5, E4, E3, E2 = (F(c) for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 0.041665795894, 0.16666665459, 0.5))


@compiled(float32(float32))
def exp(x: Any) -> Any:
    """e^x within 2e-7 of it, for x in -87..88 and cut off there: 2^n times a polynomial (Cephes, expf)."""
    x = LOWEST if x < LOWEST else x
    x = HIGHEST if x > HIGHEST else x
    n = np.floor(x * LOG2_E + HALF)
    r = x - n * LN2_HIGH - n * LN2_LOW
    p = ((((E7 * r + E6) * r + E5) * r + E4) * r + E3) * r + E2
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return (p * r * r + r + ONE) * power


@compiled(float32(vector), fastmath=True)  # its result for a row with a NaN does not matter: the row stays NaN
def largest(x: Any) -> Any:
    """The largest entry."""
    top = x[0]
    for i in range(len(x)):
        top = x[i] if x[i] > top else top
    return top


def fits(*arrays: Array) -> bool:
    """Whether compiled kernels take these: float32, in one piece, and not empty."""
    return all(x.dtype == F and x.flags.c_contiguous and x.size for x in arrays)
