"""One token per character."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.errors import DataError, RunError


class CharTokenizer:
    """Each distinct character is a token, numbered in the order of its code point.

    Example:
        >>> tokenizer = CharTokenizer.train("hello")
        >>> tokenizer.encode("hole").tolist()
        [1, 3, 2, 0]
        >>> tokenizer.decode([1, 3, 2, 0])
        'hole'
    """

    def __init__(self, characters: str) -> None:
        self.characters = characters
        self._ids = {c: i for i, c in enumerate(characters)}
        if len(self._ids) != len(characters):
            raise DataError(f"CharTokenizer: {len(characters)} characters, but only {len(self._ids)} distinct ones")

    @classmethod
    def train(cls, text: str) -> CharTokenizer:
        """The tokenizer of the characters in a text."""
        return cls("".join(sorted(set(text))))

    @property
    def vocab_size(self) -> int:
        """The number of tokens."""
        return len(self.characters)

    def encode(self, text: str) -> np.ndarray[Any, Any]:
        """Integer ids, one per character. Raises DataError naming the first character that is not in the vocabulary."""
        try:
            return np.array([self._ids[c] for c in text], np.int64)
        except KeyError as error:
            at = text.index(error.args[0])
            raise DataError(
                f"character {error.args[0]!r} (U+{ord(error.args[0]):04X}) at position {at} is not among the "
                f"{self.vocab_size} characters this model was trained on"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids. Raises DataError for an id that is not in the vocabulary."""
        ids = [int(i) for i in ids]
        for i in ids:
            if not 0 <= i < self.vocab_size:
                raise DataError(f"id {i} is outside the vocabulary of {self.vocab_size}")
        return "".join(self.characters[i] for i in ids)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps({"type": "char", "characters": self.characters}, ensure_ascii=False) + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path) -> CharTokenizer:
        """Read what `save` wrote. Raises RunError naming the file."""
        try:
            saved = json.loads(path.read_text("utf-8"))
            if saved["type"] != "char" or not isinstance(saved["characters"], str):
                raise ValueError(f"type {saved['type']!r} is not char")
            return cls(saved["characters"])
        except OSError as error:
            raise RunError(f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} is not a tokenizer: {error}") from error
