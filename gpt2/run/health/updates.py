"""Rules on gradients and updates: right, of the right size, and in every layer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np

from gpt2.run.health.summary import SLOPE, UPDATE_SCALE, Summary
from gpt2.run.health.verdict import Verdict, check, listed, percent

MOST_WARMUP = 0.5
"""Of all steps: a learning rate that only ever rises, never settles. Usual are 0.3% to 10% (GPT-3: 375 million of 300 billion
tokens; Hugging Face's and nanoGPT's examples)."""

MOST_HIDDEN = 0.5
"""Of the activations, or of the target's probability. Srivastava et al., 2014, take a dropout of up to 0.5, GPT-2 of 0.1;
Szegedy et al., 2016, smooth labels by 0.1."""

MOST_DECAY = 0.01
"""Of a weight at one update: the learning rate times the decay. Usual are 10^-6 to 10^-3 (a decay of 0.01 to 0.1)."""


def settings(run: Summary) -> Iterator[Verdict]:
    """What no training learns with. Only problems are said."""
    step, rate = run.peak
    if run.step == run.training.steps and step > 1 and step > MOST_WARMUP * run.training.steps:
        yield Verdict(
            "warm-up",
            "warning",
            f"the learning rate rose until step {step} of {run.training.steps}",
            f"for at most {percent(MOST_WARMUP)} of the steps",
            "the run ended while warming up: it shows little of what this model can learn",
            "more --steps, or fewer --warmup-steps",
        )
    for name, hidden in (("dropout", run.model.dropout), ("label smoothing", run.training.label_smoothing)):
        if hidden > MOST_HIDDEN and not run.learned:
            of_what = "the activations are dropped" if name == "dropout" else "each target's probability goes to other tokens"
            flag = f"--{name.replace(' ', '-')} 0.1"
            usual = f"0% to {percent(MOST_HIDDEN)}"
            yield Verdict(name, "warning", f"{percent(hidden)} of {of_what}", usual, "too little is left to learn from", flag)
    if decays(run) > MOST_DECAY:
        yield Verdict(
            "weight decay",
            "warning",
            f"{percent(decays(run))} of each weight is taken away at every update (learning rate {rate:g} times "
            f"--weight-decay {run.training.weight_decay:g})",
            f"at most {percent(MOST_DECAY)}",
            "weights shrink faster than they learn",
            "--weight-decay 0.1" if run.training.weight_decay > 1 else run.lower_rate,
        )


def decays(run: Summary) -> float:
    """The share of a weight that one update takes away, at the highest learning rate."""
    training = run.training
    rates = {"adamw": run.peak[1], "muon": run.peak[1] * max(1, training.muon_factor)}
    return rates.get(training.optimizer, 0.0) * training.weight_decay


UPDATE = 1e-4, 0.05
"""The size of an update over that of its matrix: the median over the matrices, and over the evaluations at full rate. About
0.001 is said to be healthy (Karpathy, "makemore", part 3); healthy runs have 0.001 to 0.03, and ones at a hundred times
their rate 0.08. It does not rise much further: what is updated so much is soon nothing but a sum of updates. So a rate that
is far too high shows in the loss and the residual stream as well, and one that is a little too high only there. At the
lowest it takes 10,000 updates to replace a matrix; weights that are only tuned may have less."""

SETTLED = 3
"""Evaluations before which no update is called too large: small initial weights have 0.05 at first, and grow."""


def update_size(run: Summary) -> Iterator[Verdict]:
    """How much an update changes a matrix."""
    found = run.at_full_rate()
    if not found:
        return
    ratio = float(10 ** np.median([ratio for _, ratio in found]))
    rate, (low, high) = max(rate for rate, _ in found), UPDATE
    large = ratio > high
    higher = rate * min(1000.0, 0.003 / ratio if ratio else math.inf)
    decayed = large and decays(run) > ratio / 2 and run.training.weight_decay > 1
    yield check(
        "update size",
        (large and len(found) >= SETTLED) or (ratio < low and not run.training.init_from),
        f"one update changes a matrix by {percent(ratio)} of its size, at a learning rate of {rate:.2g}",
        f"{percent(low)} to {percent(high)}",
        "the weight decay is too high: it replaces what was learned"
        if decayed
        else "the learning rate is too high: the weights are replaced, not improved"
        if large
        else "the learning rate is too low, or the weights are too large: nothing moves",
        "--weight-decay 0.1" if decayed else run.lower_rate if large else f"--learning-rate {higher:.1g}",
        "error" if large else "warning",
    )


def gradient(run: Summary) -> Iterator[Verdict]:
    """The gradient is the slope of the loss."""
    if run.slope.known:
        yield check(
            "gradient",
            run.slope.off > run.slope.known / 2,
            f"a small move along the gradient changes the loss {run.slope} as much as the gradient says",
            f"{1 - SLOPE:g} to {1 + SLOPE:g}, as exactly as it can be measured",
            "the sum of the shards' gradients is not that of the loss: shards are left out or weighted wrongly, or a "
            "derivative is wrong",
            "gpt2 gradcheck; then compare the gradient of a batch with --shards 1 and with more",
        )


def optimizer(run: Summary) -> Iterator[Verdict]:
    """The update is the one that the optimizer's formula gives."""
    if run.update_scale.known:
        yield check(
            "optimizer",
            run.update_scale.off > 0,
            f"an update is {run.update_scale} what the formula of {run.training.optimizer} gives",
            f"{1 - UPDATE_SCALE:g} to {1 + UPDATE_SCALE:g}",
            "the optimizer is wrong (without bias correction, its first updates are too large), or it took another learning "
            "rate than recorded",
            "compare the optimizer with its paper, step 1 first",
        )


BLOCK = re.compile(r"h\.[0-9]{1,9}")
"""The name of a block of the model."""

UNEVEN = 300.0
"""The largest gradient norm of a block over the smallest. Healthy runs: at most 16."""


def layers(run: Summary) -> Iterator[Verdict]:
    """Every layer learns, and none much more than the others."""
    last = run.measured
    if last is None:
        return
    if last["step"] <= 1 and run.model.init == "zero":
        return  # nothing goes back through a head of zeros, and what was 0 has no size
    still = [name for name, ratio in last["update_ratios"].items() if ratio == -math.inf]
    silent = [part for part, norm in last.get("grad_norms", {}).items() if norm == 0]
    moving = last.get("learning_rate", 0.0) > 0 and len(still) < len(last["update_ratios"])
    frozen = silent or (still if moving else [])
    if frozen:
        yield Verdict(
            "frozen layer",
            "error",
            f"{listed(frozen)} had no {'gradient' if silent else 'update'} at step {last['step']}",
            "none",
            "it is not connected to the loss, or the optimizer does not know it",
            "look for detach(), no_grad(), or parameters missing from the optimizer",
        )
    norms = {part: norm for part, norm in last.get("grad_norms", {}).items() if BLOCK.fullmatch(part) and norm > 0}
    if len(norms) < 2:
        return
    most, least = max(norms, key=lambda part: norms[part]), min(norms, key=lambda part: norms[part])
    explodes = int(most[2:]) < int(least[2:])
    yield check(
        "gradient by block",
        norms[most] > UNEVEN * norms[least],
        f"the gradient of {most} ({norms[most]:.2g}) is {norms[most] / norms[least]:.3g} times that of {least}, "
        f"at step {last['step']}",
        f"at most {UNEVEN:g} times",
        f"it explodes on its way back, from {least} to {most}"
        if explodes
        else f"it vanishes on its way back, from {most} to {least}",
        "look at the scale of the weights and layer norms in between; a warm-up and --grad-clip only hide it",
    )
