"""LayerNorm or BatchNorm?

Both subtract a mean and divide by a standard deviation: LayerNorm over the features of one token, BatchNorm over all tokens of
one feature. So BatchNorm makes the tokens depend on each other, those of other samples and those of the future.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments import small_training
from experiments.harness import Claim, Result, Track, interval, with_interval
from gpt2 import GPT2, GPT2Config
from gpt2.text.batches import batch
from tinygrad2 import Tensor, nn, ops

NORMS = ("LayerNorm", "BatchNorm")
T = 32


class BatchNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias over all axes but the last (Ioffe and Szegedy, 2015).

    In training, mean and variance are those of the batch, and their running means are kept for evaluation.
    """

    def __init__(self, norm: nn.LayerNorm, momentum: float = 0.1) -> None:
        self.weight, self.bias, self.eps, self.momentum = norm.weight, norm.bias, norm.eps, momentum
        self.mean, self.variance = np.zeros(norm.weight.shape), np.ones(norm.weight.shape)

    def forward(self, x: Tensor) -> Tensor:
        mean: Any = self.mean
        variance: Any = self.variance
        if self.training:
            tokens = tuple(range(x.ndim - 1))
            mean = x.mean(axis=tokens)  # (C,)
            variance = ((x - mean) ** 2).mean(axis=tokens)
            self.mean = self.mean + self.momentum * (mean.data - self.mean)
            self.variance = self.variance + self.momentum * (variance.data - self.variance)
        return (x - mean) / np.sqrt(variance + self.eps) * self.weight + self.bias


def build(norm: str, seed: int, dtype: Any = np.float32) -> GPT2:
    V = small_training.text()[2]
    model = GPT2(GPT2Config(vocab_size=V, max_seq_len=T, d_model=32, num_layers=2, num_heads=4), seed, dtype)
    if norm == "BatchNorm":
        for block in model.h:
            block.ln_1, block.ln_2 = BatchNorm(block.ln_1), BatchNorm(block.ln_2)  # type: ignore[assignment]
        model.ln_f = BatchNorm(model.ln_f)  # type: ignore[assignment]
    return model


def orthogonality(norm: str, seed: int) -> list[float]:
    """Of random features (tokens, C): how far at most the input's gradient is from orthogonal to ones and to the normalised
    input, as a cosine, along the axis over which this normalises."""
    rng = np.random.default_rng(seed)
    layer: Any = nn.LayerNorm(16, eps=0, dtype=np.float64)
    layer, axis = (layer, 1) if norm == "LayerNorm" else (BatchNorm(layer), 0)
    x = Tensor(rng.standard_normal((24, 16)), requires_grad=True)
    out = layer(x)
    (out * rng.standard_normal(x.shape)).sum().backward()
    g = x.grad.data / np.linalg.norm(x.grad.data, axis=axis, keepdims=True)
    return [float(np.abs((g * other).sum(axis)).max() / np.sqrt(x.shape[axis])) for other in (1.0, out.data)]


def reach(norm: str, seed: int) -> list[float]:
    """Where the loss of one token of a GPT-2 has its gradient: the share of its norm at the inputs of the other samples, and
    at those of later tokens of the same."""
    model = build(norm, seed, np.float64)
    inputs, targets = batch(small_training.text()[0], 4, T, seed, 0)
    x = Tensor(model.wte(inputs).data + model.wpe.weight.data, requires_grad=True)  # (B, T, C)
    h = x
    for block in model.h:
        h = block(h)
    ops.cross_entropy(model.lm_head(model.ln_f(h))[0, T // 2], targets[0, T // 2]).backward()
    g = x.grad.data
    return [float(np.linalg.norm(part) / np.linalg.norm(g)) for part in (g[1:], g[0, T // 2 + 1 :])]


def trained(norm: str, seed: int, steps: int, windows: int) -> list[float]:
    """Three validation losses in nats per character: with running statistics, with those of all windows together, and with
    those of each window alone. For LayerNorm they are one and the same."""
    train_ids, val_ids, _ = small_training.text()
    model = build(norm, seed)
    small_training.train(model, model.loss, train_ids, steps, seed=seed, learning_rate=5e-3)
    with model.evaluating():
        running = small_training.evaluate(model.loss, val_ids, windows=windows)

    def alone(inputs: Any, targets: Any) -> Tensor:
        return Tensor(np.mean([model.loss(x, y).item() for x, y in zip(inputs, targets, strict=True)]))

    if norm == "LayerNorm":
        return [running] * 3
    # In training, the statistics are those of whatever is passed.
    return [running, *(small_training.evaluate(of, val_ids, windows=windows) for of in (model.loss, alone))]


def measure(track: Track, quick: bool, control: bool) -> Result:
    norms = {"LayerNorm": "LayerNorm", "BatchNorm": "LayerNorm" if control else "BatchNorm"}  # the control has no BatchNorm
    seeds, steps, windows = range(5), 30 if quick else 300, 64 if quick else 512
    return {
        "orthogonality": {norm: [orthogonality(norm, seed) for seed in seeds] for norm in NORMS},
        "reach": {name: [reach(norm, seed) for seed in seeds] for name, norm in norms.items()},
        "steps": steps,
        "losses": {name: [trained(norm, seed, steps, windows) for seed in track(seeds)] for name, norm in norms.items()},
    }


def claims(result: Result) -> list[Claim]:
    layer, batchwise = (np.array(result["orthogonality"][norm]).max() for norm in NORMS)
    none, some = (np.array(result["reach"][norm]) for norm in NORMS)  # (seeds, 2) each
    good, (running, together, alone) = np.array(result["losses"]["LayerNorm"])[:, 0], np.array(result["losses"]["BatchNorm"]).T
    return [
        Claim(
            "LayerNorm's gradient is orthogonal to ones and to the normalised input along the features of each token (the "
            f"cosine is at most {layer:.0e}), BatchNorm's along the tokens of each feature ({batchwise:.0e}).",
            max(layer, batchwise) < 1e-12,
        ),
        Claim(
            f"The loss of one token has {some[:, 0].mean():.0%} of its gradient's norm at the inputs of the other samples "
            f"under BatchNorm, at least {some[:, 0].min():.0%}; under LayerNorm exactly {none[:, 0].max():.0f}.",
            some[:, 0].min() > 0.01 and not none[:, 0].any(),
        ),
        Claim(
            f"At the inputs of later tokens of its own sample it has {some[:, 1].mean():.0%} under BatchNorm, at least "
            f"{some[:, 1].min():.0%}, in spite of the causal mask; under LayerNorm exactly {none[:, 1].max():.0f}.",
            some[:, 1].min() > 0.01 and not none[:, 1].any(),
        ),
        Claim(
            f"After {result['steps']} steps the validation loss is {with_interval(good)} with LayerNorm. With BatchNorm it "
            f"depends on the statistics: {with_interval(running)} with running ones, {with_interval(together)} with those of "
            f"all windows together, {with_interval(alone)} with those of each window alone.",
            interval(alone - together)[0] > 0 and interval(alone - good)[0] > 0,
        ),
        Claim(
            f"Where it is the worst, it is {with_interval(alone - good)} worse than LayerNorm; with running statistics the "
            f"difference is {with_interval(running - good)}, {verdict(interval(running - good))}.",
            interval(alone - running)[0] > 0,
        ),
    ]


def verdict(difference: tuple[float, float]) -> str:
    return "worse" if difference[0] > 0 else "better" if difference[1] < 0 else "which shows none"


def draw(result: Result, figure: Any) -> None:
    figure.set_size_inches(10, 4.2)
    figure.suptitle(
        "BatchNorm ties a token to other samples and to the future, and its loss depends on whose statistics it gets"
    )
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.2])
    colours = dict(zip(NORMS, ("tab:blue", "tab:red"), strict=True))
    for i, (norm, colour) in enumerate(colours.items()):
        shares = np.array(result["reach"][norm]).mean(0)
        bars = left.bar(np.arange(2) + 0.4 * i - 0.2, shares, 0.36, color=colour, label=norm)
        left.bar_label(bars, [f"{share:.0%}" if share else "exactly 0" for share in shares])
    left.set_xticks(range(2), ["inputs of other samples", "later inputs of its own sample"])
    left.set(ylabel="share of the gradient's norm of one token's loss")
    left.margins(y=0.15)
    left.legend(frameon=False)
    arms = {
        "LayerNorm": ("LayerNorm", 0),
        "BatchNorm,\nrunning\nstatistics": ("BatchNorm", 0),
        "BatchNorm,\nwindows\ntogether": ("BatchNorm", 1),
        "BatchNorm,\nwindows\none by one": ("BatchNorm", 2),
    }
    for i, (norm, which) in enumerate(arms.values()):
        losses = np.array(result["losses"][norm])[:, which]
        low, high = interval(losses)
        right.plot(np.full(len(losses), i + 0.15), losses, ".", color="0.6")
        right.errorbar(
            i, losses.mean(), [[losses.mean() - low], [high - losses.mean()]], fmt="o", color=colours[norm], capsize=4
        )
    right.set_xticks(range(len(arms)), arms)
    right.set(xlim=(-0.5, 3.5), ylabel="validation loss (nats per character)")
    for axes in (left, right):
        axes.grid(alpha=0.25, axis="y")
