"""Bytes as printable characters: how GPT-2's files write a token, so that no token has a space or a control character in it."""

from __future__ import annotations

from reprlib import repr as shown

from gpt2.errors import DataError


def _alphabet() -> dict[str, bytes]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]  # these stand for themselves
    others = [b for b in range(256) if b not in printable]  # these for the characters from U+0100 on: a space is Ġ
    return {chr(b): bytes([b]) for b in printable} | {chr(0x100 + i): bytes([b]) for i, b in enumerate(others)}


BYTES = _alphabet()
"""The byte of each character, in the order of GPT-2's ids. Source: OpenAI's `encoder.py`, `bytes_to_unicode`."""

_CHARACTERS = {byte[0]: character for character, byte in BYTES.items()}


def spell(token: bytes) -> str:
    """Bytes as characters.

    Example:
        >>> spell(b" caf\\xc3\\xa9")
        'ĠcafÃ©'
    """
    return token.decode("latin-1").translate(_CHARACTERS)


def unspell(name: str) -> bytes:
    """Characters as bytes, the inverse of `spell`. Raises DataError for a character that stands for no byte."""
    try:
        return b"".join(map(BYTES.__getitem__, name))
    except KeyError as error:
        raise DataError(f"token {shown(name)}: {error.args[0]!r} stands for no byte") from None
