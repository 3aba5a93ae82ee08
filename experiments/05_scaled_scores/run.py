"""Why 1/sqrt(d_k)?

A score is a sum of d_k products, so its variance grows with d_k. Dividing by sqrt(d_k) keeps it at one, whatever the width of a
head; without that the softmax of a wide head picks one position and lets little gradient through.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from experiments import small_training
from experiments.harness import Claim, Result, Track, interval, with_interval
from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, nn, ops
from tinygrad2.ops.fused import merge_heads, split_heads

WIDTHS = [4, 8, 16, 32, 64, 128, 256, 512]
HEADS = [16, 4, 1]  # of a model of width 64: d_k = 4, 16, 64
ARMS = ("scaled", "unscaled")


class Attention(nn.MultiHeadAttention):
    """Causal self-attention spelled out, with the scale or without."""

    scaled = True

    def forward(self, x: Tensor, cache: Any = None) -> Tensor:
        q, k, v = split_heads(self.c_attn(x), 3, self.num_heads)  # (B, H, T, d_k) each
        scores = q @ np.swapaxes(k, -1, -2)  # (B, H, T, T)
        if self.scaled:
            scores = scores / math.sqrt(q.shape[-1])
        past = np.tri(x.shape[-2], dtype=bool)
        weights = ops.softmax(np.where(past, scores, -np.inf))
        return self.c_proj(merge_heads(weights @ v))


class Unscaled(Attention):
    scaled = False


def of_random_vectors(d_k: int, scaled: bool, seed: int, T: int = 128) -> tuple[float, float, float]:
    """Of T random queries and keys: the variance of the scores, the entropy of the weights (1 where all are equal), and the
    gradient that passes the softmax: its norm at the median query, where one of variance 1 comes in."""
    rng = np.random.default_rng([seed, d_k])
    q, k = rng.standard_normal((2, T, d_k))
    scores = Tensor(q @ k.T / (math.sqrt(d_k) if scaled else 1), requires_grad=True)
    weights = ops.softmax(scores)  # (T, T)
    logs = ops.log_softmax(scores, axis=-1)
    entropy = -(weights * logs).sum().item() / T / math.log(T)
    (weights * rng.standard_normal((T, T))).sum().backward()
    return float(scores.data.var()), entropy, float(np.median(np.linalg.norm(scores.grad.data, axis=-1)))


def trained(heads: int, attention: type[Attention], seed: int, steps: int) -> float:
    """The validation loss of a GPT-2 with this attention, in nats per character; all else is the same."""
    train_ids, val_ids, V = small_training.text()
    model = GPT2(GPT2Config(vocab_size=V, max_seq_len=32, d_model=64, num_layers=1, num_heads=heads), seed=seed)
    for block in model.h:
        drawn = block.attn.state_dict()
        block.attn = attention(64, heads)
        block.attn.load_state_dict(drawn)
    small_training.train(model, model.loss, train_ids, steps, seed=seed)
    return small_training.evaluate(model.loss, val_ids)


def measure(track: Track, quick: bool, control: bool) -> Result:
    seeds, heads, steps = range(5 if quick else 10), HEADS[-1:] if quick else HEADS, 40 if quick else 200
    without = not control  # the control has the scale in both arms
    vectors = {
        arm: [[of_random_vectors(d_k, scaled, seed) for d_k in WIDTHS] for seed in seeds]
        for arm, scaled in track(list(zip(ARMS, (True, not without), strict=True)))
    }
    jobs = [(h, seed, arm) for h in heads for seed in range(5 if quick else 6) for arm in ARMS]
    losses: dict[int, dict[str, list[float]]] = {h: {arm: [] for arm in ARMS} for h in heads}
    for h, seed, arm in track(jobs):
        attention = Unscaled if arm == "unscaled" and without else Attention
        losses[h][arm].append(trained(h, attention, seed, steps))
    return {
        "d_k": WIDTHS,
        "vectors": {arm: np.moveaxis(np.array(rows), -1, 0).tolist() for arm, rows in vectors.items()},
        "trained_d_k": [64 // h for h in heads],
        "steps": steps,
        "losses": list(losses.values()),
    }


def claims(result: Result) -> list[Claim]:
    powers, entropy, gradient = {}, {}, {}
    for arm in ARMS:
        variances, entropy[arm], gradient[arm] = np.array(result["vectors"][arm])  # (seeds, widths) each
        powers[arm] = np.polyfit(np.log(result["d_k"]), np.log(variances).T, 1)[0]  # of every seed
    falls = {arm: e[:, 0] - e[:, -1] for arm, e in entropy.items()}
    loss = extra_loss(result)
    first, last = result["d_k"][0], result["d_k"][-1]
    costs = ", ".join(f"at d_k = {d_k} {cost(d)}" for d_k, d in zip(result["trained_d_k"], loss, strict=True))
    return [
        Claim(
            f"Without the scale the variance of the scores grows as d_k to the power {with_interval(powers['unscaled'])}; "
            "theory says 1.",
            within(interval(powers["unscaled"]), 1, 0.05),
        ),
        Claim(
            f"With the scale the power is {with_interval(powers['scaled'])}; theory says 0.",
            within(interval(powers["scaled"]), 0, 0.05),
        ),
        Claim(
            f"From d_k = {first} to {last} the entropy of the weights falls by {with_interval(falls['unscaled'])} of its "
            f"largest value without the scale, and by {with_interval(falls['scaled'])}, less than a tenth of that, with it.",
            interval(falls["unscaled"] - 10 * falls["scaled"])[0] > 0,
        ),
        Claim(
            f"At d_k = {last} the gradient that passes the softmax at the median query is "
            f"{with_interval(gradient['unscaled'][:, -1], 4)} without the scale and "
            f"{with_interval(gradient['scaled'][:, -1], 4)} with it.",
            interval((gradient["scaled"] - gradient["unscaled"])[:, -1])[0] > 0,
        ),
        Claim(
            f"What leaving out the scale adds to the validation loss of a GPT-2 after {result['steps']} steps: {costs} "
            f"(nats per character, paired over {len(loss[0])} seeds).",
            interval(loss[-1])[0] > 0,
        ),
        *(
            [
                Claim(
                    f"The wider the head, the more it loses: by {with_interval(loss[-1] - loss[0])} more at "
                    f"d_k = {result['trained_d_k'][-1]} than at {result['trained_d_k'][0]}.",
                    interval(loss[-1] - loss[0])[0] > 0,
                )
            ]
            if len(loss) > 1
            else []
        ),
    ]


def extra_loss(result: Result) -> list[np.ndarray[Any, Any]]:
    """What leaving out the scale costs, of every width and seed."""
    return [np.array(of["unscaled"]) - of["scaled"] for of in result["losses"]]


def cost(differences: np.ndarray[Any, Any]) -> str:
    low, high = interval(differences)
    return with_interval(differences) + (", which shows no difference" if low <= 0 <= high else "")


def within(found: tuple[float, float], expected: float, tolerance: float) -> bool:
    return expected - tolerance < found[0] and found[1] < expected + tolerance


def draw(result: Result, figure: Any) -> None:
    figure.set_size_inches(10, 4)
    figure.suptitle("Without 1/sqrt(d_k), scores grow with the width of a head, attention narrows, and training suffers")
    left, middle, right = figure.subplots(1, 3)
    for arm, colour in zip(ARMS, ("tab:blue", "tab:red"), strict=True):
        variances, entropies, _ = np.array(result["vectors"][arm]).mean(1)
        left.plot(result["d_k"], variances, "o-", color=colour, label=f"{arm}: measured")
        middle.plot(result["d_k"], entropies, "o-", color=colour, label=arm)
    left.plot(result["d_k"], result["d_k"], color="0.6", linestyle=":", zorder=3, label="theory: d_k, and 1")
    left.plot(result["d_k"], np.ones(len(result["d_k"])), color="0.6", linestyle=":", zorder=3)
    left.set(yscale="log", ylabel="variance of the scores")
    middle.set(ylim=(0, 1.05), ylabel="entropy of the weights / its largest value")
    loss = extra_loss(result)
    means, bounds = np.mean(loss, axis=1), np.array([interval(d) for d in loss])
    right.errorbar(result["trained_d_k"], means, np.abs(bounds.T - means), fmt="o-", color="tab:red", capsize=4)
    right.axhline(0, color="tab:blue")
    right.set(ylabel=f"unscaled - scaled: validation loss\nafter {result['steps']} steps (nats per character)")
    for axes in (left, middle, right):
        ticks = result["trained_d_k"] if axes is right else result["d_k"]
        axes.set(xscale="log", xlabel="width of a head, d_k")
        axes.set_xticks(ticks, [str(d_k) for d_k in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.25)
    left.legend(frameon=False)
    middle.legend(frameon=False, loc="center right")
