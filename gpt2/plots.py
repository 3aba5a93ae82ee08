"""Pictures of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BASELINES = {"uniform": ("ln V: every token equally likely", "--"), "perfect": ("a perfect model", "-")}
"""How they are called, and the style of their line."""


def plot_loss(path: Path, rows: Sequence[Mapping[str, Any]], baselines: Mapping[str, float], title: str) -> None:
    """Training and validation loss against steps, with the baselines as lines."""
    from matplotlib.figure import Figure  # slow to load, and not needed until now

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    steps = np.array([row["step"] for row in rows if "train_loss" in row])
    losses = np.array([row["train_loss"] for row in rows if "train_loss" in row])
    axes.plot(steps, losses, color="tab:blue", alpha=0.2, linewidth=0.8)
    window = max(1, len(losses) // 50)
    if window > 1:
        smooth = np.convolve(losses, np.ones(window) / window, "valid")
        axes.plot(steps[window - 1 :], smooth, color="tab:blue", linewidth=1.6, label=f"training (mean of {window} steps)")
    else:
        axes.plot(steps, losses, color="tab:blue", linewidth=1.6, label="training")
    val = [(row["step"], row["val_loss"]) for row in rows if "val_loss" in row]
    label = f"validation (last {val[-1][1]:.3f})"
    axes.plot(*zip(*val, strict=True), color="tab:orange", marker="o", markersize=4, label=label)
    for name, value in baselines.items():
        label, style = BASELINES.get(name, (name, ":"))
        axes.axhline(value, color="0.4", linestyle=style, linewidth=1)
        at = axes.get_yaxis_transform()  # x as a share of the width, y as a loss
        axes.text(0.99, value, f"{label} ({value:.3f})", transform=at, ha="right", va="bottom", color="0.3", fontsize=9)
    axes.set(xlabel="step", ylabel="loss (nats per token)", title=title)
    axes.set_xlim(0, max(row["step"] for row in rows) or 1)
    low, high = (f([*losses, *(v for _, v in val), *baselines.values()]) for f in (min, max))
    axes.set_ylim(low - 0.15, high + 0.15)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)  # nowhere inside is always free
    figure.savefig(path)
