"""`gpt2 plot`: several runs in one picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from gpt2.errors import RunError
from gpt2.metrics import Row, history, read_metrics
from gpt2.runs import Run

HELP = "draw the losses of several runs together"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder")
    parser.add_argument("--out", default="runs.png", help="picture to write (default runs.png)")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    rows: dict[str, list[Row]] = {}
    tokens: dict[str, int] = {}
    for folder in args.runs:
        run = Run(Path(folder))
        about = run.read_config()
        rows[folder] = history(read_metrics(run.metrics))
        tokens[folder] = int(about.get("training", {}).get("batch_size", 1)) * int(about["model"].get("max_seq_len", 1))
        if not any("val_loss" in row for row in rows[folder]):
            raise RunError(f"{folder}: has no evaluation to draw yet")
    draw(Path(args.out), rows, tokens)
    print(args.out)
    return 0


def draw(path: Path, rows: dict[str, list[Row]], tokens: dict[str, int]) -> None:
    """Losses against tokens seen, since runs differ in their batches: validation as a line, training pale behind it."""
    from matplotlib.figure import Figure  # slow to load, and not needed until now

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    lows = []
    for name, own in rows.items():
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
