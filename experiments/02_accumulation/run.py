"""Why do gradients accumulate?

A value that is used k times gets k contributions. A backward pass that assigns where it should add keeps the last of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.harness import Claim, Result, Track
from tinygrad2 import Tensor, study
from tinygrad2.study import Contribution
from tinygrad2.study.trace import contributed


class Assigned(Contribution):
    """`=` for `+=`: what was there before is lost."""

    def added_to(self, before: Any) -> Any:
        return np.array(self.array)


def used(x: Tensor, k: int) -> Tensor:
    """A sum of k equal terms, each of which uses x."""
    total = x * 3.0
    for _ in range(k - 1):
        total = total + x * 3.0
    return total.sum()


def measure(track: Track, quick: bool, control: bool) -> Result:
    uses = [1, 2, 3, 5, 8] if quick else [1, 2, 3, 5, 8, 13, 21, 34]
    ratios = []
    for k in track(uses):
        x = Tensor(np.random.default_rng(k).standard_normal(4), requires_grad=True)
        with study.record():
            y = used(x, k)
        trace = study.Trace(y)
        kind = Contribution if control else Assigned  # the control adds, as one should
        wrong = trace.backward(
            contribute=lambda op, g, kind=kind: [kind(p.user, p.index, p.target, p.raw) for p in contributed(op, g)]
        )
        right = trace.backward()
        leaf = trace.find(x)
        ratios.append(float(np.mean(wrong.gradients[leaf] / right.gradients[leaf])))
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    once = x.grad.data.copy()
    if control:
        x.grad = None
    y.backward()
    return {"uses": uses, "ratios": ratios, "twice_over_once": float(np.mean(x.grad.data / once))}


def claims(result: Result) -> list[Claim]:
    worst = max(abs(ratio * k - 1) for k, ratio in zip(result["uses"], result["ratios"], strict=True))
    most = result["uses"][-1]
    twice = result["twice_over_once"]
    return [
        Claim(
            f"With 1 to {most} uses of a value, assigning gives 1/k of the gradient (largest relative error {worst:.2g}).",
            worst < 1e-12,
        ),
        Claim(f"Calling backward twice gives {twice:g} times the gradient, until it is set to None.", twice == 2),
    ]


def draw(result: Result, figure: Any) -> None:
    axes = figure.add_subplot()
    uses = np.array(result["uses"])
    axes.plot(uses, 1 / uses, color="0.7", label="1/k")
    axes.plot(uses, result["ratios"], "o", color="tab:red", label="a backward pass that assigns")
    axes.axhline(1, color="tab:blue", label="one that adds")
    axes.set(xscale="log", yscale="log", xlabel="uses of the value, k", ylabel="gradient over the right gradient")
    axes.set_xticks(uses, [str(k) for k in uses], minor=False)
    axes.minorticks_off()
    axes.set_title("A value that is used k times, and = in place of +=")
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
