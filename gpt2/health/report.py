"""All rules together: on a run as it is, or on one that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from gpt2.health import inside, loss, updates
from gpt2.health.seen import Facts, Seen
from gpt2.health.verdict import Verdict
from gpt2.metrics import Row, read_metrics

RULES: tuple[Callable[[Seen], Iterator[Verdict]], ...] = (
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


def examine(rows: Sequence[Row], facts: Facts) -> list[Verdict]:
    """All verdicts on a run, finished or not. Rows of older runs, which recorded less, give fewer."""
    seen = Seen(rows, facts)
    with np.errstate(all="ignore"):
        return [verdict for rule in RULES for verdict in rule(seen)]


class Watch:
    """Looks at a run while it trains: says each problem when it first appears."""

    def __init__(self, metrics: Path, facts: Facts, say: Callable[[str], object]) -> None:
        self.metrics, self.facts, self.say = metrics, facts, say
        self.rows: list[Row] | None = None
        self.known: set[str] = set()

    def see(self, row: Row) -> None:
        """A row that was just written down; problems are looked for at evaluations."""
        if self.rows is None:
            self.rows = read_metrics(self.metrics)  # with those from before a resume
        else:
            self.rows.append(row)
        if "val_loss" not in row:
            return
        for verdict in examine([r for r in self.rows if r["step"] <= row["step"]], self.facts):
            if verdict.is_problem and verdict.name not in self.known:
                self.known.add(verdict.name)
                self.say(f"{verdict.level}: {verdict.name}: {verdict.seen}\n  likely: {verdict.cause}\n  try: {verdict.remedy}")
