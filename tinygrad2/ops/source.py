"""The source of a rule, parsed once: the formula that is shown of it, and what it reads, which is what must be kept for it."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import CodeType
from typing import Any

FACTS = ("shape", "ndim", "size", "dtype")
"""What is known of an array without its entries."""


@dataclass(frozen=True)
class Formula:
    """A rule as text, in its own names.

    parameters   what it calls the cotangent, the result, and the inputs
    steps        what is computed first: "best = x == spread(out, x.shape, axis)"
    result       the cotangent of one input: "g * b"
    rest         what it calls the inputs where it takes any number: "arrays"
    """

    parameters: tuple[str, ...]
    steps: tuple[str, ...]
    result: str
    rest: str = ""

    def of(self, i: int) -> Formula:
        """The same of an op of any number of inputs, for one of them."""
        return replace(self, parameters=(*self.parameters, self.rest), steps=(f"{self.parameters[2]} = {i}", *self.steps))

    @property
    def code(self) -> str:
        """A program whose last statement is the cotangent."""
        return "; ".join([*self.steps, self.result])

    def reads(self, name: str) -> bool:
        """Whether it uses the entries of an array, and not only its shape or dtype."""
        return name in _read(self)


@functools.cache
def _read(formula: Formula) -> frozenset[str]:
    tree = ast.parse(formula.code)
    facts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in FACTS}
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in facts)


@functools.cache
def formulas(rule: Callable[..., Any], several: bool = False) -> tuple[Formula, ...] | None:
    """What a rule returns: one formula or, if it returns a tuple, one for each of its entries, with the steps that it needs.

    None where the source is not to be had, or is more than assignments and a `return`; and where what is always a tuple
    (`several`) is not written entry by entry.
    """
    node = syntax(rule)
    if node is None:
        return None
    parameters = tuple(p.arg for p in (*node.args.posonlyargs, *node.args.args))
    rest = node.args.vararg.arg if node.args.vararg else ""
    body = [ast.Return(node.body)] if isinstance(node, ast.Lambda) else node.body[ast.get_docstring(node) is not None :]
    *steps, last = body
    if not isinstance(last, ast.Return) or last.value is None or not all(map(_names_values, steps)):
        return None
    results = last.value.elts if isinstance(last.value, ast.Tuple) else [last.value]
    if any(isinstance(result, ast.Starred) for result in results) or (several and not isinstance(last.value, ast.Tuple)):
        return None
    if len(results) == 1:  # all of it runs, whether it is needed or not
        return (Formula(parameters, tuple(map(ast.unparse, steps)), ast.unparse(results[0]), rest),)
    return tuple(Formula(parameters, tuple(_needed(steps, result)), ast.unparse(result), rest) for result in results)


def _names_values(step: ast.stmt) -> bool:
    """Whether a statement gives names to values, and does not change a part of what has one."""
    targets = step.targets if isinstance(step, ast.Assign) else []
    return bool(targets) and not any(isinstance(node, (ast.Subscript, ast.Attribute)) for t in targets for node in ast.walk(t))


def _needed(steps: list[Any], result: ast.expr) -> list[str]:
    """The assignments that a result depends on, in order."""
    wanted, found = _names(result, ast.Load), list[str]()
    for step in reversed(steps):
        if wanted & _names(step, ast.Store):
            wanted |= _names(step, ast.Load)
            found.insert(0, ast.unparse(step))
    return found


def _names(tree: ast.AST, kind: type[ast.expr_context]) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, kind)}


def written(f: Any) -> Any:
    """A function as somebody wrote it, without a guard of `op.py` around it."""
    return inspect.unwrap(f, stop=lambda g: not getattr(g, "is_guard", False))


def syntax(f: Any) -> ast.Lambda | ast.FunctionDef | None:
    """The part of its file that a function was made of; None where there is none, or the file says something else by now."""
    f = written(f)
    code = getattr(f, "__code__", None)
    if code is None or hasattr(f, "__wrapped__") or inspect.ismethod(f) or {"locals", "vars", "eval"} & set(code.co_names):
        return None  # a decorator may do anything, a method has one parameter more, and these read what they do not name
    nodes, codes = _parsed("".join(linecache.getlines(code.co_filename, f.__globals__)))
    if code not in codes:
        return None
    inside = [place for place in code.co_positions() if place[2] != place[3]]  # where its instructions are, but the first one
    if not inside and code.co_name == "<lambda>":  # -X no_debug_ranges
        return None
    for node in nodes:
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if (first, node.name) == (code.co_firstlineno, code.co_name):
                return node
        elif node.lineno == code.co_firstlineno and code.co_name == "<lambda>" and all(_covers(node.body, p) for p in inside):
            return node
    return None


def _covers(node: ast.expr, place: Any) -> bool:
    line, end_line, column, end_column = place
    return (node.lineno, node.col_offset) <= (line, column) and (end_line, end_column) <= (node.end_lineno, node.end_col_offset)


@functools.cache
def _parsed(source: str) -> tuple[list[ast.Lambda | ast.FunctionDef], set[CodeType]]:
    """All functions of a file, the inner ones first, and their code."""
    try:
        tree, codes = ast.parse(source), [compile(source, "", "exec", dont_inherit=True)]
    except (SyntaxError, ValueError):
        return [], set()
    for code in codes:
        codes += [part for part in code.co_consts if isinstance(part, CodeType)]
    return [node for node in ast.walk(tree) if isinstance(node, (ast.Lambda, ast.FunctionDef))][::-1], set(codes)
