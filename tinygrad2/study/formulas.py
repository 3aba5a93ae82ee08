"""The formula of an op as code: what is computed first, and one expression for each input. What is shown is executed."""

from __future__ import annotations

import ast
import inspect
import sys
from typing import Any

import numpy as np

from tinygrad2.ops.op import Array, Op
from tinygrad2.study.recording import Value


class Formula:
    """The rule of an op, in its own names.

    assignments   what is computed first, as statements
    expressions   for each input what its cotangent is: "g * b"; "None" where there is none
    """

    def __init__(self, op: type[Op], inputs: int) -> None:
        parts = op.formula.split("; ")
        self.assignments = [part for part in parts if isinstance(ast.parse(_listed(part)).body[0], ast.Assign)]
        self.expressions = [part for part in parts if part not in self.assignments]
        if self.expressions[0].startswith("*"):  # an op of any number of inputs gives all at once
            self.expressions = [f"[{self.expressions[0]}][{i}]" for i in range(inputs)]

    def code(self, index: int) -> str:
        """A program whose last statement is the cotangent of one input, with the assignments that it needs."""
        wanted = self.expressions[index]
        needed: list[str] = []
        for statement in reversed(self.assignments):
            made = {node.id for node in ast.walk(ast.parse(statement).body[0].targets[0]) if isinstance(node, ast.Name)}  # type: ignore[attr-defined]
            if made & _names("; ".join([*needed, wanted])):
                needed.insert(0, statement)
        return "; ".join([*needed, wanted])


def argument_names(value: Value) -> list[str]:
    """What the rule of a value calls its inputs."""
    assert value.op is not None
    names = list(inspect.signature(value.op.forward).parameters)
    return names[: value.op.arity] if value.op.arity is not None else [f"arrays[{i}]" for i in range(len(value.inputs))]


def settings(value: Value) -> dict[str, Any]:
    """The settings of the op of a value, with its defaults."""
    assert value.op is not None
    signature = inspect.signature(value.op.forward).parameters
    return {name: value.params.get(name, signature[name].default) for name in value.op.settings}


def evaluate(code: str, value: Value, g: Array, **more: Any) -> Any:
    """The last statement of a program in the names of the rule of a value, and of its module; `more` adds to them."""
    assert value.op is not None
    own = {"arrays": value.arrays} if value.op.arity is None else dict(zip(argument_names(value), value.arrays, strict=True))
    names = {**vars(sys.modules[value.op.__module__]), "scatter": scattered, **settings(value), **own, **more}
    names |= {"g": g, "out": value.array, "np": np}
    *first, last = [ast.unparse(statement) for statement in ast.parse(_listed(code)).body]
    exec("\n".join(first), names)
    return eval(last, names)


def scattered(g: Array, x: Array, index: Any) -> Array:
    """Zeros like `x`, with `g` added at an index: all of what the engine adds where it belongs."""
    whole = np.zeros(x.shape, g.dtype)
    np.add.at(whole, index, g)
    return whole


def _names(code: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(_listed(code))) if isinstance(node, ast.Name)}


def _listed(code: str) -> str:
    """Code in which a starred expression, which may not stand alone, stands in a list."""
    return "; ".join(f"[{part}]" if part.startswith("*") else part for part in code.split("; "))
