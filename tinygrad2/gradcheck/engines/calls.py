"""A function of somebody's arrays, called with other numbers in the places of those that are checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad2.containers import entries, leaves, rebuilt
from tinygrad2.gradcheck.subject import Case
from tinygrad2.types import Array


class Calls:
    """What the engines have in common whose functions are called with the inputs as they were given."""

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any], is_checked: Callable[[Any], bool]) -> None:
        self.f, self.like = f, dict(enumerate(inputs))
        self.leaves = leaves(self.like)
        self.checked = [is_checked(x) for x in self.leaves]
        self.plain = all(x is not None and entries(x) is None for x in inputs)  # they are their own leaves

    def picked(self, given: Sequence[Any], flag: bool = True) -> list[Any]:
        """Of one thing for each leaf those of the leaves that are checked, or of the others."""
        return [x for x, checked in zip(given, self.checked, strict=True) if checked == flag]

    def called(self, given: Sequence[Any]) -> Any:
        """What the function gives for other numbers in the places of those that are checked."""
        new = iter(given)
        placed = [next(new) if flag else x for x, flag in zip(self.leaves, self.checked, strict=True)]
        return self.f(*(placed if self.plain else rebuilt(self.like, iter(placed)).values()))

    def arrays(self) -> list[Array]:
        """All that is checked, in new arrays."""
        return [np.array(x) for x in self.picked(self.leaves)]

    def case(self, names: list[str], **how: Any) -> Case:
        """As what is checked."""
        others = dict(zip(self.picked(names, False), self.picked(self.leaves, False), strict=True))
        subject: Any = self
        return Case(subject, self.arrays(), self.picked(names), others, **how)


def mixed(seed: int, linked: Callable[..., Any], sin: Callable[[Any], Any], array: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose gradient needs the second derivatives of another one: its gradients, in a random mixture.

    `linked` gives the results at some inputs and what pulls their cotangents back; `array(a, like)` makes these.
    """

    def slope(*given: Any) -> Any:
        rng = np.random.default_rng(seed)
        outs, pull = linked(*given)
        found = pull([array(rng.standard_normal(out.shape), out) for out in outs])
        return sum((sin(g) * array(rng.standard_normal(g.shape), g)).sum() for g in found)

    return slope
