"""Writing with a model: choose the next token from its logits, append it, repeat."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gpt2.config import at_least, typed
from gpt2.errors import ConfigError, DataError, NonFiniteError
from gpt2.rng import generator
from tinygrad2 import Tensor, no_grad
from tinygrad2.kernels.fast.threads import all_cores
from tinygrad2.types import Array

if TYPE_CHECKING:
    from gpt2.tokenizers import Tokenizer


LARGEST = np.finfo(np.float64).max
"""What a logit is that a repetition penalty would make larger."""


class LanguageModel(Protocol):
    """What generation needs of a model."""

    config: Any

    def next_logits(self, ids: Array, cache: Any = None) -> Tensor: ...
    def new_cache(self, batch_size: int) -> Any: ...
    def evaluating(self) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen from logits. Raises ConfigError for settings that leave nothing to choose from.

    `vocab_size`, that of the tokenizer, is for a model with more ids: those from there on stand for no token, and are never
    chosen. Then, in this order:
        repetition_penalty: logits of tokens that already occurred are divided by it where positive, else multiplied
            (Keskar et al., 2019, sec. 4.1).
        temperature: 0 takes the likeliest token; otherwise one is drawn from softmax(logits / temperature), cut to
        top_k: the k likeliest (Fan et al., 2018), then to
        top_p: the fewest that together reach this probability, the nucleus (Holtzman et al., 2020), then to
        min_p: those at least this fraction as likely as the likeliest (Nguyen et al., 2024).
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    vocab_size: int | None = None

    def __post_init__(self) -> None:
        for f in fields(self):
            if (value := getattr(self, f.name)) is not None or f.default is not None:
                kind: type = int if f.name in ("top_k", "vocab_size") else float
                object.__setattr__(self, f.name, typed(f.name, value, kind))
        if not 0 <= self.temperature < np.inf:
            wrong = "not be negative" if self.temperature < 0 else "be a finite number"
            raise ConfigError(f"temperature = {self.temperature} must {wrong}; 0 always takes the likeliest token")
        for name in ("top_k", "vocab_size"):
            count = getattr(self, name)
            if count is not None:
                at_least(1, name, count)
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p = {self.top_p} must be in (0, 1]")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise ConfigError(f"min_p = {self.min_p} must be in [0, 1]")
        if not 0 < self.repetition_penalty < np.inf:
            raise ConfigError(f"repetition_penalty = {self.repetition_penalty} must be above 0; 1 means none")

    def probabilities(self, logits: Array, seen: Array) -> Array:
        """What the next token is drawn from: logits (V) after the ids `seen` -> (V) in float64, 0 for what was cut.

        Raises NonFiniteError for logits that are not finite numbers.
        """
        check_finite(logits)
        logits = logits.astype(np.float64)
        with np.errstate(over="ignore"):  # what a penalty or a temperature makes too large stays comparable
            if self.repetition_penalty != 1:
                ids = np.unique(seen)
                old = logits[ids]
                new = np.where(old > 0, old / self.repetition_penalty, old * self.repetition_penalty)
                logits[ids] = np.clip(new, -LARGEST, LARGEST)
            if self.vocab_size is not None:
                logits[self.vocab_size :] = -np.inf
            if self.temperature == 0:
                p = np.zeros_like(logits)
                p[np.argmax(logits)] = 1
                return p
            logits -= logits.max()
            logits /= self.temperature
        p = np.exp(logits, out=logits)
        if self.top_k is not None and self.top_k < len(p):
            _keep_likeliest(p, self.top_k)
        p /= p.sum()
        if self.top_p is not None and self.top_p < 1:
            falling = np.sort(p)[::-1]
            reached = int(np.searchsorted(np.cumsum(falling), self.top_p))  # past the end where rounding keeps all below it
            _keep_likeliest(p, min(reached + 1, len(p)))
        if self.min_p is not None:
            p[p < self.min_p * p.max()] = 0
        p /= p.sum()
        return p


def check_finite(logits: Array) -> None:
    """Raise NonFiniteError for logits that are not finite numbers: what is made of them means nothing."""
    if not np.isfinite(logits).all():
        raise NonFiniteError("the logits of this model are not finite numbers: its training diverged (see gpt2 health)")


def _keep_likeliest(p: Array, count: int) -> None:
    """Set all but the `count` largest entries to 0; of equal ones the first are kept."""
    least = np.partition(p, -count)[-count]
    ties = np.flatnonzero(p == least)
    ties = ties[count - np.count_nonzero(p > least) :]
    p[p < least] = 0
    p[ties] = 0


def draw(p: Array, rng: np.random.Generator) -> int:
    """An index, each as likely as its entry in p (V)."""
    total = np.cumsum(p)
    chosen = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
    return min(chosen, int(np.searchsorted(total, total[-1])))  # what follows that has no chance, whatever is rounded


@dataclass(frozen=True)
class NextToken:
    """One more token for every sequence: the tokens (B), the logits (B, V), and what the tokens were drawn from (B, V)."""

    tokens: Array
    logits: Array
    p: Array


def steps(
    model: LanguageModel,
    ids: Array,
    max_new_tokens: int,
    sampling: Sampling,
    seed: int = 0,
    slide: int = 1,
    use_cache: bool = True,
) -> Iterator[NextToken]:
    """One step after another from ids (B, T). See GPT2.generate."""
    max_new_tokens, seed = at_least(0, "max_new_tokens", max_new_tokens), at_least(0, "seed", seed)
    slide = at_least(1, "slide", slide)
    if ids.ndim != 2 or not ids.shape[1] or ids.dtype.kind not in "iu":
        raise DataError(f"generate: {ids.dtype} ids of shape {ids.shape}; give integers, (T,) or (B, T) with T at least 1")
    context = model.config.max_seq_len
    rngs = [generator(seed + row, "sampling") for row in range(len(ids))]
    cache = model.new_cache(len(ids)) if use_cache else None
    first = fed = 0  # where the window begins that the model sees, and the first token that it has not seen
    with model.evaluating():
        for _ in range(max_new_tokens):
            if ids.shape[1] - first > context:  # slide: every position in the window changes, so the cache starts anew
                first = ids.shape[1] - context + min(slide, context) - 1
                fed = first
                cache = model.new_cache(len(ids)) if use_cache else None
            with no_grad(), all_cores(), np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
                logits = model.next_logits(ids[:, fed if use_cache else first :], cache).data  # (B, V)
            fed = ids.shape[1]
            p = np.stack([sampling.probabilities(row, seen) for row, seen in zip(logits, ids, strict=True)])
            tokens = np.array([draw(row, rng) for row, rng in zip(p, rngs, strict=True)], ids.dtype)
            ids = np.concatenate([ids, tokens[:, None]], axis=1)
            yield NextToken(tokens, logits, p)


def generate(
    model: LanguageModel,
    ids: Any,
    max_new_tokens: int,
    sampling: Sampling,
    seed: int = 0,
    slide: int = 1,
    use_cache: bool = True,
) -> Array:
    """See GPT2.generate."""
    ids = np.asarray(ids)
    batch = ids[None] if ids.ndim == 1 else ids  # (B, T)
    new = [step.tokens for step in steps(model, batch, max_new_tokens, sampling, seed, slide, use_cache)]
    batch = np.concatenate([batch, *(tokens[:, None] for tokens in new)], axis=1)
    return batch if ids.ndim == 2 else batch[0]


class TextStream:
    """Tokens in, text out as soon as it is certain: never half a character, never what may begin a stop string.

    `stopped` becomes True at the end-of-text token or at a stop string, neither of which is part of the text.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = ()) -> None:
        self.tokenizer, self.stops = tokenizer, [stop for stop in stops if stop]
        self.stopped = False
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, token: int) -> str:
        """The text that is now certain."""
        if self.stopped or token == self.tokenizer.end_of_text:
            return self.finish()
        self._held += self._utf8.decode(self.tokenizer.token_bytes(token))
        ends = [at for at in (self._held.find(stop) for stop in self.stops) if at >= 0]
        if ends:
            self._held = self._held[: min(ends)]
            self._utf8.reset()
            return self.finish()
        held = max((n for stop in self.stops for n in range(len(stop)) if self._held.endswith(stop[:n])), default=0)
        return self._release(len(self._held) - held)

    def finish(self) -> str:
        """The rest, at the end of the tokens."""
        self.stopped = True
        self._held += self._utf8.decode(b"", final=True)
        return self._release(len(self._held))

    def _release(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text
