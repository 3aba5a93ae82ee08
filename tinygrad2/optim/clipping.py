"""Clipping by global norm."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinygrad2 import kernels
from tinygrad2.errors import DtypeError, TinygradError
from tinygrad2.optim.optimizers import listed
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array


def grad_norm(gradients: Iterable[Tensor | Array | None]) -> float:
    """The Euclidean norm of all gradients together, as if they were one vector; None counts as 0.

    Raises TinygradError for a Parameter, since its gradient is meant and not its value, and DtypeError for complex numbers.
    """
    arrays = []
    for g in listed("grad_norm", gradients, "gradients"):
        if isinstance(g, Tensor) and g.requires_grad and g.node is not None and g.node.op is None:
            raise TinygradError("grad_norm takes gradients, and got a parameter: grad_norm(p.grad for p in parameters)")
        array = np.asarray(g.data if isinstance(g, Tensor) else 0.0 if g is None else g)
        if array.dtype.kind not in "fiub":
            raise DtypeError(f"grad_norm: a gradient is {array.dtype}; give real numbers")
        arrays.append(array)
    with np.errstate(over="ignore"):
        total = sum(map(_square_sum, arrays))
    if math.isfinite(total) and total:
        return math.sqrt(total)
    largest = max((float(np.abs(array.astype(np.float64)).max(initial=0)) for array in arrays), default=0.0)
    if not math.isfinite(largest) or not largest:
        return largest
    shares = (np.square(array.astype(np.float64) / largest) for array in arrays)  # the squares were too large or too small
    return largest * math.sqrt(sum(float(np.sum(share)) for share in shares))


def _square_sum(array: Array) -> float:
    flat = array.ravel(order="K")
    return kernels.square_sum(flat if flat.dtype in (np.float32, np.float64) else flat.astype(np.float64))


def clip_factor(norm: float, max_norm: float) -> float:
    """What gradients of this norm are multiplied by to be clipped: 1 up to `max_norm`, and where the norm is not finite.

    (Pascanu et al., 2013, algorithm 1; the factor is max_norm / (norm + 1e-6), as in PyTorch.)
    """
    return min(1.0, max_norm / (norm + 1e-6)) if math.isfinite(norm) else 1.0


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients down together so that their norm is at most `max_norm`; returns the norm before."""
    if not max_norm >= 0:
        raise TinygradError(f"clip_grad_norm: max_norm={max_norm!r} must not be negative")
    unique = {id(p): p for p in listed("clip_grad_norm", parameters, "parameters")}.values()
    norm = grad_norm(p.grad for p in unique)
    factor = clip_factor(norm, max_norm)
    for p in unique if factor < 1 else ():
        if p.grad is not None:
            p.grad = Tensor(p.grad.data * factor)  # not in place: others may hold the array
    return norm
