"""Derivatives from function values alone, with an error that is estimated and not guessed.

Central differences at steps 4h, 2h and h are extrapolated twice (Richardson, 1911), which leaves an error of order h^6.
The difference between the last two extrapolations bounds the truncation; the scatter of the function itself, measured
around the point, bounds the rounding. What the values on both sides have in common tells of what is narrower than the step:
extrapolated to the point itself they give its value, or else something stands there that no central difference shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from tinygrad2.types import Array

LOST = 8**4
"""A change of so many times the noise still shows with steps that are eight times smaller, even of x ** 4."""
Line = Callable[[float], Array]
"""A function restricted to a line: t -> f(x + t v), flat."""


@dataclass(frozen=True)
class Precision:
    """What a function is computed in, and so which steps can be made and what can be known from them."""

    dtype: type
    start: float  # the first step
    shrink: int  # each step is so many times smaller than the one before
    rounds: int
    tiny: tuple[float, ...]  # steps in which only rounding shows
    rounding: float  # of a gradient, relative to its largest entry
    resolution: float  # an estimate that is off by more than this share of the largest entry decides nothing
    floor: float  # a slope that is less than this share of the function itself counts as none

    @property
    def eps(self) -> float:
        """The distance from 1 to the next number."""
        return float(np.finfo(self.dtype).eps)


DOUBLE = Precision(np.float64, 1e-3, 8, 8, (1e-9, 1e-7), 1e-11, 1e-4, 1e-5)
SINGLE = Precision(np.float32, 3e-2, 4, 4, (1e-5, 1e-4), 3e-4, 2e-2, 1e-2)


@dataclass(frozen=True)
class Slope:
    """Derivatives of all outputs at t = 0, how far off they may be, and the slopes from either side."""

    value: Array
    error: Array
    left: Array
    right: Array
    side_error: Array
    rounding: Array  # the part of the error that is there whatever the function does

    def sharper(self, other: Slope) -> Slope:
        """Of each output those sides that are known better."""
        better = ~(self.side_error <= other.side_error)
        for side in ("left", "right"):  # where they exclude each other, those of the smaller steps are nearer to the slopes
            better |= np.abs(getattr(self, side) - getattr(other, side)) > self.side_error + other.side_error
        sides = {side: np.where(better, getattr(other, side), getattr(self, side)) for side in ("left", "right", "side_error")}
        return replace(other, **sides)


def slopes(line: Line, size: float, noise: Array, precision: Precision, at_0: Array) -> Iterator[Slope]:
    """Estimates with finer and finer steps: in float64 from a thousandth of `size` down to a two millionth of that."""
    reach = np.zeros(at_0.shape)  # by how much the outputs changed when they did last
    for k in range(precision.rounds):
        h = precision.start * size / precision.shrink**k
        up, down = ([line(sign * s * h) for s in (1, 2, 4)] for sign in (1, -1))
        central = [(u - d) / (2 * s * h) for s, u, d in zip((1, 2, 4), up, down, strict=True)]
        once = [(4 * central[0] - central[1]) / 3, (4 * central[1] - central[2]) / 3]
        value = (16 * once[0] - once[1]) / 15
        largest = np.maximum(np.abs(up), np.abs(down)).max(axis=0)
        rounding = 4 * np.maximum(noise, 4 * precision.eps * largest) / h  # tiny steps may not show that of these steps
        right, left = ((4 * y[0] - y[1] - 3 * at_0) / (2 * h) for y in (up, down))
        farther = [(4 * y[1] - y[2] - 3 * at_0) / (4 * h) for y in (up, down)]
        side_error = np.maximum(np.abs(right - farther[0]), np.abs(left - farther[1])) + 4 * rounding
        error = 2 * np.abs(value - once[0]) + rounding
        change = np.max([np.abs(y - at_0) for y in (*up, *down)], axis=0)
        lost = (change == 0) & (reach > 0) & (reach <= LOST * noise)  # so small a change becomes none by rounding
        error = np.where(lost, np.inf, error)
        uneven = np.abs(once[0] - once[1]) > np.abs(central[0] - central[1]) / 4  # as if of no second derivative here
        error = np.where(uneven, error + 3 * np.abs(once[0] - once[1]), error)
        even = [(u + d) / 2 - at_0 for u, d in zip(up, down, strict=True)]  # of a smooth function s * s * a, and little more
        narrow = np.abs(64 * even[0] - 20 * even[1] + even[2]) / 45
        shown = narrow > np.maximum(4 * rounding * h, np.abs(4 * even[0] - even[1]) / 12)
        error = np.where(shown, np.inf, error + narrow / h)  # so far are the slopes of a kink from that between them
        reach = np.where(change > 0, change, reach)
        yield Slope(value, error, -left, right, side_error, rounding)


def quick(line: Line, h: float, at_0: Array) -> tuple[Array, Array, Array, Array]:
    """A first estimate from steps h and 2h, by how much the extrapolation moved it, how steep what is narrower than the steps
    may be, and by how much the function changed."""
    (up, down), (far_up, far_down) = ((line(s * h), line(-s * h)) for s in (1, 2))
    central, wide = (up - down) / (2 * h), (far_up - far_down) / (4 * h)
    step = (central - wide) / 3
    narrow = (4 * (up + down) - (far_up + far_down) - 6 * at_0) / (6 * h)
    change = np.max([np.abs(y - at_0) for y in (up, down, far_up, far_down)], axis=0)
    return central + step, np.abs(step), np.abs(narrow), change


def scatter(line: Line, size: float, precision: Precision = DOUBLE) -> tuple[Array, Array]:
    """(noise, magnitude) of each output: how much it jumps about by rounding, and how large it is.

    The noise is more than most of the fourth differences over tiny steps: curvature does not show in them, and a kink or a
    jump only in a few. Those at the point itself are left out: there stands what is narrow, if anything.
    """
    parts = []
    for step in precision.tiny:
        values = np.array([[line(side * k * step * size) for k in range(2, 13)] for side in (1, -1)])
        values[..., ~np.isfinite(values).all(axis=(0, 1))] = 0
        parts.append((np.quantile(np.abs(np.diff(values, 4, axis=1)), 0.6, axis=(0, 1)), np.abs(values).max(axis=(0, 1))))
    noise, magnitude = np.max(parts, axis=0)
    return np.maximum(noise, 4 * precision.eps * magnitude), magnitude
