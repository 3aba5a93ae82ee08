"""The rule of an op on the values of a computation: as text, and evaluated. What is shown is executed."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

import numpy as np

from tinygrad2.ops.op import Op
from tinygrad2.ops.source import written
from tinygrad2.study.recording import Value
from tinygrad2.types import Array


def code(value: Value, index: int) -> str | None:
    """A program whose last statement is the cotangent of one input; None where the source of the rule does not say it.

    Its names are `g`, `out`, those of `argument_names`, the settings, and what the rule has around it. Where a rule calls its
    parameters something else, it begins with an assignment.
    """
    assert value.op is not None
    formula = value.op.formula(index)
    if formula is None or (value.op.rule is None and value.residuals is not value.array):  # it reads what is not on the page
        return None
    if _around(value.op) is None:
        return None
    ours = ("g", "out", *(value.op.arguments if value.op.arity is not None else (formula.parameters[2], "arrays")))
    if len(ours) != len(formula.parameters):  # some of them have one name together
        return None
    names = dict(zip(formula.parameters, ours, strict=True))
    names["needed"] = str((True,) * len(value.inputs))
    other = {own: name for own, name in names.items() if own != name and re.search(rf"\b{own}\b", formula.code)}
    if not other:
        return formula.code
    return f"{ast.unparse(ast.parse(', '.join(other) + ' = ' + ', '.join(other.values())))}; {formula.code}"


def argument_names(value: Value) -> list[str]:
    """What the rule of a value calls its inputs."""
    assert value.op is not None
    return list(value.op.arguments) if value.op.arity is not None else [f"arrays[{i}]" for i in range(len(value.inputs))]


def settings(value: Value) -> dict[str, Any]:
    """The settings of the op of a value, with its defaults."""
    assert value.op is not None
    return {**value.op.settings, **value.settings}


def evaluate(code: str, value: Value, g: Array, **more: Any) -> Any:
    """The last statement of a program in the names of the rule of a value, and of what is around it; `more` adds to them."""
    assert value.op is not None
    own = {"arrays": value.arrays} if value.op.arity is None else dict(zip(value.op.arguments, value.arrays, strict=True))
    names = {**(_around(value.op) or {}), "scatter": scattered, **settings(value), **own, **more}
    names |= {"g": g, "out": value.array, "np": np}
    *steps, last = ast.parse(code).body
    assert isinstance(last, ast.Expr)
    exec(compile(ast.Module(steps, []), value.op.name, "exec"), names)
    return eval(compile(ast.Expression(last.value), value.op.name, "eval"), names)


def _around(op: type[Op]) -> dict[str, Any] | None:
    """What the rules of an op see around them: of the module, and of functions they were made in; None if that is not one."""
    rules = [f for f in map(written, getattr(op, "sources", (op.rule or op.vjp,))) if inspect.isfunction(f)]
    outer = [inspect.getclosurevars(rule).nonlocals for rule in rules]
    views = [{**rule.__globals__, **names} for rule, names in zip(rules, outer, strict=True)]
    if any(len({id(view.get(name)) for view in views}) > 1 for names in outer for name in names):
        return None
    return {name: x for view in views for name, x in view.items()}


def scattered(g: Array, shape: tuple[int, ...], index: Any) -> Array:
    """Zeros of this shape, with `g` added at an index: all of what the engine adds where it belongs."""
    whole = np.zeros(shape, g.dtype)
    np.add.at(whole, index, g)
    return whole
