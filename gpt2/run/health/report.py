"""All rules together: on a run as it is, or on one that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

import numpy as np

from gpt2.errors import RunError
from gpt2.run.health import inside, loss, updates
from gpt2.run.health.summary import Facts, Summary
from gpt2.run.health.verdict import Verdict
from gpt2.run.metrics import Recorded, Row, history

RULES: tuple[Callable[[Summary], Iterator[Verdict]], ...] = (
    loss.initial_loss,
    loss.baselines_crossed,
    loss.loss_floor,
    loss.overfitting,
    updates.update_ratio,
    loss.divergence,
    updates.gradient,
    updates.optimizer,
    updates.layers,
    inside.leak,
    inside.targets,
    inside.attention_formula,
    inside.attention,
    inside.dead_units,
    inside.residual,
)
"""In the order of the report."""


def examine(rows: Iterable[Recorded], facts: Facts) -> list[Verdict]:
    """All verdicts on the history of a run, with what was skipped. Rows of older runs, which recorded less, give fewer."""
    return judge(Summary(facts, rows))


def judge(run: Summary) -> list[Verdict]:
    """All verdicts on a run, finished or not."""
    with np.errstate(all="ignore"):
        return [verdict for rule in RULES for verdict in rule(run)]


class Monitor:
    """Looks at a run while it trains: says each problem when it first appears."""

    def __init__(self, metrics: Path, facts: Facts, say: Callable[[str], object]) -> None:
        self.metrics, self.facts, self.say = metrics, facts, say
        self.summary: Summary | None = None
        self.known: set[str] = set()

    def add(self, row: Row) -> None:
        """A row that was just written down; problems are looked for at evaluations."""
        try:
            self._add(cast(Recorded, row))
        except RunError as error:  # the log does not say what it should: no reason to end a training
            if "log" not in self.known:
                self.known.add("log")
                self.say(f"warning: what went before is not judged: {error}")
            self.summary = Summary(self.facts)
        if "val_loss" not in row:
            return
        assert self.summary is not None
        for verdict in judge(self.summary):
            if verdict.is_problem and verdict.name not in self.known:
                self.known.add(verdict.name)
                self.say(f"{verdict.level}: {verdict.name}: {verdict.seen}\n  likely: {verdict.cause}\n  try: {verdict.remedy}")

    def _add(self, row: Recorded) -> None:
        """Read the log at first, for what is there from before a resume, and after a rollback, for what does not count now."""
        if self.summary is None or (self.summary.step is not None and row["step"] <= self.summary.step):
            self.summary = Summary(self.facts, history(self.metrics, skipped=True))
        else:
            with np.errstate(all="ignore"):
                self.summary.add(row)
