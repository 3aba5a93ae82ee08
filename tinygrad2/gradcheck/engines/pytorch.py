"""Functions, autograd.Functions and modules of PyTorch."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from tinygrad2.containers import leaves
from tinygrad2.errors import DtypeError, TinygradError
from tinygrad2.gradcheck.engines.calls import Calls, mixed
from tinygrad2.gradcheck.engines.names import path_names
from tinygrad2.gradcheck.subject import Case, ContractError, DoubtError
from tinygrad2.types import Array

BROKEN = ("returned an incorrect number of gradients", "returned an invalid gradient", "modified by an inplace operation")
"""What PyTorch says of a backward that is none."""


@contextlib.contextmanager
def _recording() -> Iterator[None]:
    """What is checked is recorded, whatever it is called inside of."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


class Torch(Calls):
    """A function of PyTorch's Tensors, and of the parameters that it reads elsewhere."""

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any], parameters: Sequence[torch.Tensor]) -> None:
        super().__init__(f, inputs, lambda x: _is_float(x) and getattr(x, "requires_grad", False))
        self.checked = self.checked if any(self.checked) else [_is_float(x) for x in self.leaves]
        self.leaves = [
            torch.from_numpy(x) if isinstance(x, np.ndarray) and not flag else x
            for x, flag in zip(self.leaves, self.checked, strict=True)
        ]
        self.leaves = [x.clone() if isinstance(x, torch.Tensor) and x.is_inference() else x for x in self.leaves]
        self.given, self.narrow = self.leaves, any(_numpy(x).dtype == np.float32 for x in self.picked(self.leaves))
        self.in_place = False  # whether it writes into its inputs, as ReLU(inplace=True) does; then they are no leaves
        self.parameters, self.note = list(parameters), ""

    def arrays(self) -> list[Array]:
        """Of all that is checked: those of the parameters are their own, those of the inputs new."""
        return [np.array(_numpy(x)) for x in self.picked(self.leaves)] + [p.detach().numpy() for p in self.parameters]

    def value(self, inputs: list[Array]) -> list[Array]:
        """The results, as far as they are floating-point; a complex one as pairs of real numbers."""
        wide = self.narrow and inputs[0].dtype != np.float32  # then what is float32 beside them is made so too
        self.leaves = [x.double() if wide and _is_float(x) and x.dtype == torch.float32 else x for x in self.given]
        own = self.picked(self.leaves)
        devices = [x.device if isinstance(x, torch.Tensor) else "cpu" for x in own]
        self.variables = [torch.from_numpy(a).to(d).requires_grad_() for a, d in zip(inputs, devices, strict=False)]
        kept, before = [a.copy() for a in inputs[: len(own)]], [p.data for p in self.parameters]
        try:
            for p, a in zip(self.parameters, inputs[len(own) :], strict=True):
                if not (p.data.dtype == torch.float64 and np.shares_memory(p.detach().numpy(), a)):
                    p.data = torch.from_numpy(a)
            found = self.called([x.clone() for x in self.variables] if self.in_place else self.variables)
        except RuntimeError as error:
            if self.in_place or "in-place" not in str(error):
                raise
            self.in_place = True
            for a, old in zip(inputs, kept, strict=False):
                a[...] = old
            return self.value(inputs)
        finally:
            for p, data in zip(self.parameters, before, strict=True):
                p.data = data
        parts = leaves(found)
        for part in parts:
            if not isinstance(part, (torch.Tensor, int, float, bool, str)):
                raise TinygradError(
                    f"gradcheck: the function gave a {type(part).__name__}; give PyTorch's Tensors: {part!r:.60}"
                )
        turned = not any(x.dtype.kind == "c" for x in inputs)  # of real inputs
        self.outs = [_as_real(part) if turned else part for part in parts if _is_number(part)]
        if not self.outs:
            raise TinygradError(f"gradcheck: the function gave {found!r:.60}; give floating-point Tensors of PyTorch")
        lost = sum(not out.requires_grad for out in self.outs)
        if 0 < lost < len(self.outs):  # these are said to have no gradient, such as statistics
            what = "has no gradient, and is" if lost == 1 else "have no gradients, and are"
            self.note = f"{lost} of {len(self.outs)} results {what} not checked"
            self.outs = [out for out in self.outs if out.requires_grad]
        for out in self.outs:
            if out.dtype == torch.bfloat16:  # which NumPy does not have
                raise DoubtError("the result is bfloat16, and differences can tell something of float64 and float32 alone")
        return [_numpy(out) for out in self.outs]

    def pull(self, cotangents: list[Array]) -> list[Array | None]:
        """What autograd gives; None where nothing was recorded."""
        variables = [*self.variables, *self.parameters]
        pairs = [
            (out, torch.from_numpy(g).to(out.device)) for out, g in zip(self.outs, cotangents, strict=True) if out.requires_grad
        ]
        if not pairs:
            return [None] * len(variables)
        outs, given = zip(*pairs, strict=True)
        try:
            found = torch.autograd.grad(outs, variables, given, retain_graph=True, allow_unused=True)
        except RuntimeError as error:
            if any(words in str(error) for words in BROKEN):
                raise ContractError(str(error).split("; but")[0].splitlines()[0]) from error
            raise
        return [None if g is None else _numpy(g) for g in found]

    def slope(self, seed: int) -> Callable[..., Any]:
        """What order=2 checks."""

        def linked(*given: Any) -> tuple[list[torch.Tensor], Callable[..., Any]]:
            variables = self.picked(given)
            outs = [_as_real(out) for out in leaves(self.called(variables)) if _is_number(out)]
            outs = [out for out in outs if out.requires_grad] or [sum(x.sum() for x in variables) * 0.0]
            return outs, lambda u: torch.autograd.grad(
                outs, variables, u, create_graph=True, materialize_grads=True, allow_unused=True
            )

        return mixed(seed, linked, torch.sin, lambda a, like: torch.from_numpy(np.array(a)).to(like))


def _as_real(x: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def _is_number(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and (x.is_floating_point() or x.is_complex())


def _is_float(x: Any) -> bool:
    if isinstance(x, np.ndarray):
        return x.dtype.kind == "f"
    return _is_number(x)


def _numpy(x: Any) -> Array:
    if isinstance(x, np.ndarray):
        return x
    if x.dtype == torch.bfloat16:
        raise DtypeError("gradcheck: an input is bfloat16; differences need float64 or float32: convert it first")
    return x.detach().cpu().to_dense().resolve_conj().resolve_neg().numpy()


@_recording()
def case(f: Any, inputs: Sequence[Any], names: list[str]) -> Case:
    """Of a function or of a module, which is checked in a copy in float64 with all parameters that want a gradient.

    Of the inputs those that want a gradient are checked, and if none does, all floating-point ones.
    """
    if isinstance(f, type) and issubclass(f, torch.autograd.Function):
        f = f.apply  # type: ignore[attr-defined]
    if isinstance(f, type) and issubclass(f, torch.nn.Module):
        raise TinygradError(f"gradcheck: {f.__name__} is a class of modules; give a module, such as {f.__name__}(...)")
    parameters: dict[str, torch.Tensor] = {}
    if isinstance(f, torch.nn.Module):
        f = _in_double(f, inputs)
        names = path_names(f.forward, inputs)
        parameters = {name: p for name, p in f.named_parameters() if p.requires_grad}
    subject = Torch(f, inputs, list(parameters.values()))
    hint = ": .eval() of the module turns dropout off" if getattr(f, "training", False) else ""
    made = subject.case(names, hint=hint, around=_recording, deep=None if parameters else subject.slope)
    made.names += parameters
    return made


def _in_double(module: torch.nn.Module, inputs: Sequence[Any]) -> torch.nn.Module:
    """A copy of a module, so that its own numbers, and its buffers, stay as they are; as it is, if it is not for float64."""
    errors: list[Exception] = []
    for made in (copy.deepcopy(module).double(), copy.deepcopy(module)):
        trial = Torch(made, inputs, [])
        try:
            trial.value([a if errors else a.astype(np.float64) for a in trial.arrays()])
        except Exception as error:  # whatever it is, it says that the module is not for float64, or not for these inputs
            errors.append(error)
        else:
            return made
    raise errors[0]
