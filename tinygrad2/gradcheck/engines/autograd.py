"""Functions that are written with HIPS autograd, also with a rule of their own (`autograd.extend.defvjp`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np

from tinygrad2.containers import leaves
from tinygrad2.gradcheck.engines.calls import Calls
from tinygrad2.gradcheck.subject import Case
from tinygrad2.types import Array


class Autograd(Calls):
    """A function of NumPy's arrays, and of the boxes that autograd hands it in their place."""

    def value(self, inputs: list[Array]) -> list[Any]:
        """The results."""
        self.inputs = [a.copy() for a in inputs]
        self.pullback: Callable[..., Any] | None = None
        return leaves(self.called(inputs))

    def pull(self, cotangents: list[Array]) -> list[Any]:
        """What `autograd.make_vjp` gives."""
        if self.pullback is None:
            self.pullback = autograd.make_vjp(self.in_one)(tuple(self.inputs))[0]
        return list(
            self.pullback(cotangents[0] if len(cotangents) == 1 else np.concatenate([g.reshape(-1) for g in cotangents]))
        )

    def in_one(self, given: Any) -> Any:
        """All results in one array, as autograd can differentiate it."""
        parts = leaves(self.called(given))
        return anp.concatenate([anp.reshape(part, -1) for part in parts]) if len(parts) > 1 else parts[0]


def case(f: Any, inputs: Sequence[Any], names: list[str]) -> Case:
    """All floating-point inputs are checked."""
    return Autograd(f, inputs, lambda x: np.asarray(x).dtype.kind == "f").case(names)
