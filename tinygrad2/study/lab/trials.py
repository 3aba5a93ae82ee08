"""Other inputs for an op of a computation, small and random, on which a rule that somebody types is judged.

What happens to be so in the computation (a gradient of ones, a gain that is still 1) makes no wrong rule right there.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from tinygrad2.study.formulas import evaluate
from tinygrad2.study.recording import Value
from tinygrad2.study.trace import contributed
from tinygrad2.types import Array

COUNT = 2
"""Trials of an op."""

WAYS = 24
"""In so many ways it is tried to cut the arrays of an op down."""

LONG, MOST, ROOM = 6, 400, 1500
"""Where the arrays of an op have more than MOST entries, their axes longer than LONG are cut down, to ROOM entries at most."""


@dataclass(eq=False)
class Trial:
    """An op with other inputs, what arrives at it, and what one of its inputs must get.

    value    the op on these inputs
    index    of the input whose gradient is asked for
    g        the cotangent of the output
    before   what other uses may have given to that gradient
    truth    what this use adds to it, by the rule of the engine
    """

    value: Value
    index: int
    g: Array
    before: Array
    truth: Array

    def run(self, code: str) -> Array:
        """What a program gives here. It may fail in any way that Python can."""
        with np.errstate(all="ignore"):
            return np.asarray(evaluate(code, self.value, self.g, before=self.before), np.float64)


def trials(value: Value, index: int) -> list[Trial]:
    """Trials of a use of a value in float64; none where no other inputs were found that suit the op."""
    rng = np.random.default_rng(0)
    for lengths in islice(_lengths(value), WAYS):
        for draw in (_normal, _positive, _like):
            found = [_trial(value, index, lengths, draw, rng, number) for number in range(COUNT)]
            complete = [trial for trial in found if trial is not None]
            if len(complete) == COUNT:
                return complete
    return []


def _trial(
    value: Value, index: int, lengths: Mapping[int, int], draw: Draw, rng: np.random.Generator, number: int
) -> Trial | None:
    """One trial, if the op takes such inputs and all is finite then."""
    new = copy.copy(value)
    assert value.op is not None
    resized = [_resized(x, lengths, rng) for x in value.arrays]
    new.arrays = tuple(
        x if known is None or np.asarray(x).dtype.kind != "f" else draw(np.asarray(x), rng, number)
        for x, known in zip(resized, value.inputs, strict=True)
    )
    new.settings = {name: _resized(x, lengths, rng) for name, x in value.settings.items()}
    new.inputs = tuple(x if x is None else copy.copy(x) for x in value.inputs)
    for x, array in zip(new.inputs, new.arrays, strict=True):
        if x is not None:
            x.array = array
    try:
        with np.errstate(all="ignore"):
            new.array, new.residuals = value.op.run(new.arrays, new.settings)
            g = _rounded(rng.standard_normal(new.array.shape))
            if g.size == 1:
                g = np.abs(g) * (-1) ** number  # of both signs
            (part,) = (part for part in contributed(new, g) if part.index == index)
            truth = np.asarray(part.array)
    except Exception:  # an op says in its own way that it does not take such arrays
        return None
    if not truth.size or not np.isfinite(truth).all() or np.isnan(new.array).any():
        return None
    return Trial(new, index, g, _rounded(rng.standard_normal(truth.shape)), truth)


Draw = Callable[[Array, np.random.Generator, int], Array]
"""From an array, and the number of the trial, to another one of its shape."""


def _normal(x: Array, rng: np.random.Generator, number: int) -> Array:
    """Of size one, and then of the size that the array had: a term may be seen in one of them alone."""
    finite = x[np.isfinite(x)]
    size = float(np.sqrt(np.mean(finite * finite))) if finite.size else 0.0
    return _rounded((1.0 if number == 0 or not size else size) * rng.standard_normal(x.shape))


def _positive(x: Array, rng: np.random.Generator, number: int) -> Array:
    return _rounded(np.abs(rng.standard_normal(x.shape)) + 0.1)


def _like(x: Array, rng: np.random.Generator, number: int) -> Array:
    """The entries of the array in another order, and a little smaller."""
    return _rounded(rng.permutation(x.ravel()).reshape(x.shape) * rng.uniform(0.9, 1.0, x.shape))


def _rounded(x: Array) -> Array:
    """To numbers of float32, which take less room in a page; still in float64."""
    return np.asarray(np.asarray(x, np.float32), np.float64)


def _lengths(value: Value) -> Iterator[dict[int, int]]:
    """Lengths of axes and what may stand for each: nothing for small arrays; else small ones, of which some may suit the op.

    What has parts, such as heads, stays a multiple, and as large as there is room: in a length of one a mistake would hide.
    """
    shapes = [np.shape(x) for x in (*value.arrays, value.array) if x is not None]
    if _entries(shapes, {}) <= MOST:
        yield {}
        return
    settings = [n for x in value.settings.values() if isinstance(x, tuple) for n in x if isinstance(n, int)]
    long = sorted({n for n in (*(n for shape in shapes for n in shape), *settings) if n > LONG})
    yield {n: 4 + i for i, n in enumerate(long)}
    for factor in range(2, long[-1] if long else 0):
        parts = {n: n // factor for n in long if n % factor == 0 and n // factor > 1}
        others = [n for n in long if n not in parts]  # such as the size of a vocabulary
        found = {**parts, **{n: 5 + i for i, n in enumerate(others)}}
        if parts and _entries(shapes, found) <= ROOM:
            yield found


def _entries(shapes: Iterable[tuple[int, ...]], lengths: Mapping[int, int]) -> int:
    return sum(math.prod(lengths.get(n, n) for n in shape) for shape in shapes)


def _resized(x: Any, lengths: Mapping[int, int], rng: np.random.Generator) -> Any:
    """A constant, a setting, or an input, with its axes cut down. Those of whole numbers and of booleans are drawn from it."""
    if isinstance(x, tuple):
        return tuple(_resized(item, lengths, rng) for item in x)
    if isinstance(x, int) and not isinstance(x, bool):
        return x if x <= LONG else lengths.get(x, x)
    if not isinstance(x, np.ndarray):
        return x
    shape = [lengths.get(n, n) for n in x.shape]
    if not np.isfinite(x).all():  # a mask of -inf is what it is
        found = x[tuple(slice(n) for n in shape)]
    elif x.dtype.kind in "iu" and lengths:
        found = rng.choice(x.ravel(), shape) % min(lengths.values())
    else:
        found = rng.choice(x.ravel(), shape) if x.size else x
    return found.astype(np.float64) if x.dtype.kind == "f" else found
