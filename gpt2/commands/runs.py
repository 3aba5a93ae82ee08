"""`gpt2 runs`: the runs in a folder, side by side."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from gpt2.errors import RunError
from gpt2.metrics import history, read_metrics
from gpt2.runs import Run, best_step

HELP = "list and compare the runs in a folder"
COLUMNS = ("run", "data", "parameters", "steps", "of", "tokens/s", "best val", "at", "last val", "seed", "differs in")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    parser.add_argument("folder", nargs="?", default="runs", help="folder that holds run folders (default runs)")
    parser.add_argument("--json", action="store_true", help="print one JSON array")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    folder = Path(args.folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder")
    found = [describe(Run(path.parent)) for path in sorted(folder.glob("*/config.json"))]
    if not found:
        raise RunError(f"{folder}: holds no run folders")
    settings = [about.pop("settings") for about in found]
    for about, own in zip(found, settings, strict=True):
        about["differs in"] = {
            name: value for name, value in own.items() if name != "seed" and any(other.get(name) != value for other in settings)
        }
    if args.json:
        print(json.dumps(found))
        return 0
    cells = [list(COLUMNS)] + [[_shown(about[name]) for name in COLUMNS] for about in found]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def describe(run: Run) -> dict[str, Any]:
    """What there is to know of a run at a glance, and all its settings. Raises RunError for a damaged one."""
    about = run.read_config()
    rows = history(read_metrics(run.metrics)) if run.metrics.exists() else []
    losses = {row["step"]: row["val_loss"] for row in rows if "val_loss" in row}
    speeds = sorted(row["tokens_per_s"] for row in rows if "tokens_per_s" in row)
    best = best_step(rows) if losses else None
    return {
        "run": run.folder.name,
        "data": about.training.data,
        "parameters": about.parameters,
        "steps": rows[-1]["step"] if rows else 0,
        "of": about.training.steps,
        "tokens/s": round(speeds[len(speeds) // 2]) if speeds else None,
        "best val": losses.get(best) if best is not None else None,
        "at": best,
        "last val": losses[max(losses)] if losses else None,
        "seed": about.training.seed,
        "settings": {**dataclasses.asdict(about.training), **dataclasses.asdict(about.model)},
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
    if isinstance(value, bool) or value is None:
        return "-" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
