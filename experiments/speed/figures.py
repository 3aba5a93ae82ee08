"""The two pictures: workload by workload beside PyTorch, and how both scale."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from experiments.speed.contenders import CONTENDERS

COLOURS = {
    "ours, NumPy": "#9ecae1",
    "ours, fast": "#6baed6",
    "ours, fast+mkl": "#2171b5",
    "PyTorch eager": "#fdbe85",
    "PyTorch compile": "#e6550d",
    "JAX jit": "#31a354",
    "ours, mkl bf16": "#08306b",
    "PyTorch eager bf16": "#bdbdbd",
    "PyTorch compile bf16": "#636363",
}
"""Ours in blue; PyTorch in orange, its bfloat16 in grey; JAX in green."""


def draw_workloads(workloads: Mapping[str, Any], path: Path) -> None:
    """Bars: tokens per second over those of PyTorch's best float32, the median of the rounds; lines: lowest to highest."""
    figure = Figure(figsize=(12, 5.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    names = [name for name in CONTENDERS if any(name in workload["relative"] for workload in workloads.values())]
    width = 0.84 / len(names)
    for i, name in enumerate(names):
        at, heights, below, above = [], [], [], []
        for j, workload in enumerate(workloads.values()):
            if name not in workload["relative"]:
                continue
            ratio = workload["relative"][name]
            x = j + (i - (len(names) - 1) / 2) * width
            if ratio is None:
                axes.text(x, 0.02, "failed", rotation=90, ha="center", va="bottom", fontsize=9, color="0.4")
                continue
            at.append(x)
            heights.append(ratio["median"])
            below.append(ratio["median"] - ratio["min"])
            above.append(ratio["max"] - ratio["median"])
            over_lines = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            text = f"{ratio['median']:.2f}"
            axes.text(x, ratio["max"] + 0.02, text, ha="center", va="bottom", fontsize=8, bbox=over_lines)
        spread = {"ecolor": "black", "elinewidth": 1, "capsize": 2.5}
        axes.bar(at, heights, 0.92 * width, yerr=(below, above), color=COLOURS[name], error_kw=spread)
    axes.axhline(1, color="0.2", linestyle="--", linewidth=1, zorder=0)
    axes.set_xticks(range(len(workloads)), [_label(*item) for item in workloads.items()])
    axes.set_ylabel("tokens per second,\nover the best PyTorch in float32")
    axes.set_xlim(-0.55, len(workloads) - 0.45)
    axes.set_ylim(0, 1.12 * max([1.0, *(r["max"] for w in workloads.values() for r in w["relative"].values() if r)]))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("One GPT-2 training step: higher is faster, 1 is the best PyTorch in float32 of the same round")
    patches = [Patch(color=COLOURS[name], label=name) for name in names]
    figure.legend(handles=patches, loc="outside lower center", ncols=(len(names) + 1) // 2, frameon=False, fontsize=9)
    figure.savefig(path)


def _label(name: str, workload: Mapping[str, Any]) -> str:
    shape = workload["shape"]
    sizes = f"{shape['num_layers']} layers, width {shape['d_model']}"
    return f"{name}\n{sizes}\n{shape['batch_size']} x {shape['seq_len']} tokens"


def draw_scaling(points: Mapping[str, Any], path: Path) -> None:
    """Tokens per second against context, batch size and threads; the line goes through medians."""
    figure = Figure(figsize=(13, 4.6), dpi=120, layout="constrained")
    most = max(point["threads"] for point in points.values())
    panels = {
        "context (4,096 tokens a batch)": ("seq_len", lambda p: _tokens(p) == 4096 and p["threads"] == most),
        "sequences a batch (context 256)": ("batch_size", lambda p: p["shape"]["seq_len"] == 256 and p["threads"] == most),
        "threads (16 x 256 tokens)": ("threads", lambda p: _tokens(p) == 4096 and p["shape"]["seq_len"] == 256),
    }
    for axes, (title, (key, chosen)) in zip(figure.subplots(1, 3, sharey=True), panels.items(), strict=True):
        here = [point for point in points.values() if chosen(point)]
        here.sort(key=lambda point: _at(point, key))
        for name in next(iter(points.values()))["contenders"]:
            found = [
                (_at(p, key), p["contenders"][name]["tokens_per_s"]) for p in here if "tokens_per_s" in p["contenders"][name]
            ]
            if found:
                axes.plot(*zip(*found, strict=True), marker="o", color=COLOURS[name], label=name, linewidth=2)
        axes.set_xscale("log", base=2)
        ticks = [_at(point, key) for point in here]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel(title)
        axes.margins(x=0.08, y=0.08)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    first = figure.axes[0]
    first.set_ylabel("tokens per second")
    first.set_ylim(bottom=0)
    figure.suptitle("GPT-2 with 6 layers, 6 heads and width 384, float32: tokens per second of a training step")
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path)


def _tokens(point: Mapping[str, Any]) -> int:
    return point["shape"]["seq_len"] * point["shape"]["batch_size"]


def _at(point: Mapping[str, Any], key: str) -> int:
    return point["threads"] if key == "threads" else point["shape"][key]
