"""A tokenizer from its file, whichever kind it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from reprlib import repr as shown
from typing import Any

from gpt2.errors import DataError
from gpt2.files import parse_object
from gpt2.tokenizers.base import Tokenizer, reading
from gpt2.tokenizers.bpe import BPETokenizer
from gpt2.tokenizers.byte import ByteTokenizer
from gpt2.tokenizers.char import CharTokenizer
from gpt2.tokenizers.hugging_face import is_word_level

KINDS: dict[str, Callable[[Mapping[str, Any]], Tokenizer]] = {
    "char": CharTokenizer.from_json,
    "byte": lambda saved: ByteTokenizer(),
}


def load_tokenizer(path: str | Path) -> Tokenizer:
    """What any `save` wrote, or Hugging Face's `tokenizer.json` of a byte-level BPE; or what is in a folder, which may hold
    `vocab.json` and `merges.txt` instead. Raises RunError naming file and cause."""
    path = Path(path)
    if path.is_dir():
        if not os.path.lexists(path / "tokenizer.json") and os.path.lexists(path / "vocab.json"):
            return BPETokenizer.from_pretrained(path)
        path /= "tokenizer.json"
    with reading(path) as text:
        saved = parse_object(text)
        if "model" in saved:
            return (CharTokenizer.from_hugging_face if is_word_level(saved) else BPETokenizer.from_json)(saved)
        if saved.get("type") not in tuple(KINDS):
            raise DataError(f"type {shown(saved.get('type'))} is none of {', '.join(KINDS)}, and there is no model")
        return KINDS[saved["type"]](saved)
