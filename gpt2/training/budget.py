"""A training that ends at a time: how many steps that is, as far as it is known by now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

clock = time.perf_counter

FIRST = 10
"""The step after which the plan is made anew: the first ones tell little of those that follow."""


class Budget:
    """The seconds that a run may take in all, and what they are spent on.

    `began` is when this command did, by the clock; `used` are the seconds of the run before it. What is done now and
    then is timed under a name: an evaluation counts for each that is still to come.
    """

    def __init__(self, seconds: float, began: float, used: float = 0.0) -> None:
        self.seconds, self.began, self.used = seconds, began, used
        self.lately: dict[str, float] = {}
        """Seconds that each thing took the last time."""
        self.restart()

    def restart(self) -> None:
        """Count the time of steps from now on."""
        self.start, self.elsewhere, self.steps = clock(), 0.0, 0

    def spent(self) -> float:
        """Seconds so far, those before this command included."""
        return self.used + clock() - self.began

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """What is inside is no part of a step."""
        start = clock()
        try:
            yield
        finally:
            self.lately[what] = clock() - start
            self.elsewhere += self.lately[what]

    def left(self, after: float, beside: float = 0.0) -> int:
        """For how many steps there is time, at the pace of those since it was last asked, at least one: a plan ends with one.

        What else is done takes `after` seconds in all, and `beside` for each step.
        """
        pace = (clock() - self.start - self.elsewhere) / self.steps
        self.restart()
        return max(1, int((self.seconds - self.spent() - after) / max(pace + beside, 1e-5)))
