"""A training as a film: of some of its moments the attention, the gradients, and how a prompt is continued.

L blocks, H heads, T tokens of the prompt.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpt2.generation import Sampling, TextStream, steps
from gpt2.insight.inspection import attention
from gpt2.tokenizers import Tokenizer
from gpt2.training.sizes import norms_by_layer
from gpt2.training.step import Trainer
from tinygrad2.types import Array

TEMPERATURE, SEED = 0.8, 0
"""With which every moment continues the prompt."""

FULL = 255
"""What stands for a weight of 1; a weight w is the whole number nearest to FULL * sqrt(w), for small ones are many."""

ROOM = 6_600_000
"""Weights at most in a page: 8.8 MB of base64."""

MOST_FRAMES = 400
"""In a page."""


@dataclass(frozen=True)
class Frame:
    """What a moment of a training looks like.

    The attention and the text are those of the weights that `gpt2 sample` takes: the averaged ones, where there are any.
    The loss and the gradients, before clipping, are those of the batch that the next step is taken with.
    """

    step: int
    loss: float  # nats per token
    norms: dict[str, float]  # of the gradient of each layer
    relative: dict[str, float]  # the same over the norm of its weights
    attention: str  # see `packed`
    text: str


def frame(trainer: Trainer, tokenizer: Tokenizer, ids: Array, tokens: int, heads: list[list[int]]) -> Frame:
    """This moment, with the prompt ids (T), at most so many tokens after it, and these heads. Raises NonFiniteError."""
    model = trainer.model
    loss, gradients = trainer.loss_and_gradients(trainer.batch())
    norms = norms_by_layer(model, gradients)
    sizes = norms_by_layer(model, [p.data for p in trainer.parameters])
    with trainer.average.in_use():
        maps = packed(attention(model, ids), heads)
        text = TextStream(tokenizer)
        written = ""
        for made in steps(model, ids[None], tokens, Sampling(TEMPERATURE, vocab_size=tokenizer.vocab_size), SEED):
            written += text.feed(int(made.tokens[0]))
            if text.stopped:
                break
    relative = {name: norm / sizes[name] if sizes[name] else math.nan for name, norm in norms.items()}
    return Frame(trainer.steps, loss, norms, relative, maps, written + text.finish())


def chosen(values: Sequence[Any], most: int) -> list[Any]:
    """At most so many of them, evenly spread, with the first and, of two or more, the last."""
    if len(values) <= most:
        return list(values)
    return [values[round(i)] for i in np.linspace(0, len(values) - 1, most).tolist()]


def fitting(frames: int, layers: int, heads: int, T: int) -> tuple[int, list[list[int]]]:
    """How many frames a page has room for, and which heads, each as its block and its number.

    Where there is no room for all, heads are left out, and frames where there would be less than a head for each block.
    """
    pairs = T * (T + 1) // 2
    frames = max(1, min(frames, MOST_FRAMES, ROOM // (pairs * layers)))
    shown = chosen(range(heads), min(heads, max(1, ROOM // (pairs * layers * frames))))
    return frames, [[layer, head] for layer in range(layers) for head in shown]


def packed(weights: Array, heads: list[list[int]]) -> str:
    """The weights (L, H, T, T) of some heads up to the diagonal, row by row, a byte each (see FULL), in base64."""
    seen = np.tri(weights.shape[-1], dtype=bool)
    some = np.stack([weights[layer, head][seen] for layer, head in heads])
    return base64.b64encode(np.rint(FULL * np.sqrt(some)).astype(np.uint8).tobytes()).decode()
