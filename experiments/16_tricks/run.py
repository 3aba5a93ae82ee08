"""What is each trick worth?

The techniques of the speed-runs, which train a GPT-2 of 124 million parameters on many GPUs, at a million parameters on one
core: each alone, and each left out of all, by tokens and by time.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness import Claim, Result, Track, as_they_end, interval, with_interval
from gpt2 import GPT2, GPT2Config
from gpt2.files import code_sha256
from gpt2.text.batches import batch, consecutive
from gpt2.text.corpora import load_corpus
from gpt2.tokenizers import CharTokenizer
from tinygrad2 import Tensor, nn, no_grad, ops, optim
from tinygrad2.kernels.fast.threads import cores
from tinygrad2.kernels.reference import SHARPER
from tinygrad2.types import Array

BUILD = Path(__file__).parents[2] / "build"
"""Where the loss of every training is kept, with its settings: an interrupted measurement goes on where it stopped."""

CORPORA = "shakespeare", "pydocs"
SEEDS = 5
STEPS = 300
LONGER = 1 / 2, 1, 2, 3, 6
"""Times so many steps, the plain model is trained: how long it takes to a loss is read between them."""
RATES = 1 / 2, 1.0, 2.0, 4.0
"""Times the usual ones: each arm is tried with all, half as long, on another seed and the first corpus, and keeps the best."""

WOBBLE = 1.02
"""Times that are measured one after the other differ by less than this factor where nothing else does."""

ALL = ("zero", "muon", "rotary", "qk_norm", "relu2", "x0", "values", "bigram")
"""Those that one model can have together."""

NAMES = {
    "zero": "projections and head at zero",
    "muon": "Muon for the blocks' matrices",
    "muon3": "Muon, 3 iterations",
    "muon_half": "Muon, at every second step",
    "rotary": "rotary positions",
    "both": "rotary positions and Muon",
    "qk_norm": "queries and keys of one length",
    "relu2": "ReLU squared",
    "x0": "the embedding again in each block",
    "values": "value embeddings",
    "bigram": "a table of bigrams at the head",
    "tied": "head tied to the embedding",
    "batch6": "half the batch, twice the steps",
    "ema": "average of the last weights",
    "cosine": "cosine for a line",
    "all": "all that go together",
}
NAMES |= {f"without {name}": f"all but {NAMES[name]}" for name in ALL}

TRICKS = tuple(name for name in NAMES if name not in ("all", "both") and not name.startswith("without"))


@dataclass(frozen=True)
class Run:
    """One training."""

    corpus: str
    tricks: tuple[str, ...]
    seed: int
    steps: int = STEPS
    rate: float = 1.0
    width: int = 128
    layers: int = 4
    context: int = 64
    batch: int = 12

    @property
    def key(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


@cache
def text(name: str) -> tuple[Array, Array, int]:
    """Ids to train on (nine tenths), ids to validate on (the 50,000 after them), and how many characters there are."""
    letters = "".join(load_corpus(name).pieces())
    tokenizer = CharTokenizer.train(letters)
    ids = np.asarray(tokenizer.encode(letters))
    cut = len(ids) * 9 // 10
    return ids[:cut], ids[cut:][:50_000], tokenizer.vocab_size


def turned(qkv: Tensor, heads: int, norm: bool, rotary: bool) -> Tensor:
    """One of the two things that `ops.rotary` does to queries and keys: qkv (B, T, 3C) -> (B, T, 3C)."""
    B, T, columns = qkv.shape
    C = columns // 3
    x = np.reshape(qkv[..., : 2 * C], (B, T, 2 * heads, C // heads))
    if norm:
        x = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6)
        longer = np.where(np.arange(2 * heads) < heads, SHARPER, 1)
        x = x * longer.astype(x.dtype)[:, None]
    if rotary:
        half = C // heads // 2
        angles = np.arange(T)[:, None] / 10_000 ** (np.arange(half) / half)
        cos, sin = (f(angles).astype(x.dtype)[:, None] for f in (np.cos, np.sin))  # (T, 1, half)
        a, b = x[..., :half], x[..., half:]
        x = np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
    return np.concatenate([np.reshape(x, (B, T, 2 * C)), qkv[..., 2 * C :]], axis=-1)


class Tricked(GPT2):
    """A GPT-2 with some of the tricks."""

    def __init__(self, config: GPT2Config, seed: int, tricks: tuple[str, ...]) -> None:
        super().__init__(config, seed)
        self.tricks = tricks
        V, C = config.vocab_size, config.d_model
        rng = np.random.default_rng([seed, 16])
        if "rotary" in tricks:
            del self.wpe
        if "bigram" in tricks:
            self.bigram = nn.Parameter(np.zeros((V, V), np.float32))
        if "x0" in tricks:
            self.mixes = [nn.Parameter(np.array([1, 0], np.float32)) for _ in self.h]
        if "values" in tricks:
            self.values = [nn.Parameter(rng.normal(0, 0.02, (V, C)).astype(np.float32)) for _ in self.h]

    def hidden(self, ids: Any, cache: Any = None) -> Tensor:
        has = self.tricks.__contains__
        heads, C = self.config.num_heads, self.config.d_model
        x = self.wte(ids)  # (B, T, C)
        if not has("rotary"):
            x = x + self.wpe(np.arange(ids.shape[-1]))
        first = x
        for i, block in enumerate(self.h):
            if has("x0"):
                x = self.mixes[i][0] * x + self.mixes[i][1] * first
            qkv = block.attn.c_attn(block.ln_1(x))  # (B, T, 3C)
            if has("values"):
                more = ops.embedding(self.values[i], ids)
                qkv = np.concatenate([qkv[..., : 2 * C], qkv[..., 2 * C :] + 0.5 * more], axis=-1)
            if has("qk_norm") and has("rotary"):
                qkv = ops.rotary(qkv, heads)
            elif has("qk_norm") or has("rotary"):
                qkv = turned(qkv, heads, has("qk_norm"), has("rotary"))
            x = x + block.attn.c_proj(ops.causal_attention(qkv, heads))
            wide = block.mlp.c_fc(block.ln_2(x))  # (B, T, 4C)
            x = x + block.mlp.c_proj(np.square(ops.relu(wide)) if has("relu2") else ops.gelu(wide))
        return self.ln_f(x)

    def forward(self, ids: Any, targets: Any = None) -> Tensor:
        if "bigram" not in self.tricks:
            return super().forward(ids, targets)
        logits = self.lm_head(self.hidden(ids)) + ops.embedding(self.bigram, ids)
        return logits if targets is None else ops.cross_entropy(logits, targets)


def optimizer_of(model: GPT2, run: Run) -> optim.Optimizer:
    """With the usual rates, times that of the run."""
    how: dict[str, Any] = {"betas": (0.9, 0.999), "weight_decay": 0.1}
    if "batch6" in run.tricks:
        how["betas"] = 0.9, 0.999**0.5  # the same half-life in tokens
    if not any(trick.startswith("muon") for trick in run.tricks):
        return optim.AdamW(model.parameters(), 3e-3 * run.rate, **how)
    kind = EverySecond if "muon_half" in run.tricks else optim.Muon
    how["iterations"] = 3 if "muon3" in run.tricks else 5
    matrices = [(p, 3 if p is block.attn.c_attn.weight else 1) for block in model.h for p in block.parameters() if p.ndim == 2]
    return kind(model.parameters(), matrices, 8e-3 * run.rate, 0.015 * run.rate, **how)


class EverySecond(optim.Muon):
    """Muon whose matrices move at every second step, twice as far."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self.proportion *= 2

    def apply_single(self, p: Array, g: Array, state: dict[str, Array], *, i: int, scale: float) -> None:
        if "momentum" in state and self.steps % 2:
            state["momentum"] += (1 - self.momentum) * (scale * g - state["momentum"])
        else:
            super().apply_single(p, g, state, i=i, scale=scale)


class Training:
    """A run, step by step."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.ids, self.held_out, V = text(run.corpus)
        tied = "tied" in run.tricks
        shape = {"max_seq_len": run.context, "d_model": run.width, "num_layers": run.layers, "num_heads": 4}
        init = "zero" if "zero" in run.tricks else "gpt2" if tied else "xavier"
        config = GPT2Config(vocab_size=V, tie_embeddings=tied, init=init, **shape)
        self.model = Tricked(config, run.seed, run.tricks)
        self.optimizer = optimizer_of(self.model, run)
        self.highest = self.optimizer.lr
        self.schedule = optim.warmup_cosine if "cosine" in run.tricks else optim.warmup_linear
        self.split = 2 if "batch6" in run.tricks else 1  # steps for one
        self.steps, self.size = run.steps * self.split, run.batch // self.split
        self.average = {name: p.data.copy() for name, p in self.model.named_parameters()} if "ema" in run.tricks else {}
        self.step = 0

    def take(self) -> None:
        """One step."""
        model, run = self.model, self.run
        model.zero_grad()
        model.loss(*batch(self.ids, self.size, run.context, run.seed, self.step)).backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        self.optimizer.lr = self.schedule(self.step, self.highest, min(100, self.steps // 20), self.steps)
        self.optimizer.step()
        for name, p in model.named_parameters() if self.average else ():
            self.average[name] += 20 / self.steps * (p.data - self.average[name])  # the last twentieth, about
        self.step += 1

    def loss(self) -> float:
        """Of all validation text, in nats per character."""
        for name, p in self.model.named_parameters() if self.average else ():
            p.data = self.average[name]
        windows = consecutive(self.held_out, self.run.context, 64)
        with no_grad():
            losses = [(self.model.loss(*window).item(), window[1].size) for window in windows]
        return sum(loss * n for loss, n in losses) / sum(n for _, n in losses)


def trained(run: Run) -> float:
    """The validation loss at the end."""
    training = Training(run)
    while training.step < training.steps:
        training.take()
    return training.loss()


def costs(arms: dict[str, Run], rounds: int = 12) -> dict[str, float]:
    """The time of a step over that of the plain one, by arm: all take a few in turn, and the median of the rounds counts."""
    trainings = {name: Training(run) for name, run in arms.items()}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, training in trainings.items():
            start = time.perf_counter()
            for _ in range(4 * training.split):
                training.take()
            seconds[name].append(time.perf_counter() - start)
    plain = np.array(seconds["plain"][1:])  # the first time, memory is new
    return {name: float(np.median(np.array(times[1:]) / plain)) for name, times in seconds.items()}


@cache
def kept() -> Path:
    """The file of losses that this code gives, with these packages."""
    about = [code_sha256(), Path(__file__).read_text("utf-8"), sys.version, np.__version__]
    return BUILD / f"tricks-{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]}.jsonl"


def losses_of(runs: list[Run], track: Track) -> dict[Run, float]:
    """The loss of each, on as many processes as there are cores; those that were made before are not made again."""
    path = kept()
    path.parent.mkdir(exist_ok=True)
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    known = {line["run"]: line["loss"] for line in map(json.loads, lines)}
    left = [run for run in dict.fromkeys(runs) if run.key not in known]
    with path.open("a", encoding="utf-8") as file:
        for (run,), loss in track(as_they_end(cores(), trained, [(run,) for run in left])):
            known[run.key] = loss
            file.write(json.dumps({"run": run.key, "loss": loss}) + "\n")
            file.flush()
    return {run: known[run.key] for run in runs}


def measure(track: Track, quick: bool, control: bool) -> Result:
    alone = {name: (name,) for name in (("zero", "muon") if quick else TRICKS)}
    arms: dict[str, tuple[str, ...]] = {"plain": (), **alone, "all": tuple(name for name in ALL if name in alone)}
    if not quick:
        arms["both"] = ("rotary", "muon")
        arms |= {f"without {name}": tuple(other for other in ALL if other != name) for name in ALL}
    if control:  # nothing is done, whatever it is called
        arms = dict.fromkeys(arms, ())
    if quick:
        small = {"steps": 150, "width": 32, "layers": 2, "context": 32}
        runs = {name: [Run("pydocs", tricks, seed, **small) for seed in range(3)] for name, tricks in arms.items()}
        return {"loss": {"pydocs": {name: [trained(run) for run in track(several)] for name, several in runs.items()}}}

    tries = {(name, rate): Run(CORPORA[0], tricks, 99, STEPS // 2, rate) for name, tricks in arms.items() for rate in RATES}
    tried = losses_of(list(tries.values()), track)
    best = {name: min(RATES, key=lambda rate: tried[tries[name, rate]]) for name in arms}
    result: Result = {"steps": STEPS, "rate": best, "loss": {}, "longer": {}}
    for corpus in CORPORA:
        runs = {name: [Run(corpus, tricks, seed, rate=best[name]) for seed in range(SEEDS)] for name, tricks in arms.items()}
        longer = {times: [replace(run, steps=round(times * STEPS)) for run in runs["plain"]] for times in LONGER}
        losses = losses_of([run for several in (*longer.values(), *runs.values()) for run in several], track)
        result["loss"][corpus] = {name: [losses[run] for run in several] for name, several in runs.items()}
        result["longer"][corpus] = {str(times): [losses[run] for run in several] for times, several in longer.items()}
    one_each = {name: Run(CORPORA[0], tricks, 0) for name, tricks in arms.items()}
    ((_, result["cost"]),) = as_they_end(1, costs, [(one_each,)])
    return result


def better(result: Result, corpus: str, name: str, than: str = "plain") -> Array:
    """By how many nats the loss is lower, seed by seed."""
    losses = result["loss"][corpus]
    return np.subtract(losses[than], losses[name])


def faster(result: Result, corpus: str, name: str) -> Array:
    """How many times as many tokens the plain model needs to the same loss, seed by seed: read from its trainings of other
    lengths, in logarithms, and within them."""
    lengths = np.log([float(times) for times in result["longer"][corpus]])
    plain = np.array(list(result["longer"][corpus].values()))  # (lengths, seeds)
    loss = result["loss"][corpus][name]
    return np.exp([np.interp(-loss[i], -plain[:, i], lengths) for i in range(len(loss))])


def beyond(result: Result, corpus: str, tokens: Array) -> str:
    """Whether a mean of tokens is only a bound, since the plain model was not trained so long, or so short, with some seed."""
    lengths = [float(times) for times in result["longer"][corpus]]
    return "> " if np.max(tokens) >= max(lengths) else "< " if np.min(tokens) <= min(lengths) else ""


def claims(result: Result) -> list[Claim]:
    everywhere = list(result["loss"])
    found = [
        Claim(
            f"{text} the loss, in nats per character: "
            + ", ".join(f"{corpus} {with_interval(better(result, corpus, name))}" for corpus in everywhere)
            + ".",
            all(interval(better(result, corpus, name))[0] > 0 for corpus in everywhere),
        )
        for name, text in {"muon": "Muon alone lowers", "all": "All that go together lower"}.items()
    ]
    if "cost" not in result:
        return found
    first = {corpus: min(TRICKS, key=lambda name: np.mean(result["loss"][corpus][name])) for corpus in everywhere}
    found.append(
        Claim(
            "Together they are better than the best one alone: "
            + ", ".join(
                f"{corpus} by {with_interval(better(result, corpus, 'all', name))} than {NAMES[name]}"
                for corpus, name in first.items()
            )
            + ".",
            all(interval(better(result, corpus, "all", name))[0] > 0 for corpus, name in first.items()),
        )
    )
    pays = {
        name: [interval(np.log(faster(result, corpus, name) / result["cost"][name])) for corpus in everywhere]
        for name in TRICKS
    }
    least = np.log(WOBBLE)
    paying, costing = (
        "; ".join(NAMES[name] for name, intervals in pays.items() if all(map(does, intervals))) or "none"
        for does in (lambda ends: ends[0] > least, lambda ends: ends[1] < -least)
    )
    found.append(
        Claim(
            f"Per second, by more than {WOBBLE - 1:.0%} on every text, these pay: {paying}. "
            f"These cost more than they bring: {costing}.",
            paying != "none",
        )
    )
    missed = {corpus: {name: better(result, corpus, "all", f"without {name}") for name in ALL} for corpus in everywhere}
    matters = [name for name in ALL if all(interval(missed[corpus][name])[0] > 0 for corpus in everywhere)]
    found.append(
        Claim(
            f"Left out of all, these are missed on every text, by tokens: {'; '.join(map(NAMES.get, matters)) or 'none'}.",
            bool(matters),
        )
    )
    return found


def table(result: Result) -> str:
    """One line for each arm, for the README."""
    corpora = list(result["loss"])
    head = [
        "",
        "rate",
        "time of a step",
        *(f"{corpus}: {what}" for corpus in corpora for what in ("nats less", "tokens", "time")),
    ]
    lines = [head, ["---"] * len(head)]
    for name in result["cost"]:
        if name == "plain":
            continue
        cells = [NAMES[name], f"{result['rate'][name]:g}", f"{result['cost'][name]:.2f}"]
        for corpus in corpora:
            tokens = faster(result, corpus, name)
            sign = beyond(result, corpus, tokens)
            cells += [with_interval(better(result, corpus, name))]
            cells += [f"{sign}{np.mean(x):.2f}" for x in (tokens, tokens / result["cost"][name])]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def draw(result: Result, figure: Any) -> None:
    corpora = list(result["loss"])
    figure.set_size_inches(12, 7.5)
    left, right = figure.subplots(1, 2, sharey=True)
    names = [name for name in result["cost"] if name != "plain"]
    for k, corpus in enumerate(corpora):
        color = ("tab:blue", "tab:orange")[k]
        for i, name in enumerate(names):
            y = i + 0.3 * (k - (len(corpora) - 1) / 2)
            gain = better(result, corpus, name)
            tokens = faster(result, corpus, name)
            marker = {"> ": ">", "< ": "<"}.get(beyond(result, corpus, tokens), "o")
            for axes, values, mark in ((left, gain, "o"), (right, tokens / result["cost"][name], marker)):
                axes.plot(np.mean(values), y, mark, color=color)
                axes.hlines(y, *interval(values), color=color)
        right.plot([], [], "o", color=color, label=corpus)
    left.set_yticks(range(len(names)), [NAMES[name] for name in names])
    left.invert_yaxis()
    left.axvline(0, color="0.3", linewidth=0.8)
    right.axvline(1, color="0.3", linewidth=0.8)
    right.set_xscale("log")
    ticks = [0.5, 0.7, 1, 1.4, 2, 2.8, 4]
    right.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    right.minorticks_off()
    left.set(xlabel="nats per character less, for the same tokens")
    right.set(xlabel="time of the plain model to the same loss, over the trick's")
    for axes in (left, right):
        axes.grid(alpha=0.25, axis="x")
    right.legend(frameon=False)
