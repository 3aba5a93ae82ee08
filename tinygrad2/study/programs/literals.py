"""Constants as Python text."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad2.errors import GraphError
from tinygrad2.types import Array


def literal(value: Any, constant: Callable[[Array], str]) -> tuple[ast.expr, ast.expr]:
    """A value as an expression, by itself and between square brackets, where a slice is `1:` and a tuple has no parentheses.

    `constant` gives the name of an array. Raises GraphError for what has no text.
    """
    expr = ast.parse(_text(value, constant), mode="eval").body
    inside: ast.expr = expr
    if isinstance(value, slice):
        inside = _slice(value)
    elif isinstance(value, tuple) and value:
        parts = zip(value, expr.elts, strict=True)  # type: ignore[attr-defined]
        inside = ast.Tuple([_slice(part) if isinstance(part, slice) else text for part, text in parts])
    return expr, inside


def _slice(value: slice) -> ast.Slice:
    ends = [value.start, value.stop, value.step]
    return ast.Slice(*(None if x is None else ast.parse(repr(int(x)), mode="eval").body for x in ends))


def _text(value: Any, constant: Callable[[Array], str]) -> str:
    if isinstance(value, np.ndarray):
        return constant(value)
    if isinstance(value, (np.floating, float)) and not math.isfinite(value):
        return f"{'np.' if isinstance(value, np.generic) else ''}{type(value).__name__}('{float(value)}')"
    if value is None or value is ... or isinstance(value, (bool, int, float, complex, str, np.generic, slice, range)):
        return "..." if value is ... else repr(value)
    if isinstance(value, (tuple, list)):
        parts = ", ".join(_text(part, constant) for part in value)
        return f"[{parts}]" if isinstance(value, list) else f"({parts}{',' * (len(value) == 1)})"
    if isinstance(value, np.dtype):
        return f"np.dtype({value.str!r})"
    if isinstance(value, type):
        return f"np.{value.__name__}" if issubclass(value, np.generic) else value.__name__
    raise GraphError(f"explain: {value!r:.80}, a {type(value).__name__}, cannot be written into a program")
