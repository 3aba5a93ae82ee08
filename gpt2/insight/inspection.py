"""What a trained model does with one text: attention, the logit lens, losses, gradients by input token, activations.

Everything is computed from one sequence of T tokens with dropout off. L blocks, H heads, K candidates, V tokens, C = d_model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpt2.errors import DataError
from gpt2.generation import check_finite
from gpt2.model import GPT2
from gpt2.training.shards import Shards
from tinygrad2 import Tensor, autograd, no_grad
from tinygrad2.ops.fused import angles, attention_weights, split_heads
from tinygrad2.types import Array

CANDIDATES = 5
"""How many of the likeliest tokens are told at every place."""

SHOWN = 1_500_000
"""Numbers at most of which the attention maps and the gradients are made: some 10 MB of page."""

AT_ONCE = 1024
"""Tokens in the batch that one backward pass goes through, or one sequence if that is more."""

ROWS = 128
"""Of an embedding at most so many rows are compared."""

BINS = 48
"""In a histogram."""

TAIL = 0.0005
"""The share of entries at either end of a histogram that its first and its last bin hold besides their own."""


@dataclass(frozen=True)
class Lens:
    """What the head makes of the residual stream before the first block and after each: probabilities in float64."""

    tokens: Array  # (L + 1, T, K): the likeliest, best first
    p: Array  # (L + 1, T, K): their probabilities
    next_p: Array  # (L + 1, T - 1): that of the token that does come next


@dataclass(frozen=True)
class Gradients:
    """Of N logits with respect to the embedding x of every input token, its position included."""

    positions: Array  # (N): where each logit is, in order
    tokens: Array  # (N): whose logit it is
    logits: Array  # (N)
    norms: Array  # (N, T): |d logit / d x[t]|; 0 where t is after the position
    signed: Array  # (N, T): x[t] . d logit / d x[t]


@dataclass(frozen=True)
class Histograms:
    """One histogram per block, all with the same `edges` (BINS + 1); what is beyond them is in the outermost bins."""

    edges: Array
    counts: Array  # (blocks, BINS)
    stds: Array  # (blocks)


@dataclass(frozen=True)
class Similarity:
    """The cosines (N, N) between N rows of an embedding."""

    rows: Array
    cosines: Array


@dataclass(frozen=True)
class Inspection:
    """See `inspect`."""

    ids: Array  # (T)
    losses: Array  # (T - 1): nats of each token but the first
    attention: Array  # (L, H, T, T): weights, a query per row
    entropy: Array  # (L, H): of the weights over ln(positions seen), mean: 0 is one position, 1 all alike
    lens: Lens
    gradients: Gradients
    p: Array  # (N): the probability of each token whose logit was differentiated
    wte: Similarity
    wpe: Similarity
    residual: Histograms  # the residual stream before the first block and after each
    gelu: Histograms  # the inputs of GELU, or what is in its place
    scores: Histograms  # the attention logits q . k / sqrt(d_k) that the mask lets through


def inspect(model: GPT2, ids: Array, vocab_size: int | None = None) -> Inspection:
    """All that can be shown of how `model` reads ids (T).

    The gradients are those of the logits of the K likeliest tokens and of the actual next one, at every position. Only ids
    below `vocab_size`, that of the tokenizer, are among the likeliest: a model may have more. Raises DataError for more tokens
    than the context, or than a page can show, and NonFiniteError for a model that computes no numbers.
    """
    check_length(model, len(ids))
    quiet = np.errstate(over="ignore", invalid="ignore")  # logits that are not finite are refused
    with quiet, model.evaluating(), Shards(threads=0, shards=1, batch_size=1):  # shared among cores as training is
        kept = _forward(model, ids)
        lens, logs = _lens(model, kept["residual"], ids, vocab_size)
        gradients = logit_gradients(model, ids, *_candidates(lens.tokens[-1], ids))
    qk = _queries_and_keys(model, kept)
    attention = np.stack([attention_weights(q, k) for q, k in qk])
    seen = np.tri(len(ids), dtype=bool)
    scores = [(q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1]))[:, seen] for q, k in qk]
    V, rows = model.config.vocab_size, model.config.max_seq_len
    return Inspection(
        ids=ids,
        losses=-logs[np.arange(len(ids) - 1), ids[1:]],
        attention=attention,
        entropy=_entropy(attention),
        lens=lens,
        gradients=gradients,
        p=np.exp(logs[gradients.positions, gradients.tokens]),
        wte=_similarity(model.wte.weight.data, np.arange(V) if V <= ROWS else np.unique(ids)),
        wpe=_similarity(_positions(model), np.unique(np.linspace(0, rows - 1, min(rows, ROWS)).astype(np.int64))),
        residual=_histograms(kept["residual"]),
        gelu=_histograms(kept["gelu"]),
        scores=_histograms(scores),
    )


def attention(model: GPT2, ids: Array) -> Array:
    """The attention weights (L, H, T, T) of ids (T), a query per row. Raises DataError for a T beyond the context."""
    with model.evaluating():
        return np.stack([attention_weights(q, k) for q, k in _queries_and_keys(model, _forward(model, ids))])


def _queries_and_keys(model: GPT2, kept: dict[str, list[Array]]) -> list[list[Array]]:
    """L times two of (H, T, d_k)."""
    return [split_heads(qkv, 3, model.config.num_heads)[:2] for qkv in kept["qkv"]]


def check_length(model: GPT2, T: int) -> None:
    """Raises DataError unless 1 to `max_seq_len` tokens, few enough for a page."""
    c = model.config
    if not 1 <= T <= c.max_seq_len:
        raise DataError(f"{T} tokens, and the context is {c.max_seq_len}: give 1 to {c.max_seq_len}")
    per_pair = c.num_layers * c.num_heads + 2 * (CANDIDATES + 1)  # of a token and one that it sees
    if T * (T + 1) // 2 * per_pair > SHOWN:
        most = (math.isqrt(1 + 8 * (SHOWN // per_pair)) - 1) // 2
        raise DataError(
            f"{T} tokens in {c.num_layers} x {c.num_heads} heads are too many numbers for one page: give at most {most}"
        )


def _forward(model: GPT2, ids: Array) -> dict[str, list[Array]]:
    """The activations of one sequence by block: `residual` (L + 1 of T, C), `qkv` (L of T, 3C), `gelu` (L of T, d_ff)."""
    kept: dict[str, list[Array]] = {"residual": [], "qkv": [], "gelu": []}
    of: dict[Any, str] = {model.drop: "residual"}
    for block in model.h:
        of |= {block: "residual", block.attn.c_attn: "qkv", block.mlp.c_fc: "gelu"}
    removers = [module.register_forward_hook(lambda m, _, out: kept[of[m]].append(out.data)) for module in of]
    try:
        with no_grad():
            model.hidden(ids)
    finally:
        for remove in removers:
            remove()
    return kept


def _positions(model: GPT2) -> Array:
    """A row for each position: what is learned for it or, of an architecture that turns, where it turns a vector to."""
    if model.config.architecture == "gpt2":
        return model.wpe.weight.data
    T, d_k = model.config.max_seq_len, model.config.d_model // model.config.num_heads
    return np.concatenate(angles(np.empty((T, 3 * d_k), np.float32), 1, 0), axis=-1)


def _lens(model: GPT2, residual: Sequence[Array], ids: Array, vocab_size: int | None) -> tuple[Lens, Array]:
    """The logit lens (nostalgebraist, 2020), and what it ends in: the model's own log-probabilities (T, V)."""
    found, logs = [], np.empty(0)
    for x in residual:
        with no_grad():
            logits = model.lm_head(model.ln_f(Tensor(x))).data  # (T, V)
        check_finite(logits)
        logs = _log_softmax(logits)
        of_tokens = logs[:, :vocab_size]
        k = min(CANDIDATES, of_tokens.shape[-1])
        some = np.argpartition(-of_tokens, k - 1)[:, :k]
        order = np.argsort(-np.take_along_axis(logs, some, axis=-1))
        tokens = np.take_along_axis(some, order, axis=-1)
        p = np.exp(np.take_along_axis(logs, tokens, axis=-1))
        found.append((tokens, p, np.exp(logs[np.arange(len(ids) - 1), ids[1:]])))
    return Lens(*(np.stack(parts) for parts in zip(*found, strict=True))), logs


def _log_softmax(logits: Array) -> Array:
    """In float64."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(-1, keepdims=True))
    return shifted


def _candidates(likeliest: Array, ids: Array) -> tuple[Array, Array]:
    """The logits to differentiate: positions (N) and tokens (N), `likeliest` (T, K) and the next token where it is not one."""
    found = []
    for t, tokens in enumerate(likeliest.tolist()):
        following = ids[t + 1 : t + 2].tolist()
        found += [(t, token) for token in tokens + [token for token in following if token not in tokens]]
    positions, tokens = np.array(found).T
    return positions, tokens


def logit_gradients(model: GPT2, ids: Array, positions: Array, tokens: Array) -> Gradients:
    """The gradient of each logit of `tokens` (N) at `positions` (N) with respect to the embeddings of all of ids (T).

    The sequence is repeated along the batch, and each copy has one logit: the sum of these has all their gradients, since
    copies do not see one another. The graph up to the head is recorded once and gone through for every batch of logits.
    """
    copies = max(1, min(AT_ONCE // len(ids), len(positions)))
    leaf: list[Tensor] = []

    def start_here(_: Any, inputs: Any, x: Tensor) -> Tensor:
        leaf.append(Tensor(x.data, requires_grad=True))
        return leaf[0]

    remove = model.drop.register_forward_hook(start_here)
    try:
        h = model.hidden(np.tile(ids, (copies, 1)))  # (B, T, C)
    finally:
        remove()
    x = leaf[0].data
    logits, norms, signed = [], [], []
    for first in range(0, len(positions), copies):
        some = slice(first, first + copies)
        at, rows = positions[some], np.arange(len(positions[some]))
        chosen = np.sum(h[rows, at] * model.lm_head.weight.data[tokens[some]], axis=-1)  # (N,): the head, for these alone
        if model.lm_head.bias is not None:
            chosen = chosen + model.lm_head.bias.data[tokens[some]]
        (g,) = autograd.grad(np.sum(chosen), leaf, retain_graph=True)
        logits.append(chosen.data)
        norms.append(np.linalg.norm(g.data[rows], axis=-1))
        signed.append(np.sum(x[rows] * g.data[rows], axis=-1))
    return Gradients(positions, tokens, np.concatenate(logits), np.concatenate(norms), np.concatenate(signed))


def _entropy(weights: Array) -> Array:
    """(L, H, T, T) -> (L, H). The first position sees only itself and is left out."""
    T = weights.shape[-1]
    if T == 1:
        return np.zeros(weights.shape[:2])
    logs = np.log(np.where(weights > 0, weights, 1), dtype=np.float64)
    entropies: Array = -(weights * logs).sum(-1)[..., 1:] / np.log(np.arange(2, T + 1))
    return entropies.mean(-1)


def _similarity(weight: Array, rows: Array) -> Similarity:
    """Between rows of an embedding; one that is all zero is like nothing."""
    chosen = weight[rows].astype(np.float64)
    chosen /= np.maximum(np.linalg.norm(chosen, axis=-1, keepdims=True), 1e-30)
    return Similarity(rows, chosen @ chosen.T)


def _histograms(values: Sequence[Array]) -> Histograms:
    """Of one array per block."""
    low, high = np.quantile(np.concatenate([v.ravel() for v in values]), (TAIL, 1 - TAIL))
    found = [np.histogram(np.clip(v, low, high), BINS, (low, high)) for v in values]
    return Histograms(found[0][1], np.stack([counts for counts, _ in found]), np.array([v.std() for v in values]))
