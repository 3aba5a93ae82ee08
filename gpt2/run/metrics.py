"""metrics.jsonl: one JSON object per line, only ever appended to; what is known of a run is read from here."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Required, Self, TypedDict, TypeVar

import msgspec

from gpt2.errors import RunError
from gpt2.files import check_regular, naming, open_itself, open_regular, strict_json

Row = dict[str, Any]
"""As it is made, and written."""

Text = Annotated[str, msgspec.Meta(max_length=1000)]
Name = Annotated[str, msgspec.Meta(max_length=200)]
Named = Annotated[dict[Name, float], msgspec.Meta(max_length=10_000)]
ByHead = Annotated[dict[Name, float], msgspec.Meta(min_length=1, max_length=1000)]
StepNumber = Annotated[int, msgspec.Meta(ge=0, le=10**12)]


class Block(TypedDict):
    """What was measured of a block of the model: see training/measurements.py."""

    in_std: float
    out_std: float
    dead: float
    off: float
    entropy: ByHead
    sink: ByHead
    attention_error: float


class Diagnostics(TypedDict, total=False):
    """What was measured of a model at an evaluation: see training/measurements.py."""

    blocks: Required[Annotated[dict[Name, Block], msgspec.Meta(max_length=1000)]]
    future: float
    offsets: Named
    slope: float
    slope_doubt: float
    update_scale: float


class Recorded(TypedDict, total=False):
    """A row as it is read: every field has its type and its range. What else a line holds is left out."""

    step: Required[StepNumber]
    train_loss: float
    learning_rate: float
    grad_norm: float
    tokens_per_s: float
    skipped: Text
    grad_norms: Named
    update_ratios: Named
    val_loss: float
    above_perfect: float
    val_tokens: Annotated[int, msgspec.Meta(ge=1, le=10**15)]
    val_bytes: Annotated[int, msgspec.Meta(ge=0, le=10**15)]
    whole_val_loss: float
    whole_val_tokens: Annotated[int, msgspec.Meta(ge=1, le=10**15)]
    baselines: Named
    diagnostics: Diagnostics


class _Counted(msgspec.Struct, gc=False):
    """What decides whether a row counts."""

    step: StepNumber
    skipped: Text | None = None


T = TypeVar("T")
ROW = msgspec.json.Decoder(Recorded, strict=False)  # not strict: numbers that are not finite are strings (see `as_line`)
STEP = msgspec.json.Decoder(_Counted)
BLOCK = 1 << 20
"""Bytes that are read at once."""

LONGEST_LINE = 4 << 20
"""Bytes of a row: an evaluation of a model with 96 blocks of 96 heads has 0.4 million."""

MOST_RETURNS = 100_000
NEVER = (-1, sys.maxsize)


class Log:
    """A text file that grows at its end, and that a resumed run cuts back to where its checkpoint was.

    It is written in place, so that a second name of it, a link of any kind, would change something else: such a file is
    refused. Nothing changes before `check` has said that it may.
    """

    @staticmethod
    def check(path: Path, position: int) -> None:
        """Raise RunError for a file that cannot be cut back to a position."""
        with naming(path):
            size, names = 0, 1
            if os.path.lexists(path):
                check_regular(path, links=False)
                os.close(open_itself(path, os.O_WRONLY))
                size, names = path.stat().st_size, path.stat().st_nlink
        if names > 1:
            raise RunError(f"{path} is a hard link: what is written to it would also change a file elsewhere; copy it first")
        if size < position:
            raise RunError(f"{path} has {size} bytes, but had {position} at the checkpoint: it was cut or replaced: restore it")

    def __init__(self, path: Path, position: int = 0) -> None:
        self.check(path, position)
        self.path = path
        with naming(path):
            descriptor = open_itself(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            self._file = open(descriptor, "ab")  # noqa: SIM115 (closed by __exit__)
            os.truncate(descriptor, position)

    def append(self, text: str) -> None:
        """Write text that a reader sees at once. Raises RunError."""
        with naming(self.path):
            self._file.write(text.encode())
            self._file.flush()

    def position(self) -> int:
        """Its length in bytes, all of which are on the disk when this returns."""
        with naming(self.path):
            os.fsync(self._file.fileno())
        return self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def as_line(row: Row) -> str:
    """A row as a line of JSON. JSON has no number that is not finite: NaN, Infinity and -Infinity become strings."""
    return strict_json(row, repr) + "\n"


def read_metrics(path: Path) -> list[Recorded]:
    """All rows. A last line that is torn, as a crash leaves it, is no row. Raises RunError for any other damage."""
    with _opened(path) as file:
        return list(_rows(path, file, ROW))


def history(path: Path, skipped: bool = False) -> Iterator[Recorded]:
    """One row per step, in order, in a memory that does not grow with their number; what was skipped only if it is asked for.

    A row, also one that was skipped, says that the training stood before its step: rows of it and of later steps that came
    before were taken back, and do not count any more. Raises RunError for damage.
    """
    with _opened(path) as file:
        end = os.fstat(file.fileno()).st_size  # a training may be writing
        returns = _returns(path, _rows(path, file, STEP, end))
        file.seek(0)
        later = next(returns, NEVER)
        for number, row in enumerate(_rows(path, file, ROW, end)):
            if number == later[0]:
                later = next(returns, NEVER)
            if "skipped" in row:
                if skipped:
                    yield row
            elif row["step"] < later[1]:
                yield row


def bits_per_byte(row: Recorded) -> float | None:
    """The validation loss of a row so that those of other tokenizers compare with it; None where no bytes are recorded."""
    if "val_loss" not in row or not row.get("val_bytes"):
        return None
    return row["val_loss"] / math.log(2) * row.get("val_tokens", math.nan) / row["val_bytes"]


def positions(path: Path, steps: range) -> dict[int, int]:
    """Where in the data the batches are that these steps were taken with, of those that count: each batch that was drawn has
    a row, also one that was skipped, or whose step was taken back. Raises RunError for damage."""
    found, position = {}, 0
    with _opened(path) as file:
        for row in _rows(path, file, ROW):
            if "train_loss" in row:
                if "skipped" not in row and row["step"] in steps:
                    found[row["step"]] = position  # a later row of a step takes the place of an earlier one
                position += 1
    return found


def _returns(path: Path, rows: Iterator[_Counted]) -> Iterator[tuple[int, int]]:
    """The rows, by number, at which the training went back, and to which step: both rise, for who goes back further leaves out
    what was between."""
    found: list[tuple[int, int]] = []
    last = -1
    for number, row in enumerate(rows):
        step = row.step
        if step <= last:
            while found and found[-1][1] >= step:
                found.pop()
            found.append((number, step))
            if len(found) > MOST_RETURNS:
                raise RunError(f"{path}, line {number + 1}: its steps went back more than {MOST_RETURNS:,} times")
            last = step - 1
        if row.skipped is None:
            last = step
    return iter(found)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A log to read: a file, and no link to one. Raises RunError, also where reading fails later."""
    with naming(path, "read"), open_regular(path, links=False) as file:
        yield file


def _rows(path: Path, file: BinaryIO, decoder: msgspec.json.Decoder[T], end: int = sys.maxsize) -> Iterator[T]:
    """The lines of a log up to a byte, decoded block by block. Raises RunError that names the first that is damaged."""
    torn, number = b"", 1  # what follows the last newline so far, and the number of its line
    while content := file.read(min(BLOCK, end - file.tell())):
        block, newline, rest = content.rpartition(b"\n")
        if newline:
            block, torn = torn + block + newline, rest
            count = block.count(newline)
            try:
                rows = decoder.decode_lines(block)
                sound = len(rows) == count and (block.isascii() or bool(block.decode()))
            except (ValueError, RecursionError):
                sound = False
            if not sound:
                raise RunError(f"{path}, {_damage(block, number, decoder)}")
            number += count
            yield from rows
        else:
            torn += rest
        if len(torn) > LONGEST_LINE:
            raise RunError(f"{path}, line {number} is damaged: it has more than {LONGEST_LINE:,} bytes")


def _damage(block: bytes, number: int, decoder: msgspec.json.Decoder[Any]) -> str:
    """Which of some lines, numbered from `number`, is no row, and why."""
    for line in block.split(b"\n"):
        try:
            decoder.decode(line.decode())
        except ValueError as error:
            return f"line {number} is damaged: {error}"
        except RecursionError:
            return f"line {number} is damaged: nested too deeply"
        number += 1
    return "its lines are damaged"
