"""Weights as 8-bit integers: rows with a scale each, for writing.

A token reads every weight once and computes little with it. So a quarter of the bytes is nearly a quarter of the time.
Matrices become int8, the token embedding among them; layer norms, biases and positions stay float32.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from gpt2.errors import ConfigError, NonFiniteError, RunError
from tinygrad2 import Tensor, kernels, nn, ops
from tinygrad2.errors import GraphError
from tinygrad2.types import Array

M = TypeVar("M", bound=nn.Module)
MODEL_TYPE = "gpt2-int8"
"""What config.json says it is: a program that does not know it refuses it, and does not take it for weights it lacks."""
LEAST = np.finfo(np.float32).tiny
"""The smallest scale: numbers below it have fewer digits. Rows that would need a smaller one are 0."""


class Rows(NamedTuple):
    """A matrix by rows, one for each output: `codes` (N, K) int8, and what each row of them is times, `scale` (N) float32."""

    codes: Array
    scale: Array

    @classmethod
    def of(cls, name: str, matrix: Array) -> Rows:
        """A matrix (N, K), each entry within half a scale of what it was; a scale is the row's largest entry / 127.

        Raises NonFiniteError for a NaN or an infinity.
        """
        largest = np.maximum(matrix.max(axis=1, initial=0), -matrix.min(axis=1, initial=0))
        if not np.isfinite(largest).all():
            raise NonFiniteError(f"{name} has entries that are NaN or infinite, in row {np.argmin(np.isfinite(largest))}")
        scale = (largest / 127).astype(np.float32)
        scale[scale < LEAST] = 0
        over = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
        return cls(np.rint(matrix * over[:, None]).astype(np.int8), scale)


class Int8Linear(nn.Module):
    """x times the rows, + b: (..., K) -> (..., N); or, as a head, the mean cross-entropy of `targets`. It has no gradient."""

    def __init__(self, rows: Rows, bias: nn.Parameter | None = None) -> None:
        self.rows, self.bias = rows, bias

    def forward(self, x: Tensor, targets: Any = None) -> Tensor:
        if x.requires_grad:
            raise GraphError("int8 weights have no gradient: compute inside no_grad(), and train the float32 model")
        out = Tensor(kernels.scaled_linear(x.data, *self.rows, None if self.bias is None else self.bias.data))
        return out if targets is None else ops.cross_entropy(out, targets)


class Int8Embedding(nn.Module):
    """The rows of some ids: (...) -> (..., K)."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def forward(self, ids: Any) -> Tensor:
        codes, scale = (ops.embedding(part, ids) for part in (self.rows.codes, self.rows.scale[:, None]))
        return Tensor(codes * scale)


def is_matrix(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a parameter becomes int8."""
    return len(shape) == 2 and name != "wpe.weight"


def by_columns(name: str) -> bool:
    """Whether a matrix has a column for each output, as the layers of the blocks have."""
    return name.startswith("h.")


def scale_of(name: str) -> str:
    """The name of the scales of a matrix."""
    return f"{name.removesuffix('weight')}scale"


def quantized(model: M) -> M:
    """The same model with int8 matrices, for writing and evaluation, in evaluation mode; what stays float32 is shared.

    Raises NonFiniteError for weights that are not finite, naming the first, and ConfigError for another architecture.
    """
    kind = cast(Any, model).config.architecture
    if kind != "gpt2":
        raise ConfigError(f"int8 weights are for the architecture gpt2; this model is {kind!r}: leave --weights out")
    out = copy.deepcopy(model, {id(p): p for p in model.parameters()}).eval()
    for name, p in model.named_parameters():
        if is_matrix(name, p.shape):
            put(out, name, Rows.of(name, p.data.T if by_columns(name) else p.data))
    return out


def put(model: Any, name: str, rows: Rows) -> None:
    """Let these rows take the place of the parameter of that name."""
    path = name.removesuffix(".weight")
    if path == "wte":
        model.wte = Int8Embedding(rows)
    if path == "lm_head" or (path == "wte" and model.config.tie_embeddings):
        model.lm_head = Int8Linear(rows, model.lm_head.bias)
    if by_columns(name):
        above, _, last = path.rpartition(".")
        layer = dict(model.named_modules())[above]
        setattr(layer, last, Int8Linear(rows, getattr(layer, last).bias))


def state(model: nn.Module) -> dict[str, Array]:
    """The arrays of all parameters by name, as `state_dict` has them, and the codes and the scales of int8 ones."""
    found, listed = model.state_dict(), list[Rows]()
    for path, part in model.named_modules():
        if isinstance(part, Int8Linear | Int8Embedding) and all(part.rows is not rows for rows in listed):
            listed.append(part.rows)
            found[f"{path}.weight"], found[f"{path}.scale"] = part.rows
    return found


def to_train(model: nn.Module, folder: str) -> dict[str, Array]:
    """The weights of a model that a training begins with. Raises RunError for int8 ones."""
    if is_int8(model):
        raise RunError(f"--init-from {folder}: its weights are int8, which cannot be trained; give the float32 model")
    return model.state_dict()


def is_int8(model: nn.Module) -> bool:
    """Whether a model has int8 weights."""
    return any(isinstance(part, Int8Linear) for part in model.modules())
