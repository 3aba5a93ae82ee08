"""The rule of an op on the values of a computation: as text, and evaluated. What is shown is executed."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from tinygrad2.errors import GraphError
from tinygrad2.ops.op import Array
from tinygrad2.study.recording import Value


def code(value: Value, index: int) -> str:
    """A program whose last statement is the cotangent of one input. Raises GraphError where the source does not say it."""
    assert value.op is not None
    formula = value.op.formula(index)
    if formula is None:
        raise GraphError(
            f"study: the rule of {value.op.name} cannot be shown; write it in a file, as a lambda, or assignments and a `return`"
        )
    return formula.code


def argument_names(value: Value) -> list[str]:
    """What the rule of a value calls its inputs."""
    assert value.op is not None
    return list(value.op.arguments) if value.op.arity is not None else [f"arrays[{i}]" for i in range(len(value.inputs))]


def settings(value: Value) -> dict[str, Any]:
    """The settings of the op of a value, with its defaults."""
    assert value.op is not None
    return {**value.op.settings, **value.settings}


def evaluate(code: str, value: Value, g: Array, **more: Any) -> Any:
    """The last statement of a program in the names of the rule of a value, and of its module; `more` adds to them."""
    assert value.op is not None
    own = {"arrays": value.arrays} if value.op.arity is None else dict(zip(value.op.arguments, value.arrays, strict=True))
    module = sys.modules.get(value.op.__module__)
    names = {**(vars(module) if module is not None else {}), "scatter": scattered, **settings(value), **own, **more}
    names |= {"g": g, "out": value.array, "np": np}
    *first, last = code.split("; ")
    exec("\n".join(first), names)
    return eval(last, names)


def scattered(g: Array, shape: tuple[int, ...], index: Any) -> Array:
    """Zeros of this shape, with `g` added at an index: all of what the engine adds where it belongs."""
    whole = np.zeros(shape, g.dtype)
    np.add.at(whole, index, g)
    return whole
