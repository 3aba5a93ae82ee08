"""A training from its first step, or from its last checkpoint, to its end; all of it is in the run folder."""

from __future__ import annotations

import contextlib
import itertools
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
from gpt2.generation import Sampling, steps
from gpt2.model import GPT2
from gpt2.run.checkpoints import Checkpoint, Checkpoints, Progress
from gpt2.run.folder import Run
from gpt2.run.health import Monitor
from gpt2.run.metrics import Log, Row, as_line
from gpt2.text.encoding import Prepared
from gpt2.training.interrupts import Interrupted, Interrupts, requested
from gpt2.training.measurements import diagnose, probe_windows
from gpt2.training.mpi.comm import Comm, current
from gpt2.training.shards import Shards, arithmetic
from gpt2.training.state import restore, state
from gpt2.training.step import Trainer
from gpt2.training.validation import Validation, count
from tinygrad2.kernels.fast.memory import keep_freed_memory

Say = Callable[[str], object]

MOST_SKIPPED = 20
"""Batches in a row; after that, skipping one more would help nobody."""

MOST_ROLLBACKS = 10
"""To one checkpoint; after that, other batches do not help."""


@dataclass(frozen=True)
class Result:
    """What a training ends with: losses in nats per token, and the signal that ended it early.

    `val_loss` is that after `val_step`, the last step that was evaluated; NaN if none was. An older version did not keep that
    step: then it is None. It is the mean over `windows` of the `all_windows` of the validation text, in which `val_tokens` are
    predicted. `baselines` are losses to compare with, by name: `uniform`, `bigram`, and `perfect` where the text has a known
    source. `train_loss` is that of the last step, if one was taken now: `steps_now` of all `steps` were. `in_evaluation` says
    that it was ended in the evaluation of the last step, which the log does not have until the run goes on.
    """

    val_loss: float
    val_step: int | None
    windows: int
    all_windows: int
    val_tokens: int
    baselines: dict[str, float]
    steps: int
    seconds: float
    signal: int | None
    stopped_early: bool
    train_loss: float | None
    steps_now: int
    in_evaluation: bool


class Training:
    """The loop: step, save, evaluate, record, and so on."""

    def __init__(self, trainer: Trainer, text: Prepared, run: Run, metrics: Log, samples: Log, say: Say, bar: Any) -> None:
        self.trainer, self.text, self.run, self.metrics, self.samples = trainer, text, run, metrics, samples
        self.say, self.bar = say, bar
        self.config, self.model, self.shards, self.comm = trainer.config, trainer.model, trainer.shards, trainer.shards.comm
        context = self.model.config.max_seq_len
        self.validation = Validation(text, self.config, context)
        self.compared = dict(text.baselines)
        if self.validation.perfect:
            self.compared["perfect"] = self.validation.perfect[0]
        self.probe = probe_windows(text.val, context, self.shards.count)
        self.monitor = Monitor(run.metrics, self.model.config, self.config, say)
        self.checkpoints = Checkpoints(run.checkpoints, self.config.keep_every, run.mark)
        self.progress = Progress()
        self.saved, self.saved_whole = -1, False  # the step of the last checkpoint, and whether it is over for it
        self.began = trainer.steps
        self.train_loss: float | None = None  # of the last step
        self.skipped = 0  # batches in a row
        self.rollbacks: Counter[int] = Counter()

    def start(self, checkpoint: Checkpoint | None) -> None:
        """From a checkpoint, or from the beginning."""
        if checkpoint is not None:
            self.progress = msgspec.convert(checkpoint.about["progress"], Progress)
            self.saved, self.saved_whole = checkpoint.step, self.progress.unwritten is None
            if self.saved_whole and self.ends:
                longer = f"--steps {2 * checkpoint.step} trains longer"
                if checkpoint.step < self.config.steps:
                    longer = "the validation loss stopped falling; --patience 0 --accept-changes trains on"
                self.say(f"it has already ended, after step {checkpoint.step}: {longer}")
                return
            self.say(f"continuing after step {checkpoint.step}")
        if self.validation.plan:
            self.say(self.validation.plan)
        self.bar.update(self.trainer.steps)

    @property
    def ends(self) -> bool:
        """Whether the last step has been taken, or the validation loss gets no better any more."""
        no_gain = bool(self.config.patience) and self.progress.since_best >= self.config.patience
        return self.trainer.steps >= self.config.steps or no_gain

    def fit(self, interrupts: Interrupts) -> bool:
        """Train to the last step, or until interrupted; whether the validation loss ended it before."""
        config, trainer = self.config, self.trainer
        try:
            while True:
                self.finish_step()
                self.shards.look(f"step {trainer.steps + 1}")
                if self.ends:
                    break
                measure = (trainer.steps + 1) % config.eval_every == 0 or trainer.steps + 1 == config.steps
                self.progress.unwritten = trainer.step(measure)
            interrupts.signal = None  # one that came since then is late
        except Interrupted as interrupt:  # an evaluation, or a step, was given up: there will be time for it
            (interrupts.signal,) = interrupt.args
        if self.saved != trainer.steps or (self.progress.unwritten is None and not self.saved_whole):
            self.save()
        return self.ends and trainer.steps < config.steps

    def finish_step(self) -> None:
        """Save, evaluate, and write the row of the last step down, unless that has been done."""
        row, step, config = self.progress.unwritten, self.trainer.steps, self.config
        if row is None:
            return
        if "skipped" in row:
            self.write(row)
            self.skip(row)
            return
        self.skipped, self.train_loss = 0, row.get("train_loss")
        self.bar.update(step - self.bar.n)  # it has been taken, also while it is evaluated
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
        self.saved, self.saved_whole = checkpoint.step, False
        self.began, self.train_loss = min(self.began, checkpoint.step), None
        self.say(f"rolled back to step {checkpoint.step}")
        self.rollbacks[checkpoint.step] += 1
        times = self.rollbacks[checkpoint.step]
        if times > MOST_ROLLBACKS:
            raise NonFiniteError(f"rolled back to step {checkpoint.step} {times} times; the last: {why}")

    def save(self) -> None:
        """A checkpoint of this moment."""
        checkpoint = state(self.trainer)
        self.saved, self.saved_whole = self.trainer.steps, self.progress.unwritten is None
        if not self.comm.is_main:
            return
        files = {"metrics": self.metrics.position(), "samples": self.samples.position()}
        progress, belongs_to = msgspec.to_builtins(self.progress), self.run.belongs_to(self.model.config)
        about = {**checkpoint.about, "progress": progress, "files": files, "belongs_to": belongs_to}
        self.checkpoints.save(Checkpoint(checkpoint.arrays, about))

    def evaluate(self, row: Row) -> None:
        """The validation loss, into the row; and a sample of what the model writes. Nothing is kept where it is interrupted."""
        progress, validation = self.progress, self.validation
        with self.trainer.average.in_use():
            loss = self.shards.evaluate(self.model, validation.some)
            since_best = 0 if loss < progress.best_loss else progress.since_best + 1
            ends = row["step"] >= self.config.steps or 0 < self.config.patience <= since_best
            whole = self.shards.evaluate(self.model, validation.all) if ends and validation.ends_with_all else None
            sample = self.written() if self.config.sample_tokens and self.comm.is_main else None
            self.shards.look("the end of a sample")
        row["val_loss"], row["val_tokens"], row["baselines"] = loss, count(validation.some)[1], self.compared
        lengths = self.text.tokenizer.byte_lengths
        row["val_bytes"] = sum(int(lengths[targets].sum()) for _, targets in validation.some)
        if "perfect" in self.compared:
            row["above_perfect"] = loss - self.compared["perfect"]
        row["diagnostics"] = diagnose(self.trainer, row, self.probe)
        if whole is not None:
            row["whole_val_loss"], row["whole_val_tokens"] = whole, count(validation.all)[1]
        progress.val_loss, progress.whole_val_loss, progress.val_step = loss, whole, row["step"]
        progress.since_best = since_best
        if not since_best:
            progress.best_loss, progress.best_step = loss, row["step"]
        if sample is not None:
            self.show_sample(row, sample)

    def written(self) -> str:
        """What the model writes; the prompt is the first token of the text. Cut short where a signal comes."""
        prompt, tokenizer = np.asarray(self.text.train[:1], np.int64), self.text.tokenizer
        sampling, length = Sampling(temperature=0.8, vocab_size=tokenizer.vocab_size), self.config.sample_tokens
        slide = max(1, self.model.config.max_seq_len // 2)  # most tokens then cost one token, and not a whole context
        ids: list[int] = []
        made = steps(self.model, prompt[None], length, sampling, self.config.seed, slide)
        try:
            with terminal.progress(total=length, desc="writing", unit="token") as bar:
                for step in itertools.takewhile(lambda _: not requested(), made):
                    ids.append(int(step.tokens[0]))
                    bar.update()
            return tokenizer.decode(ids)
        except NonFiniteError as error:  # what becomes of the training is for its next step to say
            return f"(nothing: {error})"

    def show_sample(self, row: Row, text: str) -> None:
        """What the model wrote, on the terminal and in the file."""
        title = f"--- step {row['step']}, validation loss {row['val_loss']:.3f}"
        if "above_perfect" in row:
            title += f", {row['above_perfect']:.3f} above a perfect model"
        self.samples.append(f"{title}\n{text}\n\n")
        self.say(f"{title}\n{text}")

    def show(self, row: Row) -> None:
        """The row of a step on the terminal."""
        if "train_loss" not in row:
            return
        val = [(2, f"val {self.progress.val_loss:.3f}")]
        before, after = (
            [(0, f"loss {row['train_loss']:.3f}")],
            [
                (3, f"lr {row['learning_rate']:.1e}"),
                (4, f"grad norm {row['grad_norm']:.2f}"),
                (1, f"{row['tokens_per_s']:,.0f} tokens/s"),
            ],
        )
        if not self.bar.disable:
            self.bar.set_postfix_str(terminal.fitting([*before, *val, *after], terminal.room(self.bar)), refresh=False)
        elif "val_loss" in row or row["step"] % max(1, self.config.steps // 20) == 0:  # no terminal: lines instead
            parts = [*before, *(val if "val_loss" in row else ()), *after]
            self.say(f"step {row['step']}/{self.config.steps}: {', '.join(part for _, part in parts)}")

    def result(self, signal: int | None, stopped_early: bool, seconds: float) -> Result:
        """What it has come to."""
        validation, whole, compared = self.validation, self.progress.whole_val_loss, self.compared
        if whole is not None and validation.perfect:
            compared = {**compared, "perfect": validation.perfect[1]}
        windows, tokens = count(validation.some if whole is None else validation.all)
        return Result(
            self.progress.val_loss if whole is None else whole,
            self.progress.val_step,
            windows,
            count(validation.all).windows,
            tokens,
            compared,
            self.trainer.steps,
            seconds,
            signal,
            stopped_early,
            self.train_loss,
            self.trainer.steps - self.began,
            self.progress.unwritten is not None,
        )


def train(model: GPT2, config: TrainConfig, text: Prepared, run: Run, say: Say, resume: bool = False) -> Result:
    """Train a model and leave everything about it in the run folder, but for the pictures.

    Ctrl-C and SIGTERM end it after the step: a checkpoint is saved, and the result says so. With `resume` it goes on from
    the last checkpoint that is whole, bit for bit as if it had never stopped.
    """
    keep_freed_memory()
    start = time.perf_counter()
    comm = current()
    with run.locked(), Interrupts(quiet=not comm.is_main) as interrupts, Shards.of(config, model.num_parameters()) as shards:
        if not resume:
            run.check_new()  # another may have begun in it since it was looked at
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
            terminal.progress(
                not comm.is_main, total=config.steps, delay=0, leave=True, dynamic_ncols=True, bar_format=terminal.BAR
            ) as bar,
        ):
            training = Training(trainer, text, run, metrics, samples, say, bar)
            sizes = f"{len(text.train):,} tokens to train on, {len(text.val):,} to validate on"
            say(f"{model.num_parameters():,} parameters; {sizes}")
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
    return training.result(interrupts.signal, stopped_early, time.perf_counter() - start)


def broadcast_checkpoint(comm: Comm, checkpoint: Checkpoint | None) -> Checkpoint | None:
    """What the main process has read, on all; its arrays stay there (see `restore`)."""
    about = comm.broadcast(checkpoint.about if checkpoint else None, "the reading of a checkpoint")
    return checkpoint if comm.is_main or about is None else Checkpoint({}, about)
