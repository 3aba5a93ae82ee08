"""Rules on what happens inside the model: what it sees, its attention, its units, its residual stream."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gpt2.run.health.summary import Summary
from gpt2.run.health.verdict import Verdict, listed

FUTURE = 1e-3
"""Standard deviations of the logits. Healthy runs: exactly 0."""


def leak(run: Summary) -> Iterator[Verdict]:
    """Nothing sees the future."""
    future = run.future
    if future is None:
        return
    if future > FUTURE:
        yield Verdict(
            "leak",
            "error",
            f"logits change by {future:.2g} standard deviations when only later tokens change",
            "a position sees what comes after it: the causal mask leaks",
            "look at the mask: row t must have no weight beyond column t",
        )
    else:
        yield Verdict("leak", "ok", "no logit depends on a later token")


OFFSET = 0.2
"""Nats by which another token than the next may be predicted better: about the noise of 1,024 tokens."""

CLOSER = 4.0
"""How many times closer the training loss is to that of the other token, at two evaluations in a row. Healthy runs: at one
evaluation 2, with a tied head and text that repeats characters."""


def targets(run: Summary) -> Iterator[Verdict]:
    """The model predicts the next token, not the one before or after it.

    With a tied head it predicts the token it sees, before it has learned anything: so the training loss must agree.
    """
    if not run.offsets:
        return
    offsets, loss, best = _offsets(run, *run.offsets[-1])
    suspects = {_other_target(*_offsets(run, *found)) for found in run.offsets}
    numbers = "loss of the token " + ", ".join(f"{k} on: {value:.3f}" for k, value in offsets.items())
    if suspects == {best}:
        yield Verdict(
            "targets",
            "error",
            f"{numbers}; training loss {loss:.3f}",
            "the model learned the token it sees" if best == "0" else "the model learned the token after the next",
            f"targets are off by one: input t must be beside token t + 1, and is beside token t + {best}",
        )
    elif best == "1":
        yield Verdict("targets", "ok", f"{numbers}: the next token is what it learned")


def _other_target(offsets: dict[str, float], loss: float, best: str) -> str | None:
    """Of which other token, k places on, the training loss is that of an evaluation; None if it is the next, or not clear."""
    clear = offsets[best] < offsets["1"] - OFFSET and CLOSER * abs(loss - offsets[best]) < abs(loss - offsets["1"])
    return best if clear else None


def _offsets(run: Summary, step: int, offsets: dict[str, float]) -> tuple[dict[str, float], float, str]:
    """Of an evaluation: the loss of the token k places on, by k; the training loss; and the k of the lowest."""
    return offsets, run.train_loss(step), min(offsets, key=lambda k: offsets[k])


def attention_formula(run: Summary) -> Iterator[Verdict]:
    """The attention is softmax(Q K^T / sqrt(d_k) + mask) V."""
    for name, block in run.blocks.items():
        if block["attention_error"] > FUTURE:
            yield Verdict(
                "attention formula",
                "error",
                f"the attention of {name} is {block['attention_error']:.2g} of its largest value from its formula",
                "the kernel computes something else: a mask that leaks, or another scale than 1 / sqrt(d_k)",
                "compare it with CausalAttention.spec",
            )
            return


COLLAPSED, UNIFORM = 0.95, 0.9999
"""Mean weight of one position, in every head of a block; and entropy over its maximum, in every head of every block. Healthy
runs: at most 0.5 and, once they learned anything, 0.998. Single heads may rest on one position, and in large models
many do (Xiao et al., 2024, "attention sinks")."""


def attention(run: Summary) -> Iterator[Verdict]:
    """Attention chooses, and not always the same."""
    if not run.blocks:
        return
    collapsed = [name for name, block in run.blocks.items() if min(block["sink"].values()) > COLLAPSED]
    entropies = [value for block in run.blocks.values() for value in block["entropy"].values()]
    numbers = f"entropy of attention {min(entropies):.2f} to {max(entropies):.2f} of its largest"
    if collapsed:
        yield Verdict(
            "attention collapsed",
            "warning",
            f"in {listed(collapsed)} every head gives more than {COLLAPSED:.0%} of its weight to one position",
            "the scores are too large, or keys are all alike but one: nothing is gathered from the text",
            "a lower --learning-rate; check the scale 1 / sqrt(d_k) and the layer norm before",
        )
    elif min(entropies) > UNIFORM and run.trained_enough:
        yield Verdict(
            "attention uniform",
            "warning",
            f"{numbers}, in every head: all positions count the same",
            "queries and keys do not learn: the model sees a bag of tokens",
            "check that Q and K get gradients and are not scaled away",
        )
    else:
        yield Verdict("attention", "ok", numbers)


DEAD = 0.25
"""The share of GELU units of a block. Healthy runs: at most 0.02."""


def dead_units(run: Summary) -> Iterator[Verdict]:
    """Units that can still learn."""
    if not run.blocks:
        return
    shares = {name: block["dead"] for name, block in run.blocks.items()}
    dead = {name: share for name, share in shares.items() if share > DEAD}
    if dead:
        yield Verdict(
            "dead units",
            "warning",
            "GELU units that are off at every position: " + ", ".join(f"{share:.0%} in {name}" for name, share in dead.items()),
            "large negative biases or updates that were too large: these units get no gradient any more",
            "a lower --learning-rate or a longer --warmup-steps; start again, they will not come back",
        )
    else:
        yield Verdict("dead units", "ok", f"at most {max(shares.values()):.1%} of a block's GELU units are dead")


FAINT = math.sqrt(1e-5)
"""The standard deviation at which the epsilon of LayerNorm is as large as the variance: below, it no longer normalises."""


def residual(run: Summary) -> Iterator[Verdict]:
    """The residual stream began large enough to be normalised."""
    first = run.first_in_std
    if first is None or not run.blocks:
        return
    if first < FAINT:
        yield Verdict(
            "faint activations",
            "warning",
            f"the embeddings began with a standard deviation of {first:.2g}, less than sqrt(1e-5) = {FAINT:.2g}",
            "the initial weights are too small: the epsilon of LayerNorm is larger than what it normalises",
            "scale the embeddings up; see --init",
        )
    else:
        blocks = list(run.blocks.values())
        stds = f"{blocks[0]['in_std']:.3g}, {blocks[-1]['out_std']:.3g}"
        yield Verdict("residual stream", "ok", f"standard deviation of the residual stream {stds} from first to last")
