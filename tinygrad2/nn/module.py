"""Module: a tree of layers whose parameters have names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Self

import numpy as np

from tinygrad2.errors import ShapeError
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

    A subclass sets parameters, modules, or lists of modules as attributes, and defines `forward`. A parameter's name
    is its path through the attributes: `h.3.attn.c_attn.weight`.
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

    def register_forward_hook(self, hook: Callable[[Any, tuple[Any, ...], Any], Any]) -> Callable[[], None]:
        """Call `hook(module, inputs, output)` after every forward; what it returns replaces the output.

        Returns a function that removes the hook.
        """
        self._forward_hooks = (*self._forward_hooks, hook)
        return lambda: setattr(self, "_forward_hooks", tuple(h for h in self._forward_hooks if h is not hook))

    def register_backward_hook(self, hook: Callable[[Any, Tensor], Any]) -> Callable[[], None]:
        """Call `hook(module, gradient)` with the gradient of the output in every backward; what it returns replaces it.

        Returns a function that removes the hook.
        """
        self._backward_hooks = (*self._backward_hooks, hook)
        return lambda: setattr(self, "_backward_hooks", tuple(h for h in self._backward_hooks if h is not hook))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module computes."""
        raise TypeError(f"{type(self).__name__} has no forward(); a Module must define one")

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Each module held directly, with its name; those of a list are named by their number too."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list):
                yield from ((f"{name}.{i}", child) for i, child in enumerate(value) if isinstance(child, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and every one below it, with their paths; its own is empty."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and every one below it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Each parameter once, with its path; one that is shared goes by its first name."""
        seen = set()
        for name, parameter in self._paths(prefix):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def _paths(self, prefix: str) -> Iterator[tuple[str, Parameter]]:
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value
        for name, child in self.named_children():
            yield from child._paths(f"{prefix}{name}.")

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

    def to(self, dtype: Any) -> Self:
        """Convert every parameter in place, for example to np.float64; gradients are forgotten."""
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
