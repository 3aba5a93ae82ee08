"""Module: a tree of layers whose parameters have names."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from operator import itemgetter
from types import GeneratorType, ModuleType
from typing import Any, Self

import numpy as np

from tinygrad2.errors import DtypeError, ModuleError, ShapeError, counted
from tinygrad2.observer import observing
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array


class Parameter(Tensor):
    """A Tensor that a module owns and an optimizer may change. It has a gradient unless it is frozen."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)


class Module:
    """Something with parameters that can be called.

    A subclass sets parameters and modules as attributes, alone or in lists, tuples and dicts of any nesting, and defines
    `forward`. A parameter's name is its path: `h.3.attn.c_attn.weight`, `experts.left.0.bias`. Setting what has a parameter or
    module without a name in it, such as in a set, raises ModuleError, unless the module names that one already.
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

    def __setattr__(self, name: str, value: Any) -> None:
        kind, old = type(value).__name__, vars(self).get(name)
        if isinstance(old, Parameter) and value is not None and not isinstance(value, Parameter):
            raise ModuleError(f"{name} is a Parameter, and this {kind} is not; set {name}.data, or use it in `with using()`")
        if type(value) not in ATOMS:
            if not name or "." in name:
                raise ModuleError(f"{name!r} cannot name a {kind}; the name of an attribute is text without dots")
            if isinstance(value, (GeneratorType, map, filter, zip)):
                raise ModuleError(f"{name}: the items of a {kind} come only once; make it a list")
            parts = [part for _, part in _named(value, name)]
            if any(part is self for part in parts):
                raise ModuleError(f"{name} is a {kind} that holds itself; take it out, or hold it by weakref.ref()")
            for holder, part in _unnamed(value):
                if all(part is not one for one in [self, *parts, *(x for _, _, named in self._walk() for _, x in named)]):
                    raise ModuleError(f"{name}: this {type(part).__name__} in {holder} has no name; {NAMED}")
        super().__setattr__(name, value)

    def register_forward_hook(self, hook: Callable[[Any, tuple[Any, ...], Any], Any]) -> Callable[[], None]:
        """Call `hook(module, inputs, output)` after every forward; what it returns replaces that. Call the result to stop."""
        return self._register("_forward_hooks", hook)

    def register_backward_hook(self, hook: Callable[[Any, Tensor], Any]) -> Callable[[], None]:
        """Call `hook(module, gradient of output)` in every backward; what it returns replaces it. Call the result to stop."""
        return self._register("_backward_hooks", hook)

    def _register(self, where: str, hook: Callable[..., Any]) -> Callable[[], None]:
        registered = partial(hook)  # a new object, so that the same hook may be there twice and be removed once
        setattr(self, where, (*getattr(self, where), registered))
        return lambda: setattr(self, where, tuple(h for h in getattr(self, where) if h is not registered))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module computes."""
        raise TypeError(f"{type(self).__name__} has no forward(); a Module must define one")

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Each module held directly or in lists, tuples and dicts, with its name; one that is shared, once per name."""
        return ((name, part) for name, part in self._walk()[0][2] if isinstance(part, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, with their paths; its own is `prefix`. One that is shared comes once per path."""
        return ((path, module) for path, module, _ in self._walk(prefix))

    def modules(self) -> Iterator[Module]:
        """This module and every one below it."""
        return (module for _, module, _ in self._walk())

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Each parameter once, with its path; one that is shared goes by its first name."""
        listed: set[int] = set()
        for _, _, named in self._walk(prefix):
            for path, part in named:
                if isinstance(part, Parameter) and id(part) not in listed:
                    listed.add(id(part))
                    yield path, part

    def _walk(self, path: str = "", above: tuple[Module, ...] = ()) -> list[tuple[str, Module, Named]]:
        """The path of this module and of all below it, the module, and the parts that it names."""
        prefix, above = path and f"{path}.", (*above, self)
        named = [
            pair
            for name, value in list(vars(self).items())
            if type(value) not in ATOMS
            for pair in _named(value, prefix + name)
        ]
        walked = [(path, self, named)]
        for below, part in named:
            if isinstance(part, Module):
                if any(part is one for one in above):
                    raise ModuleError(
                        f"{below} is a {type(part).__name__} that holds itself; take it out, or hold it by weakref.ref()"
                    )
                walked += part._walk(below, above)
        return walked

    def __repr__(self) -> str:
        """A tree: every module and parameter on a line, equal siblings once."""
        return "\n".join(_tree(self, "", {}))

    def _repr_html_(self) -> str:
        """In a notebook: the table of its parameters."""
        from tinygrad2.html import table

        rows = [(name, " × ".join(map(str, p.shape)), f"{p.size:,}") for name, p in self.named_parameters()]
        title = f"{type(self).__name__}: {counted(self.num_parameters(), 'parameter')}"
        return table(("parameter", "shape", "count"), rows, title)

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

    @contextmanager
    def using(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """Inside, the named parameters are these Tensors: gradients go on to what these were computed from, as in MAML.

        Raises ShapeError for a name that there is not, and for another shape.
        """
        own = dict(self.named_parameters())
        for name, tensor in tensors.items():
            if name not in own or tensor.shape != own[name].shape:
                fix = f"give shape {own[name].shape}" if name in own else f"choose from {', '.join(own)}"
                raise ShapeError(f"using: {name} {tensor.shape}; {fix}")
        before = {name: (own[name]._array, own[name].node) for name in tensors}
        for name, tensor in tensors.items():
            own[name]._array, own[name].node = tensor.data, tensor.node
        try:
            yield
        finally:
            for name, (data, node) in before.items():
                own[name]._array, own[name].node = data, node

    def to(self, dtype: Any) -> Self:
        """Convert every parameter in place to a floating-point dtype, or raise DtypeError; gradients are forgotten."""
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
Named = list[tuple[str, Part]]
ATOMS = {type(None), bool, int, float, str, bytes}  # the commonest types of what holds nothing


NAMED = "put it in attributes, lists, tuples or dicts, whose keys are text without dots"


def _named(value: Any, path: str, above: tuple[int, ...] = ()) -> Iterator[tuple[str, Part]]:
    """The parts in a value, with the paths to them through lists, tuples and dicts."""
    if isinstance(value, (Parameter, Module)):
        yield path, value
    elif isinstance(value, (list, tuple, dict)):
        if id(value) in above:
            raise ModuleError(f"{path} is a {type(value).__name__} that holds itself; take it out")
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if not isinstance(inner, (Parameter, Module, list, tuple, dict)):
                continue
            is_name = isinstance(key, int) if not isinstance(value, dict) else isinstance(key, str) and key and "." not in key
            below = ".".join((path, key if isinstance(key, str) else str(key)))
            for pair in _named(inner, below, (*above, id(value))):
                if not is_name:
                    raise ModuleError(f"{path}: this {type(pair[1]).__name__} under the key {key!r} has no name; {NAMED}")
                yield pair


def _unnamed(value: Any, holder: str = "", above: tuple[int, ...] = ()) -> Iterator[tuple[str, Part]]:
    """The parts in a value that no path leads to, and what holds them; `holder` is that, once inside of it."""
    if isinstance(value, (Parameter, Module)):
        if holder:
            yield holder, value
        return
    if type(value) in ATOMS or id(value) in above:
        return
    inside, inner = holder or f"a {type(value).__name__}", list[tuple[str, Any]]()
    if isinstance(value, dict):
        inner = [pair for key, x in value.items() for pair in ((holder, x), (holder or "a key", key))]
    elif isinstance(value, (list, tuple)):
        inner = [(holder, x) for x in value]
    elif isinstance(value, (set, frozenset, deque, KeysView, ValuesView, ItemsView)):
        inner = [(inside, x) for x in value]
    elif isinstance(value, np.ndarray) and value.dtype == object:
        inner = [(inside, x) for x in value.flat]
    elif not holder and hasattr(value, "__dict__") and not isinstance(value, (type, ModuleType)):
        inner = [(inside, x) for x in vars(value).values()]  # one level: an object in an object may lead anywhere
    for where, x in inner:
        yield from _unnamed(x, where, (*above, id(value)))


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
    before = path and f"{path}."
    below = []
    for name, child in part._walk()[0][2]:
        text = _tree(child, before + name, shown)
        kind = name.rpartition(".")[0] or name, [line.replace(f"{before}{name}.", "") for line in text]
        below.append((kind, name, text))
    for _, group in groupby(below, itemgetter(0)):  # equal in all but where they are, and in the same list, tuple or dict
        (_, name, (title, *rest)), *more = group
        names = f"{name} to {more[-1][1]} ({len(more) + 1} times), each" if more else name
        lines += [f"  {names}: {title}", *(f"  {line}" for line in rest)]
    return lines
