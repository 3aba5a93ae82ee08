"""How large the gradients of a step are, and how large its update."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gpt2.model import GPT2
from tinygrad2.types import Array


def norms_by_layer(model: GPT2, gradients: Sequence[Array]) -> dict[str, float]:
    """The norm of the gradient of each module of parameters: `wte`, `h.0`, ..."""
    norms: dict[str, float] = {}
    for (name, _), g in zip(model.named_parameters(), gradients, strict=True):
        part = ".".join(name.split(".")[: 2 if name.startswith("h.") else 1])
        norms[part] = math.hypot(norms.get(part, 0.0), float(np.linalg.norm(g.ravel(order="K"))))
    return {part: round(norm, 6) for part, norm in norms.items()}


def matrices(model: GPT2) -> dict[str, Array]:
    """A copy of each parameter of two axes."""
    return {name: p.data.copy() for name, p in model.named_parameters() if p.ndim == 2}


def update_ratios(model: GPT2, before: dict[str, Array]) -> dict[str, float]:
    """By matrix: log10 of std(update) / std(parameter). About -3 is healthy (Karpathy, "makemore", 3)."""
    ratios = {}
    for name, p in model.named_parameters():
        if name in before:
            change, size = float((p.data - before[name]).std()), float(before[name].std())
            ratios[name] = round(math.log10(change / size), 4) if change and size else -math.inf
    return ratios
