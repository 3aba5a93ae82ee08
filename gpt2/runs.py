"""A run folder: everything that is known of one training, in files that other programs can read."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from gpt2.config import GPT2Config, TrainConfig
from gpt2.corpora import Corpus
from gpt2.errors import ConfigError, RunError
from gpt2.files import write_atomically
from gpt2.model import GPT2
from gpt2.tokenizers import CharTokenizer
from tinygrad2 import nn
from tinygrad2.errors import TinygradError


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

    def describe(self, model: GPT2Config, training: TrainConfig, corpus: Corpus, tokenizer: CharTokenizer) -> None:
        """Write config.json and tokenizer.json."""
        about = {
            "model": dataclasses.asdict(model),
            "training": dataclasses.asdict(training),
            "corpus": {"name": corpus.name, "characters": len(corpus.text), "sha256": corpus.sha256},
            "versions": {"python": platform.python_version(), "numpy": np.__version__},
            "machine": {"system": platform.platform(), "cores": os.cpu_count()},
            "command": sys.argv[1:],
        }
        tokenizer.save(self.tokenizer)
        write_atomically(self.config, (json.dumps(about, indent=2) + "\n").encode())

    def read_config(self) -> dict[str, Any]:
        """config.json, checked to be an object with a model."""
        try:
            about = json.loads(self.config.read_text("utf-8"))
            if not isinstance(about["model"], dict):
                raise TypeError("its 'model' is not an object")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.config} is damaged: {error}") from error
        return about

    def save_model(self, model: GPT2) -> None:
        """Write the weights; an older file stays whole until the new one is."""
        try:
            write_atomically(self.model, safetensors.numpy.save(model.state_dict(), {"format": "pt"}))
        except OSError as error:
            raise RunError(f"{self.model}: cannot be written: {error.strerror}") from error

    def load_model(self) -> tuple[GPT2, CharTokenizer]:
        """The trained model, in evaluation mode, and its tokenizer. Raises RunError naming the file and what is wrong."""
        tokenizer = CharTokenizer.load(self.tokenizer)
        try:
            config = GPT2Config(**self.read_config()["model"])
        except (TypeError, ConfigError) as error:
            raise RunError(f"{self.config} is damaged: {error}") from error
        if tokenizer.vocab_size > config.vocab_size:
            raise RunError(f"{self.tokenizer}: {tokenizer.vocab_size} tokens for a model with {config.vocab_size}")
        with nn.init.shapes_only():
            model = GPT2(config)
        try:
            weights: Mapping[str, Any] = safetensors.numpy.load_file(self.model)
            model.load_state_dict(weights)
        except (OSError, safetensors.SafetensorError, TinygradError) as error:
            raise RunError(f"{self.model} is damaged or of another model: {error}") from error
        return model.eval(), tokenizer


def unused_folder(name: str) -> Path:
    """runs/NAME, or the first of runs/NAME-2, runs/NAME-3... that is not there yet."""
    folder = Path("runs", name)
    count = 1
    while folder.exists():
        count += 1
        folder = Path("runs", f"{name}-{count}")
    return folder
