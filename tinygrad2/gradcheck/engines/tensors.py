"""Functions of this package's Tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from tinygrad2 import autograd
from tinygrad2.containers import leaves, rebuilt
from tinygrad2.errors import DtypeError
from tinygrad2.gradcheck.engines.calls import mixed
from tinygrad2.gradcheck.subject import Case, apart
from tinygrad2.tensor import Tensor
from tinygrad2.transforms import in_one
from tinygrad2.types import Array


class Tensors:
    """A function of Tensors, whose arrays are changed in place."""

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any]) -> None:
        like = dict(enumerate(inputs))

        def flat(*tensors: Tensor) -> Tensor:
            return in_one("gradcheck", f(*rebuilt(like, iter(tensors)).values()))

        self.f = flat
        self.tensors = [_leaf(x, i) for i, x in enumerate(leaves(like))]
        once = {id(x): x.data for x in self.tensors}
        arrays = dict(zip(once, apart(list(once.values())), strict=True))
        self.arrays = [arrays[id(x)] for x in self.tensors]

    def value(self, inputs: list[Array]) -> list[Array]:
        """The result; at arrays of another dtype than their own, nothing is recorded."""
        before = [x.data for x in self.tensors]
        own = all(a.dtype == np.float64 for a in inputs)
        try:
            for x, a in zip(self.tensors, inputs, strict=True):  # they get their old arrays back, so no graph needs to know
                x._array = a
            with nullcontext() if own else autograd.no_grad():
                self.out = self.f(*self.tensors)
            return [self.out.data]
        finally:
            for x, a in zip(self.tensors, before, strict=True):
                x._array = a

    def pull(self, cotangents: list[Array]) -> list[Array]:
        """The gradients."""
        return [g.data for g in gradients(self.out, self.tensors, cotangents)]

    def recorded_alike(self, seed: int) -> bool:
        """Whether gradients are the same with `create_graph`, where fused ops go through their specifications."""
        g = np.random.default_rng(seed).standard_normal(self.f(*self.tensors).shape)
        found = (gradients(self.f(*self.tensors), self.tensors, [g], create_graph=again) for again in (False, True))
        pairs = [(a.data, b.data) for a, b in zip(*found, strict=True)]
        return all(np.allclose(a, b, rtol=1e-6, atol=1e-9 * np.abs(a).max(initial=0), equal_nan=True) for a, b in pairs)

    def slope(self, seed: int) -> Callable[..., Tensor]:
        """What order=2 checks."""

        def linked(*tensors: Tensor) -> tuple[list[Tensor], Callable[..., Any]]:
            out = self.f(*tensors)
            return [out], lambda cotangents: gradients(out, list(tensors), cotangents, create_graph=True)

        return mixed(seed, linked, np.sin, lambda a, like: a)


def gradients(out: Tensor, tensors: list[Tensor], cotangents: list[Array], create_graph: bool = False) -> list[Tensor]:
    """Of one result; zeros for an input that has no part in it."""
    found: list[Any] = [None] * len(tensors)
    if out.requires_grad or not autograd.is_recording():  # which is an error
        found = autograd.grad([out], tensors, cotangents, create_graph=create_graph, retain_graph=True, allow_unused=True)
    return [Tensor(np.zeros(x.shape)) if g is None else g for g, x in zip(found, tensors, strict=True)]


def _leaf(x: Any, i: int) -> Tensor:
    if not isinstance(x, Tensor):
        return Tensor(np.array(x, np.float64), requires_grad=True)
    if x.dtype != np.float64 or not x.requires_grad:
        state = f"{x.dtype}{'' if x.requires_grad else ' without requires_grad'}"
        raise DtypeError(
            f"gradcheck: input {i} is {state}; finite differences need float64: model.to(np.float64), or pass the array"
        )
    return x


def case(f: Callable[..., Any], inputs: Sequence[Any], names: list[str]) -> Case:
    """Of Tensors, of anything Tensor takes, and of containers of these."""
    subject = Tensors(f, inputs)
    names = names if len(names) == len(subject.tensors) else [f"input {i}" for i in range(len(subject.tensors))]
    return Case(subject, subject.arrays, names, deep=subject.slope)
