"""One token per byte."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from gpt2.tokenizers import hugging_face
from gpt2.tokenizers.base import END_OF_TEXT, Tokenizer, checked, to_utf8
from gpt2.tokenizers.hugging_face import Found


class ByteTokenizer(Tokenizer):
    """The ids of a text are its UTF-8 bytes, 0 to 255; `<|endoftext|>` is 256. It knows every text and needs no training.

    Example:
        >>> ByteTokenizer().encode("né").tolist()
        [110, 195, 169]
    """

    @property
    def vocab_size(self) -> int:
        """257."""
        return 257

    @property
    def end_of_text(self) -> int:
        """256."""
        return 256

    def encode(self, text: str, special: bool = False) -> np.ndarray[Any, Any]:
        """int64 ids, one per byte of UTF-8. Raises DataError for half of a surrogate pair."""
        raw = to_utf8(text)
        ids = np.frombuffer(raw, np.uint8).astype(np.int64)
        if special:
            starts = [match.start() for match in re.finditer(re.escape(END_OF_TEXT).encode(), raw)]
            kept = np.ones(len(ids), bool)
            for start in starts:
                kept[start + 1 : start + len(END_OF_TEXT)] = False
            ids[starts] = self.end_of_text
            ids = ids[kept]
        return ids

    def token_bytes(self, id: int) -> bytes:
        """The byte, or the name of the special token."""
        (id,) = checked([id], self.vocab_size)
        return bytes([id]) if id < self.end_of_text else END_OF_TEXT.encode()

    def to_json(self) -> dict[str, Any]:
        """Its type: there is nothing else to know."""
        return {"type": "byte"}

    def to_hugging_face(self) -> dict[str, Any]:
        """A byte-level BPE without merges, which gives the same ids."""
        return hugging_face.to_json([self.token_bytes(i) for i in range(257)], [], Found({END_OF_TEXT: self.end_of_text}))
