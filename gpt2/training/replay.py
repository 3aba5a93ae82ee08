"""Any step of a run again: from the nearest checkpoint before it, or from the seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gpt2.config import TrainConfig
from gpt2.errors import NonFiniteError, RunError
from gpt2.model import GPT2
from gpt2.run.checkpoints import Checkpoint, Checkpoints
from gpt2.run.folder import Run
from gpt2.run.metrics import Row, positions
from gpt2.run.text import text_of_run
from gpt2.text.batches import Batch
from gpt2.text.corpora import Corpus
from gpt2.text.encoding import Prepared, prepare
from gpt2.training.loop import MOST_SKIPPED
from gpt2.training.memory import check_fits
from gpt2.training.resuming import Setup, read_setup
from gpt2.training.shards import Shards
from gpt2.training.state import restore, state
from gpt2.training.step import Trainer
from tinygrad2.kernels.fast import products
from tinygrad2.types import Array

CHANGEABLE = (
    *(
        "seed",
        "batch_size",
        "dtype",
        "learning_rate",
        "muon_factor",
        "min_learning_rate",
        "warmup_steps",
        "schedule",
        "beta1",
        "beta2",
    ),
    *("weight_decay", "grad_clip", "label_smoothing", "on_nonfinite", "spike_threshold", "spike_window", "on_spike"),
)
"""The settings that can be others from a step on, and of which the losses after it depend."""


@dataclass
class Replayed:
    """A step that was taken again: its row, its batch, the first of its text, and its gradients, before clipping."""

    began: str
    row: Row
    batch: Batch
    text: str
    gradients: dict[str, Array]
    after: list[Row] = field(default_factory=list)
    """The rows of this step and of those after it with changes, where they were asked for; those of skipped batches too."""
    ended: str | None = None
    """Why these are not as many steps as were asked for."""


def replay(run: Run, corpus: Corpus, step: int, changes: dict[str, Any] | None = None, count: int = 1) -> Replayed:
    """Take step `step` of a run on a corpus again, and with `changes` from then on, if there are any, `count` steps in all.

    The log says which batch each step was taken with, past those that were skipped and all that was taken back; config.json
    says with which settings. Raises RunError if the text is another one than then, or the step is skipped here.
    """
    moment = Checkpoints(run.checkpoints).latest(lambda _: None, at_most=step - 1)
    began = f"the checkpoint of step {moment.step}" if moment and moment.step else "the beginning"
    setups = _setups(run, moment, step)
    config = dataclasses.replace(setups[-1].training, **(changes or {}))
    check_fits(setups[-1].model, config)
    with _before(run, corpus, setups, step, moment) as (trainer, text, places):
        now = state(trainer)
        moment = Checkpoint({name: array.copy() if changes else array for name, array in now.arrays.items()}, now.about)
        moment.about["position"] = _place(trainer, places)
        batch = trainer.batch()
        _, grads = trainer.loss_and_gradients(batch)
        model = trainer.model
        gradients = {name: g for (name, _), g in zip(model.named_parameters(), grads, strict=True)}
        row = _take_again(trainer, places)
    found = Replayed(began, row, batch, text.tokenizer.decode(batch[0][0]), gradients)
    if changes:
        with products.using(setups[-1].part.library), _trainer(model, config, text.train, moment) as trainer:
            found.ended = _go_on(trainer, found.after, count)
    return found


def moments(run: Run, corpus: Corpus, steps: Iterable[int], say: Callable[[str], object]) -> Iterator[tuple[Trainer, Prepared]]:
    """The training as it stood after each of these steps, which rise, and its text: as its checkpoint has it or, where there is
    none, taken again from the moment before. Its next batch is that of the log; `say` is told of damaged checkpoints."""
    moment: Checkpoint | None = None
    for step in steps:
        near = Checkpoints(run.checkpoints).latest(say, at_most=step)
        if near is not None and (moment is None or near.step > moment.step):
            moment = near
        setups = _setups(run, moment, step + 1)
        check_fits(setups[-1].model, setups[-1].training)
        with _before(run, corpus, setups, step + 1, moment) as (trainer, text, places):
            trainer.position = places.get(step + 1, trainer.position)
            yield trainer, text
            now = state(trainer)
            moment = Checkpoint({name: array.copy() for name, array in now.arrays.items()}, now.about)


def _setups(run: Run, moment: Checkpoint | None, step: int) -> list[Setup]:
    """With what the steps from a moment up to this one were taken."""
    setups = [read_setup(run.folder, {}, accept_changes=False, replays=moment.step + 1 if moment else 1)]
    while setups[-1].part.until < step:
        setups.append(read_setup(run.folder, {}, accept_changes=False, replays=setups[-1].part.until + 1))
    return setups


@contextmanager
def _before(
    run: Run, corpus: Corpus, setups: list[Setup], step: int, moment: Checkpoint | None
) -> Iterator[tuple[Trainer, Prepared, dict[int, int]]]:
    """The training as it stood before a step, its text, and the position of each batch from the moment on."""
    places = positions(run.metrics, range(moment.step + 1 if moment else 1, step + 1))
    corpora = [  # the text may have been changed on the way
        corpus if setup.part.corpus.sha256 == corpus.sha256 else text_of_run(run.folder, setup.part) for setup in setups
    ]
    model = setups[0].model_at_start(restored=moment is not None)
    for setup, then in zip(setups, corpora, strict=True):
        text = prepare(then, setup.tokenizer, setup.training, setup.model.max_seq_len)
        with products.using(setup.part.library), _trainer(model, setup.training, text.train, moment) as trainer:
            while trainer.steps < min(step - 1, setup.part.until):
                _take_again(trainer, places)
            if setup is setups[-1]:
                yield trainer, text, places
            else:
                moment = state(trainer)


@contextmanager
def _trainer(model: GPT2, config: TrainConfig, ids: Array, moment: Checkpoint | None) -> Iterator[Trainer]:
    """One that goes on from a moment of a training, or begins."""
    with Shards(config.threads, config.shards, config.batch_size, model.num_parameters()) as shards:
        trainer = Trainer(model, config, ids, shards)
        if moment is not None:
            restore(trainer, moment)
        yield trainer


def _place(trainer: Trainer, places: dict[int, int]) -> int:
    """Go to the batch that the next step was taken with; its position."""
    step = trainer.steps + 1
    if step not in places:
        raise RunError(f"the log has no training loss of step {step}, so its batch is not known")
    trainer.position = places[step]
    return trainer.position


def _take_again(trainer: Trainer, places: dict[int, int]) -> Row:
    """The next step, with the batch that it was taken with."""
    _place(trainer, places)
    row = trainer.step()
    if "skipped" in row:
        raise RunError(f"step {row['step']} was taken in the run, and is skipped now: {row['skipped']}")
    return row


def _go_on(trainer: Trainer, rows: list[Row], count: int) -> str | None:
    """Take so many steps, and add their rows, also those of skipped batches; why it ended before, if it did."""
    last, skipped = trainer.steps + count, 0
    while trainer.steps < last:
        try:
            row = trainer.step()
        except NonFiniteError as error:
            return str(error)
        rows.append(row)
        skipped = skipped + 1 if "skipped" in row else 0
        if skipped and trainer.policy(row) == "rollback":
            return f"step {row['step']}: the training would roll back to its last checkpoint: {row['skipped']}"
        if skipped > MOST_SKIPPED:
            return f"{skipped} batches in a row were skipped; the last: {row['skipped']}"
    return None
