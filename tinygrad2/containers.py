"""Lists, tuples and dictionaries of arrays, nested in any way: what functions of several parameters take and give.

A list of Python's numbers, `[1.0, 2.0]`, is an array and no container, as it is for `Tensor`. None holds nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from tinygrad2.errors import ShapeError


def leaves(value: Any) -> list[Any]:
    """What is in a container, in order; anything else is its own only leaf."""
    parts = entries(value)
    if parts is None:
        return [] if value is None else [value]
    return [leaf for part in parts.values() for leaf in leaves(part)]


def rebuilt(like: Any, new: Iterator[Any]) -> Any:
    """A container like another one, with new leaves."""
    parts = entries(like)
    if parts is None:
        return None if like is None else next(new)
    built = [rebuilt(part, new) for part in parts.values()]
    if isinstance(like, dict):
        new_one = copy.copy(like)  # of its own kind
        new_one.update(zip(parts, built, strict=True))
        return new_one
    return type(like)(*built) if hasattr(like, "_fields") else type(like)(built)


def matching(like: Any, value: Any, what: str) -> list[Any]:
    """What is in `value` at the places of the leaves of `like`. Raises ShapeError where it is built otherwise."""
    parts = entries(like)
    if parts is None:
        return [] if like is None else [value]
    given = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, (list, tuple)) else None
    if given is None or isinstance(value, dict) != isinstance(like, dict) or given.keys() != parts.keys():
        raise ShapeError(f"{what}: {_shown(value)} was given for {_shown(like)}; both must have the same structure")
    return [leaf for key, part in parts.items() for leaf in matching(part, given[key], what)]


def entries(value: Any) -> dict[Any, Any] | None:
    """The entries of a container by key or position; None for what is none."""
    if isinstance(value, dict):
        return value
    if isinstance(value, (list, tuple)) and (hasattr(value, "_fields") or _shape(value) is None):
        return dict(enumerate(value))
    return None


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of the array that Python's numbers, or lists of them, make; None for anything else."""
    if type(value) in (int, float, bool):
        return ()
    if not isinstance(value, (list, tuple)):
        return None
    shapes = set(map(_shape, value)) or {()}
    return (len(value), *inner) if len(shapes) == 1 and (inner := shapes.pop()) is not None else None


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"a dict with {', '.join(map(repr, value)) or 'nothing'}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, (list, tuple)) else "")
