"""Which losses and gradients must not reach the parameters."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

import numpy as np

LEAST = 20
"""Before that many values are known, none is called a spike."""


class Spikes:
    """Tells a spike among the values of a step, such as its loss and its gradient norm, from the last ones.

    A value is a spike if it is more than `threshold` robust standard deviations above the median of the last `window`
    accepted values: (x - median) / (1.4826 MAD), where MAD is the median distance from the median (Iglewicz & Hoaglin,
    1993). Spikes and what is not finite never enter the window, so they cannot hide the next one. A threshold of 0 turns it
    off.
    """

    def __init__(self, threshold: float, window: int) -> None:
        self.threshold = threshold
        self.size = window
        self.windows: dict[str, deque[float]] = {}

    def found(self, values: Mapping[str, float]) -> str | None:
        """What is wrong with these values; None for nothing, in which case they are remembered."""
        for name, value in values.items():
            if not math.isfinite(value):
                return f"{name} is {value}"
            window = self.windows.get(name, ())
            if self.threshold and len(window) >= min(LEAST, self.size):
                median = float(np.median(window))
                spread = 1.4826 * float(np.median(np.abs(np.array(window) - median)))
                z = (value - median) / max(spread, 1e-6 * abs(median), 1e-300)
                if z > self.threshold:
                    return f"{name} is {value:.4g}, {z:.1f} robust standard deviations above {median:.4g}"
        for name, value in values.items():
            self.windows.setdefault(name, deque(maxlen=self.size)).append(value)
        return None

    def state(self) -> dict[str, list[float]]:
        """The windows, for a checkpoint."""
        return {name: list(window) for name, window in self.windows.items()}

    def restore(self, state: Mapping[str, list[float]]) -> None:
        """What `state` gave."""
        self.windows = {name: deque(window, maxlen=self.size) for name, window in state.items()}
