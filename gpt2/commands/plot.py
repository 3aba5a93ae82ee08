"""`gpt2 plot`: several runs in one picture, or in TensorBoard."""

from __future__ import annotations

import argparse
from pathlib import Path

from gpt2.errors import RunError
from gpt2.metrics import Row, history, read_metrics
from gpt2.runs import Run
from gpt2.tensorboard import write_events

HELP = "draw the losses of several runs together, or write them for TensorBoard"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder")
    parser.add_argument("--out", help="picture to write (default runs.png, and none with --tensorboard)")
    parser.add_argument(
        "--tensorboard", metavar="FOLDER", help="write all that was measured as event files, one sub-folder per run"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    runs = {name: Run(Path(name)) for name in args.runs}
    rows = {name: history(read_metrics(run.metrics)) for name, run in runs.items()}
    if args.tensorboard:
        export(Path(args.tensorboard), runs, rows)
    if args.out or not args.tensorboard:
        path = Path(args.out or "runs.png")
        draw(path, rows, {name: _step_tokens(run) for name, run in runs.items()})
        print(path)
    return 0


def _step_tokens(run: Run) -> int:
    """How many tokens a step sees."""
    about = run.read_config()
    return about.training.batch_size * about.model.max_seq_len


def export(folder: Path, runs: dict[str, Run], rows: dict[str, list[Row]]) -> None:
    """An event file for each run, in a sub-folder of its name; those of an earlier export are replaced."""
    names = {name: run.folder.resolve().name for name, run in runs.items()}
    for own in names.values():
        if list(names.values()).count(own) > 1:
            raise RunError(f"two runs are called {own}, and would be one to TensorBoard: export them to two folders")
    for name, run in runs.items():
        count = write_events(folder / names[name], rows[name], run.metrics.stat().st_mtime)
        print(f"{folder / names[name]}: {count:,} values of {len(rows[name]):,} steps")


def draw(path: Path, rows: dict[str, list[Row]], tokens: dict[str, int]) -> None:
    """Losses against tokens seen, since runs differ in their batches: validation as a line, training pale behind it."""
    from matplotlib.figure import Figure  # slow to load, and not needed until now

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    lows = []
    for name, own in rows.items():
        if not any("val_loss" in row for row in own):
            raise RunError(f"{name}: has no evaluation to draw yet")
        val = [(row["step"] * tokens[name], row["val_loss"]) for row in own if "val_loss" in row]
        train = [(row["step"] * tokens[name], row["train_loss"]) for row in own if "train_loss" in row]
        best = min(loss for _, loss in val)
        (line,) = axes.plot(
            *zip(*val, strict=True), marker="o", markersize=4, label=f"{name}: {val[-1][1]:.3f} (best {best:.3f})"
        )
        if train:
            axes.plot(*zip(*train, strict=True), color=line.get_color(), alpha=0.15, linewidth=0.8)
        lows.append(best)
    axes.set(xlabel="tokens seen", ylabel="validation loss (nats per token; training pale)")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k")
    axes.set_ylim(bottom=min(lows) - 0.15)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise RunError(f"--out {path}: cannot be written: {error}") from error
