"""The numbers of a run as TensorBoard reads them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from gpt2.errors import ConfigError
from gpt2.files import naming
from gpt2.run.metrics import Recorded
from tinygrad2.files import flush_folder

NAME = "events.out.tfevents.gpt2"
"""TensorBoard reads all files with `tfevents` in their name; always the same one is replaced, so no point is there twice."""


def write_events(folder: Path, rows: Iterable[Recorded], wall_time: float) -> tuple[int, int]:
    """Write every number of some rows at its step into the event file of a folder; returns how many, and of how many rows.

    Names are those of metrics.jsonl, joined by slashes: `val_loss`, `grad_norms/h.0`. Values are rounded to float32, all that
    an event can hold. Rows have no time of their own: all get `wall_time`, in seconds since 1970. Raises ConfigError where
    tensorboardX is not installed, and RunError where the folder cannot be written.
    """
    try:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import RecordWriter
    except ImportError:
        raise ConfigError("TensorBoard's files need tensorboardX: pip install 'tinygrad2[tensorboard]'") from None
    count = steps = 0
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".events.", suffix=".tmp", dir=folder) as own:
            path = Path(own, "whole")  # a name that TensorBoard does not read
            with closing(RecordWriter(str(path))) as records:
                records.write(Event(wall_time=wall_time, file_version="brain.Event:2").SerializeToString())
                for row in rows:
                    values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars(row)]
                    event = Event(wall_time=wall_time, step=row["step"], summary=Summary(value=values))
                    records.write(event.SerializeToString())
                    count, steps = count + len(values), steps + 1
            with open(path, "r+b") as file:  # to be written, or Windows does not flush it
                os.fsync(file.fileno())
            os.replace(path, folder / NAME)
        flush_folder(folder)
    return count, steps


def scalars(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a row by name, those inside other objects too; but not the step."""
    value: Any
    for name, value in row.items():
        if isinstance(value, dict):
            yield from scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and prefix + name != "step":
            yield prefix + name, value
