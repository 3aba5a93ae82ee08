"""Small changes of a program: one operator, number, name, argument or statement stands in place of another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, NamedTuple

from tinygrad2.study.course.exercise import END, HOLE

OTHER = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.MatMult: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
INSTEAD = {"sum": "mean", "mean": "sum", "max": "min", "min": "max", "zeros": "ones", "ones": "zeros", "triu": "tril"}
INSTEAD |= {"sin": "cos", "cos": "sin", "exp": "expm1", "log": "log1p", "tanh": "sin"}
INSTEAD |= {"zeros_like": "ones_like", "argsort": "sort"}
ORDERLESS = ("swapaxes", "max", "min", "maximum", "minimum")
"""Functions whose arguments can change places."""
STRICT = "strict"  # of zip: it is there for people, not for what comes out


class Mutant(NamedTuple):
    """A changed program; `change` says which statement became which."""

    change: str
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """All that one change of the code between the marks of holes can make."""
    tree = ast.parse(source)
    lines = source.split("\n")
    inside, within = set(), False
    for number, line in enumerate(lines, 1):
        within = (within or HOLE in line) and END not in line
        if within:
            inside.add(number)
    for statement in [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]:
        if statement.lineno not in inside:
            continue
        before = _head(statement)
        for put, undo in _changes(statement, _names(tree, statement)):
            put()
            after, changed = _head(statement), _with(lines, statement, ast.unparse(statement))
            undo()
            if after != before:
                yield Mutant(f"{before}  ->  {after}", changed)
        if isinstance(statement, (ast.Assign, ast.AugAssign, ast.Expr)):
            yield Mutant(f"{before}  ->  ", _with(lines, statement, "pass"))


def _head(statement: ast.stmt) -> str:
    return ast.unparse(statement).split("\n")[0]


def _names(tree: ast.Module, statement: ast.stmt) -> list[str]:
    """The arguments and variables of the innermost function around a statement."""
    around = [
        f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and f.lineno < statement.lineno <= (f.end_lineno or 0)
    ]
    if not around:
        return []
    f = max(around, key=lambda f: f.lineno)
    names = [a.arg for a in f.args.args]
    stored = [n for n in ast.walk(f) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    names += [n.id for n in stored if n.lineno < statement.lineno]
    return list(dict.fromkeys(names))


def _with(lines: list[str], statement: ast.stmt, text: str) -> str:
    """The program with a text in place of a statement."""
    first = lines[statement.lineno - 1]
    text = f"el{text}" if first.lstrip().startswith("elif") else text
    indent = " " * statement.col_offset
    return "\n".join(
        [*lines[: statement.lineno - 1], indent + text.replace("\n", f"\n{indent}"), *lines[statement.end_lineno :]]
    )


def _changes(statement: ast.stmt, names: list[str]) -> Iterator[tuple[Any, Any]]:
    """Pairs of functions that make a change within a statement, and undo it. Statements inside of it are left alone."""
    for holder, field, place, node in _expressions(statement):
        for new in _instead(node, names):
            yield _put(holder, field, place, new), _put(holder, field, place, node)


def _put(holder: Any, field: str, place: int | None, new: Any) -> Any:
    def put() -> None:
        if place is None:
            setattr(holder, field, new)
        else:
            getattr(holder, field)[place] = new

    return put


def _expressions(node: ast.AST) -> Iterator[tuple[Any, str, int | None, ast.expr]]:
    for field, value in ast.iter_fields(node):
        for place, part in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(part, ast.stmt) or not isinstance(part, ast.AST):
                continue
            if isinstance(part, ast.keyword) and part.arg == STRICT:
                continue
            if isinstance(part, ast.expr):
                yield node, field, place, part
            yield from _expressions(part)


def _instead(node: ast.expr, names: list[str]) -> Iterator[ast.expr]:
    """What may stand in place of an expression."""
    if isinstance(node, ast.BinOp):
        if type(node.op) in OTHER:
            yield ast.BinOp(node.left, OTHER[type(node.op)](), node.right)
        yield node.left
        yield node.right
        if not isinstance(node.op, (ast.Add, ast.Mult)):
            yield ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(OTHER[type(node.op)](), node.values)
        yield from node.values
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER:
        yield ast.Compare(node.left, [OTHER[type(node.ops[0])](), *node.ops[1:]], node.comparators)
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1 if isinstance(node.value, int) else node.value / 2)
    elif isinstance(node, ast.Tuple) and len(node.elts) > 1 and isinstance(node.ctx, ast.Load):
        yield ast.Tuple([node.elts[1], node.elts[0], *node.elts[2:]], node.ctx)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.Attribute) and node.attr in INSTEAD:
        yield ast.Attribute(node.value, INSTEAD[node.attr], node.ctx)
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names and len(names) > 1:
        yield ast.Name(names[(names.index(node.id) + 1) % len(names)], node.ctx)


def _calls(node: ast.Call) -> Iterator[ast.expr]:
    name = ast.unparse(node.func).rpartition(".")[2]
    for i in range(len(node.keywords)):
        if node.keywords[i].arg == STRICT:
            continue
        yield ast.Call(node.func, node.args, node.keywords[:i] + node.keywords[i + 1 :])
    for i in range(len(node.args) - 1) if name not in ORDERLESS else ():
        swapped = [*node.args[:i], node.args[i + 1], node.args[i], *node.args[i + 2 :]]
        yield ast.Call(node.func, swapped, node.keywords)
    if node.args and not isinstance(node.args[0], ast.Starred):
        yield node.args[0]
    if isinstance(node.func, ast.Attribute) and not (isinstance(node.func.value, ast.Name) and node.func.value.id == "np"):
        yield node.func.value
