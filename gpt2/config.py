"""Every setting, defined once: the command line, TOML files and presets all read it from here."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from gpt2.errors import ConfigError


def setting(default: Any, help: str) -> Any:
    """A field with a default and the line that `--help` shows."""
    return field(default=default, metadata={"help": help})


class Settings:
    """What both kinds of settings share: presets, and checks of names and types."""

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """The settings of a preset, some of them replaced."""
        return cls(**{**cls.of_preset(name), **overrides})

    @classmethod
    def of_preset(cls, name: str) -> dict[str, Any]:
        """Those settings of a preset that belong to this class."""
        if name not in PRESETS:
            raise ConfigError(f"preset {name!r} is unknown; there is {', '.join(PRESETS)}")
        names = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return {key: value for key, value in PRESETS[name].items() if key in names}

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            value, kind = getattr(self, f.name), type(f.default)
            if kind is float and type(value) is int:
                object.__setattr__(self, f.name, float(value))
            elif kind is float and type(value) is float and not math.isfinite(value):
                raise ConfigError(f"{f.name} = {value} must be a finite number")
            elif type(value) is not kind:
                raise ConfigError(f"{f.name} = {value!r} is {type(value).__name__}; it must be {kind.__name__}")

    def _check(self, condition: bool, message: str) -> None:
        if not condition:
            raise ConfigError(message)


@dataclass(frozen=True)
class GPT2Config(Settings):
    """The shape of a model. Two models with equal configurations have the same parameters."""

    vocab_size: int = setting(50257, "number of tokens; training takes it from the tokenizer")
    max_seq_len: int = setting(1024, "context: how many tokens the model sees")
    d_model: int = setting(768, "width of the residual stream")
    num_layers: int = setting(12, "number of blocks")
    num_heads: int = setting(12, "attention heads per block; must divide d_model")
    d_ff: int = setting(0, "width of the feed-forward network; 0 means 4 * d_model")
    dropout: float = setting(0.0, "probability of dropping an activation while training")
    bias: bool = setting(True, "biases in linear layers and layer norms")
    tie_embeddings: bool = setting(False, "use the token embedding as the head's matrix too")
    head_bias: bool = setting(True, "a bias in the language-model head")
    init: str = setting("xavier", "initial weights: xavier, or gpt2 for N(0, 0.02) with scaled residual projections")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("vocab_size", "max_seq_len", "d_model", "num_layers", "num_heads"):
            self._check(getattr(self, name) > 0, f"{name} = {getattr(self, name)} must be at least 1")
        self._check(
            self.d_model % self.num_heads == 0,
            f"d_model = {self.d_model} is not divisible by num_heads = {self.num_heads}; a head is d_model / num_heads wide",
        )
        self._check(self.d_ff >= 0, f"d_ff = {self.d_ff} must be at least 1, or 0 for 4 * d_model")
        self._check(0 <= self.dropout < 1, f"dropout = {self.dropout} must be in [0, 1)")
        self._check(self.init in ("xavier", "gpt2"), f"init = {self.init!r} must be xavier or gpt2")
        object.__setattr__(self, "d_ff", self.d_ff or 4 * self.d_model)


CHOICES = {
    "schedule": ("cosine", "linear", "constant", "wsd"),
    "dtype": ("float32", "bfloat16"),
    "optimizer": ("adamw", "adam", "sgd"),
    "split": ("position", "document"),
    "distributed": ("auto", "off"),
    "reduction": ("fast", "ordered"),
    "wire": ("float32", "bfloat16"),
    "on_nonfinite": ("stop", "skip", "rollback"),
    "on_spike": ("skip", "rollback"),
}
"""The values that a setting can have."""


@dataclass(frozen=True)
class TrainConfig(Settings):
    """How a model is trained."""

    data: str = setting(
        "pydocs",
        "a text file (or .gz), a folder, a glob in quotes, or a corpus by name: "
        "pydocs, shakespeare, addition, sorting, brackets, markov",
    )
    tokenizer: str = setting("char", "char, byte, bpe (learned from the text), gpt2, or the path of a tokenizer.json")
    init_from: str = setting("", "a run folder or Hugging Face GPT-2 folder to start from, with its tokenizer and sizes")
    seed: int = setting(0, "decides every random choice")
    steps: int = setting(2000, "number of updates")
    batch_size: int = setting(12, "sequences per update")
    dtype: str = setting(
        "float32", "float32, or bfloat16: what linear layers multiply while training, summed in float32 (needs the extra mkl)"
    )
    threads: int = setting(0, "threads to compute on; 0 for one per core")
    shards: int = setting(0, "parts a batch is split into; 0 for one per thread, more to save memory")
    learning_rate: float = setting(6e-4, "the highest learning rate")
    min_learning_rate: float = setting(0.0, "the learning rate at the end")
    warmup_steps: int = setting(100, "updates over which the learning rate rises")
    schedule: str = setting("cosine", "how the learning rate falls: cosine, linear, constant, or wsd: in the last fifth only")
    optimizer: str = setting("adamw", "adamw, adam (no weight decay) or sgd (with momentum beta1)")
    beta1: float = setting(0.9, "AdamW: memory of the gradient's mean")
    beta2: float = setting(0.99, "AdamW: memory of the gradient's square")
    weight_decay: float = setting(0.1, "AdamW: decay of the matrices")
    grad_clip: float = setting(1.0, "largest global norm of the gradient; 0 for no limit")
    label_smoothing: float = setting(0.0, "share of the target's probability that is spread over the vocabulary")
    ema_decay: float = setting(
        0.0, "evaluate and keep an average of the weights: this much of the old one at every update; 0 for none"
    )
    on_nonfinite: str = setting("stop", "a loss or gradient that is NaN or infinite: stop, skip the batch, or rollback")
    spike_threshold: float = setting(0.0, "robust standard deviations from which a loss or gradient is a spike; 0 for never")
    spike_window: int = setting(100, "updates that a spike is compared with")
    on_spike: str = setting("skip", "a spike: skip the batch, or rollback to the last checkpoint and go on with other batches")
    split: str = setting("position", "what validates: the end of the text (position), or some documents (document)")
    val_fraction: float = setting(0.1, "the share of the text that validates")
    eval_every: int = setting(250, "updates between evaluations; also at the start and the end")
    eval_windows: int = setting(0, "windows of the validation text that are evaluated, a fixed random choice; 0 for all")
    patience: int = setting(0, "evaluations without a better validation loss after which training stops; 0 for never")
    save_every: int = setting(250, "updates between checkpoints; also at every evaluation")
    keep_every: int = setting(0, "keep the checkpoints of every so many updates; the last and the best are always kept")
    sample_tokens: int = setting(200, "length of the sample written at each evaluation; 0 for none")
    distributed: str = setting("auto", "auto: share each batch among the ranks that mpiexec started; off: do not")
    reduction: str = setting(
        "fast", "how ranks sum gradients: fast, or ordered: shard after shard, so that the bits do not depend on the ranks"
    )
    wire: str = setting("float32", "what a fast reduction sends: float32 or bfloat16")
    zero: bool = setting(False, "keep the optimizer's state in parts, one on each rank (ZeRO stage 1)")
    rank_timeout: float = setting(600.0, "seconds that a rank waits for another before the job ends")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "batch_size", "eval_every", "save_every", "spike_window"):
            self._check(getattr(self, name) > 0, f"{name} = {getattr(self, name)} must be at least 1")
        for name in ("seed", "threads", "shards", "warmup_steps", "sample_tokens", "eval_windows", "patience", "keep_every"):
            self._check(getattr(self, name) >= 0, f"{name} = {getattr(self, name)} must not be negative")
        for name in ("min_learning_rate", "weight_decay", "grad_clip", "spike_threshold"):
            self._check(getattr(self, name) >= 0, f"{name} = {getattr(self, name)} must not be negative")
        self._check(self.rank_timeout > 0, f"rank_timeout = {self.rank_timeout} must be above 0")
        self._check(self.learning_rate > 0, f"learning_rate = {self.learning_rate} must be above 0")
        self._check(0 < self.val_fraction < 1, f"val_fraction = {self.val_fraction} must be between 0 and 1")
        for name in ("beta1", "beta2", "label_smoothing", "ema_decay"):
            self._check(0 <= getattr(self, name) < 1, f"{name} = {getattr(self, name)} must be in [0, 1)")
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            self._check(value in choices, f"{name} = {value!r} must be {', '.join(choices[:-1])} or {choices[-1]}")


_TINY = {"vocab_size": 65, "max_seq_len": 64, "d_model": 128, "num_layers": 4, "num_heads": 4}
_OPENAI = {"tie_embeddings": True, "head_bias": False, "init": "gpt2"}
_SIZES = {
    "small": {"d_model": 768, "num_layers": 12, "num_heads": 12},
    "medium": {"d_model": 1024, "num_layers": 24, "num_heads": 16},
    "large": {"d_model": 1280, "num_layers": 36, "num_heads": 20},
    "xl": {"d_model": 1600, "num_layers": 48, "num_heads": 25},
}
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        **_TINY,
        "steps": 4000,
        "batch_size": 6,
        "learning_rate": 2e-3,
        "schedule": "linear",
        "beta2": 0.999,
        "eval_every": 500,
        "save_every": 500,
    },
    "nanogpt-cpu": {**_TINY, **_OPENAI, "bias": False, "learning_rate": 1e-3, "min_learning_rate": 1e-4},
    **_SIZES,
    "gpt2": {**_SIZES["small"], **_OPENAI},
    **{f"gpt2-{size}": {**_SIZES[size], **_OPENAI} for size in ("medium", "large", "xl")},
}
"""By name: where a preset differs from the defaults. `gpt2...` are OpenAI's models: tied head without bias."""


def read_toml(path: str | Path) -> dict[str, Any]:
    """The settings in a TOML file: field names at the top level, and `preset`. Raises ConfigError for anything else."""
    try:
        values = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path} is not TOML: {error}") from error
    known = {f.name for cls in (GPT2Config, TrainConfig) for f in dataclasses.fields(cls)} | {"preset"}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"--config {path}: unknown setting {', '.join(unknown)}; there is {', '.join(sorted(known))}")
    return values
