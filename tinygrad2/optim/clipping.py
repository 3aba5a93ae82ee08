"""Clipping by global norm."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinygrad2 import kernels
from tinygrad2.errors import TinygradError
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array


def grad_norm(gradients: Iterable[Tensor | Array | None]) -> float:
    """The Euclidean norm of all gradients together, as if they were one vector; None counts as 0.

    Raises TinygradError for a Parameter: its gradient is meant, and not its value.
    """
    total = 0.0
    for g in gradients:
        if isinstance(g, Tensor):
            if g.requires_grad and g.node is not None and g.node.op is None:
                raise TinygradError("grad_norm takes gradients, and got a parameter: grad_norm(p.grad for p in parameters)")
            g = g.data
        if g is not None:
            flat = g.ravel(order="K")
            total += kernels.square_sum(flat if flat.dtype in (np.float32, np.float64) else flat.astype(np.float64))
    return math.sqrt(total)


def clip_factor(norm: float, max_norm: float) -> float:
    """What gradients of this norm are multiplied by to be clipped: 1 up to `max_norm`, and where the norm is not finite.

    (Pascanu et al., 2013, algorithm 1; the factor is max_norm / (norm + 1e-6), as in PyTorch.)
    """
    return min(1.0, max_norm / (norm + 1e-6)) if math.isfinite(norm) else 1.0


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients down together so that their norm is at most `max_norm`; returns the norm before."""
    parameters = list(parameters)
    norm = grad_norm(p.grad for p in parameters)
    factor = clip_factor(norm, max_norm)
    for p in parameters if factor < 1 else ():
        if p.grad is not None:
            p.grad.data = p.grad.data * factor  # not in place: somebody may have lent the array
    return norm
