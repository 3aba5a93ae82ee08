"""Pictures of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

Row = Mapping[str, Any]

BASELINES = {"uniform": ("ln V: every token equally likely", "--"), "perfect": ("a perfect model", "-")}
"""How they are called, and the style of their line."""


def plot_loss(path: Path, rows: Sequence[Row], baselines: Mapping[str, float], title: str, step_tokens: int = 0) -> None:
    """Training and validation loss against steps, with the baselines as lines; and, above, tokens: `step_tokens` per step."""
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
    seen = [value for value in (*losses, *(v for _, v in val), *baselines.values()) if math.isfinite(value)]
    axes.set_ylim(min(seen) - 0.15, max(seen) + 0.15)
    axes.grid(alpha=0.25)
    if step_tokens:
        above = axes.secondary_xaxis("top", functions=(partial(_times, step_tokens), partial(_times, 1 / step_tokens)))
        above.set_xlabel("tokens seen")
        above.xaxis.set_major_formatter(_in_thousands)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)  # nowhere inside is always free
    figure.savefig(path)


def plot_training(path: Path, rows: Sequence[Row], title: str) -> None:
    """What happens inside: learning rate, gradients by layer, updates by matrix, and activations by block, against steps."""
    from matplotlib.figure import Figure  # slow to load, and not needed until now

    figure = Figure(figsize=(13, 7.5), dpi=110, layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(2, 3).ravel()
    updates = [row for row in rows if "train_loss" in row]
    measured = [row for row in rows if "update_ratios" in row]
    diagnosed = [row for row in rows if "diagnostics" in row]
    _lines(panels[0], "learning rate", {"": (updates, lambda row: row["learning_rate"])}, "tab:blue")
    panels[0].set_ylim(bottom=0)
    panels[0].ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    _gradients(panels[1], updates, measured)
    _ratios(panels[2], measured)
    names = list(diagnosed[-1]["diagnostics"]["blocks"]) if diagnosed else []

    def of_blocks(axes: Any, what: str, value: Any) -> None:
        _lines(axes, what, {name: (diagnosed, lambda row, n=name: value(row["diagnostics"]["blocks"][n])) for name in names})

    of_blocks(panels[3], "std of the residual stream after each block", lambda block: block["out_std"])
    panels[3].set_ylim(bottom=0)
    of_blocks(panels[4], "share of GELU inputs below -3; dotted: units always off", lambda block: block["off"])
    for line in list(panels[4].get_lines()):
        dead = [row["diagnostics"]["blocks"][line.get_label()]["dead"] for row in diagnosed]
        panels[4].plot(line.get_xdata(), dead, ":", color=line.get_color(), label="_")
    panels[4].set_ylim(bottom=0)
    panels[4].yaxis.set_major_formatter(lambda share, _: f"{share:.3g}" if share >= 0.01 else f"{share:.2g}")
    of_blocks(
        panels[5], "entropy of attention (1: uniform), mean of heads", lambda b: float(np.mean(list(b["entropy"].values())))
    )
    for name, line in zip(names, list(panels[5].get_lines()), strict=True):
        heads = np.array([list(row["diagnostics"]["blocks"][name]["entropy"].values()) for row in diagnosed])
        panels[5].fill_between(line.get_xdata(), heads.min(1), heads.max(1), color=line.get_color(), alpha=0.12, linewidth=0)
    panels[5].set_ylim(0, 1.02)
    last = max((row["step"] for row in rows), default=0)
    for axes in panels:
        axes.set(xlabel="step", xlim=(0, last or 1))
        axes.grid(alpha=0.25)
    figure.savefig(path)


def _gradients(axes: Any, updates: Sequence[Row], measured: Sequence[Row]) -> None:
    """The norm of the whole gradient at every step, before clipping; and of its parts, after, where they were measured."""
    axes.plot(*_points(updates, lambda row: row["grad_norm"]), color="0.75", linewidth=0.8, label="all, unclipped")
    parts = list(measured[-1]["grad_norms"]) if measured else []
    curves = {part: (measured, lambda row, p=part: row["grad_norms"].get(p, math.nan)) for part in parts}
    _lines(axes, "norm of the gradient, by layer", curves)
    axes.set_yscale("log")


KINDS = ("wte", "wpe", "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj", "lm_head")


def _ratios(axes: Any, measured: Sequence[Row]) -> None:
    """One colour for each kind of matrix: the mean of the blocks as a line, the range of the blocks behind it."""
    for i, kind in enumerate(KINDS):
        found = [[v for name, v in row["update_ratios"].items() if name.endswith(f"{kind}.weight")] for row in measured]
        if not any(found):
            continue
        steps = [row["step"] for row in measured]
        values = np.where(np.isfinite(found), found, np.nan)
        known = np.isfinite(values).any(1)
        low, mean, high = (np.full(len(values), np.nan) for _ in range(3))
        low[known], mean[known], high[known] = (f(values[known], axis=1) for f in (np.nanmin, np.nanmean, np.nanmax))
        (line,) = axes.plot(steps, mean, marker="o", markersize=3, label=kind, color=f"C{i}")
        axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    axes.axhline(-3, color="0.3", linestyle="--", linewidth=1)
    axes.text(0.01, -3, "-3: rule of thumb", transform=axes.get_yaxis_transform(), va="bottom", color="0.3", fontsize=8)
    axes.set_title("log10 of update / weight, by matrix", fontsize=10)
    if measured:
        axes.legend(fontsize=7, ncols=2, frameon=False)


def _lines(axes: Any, what: str, curves: Mapping[str, tuple[Sequence[Row], Any]], color: str | None = None) -> None:
    """Curves with a legend; those of the blocks go from dark to light with depth, and of many only some are named."""
    from matplotlib import colormaps

    blocks = [name for name in curves if name.startswith("h.")]
    named = {*blocks[:: max(1, math.ceil(len(blocks) / 6))], *blocks[-1:]}
    others = iter(("tab:red", "tab:orange", "tab:pink", "tab:brown"))
    for name, (rows, value) in curves.items():
        shade = colormaps["viridis"](0.9 * blocks.index(name) / max(1, len(blocks) - 1)) if name in blocks else None
        few = {"marker": "o", "markersize": 3} if len(rows) < 100 else {}
        (line,) = axes.plot(*_points(rows, value), color=shade or color or next(others, "0.5"), label=name, **few)
        if not name or (name in blocks and name not in named):
            line.set_label(name or "_")
    axes.set_title(what, fontsize=10)
    handles, labels = axes.get_legend_handles_labels()
    shown = [(h, label) for h, label in zip(handles, labels, strict=True) if label not in blocks or label in named]
    if shown:
        axes.legend(*zip(*shown, strict=True), fontsize=7, ncols=2, frameon=False)


def _points(rows: Iterable[Row], value: Any) -> tuple[list[int], list[float]]:
    """Steps and values; what is not finite leaves a gap."""
    pairs = [(row["step"], float(value(row))) for row in rows]
    return [step for step, _ in pairs], [v if math.isfinite(v) else math.nan for _, v in pairs]


def _times(factor: float, x: Any) -> Any:
    return factor * x


def _in_thousands(value: float, _: Any) -> str:
    return f"{value / 1e6:g}M" if abs(value) >= 1e6 else f"{value / 1e3:g}k" if abs(value) >= 1e3 else f"{value:g}"
