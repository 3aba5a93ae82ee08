"""SGD, Adam and AdamW. An optimizer says what it keeps per parameter and how one parameter takes one step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any

import numpy as np

from tinygrad2 import kernels
from tinygrad2.errors import DtypeError, ShapeError, TinygradError
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array


def listed(who: str, given: Any, what: str) -> list[Any]:
    """A list of what somebody was given. Raises TinygradError for a single tensor: the list would be of its rows."""
    if isinstance(given, (Tensor, np.ndarray)) or not isinstance(given, Iterable):
        raise TinygradError(f"{who}: {given!r:.60} is not a list of {what}; put it into one, as in [x]")
    return list(given)


class Optimizer:
    """Changes parameters from their gradients; one without a gradient is left alone.

    A subclass gives `slots`, the names of the arrays it keeps per parameter, and `apply_single`. `lr` may be set between steps;
    `steps` counts those taken, and `counts` those that each parameter has taken part in. The first step gives each parameter
    an array of its own, so that none is written to that somebody else holds; those that follow change it in place.

    Raises TinygradError where there is no parameter, or one of them twice.
    """

    slots: tuple[str, ...] = ()

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters: list[Tensor] = listed(type(self).__name__, parameters, "parameters")
        if not self.parameters:
            raise TinygradError(f"{type(self).__name__}: no parameters to optimise")
        first: dict[int, int] = {}
        for i, p in enumerate(self.parameters):
            if not isinstance(p, Tensor) or p.dtype.kind != "f":
                kind = p.dtype if isinstance(p, Tensor) else type(p).__name__
                raise TinygradError(f"{type(self).__name__}: parameter {i} is a {kind}; give Tensors of floating-point numbers")
            if first.setdefault(id(p), i) != i:
                raise TinygradError(
                    f"{type(self).__name__}: parameter {i}, of shape {p.shape}, is parameter {first[id(p)]} again, and would "
                    "move twice; give each one once"
                )
        self.lr = lr
        self.steps = 0
        self.state = [{name: np.zeros_like(p.data, order="C") for name in self.slots_of(p)} for p in self.parameters]
        self.arrays: list[Array | None] = [None] * len(self.parameters)  # those that may be written to

    def slots_of(self, p: Tensor) -> tuple[str, ...]:
        """The names of the arrays that are kept for a parameter."""
        return self.slots

    @property
    def steps(self) -> int:
        """How many steps were taken. Setting it says that every parameter has taken part in all of them."""
        return self._steps

    @steps.setter
    def steps(self, steps: int) -> None:
        self._steps, self.counts = steps, [steps] * len(self.parameters)

    def step(self, gradients: Sequence[Tensor | Array | None] | None = None, scale: float = 1.0) -> None:
        """Take one step along `scale` times the gradients (which saves clipping a pass over them).

        `gradients` has one per parameter, of its shape; without it they are what `backward()` has put into each `.grad`.
        Raises ShapeError or DtypeError, and changes nothing, where a gradient is missing in the list, is of another shape, or
        is not of real numbers, and where a parameter no longer fits what is kept for it.
        """
        if isinstance(gradients, Real):
            raise TinygradError(f"step: {gradients!r} is not a list of gradients; step(scale={gradients!r}) scales them")
        for name, number in (("scale", scale), ("lr", self.lr)):
            if not isinstance(number, Real) or not math.isfinite(number):
                raise TinygradError(f"step: {name}={number!r} is not a finite number")
        given = [p.grad for p in self.parameters] if gradients is None else listed("step", gradients, "gradients")
        if len(given) != len(self.parameters):
            raise ShapeError(f"step: {len(given)} gradients for {len(self.parameters)} parameters; give one for each, or None")
        arrays = [self._checked(i, g) for i, g in enumerate(given)]
        self._steps += 1

        def move(i: int) -> None:
            p, g = self.parameters[i], arrays[i]
            assert g is not None
            self.counts[i] += 1
            data = p.data if p.data is self.arrays[i] else np.array(p.data, order="C")
            flat = {name: array.reshape(-1) for name, array in self.state[i].items()}
            self.apply_single(data.reshape(-1), g.reshape(-1), flat, i=i, scale=scale)
            self.arrays[i] = p.data = data  # tells the graph that it has changed

        self.each([i for i, g in enumerate(arrays) if g is not None], move)

    def each(self, which: list[int], move: Callable[[int], None]) -> None:
        """Move the parameters of these places. Each is independent of the others."""
        for i in which:
            move(i)

    def _checked(self, i: int, given: Tensor | Array | None) -> Array | None:
        """The gradient of parameter `i` in the dtype of that."""
        if given is None:
            return None
        p, g = self.parameters[i], np.asarray(given.data if isinstance(given, Tensor) else given)
        if p.data is self.arrays[i] and (g.shape, g.dtype) == (p.shape, p.dtype):  # as in the step before
            return g
        if g.shape != p.shape:
            raise ShapeError(f"step: gradient {i} has shape {g.shape}, its parameter {p.shape}")
        if g.dtype.kind not in "fiub":
            raise DtypeError(f"step: gradient {i} is {g.dtype}; give real numbers")
        for name, array in self.state[i].items():
            if (array.shape, array.dtype) != (p.shape, p.dtype):
                raise ShapeError(
                    f"step: parameter {i} is {p.dtype} {p.shape}, and its {name} is {array.dtype} {array.shape}, as it was "
                    "when this optimizer was made; make a new one"
                )
        return g.astype(p.dtype, copy=False)

    def apply_single(self, p: Array, g: Array, state: dict[str, Array], *, i: int, scale: float) -> None:
        """Update the flat array `p` in place from its gradient, `scale` times `g`.

        It is that of `self.parameters[i]`, and `self.counts[i]` steps have it moved, this one included.
        """
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

    def apply_single(self, p: Array, g: Array, state: dict[str, Array], *, i: int, scale: float) -> None:
        velocity = state["velocity"]
        if self.momentum:
            velocity *= self.momentum
        else:  # 0 times infinity would stay as NaN
            velocity[...] = 0
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
        for i, p in enumerate(self.parameters):
            if not np.asarray(eps, p.dtype):
                raise TinygradError(
                    f"{type(self).__name__}: parameter {i} is {p.dtype}, in which eps={eps!r} is 0; use float32"
                )
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def apply_single(self, p: Array, g: Array, state: dict[str, Array], *, i: int, scale: float) -> None:
        count = self.counts[i]
        kernels.adamw(
            p,
            g,
            state["mean"],
            state["square"],
            step_size=self.lr / (1 - self.betas[0] ** count),
            betas=self.betas,
            eps=self.eps,
            shrink=1 - self.lr * self.weight_decay * (self.parameters[i].ndim >= 2),
            root=math.sqrt(1 - self.betas[1] ** count),
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
