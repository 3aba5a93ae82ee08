"""An optimizer of which each rank keeps the state of its part of every parameter only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gpt2.training.mpi.comm import MpiComm
from tinygrad2 import nn, optim
from tinygrad2.types import Array


class ZeroOptimizer:
    """ZeRO stage 1 (Rajbhandari et al., 2020, section 5.1): each rank updates its part, and gets the rest from the others.

    `make` gives the optimizer of the parts. The update of a part has the bits that the update of the whole has there.
    """

    def __init__(
        self, parameters: list[nn.Parameter], make: Callable[[list[nn.Parameter]], optim.Optimizer], comm: MpiComm
    ) -> None:
        self.parameters, self.comm = parameters, comm
        self.parts = [nn.Parameter(self._part(p.data)) for p in parameters]
        self.of_parts = make(self.parts)

    def _part(self, array: Array) -> Array:
        """The view of this rank's part, with two axes if the array had more than one: matrices are those that decay."""
        bounds = self.comm.bounds(array.size)
        part = array.reshape(-1)[bounds[self.comm.rank] : bounds[self.comm.rank + 1]]
        return part.reshape(1, -1) if array.ndim >= 2 else part

    def step(self, gradients: Sequence[Array], scale: float) -> None:
        """One step of every part, after which all parameters are up to date on all ranks."""
        for p, part in zip(self.parameters, self.parts, strict=True):
            part.data = self._part(p.data)
        self.of_parts.arrays = [part.data for part in self.parts]  # so that what is written arrives in the whole
        self.of_parts.step([self._part(g) for g in gradients], scale)
        exchanged = [self.comm.start_all_gather(p.data.reshape(-1), self.comm.bounds(p.size)) for p in self.parameters]
        self.comm.wait(exchanged, "the exchange of parameters")
        for p in self.parameters:
            p.data = p.data  # tells the graph that it has changed

    def gathered(self, slot: Array, p: nn.Parameter) -> Array:
        """What all ranks keep of a parameter, of which `slot` is what is kept here: whole on the main process."""
        full = np.empty(p.shape, slot.dtype) if self.comm.is_main else None
        flat = None if full is None else full.reshape(-1)
        gathering = self.comm.start_gather(slot.reshape(-1), flat, self.comm.bounds(p.size))
        self.comm.wait([gathering], "the collection of the optimizer's state")
        return slot if full is None else full

    def keep_part(self, slot: Array, full: Array) -> None:
        """Fill `slot` with this rank's part of what there is of a parameter."""
        slot[...] = self._part(full)
