"""A function for the calls in which some arguments are None: `p if keep is None else p * keep` is `p` there."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Collection
from typing import Any

NEUTRAL = {ast.Mult: 1, ast.Add: 0}
"""What changes nothing on the right of an operator."""


def without_choices(source: str, absent: Collection[str]) -> tuple[str, set[str]]:
    """The text of a function where the parameters `absent` are None and no others are; and which it does not read."""
    while True:
        tree: Any = ast.parse(source).body[0]
        parameters = {n.arg for n in ast.walk(tree.args) if isinstance(n, ast.arg)}
        shorter = next((text for n in ast.walk(tree) if (text := _shorter(source, n, parameters, absent)) is not None), None)
        if shorter is None:
            return source, parameters - {n.id for part in tree.body for n in ast.walk(part) if isinstance(n, ast.Name)}
        source = shorter


def chosen(node: ast.expr, known: Collection[str], absent: Collection[str]) -> ast.expr | None:
    """What is left of `a if x is None else b`, where it is known whether x is; else None."""
    match node:
        case ast.IfExp(ast.Compare(ast.Name(name), [ast.Is()], [ast.Constant(None)])) if name in known:
            return node.body if name in absent else node.orelse
    return None


def _shorter(source: str, node: Any, known: Collection[str], absent: Collection[str]) -> str | None:
    """The text with one choice fewer, if it begins at this node; what is then times 1 or plus 0 goes too."""
    text = source.encode()
    starts = [0, *itertools.accumulate(len(line) for line in text.splitlines(keepends=True))]

    def place(of: Any) -> tuple[int, int]:
        return starts[of.lineno - 1] + of.col_offset, starts[of.end_lineno - 1] + of.end_col_offset

    if isinstance(node, ast.BinOp):
        part = chosen(node.right, known, absent)
        if not isinstance(part, ast.Constant) or part.value != NEUTRAL.get(type(node.op)):
            return None
        left, right = place(node.left)[1], place(node.right)[0]
        return (text[: left + text[left:right].rfind(b")") + 1] + text[place(node)[1] :]).decode()
    part = chosen(node, known, absent)
    if part is None:
        return None
    (start, end), (first, last) = place(node), place(part)
    before, after = text[:start], text[end:]
    called = before[-2:-1].isalnum() or before[-2:-1] in (b"_", b")", b"]")
    if isinstance(part, ast.Name) and before.endswith(b"(") and after.startswith(b")") and not called:
        before, after = before[:-1], after[1:]  # a name alone needs no parentheses
    return (before + text[first:last] + after).decode()
