"""What an op is: a forward, a vector-Jacobian product, and a place in NumPy's vocabulary.

A rule is written once, in plain NumPy. Handed arrays it computes a gradient; handed Tensors (which implement
NumPy's protocols) the same lines are recorded and can be differentiated again. Nothing here imports Tensor: an
input that wants to be recorded says so through a `__record__` method on its class.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tinygrad2.errors import UnsupportedError
from tinygrad2.kernels.reference import Array as Array

RULES: dict[Callable[..., Any], Callable[..., Any]] = {}
"""From a NumPy function to what computes and records it: `RULES[np.sin] is Sin.call`."""


class Op:
    """A differentiable function of arrays.

    A subclass gives, as static methods:
        forward(*arrays, **params): the value. Parameters after `*` are settings and get no gradient.
        vjp(g, out, *arrays, **params): one cotangent per array, `None` where there is none. `g` is the cotangent
            of `out`. It returns `g`, views of `g`, or new arrays, and need not undo broadcasting: the engine does.
            It must not write to `g`.
    and `formula`, the rule as NumPy text in the names of `forward`, `g` and `out`: one expression per array, separated
    by `;`, after any names they share. The tests evaluate it against `vjp`.

    `samples` are arguments to try the op with, as Python text in which `normal(2, 3)` and `positive(2, 3)` are random
    arrays of that shape; the tests check every op on all of them.

    `class Sin(Op, of=np.sin)` also makes `np.sin(tensor)` arrive here.
    """

    name: ClassVar[str]
    formula: ClassVar[str] = ""
    forward: ClassVar[Callable[..., Any]]
    vjp: ClassVar[Callable[..., tuple[Any, ...]]]
    samples: ClassVar[tuple[str, ...]] = ()
    spec: ClassVar[Callable[..., Any] | None] = None
    arity: ClassVar[int | None]
    settings: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, of: Callable[..., Any] | None = None) -> None:
        if "forward" not in vars(cls):
            return
        cls.name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()
        parameters = inspect.signature(cls.forward).parameters.values()
        variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        cls.arity = None if variadic else sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        cls.settings = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
        if of is not None:
            RULES[of] = cls.call

    @classmethod
    def call(cls, *args: Any, **params: Any) -> Any:
        """Apply the op; recorded if an input asks for it. Settings may follow the arrays by position, as in NumPy."""
        inputs, extra = args[: cls.arity], args[cls.arity :] if cls.arity is not None else ()
        params.update(zip(cls.settings, extra, strict=False))
        if len(extra) > len(cls.settings) or not cls._knows(params):
            unknown = [name for name in params if name not in cls.settings] or extra
            raise UnsupportedError(f"{cls.name}: {unknown} is not supported here; it takes {list(cls.settings)}")
        for x in inputs:
            record = getattr(type(x), "__record__", None)
            if record is not None:
                return record(cls, inputs, params)
        return cls.run(inputs, params)[0]

    @classmethod
    def _knows(cls, params: dict[str, Any]) -> bool:
        return all(name in cls.settings for name in params)

    @classmethod
    def sample(cls, number: int, seed: int = 0) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments that one of `samples` stands for, positional and by name."""
        rng = np.random.default_rng([seed, number])
        names = {
            "np": np,
            "normal": lambda *shape: np.asarray(rng.standard_normal(shape)),
            "positive": lambda *shape: np.asarray(rng.uniform(0.5, 2.0, shape)),
            "arguments": lambda *args, **params: (args, params),
        }
        arguments: tuple[tuple[Any, ...], dict[str, Any]] = eval(f"arguments({cls.samples[number]})", names)
        return arguments

    @classmethod
    def run(cls, arrays: tuple[Any, ...], params: dict[str, Any]) -> tuple[Array, Any]:
        """The value, and what `vjp` receives as its second argument: for a plain op, the value itself."""
        out = np.asarray(cls.forward(*arrays, **params))
        return out, out

    @classmethod
    def keep(cls, arrays: tuple[Any, ...], saved: Any) -> tuple[Any, ...]:
        """What is kept of the inputs for `vjp`: `shape_of` those whose content the rule does not read."""
        return arrays


_NOTHING = bytes(16)


def shape_of(x: Any) -> Any:
    """An array of the shape and dtype of `x`, without its content: it takes no memory."""
    return np.ndarray(x.shape, x.dtype, _NOTHING, strides=(0,) * x.ndim) if isinstance(x, np.ndarray) else x


def has_content(x: Any) -> bool:
    """Whether this is an array that `shape_of` has not made."""
    return getattr(x, "base", None) is not _NOTHING


class Identity(Op):
    """The same array: another name for a value in the graph."""

    formula = "g"
    samples = ("normal(2)", "normal()", "normal(0)", "normal(1)")

    @staticmethod
    def forward(x: Array) -> Array:
        return x

    @staticmethod
    def vjp(g: Array, out: Array, x: Array) -> tuple[Array]:
        return (g,)


class Fused(Op):
    """An op with a hand-derived gradient on arrays and a plain-NumPy specification.

    `forward` returns `(value, saved)` and `vjp(g, saved, *arrays, **params)` receives what was saved. `spec` computes
    the same value from primitive ops: it is the documentation, the test oracle, and the path for higher derivatives.
    """

    @classmethod
    def run(cls, arrays: tuple[Any, ...], params: dict[str, Any]) -> tuple[Array, Any]:
        return cls.forward(*arrays, **params)


class Scatter:
    """A cotangent that is zero but at an index: added into the one buffer of its input, never spread out on its own."""

    __slots__ = ("index", "values")

    def __init__(self, index: Any, values: Array) -> None:
        self.index = index
        self.values = values

    def add_to(self, buffer: Array) -> None:
        """Add the values at the index of `buffer`, once for every repetition of an entry."""
        if isinstance(self.index, np.ndarray) and self.index.dtype.kind in "iu" and self.index.size and buffer.ndim > 1:
            add_rows(buffer, self.index, self.values)
        else:
            np.add.at(buffer, self.index, self.values)


def add_rows(buffer: Array, index: Array, values: Array) -> None:
    """np.add.at for integers (...) and values (..., *row): each row of the buffer is changed once, which is faster."""
    flat, rows = index.reshape(-1), values.reshape(index.size, *buffer.shape[1:])
    order = np.argsort(flat, kind="stable")
    ends = np.flatnonzero(np.diff(flat[order], append=np.iinfo(flat.dtype).max)) + 1
    start = 0
    for end in ends.tolist():
        buffer[flat[order[start]]] += rows[order[start:end]].sum(axis=0)
        start = end
