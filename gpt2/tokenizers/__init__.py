"""Text to ids and back."""

from gpt2.tokenizers.char import CharTokenizer

__all__ = ["CharTokenizer"]
