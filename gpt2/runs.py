"""A run folder: everything that is known of one training, in files that other programs can read."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.checkpoints import Checkpoints
from gpt2.config import GPT2Config, TrainConfig
from gpt2.corpora import Corpus
from gpt2.errors import ConfigError, RunError
from gpt2.executor import arithmetic
from gpt2.files import read_json
from gpt2.metrics import Row, read_metrics
from gpt2.model import GPT2
from gpt2.tokenizers import BPETokenizer, Tokenizer, load_tokenizer
from gpt2.weights import read_weights, write_weights
from tinygrad2.files import write_atomically

Array = np.ndarray[Any, Any]


class Run:
    """The files of a run folder.

    config.json        every setting, the corpus by hash, versions and machine
    tokenizer.json     the vocabulary
    checkpoints/       all that is needed to go on: the last, the best, and others as asked
    model.safetensors  the weights at the end
    metrics.jsonl      one row per step, only ever appended to
    samples.txt        what the model wrote at each evaluation
    loss.png           the loss curves
    training.png       learning rate, gradients, updates and activations
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.json"
        self.tokenizer = folder / "tokenizer.json"
        self.model = folder / "model.safetensors"
        self.checkpoints = folder / "checkpoints"
        self.lock = folder / "lock"
        self.metrics = folder / "metrics.jsonl"
        self.samples = folder / "samples.txt"
        self.loss_plot = folder / "loss.png"

    @classmethod
    def create(cls, folder: Path) -> Run:
        """A new folder for a run. Raises RunError if it cannot be written or already holds a run."""
        run = cls(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if run.config.exists():
                raise RunError(f"--out {folder}: already holds a run; choose another folder, or remove this one")
            probe = folder / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise RunError(f"--out {folder}: cannot be written: {error.strerror}") from error
        return run

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """A folder that holds a trained model. Raises RunError naming what is missing."""
        run = cls(Path(folder))
        if not run.folder.is_dir():
            raise RunError(f"--run {folder}: no such folder")
        for path in (run.config, run.tokenizer):
            if not path.is_file():
                raise RunError(f"--run {folder}: holds no trained model: {path.name} is missing")
        return run

    def describe(self, model: GPT2, training: TrainConfig, corpus: Corpus, tokenizer: Tokenizer) -> None:
        """Write config.json and tokenizer.json."""
        parameters = model.num_parameters()
        sums = arithmetic(training.threads, training.shards, training.batch_size, parameters)
        about = {
            "model": dataclasses.asdict(model.config),
            "training": dataclasses.asdict(training),
            "parameters": parameters,
            "corpus": {"name": corpus.name, "characters": corpus.characters, "sha256": corpus.sha256},
            "versions": {"python": platform.python_version(), "numpy": np.__version__},
            "machine": {"system": platform.platform(), "cores": os.cpu_count(), **sums},
            "command": sys.argv[1:],
        }
        tokenizer.save(self.tokenizer)
        try:
            write_atomically(self.config, (json.dumps(about, indent=2) + "\n").encode())
        except OSError as error:
            raise RunError(f"{self.config}: cannot be written: {error.strerror}") from error

    def read_config(self) -> dict[str, Any]:
        """config.json, checked to be an object with a model."""
        about = read_json(self.config)
        if not isinstance(about.get("model"), dict):
            raise RunError(f"{self.config} is damaged: its 'model' is not an object")
        return about

    def save_model(self, model: GPT2) -> None:
        """Write the weights, with what they belong to; an older file stays whole until the new one is."""
        write_weights(self.model, model.state_dict(), self.belongs_to(model.config))

    def belongs_to(self, config: GPT2Config) -> dict[str, str]:
        """What weights are worthless without: a tokenizer with other ids gives nonsense and no error."""
        tokenizer = hashlib.sha256(self.tokenizer.read_bytes()).hexdigest()
        return {"config": json.dumps(dataclasses.asdict(config), sort_keys=True), "tokenizer_sha256": tokenizer}

    def load_model(self, best: bool = False) -> tuple[GPT2, Tokenizer]:
        """The trained model, in evaluation mode, and its tokenizer. Raises RunError naming the file and what is wrong.

        The weights are those at the end; of a training that has not ended, those of its last checkpoint; or, if they are to be
        the `best`, those of the checkpoint with the lowest validation loss.
        """
        tokenizer = load_tokenizer(self.tokenizer)
        try:
            config = GPT2Config(**self.read_config()["model"])
        except (TypeError, ConfigError) as error:
            raise RunError(f"{self.config} is damaged: {error}") from error
        source, weights, saved_with = self._weights(best)
        for name, value in self.belongs_to(config).items():
            if saved_with.get(name) != value:
                raise RunError(f"{self.config if name == 'config' else self.tokenizer} is not the one {source} was saved with")
        return GPT2.with_weights(config, weights).eval(), tokenizer

    def _weights(self, best: bool) -> tuple[Path, dict[str, Array], dict[str, str]]:
        """Where the weights are, what they are, and what they belong to."""
        if self.model.is_file() and not best:
            stored, metadata = read_weights(self.model, must_be_ours=True)
            return self.model, {name: entry.read() for name, entry in stored.items()}, metadata
        checkpoints = Checkpoints(self.checkpoints)
        if best:
            checkpoint = checkpoints.load(best_step(read_metrics(self.metrics)))
        else:
            damaged: list[str] = []
            found = checkpoints.latest(damaged.append)
            if found is None:
                raise RunError(
                    "; ".join(damaged) or f"--run {self.folder}: holds no trained model: {self.model.name} is missing"
                )
            checkpoint = found
        kind = "average." if any(name.startswith("average.") for name in checkpoint.arrays) else "model."
        weights = {name.removeprefix(kind): array for name, array in checkpoint.arrays.items() if name.startswith(kind)}
        return checkpoints.path(checkpoint.step), weights, checkpoint.about.get("belongs_to", {})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """While this is open, no other process can train into the folder. Raises RunError if one does."""
        import fcntl

        with open(self.lock, "ab+") as file:
            try:
                fcntl.flock(
                    file, fcntl.LOCK_EX | fcntl.LOCK_NB
                )  # the system releases it when the process ends, however it ends
            except OSError:
                file.seek(0)
                raise RunError(f"{self.folder}: process {file.read().decode() or '?'} is training into it") from None
            file.truncate(0)
            file.write(str(os.getpid()).encode())
            file.flush()
            yield

    def remove_leftovers(self) -> None:
        """What a killed process was writing; and the model of an earlier end, from which training now goes on."""
        for path in (*self.folder.glob("*.tmp"), *self.checkpoints.glob("*.tmp")):
            path.unlink(missing_ok=True)
        self.model.unlink(missing_ok=True)


def best_step(rows: list[Row]) -> int:
    """The step with the lowest validation loss, the first of equals. Raises RunError if there was no evaluation."""
    losses = {row["step"]: loss for row in rows if math.isfinite(loss := float(row.get("val_loss", math.nan)))}
    if not losses:
        raise RunError("the run has no evaluation yet, so it has no best step")
    return min(losses, key=lambda step: (losses[step], step))


def trained_with(folder: str | Path) -> TrainConfig | None:
    """The settings that a run was trained with; None for a Hugging Face folder. Raises RunError."""
    about = read_json(Path(folder) / "config.json")
    if "model_type" in about:
        return None
    try:
        return TrainConfig(**about["training"])
    except (KeyError, TypeError, ConfigError) as error:
        raise RunError(f"{Path(folder) / 'config.json'} is damaged: {error}") from error


def load_model(folder: str | Path, best: bool = False) -> tuple[GPT2, Tokenizer]:
    """The model and the tokenizer in a run folder (see Run.load_model), or in a Hugging Face folder. Raises RunError."""
    path = Path(folder)
    if not (path / "config.json").is_file() or "model_type" not in read_json(path / "config.json"):
        return Run.open(folder).load_model(best)
    model = GPT2.from_pretrained(path)
    if (path / "tokenizer.json").is_file():
        tokenizer = load_tokenizer(path / "tokenizer.json")
    elif (path / "vocab.json").is_file() or model.config.vocab_size != 50257:
        tokenizer = BPETokenizer.from_pretrained(path)
    else:
        tokenizer = BPETokenizer.gpt2()
    if tokenizer.vocab_size > model.config.vocab_size:
        raise RunError(f"{path}: a tokenizer of {tokenizer.vocab_size} tokens for a model with {model.config.vocab_size}")
    return model, tokenizer


def unused_folder(name: str) -> Path:
    """runs/NAME, or the first of runs/NAME-2, runs/NAME-3... that is not there yet."""
    folder = Path("runs", name)
    count = 1
    while folder.exists():
        count += 1
        folder = Path("runs", f"{name}-{count}")
    return folder
