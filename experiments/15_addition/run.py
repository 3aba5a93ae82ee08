"""How is addition learned from text?

A small GPT-2 reads lines such as `12+95=701`, with the sum backwards, or `12+95=107`. It predicts one digit at a time, so one
sees which digit it learns when, and how far its loss is from that of a perfect model, which knows all but the operands.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from experiments.harness import Claim, Result, Track, interval, with_interval
from gpt2 import GPT2, GPT2Config
from gpt2.tokenizers import CharTokenizer
from tinygrad2 import no_grad, optim
from tinygrad2.types import Array

ORDERS = ("backwards", "forwards")
PLACES = ("hundreds", "tens", "units")
LENGTH = len("12+95=107\n")
ANSWER = slice(6, 9)  # where a line has its sum


def all_sums(order: str, base: int) -> Array:
    """The ids of all lines, each after the end of another: (base^4, LENGTH + 1)."""
    tokenizer = CharTokenizer.train("0123456789+=\n")
    lines = []
    for a in range(base**2):
        for b in range(base**2):
            total = [(a + b) // base**2, (a + b) // base % base, (a + b) % base]
            if order == "backwards":
                total.reverse()
            lines.append(f"\n{a // base}{a % base}+{b // base}{b % base}={total[0]}{total[1]}{total[2]}\n")
    return tokenizer.encode("".join(lines)).reshape(len(lines), LENGTH + 1)


def trained(order: str, seed: int, steps: int, every: int, base: int, shuffle: bool) -> list[list[float]]:
    """What `tested` says, as training goes on, about a tenth of all sums, with which it is not trained."""
    rng = np.random.default_rng(seed)
    lines = rng.permutation(all_sums(order, base))
    if shuffle:
        lines[:, 1:][:, ANSWER] = rng.permutation(lines[:, 1:][:, ANSWER])
    held_out, lines = np.split(lines, [len(lines) // 10])
    config = GPT2Config(vocab_size=13, max_seq_len=LENGTH, d_model=32, num_layers=2, num_heads=8)
    model = GPT2(config, seed)
    optimizer = optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    tests = []
    for step in range(steps + 1):
        if step % every == 0:
            tests.append(tested(model, held_out, order))
        batch = lines[rng.integers(len(lines), size=64)]
        model.zero_grad()
        model.loss(batch[:, :-1], batch[:, 1:]).backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.lr = optim.warmup_linear(step, peak=1e-2, warmup=50, total=steps)
        optimizer.step()
    return tests


def tested(model: GPT2, lines: Array, order: str) -> list[float]:
    """The share of sums whose hundreds, tens, units, and all of them, are predicted; and the loss of the whole text.

    A digit is predicted from the right ones before it. If all are right, they are what the model would write by itself.
    """
    inputs, targets = lines[:, :-1], lines[:, 1:]
    with no_grad():
        right = (model(inputs).data.argmax(-1) == targets)[:, ANSWER]
        loss = model.loss(inputs, targets).item()
    places = right[:, ::-1] if order == "backwards" else right
    return [*places.mean(0).tolist(), float(right.all(1).mean()), loss]


def measure(track: Track, quick: bool, control: bool) -> Result:
    base, seeds, steps, every = (4, 1, 350, 25) if quick else (10, 5, 900, 50)
    orders = ORDERS[:1] if quick else ORDERS
    jobs = [(order, seed) for order in orders for seed in range(seeds)]
    runs: dict[str, list[Any]] = {order: [] for order in orders}
    for order, seed in track(jobs):  # in the control the answers belong to other sums
        runs[order].append(trained(order, seed, steps, every, base, shuffle=control))
    return {
        "base": base,
        "steps": list(range(0, steps + 1, every)),
        # what the text costs, in nats per character, if the four digits of the operands are unknown, and 0, 1, 2 of the sum
        "stairs": [(4 + unknown) * math.log(base) / LENGTH for unknown in range(3)],
        "tests": {order: np.round(run, 4).tolist() for order, run in runs.items()},
    }


def steps_until(tests: Array, steps: list[int], share: float) -> Array:
    """After how many steps this share is right, of hundreds, tens, units, and whole sums: (4, seeds)."""
    reached = tests[..., :4] >= share  # (seeds, tests, 4)
    return np.where(reached.any(1), np.array(steps)[reached.argmax(1)], steps[-1]).T


def claims(result: Result) -> list[Claim]:
    tests = {order: np.array(of) for order, of in result["tests"].items()}  # (seeds, tests, 5) each
    lines, steps = result["base"] ** 4, result["steps"]
    everyone = np.concatenate(list(tests.values()))  # (runs, tests, 5)
    least = " and ".join(f"{of[:, -1, 3].min():.1%} with the sum {order}" for order, of in tests.items())
    above = everyone[..., 4] - result["stairs"][0]
    hundreds, tens, units, _ = steps_until(everyone, steps, 0.5)
    first = int(np.sum(hundreds < np.minimum(tens, units)))
    _, tens, units, _ = steps_until(tests["backwards"], steps, 0.5)
    found = [
        Claim(
            f"Trained for {steps[-1]} steps on nine tenths of the {lines:,} sums, the model gets right of the others at least "
            f"{least} ({len(tests['backwards'])} seeds each).",
            bool(np.all(everyone[:, -1, 3] >= 0.99)),
        ),
        Claim(
            f"The loss of the whole text falls to {with_interval(above[:, -1].tolist(), 4)} nats per character above the floor "
            f"of {result['stairs'][0]:.4f}, less than a fiftieth of the {above[:, 0].mean():.2f} of the start.",
            bool(np.all(above[:, -1] < above[:, 0] / 50)),
        ),
        Claim(
            f"The hundreds are learned first (half of them right) in {first} of {len(everyone)} trainings.",
            first == len(everyone),
        ),
        Claim(
            f"Then backwards come the units, after {units.mean():.0f} steps, and the tens "
            f"{with_interval((tens - units).tolist(), 0)} steps later.",
            interval((tens - units).tolist())[0] > 0,
        ),
    ]
    if "forwards" in tests:
        _, tens, units, _ = steps_until(tests["forwards"], steps, 0.5)
        backwards, forwards = (steps_until(tests[order], steps, 0.99)[3] for order in ORDERS)
        low, high = interval((forwards - backwards).tolist())
        found += [
            Claim(
                f"Forwards come the tens, after {tens.mean():.0f} steps, and the units "
                f"{with_interval((units - tens).tolist(), 0)} steps later.",
                interval((units - tens).tolist())[0] > 0,
            ),
            Claim(
                f"Neither order is shown to be the easier one: 99% are right after {backwards.mean():.0f} steps backwards and "
                f"{forwards.mean():.0f} forwards, {with_interval((forwards - backwards).tolist(), 0)} more.",
                low <= 0 <= high,
            ),
        ]
    return found


def draw(result: Result, figure: Any) -> None:
    figure.set_size_inches(11, 4.3)
    figure.suptitle("Hundreds first; then from the right if the sum is written backwards, from the left if forwards")
    left, middle, right = figure.subplots(1, 3)
    steps = result["steps"]
    for axes, order, example in ((left, "backwards", "12+95=701"), (middle, "forwards", "12+95=107")):
        tests = np.array(result["tests"][order])
        for place, (name, colour) in enumerate(zip(PLACES, ("tab:green", "tab:orange", "tab:blue"), strict=True)):
            axes.plot(steps, tests[..., place].T, color=colour, alpha=0.25, linewidth=0.8)
            axes.plot(steps, tests[..., place].mean(0), color=colour, label=name)
        axes.set(title=f"{order}: {example}", ylabel="share of digits that are right, held-out sums", ylim=(0, 1.03))
        axes.legend(frameon=False, loc="lower right")
    for order, style in zip(ORDERS, ("-", "--"), strict=True):
        losses = np.array(result["tests"][order])[..., 4]
        right.plot(steps[1:], losses[:, 1:].T, color="0.5", alpha=0.35, linewidth=0.8, linestyle=style)
        right.plot(steps[1:], losses[:, 1:].mean(0), color="black", linestyle=style, label=order)
    for stair, name in zip(result["stairs"], ("floor: the operands", "+ 1 digit unknown", "+ 2 digits unknown"), strict=True):
        right.axhline(stair, color="tab:red", linestyle=":", linewidth=1)
        below = stair == result["stairs"][0]
        right.text(
            steps[-1], stair + (-0.006 if below else 0.005), name, color="tab:red", ha="right", va="top" if below else "bottom"
        )
    right.set(
        ylim=(0.96 * result["stairs"][0], None),
        title="the loss comes down to its floor",
        ylabel="loss of the held-out text (nats per character)",
    )
    right.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.62))
    for axes in (left, middle, right):
        axes.set(xlabel="steps of training")
        axes.grid(alpha=0.25)
