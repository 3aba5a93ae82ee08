"""The files that Hugging Face keeps a byte-level BPE in: `tokenizer.json`, or `vocab.json` with `merges.txt`.

What they hold is (the bytes of each id, the merges as pairs of ids, and the tokens that are found in a text before it is cut
into words: see `Found`). A `tokenizer.json` can ask for much that GPT-2 does not do; whatever would change an id is refused, by
name.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from reprlib import repr as shown
from typing import Any

from gpt2.errors import DataError
from gpt2.files import parse_object
from gpt2.tokenizers.alphabet import BYTES, spell, unspell
from gpt2.tokenizers.base import END_OF_TEXT


@dataclass(frozen=True)
class Found:
    """The tokens that are found in a text before it is cut into words, by name.

    Those that are `special` only where that is asked for, and the `added` ones always. Names that are `late` are looked for in
    what the others leave: Hugging Face's file calls them `normalized`.
    """

    special: dict[str, int]
    added: dict[str, int] = field(default_factory=dict)
    late: frozenset[str] = frozenset()


Parts = tuple[list[bytes], list[tuple[int, int]], Found]

NO_TOKEN = "<|unknown|>"
"""What a WordLevel takes for an unknown character: since no token has that name, it raises an error."""

VERSION = "#version: 0.2"
"""The first line of merges.txt."""


def to_json(tokens: Sequence[bytes], merges: Sequence[tuple[int, int]], found: Found) -> dict[str, Any]:
    """The content of `tokenizer.json`."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    added = [
        {"id": i, "content": name, **flags, "normalized": name in found.late, "special": name in found.special}
        for name, i in sorted((found.special | found.added).items(), key=lambda item: item[1])
    ]
    names = _names(tokens, found)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
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
    _check_lengths(saved)
    found, merges = _found(saved.get("added_tokens") or []), model.get("merges")
    if not isinstance(merges, list):
        raise DataError("its merges are not a list")
    ids, tokens = read_tokens(_object(model.get("vocab"), "its vocabulary"), found)
    return tokens, read_merges(merges, ids), found


def characters_to_json(characters: str) -> dict[str, Any]:
    """The content of a `tokenizer.json` whose tokens are single characters, numbered in this order."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False},
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": {c: i for i, c in enumerate(characters)}, "unk_token": NO_TOKEN},
    }


def is_word_level(saved: Mapping[str, Any]) -> bool:
    """Whether it is the content of a `tokenizer.json` whose model is a list of words."""
    model = saved["model"]
    return isinstance(model, dict) and model.get("type") == "WordLevel"


def characters_from_json(saved: Mapping[str, Any]) -> str:
    """What `characters_to_json` was given. Raises DataError for any other WordLevel."""
    vocab = _object(saved["model"].get("vocab"), "its vocabulary")
    characters = "".join(sorted(vocab, key=lambda c: vocab[c] if type(vocab[c]) is int else -1))
    expected = characters_to_json(characters)
    for part in expected:
        if saved.get(part) != expected[part]:
            raise DataError(f"a WordLevel that is not of single characters: its {part!r} is {shown(saved.get(part))}")
    return characters


def _check_lengths(saved: Mapping[str, Any]) -> None:
    """Raise DataError for what would cut or lengthen the ids of a text."""
    if saved.get("truncation") is not None:
        raise DataError(f"truncation = {shown(saved['truncation'])}, which cuts the end off a text; make it null in the file")
    padding = saved.get("padding")
    if padding is None:
        return
    alone = isinstance(padding, dict) and padding.get("strategy") == "BatchLongest" and not padding.get("pad_to_multiple_of")
    if not alone:  # else a text by itself stays as long as it is
        raise DataError(f"padding = {shown(padding)}, which adds tokens to a text; make it null in the file")


def _found(added: Any) -> Found:
    """The added tokens of `tokenizer.json`."""
    if not isinstance(added, list):
        raise DataError("its 'added_tokens' are not a list")
    flags: dict[str, tuple[int, bool, bool]] = {}
    for token in added:
        name, i = _object(token, "an added token").get("content"), token.get("id")
        here = (i, token.get("special", True) is not False, token.get("normalized") is True)
        if not isinstance(name, str) or type(i) is not int or flags.setdefault(name, here)[0] != i:
            raise DataError(f"the added token {shown(name)} with id {shown(i)} is not a text with one id")
        for flag in ("single_word", "lstrip", "rstrip"):
            if token.get(flag):
                raise DataError(f"the added token {shown(name)} is {flag}, which GPT-2's is not: make it false in the file")
        if not here[1] and re.search(r"\S\s", name):  # a long text is cut there, and encoded part by part
            raise DataError(f"the added token {shown(name)} has white space inside, and is not special: this is not supported")
    late = frozenset(name for name, (_, _, normalized) in flags.items() if normalized)
    return Found(
        {name: i for name, (i, special, _) in flags.items() if special},
        {name: i for name, (i, special, _) in flags.items() if not special},
        late if len(late) < len(flags) else frozenset(),  # all of them at once: there is no order
    )


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


def to_vocabulary(tokens: Sequence[bytes], merges: Sequence[tuple[int, int]], found: Found) -> tuple[str, str]:
    """The contents of `vocab.json` and `merges.txt`."""
    names = _names(tokens, found)
    vocab = json.dumps({name: i for i, name in enumerate(names)}, ensure_ascii=False)
    return vocab, "\n".join([VERSION, *(f"{names[left]} {names[right]}" for left, right in merges), ""])


def parse_vocab(vocab_json: str) -> tuple[dict[str, int], list[bytes], Found]:
    """From the content of `vocab.json`, where `<|endoftext|>` is special: ids by name, and their bytes. Raises DataError."""
    vocab = parse_object(vocab_json)
    found = Found({END_OF_TEXT: vocab[END_OF_TEXT]} if END_OF_TEXT in vocab else {})
    return *read_tokens(vocab, found), found


def parse_merges(merges_txt: str, ids: Mapping[str, int]) -> list[tuple[int, int]]:
    """From the content of `merges.txt`. Raises DataError."""
    lines = merges_txt.replace("\r\n", "\n").split("\n")
    if lines[0].startswith("#version"):
        lines = lines[1:]
    if lines and not lines[-1]:
        lines = lines[:-1]
    return read_merges(lines, ids)


def _names(tokens: Sequence[bytes], found: Found) -> list[str]:
    names, whole = list(map(spell, tokens)), found.special | found.added
    for name, i in whole.items():
        names[i] = name
    if len(set(names)) != len(names):
        counts = Counter(names)
        twice = next(name for name in whole if counts[name] > 1)
        raise DataError(
            f"the special token {shown(twice)} is spelled like another token: Hugging Face's files cannot hold both"
        )
    return names


def read_tokens(vocab: Mapping[str, Any], found: Found) -> tuple[dict[str, int], list[bytes]]:
    """The ids that merges may name, and the bytes of each id."""
    ids = {**vocab, **found.special, **found.added}
    for name, i in ids.items():
        if type(i) is not int or not 0 <= i < len(ids):
            raise DataError(f"token {shown(name)} has the id {shown(i)}; {len(ids)} tokens have the ids 0 to {len(ids) - 1}")
        if vocab.get(name, i) != i:
            raise DataError(f"token {shown(name)} has the ids {shown(vocab[name])} and {i}")
    if len(set(ids.values())) != len(ids):
        raise DataError(f"{len(ids)} tokens have {len(set(ids.values()))} different ids")
    tokens = [b""] * len(ids)
    for name, i in ids.items():
        whole = name in found.special or name in found.added
        tokens[i] = name.encode() if whole else unspell(name)
        if name in found.added and name in vocab and BYTES.keys() >= set(name) and unspell(name) != tokens[i]:
            raise DataError(f"the added token {shown(name)} is also how the token {shown(unspell(name))} is spelled")
    return {name: i for name, i in vocab.items() if name not in found.special}, tokens


def read_merges(merges: Sequence[Any], ids: Mapping[str, int]) -> list[tuple[int, int]]:
    """Merges of names as merges of ids."""
    pairs = []
    for number, merge in enumerate(merges, 1):
        two = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(two, list) or len(two) != 2 or not all(isinstance(name, str) for name in two):
            raise DataError(f"merge {number} is {shown(merge)}, not two tokens")
        for name in two:
            if name not in ids:
                raise DataError(f"merge {number} is {shown(merge)}, but there is no token {shown(name)}")
        pairs.append((ids[two[0]], ids[two[1]]))
    return pairs


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{what} is not an object")
    return value
