"""The gradients of shards become the gradient of the batch: a sum, over the shards of this process and then over all processes.

A Sum is made anew for every batch, and called with the loss and the gradients of this process's shards, in their order. All
processes get the same loss and the same gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gpt2.training.mpi.comm import MpiComm, from_bfloat16
from tinygrad2.kernels.fast.products import round_to_bfloat16
from tinygrad2.types import Array

Gradients = tuple[float, list[Array]]
"""A loss, and its gradient by each parameter."""

BUCKET = 1 << 20
"""Numbers that are summed in one message: more, and less is under way at once; fewer, and each message costs its start."""

SUMS = "the sum of the gradients"


def add(shards: Iterable[Gradients], loss: float = 0.0, total: list[Array] | None = None) -> Gradients:
    """The sum of shards, in their order, on top of what is given. The arrays of the first take all the others."""
    for shard_loss, grads in shards:
        loss += shard_loss
        if total is None:
            total = grads
        else:
            for sum_so_far, g in zip(total, grads, strict=True):
                sum_so_far += g
    assert total is not None
    return loss, total


class Sum:
    """On one process."""

    @property
    def ready(self) -> Callable[[Array], None] | None:
        """Told of the gradient of a parameter as soon as it is complete; see autograd.grad."""
        return None

    def __call__(self, shards: Iterable[Gradients]) -> Gradients:
        return add(shards)


class OrderedSum(Sum):
    """The sum goes from rank to rank, and each adds its shards to it, one after another as a single process does.

    So its bits do not depend on how many ranks there are.
    """

    def __init__(self, comm: MpiComm) -> None:
        self.comm = comm

    def __call__(self, shards: Iterable[Gradients]) -> Gradients:
        comm, own = self.comm, list(shards)
        comm.barrier(SUMS)
        loss, sums = np.zeros(1), None
        if comm.rank:
            sums = [np.empty_like(g) for g in own[0][1]]
            comm.receive([loss, *sums], comm.rank - 1, SUMS)
        loss[0], sums = add(own, float(loss[0]), sums)
        if comm.rank + 1 < comm.size:
            comm.send([loss, *sums], comm.rank + 1, SUMS)
        comm.broadcast_arrays([loss, *sums], SUMS, root=comm.size - 1)
        return float(loss[0]), sums


class AllReduce(Sum):
    """Each rank sums its own shards, and MPI the ranks' sums, in buckets: on all ranks the same ones in the same order.

    With `overlap`, for ranks with a single shard, a bucket is on its way as soon as backward has completed its gradients.
    """

    def __init__(self, comm: MpiComm, overlap: bool, rounded: bool) -> None:
        self.comm, self.overlap, self.rounded = comm, overlap, rounded
        self._added: set[int] = set()
        self._bucket: list[Array] = []
        self._under_way: list[tuple[list[Array], Array, Any]] = []

    @property
    def ready(self) -> Callable[[Array], None] | None:
        return self._add if self.overlap else None

    def __call__(self, shards: Iterable[Gradients]) -> Gradients:
        loss, grads = add(shards)
        for g in grads:
            if id(g) not in self._added:
                self._add(g)
        self.comm.barrier(SUMS)
        if self._bucket:
            self._send()
        total = np.array([loss])
        self.comm.wait([*(request for _, _, request in self._under_way), self.comm.start_all_reduce(total)], SUMS)
        for bucket, flat, _ in self._under_way:
            at = 0
            for g in bucket:
                part = flat[at : at + g.size]
                g.ravel(order="K")[...] = from_bfloat16(part) if self.rounded else part
                at += g.size
        return float(total[0]), grads

    def _add(self, g: Array) -> None:
        """Sum this gradient too, with others in one message as soon as there are enough of them."""
        self._added.add(id(g))
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
        self._under_way.append((self._bucket, flat, self.comm.start_all_reduce(flat, self.rounded)))
        self._bucket = []
