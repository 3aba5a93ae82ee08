"""A recorded computation, in order, and its backward pass taken again with nothing thrown away."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad2.autograd import unbroadcast, walk
from tinygrad2.errors import GraphError
from tinygrad2.ops.arithmetic import Astype
from tinygrad2.ops.indexing import Scatter
from tinygrad2.study.recording import Value, value_of
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array


class Trace:
    """All values that led to `output`, in the order in which they were made, each with a name of its own.

    Raises GraphError for a Tensor that was not recorded, and where a leaf was changed since.
    """

    def __init__(self, output: Tensor) -> None:
        self.output = value_of(output)
        self.values = _all_before(self.output)
        self.names = unique_names(self.values)
        self.by_name = {name: value for value, name in self.names.items()}
        for leaf in self.leaves:
            if leaf.version != leaf.node.version:
                raise GraphError(
                    f"study: {leaf.full_name} was changed after this computation used it; look at a step before the optimizer "
                    "takes it, or compute the loss again"
                )

    @property
    def leaves(self) -> list[Value]:
        """What no op has made, in the order of the module tree or of use."""
        return [value for value in self.values if value.is_leaf]

    @property
    def results(self) -> list[Value]:
        """What ops have made, in the order in which they ran."""
        return [value for value in self.values if not value.is_leaf]

    def consumers(self, value: Value) -> list[tuple[Value, int]]:
        """Each op that used a value, with the number of the input that it was."""
        return [(user, i) for user in self.results for i, x in enumerate(user.inputs) if x is value]

    def find(self, what: Tensor | Value | str) -> Value:
        """A value by its name here, its full name, its Tensor, or itself. Raises GraphError if it is not one of these."""
        if isinstance(what, Tensor):
            found = [value for value in self.values if value.node is what.node]
        elif isinstance(what, str):
            found = [v for v, name in self.names.items() if name == what] or [v for v in self.values if v.full_name == what]
        else:
            found = [value for value in self.values if value is what]
        if not found:
            shown = what if isinstance(what, str) else f"a {type(what).__name__} of shape {_array(what).shape}"
            names = ", ".join(self.by_name)[:400]
            raise GraphError(f"study: {shown!r} is not a value of this computation; choose from {names}")
        return found[0]

    def forward(
        self,
        instead: Mapping[Value, Array] | None = None,
        inputs: Mapping[tuple[Value, int], Array] | None = None,
        dtype: Any = None,
    ) -> dict[Value, Array]:
        """Every value with others in place of some; all are computed again in a `dtype`, if one is given.

        `instead` replaces values, for all that use them; `inputs` replaces what one op reads as one of its inputs, by number.
        """
        instead, inputs = instead or {}, inputs or {}
        users = {user for user, _ in inputs}
        found: dict[Value, Array] = {}
        for value in self.values:
            if value in instead:
                found[value] = np.asarray(instead[value])
            elif value.op is None:
                found[value] = _as(value.array, dtype)
            elif dtype is None and value not in users and all(x is None or found[x] is x.array for x in value.inputs):
                found[value] = value.array  # nothing that it depends on is another
            else:
                arrays = [
                    inputs[value, i] if (value, i) in inputs else _as(array, dtype) if x is None else found[x]
                    for i, (x, array) in enumerate(zip(value.inputs, value.arrays, strict=True))
                ]
                found[value] = value.op.run(tuple(arrays), value.settings)[0]
        return found

    def to(self, dtype: Any) -> Trace:
        """The same computation in another dtype, every value of it new: names, sources and numbers stay."""
        new: dict[Value, Value] = {}
        for value in self.values:
            other = new[value] = copy.copy(value)
            other.inputs = tuple(None if x is None else new[x] for x in value.inputs)
            if value.op is None:
                other.array = _as(value.array, dtype)
                continue
            other.arrays = tuple(
                _as(array, dtype) if x is None else x.array for x, array in zip(other.inputs, value.arrays, strict=True)
            )
            other.settings = {name: _as(setting, dtype) for name, setting in value.settings.items()}
            if value.op is Astype and np.dtype(value.settings["dtype"]).kind == "f":
                other.settings["dtype"] = dtype
            other.array, other.residuals = value.op.run(other.arrays, other.settings)
        trace = copy.copy(self)
        trace.output, trace.values = new[self.output], list(new.values())
        trace.names = {new[value]: name for value, name in self.names.items()}
        trace.by_name = {name: value for value, name in trace.names.items()}
        return trace

    def backward(self, cotangent: Any = None, contribute: Contribute | None = None) -> Backward:
        """The backward pass from the output, with every contribution kept; the sums are the engine's, bit for bit.

        `cotangent` may be left out for a single number. `contribute` stands in for what the rule of an op gives.
        """
        seed = np.ones_like(self.output.array) if cotangent is None else np.asarray(cotangent, self.output.array.dtype)
        if seed.shape != self.output.array.shape or (cotangent is None and seed.size != 1):
            raise GraphError(f"study: the output has shape {self.output.array.shape}; give a cotangent of that shape")
        result = Backward()

        def visit(value: Value, g: Array) -> Iterator[tuple[Value, Contribution]]:
            result.gradients[value] = g
            result.order.append(value)
            for part in () if value.is_leaf else (contribute or contributed)(value, g):
                yield part.target, part

        def add(value: Value, before: Array | None, part: Contribution | Array) -> Array:
            if not isinstance(part, Contribution):
                return part  # where it starts
            result.contributions.setdefault(value, []).append(part)
            return part.added_to(before)

        walk([(self.output, seed)], visit, add, {})
        return result


def pulled(value: Value, g: Array, arrays: tuple[Any, ...] | None = None) -> Sequence[Any]:
    """The cotangents of the inputs of a value by the rules of its op, None for constants; `arrays` in place of its own."""
    assert value.op is not None
    residuals = value.residuals if arrays is None else value.op.run(arrays, value.settings)[1]
    needed = [x is not None for x in value.inputs]
    found: Sequence[Any] = value.op.vjp(g, residuals, *(arrays or value.arrays), needed=needed, **value.settings)
    return found


@dataclass(eq=False)
class Contribution:
    """What one use of a value adds to its gradient.

    user, index   the value computed from it, and which of the inputs it was
    target        the value whose gradient it is
    raw           what the rule gave: before broadcasting is undone; a Scatter where only an index gets something
    """

    user: Value
    index: int
    target: Value
    raw: Any

    @property
    def array(self) -> Array:
        """What is added, in the shape of the target."""
        if isinstance(self.raw, Scatter):
            return self.added_to(None)
        return unbroadcast(np.asarray(self.raw), self.target.array)

    def added_to(self, before: Array | None) -> Array:
        """The sum so far and this, as the engine adds it: an array of its own."""
        if isinstance(self.raw, Scatter):
            like = self.target.array
            total = np.zeros(like.shape, like.dtype) if before is None else np.array(before)
            self.raw.add_to(total)
            return total
        return self.array if before is None else np.asarray(before + self.array)


Contribute = Callable[[Value, Array], Sequence[Contribution]]
"""From a value and its gradient to what it adds to the gradients of its inputs."""


def contributed(value: Value, g: Array, arrays: tuple[Any, ...] | None = None) -> list[Contribution]:
    """What a value adds to the gradients of its inputs by the rule of its op; `arrays` as in `pulled`."""
    return [
        Contribution(value, i, target, raw)
        for i, (target, raw) in enumerate(zip(value.inputs, pulled(value, g, arrays), strict=True))
        if target is not None and raw is not None
    ]


@dataclass(eq=False)
class Backward:
    """A backward pass.

    gradients       of every value that got one
    contributions   to the gradient of every value but the output, in the order in which they were added
    order           the values in the order in which they were visited: each after all of its uses
    """

    gradients: dict[Value, Array] = field(default_factory=dict)
    contributions: dict[Value, list[Contribution]] = field(default_factory=dict)
    order: list[Value] = field(default_factory=list)


def _as(x: Any, dtype: Any) -> Any:
    """Floating-point arrays in a dtype; others as they are."""
    return x.astype(dtype) if dtype is not None and isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind == "f" else x


def _array(x: Tensor | Value) -> Array:
    return x.data if isinstance(x, Tensor) else x.array


def _all_before(output: Value) -> list[Value]:
    """The output and everything it was computed from: leaves in the order of their nodes, then results as they were made."""
    reached = {output}
    waiting = [output]
    while waiting:
        for x in waiting.pop().inputs:
            if x is not None and x not in reached:
                reached.add(x)
                waiting.append(x)
    return sorted(reached, key=lambda value: (not value.is_leaf, value.number))


def unique_names(values: list[Value]) -> dict[Value, str]:
    """Python names: h_3_attn_c_attn_weight, h_3_attn_c_attn_linear, h_3_add, h_3_add_2."""
    names: dict[Value, str] = {}
    taken: set[str] = set()
    for value in values:
        base = re.sub(r"\W", "_", value.full_name)
        base = base if not base[0].isdigit() else f"_{base}"
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name)
        names[value] = name
    return names
