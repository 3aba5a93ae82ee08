"""Every setting, defined once: the command line, TOML files and presets all read it from here."""

from __future__ import annotations

import dataclasses
import json
import math
import reprlib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from gpt2.errors import ConfigError
from gpt2.files import MOST_JSON, read_regular

T = TypeVar("T")

FORM = ("encoding", "text_field")
"""The settings that say in which form a text is."""

FOLLOWS = ("warmup_steps", "eval_every", "eval_windows", "save_every")
"""The settings that follow from others, unless they are given."""

Range = tuple[float, float, str]
"""The lowest and the highest value, and as mathematicians write it whether each is one itself: (0, 1, "[)")."""

LONGEST_TEXT = 4096
"""Characters of a setting that is text: the longest path that Linux takes."""

EVALUATING = 0.1
"""The share of a training's time that its evaluations may take, where their windows are not given."""

BACKWARD = 2
"""A step also goes backward, which takes about twice as long as the forward of an evaluation, per token."""

FEWEST_WINDOWS = 32
"""That are evaluated at once, however short a training is."""


def setting(
    default: Any,
    help: str,
    range: Range = (-math.inf, math.inf, "[]"),
    choices: tuple[str, ...] = (),
    several: bool = False,
) -> Any:
    """A field with a default, the line that `--help` shows, the numbers or texts that it can have, and whether several at
    once: a list of one is that one, and of more it becomes a tuple."""
    return field(default=default, metadata={"help": help, "range": range, "choices": choices, "several": several})


def whole(low: int, high: int) -> Range:
    """Both ends are values too."""
    return low, high, "[]"


NATURAL = whole(0, 10**12)
POSITIVE = whole(1, 10**12)
NOT_NEGATIVE = (0, math.inf, "[)")
ABOVE_ZERO = (0, math.inf, "()")
SHARE = (0, 1, "[)")


class Settings:
    """What both kinds of settings share: presets, and checks of names and types."""

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """The settings of a preset, some of them replaced."""
        return cls(**{**cls.of_preset(name), **overrides})

    @classmethod
    def of_preset(cls, name: str) -> dict[str, Any]:
        """Those settings of a preset that belong to this class."""
        if not isinstance(name, str) or name not in PRESETS:  # it may come from a TOML file
            raise ConfigError(f"preset {name!r} is unknown; choose from {', '.join(PRESETS)}")
        names = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return {key: value for key, value in PRESETS[name].items() if key in names}

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            value: Any = getattr(self, f.name)
            kind: Any = type(f.default)
            several = f.metadata["several"] and isinstance(value, list | tuple)
            found = [typed(f.name, one, kind) for one in (value if several else (value,))]
            for one in found:
                wanted = _text_wanted(one, f.metadata["choices"]) if kind is str else _number_wanted(one, *f.metadata["range"])
                if wanted:
                    raise ConfigError(f"{f.name} = {reprlib.repr(one)} must be {wanted}")
            object.__setattr__(self, f.name, found[0] if len(found) == 1 else tuple(found))


def typed(name: str, value: Any, kind: type[T]) -> T:
    """A value of that type; numbers of NumPy are taken as Python's, and a whole number as a float. Raises ConfigError."""
    if isinstance(value, np.generic):
        value = value.item()
    if kind is float and type(value) is int and abs(value) < 2**1023:
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"{name} = {reprlib.repr(value)} is {type(value).__name__}; it must be {kind.__name__}")
    return value


def at_least(low: int, name: str, value: Any) -> int:
    """A whole number, `low` or more. Raises ConfigError."""
    if (found := typed(name, value, int)) < low:
        raise ConfigError(f"{name} = {found} must be at least {low}")
    return found


def _text_wanted(value: str, choices: tuple[str, ...]) -> str | None:
    """What a text should be that it is not."""
    if choices and value not in choices:
        return f"{', '.join(choices[:-1])} or {choices[-1]}"
    return f"at most {LONGEST_TEXT} characters, without NUL" if len(value) > LONGEST_TEXT or "\0" in value else None


def _number_wanted(value: float, low: float, high: float, ends: str) -> str | None:
    """What a number should be that it is not."""
    if not -math.inf < value < math.inf:
        return "a finite number"
    too_low = value < low or (value == low and ends[0] == "(")
    if not (too_low or value > high or (value == high and ends[1] == ")")):
        return None
    if high < math.inf and ends != "[]":
        return f"in {ends[0]}{low}, {high}{ends[1]}"
    if too_low:
        return "above 0" if ends[0] == "(" else f"at least {low}" if low else "0 or more"
    return f"at most {high:,}"


@dataclass(frozen=True)
class GPT2Config(Settings):
    """The shape of a model. Two models with equal configurations have the same parameters."""

    vocab_size: int = setting(50257, "number of tokens; training takes the tokenizer's", whole(1, 2**31 - 1))
    max_seq_len: int = setting(1024, "context: how many tokens the model sees", whole(1, 2**24))
    d_model: int = setting(768, "width of the residual stream", whole(1, 2**20))
    num_layers: int = setting(12, "number of blocks", whole(1, 1000))
    num_heads: int = setting(12, "attention heads per block; must divide d_model", whole(1, 1000))
    d_ff: int = setting(0, "width of the feed-forward network; 0 means 4 * d_model", whole(0, 2**24))
    dropout: float = setting(0.0, "probability of dropping an activation while training", SHARE)
    bias: bool = setting(True, "biases in linear layers and layer norms")
    tie_embeddings: bool = setting(False, "use the token embedding as the head's matrix too")
    head_bias: bool = setting(True, "a bias in the language-model head")
    init: str = setting(
        "xavier",
        "initial weights: xavier; gpt2: N(0, 0.02^2) with scaled residual projections; or zero: xavier, but the projections "
        "onto the residual stream and a head of its own are 0, so that the first guess is uniform",
        choices=("xavier", "gpt2", "zero"),
    )

    architecture: str = setting(
        "gpt2",
        "gpt2; or modern: rotary positions, queries and keys of one length, and ReLU squared for GELU",
        choices=("gpt2", "modern"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.d_model % self.num_heads:
            raise ConfigError(
                f"d_model = {self.d_model} is not divisible by num_heads = {self.num_heads}; a head is d_model / num_heads wide"
            )
        if self.architecture == "modern" and self.d_model // self.num_heads % 2:
            raise ConfigError(
                f"d_model / num_heads = {self.d_model // self.num_heads} must be even: modern turns entries of a head in pairs"
            )
        object.__setattr__(self, "d_ff", self.d_ff or 4 * self.d_model)

    def as_text(self) -> str:
        """What a file of weights keeps, so that no others are taken for them; without what older versions did not have."""
        settings = dataclasses.asdict(self)
        if self.architecture == "gpt2":
            del settings["architecture"]
        return json.dumps(settings, sort_keys=True)


@dataclass(frozen=True)
class TrainConfig(Settings):
    """How a model is trained."""

    data: str | tuple[str, ...] = setting(
        "pydocs",
        "a text or .jsonl file, also as .gz, a folder, a glob in quotes, a pipe, - for standard input, or a corpus by name: "
        "pydocs, shakespeare, addition, sorting, brackets, markov; may be repeated, and the texts follow one another",
        several=True,
    )
    encoding: str = setting("utf-8", "encoding of files without a byte-order mark: utf-8, gb18030, cp1252, utf-16-le...")
    text_field: str = setting("text", "field of a .jsonl line that holds its text; each line is a document")
    tokenizer: str = setting("char", "char, byte, bpe (learned from the text), gpt2, or the path of a tokenizer.json")
    init_from: str = setting("", "a run folder or Hugging Face GPT-2 folder to start from, with its tokenizer and sizes")
    seed: int = setting(0, "decides every random choice", NATURAL)
    steps: int = setting(2000, "number of updates", POSITIVE)
    minutes: float = setting(
        0.0,
        "how long the run takes in all, its pictures included: as many updates as that gives; 0: as steps says",
        (0, 100_000, "[]"),
    )
    batch_size: int = setting(12, "sequences per update", whole(1, 2**24))
    dtype: str = setting(
        "float32",
        "float32, or bfloat16 for the products of linear layers while training (needs the extra mkl)",
        choices=("float32", "bfloat16"),
    )
    threads: int = setting(0, "threads to compute with; 0 for one per core", whole(0, 4096))
    shards: int = setting(0, "parts a batch is split into; 0 for one per thread, more to save memory", whole(0, 2**24))
    learning_rate: float = setting(6e-4, "the highest learning rate", (0, 1000, "(]"))
    min_learning_rate: float = setting(0.0, "the learning rate at the last step", (0, 1000, "[]"))
    warmup_steps: int = setting(
        -1, "updates during which the learning rate rises; -1 for a twentieth of all, at most 100", whole(-1, 10**12)
    )
    schedule: str = setting(
        "cosine",
        "how the learning rate falls: cosine, linear, constant (not), or wsd (only in the last fifth)",
        choices=("cosine", "linear", "constant", "wsd"),
    )
    optimizer: str = setting(
        "adamw",
        "adamw, muon (for the matrices of the blocks, and adamw for all else), adam (no weight decay) or sgd (momentum beta1)",
        choices=("adamw", "muon", "adam", "sgd"),
    )
    muon_factor: float = setting(1.875, "the learning rate of Muon's matrices over that of all else", (0, 1000, "(]"))
    beta1: float = setting(0.9, "AdamW: decay rate of the gradient's mean", SHARE)
    beta2: float = setting(0.99, "AdamW: decay rate of the gradient's square", SHARE)
    weight_decay: float = setting(0.1, "AdamW: weight decay of the matrices", (0, 1000, "[]"))
    grad_clip: float = setting(1.0, "largest global norm of the gradient; 0 for no limit", NOT_NEGATIVE)
    label_smoothing: float = setting(0.0, "share of the target's probability to spread over the vocabulary", SHARE)
    ema_decay: float = setting(
        0.0, "evaluate and save an average of the weights, of which each update keeps this share; 0 for none", SHARE
    )
    on_nonfinite: str = setting(
        "stop",
        "when a loss or gradient is NaN or infinite: stop, skip the batch, or rollback (at most ten times to one checkpoint)",
        choices=("stop", "skip", "rollback"),
    )
    spike_threshold: float = setting(
        0.0, "robust standard deviations above which a loss or gradient is a spike; 0 for never", NOT_NEGATIVE
    )
    spike_window: int = setting(100, "how many updates before it a spike is compared with", whole(1, 10_000))
    on_spike: str = setting(
        "skip",
        "at a spike: skip the batch, or rollback to the last checkpoint (at most ten times) and take other batches",
        choices=("skip", "rollback"),
    )
    split: str = setting(
        "position",
        "validate on the end of the text (position) or on some documents (document)",
        choices=("position", "document"),
    )
    val_fraction: float = setting(0.1, "share of the text to validate on", (0, 1, "()"))
    eval_every: int = setting(
        0, "updates between evaluations, also at the start and the end; 0 for an eighth of all, from 10 to 1000", NATURAL
    )
    eval_windows: int = setting(
        -1,
        "windows of the validation text to evaluate, a fixed random choice; 0 for all, -1 for as many as a tenth of the "
        "training's time allows",
        whole(-1, 10**12),
    )
    patience: int = setting(0, "stop after so many evaluations without a lower validation loss; 0 for never", NATURAL)
    save_every: int = setting(
        0,
        "updates between checkpoints, also at every evaluation; 0 for an eighth of all (a twentieth with minutes), 10 to 1000",
        NATURAL,
    )
    keep_every: int = setting(0, "keep a checkpoint every so many updates, besides the last two and the best", NATURAL)
    sample_tokens: int = setting(200, "length of the sample written at each evaluation; 0 for none", whole(0, 10**6))
    distributed: str = setting(
        "auto", "auto: share each batch among the ranks that mpiexec starts; off: train alone", choices=("auto", "off")
    )
    reduction: str = setting(
        "fast",
        "how ranks sum gradients: fast, or ordered: shard after shard, so that the bits do not depend on the ranks",
        choices=("fast", "ordered"),
    )
    wire: str = setting("float32", "dtype that a fast reduction sends: float32 or bfloat16", choices=("float32", "bfloat16"))
    zero: bool = setting(False, "divide the optimizer's state among the ranks (ZeRO stage 1)")
    rank_timeout: float = setting(600.0, "seconds that a rank waits for another before the job ends", ABOVE_ZERO)

    def __post_init__(self) -> None:
        """What follows the number of steps becomes a number here, so that a run that goes on with more steps keeps it."""
        super().__post_init__()
        if self.zero and self.optimizer == "muon":
            raise ConfigError(
                "zero = True divides matrices among the ranks, and optimizer = 'muon' needs whole ones; choose one"
            )
        eighth, twentieth = (min(max(10, -(-self.steps // parts)), 1000) for parts in (8, 20))
        object.__setattr__(self, "eval_every", self.eval_every or eighth)
        object.__setattr__(self, "save_every", self.save_every or (twentieth if self.minutes else eighth))
        if self.warmup_steps < 0:
            object.__setattr__(self, "warmup_steps", min(self.steps // 20, 100))
        if self.eval_windows < 0:
            evaluations = 1 + -(-self.steps // self.eval_every)
            windows = max(FEWEST_WINDOWS, self.windows_in(EVALUATING) // evaluations)
            object.__setattr__(self, "eval_windows", min(windows, 10**12))

    def chosen(self) -> dict[str, Any]:
        """All settings by name, but for those that are what they follow from: what tells one training from another."""
        defaults: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(self)}
        left_out = [name for name in FOLLOWS if dataclasses.replace(self, **{name: defaults[name]}) == self]
        return {name: getattr(self, name) for name in defaults if name not in left_out}

    def windows_in(self, share: float) -> int:
        """How many windows can be evaluated in that share of the time of the training."""
        return int(share * (1 + BACKWARD) * self.steps * self.batch_size)


_TINY = {"vocab_size": 65, "max_seq_len": 64, "d_model": 128, "num_layers": 4, "num_heads": 4}
_ADAMW = {"steps": 4000, "batch_size": 6, "learning_rate": 2e-3, "schedule": "linear", "beta2": 0.999}
_MUON = {**_ADAMW, "steps": 2000, "batch_size": 12, "learning_rate": 8e-3, "optimizer": "muon", "init": "zero"}
_OPENAI = {"tie_embeddings": True, "head_bias": False, "init": "gpt2"}
_SIZES = {
    "small": {"d_model": 768, "num_layers": 12, "num_heads": 12},
    "medium": {"d_model": 1024, "num_layers": 24, "num_heads": 16},
    "large": {"d_model": 1280, "num_layers": 36, "num_heads": 20},
    "xl": {"d_model": 1600, "num_layers": 48, "num_heads": 25},
}
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {**_TINY, **_MUON},
    "tiny-adamw": {**_TINY, **_ADAMW},
    "modern": {**_TINY, **_MUON, "architecture": "modern"},
    "nanogpt-cpu": {**_TINY, **_OPENAI, "bias": False, "learning_rate": 1e-3, "min_learning_rate": 1e-4},
    **_SIZES,
    "gpt2": {**_SIZES["small"], **_OPENAI},
    **{f"gpt2-{size}": {**_SIZES[size], **_OPENAI} for size in ("medium", "large", "xl")},
}
"""By name: where a preset differs from the defaults. `gpt2...` are OpenAI's models: tied head without bias. What was tried for
`tiny` and `modern` is in docs/measured.md."""


def read_toml(path: str | Path) -> dict[str, Any]:
    """The settings in a TOML file: field names at the top level, and `preset`. Raises ConfigError for anything else."""
    try:
        values = tomllib.loads(read_regular(Path(path), MOST_JSON).decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path} is not TOML: {error}") from error
    known = {f.name for cls in (GPT2Config, TrainConfig) for f in dataclasses.fields(cls)} | {"preset"}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"--config {path}: unknown setting {', '.join(unknown)}; choose from {', '.join(sorted(known))}")
    return values
