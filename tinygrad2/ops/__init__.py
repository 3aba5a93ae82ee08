"""Every op: a forward and a vector-Jacobian product in plain NumPy. Importing this fills the table of rules."""

from tinygrad2.ops.elementwise import dropout
from tinygrad2.ops.fused import causal_attention, cross_entropy, gelu, layer_norm, linear, softmax
from tinygrad2.ops.indexing import GetItem, embedding
from tinygrad2.ops.linalg import matmul
from tinygrad2.ops.op import RULES, Array, Fused, Op
from tinygrad2.ops.reductions import *  # noqa: F403  (reached through np.sum and its kin)
from tinygrad2.ops.shape import *  # noqa: F403  (reached through np.reshape and its kin)

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
    "gelu",
    "layer_norm",
    "linear",
    "matmul",
    "softmax",
]
