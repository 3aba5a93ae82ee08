"""Text to ids and back: one token per character, one per byte, or GPT-2's byte-level BPE."""

from gpt2.tokenizers.base import Tokenizer
from gpt2.tokenizers.bpe import BPETokenizer
from gpt2.tokenizers.byte import ByteTokenizer
from gpt2.tokenizers.char import CharTokenizer
from gpt2.tokenizers.loading import load_tokenizer

__all__ = ["BPETokenizer", "ByteTokenizer", "CharTokenizer", "Tokenizer", "load_tokenizer"]
