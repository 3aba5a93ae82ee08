"""Every op: a forward and a vector-Jacobian product in plain NumPy. Importing this fills the table of rules."""

from tinygrad2.ops import (  # noqa: F401  (reached through NumPy's functions)
    composed,
    curves,
    linalg,
    missing,
    moved,
    norms,
    order,
    padding,
)
from tinygrad2.ops.arithmetic import dropout
from tinygrad2.ops.functions import erf, gelu_erf, relu, sigmoid, silu, softplus
from tinygrad2.ops.fused import causal_attention, cross_entropy, gelu, layer_norm, linear, linear_cross_entropy, rotary, softmax
from tinygrad2.ops.indexing import GetItem, embedding, gather, take
from tinygrad2.ops.op import RULES, Fused, Op, primitive
from tinygrad2.ops.products import matmul
from tinygrad2.ops.reductions import log_softmax, logsumexp
from tinygrad2.types import Array

__all__ = [
    "RULES",
    "Array",
    "Fused",
    "GetItem",
    "Op",
    "causal_attention",
    "cross_entropy",
    "dropout",
    "embedding",
    "erf",
    "gather",
    "gelu",
    "gelu_erf",
    "layer_norm",
    "linear",
    "linear_cross_entropy",
    "log_softmax",
    "logsumexp",
    "matmul",
    "primitive",
    "relu",
    "rotary",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "take",
]
