"""`gpt2 plot`: several runs in one picture, or in TensorBoard."""

from __future__ import annotations

import argparse
from pathlib import Path

from gpt2.commands.arguments import add_run
from gpt2.errors import RunError
from gpt2.files import naming
from gpt2.run.folder import Run
from gpt2.run.metrics import history
from gpt2.run.plots import LARGEST, Losses, loss_text, plain, save
from gpt2.run.tensorboard import write_events

HELP = "draw the losses of several runs together, or write them for TensorBoard"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_run(parser, "run folder; more are drawn together", dest="runs", several=True)
    parser.add_argument("--out", help="picture to write (default runs.png, and none with --tensorboard)")
    parser.add_argument(
        "--tensorboard", metavar="FOLDER", help="write all that was measured as event files, one sub-folder per run"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    runs = {name: Run(Path(name)) for name in args.runs}
    for found in runs.values():
        found.check()
    if args.tensorboard:
        export(Path(args.tensorboard), runs)
    if args.out or not args.tensorboard:
        path = Path(args.out or "runs.png")
        if path.name and not path.suffix:
            path = path.with_suffix(".png")
        draw(path, runs)
        print(path)
    return 0


def export(folder: Path, runs: dict[str, Run]) -> None:
    """An event file for each run, in a sub-folder of its name; those of an earlier export are replaced."""
    names = {name: run.folder.resolve().name for name, run in runs.items()}
    for own in names.values():
        if list(names.values()).count(own) > 1:
            raise RunError(f"two runs are called {own}, and would be one to TensorBoard: export them to two folders")
    for name, run in runs.items():
        values, steps = write_events(folder / names[name], history(run.metrics), when_written(run.metrics))
        print(f"{folder / names[name]}: {values:,} values of {steps:,} steps")


def when_written(path: Path) -> float:
    """When a file was last written, in seconds since 1970. Raises RunError."""
    with naming(path, "read"):
        return path.stat().st_mtime


def draw(path: Path, runs: dict[str, Run]) -> None:
    """Losses against tokens seen, since runs differ in their batches: validation as a line, training pale behind it."""
    found = {name: (Losses(history(run.metrics)), _step_tokens(run)) for name, run in runs.items()}
    from matplotlib.figure import Figure  # slow to load, and not needed until now

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for name, (losses, tokens) in found.items():
        steps, val = losses.val()
        if not len(val):
            raise RunError(f"{name}: has no evaluation to draw yet")
        label = f"{plain(name)}: {loss_text(losses.last_val)} (best {loss_text(losses.best_val)})"
        (line,) = axes.plot(steps * tokens, val, marker="o", markersize=4, label=label)
        steps, train = losses.train()
        axes.plot(steps * tokens, train, color=line.get_color(), alpha=0.15, linewidth=0.8)
    axes.set(xlabel="tokens seen", ylabel="validation loss (nats per token; training pale)")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k")
    lows = [losses.best_val for losses, _ in found.values() if abs(losses.best_val) < LARGEST]
    if lows:
        axes.set_ylim(bottom=min(lows) - 0.15)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    with naming(f"--out {path}"):
        try:
            save(figure, path)
        except ValueError as error:  # of a kind that there is not
            raise RunError(f"--out {path}: {error}") from error


def _step_tokens(run: Run) -> int:
    """How many tokens a step sees."""
    about = run.read_config()
    return about.training.batch_size * about.model.max_seq_len
