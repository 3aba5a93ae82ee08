"""Clipping by global norm."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tinygrad2 import kernels
from tinygrad2.tensor import Tensor


def grad_norm(parameters: Iterable[Tensor]) -> float:
    """The Euclidean norm of all gradients together, as if they were one vector."""
    total = 0.0
    for p in parameters:
        if p.grad is not None:
            total += kernels.square_sum(p.grad.data.ravel(order="K"))
    return math.sqrt(total)


def clip_factor(norm: float, max_norm: float) -> float:
    """What gradients of this norm are multiplied by to be clipped: 1 up to `max_norm`, and where the norm is not finite.

    (Pascanu et al., 2013, algorithm 1; the factor is max_norm / (norm + 1e-6), as in PyTorch.)
    """
    return min(1.0, max_norm / (norm + 1e-6)) if math.isfinite(norm) else 1.0


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients down together so that their norm is at most `max_norm`; returns the norm before."""
    parameters = list(parameters)
    norm = grad_norm(parameters)
    factor = clip_factor(norm, max_norm)
    for p in parameters if factor < 1 else ():
        if p.grad is not None:
            p.grad.data *= factor
    return norm
