"""Dropout, and the random stream it draws from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tinygrad2 import ops
from tinygrad2.nn.module import Module
from tinygrad2.tensor import Tensor

_current = threading.local()


@contextmanager
def dropout_stream(rng: np.random.Generator) -> Iterator[None]:
    """Inside, dropout on this thread draws from `rng`: the way to make a training step repeatable."""
    before = getattr(_current, "rng", None)
    _current.rng = rng
    try:
        yield
    finally:
        _current.rng = before


def stream() -> np.random.Generator:
    """The stream in force on this thread; without a `dropout_stream`, one from fresh entropy."""
    if getattr(_current, "rng", None) is None:
        _current.rng = np.random.default_rng()
    return _current.rng


class Dropout(Module):
    """While training, zero each entry with probability `p` and divide the rest by 1 - p (Srivastava et al., 2014)."""

    def __init__(self, p: float) -> None:
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, stream()) if self.training and self.p else x
