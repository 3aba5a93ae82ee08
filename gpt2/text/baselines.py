"""How well one can predict without a model: the losses that training has to beat."""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np

from gpt2.terminal import progress
from gpt2.tokenizers import Tokenizer
from tinygrad2.types import Array

COUNTED, PREDICTED = 1 << 22, 1 << 20
"""In how many tokens pairs and triples are counted at most, and how many tokens are predicted: some seconds."""

BLOCK = 1 << 18

LOOKED_BACK, COMPRESSED, FEWEST = 1 << 22, 1 << 20, 1000
"""Bytes of text that compressors see before and are measured on, and the fewest on which they say something."""


def baselines(train: Array, val: Array, vocab_size: int) -> dict[str, float]:
    """Losses on `val`, in nats per token, by name.

    `uniform` is ln V: every token equally likely. `unigram` predicts by how often each token is in `train`, and `bigram` by
    how often it followed the one before it, every count raised by one (Laplace). `trigram` predicts from the two before it,
    and backs off to one and to none as far as those two are followed by other tokens (Witten & Bell, 1991, method C). Of a
    longer text, `COUNTED` tokens are counted, and `PREDICTED` predicted, in blocks that are spread evenly over it; that and
    the time it takes are the same for any vocabulary, since only pairs and triples that occur are kept.
    """
    known = Counts(_spread(train, COUNTED), vocab_size)
    nats = {"unigram": 0.0, "bigram": 0.0, "trigram": 0.0}
    predicted = 0
    for block in progress(iterable=_spread(val, PREDICTED), desc="baselines", unit="block"):
        for name, probabilities in known.of(block).items():
            nats[name] -= float(np.log(probabilities).sum())
        predicted += len(block) - 1
    return {"uniform": math.log(vocab_size), **{name: value / predicted for name, value in nats.items()}}


def compressors(train: Array, val: Array, tokenizer: Tokenizer) -> dict[str, float]:
    """What general compressors need for `val`, in nats per token, by name: how much longer `train` is with `val` at its end.

    `gzip` (Deutsch, 1996, at level 9) looks 32 KB back, and `xz` (at preset 6) as far as there is text. Of a longer text, the
    last `LOOKED_BACK` bytes of `train` and the first `COMPRESSED` of `val` are compressed, which takes some seconds, and all of
    `val` is taken to be like that. Ends of documents cost nothing here. Where `val` has fewer than `FEWEST` bytes there are
    none: sizes are whole bytes, and those of xz multiples of four.
    """
    known, new = tokenizer.text_of(train[-LOOKED_BACK:])[-LOOKED_BACK:], tokenizer.text_of(val[:COMPRESSED])[:COMPRESSED]
    if len(new) < FEWEST:
        return {}
    compress: dict[str, Callable[[bytes], bytes]] = {"gzip": partial(zlib.compress, level=9)}
    with contextlib.suppress(ImportError):  # a Python may be built without it
        import lzma

        compress["xz"] = lzma.compress
    bits = {name: 8 * (len(of(known + new)) - len(of(known))) / len(new) for name, of in compress.items()}  # per byte
    return {name: value * math.log(2) * float(tokenizer.byte_lengths[val].mean()) for name, value in bits.items()}


class Counts:
    """How often tokens, pairs and triples occur in some blocks of ids."""

    def __init__(self, blocks: list[Array], vocab_size: int) -> None:
        self.V = V = vocab_size
        keys = [_followed(block[:-1], block[1:], V) for block in blocks]
        self.pairs = pairs = Table(np.concatenate(keys))
        triples = [_followed(pairs.find(key[:-1]), block[2:], V) for key, block in zip(keys, blocks, strict=True)]
        self.triples = Table(np.concatenate(triples))
        self.after = After(self.pairs, V, V)
        self.after_pair = After(self.triples, V, len(pairs.keys) + 1)  # none after the last, the pair that is not there

    def of(self, block: Array) -> dict[str, Array]:
        """The probability of each token of a block but the first, by name: ids (N,) -> (N - 1,) each."""
        last, token = block[:-1].astype(np.int64), block[1:].astype(np.int64)
        alone = (self.after.count[token] + 1) / (self.after.count.sum() + self.V)
        pair = self.pairs.find(_followed(last, token, self.V))
        together = self.pairs.counts[pair]
        bigram = (together + 1) / (self.after.count[last] + self.V)
        backed = self.after.backed_off(last, together, alone)
        triple = np.where(pair[:-1] < 0, -1, self.triples.find(_followed(pair[:-1], token[1:], self.V)))
        backed[1:] = self.after_pair.backed_off(pair[:-1], self.triples.counts[triple], backed[1:])
        return {"unigram": alone, "bigram": bigram, "trigram": backed}


class Table:
    """How often each key occurs; the last count is 0, that of what is not there."""

    def __init__(self, keys: Array) -> None:
        self.keys, counts = np.unique(keys, return_counts=True)
        self.counts = np.append(counts, 0)

    def find(self, keys: Array) -> Array:
        """The place of each key, -1 for one that is not there."""
        at = np.searchsorted(self.keys, keys)
        there = np.append(self.keys, -1)[at] == keys
        return np.where(there, at, -1)


class After:
    """What follows each context in a table of context * vocab_size + token: how many tokens, and how many different ones."""

    def __init__(self, table: Table, vocab_size: int, contexts: int) -> None:
        before = table.keys // vocab_size
        self.count = np.bincount(before, table.counts[:-1], contexts)
        self.different = np.bincount(before, minlength=contexts)

    def backed_off(self, context: Array, together: Array, otherwise: Array) -> Array:
        """The probability of a token that followed its context so often, and has another probability without it."""
        count, different = self.count[context], self.different[context]
        return np.where(count > 0, (together + different * otherwise) / np.maximum(count + different, 1), otherwise)


def _followed(before: Array, token: Array, vocab_size: int) -> Array:
    """What is before a token and the token, as one number: int64."""
    return before.astype(np.int64) * vocab_size + token  # V * V is too large for the type of ids


def _spread(ids: Array, most: int) -> list[Array]:
    """All of `ids` in blocks, each with the first of the next one; or `most` of them in blocks at equal distances."""
    if len(ids) <= most:
        return [ids[start : start + BLOCK + 1] for start in range(0, len(ids) - 1, BLOCK)]
    return [ids[start : start + BLOCK] for start in np.linspace(0, len(ids) - BLOCK, most // BLOCK).astype(np.int64)]
