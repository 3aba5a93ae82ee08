"""A rule without what does not concern the values at hand: `g @ b.T` for two matrices, no `if keep is None` without dropout.

A step of it is taken where the rule, tried on random inputs, still gives the same. So nothing has to be known of any op.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

import numpy as np

from tinygrad2.study.formulas import settings
from tinygrad2.study.lab.trials import Trial
from tinygrad2.types import Array

CHOSEN = {"axis", "axis1", "axis2", "keepdims"}
"""Settings that are shown as what they are."""


def statements(code: str) -> list[str]:
    """The statements of a program, as Python writes them."""
    return [ast.unparse(statement) for statement in ast.parse(code).body]


def specialised(code: str, trials: Sequence[Trial]) -> str:
    """A program that gives the same as another in these trials, with fewer calls, branches and names."""
    expected = _results(code, trials)
    if not trials or expected is None:
        return code
    code = settled(code, trials[0])
    tried: set[str] = set()
    shorter = True
    while shorter:
        shorter = False
        for other in _simpler(code):
            if other in tried:
                continue
            tried.add(other)
            found = _results(other, trials)
            if found is not None and all(map(_same, found, expected)):
                code, shorter = other, True
                break
    return code


def replaced(root: ast.Module) -> Iterator[tuple[ast.expr, ast.AST, str, int | None]]:
    """Every expression of a program, with the node that it hangs on, the field, and the place in it where that is a list."""
    for parent in ast.walk(root):
        for name, field in ast.iter_fields(parent):
            for place, node in enumerate(field) if isinstance(field, list) else [(None, field)]:
                if isinstance(node, ast.expr) and not isinstance(getattr(node, "ctx", None), ast.Store):
                    yield node, parent, name, place


def with_instead(root: ast.Module, parent: ast.AST, name: str, place: int | None, instead: ast.expr) -> str:
    """The text of a program with another expression in one place."""
    field = getattr(parent, name)
    node = field if place is None else field[place]

    def put(x: ast.AST) -> None:
        if place is None:
            setattr(parent, name, x)
        else:
            field[place] = x

    put(instead)
    text = "; ".join(ast.unparse(statement) for statement in root.body)
    put(node)
    return text


def settled(code: str, trial: Trial) -> str:
    """With the axes that were chosen."""
    for name, x in settings(trial.value).items():
        if name in CHOSEN and isinstance(x, (int, tuple, type(None))):
            code = re.sub(rf"(?<![\w.]){name} is None\b", str(x is None), code)
            code = re.sub(rf"(?<![\w.]){name}\b(?!\s*=[^=])", str(x), code)
    return "; ".join(statements(code))


def _simpler(code: str) -> Iterator[str]:
    """The same program with one thing less in it; it need not do the same."""
    root = ast.parse(code)
    for i, statement in enumerate(root.body):
        match statement:
            case ast.Assign([ast.Name(name)], ast.Name(other)):
                rest = "; ".join(map(ast.unparse, [*root.body[:i], *root.body[i + 1 :]]))
                yield re.sub(rf"(?<![\w.]){name}\b(?!\s*=[^=])", other, rest)
            case ast.Assign([ast.Name(name)]) if not re.search(rf"\b{name}\b", "; ".join(map(ast.unparse, root.body[i + 1 :]))):
                yield "; ".join(map(ast.unparse, [*root.body[:i], *root.body[i + 1 :]]))
    for node, parent, name, place in replaced(root):
        for instead in _less(node):
            yield with_instead(root, parent, name, place, instead)


def _less(node: ast.expr) -> Iterator[ast.expr]:
    """What an expression may be where part of it does nothing."""
    match node:
        case ast.IfExp(_, body, orelse):
            yield body
            yield orelse
        case ast.BinOp(left, _, ast.Constant()) | ast.BinOp(left, ast.Div(), _):
            yield left
        case ast.BinOp(ast.Constant(), _, right):
            yield right
        case ast.Call(ast.Name("count"), [ast.Attribute(x, "shape"), ast.Constant() | ast.UnaryOp() as axis, *_]):
            yield ast.Attribute(x, "size")
            yield ast.Subscript(ast.Attribute(x, "shape"), axis)
        case ast.Call(ast.Name("spread"), [g, shape, _]):
            yield _numpy("broadcast_to", g, shape)
        case ast.Call(ast.Attribute(ast.Name("np"), "where"), [_, first, second]):
            yield second
            yield first
        case ast.Call(ast.Attribute(ast.Name("np"), "multiply"), [a, b]):
            yield ast.BinOp(a, ast.Mult(), b)
        case ast.Call(ast.Name("same"), [a, b]):
            yield ast.Compare(a, [ast.Eq()], [b])
        case ast.Call(ast.Attribute(ast.Name("np"), "swapaxes" | "transpose"), [x, *_]):
            yield ast.Attribute(x, "T")
        case ast.Call(ast.Attribute(ast.Name("np")) | ast.Name(), [x, *_]):
            yield x
        case ast.Call(ast.Attribute(x, "reshape")):
            yield x


def _numpy(name: str, *args: ast.expr) -> ast.expr:
    return ast.Call(ast.Attribute(ast.Name("np"), name), list(args), [])


def _results(code: str, trials: Sequence[Trial]) -> list[Array] | None:
    try:
        return [trial.run(code) for trial in trials]
    except Exception:  # it was only tried
        return None


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-12, atol=1e-14, equal_nan=True)
