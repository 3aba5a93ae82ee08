"""`gpt2 runs`: the runs in a folder, side by side."""

from __future__ import annotations

import argparse
import dataclasses
import io
import math
import os
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from gpt2.commands.parser import place
from gpt2.commands.plot import draw
from gpt2.errors import RunError
from gpt2.files import naming, strict_json
from gpt2.run.folder import Run
from gpt2.run.metrics import Recorded, bits_per_byte, history
from gpt2.run.plots import save
from gpt2.run.report import MARK, document, picture, titled
from gpt2.run.series import Bins
from gpt2.terminal import note, one_line, units
from tinygrad2 import html
from tinygrad2.files import write_anew
from tinygrad2.language import padded, width_of

HELP = "list and compare the runs in a folder"
COLUMNS = ("run", "data", "parameters", "steps", "tokens/s", "best val", "at", "last val", "seed")
IN_BITS = {"best val": "bits/byte", "last val": "last bits/byte"}
LEAST = ("data", "parameters", "seed", "tokens/s", "at", "last val", "last bits/byte")
"""The columns that are left out where the terminal is too narrow for all, one after another."""

SHORTEST = 16
"""Letters of a name that are shown however narrow the terminal is; and if it is wider, a third of what it has."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    parser.add_argument("folder", nargs="?", default="runs", help="folder that holds run folders (default runs)")
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    what = "write a page: this table, all losses in one picture, and links to the reports"
    parser.add_argument("--html", type=place, metavar="FILE", help=what)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    found = list(described(Path(args.folder)))
    if not found:
        raise RunError(f"{args.folder}: holds no run folder that can be read")
    settings = [about.pop("settings") for about in found]
    usual = {name: _usual([own.get(name) for own in settings]) for name in set().union(*settings)}
    for about, own in zip(found, settings, strict=True):
        about["differs in"] = {name: value for name, value in own.items() if any(o.get(name) != value for o in settings)}
        about["unusual"] = {name: value for name, value in about["differs in"].items() if value != usual[name]}
    tokenizers = {about.pop("tokenizer") for about in found}
    if args.json:
        shown = [_without(about, "unusual") for about in found]
        print(strict_json([about | {"differs in": _without(about["differs in"], "seed")} for about in shown]))
        return 0
    if args.html:
        path = Path(args.html)
        with naming(f"--html {path}"):
            write_anew(path, page(Path(args.folder), found, path).encode("utf-8", "replace"), MARK)
        print(path)
        return 0
    in_bits = len(tokenizers) > 1 and any(about["bits/byte"] is not None for about in found)
    for line in table(found, in_bits, shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize):
        print(line)
    if in_bits:
        note("tokenizers differ: compare bits per byte, not nats per token")
        uncounted = [str(about["run"]) for about in found if about["bits/byte"] is None and about["best val"] is not None]
        if uncounted:
            note(one_line(f"without bits per byte, trained by an older version that counted no bytes: {', '.join(uncounted)}"))
    elif len(tokenizers) > 1:
        note("tokenizers differ: losses in nats per token cannot be compared")
    return 0


def table(found: list[dict[str, Any]], in_bits: bool, width: int) -> Iterator[str]:
    """The lines of a table that is at most so wide, as far as that can be; its losses in nats per token, or bits per byte."""
    columns = [IN_BITS.get(name, name) if in_bits else name for name in COLUMNS]
    for least in ("", *LEAST):
        columns = [name for name in columns if name != least]
        cells = [columns, *([_cell(about, name) for name in columns] for about in found)]
        widths = [max(map(width_of, column)) for column in zip(*cells, strict=True)]
        widths[0] = min(widths[0], max(SHORTEST, width // 3))
        free = width - sum(widths) - 2 * (len(widths) - 1)
        if free >= 0:
            break
    differs = [_shown(_without(about["unusual"], *columns)) for about in found]
    beside = max(map(len, differs)) + 2 <= free
    for row, text in zip(cells, ["differs in" * beside, *differs], strict=True):
        name, *rest = row
        line = "  ".join(padded(cell, wide) for cell, wide in zip([_cut(name, widths[0]), *rest], widths, strict=True))
        yield (f"{line}  {text}" if beside else line).rstrip()
        if not beside:
            yield from textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="    ")


def page(folder: Path, found: list[dict[str, Any]], out: Path) -> str:
    """The table, links to the reports, as they are seen from a file, and the losses of the runs that have been evaluated."""
    heads = [*COLUMNS, "bits/byte", "differs in"]
    rows = [[*(_cell(about, name) for name in heads[:-1]), _shown(_without(about["unusual"], *heads))] for about in found]
    name = one_line(folder.absolute().resolve().name)
    parts = [f"<h1>{escape(name)}</h1>", titled("Runs", html.table(heads, rows))]
    links = [
        f'<li><a href="{quote(os.path.relpath(run.report, out.parent))}">{escape(one_line(run.folder.name))}</a></li>'
        for run in (Run(folder / about["run"]) for about in found)
        if run.report.exists()
    ]
    parts.append(titled("Reports", f"<ul>{''.join(links)}</ul>") if links else "")
    evaluated = {about["run"]: Run(folder / about["run"]) for about in found if about["last val"] is not None}
    if evaluated:
        content = io.BytesIO()
        try:
            save(draw(evaluated), content)
            parts.append(picture("Losses", content))
        except RunError as error:  # losses that cannot be compared
            parts.append(titled("Losses", escape(one_line(str(error)))))
    return document(name, "".join(parts))


def _usual(values: list[Any]) -> Any:
    """The most common of some values, or `...` where none is: then each run shows its own."""
    (value, most), *others = Counter(values).most_common(2)
    return ... if others and others[0][1] == most else value


def _cell(about: dict[str, Any], name: str) -> str:
    if name == "steps" and about["steps"] != about["of"]:
        return f"{about['steps']:,} of {about['of']:,}"
    if name in ("best val", "bits/byte") and about["at"] == 0 and about["steps"]:
        return f"{_shown(about[name])} at step 0"
    return _shown(about[name])


def _cut(text: str, width: int) -> str:
    """A name without its middle, if it is too long: names of runs often differ at their ends."""
    parts, kept, less = units(text), text, 0
    while width_of(kept) > width:
        less += 1
        half = (len(parts) - less) // 2
        kept = f"{''.join(parts[:half])}…{''.join(parts[half + less :])}"
    return kept


def _without(found: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in names}


def described(folder: Path) -> Iterator[dict[str, Any]]:
    """What there is to know of each run in a folder; on standard error, which cannot be read, and why. Raises RunError."""
    if os.path.lexists(Run(folder).config):
        raise RunError(f"{folder}: is a run; give the folder that holds it: {folder.absolute().parent}")
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
    best: Recorded = {"step": 0}  # the row with the lowest of the finite losses
    last: Recorded = {"step": 0}
    for row in history(run.metrics) if run.metrics.exists() else ():
        step = row["step"]
        if "tokens_per_s" in row:
            speeds.add(step, row["tokens_per_s"])
        if "val_loss" in row:
            last = row
            if math.isfinite(row["val_loss"]) and row["val_loss"] < best.get("val_loss", math.inf):
                best = row
    _, speed = speeds.table().T
    speed = np.sort(speed[np.isfinite(speed)])
    return {
        "run": run.folder.name,
        "data": about.training.data,
        "parameters": about.parameters,
        "steps": step,
        "of": about.training.steps,
        "tokens/s": round(float(speed[len(speed) // 2])) if len(speed) else None,
        "best val": best.get("val_loss"),
        "at": best["step"] if "val_loss" in best else None,
        "last val": last.get("val_loss"),
        "whole val": last.get("whole_val_loss"),
        "bits/byte": bits_per_byte(best),
        "last bits/byte": bits_per_byte(last),
        "seed": about.training.seed,
        "tokenizer": run.belongs_to(about.model)["tokenizer_sha256"] if run.tokenizer.exists() else None,
        "settings": {**about.training.chosen(), **dataclasses.asdict(about.model)},
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
    if isinstance(value, bool) or value is None:
        return "-" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else one_line(str(value)) or "none"
