"""Checkpoints: everything a training needs to go on bit for bit, in one file that is whole or not there.

A checkpoint is a safetensors file of arrays, whose metadata holds the rest as JSON and a fingerprint of all. It is written
beside its place, flushed to the disk, and renamed; older ones go only when it is there. Random streams need no state of
their own: each is a function of the seed, its name and the position in the data (rng.py), which is in the JSON.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec

from gpt2.errors import DamagedError, RunError
from gpt2.files import conform, naming, parse_object
from gpt2.run.metrics import Recorded, Row, StepNumber
from gpt2.weights.safetensors import read_weights, write_weights
from tinygrad2.types import Array

NAME = re.compile(r"step-(\d{8,12})\.safetensors")
OF_A_STEP = {"train_loss", "learning_rate", "grad_norm", "tokens_per_s"}
"""What the row of a step has that was not skipped."""

KEPT = 2
"""The last so many checkpoints, so that one of them may be damaged."""


class Progress(msgspec.Struct):
    """What the training loop knows beyond the trainer.

    `val_loss` is that after `val_step`, the last evaluated, which older versions did not keep; `whole_val_loss` that of
    all windows, where these were evaluated at the end. `best_step` has the lowest validation loss so far, `since_best`
    evaluations ago. `unwritten` is the row of the last step, if it is not in the log yet: a checkpoint is saved before the
    evaluation of its step. `seconds` is how long the run has taken, all its commands together.
    """

    val_loss: float = math.nan
    val_step: StepNumber | None = None
    whole_val_loss: float | None = None
    best_loss: float = math.inf
    best_step: StepNumber = 0
    seconds: float = 0.0
    since_best: StepNumber = msgspec.field(default=0, name="stale")  # as checkpoints have always called it
    unwritten: Row | None = msgspec.field(default_factory=lambda: {"step": 0}, name="pending")


class Lengths(TypedDict):
    """Bytes of the logs of a run when the checkpoint was saved."""

    metrics: Annotated[int, msgspec.Meta(ge=0)]
    samples: Annotated[int, msgspec.Meta(ge=0)]


class About(TypedDict):
    """What a checkpoint holds beside arrays: see training/state.py and Training.save."""

    step: StepNumber
    position: StepNumber
    spikes: dict[str, list[float]]
    progress: Progress
    files: Lengths
    belongs_to: dict[str, str]


@dataclass(frozen=True)
class Checkpoint:
    """`arrays` by name, float32, and `about`, what else there is to know: plain JSON with at least the `step`."""

    arrays: Mapping[str, Array]
    about: dict[str, Any]

    @property
    def step(self) -> int:
        """After how many updates."""
        return int(self.about["step"])


class Checkpoints:
    """The checkpoints in a folder. `keep_every` N keeps those of steps N, 2N...; 0 keeps the last two and the best only."""

    def __init__(self, folder: Path, keep_every: int = 0, mark: str = "") -> None:
        self.folder, self.keep_every, self.mark = folder, keep_every, mark

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is, or would be."""
        return self.folder / f"step-{step:08d}.safetensors"

    def steps(self) -> list[int]:
        """The steps there are checkpoints of, rising. Raises RunError for a folder that cannot be read."""
        names: list[str] = []
        with naming(self.folder, "read"), contextlib.suppress(FileNotFoundError):
            names = os.listdir(self.folder)
        return sorted(int(found[1]) for name in names if (found := NAME.fullmatch(name)))

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; nothing else changes. Raises RunError naming the path."""
        with naming(self.folder):
            self.folder.mkdir(exist_ok=True)  # not its parents: a run folder that was moved away is not made anew
            free = shutil.disk_usage(self.folder).free
        needed = sum(array.nbytes for array in checkpoint.arrays.values())
        if free < needed * 1.01:
            raise RunError(f"{self.folder}: a checkpoint takes {needed / 1e6:,.1f} MB, and only {free / 1e6:,.1f} MB are free")
        write_weights(self.path(checkpoint.step), checkpoint.arrays, {"about": json.dumps(checkpoint.about)}, self.mark)

    def prune(self, best: int, now: int) -> None:
        """Remove all up to step `now` but the last two of them, that of step `best`, and every Nth.

        Later ones are of a time that is to come again; those that are there were damaged, and were passed over.
        """
        for step in [step for step in self.steps() if step <= now][:-KEPT]:
            if step != best and not (self.keep_every and step % self.keep_every == 0):
                self.path(step).unlink(missing_ok=True)

    def load(self, step: int) -> Checkpoint:
        """The checkpoint of a step. Raises RunError naming what is wrong with it."""
        stored, metadata = read_weights(self.path(step), must_be_ours=True)
        try:
            about = parse_object(metadata["about"])
            checked = conform(about, About)
            if checked["step"] != step:
                raise ValueError(f"it says that it is of step {checked['step']}")
            row = checked["progress"].unwritten
            if row is not None:
                if conform(row, Recorded)["step"] != step:
                    raise ValueError(f"its row is of step {row['step']}")
                if "train_loss" in row and (missing := OF_A_STEP - set(row)):
                    raise ValueError(f"its row has no {min(missing)}")
        except (KeyError, ValueError) as error:
            raise DamagedError(f"{self.path(step)} is not a checkpoint: {error}") from error
        return Checkpoint({name: entry.read() for name, entry in stored.items()}, about)

    def latest(self, say: Callable[[str], object], at_most: int | None = None) -> Checkpoint | None:
        """The last whole checkpoint, up to step `at_most`; `say` is told of damaged ones. None where there is none.

        Raises RunError for one that cannot be read: it may be whole.
        """
        for step in reversed(self.steps()):
            if at_most is None or step <= at_most:
                try:
                    return self.load(step)
                except DamagedError as error:
                    say(str(error))
        return None
