"""The shards of a batch on the ranks of an MPI job: each computes some, and their gradients are summed over all.

Fast: each rank sums its own shards, and MPI the ranks' sums, in buckets; where a rank has one shard, a bucket is on its way as
soon as backward has completed its gradients. Ordered: the sum goes from rank to rank and each adds its shards to it, one after
another as a single process does, so its bits do not depend on how many there are. With `zero` each rank keeps the optimizer's
state of its part of every parameter only (ZeRO stage 1: Rajbhandari et al., 2020, section 5.1), updates that, and gets the rest
from the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

from gpt2.config import TrainConfig
from gpt2.errors import ConfigError
from gpt2.model import GPT2
from gpt2.text.batches import Batch
from gpt2.training.mpi.comm import Ranks, current, from_bfloat16
from gpt2.training.shards import ShardExecutor
from tinygrad2 import Tensor, nn, optim
from tinygrad2.kernels.fast.products import round_to_bfloat16

Array = np.ndarray[Any, Any]
A = TypeVar("A")
R = TypeVar("R")

BUCKET = 1 << 20
"""Numbers that are summed in one message: more, and less is under way at once; fewer, and each message costs its start."""


def executor_for(config: TrainConfig, parameters: int) -> ShardExecutor:
    """What computes the gradients of a training: the ranks of this job, if there are any, or the threads of this process."""
    ranks = current()
    if ranks is None:
        return ShardExecutor(config.threads, config.shards, config.batch_size, parameters)
    return RankExecutor(ranks, config, parameters)


class RankExecutor(ShardExecutor):
    """The threads of this rank, for its shards. Raises ConfigError where there are fewer shards than ranks."""

    def __init__(self, ranks: Ranks, config: TrainConfig, parameters: int) -> None:
        super().__init__(config.threads, config.shards, config.batch_size, parameters)
        if self.shards < ranks.size:
            raise ConfigError(
                f"a batch of {config.batch_size} sequences in {self.shards} shards is too small for {ranks.size} ranks: "
                "give a larger --batch-size or --shards, or start fewer ranks"
            )
        self.ranks, self.config, self.leads = ranks, config, ranks.rank == 0
        ranks.timeout = config.rank_timeout  # that of the run, where it goes on and is not given again
        bounds = self._bounds(self.shards)
        self.own = range(bounds[ranks.rank], bounds[ranks.rank + 1])
        self._parts: list[nn.Parameter] = []

    def _bounds(self, count: int) -> Array:
        """Where the part of each rank of so many things begins, and the last ends."""
        return np.arange(self.ranks.size + 1) * count // self.ranks.size

    def sum(self, parameters: list[nn.Parameter], found: Iterable[tuple[float, list[Any]]], total: float = 0.0) -> float:
        """Over the shards of all ranks; on each of them, `.grad` is then the same."""
        if self.config.reduction == "ordered":
            return self._in_order(parameters, list(found))
        loss = np.array([super().sum(parameters, found)])
        for p in parameters:
            if p.grad is not None and id(p.grad.data) not in self._reduction.added:
                self._reduction.add(p.grad.data)
        self.meet("the sum of the gradients")
        self._reduction.finish(loss)
        return float(loss[0])

    def gradients(self, model: GPT2, batch: Batch, seed: int, step: int, label_smoothing: float = 0.0) -> float:
        self._reduction = Reduction(self.ranks, self.config.wire == "bfloat16")
        # The sums of several shards are complete at the end only.
        early = len(self.own) == 1 and self.config.reduction == "fast"
        self.ready = self._reduction.add if early else None
        return super().gradients(model, batch, seed, step, label_smoothing)

    def _in_order(self, parameters: list[nn.Parameter], found: list[tuple[float, list[Any]]]) -> float:
        self.meet("the sum of the gradients")
        total, sums = np.zeros(1), [np.empty_like(g.data) for g in found[0][1]]
        if self.ranks.rank:
            self.ranks.pass_on([total, *sums], "the sum of the gradients", receive=True)
            for p, array in zip(parameters, sums, strict=True):
                p.grad = Tensor(array)
        total[0] = super().sum(parameters, found, float(total[0]))
        sums = [p.grad.data for p in parameters if p.grad is not None]
        self.ranks.pass_on([total, *sums], "the sum of the gradients", receive=False)
        self.ranks.copy_from(self.ranks.size - 1, [total, *sums], "the sum of the gradients")
        return float(total[0])

    def shared(self, f: Callable[[A], R], items: list[A]) -> list[R]:
        """Each rank computes some of them; all get all."""
        ranks = self.ranks
        own = list(self.map(f, items[ranks.rank :: ranks.size]))
        self.meet("the end of an evaluation")
        parts = ranks.gather(own, "the end of an evaluation")
        return [parts[i % ranks.size][i // ranks.size] for i in range(len(items))]

    def meet(self, what: str, note: int = 0) -> int:
        return self.ranks.meet(what, note)

    def waited(self) -> float:
        return self.ranks.waited

    def from_first(self, value: A) -> A:
        return self.ranks.gather(value if self.leads else None, "what rank 0 has to say")[0]

    def owned(self, parameters: list[nn.Parameter]) -> list[nn.Parameter]:
        if not self.config.zero:
            return parameters
        self._parts = [nn.Parameter(self._own(p.data)) for p in parameters]
        return self._parts

    def _own(self, array: Array) -> Array:
        """The view of this rank's part, with two axes if the array had more than one: matrices are those that decay."""
        bounds = self._bounds(array.size)
        part = array.reshape(-1)[bounds[self.ranks.rank] : bounds[self.ranks.rank + 1]]
        return part.reshape(1, -1) if array.ndim >= 2 else part

    def update(self, optimizer: optim.Optimizer, parameters: list[nn.Parameter], scale: float) -> None:
        if not self.config.zero:
            optimizer.step(scale)
            return
        for p, part in zip(parameters, self._parts, strict=True):
            part.data = self._own(p.data)
            part.grad = None if p.grad is None else Tensor(self._own(p.grad.data))
        optimizer.step(scale)
        joins = [self.ranks.start_join(p.data.reshape(-1), self._bounds(p.size)) for p in parameters]
        self.ranks.wait(joins, "the exchange of parameters")
        for p in parameters:
            p.data = p.data  # tells the graph that it has changed

    def whole(self, slot: Array, p: nn.Parameter) -> Array:
        if not self.config.zero:
            return slot
        full = np.empty(p.shape, slot.dtype) if self.leads else None
        flat = None if full is None else full.reshape(-1)
        collected = self.ranks.start_collect(slot.reshape(-1), flat, self._bounds(p.size))
        self.ranks.wait([collected], "the collection of the optimizer's state")
        return slot if full is None else full

    def restore(self, array: Array, stored: Array | None, slot_of: nn.Parameter | None = None) -> None:
        full = array if slot_of is None or not self.config.zero else np.empty(slot_of.shape, array.dtype)
        if stored is not None:
            full[...] = stored
        self.ranks.copy_from(0, [full], "the reading of a checkpoint")
        if full is not array:
            array[...] = self._own(full)


class Reduction:
    """Gradients on their way to being sums over all ranks. All ranks add the same ones in the same order."""

    def __init__(self, ranks: Ranks, rounded: bool) -> None:
        self.ranks, self.rounded = ranks, rounded
        self.added: set[int] = set()
        self._bucket: list[Array] = []
        self._under_way: list[tuple[list[Array], Array, Any]] = []

    def add(self, g: Array) -> None:
        """Sum this gradient too, with others in one message as soon as there are enough of them."""
        self.added.add(id(g))
        self._bucket.append(g)
        if sum(other.size for other in self._bucket) >= BUCKET:
            self._send()
        for _, _, request in self._under_way:
            request.Test()  # MPI goes on with a message when it is asked about it

    def _send(self) -> None:
        """Begin with those in the bucket: one after another, each in the order in which it lies in memory."""
        flat = np.concatenate([g.ravel(order="K") for g in self._bucket])
        if self.rounded:
            flat = round_to_bfloat16(flat)
        self._under_way.append((self._bucket, flat, self.ranks.start_sum(flat, self.rounded)))
        self._bucket = []

    def finish(self, loss: Array) -> None:
        """Every gradient that was added, and `loss`, are now the sums."""
        if self._bucket:
            self._send()
        requests = [request for _, _, request in self._under_way]
        self.ranks.wait([*requests, self.ranks.start_sum(loss)], "the sum of the gradients")
        for bucket, flat, _ in self._under_way:
            at = 0
            for g in bucket:
                part = flat[at : at + g.size]
                g.ravel(order="K")[...] = from_bfloat16(part) if self.rounded else part
                at += g.size
