"""A batch is a sum of shards: its loss is the sum of theirs, and so is its gradient.

The shards of a batch are worked through one after another (gradient accumulation), on threads, or by the ranks of an MPI job
(mpi/). Their gradients are summed in the order of the shards, so the result does not depend on which finishes first.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self, TypeVar

import numpy as np
from threadpoolctl import OpenBLASController, threadpool_limits

from gpt2.model import GPT2
from gpt2.rng import stream
from gpt2.text.batches import Batch
from gpt2.training.mpi import comm
from tinygrad2 import autograd, kernels, nn, no_grad, optim
from tinygrad2.kernels.fast import threads as sharing

Array = np.ndarray[Any, Any]
A = TypeVar("A")
R = TypeVar("R")


def cores() -> int:
    """How many cores this process may use, of those that the ranks on one machine share."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    job = comm.current()
    return max(1, found // job.here) if job else found


LARGE = 1 << 25
"""Parameters above which a gradient for every thread would cost more, in memory and in time, than it gains."""


def effective_shards(threads: int, shards: int, batch_size: int, parameters: int) -> int:
    """How many parts a batch is split into; see ShardExecutor."""
    automatic = 1 if kernels.SPREADS or parameters > LARGE else threads or cores()
    return min(shards or automatic * comm.count(), batch_size)


def arithmetic(threads: int, shards: int, batch_size: int, parameters: int) -> dict[str, Any]:
    """All that decides, beside the settings, in which order and by what the numbers of a step are added: for the same bits."""
    about = kernels.running()
    return {
        "shards": effective_shards(threads, shards, batch_size, parameters),
        "threads": threads or cores(),
        "ranks": comm.count(),
        "kernels": about["kernels"],
        "products": about["products"],
        "unit": about["unit"],
    }


class OneBlasThread:
    """While anyone is inside, the matrix library has one thread. That is so for the whole process: the last one ends it."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        if hasattr(os, "register_at_fork"):  # or a child might wait for a thread that it does not have
            release = self._lock.release
            os.register_at_fork(before=self._lock.acquire, after_in_parent=release, after_in_child=release)

    def __enter__(self) -> None:
        with self._lock:
            OpenBLASController.clear_controlling_thread(force=True)  # or only the thread that was first may change it
            limits = threadpool_limits(1, user_api="blas")
            if not self._inside:
                self._before = limits
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                OpenBLASController.clear_controlling_thread(force=True)
                self._before.restore_original_limits()
                OpenBLASController.clear_controlling_thread(force=True)


ONE_BLAS_THREAD = OneBlasThread()


class ShardExecutor:
    """Threads that share the work of a step: whole shards, or within one shard the rows and heads of every kernel.

    `threads` 0 means one per core; `shards` 0 means one per thread, or a single one where the model has so many parameters
    that a gradient for each would not pay. The matrix library has one thread: two pools would get in each other's way.
    """

    ready: Callable[[Array], None] | None = None
    """Told of the gradient of a parameter as soon as it is complete; see autograd.grad."""

    leads = True
    """Whether this process is the one that writes files and speaks."""

    def __init__(self, threads: int, shards: int, batch_size: int, parameters: int = 0) -> None:
        self.shards = effective_shards(threads, shards, batch_size, parameters)
        self.threads = threads or cores()
        self.own = range(self.shards)

    def __enter__(self) -> Self:
        self._open = contextlib.ExitStack()
        self._open.enter_context(ONE_BLAS_THREAD)
        self._pool = self._open.enter_context(sharing.pool(self.threads))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def map(self, f: Callable[[A], R], items: Iterable[A]) -> Iterator[R]:
        """f of each item, in order; at the same time where there are several."""
        if self._pool is None or len(self.own) == 1 or kernels.SPREADS:
            return map(f, items)
        return self._pool.map(f, items)

    def gradients(self, model: GPT2, batch: Batch, seed: int, step: int, label_smoothing: float = 0.0) -> float:
        """The mean loss of a batch; its gradient replaces every `.grad`."""
        inputs, targets = batch
        parameters = model.parameters()
        for p in parameters:  # or there would be two gradients at once
            p.grad = None
        parts = list(zip(np.array_split(inputs, self.shards), np.array_split(targets, self.shards), strict=True))

        def work(i: int) -> tuple[float, list[Any]]:
            x, y = parts[i]
            weight = y.size / targets.size
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is for the caller to judge
                with nn.dropout_stream(stream(seed, "dropout", step, i)):
                    loss = model.loss(x, y, label_smoothing)
                return loss.item() * weight, autograd.grad([loss], parameters, np.asarray(weight), ready=self.ready)

        return self.sum(parameters, self.map(work, self.own))

    def sum(self, parameters: list[nn.Parameter], found: Iterable[tuple[float, list[Any]]], total: float = 0.0) -> float:
        """Add the gradients of shards, in their order, to `.grad`, and their losses to `total`, which is returned."""
        for loss, grads in found:
            total += loss
            for p, g in zip(parameters, grads, strict=True):
                if p.grad is None:
                    p.grad = g
                else:
                    p.grad.data += g.data
        return total

    def evaluate(self, model: GPT2, batches: list[Batch]) -> float:
        """The mean loss over all tokens of some batches, without dropout. Draws nothing from any random stream."""

        def work(batch: Batch) -> tuple[float, int]:
            with no_grad():
                return model.loss(*batch).item() * batch[1].size, batch[1].size

        with model.evaluating():
            results = self.shared(work, batches)
        return sum(loss for loss, _ in results) / sum(count for _, count in results)

    def shared(self, f: Callable[[A], R], items: list[A]) -> list[R]:
        """f of each item, in order, whoever computes it."""
        return list(self.map(f, items))

    def meet(self, what: str, note: int = 0) -> int:
        """Wait for all who train together; the largest `note` of any."""
        return note

    def waited(self) -> float:
        """Seconds that went into waiting for the others, so far."""
        return 0.0

    def from_first(self, value: A) -> A:
        """What the process that leads has, on all."""
        return value

    def owned(self, parameters: list[nn.Parameter]) -> list[nn.Parameter]:
        """What the optimizer of this process updates."""
        return parameters

    def update(self, optimizer: optim.Optimizer, parameters: list[nn.Parameter], scale: float) -> None:
        """One step of the optimizer, after which all parameters are up to date."""
        optimizer.step(scale)

    def whole(self, slot: Array, p: nn.Parameter) -> Array:
        """What the optimizer keeps of a parameter, of which `slot` is what is kept here."""
        return slot

    def restore(self, array: Array, stored: Array | None, slot_of: nn.Parameter | None = None) -> None:
        """Fill an array with what a checkpoint has or, if the optimizer keeps it of a parameter, with the part kept here."""
        array[...] = stored
