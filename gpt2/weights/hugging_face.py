"""GPT-2 as Hugging Face lays it out: a folder with config.json and model.safetensors, whole or in shards. Or a run folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.config import GPT2Config
from gpt2.errors import ConfigError, RunError
from gpt2.files import check_no_run, is_run, naming, read_json
from gpt2.tokenizers import Tokenizer
from gpt2.weights import int8
from gpt2.weights.safetensors import STORED_AS, Stored, read_weights, write_weights
from tinygrad2.files import write_atomically
from tinygrad2.types import Array

Shapes = Mapping[str, tuple[int, ...]]

SAME = {
    "vocab_size": "vocab_size",
    "n_positions": "max_seq_len",
    "n_embd": "d_model",
    "n_layer": "num_layers",
    "n_head": "num_heads",
}
"""Hugging Face's name of a size, and ours."""
ONLY = {
    "model_type": ("gpt2", int8.MODEL_TYPE),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),  # two names of the tanh approximation
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}
"""Settings of theirs of which we have one kind, the first being their default."""
MASK = re.compile(r"h\.\d+\.attn\.(masked_)?bias")
"""The causal mask, which some files hold among the weights."""


MOST_SAID = 20
"""Of the weights that do not fit: how many are named."""


class PretrainedFolder:
    """A folder that has been looked through, its weights still on disk.

    `settings` replace those of the folder, by the names of GPT2Config. Raises RunError naming the file and the cause.

    Of a run, the weights are those at the end of its training; `gpt2.load` also has those of a training that goes on.
    """

    def __init__(self, folder: str | Path, **settings: Any) -> None:
        self.folder = folder_of(folder)
        self.theirs = read_json(self.folder / "config.json")
        self.stored: dict[str, Stored] = {}
        if is_run(self.theirs):
            ours = self._of_run()
            if ours.architecture != "gpt2":
                raise RunError(f"{folder}: its architecture is {ours.architecture!r}, and not GPT-2's; gpt2.load reads it")
            found, metadata = _weights_of_run(self.folder, ours)
            self.theirs, settings = described(ours, None), {**asdict(ours), **settings}
        elif self.is_int8:
            found, metadata = read_weights(self.folder / "model.safetensors", must_be_ours=True)
        else:
            found, metadata = _all_weights(self.folder)
        for name, entry in found.items():
            if self.stored.setdefault(name.removeprefix("transformer."), entry) is not entry:
                raise RunError(f"{entry.path}: {name} occurs twice, with and without 'transformer.'")
        if self.tied and "lm_head.weight" in self.stored:  # safetensors.torch.save_model writes one of the two, either one
            self.stored.setdefault("wte.weight", self.stored["lm_head.weight"])
        self.config = self._config(settings)
        heads = metadata.get("n_head", str(self.theirs["n_head"]))  # the one size that no shape tells
        if heads != str(self.theirs["n_head"]):
            raise RunError(f"{self.folder / 'config.json'}: n_head = {self.theirs['n_head']}, but the weights are for {heads}")

    @property
    def is_int8(self) -> bool:
        """Whether it is a folder of int8 weights."""
        return self.theirs.get("model_type") == int8.MODEL_TYPE

    @property
    def tied(self) -> bool:
        """Whether their head is the token embedding."""
        return self.theirs.get("tie_word_embeddings", True) is not False

    def _of_run(self) -> GPT2Config:
        try:
            return GPT2Config(**self.theirs["model"])
        except (ConfigError, KeyError, TypeError) as error:
            raise RunError(f"{self.folder / 'config.json'} is damaged: {error}") from error

    def _config(self, settings: Mapping[str, Any]) -> GPT2Config:
        path, theirs = self.folder / "config.json", self.theirs
        wrong = [f"{name} is missing" for name in SAME if name not in theirs]
        wrong += [
            f"{name} = {theirs[name]!r}; only {kinds[0]!r} is supported"
            for name, kinds in ONLY.items()
            if theirs.get(name, kinds[0]) not in kinds
        ]
        found = self._sizes()
        wrong += [
            f"{name} = {theirs[name]!r}, but the weights have {size}"
            for name, size in found.items()
            if theirs.get(name) is not None and theirs[name] != size
        ]
        if wrong:
            raise RunError(f"{path}: {'; '.join(wrong)}")
        values = {
            **{ours: theirs[name] for name, ours in SAME.items()},
            "d_ff": theirs.get("n_inner") or 0,
            "tie_embeddings": theirs.get("tie_word_embeddings", True),
            "dropout": theirs.get("resid_pdrop", 0.0),
            "head_bias": "lm_head.bias" in self.stored,
            "init": "gpt2",
        }
        try:
            return GPT2Config(**{**values, **settings})
        except (ConfigError, TypeError) as error:
            raise RunError(f"{path}: {error}") from error

    def _sizes(self) -> dict[str, int]:
        """The sizes that the weights themselves tell, by their names: no model is built of the size a damaged file claims."""
        sizes = {"n_layer": len({name.split(".")[1] for name in self.stored if name.startswith("h.")})}
        for name, axis, weight in (
            ("vocab_size", 0, "wte.weight"),
            ("n_embd", 1, "wte.weight"),
            ("n_positions", 0, "wpe.weight"),
            ("n_inner", 1, "h.0.mlp.c_fc.weight"),
        ):
            if weight not in self.stored or len(self.stored[weight].shape) != 2:
                raise RunError(f"{self.folder}: holds no matrix {weight}, so it is not a GPT-2")
            shape = self.stored[weight].shape
            sizes[name] = shape[1 - axis if self.is_int8 and int8.by_columns(weight) else axis]
        return sizes

    def weights(self, shapes: Shapes) -> dict[str, Array | int8.Rows]:
        """Every weight that a model needs, float32, or int8 as stored. Raises RunError that lists what is missing or misfits.

        Where their head is tied and ours is not, it is a copy; a head bias that they lack is zero. What they have beyond
        our need must be biases of zero, or a copy of a tied embedding.
        """
        if self.is_int8:
            return self._int8_weights(shapes)
        stored = {name: entry for name, entry in self.stored.items() if not (MASK.fullmatch(name) and name not in shapes)}
        source = {name: name for name in shapes if name in stored}
        if "lm_head.weight" in shapes and "lm_head.weight" not in stored and self.tied:
            source["lm_head.weight"] = "wte.weight"
        zeros = [name for name in shapes if name == "lm_head.bias" and name not in stored]
        wrong = [f"missing {name} {shape}" for name, shape in shapes.items() if name not in source and name not in zeros]
        for name, origin in source.items():
            entry = stored[origin]
            if entry.shape != tuple(shapes[name]):
                wrong.append(f"{origin} has shape {entry.shape}, needs {tuple(shapes[name])}")
        wrong += [
            f"{name} is {entry.dtype}, which is not among {', '.join(STORED_AS)}"
            for name, entry in stored.items()
            if entry.dtype not in STORED_AS
        ]
        for name in sorted(set(stored) - set(shapes)):
            if stored[name].dtype in STORED_AS and not self._spare(name, stored):
                wrong.append(f"unexpected {name} {stored[name].shape}")
        self._refuse(wrong)
        weights: dict[str, Array | int8.Rows] = {name: stored[origin].read() for name, origin in source.items()}
        return weights | {name: np.zeros(shapes[name], np.float32) for name in zeros}

    def _int8_weights(self, shapes: Shapes) -> dict[str, Array | int8.Rows]:
        needed: dict[str, tuple[str, tuple[int, ...]]] = {}
        for name, shape in shapes.items():
            rows = shape[::-1] if int8.by_columns(name) else shape
            needed |= (
                {name: ("I8", rows), int8.scale_of(name): ("F32", rows[:1])}
                if int8.is_matrix(name, shape)
                else {name: ("F32", shape)}
            )
        found = {name: (entry.dtype, entry.shape) for name, entry in self.stored.items()}
        wrong = [f"missing {name} {shape}" for name, (_, shape) in needed.items() if name not in found]
        wrong += [f"{name} is {found[name]}, needs {kind}" for name, kind in needed.items() if found.get(name, kind) != kind]
        self._refuse(wrong + [f"unexpected {name} {shape}" for name, (_, shape) in found.items() if name not in needed])
        return {
            name: int8.Rows(self.stored[name].read_codes(), self.stored[int8.scale_of(name)].read())
            if int8.is_matrix(name, shape)
            else self.stored[name].read()
            for name, shape in shapes.items()
        }

    def _refuse(self, wrong: list[str]) -> None:
        """Raise RunError that lists what is wrong, if anything is."""
        if wrong:
            more = f"; and {len(wrong) - MOST_SAID} more" if len(wrong) > MOST_SAID else ""
            raise RunError(f"{self.folder}: {'; '.join(wrong[:MOST_SAID])}{more}")

    def _spare(self, name: str, stored: Mapping[str, Stored]) -> bool:
        """Whether a model without this weight computes the same."""
        entry = stored[name]
        if name == "lm_head.weight" and "wte.weight" in stored:
            other = stored["wte.weight"]
            return entry.shape == other.shape and np.array_equal(entry.read(), other.read())
        return name.endswith("bias") and not entry.read().any()


def write_pretrained(
    folder: str | Path, config: GPT2Config, state: Mapping[str, Array], tokenizer: Tokenizer | None = None
) -> None:
    """Write a folder that `AutoModelForCausalLM` of transformers loads and, given a tokenizer, `AutoTokenizer` too.

    Their GPT-2 has no head bias, so one that is not zero becomes a part of the head's matrix: see `without_head_bias`. Ids
    from the tokenizer's `vocab_size` on stand for no token and are left out, so that they are never written. Raises RunError,
    before anything is written, for a run folder.

    Of int8 weights it is a folder that only `PretrainedFolder` reads: its config.json and its weights name another format.
    """
    check_no_run(Path(folder))
    if config.architecture != "gpt2":
        raise RunError(f"{folder}: Hugging Face's GPT-2 has no architecture {config.architecture!r}; gpt2.load reads the run")
    folder, tokens, end = Path(folder), config.vocab_size, 50256 if config.vocab_size == 50257 else None
    if tokenizer is not None:
        tokens, end = tokenizer.vocab_size, tokenizer.end_of_text
        if tokens > config.vocab_size:
            raise RunError(f"{folder}: the tokenizer has {tokens} tokens, the model only {config.vocab_size}")
    state = {name: array[:tokens] if name.startswith(("wte.", "lm_head.")) else array for name, array in state.items()}
    is_int8 = any(array.dtype == np.int8 for array in state.values())
    bias = None if is_int8 else state.pop("lm_head.bias", None)
    if bias is not None and bias.any():
        config = replace(config, tie_embeddings=False)
        state = {**state, **without_head_bias(state, bias)}
    weights = {name if name.startswith("lm_head.") else f"transformer.{name}": array for name, array in state.items()}
    for name, array in state.items():  # their layers always have biases
        bias_name = f"transformer.{name.removesuffix('weight')}bias"
        if name.startswith(("h.", "ln_f")) and name.endswith("weight") and bias_name not in weights:
            weights[bias_name] = np.zeros(array.shape[0 if is_int8 else -1], np.float32)
    about, kind = described(replace(config, vocab_size=tokens), end), {"n_head": str(config.num_heads)}
    if is_int8:
        about |= {"model_type": int8.MODEL_TYPE, "architectures": [], "dtype": "int8", "read_by": "gpt2 of tinygrad2"}
        kind |= {"format": int8.MODEL_TYPE}
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_weights(folder / "model.safetensors", weights, kind)
        write_atomically(folder / "config.json", (json.dumps(about, indent=2) + "\n").encode())
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)


def is_read_as_it_is(config: GPT2Config) -> bool:
    """Whether their GPT-2 has every weight of this model, by its name: only then may a run folder call itself theirs.

    An untied head beside names without `transformer.` was read as no head at all, before transformers 5.
    """
    return config.tie_embeddings and config.bias and not config.head_bias and config.architecture == "gpt2"


def described(config: GPT2Config, end_of_text: int | None) -> dict[str, Any]:
    """What their config.json says of a model without a head bias."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        **{name: kinds[0] for name, kinds in ONLY.items()},
        **{name: getattr(config, ours) for name, ours in SAME.items()},
        "n_ctx": config.max_seq_len,
        "n_inner": config.d_ff,
        "tie_word_embeddings": config.tie_embeddings,
        **dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), config.dropout),
        **dict.fromkeys(("bos_token_id", "eos_token_id"), end_of_text),
        "dtype": "float32",
    }


def without_head_bias(state: Mapping[str, Array], bias: Array) -> dict[str, Array]:
    """The weights of a last layer norm and a head without bias that give the same logits, W h + b, for any number of tokens.

    h = g * x + beta, where the entries of x have the mean 0. So h has the same component beta . v along v, the direction of
    1 / g, whatever the text: what the head has there is a bias. Let that component be 1; then a head without bias with
    W v + b - (1 - beta . v) W v in place of W v gives what W and b do. Where an entry of g is 0, v is its axis.
    """
    g, W = state["ln_f.weight"].astype(np.float64), state.get("lm_head.weight", state["wte.weight"]).astype(np.float64)
    beta = np.asarray(state.get("ln_f.bias", np.zeros(len(g))), np.float64)
    smallest = int(np.argmin(abs(g)))
    with np.errstate(invalid="ignore", over="ignore"):  # weights that are not finite are refused where they are written
        v = np.divide(g[smallest], g, out=np.zeros(len(g)), where=g != 0)
        v[smallest] = 1
        v /= np.linalg.norm(v)
        more = 1 - beta @ v
        W += np.outer(bias - more * (W @ v), v)
        return {"ln_f.bias": (beta + more * v).astype(np.float32), "lm_head.weight": W.astype(np.float32)}


def is_theirs(about: Mapping[str, Any]) -> bool:
    """Whether a config.json is Hugging Face's, and not that of a run folder."""
    return "model_type" in about and not is_run(about)


def _weights_of_run(folder: Path, config: GPT2Config) -> tuple[dict[str, Stored], dict[str, str]]:
    """What its model.safetensors holds. Raises RunError if there is none, a later checkpoint, or another config.json."""
    path = folder / "model.safetensors"
    if not os.path.lexists(path):
        raise RunError(f"{folder}: its training has not ended, so there is no {path.name}; gpt2.load takes the last checkpoint")
    stored, metadata = read_weights(path, must_be_ours=True)
    if metadata.get("config") != config.as_text():
        raise RunError(f"{folder / 'config.json'} is not the one {path} was saved with")
    names = ((folder / "checkpoints").glob("step-*.safetensors")) if metadata.get("step", "").isdecimal() else ()
    if later := [p.name for p in names if p.stem[5:].isdecimal() and int(p.stem[5:]) > int(metadata["step"])]:
        raise RunError(f"{folder}: its training went on to {max(later)}; gpt2.load takes the last checkpoint")
    return stored, metadata


def folder_of(name: str | Path) -> Path:
    """The folder of that name or, where there is none, the model of that name on Hugging Face's hub, downloaded."""
    folder = Path(name)
    if folder.is_dir():
        return folder
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(name)):
        raise RunError(f"{name}: no such folder")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise RunError(f"{name}: no such folder; to download a model by name: pip install 'tinygrad2[hub]'") from None
    try:
        return Path(snapshot_download(str(name), allow_patterns=["*.json", "*.safetensors", "merges.txt"]))
    except Exception as error:  # whatever went wrong in there, the user needs to know the name and the cause
        raise RunError(f"{name}: no such folder, and it cannot be downloaded: {error}") from error


def _all_weights(folder: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """What model.safetensors holds, or the shards that model.safetensors.index.json lists, and the metadata of one file."""
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if os.path.lexists(whole):
        return read_weights(whole)
    if not os.path.lexists(index):
        pickled = sorted(path.name for path in folder.glob("*.bin"))
        hint = f"; {pickled[0]} is a pickle, which can run code and is not read: convert it to safetensors" if pickled else ""
        raise RunError(f"{folder}: holds no model.safetensors{hint}")
    where = read_json(index).get("weight_map")
    if not isinstance(where, dict) or not all(isinstance(file, str) for file in where.values()):
        raise RunError(f"{index} is damaged: its weight_map does not name a file for every weight")
    stored: dict[str, Stored] = {}
    for file in sorted(set(where.values())):
        if Path(file).name != file:
            raise RunError(f"{index}: {file!r} is not a file of this folder")
        for name, entry in read_weights(folder / file)[0].items():
            if where.get(name) != file:
                raise RunError(f"{folder / file}: holds {name}, which {index.name} places in {where.get(name)!r}")
            stored[name] = entry
    missing = sorted(set(where) - set(stored))
    if missing:
        raise RunError(f"{index}: {where[missing[0]]} lacks {', '.join(missing)}")
    return stored, {}
