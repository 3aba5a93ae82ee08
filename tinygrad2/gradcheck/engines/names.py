"""What to call the inputs of a function: as it calls them itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad2.containers import entries


def argument_names(f: Callable[..., Any], n: int) -> list[str]:
    """The names of the first arguments of a function; `input 0` and so on where it does not have so many."""
    if isinstance(f, np.ufunc):  # before NumPy 2.4 they have no signature that inspect could read
        return ["x"] if n == 1 else [f"x{i + 1}" for i in range(n)]
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return named[:n] if len(named) >= n else [f"input {i}" for i in range(n)]


def path_names(f: Callable[..., Any], inputs: Sequence[Any]) -> list[str]:
    """The names of what is in the inputs: `p['w']` of a dictionary, and just `w` where there is nothing but one."""
    names = argument_names(f, len(inputs))
    if len(inputs) == 1 and isinstance(inputs[0], dict) and all(isinstance(key, str) for key in inputs[0]):
        return [name for key, part in inputs[0].items() for name in _paths(key, part)]
    return [name for name, part in zip(names, inputs, strict=True) for name in _paths(name, part)]


def _paths(name: str, value: Any) -> list[str]:
    parts = entries(value)
    if parts is None:
        return [] if value is None else [name]
    return [path for key, part in parts.items() for path in _paths(f"{name}[{key!r}]", part)]
