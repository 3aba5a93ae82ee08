"""Modules: layers with named parameters, and how their weights start."""

from tinygrad2.nn import init
from tinygrad2.nn.attention import KVCache, MultiHeadAttention
from tinygrad2.nn.dropout import Dropout, dropout_rng
from tinygrad2.nn.feed_forward import FeedForward
from tinygrad2.nn.layers import Embedding, LayerNorm, Linear
from tinygrad2.nn.module import Module, Parameter

__all__ = [
    "Dropout",
    "Embedding",
    "FeedForward",
    "KVCache",
    "LayerNorm",
    "Linear",
    "Module",
    "MultiHeadAttention",
    "Parameter",
    "dropout_rng",
    "init",
]
