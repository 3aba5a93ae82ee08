"""What does the causal mask protect?

Without it a model that is trained to predict the next token reads that token, and learns nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.harness import Claim, Result, Track, interval, with_interval
from experiments.small_training import Unmasked, evaluate, text, train
from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, autograd, no_grad, ops

T = 16


def build(vocab_size: int, seed: int, mask: bool) -> GPT2:
    model = GPT2(GPT2Config(vocab_size=vocab_size, max_seq_len=T, d_model=32, num_layers=2, num_heads=2), seed)
    if not mask:
        for block in model.h:
            block.attn = Unmasked(block.attn)
    return model


def reach(model: GPT2, ids: Any, targets: Any) -> Any:
    """(T, T): the size of the gradient of the loss at position t with respect to the embedding at position s."""
    embedded = Tensor(model.wte(ids).data + model.wpe.weight.data, requires_grad=True)  # (T, C)
    x = embedded
    for block in model.h:
        x = block(x)
    logits = model.lm_head(model.ln_f(x))  # (T, V)
    losses = [ops.cross_entropy(logits[t], targets[t]) for t in range(T)]
    return np.stack([np.linalg.norm(autograd.grad(loss, [embedded], retain_graph=True)[0].data, axis=-1) for loss in losses])


def from_prefixes(model: GPT2, ids: Any, windows: int = 64) -> float:
    """The loss of each token of the windows from those before it alone, as in generation: the rest is not there to be seen."""
    starts = np.linspace(0, len(ids) - T - 1, windows).astype(int)
    rows = ids[starts[:, None] + np.arange(T + 1)]  # (B, T + 1)
    with no_grad():
        return float(np.mean([ops.cross_entropy(model(rows[:, :t])[:, -1], rows[:, t]).item() for t in range(1, T + 1)]))


def loss_of_frequencies(training: Any, validation: Any, vocab_size: int) -> float:
    """The loss of a table of how often each character occurs, which sees no other character."""
    counts = np.bincount(training, minlength=vocab_size) + 1
    return float(-np.log(counts / counts.sum())[validation].mean())


def measure(track: Track, quick: bool, control: bool) -> Result:
    training, validation, vocab_size = text()
    found: Result = {"frequencies": loss_of_frequencies(training, validation, vocab_size)}
    for name, mask in (("masked", not control), ("unmasked", False)):
        curves, seen, prefix = [], [], []
        for seed in track(range(5 if quick else 8)):
            model = build(vocab_size, seed, mask)
            curve = train(model, model.loss, training, 120 if quick else 500, seed=seed, seq_len=T, learning_rate=5e-3)
            curves.append(curve)
            seen.append(evaluate(model.loss, validation, seq_len=T))
            prefix.append(from_prefixes(model, validation))
        curve = np.mean(curves, axis=0).reshape(-1, 10).mean(1)
        gradients = reach(model, validation[:T], validation[1 : T + 1])
        found[name] = {"curve": curve.tolist(), "window": seen, "prefix": prefix, "gradients": gradients.tolist()}
    return found


def claims(result: Result) -> list[Claim]:
    masked, unmasked = result["masked"], result["unmasked"]
    later = [np.triu(part["gradients"], 1).max() for part in (masked, unmasked)]
    easier = np.subtract(masked["window"], unmasked["window"])
    worse = np.subtract(unmasked["prefix"], masked["prefix"])
    table = np.subtract(unmasked["prefix"], result["frequencies"])
    same = max(abs(np.subtract(masked["window"], masked["prefix"])))
    return [
        Claim(
            "With the mask, the largest gradient of the loss at a position with respect to a later embedding "
            f"is {later[0]:g}; without, {later[1]:.2g}.",
            later[0] == 0 < later[1],
        ),
        Claim(
            "Shown whole windows, the trained model without a mask has the lower loss: "
            f"{np.mean(unmasked['window']):.2f} against {np.mean(masked['window']):.2f} nats per token, "
            f"a difference of {with_interval(easier, 2)}.",
            interval(easier)[0] > 0,
        ),
        Claim(
            "Shown only what comes before each token, as when it generates, it has the higher one: "
            f"{np.mean(unmasked['prefix']):.2f} against {np.mean(masked['prefix']):.2f}, a difference of "
            f"{with_interval(worse, 2)}.",
            interval(worse)[0] > 0,
        ),
        Claim(
            f"That is worse than to know only how often each character occurs ({result['frequencies']:.2f} nats), "
            f"by {with_interval(table, 2)}.",
            interval(table)[0] > 0,
        ),
        Claim(
            f"With the mask both losses are the same number (largest difference {same:.1g}): training is a true rehearsal.",
            same < 1e-4,
        ),
    ]


def draw(result: Result, figure: Any) -> None:
    maps, right = figure.subfigures(1, 2, width_ratios=[1, 1.5])
    for axes, name in zip(maps.subplots(2, 1, sharex=True), ("masked", "unmasked"), strict=True):
        gradients = np.array(result[name]["gradients"])
        share = np.where(gradients > 0, gradients / gradients.max(1, keepdims=True), np.nan)  # nan, an exact zero, stays white
        axes.imshow(np.log10(share).clip(-2, 0), cmap="Blues", vmin=-2.5, vmax=0)
        axes.set_ylabel("loss at position")
        axes.set_title(f"{name}: the gradient", fontsize=10)
    axes.set_xlabel("of embedding at position\n(darker: larger; white: exactly 0)")
    axes = right.subplots()
    for name, color in (("masked", "tab:blue"), ("unmasked", "tab:red")):
        part = result[name]
        steps = 10 * np.arange(len(part["curve"])) + 5
        axes.plot(steps, part["curve"], color=color, label=f"{name}: training loss")
        last = steps[-1] + 25
        low, high = interval(part["prefix"])
        axes.plot([last, last], [low, high], color=color)
        axes.plot(last, np.mean(part["prefix"]), "o", color=color, label=f"{name}: loss from the past alone")
    axes.axhline(result["frequencies"], color="0.7", linestyle="--", label="knowing only how often each character occurs")
    axes.set(xlabel="step", ylabel="loss (nats per token)", ylim=(0, 7.5))
    axes.set_title("Without a mask the model reads the answer,\nand has none when it must predict", fontsize=11)
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
