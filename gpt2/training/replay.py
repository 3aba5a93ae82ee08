"""Any step of a run again: from the nearest checkpoint before it, or from the seed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gpt2.config import TrainConfig
from gpt2.errors import RunError
from gpt2.run.checkpoints import Checkpoint, Checkpoints
from gpt2.run.folder import Run
from gpt2.run.metrics import Row
from gpt2.text.batches import Batch
from gpt2.text.corpora import Corpus
from gpt2.text.encoding import prepare
from gpt2.training.resuming import read_setup
from gpt2.training.shards import Shards
from gpt2.training.state import restore, state
from gpt2.training.step import Trainer
from tinygrad2.types import Array


@dataclass
class Replayed:
    """A step that was taken again: its row, its batch, the first of its text, and its gradients, before clipping."""

    began: str
    row: Row
    batch: Batch
    text: str
    gradients: dict[str, Array]
    after: list[Row] = field(default_factory=list)
    """The rows of this step and of those after it, where they were asked for."""


def replay(run: Run, corpus: Corpus, step: int, changed: TrainConfig | None = None, count: int = 1) -> Replayed:
    """Take step `step` of a run on a corpus again, and `count` steps in all; from that one on with the settings `changed`.

    Raises RunError if the text is another one than then, or the checkpoint before the step is damaged.
    """
    setup = read_setup(run.folder, {}, accept_changes=False, replays=True)
    setup.check_corpus(corpus, accept_changes=False, fix="--data names the text that it was trained on")
    config = setup.training
    text = prepare(corpus, setup.tokenizer, config, setup.model.max_seq_len)
    model = setup.model_at_start()
    checkpoint = Checkpoints(run.checkpoints).latest(lambda _: None, at_most=step - 1)
    with Shards(config.threads, config.shards, config.batch_size, model.num_parameters()) as shards:
        trainer = Trainer(model, config, text.train, shards)
        if checkpoint is not None:
            restore(trainer, checkpoint)
        began = f"the checkpoint of step {trainer.steps}" if trainer.steps else "the beginning"
        while trainer.steps < step - 1:
            trainer.step()
        if changed is not None:
            trainer = _with(trainer, changed)
        batch = trainer.batch()
        _, grads = trainer.loss_and_gradients(batch)
        row = trainer.step()
        if trainer.steps != step:
            raise RunError(f"{run.folder}: step {step} was skipped: {row.get('skipped')}")
        gradients = {name: g for (name, _), g in zip(model.named_parameters(), grads, strict=True)}
        after = [row, *(trainer.step() for _ in range(count - 1))]
    return Replayed(began, row, batch, text.tokenizer.decode(batch[0][0]), gradients, after)


def _with(trainer: Trainer, config: TrainConfig) -> Trainer:
    """The same moment under other settings."""
    if config.optimizer != trainer.config.optimizer or bool(config.ema_decay) != bool(trainer.config.ema_decay):
        raise RunError("replay: the optimizer and whether weights are averaged cannot change in the middle of a training")
    now = state(trainer)
    other = Trainer(trainer.model, replace(config, steps=trainer.config.steps), trainer.train_ids, trainer.shards)
    restore(other, Checkpoint({name: array.copy() for name, array in now.arrays.items()}, now.about))
    return other
