"""A training from its first step, or from its last checkpoint, to its end; all of it is in the run folder."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from gpt2 import terminal
from gpt2.config import TrainConfig
from gpt2.errors import DamagedError, NonFiniteError
from gpt2.generation import Sampling, generate
from gpt2.model import GPT2
from gpt2.rng import generator
from gpt2.run.checkpoints import Checkpoint, Checkpoints, Progress
from gpt2.run.folder import Run
from gpt2.run.health import Monitor
from gpt2.run.metrics import Log, Row, as_line
from gpt2.text import batches
from gpt2.text.baselines import baselines
from gpt2.text.encoding import Prepared
from gpt2.training.interrupts import Interrupts
from gpt2.training.measurements import diagnose, probe_windows
from gpt2.training.mpi.comm import Comm
from gpt2.training.shards import Shards, arithmetic
from gpt2.training.state import restore, state
from gpt2.training.step import Trainer
from tinygrad2.kernels.fast.memory import keep_freed_memory
from tinygrad2.types import Array

Say = Callable[[str], object]

MOST_SKIPPED = 20
"""Batches in a row; after that, skipping one more would help nobody."""

MOST_ROLLBACKS = 10
"""To one checkpoint; after that, other batches do not help."""


@dataclass(frozen=True)
class Result:
    """What a training ends with: losses in nats per token, and the signal that ended it early.

    `baselines` are losses to compare with, by name: `uniform`, `bigram`, and `perfect` where the text has a known source.
    """

    val_loss: float
    baselines: dict[str, float]
    steps: int
    seconds: float
    signal: int | None
    stopped_early: bool


class Training:
    """The loop: step, save, evaluate, record, and so on."""

    def __init__(self, trainer: Trainer, text: Prepared, run: Run, metrics: Log, samples: Log, say: Say, bar: Any) -> None:
        self.trainer, self.text, self.run, self.metrics, self.samples = trainer, text, run, metrics, samples
        self.say, self.bar = say, bar
        self.config, self.model, self.shards, self.comm = trainer.config, trainer.model, trainer.shards, trainer.shards.comm
        context = self.model.config.max_seq_len
        self.compared = baselines(text.train, text.val, text.tokenizer.vocab_size)
        self.val_batches = self.validation_batches(text.val, context)
        costs = text.costs()
        if costs is not None:
            evaluated = [c.ravel() for _, c in self.validation_batches(costs, context)]
            self.compared["perfect"] = float(np.mean(np.concatenate(evaluated)))
        self.probe = probe_windows(text.val, context, self.shards.count)
        self.monitor = Monitor(run.metrics, self.model.config, self.config, say)
        self.checkpoints = Checkpoints(run.checkpoints, self.config.keep_every, run.mark)
        self.progress = Progress()
        self.saved = -1  # the step of the last checkpoint
        self.skipped = 0  # batches in a row
        self.rollbacks: Counter[int] = Counter()

    def validation_batches(self, values: Array, context: int) -> list[batches.Batch]:
        """Those windows that are evaluated, of the ids that validate or of a value for each."""
        windows = batches.consecutive(values, context, max(1, 1024 // context))
        return batches.sample_windows(windows, self.config.eval_windows, generator(self.config.seed, "evaluation"))

    def start(self, checkpoint: Checkpoint | None) -> None:
        """From a checkpoint, or from the beginning."""
        if checkpoint is not None:
            self.progress = msgspec.convert(checkpoint.about["progress"], Progress)
            self.saved = checkpoint.step
            self.say(f"going on after step {checkpoint.step}")
        self.bar.update(self.trainer.steps)

    def fit(self, interrupts: Interrupts) -> bool:
        """Train to the last step, or until interrupted; whether the validation loss ended it before."""
        config, trainer, progress = self.config, self.trainer, self.progress
        while True:
            self.finish_step()
            ends = trainer.steps >= config.steps
            no_gain = bool(config.patience) and progress.since_best >= config.patience
            signal = self.comm.barrier(f"step {trainer.steps + 1}", interrupts.signal or 0)
            if ends or no_gain or signal:
                interrupts.signal = signal or None  # one that came since then is late
                if self.saved != trainer.steps:
                    self.save()
                return no_gain and not ends
            measure = (trainer.steps + 1) % config.eval_every == 0 or trainer.steps + 1 == config.steps
            progress.unwritten = trainer.step(measure)

    def finish_step(self) -> None:
        """Save, evaluate, and write the row of the last step down, unless that has been done."""
        row, step, config = self.progress.unwritten, self.trainer.steps, self.config
        if row is None:
            return
        if "skipped" in row:
            self.write(row)
            self.skip(row)
            return
        self.skipped = 0
        evaluates = step >= config.steps or step % config.eval_every == 0
        if self.saved != step and (evaluates or step % config.save_every == 0):
            self.save()
        if evaluates:
            self.evaluate(row)
        self.write(row)
        self.show(row)
        if self.saved == step:
            self.checkpoints.prune(self.progress.best_step, step)

    def write(self, row: Row) -> None:
        """Append a row that is complete to the log."""
        self.metrics.append(as_line(row))
        self.monitor.add(row)
        self.progress.unwritten = None

    def skip(self, row: Row) -> None:
        """A batch has changed nothing. Raises NonFiniteError where that has happened too often."""
        self.skipped += 1
        self.say(f"step {row['step']} skipped: {row['skipped']}")
        if self.skipped > MOST_SKIPPED:
            raise NonFiniteError(f"{self.skipped} batches in a row were skipped; the last: {row['skipped']}")
        if self.trainer.policy(row) == "rollback":
            self.roll_back(row["skipped"])

    def roll_back(self, why: str) -> None:
        """To the last checkpoint, but not to its place in the data: what led here is not seen again.

        Raises NonFiniteError where that has happened too often.
        """
        position = self.trainer.position
        checkpoint = broadcast_checkpoint(self.comm, self.run.last_checkpoint(self.say) if self.comm.is_main else None)
        assert checkpoint is not None  # or it would have been said: there are steps in the run
        restore(self.trainer, checkpoint)
        self.trainer.position = position
        self.saved = checkpoint.step
        self.say(f"rolled back to step {checkpoint.step}")
        self.rollbacks[checkpoint.step] += 1
        times = self.rollbacks[checkpoint.step]
        if times > MOST_ROLLBACKS:
            raise NonFiniteError(f"rolled back to step {checkpoint.step} {times} times; the last: {why}")

    def save(self) -> None:
        """A checkpoint of this moment."""
        checkpoint = state(self.trainer)
        self.saved = self.trainer.steps
        if not self.comm.is_main:
            return
        files = {"metrics": self.metrics.position(), "samples": self.samples.position()}
        progress, belongs_to = msgspec.to_builtins(self.progress), self.run.belongs_to(self.model.config)
        about = {**checkpoint.about, "progress": progress, "files": files, "belongs_to": belongs_to}
        self.checkpoints.save(Checkpoint(checkpoint.arrays, about))

    def evaluate(self, row: Row) -> None:
        """The validation loss, into the row; and a sample of what the model writes."""
        progress = self.progress
        with self.trainer.average.in_use():
            row["val_loss"] = progress.val_loss = self.shards.evaluate(self.model, self.val_batches)
            if "perfect" in self.compared:
                row["above_perfect"] = progress.val_loss - self.compared["perfect"]
            if self.config.sample_tokens and self.comm.is_main:
                self.write_sample(row)
        row["val_tokens"], row["baselines"] = sum(targets.size for _, targets in self.val_batches), self.compared
        lengths = self.text.tokenizer.byte_lengths
        row["val_bytes"] = sum(int(lengths[targets].sum()) for _, targets in self.val_batches)
        row["diagnostics"] = diagnose(self.trainer, row, self.probe)
        progress.since_best += 1
        if progress.val_loss < progress.best_loss:
            progress.best_loss, progress.best_step, progress.since_best = progress.val_loss, row["step"], 0

    def write_sample(self, row: Row) -> None:
        """Let the model write, on the terminal and in the file; the prompt is the first token of the text."""
        prompt, tokenizer = np.asarray(self.text.train[:1], np.int64), self.text.tokenizer
        sampling = Sampling(temperature=0.8, vocab_size=tokenizer.vocab_size)
        try:
            ids = generate(self.model, prompt, self.config.sample_tokens, sampling, self.config.seed)
            text = tokenizer.decode(ids[1:])
        except NonFiniteError as error:  # what becomes of the training is for its next step to say
            text = f"(nothing: {error})"
        title = f"--- step {row['step']}, validation loss {row['val_loss']:.3f}"
        if "above_perfect" in row:
            title += f", {row['above_perfect']:.3f} above a perfect model"
        self.samples.append(f"{title}\n{text}\n\n")
        self.say(f"{title}\n{text}")

    def show(self, row: Row) -> None:
        """The row of a step on the terminal."""
        if "train_loss" not in row:
            return
        shown = (
            f"loss {row['train_loss']:.3f}, val {self.progress.val_loss:.3f}, lr {row['learning_rate']:.1e}, "
            f"grad norm {row['grad_norm']:.2f}, {row['tokens_per_s']:,.0f} tokens/s"
        )
        self.bar.update(row["step"] - self.bar.n)
        self.bar.set_postfix_str(shown, refresh=False)
        if self.bar.disable and row["step"] % max(1, self.config.steps // 20) == 0:  # no terminal: lines instead
            self.say(f"step {row['step']}/{self.config.steps}: {shown}")


def train(model: GPT2, config: TrainConfig, text: Prepared, run: Run, say: Say, resume: bool = False) -> Result:
    """Train a model and leave everything about it in the run folder, but for the pictures.

    Ctrl-C and SIGTERM end it after the step: a checkpoint is saved, and the result says so. With `resume` it goes on from
    the last checkpoint that is whole, bit for bit as if it had never stopped.
    """
    keep_freed_memory()
    start = time.perf_counter()
    with run.locked(), Interrupts() as interrupts, Shards.of(config, model.num_parameters()) as shards:
        if not resume:
            run.check_new()  # another may have begun in it since it was looked at
        comm = shards.comm
        checkpoint = broadcast_checkpoint(comm, run.last_checkpoint(say) if resume and comm.is_main else None)
        trainer = Trainer(model, config, text.train, shards)
        if checkpoint is not None:
            restore(trainer, checkpoint)
        at = checkpoint.about["files"] if checkpoint and comm.is_main else {"metrics": 0, "samples": 0}
        Log.check(run.metrics, at["metrics"])
        Log.check(run.samples, at["samples"])
        run.begin()  # nothing in the folder has changed so far
        if comm.size > 1:
            comm.gives_up_in = run.reason_of(comm.rank)
        if comm.is_main:
            run.describe(model, config, text.corpus, text.tokenizer, arithmetic(config, model.num_parameters()), trainer.steps)
        with (
            Log(run.metrics, at["metrics"]) as metrics,
            Log(run.samples, at["samples"]) as samples,
            terminal.progress(not comm.is_main, total=config.steps, unit="step", dynamic_ncols=True) as bar,
        ):
            training = Training(trainer, text, run, metrics, samples, say, bar)
            say(f"{model.num_parameters():,} parameters; {len(text.train):,} tokens to train on, {len(text.val):,} validate")
            training.start(checkpoint)
            try:
                stopped_early = training.fit(interrupts)
            except NonFiniteError as error:
                training.progress.unwritten = None
                with contextlib.suppress(DamagedError):  # the weights are no numbers either: the last checkpoint stays
                    training.save()
                metrics.append(as_line({"step": trainer.steps + 1, "skipped": str(error)[:1000]}))  # a resume cuts it off
                raise
        if comm.is_main:
            with trainer.average.in_use():
                run.save_model(model, trainer.steps)
    seconds, val_loss = time.perf_counter() - start, training.progress.val_loss
    return Result(val_loss, training.compared, trainer.steps, seconds, interrupts.signal, stopped_early)


def broadcast_checkpoint(comm: Comm, checkpoint: Checkpoint | None) -> Checkpoint | None:
    """What the main process has read, on all; its arrays stay there (see `restore`)."""
    about = comm.broadcast(checkpoint.about if checkpoint else None, "the reading of a checkpoint")
    return checkpoint if comm.is_main or about is None else Checkpoint({}, about)
