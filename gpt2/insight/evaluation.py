"""How well a model predicts a text: per token, per byte, and how much it only repeats."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from gpt2.generation import check_finite
from gpt2.model import GPT2
from gpt2.terminal import printable, progress
from gpt2.tokenizers import Tokenizer
from gpt2.training.shards import Shards
from tinygrad2 import no_grad
from tinygrad2.types import Array


@dataclass(frozen=True)
class Evaluation:
    """The losses of a text, in nats: `losses` (N - 1), of each token of `ids` (N) but the first."""

    ids: Array
    losses: Array
    bytes: int
    """What the predicted tokens stand for, in UTF-8; an end-of-text token stands for none."""

    @property
    def loss(self) -> float:
        """The mean, in nats per token."""
        return float(self.losses.mean())

    @property
    def perplexity(self) -> float:
        """exp(loss): as uncertain as a choice among so many equally likely tokens; infinite where no float64 is so large."""
        with np.errstate(over="ignore"):
            return float(np.exp(self.loss))

    @property
    def bits_per_byte(self) -> float:
        """Comparable across tokenizers: what a file would take that is compressed with this model."""
        return float(self.losses.sum()) / math.log(2) / self.bytes


def evaluate(model: GPT2, tokenizer: Tokenizer, ids: Array, stride: int, shards: Shards) -> Evaluation:
    """Predict every token of ids (N), N at least 2, but the first.

    The model sees windows of its context that begin `stride` tokens apart. A token is predicted in the first window that
    holds it: with a stride of the context the windows follow one another, and with a smaller one every token after the first
    window is predicted from at least context - stride tokens. Raises NonFiniteError for a model whose logits are not finite.
    """
    context, last = model.config.max_seq_len, len(ids) - 1
    windows, done = [], 0
    for begin in range(0, last, stride):
        end = min(begin + context, last)
        windows.append((begin, end, end - done))
        done = end
        if end == last:
            break
    same = [w for w in windows if w[1] - w[0] == context]
    at_once = max(1, 1024 // context)
    groups = [same[i : i + at_once] for i in range(0, len(same), at_once)] + [[w] for w in windows[len(same) :]]

    def work(group: list[tuple[int, int, int]]) -> list[Array]:
        inputs = np.stack([ids[begin:end] for begin, end, _ in group]).astype(np.int64)  # (B, T)
        targets = np.stack([ids[begin + 1 : end + 1] for begin, end, _ in group]).astype(np.int64)
        nats = _nats(model, inputs, targets)
        return [row[len(row) - new :] for row, (_, _, new) in zip(nats, group, strict=True)]

    with (
        model.evaluating(),
        progress(total=last, desc="evaluating", unit="token", unit_scale=True) as bar,
    ):
        parts = []
        for found in shards.map(work, groups):
            parts += found
            bar.update(sum(map(len, found)))
    return Evaluation(ids, np.concatenate(parts), int(tokenizer.byte_lengths[ids[1:]].sum()))


def _nats(model: GPT2, inputs: Array, targets: Array) -> Array:
    """-log softmax(logits)[target] for every position: (B, T) float64."""
    with no_grad(), np.errstate(over="ignore", invalid="ignore"):
        logits = model(inputs).data  # (B, T, V)
        check_finite(logits)
        logits -= logits.max(axis=-1, keepdims=True)
    picked = np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return np.log(np.exp(logits, out=logits).sum(axis=-1, dtype=np.float64)) - picked


COLOURS = ((0.5, 22), (1, 28), (2, 100), (3, 130), (4.5, 124), (math.inf, 160))
"""Up to so many nats, this background of a 256-colour terminal: from green, expected, to red, a surprise."""


def coloured(tokenizer: Tokenizer, evaluation: Evaluation) -> Iterator[str]:
    """The text in parts, each on the colour of its loss; the first token has none."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    yield printable(decoder.decode(tokenizer.token_bytes(int(evaluation.ids[0]))))
    for token, nats in zip(evaluation.ids[1:].tolist(), evaluation.losses.tolist(), strict=True):
        text = printable(decoder.decode(tokenizer.token_bytes(token)))
        colour = next((colour for limit, colour in COLOURS if nats < limit), COLOURS[-1][1])
        # A background that is on at the end of a line would fill the rest of it.
        yield "\n".join(f"\033[97;48;5;{colour}m{line}\033[0m" if line else "" for line in text.split("\n"))


def legend() -> str:
    """What the colours mean."""
    shown = [f"\033[97;48;5;{colour}m {f'< {limit}' if limit < math.inf else 'more'} \033[0m" for limit, colour in COLOURS]
    return "nats: " + "".join(shown)


def longest_match(sample: str, text: Iterable[str]) -> str:
    """The longest part of `sample` that stands in `text`, a long text in pieces."""
    best, tail = "", ""
    for piece in text:
        piece = tail + piece  # a match may begin in one piece and end in the next
        begin = 0
        for end in range(1, len(sample) + 1):
            while end - begin > len(best) and sample[begin:end] not in piece:
                begin += 1
            if end - begin > len(best):
                best = sample[begin:end]
            begin = max(begin, end - len(best))  # nothing shorter than the best is of interest
        tail = piece[-len(sample) :]
    return best
