"""How weights start. Every function gives one array and takes the random stream it draws from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from tinygrad2.context import within
from tinygrad2.types import Array

_shapes_only: ContextVar[bool] = ContextVar("shapes_only", default=False)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Inside, arrays have their shape and no memory (read-only zeros that all share one entry): a model to look at."""
    with within(_shapes_only, True):
        yield


def is_shapes_only() -> bool:
    """Whether `shapes_only` is in force here."""
    return _shapes_only.get()


def constant(shape: tuple[int, ...], value: float, dtype: Any = np.float32) -> Array:
    """The same number everywhere."""
    filled = np.asarray(value, dtype)
    return np.broadcast_to(filled, shape) if is_shapes_only() else np.full(shape, filled)


def xavier_uniform(
    shape: tuple[int, int], rng: np.random.Generator, dtype: Any = np.float32, fan_out: int | None = None
) -> Array:
    """Uniform in (-limit, limit), limit = sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio, 2010, eq. 16).

    The fans are those of `shape`, (fan_in, fan_out), unless `fan_out` says otherwise: several matrices that are stored
    side by side each have a smaller one.
    """
    if is_shapes_only():
        return constant(shape, 0, dtype)
    limit = math.sqrt(6 / (shape[0] + (fan_out or shape[1])))
    array = rng.random(shape, np.float32)
    array *= 2 * limit
    array -= limit
    return array.astype(dtype, copy=False)


def normal(shape: tuple[int, ...], std: float, rng: np.random.Generator, dtype: Any = np.float32) -> Array:
    """N(0, std^2)."""
    if is_shapes_only():
        return constant(shape, 0, dtype)
    array = rng.standard_normal(shape, np.float32)
    array *= std
    return array.astype(dtype, copy=False)
