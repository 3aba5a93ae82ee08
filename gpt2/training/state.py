"""What a training needs to go on bit for bit: into a checkpoint, and back out of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpt2.errors import RunError
from gpt2.run.checkpoints import Checkpoint
from gpt2.training.step import Trainer
from tinygrad2 import nn
from tinygrad2.types import Array


def state(trainer: Trainer) -> Checkpoint:
    """Arrays by name, not copied, and what else there is, as plain JSON. With ZeRO, whole on the main process only."""
    zero = trainer.zero
    arrays = {
        name: zero.gathered(array, p) if zero and p is not None else array for name, (array, p) in _arrays(trainer).items()
    }
    return Checkpoint(arrays, {"step": trainer.steps, "position": trainer.position, "spikes": trainer.spikes.state()})


def restore(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Go back, or forward, to what `state` gave. Raises RunError, and changes nothing, if the names or shapes differ.

    Only the main process needs the arrays of the checkpoint.
    """
    zero, comm, about = trainer.zero, trainer.shards.comm, checkpoint.about
    arrays = _arrays(trainer)
    shapes = {name: p.shape if zero and p is not None else array.shape for name, (array, p) in arrays.items()}
    if comm.is_main:
        stored = {name: array.shape for name, array in checkpoint.arrays.items()}
        wrong = sorted(set(shapes) ^ set(stored)) or [name for name in shapes if shapes[name] != stored[name]]
        if wrong:
            raise RunError(f"the checkpoint is of another model or optimizer: {', '.join(wrong[:3])} differ")
    for name, (array, p) in arrays.items():
        whole = np.empty(p.shape, array.dtype) if zero and p is not None else array
        if comm.is_main:
            whole[...] = checkpoint.arrays[name]
        comm.broadcast_arrays([whole], "the reading of a checkpoint")
        if zero and p is not None:
            zero.keep_part(array, whole)
    for parameter in trainer.parameters:
        parameter.data = parameter.data  # tells the graph that it has changed
    trainer.steps, trainer.position = about["step"], about["position"]
    trainer.optimizer.steps = trainer.steps
    trainer.spikes.restore(about["spikes"])


def _arrays(trainer: Trainer) -> dict[str, tuple[Array, nn.Parameter | None]]:
    """The arrays that change, by name; those of the optimizer with the parameter that they are kept for."""
    found: dict[str, Any] = {f"model.{name}": (array, None) for name, array in trainer.model.state_dict().items()}
    for (name, p), slots in zip(trainer.model.named_parameters(), trainer.optimizer.state, strict=True):
        found |= {f"optimizer.{slot}.{name}": (array, p) for slot, array in slots.items()}
    return found | {f"average.{name}": (array, None) for name, array in trainer.average.weights.items()}
