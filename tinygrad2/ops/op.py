"""What an op is: a forward, a rule for the cotangent of each input, and a place in NumPy's vocabulary.

A rule is written once, in plain NumPy. Handed arrays it computes a gradient; handed Tensors (which implement NumPy's protocols)
the same lines are recorded and can be differentiated again. Nothing here imports Tensor: an input that wants to be recorded
says so through a `__record__` method on its class.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygrad2.errors import GraphError, UnsupportedError
from tinygrad2.ops.source import Formula, formulas, written
from tinygrad2.types import Array

Function = Callable[..., Any]
Needed = Sequence[bool]
"""For each input of an op, whether its cotangent is wanted."""

LISTS = {list, tuple}
"""What an input may be written as, beside numbers, arrays and Tensors."""

RULES: dict[Function, Function] = {}
"""From a NumPy function to what computes and records it: `RULES[np.sin] is Sin.call`."""


def _package(f: Any) -> str:
    return (getattr(f, "__module__", None) or "").partition(".")[0]


class Op:
    """A differentiable function of arrays. `primitive` makes one in a line; a class is for what takes more to say.

    A subclass gives, as static methods:
        forward(*arrays, **settings): the value. What follows `*` are settings, which get no gradient.
        vjp(g, out, *arrays, **settings): a tuple with one cotangent per array, `None` where there is none. `g` is the cotangent
            of `out`. A cotangent is `g`, a view of it, or a new array; it need not undo broadcasting: the engine does. Nothing
            that it is given may be written to. Of a parameter `needed` it gets which cotangents are wanted, as bools.

    `samples` are arguments to try the op with, as Python text in which `normal(2, 3)` and `positive(2, 3)` are random arrays of
    that shape; the tests check every op on all of them. `class Sin(Op, of=np.sin)` also makes `np.sin(tensor)` arrive here.
    """

    name: ClassVar[str]
    forward: ClassVar[Function]
    vjp: ClassVar[Function]
    rules: ClassVar[tuple[Function, ...] | None] = None  # one for each input, where these are apart
    spec: ClassVar[Function | None] = None
    rule: ClassVar[Function | None] = None
    samples: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[Function | None] = None  # what is done to every input first: `wide` or `real`
    arguments: ClassVar[tuple[str, ...]]  # the names of the arrays; empty where there may be any number
    optional: ClassVar[int]  # so many arguments, the last ones, may be left out: they are None then
    arity: ClassVar[int | None]
    settings: ClassVar[dict[str, Any]]  # the defaults by name

    def __init_subclass__(cls, of: Function | None = None) -> None:
        for part in ("forward", "vjp"):
            if isinstance(vars(cls).get(part), classmethod):
                raise UnsupportedError(f"{cls.__name__}: {part} is a class method; make it a static method")
        if "forward" in vars(cls):
            cls.name = vars(cls).get("name") or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()
            cls._declare(_parameters(cls.forward))
            cls.forward = staticmethod(_guarded(cls.name, "forward", cls.forward))
            if of is not None:
                RULES[of] = cls.call
        vjp = getattr(cls, "vjp", None)
        if "vjp" in vars(cls) or not getattr(vjp, "is_guard", vjp is None):
            cls.vjp = staticmethod(_complete(cls, written(vjp)))

    @classmethod
    def _declare(cls, parameters: Sequence[inspect.Parameter]) -> None:
        """Read the arguments and settings from the parameters of a function."""
        arguments = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        for p in arguments:
            if p.default not in (p.empty, None):
                raise UnsupportedError(
                    f"{cls.name}: {p.name}={p.default!r} is an input, which is None where it is left out; a setting follows `*`"
                )
        cls.arguments, cls.optional = tuple(p.name for p in arguments), sum(p.default is not p.empty for p in arguments)
        cls.arity = None if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(arguments)
        cls.settings = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    @classmethod
    def call(cls, *args: Any, **settings: Any) -> Any:
        """Apply the op; recorded if an input asks for it. Settings may follow the arrays by position, as in NumPy."""
        inputs = args if len(args) == cls.arity and not settings else cls.bind(args, settings)
        if not LISTS.isdisjoint(map(type, inputs)):
            inputs = tuple([as_array(x) if type(x) in LISTS else x for x in inputs])
        if cls.takes is None:
            return cls._apply(inputs, settings)
        taken = tuple(map(cls.takes, inputs))
        out = cls._apply(taken, settings)
        return out if all(map(operator.is_, taken, inputs)) else _rounded(out, inputs)

    @classmethod
    def _apply(cls, inputs: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        for x in inputs:
            record = getattr(type(x), "__record__", None)
            if record is not None:
                return record(cls, inputs, settings)
        return cls.run(inputs, settings)[0]

    @classmethod
    def bind(cls, args: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Any, ...]:
        """The inputs among the arguments of a call; its settings join those given by name. Raises UnsupportedError."""
        inputs, extra = args[: cls.arity], args[cls.arity :] if cls.arity is not None else ()
        for name in cls.arguments[len(inputs) :] if cls.optional else ():
            inputs = (*inputs, settings.pop(name, None))
        settings.update(zip(cls.settings, extra, strict=False))
        if len(extra) > len(cls.settings) or not settings.keys() <= cls.settings.keys():
            unknown = [name for name in settings if name not in cls.settings] or list(extra)
            takes = [*cls.arguments[len(args) :], *cls.settings]
            raise UnsupportedError(f"{cls.name}: {unknown} is not supported here; it takes {takes}")
        if len(inputs) != cls.arity and cls.arity is not None:
            raise UnsupportedError(f"{cls.name} takes {list(cls.arguments)}; it was given {len(inputs)} of them")
        if settings:
            refuse_tensors(cls.name, settings)
        return inputs

    @classmethod
    def run(cls, arrays: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Array, Any]:
        """The value, and what `vjp` receives as its second argument: for a plain op, the value itself."""
        found = cls.forward(*arrays, **settings)
        out = np.asarray(found)
        if out.dtype == object:
            raise UnsupportedError(f"{cls.name}: its forward gave a {type(found).__name__}, which is not an array of numbers")
        return out, out

    @classmethod
    def kept(cls, arrays: tuple[Any, ...], residuals: Any, needed: Needed) -> tuple[tuple[Any, ...], Any]:
        """What backward will read of the inputs, and of what `run` gave beside the value; an `Outline` for what it will not."""
        return arrays, residuals

    @classmethod
    def formula(cls, index: Any) -> Formula | None:
        """How the cotangent of one input is computed, as text; None where the source of the rule does not say it.

        Of an op of any number of inputs, "i" stands for each of them.
        """
        found = formulas(cls.rule or cls.vjp, several=cls.rule is None)
        if found is None or len(found) != cls.arity or found[index].result == "None":
            return None
        return found[index]


class Primitive(Op):
    """An op whose cotangents are an expression each; see `primitive`."""

    sources: ClassVar[tuple[Function | None, ...]]  # the rules as they were given
    _plans: ClassVar[dict[Needed, tuple[Sequence[bool], bool]]]

    def __init_subclass__(cls) -> None:
        """Whatever there is to know, `primitive` says."""
        if "sources" not in vars(cls):
            raise UnsupportedError(
                f"{cls.__name__}: a primitive cannot be subclassed; make another by primitive(forward, *rules)"
            )

    @classmethod
    def kept(cls, arrays: tuple[Any, ...], residuals: Any, needed: Needed) -> tuple[tuple[Any, ...], Any]:
        inputs, out = cls._plans.get(needed) or cls._plan(needed)
        return tuple([x if keep else outline(x) for x, keep in zip(arrays, inputs, strict=True)]), residuals if out else None

    @classmethod
    def _plan(cls, needed: Needed) -> tuple[Sequence[bool], bool]:
        """Of which inputs, and whether of the result, the rules that are needed read the entries."""
        pairs = zip(needed, cls.sources if cls.arity is not None else cls.sources * len(needed), strict=True)
        found = [cls.formula(i) for i, (wanted, rule) in enumerate(pairs) if wanted and rule is not None]

        def read(place: int) -> bool:
            return any(f is None or place >= len(f.parameters) or f.reads(f.parameters[place]) for f in found)

        places = range(2, 2 + len(needed)) if cls.arity is not None else [3] * len(needed)
        return cls._plans.setdefault(tuple(needed), ([read(place) for place in places], read(1)))

    @classmethod
    def formula(cls, index: Any) -> Formula | None:
        rule = cls.sources[index if cls.arity is not None else 0]
        found = formulas(rule) if rule is not None else None
        if found is None or len(found) != 1:
            return None
        return found[0] if cls.arity is not None or index == "i" else found[0].of(index)


def primitive(
    forward: Function,
    *rules: Function | None,
    samples: str = "",
    name: str = "",
    of: Function | None = None,
    takes: Function | None = None,
) -> type[Primitive]:
    """An op from its forward and a rule for each input, None where an input gets no gradient.

    A rule gives the cotangent of one input from the cotangent `g` of the result, the result `out`, and the inputs; settings
    follow `*`, by NumPy's names. It is called only where that cotangent is wanted, and what no rule reads is not kept. `Op`
    says what it may give. An op of any number of inputs has one rule, `lambda g, out, i, *arrays: ...`, for input number `i`.

    >>> Cube = primitive(lambda x: x**3, lambda g, out, x: g * 3 * x**2, name="cube")
    >>> Cube.call(np.array([1.0, 2.0]))
    array([1., 8.])

    Args:
        forward: a NumPy function, or one written with them: f(*arrays, **settings).
        samples: arguments to try it with, apart by "; "; see `Op`.
        name: what messages call it; that of `forward` unless given.
        of: the NumPy function that arrives here when it is called on a Tensor; else `forward`, if it has no rule.
        takes: what is done to every input first, such as `wide`.

    Raises UnsupportedError where the rules do not fit each other.
    """
    name = name or getattr(forward, "__name__", type(forward).__name__)
    given = [rule for rule in rules if rule is not None]
    parameters = _parameters(given[0])[2:] if given else []
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    called = tuple([_nothing if f is None else _guarded(name, f"rule of input {i}", f) for i, f in enumerate(rules)])

    def vjp(g: Any, out: Any, *arrays: Any, needed: Needed | None = None, **settings: Any) -> list[Any]:
        wanted = needed or [x is not None for x in arrays]
        if variadic:
            return [called[0](g, out, i, *arrays, **settings) if w else None for i, w in enumerate(wanted)]
        return [f(g, out, *arrays, **settings) if w else None for f, w in zip(called, wanted, strict=True)]

    body: dict[str, Any] = {"forward": staticmethod(_guarded(name, "forward", forward)), "vjp": staticmethod(vjp), "name": name}
    body |= {"rules": None if variadic else called, "sources": rules, "_plans": {}, "takes": _static(takes)}
    op = _made(Primitive, name, given[0] if given else forward, samples, body)
    op._declare(parameters[variadic:])
    if not given or op.arity not in (None, len(rules)):
        raise UnsupportedError(
            f"{name}: {len(rules)} rules for the inputs {list(op.arguments)}; give one for each, None for one without; "
            "settings follow `*`, as in lambda g, out, x, *, axis=None: ..."
        )
    for rule in given:
        _check(op, rule, "rules", ["i", "array"] if variadic else ["array"] * len(rules))
    if _package(forward) not in ("tinygrad2", "numpy"):
        _check_defaults(op, forward)
    if of is not None or (_package(forward) == "numpy" and forward not in RULES):  # only who says so takes the place of a rule
        RULES[of or forward] = op.call
    return op


class Fused(Op):
    """An op with a hand-derived gradient on arrays and a plain-NumPy specification.

    `forward` returns `(value, residuals)` and `vjp(g, residuals, *arrays, **settings)` receives what it left. `spec` computes
    the same value from primitive ops: it is the documentation, the test oracle, and the path for higher derivatives. `rule(g,
    out, *arrays, **settings)`, if there is one, is the gradient in plain NumPy: what is shown, where `vjp` is a kernel.
    """

    spec: ClassVar[Function]

    @classmethod
    def run(cls, arrays: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Array, Any]:
        found: tuple[Array, Any] = cls.forward(*arrays, **settings)
        if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[0], (np.ndarray, np.generic)):
            raise UnsupportedError(f"{cls.name}: its forward must give (value, what vjp is to receive); it gave {found!r:.80}")
        return np.asarray(found[0]), found[1]


def fused(
    forward: Function,
    vjp: Function,
    *,
    spec: Function,
    rule: Function,
    name: str,
    samples: str,
    kept: Function = lambda arrays, residuals: arrays,
    takes: Function,
) -> type[Fused]:
    """A `Fused` op from its parts; `kept(arrays, residuals)` says what is kept of the inputs."""
    parts = {"forward": forward, "vjp": vjp, "spec": spec, "rule": rule, "takes": takes}
    body: dict[str, Any] = {"name": name, **{key: staticmethod(part) for key, part in parts.items()}}
    body["kept"] = classmethod(lambda cls, arrays, residuals, needed: (kept(arrays, residuals), residuals))
    return _made(Fused, name, forward, samples, body)


def _made(base: Any, name: str, like: Function, samples: str, body: dict[str, Any]) -> Any:
    """A class of that name, as if it were written beside a function."""
    body |= {"samples": tuple(samples.split("; ")) if samples else (), "__module__": getattr(like, "__module__", None) or ""}
    return type(name.title().replace("_", ""), (base,), body)


HALF = np.dtype(np.float16)


def wide(x: Any) -> Any:
    """float16 as float32: long sums, and what several steps lead to, are computed so, and rounded once, at the end."""
    return x.astype(np.float32) if getattr(x, "dtype", None) == HALF else x


def as_array(x: Any) -> Any:
    """An input with a shape and a dtype: Python's numbers and lists as arrays, and a list with Tensors in it as one Tensor;
    Tensors, arrays and None as they are."""
    if x is None or hasattr(x, "dtype"):
        return x
    return np.stack([as_array(part) for part in x]) if holds_tensor(x) else np.asarray(x)


def floating(x: Any) -> Any:
    """Numbers to compute a function of: integers, booleans, and Python's numbers and lists as float64."""
    x = as_array(x)
    return x.astype(np.float64) if x is not None and x.dtype.kind in "biu" else x


def real(x: Any) -> Any:
    """`floating` and `wide`."""
    return wide(floating(x))


def _rounded(out: Any, inputs: Sequence[Any]) -> Any:
    """What was computed of inputs that were made wider, as float16 if all the floating-point ones are."""
    dtypes = {x.dtype for x in inputs if hasattr(x, "dtype") and x.dtype.kind == "f"}
    return out.astype(HALF) if dtypes == {HALF} and out.dtype == np.float32 else out


def is_tensor(x: Any) -> bool:
    """Whether something wants to be recorded."""
    return hasattr(type(x), "__record__")


def values(x: Any) -> Any:
    """The arrays of Tensors, also of those within lists and dictionaries; anything else as it is."""
    if is_tensor(x):
        return x.data
    if isinstance(x, dict):
        return {key: values(part) for key, part in x.items()}
    return (tuple if isinstance(x, tuple) else list)(map(values, x)) if isinstance(x, (list, tuple)) else x


def _static(f: Function | None) -> Any:
    return None if f is None else staticmethod(f)


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """The shape and dtype of an array whose entries nothing reads: it takes no memory, and cannot be computed with."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))
    __array_ufunc__ = None

    def __eq__(self, other: object) -> bool:
        raise TypeError("these entries were not kept, since no rule was seen to read them")


def outline(x: Any) -> Any:
    """The Outline of an array; anything else as it is."""
    return Outline(x.shape, x.dtype) if isinstance(x, np.ndarray) else x


def arrays_in(held: Any) -> list[Array]:
    """The arrays in nested tuples, lists and dictionaries."""
    if isinstance(held, (tuple, list, dict)):
        return [array for part in (held.values() if isinstance(held, dict) else held) for array in arrays_in(part)]
    return [held] if isinstance(held, np.ndarray) else []


def _nothing(*_: Any, **__: Any) -> None:
    """The rule of an input that gets no gradient."""


def _parameters(f: Function) -> list[inspect.Parameter]:
    if isinstance(f, np.ufunc):  # before NumPy 2.4 they have no signature that inspect could read
        return [inspect.Parameter(f"x{i}", inspect.Parameter.POSITIONAL_ONLY) for i in range(f.nin)]
    return list(inspect.signature(f).parameters.values())


# -- what is wrong with an op is said of it


def refuse_tensors(name: str, settings: dict[str, Any]) -> None:
    """Raise UnsupportedError if a setting of an op is a Tensor, or has one in it: it would get no gradient."""
    for setting, value in settings.items():
        if holds_tensor(value):
            raise UnsupportedError(f"{name}: {setting} is a Tensor, and settings get no gradient; give its .data or .item()")


def holds_tensor(value: Any) -> bool:
    """Whether a value is a Tensor, or a list that has one in it."""
    if isinstance(value, (tuple, list)):
        return any(map(holds_tensor, value))
    return is_tensor(value)


def _check(op: type[Op], f: Function, what: str, inputs: Sequence[str]) -> None:
    """Raise UnsupportedError unless a function can be called as a rule of this op is."""
    try:
        inspect.signature(f).bind("g", "out", *inputs, **op.settings)
    except TypeError as error:
        called = ", ".join(["g", "out", *inputs, *(f"{name}=" for name in op.settings)])
        raise UnsupportedError(f"{op.name}: its {what} will be called with ({called}), which does not fit: {error}") from None
    _check_defaults(op, f)


def _check_defaults(op: type[Op], f: Function) -> None:
    """Raise UnsupportedError if a function takes something else for a setting that is left out than the op does."""
    for p in _parameters(f):
        ours = op.settings.get(p.name, p.empty)
        if p.empty not in (p.default, ours) and repr(p.default) != repr(ours):
            raise UnsupportedError(
                f"{op.name}: {p.name} has the default {ours!r} here, and {p.default!r} elsewhere; write the same"
            )


def _read_only(value: Any) -> Any:
    """Views, of all arrays in it, that cannot be written to."""
    if type(value) in (tuple, list):
        return type(value)(map(_read_only, value))
    if type(value) is dict:
        return {key: _read_only(x) for key, x in value.items()}
    if type(value) is not np.ndarray or not value.flags.writeable:
        return value
    view = value.view()
    view.flags.writeable = False
    return view


def _is_all_of(view: Array, x: Array) -> bool:
    """Whether a view shows an array as it is."""
    return (view.shape, view.strides, view.dtype, view.ctypes.data) == (x.shape, x.strides, x.dtype, x.ctypes.data)


def _guarded(name: str, what: str, f: Function) -> Function:
    """A part of an op; if it was written elsewhere, what it is given cannot be written to, and it must give something."""
    f = written(f)
    if _package(f) in ("tinygrad2", "numpy"):
        return f

    @functools.wraps(f)
    def guarded(*args: Any, **settings: Any) -> Any:
        try:
            found = f(*map(_read_only, args), **_read_only(settings))
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise GraphError(
                f"{name}: its {what} writes into an array it was given, which others read; make a new one: 2 * g, not g *= 2"
            ) from error
        if found is None:
            raise GraphError(f"{name}: its {what} gave None; add a return")
        if what == "forward" and type(found) is np.ndarray:  # the very array that it got, and not the view of it
            return next((x for x in args if type(x) is np.ndarray and _is_all_of(found, x)), found)
        return found

    guarded.is_guard = True  # type: ignore[attr-defined]
    return guarded


def _complete(op: type[Op], vjp: Function) -> Function:
    """A vjp that may be told what is needed, and is checked to give one cotangent for each input."""
    told = "needed" in inspect.signature(vjp).parameters
    if op.arity is not None:
        _check(op, functools.partial(vjp, needed=None) if told else vjp, "vjp", op.arguments)
    called = _guarded(op.name, "vjp", vjp)

    @functools.wraps(vjp)
    def complete(g: Any, residuals: Any, *arrays: Any, needed: Needed | None = None, **settings: Any) -> Any:
        if told:
            settings["needed"] = needed or (True,) * len(arrays)
        found = called(g, residuals, *arrays, **settings)
        if not isinstance(found, (tuple, list)) or len(found) != len(arrays):
            gave = f"{len(found)} cotangents" if isinstance(found, (tuple, list)) else f"a {type(found).__name__}"
            raise GraphError(
                f"{op.name}: its vjp gave {gave} for {len(arrays)} inputs; return a tuple with one cotangent for each, None "
                "for one without; a single one is `return (cotangent,)`, with the comma"
            )
        return found

    complete.is_guard = True  # type: ignore[attr-defined]
    return complete


Identity = primitive(lambda x: x, lambda g, out, x: g, name="identity", samples="normal(2); normal(); normal(0); normal(1)")
"""The same array: another name for a value in the graph."""
