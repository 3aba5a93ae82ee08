"""Why positions?

Attention is a sum over a set: without positions and without a mask, a sentence is a bag of tokens.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from experiments.harness import Claim, Result, Track, interval, with_interval
from experiments.small_training import Unmasked, evaluate, text, train
from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, no_grad

T = 16


def build(vocab_size: int, seed: int, positions: bool = True, mask: bool = True, dtype: Any = np.float32) -> GPT2:
    config = GPT2Config(vocab_size=vocab_size, max_seq_len=T, d_model=32, num_layers=2, num_heads=2, init="gpt2")
    model = GPT2(config, seed, dtype)
    if not positions:
        model.wpe.weight.data = np.zeros_like(model.wpe.weight.data)
        model.wpe.weight.requires_grad = False  # frozen: nothing is ever added for a position
    if not mask:
        for block in model.h:
            block.attn = Unmasked(block.attn)
    return model


def change_of_order(model: GPT2, ids: Any, seed: int) -> float:
    """How far logits of shuffled tokens are from the shuffled logits, over the size of the logits."""
    order = np.random.default_rng(seed).permutation(T)
    with no_grad():
        logits, shuffled = model(ids).data, model(ids[order]).data
    return float(abs(shuffled - logits[order]).max() / abs(logits).max())


def similarity(model: GPT2) -> list[float]:
    """The mean cosine of two rows of the position table, by their distance: 1 to T - 1."""
    rows = model.wpe.weight.data
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return [float(np.diagonal(rows @ rows.T, distance).mean()) for distance in range(1, T)]


def places(model: GPT2, training: Any, validation: Any, steps: int, seed: int) -> float:
    """Train the model to say the place of each token, 0 to T - 1, in place of the next token: the loss that is left."""

    def loss_of(inputs: Any, targets: Any) -> Tensor:
        return model.loss(inputs, np.broadcast_to(np.arange(T), targets.shape))

    train(model, loss_of, training, steps, seed=seed, seq_len=T, learning_rate=5e-3)
    return evaluate(loss_of, validation, seq_len=T, windows=256)


def measure(track: Track, quick: bool, control: bool) -> Result:
    training, validation, V = text()
    without = control  # the control has positions where it says that there are none
    result: Result = {name: [] for name in ("set", "mask_alone", "with", "without", "before", "after", "say_mask", "say_none")}
    steps, asked = (150, 60) if quick else (800, 300)
    for seed in track(range(5 if quick else 8)):
        ids = validation[seed * T : (seed + 1) * T]
        result["set"].append(change_of_order(build(V, seed, without, mask=False, dtype=np.float64), ids, seed))
        result["mask_alone"].append(change_of_order(build(V, seed, without, dtype=np.float64), ids, seed))
        for name, positions in [("with", True)] if quick else [("with", True), ("without", without)]:
            model = build(V, seed, positions)
            if name == "with":
                result["before"].append(similarity(model))
            train(model, model.loss, training, steps, seed=seed, seq_len=T, learning_rate=5e-3)
            if name == "with":
                result["after"].append(similarity(model))
            result[name].append(evaluate(model.loss, validation, seq_len=T, windows=512))
        for name, mask in (("say_mask", True), ("say_none", False)):
            result[name].append(places(build(V, seed, without, mask), training, validation, asked, seed))
    return result


def claims(result: Result) -> list[Claim]:
    worse = np.subtract(result["without"], result["with"][: len(result["without"])])
    near, far = (np.array(result["after"])[:, part].mean(1) for part in (slice(0, 3), slice(T // 2, T)))
    told = np.subtract(math.log(T), result["say_mask"])
    none = np.subtract(math.log(T), result["say_none"])
    return [
        Claim(
            "Without a mask and positions, shuffled tokens give the shuffled logits (largest relative difference "
            f"{max(result['set']):.1g} in float64).",
            max(result["set"]) < 1e-10,
        ),
        Claim(
            f"A causal mask alone ends that (smallest difference {min(result['mask_alone']):.1g}).",
            min(result["mask_alone"]) > 1e-10,
        ),
        Claim(
            f"Asked for the place of a token among {T}, a model with a mask and no positions does better than guessing, "
            f"by {with_interval(told)} nats of {math.log(T):.2f}; with neither it does not: {with_interval(none)}.",
            interval(told)[0] > max(0, interval(none)[1]),
        ),
        *(
            [
                Claim(
                    f"With a mask, a model without positions still has a higher validation loss: "
                    f"{np.mean(result['without']):.3f} against {np.mean(result['with']):.3f} nats per character, "
                    f"a difference of {with_interval(worse)}.",
                    interval(worse)[0] > 0,
                ),
            ]
            if len(worse)  # a difference that a few steps do not show
            else []
        ),
        Claim(
            "Learned positions are alike where they are near: the cosine is "
            f"{with_interval(near, 2)} for 1 to 3 places apart, {with_interval(far, 2)} for more than {T // 2}.",
            interval(near - far)[0] > 0,
        ),
    ]


def draw(result: Result, figure: Any) -> None:
    figure.set_size_inches(10, 4.5)
    left, right = figure.subplots(1, 2)
    names = {"with": "with positions", "without": "without, with a mask"}
    for i, name in enumerate(names):
        values = np.array(result[name])
        low, high = interval(values)
        left.bar(i, values.mean(), 0.6, color=("tab:blue", "tab:red")[i])
        left.vlines(i, low, high, color="0.1", linewidth=2)
        left.plot(np.full(len(values), i + 0.38), values, ".", color="0.4")
    left.set_xticks(range(len(names)), names.values())
    left.set(ylabel="validation loss (nats per character)", title="Without positions the loss is higher")
    for name, color, label in (("before", "0.6", "before training"), ("after", "tab:blue", "after")):
        rows = np.array(result[name])
        right.plot(range(1, T), rows.mean(0), "o-", color=color, label=label)
        right.fill_between(range(1, T), rows.min(0), rows.max(0), color=color, alpha=0.2, linewidth=0)
    right.axhline(0, color="0.3", linewidth=0.8)
    right.set(xlabel="how many places apart", ylabel="cosine of two learned positions", title="Near positions become alike")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.grid(alpha=0.25, axis="y")
