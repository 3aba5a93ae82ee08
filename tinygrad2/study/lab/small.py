"""A GPT-2 of one block, small enough that every number of it fits on the page of the lab."""

from __future__ import annotations

import numpy as np

from tinygrad2.types import Array

WORDS = ("to", "be", "or", "not")
"""The vocabulary. From the first three the model is to predict the last three."""

TITLE = "A small GPT-2"
ABOUT = f"one block of width 8 with two heads; after {', '.join(WORDS[:3])} comes {', '.join(WORDS[1:])}"

STEPS = (
    "x = embedding(wte, [0, 1, 2]) + wpe",
    "qkv = linear(layer_norm(x, gain_1, bias_1), w_qkv, b_qkv)",
    "x = x + linear(causal_attention(qkv, heads=2), w_proj, b_proj)",
    "hidden = gelu(linear(layer_norm(x, gain_2, bias_2), w_up, b_up))",
    "x = x + linear(hidden, w_down, b_down)",
    "linear_cross_entropy(layer_norm(x, gain_f, bias_f), wte, None, [1, 2, 3])",
)
"""From three tokens to the loss. The head is tied to the embedding."""

SHAPES = {
    "wte": (4, 8),
    "wpe": (3, 8),
    "w_qkv": (8, 24),
    "w_proj": (8, 8),
    "w_up": (8, 16),
    "w_down": (16, 8),
    **{f"b_{name}": (n,) for name, n in {"qkv": 24, "proj": 8, "up": 16, "down": 8}.items()},
    **{f"{name}_{place}": (8,) for place in ("1", "2", "f") for name in ("gain", "bias")},
}


def parameters(rng: np.random.Generator) -> dict[str, Array]:
    """As if some steps had been taken: nothing is all zeros or all ones."""
    found = {}
    for name, shape in SHAPES.items():
        scale = shape[0] ** -0.5 if name.startswith("w_") else 1.0 if name.startswith("w") else 0.1
        found[name] = scale * rng.standard_normal(shape) + (1.0 if name.startswith("gain") else 0.0)
    return found
