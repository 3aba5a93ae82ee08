"""The losses of a run in a notebook: one picture, which is drawn anew while it trains."""

from __future__ import annotations

import time
from typing import Any

from gpt2.run.folder import Run
from gpt2.run.plots import draw_loss

SHARE = 0.05
"""Of the time, that drawing may take."""

EVERY = 1.0
"""Seconds between two pictures, at least."""


class Live:
    """The loss.png of a run, shown in the output of the cell that trains."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.handle: Any = None
        self.due = 0.0

    def renew(self, now: bool = False) -> None:
        """Draw and show it, if it is time for that, or `now`. A picture that fails is left out: training goes on."""
        began = time.perf_counter()
        if began < self.due and not now:
            return
        from IPython.display import Image, display

        try:
            draw_loss(self.run)
            picture = Image(data=self.run.loss_plot.read_bytes(), format="png", width=640)
        except Exception:  # whatever it is: the command says so when it draws the last one
            self.due = float("inf")
            return
        if self.handle is None:
            self.handle = display(picture, display_id=True)
        else:
            self.handle.update(picture)
        took = time.perf_counter() - began
        self.due = began + took + max(EVERY, took / SHARE)
