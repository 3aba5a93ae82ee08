"""`gpt2 plot`: several runs in one picture, or in TensorBoard."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.commands.arguments import add_run, out_of
from gpt2.commands.parser import place
from gpt2.errors import RunError
from gpt2.files import naming
from gpt2.run.folder import Run
from gpt2.run.metrics import history
from gpt2.run.plots import (
    Losses,
    draw_loss,
    draw_training,
    in_thousands,
    limit_losses,
    loss_text,
    plain,
    save,
    shortened,
)
from gpt2.run.report import write_report
from gpt2.run.tensorboard import write_events
from tinygrad2.errors import counted
from tinygrad2.fonts import legible

HELP = "draw the losses of several runs together, draw one run's pictures and page again, or write event files for TensorBoard"
STYLES = ("-", "--", "-.", ":")
"""Of lines, where there are more runs than colours."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_run(parser, "run folder; more are drawn together", dest="runs", several=True)
    parser.add_argument("--out", type=place, help="picture of all losses (default: runs.png beside several runs)")
    parser.add_argument(
        "--tensorboard",
        type=place,
        metavar="FOLDER",
        help="write every measurement as TensorBoard event files, one sub-folder per run",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    runs = {name: Run.open(name) for name in args.runs}
    if args.tensorboard:
        export(Path(args.tensorboard), runs)
    if args.out or (len(runs) > 1 and not args.tensorboard):
        figure = draw(runs)
        if args.out and Path(args.out).name and not Path(args.out).suffix:
            args.out = str(Path(args.out).with_suffix(".png"))
        with out_of(args.out, common_folder(runs.values()) / "runs.png") as path:
            try:
                save(figure, path, only_ours=True)
            except ValueError as error:  # of a kind that there is not
                raise RunError(f"--out {path}: {error}") from error
        print(path)
    elif not args.tensorboard:
        (found,) = runs.values()
        made: dict[Path, Callable[[Run], object]] = {
            found.loss_plot: draw_loss,
            found.training_plot: draw_training,
            found.report: write_report,
        }
        for path, draw_it in made.items():
            with naming(path):
                draw_it(found)
            print(path)
    return 0


def common_folder(runs: Iterable[Run]) -> Path:
    """The folder that holds all of the runs, by the name that leads to it if they are beside one another."""
    parents = {run.folder.parent for run in runs}
    return parents.pop() if len(parents) == 1 else Path(os.path.commonpath([os.path.abspath(parent) for parent in parents]))


def export(folder: Path, runs: dict[str, Run]) -> None:
    """An event file for each run, in a sub-folder of its name; those of an earlier export are replaced."""
    names = {name: run.folder.resolve().name for name, run in runs.items()}
    for own in names.values():
        if list(names.values()).count(own) > 1:
            raise RunError(f"two runs are called {own}, and TensorBoard would show them as one: write them into two folders")
    for name, run in runs.items():
        values, steps = write_events(folder / names[name], history(run.metrics), when_written(run.metrics))
        print(f"{folder / names[name]}: {counted(values, 'value')} of {counted(steps, 'step')}")


def when_written(path: Path) -> float:
    """When a file was last written, in seconds since 1970. Raises RunError."""
    with naming(path, "read"):
        return path.stat().st_mtime


@legible
def draw(runs: dict[str, Run]) -> Any:
    """Losses against tokens seen, since runs differ in their batches: validation as a line, training pale behind it.

    Of runs with different tokenizers, the losses of validation in bits per byte.
    """
    about = {name: run.read_config() for name, run in runs.items()}
    tokenizers = {run.belongs_to(about[name].model)["tokenizer_sha256"] for name, run in runs.items()}
    in_bits = len(tokenizers) > 1
    found = {name: Losses(history(run.metrics), in_bits) for name, run in runs.items()}
    from matplotlib.figure import Figure  # slow to load, and not needed until now

    figure = Figure(figsize=(8, 5 + 0.21 * len(runs)), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    drawn, names = [], [run.folder.resolve().name for run in runs.values()]
    for i, (name, losses) in enumerate(found.items()):
        step_tokens = about[name].training.batch_size * about[name].model.max_seq_len
        steps, val = losses.val()
        if not len(val):
            raise RunError(f"{name}: has no evaluation yet; wait for the first one")
        if in_bits and math.isnan(losses.first_val):
            raise RunError(
                f"{name}: an older version trained it without counting bytes, so its losses cannot be compared with those of "
                "another tokenizer: plot it alone"
            )
        called = shortened(names[i] if names.count(names[i]) == 1 else name)
        label = f"{plain(called)}: {loss_text(losses.last_val)} (best {loss_text(losses.best_val)})"
        color, style = f"C{i % 10}", STYLES[i // 10 % len(STYLES)]
        axes.plot(steps * step_tokens, val, color=color, linestyle=style, marker="o", markersize=4, label=label)
        drawn.append(val)
        if not in_bits:
            steps, train = losses.train()
            axes.plot(steps * step_tokens, train, color=color, alpha=0.15, linewidth=0.8)
            drawn.append(train)
    nats = "validation loss (nats per token; training pale)"
    axes.set(xlabel="tokens seen", ylabel="validation loss (bits per byte: the tokenizers differ)" if in_bits else nats)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(in_thousands)
    limit_losses(axes, np.concatenate(drawn), [losses.first_val for losses in found.values()])
    axes.grid(alpha=0.25)
    figure.legend(loc="outside lower center", frameon=False)  # nowhere inside is always free
    return figure
