"""The hot kernels, compiled by numba for float32 that lies in one piece; the reference does everything else.

The machine code is kept on disk, so that only the first start compiles.
"""

from tinygrad2.kernels import products
from tinygrad2.kernels.compiled.attention import causal_attention, causal_attention_vjp
from tinygrad2.kernels.compiled.loops import (
    adamw,
    cross_entropy,
    gelu,
    gelu_vjp,
    layer_norm,
    layer_norm_vjp,
    linear_cross_entropy,
    rounding,
)
from tinygrad2.kernels.reference import cached_attention, linear, linear_vjp, scale, softmax, softmax_vjp, square_sum

__all__ = [
    "adamw",
    "cached_attention",
    "causal_attention",
    "causal_attention_vjp",
    "cross_entropy",
    "gelu",
    "gelu_vjp",
    "layer_norm",
    "layer_norm_vjp",
    "linear",
    "linear_cross_entropy",
    "linear_vjp",
    "scale",
    "softmax",
    "softmax_vjp",
    "square_sum",
]

products.rounding = rounding
