"""Rules on what happens inside the model: what it sees, its attention, its units, its residual stream."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gpt2.run.health.summary import Summary
from gpt2.run.health.verdict import Verdict, check, digits, listed, percent

FUTURE = 1e-3
"""Standard deviations of the logits. Healthy runs: exactly 0."""


def causal_mask(run: Summary) -> Iterator[Verdict]:
    """Nothing sees the future."""
    if run.future is not None:
        yield check(
            "causal mask",
            run.future > FUTURE,
            f"changing later tokens changes the predictions before them by {run.future:.2g} standard deviations",
            "0",
            "a position sees the tokens after it: the causal mask leaks",
            "check the mask of the attention: row t must have no weight beyond column t",
        )


OFFSET = 0.2
"""Nats by which another token than the next may be predicted better: about the noise of 1,024 tokens."""

CLOSER = 4.0
"""How many times closer the training loss is to that of the other token, at two evaluations in a row. Healthy runs: at one
evaluation 2, with a tied head and text that repeats characters."""

PLACES = {"0": "the token it just saw", "1": "the next token", "2": "the token after the next"}


def targets(run: Summary) -> Iterator[Verdict]:
    """The model predicts the next token, not the one before or after it.

    With a tied head it predicts the token it sees, before it has learned anything: so the training loss must agree.
    """
    suspects, best = set(), ""
    for step, offsets in run.offsets:
        best, loss = min(offsets, key=lambda k: offsets[k]), run.train_loss(step)
        clear = offsets[best] < offsets["1"] - OFFSET and CLOSER * abs(loss - offsets[best]) < abs(loss - offsets["1"])
        suspects.add(best if clear else "1")
    if run.offsets and (best == "1" or suspects == {best}):
        yield check(
            "targets",
            best != "1",
            "the loss is " + ", ".join(f"{value:.3f} for {PLACES.get(k, k)}" for k, value in offsets.items()),
            "lowest for the next token",
            f"it was trained to predict {PLACES.get(best, best)}",
            f"the targets are shifted: the target of token t must be token t + 1, and is token t + {best}",
        )


def attention_formula(run: Summary) -> Iterator[Verdict]:
    """The attention is softmax(Q K^T / sqrt(d_k) + mask) V."""
    error, name = max(((block["attention_error"], name) for name, block in run.blocks.items()), default=(0.0, ""))
    if error > FUTURE:
        yield Verdict(
            "attention formula",
            "error",
            f"the attention of {name} differs from its formula by {percent(error)} of its largest value",
            f"below {percent(FUTURE)}",
            "the kernel is wrong: its mask leaks, or its scale is not 1 / sqrt(d_k)",
            "compare it with CausalAttention.spec",
        )


COLLAPSED, SHARP, UNIFORM = 0.95, 0.01, 0.9999
"""Mean weight of one position, in every head of a block; entropy over its maximum, in every head of a block, and of all blocks.
Healthy runs: at most 0.5, at least 0.3 and, once they learned anything, at most 0.998. Single heads may rest on one
position, and in large models many do (Xiao et al., 2024, "attention sinks")."""


def attention(run: Summary) -> Iterator[Verdict]:
    """Attention chooses, and not always the same."""
    if not run.blocks:
        return
    sharp = [
        name
        for name, block in run.blocks.items()
        if min(block["sink"].values()) > COLLAPSED or max(block["entropy"].values()) < SHARP
    ]
    entropies = [value for block in run.blocks.values() for value in block["entropy"].values()]
    uniform = min(entropies) > UNIFORM and run.trained_enough
    numbers = f"its entropy is {min(entropies):.2f} to {max(entropies):.2f} by head: 0 for one token only, 1 for all alike"
    yield check(
        "attention",
        bool(sharp) or uniform,
        f"{numbers}; every head of {listed(sharp)} looks at one token only" if sharp else numbers,
        "in between, for some head of each block",
        "the scores are too large, or all keys but one are alike: the heads gather nothing from the text"
        if sharp
        else "queries and keys do not learn: the model sees tokens without their order",
        "a lower --learning-rate" if sharp else "check that Q and K get gradients, and that --weight-decay is not too large",
        "warning",
    )


DEAD = 0.1
"""The share of GELU units of a block. Healthy runs: at most 0.02; ones at a learning rate of 1: 0.16 to 0.7."""


def dead_units(run: Summary) -> Iterator[Verdict]:
    """Units that can still learn."""
    if not run.blocks:
        return
    name, most = max(((name, block["dead"]) for name, block in run.blocks.items()), key=lambda found: found[1])
    yield check(
        "dead units",
        any(block["dead"] > DEAD for block in run.blocks.values()),
        f"{percent(most)} of the feed-forward units of {name} are off at every position",
        f"at most {percent(DEAD)}",
        "updates were too large and left biases far below 0: these units no longer get a gradient",
        "start again with a lower --learning-rate or a longer --warmup-steps",
        "warning",
    )


RESIDUAL = math.sqrt(1e-5), 100.0
"""Standard deviations of the residual stream, before the first block at the start and behind any block later. Below the lowest
the epsilon of LayerNorm is larger than the variance, and it no longer normalises. Healthy runs: 0.02 to 23;
ones at a learning rate of 0.05: 130, and of 1: 30,000 and more."""


def residual(run: Summary) -> Iterator[Verdict]:
    """The residual stream began large enough to be normalised, and is no larger than what blocks add to it can move."""
    first, (low, high) = run.first_in_std, RESIDUAL
    if first is None or not run.blocks:
        return
    stds = {name: block["out_std"] for name, block in run.blocks.items()}
    name = max(stds, key=lambda name: stds[name])
    faint = first < low
    yield check(
        "residual stream",
        faint or not stds[name] <= high,
        f"its standard deviation began at {first:.2g} before the first block; behind {name} it is {digits(stds[name])}",
        f"{low:.1g} to {high:g}",
        "the initial weights are too small: LayerNorm does not normalise what is smaller than its epsilon"
        if faint
        else "updates were too large: the weights have grown so much that a block adds next to nothing",
        "larger embeddings; see --init" if faint else f"start again with {run.lower_rate}",
        "warning",
    )
