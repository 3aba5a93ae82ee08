"""Whose gradient is checked: an engine for each that has functions with gradients, found by type, imported only then."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from tinygrad2.containers import leaves
from tinygrad2.errors import TinygradError
from tinygrad2.gradcheck.engines import pairs
from tinygrad2.gradcheck.engines.names import path_names
from tinygrad2.gradcheck.subject import Case

TITLES = {"tensors": "tinygrad2's Tensors", "pytorch": "PyTorch", "jax": "JAX", "autograd": "HIPS autograd"}
ENGINES = {"torch": "pytorch", "jax": "jax", "jaxlib": "jax", "autograd": "autograd", "tinygrad2": "tensors"}
"""By the name of the package that a type is of."""


def case_of(
    f: Any,
    inputs: Sequence[Any],
    *,
    vjp: Callable[..., Any] | None = None,
    backward: Callable[..., Any] | None = None,
    value_and_grad: bool = False,
    engine: str | None = None,
) -> Case:
    """A function of any engine as a case to check. Raises TinygradError where that cannot be made out."""
    given = [name for name, value in (("vjp", vjp), ("backward", backward), ("value_and_grad", value_and_grad)) if value]
    if len(given) > 1 or (given and engine is not None):
        raise TinygradError(f"gradcheck: {' and '.join([*given, *(['engine'] if engine else [])])} were given; it takes one")
    if not isinstance(inputs, (list, tuple)):
        raise TinygradError(f"gradcheck: the inputs are a {type(inputs).__name__}; give a list of them, also of one: [x]")
    if given:
        case = pairs.case(f, inputs, given[0], vjp or backward)
        name = getattr(vjp or backward or f, "__name__", "<")
        case.whose = f"the function in {given[0]}=" if name.startswith("<") else name
    elif engine is None and callable(getattr(f, "value", None)) and callable(getattr(f, "pull", None)):
        case = pairs.of_subject(f, inputs)
        case.whose = type(f).__name__
    else:
        found = engine or found_engine(f, inputs)
        if found not in TITLES:
            raise TinygradError(f"gradcheck: there is no engine {found!r}; there are {', '.join(sorted(TITLES))}")
        case = import_module(f"tinygrad2.gradcheck.engines.{found}").case(f, inputs, path_names(f, inputs))
        case.engine, case.whose = found, TITLES[found]
    if not case.inputs:
        kinds = ", ".join(type(x).__name__ for x in inputs) or "nothing"
        whose = " of NumPy or PyTorch" if given else ""
        raise TinygradError(f"gradcheck: there is nothing to check in {kinds}: give floating-point arrays{whose}")
    return case


def found_engine(f: Any, inputs: Sequence[Any]) -> str:
    """The engine by the types of the inputs, then by that of the function, then by the modules it uses."""
    home = (getattr(f, "__module__", None) or "").partition(".")[0]
    for package in (*_packages(leaves(dict(enumerate(inputs)))), *_packages([f]), home, *_used(f)):
        if package in ENGINES:
            return ENGINES[package]
    return "tensors"


def _packages(things: Sequence[Any]) -> Iterator[str]:
    """The packages that the types of some things are of, and of a method the thing that it is of."""
    for thing in things:
        for one in (thing, getattr(thing, "__self__", None)):
            for kind in (type(one), *(one.__mro__ if isinstance(one, type) else ())):
                yield from (base.__module__.partition(".")[0] for base in kind.__mro__ if base is not object)


def _used(f: Any) -> Iterator[str]:
    """The packages of the modules and functions that a function names in its own code, or in what it calls of its file."""
    waiting, seen = [f], set()
    while waiting:
        g = waiting.pop()
        g = inspect.unwrap(g) if callable(g) else g
        g = getattr(g, "__func__", g)
        code = getattr(g, "__code__", None)
        if code is None or code in seen:
            continue
        seen.add(code)
        around = dict(zip(code.co_freevars, g.__closure__ or (), strict=True))
        for name in (*code.co_names, *code.co_freevars):
            try:
                value = around[name].cell_contents if name in around else g.__globals__.get(name)
            except ValueError:  # a cell that is still empty
                continue
            home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or ""
            yield home.partition(".")[0]
            yield from _packages([value])
            if inspect.isfunction(value) and home == g.__module__:
                waiting.append(value)
