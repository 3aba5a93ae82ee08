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


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients down together so that their norm is at most `max_norm`; returns the norm before.

    (Pascanu et al., 2013, algorithm 1; the factor is max_norm / (norm + 1e-6), as in PyTorch.) Gradients whose norm is not
    finite are left as they are.
    """
    parameters = list(parameters)
    norm = grad_norm(parameters)
    factor = max_norm / (norm + 1e-6)
    if factor < 1 and math.isfinite(norm):
        for p in parameters:
            if p.grad is not None:
                kernels.scale(p.grad.data.ravel(order="K"), factor)
    return norm
