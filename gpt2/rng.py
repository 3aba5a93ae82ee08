"""Randomness with names: each use draws from its own stream, so that none disturbs another."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, name: str, *counters: int) -> np.random.Generator:
    """The random stream `name` of a seed, at a place such as (step, shard).

    A stream is a function of its arguments alone: nothing has to be saved to continue one.
    """
    return np.random.default_rng([seed, zlib.crc32(name.encode()), *counters])
