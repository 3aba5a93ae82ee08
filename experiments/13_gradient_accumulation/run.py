"""Does gradient accumulation equal the large batch?

The loss of a batch is the mean of the losses of its parts, so its gradient is the mean of theirs: each part's loss is divided
by the number of parts, and backward() adds what it finds. Only one part has to be in memory at a time.
"""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np

from experiments.harness import Claim, Result, Track, with_interval
from experiments.small_training import evaluate, text
from gpt2 import GPT2, GPT2Config
from gpt2.text.batches import batch
from gpt2.training.shards import Shards
from tinygrad2 import autograd, optim

SEQ_LEN, BATCH, PARTS = 16, 16, 4
DIVERGED = 10.0  # nats: a run whose loss passes this is stopped, and counts as this


def model_of(seed: int, dtype: Any, width: int = 16) -> GPT2:
    config = GPT2Config(vocab_size=text()[2], max_seq_len=SEQ_LEN, d_model=width, num_layers=1, num_heads=2)
    return GPT2(config, seed, dtype)


def accumulate(model: GPT2, inputs: Any, targets: Any, parts: int, divide: bool = True) -> float:
    """Forward and backward, part by part; the gradients add up in `.grad`. Returns the mean loss."""
    model.zero_grad()
    total = 0.0
    for x, y in zip(np.split(inputs, parts), np.split(targets, parts), strict=True):
        loss = model.loss(x, y)
        total += loss.item() / parts
        (loss / parts if divide else loss).backward()
    return total


def gradient(model: GPT2) -> Any:
    """All of `.grad` as one vector."""
    return np.concatenate([p.grad.data.ravel() for p in model.parameters()])


def difference(a: Any, b: Any) -> float:
    """The largest, relative to the largest entry of b."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def train(parts: int, divide: bool, kind: type, rate: float, seed: int, steps: int, dtype: Any) -> tuple[list[float], float]:
    """The training losses, and the validation loss at the end, or DIVERGED."""
    ids, held_out, _ = text()
    model = model_of(seed, dtype)
    optimizer = kind(model.parameters(), rate)
    losses = []
    for step in range(steps):
        losses.append(accumulate(model, *batch(ids, BATCH, SEQ_LEN, seed, step), parts, divide))
        if losses[-1] > DIVERGED:
            return losses, DIVERGED
        optimizer.step()
    return losses, evaluate(model.loss, held_out, seq_len=SEQ_LEN, windows=256)


def peak_megabytes(parts: int) -> float:
    """Memory that one step takes at most, beside the parameters."""
    model = model_of(0, np.float32, width=32)
    inputs, targets = batch(text()[0], 64, SEQ_LEN, 0, 0)
    accumulate(model, inputs, targets, parts)  # whatever is set up once is not measured
    model.zero_grad()
    tracemalloc.start()
    accumulate(model, inputs, targets, parts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def measure(track: Track, quick: bool, control: bool) -> Result:
    divide = not control  # the control forgets to divide
    inputs, targets = batch(text()[0], BATCH, SEQ_LEN, 0, 0)

    errors = {}
    for name, dtype in (("float64", np.float64), ("float32", np.float32)):
        model = model_of(0, dtype)
        accumulate(model, inputs, targets, 1)
        whole = gradient(model)
        errors[name] = []
        for parts in (2, 4, 8, 16):
            accumulate(model, inputs, targets, parts, divide)
            errors[name].append(difference(gradient(model), whole))

    model = model_of(0, np.float64)
    accumulate(model, inputs, targets, 1)
    whole = gradient(model)
    with Shards(threads=1, shards=5, batch_size=BATCH) as shards:  # parts of 4, 3, 3, 3 and 3 sequences
        _, grads = shards.loss_and_gradients(model, (inputs, targets), 0, 0)
    uneven = difference(np.concatenate([g.ravel() for g in grads]), whole)
    pieces = zip(np.array_split(inputs, 5), np.array_split(targets, 5), strict=True)
    each = [autograd.grad([model.loss(x, y)], model.parameters()) for x, y in pieces]
    plain = np.mean([np.concatenate([g.data.ravel() for g in grads]) for grads in each], axis=0)

    rates = [2.0**k for k in range(-4 if quick else -5, 2)]
    seeds, steps = (range(2), 20) if quick else (range(5), 100)
    sweep: dict[str, list[list[float]]] = {"whole": [], "parts": [], "undivided": []}
    drift = 0.0
    for seed in track(seeds):
        runs = {
            name: [train(parts, divided, optim.SGD, rate, seed, steps, np.float64) for rate in rates]
            for name, parts, divided in (("whole", 1, True), ("parts", PARTS, divide), ("undivided", PARTS, False))
        }
        for name, run in runs.items():
            sweep[name].append([val for _, val in run])
        for (a, end), (b, _) in zip(runs["whole"], runs["parts"], strict=True):
            if end < DIVERGED:  # what diverges multiplies the last bit too
                drift = max(drift, difference(np.array(b), np.array(a[: len(b)])))
    adam = [train(PARTS, divided, optim.AdamW, 3e-3, 0, steps, np.float64)[0] for divided in (True, False)]
    single = [train(parts, divide or parts == 1, optim.AdamW, 3e-3, 0, steps, np.float32)[0] for parts in (1, PARTS)]
    return {
        "errors": errors,
        "uneven": uneven,
        "unweighted": difference(plain, whole),
        "rates": rates,
        "sweep": sweep,
        "steps": steps,
        "drift": drift,
        "drift_float32": difference(np.array(single[1]), np.array(single[0])),
        "adam_fell": adam[0][0] - adam[0][-1],
        "adam_differs": float(np.abs(np.subtract(*adam)).max()),
        "megabytes": {str(parts): peak_megabytes(parts) for parts in (1, 2, 4, 8, 16)},
    }


def claims(result: Result) -> list[Claim]:
    double, single = (max(result["errors"][name]) for name in ("float64", "float32"))
    rates = np.array(result["rates"])
    best = {name: rates[np.argmin(curves, axis=1)] for name, curves in result["sweep"].items()}
    shift = np.log2(best["undivided"] / best["whole"])
    same = int(np.sum(best["parts"] == best["whole"]))
    whole, undivided = np.array(result["sweep"]["whole"]), np.array(result["sweep"]["undivided"])
    shifted = float(np.abs(undivided[:, :-2] - whole[:, 2:]).max())  # two rates further: PARTS times the rate
    trained = int(np.sum(whole[0] < DIVERGED))
    memory = result["megabytes"]
    return [
        Claim(
            f"The gradient of a batch in 2 to 16 parts is that of the whole batch, to {double:.1g} of its largest entry in "
            f"float64 and {single:.1g} in float32.",
            double < 1e-12 and single < 1e-5,
        ),
        Claim(
            f"Parts of unequal size must be weighted by it: so weighted, five parts differ by {result['uneven']:.1g}; their "
            f"plain mean differs by {result['unweighted']:.1%}.",
            result["uneven"] < 1e-12 < result["unweighted"],
        ),
        Claim(
            f"Trained {result['steps']} steps with {len(shift)} seeds, at the {trained} of {len(rates)} learning rates that do "
            f"not diverge the losses of both differ by {result['drift']:.1g} at most in float64, and of one run with AdamW "
            f"in float32 by {result['drift_float32']:.1g}.",
            result["drift"] < 1e-9 and result["drift_float32"] < 1e-3,
        ),
        Claim(f"The best learning rate is the same in {same} of {len(shift)} seeds.", same == len(shift)),
        Claim(
            f"Without the division by {PARTS}, SGD does at a rate what it should do at {PARTS} times the rate (validation "
            f"losses differ by {shifted:.1g} at most), and its best rate is 2^{with_interval(shift, 1)} of what it was.",
            shifted < 1e-9 and bool(np.all(shift == -np.log2(PARTS))),
        ),
        Claim(
            f"AdamW hides the mistake: its losses with and without the division differ by {result['adam_differs']:.1g} at "
            f"most, while they fall by {result['adam_fell']:.2f}.",
            result["adam_differs"] < result["adam_fell"] / 100,
        ),
        Claim(
            f"A step in 16 parts takes {memory['16']:.2f} MB at most, one in a single part {memory['1']:.2f} MB.",
            memory["16"] < memory["1"] / 2,
        ),
    ]


def draw(result: Result, figure: Any) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    rates = result["rates"]
    styles = {
        "whole": ("the whole batch", "o", "0.6", 9),
        "parts": (f"{PARTS} parts, each divided by {PARTS}", ".", "tab:blue", 7),
        "undivided": (f"{PARTS} parts, not divided", ".", "tab:red", 7),
    }
    for name, (label, marker, color, size) in styles.items():
        left.plot(rates, np.mean(result["sweep"][name], axis=0), marker=marker, ms=size, color=color, label=label)
    left.set_xscale("log", base=2)
    left.set_ylim(None, 5)
    left.set(xlabel="learning rate of SGD", ylabel=f"validation loss after {result['steps']} steps (nats per character)")
    left.set_title("The same batch, the same best rate")
    left.legend(frameon=False, fontsize="small")
    parts = [int(k) for k in result["megabytes"]]
    right.plot(parts, list(result["megabytes"].values()), "o-", color="tab:blue")
    right.set(xscale="log", xlabel="parts", ylabel="peak memory of a step (MB)", ylim=(0, None))
    right.set_xticks(parts, [str(k) for k in parts])
    right.minorticks_off()
    right.set_title("Fewer at a time")
    for axes in (left, right):
        axes.grid(alpha=0.25)
