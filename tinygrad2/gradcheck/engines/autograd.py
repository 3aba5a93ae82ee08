"""Functions that are written with HIPS autograd, also with a rule of their own (`autograd.extend.defvjp`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np

from tinygrad2.containers import leaves, rebuilt
from tinygrad2.gradcheck.subject import Case
from tinygrad2.types import Array


class Autograd:
    """A function of NumPy's arrays, and of the boxes that autograd hands it in their place."""

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any]) -> None:
        self.f, self.like = f, dict(enumerate(inputs))
        self.leaves = leaves(self.like)
        self.checked = [np.asarray(x).dtype.kind == "f" for x in self.leaves]

    def arguments(self, given: Sequence[Any]) -> list[Any]:
        """All inputs of the function, from those that are checked."""
        new = iter(given)
        placed = [next(new) if flag else x for x, flag in zip(self.leaves, self.checked, strict=True)]
        return list(rebuilt(self.like, iter(placed)).values())

    def value(self, inputs: list[Array]) -> list[Any]:
        """The results."""
        self.inputs = [a.copy() for a in inputs]
        self.pullback: Callable[..., Any] | None = None
        return leaves(self.f(*self.arguments(inputs)))

    def pull(self, cotangents: list[Array]) -> list[Any]:
        """What `autograd.make_vjp` gives."""
        if self.pullback is None:
            self.pullback = autograd.make_vjp(self.in_one)(tuple(self.inputs))[0]
        return list(
            self.pullback(cotangents[0] if len(cotangents) == 1 else np.concatenate([g.reshape(-1) for g in cotangents]))
        )

    def in_one(self, given: Any) -> Any:
        """All results in one array, as autograd can differentiate it."""
        parts = leaves(self.f(*self.arguments(given)))
        return anp.concatenate([anp.reshape(part, -1) for part in parts]) if len(parts) > 1 else parts[0]


def case(f: Any, inputs: Sequence[Any], names: list[str]) -> Case:
    """All floating-point inputs are checked."""
    subject = Autograd(f, inputs)
    flags = list(zip(subject.leaves, names, subject.checked, strict=True))
    arrays = [np.array(x) for x, _, flag in flags if flag]
    others = {name: x for x, name, flag in flags if not flag}
    return Case(subject, arrays, [name for _, name, flag in flags if flag], others)
