"""`gpt2 runs`: the runs in a folder, side by side."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.errors import RunError
from gpt2.files import naming, strict_json
from gpt2.run.folder import Run
from gpt2.run.metrics import history
from gpt2.run.series import Bins
from gpt2.terminal import note, one_line

HELP = "list and compare the runs in a folder"
COLUMNS = ("run", "data", "parameters", "steps", "of", "tokens/s", "best val", "at", "last val", "seed", "differs in")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    parser.add_argument("folder", nargs="?", default="runs", help="folder that holds run folders (default runs)")
    parser.add_argument("--json", action="store_true", help="print one JSON array")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    found = list(described(Path(args.folder)))
    if not found:
        raise RunError(f"{args.folder}: holds no run folders that can be read")
    settings = [about.pop("settings") for about in found]
    for about, own in zip(found, settings, strict=True):
        about["differs in"] = {
            name: value for name, value in own.items() if name != "seed" and any(other.get(name) != value for other in settings)
        }
    if args.json:
        print(strict_json(found))
        return 0
    cells = [list(COLUMNS)] + [[_shown(about[name]) for name in COLUMNS] for about in found]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def described(folder: Path) -> Iterator[dict[str, Any]]:
    """What there is to know of each run in a folder; on standard error, which cannot be read, and why. Raises RunError."""
    with naming(folder, "read"):
        folders = sorted(path for path in folder.iterdir() if path.is_dir())
    for path in folders:
        run = Run(path)
        if not os.path.lexists(run.config):  # not a run
            continue
        try:
            run.check()
            found = describe(run)
        except (OSError, RunError) as error:
            note(f"left out: {error}")
            continue
        yield found


def describe(run: Run) -> dict[str, Any]:
    """What there is to know of a run at a glance, and all its settings. Raises RunError for a damaged one."""
    about = run.read_config()
    step, speeds = 0, Bins(columns=2)
    best: tuple[float, int] | None = None  # the lowest of the finite losses, and its step
    last: float | None = None
    for row in history(run.metrics) if run.metrics.exists() else ():
        step = row["step"]
        if "tokens_per_s" in row:
            speeds.add(step, row["tokens_per_s"])
        if "val_loss" in row:
            last = row["val_loss"]
            if math.isfinite(last) and (best is None or last < best[0]):
                best = last, step
    _, speed = speeds.table().T
    speed = np.sort(speed[np.isfinite(speed)])
    return {
        "run": run.folder.name,
        "data": about.training.data,
        "parameters": about.parameters,
        "steps": step,
        "of": about.training.steps,
        "tokens/s": round(float(speed[len(speed) // 2])) if len(speed) else None,
        "best val": best[0] if best else None,
        "at": best[1] if best else None,
        "last val": last,
        "seed": about.training.seed,
        "settings": {**about.training.chosen(), **dataclasses.asdict(about.model)},
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
    if isinstance(value, bool) or value is None:
        return "-" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else one_line(str(value))
