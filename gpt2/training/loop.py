"""A training from its first step, or from its last checkpoint, to its end; all of it is in the run folder."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpt2 import terminal
from gpt2.config import TrainConfig
from gpt2.errors import DamagedError
from gpt2.generation import Sampling, generate
from gpt2.model import GPT2
from gpt2.rng import stream
from gpt2.run.checkpoints import Checkpoint, Checkpoints, Progress
from gpt2.run.folder import Run
from gpt2.run.health import Facts, Watch
from gpt2.run.metrics import Log, Recorded, Row, as_line, history
from gpt2.run.plots import plot_loss, plot_training
from gpt2.text import batches
from gpt2.text.baselines import baselines
from gpt2.text.encoding import Prepared
from gpt2.training.interrupts import Interrupts
from gpt2.training.measurements import diagnose, probe_windows
from gpt2.training.mpi.executor import executor_for
from gpt2.training.shards import ShardExecutor
from gpt2.training.step import NonFiniteError, Trainer
from tinygrad2.kernels.fast.memory import keep_freed_memory

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

    def __init__(self, trainer: Trainer, text: Prepared, run: Run, metrics: Log, samples: Log, say: Say) -> None:
        self.trainer, self.text, self.run, self.metrics, self.samples, self.say = trainer, text, run, metrics, samples, say
        self.config, self.model = trainer.config, trainer.model
        context = self.model.config.max_seq_len
        self.compared = baselines(text.train, text.val, text.tokenizer.vocab_size)
        self.val_batches = self.windows(text.val, context)
        costs = text.costs()
        if costs is not None:
            self.compared["perfect"] = float(np.mean(np.concatenate([c.ravel() for _, c in self.windows(costs, context)])))
        self.probe = probe_windows(text.val, context, trainer.executor.shards)
        self.watch = Watch(run.metrics, Facts.of(self.model.config, self.config), say)
        self.checkpoints = Checkpoints(run.checkpoints, self.config.keep_every, run.mark)
        self.progress = Progress()
        self.rollbacks: Counter[int] = Counter()

    def windows(self, values: np.ndarray[Any, Any], context: int) -> list[batches.Batch]:
        """Those that are evaluated, of the ids that validate or of a value for each."""
        windows = batches.consecutive(values, context, max(1, 1024 // context))
        return batches.sample_windows(windows, self.config.eval_windows, stream(self.config.seed, "evaluation"))

    def until(self, interrupts: Interrupts, bar: Any) -> bool:
        """Train to the last step, or until interrupted; whether the validation loss ended it before."""
        config, trainer, progress = self.config, self.trainer, self.progress
        saved = trainer.executor.from_first(trainer.steps if self.checkpoints.steps() else -1)
        skipped = 0
        while True:
            row, step = progress.pending, trainer.steps
            ends = step >= config.steps
            if row is not None:
                evaluates = ends or step % config.eval_every == 0
                if saved != step and (evaluates or step % config.save_every == 0):
                    self.save()
                    saved = step
                if evaluates:
                    self.evaluate(row)
                self.record(row, bar)
                if saved == step:
                    self.checkpoints.prune(progress.best_step, step)
            stale = bool(config.patience) and progress.stale >= config.patience
            signal = trainer.executor.meet(f"step {step + 1}", interrupts.signal or 0)
            if ends or stale or signal:
                interrupts.signal = signal or None  # one that came since then is late
                if saved != step:
                    self.save()
                return stale and not ends
            row = progress.pending = trainer.step(measure=(step + 1) % config.eval_every == 0 or step + 1 == config.steps)
            skipped = skipped + 1 if "skipped" in row else 0
            if skipped:
                self.metrics.append(as_line(row))
                self.watch.see(row)
                progress.pending = None
                self.say(f"step {row['step']} skipped: {row['skipped']}")
                if skipped > MOST_SKIPPED:
                    raise NonFiniteError(f"{skipped} batches in a row were skipped; the last: {row['skipped']}")
                if trainer.policy(row) == "rollback":
                    saved = self.roll_back(row["skipped"])

    def roll_back(self, why: str) -> int:
        """To the last checkpoint, but not to its place in the data: what led here is not seen again. Returns its step.

        Raises NonFiniteError where that has happened too often.
        """
        position = self.trainer.position
        executor = self.trainer.executor
        checkpoint = shared(executor, self.run.last_checkpoint(self.say) if executor.leads else None)
        assert checkpoint is not None  # or it would have been said: there are steps in the run
        self.trainer.restore(checkpoint)
        self.trainer.position = position
        self.progress.pending = None
        self.say(f"rolled back to step {checkpoint.step}")
        self.rollbacks[checkpoint.step] += 1
        times = self.rollbacks[checkpoint.step]
        if times > MOST_ROLLBACKS:
            raise NonFiniteError(f"rolled back to step {checkpoint.step} {times} times; the last: {why}")
        return checkpoint.step

    def save(self) -> None:
        """A checkpoint of this moment."""
        arrays, about = self.trainer.state()
        if not self.trainer.executor.leads:
            return
        files = {"metrics": self.metrics.position(), "samples": self.samples.position()}
        about |= {"progress": asdict(self.progress), "files": files, "belongs_to": self.run.belongs_to(self.model.config)}
        self.checkpoints.save(Checkpoint(arrays, about))

    def evaluate(self, row: Row) -> None:
        """The validation loss, into the row; and a sample of what the model writes."""
        progress = self.progress
        with self.trainer.averaged():
            row["val_loss"] = progress.val_loss = self.trainer.executor.evaluate(self.model, self.val_batches)
            if "perfect" in self.compared:
                row["above_perfect"] = progress.val_loss - self.compared["perfect"]
            if self.config.sample_tokens and self.trainer.executor.leads:
                self.write_sample(row)
        row["val_tokens"], row["baselines"] = sum(targets.size for _, targets in self.val_batches), self.compared
        row["diagnostics"] = diagnose(self.trainer, row, self.probe)
        progress.stale += 1
        if progress.val_loss < progress.best_loss:
            progress.best_loss, progress.best_step, progress.stale = progress.val_loss, row["step"], 0

    def write_sample(self, row: Row) -> None:
        """Let the model write, on the terminal and in the file; the prompt is the first token of the text."""
        prompt = np.asarray(self.text.train[:1], np.int64)
        ids = generate(self.model, prompt, self.config.sample_tokens, Sampling(temperature=0.8), self.config.seed)
        text = self.text.tokenizer.decode(ids[1:])
        title = f"--- step {row['step']}, validation loss {row['val_loss']:.3f}"
        if "above_perfect" in row:
            title += f", {row['above_perfect']:.3f} above a perfect model"
        self.samples.append(f"{title}\n{text}\n\n")
        self.say(f"{title}\n{text}")

    def record(self, row: Row, bar: Any) -> None:
        """The row is complete: write it down, and show it."""
        self.metrics.append(as_line(row))
        self.watch.see(row)
        self.progress.pending = None
        if "train_loss" not in row:
            return
        shown = (
            f"loss {row['train_loss']:.3f}, val {self.progress.val_loss:.3f}, lr {row['learning_rate']:.1e}, "
            f"grad norm {row['grad_norm']:.2f}, {row['tokens_per_s']:,.0f} tokens/s"
        )
        bar.update(row["step"] - bar.n)
        bar.set_postfix_str(shown, refresh=False)
        if bar.disable and row["step"] % max(1, self.config.steps // 20) == 0:  # no terminal: lines instead
            self.say(f"step {row['step']}/{self.config.steps}: {shown}")


def train(model: GPT2, config: TrainConfig, text: Prepared, run: Run, say: Say, resume: bool = False) -> Result:
    """Train a model and leave everything about it in the run folder.

    Ctrl-C and SIGTERM end it after the step: a checkpoint is saved, and the result says so. With `resume` it goes on from
    the last checkpoint that is whole, bit for bit as if it had never stopped.
    """
    keep_freed_memory()
    start = time.perf_counter()
    with (
        run.locked(),
        Interrupts() as interrupts,
        executor_for(config, model.num_parameters()) as executor,
    ):
        if not resume:
            run.check_new()  # another may have begun in it since it was looked at
        checkpoint = shared(executor, run.last_checkpoint(say) if resume and executor.leads else None)
        trainer = Trainer(model, config, text.train, executor)
        if checkpoint is not None:
            trainer.restore(checkpoint)
        at = checkpoint.about["files"] if checkpoint and executor.leads else {"metrics": 0, "samples": 0}
        Log.check(run.metrics, at["metrics"])
        Log.check(run.samples, at["samples"])
        run.begin()  # nothing in the folder has changed so far
        if executor.leads and (not resume or run.read_config().training != config):
            run.describe(model, config, text.corpus, text.tokenizer)
        with (
            Log(run.metrics, at["metrics"]) as metrics,
            Log(run.samples, at["samples"]) as samples,
            terminal.progress(not executor.leads, total=config.steps, unit="step", dynamic_ncols=True) as bar,
        ):
            training = Training(trainer, text, run, metrics, samples, say)
            say(f"{model.num_parameters():,} parameters; {len(text.train):,} tokens to train on, {len(text.val):,} validate")
            if checkpoint is not None:
                training.progress = Progress(**checkpoint.about["progress"])
                say(f"going on after step {checkpoint.step}")
            bar.update(training.trainer.steps)
            try:
                stopped_early = training.until(interrupts, bar)
            except NonFiniteError:
                training.progress.pending = None
                with contextlib.suppress(DamagedError):  # the weights are no numbers either: the last checkpoint stays
                    training.save()
                raise
        if executor.leads:
            with training.trainer.averaged():
                run.save_model(model, training.trainer.steps)
    if executor.leads:
        _plot(run, model, config, text, training)
    seconds, progress = time.perf_counter() - start, training.progress
    return Result(progress.val_loss, training.compared, training.trainer.steps, seconds, interrupts.signal, stopped_early)


def shared(executor: ShardExecutor, checkpoint: Checkpoint | None) -> Checkpoint | None:
    """What the process that leads has read, on all; its arrays stay there (see Trainer.restore)."""
    about = executor.from_first(checkpoint.about if checkpoint else None)
    return checkpoint if executor.leads or about is None else Checkpoint({}, about)


def _plot(run: Run, model: GPT2, config: TrainConfig, text: Prepared, training: Training) -> None:
    title = f"{text.corpus.name}: {model.num_parameters():,} parameters"
    tokens = config.batch_size * model.config.max_seq_len
    pictures: dict[Path, Callable[[Path, Iterator[Recorded]], None]] = {
        run.training_plot: lambda path, rows: plot_training(path, rows, title),
        run.loss_plot: lambda path, rows: plot_loss(path, rows, training.compared, title, tokens),
    }
    for path, draw in pictures.items():
        try:
            draw(path, history(run.metrics))
        except Exception as error:  # whatever it is, the run is whole, and that is what counts
            training.say(f"{path} is not drawn: {' '.join(str(error).split()) or type(error).__name__}")
