"""The training loop."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

from gpt2 import data
from gpt2.baselines import baselines
from gpt2.config import GPT2Config, TrainConfig
from gpt2.errors import GPT2Error
from gpt2.executor import ShardExecutor
from gpt2.generation import Sampling, generate
from gpt2.model import GPT2
from gpt2.plots import plot_loss
from gpt2.preparation import Prepared
from gpt2.runs import Run
from gpt2.tokenizers import Tokenizer
from tinygrad2 import optim
from tinygrad2.kernels.memory import keep_freed_memory

SCHEDULES = {"cosine": optim.warmup_cosine, "linear": optim.warmup_linear}
Row = dict[str, Any]


class NonFiniteLossError(GPT2Error):
    """The loss or the gradient is no longer a number."""


@dataclass(frozen=True)
class Result:
    """What a training ends with: losses in nats per token, and whether it was interrupted.

    `baselines` are losses to compare with, by name: `uniform`, `bigram`, and `perfect` where the text has a known source.
    """

    val_loss: float
    baselines: dict[str, float]
    steps: int
    seconds: float
    interrupted: bool


class Trainer:
    """A model, its optimizer, and the text it learns from."""

    def __init__(self, model: GPT2, config: TrainConfig, train_ids: np.ndarray[Any, Any], executor: ShardExecutor) -> None:
        self.model, self.config, self.train_ids, self.executor = model, config, train_ids, executor
        self.parameters = model.parameters()
        betas = config.beta1, config.beta2
        self.optimizer = optim.AdamW(self.parameters, config.learning_rate, betas, weight_decay=config.weight_decay)
        self.steps = 0

    def step(self) -> Row:
        """One update: a batch, its gradient, clipping, AdamW. Raises NonFiniteLossError before anything is changed."""
        config, start = self.config, time.perf_counter()
        batch = data.batch(self.train_ids, config.batch_size, self.model.config.max_seq_len, config.seed, self.steps)
        loss = self.executor.gradients(self.model, batch, config.seed, self.steps)
        norm = optim.clip_grad_norm(self.parameters, config.grad_clip or math.inf)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise NonFiniteLossError(
                f"step {self.steps + 1}: loss {loss}, gradient norm {norm}; a lower --learning-rate may help"
            )
        self.optimizer.lr = SCHEDULES[config.schedule](
            self.steps, config.learning_rate, config.warmup_steps, config.steps, config.min_learning_rate
        )
        self.optimizer.step()
        self.steps += 1
        return {
            "step": self.steps,
            "train_loss": loss,
            "learning_rate": self.optimizer.lr,
            "grad_norm": norm,
            "tokens_per_s": round(batch[0].size / (time.perf_counter() - start), 1),
        }


def train(
    model_config: GPT2Config,
    config: TrainConfig,
    text: Prepared,
    run: Run,
    say: Callable[[str], object],
) -> Result:
    """Train a model and leave everything about it in the run folder.

    Ctrl-C ends it early: the model is saved as it is, and the result says so.
    """
    keep_freed_memory()
    context = model_config.max_seq_len
    compared = baselines(text.train, text.val, text.tokenizer.vocab_size)
    perfect = text.perfect(context)
    if perfect is not None:
        compared["perfect"] = perfect
    val_batches = data.consecutive(text.val, context, max(1, 1024 // context))
    model = GPT2(model_config, config.seed)
    run.describe(model_config, config, text.corpus, text.tokenizer)
    say(f"{model.num_parameters():,} parameters; {len(text.train):,} tokens to train on, {len(text.val):,} to validate on")
    rows: list[Row] = []
    start = time.perf_counter()
    interrupted = False

    with (
        ShardExecutor(config.threads, config.shards, config.batch_size) as executor,
        open(run.metrics, "w", encoding="utf-8") as metrics,
        open(run.samples, "w", encoding="utf-8") as samples,
        tqdm(total=config.steps, unit="step", dynamic_ncols=True, disable=None) as bar,
    ):
        trainer = Trainer(model, config, text.train, executor)
        row: Row = {"step": 0}

        def evaluate() -> float:
            row["val_loss"] = loss = executor.evaluate(model, val_batches)
            if perfect is not None:
                row["above_perfect"] = loss - perfect
            if config.sample_tokens:
                _write_sample(model, text.tokenizer, text.train[:1], config, row, samples, say)
            return loss

        def record() -> None:
            rows.append(row)
            metrics.write(json.dumps(row) + "\n")
            metrics.flush()

        val_loss = evaluate()
        record()
        try:
            while trainer.steps < config.steps:
                row = trainer.step()
                last = trainer.steps == config.steps
                if trainer.steps % config.save_every == 0 and not last:
                    run.save_model(model)
                if last or trainer.steps % config.eval_every == 0:
                    val_loss = evaluate()
                record()
                bar.update()
                bar.set_postfix_str(
                    f"loss {row['train_loss']:.3f}, val {val_loss:.3f}, lr {row['learning_rate']:.1e}, "
                    f"grad norm {row['grad_norm']:.2f}, {row['tokens_per_s']:,.0f} tokens/s",
                    refresh=False,
                )
        except KeyboardInterrupt:
            interrupted = True
        finally:
            run.save_model(model)
    plot_loss(run.loss_plot, rows, compared, f"{text.corpus.name}: {model.num_parameters():,} parameters")
    return Result(val_loss, compared, trainer.steps, time.perf_counter() - start, interrupted)


def _write_sample(
    model: GPT2,
    tokenizer: Tokenizer,
    prompt: np.ndarray[Any, Any],
    config: TrainConfig,
    row: Row,
    samples: TextIO,
    say: Callable[[str], object],
) -> None:
    """Let the model write, on the terminal and in the file; the prompt is the first token of the text."""
    ids = generate(model, prompt, config.sample_tokens, Sampling(temperature=0.8), config.seed)
    text = tokenizer.decode(ids[1:])
    title = f"--- step {row['step']}, validation loss {row['val_loss']:.3f}"
    if "above_perfect" in row:
        title += f", {row['above_perfect']:.3f} above a perfect model"
    samples.write(f"{title}\n{text}\n\n")
    samples.flush()
    say(f"{title}\n{text}")
