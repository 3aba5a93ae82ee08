"""A corpus into ids, of which some train and some validate.

Ids are encoded piece by piece and kept as uint16 (uint32 for more than 65,536 tokens). Those of a long text are a file in
the cache folder (see id_cache.py), which is mapped into memory, so that a corpus may be larger than memory. Those of a short
text are made in a second or two each time, in memory, and leave no file.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from gpt2.cached import cached_property
from gpt2.config import TrainConfig
from gpt2.errors import ConfigError, DataError
from gpt2.terminal import note, progress
from gpt2.text import batches
from gpt2.text.baselines import baselines, compressors
from gpt2.text.corpora import Corpus, Document
from gpt2.text.id_cache import kept_ids
from gpt2.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer, Tokenizer, load_tokenizer
from gpt2.tokenizers.base import END_OF_TEXT
from tinygrad2.errors import counted
from tinygrad2.types import Array

Say = Callable[[str], object]

IN_MEMORY = 4_000_000
"""Up to how many characters a text is short."""

BPE_VOCABULARY = 1024
"""The size of a BPE that is trained where none is given: a good one for about a megabyte of text."""

MOST_NAMED = 20
"""How many characters without tokens are named, the most frequent first."""

FORMAT = b"2"
"""Of the files in the cache; part of their names."""


@dataclass(frozen=True)
class Prepared:
    """The ids of a corpus, uint16 or uint32: `train` (N,) and `val` (M,).

    Documents follow one another, those that train first, with the tokenizer's end-of-text token between two of them.
    """

    corpus: Corpus
    tokenizer: Tokenizer
    train: Array
    val: Array
    documents: Callable[[], Iterator[Document]]
    """In the order of the ids."""

    @cached_property
    def baselines(self) -> dict[str, float]:
        """See baselines.py."""
        return {
            **baselines(self.train, self.val, self.tokenizer.vocab_size),
            **compressors(self.train, self.val, self.tokenizer),
        }

    def costs(self) -> Array | None:
        """What each token of `val` costs a model that knows the source of the text, where there is such a thing.

        In nats, float64 (M,): those of its characters, and nothing for end-of-text, since a document shows where it ends. No
        model is better than their mean, but for chance; what a window may hide from the best one is said in
        corpora/generated.py.
        """
        nats: list[Array] = []
        for document in self.documents():
            if document.nats is None:  # what a part costs says nothing of the whole
                return None
            nats.append(document.nats)
        ends = np.concatenate(
            [[0], np.cumsum(self.tokenizer.byte_lengths[self.val])]
        )  # (M + 1,): characters before and after each token
        spent = np.concatenate([[0], np.cumsum(np.concatenate(nats)[-ends[-1] :])])  # before and after each character
        return np.diff(spent[ends])


def prepare(corpus: Corpus, tokenizer: Tokenizer, config: TrainConfig, seq_len: int, say: Say = note) -> Prepared:
    """Split and encode a corpus, or find its ids in the cache.

    Raises DataError for text that cannot be read or encoded, and where a part is too short for a window of `seq_len`.
    """
    validates = validating(corpus, config)
    ids, cut = _ids(corpus, tokenizer, validates, say)
    train, val = batches.split(ids, config.val_fraction, seq_len) if config.split == "position" else (ids[:cut], ids[cut:])
    batches.check_lengths(train, val, seq_len)
    return Prepared(corpus, tokenizer, train, val, lambda: _arranged(corpus, validates))


def prepare_whole(corpus: Corpus, tokenizer: Tokenizer, say: Say = note) -> Prepared:
    """A corpus that only validates. Raises DataError for text that cannot be read or encoded."""
    nowhere = np.zeros(len(corpus.survey.sizes), bool)
    ids, _ = _ids(corpus, tokenizer, nowhere, say)
    return Prepared(corpus, tokenizer, ids[:0], ids, lambda: _arranged(corpus, nowhere))


def without_strangers(corpus: Corpus, tokenizer: Tokenizer, say: Say = note) -> Corpus:
    """The corpus without the characters that have no tokens; which and how many these are is said.

    It is read once for that."""
    left_out: Counter[str] = Counter()

    def kept(piece: str) -> str:
        strangers = tokenizer.strangers(piece)
        left_out.update({c: piece.count(c) for c in strangers})
        return piece.translate(dict.fromkeys(map(ord, strangers)))

    known = replace(corpus, documents=lambda: (Document(map(kept, d.pieces)) for d in corpus.documents()))
    whole = known.survey.characters + left_out.total()
    if not left_out:
        return corpus
    found = "".join(c for c, _ in left_out.most_common(MOST_NAMED))
    shown = f"{found!r}{' and others' * (len(left_out) > MOST_NAMED)} ({left_out.total():,} of {whole:,})"
    say(f"{corpus.name} is read without the characters that have no token: {shown}")
    return known


def validating(corpus: Corpus, config: TrainConfig) -> Array:
    """Which documents validate: bool (documents,). None where the text is split by position.

    Documents are put in the order of a hash of the seed and their text, and taken as long as each brings the characters taken
    closer to `val_fraction` of all. So equal documents are on the same side, and other seeds choose others. Raises DataError
    if all documents are the same.
    """
    survey = corpus.survey
    if config.split == "position":
        return np.zeros(len(survey.sizes), bool)
    sizes: dict[bytes, int] = {}
    for digest, size in zip(survey.digests, survey.sizes, strict=True):
        sizes[digest] = sizes.get(digest, 0) + size
    if len(sizes) < 2:
        raise DataError(f"--split document: {corpus.name} has only one document, or copies of one; use --split position")
    order = sorted(sizes, key=lambda digest: hashlib.sha256(b"%d:" % config.seed + digest).digest())
    missing, taken = config.val_fraction * survey.characters, set()
    for digest in order:
        if sizes[digest] < 2 * missing:
            taken.add(digest)
            missing -= sizes[digest]
    if not taken:
        taken.add(min(order, key=lambda digest: sizes[digest]))
    return np.array([digest in taken for digest in survey.digests])


def tokenizer_for(corpus: Corpus, config: TrainConfig, vocab_size: int | None = None) -> Tokenizer:
    """The tokenizer that `config.tokenizer` names; `vocab_size` is that of a BPE that is trained.

    A BPE learns from what trains: those documents, or the characters up to the place where the text is split. `char` has
    every character of the text, or else it could not be encoded. Raises ConfigError for a name that there is not.
    """
    match config.tokenizer:
        case "char":
            with progress(desc="alphabet", unit="char", unit_scale=True) as bar:
                return CharTokenizer.train(_passing(corpus.pieces(), bar))
        case "byte":
            return ByteTokenizer()
        case "bpe":
            return BPETokenizer.train(_training_text(corpus, config), vocab_size or BPE_VOCABULARY, progress=True)
        case "gpt2":
            return BPETokenizer.gpt2()
    if os.path.exists(config.tokenizer):  # which is false for a name that no file can have
        return load_tokenizer(config.tokenizer)
    raise ConfigError(f"tokenizer = {config.tokenizer!r} is neither char, byte, bpe, gpt2 nor a file")


def _passing(pieces: Iterable[str], bar: Any) -> Iterator[str]:
    """The same pieces; the bar goes on with each."""
    for piece in pieces:
        yield piece
        bar.update(len(piece))


def _training_text(corpus: Corpus, config: TrainConfig) -> Iterator[str]:
    validates = validating(corpus, config)
    left = corpus.characters if validates.any() else int(corpus.characters * (1 - config.val_fraction))
    for document, held_out in zip(corpus.documents(), validates, strict=True):
        for piece in document.pieces if not held_out else ():
            yield piece[:left]
            left -= len(piece[:left])


def _arranged(corpus: Corpus, validates: Array) -> Iterator[Document]:
    """Those documents that train, then those that validate."""
    for side in (False, True):
        for document, held_out in zip(corpus.documents(), validates, strict=True):
            if held_out == side:
                yield document


def _digests(corpus: Corpus, validates: Array) -> list[bytes]:
    """Of the documents in that order."""
    return [corpus.survey.digests[i] for i in np.argsort(validates, kind="stable")]


def _ids(corpus: Corpus, tokenizer: Tokenizer, validates: Array, say: Say) -> tuple[Array, int]:
    """All ids, and how many of them come before the first document that validates."""
    if not corpus.characters:
        raise DataError(f"{corpus.name}: it holds no text")
    if corpus.survey.ends and (size := end_as_text(tokenizer)):
        say(
            f"{corpus.name}: its {corpus.survey.ends:,} {END_OF_TEXT} are read as text ({counted(size, 'token')} each); to "
            "separate documents, make each one a file of a folder or a line of a .jsonl file"
        )
    if corpus.characters > IN_MEMORY:
        key = hashlib.sha256(FORMAT + tokenizer.sha256.encode() + np.sort(validates).tobytes())
        key.update(b"".join(_digests(corpus, validates)))
        encoded = partial(_encoded, corpus, tokenizer, validates)
        return kept_ids(key.hexdigest(), corpus.name, _kind(tokenizer), tokenizer.vocab_size, encoded, say)
    parts, cut = [], 0
    for ids, held_out in _encoded(corpus, tokenizer, validates):
        parts.append(ids)
        cut += 0 if held_out else len(ids)
    return np.concatenate(parts), cut


def end_as_text(tokenizer: Tokenizer) -> int:
    """Of how many tokens the name of the end-of-text token is in a text; 0 where it is that token there, or there is none."""
    if tokenizer.end_of_text is None:
        return 0
    ids = tokenizer.encode(END_OF_TEXT)
    return 0 if tokenizer.end_of_text in ids else len(ids)


def _kind(tokenizer: Tokenizer) -> np.dtype[Any]:
    return np.dtype(np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32)


def _encoded(corpus: Corpus, tokenizer: Tokenizer, validates: Array) -> Iterator[tuple[Array, bool]]:
    """The ids of the arranged documents in parts, and whether they validate."""
    kind = _kind(tokenizer)
    training = len(validates) - int(validates.sum())
    total, digests = corpus.characters, _digests(corpus, validates)
    with progress(total=total, desc="encoding", unit="char", unit_scale=True) as bar:
        for i, (document, expected) in enumerate(zip(_arranged(corpus, validates), digests, strict=True)):
            digest = hashlib.sha256()
            for piece in document.pieces:
                digest.update(piece.encode())
                yield tokenizer.encode(piece).astype(kind), i >= training
                bar.update(len(piece))
            if digest.digest() != expected:
                raise DataError(f"{corpus.name}: the text changed while it was being read; start again")
            if tokenizer.end_of_text is not None and i < len(digests) - 1:
                yield np.array([tokenizer.end_of_text], kind), i >= training
