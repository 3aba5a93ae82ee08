"""metrics.jsonl: one JSON object per line, only ever appended to; what is known of a run is read from here."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Self

from gpt2.errors import RunError
from gpt2.files import check_regular

Row = dict[str, Any]


class Log:
    """A text file that grows at its end, and that a resumed run cuts back to where its checkpoint was.

    It is written in place, so that a second name of it, a link of any kind, would change something else: such a file is
    refused. Nothing changes before `check` has said that it may.
    """

    @staticmethod
    def check(path: Path, position: int) -> None:
        """Raise RunError for a file that cannot be cut back to a position."""
        try:
            if not os.path.lexists(path) and not position:
                return
            check_regular(path, links=False)
            about = path.stat()
        except OSError as error:
            raise RunError(f"{path}: cannot be read: {error.strerror}") from error
        if about.st_nlink > 1:
            raise RunError(f"{path} is a hard link: what is written to it would also change a file elsewhere; copy it first")
        if about.st_size < position:
            raise RunError(
                f"{path} has {about.st_size} bytes, but had {position} when the checkpoint was saved: it was cut or replaced"
            )

    def __init__(self, path: Path, position: int = 0) -> None:
        self.check(path, position)
        self.path = path
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            self._file = open(descriptor, "ab")  # noqa: SIM115 (closed by __exit__)
            os.truncate(descriptor, position)
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}") from error

    def append(self, text: str) -> None:
        """Write text that a reader sees at once. Raises RunError."""
        try:
            self._file.write(text.encode())
            self._file.flush()
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written: {error.strerror}") from error

    def position(self) -> int:
        """Its length in bytes, all of which are on the disk when this returns."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written: {error.strerror}") from error
        return self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def as_line(row: Row) -> str:
    """A row as a line of JSON. JSON has no number that is not finite: NaN, Infinity and -Infinity become strings."""
    return json.dumps(_with_names(row), allow_nan=False) + "\n"


def _with_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_names(inner) for key, inner in value.items()}
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(path: Path) -> list[Row]:
    """All rows. A last line that is torn, as a crash leaves it, is no row. Raises RunError for any other damage."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    rows = []
    for number, line in enumerate(lines[:-1], 1):  # what follows the last newline is torn, or nothing
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or type(row.get("step")) is not int:
                raise ValueError("no object with a step")
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path}, line {number} is damaged: {error}") from error
        rows.append(_with_floats(row))
    return rows


def _with_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_floats(inner) for key, inner in value.items()}
    return float(value) if value in ("nan", "inf", "-inf") else value


def history(rows: list[Row]) -> list[Row]:
    """One row per step, in order: the last, where a step was taken again after a rollback; none that was skipped."""
    return [row for _, row in sorted({row["step"]: row for row in rows if "skipped" not in row}.items())]
