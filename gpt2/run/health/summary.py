"""What the rules look at: the rows of a run, folded together as they come, and its settings."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gpt2.config import GPT2Config, TrainConfig
from gpt2.run.metrics import Block, Diagnostics, Recorded
from gpt2.run.series import Bins, Thinned
from tinygrad2.types import Array

ENOUGH = 40.0
"""Nats of `Summary.trained_enough` after which a model must have learned something. Healthy runs beat the unigram baseline
within 20."""

CLEARLY = 0.02
"""Nats below a baseline; by less, a model that knows only the frequencies of tokens may be better by chance."""

SLOPE = 0.1
"""How far the slope may be from 1, beyond three times its doubt. Healthy runs: less than 0.001."""

UPDATE_SCALE = 0.02
"""How far the update's size may be from that of the formula. Healthy runs: at most 0.0002."""

LAST_LOSSES = 20
"""Training losses of which a median is what a run has come to: one batch alone is easy or hard by chance."""

MOST = 1 << 12
"""Evaluations of which a median is taken, or in which a loss is looked for: a run with more has fewer of them looked at."""


@dataclass(frozen=True)
class Evaluation:
    """A validation loss, in nats per token, and the number of tokens of which it is the mean."""

    step: int
    loss: float
    tokens: int


class Deviation:
    """A number of the diagnostics that is 1 where all is right: how often it was known, and how often too far off."""

    def __init__(self) -> None:
        self.known = self.off = 0
        self.last = self.last_off = math.nan

    def add(self, value: float, margin: float) -> None:
        """One more. Where the margin is not finite the number could not be measured."""
        if not math.isfinite(margin):
            return
        self.known, self.last = self.known + 1, value
        if not abs(value - 1) <= margin:
            self.off, self.last_off = self.off + 1, value

    def __str__(self) -> str:
        """The last value, or the last that was off."""
        if not self.off:
            return f"{self.last:.3f} times"
        return f"{self.last_off:.3f} times (at {self.off} of {self.known} evaluations)"


class Summary:
    """A run, looked at from different sides. Its size, and the time of all that is asked of it, do not grow with the steps."""

    def __init__(self, model: GPT2Config, training: TrainConfig, rows: Iterable[Recorded] = ()) -> None:
        """`rows` are the history of a run with these settings, with what was skipped."""
        self.model, self.training = model, training
        self.uniform = math.log(model.vocab_size)
        self.step: int | None = None  # that was last taken
        self.skips, self.last_skip = 0, (0, "")  # its step, and why
        self.stopped = ""  # why the training ended before its last step
        self.losses = Bins(columns=2)
        self.grad_norm = 0.0  # of the last update
        self.rates = self.rates_evaluated = 0.0  # the sum of all learning rates, and of those before the last evaluation
        self.peak = 0, 0.0  # the step with the highest learning rate, and that
        self.at_start: float | None = None  # the validation loss before the first update
        self.evaluation: Evaluation | None = None
        self.best: Evaluation | None = None
        self.best_later: Evaluation | None = None  # with a finite loss, after the first update
        self.later: deque[Evaluation] = deque(maxlen=2)  # the last of these
        self.lows = Thinned[Evaluation](MOST)  # each lower than all before
        self.lowest = math.inf
        self.baselines: dict[str, float] = {}
        self.measured: Recorded | None = None  # the last update of which there is more to know
        self.ratios = Thinned[tuple[float, float]](MOST)  # its learning rate, and the median of its matrices
        self.future: float | None = None  # the largest
        self.offsets: deque[tuple[int, dict[str, float]]] = deque(maxlen=2)  # the last
        self.first_in_std: float | None = None
        self.blocks: dict[str, Block] = {}  # at the last evaluation that has them
        self.slope, self.update_scale = Deviation(), Deviation()
        with np.errstate(all="ignore"):
            for row in rows:
                self.add(row)

    def add(self, row: Recorded) -> None:
        """One more row, of a later step than all before."""
        step = row["step"]
        if "skipped" in row:
            self.step = step - 1
            if "train_loss" in row:
                self.skips, self.last_skip = self.skips + 1, (step, row["skipped"])
            else:
                self.stopped = row["skipped"]
            return
        self.step, self.stopped = step, ""
        if "train_loss" in row:
            rate = row.get("learning_rate", 0.0)
            self.losses.add(step, row["train_loss"])
            self.grad_norm = row.get("grad_norm", 0.0)
            self.rates += rate
            self.peak = (step, rate) if rate > self.peak[1] else self.peak
        if row.get("update_ratios"):
            self.measured = row
            self.ratios.add((row.get("learning_rate", 0.0), float(np.median(list(row["update_ratios"].values())))))
        if "val_loss" in row:
            self._evaluated(row)

    def _evaluated(self, row: Recorded) -> None:
        found = self.evaluation = Evaluation(row["step"], row["val_loss"], row.get("val_tokens", 1))
        self.rates_evaluated = self.rates
        if found.step == 0:
            self.at_start = found.loss
        if self.best is None or found.loss < self.best.loss:
            self.best = found
        if found.step > 0 and math.isfinite(found.loss):
            self.later.append(found)
            if self.best_later is None or found.loss < self.best_later.loss:
                self.best_later = found
        if found.loss < self.lowest:
            self.lowest = found.loss
            self.lows.add(found)
        self.baselines |= row.get("baselines", {})
        if "diagnostics" in row:
            self._diagnosed(found.step, row["diagnostics"])

    def _diagnosed(self, step: int, found: Diagnostics) -> None:
        self.blocks = found["blocks"]
        if self.first_in_std is None and self.blocks:
            self.first_in_std = next(iter(self.blocks.values()))["in_std"]
        future = found.get("future")
        if future is not None and (self.future is None or future > self.future):
            self.future = future
        if "1" in found.get("offsets", {}):
            self.offsets.append((step, found["offsets"]))
        if "slope" in found:
            self.slope.add(found["slope"], SLOPE + 3 * found.get("slope_doubt", math.nan))
        if "update_scale" in found:
            self.update_scale.add(found["update_scale"], UPDATE_SCALE)

    def train_losses(self) -> tuple[Array, Array, int]:
        """Steps and training losses, one or the mean of a bin at each, and over how many of them losses are averaged."""
        steps, losses = self.losses.table().T
        return steps, np.ascontiguousarray(losses), max(10, len(losses) // 20)

    def train_loss(self, step: int) -> float:
        """The mean over a twentieth of all updates, up to a step."""
        steps, losses, window = self.train_losses()
        before = losses[steps <= step]
        return float(before[-window:].mean()) if len(before) else math.nan

    @property
    def trained_enough(self) -> bool:
        """Whether a model that had learned nothing at the last evaluation is not learning.

        That is when the sum of lr * d_model says how many nats AdamW can have moved a logit: an update moves each weight by
        about lr at most (Kingma & Ba, 2015, sec. 2.1), and a logit is a sum of d_model weights times activations of about 1.
        """
        return self.rates_evaluated * self.model.d_model > ENOUGH

    def crossed(self, baseline: str) -> int | None:
        """The first step at which the validation loss was clearly below a baseline."""
        value = self.baselines.get(baseline, -math.inf)
        return next((low.step for low in self.lows.values() if low.loss < value - CLEARLY), None)

    @property
    def recent(self) -> float | None:
        """The median of the last training losses, where nothing else is known: nothing was evaluated after the first update."""
        if self.evaluation is None or self.evaluation.step or not (losses := self.losses.table()[-LAST_LOSSES:, 1]).size:
            return None
        return float(np.median(losses))

    @property
    def learned(self) -> bool:
        """Whether the model has learned more than the frequencies of tokens or, where these are not known, anything."""
        if self.training.init_from or self.crossed("unigram") is not None:
            return True
        first, best = self.at_start, self.best_later
        if self.recent is not None and first is not None:
            return self.recent < self.baselines.get("unigram", first) - CLEARLY
        return "unigram" not in self.baselines and first is not None and best is not None and best.loss < first - CLEARLY

    @property
    def lower_rate(self) -> str:
        """What to try where updates were too large: a tenth, or what small models usually have."""
        usual = 0.1 if self.training.optimizer == "sgd" else 1e-3
        return f"--learning-rate {min(usual, (self.peak[1] or self.training.learning_rate) / 10):.1g}"

    def at_full_rate(self) -> list[tuple[float, float]]:
        """The measured updates with at least half of the highest learning rate of all steps: that, and the median ratio."""
        return [(rate, ratio) for rate, ratio in self.ratios.values() if rate >= self.peak[1] / 2]
