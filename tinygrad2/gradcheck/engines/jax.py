"""Functions of JAX, also with a rule of their own (`jax.custom_vjp`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np

from tinygrad2.gradcheck.engines.calls import Calls, mixed
from tinygrad2.gradcheck.subject import Case, ContractError
from tinygrad2.types import Array

in_float64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64  # where it was before
BROKEN = ("Custom VJP bwd rule", "bwd rule")
"""What JAX says of a rule that gives something else than the cotangents of the inputs."""


class Jax(Calls):
    """A function of JAX's arrays, which is called and not compiled, in float64."""

    def flat(self, *given: Any) -> list[Any]:
        """The results for the inputs that are checked."""
        return jax.tree.leaves(self.called(given))

    def value(self, inputs: list[Array]) -> list[Any]:
        """The results as NumPy has them."""
        self.inputs = [a.copy() for a in inputs]
        self.pullback: Callable[..., Any] | None = None
        with in_float64(True):
            return [np.asarray(out) for out in self.flat(*map(jnp.asarray, inputs))]

    def pull(self, cotangents: list[Array]) -> list[Array]:
        """What `jax.vjp` gives."""
        with in_float64(True):
            try:
                if self.pullback is None:
                    _, self.pullback = jax.vjp(self.flat, *map(jnp.asarray, self.inputs))
                return [np.asarray(g) for g in self.pullback([jnp.asarray(g) for g in cotangents])]
            except (TypeError, ValueError) as error:
                if any(words in str(error) for words in BROKEN):
                    raise ContractError(" ".join(str(error).split())[:300]) from error
                raise

    def slope(self, seed: int) -> Callable[..., Any]:
        """What order=2 checks."""
        return mixed(
            seed, lambda *given: jax.vjp(self.flat, *self.picked(given)), jnp.sin, lambda a, like: jnp.asarray(a, like.dtype)
        )


def case(f: Any, inputs: Sequence[Any], names: list[str]) -> Case:
    """All floating-point inputs are checked; JAX's own are float32 unless asked for more, and are checked in float64 too."""
    subject = Jax(f, inputs, lambda x: isinstance(x, float) or jnp.issubdtype(getattr(x, "dtype", int), jnp.floating))
    return subject.case(names, deep=subject.slope)
