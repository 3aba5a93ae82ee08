"""What is measured of a model at each evaluation, so that `health` can judge a run from its rows alone.

Everything is computed on one fixed batch of the validation text. Nothing is drawn from a random stream, dropout is off, and
the parameters are afterwards what they were.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpt2.model import GPT2
from gpt2.run.metrics import Row
from gpt2.text.batches import Batch
from gpt2.training.step import Trainer
from tinygrad2 import no_grad
from tinygrad2.ops.fused import attention_weights, merge_heads, split_heads
from tinygrad2.optim import SGD, AdamW
from tinygrad2.types import Array

TOKENS = 1024
"""In the batch, or one sequence per shard if that is more."""

DEAD = {"gpt2": -3.0, "modern": 0.0}
"""By architecture: below, GELU gives nothing (-0.004 and less) and lets nothing through (a slope of -0.012 and less); and
ReLU squared nothing at all."""

NUDGE = 0.01
"""Nats by which the loss should change when the slope is measured: 10,000 times what rounding changes."""

NARROWER, AGREE = 4, 0.02
"""How many widths are tried, each a quarter of the one before, until two slopes agree; the narrowest is still 500
times what rounding changes."""

TOO_SMALL = -5.5
"""A log10 of update to weight below which float32 rounds the update too much to be compared (2^-24 is 10^-7.2)."""


def probe_windows(val: Array, seq_len: int, shards: int) -> Array:
    """The fixed batch: ids (M) -> (B, T + 1), evenly spread over the validation text."""
    count = max(TOKENS // seq_len, shards)
    starts = np.linspace(0, len(val) - seq_len - 1, count).astype(np.int64)
    return val[starts[:, None] + np.arange(seq_len + 1)].astype(np.int64)


def diagnose(trainer: Trainer, row: Row, windows: Array) -> Row:
    """What there is to know of a model, and of the step that `row` describes; windows (B, T + 1) -> plain numbers.

    blocks            per block: see `_of_block`
    future            how much logits change with later tokens, in standard deviations of the logits: 0 if causal
    offsets           the loss, in nats, if the token 0, 1 or 2 places on is what is predicted: 1 should be the lowest
    slope             the slope of the loss along its gradient, measured by differences, over the gradient's norm: 1
    slope_doubt       how far two measurements of it differ
    update_scale      the size of the last update over the size that the optimizer's formula gives: 1
    """
    model = trainer.model
    found: Row = {}
    with model.evaluating(), np.errstate(all="ignore"):
        found["blocks"], logits = _forward(model, windows[:, :-1])
        found["future"] = _future(model, windows[:, :-1], logits)
        found["offsets"] = _offsets(logits, windows)
        slopes = _slopes(trainer, (windows[:, :-1], windows[:, 1:]))
        found["slope"], found["slope_doubt"] = slopes[1], abs(slopes[0] - slopes[1])
        scale = _update_scale(trainer, row)
        if scale is not None:
            found["update_scale"] = scale
    return _rounded(found)


def _forward(model: GPT2, ids: Array) -> tuple[Row, Array]:
    """Statistics by block, and the logits (B, T, V)."""
    kept: dict[str, Array] = {}
    removers = []

    def keep(name: str, module: Any, of_input: bool = False) -> None:
        def hook(_: Any, inputs: tuple[Any, ...], output: Any) -> None:
            kept[name] = (inputs[0] if of_input else output).data

        removers.append(module.register_forward_hook(hook))

    blocks: Row = {}
    try:
        for i, block in enumerate(model.h):
            keep(f"{i}.qkv", block.attn.c_attn)
            keep(f"{i}.merged", block.attn.c_proj, of_input=True)
            keep(f"{i}.units", block.mlp.c_fc)
            keep(f"{i}.in", block, of_input=True)
            keep(f"{i}.out", block)
        with no_grad():
            logits = model(ids).data
    finally:
        for remove in removers:
            remove()
    for i in range(len(model.h)):
        parts = {name: kept[f"{i}.{name}"] for name in ("qkv", "merged", "units", "in", "out")}
        blocks[f"h.{i}"] = _of_block(parts, model.config.num_heads, DEAD[model.config.architecture])
    return blocks, logits


def _of_block(kept: dict[str, Array], heads: int, dead: float) -> Row:
    """Of one block:

    in_std, out_std   the standard deviation of the residual stream before and after it
    dead              the share of the feed-forward units whose input is below `dead` at every position of the batch
    off               the share of all these inputs that are below `dead`
    entropy           per head: the entropy of the attention weights over ln(positions seen), mean: 0 is one position, 1 all
    sink              per head: the largest mean weight that one key position gets from the queries of the second half
    attention_error   how far the attention is from its formula, computed again: the largest difference, in its largest value
    """
    q, k, v = split_heads(kept["qkv"], 3, heads)  # (B, H, T, d)
    weights = attention_weights(q, k)  # (B, H, T, T)
    T = weights.shape[-1]
    again = merge_heads(weights @ v)
    logs = np.log(np.where(weights > 0, weights, 1))
    entropy = -(weights * logs).sum(-1)[..., 1:] / np.log(np.arange(2, T + 1))  # (B, H, T - 1): the first sees only itself
    sink = weights[:, :, T // 2 :].mean(axis=(0, 2)).max(-1)  # (H,)
    off = kept["units"] < dead  # (B, T, d_ff)
    return {
        "in_std": float(kept["in"].std()),
        "out_std": float(kept["out"].std()),
        "dead": float(off.all(axis=(0, 1)).mean()),
        "off": float(off.mean()),
        "entropy": _by_head(entropy.mean(axis=(0, 2)) if T > 1 else np.ones(heads)),
        "sink": _by_head(sink),
        "attention_error": float(abs(again - kept["merged"]).max() / max(abs(again).max(), 1e-30)),
    }


def _by_head(values: Array) -> Row:
    return {str(i): float(value) for i, value in enumerate(values)}


def _future(model: GPT2, ids: Array, logits: Array) -> float:
    """How much the logits of the first half change when all tokens of the second half do."""
    half = ids.shape[1] // 2
    changed = ids.copy()
    changed[:, half:] = (changed[:, half:] + 1) % model.config.vocab_size
    with no_grad():
        after = model(changed).data
    if not half or not logits.std():
        return 0.0
    return float(abs(after - logits)[:, :half].max() / logits.std())


def _offsets(logits: Array, windows: Array) -> Row:
    """The mean of -log p(token k places on), by k."""
    T = logits.shape[1]
    if T < 2:
        return {}
    logits = logits[:, : T - 1]
    shifted = logits - logits.max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return {
        str(k): float(-np.take_along_axis(logs, windows[:, k : k + T - 1, None], axis=-1).mean(dtype=np.float64))
        for k in range(3)
    }


def _slopes(trainer: Trainer, batch: Batch) -> list[float]:
    """The slope of the loss along its gradient over the gradient's norm, from central differences of the last two widths."""
    model, shards, parameters = trainer.model, trainer.shards, trainer.parameters
    data = [p.data for p in parameters]
    try:
        _, gradients = shards.loss_and_gradients(model, batch, trainer.config.seed, trainer.position)
        norm = math.hypot(*(float(np.linalg.norm(g.ravel(order="K"))) for g in gradients))
        size = math.hypot(*(float(np.linalg.norm(a.ravel(order="K"))) for a in data))
        if not norm or not math.isfinite(norm):
            return [math.nan, math.nan]
        width = min(NUDGE / norm, 0.01 * size) / norm  # in gradients
        slopes: list[float] = []
        for _ in range(NARROWER):
            losses = []
            for sign in (1, -1):
                for p, a, g in zip(parameters, data, gradients, strict=True):
                    p.data = a + np.asarray(sign * width, a.dtype) * g
                losses.append(shards.evaluate(model, [batch]))
            slopes.append((losses[0] - losses[1]) / (2 * width * norm * norm))
            if len(slopes) > 1 and abs(slopes[-1] - slopes[-2]) < AGREE:
                break
            width /= 4
        return slopes[-2:]
    finally:
        for p, a in zip(parameters, data, strict=True):
            p.data = a


def _update_scale(trainer: Trainer, row: Row) -> float | None:
    """The median over the matrices of: recorded size of the update / size by the formula and the optimizer's moments."""
    ratios, lr = row.get("update_ratios"), row.get("learning_rate")
    if not ratios or not lr or trainer.zero:  # with ZeRO, no rank has all moments
        return None
    found = []
    for (name, p), state in zip(trainer.model.named_parameters(), trainer.optimizer.state, strict=True):
        if ratios.get(name, -math.inf) > TOO_SMALL and "momentum" not in state:  # Muon's does not tell its update
            change, decay = _expected_update(trainer, state, lr)
            before = (p.data.reshape(-1) + change) / (1 - decay)
            expected = float((p.data.reshape(-1) - before).std() / before.std())
            found.append(float(np.float64(10) ** ratios[name]) / expected if expected else math.inf)
    return float(np.median(found)) if found else None


def _expected_update(trainer: Trainer, state: dict[str, Array], lr: float) -> tuple[Array, float]:
    """What the last update subtracted from a matrix, as a flat array, beside shrinking it by a share; see tinygrad2.optim."""
    optimizer = trainer.optimizer
    if isinstance(optimizer, AdamW):
        beta1, beta2 = optimizer.betas
        mean = state["mean"] / (1 - beta1**optimizer.steps)
        square = state["square"] / (1 - beta2**optimizer.steps)
        return (lr * mean / (np.sqrt(square) + optimizer.eps)).reshape(-1), lr * optimizer.weight_decay
    assert isinstance(optimizer, SGD)
    return lr * state["velocity"].reshape(-1), 0.0


def _rounded(value: Any) -> Any:
    """Five digits say enough."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return float(f"{value:.5g}")
