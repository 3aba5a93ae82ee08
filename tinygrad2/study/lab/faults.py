"""What a mistake in a backward pass is, and how it is planted at one op.

A mistake in a rule is the formula of an op with one piece of text in place of another, and what is shown is executed.
In the others the rule is right, and what it gives is added in a wrong way, or was computed from other numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad2.autograd import unbroadcast
from tinygrad2.study.formulas import code, evaluate
from tinygrad2.study.recording import Value
from tinygrad2.study.trace import Backward, Contribution, Trace, contributed
from tinygrad2.types import Array

OLDER = 0.3
"""How far the parameters of the older step are from those of now, as a fraction of their size."""


class Healthy:
    """A trace in float64 with its right backward pass, and the same a step of gradient descent earlier."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.backward = trace.backward()

    @cached_property
    def parts(self) -> dict[Value, list[Contribution]]:
        """What each op contributes, in the order of its inputs."""
        parts = sorted((part for parts in self.backward.contributions.values() for part in parts), key=lambda part: part.index)
        return {op: [part for part in parts if part.user is op] for op in self.backward.order}

    @cached_property
    def older(self) -> dict[Value, Array]:
        """Every value before the last step: the leaves are where a large step would have come from."""
        gradients = {leaf: self.backward.gradients[leaf] for leaf in self.trace.leaves if leaf in self.backward.gradients}
        size, slope = (
            np.sqrt(sum(float(np.sum(x * x)) for x in xs)) for xs in ([v.array for v in gradients], gradients.values())
        )
        rate = OLDER * size / slope if slope else 0.0
        return self.trace.forward(instead={leaf: leaf.array + rate * g for leaf, g in gradients.items()})

    @cached_property
    def older_backward(self) -> Backward:
        """The backward pass of the older step."""
        return self.trace.backward(contribute=lambda value, g: self.with_older(value, g, leaves=True))

    def with_older(self, value: Value, g: Array, leaves: bool) -> list[Contribution]:
        """What the rule of a value gives where it reads its inputs as they were; the leaves too, if so said."""
        arrays = tuple(
            array if x is None or (x.is_leaf and not leaves) else self.older[x]
            for x, array in zip(value.inputs, value.arrays, strict=True)
        )
        return contributed(value, g, arrays)

    def is_first(self, part: Contribution) -> bool:
        """Whether nothing was added before to the gradient that a contribution goes to."""
        first = self.backward.contributions[part.target][0]
        return first.user is part.user and first.index == part.index


Change = Callable[[Healthy, Contribution, Array], Contribution | None]
"""From a right contribution, and the gradient of its user, to the wrong one; None where the mistake cannot be made."""


@dataclass(frozen=True, eq=False)
class Fault:
    """A mistake.

    key       short and stable: "softmax_row_sum"
    title     what is wrong, in one line
    mistake   how it comes about, and where it is met
    edits     for a mistake in a rule: by the name of the op, what its formula says and what it says instead
    change    for a mistake in the sum: what becomes of a contribution
    """

    key: str
    title: str
    mistake: str
    edits: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    change: Change | None = None

    def codes(self, value: Value) -> dict[int, tuple[str, str]]:
        """The right program and the wrong one for each input of a value whose rule this mistake changes."""
        if value.op is None or value.op.name not in self.edits:
            return {}
        old, new = self.edits[value.op.name]
        right = {i: code(value, i) for i, x in enumerate(value.inputs) if x is not None}
        return {i: (text, text.replace(old, new)) for i, text in right.items() if text is not None and old in text}

    def planted(self, healthy: Healthy, value: Value) -> list[Contribution] | None:
        """What a value contributes with this mistake in it; None where the mistake changes nothing of its shape or place."""
        if value.op is None or (self.change is None and value.op.name not in self.edits):
            return None
        parts = healthy.parts[value]
        g = healthy.backward.gradients[value]
        codes = self.codes(value)
        wrong = [self._wrong(healthy, part, g, codes) for part in parts]
        if not any(wrong):
            return None
        return [other or part for part, other in zip(parts, wrong, strict=True)]

    def _wrong(
        self, healthy: Healthy, part: Contribution, g: Array, codes: Mapping[int, tuple[str, str]]
    ) -> Contribution | None:
        if self.change is not None:
            return self.change(healthy, part, g)
        if part.index not in codes:
            return None
        try:
            raw = np.asarray(evaluate(codes[part.index][1], part.user, g, put=put, summed=summed))
            fits = np.broadcast_shapes(raw.shape, part.target.array.shape) == raw.shape
        except ValueError:
            fits = False
        # of shapes that do not fit the mistake would not have gone unnoticed
        return Contribution(part.user, part.index, part.target, raw) if fits else None


def put(g: Array, shape: tuple[int, ...], index: Any) -> Array:
    """Zeros of this shape, with `g` written at an index: of entries that come twice only the last stays."""
    whole = np.zeros(shape, g.dtype)
    whole[index] = g
    return whole


def summed(x: Array, like: Array, shape: tuple[int, ...]) -> Array:
    """An operand that was broadcast to a shape, summed to the shape of the other operand."""
    return np.asarray(unbroadcast(np.broadcast_to(x, shape), like))


class Overwrites(Contribution):
    """Takes the place of what was there."""

    def added_to(self, before: Array | None) -> Array:
        return np.array(self.array)


class OntoStale(Contribution):
    """The first to arrive, where something was left over from before."""

    stale: Array

    def added_to(self, before: Array | None) -> Array:
        return np.asarray(self.stale + self.array)
