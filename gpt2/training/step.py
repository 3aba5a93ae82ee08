"""What a training step is, and all that is needed to take it again."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpt2.config import TrainConfig
from gpt2.errors import DataError, GPT2Error, RunError
from gpt2.model import GPT2
from gpt2.run.checkpoints import Checkpoint
from gpt2.run.metrics import Row
from gpt2.text import batches
from gpt2.training.shards import ShardExecutor
from gpt2.training.spikes import Spikes
from tinygrad2 import autograd, nn, optim
from tinygrad2.errors import AnomalyError
from tinygrad2.kernels.fast.products import bfloat16

Array = np.ndarray[Any, Any]

SCHEDULES = {
    "cosine": optim.warmup_cosine,
    "linear": optim.warmup_linear,
    "constant": optim.warmup_constant,
    "wsd": optim.warmup_stable_decay,
}


class NonFiniteError(GPT2Error):
    """The loss or the gradient is no longer a number."""


def make_optimizer(parameters: list[nn.Parameter], config: TrainConfig) -> optim.Optimizer:
    """The optimizer that `config.optimizer` names."""
    lr, betas = config.learning_rate, (config.beta1, config.beta2)
    match config.optimizer:
        case "adam":
            return optim.Adam(parameters, lr, betas)
        case "sgd":
            return optim.SGD(parameters, lr, momentum=config.beta1)
    return optim.AdamW(parameters, lr, betas, weight_decay=config.weight_decay)


class Trainer:
    """A model, its optimizer, and the text it learns from.

    `steps` counts updates, and `position` the batches that were drawn: more than the updates where some were skipped.
    Everything random is a function of the seed and the position, so `state` is all that another Trainer needs to go on.
    """

    def __init__(self, model: GPT2, config: TrainConfig, train_ids: Array, executor: ShardExecutor) -> None:
        self.model, self.config, self.train_ids, self.executor = model, config, train_ids, executor
        self.parameters = model.parameters()
        for p in self.parameters:  # as the optimizer keeps them: sums, and so runs, depend on the layout
            p.data = np.ascontiguousarray(p.data)
        self.optimizer = make_optimizer(executor.owned(self.parameters), config)
        self.spikes = Spikes(config.spike_threshold, config.spike_window)
        self.average = {name: p.data.copy() for name, p in model.named_parameters()} if config.ema_decay else {}
        self.steps = self.position = 0

    def batch(self) -> batches.Batch:
        """The batch at `position`."""
        config = self.config
        return batches.batch(self.train_ids, config.batch_size, self.model.config.max_seq_len, config.seed, self.position)

    def step(self, measure: bool = False) -> Row:
        """Draw a batch and take one update: gradient, clipping, optimizer.

        A loss or a gradient that is not finite never reaches the parameters: it raises NonFiniteError or, like a spike,
        makes a row that is `skipped`, saying why, after which the parameters are what they were. With `measure` the row
        also has what there is to know of the gradients and the update, by layer and by matrix. Raises DataError, and changes
        nothing, for a batch with an id outside the vocabulary.
        """
        config, start = self.config, time.perf_counter()
        batch = self.batch()
        self._check(batch)
        with self._precision():
            loss = self.executor.gradients(self.model, batch, config.seed, self.position, config.label_smoothing)
        norm = optim.grad_norm(self.parameters)
        clip = optim.clip_factor(norm, config.grad_clip or math.inf)
        lr = SCHEDULES[config.schedule](
            self.steps, config.learning_rate, config.warmup_steps, config.steps, config.min_learning_rate
        )
        row: Row = {"step": self.steps + 1, "train_loss": loss, "learning_rate": lr, "grad_norm": norm}
        wrong = self.spikes.found({"loss": loss, "gradient norm": norm})
        if wrong is None:
            self.optimizer.lr = lr
            if measure:
                row |= measured_step(self.model, lambda: self._update(clip))
            else:
                self._update(clip)
            self._average()
            self.steps += 1
        else:
            row["skipped"] = wrong
            if self.policy(row) == "stop":
                raise NonFiniteError(f"step {self.steps + 1}: {wrong}; {self._blame(batch)}a lower --learning-rate may help")
        self.position += 1
        row["tokens_per_s"] = round(batch[0].size / (time.perf_counter() - start), 1)
        return row

    def _update(self, clip: float) -> None:
        self.executor.update(self.optimizer, self.parameters, clip)

    def _precision(self) -> contextlib.AbstractContextManager[None]:
        """Inside, what linear layers multiply has the dtype of the configuration."""
        if self.config.dtype == "float32":
            return contextlib.nullcontext()
        return bfloat16(p.data for p in self.parameters)

    def _check(self, batch: batches.Batch) -> None:
        """Raise DataError for an id that the vocabulary does not have."""
        vocab_size = self.model.config.vocab_size
        for what, ids in zip(("input", "target"), batch, strict=True):
            if ids.min() < 0 or ids.max() >= vocab_size:
                row, at = np.argwhere((ids < 0) | (ids >= vocab_size))[0]
                raise DataError(
                    f"step {self.steps + 1}: {what} {ids[row, at]} at [{row}, {at}] of the batch is outside the vocabulary of "
                    f"{vocab_size}: the encoded text is damaged, or of another tokenizer"
                )

    def policy(self, row: Row) -> str:
        """What happens to a batch that must not reach the parameters: stop, skip or rollback."""
        finite = math.isfinite(row["train_loss"]) and math.isfinite(row["grad_norm"])
        return self.config.on_spike if finite else self.config.on_nonfinite

    def _blame(self, batch: batches.Batch) -> str:
        """Where the first number appears that is not finite, in the same batch computed again."""
        try:
            with autograd.detect_anomaly():
                autograd.grad([self.model.loss(*batch)], self.parameters)
        except AnomalyError as error:
            return f"{error}; "
        return ""

    def _average(self) -> None:
        """One step of the exponential moving average of the weights (Polyak & Juditsky, 1992)."""
        for name, p in self.model.named_parameters() if self.average else ():
            average = self.average[name]
            average += (1 - self.config.ema_decay) * (p.data - average)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the model has its averaged weights, if an average is kept."""
        own = {name: p.data for name, p in self.model.named_parameters() if name in self.average}
        try:
            self._use(self.average)
            yield
        finally:
            self._use(own)

    def _use(self, weights: dict[str, Array]) -> None:
        for name, p in self.model.named_parameters() if weights else ():
            p.data = weights[name]

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Arrays by name, not copied, and what else there is, as plain JSON."""
        arrays = {name: array if p is None else self.executor.whole(array, p) for name, (array, p) in self._held().items()}
        return arrays, {"step": self.steps, "position": self.position, "spikes": self.spikes.state()}

    def _held(self) -> dict[str, tuple[Array, nn.Parameter | None]]:
        """The arrays that change, by name; those of the optimizer with the parameter that they are kept for."""
        held: dict[str, Any] = {f"model.{name}": (array, None) for name, array in self.model.state_dict().items()}
        for (name, p), slots in zip(self.model.named_parameters(), self.optimizer.state, strict=True):
            held |= {f"optimizer.{slot}.{name}": (array, p) for slot, array in slots.items()}
        return held | {f"average.{name}": (array, None) for name, array in self.average.items()}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back, or forward, to what `state` gave. Raises RunError, and changes nothing, if the names or shapes differ.

        Only the process that leads needs the arrays of the checkpoint.
        """
        held, arrays, about = self._held(), checkpoint.arrays, checkpoint.about
        if self.executor.leads:
            shapes = {name: array.shape if p is None else p.shape for name, (array, p) in held.items()}
            wrong = sorted(set(shapes) ^ set(arrays)) or [name for name in shapes if shapes[name] != arrays[name].shape]
            if wrong:
                raise RunError(f"the checkpoint is of another model or optimizer: {', '.join(wrong[:3])} differ")
        for name, (array, p) in held.items():
            self.executor.restore(array, arrays.get(name), p)
        for p in self.parameters:
            p.data = p.data  # tells the graph that it has changed
        self.steps, self.position = about["step"], about["position"]
        self.optimizer.steps = self.steps
        self.spikes.restore(about["spikes"])


def measured_step(model: GPT2, update: Callable[[], None]) -> Row:
    """Take an update, and say how large the gradients were and how large the update was.

    `grad_norms` has the norm of the gradient, before clipping, of each module of parameters: `wte`, `h.0`, ...
    `update_ratios` has, for each matrix, log10 of std(update) / std(parameter): about -3 is healthy (Karpathy, "makemore", 3).
    """
    norms: dict[str, float] = {}
    before = {}
    for name, p in model.named_parameters():
        part = ".".join(name.split(".")[: 2 if name.startswith("h.") else 1])
        if p.grad is not None:
            norms[part] = math.hypot(norms.get(part, 0.0), float(np.linalg.norm(p.grad.data.ravel(order="K"))))
        if p.ndim == 2:
            before[name] = p.data.copy()
    update()
    ratios = {}
    for name, p in model.named_parameters():
        if name in before:
            change, size = float((p.data - before[name]).std()), float(before[name].std())
            ratios[name] = round(math.log10(change / size), 4) if change and size else -math.inf
    return {"grad_norms": {part: round(norm, 6) for part, norm in norms.items()}, "update_ratios": ratios}
