"""What the rules look at: the rows of a run and a few facts about it, put side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpt2.config import GPT2Config, TrainConfig
from gpt2.metrics import Row, history

ENOUGH = 40.0
"""Nats of `Seen.reach` after which a model must have learned something. Healthy runs beat the unigram baseline within 20."""


@dataclass(frozen=True)
class Facts:
    """What the rows do not say: the model's size, and how it was to be trained."""

    vocab_size: int
    d_model: int
    steps: int
    pretrained: bool = False

    @classmethod
    def of(cls, model: GPT2Config, training: TrainConfig) -> Facts:
        """Those of a run with these settings."""
        return cls(model.vocab_size, model.d_model, training.steps, bool(training.init_from))


class Seen:
    """The rows of a run, looked at from different sides."""

    def __init__(self, rows: Sequence[Row], facts: Facts) -> None:
        self.facts = facts
        self.skipped = [row for row in rows if "skipped" in row]
        self.rows = history(list(rows))
        self.updates = [row for row in self.rows if "train_loss" in row]
        self.evaluations = [row for row in self.rows if "val_loss" in row]
        self.measured = [row for row in self.rows if row.get("update_ratios")]
        self.diagnosed = [row for row in self.evaluations if "diagnostics" in row]
        self.baselines: dict[str, float] = {}
        for row in self.evaluations:
            self.baselines |= row.get("baselines", {})
        self.uniform = math.log(facts.vocab_size)
        self.steps = np.array([row["step"] for row in self.updates])
        self.losses = np.array([row["train_loss"] for row in self.updates], float)
        self.window = max(10, len(self.updates) // 20)  # updates over which training losses are averaged

    def train_loss(self, step: int) -> float:
        """The mean over the last `window` updates up to a step."""
        before = self.losses[self.steps <= step]
        return float(before[-self.window :].mean()) if len(before) else math.nan

    @cached_property
    def reach(self) -> float:
        """How far AdamW can have moved a logit by the learning rates so far: the sum of lr * d_model, in nats.

        An update moves each weight by about lr at most (Kingma & Ba, 2015, sec. 2.1), and a logit is a sum of d_model weights
        times activations of about 1.
        """
        return float(sum(row["learning_rate"] for row in self.updates)) * self.facts.d_model

    @property
    def trained_enough(self) -> bool:
        """Whether a model that has learned nothing by now is not learning."""
        return self.reach > ENOUGH

    @cached_property
    def blocks(self) -> dict[str, Row]:
        """The statistics of each block at the last evaluation that has them."""
        return dict(self.diagnosed[-1]["diagnostics"]["blocks"]) if self.diagnosed else {}

    def at_full_rate(self) -> list[Row]:
        """The measured updates with at least half of the highest learning rate."""
        highest = max((row["learning_rate"] for row in self.measured), default=0.0)
        return [row for row in self.measured if row["learning_rate"] >= highest / 2]
