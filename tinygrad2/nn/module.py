"""Module: a tree of layers whose parameters have names."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from types import BuiltinFunctionType, FunctionType, GeneratorType, MethodType, ModuleType, TracebackType
from typing import Any, Self

import numpy as np

from tinygrad2.errors import DtypeError, ModuleError, ShapeError
from tinygrad2.observer import observing
from tinygrad2.ops import Array
from tinygrad2.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that a module owns and an optimizer may change. It has a gradient unless it is frozen."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)


class Module:
    """Something with parameters that can be called.

    A subclass sets parameters and modules as attributes, alone or in lists, tuples and dicts of any nesting, and defines
    `forward`. A parameter's name is its path: `h.3.attn.c_attn.weight`, `experts.left.0.bias`. ModuleError where something
    has no name, such as a module in a set; what is already named may be held anywhere besides.
    """

    training = True
    _forward_hooks: tuple[Callable[..., Any], ...] = ()
    _backward_hooks: tuple[Callable[..., Any], ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        observer = observing()
        if observer is None:
            out = self.forward(*args, **kwargs)
        else:
            with observer.inside(self):
                out = self.forward(*args, **kwargs)
        for hook in self._forward_hooks:
            replaced = hook(self, args, out)
            out = out if replaced is None else replaced
        if self._backward_hooks and out.requires_grad:
            for hook in self._backward_hooks:
                out.register_hook(partial(hook, self))
        return out

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        named, unnamed = _parts(dict(vars(cls)))
        for name, *_ in (*named, *unnamed):
            raise ModuleError(f"{cls.__name__}.{name} belongs to the class, where no walk looks; set it in __init__")
        if vars(cls).get("__slots__"):
            raise ModuleError(f"{cls.__name__} has __slots__, where no walk looks; leave them out")

    def __setattr__(self, name: str, value: Any) -> None:
        if type(value) not in ATOMS:
            self._named({name: value})
            if isinstance(vars(self).get(name), Parameter) and type(value) in (Tensor, np.ndarray):
                raise ModuleError(
                    f"{type(self).__name__}.{name} is a Parameter, which this {type(value).__name__} would take out of the "
                    f"model; set .{name}.data, or give a Parameter"
                )
        super().__setattr__(name, value)

    def register_forward_hook(self, hook: Callable[[Any, tuple[Any, ...], Any], Any]) -> Callable[[], None]:
        """Call `hook(module, inputs, output)` after every forward; what it returns replaces the output.

        Returns a function that removes the hook.
        """
        return self._register("_forward_hooks", hook)

    def register_backward_hook(self, hook: Callable[[Any, Tensor], Any]) -> Callable[[], None]:
        """Call `hook(module, gradient)` with the gradient of the output in every backward; what it returns replaces it.

        Returns a function that removes the hook.
        """
        return self._register("_backward_hooks", hook)

    def _register(self, where: str, hook: Callable[..., Any]) -> Callable[[], None]:
        registered = _Hook(hook)
        setattr(self, where, (*getattr(self, where), registered))
        return lambda: setattr(self, where, tuple(h for h in getattr(self, where) if h is not registered))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module computes."""
        raise TypeError(f"{type(self).__name__} has no forward(); a Module must define one")

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Each module held directly or in lists, tuples and dicts, with its name; one that is shared, once per name."""
        return ((name, part) for name, part in self._named(vars(self)) if isinstance(part, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and every one below it, with their paths; its own is `prefix`. One that is shared comes once per path.

        Raises ModuleError where a module is below itself.
        """
        return ((path, module) for path, module, _ in self._walk(prefix))

    def modules(self) -> Iterator[Module]:
        """This module and every one below it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Each parameter once, with its path; one that is shared goes by its first name."""
        listed: set[int] = set()
        for path, _, parts in self._walk(prefix):
            for name, part in parts:
                if isinstance(part, Parameter) and id(part) not in listed:
                    listed.add(id(part))
                    yield _join(path, name), part

    def _walk(self, path: str, above: tuple[Module, ...] = ()) -> list[tuple[str, Module, list[tuple[str, Part]]]]:
        """This module and every one below it: path, module, and the parts that it names itself."""
        parts = self._named(vars(self))
        walked, above = [(path, self, parts)], (*above, self)
        for name, part in parts:
            if isinstance(part, Module):
                if part in above:
                    raise ModuleError(
                        f"{type(above[0]).__name__}.{_join(path, name)} is a {type(part).__name__} that holds this one; "
                        "give it to forward(), or hold it by weakref.ref()"
                    )
                walked += part._walk(_join(path, name), above)
        return walked

    def _named(self, attributes: dict[str, Any]) -> list[tuple[str, Part]]:
        """The parts in some of this module's attributes, by name. Raises ModuleError where one has none here or below."""
        named, unnamed = _parts(attributes)
        ids = _ids({**vars(self), **attributes}, {id(self)}) if unnamed else set()
        for path, part, place in unnamed:
            if id(part) not in ids:
                raise ModuleError(
                    f"{type(self).__name__}.{path}: a {type(part).__name__} {place} has no name; make it an attribute, or put "
                    "it in lists, tuples and dicts; attributes and keys are to be text without dots"
                )
        return named

    def __repr__(self) -> str:
        """A tree: every module and parameter on a line, equal siblings once."""
        return "\n".join(_tree(self, "", {}))

    def parameters(self) -> list[Parameter]:
        """Every parameter, once."""
        return [p for _, p in self.named_parameters()]

    def num_parameters(self) -> int:
        """How many numbers there are in all parameters."""
        return sum(p.size for p in self.parameters())

    def zero_grad(self) -> None:
        """Forget every gradient."""
        for p in self.parameters():
            if p.requires_grad:
                p.grad = None

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all below it to training (dropout acts) or, with False, to evaluation."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation: dropout does nothing."""
        return self.train(False)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inside, this module and all below it are in evaluation; after it, also after an error, each is as it was."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode

    def to(self, dtype: Any) -> Self:
        """Convert every parameter in place, for example to np.float64; gradients are forgotten.

        Raises DtypeError for one that is not floating-point.
        """
        if np.dtype(dtype).kind != "f":
            raise DtypeError(f"to({np.dtype(dtype)}): parameters are floating-point, to have gradients; give a float dtype")
        for p in self.parameters():
            p.data = p.data.astype(dtype)
        self.zero_grad()
        return self

    def state_dict(self) -> dict[str, Array]:
        """The arrays of all parameters by name: the arrays themselves, not copies."""
        return {name: p.data for name, p in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy arrays into the parameters by name, converted to each parameter's dtype.

        Names and shapes are all checked first; a ShapeError lists every mismatch, and then nothing has changed.
        """
        own = dict(self.named_parameters())
        wrong = [f"missing {name} {own[name].shape}" for name in own if name not in state]
        wrong += [f"unexpected {name}" for name in state if name not in own]
        wrong += [
            f"{name} has shape {np.shape(state[name])}, needs {p.shape}"
            for name, p in own.items()
            if name in state and np.shape(state[name]) != p.shape
        ]
        if wrong:
            raise ShapeError("load_state_dict: " + "; ".join(wrong))
        for name, p in own.items():
            p.data = np.array(state[name], p.dtype)


Part = Parameter | Module
PARTS = (Parameter, Module)


class _Hook(partial[Any]):
    """A hook as it is registered: a new object each time, so that the same hook may be there twice and be removed once."""


ATOMS = {type(None), bool, int, float, str}
"""The commonest types of what holds nothing."""

SEALED = (type, ModuleType, FunctionType, MethodType, BuiltinFunctionType, GeneratorType, TracebackType, Tensor, _Hook)
"""What is code, or remembers a graph: it may refer to any module without being a place to keep one."""

FOREIGN = sys.stdlib_module_names - {"builtins", "collections", "functools", "itertools", "types"}
"""Python's own packages whose objects are not looked into: a logger, say, leads to every file of the program."""


def _join(path: str, name: Any) -> str:
    return ".".join((path, name) if path else (name,))  # join: an Enum's member that is text counts as its text


def _parts(attributes: dict[str, Any]) -> tuple[list[tuple[str, Part]], list[tuple[str, Part, str]]]:
    """The parameters and modules in some attributes: those with a name and, with their places, those without."""
    named: list[tuple[str, Part]] = []
    unnamed: list[tuple[str, Part, str]] = []

    def find(value: Any, path: str, named: list[tuple[str, Part]], above: tuple[Any, ...]) -> None:
        if isinstance(value, PARTS):
            named.append((path, value))
        elif isinstance(value, (list, tuple, dict)):
            if any(value is one for one in above):
                raise ModuleError(f"the attribute {path!r} is a {type(value).__name__} that holds itself; take it out")
            look_into(value, path, named, (*above, value))
        elif isinstance(value, (GeneratorType, map, filter, zip)):
            raise ModuleError(f"the attribute {path!r} is a {type(value).__name__}, whose items come only once; make it a list")
        else:
            unnamed.extend((path, part, f"in a {type(value).__name__}") for part in _inside(value))

    def look_into(value: Any, path: str, named: list[tuple[str, Part]], above: tuple[Any, ...]) -> None:
        for key, inner in value.items() if isinstance(value, dict) else ((str(i), inner) for i, inner in enumerate(value)):
            if type(inner) in ATOMS:
                pass
            elif isinstance(key, str) and key and "." not in key:
                find(inner, _join(path, key), named, above)
            else:
                lost: list[tuple[str, Part]] = []
                find(inner, f"{path}[{key!r}]", lost, above)
                unnamed.extend((below, part, f"under the key {key!r}") for below, part in lost)
            if type(key) not in ATOMS:
                unnamed.extend((path, part, "as a key") for part in _inside(key))

    look_into(attributes, "", named, ())
    return named, unnamed


def _inside(value: Any) -> Iterator[Part]:
    """The parameters and modules that a value without names for them refers to, however deep."""
    todo, looked_at = [value], set()
    while todo:
        value = todo.pop()
        if isinstance(value, PARTS):
            yield value
        elif isinstance(value, np.ndarray):
            todo += value.flat if value.dtype == object else ()
        elif type(value) not in ATOMS and id(value) not in looked_at and not isinstance(value, SEALED):
            looked_at.add(id(value))
            if type(value).__module__.partition(".")[0] not in FOREIGN:
                todo += gc.get_referents(value)


def _ids(attributes: dict[str, Any], listed: set[int]) -> set[int]:
    """`listed`, and the ids of all parts that are named in these attributes or below."""
    for _, part in _parts(attributes)[0]:
        if id(part) not in listed:
            listed.add(id(part))
            if isinstance(part, Module):
                _ids(vars(part), listed)
    return listed


def _tree(part: Part, path: str, shown: dict[int, str]) -> list[str]:
    """The lines that show a part; `shown` has the paths of those that have been."""
    if id(part) in shown:
        return [f"the same as {shown[id(part)]}"]
    shown[id(part)] = path
    if isinstance(part, Parameter):
        return [f"{part.shape} {part.dtype}{'' if part.requires_grad else ', frozen'}"]
    total, frozen = part.num_parameters(), sum(p.size for p in part.parameters() if not p.requires_grad)
    some = f", {frozen:,} of them frozen" if 0 < frozen < total else ", frozen" if frozen else ""
    lines = [type(part).__name__ + (f", {total:,} parameters{some}" if total else "")]
    inner = [(name, _tree(child, _join(path, name), shown)) for name, child in part._named(vars(part))]

    def kind(sibling: tuple[str, list[str]]) -> tuple[str, list[str]]:
        name, text = sibling  # equal in all but where they are, and in the same list, tuple or dict
        return name.rpartition(".")[0] or name, [line.replace(f"{_join(path, name)}.", "") for line in text]

    for _, group in groupby(inner, kind):
        (name, (title, *rest)), *more = group
        names = f"{name} to {more[-1][0]} ({len(more) + 1} times), each" if more else name
        lines += [f"  {names}: {title}", *(f"  {line}" for line in rest)]
    return lines
