"""GPT-2's byte-level BPE: a word is its bytes, and the pairs that were seen most in training are merged first.

Sources: Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units", 2016, section 3.2; Radford
et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.2.
"""

from __future__ import annotations

import heapq
import itertools
import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from reprlib import repr as shown
from typing import Any

import numpy as np

from gpt2.cached import cached_property
from gpt2.errors import DataError, RunError
from gpt2.files import parse_object
from gpt2.tokenizers import hugging_face, vocabulary
from gpt2.tokenizers.alphabet import BYTES
from gpt2.tokenizers.base import END_OF_TEXT, Tokenizer, checked, reading, to_utf8, write_text
from gpt2.tokenizers.bpe_training import train_merges
from gpt2.tokenizers.hugging_face import Found
from gpt2.tokenizers.words import words

Pair = tuple[int, int]

NEVER = 1 << 62
"""The rank of a pair that is no merge."""

LONG = 64
"""From how many bytes on a word is merged by a heap, in n log n steps. Below, the plain way is as fast, in n^2 quick ones."""


class BPETokenizer(Tokenizer):
    """Byte-level BPE: every text has ids, and decodes to itself.

    Of the neighbours in a word, the pair that comes first in `merges` becomes one token, the leftmost where there are
    several; and so on, until no neighbours are a pair of `merges`.

    Example:
        >>> tokenizer = BPETokenizer.train("low lower lowest", vocab_size=260)
        >>> [tokenizer.token_bytes(i) for i in tokenizer.encode("slow")]
        [b's', b'low']
    """

    def __init__(
        self, tokens: Sequence[bytes], merges: Sequence[Pair], special: Mapping[str, int] | Found | None = None
    ) -> None:
        """The bytes of each id, the merges as pairs of ids, first to last, and the special tokens by name, or all of a `Found`.

        Raises DataError if a byte has no token, a token or a merge comes twice, or a merge makes no token.
        """
        self.found = special if isinstance(special, Found) else Found(dict(special or {}))
        self.tokens, self.merges, self.special = list(tokens), list(merges), self.found.special
        self._whole = self.special | self.found.added
        for name, i in self._whole.items():
            if not name or not 0 <= i < len(tokens) or tokens[i] != to_utf8(name):
                raise DataError(f"{'special' if name in self.special else 'added'} token {shown(name)} is not token {i}")
        if len(set(self._whole.values())) != len(self._whole):
            raise DataError("two special tokens have the same id")
        self._ids = _numbered(self.tokens, set(self._whole.values()))
        for i in self.found.added.values():  # which may be what merges make, too
            self._ids.setdefault(self.tokens[i], i)
        missing = [b for b in range(256) if bytes([b]) not in self._ids]
        if missing:
            raise DataError(f"{len(missing)} of the 256 bytes have no token, the first is {missing[0]:#04x}")
        self._byte_ids = [self._ids[bytes([b])] for b in range(256)]
        self._ranks: dict[Pair, int] = {pair: rank for rank, pair in enumerate(self.merges)}
        if len(self._ranks) != len(self.merges):
            pair = next(p for rank, p in enumerate(self.merges) if self._ranks[p] != rank)
            raise DataError(f"the merge of {self._shown(pair)} comes twice")
        self._made = [self._product(pair) for pair in self.merges]  # by rank
        longest_first = sorted(self._whole, key=len, reverse=True)
        passes = ([name for name in longest_first if (name in self.found.late) == late] for late in (False, True))
        self._passes = [re.compile("|".join(map(re.escape, names))) for names in passes if names]
        self._cache = _Cache(self._encode_word)

    def _product(self, pair: Pair) -> int:
        try:
            return self._ids[self.tokens[pair[0]] + self.tokens[pair[1]]]
        except KeyError:
            raise DataError(f"the merge of {self._shown(pair)} makes no token") from None

    def _shown(self, pair: Pair) -> str:
        return f"{shown(self.tokens[pair[0]])} and {shown(self.tokens[pair[1]])}"

    # -- where it comes from

    @classmethod
    def gpt2(cls, path: str | Path | None = None) -> BPETokenizer:
        """OpenAI's own: 50,257 tokens, byte for byte; see vocabulary.py for where it is looked for. Raises RunError."""
        encoder, merges = vocabulary.find(path)
        ids, tokens, found = hugging_face.parse_vocab(encoder.decode())
        return cls(tokens, hugging_face.parse_merges(merges.decode(), ids), found)

    @classmethod
    def train(cls, text: str | Iterable[str], vocab_size: int, progress: bool = False) -> BPETokenizer:
        """The tokenizer of the most frequent pairs in a text, or in documents, which are read one by one and not kept.

        Tokens are the 256 bytes in GPT-2's order, one for each merge, and `<|endoftext|>`. That name also ends a document
        where it stands in a text. If the text has fewer merges than asked, `vocab_size` is smaller. Ties, and
        how merges are chosen: see bpe_training.py. `progress` shows bars. Raises DataError for a size below 257.
        """
        if vocab_size < 257:
            raise DataError(f"vocab_size = {vocab_size}: the 256 bytes and {END_OF_TEXT} need 257")
        merges = train_merges([text] if isinstance(text, str) else text, vocab_size - 257, progress)
        tokens = list(BYTES.values())
        for left, right in merges:
            tokens.append(tokens[left] + tokens[right])
        return cls([*tokens, END_OF_TEXT.encode()], merges, {END_OF_TEXT: len(tokens)})

    @classmethod
    def from_files(cls, vocab_json: str | Path, merges_txt: str | Path) -> BPETokenizer:
        """From `vocab.json` and `merges.txt`, which OpenAI calls `encoder.json` and `vocab.bpe`. Raises RunError."""
        with reading(Path(vocab_json)) as text:
            ids, tokens, found = hugging_face.parse_vocab(text)
            cls(tokens, [], found)  # what is wrong with the tokens is wrong with this file
        with reading(Path(merges_txt)) as text:
            return cls(tokens, hugging_face.parse_merges(text, ids), found)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> BPETokenizer:
        """From the `tokenizer.json` of a folder or, if there is none, its `vocab.json` and `merges.txt`. Raises RunError."""
        folder = Path(folder)
        if not os.path.lexists(folder / "tokenizer.json") and os.path.lexists(folder / "vocab.json"):
            if os.path.lexists(more := folder / "added_tokens.json"):
                raise RunError(f"{more}: only a tokenizer.json can hold these; save the tokenizer as one")
            return cls.from_files(folder / "vocab.json", folder / "merges.txt")
        with reading(folder / "tokenizer.json") as text:
            return cls.from_json(parse_object(text))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `vocab.json` and `merges.txt` beside what every tokenizer writes. Raises RunError."""
        vocab, merges = hugging_face.to_vocabulary(self.tokens, self.merges, self.found)
        super().save_pretrained(folder)  # first, for it refuses a run
        write_text(Path(folder, "vocab.json"), vocab)
        write_text(Path(folder, "merges.txt"), merges)

    def to_json(self) -> dict[str, Any]:
        """In the format of Hugging Face's `tokenizer.json`."""
        return hugging_face.to_json(self.tokens, self.merges, self.found)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> BPETokenizer:
        """What `to_json` made, or Hugging Face for a byte-level BPE that cuts words as GPT-2 does. Raises DataError."""
        return cls(*hugging_face.from_json(saved))

    # -- what it does

    @property
    def vocab_size(self) -> int:
        """The number of tokens, special ones included."""
        return len(self.tokens)

    @property
    def end_of_text(self) -> int | None:
        """The id of `<|endoftext|>`."""
        return self._whole.get(END_OF_TEXT)

    def encode(self, text: str, special: bool = False) -> np.ndarray[Any, Any]:
        """Text -> int64 ids (T,); `special` also recognises special tokens. Raises DataError for half of a surrogate pair.

        Tokens that were added to a Hugging Face tokenizer and are not special are always recognised, as they are there.
        """
        try:
            return np.frombuffer(b"".join(self._encoded(text, special)), np.int32).astype(np.int64)
        except UnicodeEncodeError:
            to_utf8(text)  # raises, naming the position in the whole text
            raise

    def _encoded(self, text: str, special: bool) -> Iterator[bytes]:
        """Parts of the ids, as int32."""
        for part, is_special in self._sections(text, special):
            if is_special:
                yield array("i", [self._whole[part]]).tobytes()
            else:
                for some in words(part):
                    yield b"".join(map(self._cache.__getitem__, some))

    def parts(self, text: str, special: bool = False) -> Iterator[tuple[str, bool]]:
        """The words of a text, each encoded by itself, and its special tokens, with True. Joined, they are the text."""
        for part, is_special in self._sections(text, special):
            for some in [[part]] if is_special else words(part):
                yield from ((word, is_special) for word in some)

    def _sections(self, text: str, special: bool) -> Iterator[tuple[str, bool]]:
        """The text between the tokens that are found in it, and these, with True."""
        return self._without(text, special, self._passes if special or self.found.added else [])

    def _without(self, text: str, special: bool, passes: Sequence[re.Pattern[str]]) -> Iterator[tuple[str, bool]]:
        start = 0
        for match in passes[0].finditer(text) if passes else ():
            if special or match[0] in self.found.added:
                yield from self._without(text[start : match.start()], special, passes[1:])
                yield match[0], True
                start = match.end()
        if passes:
            yield from self._without(text[start:], special, passes[1:])
        else:
            yield text, False

    def spelled(self, word: str) -> list[int]:
        """The ids of a word's bytes, before any merge."""
        return [self._byte_ids[b] for b in word.encode()]

    def _encode_word(self, word: str) -> bytes:
        ids = self.spelled(word)
        if len(ids) < LONG:
            for _ in self.merging(ids):
                pass
        else:
            ids = self._merge_long(ids)
        return array("i", ids).tobytes()

    def merging(self, ids: list[int]) -> Iterator[tuple[int, int]]:
        """Merge the tokens of a word in place, one pair at a time; after each merge, gives its rank and its position."""
        rank_of, made = self._ranks.get, self._made
        ranks = [rank_of(pair, NEVER) for pair in itertools.pairwise(ids)]
        while ranks and (rank := min(ranks)) != NEVER:
            at = ranks.index(rank)
            ids[at : at + 2] = [made[rank]]
            del ranks[at]
            if at:
                ranks[at - 1] = rank_of((ids[at - 1], ids[at]), NEVER)
            if at < len(ranks):
                ranks[at] = rank_of((ids[at], ids[at + 1]), NEVER)
            yield rank, at

    def _merge_long(self, ids: list[int]) -> list[int]:
        """The same, in n log n steps: a heap of (rank, position), and tokens linked to their neighbours."""
        rank_of, end, gone = self._ranks.get, len(ids), -1
        before, after = list(range(-1, end - 1)), list(range(1, end + 1))
        heap = [(rank, at) for at, pair in enumerate(itertools.pairwise(ids)) if (rank := rank_of(pair)) is not None]
        heapq.heapify(heap)
        while heap:
            rank, at = heapq.heappop(heap)
            right = after[at]
            if ids[at] == gone or right == end or rank_of((ids[at], ids[right])) != rank:
                continue  # another merge was there first
            ids[at], ids[right] = self._made[rank], gone
            after[at] = after[right]
            if after[at] != end:
                before[after[at]] = at
            for left, right in ((before[at], at), (at, after[at])):
                if left >= 0 and right != end and (rank := rank_of((ids[left], ids[right]), NEVER)) != NEVER:
                    heapq.heappush(heap, (rank, left))
        return [i for i in ids if i != gone]

    @cached_property
    def _bytes(self) -> list[bytes]:
        return self.tokens

    def token_bytes(self, id: int) -> bytes:
        """What one token stands for; the name of a special one."""
        (id,) = checked([id], self.vocab_size)
        return self.tokens[id]


class _Cache(dict[str, bytes]):
    """The ids of words seen before: nearly all of a text. It forgets all of them when it is full, and long words at once."""

    MOST = 1 << 17
    LONGEST = 32

    def __init__(self, encode: Callable[[str], bytes]) -> None:
        super().__init__()
        self._encode = encode

    def __missing__(self, word: str) -> bytes:
        ids = self._encode(word)
        if len(word) <= self.LONGEST:
            if len(self) >= self.MOST:
                self.clear()
            self[word] = ids
        return ids


def _numbered(tokens: Sequence[bytes], special: set[int]) -> dict[bytes, int]:
    """The id of each token that is not special. Raises DataError for one that comes twice, or is empty."""
    ids: dict[bytes, int] = {}
    for i, token in enumerate(tokens):
        if i not in special and (not token or ids.setdefault(token, i) != i):
            raise DataError(f"token {shown(token)} comes twice" if token else f"token {i} is empty")
    return ids
