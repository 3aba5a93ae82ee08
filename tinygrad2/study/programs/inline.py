"""A rule of one line as an expression of the program's own names, so that a reader sees `d_x = d_y * w`."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from collections.abc import Callable, Mapping
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

from tinygrad2 import kernels
from tinygrad2.kernels import reference
from tinygrad2.ops.indexing import scatter
from tinygrad2.study.programs.choices import chosen
from tinygrad2.study.programs.prelude import Prelude, is_check, source_of

OPERATORS = {"add": ast.Add, "subtract": ast.Sub, "multiply": ast.Mult, "divide": ast.Div, "matmul": ast.MatMult}
"""NumPy's functions that an operator between two arrays calls."""

PLAIN_KEYWORDS = {"axis": "None", "keepdims": "False", "ddof": "0", "axes": "None"}
"""What NumPy takes where these are left out."""


def expression(
    prelude: Prelude, f: Callable[..., Any], arguments: Mapping[str, ast.expr], indices: Mapping[str, ast.expr]
) -> ast.expr | None:
    """What a function of one line returns, in the names of the caller; None for a longer one.

    `indices` are arguments as they look between square brackets.
    """
    text = _one_line(f)
    if text is None:
        return None
    settings = {p.name for p in inspect.signature(f).parameters.values() if p.kind is p.KEYWORD_ONLY}
    inlined = _Inlined(prelude, inspect.unwrap(f).__globals__, arguments, indices, settings)
    found: ast.expr = inlined.visit(ast.parse(text, mode="eval").body)
    return found


def plain_call(node: ast.Call) -> ast.expr:
    """A call of NumPy without what it takes anyway, and as an operator where one says the same."""
    if ast.unparse(node.func).startswith("np."):
        node.keywords = [k for k in node.keywords if PLAIN_KEYWORDS.get(k.arg or "") != ast.unparse(k.value)]
    name = ast.unparse(node.func).removeprefix("np.")
    if name in OPERATORS and len(node.args) == 2 and not node.keywords:
        return ast.BinOp(node.args[0], OPERATORS[name](), node.args[1])
    if name == "negative":
        return ast.UnaryOp(ast.USub(), node.args[0])
    return node


def with_sizes(expr: ast.expr, space: dict[str, Any]) -> ast.expr:
    """An expression with numbers for the lengths of axes: 8 for `x.shape[-1]`."""

    class Sizes(ast.NodeTransformer):
        def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
            text = ast.unparse(node)
            return ast.Constant(eval(text, space)) if re.fullmatch(r"\w+\.shape\[-?\d+\]", text) else node

    found: ast.expr = Sizes().visit(expr)
    return found


class _Inlined(ast.NodeTransformer):
    """Puts arguments for parameters, and operators where they say the same."""

    def __init__(self, prelude: Prelude, names: Any, arguments: Any, indices: Any, settings: set[str]) -> None:
        self.prelude, self.names, self.arguments, self.indices = prelude, names, arguments, indices
        self.settings = settings

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.arguments:
            return self.arguments[node.id]
        if self.names.get(node.id) is scatter:
            return node
        return ast.Name(self.prelude.resolve(self.names, node.id))

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id not in self.arguments:
            name = self.prelude.attribute(self.names, node.value.id, node.attr)
            if name is not None:
                return ast.Name(name)
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if isinstance(node.slice, ast.Name) and node.slice.id in self.indices:
            return ast.Subscript(self.visit(node.value), self.indices[node.slice.id])
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        known = {name for name, x in self.arguments.items() if isinstance(x, ast.Name) or ast.unparse(x) == "None"}
        part = chosen(node, known, [name for name in known if ast.unparse(self.arguments[name]) == "None"])
        return self.generic_visit(node) if part is None else self.visit(part)  # type: ignore[return-value]

    def visit_Call(self, node: ast.Call) -> ast.expr:
        place = node.args[-1] if node.args else None
        settings = self._settings(node)
        node.args, node.keywords = node.args[: len(node.args) - len(settings)], node.keywords + settings
        node = self.generic_visit(node)  # type: ignore[assignment]
        if isinstance(node.func, ast.Name) and node.func.id == "scatter" and isinstance(place, ast.Name):
            g, _, index = node.args
            return ast.Call(node.func, [g, index, self.indices.get(place.id, index)], [])
        return plain_call(node)

    def _settings(self, node: ast.Call) -> list[ast.keyword]:
        """The last arguments of a kernel that are settings of the op, by name: `heads=2` tells more than `2`."""
        f = vars(reference).get(node.func.attr) if isinstance(node.func, ast.Attribute) else None
        if not isinstance(f, FunctionType) or not _named(node.func, self.names, kernels):
            return []
        names = list(inspect.signature(f).parameters)[: len(node.args)]
        pairs = zip(reversed(node.args), reversed(names), strict=False)
        last = itertools.takewhile(lambda pair: isinstance(pair[0], ast.Name) and pair[0].id in self.settings, pairs)
        return [ast.keyword(name, x) for x, name in reversed(list(last))]


def _named(node: ast.expr, names: Mapping[str, Any], module: ModuleType) -> bool:
    """Whether this is an attribute of a module."""
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and names.get(node.value.id) is module


@cache
def _one_line(f: Callable[..., Any]) -> str | None:
    """What a function returns, if it does nothing else but checks, and has no names of its own; else None."""
    tree = ast.parse(source_of(f)).body[0]
    assert isinstance(tree, ast.FunctionDef)
    start = 1 if ast.get_docstring(tree) is not None else 0
    first, *rest = (node for node in tree.body[start:] if not is_check(node))
    inner = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    if rest or not isinstance(first, ast.Return) or first.value is None or any(isinstance(n, inner) for n in ast.walk(first)):
        return None
    return ast.unparse(first.value)
