"""The hot kernels, compiled by numba for float32 that lies in one piece; the reference does everything else.

The machine code is kept on disk, so that only the first start compiles.
"""

from tinygrad2.kernels.fast.compiled.arithmetic import SPREADS
from tinygrad2.kernels.fast.compiled.attention import causal_attention, causal_attention_vjp
from tinygrad2.kernels.fast.compiled.gemm import product
from tinygrad2.kernels.fast.compiled.loops import (
    adamw,
    add,
    add_to_rows,
    column_sums,
    gelu,
    gelu_vjp,
    layer_norm,
    layer_norm_vjp,
    rotary,
    rotary_vjp,
    rounding,
    square_sum,
    to_gradients,
)
from tinygrad2.kernels.fast.compiled.writing import block, cached_attention, linear, scaled_linear
from tinygrad2.kernels.reference import (
    cross_entropy,
    linear_cross_entropy,
    linear_vjp,
    softmax,
    softmax_vjp,
)

COMPILED = True

__all__ = [
    "COMPILED",
    "SPREADS",
    "adamw",
    "add",
    "add_to_rows",
    "block",
    "cached_attention",
    "causal_attention",
    "causal_attention_vjp",
    "column_sums",
    "cross_entropy",
    "gelu",
    "gelu_vjp",
    "layer_norm",
    "layer_norm_vjp",
    "linear",
    "linear_cross_entropy",
    "linear_vjp",
    "product",
    "rotary",
    "rotary_vjp",
    "rounding",
    "scaled_linear",
    "softmax",
    "softmax_vjp",
    "square_sum",
    "to_gradients",
]
