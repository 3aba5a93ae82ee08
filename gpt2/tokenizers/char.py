"""One token per character."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gpt2.errors import DataError, StrangeCharacterError
from gpt2.tokenizers import hugging_face
from gpt2.tokenizers.base import Tokenizer, checked, to_utf8

NAMED = 5
"""How many strange characters are named."""


class CharTokenizer(Tokenizer):
    """Each distinct character is a token, numbered in the order of its code point. It has no special tokens.

    Example:
        >>> tokenizer = CharTokenizer.train("hello")
        >>> tokenizer.encode("hole").tolist()
        [1, 3, 2, 0]
        >>> tokenizer.decode([1, 3, 2, 0])
        'hole'
    """

    def __init__(self, characters: str) -> None:
        """The character of each id. Raises DataError for none, for one that comes twice, and for half of a surrogate pair."""
        if not characters:
            raise DataError("CharTokenizer: no characters")
        if len(set(characters)) != len(characters):
            raise DataError(f"CharTokenizer: {len(characters)} characters, but only {len(set(characters))} distinct ones")
        to_utf8(characters)
        self.characters = characters
        codes = _code_points(characters)
        self._ids = np.full(int(codes.max()) + 2, -1, np.int64)  # by code point; the last stands for all above
        self._ids[codes] = np.arange(len(codes))

    @classmethod
    def train(cls, text: str | Iterable[str]) -> CharTokenizer:
        """The tokenizer of the characters in a text, or in documents. Raises DataError if there are none."""
        seen = np.zeros(sys.maxunicode + 1, bool)
        for document in [text] if isinstance(text, str) else text:
            seen[_code_points(document)] = True
        return cls("".join(map(chr, np.flatnonzero(seen).tolist())))

    @property
    def vocab_size(self) -> int:
        """The number of tokens."""
        return len(self.characters)

    def encode(self, text: str, special: bool = False) -> np.ndarray[Any, Any]:
        """int64 ids, one per character. Raises StrangeCharacterError naming characters that are not in the vocabulary."""
        ids = self._looked_up(text)
        if (ids < 0).any():
            found = self.strangers(text)
            named = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in found[:NAMED])
            more = f" and {len(found) - NAMED} more" * (len(found) > NAMED)
            verb = "is" if len(found) == 1 else "are"
            raise StrangeCharacterError(
                f"{named}{more} {verb} not among the {self.vocab_size} characters that this model was trained on"
            )
        return ids

    def strangers(self, text: str) -> str:
        """See Tokenizer."""
        return "".join(dict.fromkeys(text[at] for at in np.flatnonzero(self._looked_up(text) < 0)))

    def _looked_up(self, text: str) -> np.ndarray[Any, Any]:
        return self._ids[np.minimum(_code_points(text), len(self._ids) - 1)]

    def token_bytes(self, id: int) -> bytes:
        """Its character in UTF-8."""
        (id,) = checked([id], self.vocab_size)
        return self.characters[id].encode()

    def to_json(self) -> dict[str, Any]:
        """Its characters, in the order of their ids."""
        return {"type": "char", "characters": self.characters}

    def to_hugging_face(self) -> dict[str, Any]:
        """A `WordLevel` whose words are characters; one that it does not know is an error there too."""
        return hugging_face.characters_to_json(self.characters)

    @classmethod
    def from_hugging_face(cls, saved: Mapping[str, Any]) -> CharTokenizer:
        """What `to_hugging_face` made. Raises DataError."""
        return cls(hugging_face.characters_from_json(saved))

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> CharTokenizer:
        """What `to_json` made. Raises DataError."""
        if not isinstance(saved.get("characters"), str):
            raise DataError("its 'characters' are not a text")
        return cls(saved["characters"])


def _code_points(text: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
