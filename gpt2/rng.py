"""Randomness with names: each use draws from a generator of its own, so that none disturbs another."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, name: str, *counters: int) -> np.random.Generator:
    """The generator `name` of a seed, at a place such as (step, shard).

    What it draws is a function of these arguments alone: nothing has to be saved to draw the same again.
    """
    return np.random.default_rng([seed, zlib.crc32(name.encode()), *counters])
