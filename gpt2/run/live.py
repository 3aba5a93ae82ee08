"""What is drawn of a run again and again while it trains, without taking much of its time."""

from __future__ import annotations

import time
from typing import Any

from gpt2.run.folder import Run
from gpt2.run.plots import draw_loss


class Renewed:
    """Something of a run that takes at most a `share` of the time, and is drawn every so many seconds, or more seldom."""

    share, every = 0.05, 1.0

    def __init__(self, run: Run) -> None:
        self.run = run
        self.due = 0.0
        """When it may be drawn again, by `time.perf_counter`."""

    def draw(self) -> None:
        """Once."""
        raise NotImplementedError

    def renew(self, now: bool = False) -> None:
        """Draw it, if it is time for that, or `now`. What fails is not tried again: the training goes on, and the command says
        what is wrong when it draws the last one."""
        began = time.perf_counter()
        if began < self.due and not now:
            return
        try:
            self.draw()
        except Exception:  # whatever it is
            self.due = float("inf")
            return
        took = time.perf_counter() - began
        self.due = began + took + max(self.every, took / self.share)


class Live(Renewed):
    """The loss.png of a run, shown in the output of the cell of a notebook that trains: one picture, drawn anew."""

    handle: Any = None

    def draw(self) -> None:
        """See above."""
        from IPython.display import Image, display

        draw_loss(self.run)
        picture = Image(data=self.run.loss_plot.read_bytes(), format="png", width=640)
        if self.handle is None:
            self.handle = display(picture, display_id=True)
        else:
            self.handle.update(picture)
