"""Random numbers that can be drawn again: a function that is computed twice gets the same ones both times."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from tinygrad2.context import within
from tinygrad2.errors import GraphError
from tinygrad2.types import Array

Source = Callable[[np.random.Generator], np.random.Generator]
_source: ContextVar[Source | None] = ContextVar("source", default=None)  # what draws instead of a generator


def uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """float32 numbers in [0, 1)."""
    source = _source.get()
    return (rng if source is None else source(rng)).random(shape, np.float32)


@contextmanager
def remembered() -> Iterator[Sequence[np.random.Generator]]:
    """Inside, what `uniform` is drawn from is remembered, as it was before each draw, in what this gives."""
    around, before = _source.get(), list[np.random.Generator]()

    def source(rng: np.random.Generator) -> np.random.Generator:
        rng = rng if around is None else around(rng)
        before.append(copy.deepcopy(rng))
        return rng

    with within(_source, source):
        yield before


@contextmanager
def repeated(before: Sequence[np.random.Generator]) -> Iterator[None]:
    """Inside, the draws are those that were remembered, in the same order."""
    left = iter(before)

    def source(rng: np.random.Generator) -> np.random.Generator:
        again = next(left, None)
        if again is None:
            raise GraphError(
                f"the function drew random numbers {len(before)} times at first, and more often when it was computed again"
            )
        return copy.deepcopy(again)

    with within(_source, source):
        yield
