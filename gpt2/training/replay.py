"""Any step of a run again: from the nearest checkpoint before it, or from the seed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gpt2.config import TrainConfig
from gpt2.errors import RunError
from gpt2.run.checkpoints import Checkpoint, Checkpoints
from gpt2.run.folder import Run
from gpt2.run.metrics import Row
from gpt2.text.batches import Batch
from gpt2.text.corpora import Corpus
from gpt2.text.encoding import prepare
from gpt2.training.resuming import begun_as
from gpt2.training.shards import ShardExecutor
from gpt2.training.step import Trainer

Array = np.ndarray[Any, Any]


@dataclass
class Replayed:
    """A step that was taken again: its row, its batch, the first of its text, and the gradients that the optimizer saw."""

    began: str
    row: Row
    batch: Batch
    text: str
    gradients: dict[str, Array]
    after: list[Row] = field(default_factory=list)
    """The rows of this step and of those after it, where they were asked for."""


def replay(
    run: Run, config: TrainConfig, corpus: Corpus, step: int, changed: TrainConfig | None = None, count: int = 1
) -> Replayed:
    """Take step `step` of a run on a corpus again, and `count` steps in all; from that one on with the settings `changed`.

    Raises RunError if the text is another one than then, or the checkpoint before the step is damaged.
    """
    begun = begun_as(run.folder, {}, accept_changes=False)
    begun.check_corpus(corpus, accept_changes=False)
    text = prepare(corpus, begun.tokenizer, config, begun.model.max_seq_len)
    model = begun.model_at_start()
    checkpoint = Checkpoints(run.checkpoints).latest(lambda _: None, at_most=step - 1)
    with ShardExecutor(config.threads, config.shards, config.batch_size, model.num_parameters()) as executor:
        trainer = Trainer(model, config, text.train, executor)
        if checkpoint is not None:
            trainer.restore(checkpoint)
        began = f"the checkpoint of step {trainer.steps}" if trainer.steps else "the beginning"
        while trainer.steps < step - 1:
            trainer.step()
        if changed is not None:
            trainer = _with(trainer, changed)
        batch = trainer.batch()
        row = trainer.step()
        if trainer.steps != step:
            raise RunError(f"{run.folder}: step {step} was skipped: {row.get('skipped')}")
        gradients = {name: p.grad.data.copy() for name, p in model.named_parameters() if p.grad is not None}
        after = [row, *(trainer.step() for _ in range(count - 1))]
    return Replayed(began, row, batch, text.tokenizer.decode(batch[0][0]), gradients, after)


def _with(trainer: Trainer, config: TrainConfig) -> Trainer:
    """The same moment under other settings."""
    arrays, about = trainer.state()
    if config.optimizer != trainer.config.optimizer or bool(config.ema_decay) != bool(trainer.config.ema_decay):
        raise RunError("replay: the optimizer and whether weights are averaged cannot change in the middle of a training")
    other = Trainer(trainer.model, replace(config, steps=trainer.config.steps), trainer.train_ids, trainer.executor)
    other.restore(Checkpoint({name: array.copy() for name, array in arrays.items()}, about))
    return other
