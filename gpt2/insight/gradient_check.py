"""The gradient check of a whole model: every parameter, every entry."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpt2.config import GPT2Config
from gpt2.model import GPT2
from gpt2.rng import generator
from gpt2.terminal import progress
from tinygrad2.gradcheck import GradcheckResult, gradcheck

SMALL: dict[str, Any] = {
    "vocab_size": 11,
    "max_seq_len": 5,
    "d_model": 8,
    "num_layers": 2,
    "num_heads": 2,
    "dropout": 0.0,
}
"""A size at which every entry can be checked; a preset gives the structure (ties, biases, initialisation)."""


def check_model(config: GPT2Config, seed: int = 0, fast: bool = False, batch_size: int = 2) -> GradcheckResult:
    """Compare the gradient of every entry of every parameter with finite differences of the loss, in float64.

    With `fast`, one random direction through each parameter instead: a number of forwards that does not depend on their
    size, so that a model can be checked as it is. The weights get a little noise, so that biases are not all zero and
    gains not all one.
    """
    rng = generator(seed, "gradcheck")
    model = GPT2(config, seed, np.float64)
    for p in model.parameters():
        p.data = p.data + 0.1 * rng.standard_normal(p.shape)
    ids = rng.integers(0, config.vocab_size, (batch_size, min(config.max_seq_len, 16) + 1))
    names, parameters = zip(*model.named_parameters(), strict=True)
    with progress(fast, total=model.num_parameters(), unit="entry") as bar:
        return gradcheck(
            lambda *_: model.loss(ids[:, :-1], ids[:, 1:]), parameters, fast=fast, names=names, progress=bar.update
        )
