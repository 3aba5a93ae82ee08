"""A training from its first step, or from its last checkpoint, to its end; all of it is in the run folder."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from gpt2 import terminal
from gpt2.config import EVALUATING, TrainConfig
from gpt2.errors import DamagedError, NonFiniteError
from gpt2.generation import Sampling, steps
from gpt2.model import GPT2
from gpt2.run.checkpoints import Checkpoint, Checkpoints, Progress
from gpt2.run.folder import Run
from gpt2.run.health import Monitor
from gpt2.run.metrics import Log, Row, as_line
from gpt2.text.batches import Batch
from gpt2.text.encoding import Prepared
from gpt2.training.budget import FIRST, Budget
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
    predicted, `val_bytes` of text. `baselines` are losses to compare with, by name: see text/baselines.py, and `perfect` where
    the text has a known source. `train_loss` is that of the last step, if one was taken now: `steps_now` of all `steps` were,
    and `planned` there are to be. `in_evaluation` says that it was ended in the evaluation of the last step, which the log does
    not have until the run goes on.
    """

    val_loss: float
    val_step: int | None
    windows: int
    all_windows: int
    val_tokens: int
    val_bytes: int
    baselines: dict[str, float]
    steps: int
    seconds: float
    signal: int | None
    stopped_early: bool
    train_loss: float | None
    steps_now: int
    in_evaluation: bool
    planned: int

    @property
    def bits(self) -> float:
        """Bits per byte of the validation text, for each nat per token."""
        return self.val_tokens / max(1, self.val_bytes) / math.log(2)


class Training:
    """The loop: step, save, evaluate, record, and so on."""

    def __init__(
        self,
        trainer: Trainer,
        text: Prepared,
        run: Run,
        metrics: Log,
        samples: Log,
        say: Say,
        bar: Any,
        budget: Budget,
        draw: Callable[[Run], object] | None,
        show: Callable[[], object] | None,
    ) -> None:
        self.trainer, self.text, self.run, self.metrics, self.samples = trainer, text, run, metrics, samples
        self.budget, self.draw, self.shown = budget, draw, show
        self.say, self.bar = say, bar
        self.model, self.shards, self.comm = trainer.model, trainer.shards, trainer.shards.comm
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
        self.planned_at = trainer.steps + FIRST
        """The step of the next plan, of a training that has a time."""
        self.train_loss: float | None = None  # of the last step
        self.skipped = 0  # batches in a row
        self.rollbacks: Counter[int] = Counter()

    @property
    def config(self) -> TrainConfig:
        """The settings now: of a training that has a time, the number of steps is planned again and again."""
        return self.trainer.config

    def start(self, checkpoint: Checkpoint | None) -> None:
        """From a checkpoint, or from the beginning."""
        if checkpoint is not None:
            self.progress = msgspec.convert(checkpoint.about["progress"], Progress)
            self.saved, self.saved_whole = checkpoint.step, self.progress.unwritten is None
            if self.saved_whole and self.ends:
                longer = f"--steps {2 * checkpoint.step} trains longer"
                if self.config.minutes:
                    longer = f"--minutes {2 * self.config.minutes:g} trains longer"
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
        trainer = self.trainer
        try:
            while True:
                self.finish_step()
                self.shards.look(f"step {trainer.steps + 1}")
                if self.ends:
                    break
                config, next = self.config, trainer.steps + 1
                self.progress.unwritten = trainer.step(next % config.eval_every == 0 or next == config.steps)
                self.budget.steps += 1
            interrupts.signal = None  # one that came since then is late
        except Interrupted as interrupt:  # an evaluation, or a step, was given up: there will be time for it
            (interrupts.signal,) = interrupt.args
        if self.saved != trainer.steps or (self.progress.unwritten is None and not self.saved_whole):
            self.save()
        return self.ends and trainer.steps < self.config.steps

    def finish_step(self) -> None:
        """Save, evaluate, and write the row of the last step down, unless that has been done."""
        row, step = self.progress.unwritten, self.trainer.steps
        if row is None:
            return
        if "skipped" in row:
            self.write(row)
            self.skip(row)
            return
        self.skipped, self.train_loss = 0, row.get("train_loss")
        self.bar.update(step - self.bar.n)  # it has been taken, also while it is evaluated
        config = self.config
        if config.minutes and step >= self.planned_at and step < config.steps:
            self.plan()
        evaluates = step >= config.steps or step % config.eval_every == 0
        if self.saved != step and (evaluates or step % config.save_every == 0):
            self.save()
        if evaluates:
            with self.budget.timed("evaluation"):
                self.evaluate(row)
        self.write(row)
        self.show(row)
        if self.shown:
            self.shown()
        if self.saved == step:
            self.checkpoints.prune(self.progress.best_step, step)
        if config.minutes and self.draw and "pictures" not in self.budget.lately:
            with self.budget.timed("pictures"):
                self.draw(self.run)

    def plan(self) -> None:
        """Of a training that has a time: as many steps as there is time for, from what was spent since the last plan.

        The first plan decides how often it is evaluated and saved: evaluations are as rare as they have to be to take a tenth
        of the time, if nobody has said how often they come. The next one is made after a twentieth of all steps.
        """
        config, step, budget = self.config, self.trainer.steps, self.budget
        evaluation = max(1e-6, budget.lately.get("evaluation", 0.0))
        after = budget.lately.get("pictures", 0.0) + evaluation * (1 + self.validation.whole * self.validation.ends_with_all)
        beside = budget.lately.get("checkpoint", 0.0) / config.save_every
        first = step == self.began + FIRST and not self.began and "eval_every" not in config.chosen()
        if first:
            often = max(1, min(8, int(EVALUATING * budget.seconds / evaluation)))
            after += (often - 1) * evaluation
        else:
            beside += evaluation / config.eval_every
        steps = self.comm.broadcast(step + budget.left(after, beside), "the plan of a training")
        if first:
            often = self.comm.broadcast(often, "the plan of a training")
            fixed = {"eval_windows": config.eval_windows, "eval_every": -(-steps // often)}  # losses of the same windows
            self.trainer.config = TrainConfig(**{**config.chosen(), "steps": steps, **fixed})
        else:
            self.trainer.config = replace(config, steps=steps)
        self.planned_at = step + max(1, steps // 20)
        self.monitor.planned(self.config)
        self.bar.total = steps
        self.describe()

    def describe(self) -> None:
        """In config.json, with what the steps from here on are taken."""
        if self.comm.is_main:
            text, model = self.text, self.model
            machine = arithmetic(self.config, model.num_parameters())
            self.run.describe(model, self.config, text.corpus, text.tokenizer, machine, self.trainer.steps)

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
        self.describe()  # a plan that was made since then holds from here on
        self.saved, self.saved_whole = checkpoint.step, False
        self.began, self.train_loss = min(self.began, checkpoint.step), None
        self.say(f"rolled back to step {checkpoint.step}")
        self.rollbacks[checkpoint.step] += 1
        times = self.rollbacks[checkpoint.step]
        if times > MOST_ROLLBACKS:
            raise NonFiniteError(f"rolled back to step {checkpoint.step} {times} times; the last: {why}")

    def save(self) -> None:
        """A checkpoint of this moment."""
        with self.budget.timed("checkpoint"):
            self._save()

    def _save(self) -> None:
        self.progress.seconds = self.budget.spent() if self.config.minutes else 0.0
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
        row["val_bytes"] = self.bytes_of(validation.some)
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

    def bytes_of(self, windows: Iterable[Batch]) -> int:
        """How long the text is that is predicted in some windows."""
        lengths = self.text.tokenizer.byte_lengths
        return sum(int(lengths[targets].sum()) for _, targets in windows)

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
        evaluated = validation.some if whole is None else validation.all
        windows, tokens = count(evaluated)
        return Result(
            self.progress.val_loss if whole is None else whole,
            self.progress.val_step,
            windows,
            count(validation.all).windows,
            tokens,
            self.bytes_of(evaluated),
            compared,
            self.trainer.steps,
            seconds,
            signal,
            stopped_early,
            self.train_loss,
            self.trainer.steps - self.began,
            self.progress.unwritten is not None,
            self.config.steps,
        )


def train(
    model: GPT2,
    config: TrainConfig,
    text: Prepared,
    run: Run,
    say: Say,
    resume: bool = False,
    began: float | None = None,
    draw: Callable[[Run], object] | None = None,
    show: Callable[[], object] | None = None,
) -> Result:
    """Train a model and leave everything about it in the run folder, but for the pictures.

    Ctrl-C and SIGTERM end it after the step: a checkpoint is saved, and the result says so. With `resume` it goes on from
    the last checkpoint that is whole, bit for bit as if it had never stopped.

    `config.minutes` count from `began`, a `time.perf_counter()`, and end with what `draw` does to the run; it is called once
    at the beginning, to know how long that takes. `show` is called after every step that is in the log.
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
        used = checkpoint.about["progress"].get("seconds", 0.0) if checkpoint else 0.0
        budget = Budget(60 * config.minutes, start if began is None else began, used)
        if config.minutes:
            trainer.config = planned(trainer, budget, resume=checkpoint is not None)
        with (
            Log(run.metrics, at["metrics"]) as metrics,
            Log(run.samples, at["samples"]) as samples,
            terminal.progress(
                not comm.is_main, total=trainer.config.steps, delay=0, leave=True, dynamic_ncols=True, bar_format=terminal.BAR
            ) as bar,
        ):
            training = Training(trainer, text, run, metrics, samples, say, bar, budget, draw if comm.is_main else None, show)
            training.describe()
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


ENDED = 0.75
"""Of its time, that a run has used which took all steps of its plan: what is missing went into pictures. Given twice the
minutes, it has not."""

TRIED = 3
"""Steps that are tried for the first plan; the first of them is not timed."""


def planned(trainer: Trainer, budget: Budget, resume: bool) -> TrainConfig:
    """The settings with the number of steps that there may be time for, and what follows from it where a run begins."""
    config, comm = trainer.config, trainer.shards.comm
    if resume and trainer.steps >= config.steps and budget.used > ENDED * budget.seconds:
        return config
    try:
        for i in range(TRIED):
            if i == 1:
                budget.restart()
            trainer.loss_and_gradients(trainer.batch())
    except Interrupted:  # it is raised again where a checkpoint can be saved
        return config
    budget.steps = TRIED - 1
    steps = comm.broadcast(trainer.steps + budget.left(0.0), "the plan of a training")
    fixed = {"eval_windows": config.eval_windows} if resume else {}
    return TrainConfig(**{**config.chosen(), "steps": steps, **fixed})


def broadcast_checkpoint(comm: Comm, checkpoint: Checkpoint | None) -> Checkpoint | None:
    """What the main process has read, on all; its arrays stay there (see `restore`)."""
    about = comm.broadcast(checkpoint.about if checkpoint else None, "the reading of a checkpoint")
    return checkpoint if comm.is_main or about is None else Checkpoint({}, about)
