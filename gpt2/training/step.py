"""One training step: draw the batch; loss and gradients; norm, clip, update; and the row that says what happened."""

from __future__ import annotations

import contextlib
import math
import time

import numpy as np

from gpt2.config import TrainConfig
from gpt2.errors import NonFiniteError
from gpt2.model import GPT2
from gpt2.run.metrics import Row
from gpt2.text import batches
from gpt2.text.batches import Batch
from gpt2.training import sizes
from gpt2.training.average import Average
from gpt2.training.mpi.comm import MpiComm
from gpt2.training.mpi.reduction import Gradients
from gpt2.training.mpi.zero import ZeroOptimizer
from gpt2.training.optimizer import learning_rate, make_optimizer
from gpt2.training.shards import Shards
from gpt2.training.spikes import Spikes
from tinygrad2 import autograd, optim
from tinygrad2.kernels.fast.products import bfloat16
from tinygrad2.types import Array


class Trainer:
    """A model, its optimizer, and the text it learns from: ids (N,).

    `steps` counts updates, and `position` the batches that were drawn: more than the updates where some were skipped.
    Everything random is a function of the seed and the position, so `state.state` is all that another Trainer needs to go on.
    """

    def __init__(self, model: GPT2, config: TrainConfig, train_ids: Array, shards: Shards) -> None:
        self.model, self.config, self.train_ids, self.shards = model, config, train_ids, shards
        self.parameters = model.parameters()
        for p in self.parameters:  # as the optimizer keeps them: sums, and so runs, depend on the layout
            p.data = np.ascontiguousarray(p.data)
        self.zero: ZeroOptimizer | None = None
        if config.zero and isinstance(shards.comm, MpiComm):
            self.zero = ZeroOptimizer(self.parameters, lambda parts: make_optimizer(parts, config), shards.comm)
        matrices = [
            (p, 3 if p is block.attn.c_attn.weight else 1) for block in model.h for p in block.parameters() if p.ndim == 2
        ]
        self.optimizer = self.zero.of_parts if self.zero else make_optimizer(self.parameters, config, matrices)
        self.spikes = Spikes(config.spike_threshold, config.spike_window)
        self.average = Average(model, config.ema_decay)
        self.steps = self.position = 0

    def step(self, measure: bool = False) -> Row:
        """Take one update.

        A loss or a gradient that is not finite never reaches the parameters: it raises NonFiniteError or, like a spike,
        makes a row that is `skipped`, saying why. With `measure` the row also has the size of the gradients by layer, before
        clipping, and of the update by matrix (sizes.py). Raises DataError as `batch` does; nothing has changed then.
        """
        config, start = self.config, time.perf_counter()
        drawn = self.batch()
        loss, grads = self.loss_and_gradients(drawn)
        norm = optim.grad_norm(grads)
        lr = learning_rate(config, self.steps)
        row: Row = {"step": self.steps + 1, "train_loss": loss, "learning_rate": lr, "grad_norm": norm}
        wrong = self.spikes.found({"loss": loss, "gradient norm": norm})
        if wrong is None:
            before = sizes.matrices(self.model) if measure else {}
            if measure:
                row["grad_norms"] = sizes.norms_by_layer(self.model, grads)
            self.optimizer.lr = lr
            (self.zero or self.optimizer).step(grads, optim.clip_factor(norm, config.grad_clip or math.inf))
            if measure:
                row["update_ratios"] = sizes.update_ratios(self.model, before)
            self.average.update()
            self.steps += 1
        else:
            row["skipped"] = wrong
            if self.policy(row) == "stop":
                raise NonFiniteError(f"step {self.steps + 1}: {wrong}; {self.blame(drawn)}a lower --learning-rate may help")
        self.position += 1
        row["tokens_per_s"] = round(drawn[0].size / (time.perf_counter() - start), 1)
        return row

    def batch(self) -> Batch:
        """The batch at `position`: inputs (B, T), targets (B, T). Raises DataError for an id outside the vocabulary."""
        config = self.config
        drawn = batches.batch(self.train_ids, config.batch_size, self.model.config.max_seq_len, config.seed, self.position)
        batches.check_ids(drawn, self.model.config.vocab_size, f"step {self.steps + 1}")
        return drawn

    def loss_and_gradients(self, drawn: Batch) -> Gradients:
        """The mean loss of a batch as it is trained on at `position`, and its gradient by each parameter."""
        config = self.config
        with self._precision():
            return self.shards.loss_and_gradients(self.model, drawn, config.seed, self.position, config.label_smoothing)

    def policy(self, row: Row) -> str:
        """What happens to a batch that must not reach the parameters: stop, skip or rollback."""
        finite = math.isfinite(row["train_loss"]) and math.isfinite(row["grad_norm"])
        return self.config.on_spike if finite else self.config.on_nonfinite

    def blame(self, drawn: Batch) -> str:
        """Where the first number appears that is not finite: the shards of this step computed again, as they were."""
        config = self.config
        work = self.shards.worker(self.model, drawn, config.seed, self.position, config.label_smoothing)
        with self._precision(), autograd.detect_anomaly():
            found = self.shards.first_anomaly(work)
        return f"{found}; " if found else ""

    def _precision(self) -> contextlib.AbstractContextManager[None]:
        """Inside, what linear layers multiply has the dtype of the configuration."""
        if self.config.dtype == "float32":
            return contextlib.nullcontext()
        return bfloat16(p.data for p in self.parameters)
