"""What becomes of a call of NumPy with a Tensor: it is recorded, computed on the arrays, left to another type, or refused."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad2 import graph
from tinygrad2.errors import UnsupportedError
from tinygrad2.ops import RULES
from tinygrad2.ops.calls import call, spelled, writes
from tinygrad2.ops.op import is_tensor, values
from tinygrad2.ops.plain import IN_PLACE, INSTEAD, PLAIN

OPERANDS: set[type] = {np.ndarray, float, int, bool, np.float32, np.float64}
"""What the operands of a ufunc mostly are, Tensor and its subclasses too: these go to the rule as they are."""

METHODS: dict[tuple[Any, str], str] = {
    **{(np.add, "reduce"): "np.sum", (np.multiply, "reduce"): "np.prod", (np.logaddexp, "reduce"): "ops.logsumexp"},
    **{(np.maximum, "reduce"): "np.max", (np.minimum, "reduce"): "np.min"},
    **{(np.add, "accumulate"): "np.cumsum", (np.multiply, "accumulate"): "np.cumprod", (np.multiply, "outer"): "np.outer"},
    **{(np.subtract, "outer"): "a[:, None] - b", (np.add, "outer"): "a[:, None] + b"},
}
"""What is recorded, for a method of a ufunc that is not."""

Wrap = Callable[[Any, None], Any]
"""How an array becomes a Tensor: `Tensor.wrap`."""


def of_ufunc(wrap: Wrap, ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `__array_ufunc__` gives, but for what goes to a rule as it is."""
    if ufunc in PLAIN and not kwargs and method == "__call__" and OPERANDS.issuperset(map(type, inputs)):
        return _wrapped(wrap, ufunc(*map(values, inputs)))
    kinds: list[Any] = list(map(type, inputs))
    if any(_is_foreign(kind, "__array_ufunc__") for kind in kinds):
        return NotImplemented
    out = kwargs.get("out")
    is_recorded = _any((inputs, kwargs), _is_recorded)
    if out is not None and (is_recorded or _any(out, is_tensor)):  # else an array is written into: weights -= rate * gradient
        raise UnsupportedError(
            f"np.{ufunc.__name__} with out= cannot be differentiated; write the plain call, or .data of what leaves the graph"
        )
    if method == "at" or (method != "__call__" and ufunc not in PLAIN and is_recorded):
        instead = METHODS.get((ufunc, method), "the plain call")
        raise UnsupportedError(f"np.{ufunc.__name__} with .{method} cannot be differentiated; write {instead}")
    if method != "__call__" or out is not None:
        found = getattr(ufunc, method)(*values(inputs), **values(kwargs))
        return found if out is not None else _wrapped(wrap, found)
    return answer(wrap, ufunc, inputs, kwargs)


def of_function(wrap: Wrap, function: Any, types: Sequence[Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What `__array_function__` gives."""
    if any(_is_foreign(kind, "__array_function__") for kind in types):
        return NotImplemented
    return answer(wrap, function, args, kwargs)


def answer(wrap: Wrap, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What a function of NumPy's gives, of which at least one argument is a Tensor."""
    rule = RULES.get(function)
    by_numpy = rule is not None and not hasattr(rule, "__self__") and not _any((args, kwargs), _is_float)
    if rule is not None and not by_numpy:  # integers have no gradient, and what is put together of others may count in floats
        return _wrapped(wrap, call(function, args, kwargs))  # a part may be a plain array: the counts of np.unique
    written = [""] if function in IN_PLACE else [f" with {name}=" for name in writes(function, args, kwargs)]
    if written:
        raise UnsupportedError(
            f"{spelled(function)}{written[0]} writes into an array, and what was recorded with it would no longer be true; "
            "make a new one, as in np.where(mask, new, old)"
        )
    if by_numpy or function in PLAIN or not _any((args, kwargs), _is_recorded):
        return _wrapped(wrap, function(*values(args), **values(kwargs)))
    how = f"declare one, as in primitive({spelled(function)}, rule)"
    if spelled(function).startswith("np.fft."):
        how = "complex numbers have no gradient here; multiply with a matrix of sines and cosines"
    if function.__name__ in INSTEAD:
        how = f"write {INSTEAD[function.__name__]}"
    raise UnsupportedError(f"{spelled(function)} has no differentiable rule here; {how}, or take .data to leave the graph")


@functools.cache
def _is_foreign(kind: Any, protocol: str) -> bool:
    """Whether a type that is neither Tensor nor array answers NumPy itself, so that it is to be asked."""
    if issubclass(kind, np.ma.MaskedArray):
        raise UnsupportedError("a masked array with a Tensor: its mask would be lost; write np.where(mask, 0, array)")
    numpys = getattr(np.ndarray, protocol)
    return not hasattr(kind, "__record__") and getattr(kind, protocol, numpys) is not numpys


def _any(x: Any, is_so: Callable[[Any], bool]) -> bool:
    """Whether something is so of a value, or of one in it where it is a list or a dictionary."""
    if isinstance(x, (list, tuple, dict)):
        return any(_any(part, is_so) for part in (x.values() if isinstance(x, dict) else x))
    return is_so(x)


def _is_recorded(x: Any) -> bool:
    return is_tensor(x) and x.node is not None and graph.is_recording()


def _is_float(x: Any) -> bool:
    return (isinstance(x, np.ndarray) or is_tensor(x)) and x.dtype.kind == "f"


def _wrapped(wrap: Wrap, result: Any) -> Any:
    """What a function of arrays gave, with Tensors in place of arrays."""
    if isinstance(result, np.ndarray):
        return wrap(result, None)
    if isinstance(result, (list, tuple)):
        parts = [_wrapped(wrap, part) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    return result
