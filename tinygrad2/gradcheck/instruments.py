"""Sharper than differences: the complex step, and the function itself in more digits.

What these say is taken only where differences cannot tell it from what they say. So an instrument that is not for a function
(the complex step of |x|, or of a comparison) convicts nobody.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from tinygrad2.gradcheck.subject import Flat
from tinygrad2.types import Array

TINY = 1e-20  # the imaginary step: its square is lost in rounding
COMPLEX_ULPS = 4  # what the complex functions of a library may be off by themselves
WOBBLE = 2.0**-20  # over so small a share of the inputs a derivative is smooth: what is not is the rounding of the instrument
DIGITS = 100
STEP = 30  # central differences with steps of 1e-30 are off by 1e-60, and 100 digits by 1e-70, for f of about 1
UNSEEN = 1e-55  # of a function of about 1, smaller slopes than that are lost


def complex_step(flat: Flat, k: int, v: Array, nudge: Sequence[Any] = ()) -> Array | None:
    """Im f(x + ihv) / h, flat, for a direction in input k; None where f does not take complex numbers.

    Nothing is subtracted, so nothing cancels, and h can be so small that only the rounding of f itself is left. It is the
    derivative if f is analytic there; of |x| it makes 0. So it has to be compared with differences.
    """
    inputs = [np.asarray(x + n, complex) for x, n in zip_longest(flat.case.inputs, nudge, fillvalue=0.0)]
    inputs[k] = inputs[k] + 1j * TINY * v
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)  # an imaginary part is thrown away
            found = flat.at(inputs)
    except Exception:  # whatever it is, it says that f is not for complex numbers
        return None
    return (found.imag / TINY).astype(np.float64) if found.dtype in (complex, np.float64) else None


def many_digits(flat: Flat, k: int, v: Array, nudge: Sequence[Any] = ()) -> Array | None:
    """A central difference of f in 100 digits, flat; None where f, or this Python, cannot compute in them. It is NaN at a kink
    or a jump, where both sides have slopes of their own.

    It goes through NumPy's arrays of objects, so f may be any function of NumPy's arithmetic, its elementary functions,
    comparisons, sums and products of matrices.
    """
    try:
        from tinygrad2.gradcheck.digits import exactly, to_float, working
    except ImportError:  # without mpmath
        return None
    with working(DIGITS):
        step = exactly(10.0) ** -STEP
        inputs = [exactly(x + n) for x, n in zip_longest(flat.case.inputs, nudge, fillvalue=0.0)]
        here, along = inputs[k], exactly(v)
        try:
            up, at_0, down = (flat.at([*inputs[:k], here + s * step * along, *inputs[k + 1 :]]) for s in (1, 0, -1))
            if up.dtype != object:
                return None
            right, left, central = (to_float(y / step) for y in (up - at_0, at_0 - down, (up - down) / 2))
            return np.where(np.abs(right - left) <= 1e-15 * np.abs(central) + 1e-20, central, np.nan)
        except Exception:  # whatever it is, it says that f is not for such numbers
            return None


@dataclass
class Accuracy:
    """How accurate the derivatives with respect to one input are, and the one that is off the most."""

    instrument: str = ""  # none: nothing sharper than differences takes the function
    decided: int = 0  # of how many derivatives it can tell
    ulps: float = 0.0  # so many units in the last place the worst is off
    output: int = 0
    entry: int = 0
    exact: float = 0.0


def accuracy(flat: Flat, k: int, jacobian: Array, numeric: Array, errors: Array, best: bool = False) -> Accuracy:
    """Compare a Jacobian with what the sharpest instrument says that takes the function, or the best of all alone.

    What a change of the inputs in their last place does to a derivative is not held against it, nor what the instrument may be
    off by itself. `numeric` and `errors` are those of the differences.
    """
    x, found = flat.case.inputs[k], Accuracy()
    rng = np.random.default_rng(0)
    nudges = [[np.spacing(a) * rng.choice([-1.0, 1.0], a.shape) for a in flat.case.inputs] for _ in range(2)]
    for j, at in enumerate(np.ndindex(x.shape)):
        v = np.zeros(x.shape)
        v[at] = 1
        exact, slack, name = _exact(flat, k, v, nudges, best)
        if exact is None:
            break
        known = (np.abs(exact - numeric[:, j]) <= errors[:, j]) & np.isfinite(exact + slack) & (np.abs(exact) > UNSEEN)
        off = np.where(known, (np.abs(jacobian[:, j] - exact) - slack) / np.spacing(np.abs(exact)), 0.0)
        found.instrument = name
        none = (exact == 0) & (jacobian[:, j] == 0) & (not best)  # in doubt, f may have gone through float64
        found.decided += int(np.count_nonzero(known | none))
        i = int(np.argmax(off))
        if off[i] > found.ulps:
            found.ulps, found.output, found.entry, found.exact = float(off[i]), i, j, float(exact[i])
    return found


def _exact(flat: Flat, k: int, v: Array, nudges: list[list[Array]], best: bool) -> tuple[Array | None, Array, str]:
    """The derivatives as the sharpest instrument has them, or the best of all alone, how far off they may be, and its name."""
    instrument, name, own = many_digits, f"{DIGITS} digits", np.zeros(())
    found = many_digits(flat, k, v)
    if found is None and not best:
        instrument, name = complex_step, "the complex step"
        found = complex_step(flat, k, v)
    if found is None:
        return None, own, ""
    if instrument is complex_step:
        beside = [complex_step(flat, k, v, [share * WOBBLE * x for x in flat.case.inputs]) for share in range(-3, 4)]
        rough = np.diff([other for other in beside if other is not None], 4, axis=0)
        own = COMPLEX_ULPS * np.finfo(float).eps * np.abs(found) + np.abs(rough).max(axis=0, initial=0.0)
    near = [other for nudge in nudges if (other := instrument(flat, k, v, nudge)) is not None]
    return found, 2 * np.max([np.abs(other - found) for other in near], axis=0, initial=0.0) + own, name
