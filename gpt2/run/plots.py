"""Pictures of a run, drawn from its rows as they come: memory and time do not grow with their number."""

from __future__ import annotations

import functools
import io
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.run.description import Description
from gpt2.run.folder import Run
from gpt2.run.health.inside import DEAD, RESIDUAL
from gpt2.run.health.updates import UPDATE
from gpt2.run.health.verdict import digits, percent
from gpt2.run.metrics import Block, Recorded, bits_per_byte, history
from gpt2.run.series import Bins, Thinned
from gpt2.terminal import note
from tinygrad2.files import write_anew
from tinygrad2.fonts import legible
from tinygrad2.types import Array

BASELINES = {
    "uniform": ("ln V: every token equally likely", "--"),
    "unigram": ("unigram", ":"),
    "bigram": ("bigram", ":"),
    "trigram": ("trigram with back-off", ":"),
    "perfect": ("a perfect model", "-"),
}
"""How they are called, and the style of their line."""

MOST_EVALUATIONS = 512
"""In a picture of what happens inside; of more, every second one is left out, and so on."""

MOST_CURVES = 200
"""In a panel; of more, only the first are drawn."""

MAKER = "gpt2 plot"
"""What a picture says in its beginning of how it was made."""

LARGEST = 1e30
"""What is larger is not drawn, like what is not finite: the ends of an axis could not be computed."""


class Losses:
    """The losses of a run, each, or the means of bins: in nats per token, or those of validation `in_bits` per byte."""

    def __init__(self, rows: Iterable[Recorded], in_bits: bool = False) -> None:
        self._train, self._val = Bins(columns=2), Bins(columns=2)
        self.last_step, self.last_val, self.best_val, self.first_val = 0, math.nan, math.inf, math.nan
        self.baselines: Mapping[str, float] = {}
        for row in rows:
            self.last_step = row["step"]
            if "train_loss" in row:
                self._train.add(row["step"], row["train_loss"])
            if "val_loss" in row:
                bits = bits_per_byte(row) if in_bits else None
                self.last_val = row["val_loss"] if not in_bits else math.nan if bits is None else bits
                self.best_val = min(self.best_val, self.last_val)
                if not math.isfinite(self.first_val):
                    self.first_val = self.last_val
                self._val.add(row["step"], self.last_val)
                self.baselines = row.get("baselines", self.baselines)

    def train(self) -> tuple[Array, Array]:
        """Steps and training losses."""
        return _columns(self._train)

    def val(self) -> tuple[Array, Array]:
        """Steps and validation losses."""
        return _columns(self._val)

    def smoothed(self) -> tuple[Array, Array, int]:
        """Steps and means of the training loss over a fiftieth of all, and how many steps that is; 1 for few."""
        steps, losses = self.train()
        window = max(1, len(losses) // 50)
        means = np.convolve(losses, np.ones(window) / window, "valid") if window > 1 else losses
        return steps[window - 1 :], means, window * self._train.width


def _columns(bins: Bins) -> Any:
    """Each of them; what cannot be drawn leaves a gap."""
    steps, *columns = bins.table().T
    return steps, *(_drawable(column) for column in columns)


def _drawable(values: Array) -> Array:
    return np.where(abs(values) < LARGEST, values, np.nan)


def limit_losses(axes: Any, values: Array, starts: Iterable[float], alone: bool = False) -> None:
    """Show all of the losses; but where some are far above those at the start, on a logarithmic axis if it is one run `alone`,
    and of several without them: the one that diverged hides no other."""
    values, starts = values[np.isfinite(values)], [start for start in starts if 0 < start < LARGEST]
    if not len(values):
        return
    low, high = values.min(), values.max()
    start = max(starts, default=math.inf)
    most = start + 0.5 * max(start - low, start / 2)
    if alone and low > 0 and high > 10 * start:
        axes.set_yscale("log")
    else:
        if high > most and not alone:
            high = most
            axes.set_title(f"losses above {loss_text(high)} are not shown", fontsize=9)
        margin = max(0.03 * (high - low), 0.01)
        axes.set_ylim(low - margin, high + (2.5 * margin if alone else margin))  # above the highest line stands its name


def draw_loss(run: Run, to: Path | io.BytesIO | None = None) -> None:
    """Draw the loss.png of a run, or as SVG into memory. Raises OSError and RunError."""
    about = run.read_config()
    plot_loss(to or run.loss_plot, history(run.metrics), _title(about), about.training.batch_size * about.model.max_seq_len)


def draw_training(run: Run, to: Path | io.BytesIO | None = None) -> None:
    """Draw the training.png of a run, or as SVG into memory. Raises OSError and RunError."""
    plot_training(to or run.training_plot, history(run.metrics), _title(run.read_config()))


def _title(about: Description) -> str:
    return f"{about.corpus.name}: {about.parameters:,} parameters"


@legible
def plot_loss(path: Path | io.BytesIO, rows: Iterable[Recorded], title: str, step_tokens: int = 0) -> None:
    """Training and validation loss against steps, with the baselines as lines; and, above, tokens: `step_tokens` per step.

    `rows` are a history. Raises OSError where the picture cannot be written.
    """
    from matplotlib.figure import Figure  # slow to load, and not needed until now

    run = Losses(rows)
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    steps, losses = run.train()
    axes.plot(steps, losses, color="tab:blue", alpha=0.2, linewidth=0.8)
    steps, smooth, window = run.smoothed()
    label = f"training (mean of {window} steps)" if window > 1 else "training"
    axes.plot(steps, smooth, color="tab:blue", linewidth=1.6, label=label)
    steps, val = run.val()
    axes.plot(steps, val, color="tab:orange", marker="o", markersize=4, label=f"validation (last {loss_text(run.last_val)})")
    baselines = {name: value for name, value in run.baselines.items() if name in BASELINES and abs(value) < LARGEST}
    limit_losses(axes, np.concatenate([losses, val, [*baselines.values()]]), [run.first_val, *baselines.values()], alone=True)
    if axes.get_yscale() == "log":  # where all baselines are in one place
        baselines = {name: value for name, value in baselines.items() if name == "uniform"}
    for name, value in baselines.items():
        label, style = BASELINES[name]
        axes.axhline(value, color="0.4", linestyle=style, linewidth=1)
        at = axes.get_yaxis_transform()  # x as a share of the width, y as a loss
        text = f"{label} ({value:.3f})"
        box = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1}  # a curve may cross it
        axes.text(0.99, value, text, transform=at, ha="right", va="bottom", color="0.2", fontsize=9, bbox=box, zorder=3)
    axes.set(xlabel="step", ylabel="loss (nats per token)", title=plain(title))
    axes.set_xlim(0, run.last_step or 1)
    axes.grid(alpha=0.25)
    if step_tokens:
        above = axes.secondary_xaxis("top", functions=(partial(_times, step_tokens), partial(_times, 1 / step_tokens)))
        above.set_xlabel("tokens seen")
        above.xaxis.set_major_formatter(in_thousands)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)  # nowhere inside is always free
    save(figure, path)


def save(figure: Any, path: Path | io.BytesIO, only_ours: bool = False) -> None:
    """Write a picture of the kind that the name of its file says, whole or not at all; and, with `only_ours`, where no other
    picture is than one of this program; or as SVG into memory. Raises OSError, or ValueError for a kind that there is not."""
    content, kind = io.BytesIO(), path.suffix[1:].lower() or "png" if isinstance(path, Path) else "svg"
    about = {"png": {"Software": MAKER}, "svg": {"Creator": MAKER}}.get(kind)
    with warnings.catch_warnings(record=True) as warned:  # of letters that no font has, of numbers too large
        warnings.simplefilter("always", UserWarning)
        figure.savefig(content, format=kind, metadata=about)
    if any("missing from" in str(warning.message) for warning in warned):
        _note_boxes()
    if isinstance(path, Path):
        write_anew(path, content.getvalue(), MAKER.encode() if about and only_ours else b"")
    else:
        path.write(content.getvalue())


@functools.cache
def _note_boxes() -> None:
    """Once."""
    note("a picture has boxes for letters that no font here has; for Chinese install one, such as Noto Sans CJK")


def plain(text: str) -> str:
    """A text as matplotlib draws it, and not as a formula; what cannot be printed is a question mark.

    A space comes before what begins with `_`: matplotlib leaves a label that does so out of its legend.
    """
    text = "".join(c if c.isprintable() else "?" for c in text).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def shortened(name: str, most: int = 60) -> str:
    """A name without its middle, if it has more letters than a legend has room for."""
    return name if len(name) <= most else f"{name[: most // 2]}...{name[-most // 2 :]}"


def loss_text(value: float) -> str:
    """A loss in a label; 1e300 would have 301 digits."""
    return f"{value:.3g}" if abs(value) >= 1e6 else f"{value:.3f}"


@legible
def plot_training(path: Path | io.BytesIO, rows: Iterable[Recorded], title: str) -> None:
    """What happens inside: learning rate, gradients by layer, updates by matrix, and activations by block, against steps.

    What is usual is drawn as `gpt2 health` judges it. `rows` are a history. Raises OSError where the picture cannot be written.
    """
    from matplotlib.figure import Figure  # slow to load, and not needed until now

    figure = Figure(figsize=(13, 8.5), dpi=110, layout="constrained")
    figure.suptitle(plain(title))
    panels = figure.subplots(2, 3).ravel()
    inside = Inside(rows)
    steps, rates, norms = _columns(inside.updates)
    _lines(panels[0], "learning rate\n", steps, {"": rates})
    panels[0].set_ylim(0, 1.05 * _highest(rates) or 1)
    panels[0].yaxis.set_major_formatter("{x:g}")
    panels[0].yaxis.get_major_locator().set_params(nbins=5)
    panels[1].plot(steps, norms, color="0.75", linewidth=0.8, label="all")
    _gradients(panels[1], inside.measured.values())
    _ratios(panels[2], inside.measured.values(), steps[rates >= _highest(rates) / 2])
    _blocks(panels[3:], inside.diagnosed.values())
    margin = 0.02 * (inside.last_step or 1)
    for axes in panels:
        axes.set(xlabel="step", xlim=(-margin, (inside.last_step or 1) + margin))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
    save(figure, path)


class Inside:
    """What is drawn of the inside of a run."""

    def __init__(self, rows: Iterable[Recorded]) -> None:
        self.last_step = 0
        self.updates = Bins(columns=3)  # step, learning rate, gradient norm
        self.measured = Thinned[Measured](MOST_EVALUATIONS)
        self.diagnosed = Thinned[Diagnosed](MOST_EVALUATIONS)
        for row in rows:
            self.last_step = row["step"]
            if "train_loss" in row:
                self.updates.add(row["step"], row.get("learning_rate", math.nan), row.get("grad_norm", math.nan))
            if "update_ratios" in row:
                self.measured.add((row["step"], row.get("grad_norms", {}), _by_kind(row["update_ratios"])))
            if "diagnostics" in row:
                blocks = row["diagnostics"]["blocks"]
                self.diagnosed.add((row["step"], {name: _drawn(block) for name, block in blocks.items()}))


LIMIT: Any = {"color": "0.3", "linestyle": "--", "linewidth": 1}
STYLES = {
    "wte": ("tab:red", "o"),
    "wpe": ("tab:orange", "s"),
    "attn.c_attn": ("tab:blue", "^"),
    "attn.c_proj": ("tab:cyan", "v"),
    "mlp.c_fc": ("tab:green", "<"),
    "mlp.c_proj": ("tab:olive", ">"),
    "ln_f": ("tab:pink", "P"),
    "lm_head": ("tab:brown", "D"),
}
"""The colour and the marker of a part or a kind of matrix, in every panel; blocks go from dark to light with depth."""

Measured = tuple[int, Mapping[str, float], dict[str, tuple[float, float, float]]]
"""A step; the norm of the gradient by layer; and, by kind of matrix, the lowest, the mean and the highest update ratio."""

Diagnosed = tuple[int, dict[str, tuple[float, ...]]]
"""A step, and what is drawn of each block."""


def _by_kind(ratios: Mapping[str, float]) -> dict[str, tuple[float, float, float]]:
    found = {}
    for kind in STYLES:
        own = [value for name, value in ratios.items() if name.endswith(f"{kind}.weight")]
        finite = [value for value in own if abs(value) < LARGEST] or [math.nan]
        if own:
            found[kind] = min(finite), float(np.mean(finite)), max(finite)
    return found


def _drawn(block: Block) -> tuple[float, ...]:
    """Of a block: the standard deviation behind it, shares of units, and the entropy of its heads."""
    heads = list(block["entropy"].values())
    return block["out_std"], block["off"], block["dead"], float(np.mean(heads)), min(heads), max(heads)


def _highest(values: Any) -> float:
    """The largest of all numbers that are drawn, or 0."""
    return float(np.fmax.reduce(np.ravel(values), initial=0.0))


def _blocks(panels: Sequence[Any], diagnosed: Sequence[Diagnosed]) -> None:
    """Three panels of the blocks of the model."""
    residual, units, attention = panels
    steps = [step for step, _ in diagnosed]
    names = list(diagnosed[-1][1])[:MOST_CURVES] if diagnosed else []
    gap = (math.nan,) * 6
    values = {name: _drawable(np.array([blocks.get(name, gap) for _, blocks in diagnosed])).T for name in names}

    def of_blocks(axes: Any, what: str, number: int) -> None:
        _lines(axes, what, steps, {name: found[number] for name, found in values.items()})

    of_blocks(
        residual, f"standard deviation of the residual stream,\nbehind each block (usual: at most {digits(RESIDUAL[1])})", 0
    )
    of_blocks(
        units, f"share of activations that give nothing;\ndotted: of units always off (usual: at most {percent(DEAD)})", 1
    )
    of_blocks(attention, "entropy of attention, mean and range of heads\n(0: one token only, 1: all tokens alike)", 3)
    for name, line, other in zip(names, list(units.get_lines()), list(attention.get_lines()), strict=True):
        _, _, dead, _, low, high = values[name]
        units.plot(steps, dead, ":", color=line.get_color(), label="_")
        attention.fill_between(steps, low, high, color=other.get_color(), alpha=0.12, linewidth=0)
    largest, most, dead = (_highest([value[i] for value in values.values()]) for i in range(3))
    if largest > RESIDUAL[1]:
        residual.set_yscale("log")
        residual.axhline(RESIDUAL[1], **LIMIT)
    else:
        residual.set_ylim(0, 1.05 * largest or 1)
    if dead > DEAD:
        units.axhline(DEAD, **LIMIT)
    units.set_ylim(0, max(0.01, 1.05 * most))
    units.yaxis.set_major_formatter(lambda share, _: percent(share))
    attention.set_ylim(-0.02, 1.02)


def _gradients(axes: Any, measured: Sequence[Measured]) -> None:
    """The norms of the parts of the gradient where they were measured; that of all is drawn already."""
    parts = list(measured[-1][1])[:MOST_CURVES] if measured else []
    curves = {part: _drawable(np.array([norms.get(part, math.nan) for _, norms, _ in measured])) for part in parts}
    _lines(axes, "norm of the gradient by layer,\nbefore clipping", [step for step, _, _ in measured], curves)
    if any((np.asarray(line.get_ydata()) > 0).any() for line in axes.lines):
        axes.set_yscale("log")


def _ratios(axes: Any, measured: Sequence[Measured], judged: Array) -> None:
    """The mean of the blocks as a line for each kind of matrix, the range of the blocks behind it; and what is usual at the
    steps that are judged: those with a high learning rate."""
    steps = [step for step, _, _ in measured]
    gap = (math.nan,) * 3
    kinds = [kind for kind in STYLES if any(kind in ratios for _, _, ratios in measured)]
    with np.errstate(over="ignore"):
        values = {kind: _drawable(10 ** np.array([ratios.get(kind, gap) for _, _, ratios in measured])).T for kind in kinds}
    usual = f"(grey: usual at a high learning rate, {percent(UPDATE[0])} to {percent(UPDATE[1])})"
    what = f"size of an update over the size of its matrix\n{usual}"
    _lines(axes, what, steps, {kind: mean for kind, (_, mean, _) in values.items()})
    for line, (low, _, high) in zip(list(axes.get_lines()), values.values(), strict=True):
        axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    if kinds:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda share, _: percent(share))
        if len(judged):
            axes.fill_between(judged[[0, -1]], *UPDATE, color="0.92", zorder=0)
    else:
        axes.text(0.5, 0.5, "not measured yet", transform=axes.transAxes, ha="center", color="0.3")


def _lines(axes: Any, what: str, steps: Sequence[int], curves: Mapping[str, Array]) -> None:
    """Curves with a legend; of many blocks only some are named."""
    from matplotlib import colormaps

    blocks = [name for name in curves if name.startswith("h.")]
    named = {*blocks[:: max(1, math.ceil(len(blocks) / 6))], *blocks[-1:]}
    few = {"markersize": 4} if len(steps) < 100 else {"marker": ""}
    for name, values in curves.items():
        color, marker = STYLES.get(name, ("0.5" if name else "tab:blue", "o"))
        shade = colormaps["viridis"](0.9 * blocks.index(name) / max(1, len(blocks) - 1)) if name in blocks else color
        label = plain(name) if name and (name not in blocks or name in named) else "_"
        axes.plot(steps, values, color=shade, label=label, **{"marker": marker if name else "", **few})
    axes.set_title(what, fontsize=10, loc="left")
    if axes.get_legend_handles_labels()[0]:  # below the panel, where no curve is
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.13), fontsize=7.5, ncols=4, frameon=False)


def _times(factor: float, x: Any) -> Any:
    return factor * x


def in_thousands(value: float, _: Any) -> str:
    return f"{value / 1e6:g}M" if abs(value) >= 1e6 else f"{value / 1e3:g}k" if abs(value) >= 1e3 else f"{value:g}"
