"""What a step costs on n ranks: computing its share, and a sum of all gradients.

A sum of S bytes by a ring (Patarasuk and Yuan, 2009) is 2 (n - 1) messages of S / n bytes one after another; by a tree,
2 log2(n) of S bytes. A message takes `latency` seconds and its bytes over `bandwidth` (Hockney, 1994).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Network(NamedTuple):
    """Seconds before a message begins to arrive, and bytes per second from then on."""

    latency: float
    bandwidth: float


def ring(n: int, size: float, network: Network) -> float:
    """Seconds of a sum by a ring."""
    return 2 * (n - 1) * (network.latency + size / n / network.bandwidth)


def tree(n: int, size: float, network: Network) -> float:
    """Seconds of a sum by a tree."""
    return 2 * math.ceil(math.log2(n)) * (network.latency + size / network.bandwidth)


def reduction(n: int, size: float, network: Network) -> float:
    """Seconds by whichever of them is faster."""
    return min(ring(n, size, network), tree(n, size, network))


def step(n: int, flops: float, rate: float, size: float, network: Network) -> float:
    """Seconds of a step of so many operations, each rank making `rate` of them a second, if nothing overlaps."""
    return flops / n / rate + reduction(n, size, network)


def memory(parameters: int, n: int, zero: bool) -> float:
    """Bytes that a rank holds of weights, gradients and AdamW's two moments in float32, without activations."""
    return 8 * parameters + 8 * parameters / (n if zero else 1)


def fitted(points: Iterable[tuple[int, float, float]]) -> Network:
    """The network of a ring that is closest to measured sums (n, bytes, seconds), by relative errors."""
    rows = [(2 * (n - 1) / t, 2 * (n - 1) / n * size / t) for n, size, t in points]
    latency, per_byte = np.linalg.lstsq(np.array(rows), np.ones(len(rows)), rcond=None)[0]
    return Network(float(latency), float(1 / per_byte))
