"""Whether derivatives agree with what differences along a line say, within the error that these are estimated to have."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygrad2.gradcheck.differences import Line, Precision, Slope, quick, scatter, slopes
from tinygrad2.gradcheck.verdicts import ORDER, RIGHT, UNDECIDABLE, WRONG
from tinygrad2.types import Array

OK, UNKNOWN, OFF = (ORDER.index(verdict) for verdict in (RIGHT, UNDECIDABLE, WRONG))
"""Verdicts as numbers, of which a larger one is worse."""


WILD = 100  # an error so many times what rounding, and what is good enough, explain: the function jumps about
ROUGH = 0.1  # the noise is so large a share of the function itself, or an error of the derivatives: no estimate counts
FAR = 100  # off by so many times its own error, an analytic derivative is convicted before the finest steps are made
ABOUT = 10  # an estimate whose error is so many times the least one is about as good
HIDDEN = 1000  # the gradient of an output may be rounded like that of another, which is so many times larger
NARROW = 1000  # what is narrower than the steps hides slopes so many times as large as it shows
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


class Asked(NamedTuple):
    """The analytic derivatives along a line, and how far they, and the differences, may be off; all of each output."""

    analytic: Array
    scale: Any  # the largest derivative that an output has
    largest: Any  # the largest of all outputs, if that is not too much larger
    least: Array  # differences cannot tell slopes from one another that differ by less than a part of this
    flat: Array  # over the widest steps slopes up to this do not change the function by as much as its own rounding
    own: Array  # the rounding of the analytic gradient itself
    precision: Precision

    def known(self, value: Array, error: Array) -> Array:
        """Whether an estimate is good enough to convict, whatever the analytic derivatives are."""
        return error <= self.precision.resolution * np.maximum(np.abs(value), self.least)

    def resolved(self, value: Array, error: Array) -> Array:
        """Whether an estimate is good enough to acquit: those of other entries may be larger."""
        return self.known(value, error) | (error <= self.precision.resolution * self.largest)

    def relative(self, value: Array) -> Array:
        """By which share of the larger one the analytic derivatives differ from these."""
        floor = np.maximum(0.1 * self.least, 1e-300)  # below it differences cannot tell one slope from another
        return np.abs(self.analytic - value) / np.maximum(np.maximum(np.abs(self.analytic), np.abs(value)), floor)

    def told(self, value: Array, error: Array) -> Array:
        """Whether a derivative can be told from none, or the function does not move, and is not said to."""
        still = (np.abs(self.analytic) <= self.flat) & (np.abs(value) <= 16 * self.flat)  # these are made of its rounding
        return (error <= ROUGH * np.maximum(np.abs(value), self.scale)) | still | (self.analytic == value)


def judge(
    analytic: Array,
    line: Line,
    at_0: Array,
    size: float,
    scale: Any,
    precision: Precision,
    exact: Array | None = None,
    summed: float = 0.0,
) -> Judged:
    """The verdict on each derivative.

    The noise is measured, and finer steps are made, only where something does not agree with a first estimate as well as if
    there were hardly any: what agrees so would agree within a larger error too.

    Args:
        at_0: the value of `line` at 0.
        size: how large the input is that is moved.
        scale: the largest derivative that each output has.
        exact: the derivatives as the complex step has them.
        summed: how large a number is whose rounding is that of the outputs, where these are sums of many.
    """
    h, rounding = precision.start * size, precision.rounding
    value, step, narrow, change = quick(line, h, at_0)
    largest = np.minimum(np.max(scale), HIDDEN * scale)
    magnitude = np.abs(np.where(np.isfinite(at_0), at_0, 0))
    nothing = rounding * ((at_0 == 0) & (change == 0))  # of what stays 0 there is no scale at all
    flat = precision.eps * magnitude / (4 * h) + nothing

    def asked(magnitude: Array) -> Asked:
        least = precision.floor * magnitude / size
        return Asked(analytic, scale, largest, least, flat, rounding * np.maximum(largest, least) + nothing, precision)

    first = asked(magnitude)
    near = first.own + 16 * precision.eps * np.maximum(summed, magnitude) / h
    good = (np.abs(analytic - value) <= near) & first.resolved(value, step) & first.told(value, near)  # NaN is none of these
    if (good & first.resolved(value, NARROW * (narrow - near))).all():
        if exact is None:
            return Judged(np.full(value.shape, OK), first.relative(value), value, np.zeros(value.shape, bool), near)
        return _verdicts(first, Best(value, near, near, None), exact)
    noise, magnitude = scatter(line, size, precision)
    magnitude = np.where(change == 0, magnitude.max(initial=0), magnitude)  # it may be rounded to steps of what the others are
    noise = np.maximum(noise, 4 * precision.eps * magnitude)
    second = asked(magnitude)
    best = _best(second, slopes(line, size, noise, precision, at_0))
    rough = noise > ROUGH * magnitude  # over the least of steps it moves as much as there is of it
    return _verdicts(second, best._replace(error=np.where(rough, np.inf, best.error)), exact)


class Best(NamedTuple):
    """What is known after several steps."""

    value: Array
    error: Array
    agreed: Array  # the error of one that is about as good, and that the analytic derivative agrees with; else infinite
    sides: Slope | None  # those that are known best


def _best(asked: Asked, estimates: Any) -> Best:
    """Of each output the estimate that is the best by its own error."""
    analytic, own = asked.analytic, asked.own
    sides: Slope | None = None
    value, error = np.zeros(analytic.shape), np.full(analytic.shape, np.inf)
    agreeing = np.full(analytic.shape, np.inf)  # the least error of one that the analytic derivative agrees with
    convicted = before = np.zeros(analytic.shape, bool)  # by estimates that agree, far outside of their errors
    for estimate in estimates:
        # where two exclude each other, that of the smaller steps is nearer to the slope
        known = asked.resolved(estimate.value, estimate.error)
        apart = np.abs(estimate.value - value) - estimate.error - error
        better = (np.where(np.isfinite(estimate.value), estimate.error, np.inf) < error) | (known & (apart > 0))
        agrees = np.abs(analytic - estimate.value) <= estimate.error + own
        agreeing = np.where(
            known & agrees, np.minimum(agreeing, estimate.error), np.where(known & (apart > 0), np.inf, agreeing)
        )
        smooth = np.abs(estimate.right - estimate.left) <= KINK * estimate.side_error
        sure = asked.known(estimate.value, estimate.error)
        far = sure & smooth & (np.abs(analytic - estimate.value) > FAR * (estimate.error + own))
        convicted, before = far & before & (np.abs(estimate.value - value) <= estimate.error + error), far
        value, error = np.where(better, estimate.value, value), np.where(better, estimate.error, error)
        if ((np.abs(analytic - value) <= error + own) & asked.resolved(value, error) | convicted).all():
            break
        sides = estimate if sides is None else sides.sharper(estimate)
    else:  # where the finest steps do not agree among themselves either, the function moves faster than these
        size = np.maximum(np.abs(estimate.value), np.abs(value))
        limit = WILD * np.maximum(estimate.rounding, asked.precision.resolution * size)
        error = np.where(np.isfinite(estimate.error) & (estimate.error > limit), np.inf, error)
    return Best(value, error, np.where(agreeing <= ABOUT * error, agreeing, np.inf), sides)


def _verdicts(asked: Asked, best: Best, exact: Array | None) -> Judged:
    value, error, agreed, sides = best
    analytic, own = asked.analytic, asked.own
    about = np.isfinite(agreed) & np.isfinite(error)
    resolved = asked.resolved(value, error) | about
    sharp = np.zeros(value.shape, bool)
    if exact is not None:  # what differences can say next to nothing of, they cannot confirm
        sharp = resolved & (np.abs(exact - value) <= error) & asked.told(value, error)
    value = value if exact is None else np.where(sharp, exact, value)  # who agrees with it agrees with the differences too
    off, relative = np.abs(analytic - value), asked.relative(value)
    near = off <= error + own
    agrees = np.isfinite(analytic) & np.where(sharp, off <= own, near | np.isfinite(agreed))
    told = sharp | asked.told(value, np.where(near, error, agreed))
    right = agrees & (resolved | (error == 0)) & told
    known = sharp | asked.known(value, error)
    verdicts = np.where(right, OK, np.where(known & ~agrees, OFF, UNKNOWN))
    if sides is not None and not right.all():
        low, high = np.minimum(sides.left, sides.right), np.maximum(sides.left, sides.right)
        kink = ~right & ~known & (high - low > KINK * sides.side_error) & np.isfinite(high - low)
        between = (analytic >= low - sides.side_error) & (analytic <= high + sides.side_error)
        verdicts = np.where(kink, np.where(between, np.where(near, OK, UNKNOWN), OFF), verdicts)
        relative = np.where(kink & between & near, 0.0, relative)
    return Judged(verdicts, np.where(np.isfinite(relative), relative, np.inf), value, sharp, error)
