"""Weights in safetensors files: written with their own fingerprint, read with suspicion."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors
import safetensors.numpy

from gpt2.errors import DamagedError, RunError
from gpt2.files import naming, open_regular, parse_object
from tinygrad2.files import write_atomically
from tinygrad2.types import Array

Shape = tuple[int, ...]
STORED_AS: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
"""The dtypes that are read, and how NumPy sees their bytes: it has no bfloat16."""
CHUNK = 1 << 20
MOST_HEADER = 1 << 23
"""Bytes of a header: twenty times that of a checkpoint of the largest GPT-2. A larger one would only take time and memory."""


@dataclass(frozen=True)
class Stored:
    """One array in a file, not read yet."""

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    raw: Array

    def read(self) -> Array:
        """The array as float32: exact, since float16 and bfloat16 are subsets of it. Raises RunError for NaN or infinity."""
        if self.dtype == "BF16":
            out = (self.raw.astype(np.uint32) << 16).view(np.float32).reshape(self.shape)
        else:
            out = self.raw.astype(np.float32).reshape(self.shape)
        _check_finite(self.path, self.name, out)
        return out

    def read_codes(self) -> Array:
        """The array as int8, which it must be."""
        return np.array(self.raw).view(np.int8).reshape(self.shape)


def _check_finite(path: Path, name: str, array: Array) -> None:
    """Raise DamagedError for NaN or infinity."""
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise DamagedError(f"{path}: {name} has {bad} of {array.size} entries that are NaN or infinite")


def fingerprint(arrays: Iterable[tuple[str, str, tuple[int, ...], Array]], metadata: Mapping[str, str]) -> str:
    """SHA-256 of everything that means something: names, dtypes, shapes, bytes, and the metadata."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, dtype, shape, raw in sorted(arrays, key=lambda entry: entry[0]):
        digest.update(json.dumps([name, dtype, list(shape)]).encode())
        flat = raw.reshape(-1).view(np.uint8)
        for at in range(0, len(flat), CHUNK):
            digest.update(flat[at : at + CHUNK].data)
    return digest.hexdigest()


def write_weights(path: Path, state: Mapping[str, Array], metadata: Mapping[str, str], mark: str = "") -> None:
    """Write float32 or int8 arrays by name, whole or not at all. Raises RunError for a full disk, or what none could read."""
    for name, array in state.items():
        _check_finite(path, name, array)
        if array.dtype not in (np.float32, np.int8):
            raise RunError(
                f"{path}: {name} is {array.dtype}; weights are saved as float32, so convert with model.to(np.float32)"
            )
    arrays = {name: np.ascontiguousarray(array) for name, array in state.items()}
    metadata = {"format": "pt", **metadata}
    entries = ((name, "I8" if array.dtype == np.int8 else "F32", array.shape, array) for name, array in arrays.items())
    with naming(path):
        content = safetensors.numpy.save(arrays, {**metadata, "sha256": fingerprint(entries, metadata)})
        write_atomically(path, _in_order(content), mark)


def _in_order(content: bytes) -> bytes:
    """With the metadata in alphabetical order, which the library leaves to chance: equal weights make equal files."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MOST_HEADER:
        raise RunError(f"the names of {len(header) - 1:,} arrays take {len(text):,} bytes, above the limit of {MOST_HEADER:,}")
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(content)[8 + size :]])


def read_weights(path: Path, must_be_ours: bool = False) -> tuple[dict[str, Stored], dict[str, str]]:
    """What a file holds, by name, and its metadata; the arrays stay on disk until they are read.

    A file that `write_weights` wrote carries a fingerprint, which is checked; another may have none and be a symbolic link,
    unless it `must_be_ours`. Raises RunError naming the file and the cause.
    """
    with _reading(path):
        with open_regular(path, links=not must_be_ours) as raw_file:
            header, begin = _header(raw_file)
            with safetensors.safe_open(path, framework="numpy") as file:  # checks sizes, offsets and dtypes of the header
                names = set(file.keys())
            metadata: dict[str, str] = header.pop("__metadata__", None) or {}
            content = np.memmap(raw_file, np.uint8, "r", offset=begin) if _content_size(header) else np.empty(0, np.uint8)
        if names != set(header):
            raise ValueError("its header can be read in two ways")
        stored = {name: _stored(path, name, entry, content) for name, entry in header.items()}
    recorded = metadata.pop("sha256", None)
    if recorded is None and must_be_ours:
        raise DamagedError(f"{path} is damaged, or not saved by this program: it has no sha256 of its content")
    if recorded is not None:
        found = fingerprint(((s.name, s.dtype, s.shape, s.raw) for s in stored.values()), metadata)
        if found != recorded:
            raise DamagedError(
                f"{path} is damaged: its content has sha256 {found}, and {recorded} was recorded when it was saved"
            )
    return stored, metadata


def _stored(path: Path, name: str, entry: dict[str, Any], content: Array) -> Stored:
    begin, end = entry["data_offsets"]
    dtype = STORED_AS.get(entry["dtype"], np.dtype(np.uint8))
    return Stored(path, name, entry["dtype"], tuple(entry["shape"]), content[begin:end].view(dtype))


def read_shapes(path: Path) -> dict[str, Shape]:
    """The shapes that the header of a file tells, by name, and nothing more. Raises RunError."""
    with _reading(path), open_regular(path, links=False) as file:
        header, _ = _header(file)
        return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Inside, what goes wrong becomes a RunError: a DamagedError, unless the file could not be read."""
    try:
        with naming(path, "read"):
            yield
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path} is not a safetensors file, or damaged: {error}") from error


def _header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """What a file begins with, and where the arrays begin. Raises ValueError."""
    size = int.from_bytes(file.read(8), "little")
    if size > MOST_HEADER:
        raise ValueError(f"its header has {size:,} bytes, above the limit of {MOST_HEADER:,}")
    return parse_object(file.read(size)), 8 + size


def check_fit(needed: Iterable[tuple[str, Shape]], found: Mapping[str, Shape], config: Path, weights: Path) -> None:
    """Raise RunError for the first shape that a model needs, as its configuration says, and that its weights do not have."""
    for name, shape in needed:
        if found.get(name) != shape:
            has = f"has shape {found[name]}" if name in found else "is missing"
            raise RunError(f"{config} does not describe the weights in {weights}: {name} {has}; it must have shape {shape}")


def _content_size(header: dict[str, Any]) -> int:
    return max((entry["data_offsets"][1] for entry in header.values()), default=0)
