"""A batch is a sum of shards: its loss is the sum of theirs, and so is its gradient.

The shards of a batch are worked through one after another (gradient accumulation), on threads, or by several processes (mpi/).
Their gradients are summed in the order of the shards, so the result does not depend on which finishes first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self, TypeVar

import numpy as np

from gpt2.config import TrainConfig
from gpt2.errors import ConfigError
from gpt2.model import GPT2
from gpt2.rng import generator
from gpt2.terminal import progress
from gpt2.text.batches import Batch
from gpt2.training import interrupts
from gpt2.training.mpi import comm
from gpt2.training.mpi.reduction import AllReduce, Gradients, OrderedSum, Sum
from tinygrad2 import autograd, kernels, nn, no_grad
from tinygrad2.errors import AnomalyError, counted
from tinygrad2.kernels.fast import products
from tinygrad2.kernels.fast import threads as sharing
from tinygrad2.types import Array

A = TypeVar("A")
R = TypeVar("R")


def cores() -> int:
    """How many cores this process may use, of those that the ranks on one machine share."""
    return max(1, sharing.cores() // comm.current().local_size)


LARGE = 1 << 25
"""Parameters above which a gradient for every thread would cost more, in memory and in time, than it gains."""


def effective_shards(threads: int, shards: int, batch_size: int, parameters: int) -> int:
    """How many parts a batch is split into; see Shards."""
    automatic = 1 if kernels.SPREADS or parameters > LARGE else threads or cores()
    return min(shards or automatic * comm.current().size, batch_size)


def arithmetic(config: TrainConfig, parameters: int, library: str | None = None) -> dict[str, Any]:
    """All that decides, beside the settings, in which order and by what the numbers of a step are added: for the same bits.

    `library`: of matrix products, if it can be used here; else the one that is.
    """
    about = kernels.running()
    return {
        "shards": effective_shards(config.threads, config.shards, config.batch_size, parameters),
        "threads": config.threads or cores(),
        "ranks": comm.current().size,
        "kernels": about["kernels"],
        "products": products.running(library),
        "unit": about["unit"],
    }


class Shards:
    """The shards of a batch, and the threads that share their work: whole shards, or within one the rows and heads of kernels.

    `threads` 0 means one per core; `shards` 0 means one per thread, or a single one where the model has so many parameters
    that a gradient for each would not pay. The matrix library has one thread: two pools would get in each other's way.
    `mine` are the shards of this process: all of them, unless it is one of several `together`.
    """

    def __init__(
        self, threads: int, shards: int, batch_size: int, parameters: int = 0, together: comm.Comm | None = None
    ) -> None:
        self.count = effective_shards(threads, shards, batch_size, parameters)
        self.threads = threads or cores()
        self.comm = together or comm.Comm()
        bounds = self.comm.bounds(self.count)
        self.mine = range(bounds[self.comm.rank], bounds[self.comm.rank + 1])
        self.new_sum: Callable[[], Sum] = Sum

    @classmethod
    def of(cls, config: TrainConfig, parameters: int) -> Self:
        """Those of a training, on all processes of this job. Raises ConfigError where there are fewer shards than processes."""
        group = comm.current()
        shards = cls(config.threads, config.shards, config.batch_size, parameters, group)
        if shards.count < group.size:
            raise ConfigError(
                f"a batch of {counted(config.batch_size, 'sequence')} in {counted(shards.count, 'shard')} is too small for "
                f"{group.size} ranks: give a larger --batch-size or --shards, or start fewer ranks"
            )
        if isinstance(group, comm.MpiComm):
            group.timeout = config.rank_timeout  # that of the run, where it goes on and is not given again
            overlap, rounded = len(shards.mine) == 1, config.wire == "bfloat16"
            ordered = config.reduction == "ordered"
            shards.new_sum = lambda: OrderedSum(group) if ordered else AllReduce(group, overlap, rounded)
        return shards

    def __enter__(self) -> Self:
        self._open = contextlib.ExitStack()
        self._pool = self._open.enter_context(sharing.pool(self.threads))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def map(self, f: Callable[[A], R], items: Iterable[A]) -> Iterator[R]:
        """f of each item, in order; at the same time where there are several."""
        if self._pool is None or len(self.mine) == 1 or kernels.SPREADS:
            return map(f, items)
        return self._pool.map(f, items)

    def stoppable(self) -> contextlib.AbstractContextManager[None]:
        """Inside, a signal raises Interrupted at once, where no other process waits for this one; else see `look`."""
        return interrupts.stoppable() if self.comm.size == 1 else contextlib.nullcontext()

    def look(self, what: str) -> None:
        """Raise Interrupted, on all processes, where a signal has come to one."""
        number = self.comm.barrier(what, interrupts.requested())
        if number:
            raise interrupts.Interrupted(number)

    def loss_and_gradients(self, model: GPT2, batch: Batch, seed: int, step: int, label_smoothing: float = 0.0) -> Gradients:
        """The mean loss of a batch, and its gradient by each parameter of the model; the same on all processes."""
        total = self.new_sum()
        with self.stoppable():
            return total(self.map(self.worker(model, batch, seed, step, label_smoothing, total.ready), self.mine))

    def worker(
        self,
        model: GPT2,
        batch: Batch,
        seed: int,
        step: int,
        label_smoothing: float = 0.0,
        ready: Callable[[Array], None] | None = None,
    ) -> Callable[[int], Gradients]:
        """What gives the loss and the gradients of shard i: their sum over all shards is that of the batch."""
        inputs, targets = batch
        parameters = model.parameters()
        parts = list(zip(np.array_split(inputs, self.count), np.array_split(targets, self.count), strict=True))

        def work(i: int) -> Gradients:
            x, y = parts[i]
            weight = y.size / targets.size
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is for the caller to judge
                with nn.dropout_rng(generator(seed, "dropout", step, i)):
                    loss = model.loss(x, y, label_smoothing)
                grads = autograd.grad([loss], parameters, np.asarray(weight), ready=ready)
                return loss.item() * weight, [g.data for g in grads]

        return work

    def first_anomaly(self, work: Callable[[int], Gradients]) -> str:
        """The message of the first shard, of all processes, that raises AnomalyError; "" for none. All run to their end."""

        def said(i: int) -> str:
            try:
                work(i)
            except AnomalyError as error:
                return str(error)
            return ""

        found = self.comm.all_gather(list(self.map(said, self.mine)), "the search for a number that is not finite")
        return next((words for shards in found for words in shards if words), "")

    def evaluate(self, model: GPT2, batches: list[Batch]) -> float:
        """The mean loss over all tokens of some batches, without dropout. Draws nothing from any random stream.

        Raises Interrupted, on all processes, where a signal has come to one.
        """

        def work(batch: Batch) -> tuple[float, int]:
            with no_grad(), np.errstate(over="ignore", invalid="ignore"):
                return model.loss(*batch).item() * batch[1].size, batch[1].size

        size, mine, part = self.comm.size, batches[self.comm.rank :: self.comm.size], list[tuple[float, int]]()
        at_once = self.threads if size > 1 else 256
        bar = progress(not self.comm.is_main, total=len(mine), desc="evaluating", unit="batch")
        with model.evaluating(), bar:
            for start in range(0, -(-len(batches) // size), at_once):
                with self.stoppable():
                    for result in self.map(work, mine[start : start + at_once]):
                        part.append(result)
                        bar.update()
                self.look("the next part of an evaluation")
        parts = self.comm.all_gather(part, "the end of an evaluation")
        results = [parts[i % size][i // size] for i in range(len(batches))]  # in their order: the sum is the same on any ranks
        return sum(loss for loss, _ in results) / sum(count for _, count in results)
