"""The settings of a training that is to end at a time: what `gpt2 train --minutes` chooses.

How much can be read in that time, and how often the text would be read, decide about tokens, size, dropout and learning rate.
The numbers of the rule are those that do best on the trainings of experiments/dial, whose README says how far they reach.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gpt2.config import GPT2Config, TrainConfig, at_least
from gpt2.model import GPT2
from gpt2.text.corpora import Corpus
from gpt2.training.choice import choose
from gpt2.training.mpi import comm
from gpt2.training.shards import Shards
from gpt2.training.step import Trainer
from tinygrad2.kernels.fast import products

T = TypeVar("T")

BASE = "modern"
"""The preset that has all that is not chosen here."""

REFERENCE = GPT2Config.preset(BASE, num_layers=2)
"""The model by whose pace machines are compared."""

TOKENS = 768
"""Of a step: so many sequences as give that."""

WARM, TIMED = 3, 9
"""Steps of the reference that are not timed, and that are."""

SAMPLE = 4_000_000
"""Characters whose alphabet is taken for that of the text: the first ones."""


def pace(config: TrainConfig) -> float:
    """How many tokens per second the reference is trained on, by as many threads. All ranks of a job take part."""
    model, together = GPT2(REFERENCE, 0), comm.current()
    sequences = max(TOKENS // REFERENCE.max_seq_len, together.size)
    config = TrainConfig.preset(BASE, threads=config.threads, shards=config.shards, batch_size=sequences)
    parameters, ids = model.num_parameters(), np.random.default_rng(0).integers(0, REFERENCE.vocab_size, 10 * TOKENS)
    library = together.broadcast(choose(REFERENCE, config, parameters).name, "the choice of a library")
    seconds = []
    with products.using(library), Shards.of(config, parameters) as shards:
        trainer = Trainer(model, config, ids, shards)
        for _ in range(WARM + TIMED):
            start = time.perf_counter()
            trainer.step()
            seconds.append(time.perf_counter() - start)
    tokens = sequences * REFERENCE.max_seq_len
    return together.broadcast(tokens / statistics.median(seconds[WARM:]), "the pace of the reference model")


class Task(NamedTuple):
    """What the rule looks at."""

    reach: float
    """How many tokens the reference could be trained on in the time."""
    characters: float
    """Of the text that trains."""
    alphabet: int
    """How many different ones."""

    @classmethod
    def of(cls, corpus: Corpus, config: TrainConfig) -> Task:
        """That of a training, here and now."""
        alphabet, left = set[str](), SAMPLE
        for piece in corpus.pieces():
            alphabet.update(piece[:left])
            left -= len(piece)
            if left <= 0:
                break
        return cls(60 * config.minutes * pace(config), (1 - config.val_fraction) * corpus.characters, len(alphabet))

    @property
    def times(self) -> float:
        """How often the reference could read the text, a token for each character."""
        return self.reach / max(1.0, self.characters)


class Choice(NamedTuple):
    """Settings that go together, and why they are these."""

    settings: dict[str, Any]
    why: str


PAIRS_FROM = 700_000
"""From so many characters on, byte pairs are better than characters."""

MERGES, MOST_PAIRS = {0.0: 1024, 3e6: 2048}, 8192
"""How many more tokens than characters there are to be, about, for texts from so long on; and how many at most."""

LONGER = {0.0: 2.3, 1e3: 1.4}
"""How many characters such a token has, about, where there are so many different ones or more."""

BLOCKS = {0.0: 2, 4e6: 4}
"""By how many tokens the reference could be trained on with that vocabulary: from so many on."""

SMALL = 50_000
"""A text of fewer characters gets a model half as wide, of two blocks, and a quarter of the learning rate."""

DROPOUT = {0.0: 0.0, 10.0: 0.1, 45.0: 0.2, 110.0: 0.3, 300.0: 0.4}
"""By how often each token would be read: from so many times on."""


def choices(task: Task, given: Mapping[str, Any]) -> list[Choice]:
    """What is best for a task. What is `given` stays, and the rest follows it. Raises ConfigError for a size that is none."""
    tokens = _tokens(task, given)
    often = task.times * (1.0 if tokens.settings["tokenizer"] in ("char", "byte") else _from(LONGER, task.alphabet))
    found = [tokens, _size(task, {**tokens.settings, **given}), _dropout(task, often, given)]
    return [Choice({name: value for name, value in one.settings.items() if name not in given}, one.why) for one in found]


def _tokens(task: Task, given: Mapping[str, Any]) -> Choice:
    size = min(MOST_PAIRS, -(-(_from(MERGES, task.characters) + task.alphabet) // 256) * 256)
    if "tokenizer" in given or "vocab_size" in given:
        name = given.get("tokenizer", "char")
        return Choice({"tokenizer": name, **({"vocab_size": size} if name == "bpe" else {})}, f"{name}, as given")
    if task.characters < PAIRS_FROM:
        return Choice({"tokenizer": "char"}, "characters: the text is short, and longer tokens would be learned by heart")
    read = f"the text can be read {times(task.times)}"
    return Choice({"tokenizer": "bpe", "vocab_size": size}, f"byte pairs, up to {size:,}, which reach further: {read}")


def _size(task: Task, given: Mapping[str, Any]) -> Choice:
    known = {name: at_least(1, name, given[name]) for name in ("d_model", "num_heads", "max_seq_len") if name in given}
    width = known.get("d_model", 64 if task.characters < SMALL else 128)
    heads = known.get("num_heads") or next((n for n in range(width // 32, 1, -1) if width % (2 * n) == 0), 1)
    if "d_model" not in known:
        width = -(-width // (2 * heads)) * 2 * heads  # an even width for each
    context = known.get("max_seq_len", REFERENCE.max_seq_len)
    blocks, head = REFERENCE.num_layers * 12 * REFERENCE.d_model, given.get("vocab_size", 0)  # products, by the width
    layers = _from(BLOCKS, task.reach * blocks / (blocks + head) if task.characters >= SMALL else 0.0)
    settings = {
        "num_layers": layers,
        "d_model": width,
        "num_heads": heads,
        "max_seq_len": context,
        "batch_size": max(1, TOKENS // context),
    }
    L, B = given.get("num_layers", layers), given.get("batch_size", settings["batch_size"])
    size = f"{L} blocks of width {width}, context {context}, {B} sequences at a time"
    why = "a small text needs no more" if task.characters < SMALL else "more would see too little of it in the time"
    return Choice(settings, f"{size}: {why}")


def _dropout(task: Task, often: float, given: Mapping[str, Any]) -> Choice:
    settings = {"dropout": _from(DROPOUT, often)}
    if task.characters < SMALL:
        settings["learning_rate"] = 2e-3
    return Choice(settings, f"{given.get('dropout', settings['dropout']):g}, where a token would be read {times(often)}")


GAIN, MOST_GAIN = 0.1, 0.07
"""By how much twice the time lowers the bits per byte of a text that was read once, over how often it was; and at most."""

LEAST_OF_IT, MOST_OF_IT, MORE = 0.4, 1.7, 0.005
"""What comes of that, from and to; and what may come beside it."""

LOST, READ_TOO_OFTEN = 0.03, 50.0
"""What may be lost where the text was read so often."""


def twice(bits: float, epochs: float) -> tuple[float, float]:
    """Between which bits per byte those of twice the time may be expected, by the rule, for a text that was read so often."""
    gain = min(MOST_GAIN, GAIN / max(epochs, 1e-9))
    lost = LOST if epochs > READ_TOO_OFTEN else 0.0
    return bits * (1 - MOST_OF_IT * gain - MORE), bits * (1 - LEAST_OF_IT * gain + lost)


def lines(task: Task, found: Sequence[Choice], config: TrainConfig) -> list[str]:
    """What was chosen and why, as it is said."""
    names = ("tokens", "size", "dropout")
    return [
        f"chosen for {config.minutes:g} minutes on this machine, enough for {task.reach:,.0f} tokens of a model of two blocks:",
        *(f"  {name:9}{choice.why}" for name, choice in zip(names, found, strict=True)),
        "  a flag takes the place of any of these; --preset, that of all (tiny is a GPT-2 that can be exported)",
    ]


def _from(table: Mapping[float, T], value: float) -> T:
    """What holds from the highest number on that is not above the value."""
    return table[max(start for start in table if start <= value)]


def times(number: float) -> str:
    """How often, in words."""
    return f"{number:.1f} times" if number < 10 else f"{number:,.0f} times"
