"""Rules on the loss: where it begins, what it must fall below, and how it falls."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gpt2.run.health.summary import Summary
from gpt2.run.health.verdict import Verdict, check, digits

FAR = 10.0
"""Times ln V: the loss of a batch from which no training comes back. Healthy runs: at most 2, at their first step."""


def diverged(run: Summary) -> Iterator[Verdict]:
    """What the model computes are numbers, and no batch must be left out."""
    last, losses = run.evaluation, run.losses.table()
    seen = ""
    if run.stopped:
        seen = f"the training stopped: {run.stopped.partition('; ')[0]}"
    elif last is not None and not math.isfinite(last.loss):
        seen = f"validation loss {last.loss} at step {last.step}"
    elif len(losses) and run.uniform and not losses[-1, 1] < FAR * run.uniform:
        seen = f"training loss {digits(losses[-1, 1])} at step {run.step}"
    elif not math.isfinite(run.grad_norm):
        seen = f"a gradient of norm {run.grad_norm} at step {run.step}"
    if seen:
        yield Verdict(
            "diverged",
            "error",
            seen,
            "a loss that falls",
            "updates were too large: the weights grew until the model computes NaN or infinity, or soon will",
            f"{run.lower_rate}, with a longer --warmup-steps and --grad-clip 1"
            + "; --best takes the weights from before, for sample, eval and export" * (run.best_later is not None),
        )
    if run.skips:
        step, why = run.last_skip
        yield Verdict(
            "skipped batches",
            "warning",
            f"{run.skips:,} of {run.skips + (run.step or 0):,} batches were skipped, the last at step {step}: {why}",
            "none",
            "the training is barely stable, or some of the text is unlike the rest",
            f"{run.lower_rate}, or a longer --warmup-steps",
        )


PREDICTABLE = 0.05
"""Nats per token with the token before known. Texts that people write: 2 and more by character (Shannon, 1951)."""


def predictable(run: Summary) -> Iterator[Verdict]:
    """There is something to learn."""
    known = run.baselines.get("bigram", run.uniform)
    if known < PREDICTABLE:
        yield Verdict(
            "text",
            "error",
            f"a table of which token follows which already reaches a loss of {known:.3f}",
            "above 1",
            "the text repeats one token or a short pattern: a model learns nothing from it, and a low loss means nothing",
            "take another text: --data",
        )


ABOVE_UNIFORM = 1.5
"""Nats above ln V at step 0. Xavier's untied head gives logits of variance 2 C / (V + C), which cost half of that: below 1."""

BELOW_UNIFORM = 0.5
"""Nats below ln V at step 0: nobody knows anything yet. But a tied head predicts the token it sees, which gives 0.2 where
characters repeat."""


def initial_loss(run: Summary) -> Iterator[Verdict]:
    """The loss at step 0 is that of a guess."""
    loss, low, high = run.at_start, run.uniform - BELOW_UNIFORM, run.uniform + ABOVE_UNIFORM
    if loss is None:
        return
    seen = f"{loss:.3f} before the first update; guessing among {run.model.vocab_size:,} tokens gives {run.uniform:.3f}"
    if run.training.init_from:
        yield Verdict("initial loss", "info", f"{seen}; the weights were trained before")
        return
    known = loss < low
    yield check(
        "initial loss",
        known or not loss < high,
        seen,
        f"{max(0.0, low):.1f} to {high:.1f}",
        "a new model cannot know anything: its weights were trained before, or it sees the tokens it must predict"
        if known
        else "the initial weights are too large: the model is sure of its guesses before it has seen any text",
        "check the targets, and where the weights come from"
        if known
        else "scale the initial weights down, the head's first; see --init",
    )


TELLING = 0.1
"""Nats between the unigram and the bigram baseline from which the token before tells enough to be learned soon. In `markov`
there are 0.03, and a small model needs ten times as long."""

KNOWING = {"unigram": "how often each token occurs", "bigram": "which token follows which"}


def baselines_crossed(run: Summary) -> Iterator[Verdict]:
    """Better than the frequencies of tokens, then than those of pairs."""
    last = run.evaluation
    if last is None:
        return
    for name, knowing in KNOWING.items():
        if name not in run.baselines:
            continue
        value, step = run.baselines[name], run.crossed(name)
        knows = f"the loss of knowing only {knowing}"
        if step is not None:
            yield Verdict(name, "ok", f"the validation loss is below {value:.3f}, {knows}, since step {step}")
            continue
        if run.recent is not None:
            how = "below" if run.recent < value else "not below"
            seen = f"the training loss is now about {run.recent:.3f}, {how} {value:.3f}, {knows}"
            yield Verdict(name, "info", f"{seen}; the validation loss was not evaluated since step 0")
            continue
        seen = f"the validation loss, {last.loss:.3f} at step {last.step}, never fell below {value:.3f}, {knows}"
        telling = run.baselines.get("bigram", value) < value - TELLING
        if name == "unigram" and run.trained_enough and (telling or last.loss > value + TELLING):
            yield Verdict(
                name,
                "error",
                seen,
                "",
                "it learns nothing from earlier tokens: the learning rate is far off, or inputs and targets do not match",
                "first mend the other problems; then try another --learning-rate; then look at a batch with gpt2 replay",
            )
        else:
            yield Verdict(name, "info", seen)


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
    perfect, bigram = run.baselines.get("perfect"), run.baselines.get("bigram", 0.0)
    seen = f"the lowest validation loss is {best.loss:.4f} (step {best.step})"
    if perfect is not None:
        lowest = perfect - BY_CHANCE / best.tokens - ROUNDING * perfect
        usual = f"at least {lowest:.4f}; a perfect model has {perfect:.4f}, up to chance"
    else:
        lowest, usual = TOO_GOOD * bigram, f"above {TOO_GOOD * bigram:.3f}, a tenth of the bigram baseline"
    if perfect is not None or best.loss < lowest:
        yield check(
            "floor",
            best.loss < lowest,
            seen,
            usual,
            "the model sees the tokens it must predict, the training text contains the validation text, or the text repeats "
            "itself",
            "gpt2 eval --memorised shows what it knows by heart; check the mask and the targets",
        )


RISEN = 0.1
"""Nats by which the validation loss is above its lowest, at two evaluations in a row, while the training loss has fallen by as
much. In healthy runs with only 3,000 tokens to validate on, chance gives up to 0.07."""

GAP = 1.5
"""The validation loss over the training loss. Healthy runs: at most 1.1."""


def overfitting(run: Summary) -> Iterator[Verdict]:
    """The validation loss follows the training loss down."""
    best = run.best_later
    if best is None:
        return
    last = run.later[-1]
    train_best, train_last = run.train_loss(best.step), run.train_loss(last.step)
    risen = min(evaluation.loss - best.loss for evaluation in run.later) > RISEN and train_last < train_best - RISEN
    seen = f"validation loss {last.loss:.3f}, training loss {train_last:.3f} at step {last.step}"
    dropout, smoothing = run.model.dropout, run.training.label_smoothing
    hinders = [f"dropout {dropout:g}"] * bool(dropout) + [f"label smoothing {smoothing:g}"] * bool(smoothing)
    raised = " and ".join(hinders)
    yield check(
        "overfitting",
        risen or (last.loss > GAP * train_last and run.learned),
        seen
        + f" (which {raised} makes higher)" * bool(raised)
        + f"; the lowest validation loss was {best.loss:.3f} at step {best.step}" * risen,
        f"validation at most {GAP:g} times training, and no more than {RISEN:g} above its lowest",
        "it learns the training text by heart" + f", from about step {best.step} on" * risen,
        f"more text, --dropout 0.2 or a smaller model; --best takes the weights of step {best.step}, --patience stops there",
        "warning",
    )


LEAST_STEPS = 20
"""Before, a mean of losses says nothing."""

OSCILLATES = 0.5
"""By how many nats a mean of the training loss is above the lowest before it. Healthy runs: at most 0.25."""


def training_loss(run: Summary) -> Iterator[Verdict]:
    """The training loss falls, and falls below that of a guess."""
    steps, losses, window = run.train_losses()
    if len(losses) < LEAST_STEPS:
        return
    means = np.convolve(losses, np.ones(window) / window, "valid")
    above = means - np.minimum.accumulate(means)  # the lowest so far
    above[~np.isfinite(above)] = math.inf
    worst, now = int(above.argmax()), float(means[-1])
    seen = f"{now:.3f}, the mean of the last {window * run.losses.width} steps"
    oscillates, guesses = bool(above[worst] > OSCILLATES), now > run.uniform
    if oscillates or not guesses or run.trained_enough:
        yield check(
            "training loss",
            oscillates or guesses,
            f"{seen}; on its way it rose by {above[worst]:.2f}" + f", up to step {steps[worst + window - 1]:.0f}" * oscillates,
            f"it rises by at most {OSCILLATES:g} and falls below {run.uniform:.3f}, the loss of a guess",
            "the learning rate is too high: updates overshoot"
            if oscillates
            else "it is worse than guessing: the learning rate is too high, or the gradient is wrong",
            f"{run.lower_rate}, a longer --warmup-steps, or --grad-clip 1",
        )
    else:
        yield Verdict("training loss", "info", f"{seen}, is still above {run.uniform:.3f}, the loss of a guess")
