"""What wrong numbers have in common with the right ones: a factor, a term, an axis, or the places where they are wrong."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygrad2.gradcheck.patterns import View, factor, places, powers
from tinygrad2.types import Array

DIGITS = 1e-8


def common(got: Array, expected: Array, others: dict[str, Array]) -> str:
    """In words; empty where there is nothing. `others` are arrays that a factor or a place may come from, by name."""
    return next(_patterns(np.asarray(got, float), np.asarray(expected, float), others), "")


def _patterns(got: Array, expected: Array, others: dict[str, Array]) -> Iterator[str]:
    if not np.isfinite(got).all() or not np.isfinite(expected).all() or not got.any() or not expected.any():
        yield "it is zero everywhere" if not got.any() else "it is not finite everywhere" if not np.isfinite(got).all() else ""
        return
    if np.allclose(got, -expected, rtol=DIGITS):
        yield "it has the other sign"
    if got.ndim > 1 and got.shape[-1] == got.shape[-2] and np.allclose(got, np.swapaxes(expected, -1, -2), rtol=DIGITS):
        yield "it is transposed"
    wrong = ~np.isclose(got, expected, rtol=DIGITS, atol=DIGITS * np.abs(expected).max())
    one = View(
        "it", got.reshape(1, -1), expected.reshape(1, -1), wrong.reshape(1, -1), np.zeros(()), expected, others, DIGITS, DIGITS
    )
    there = (expected != 0) & (got != 0)
    ratio = np.divide(got, expected, out=np.ones_like(got), where=there)
    if wrong.all() and there.all() and np.ptp(ratio) <= 1e-7 * np.abs(ratio).max():
        yield factor(float(ratio.flat[0]), one)
    less = got - expected
    if got.size > 2 and np.ptp(less) <= 1e-7 * np.abs(less).max():
        yield f"every entry is off by the same number, {less.flat[0]:.6g}"
    for axis in range(got.ndim):
        several = got.shape[axis] > 1 and got.size > got.shape[axis]
        if several and (np.ptp(less, axis=axis) <= 1e-7 * np.abs(less).max()).all():
            yield f"along axis {axis} every entry is off by the same number: a mean or a sum over that axis is missing or wrong"
        if several and there.all() and (np.ptp(ratio, axis=axis) <= 1e-7 * np.abs(ratio).max()).all():
            yield f"along axis {axis} every entry is off by the same factor"
    where = places(one)
    if where:
        yield f"wrong only {where}"
    if there.all():
        found = powers(ratio.reshape(1, -1), there.reshape(1, -1), one)
        if found:
            yield f"off by a factor of {found}"
    yield ""
