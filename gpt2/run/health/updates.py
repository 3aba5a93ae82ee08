"""Rules on gradients and updates: right, of the right size, and in every layer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np

from gpt2.run.health.summary import Summary
from gpt2.run.health.verdict import Verdict, listed

TOO_LARGE, TOO_SMALL = -1.3, -4.5
"""log10 of update to weight: the median over the matrices, and over the evaluations at full rate. About -3 is said to be
healthy (Karpathy, "makemore", part 3); healthy runs have -3.4 to -1.5, and ones at a hundred times their rate -1.1. It does not
rise much further: what is updated so much is soon nothing but a sum of updates. So a rate that is far too high shows in the
loss as well, and one that is a little too high only there. At -4.5 it takes 30,000 updates to replace a matrix."""

SETTLED = 3
"""Evaluations before which no update is called too large: small initial weights have -1.3 at first, and grow."""


def update_ratio(run: Summary) -> Iterator[Verdict]:
    """How much an update changes a matrix."""
    found = run.at_full_rate()
    if not found:
        return
    ratio = float(np.median([ratio for _, ratio in found]))
    rate = max(rate for rate, _ in found)
    numbers = f"updates are 10^{ratio:.1f} of the weights at a learning rate of {rate:.1e}"
    if ratio > TOO_LARGE and len(found) >= SETTLED:
        yield Verdict(
            "update too large",
            "error",
            numbers,
            "the learning rate is too high: the weights are replaced, not improved",
            f"a --learning-rate of about {rate * 10 ** (-2 - ratio):.0e}",
        )
    elif ratio < TOO_SMALL:
        yield Verdict(
            "update too small",
            "warning",
            numbers,
            "the learning rate is too low, or the weights are too large: nothing moves",
            f"a --learning-rate of about {rate * 10 ** min(3.0, -2.5 - ratio):.0e}",
        )
    else:
        yield Verdict("update ratio", "ok", f"{numbers}: neither too large nor too small")


def gradient(run: Summary) -> Iterator[Verdict]:
    """The gradient is the slope of the loss."""
    slope = run.slope
    if slope.off > slope.known / 2:
        yield Verdict(
            "wrong gradient",
            "error",
            f"along its gradient the loss has a slope of {slope.last_off:.3f} times the gradient's norm, at {slope.off} of "
            f"{slope.known} evaluations",
            "the sum of the shards' gradients is not that of the loss: shards are left out or weighted wrongly, or a "
            "derivative is wrong",
            "gpt2 gradcheck; then compare the gradient of a batch with --shards 1 and with more",
        )
    elif slope.known:
        yield Verdict("gradient", "ok", f"the loss changes along its gradient as it says: {slope.last:.3f} times")


def optimizer(run: Summary) -> Iterator[Verdict]:
    """The update is the one that the optimizer's formula gives."""
    scale = run.update_scale
    if scale.worst:
        step, worst = scale.worst
        yield Verdict(
            "wrong update",
            "error",
            f"the update of step {step} is {worst:.3f} times what the optimizer's formula gives from its moments",
            "a mistake in the optimizer: without bias correction the first updates are too large; or another learning rate "
            "than the recorded one",
            "compare the optimizer with its paper, step 1 first",
        )
    elif scale.known:
        yield Verdict("update", "ok", f"updates are what the optimizer's formula gives: {scale.last:.4f} times")


BLOCK = re.compile(r"h\.[0-9]{1,9}")
"""The name of a block of the model."""

UNEVEN = 300.0
"""The largest gradient norm of a block over the smallest. Healthy runs: at most 6."""


def layers(run: Summary) -> Iterator[Verdict]:
    """Every layer learns, and none much more than the others."""
    last = run.measured
    if last is None:
        return
    still = [name for name, ratio in last["update_ratios"].items() if ratio == -math.inf]
    silent = [part for part, norm in last.get("grad_norms", {}).items() if norm == 0]
    moving = last.get("learning_rate", 0.0) > 0 and len(still) < len(last["update_ratios"])
    frozen = silent or (still if moving else [])
    if frozen:
        yield Verdict(
            "frozen layer",
            "error",
            f"{listed(frozen)} had no {'gradient' if silent else 'update'} at step {last['step']}",
            "it is not connected to the loss, or the optimizer does not know it",
            "look for a detach(), a no_grad(), or parameters that are missing from the optimizer",
        )
    norms = {part: norm for part, norm in last.get("grad_norms", {}).items() if BLOCK.fullmatch(part) and norm > 0}
    if len(norms) < 2:
        return
    most, least = max(norms, key=lambda part: norms[part]), min(norms, key=lambda part: norms[part])
    numbers = f"gradient norm {norms[most]:.2e} in {most}, {norms[least]:.2e} in {least} at step {last['step']}"
    if norms[most] > UNEVEN * norms[least]:
        towards_input = int(most[2:]) < int(least[2:])
        yield Verdict(
            "gradient explodes" if towards_input else "gradient vanishes",
            "error",
            numbers,
            f"on its way back the gradient grows from {least} to {most}"
            if towards_input
            else f"it is lost between {most} and {least}",
            "look at the scale of the weights and layer norms in between; a warm-up and --grad-clip only hide it",
        )
    else:
        yield Verdict("gradient by layer", "ok", f"{numbers}: all blocks learn")
