"""SGD, Adam and AdamW. An optimizer says what it keeps per parameter and how one parameter takes one step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from tinygrad2 import kernels
from tinygrad2.errors import ShapeError, TinygradError
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array


class Optimizer:
    """Changes parameters in place from their gradients; one without a gradient is left alone.

    A subclass gives `slots`, the names of the arrays it keeps per parameter, and `apply_single`.
    `lr` may be set between steps; `steps` counts those taken.
    """

    slots: tuple[str, ...] = ()

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters = list(parameters)
        if not self.parameters:
            raise TinygradError(f"{type(self).__name__}: no parameters to optimise")
        self.lr = lr
        self.steps = 0
        self.state = [{name: np.zeros_like(p.data, order="C") for name in self.slots} for p in self.parameters]

    def step(self, gradients: Sequence[Tensor | Array | None] | None = None, scale: float = 1.0) -> None:
        """Take one step along `scale` times the gradients (which saves clipping a pass over them).

        `gradients` has one per parameter, of its shape; without it they are what `backward()` has put into each `.grad`.
        Raises ShapeError, and changes nothing, where a gradient is missing in the list or of another shape.
        """
        if isinstance(gradients, (int, float)):
            raise TinygradError(f"step: {gradients!r} is no list of gradients; step(scale={gradients!r}) scales them")
        given = [p.grad for p in self.parameters] if gradients is None else list(gradients)
        if len(given) != len(self.parameters):
            raise ShapeError(f"step: {len(given)} gradients for {len(self.parameters)} parameters; give one for each, or None")
        arrays = [g.data if isinstance(g, Tensor) else g for g in given]
        for i, (p, g) in enumerate(zip(self.parameters, arrays, strict=True)):
            if g is not None and g.shape != p.shape:
                raise ShapeError(f"step: gradient {i} has shape {g.shape}, its parameter {p.shape}")
        self.steps += 1
        for p, g, state in zip(self.parameters, arrays, self.state, strict=True):
            if g is None:
                continue
            data = np.asarray(p.data, order="C")  # so that the flat view below is a view
            flat = {name: array.reshape(-1) for name, array in state.items()}
            self.apply_single(data.reshape(-1), g.reshape(-1), flat, matrix=p.ndim >= 2, scale=scale)
            p.data = data  # tells the graph that it has changed

    def apply_single(self, p: Array, g: Array, state: dict[str, Array], matrix: bool, scale: float) -> None:
        """Update the flat array `p` in place from its gradient, `scale` times `g`; `matrix`: it had two axes or more."""
        raise TypeError(f"{type(self).__name__} has no apply_single(); an Optimizer must define one")

    def zero_grad(self) -> None:
        """Forget every gradient."""
        for p in self.parameters:
            if p.requires_grad:
                p.grad = None


class SGD(Optimizer):
    """p -= lr * u, with u = momentum * u + g (no momentum: u = g)."""

    slots = ("velocity",)

    def __init__(self, parameters: Iterable[Tensor], lr: float = 1e-2, momentum: float = 0.0) -> None:
        super().__init__(parameters, lr)
        self.momentum = momentum

    def apply_single(self, p: Array, g: Array, state: dict[str, Array], matrix: bool, scale: float) -> None:
        velocity = state["velocity"]
        velocity *= self.momentum
        velocity += g if scale == 1 else scale * g
        p -= self.lr * velocity


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019, algorithm 2), bias-corrected.

    m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p = p - lr * (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay * p).
    Only parameters with two axes or more decay: gains and biases do not.
    """

    slots = ("mean", "square")

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, lr)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def apply_single(self, p: Array, g: Array, state: dict[str, Array], matrix: bool, scale: float) -> None:
        kernels.adamw(
            p,
            g,
            state["mean"],
            state["square"],
            step_size=self.lr / (1 - self.betas[0] ** self.steps),
            betas=self.betas,
            eps=self.eps,
            shrink=1 - self.lr * self.weight_decay * matrix,
            root=math.sqrt(1 - self.betas[1] ** self.steps),
            scale=scale,
        )


class Adam(AdamW):
    """Adam without weight decay (Kingma & Ba, 2015, algorithm 1)."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay=0.0)
