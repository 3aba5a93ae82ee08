"""A block of a GPT-2 for a few new tokens, as one call of a kernel: recording nothing, it does not wait for the recorder."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpt2.weights.int8 import Int8Linear
from tinygrad2 import Tensor, autograd, kernels, nn
from tinygrad2.kernels.reference import FEW, Layer
from tinygrad2.observer import observing
from tinygrad2.types import Array

LAYERS = nn.Linear, Int8Linear


def is_plain(block: Any, x: Tensor, cache: nn.KVCache) -> bool:
    """Whether nothing is wanted of a block but what it computes for a few positions, and it is made of layers known here."""
    B, _, room, _ = cache.keys.shape
    if x.ndim != 3 or len(x) != B or not 0 < B * x.shape[1] <= FEW or cache.length + x.shape[1] > room:
        return False  # among them what is refused, with what there is to say of it
    if autograd.is_recording() or observing() is not None or (block.mlp.dropout.training and block.mlp.dropout.p):
        return False
    layers = block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj
    inner = block.ln_1, block.ln_2, block.attn, block.mlp
    kinds = nn.LayerNorm, nn.LayerNorm, nn.MultiHeadAttention, nn.FeedForward
    known = all(type(layer) in LAYERS for layer in layers) and tuple(map(type, inner)) == kinds
    return known and not any(module._forward_hooks for module in (*layers, *inner, block.mlp.dropout))


def step(block: Any, x: Tensor, cache: nn.KVCache) -> Tensor:
    """x (B, T, C) after the block, whose keys and values are kept from now on."""
    norms = [norm for layer in (block.ln_1, block.ln_2) for norm in (layer.weight.data, _shift(layer))]
    layers = [_rows(one) for one in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj)]
    out = kernels.block(x.data, norms, block.ln_1.eps, layers, cache.keys, cache.values, cache.length)
    cache.length += x.shape[1]
    return Tensor(out)


def _shift(norm: nn.LayerNorm) -> Array:
    return np.zeros_like(norm.weight.data) if norm.bias is None else norm.bias.data


def _rows(layer: Any) -> Layer:
    bias = None if layer.bias is None else layer.bias.data
    return (*layer.rows, bias) if isinstance(layer, Int8Linear) else (layer.weight.data.T, None, bias)
