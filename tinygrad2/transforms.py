"""Functions of functions: gradients, Jacobians, Hessians and their products, and recomputation to save memory.

Each takes a function that is written with NumPy's functions and gives one Tensor. The results are Tensors, and recorded where
they depend on something else that wants a gradient: another argument, or what the function reads from around it, such as the
variable of a transform that this one stands inside; inside `no_grad()` they are not, which takes less time and memory. The
derivative of what does not depend on an input is zero, also of what left the graph by `.data` or `.item()`.

A function that does not use its argument, but the very leaf that is handed in (as a model its parameters), is differentiated by
that leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from tinygrad2 import autograd
from tinygrad2.errors import DtypeError, GraphError, ShapeError
from tinygrad2.graph import Node
from tinygrad2.ops import RULES, Fused
from tinygrad2.ops.op import Identity
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array

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
        point = _Point(_of_one(f, args, argnum), [args[argnum]])
        (g,) = point.pull(point.one())
        return point.value, g

    return both


def vjp(f: Function, *inputs: Any) -> tuple[Tensor, Callable[[Any], list[Tensor]]]:
    """(f(*inputs), pull): `pull(g)` gives g^T J for a cotangent g of the output's shape, a Tensor per input.

    It may be called several times.
    """
    point = _Point(f, inputs)
    return point.value, lambda g: point.pull(g, retain=True)


def jvp(f: Function, inputs: Any, tangents: Any) -> tuple[Tensor, Tensor]:
    """(f(*inputs), J v): how the output moves when the inputs move along the tangents, which have their shapes.

    The backward pass is linear in its cotangent, so differentiating it along the cotangent gives the forward product.
    """
    tangents = _listed(tangents)
    point = _Point(f, _listed(inputs), tangents)
    dummy = _leaf(np.zeros_like(point.out.data))
    return point.value, point.along(dummy, tangents, [dummy])[0]


def hvp(f: Function, inputs: Any, vectors: Any) -> tuple[Tensor, list[Tensor]]:
    """(f(*inputs), H v) for scalar f: the Hessian times a vector, one Tensor per input, without forming the Hessian."""
    vectors = _listed(vectors)
    point = _Point(f, _listed(inputs), vectors)
    return point.value, point.along(point.one(), vectors, point.variables)


def jacobian(f: Function, argnum: int = 0) -> Function:
    """The function that gives all derivatives of all outputs: a Tensor of shape f(x).shape + x.shape."""

    def full(*args: Any) -> Tensor:
        point = _Point(_of_one(f, args, argnum), [args[argnum]])
        out, (x,) = point.out, point.variables
        rows = [point.pull(row.reshape(out.shape), retain=True)[0] for row in np.eye(out.size, dtype=out.dtype)]
        shape = out.shape + x.shape
        return RULES[np.stack](rows).reshape(shape) if rows else Tensor(np.zeros(shape, out.dtype))

    return full


def hessian(f: Function, argnum: int = 0) -> Function:
    """The function that gives all second derivatives of scalar `f`: a Tensor of shape x.shape + x.shape."""
    return jacobian(grad(f, argnum), argnum)


def checkpoint(f: Function, *inputs: Any) -> Tensor:
    """f(*inputs), keeping only the inputs for backward: everything between is computed again when it is needed.

    `f` must give the same result both times (draw no random numbers of its own), and gradients reach the inputs only:
    parameters that it uses must be passed, too, or it raises GraphError. One Tensor out (Chen et al., 2016).
    """
    first = next((x for x in inputs if isinstance(x, Tensor)), None)
    if first is None:
        raise GraphError("checkpoint: no input is a Tensor, so there is nothing to go back to")

    class Checkpoint(Fused):
        spec = staticmethod(f)

        @staticmethod
        def forward(*arrays: Any) -> tuple[Any, None]:
            out = f(*(Tensor(a) for a in arrays))
            if not isinstance(out, Tensor):
                raise GraphError(f"checkpoint: the function gave a {type(out).__name__}; it must give a Tensor")
            if out.requires_grad:
                raise GraphError(
                    "checkpoint: the function uses a tensor that requires a gradient but was not passed to it, and would get "
                    "none; pass it as an input"
                )
            return out.data, None

        @staticmethod
        def vjp(g: Any, saved: None, *arrays: Any) -> tuple[Any, ...]:
            floats = [np.asarray(a).dtype.kind == "f" for a in arrays]
            again = [_leaf(a) if real else Tensor(a) for a, real in zip(arrays, floats, strict=True)]
            with autograd.enable_grad():
                out = f(*again)
            found = autograd.backpropagate([(out, g)]) if out.node is not None else {}
            return tuple(found.get(x.node) if x.node is not None else None for x in again)

    return Checkpoint.call(*inputs)


class _Variable(Node):
    """A leaf that a transform made: nothing outside of it wants its gradient."""

    __slots__ = ()


class _Point:
    """A function at a point.

    variables   the inputs as nodes of their own: what the function reads from around it is another, be it the same Tensor
    out         its value there
    deeper      whether what is computed from it is to be recorded: it depends on more than the inputs, or a direction does
    """

    def __init__(self, f: Function, inputs: Sequence[Any], directions: Sequence[Any] = ()) -> None:
        recording = autograd.is_recording()
        with autograd.enable_grad():
            variables = [Identity.call(x if _wants_gradient(x) else _leaf(x)) for x in inputs]
            out = f(*variables)
        if not isinstance(out, (Tensor, np.ndarray, np.generic, int, float)):
            raise GraphError(f"the function gave a {type(out).__name__}; it must give a Tensor, computed from its inputs")
        self.out = out if isinstance(out, Tensor) else Tensor(out, dtype=None if isinstance(out, np.ndarray) else float)
        if self.out.dtype.kind == "c":
            raise DtypeError(f"the function gave {self.out.dtype}; it must give real numbers")
        own = [cast(Node, v.node) for v in variables]
        inside, around = _reached(self.out.node, set(own))
        self.deeper = recording and (bool(around) or any(map(_wants_gradient, (*inputs, *directions))))
        self.variables = []
        for i, (v, node) in enumerate(zip(variables, own, strict=True)):
            leaf = _leaf_of(node)
            if leaf in around and node in inside:
                raise GraphError(
                    f"input {i} is used as the argument and, the same Tensor, from around the function; use it in one way, or "
                    "hand in its .detach() to differentiate by the argument alone"
                )
            self.variables.append(Tensor.wrap(v.data, leaf if leaf in around else node))

    @property
    def value(self) -> Tensor:
        """What the function gave."""
        return self.out if self.deeper else self.out.detach()

    def one(self) -> Array:
        """The cotangent of a single number."""
        if self.out.size != 1:
            raise GraphError(f"the function gave shape {self.out.shape}, not one number; take jacobian, or sum in it")
        return np.ones_like(self.out.data)

    def pull(self, g: Any, retain: bool = False) -> list[Tensor]:
        """g^T J for a cotangent g: a Tensor per input."""
        deeper = self.deeper or (autograd.is_recording() and _wants_gradient(g))
        return _gradients(self.out, self.variables, g, deeper, retain)

    def along(self, g: Any, directions: Sequence[Any], variables: Sequence[Tensor]) -> list[Tensor]:
        """The derivatives of g^T J v for a direction v per input."""
        with autograd.enable_grad():
            total = Tensor(np.zeros((), self.out.dtype))
            for slope, v, x in zip(
                _gradients(self.out, self.variables, g, True, True), directions, self.variables, strict=True
            ):
                v = v if isinstance(v, Tensor) else Tensor(v, dtype=x.dtype)
                if v.shape != x.shape:
                    raise ShapeError(f"a tangent of shape {v.shape} for an input of shape {x.shape}")
                total = total + np.sum(slope * v)
        return _gradients(total, variables, np.ones_like(total.data), self.deeper, False)


def _reached(root: Node | None, own: set[Node]) -> tuple[set[Node], set[Node]]:
    """The nodes that a function made on the way to its result, and those from around it that these were computed from."""
    first = min((node.number for node in own), default=0)
    inside, around, stack = set[Node](), set[Node](), [root]
    while stack:
        node = stack.pop()
        if node is None or node in inside or node in around:
            continue
        if node.number < first:
            around.add(node)
        else:
            inside.add(node)
            stack += node.parents if node not in own else ()
    return inside, around


def _leaf_of(node: Node | None) -> Node | None:
    """The leaf of the user's that a variable stands for, through transforms that have handed it on."""
    while node is not None and node.op is Identity:
        node = node.parents[0]
    return node if node is not None and node.op is None and not isinstance(node, _Variable) else None


def _gradients(out: Tensor, variables: Sequence[Tensor], g: Any, create_graph: bool, retain: bool) -> list[Tensor]:
    """The gradients of an output, zero for what it does not depend on."""
    if out.node is None:
        return [Tensor(np.zeros_like(x.data)) for x in variables]
    found = autograd.grad(
        [out], variables, [g], create_graph=create_graph, retain_graph=retain or create_graph, allow_unused=True
    )
    return [Tensor(np.zeros_like(x.data)) if g is None else g for g, x in zip(found, variables, strict=True)]


def _of_one(f: Function, args: Sequence[Any], argnum: int) -> Function:
    """f as a function of one of its arguments."""
    at = range(len(args))[argnum]
    return lambda x: f(*args[:at], x, *args[at + 1 :])


def _listed(inputs: Any) -> Sequence[Any]:
    return inputs if isinstance(inputs, (list, tuple)) else [inputs]


def _wants_gradient(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def _leaf(x: Any) -> Tensor:
    """A variable of these numbers; Python's integers count as float64."""
    leaf = Tensor(float(x) if isinstance(x, int) else x, requires_grad=True)
    leaf.node = _Variable()
    return leaf
