"""All rules together: on a run as it is, or on one that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from gpt2.config import GPT2Config, TrainConfig
from gpt2.errors import RunError
from gpt2.run.health import inside, loss, updates
from gpt2.run.health.summary import Summary
from gpt2.run.health.verdict import Verdict, Verdicts
from gpt2.run.metrics import Recorded, Row, history

RULES: tuple[Callable[[Summary], Iterator[Verdict]], ...] = (
    loss.diverged,
    updates.settings,
    updates.update_size,
    loss.initial_loss,
    loss.baselines_crossed,
    loss.loss_floor,
    loss.training_loss,
    loss.overfitting,
    updates.gradient,
    updates.optimizer,
    updates.layers,
    inside.causal_mask,
    inside.targets,
    inside.attention_formula,
    inside.attention,
    inside.dead_units,
    inside.residual,
)
"""In the order of the report; what is worse comes before what is less bad."""

AT_EVALUATIONS = {
    loss.loss_floor,
    updates.gradient,
    updates.optimizer,
    *(rule for rule in RULES if rule.__module__ == inside.__name__),
}
"""Those that know only what was measured at the last evaluation, or before it."""

LEVELS = ("error", "warning", "info", "ok")


def examine(model: GPT2Config, training: TrainConfig, rows: Iterable[Recorded]) -> Verdicts:
    """All verdicts on the history of a run, with what was skipped. Rows of older runs, which recorded less, give fewer."""
    return judge(Summary(model, training, rows))


def judge(run: Summary) -> Verdicts:
    """All verdicts on a run, finished or not. Of a text without anything to learn nothing else is said."""
    with np.errstate(all="ignore"):
        rules = [loss.diverged] if (nothing := list(loss.predictable(run))) else RULES
        found = nothing + [
            _dated(verdict, run) if rule in AT_EVALUATIONS else verdict for rule in rules for verdict in rule(run)
        ]
    return Verdicts(sorted(found, key=lambda verdict: LEVELS.index(verdict.level)))


def _dated(verdict: Verdict, run: Summary) -> Verdict:
    """With the step at which it was measured, if that is not the last. What was well at step 0 says little of later."""
    if run.evaluation is None or run.evaluation.step == run.step:
        return verdict
    seen = f"{verdict.seen}; measured at step {run.evaluation.step}"
    if run.evaluation.step or verdict.is_problem:
        return replace(verdict, seen=seen)
    return replace(verdict, seen=f"{seen}, and not since then", level="info")


class Monitor:
    """Looks at a run while it trains: says each problem when it first appears."""

    def __init__(self, metrics: Path, model: GPT2Config, training: TrainConfig, say: Callable[[str], object]) -> None:
        self.metrics, self.settings, self.say = metrics, (model, training), say
        self.summary: Summary | None = None
        self.known: set[str] = set()

    def planned(self, training: TrainConfig) -> None:
        """The settings are these from now on."""
        self.settings = self.settings[0], training
        if self.summary is not None:
            self.summary.training = training

    def add(self, row: Row) -> None:
        """A row that was just written down; problems are looked for at evaluations."""
        try:
            self._add(cast(Recorded, row))
        except RunError as error:  # the log does not say what it should: no reason to end a training
            if "log" not in self.known:
                self.known.add("log")
                self.say(f"warning: the steps before are not judged: {error}")
            self.summary = Summary(*self.settings)
        if "val_loss" not in row:
            return
        assert self.summary is not None
        for verdict in judge(self.summary):
            if verdict.is_problem and verdict.name not in self.known:
                self.known.add(verdict.name)
                self.say(f"{verdict.level}: " + "\n  ".join(verdict.lines()))

    def _add(self, row: Recorded) -> None:
        """Read the log at first, for what is there from before a resume, and after a rollback, for what does not count now."""
        if self.summary is None or (self.summary.step is not None and row["step"] <= self.summary.step):
            self.summary = Summary(*self.settings, history(self.metrics, skipped=True))
        else:
            with np.errstate(all="ignore"):
                self.summary.add(row)
