"""Functions of functions: gradients, Jacobians, Hessians and their products, and recomputation to save memory.

Each takes a function that is written with NumPy's functions and gives one Tensor. The results are Tensors; they can be
differentiated further where one of the arguments is a Tensor with requires_grad=True.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad2 import autograd
from tinygrad2.errors import GraphError, ShapeError
from tinygrad2.ops import RULES, Fused
from tinygrad2.tensor import Tensor

Function = Callable[..., Tensor]


def grad(f: Function, argnum: int = 0) -> Function:
    """The function that gives the gradient of scalar `f` with respect to one of its arguments, of that argument's shape.

    >>> grad(np.sin)(0.0)
    Tensor(1.)
    """
    with_value = value_and_grad(f, argnum)
    return lambda *args: with_value(*args)[1]


def value_and_grad(f: Function, argnum: int = 0) -> Callable[..., tuple[Tensor, Tensor]]:
    """Like `grad`, but gives the value as well: (f(x), gradient). Raises GraphError if f gives more than one number."""

    def both(*args: Any) -> tuple[Tensor, Tensor]:
        x, deeper = _variable(args[argnum]), _recorded(args)
        out = _applied(f, *args[:argnum], x, *args[argnum + 1 :])
        (g,) = autograd.grad([out], [x], create_graph=deeper, allow_unused=True)
        return (out if deeper else out.detach()), g if g is not None else _zeros(x)

    return both


def vjp(f: Function, *inputs: Any) -> tuple[Tensor, Callable[[Any], list[Tensor]]]:
    """(f(*inputs), pull): `pull(g)` gives g^T J for a cotangent g of the output's shape, a Tensor per input.

    It may be called several times.
    """
    variables, deeper = [_variable(x) for x in inputs], _recorded(inputs)
    out = _applied(f, *variables)

    def pull(g: Any) -> list[Tensor]:
        found = autograd.grad([out], variables, [g], create_graph=deeper, retain_graph=True, allow_unused=True)
        return [x if x is not None else _zeros(v) for x, v in zip(found, variables, strict=True)]

    return (out if deeper else out.detach()), pull


@autograd.enable_grad()
def jvp(f: Function, inputs: Any, tangents: Any) -> tuple[Tensor, Tensor]:
    """(f(*inputs), J v): how the output moves when the inputs move along the tangents, which have their shapes.

    The backward pass is linear in its cotangent, so differentiating it along the cotangent gives the forward product.
    """
    inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    tangents = tangents if isinstance(tangents, (list, tuple)) else [tangents]
    variables, deeper = [_variable(x) for x in inputs], _recorded(inputs)
    out = _applied(f, *variables)
    dummy = Tensor(np.zeros(out.shape, out.dtype), requires_grad=True)
    pulled = autograd.grad([out], variables, [dummy], create_graph=True, allow_unused=True)
    total = Tensor(np.zeros((), out.dtype))
    for g, v, x in zip(pulled, tangents, variables, strict=True):
        v = v if isinstance(v, Tensor) else Tensor(v, dtype=x.dtype)
        if v.shape != x.shape:
            raise ShapeError(f"jvp: a tangent of shape {v.shape} for an input of shape {x.shape}")
        if g is not None:
            total = total + np.sum(g * v)
    moved = autograd.grad([total], [dummy], create_graph=deeper, allow_unused=True)[0] if total.requires_grad else None
    return (out if deeper else out.detach()), moved if moved is not None else _zeros(out)


@autograd.enable_grad()
def hvp(f: Function, inputs: Any, vectors: Any) -> tuple[Tensor, list[Tensor]]:
    """(f(*inputs), H v) for scalar f: the Hessian times a vector, one Tensor per input, without forming the Hessian."""
    inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    vectors = vectors if isinstance(vectors, (list, tuple)) else [vectors]
    variables, deeper = [_variable(x) for x in inputs], _recorded(inputs)
    out = _applied(f, *variables)
    first = autograd.grad([out], variables, create_graph=True, allow_unused=True)
    along = [np.sum(g * v) for g, v in zip(first, vectors, strict=True) if g is not None and g.requires_grad]
    if not along:  # f is linear
        return (out if deeper else out.detach()), [_zeros(x) for x in variables]
    total = along[0]
    for term in along[1:]:
        total = total + term
    second = autograd.grad([total], variables, create_graph=deeper, allow_unused=True)
    result = [g if g is not None else _zeros(x) for g, x in zip(second, variables, strict=True)]
    return (out if deeper else out.detach()), result


def jacobian(f: Function, argnum: int = 0) -> Function:
    """The function that gives all derivatives of all outputs: a Tensor of shape f(x).shape + x.shape."""

    def full(*args: Any) -> Tensor:
        x, deeper = _variable(args[argnum]), _recorded(args)
        out = _applied(f, *args[:argnum], x, *args[argnum + 1 :])
        rows = []
        for i in range(out.size):
            g = np.zeros(out.size, out.dtype)
            g[i] = 1
            (row,) = autograd.grad(
                [out], [x], [g.reshape(out.shape)], create_graph=deeper, retain_graph=True, allow_unused=True
            )
            rows.append(row if row is not None else _zeros(x))
        shape = out.shape + x.shape
        return RULES[np.stack](rows).reshape(shape) if rows else Tensor(np.zeros(shape, out.dtype))

    return full


def hessian(f: Function, argnum: int = 0) -> Function:
    """The function that gives all second derivatives of scalar `f`: a Tensor of shape x.shape + x.shape."""
    return jacobian(grad(f, argnum), argnum)


def checkpoint(f: Function, *inputs: Any) -> Tensor:
    """f(*inputs), keeping only the inputs for backward: everything between is computed again when it is needed.

    `f` must give the same result both times (draw no random numbers of its own), and gradients reach the inputs only:
    parameters that it uses must be passed, too; otherwise backward raises GraphError. One Tensor out (Chen et al., 2016).
    """
    first = next((x for x in inputs if isinstance(x, Tensor)), None)
    if first is None:
        raise GraphError("checkpoint: no input is a Tensor, so there is nothing to go back to")

    class Checkpoint(Fused):
        spec = staticmethod(f)

        @staticmethod
        def forward(*arrays: Any) -> tuple[Any, None]:
            with autograd.no_grad():
                return f(*(Tensor(a) for a in arrays)).data, None

        @staticmethod
        def vjp(g: Any, saved: None, *arrays: Any) -> tuple[Any, ...]:
            floats = [np.asarray(a).dtype.kind == "f" for a in arrays]
            again = [Tensor(a, requires_grad=real) for a, real in zip(arrays, floats, strict=True)]
            with autograd.enable_grad():
                out = f(*again)
            found = autograd.backpropagate([(out, g)])
            strangers = len(set(found) - {x.node for x in again})
            if strangers:
                raise GraphError(
                    f"checkpoint: the function uses {strangers} tensors that require a gradient but were not passed to it, "
                    "and would get none; pass them as inputs"
                )
            return tuple(found.get(x.node) if x.node is not None else None for x in again)

    return Checkpoint.call(*inputs)


def _recorded(inputs: Any) -> bool:
    """Whether the result is to be recorded for another derivative."""
    return any(isinstance(x, Tensor) and x.requires_grad for x in inputs)


def _variable(x: Any) -> Tensor:
    """The input as something to differentiate by; Python's integers count as float64."""
    if isinstance(x, Tensor) and x.requires_grad:
        return x
    return Tensor(float(x) if isinstance(x, int) else x.data if isinstance(x, Tensor) else x, requires_grad=True)


def _applied(f: Function, *args: Any) -> Tensor:
    with autograd.enable_grad():
        out = f(*args)
    if not isinstance(out, Tensor):
        raise GraphError(f"the function gave a {type(out).__name__}; it must give a Tensor, computed from its inputs")
    return out


def _zeros(x: Tensor) -> Tensor:
    return Tensor(np.zeros(x.shape, x.dtype))
