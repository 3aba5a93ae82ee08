"""What do residual connections buy?

GPT-2's stack with `x + f(x)`, and with `f(x)` alone: how large the gradient of the first block is beside that of the last, how
much positions still differ after the last block, and what is learned. LayerNorm, too, keeps gradients in size, so there is a
stack without it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.harness import Claim, Result, Track, interval, with_interval
from experiments.small_training import text, train
from gpt2 import GPT2, GPT2Config
from gpt2.model import Block
from gpt2.text.batches import batch
from tinygrad2 import Tensor, nn, optim

SEEDS = range(5)
STACKS = {"residual": (True, True), "layer_norm": (False, True), "neither": (False, False)}
"""By name: whether there are residual connections, and whether there is LayerNorm."""


class Plain(nn.Module):
    """A Block in which nothing is added: x goes through attention and feed-forward network only."""

    def __init__(self, block: Block, norm: bool) -> None:
        self.ln_1, self.ln_2 = (block.ln_1, block.ln_2) if norm else (Same(), Same())
        self.attn, self.mlp = block.attn, block.mlp

    def forward(self, x: Tensor, cache: nn.KVCache | None = None) -> Tensor:
        x = self.attn(self.ln_1(x), cache)
        return self.mlp(self.ln_2(x))


class Same(nn.Module):
    """What stands where a LayerNorm was."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def build(depth: int, residual: bool, norm: bool, seed: int) -> GPT2:
    config = GPT2Config(vocab_size=text()[2], max_seq_len=32, d_model=32, num_layers=depth, num_heads=2)
    model = GPT2(config, seed)
    if not residual:
        model.h = [Plain(block, norm) for block in model.h]  # the same weights
    return model


def at_the_start(model: GPT2, seed: int) -> tuple[float, float]:
    """The norm of the gradient of the first block over that of the last; the share of the stream that differs by position."""
    kept = []
    model.h[-1].register_forward_hook(lambda block, inputs, output: kept.append(output.data))
    model.loss(*batch(text()[0], 8, 32, seed, 0)).backward()
    norms = [optim.grad_norm(p.grad for p in block.parameters()) for block in model.h]
    stream = kept[0].astype(np.float64)  # (B, T, C)
    differs = stream - stream.mean(axis=1, keepdims=True)
    return norms[0] / norms[-1], float((differs**2).sum() / (stream**2).sum())


def measure(track: Track, quick: bool, control: bool) -> Result:
    stacks = STACKS | ({"residual": STACKS["layer_norm"]} if control else {})
    depths = [2, 4, 8, 16]
    ratios, shares, losses = ({name: [] for name in stacks} for _ in range(3))
    for name, (residual, norm) in track(stacks.items()):
        for depth in depths:
            pairs = [at_the_start(build(depth, residual, norm, seed), seed) for seed in SEEDS]
            ratios[name].append([ratio for ratio, _ in pairs])
            shares[name].append([share for _, share in pairs])
    depth, steps, seq_len = (4, 60, 16) if quick else (8, 160, 32)
    for name in track(["residual", "layer_norm"]):
        for seed in SEEDS:
            model = build(depth, *stacks[name], seed)
            losses[name].append(
                train(model, model.loss, text()[0], steps, seed=seed, seq_len=seq_len, learning_rate=6e-3)[-20:]
            )
    frequencies = np.bincount(text()[0]) / len(text()[0])
    return {
        "depths": depths,
        "ratios": ratios,
        "shares": shares,
        "trained_depth": depth,
        "steps": steps,
        "losses": {name: [float(np.mean(last)) for last in losses[name]] for name in ("residual", "layer_norm")},
        "entropy_of_characters": float(-(frequencies * np.log(frequencies, where=frequencies > 0, out=0 * frequencies)).sum()),
    }


def by_depth(rows: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Geometric means by depth, and their intervals (depths, 2)."""
    logs = np.log(rows)  # (depths, seeds)
    return np.exp(logs.mean(1)), np.exp([interval(row) for row in logs])


def per_block(result: Result, rows: list[list[float]]) -> tuple[list[float], list[float]]:
    """What each block multiplies by, from one depth to the next; the same from the first to the last depth, seed by seed."""
    logs, depths = np.log(rows), np.array(result["depths"])
    steps = np.exp(np.diff(logs.mean(1)) / np.diff(depths))
    return steps.tolist(), np.exp((logs[-1] - logs[0]) / (depths[-1] - depths[0])).tolist()


def claims(result: Result) -> list[Claim]:
    depths, ratios, shares, losses = (result[name] for name in ("depths", "ratios", "shares", "losses"))
    few, many = depths[0], depths[-1]
    means = {name: by_depth(rows)[0] for name, rows in ratios.items()}
    left = {name: by_depth(rows)[0] for name, rows in shares.items()}
    bounds = {name: by_depth(rows)[1] for name, rows in ratios.items()}
    low, high = bounds["residual"][-1]
    steps, fall = per_block(result, ratios["neither"])
    _, alike = per_block(result, shares["layer_norm"])
    gap = np.subtract(losses["layer_norm"], losses["residual"]).tolist()
    return [
        Claim(
            f"Without residual connections and LayerNorm the gradient of the first block over that of the last falls "
            f"exponentially: {means['neither'][0]:.2f} with {few} blocks, {means['neither'][-1]:.1e} with {many}. A further "
            f"block multiplies it by {with_interval(fall)}; from depth to depth, by {', '.join(f'{x:.2f}' for x in steps)}.",
            interval(fall)[1] < 1 and max(steps) < 1,
        ),
        Claim(
            f"With both, as in GPT-2, it is {means['residual'][0]:.1f} with {few} blocks and {means['residual'][-1]:.1f} "
            f"({low:.1f} to {high:.1f}) with {many}: between 1 and {many}, and near the root of {many}.",
            low > 1 and high < many,
        ),
        Claim(
            f"LayerNorm without residual connections keeps the size of the gradient, too: {means['layer_norm'][-1]:.2f} "
            f"({bounds['layer_norm'][-1][0]:.2f} to {bounds['layer_norm'][-1][1]:.2f}) with {many} blocks.",
            1 / many < bounds["layer_norm"][-1][0] and bounds["layer_norm"][-1][1] < many,
        ),
        Claim(
            f"But without residual connections all positions become the same: a further block multiplies the share of the "
            f"stream that differs between them by {with_interval(alike)}. With {many} blocks {left['layer_norm'][-1]:.0e} is "
            f"left, and {left['residual'][-1]:.2f} with residual connections.",
            interval(alike)[1] < 1 and min(shares["residual"][-1]) > max(shares["layer_norm"][-1]),
        ),
        Claim(
            f"So little is learned: after {result['steps']} steps with {result['trained_depth']} blocks the loss is "
            f"{with_interval(losses['layer_norm'])} without and {with_interval(losses['residual'])} with residual connections, "
            f"{with_interval(gap)} less. Knowing only how frequent each character is gives "
            f"{result['entropy_of_characters']:.3f}.",
            interval(gap)[0] > 0,
        ),
    ]


def draw(result: Result, figure: Any) -> None:
    figure.set_size_inches(10, 4.5)
    figure.suptitle("Without residual connections, gradients or the differences between positions die out with depth")
    left, right = figure.subplots(1, 2)
    depths = np.array(result["depths"])
    looks = {
        "residual": ("tab:blue", "residual and LayerNorm (GPT-2)"),
        "layer_norm": ("tab:orange", "LayerNorm only"),
        "neither": ("tab:red", "neither"),
    }
    for axes, rows in ((left, result["ratios"]), (right, result["shares"])):
        for name, (colour, label) in looks.items():
            mean, bounds = by_depth(rows[name])
            axes.fill_between(depths, *bounds.T, color=colour, alpha=0.25, linewidth=0)
            axes.plot(depths, mean, "o-", color=colour, label=label)
        axes.set(yscale="log", xlabel="blocks")
        axes.set_xticks(depths)
        axes.grid(alpha=0.25)
    left.plot(depths, np.sqrt(depths), ":", color="0.4", label="root of the blocks")
    left.set(ylabel="norm, first over last", title="Gradient of the blocks' parameters")
    right.set(ylabel="share", title="What differs between positions, after the last block")
    left.legend(frameon=False, loc="lower left")
