"""What every tokenizer can do."""

from __future__ import annotations

import contextlib
import hashlib
import json
import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.cached import cached_property
from gpt2.errors import DataError, RunError, StrangeCharacterError
from gpt2.files import MOST_TOKENIZER, check_no_run, naming, read_regular
from tinygrad2.files import write_atomically
from tinygrad2.types import Array

END_OF_TEXT = "<|endoftext|>"
"""GPT-2's separator of documents."""


SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a pair, which is no character. What is not UTF-8 in a command line comes as one, byte by byte."""


class Tokenizer(ABC):
    """Text to ids and back. It never changes once it is made."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """The number of tokens; ids are 0 .. vocab_size - 1."""

    @property
    def end_of_text(self) -> int | None:
        """The id of `<|endoftext|>`, which separates documents; None where there is none."""
        return None

    @abstractmethod
    def encode(self, text: str, special: bool = False) -> np.ndarray[Any, Any]:
        """Text -> int64 ids (T,).

        The name of a special token, such as `<|endoftext|>`, is text like any other unless `special` is true: what a user
        types cannot end a document by accident. Raises DataError for text that has no ids.
        """

    def strangers(self, text: str) -> str:
        """The characters of a text that have no tokens, each once, as they come: halves of surrogate pairs, if no others."""
        return "".join(dict.fromkeys(SURROGATE.findall(text)))

    @abstractmethod
    def token_bytes(self, id: int) -> bytes:
        """What one token stands for, in UTF-8: perhaps half a character. Raises DataError for an id out of range."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Everything that decides how it encodes."""

    def decode(self, ids: Iterable[int]) -> str:
        """Ids (T,) -> text. Bytes that are not UTF-8 become U+FFFD. Raises DataError for an id outside the vocabulary."""
        return b"".join(map(self._bytes.__getitem__, checked(ids, self.vocab_size))).decode("utf-8", "replace")

    def text_of(self, ids: Array) -> bytes:
        """What ids (T,) stand for, in UTF-8, without ends of documents."""
        return b"".join(self._bytes[i] for i in ids.tolist() if i != self.end_of_text)

    @cached_property
    def _bytes(self) -> list[bytes]:
        return [self.token_bytes(i) for i in range(self.vocab_size)]

    @cached_property
    def byte_lengths(self) -> np.ndarray[Any, Any]:
        """How many bytes of text each token stands for (vocab_size); end-of-text for none."""
        lengths = np.array([len(self.token_bytes(i)) for i in range(self.vocab_size)])
        if self.end_of_text is not None:
            lengths[self.end_of_text] = 0
        return lengths

    def to_text(self) -> str:
        """The content of its file: JSON that `load_tokenizer` reads."""
        return json.dumps(self.to_json(), ensure_ascii=False, indent=2) + "\n"

    def to_hugging_face(self) -> dict[str, Any]:
        """The content of a `tokenizer.json` that Hugging Face's tokenizers read, and `load_tokenizer` too."""
        return self.to_json()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, which `AutoTokenizer` of transformers loads.

        Raises RunError, also for a run folder: its weights belong to the `tokenizer.json` that is there.
        """
        check_no_run(Path(folder))
        about: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"],  # GPT-2 would add the embeddings of token_type_ids
        }
        if self.end_of_text is not None:
            about |= dict.fromkeys(("bos_token", "eos_token"), END_OF_TEXT)
        for name, content in (("tokenizer.json", self.to_hugging_face()), ("tokenizer_config.json", about)):
            write_text(Path(folder, name), json.dumps(content, ensure_ascii=False, indent=2) + "\n")

    def save(self, path: Path) -> None:
        """Write it as one file. Raises RunError if it cannot be written."""
        write_text(Path(path), self.to_text())

    @cached_property
    def sha256(self) -> str:
        """Of what decides how it encodes: two tokenizers with the same one encode alike."""
        canonical = json.dumps(self.to_json(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def checked(ids: Iterable[int], vocab_size: int) -> list[int]:
    """The ids (T,) as Python integers. Raises DataError for the first that is outside the vocabulary or no integer."""
    if isinstance(ids, np.ndarray):
        if ids.ndim != 1 or (ids.dtype.kind not in "iu" and ids.size):
            raise DataError(f"ids of shape {ids.shape} and dtype {ids.dtype}; give integers of shape (T,)")
        found = ids.tolist()
    else:
        try:
            found = [operator.index(i) for i in ids]
        except TypeError as error:
            raise DataError(f"ids must be integers: {error}") from None
    if found and not (min(found) >= 0 and max(found) < vocab_size):
        unknown = next(i for i in found if not 0 <= i < vocab_size)
        raise DataError(f"id {unknown} is outside the vocabulary of {vocab_size}")
    return found


def to_utf8(text: str) -> bytes:
    """As UTF-8. Raises StrangeCharacterError for half of a surrogate pair, which stands for no character and has no UTF-8."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise StrangeCharacterError(
            f"U+{code:04X} at position {error.start} is half of a surrogate pair, not a character"
        ) from None


@contextlib.contextmanager
def reading(path: Path) -> Iterator[str]:
    """The text of a file; what goes wrong with it becomes a RunError naming the file."""
    try:
        yield read_regular(path, MOST_TOKENIZER).decode("utf-8-sig")
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, not JSON, or a DataError: not a tokenizer
        raise RunError(f"{path} is not a tokenizer: {error}") from error


def write_text(path: Path, text: str) -> None:
    """Replace a file. Raises RunError naming it if that cannot be done."""
    with naming(path):
        write_atomically(path, text.encode())
