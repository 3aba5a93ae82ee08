"""Functions of JAX, also with a rule of their own (`jax.custom_vjp`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np

from tinygrad2.containers import leaves, rebuilt
from tinygrad2.gradcheck.subject import Case, ContractError
from tinygrad2.types import Array

in_float64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64  # where it was before
BROKEN = ("Custom VJP bwd rule", "bwd rule")
"""What JAX says of a rule that gives something else than the cotangents of the inputs."""


class Jax:
    """A function of JAX's arrays, which is called and not compiled, in float64."""

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any]) -> None:
        self.f, self.like = f, dict(enumerate(inputs))
        self.leaves = leaves(self.like)
        self.checked = [
            (hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)) or isinstance(x, float) for x in self.leaves
        ]

    def flat(self, *given: Any) -> list[Any]:
        """The results for the inputs that are checked."""
        new = iter(given)
        placed = [next(new) if flag else x for x, flag in zip(self.leaves, self.checked, strict=True)]
        return jax.tree.leaves(self.f(*rebuilt(self.like, iter(placed)).values()))

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
        """A function whose gradient needs the second derivatives of this one: its gradients, in a random mixture."""

        def slope(*given: Any) -> Any:
            rng = np.random.default_rng(seed)
            outs, pullback = jax.vjp(self.flat, *(x for x, flag in zip(given, self.checked, strict=True) if flag))
            first = pullback([jnp.asarray(rng.standard_normal(out.shape), out.dtype) for out in outs])
            return sum(jnp.sum(jnp.sin(g) * rng.standard_normal(g.shape)) for g in first)

        return slope


def case(f: Any, inputs: Sequence[Any], names: list[str]) -> Case:
    """All floating-point inputs are checked; JAX's own are float32 unless asked for more, and are checked in float64 too."""
    subject = Jax(f, inputs)
    flags = list(zip(subject.leaves, names, subject.checked, strict=True))
    arrays = [np.array(x) for x, _, flag in flags if flag]
    others = {name: x for x, name, flag in flags if not flag}
    return Case(subject, arrays, [name for _, name, flag in flags if flag], others, deep=subject.slope)
