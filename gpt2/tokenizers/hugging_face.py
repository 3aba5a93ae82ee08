"""The files that Hugging Face keeps a byte-level BPE in: `tokenizer.json`, or `vocab.json` with `merges.txt`.

What they hold is (the bytes of each id, the merges as pairs of ids, the special tokens by name). A `tokenizer.json` can ask
for much that GPT-2 does not do; whatever would change an id is refused, by name.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from reprlib import repr as shown
from typing import Any

from gpt2.errors import DataError
from gpt2.files import parse_object
from gpt2.tokenizers.alphabet import spell, unspell
from gpt2.tokenizers.base import END_OF_TEXT

Parts = tuple[list[bytes], list[tuple[int, int]], dict[str, int]]

VERSION = "#version: 0.2"
"""The first line of merges.txt."""


def to_json(tokens: Sequence[bytes], merges: Sequence[tuple[int, int]], special: Mapping[str, int]) -> dict[str, Any]:
    """The content of `tokenizer.json`."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    names = _names(tokens, special)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": name, **flags} for name, i in sorted(special.items(), key=lambda item: item[1])],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": byte_level | {"trim_offsets": False},
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {name: i for i, name in enumerate(names)},
            "merges": [f"{names[left]} {names[right]}" for left, right in merges],
        },
    }


def from_json(saved: Mapping[str, Any]) -> Parts:
    """From the content of `tokenizer.json`. Raises DataError for what is wrong, and for what GPT-2 does not do."""
    model = _object(saved.get("model"), "its 'model'")
    if model.get("type", "BPE") != "BPE":
        raise DataError(f"a model of type {shown(model['type'])}, not BPE")
    for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"):
        if model.get(setting):
            raise DataError(f"{setting} = {shown(model[setting])}, which GPT-2 does not have")
    if saved.get("normalizer") is not None:
        raise DataError("a normalizer, which GPT-2 does not have")
    for part in ("pre_tokenizer", "post_processor", "decoder"):
        _check_byte_level(part, saved.get(part))
    added = saved.get("added_tokens") or []
    if not isinstance(added, list):
        raise DataError("its 'added_tokens' are not a list")
    special: dict[str, int] = {}
    for token in added:
        name, i = _object(token, "an added token").get("content"), token.get("id")
        if not isinstance(name, str) or type(i) is not int or special.setdefault(name, i) != i:
            raise DataError(f"the added token {shown(name)} with id {shown(i)} is not a text with one id")
        for flag in ("single_word", "lstrip", "rstrip"):
            if token.get(flag):
                raise DataError(f"the added token {shown(name)} is {flag}, which GPT-2's is not")
    merges = model.get("merges")
    if not isinstance(merges, list):
        raise DataError("its merges are not a list")
    return _parts(_object(model.get("vocab"), "its vocabulary"), merges, special)


def _check_byte_level(part: str, value: Any) -> None:
    """Raise DataError for a part of `tokenizer.json` that is not the one that GPT-2 has."""
    if value is None and part != "pre_tokenizer":
        return
    if not isinstance(value, dict) or value.get("type") != "ByteLevel":
        kind = value.get("type") if isinstance(value, dict) else value
        raise DataError(f"a {part} {shown(kind)}; GPT-2 has ByteLevel")
    if part == "pre_tokenizer" and (
        value.get("add_prefix_space", True) is not False or value.get("use_regex", True) is not True
    ):
        raise DataError("a pre_tokenizer that does not cut words as GPT-2 does: add_prefix_space must be false, use_regex true")


def to_vocabulary(tokens: Sequence[bytes], merges: Sequence[tuple[int, int]], special: Mapping[str, int]) -> tuple[str, str]:
    """The contents of `vocab.json` and `merges.txt`."""
    names = _names(tokens, special)
    vocab = json.dumps({name: i for i, name in enumerate(names)}, ensure_ascii=False)
    return vocab, "\n".join([VERSION, *(f"{names[left]} {names[right]}" for left, right in merges), ""])


def parse_vocabulary(vocab_json: str, merges_txt: str) -> Parts:
    """From the contents of `vocab.json` and `merges.txt`, where `<|endoftext|>` is special. Raises DataError."""
    vocab = parse_object(vocab_json)
    lines = merges_txt.replace("\r\n", "\n").split("\n")
    if lines[0].startswith("#version"):
        lines = lines[1:]
    if lines and not lines[-1]:
        lines = lines[:-1]
    return _parts(vocab, lines, {END_OF_TEXT: vocab[END_OF_TEXT]} if END_OF_TEXT in vocab else {})


def _names(tokens: Sequence[bytes], special: Mapping[str, int]) -> list[str]:
    names = list(map(spell, tokens))
    for name, i in special.items():
        names[i] = name
    if len(set(names)) != len(names):
        counts = Counter(names)
        twice = next(name for name in special if counts[name] > 1)
        raise DataError(
            f"the special token {shown(twice)} is spelled like another token: Hugging Face's files cannot hold both"
        )
    return names


def _parts(vocab: Mapping[str, Any], merges: Sequence[Any], special: dict[str, int]) -> Parts:
    """Names as bytes, and merges of names as merges of ids."""
    ids = {**vocab, **special}
    for name, i in ids.items():
        if type(i) is not int or not 0 <= i < len(ids):
            raise DataError(f"token {shown(name)} has the id {shown(i)}; {len(ids)} tokens have the ids 0 to {len(ids) - 1}")
        if vocab.get(name, i) != i:
            raise DataError(f"token {shown(name)} has the ids {shown(vocab[name])} and {i}")
    if len(set(ids.values())) != len(ids):
        raise DataError(f"{len(ids)} tokens have {len(set(ids.values()))} different ids")
    tokens = [b""] * len(ids)
    for name, i in ids.items():
        tokens[i] = name.encode() if name in special else unspell(name)
    pairs = []
    for number, merge in enumerate(merges, 1):
        two = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(two, list) or len(two) != 2 or not all(isinstance(name, str) for name in two):
            raise DataError(f"merge {number} is {shown(merge)}, not two tokens")
        for name in two:
            if name not in ids or name in special:
                raise DataError(f"merge {number} is {shown(merge)}, but there is no token {shown(name)}")
        pairs.append((ids[two[0]], ids[two[1]]))
    return tokens, pairs, special


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{what} is not an object")
    return value
