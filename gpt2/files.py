"""JSON read with care, and downloads."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import reprlib
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from gpt2.errors import DataError, RunError
from tinygrad2.files import private_folder, write_atomically

T = TypeVar("T")


def code_sha256() -> str:
    """A fingerprint of the source of both packages, by which processes know that they run the same."""
    found = hashlib.sha256()
    for package in ("tinygrad2", "gpt2"):
        folder = Path(__file__).parents[1] / package
        for path in sorted(folder.rglob("*.py")):
            found.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


def download(url: str, path: Path, sha256: str, max_bytes: int, seconds: float = 120) -> None:
    """Fetch a file that must have this SHA-256; `path` is written only if it has.

    Raises DataError that says why it was not to be had: no network, not all of it in so many seconds, more than `max_bytes`,
    or other content.
    """
    import http.client  # with urllib, a tenth of the time in which a command starts
    import urllib.request

    content, failed = bytearray(), list[str]()
    end = time.monotonic() + seconds

    def fetch() -> None:
        try:
            with urllib.request.urlopen(url, timeout=min(30, seconds)) as response:
                while len(content) <= max_bytes and time.monotonic() < end and (some := response.read1(1 << 16)):
                    content.extend(some)
        except (OSError, http.client.HTTPException, ValueError) as error:  # URLError and timeouts are OSErrors
            failed.append(" ".join(str(getattr(error, "reason", error)).split())[:200])  # the error would hold the connection

    # In a thread of its own: a look-up of the name has no time, and headers may drip byte by byte for days.
    thread = threading.Thread(target=fetch, name=url, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive() or time.monotonic() >= end:
        raise DataError(f"{url} cannot be downloaded (not all of it came within {seconds:g} seconds)")
    if failed:
        raise DataError(f"{url} cannot be downloaded ({failed[0]})")
    if len(content) > max_bytes:
        raise DataError(f"{url} has more than the {max_bytes:,} bytes it should have")
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(f"{url} is not the file it should be: its sha256 is {found}, not {sha256}")
    try:
        private_folder(path.parent, must_be=False)
        write_atomically(path, bytes(content))
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error


KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}
"""What a name may stand for that is no file."""


@contextlib.contextmanager
def naming(path: Path | str, what: str = "written") -> Iterator[None]:
    """Inside, an OSError becomes a RunError that says what cannot be written, or read."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path}: cannot be {what}: {error.strerror or error}") from error


def check_regular(path: Path, links: bool = True) -> None:
    """Raise OSError for what is no file, such as a pipe, which would be waited for; without `links`, for a link to one too."""
    kind = stat.S_IFMT((path.stat() if links else path.lstat()).st_mode)
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {KINDS.get(kind, 'something else')}, and not a file", str(path))


def open_regular(path: Path, links: bool = True) -> BinaryIO:
    """A file to read. Raises OSError for what is no file: see `check_regular`."""
    check_regular(path, links)
    return open(path, "rb", opener=None if links else open_itself)


def open_itself(path: Path | str, flags: int) -> int:
    """A descriptor of a file, and never of what a symbolic link leads to. Raises OSError.

    Windows cannot be asked to refuse links, so that `check_regular` has to; and it would rewrite the ends of lines.
    """
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0), 0o666)


def read_regular(path: Path, most: int, links: bool = True) -> bytes:
    """The content of a file of at most `most` bytes. Raises OSError for a larger one, and for what is no file."""
    with open_regular(path, links) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(size, most) + 1)
    if max(size, len(content)) > most:
        raise OSError(errno.EFBIG, f"it has more than the {most:,} bytes that it may have", str(path))
    return content


MOST_JSON = 1 << 20
"""Bytes of a JSON file that describes a run or a model."""

MOST_TOKENIZER = 1 << 26
"""Bytes of a tokenizer's file: GPT-2's has 3.5 million, for 50,257 tokens."""


def read_json(path: Path, most: int = MOST_JSON, links: bool = True) -> dict[str, Any]:
    """The object in a JSON file of at most `most` bytes. Raises RunError naming the file and the cause."""
    try:
        return parse_object(read_regular(path, most, links))
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from error


def is_run(about: Mapping[str, Any]) -> bool:
    """Whether a config.json is that of a run folder, which may say the same in Hugging Face's words too."""
    return "training" in about and "model" in about


def is_run_folder(folder: Path) -> bool:
    """Whether a folder is a run. One whose config.json cannot be read as such is none."""
    try:
        return is_run(read_json(folder / "config.json"))
    except RunError:
        return False


def check_no_run(folder: Path) -> None:
    """Raise RunError for a run folder: what other programs read would take the place of what the run is made of."""
    if is_run_folder(folder):
        raise RunError(f"{folder}: is a run, which writing there would destroy; give another folder")


def conform(value: Any, schema: type[T]) -> T:
    """A value that was read, as a type of msgspec: every field of its type and in its range. Raises ValueError naming one."""
    try:
        return msgspec.convert(value, schema)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def parse_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object, in which no name comes twice. Raises ValueError."""
    try:
        found = json.loads(text, object_pairs_hook=_without_repeats, parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}, not an object")
    return found


def strict_json(value: Any, instead: Callable[[float], Any] = lambda number: None, **style: Any) -> str:
    """A value as JSON, which has no number that is not finite: NaN and the infinities become null, or what `instead` makes of
    them. `style` is for json.dumps."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: finite(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return list(map(finite, value))
        return instead(value) if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(finite(value), allow_nan=False, **style)


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # Python's limit, since it would take long
        raise ValueError(f"a whole number has {len(digits):,} digits, which are too many") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{reprlib.repr(name)} comes twice")
        found[name] = value
    return found
