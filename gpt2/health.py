"""Is this normal? Verdicts on a run, computed from what it recorded: no model is needed, nor its text.

Every rule is a function of the rows and a few facts. It gives verdicts: `ok` and `info` are said, `warning` and `error` want
something done. The constants say where each limit comes from; "healthy runs" are those of tests/gpt2/test_health.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.metrics import Row, history, read_metrics

PROBLEMS = ("warning", "error")


@dataclass(frozen=True)
class Verdict:
    """What was found: `seen` has the numbers; the cause and the remedy are empty where all is well."""

    name: str
    level: str  # ok, info, warning or error
    seen: str
    cause: str = ""
    remedy: str = ""

    @property
    def is_problem(self) -> bool:
        """Whether something should be done."""
        return self.level in PROBLEMS


@dataclass(frozen=True)
class Facts:
    """What the rows do not say: the model's size, and how it was to be trained."""

    vocab_size: int
    d_model: int
    steps: int
    grad_clip: float = 1.0
    pretrained: bool = False

    @classmethod
    def of_config(cls, about: Mapping[str, Any]) -> Facts:
        """Those of a config.json."""
        model, training = about["model"], about.get("training", {})
        return cls(
            model["vocab_size"],
            model["d_model"],
            training.get("steps", 0),
            training.get("grad_clip", 1.0),
            bool(training.get("init_from")),
        )


class Seen:
    """The rows of a run, looked at from different sides."""

    def __init__(self, rows: Sequence[Row], facts: Facts) -> None:
        self.facts = facts
        self.skipped = [row for row in rows if "skipped" in row]
        self.rows = history(list(rows))
        self.evaluations = [row for row in self.rows if "val_loss" in row]
        self.measured = [row for row in self.rows if row.get("update_ratios")]
        self.diagnosed = [row for row in self.evaluations if "diagnostics" in row]
        self.baselines: dict[str, float] = {}
        for row in self.evaluations:
            self.baselines |= row.get("baselines", {})
        self.uniform = math.log(facts.vocab_size)

    @cached_property
    def steps(self) -> np.ndarray[Any, Any]:
        """Of the updates."""
        return np.array([row["step"] for row in self.rows if "train_loss" in row])

    @cached_property
    def losses(self) -> np.ndarray[Any, Any]:
        """The training loss of each."""
        return np.array([row["train_loss"] for row in self.rows if "train_loss" in row], float)

    def train_loss(self, step: int) -> float:
        """The mean over the last updates up to a step, as many as are a twentieth of all, or ten."""
        before = self.losses[self.steps <= step]
        return float(before[-max(10, len(self.losses) // 20) :].mean()) if len(before) else math.nan

    @cached_property
    def reach(self) -> float:
        """How far AdamW can have moved a logit by the learning rates so far: the sum of lr * d_model, in nats.

        An update moves each weight by about lr at most (Kingma & Ba, 2015, sec. 2.1), and a logit is a sum of d_model weights
        times activations of about 1.
        """
        return float(sum(row["learning_rate"] for row in self.rows if "train_loss" in row)) * self.facts.d_model

    def at_full_rate(self) -> list[Row]:
        """The measured updates with at least half of the highest learning rate."""
        highest = max((row["learning_rate"] for row in self.measured), default=0.0)
        return [row for row in self.measured if row["learning_rate"] >= highest / 2]


Rule = Callable[[Seen], Iterator[Verdict]]
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    """A function of what was seen, to verdicts; the order of the file is the order of the report."""
    RULES.append(function)
    return function


def examine(rows: Sequence[Row], facts: Facts) -> list[Verdict]:
    """All verdicts on a run, finished or not. Rows of older runs, which recorded less, give fewer."""
    seen = Seen(rows, facts)
    with np.errstate(all="ignore"):
        return [verdict for check in RULES for verdict in check(seen)]


# --- the loss ---------------------------------------------------------------------------------------------------------

ABOVE_UNIFORM = 1.5
"""Nats above ln V at step 0. Xavier's untied head gives logits of variance 2 C / (V + C), which cost half of that: below 1."""

BELOW_UNIFORM = 0.5
"""Nats below ln V at step 0: nobody knows anything yet. But a tied head predicts the token it sees, which gives 0.2 where
characters repeat."""


@rule
def initial_loss(seen: Seen) -> Iterator[Verdict]:
    """The loss at step 0 is that of a guess."""
    first = next((row for row in seen.evaluations if row["step"] == 0), None)
    if first is None:
        return
    loss, uniform = first["val_loss"], seen.uniform
    numbers = f"loss at step 0: {loss:.3f}, ln V = {uniform:.3f}"
    if seen.facts.pretrained:
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


ENOUGH = 40.0
"""Nats of `Seen.reach` after which the unigram baseline must be beaten. Healthy runs beat it within 20."""

CLEARLY = 0.02
"""Nats below a baseline; by less, a model that knows only the frequencies of tokens may be better by chance."""

TELLING = 0.1
"""Nats between the unigram and the bigram baseline from which the token before tells enough to be learned soon. In `markov`
there are 0.03, and a small model needs ten times as long."""


@rule
def baselines_crossed(seen: Seen) -> Iterator[Verdict]:
    """Better than the frequencies of tokens, then than those of pairs."""
    if not seen.evaluations:
        return
    last = seen.evaluations[-1]
    for name in ("unigram", "bigram"):
        if name not in seen.baselines:
            continue
        value = seen.baselines[name]
        crossed = next((row["step"] for row in seen.evaluations if row["val_loss"] < value - CLEARLY), None)
        if crossed is not None:
            yield Verdict(name, "ok", f"{name} baseline {value:.3f}: crossed by step {crossed}")
        elif name == "unigram" and seen.reach > ENOUGH and _should_be_below(value, last["val_loss"], seen.baselines):
            yield Verdict(
                name,
                "error",
                f"validation loss {last['val_loss']:.3f} at step {last['step']}, never below the unigram baseline {value:.3f}",
                "the model learns nothing from the tokens before: inputs and targets do not belong together, the gradient is "
                "wrong, or the learning rate is far off",
                "look at a batch, decoded, beside its targets; then at the verdicts on gradient and updates",
            )
        else:
            yield Verdict(name, "info", f"{name} baseline {value:.3f}: not crossed by step {last['step']}")


def _should_be_below(unigram: float, loss: float, baselines: Mapping[str, float]) -> bool:
    return loss > unigram + TELLING or baselines.get("bigram", unigram) < unigram - TELLING


BY_CHANCE = 20.0
"""Nats: no model is better than the source by more in total, but with a probability of e^-20 (Markov's inequality)."""

ROUNDING = 1e-4
"""Relative, of a mean of losses in float32."""

TOO_GOOD = 0.1
"""Of the bigram baseline. Written English has about 0.2 to 0.4 of it (Shannon, 1951: 0.6 to 1.3 bits per letter)."""


@rule
def loss_floor(seen: Seen) -> Iterator[Verdict]:
    """No loss below what is possible."""
    if not seen.evaluations:
        return
    best = min(seen.evaluations, key=lambda row: row["val_loss"])
    loss, leak = best["val_loss"], "the model sees what it is to predict, or learned the validation text by heart"
    remedy = "check the mask and the targets, and whether the validation text also stands in the training text"
    if "perfect" in seen.baselines:
        floor = seen.baselines["perfect"]
        margin = BY_CHANCE / best.get("val_tokens", 1) + ROUNDING * floor
        numbers = f"lowest validation loss {loss:.4f} (step {best['step']}), a perfect model {floor:.4f}"
        if loss < floor - margin:
            yield Verdict("floor", "error", f"{numbers}: nothing honest is better than by {margin:.4f}", leak, remedy)
        else:
            yield Verdict("floor", "ok", f"{numbers}: not below")
    elif "bigram" in seen.baselines and loss < TOO_GOOD * seen.baselines["bigram"]:
        numbers = f"validation loss {loss:.4f} at step {best['step']}, bigram baseline {seen.baselines['bigram']:.3f}"
        yield Verdict("floor", "error", f"{numbers}: too good to be true, unless the text repeats itself", leak, remedy)


RISEN = 0.1
"""Nats by which the validation loss is above its lowest, at two evaluations in a row, while the training loss has fallen by as
much. In healthy runs with only 3,000 tokens to validate on, chance gives up to 0.07."""


@rule
def overfitting(seen: Seen) -> Iterator[Verdict]:
    """The validation loss follows the training loss down."""
    later = [row for row in seen.evaluations if row["step"] > 0 and math.isfinite(row["val_loss"])]
    if not later:
        return
    best, last = min(later, key=lambda row: row["val_loss"]), later[-1]
    train_best, train_last = seen.train_loss(best["step"]), seen.train_loss(last["step"])
    rise = min(row["val_loss"] - best["val_loss"] for row in later[-2:])
    numbers = f"training loss {train_last:.3f}, validation loss {last['val_loss']:.3f} at step {last['step']}"
    if rise > RISEN and train_last < train_best - RISEN:
        yield Verdict(
            "overfitting",
            "warning",
            f"{numbers}; validation is {rise:.3f} above its lowest, {best['val_loss']:.3f} at step {best['step']}",
            f"from about step {best['step']} on it learns the training text by heart",
            f"use the weights of step {best['step']} (the best checkpoint is kept; --patience stops there); more text, "
            "dropout, or a smaller model",
        )
    else:
        yield Verdict("overfitting", "ok", f"{numbers}: a gap of {last['val_loss'] - train_last:+.3f}, no overfitting")


# --- steps and rates --------------------------------------------------------------------------------------------------

TOO_LARGE, TOO_SMALL = -1.3, -4.5
"""log10 of update to weight: the median over the matrices, and over the evaluations at full rate. About -3 is said to be
healthy (Karpathy, "makemore", part 3); healthy runs have -3.4 to -1.5, and ones at a hundred times their rate -1.1. It does not
rise much further: what is updated so much is soon nothing but a sum of updates. So a rate that is far too high shows in the
loss as well, and one that is a little too high only there. At -4.5 it takes 30,000 updates to replace a matrix."""

SETTLED = 3
"""Evaluations before which no update is called too large: small initial weights have -1.3 at first, and grow."""


@rule
def update_ratio(seen: Seen) -> Iterator[Verdict]:
    """How much an update changes a matrix."""
    rows = seen.at_full_rate()
    if not rows:
        return
    ratio = float(np.median([np.median(list(row["update_ratios"].values())) for row in rows]))
    rate = max(row["learning_rate"] for row in rows)
    numbers = f"updates are 10^{ratio:.1f} of the weights at a learning rate of {rate:.1e}"
    if ratio > TOO_LARGE and len(rows) >= SETTLED:
        yield Verdict(
            "update too large",
            "error",
            numbers,
            "the learning rate is too high: the weights are replaced, not improved",
            f"a --learning-rate of about {rate * 10 ** (-2 - ratio):.0e}",
        )
    elif ratio < TOO_SMALL:
        yield Verdict(
            "update too small",
            "warning",
            numbers,
            "the learning rate is too low, or the weights are too large: nothing moves",
            f"a --learning-rate of about {rate * 10 ** min(3.0, -2.5 - ratio):.0e}",
        )
    else:
        yield Verdict("update ratio", "ok", f"{numbers}: neither too large nor too small")


LEAST_STEPS = 20
"""Before, a mean of losses says nothing."""

OSCILLATES = 0.5
"""By how many nats a mean of the training loss is above the lowest before it. Healthy runs: at most 0.2."""


@rule
def divergence(seen: Seen) -> Iterator[Verdict]:
    """The training loss falls."""
    if seen.skipped:
        last = seen.skipped[-1]
        yield Verdict(
            "skipped batches",
            "warning",
            f"{len(seen.skipped)} batches were skipped, the last at step {last['step']}: {last['skipped']}",
            "the training is at the edge of what is stable, or some text is unlike all other",
            "a lower --learning-rate, or a longer --warmup-steps",
        )
    if len(seen.losses) < LEAST_STEPS:
        return
    window = max(10, len(seen.losses) // 20)
    means = np.convolve(seen.losses, np.ones(window) / window, "valid")
    above = means - np.minimum.accumulate(means)  # the lowest so far
    above[~np.isfinite(above)] = math.inf
    worst, now = int(above.argmax()), float(means[-1])
    numbers = f"training loss {now:.3f} (mean of {window} steps)"
    if above[worst] > OSCILLATES:
        yield Verdict(
            "oscillation",
            "error",
            f"{numbers}; at step {seen.steps[worst + window - 1]} it was {above[worst]:.2f} above its lowest before",
            "the learning rate is too high: updates jump over the valley",
            "a lower --learning-rate, a longer --warmup-steps, or --grad-clip 1",
        )
    elif now > seen.uniform:
        yield Verdict(
            "above a guess",
            "error" if seen.reach > ENOUGH else "info",
            f"{numbers}, ln V = {seen.uniform:.3f}: worse than guessing",
            "the learning rate is too high, or the gradient is wrong",
            "a lower --learning-rate",
        )
    else:
        yield Verdict("training loss", "ok", f"{numbers}: at most {above[worst]:.2f} above its lowest on the way")


# --- gradients and updates --------------------------------------------------------------------------------------------

SLOPE = 0.1
"""How far the slope may be from 1, beyond three times its doubt. Healthy runs: less than 0.001."""


@rule
def gradient(seen: Seen) -> Iterator[Verdict]:
    """The gradient is the slope of the loss."""
    rows = [row["diagnostics"] for row in seen.diagnosed if math.isfinite(row["diagnostics"]["slope"])]
    if not rows:
        return
    wrong = [d for d in rows if abs(d["slope"] - 1) > SLOPE + 3 * d["slope_doubt"]]
    if len(wrong) > len(rows) / 2:
        slope = wrong[-1]["slope"]
        yield Verdict(
            "wrong gradient",
            "error",
            f"along its gradient the loss has a slope of {slope:.3f} times the gradient's norm, at {len(wrong)} of {len(rows)} "
            "evaluations",
            "the gradient that the executor gives is not that of the loss: shards are left out or weighted wrongly, or a "
            "derivative is wrong",
            "gpt2 gradcheck; then compare the gradient of a batch with --shards 1 and with more",
        )
    else:
        yield Verdict("gradient", "ok", f"the loss changes along its gradient as it says: {rows[-1]['slope']:.3f} times")


UPDATE_SCALE = 0.02
"""How far the update's size may be from that of the formula. Healthy runs: at most 0.0002."""


@rule
def optimizer(seen: Seen) -> Iterator[Verdict]:
    """The update is the one that the optimizer's formula gives."""
    scales = [
        (row["step"], row["diagnostics"]["update_scale"]) for row in seen.diagnosed if "update_scale" in row["diagnostics"]
    ]
    if not scales:
        return
    step, worst = max(scales, key=lambda pair: abs(math.log(pair[1])) if 0 < pair[1] < math.inf else math.inf)
    if not abs(worst - 1) <= UPDATE_SCALE:
        yield Verdict(
            "wrong update",
            "error",
            f"the update of step {step} is {worst:.3f} times what the optimizer's formula gives from its moments",
            "a mistake in the optimizer: without bias correction the first updates are too large; or another learning rate "
            "than the recorded one",
            "compare the optimizer with its paper, step 1 first",
        )
    else:
        yield Verdict("update", "ok", f"updates are what the optimizer's formula gives: {scales[-1][1]:.4f} times")


UNEVEN = 300.0
"""The largest gradient norm of a block over the smallest. Healthy runs: at most 6."""


@rule
def layers(seen: Seen) -> Iterator[Verdict]:
    """Every layer learns, and none much more than the others."""
    if not seen.measured:
        return
    last = seen.measured[-1]
    still = [name for name, ratio in last["update_ratios"].items() if ratio == -math.inf]
    silent = [part for part, norm in last["grad_norms"].items() if norm == 0]
    moving = last["learning_rate"] > 0 and len(still) < len(last["update_ratios"])
    frozen = silent or (still if moving else [])
    if frozen:
        yield Verdict(
            "frozen layer",
            "error",
            f"{_listed(frozen)} had no {'gradient' if silent else 'update'} at step {last['step']}",
            "it is not connected to the loss, or the optimizer does not know it",
            "look for a detach(), a no_grad(), or parameters that are missing from the optimizer",
        )
    norms = {part: norm for part, norm in last["grad_norms"].items() if part.startswith("h.") and norm > 0}
    if len(norms) < 2:
        return
    most, least = max(norms, key=lambda part: norms[part]), min(norms, key=lambda part: norms[part])
    numbers = f"gradient norm {norms[most]:.2e} in {most}, {norms[least]:.2e} in {least} at step {last['step']}"
    if norms[most] > UNEVEN * norms[least]:
        towards_input = int(most[2:]) < int(least[2:])
        yield Verdict(
            "gradient explodes" if towards_input else "gradient vanishes",
            "error",
            numbers,
            f"on its way back the gradient grows from {least} to {most}"
            if towards_input
            else f"it is lost between {most} and {least}",
            "look at the scale of the weights and layer norms in between; a warm-up and --grad-clip only hide it",
        )
    else:
        yield Verdict("gradient by layer", "ok", f"{numbers}: all blocks learn")


# --- inside the model -------------------------------------------------------------------------------------------------

FUTURE = 1e-3
"""Standard deviations of the logits. Healthy runs: exactly 0."""


@rule
def leak(seen: Seen) -> Iterator[Verdict]:
    """Nothing sees the future."""
    if not seen.diagnosed:
        return
    future = max(row["diagnostics"]["future"] for row in seen.diagnosed)
    if future > FUTURE:
        yield Verdict(
            "leak",
            "error",
            f"logits change by {future:.2g} standard deviations when only later tokens change",
            "a position sees what comes after it: the causal mask leaks",
            "look at the mask: row t must have no weight beyond column t",
        )
    else:
        yield Verdict("leak", "ok", "no logit depends on a later token")


OFFSET = 0.2
"""Nats by which another token than the next may be predicted better: about the noise of 1,024 tokens."""


CLOSER = 4.0
"""How many times closer the training loss is to that of the other token, at two evaluations in a row. Healthy runs: at one
evaluation 2, with a tied head and text that repeats characters."""


@rule
def targets(seen: Seen) -> Iterator[Verdict]:
    """The model predicts the next token, not the one before or after it.

    With a tied head it predicts the token it sees, before it has learned anything: so the training loss must agree.
    """
    found = [row for row in seen.diagnosed if row["diagnostics"]["offsets"]]
    if not found:
        return
    offsets, loss = found[-1]["diagnostics"]["offsets"], seen.train_loss(found[-1]["step"])
    suspects = {_other_target(seen, row) for row in found[-2:]}
    best = min(offsets, key=lambda k: offsets[k])
    numbers = "loss of the token " + ", ".join(f"{k} on: {value:.3f}" for k, value in offsets.items())
    if suspects == {best}:
        yield Verdict(
            "targets",
            "error",
            f"{numbers}; training loss {loss:.3f}",
            "the model learned the token it sees" if best == "0" else "the model learned the token after the next",
            f"targets are off by one: input t must be beside token t + 1, and is beside token t + {best}",
        )
    elif best == "1":
        yield Verdict("targets", "ok", f"{numbers}: the next token is what it learned")


def _other_target(seen: Seen, row: Row) -> str | None:
    """Of which other token, k places on, the training loss is that of an evaluation; None if it is the next, or not clear."""
    offsets, loss = row["diagnostics"]["offsets"], seen.train_loss(row["step"])
    best = min(offsets, key=lambda k: offsets[k])
    clear = offsets[best] < offsets["1"] - OFFSET and CLOSER * abs(loss - offsets[best]) < abs(loss - offsets["1"])
    return best if clear else None


@rule
def attention_formula(seen: Seen) -> Iterator[Verdict]:
    """The attention is softmax(Q K^T / sqrt(d_k) + mask) V."""
    for name, block in _last_blocks(seen):
        if block["attention_error"] > FUTURE:
            yield Verdict(
                "attention formula",
                "error",
                f"the attention of {name} is {block['attention_error']:.2g} of its largest value from its formula",
                "the kernel computes something else: a mask that leaks, or another scale than 1 / sqrt(d_k)",
                "compare it with CausalAttention.spec",
            )
            return


COLLAPSED, UNIFORM = 0.95, 0.9999
"""Mean weight of one position, in every head of a block; and entropy over its maximum, in every head of every block. Healthy
runs: at most 0.5 and, once they learned anything, 0.998. Single heads may rest on one position, and in large models
many do (Xiao et al., 2024, "attention sinks")."""


@rule
def attention(seen: Seen) -> Iterator[Verdict]:
    """Attention chooses, and not always the same."""
    blocks = _last_blocks(seen)
    if not blocks:
        return
    collapsed = [name for name, block in blocks if min(block["sink"].values()) > COLLAPSED]
    entropies = [value for _, block in blocks for value in block["entropy"].values()]
    numbers = f"entropy of attention {min(entropies):.2f} to {max(entropies):.2f} of its largest"
    if collapsed:
        yield Verdict(
            "attention collapsed",
            "warning",
            f"in {_listed(collapsed)} every head gives more than {COLLAPSED:.0%} of its weight to one position",
            "the scores are too large, or keys are all alike but one: nothing is gathered from the text",
            "a lower --learning-rate; check the scale 1 / sqrt(d_k) and the layer norm before",
        )
    elif min(entropies) > UNIFORM and seen.reach > ENOUGH:
        yield Verdict(
            "attention uniform",
            "warning",
            f"{numbers}, in every head: all positions count the same",
            "queries and keys do not learn: the model sees a bag of tokens",
            "check that Q and K get gradients and are not scaled away",
        )
    else:
        yield Verdict("attention", "ok", numbers)


DEAD = 0.25
"""The share of GELU units of a block. Healthy runs: at most 0.02."""


@rule
def dead_units(seen: Seen) -> Iterator[Verdict]:
    """Units that can still learn."""
    blocks = _last_blocks(seen)
    if not blocks:
        return
    dead = {name: block["dead"] for name, block in blocks if block["dead"] > DEAD}
    if dead:
        yield Verdict(
            "dead units",
            "warning",
            "GELU units that are off at every position: " + ", ".join(f"{share:.0%} in {name}" for name, share in dead.items()),
            "large negative biases or updates that were too large: these units get no gradient any more",
            "a lower --learning-rate or a longer --warmup-steps; start again, they will not come back",
        )
    else:
        yield Verdict(
            "dead units", "ok", f"at most {max(block['dead'] for _, block in blocks):.1%} of a block's GELU units are dead"
        )


FAINT = math.sqrt(1e-5)
"""The standard deviation at which the epsilon of LayerNorm is as large as the variance: below, it no longer normalises."""


@rule
def residual(seen: Seen) -> Iterator[Verdict]:
    """The residual stream is neither faint nor flooded."""
    blocks = _last_blocks(seen)
    if not blocks:
        return
    stds = [blocks[0][1]["in_std"], *(block["out_std"] for _, block in blocks)]
    numbers = "standard deviation of the residual stream " + ", ".join(f"{std:.3g}" for std in (stds[0], stds[-1]))
    first = dict(seen.diagnosed[0]["diagnostics"]["blocks"])["h.0"]["in_std"]
    if first < FAINT:
        yield Verdict(
            "faint activations",
            "warning",
            f"the embeddings began with a standard deviation of {first:.2g}, less than sqrt(1e-5) = {FAINT:.2g}",
            "the initial weights are too small: the epsilon of LayerNorm is larger than what it normalises",
            "scale the embeddings up; see --init",
        )
    else:
        yield Verdict("residual stream", "ok", f"{numbers} from first to last")


def _last_blocks(seen: Seen) -> list[tuple[str, Row]]:
    return list(seen.diagnosed[-1]["diagnostics"]["blocks"].items()) if seen.diagnosed else []


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


class Watch:
    """Looks at a run while it trains: says each problem when it first appears."""

    def __init__(self, metrics: Path, facts: Facts, say: Callable[[str], object]) -> None:
        self.metrics, self.facts, self.say = metrics, facts, say
        self.rows: list[Row] | None = None
        self.known: set[str] = set()

    def see(self, row: Row) -> None:
        """A row that was just written down; problems are looked for at evaluations."""
        if self.rows is None:
            self.rows = read_metrics(self.metrics)  # with those from before a resume
        else:
            self.rows.append(row)
        if "val_loss" not in row:
            return
        for verdict in examine([r for r in self.rows if r["step"] <= row["step"]], self.facts):
            if verdict.is_problem and verdict.name not in self.known:
                self.known.add(verdict.name)
                self.say(f"{verdict.level}: {verdict.name}: {verdict.seen}\n  likely: {verdict.cause}\n  try: {verdict.remedy}")
