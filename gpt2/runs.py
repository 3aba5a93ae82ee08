"""A run folder: everything that is known of one training, in files that other programs can read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.config import GPT2Config, TrainConfig
from gpt2.corpora import Corpus
from gpt2.errors import ConfigError, RunError
from gpt2.files import read_json, write_atomically
from gpt2.model import GPT2
from gpt2.tokenizers import BPETokenizer, Tokenizer, load_tokenizer
from gpt2.weights import read_weights, write_weights
from tinygrad2 import nn


class Run:
    """The files of a run folder.

    config.json        every setting, the corpus by hash, versions and machine
    tokenizer.json     the vocabulary
    model.safetensors  the weights, saved last
    metrics.jsonl      one row per step
    samples.txt        what the model wrote at each evaluation
    loss.png           the loss curves
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.json"
        self.tokenizer = folder / "tokenizer.json"
        self.model = folder / "model.safetensors"
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
        for path in (run.config, run.tokenizer, run.model):
            if not path.is_file():
                raise RunError(f"--run {folder}: holds no trained model: {path.name} is missing")
        return run

    def describe(self, model: GPT2Config, training: TrainConfig, corpus: Corpus, tokenizer: Tokenizer) -> None:
        """Write config.json and tokenizer.json."""
        about = {
            "model": dataclasses.asdict(model),
            "training": dataclasses.asdict(training),
            "corpus": {"name": corpus.name, "characters": corpus.characters, "sha256": corpus.sha256},
            "versions": {"python": platform.python_version(), "numpy": np.__version__},
            "machine": {"system": platform.platform(), "cores": os.cpu_count()},
            "command": sys.argv[1:],
        }
        tokenizer.save(self.tokenizer)
        write_atomically(self.config, (json.dumps(about, indent=2) + "\n").encode())

    def read_config(self) -> dict[str, Any]:
        """config.json, checked to be an object with a model."""
        about = read_json(self.config)
        if not isinstance(about.get("model"), dict):
            raise RunError(f"{self.config} is damaged: its 'model' is not an object")
        return about

    def save_model(self, model: GPT2) -> None:
        """Write the weights, with what they belong to; an older file stays whole until the new one is."""
        write_weights(self.model, model.state_dict(), self._belongs_to(dataclasses.asdict(model.config)))

    def _belongs_to(self, config: dict[str, Any]) -> dict[str, str]:
        """What the weights are worthless without: a tokenizer with other ids gives nonsense and no error."""
        tokenizer = hashlib.sha256(self.tokenizer.read_bytes()).hexdigest()
        return {"config": json.dumps(config, sort_keys=True), "tokenizer_sha256": tokenizer}

    def load_model(self) -> tuple[GPT2, Tokenizer]:
        """The trained model, in evaluation mode, and its tokenizer. Raises RunError naming the file and what is wrong."""
        tokenizer = load_tokenizer(self.tokenizer)
        described = self.read_config()["model"]
        weights, saved_with = read_weights(self.model, must_be_ours=True)
        for name, value in self._belongs_to(described).items():
            if saved_with.get(name) != value:
                raise RunError(
                    f"{self.config if name == 'config' else self.tokenizer} is not the one {self.model} was saved with"
                )
        try:
            config = GPT2Config(**described)
        except (TypeError, ConfigError) as error:
            raise RunError(f"{self.config} is damaged: {error}") from error
        with nn.init.shapes_only():
            model = GPT2(config)
        model.load_state_dict({name: stored.read() for name, stored in weights.items()})
        return model.eval(), tokenizer


def load_model(folder: str | Path) -> tuple[GPT2, Tokenizer]:
    """The model and the tokenizer in a run folder, or in a Hugging Face folder. Raises RunError."""
    path = Path(folder)
    if not (path / "config.json").is_file() or "model_type" not in read_json(path / "config.json"):
        return Run.open(folder).load_model()
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
