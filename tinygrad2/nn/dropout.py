"""Dropout, and the random generator it draws from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from tinygrad2 import ops
from tinygrad2.context import within
from tinygrad2.nn.module import Module
from tinygrad2.tensor import Tensor

_rng: ContextVar[np.random.Generator | None] = ContextVar("rng", default=None)


@contextmanager
def dropout_rng(rng: np.random.Generator) -> Iterator[None]:
    """Inside, dropout draws from `rng`: the way to make a step repeatable. Threads of a pool each want one of their own."""
    with within(_rng, rng):
        yield


def current_rng() -> np.random.Generator:
    """The generator in force here; without a `dropout_rng`, one from fresh entropy."""
    rng = _rng.get()
    if rng is None:
        rng = np.random.default_rng()
        _rng.set(rng)
    return rng


class Dropout(Module):
    """While training, zero each entry with probability `p` and divide the rest by 1 - p (Srivastava et al., 2014)."""

    def __init__(self, p: float) -> None:
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, current_rng()) if self.training and self.p else x
