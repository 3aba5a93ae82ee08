"""Do small scaling laws hold here?

Kaplan et al. (2020) found that the loss of a language model falls as a power of its parameters, not counting embeddings, and of
the tokens it is trained with. Here are models of 1,700 to 100,000 parameters: is there such a power, and does it predict?
"""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.harness import Claim, Result, Track, interval, with_interval
from experiments.small_training import evaluate, text
from gpt2 import GPT2, GPT2Config
from gpt2.text.batches import batch
from tinygrad2 import optim
from tinygrad2.types import Array

CHARACTERS = 465_000
SEQ_LEN, BATCH = 32, 16
RATE, WARMUP = (
    4e-3,
    20,
)  # one rate for all, constant after the warm-up: so a training stopped early is a short training


def model_of(width: int, seed: int) -> GPT2:
    """Two blocks of this width."""
    V = text(CHARACTERS)[2]
    return GPT2(GPT2Config(vocab_size=V, max_seq_len=SEQ_LEN, d_model=width, num_layers=2, num_heads=4), seed)


def parameters_of(width: int) -> int:
    """How many its blocks have."""
    return sum(p.size for block in model_of(width, 0).h for p in block.parameters())


def trained(width: int, seed: int, stops: list[int]) -> list[float]:
    """The validation loss after so many steps, in nats per character."""
    ids, held_out, _ = text(CHARACTERS)
    model = model_of(width, seed)
    optimizer = optim.AdamW(model.parameters())
    losses = []
    for step in range(stops[-1]):
        model.zero_grad()
        model.loss(*batch(ids, BATCH, SEQ_LEN, seed, step)).backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.lr = optim.warmup_constant(step, RATE, WARMUP, stops[-1])
        optimizer.step()
        if step + 1 in stops:
            losses.append(evaluate(model.loss, held_out, windows=256))
    return losses


def measure(track: Track, quick: bool, control: bool) -> Result:
    widths, seeds, stops = ([8, 16, 32], 3, [20, 40, 80]) if quick else ([8, 16, 32, 48, 64], 5, [50, 100, 200, 400])
    jobs = [(width, seed) for width in widths for seed in range(seeds)]
    # in the control, all models have the smallest width
    losses = [trained(widths[0] if control else width, seed, stops) for width, seed in track(jobs)]
    return {
        "parameters": [parameters_of(width) for width in widths],
        "tokens": [stop * BATCH * SEQ_LEN for stop in stops],
        "losses": np.reshape(losses, (len(widths), seeds, len(stops))).tolist(),
    }


def line(x: Any, loss: Array) -> tuple[Array, Array]:
    """The straight line of log loss against log x, through the losses (len(x), seeds): slopes and heights, of every seed."""
    slope, height = np.polyfit(np.log(x), np.log(loss), 1)
    return slope, height


def predicted(x: list[int], loss: Array) -> tuple[Array, Array, Array]:
    """The last loss from a line through all others: prediction, truth and the last but one, of every seed."""
    slope, height = line(x[:-1], loss[:-1])
    return np.exp(height + slope * np.log(x[-1])), loss[-1], loss[-2]


def axes_of(result: Result) -> list[tuple[str, list[int], Array]]:
    """By parameters, at the most tokens; by tokens, with the most parameters: name, x, loss (len(x), seeds)."""
    losses = np.array(result["losses"])  # (sizes, seeds, stops)
    return [("parameters", result["parameters"], losses[..., -1]), ("tokens", result["tokens"], losses[-1].T)]


def claims(result: Result) -> list[Claim]:
    found = []
    for name, x, loss in axes_of(result):
        slope = line(x, loss)[0]
        guess, truth, before = predicted(x, loss)
        error, unchanged = guess / truth - 1, before / truth - 1
        kaplan = "; Kaplan et al. have -0.076" if name == "parameters" else ""
        found += [
            Claim(
                f"From {x[0]:,} to {x[-1]:,} {name} the loss falls from {loss[0].mean():.3f} to {loss[-1].mean():.3f} nats per "
                f"character, as the {name} to the power {with_interval(slope.tolist())}{kaplan}.",
                interval(slope.tolist())[1] < 0,
            ),
            Claim(
                f"The line through the other losses predicts {guess.mean():.3f} at {x[-1]:,} {name}, where {truth.mean():.3f} "
                f"is measured: an error of {with_interval((100 * error).tolist(), 1)}%. It is smaller than the "
                f"{with_interval((100 * unchanged).tolist(), 1)}% of expecting no change since {x[-2]:,}.",
                interval((np.abs(unchanged) - np.abs(error)).tolist())[0] > 0,
            ),
        ]
    return found


def draw(result: Result, figure: Any) -> None:
    figure.set_size_inches(10, 4.5)
    figure.suptitle("The loss falls with parameters and with tokens, and at the end faster than the line foretells")
    left, right = figure.subplots(1, 2, sharey=True)
    left.set(title=f"after {result['tokens'][-1]:,} tokens", ylabel="validation loss (nats per character)")
    right.set(title=f"with {result['parameters'][-1]:,} parameters")
    for axes, (name, x, loss) in zip((left, right), axes_of(result), strict=True):
        slope, height = (part.mean() for part in line(x[:-1], loss[:-1]))
        axes.plot(np.repeat(x, loss.shape[1]), loss.ravel(), ".", color="0.7", label="each seed")
        axes.plot(x, loss.mean(1), "o", color="tab:blue", label="mean")
        ends = np.array(x)[[0, -2, -1]]
        there = np.exp(height + slope * np.log(ends))
        axes.plot(ends[:2], there[:2], color="tab:red", label="line through all but the last")
        axes.plot(ends[1:], there[1:], "--", color="tab:red", label="what it predicts")
        axes.set(xscale="log", yscale="log", xlabel=name if name == "tokens" else "parameters, without embeddings")
        axes.minorticks_off()
        axes.set_xticks(x, [f"{number:,}" for number in x])
        axes.grid(alpha=0.25)
    ticks = [1.9, 2, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6]
    left.set_yticks(ticks, [str(tick) for tick in ticks])
    left.legend(frameon=False, loc="lower left")
