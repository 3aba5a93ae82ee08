"""Rules on the loss: where it begins, what it must fall below, and how it falls."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from gpt2.run.health.summary import Summary
from gpt2.run.health.verdict import Verdict

ABOVE_UNIFORM = 1.5
"""Nats above ln V at step 0. Xavier's untied head gives logits of variance 2 C / (V + C), which cost half of that: below 1."""

BELOW_UNIFORM = 0.5
"""Nats below ln V at step 0: nobody knows anything yet. But a tied head predicts the token it sees, which gives 0.2 where
characters repeat."""


def initial_loss(run: Summary) -> Iterator[Verdict]:
    """The loss at step 0 is that of a guess."""
    loss, uniform = run.at_start, run.uniform
    if loss is None:
        return
    numbers = f"loss at step 0: {loss:.3f}, ln V = {uniform:.3f}"
    if run.facts.pretrained:
        yield Verdict("initial loss", "info", f"{numbers}; the weights are not new")
    elif not loss < uniform + ABOVE_UNIFORM:
        yield Verdict(
            "initial loss",
            "error",
            f"{numbers}: {loss - uniform:.2f} above",
            "the initial weights are too large: the model is sure of itself before it has seen anything",
            "scale the weights down, the head's first; see --init",
        )
    elif loss < uniform - BELOW_UNIFORM:
        yield Verdict(
            "initial loss",
            "error",
            f"{numbers}: {uniform - loss:.2f} below",
            "a new model cannot know anything: its weights are not new, or it is shown what it is to predict",
            "check the targets, and where the weights come from",
        )
    else:
        yield Verdict("initial loss", "ok", f"{numbers}: as it should be")


CLEARLY = 0.02
"""Nats below a baseline; by less, a model that knows only the frequencies of tokens may be better by chance."""

TELLING = 0.1
"""Nats between the unigram and the bigram baseline from which the token before tells enough to be learned soon. In `markov`
there are 0.03, and a small model needs ten times as long."""


def baselines_crossed(run: Summary) -> Iterator[Verdict]:
    """Better than the frequencies of tokens, then than those of pairs."""
    last = run.evaluation
    if last is None:
        return
    for name in ("unigram", "bigram"):
        if name not in run.baselines:
            continue
        value = run.baselines[name]
        crossed = next((low.step for low in run.lows.values() if low.loss < value - CLEARLY), None)
        if crossed is not None:
            yield Verdict(name, "ok", f"{name} baseline {value:.3f}: crossed by step {crossed}")
        elif name == "unigram" and run.trained_enough and _should_be_below(value, last.loss, run.baselines):
            yield Verdict(
                name,
                "error",
                f"validation loss {last.loss:.3f} at step {last.step}, never below the unigram baseline {value:.3f}",
                "the model learns nothing from the tokens before: inputs and targets do not belong together, the gradient is "
                "wrong, or the learning rate is far off",
                "look at a batch, decoded, beside its targets; then at the verdicts on gradient and updates",
            )
        else:
            yield Verdict(name, "info", f"{name} baseline {value:.3f}: not crossed by step {last.step}")


def _should_be_below(unigram: float, loss: float, baselines: Mapping[str, float]) -> bool:
    return loss > unigram + TELLING or baselines.get("bigram", unigram) < unigram - TELLING


BY_CHANCE = 20.0
"""Nats: no model is better than the source by more in total, but with a probability of e^-20 (Markov's inequality)."""

ROUNDING = 1e-4
"""Relative, of a mean of losses in float32."""

TOO_GOOD = 0.1
"""Of the bigram baseline. Written English has about 0.2 to 0.4 of it (Shannon, 1951: 0.6 to 1.3 bits per letter)."""


def loss_floor(run: Summary) -> Iterator[Verdict]:
    """No loss below what is possible."""
    best = run.best
    if best is None:
        return
    loss = best.loss
    cause = "the model sees what it is to predict, or learned the validation text by heart"
    remedy = "check the mask and the targets, and whether the validation text also stands in the training text"
    if "perfect" in run.baselines:
        floor = run.baselines["perfect"]
        margin = BY_CHANCE / best.tokens + ROUNDING * floor
        numbers = f"lowest validation loss {loss:.4f} (step {best.step}), a perfect model {floor:.4f}"
        if loss < floor - margin:
            yield Verdict("floor", "error", f"{numbers}: nothing honest is better than by {margin:.4f}", cause, remedy)
        else:
            yield Verdict("floor", "ok", f"{numbers}: not below")
    elif "bigram" in run.baselines and loss < TOO_GOOD * run.baselines["bigram"]:
        numbers = f"validation loss {loss:.4f} at step {best.step}, bigram baseline {run.baselines['bigram']:.3f}"
        yield Verdict("floor", "error", f"{numbers}: too good to be true, unless the text repeats itself", cause, remedy)


RISEN = 0.1
"""Nats by which the validation loss is above its lowest, at two evaluations in a row, while the training loss has fallen by as
much. In healthy runs with only 3,000 tokens to validate on, chance gives up to 0.07."""


def overfitting(run: Summary) -> Iterator[Verdict]:
    """The validation loss follows the training loss down."""
    best = run.best_later
    if best is None:
        return
    last = run.later[-1]
    train_best, train_last = run.train_loss(best.step), run.train_loss(last.step)
    rise = min(evaluation.loss - best.loss for evaluation in run.later)
    numbers = f"training loss {train_last:.3f}, validation loss {last.loss:.3f} at step {last.step}"
    if rise > RISEN and train_last < train_best - RISEN:
        yield Verdict(
            "overfitting",
            "warning",
            f"{numbers}; validation is {rise:.3f} above its lowest, {best.loss:.3f} at step {best.step}",
            f"from about step {best.step} on it learns the training text by heart",
            f"use the weights of step {best.step} (--best takes them; --patience stops there); more text, "
            "dropout, or a smaller model",
        )
    else:
        yield Verdict("overfitting", "ok", f"{numbers}: a gap of {last.loss - train_last:+.3f}, no overfitting")


LEAST_STEPS = 20
"""Before, a mean of losses says nothing."""

OSCILLATES = 0.5
"""By how many nats a mean of the training loss is above the lowest before it. Healthy runs: at most 0.2."""


def divergence(run: Summary) -> Iterator[Verdict]:
    """The validation loss is a number, and the training loss falls."""
    last = run.evaluation
    if last is not None and not math.isfinite(last.loss):
        yield Verdict(
            "diverged",
            "error",
            f"validation loss {last.loss} at step {last.step}",
            "what the model computes is too large for a float32, or no number any more",
            "a lower --learning-rate, from the checkpoint with the lowest validation loss (--best) or from the beginning",
        )
    if run.skips:
        step, why = run.last_skip
        yield Verdict(
            "skipped batches",
            "warning",
            f"{run.skips} batches were skipped, the last at step {step}: {why}",
            "the training is at the edge of what is stable, or some text is unlike all other",
            "a lower --learning-rate, or a longer --warmup-steps",
        )
    steps, losses, window = run.training()
    if len(losses) < LEAST_STEPS:
        return
    means = np.convolve(losses, np.ones(window) / window, "valid")
    above = means - np.minimum.accumulate(means)  # the lowest so far
    above[~np.isfinite(above)] = math.inf
    worst, now = int(above.argmax()), float(means[-1])
    numbers = f"training loss {now:.3f} (mean of {window * run.losses.width} steps)"
    if above[worst] > OSCILLATES:
        yield Verdict(
            "oscillation",
            "error",
            f"{numbers}; at step {steps[worst + window - 1]:.0f} it was {above[worst]:.2f} above its lowest before",
            "the learning rate is too high: updates jump over the valley",
            "a lower --learning-rate, a longer --warmup-steps, or --grad-clip 1",
        )
    elif now > run.uniform:
        yield Verdict(
            "above a guess",
            "error" if run.trained_enough else "info",
            f"{numbers}, ln V = {run.uniform:.3f}: worse than guessing",
            "the learning rate is too high, or the gradient is wrong",
            "a lower --learning-rate",
        )
    else:
        yield Verdict("training loss", "ok", f"{numbers}: at most {above[worst]:.2f} above its lowest on the way")
