"""Sharper than differences: the complex step, and the function itself in more digits.

What these say is taken only where differences cannot tell it from what they say. So an instrument that is not for a function
(the complex step of |x|, or of a comparison) convicts nobody.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from tinygrad2.gradcheck.subject import Flat
from tinygrad2.types import Array

TINY = 1e-20  # the imaginary step: its square is lost in rounding
COMPLEX_ULPS = 4  # what the complex functions of a library may be off by themselves
DIGITS = 100
STEP = 30  # central differences with steps of 1e-30 are off by 1e-60, and 100 digits by 1e-70, for f of about 1
UNSEEN = 1e-55  # of a function of about 1, smaller slopes than that are lost


def complex_step(flat: Flat, k: int, v: Array) -> Array | None:
    """Im f(x + ihv) / h, flat, for a direction in input k; None where f does not take complex numbers.

    Nothing is subtracted, so nothing cancels, and h can be so small that only the rounding of f itself is left. It is the
    derivative if f is analytic there; of |x| it makes 0. So it has to be compared with differences.
    """
    inputs = [x.astype(complex) for x in flat.case.inputs]
    inputs[k] = inputs[k] + 1j * TINY * v
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)  # an imaginary part is thrown away
            found = flat.at(inputs)
    except Exception:  # whatever it is, it says that f is not for complex numbers
        return None
    return (found.imag / TINY).astype(np.float64) if found.dtype in (complex, np.float64) else None


def many_digits(flat: Flat, k: int, v: Array, nudge: list[Array]) -> Array | None:
    """A central difference of f in 100 digits, flat; None where f, or this Python, cannot compute in them.

    It goes through NumPy's arrays of objects, so f may be any function of NumPy's arithmetic, its elementary functions,
    comparisons, sums and products of matrices.
    """
    try:
        from tinygrad2.gradcheck.digits import exactly, to_float, working
    except ImportError:  # without mpmath
        return None
    with working(DIGITS):
        step = exactly(10.0) ** -STEP
        inputs = [exactly(x + n) for x, n in zip(flat.case.inputs, nudge, strict=True)]
        here, along = inputs[k], exactly(v)
        try:
            with np.errstate(all="ignore"):
                up, down = (flat.at([*inputs[:k], here + s * step * along, *inputs[k + 1 :]]) for s in (1, -1))
                return to_float((up - down) / (2 * step)) if up.dtype == object else None
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


def accuracy(flat: Flat, k: int, jacobian: Array, numeric: Array, errors: Array) -> Accuracy:
    """Compare a Jacobian with what the sharpest instrument says that takes the function.

    What a change of the inputs in their last place does to a derivative is not held against it, nor what the instrument may be
    off by itself. `numeric` and `errors` are those of the differences.
    """
    x, found = flat.case.inputs[k], Accuracy()
    rng = np.random.default_rng(0)
    still = [np.zeros(a.shape) for a in flat.case.inputs]
    nudges = [[np.spacing(a) * rng.choice([-1.0, 1.0], a.shape) for a in flat.case.inputs] for _ in range(2)]
    for j, at in enumerate(np.ndindex(x.shape)):
        v = np.zeros(x.shape)
        v[at] = 1
        exact, slack, name = _exact(flat, k, v, still, nudges)
        if exact is None:
            break
        with np.errstate(invalid="ignore", over="ignore"):
            known = (np.abs(exact - numeric[:, j]) <= errors[:, j]) & np.isfinite(exact) & (np.abs(exact) > UNSEEN)
            off = np.where(known, (np.abs(jacobian[:, j] - exact) - slack) / np.spacing(np.abs(exact)), 0.0)
        found.instrument = name
        found.decided += int(np.count_nonzero(known | ((exact == 0) & (jacobian[:, j] == 0))))
        i = int(np.argmax(off))
        if off[i] > found.ulps:
            found.ulps, found.output, found.entry, found.exact = float(off[i]), i, j, float(exact[i])
    return found


def _exact(flat: Flat, k: int, v: Array, still: list[Array], nudges: list[list[Array]]) -> tuple[Array | None, Array, str]:
    """The derivatives as the sharpest instrument has them, how far off they may be, and its name."""
    found = many_digits(flat, k, v, still)
    if found is not None:
        near = [many_digits(flat, k, v, nudge) for nudge in nudges]
        own, name = 0.0, f"{DIGITS} digits"
    else:
        found = complex_step(flat, k, v)
        if found is None:
            return None, np.zeros(0), ""
        before = [x.copy() for x in flat.case.inputs]
        near = []
        for nudge in nudges:
            for a, n in zip(flat.case.inputs, nudge, strict=True):
                a += n
            near.append(complex_step(flat, k, v))
            for a, old in zip(flat.case.inputs, before, strict=True):
                a[...] = old
        own, name = COMPLEX_ULPS * np.finfo(float).eps, "the complex step"
    moved = np.max([np.abs(n - found) for n in near if n is not None], axis=0, initial=0.0)
    return found, 2 * moved + own * np.abs(found), name
