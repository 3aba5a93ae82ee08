"""Whether derivatives agree with what differences along a line say, within the error that these are estimated to have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinygrad2.gradcheck.differences import Line, Precision, Slope, quick, slopes
from tinygrad2.gradcheck.verdicts import ORDER, RIGHT, UNDECIDABLE, WRONG
from tinygrad2.types import Array

OK, UNKNOWN, OFF = (ORDER.index(verdict) for verdict in (RIGHT, UNDECIDABLE, WRONG))
"""Verdicts as numbers, of which a larger one is worse."""


WILD = 100  # an error so many times what rounding, and what is good enough, explain: the function jumps about
ROUGH = 0.1  # the noise is so large a share of the function itself: no estimate counts
FAR = 100  # off by so many times its own error, an analytic derivative is convicted before the finest steps are made
ABOUT = 10  # an estimate whose error is so many times the least one is about as good
KINK = 8  # the slopes of the sides differ by so many times their errors: a kink; those of a single spike differ by 4 times


class Judged(NamedTuple):
    """Of all outputs along one line."""

    verdicts: Any  # as numbers
    errors: Any  # relative
    numeric: Any
    sharp: Any  # where the numeric derivatives are those of the complex step
    bound: Any  # how far off the differences may be

    @property
    def decided(self) -> str:
        """How many of them the complex step decides."""
        return f"the complex step decides {np.count_nonzero(self.sharp)} of {self.sharp.size}"


def judge(
    analytic: Array,
    line: Line,
    at_0: Array,
    size: float,
    scale: float,
    noise: Callable[[], tuple[float, float]],
    precision: Precision,
    exact: Array | None = None,
    summed: float = 0.0,
) -> Judged:
    """The verdict on each derivative.

    Args:
        at_0: the value of `line` at 0.
        size: how large the input is that is moved.
        scale: the largest derivative there is.
        noise: gives what `scatter` does. It is asked, and finer steps are made, only where something does not agree with a
            first estimate as well as if there were hardly any: what agrees so would agree within a larger error too.
        exact: the derivatives as the complex step has them.
        summed: how large a number is whose rounding is that of the outputs, where these are sums of many.
    """
    magnitude = float(np.abs(at_0[np.isfinite(at_0)]).max(initial=0))
    least, h = precision.floor * magnitude / size, precision.start * size
    level = max(scale, least)
    value, step = quick(line, h)
    nothing = precision.rounding * ((at_0 == 0) & (value == 0))  # of what stays 0 there is no scale at all
    own = precision.rounding * level + nothing  # the rounding of the analytic gradient itself
    near = own + 16 * precision.eps * max(summed, magnitude) / h
    if (np.abs(analytic - value) <= near).all() and (step <= precision.resolution * level).all():  # NaN is none of these
        best = Best(value, near, np.ones(value.shape, bool), None)
        return _verdicts(analytic, best, own, level, least, precision, exact)
    found = noise()
    least = precision.floor * found[1] / size
    level = max(scale, least)
    own = precision.rounding * level + nothing
    best = _best(analytic, slopes(line, size, found[0], precision, at_0), own, level, least, precision)
    if found[0] > ROUGH * found[1]:  # over the least of steps it moves as much as there is of it
        best = best._replace(error=np.full(best.error.shape, np.inf))
    return _verdicts(analytic, best, own, level, least, precision, exact)


class Best(NamedTuple):
    """What is known after several steps."""

    value: Array
    error: Array
    agreed: Array  # where the analytic derivative agrees with one that is about as good
    sides: Slope | None  # those that are known best


def _best(analytic: Array, estimates: Any, own: Any, level: float, least: float, precision: Precision) -> Best:
    """Of each output the estimate that is the best by its own error."""
    sides: Slope | None = None
    value, error = np.zeros(analytic.shape), np.full(analytic.shape, np.inf)
    agreeing = np.full(analytic.shape, np.inf)  # the least error of one that the analytic derivative agrees with
    convicted = before = np.zeros(analytic.shape, bool)  # by estimates that agree, far outside of their errors
    for estimate in estimates:
        with np.errstate(invalid="ignore"):  # where two exclude each other, that of the smaller steps is nearer to the slope
            known = estimate.error <= precision.resolution * np.maximum(np.abs(estimate.value), level)
            apart = np.abs(estimate.value - value) - estimate.error - error
            better = (np.where(np.isfinite(estimate.value), estimate.error, np.inf) < error) | (known & (apart > 0))
            agrees = np.abs(analytic - estimate.value) <= estimate.error + own
        agreeing = np.where(
            known & agrees, np.minimum(agreeing, estimate.error), np.where(known & (apart > 0), np.inf, agreeing)
        )
        with np.errstate(invalid="ignore"):
            smooth = np.abs(estimate.right - estimate.left) <= KINK * estimate.side_error
            sure = estimate.error <= precision.resolution * np.maximum(np.abs(estimate.value), least)
            far = sure & smooth & (np.abs(analytic - estimate.value) > FAR * (estimate.error + own))
            convicted, before = far & before & (np.abs(estimate.value - value) <= estimate.error + error), far
        value, error = np.where(better, estimate.value, value), np.where(better, estimate.error, error)
        resolved = error <= precision.resolution * np.maximum(np.abs(value), level)
        if ((np.abs(analytic - value) <= error + own) & resolved | convicted).all():
            break
        if sides is None or not sides.side_error.max() <= estimate.side_error.max():
            sides = estimate
    else:  # where the finest steps do not agree among themselves either, the function moves faster than these
        with np.errstate(invalid="ignore"):
            size = np.maximum(np.abs(estimate.value), np.abs(value))
            wild = (estimate.error > WILD * estimate.rounding) & (estimate.error > WILD * precision.resolution * size)
        error = np.where(wild, np.inf, error)
    return Best(value, error, agreeing <= ABOUT * error, sides)


def _verdicts(
    analytic: Array,
    best: Best,
    own: Any,
    level: float,
    least: float,
    precision: Precision,
    exact: Array | None,
) -> Judged:
    value, error, agreed, sides = best
    with np.errstate(invalid="ignore"):
        largest = np.maximum(np.maximum(np.abs(value), np.abs(analytic)), level)
        resolved = (error <= precision.resolution * largest) | (agreed & np.isfinite(error))
        sharp = np.zeros(value.shape, bool) if exact is None else resolved & (np.abs(exact - value) <= error)
        value = value if exact is None else np.where(sharp, exact, value)  # who agrees with it agrees with the differences too
        off = np.abs(analytic - value)
        floor = max(0.1 * least, 1e-300)  # below it differences cannot tell one slope from another
        relative = off / np.maximum(np.maximum(np.abs(analytic), np.abs(value)), floor)
        agrees = np.where(sharp, off <= own, (off <= error + own) | agreed)
        known = sharp | (error <= precision.resolution * np.maximum(np.abs(value), least))  # whatever the analytic one is
        verdicts = np.where(agrees & (resolved | (error == 0)), OK, np.where(known & ~agrees, OFF, UNKNOWN))
        if sides is not None and not agrees.all():
            low, high = np.minimum(sides.left, sides.right), np.maximum(sides.left, sides.right)
            kink = (high - low > KINK * sides.side_error) & np.isfinite(high - low)
            between = (analytic >= low - sides.side_error) & (analytic <= high + sides.side_error)
            verdicts = np.where(kink & ~agrees, np.where(between, OK, OFF), verdicts)
            relative = np.where(kink & between & ~agrees, 0.0, relative)
    verdicts = np.where(np.isfinite(analytic), verdicts, np.where(np.isfinite(error), OFF, UNKNOWN))
    return Judged(verdicts, np.where(np.isfinite(relative), relative, np.inf), value, sharp, error)
