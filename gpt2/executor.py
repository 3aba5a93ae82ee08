"""A batch is a sum of shards: its loss is the sum of theirs, and so is its gradient.

The shards of a batch are worked through one after another (gradient accumulation) or on threads. Their gradients are
summed in the order of the shards, so the result does not depend on which finishes first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from gpt2.data import Batch
from gpt2.model import GPT2
from gpt2.streams import stream
from tinygrad2 import autograd, nn, no_grad

Array = np.ndarray[Any, Any]
A = TypeVar("A")
R = TypeVar("R")


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def effective_shards(threads: int, shards: int, batch_size: int) -> int:
    """How many parts a batch is split into; see ShardExecutor."""
    return min(shards or threads or cores(), batch_size)


class ShardExecutor:
    """Threads that share the work of a step. NumPy lets go of the interpreter while it computes, so they overlap.

    `threads` 0 means one per core; `shards` 0 means one per thread, and never more than the batch has sequences. With
    several shards at work, each has a matrix library of one thread: two pools would only get in each other's way.
    """

    def __init__(self, threads: int, shards: int, batch_size: int) -> None:
        threads = threads or cores()
        self.shards = effective_shards(threads, shards, batch_size)
        self.threads = min(threads, self.shards)
        self._limits = threadpool_limits(threads // self.threads, user_api="blas")
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._limits.restore_original_limits()

    def map(self, f: Callable[[A], R], items: Iterable[A]) -> Iterator[R]:
        """f of each item, in order."""
        return self._pool.map(f, items) if self._pool is not None else map(f, items)

    def gradients(self, model: GPT2, batch: Batch, seed: int, step: int, label_smoothing: float = 0.0) -> float:
        """The mean loss of a batch; its gradient replaces every `.grad`."""
        inputs, targets = batch
        parameters = model.parameters()
        parts = zip(np.array_split(inputs, self.shards), np.array_split(targets, self.shards), strict=True)

        def work(numbered: tuple[int, Batch]) -> tuple[float, list[Any]]:
            i, (x, y) = numbered
            weight = y.size / targets.size
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is for the caller to judge
                with nn.dropout_stream(stream(seed, "dropout", step, i)):
                    loss = model.loss(x, y, label_smoothing)
                return loss.item() * weight, autograd.grad([loss], parameters, np.asarray(weight))

        total = 0.0
        for i, (loss, grads) in enumerate(self.map(work, enumerate(parts))):
            total += loss
            for p, g in zip(parameters, grads, strict=True):
                if i == 0:
                    p.grad = g
                elif p.grad is not None:
                    p.grad.data += g.data
        return total

    def evaluate(self, model: GPT2, batches: list[Batch]) -> float:
        """The mean loss over all tokens of some batches, without dropout. Draws nothing from any random stream."""

        def work(batch: Batch) -> tuple[float, int]:
            with no_grad():
                return model.loss(*batch).item() * batch[1].size, batch[1].size

        training = model.training
        model.eval()
        results = list(self.map(work, batches))
        model.train(training)
        return sum(loss for loss, _ in results) / sum(count for _, count in results)
