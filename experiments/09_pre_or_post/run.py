"""Pre-LN or Post-LN?

Post-LN normalises the residual stream itself, after each addition; Pre-LN normalises only what a sublayer reads, and leaves the
stream alone. They differ in how large a gradient the blocks get at the start, and so in how carefully one must begin.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments import small_training
from experiments.harness import Claim, Result, Track, interval, with_interval
from gpt2 import GPT2, GPT2Config
from gpt2.model import Block
from gpt2.text.batches import batch
from tinygrad2 import Tensor, nn

LEARNING_RATE, BLOCKS = 6e-3, 4  # of the trainings
ARMS = [("Pre-LN", False), ("Pre-LN", True), ("Post-LN", False), ("Post-LN", True)]  # and whether with warm-up


class PostBlock(nn.Module):
    """The original Transformer's order (Vaswani et al., 2017), of a Pre-LN block's parts."""

    def __init__(self, block: Block) -> None:
        self.ln_1, self.attn, self.ln_2, self.mlp = block.ln_1, block.attn, block.ln_2, block.mlp

    def forward(self, x: Tensor, cache: None = None) -> Tensor:
        x = self.ln_1(x + self.attn(x))  # (B, T, C)
        return self.ln_2(x + self.mlp(x))  # (B, T, C)


def build(norm: str, blocks: int, seed: int) -> GPT2:
    V = small_training.text()[2]
    model = GPT2(GPT2Config(vocab_size=V, max_seq_len=32, d_model=32, num_layers=blocks, num_heads=4), seed)
    if norm == "Post-LN":
        model.h = [PostBlock(block) for block in model.h]  # type: ignore[misc]
    return model


def gradients(norm: str, blocks: int, seed: int) -> list[float]:
    """The norm of the gradient of each block's parameters before the first step."""
    model = build(norm, blocks, seed)
    model.loss(*batch(small_training.text()[0], 8, 32, seed, 0)).backward()
    return [float(np.sqrt(sum(np.sum(p.grad.data**2) for p in block.parameters()))) for block in model.h]


def trained(norm: str, warm_up: int, seed: int, steps: int) -> tuple[list[float], float]:
    """The loss of each step, and the validation loss at the end, in nats per character."""
    train_ids, val_ids, _ = small_training.text()
    model = build(norm, BLOCKS, seed)

    def rate(step: int) -> float:
        return LEARNING_RATE * min(1, (step + 1) / (warm_up + 1))

    losses = small_training.train(model, model.loss, train_ids, steps, seed=seed, learning_rate=rate, clip=None)
    return losses, small_training.evaluate(model.loss, val_ids, windows=512)


def measure(track: Track, quick: bool, control: bool) -> Result:
    depths, steps, warm_up = [2, 4, 8] if quick else [2, 4, 8, 16], 300, 75
    names = {"Pre-LN": "Pre-LN", "Post-LN": "Pre-LN" if control else "Post-LN"}  # the control's Post-LN is Pre-LN
    norms = {
        name: [[gradients(norm, blocks, seed) for blocks in depths] for seed in track(range(5))] for name, norm in names.items()
    }
    curves: list[list[list[float]]] = [[] for _ in ARMS]
    ends: list[list[float]] = [[] for _ in ARMS]
    if not quick:  # a difference that a few steps do not show
        for seed, arm in track([(seed, arm) for seed in range(5) for arm in range(len(ARMS))]):
            norm, warm = ARMS[arm]
            losses, end = trained(names[norm], warm_up if warm else 0, seed, steps)
            curves[arm].append(losses)
            ends[arm].append(end)
    return {
        "depths": depths,
        "last": {name: [[of[-1] for of in by_depth] for by_depth in by_seed] for name, by_seed in norms.items()},
        "deepest": {name: [by_depth[-1] for by_depth in by_seed] for name, by_seed in norms.items()},
        "steps": steps,
        "warm_up": warm_up,
        "curves": [np.mean(of, axis=0).round(4).tolist() for of in curves if of],
        "ends": [of for of in ends if of],
    }


def claims(result: Result) -> list[Claim]:
    pre, post = (np.polyfit(np.log(result["depths"]), np.log(of).T, 1)[0] for of in result["last"].values())
    ratios = {name: np.array([norms[0] / norms[-1] for norms in of]) for name, of in result["deepest"].items()}
    found = [
        Claim(
            "Before the first step, the gradient of the last block goes with the number of blocks to the power "
            f"{with_interval(pre, 2)} under Pre-LN, where theory says -1/2; under Post-LN, where it does not fall, "
            f"to the power {with_interval(post, 2)}.",
            interval(pre)[0] < -0.5 < interval(pre)[1] < -0.2 and interval(post)[0] > 0,
        ),
        Claim(
            f"Of {result['depths'][-1]} blocks the first has {with_interval(ratios['Pre-LN'], 1)} times the gradient of the "
            f"last under Pre-LN, and {with_interval(ratios['Post-LN'], 1)} times under Post-LN.",
            interval(ratios["Pre-LN"] - ratios["Post-LN"])[0] > 0,
        ),
    ]
    if result["ends"]:
        pre_cold, pre_warm, post_cold, post_warm = np.array(result["ends"])
        gains = pre_cold - pre_warm, post_cold - post_warm
        found += [
            Claim(
                f"Trained {result['steps']} steps from the first at a learning rate of {LEARNING_RATE}, {BLOCKS} blocks "
                f"under Post-LN end at a validation loss of {with_interval(post_cold)}, under Pre-LN at "
                f"{with_interval(pre_cold)}.",
                interval(post_cold - pre_cold)[0] > 0,
            ),
            Claim(
                f"{result['warm_up']} steps of warm-up lower Post-LN's by {with_interval(gains[1])}, and Pre-LN's by "
                f"{with_interval(gains[0])}.",
                interval(gains[1])[0] > 0 and interval(gains[1] - gains[0])[0] > 0,
            ),
            Claim(
                f"With warm-up, what is left of Post-LN's lag is {with_interval(post_warm - pre_warm)}.",
                interval((post_cold - pre_cold) - (post_warm - pre_warm))[0] > 0,
            ),
        ]
    return found


def draw(result: Result, figure: Any) -> None:
    figure.set_size_inches(11, 4)
    figure.suptitle("Post-LN's gradients do not shrink with depth, and it needs a warm-up; Pre-LN does not")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 1.3])
    colours = {"Pre-LN": "tab:blue", "Post-LN": "tab:red"}
    for name, colour in colours.items():
        for axes, x, rows in (
            (left, result["depths"], np.array(result["last"][name])),
            (middle, range(1, result["depths"][-1] + 1), np.array(result["deepest"][name])),
        ):
            axes.plot(x, rows.mean(0), "o-", markersize=4, color=colour, label=name)
            axes.fill_between(x, rows.min(0), rows.max(0), color=colour, alpha=0.15, linewidth=0)
    left.set(xscale="log", yscale="log", xlabel="blocks", ylabel="gradient norm of the last block, at the start")
    left.set_xticks(result["depths"], [str(n) for n in result["depths"]])
    left.minorticks_off()
    left.set_yticks([0.5, 1, 2], ["0.5", "1", "2"])
    middle.set(ylim=(0, None), xlabel=f"block, of {result['depths'][-1]}", ylabel="gradient norm, at the start")
    for (norm, warm), curve in zip(ARMS, result["curves"], strict=True):
        smooth = np.convolve(curve, np.ones(10) / 10, "valid")
        label = f"{norm}, {'with' if warm else 'without'} warm-up"
        right.plot(range(10, len(curve) + 1), smooth, "--" if warm else "-", color=colours[norm], label=label)
    right.set(xlabel="step", ylabel="training loss (nats per character)", ylim=(None, 4.2))
    for axes in (left, middle, right):
        axes.legend(frameon=False)
        axes.grid(alpha=0.25)
