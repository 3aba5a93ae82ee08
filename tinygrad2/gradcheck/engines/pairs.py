"""Gradients written by hand: a function of arrays, and a second one that pulls a cotangent back.

There are three ways to write one, and the argument of `gradcheck` says which:

    vjp=             f(*inputs) -> out;              vjp(g, *inputs) -> cotangents
    backward=        f(*inputs) -> (out, cache);     backward(dout, cache) -> cotangents
    value_and_grad=  f(*inputs) -> (value, cotangents)

The cotangents are a tuple in the order of the inputs, a dictionary by their names (`x`, `dx` or `grad_x`), or, of one input,
just that. Of inputs that are not checked (settings, integers) they may be left out, or anything.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad2.containers import entries, leaves, matching, rebuilt
from tinygrad2.errors import ShapeError, TinygradError
from tinygrad2.gradcheck.engines.names import argument_names, path_names
from tinygrad2.gradcheck.subject import Case, ContractError, apart
from tinygrad2.types import Array

SPELLINGS = ("d{}", "grad_{}", "{}_grad", "d_{}")


class Pair:
    """A function and the one that pulls back."""

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any], form: str, rule: Callable[..., Any] | None) -> None:
        self.f, self.form, self.rule = f, form, rule
        self.names = argument_names(f, len(inputs))
        only_numbers = not any(_is_array(x) for x in leaves(dict(enumerate(inputs))))
        self.inputs = [_as_input(x, only_numbers) for x in inputs]
        self.checked = [_checked(x) for x in self.inputs]  # of each input, which of its leaves
        numbers = [name for name, x in zip(self.names, self.inputs, strict=True) if type(x) is float]
        self.note = f"a number beside arrays is a setting, and not checked: {', '.join(numbers)}" if numbers else ""
        self.arrays = apart([a for x, flags in zip(self.inputs, self.checked, strict=True) for a in _picked(x, flags)])

    def value(self, inputs: list[Array]) -> list[Any]:
        """The results, without the cache or the gradients."""
        arrays = iter(inputs)
        self.args = [
            rebuilt(x, iter([_like(next(arrays), leaf) if flag else leaf for leaf, flag in zip(leaves(x), flags, strict=True)]))
            if any(flags)
            else x
            for x, flags in zip(self.inputs, self.checked, strict=True)
        ]
        found = self.f(*self.args)
        self.cache: Any = None
        if self.form != "vjp":
            if not isinstance(found, tuple) or len(found) < 2:
                wanted = "(out, cache)" if self.form == "backward" else "(value, gradients)"
                raise TinygradError(
                    f"gradcheck: with {self.form}= the function gives {wanted}; it gave a {type(found).__name__}"
                )
            split = 1 if self.form == "value_and_grad" else len(found) - 1
            self.cache = found[split] if split == len(found) - 1 else found[split:]
            found = tuple(np.asarray(x)[()] if isinstance(x, (int, float)) else x for x in found[:split])
        self.out = found
        parts = leaves(found)
        for part in parts:
            if not hasattr(part, "dtype") and not isinstance(part, (int, float)):
                raise TinygradError(
                    f"gradcheck: the function gave a {type(part).__name__}; give arrays of numbers: {part!r:.60}"
                )
        if not parts:
            raise TinygradError(f"gradcheck: the function gave {found!r}; does it return an array, a number, or several?")
        if self.form == "value_and_grad" and (len(parts) > 1 or math.prod(np.shape(parts[0])) > 1):
            raise TinygradError(
                f"gradcheck: with value_and_grad=True the value is one number; it has shape {np.shape(parts[0])}"
            )
        return [_to_numpy(part) for part in parts]

    def pull(self, cotangents: list[Array]) -> list[Array]:
        """What the rule gives, in the order of the checked inputs."""
        if self.form == "value_and_grad":
            (g,) = cotangents
            return [(g.reshape(()) * part).astype(part.dtype) for part in self.sorted(self.cache)]
        parts = iter([_like(g, part) for g, part in zip(cotangents, leaves(self.out), strict=True)])
        given = rebuilt(self.out, parts)
        assert self.rule is not None
        asked = (given, *self.args) if self.form == "vjp" else (*given, self.cache)
        try:
            signature = inspect.signature(self.rule)
            signature.bind(*asked)
        except TypeError as error:
            other = "backward= of one of (dout, cache)" if self.form == "vjp" else "vjp= of one of (g, *inputs)"
            raise TinygradError(
                f"gradcheck: with {self.form}= the rule gets {len(asked)} arguments, and it takes {signature}; say {other}"
            ) from error
        except ValueError:  # a function that is not written in Python
            pass
        return self.sorted(self.rule(*asked))

    def sorted(self, found: Any) -> list[Array]:
        """The cotangents of the checked inputs. Raises ContractError where they cannot be told."""
        wanted = [i for i, flags in enumerate(self.checked) if any(flags)]
        parts = self._by_input(found, wanted)
        result = []
        for i, part in zip(wanted, parts, strict=True):
            name = self.names[i]
            try:
                matched = matching(self.inputs[i], part, f"the gradients of {name}") if entries(self.inputs[i]) else [part]
            except ShapeError as error:
                raise ContractError(str(error)) from error
            result += [_cotangent(g, name) for g, flag in zip(matched, self.checked[i], strict=True) if flag]
        return result

    def _by_input(self, found: Any, wanted: list[int]) -> list[Any]:
        names = [self.names[i] for i in wanted]
        if found is None:
            raise ContractError("the rule gave None: does it return?")
        alone = self.inputs[wanted[0]] if len(wanted) == 1 else None
        if isinstance(found, dict) and isinstance(alone, dict) and not _spelled(found, names[0]):
            return [{key: _named(found, key, alone) for key in alone}]
        if isinstance(found, dict):
            return [_named(found, name, names) for name in names]
        if len(wanted) == 1 and _depth(found) <= _depth(alone):
            return [found]
        if isinstance(found, (tuple, list)):
            if len(found) == len(wanted):
                return list(found)
            if len(found) == len(self.inputs):
                return [found[i] for i in wanted]
        count = len(found) if isinstance(found, (tuple, list)) else f"one {type(found).__name__}"
        raise ContractError(f"the rule gave {count} for the cotangents of {len(wanted)} inputs: {', '.join(names)}")


def _depth(value: Any) -> int:
    """How many containers are around what is in one."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else None
    return 0 if parts is None else 1 + max(map(_depth, parts), default=0)


def _spelled(found: dict[Any, Any], name: Any) -> list[Any]:
    return [key for key in (name, *(spelling.format(name) for spelling in SPELLINGS)) if key in found]


def _named(found: dict[Any, Any], name: Any, names: Container[Any]) -> Any:
    keys = [key for key in _spelled(found, name) if key == name or key not in names]
    if len(keys) > 1:
        raise ContractError(f"the rule gave {' and '.join(keys)}, and each may be the gradient of {name}: leave one out")
    if not keys:
        given = ", ".join(map(str, found)) or "nothing"
        raise ContractError(f"the rule gave {given}, and nothing for {name}: it may be called {name}, d{name} or grad_{name}")
    return found[keys[0]]


def _cotangent(g: Any, name: str) -> Array:
    if g is None:
        raise ContractError(f"the rule gave None for {name}; where the gradient is zero, give zeros")
    if type(g) in (int, float):
        return np.asarray(g, np.float64)
    if not hasattr(g, "dtype"):
        raise ContractError(f"the rule gave a {type(g).__name__} for {name}; give an array of the shape of {name}: {g!r:.60}")
    return _to_numpy(g)


# -- what an input is


def _is_torch(x: Any) -> bool:
    return type(x).__module__.partition(".")[0] == "torch" and hasattr(x, "detach")


def _is_array(x: Any) -> bool:
    return isinstance(x, (np.ndarray, np.generic)) or _is_torch(x)


def _as_input(x: Any, only_numbers: bool) -> Any:
    """Lists of floats as arrays, and Python's floats, if there are no arrays at all."""
    if isinstance(x, (float, list)) and entries(x) is None and (only_numbers or isinstance(x, list)):
        numbers = np.asarray(x)
        return numbers if numbers.dtype.kind == "f" and (numbers.ndim or only_numbers) else x
    return x


def _checked(x: Any) -> list[bool]:
    """Of the leaves of an input, which get a gradient: none of a container of settings, which holds more than arrays."""
    found = leaves(x)
    if entries(x) is not None and not all(map(_is_array, found)):
        return [False] * len(found)
    return [_is_array(a) and _to_numpy(a).dtype.kind in "fc" for a in found]


def _picked(x: Any, flags: list[bool]) -> Iterator[Array]:
    for leaf, flag in zip(leaves(x), flags, strict=True):
        if flag:
            a = np.asarray(_to_numpy(leaf))
            yield a if isinstance(leaf, np.ndarray) else a.copy()


def _to_numpy(x: Any) -> Array:
    return x.detach().numpy() if _is_torch(x) else np.asarray(x)


def _like(a: Array, leaf: Any) -> Any:
    """An array as what it stands for: an array, one of NumPy's or Python's numbers, or a Tensor of PyTorch."""
    if _is_torch(leaf):
        import torch

        return torch.from_numpy(np.asarray(a))
    if isinstance(leaf, np.ndarray):
        return a
    return a[()]  # a number, which cannot be written into


def case(f: Callable[..., Any], inputs: Sequence[Any], form: str, rule: Callable[..., Any] | None) -> Case:
    """Of a function and its rule."""
    if not callable(f) or (rule is not None and not callable(rule)):
        raise TinygradError(f"gradcheck: {f!r:.60} and {rule!r:.60} were given; give two functions")
    subject = Pair(f, inputs, form, rule)
    flags = [flag for flags in subject.checked for flag in flags]
    names = [name for name, flag in zip(path_names(f, subject.inputs), flags, strict=True) if flag]
    others = {name: x for name, x, flags in zip(subject.names, subject.inputs, subject.checked, strict=True) if not any(flags)}
    return Case(subject, subject.arrays, names, others)


def of_subject(f: Any, inputs: Sequence[Any]) -> Case:
    """Of an engine of somebody's own, that has `value` and `pull`."""
    arrays = [np.array(x, float) if not isinstance(x, np.ndarray) else x for x in inputs]
    return Case(f, apart(arrays), argument_names(getattr(f, "f", f), len(arrays)))
