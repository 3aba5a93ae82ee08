"""What does broadcasting do backward?

Forward it copies: x of shape (3, 1) meets y of shape (2, 3, 4) as if it were there eight times. So backward it sums what the
eight copies get. A single copy, or the mean of them, would have the right shape too.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from experiments.harness import Claim, Result, Track
from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, study
from tinygrad2.ops.indexing import Scatter
from tinygrad2.study import Contribution
from tinygrad2.study.trace import contributed

FULL = (2, 3, 4)
CONFIG = GPT2Config(vocab_size=11, max_seq_len=8, d_model=8, num_layers=1, num_heads=2)
STEP = 1e-5


class Copies(Contribution):
    """What the copies of a value get, `raw`, is made one in another way than by a sum."""

    @property
    def array(self) -> Any:
        shape = self.target.array.shape
        if isinstance(self.raw, Scatter) or self.raw.shape == shape:
            return super().array  # no copies
        extra = self.raw.ndim - len(shape)
        stretched = (i + extra for i, n in enumerate(shape) if n != self.raw.shape[i + extra])
        return self.one(self.raw, (*range(extra), *stretched)).reshape(shape)


class First(Copies):
    """The first copy's."""

    def one(self, raw: Any, axes: tuple[int, ...]) -> Any:
        return raw[tuple(slice(1) if i in axes else slice(None) for i in range(raw.ndim))]


class Mean(Copies):
    """The mean over the copies."""

    def one(self, raw: Any, axes: tuple[int, ...]) -> Any:
        return raw.mean(axes)


def backward(trace: study.Trace, kind: type[Contribution]) -> study.Backward:
    """The backward pass in which every contribution is of one kind."""
    return trace.backward(contribute=lambda op, g: [kind(p.user, p.index, p.target, p.raw) for p in contributed(op, g)])


def differences(trace: study.Trace, value: study.Value) -> Any:
    """The gradient of a value, entry by entry, from central differences of the recorded computation."""
    slopes = np.zeros(value.array.shape)
    for at in np.ndindex(slopes.shape):
        step = np.zeros(slopes.shape)
        step[at] = STEP
        up, down = (trace.forward(instead={value: value.array + s * step})[trace.output] for s in (1, -1))
        slopes[at] = (up - down) / (2 * STEP)
    return slopes


def compare(trace: study.Trace, value: study.Value, summed: type[Contribution]) -> dict[str, Any]:
    """Of the one value that is broadcast: how far three ways are from finite differences, over the largest of these."""
    right = differences(trace, value)
    ways = {"sum": summed, "first": First, "mean": Mean}
    found = {way: backward(trace, kind) for way, kind in ways.items()}
    (part,) = found["sum"].contributions[value]
    errors = {way: float(np.abs(b.gradients[value] - right).max() / np.abs(right).max()) for way, b in found.items()}
    shapes = all(b.gradients[value].shape == value.array.shape for b in found.values())
    return {"copies": part.raw.size // value.array.size, "shapes_are_right": shapes, **errors}


def measure(track: Track, quick: bool, control: bool) -> Result:
    summed = First if control else Contribution  # the control cuts where one should sum
    whole = {(), *(shape[axis:] for axis in range(3) for shape in product(*((1, n) for n in FULL)))} - {FULL}
    shapes = sorted(whole, key=lambda shape: (-np.prod(shape), len(shape)))
    rows = []
    for shape in track(shapes):
        for seed in range(5 if quick else 10):
            rng = np.random.default_rng(seed)
            x = Tensor(rng.standard_normal(shape), requires_grad=True)
            y, weights = rng.standard_normal((2, *FULL))
            with study.record():
                out = np.sum(weights * np.tanh(x * y))
            trace = study.Trace(out)
            rows.append({"shape": str(shape), **compare(trace, trace.find(x), summed)})

    ids, targets = np.random.default_rng(0).integers(CONFIG.vocab_size, size=(2, 4, 8))  # 4 sequences
    model = GPT2(CONFIG, dtype=np.float64)
    with study.record():
        loss, alone = model.loss(ids, targets), model.loss(ids[:1], targets[:1])
    trace, trace_alone = study.Trace(loss), study.Trace(alone)
    positions = trace.find("wpe.embedding")  # (T, C), added to (B, T, C)
    first = backward(trace, First).gradients[positions]
    of_one = trace_alone.backward().gradients[trace_alone.find("wpe.embedding")]
    return {
        "rows": rows,
        "positions": compare(trace, positions, summed),
        "first_over_alone": float(np.linalg.norm(first) / np.linalg.norm(of_one)),
        "first_is_alone": float(np.abs(first * len(ids) - of_one).max() / np.abs(of_one).max()),
    }


def claims(result: Result) -> list[Claim]:
    rows, positions = result["rows"], result["positions"]
    shapes = len({row["shape"] for row in rows})
    off = {way: [row[way] for row in rows] for way in ("sum", "first", "mean")}
    ratio = max(abs(row["mean"] - (1 - 1 / row["copies"])) for row in rows)
    most = max(row["copies"] for row in rows)
    return [
        Claim(
            f"For all {shapes} shapes that fit into {FULL} by copies, the sum over the copies is the gradient: it is "
            f"{max(off['sum']):.1g} of the largest entry away from finite differences, at most.",
            max(off["sum"]) < 1e-8,
        ),
        Claim(
            "What the first copy gets, and the mean, have the right shape in every case and a wrong value: "
            f"they are off by {min(off['first']):.2f} and {min(off['mean']):.2f} of the largest entry, at least.",
            all(row["shapes_are_right"] for row in rows) and min(off["first"]) > 0.01 and min(off["mean"]) > 0.01,
        ),
        Claim(
            f"The mean is 1/k of the gradient, for k = 2 to {most} copies: an error of 1 - 1/k (to {ratio:.1g}).",
            ratio < 1e-8,
        ),
        Claim(
            f"In a GPT-2 that reads {positions['copies']} sequences, the position embeddings are broadcast over them. The sum "
            f"agrees with finite differences (to {positions['sum']:.1g}). The first copy is off by {positions['first']:.2f}: "
            f"it is {result['first_over_alone']:.2f} times the gradient of the first sequence alone, and nothing of the "
            "others.",
            positions["sum"] < 1e-7 and positions["first"] > 0.01 and result["first_is_alone"] < 1e-10,
        ),
    ]


def draw(result: Result, figure: Any) -> None:
    axes = figure.add_subplot()
    rows = result["rows"]
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    copies = {row["shape"]: row["copies"] for row in rows}
    for way, label, color in (
        ("first", "the first copy", "tab:red"),
        ("mean", "the mean of the copies", "tab:orange"),
        ("sum", "the sum over the copies", "tab:blue"),
    ):
        at = [shapes.index(row["shape"]) for row in rows]
        axes.plot(at, [row[way] for row in rows], "o", color=color, alpha=0.6, label=label)
    axes.set_xticks(range(len(shapes)), [f"{shape}\n×{copies[shape]}" for shape in shapes], fontsize=7)
    axes.set(yscale="log", ylim=(1e-13, 1e3), ylabel="distance from finite differences, over the largest entry")
    axes.set_xlabel(f"shape of what is broadcast to {FULL}, and the number of its copies")
    axes.set_title("Copied forward, summed backward: all three have the right shape")
    axes.legend(frameon=False, ncols=3, loc="upper center")
    axes.grid(alpha=0.25)
