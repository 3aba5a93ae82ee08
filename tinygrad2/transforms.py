"""Functions of functions: gradients, Jacobians, Hessians and their products.

Each takes a function that is written with NumPy's functions, and gives Tensors. Arguments and results may be containers of
them: lists, tuples and dictionaries, nested in any way (see `containers`). The results are recorded where they depend on
something else that wants a gradient: another argument, or what the function reads from around it, such as the variable of a
transform that this one stands inside; inside `no_grad()` they are not, which takes less time and memory. The derivative of what
does not depend on an input is zero, also of what left the graph by `.data` or `.item()`.

A function that does not use its argument, but the very leaf that is handed in (as a model its parameters), is differentiated by
that leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from tinygrad2 import autograd
from tinygrad2.containers import leaves, matching, rebuilt
from tinygrad2.errors import DtypeError, GraphError, ShapeError
from tinygrad2.graph import Node
from tinygrad2.ops import RULES
from tinygrad2.ops.op import Identity
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array

Function = Callable[..., Any]
Places = int | Sequence[int]
"""Which arguments of a function: one, or several."""


def grad(f: Function, argnums: Places = 0, has_aux: bool = False) -> Function:
    """The function that gives the gradient of scalar `f` with respect to one of its arguments, of that argument's shape.

    Of several `argnums`, it gives a tuple. With `has_aux`, f gives a pair (value, something else), and the result is the pair
    (gradient, something else).

    >>> grad(np.sin)(0.0)
    Tensor(1.)
    >>> grad(lambda p, x: p["slope"] * x + p["offset"])({"slope": 2.0, "offset": 1.0}, 3.0)
    {'slope': Tensor(3.), 'offset': Tensor(1.)}
    """
    with_value = value_and_grad(f, argnums, has_aux)

    def slope(*args: Any, **kwargs: Any) -> Any:
        value, g = with_value(*args, **kwargs)
        return (g, value[1]) if has_aux else g

    return slope


def value_and_grad(f: Function, argnums: Places = 0, has_aux: bool = False) -> Function:
    """Like `grad`, but gives the value as well: (f(x), gradient). Raises GraphError if f gives more than one number."""

    def both(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        point = _Point(f, args, kwargs, argnums, has_aux=has_aux)
        return point.value, point.of_places(point.pull([point.one()]))

    return both


def vjp(f: Function, *inputs: Any) -> tuple[Any, Callable[[Any], list[Any]]]:
    """(f(*inputs), pull): `pull(g)` gives g^T J for a cotangent g of the output's shape, what is like it per input.

    Where f gives several Tensors, g is such a container of cotangents. It may be called several times.
    """
    point = _Point(f, inputs)
    return point.value, lambda g: point.like_inputs(point.pull(matching(point.out, g, "cotangents"), retain=True))


def jvp(f: Function, inputs: Any, tangents: Any) -> tuple[Any, Any]:
    """(f(*inputs), J v): how the output moves when the inputs move along the tangents, which have their shapes.

    A list or tuple of inputs is several; a single one need not be in one.
    The backward pass is linear in its cotangent, so differentiating it along the cotangent gives the forward product.
    """
    inputs, tangents = _listed(inputs), _listed(tangents)
    point = _Point(f, inputs, directions=tangents)
    dummies = [variable(np.zeros_like(out.data)) for out in point.outs]
    return point.value, rebuilt(point.out, iter(point.along(dummies, tangents, "tangent", dummies)))


def hvp(f: Function, inputs: Any, vectors: Any) -> tuple[Tensor, list[Any]]:
    """(f(*inputs), H v) for scalar f: the Hessian times a vector, what is like it per input, without forming the Hessian.

    A list or tuple of inputs is several; a single one need not be in one.
    """
    inputs, vectors = _listed(inputs), _listed(vectors)
    point = _Point(f, inputs, directions=vectors)
    return point.value, point.like_inputs(point.along([point.one()], vectors, "vector", point.variables))


def jacobian(f: Function, argnums: Places = 0) -> Function:
    """The function that gives all derivatives of all outputs: a Tensor of shape f(x).shape + x.shape.

    Where f gives or takes containers, it gives one like f(x) that has one like x in each place.
    """

    def full(*args: Any, **kwargs: Any) -> Any:
        point = _Point(f, args, kwargs, argnums)
        return rebuilt(point.out, iter([point.of_places(point.rows(out)) for out in point.outs]))

    return full


def hessian(f: Function, argnums: Places = 0) -> Function:
    """The function that gives all second derivatives of scalar `f`: a Tensor of shape x.shape + x.shape."""
    return jacobian(grad(f, argnums), argnums)


class _Variable(Node):
    """A leaf that a transform made: nothing outside of it wants its gradient."""

    __slots__ = ()


class _Point:
    """A function at a point.

    args        the arguments to differentiate by, of which `variables` are the leaves, as nodes of their own: what the function
                reads from around it, or from another argument, is another, be it the same Tensor
    out         its value there, of which `outs` are the leaves; `aux` is what it gave beside
    deeper      whether what is computed from it is to be recorded: it depends on more than the variables, or a direction does
    """

    def __init__(
        self,
        f: Function,
        args: Sequence[Any],
        kwargs: dict[str, Any] | None = None,
        argnums: Places | None = None,
        directions: Sequence[Any] = (),
        has_aux: bool = False,
    ) -> None:
        recording = autograd.is_recording()
        self.argnums = argnums
        places: Any = range(len(args)) if argnums is None else argnums if isinstance(argnums, (list, tuple)) else [argnums]
        try:
            chosen = [range(len(args))[i] for i in places]
        except (IndexError, TypeError):
            raise GraphError(f"argnums={argnums!r}: the function was called with {len(args)} arguments by position") from None
        self.args = {i: args[i] for i in chosen}  # a list of numbers would be an array
        given, rest = leaves(self.args), [None if i in chosen else x for i, x in enumerate(args)]
        beside = leaves([rest, kwargs])
        with autograd.enable_grad():
            variables = [Identity.call(x if _wants_gradient(x) else variable(x)) for x in given]
            apart = [Identity.call(x) if _wants_gradient(x) else x for x in beside]
            everything, named = rebuilt([rest, kwargs], iter(apart))
            for i, x in rebuilt(self.args, iter(variables)).items():
                everything[i] = x
            out = f(*everything, **named or {})
        self.aux, self.has_aux = None, has_aux
        if has_aux:
            if not isinstance(out, tuple) or len(out) != 2:
                raise GraphError(
                    f"has_aux: the function gave a {type(out).__name__}; it must give a pair (value, something else)"
                )
            out, self.aux = out
        numbers = (Tensor, np.ndarray, np.generic, int, float)
        wrong = [x for x in leaves(out) if not isinstance(x, numbers)] or ([] if leaves(out) else [out])
        if wrong:
            raise GraphError(f"the function gave a {type(wrong[0]).__name__}; it must give a Tensor, computed from its inputs")
        self.out = out
        self.outs = [
            x if isinstance(x, Tensor) else Tensor(x, dtype=None if isinstance(x, np.ndarray) else float) for x in leaves(out)
        ]
        for x in self.outs:
            if x.dtype.kind == "c":
                raise DtypeError(f"the function gave {x.dtype}; it must give real numbers")
        own = [cast(Node, v.node) for v in variables]
        others = [x.node for x in apart if _wants_gradient(x)]
        inside, around = _reached([x.node for x in self.outs], {*own, *others})
        self.deeper = recording and (bool(around) or any(map(_wants_gradient, (*given, *beside, *leaves(directions)))))
        self.variables = []
        for i, (v, node) in enumerate(zip(variables, own, strict=True)):
            leaf = _leaf_of(node)
            if leaf in around and node in inside:
                raise GraphError(
                    f"input {i} is used both as the argument and from around the function; use it in one way, or pass its "
                    ".detach() to differentiate by the argument alone"
                )
            self.variables.append(Tensor.wrap(v.data, leaf if leaf in around else node))

    @property
    def value(self) -> Any:
        """What the function gave."""
        outs = rebuilt(self.out, (x if self.deeper else x.detach() for x in self.outs))
        if not self.has_aux:
            return outs
        beside = (x.detach() if isinstance(x, Tensor) and not self.deeper else x for x in leaves(self.aux))
        return outs, rebuilt(self.aux, beside)

    def like_inputs(self, found: Sequence[Any]) -> list[Any]:
        """One thing per leaf, built as the inputs are."""
        return list(rebuilt(self.args, iter(found)).values())

    def of_places(self, found: Sequence[Any]) -> Any:
        """The same as `argnums` says: of one input, or a tuple."""
        built = self.like_inputs(found)
        return tuple(built) if isinstance(self.argnums, (list, tuple)) else built[0]

    def one(self) -> Array:
        """The cotangent of a single number."""
        if isinstance(self.out, (dict, list, tuple)):
            raise GraphError(f"the function gave a {type(self.out).__name__}; it must give a Tensor of one number")
        (out,) = self.outs
        if out.size != 1:
            raise GraphError(f"the function gave shape {out.shape}, not one number; take jacobian, or sum in it")
        return np.ones_like(out.data)

    def pull(self, cotangents: Sequence[Any], retain: bool = False) -> list[Tensor]:
        """g^T J for a cotangent g per output: a Tensor per variable."""
        deeper = self.deeper or (autograd.is_recording() and any(map(_wants_gradient, cotangents)))
        return _gradients(self.outs, self.variables, cotangents, deeper, retain)

    def rows(self, out: Tensor) -> list[Tensor]:
        """The derivatives of all entries of one output by each variable."""
        ones = (np.arange(out.size) == i for i in range(out.size))
        rows = [_gradients([out], self.variables, [one.reshape(out.shape)], self.deeper, True) for one in ones]
        shapes = [out.shape + x.shape for x in self.variables]
        if not rows:
            return [Tensor(np.zeros(shape, out.dtype)) for shape in shapes]
        return [RULES[np.stack](column).reshape(shape) for column, shape in zip(zip(*rows, strict=True), shapes, strict=True)]

    def along(
        self, cotangents: Sequence[Any], directions: Sequence[Any], what: str, variables: Sequence[Tensor]
    ) -> list[Tensor]:
        """The derivatives of g^T J v by some variables, for a direction v per input; `what` these are called."""
        if len(directions) != len(self.args):
            raise ShapeError(f"{len(directions)} {what}s for {len(self.args)} inputs; give one for each")
        vectors = matching(self.args, dict(enumerate(directions)), f"{what}s")
        with autograd.enable_grad():
            total: Any = Tensor(np.zeros((), self.outs[0].dtype))
            slopes = _gradients(self.outs, self.variables, cotangents, True, True)
            for slope, v, x in zip(slopes, vectors, self.variables, strict=True):
                v = v if isinstance(v, Tensor) else Tensor(v, dtype=x.dtype)
                if v.shape != x.shape:
                    raise ShapeError(f"a {what} of shape {v.shape} for an input of shape {x.shape}")
                total = total + np.sum(slope * v)
        return _gradients([total], variables, [np.ones_like(total.data)], self.deeper, False)


def _reached(roots: Sequence[Node | None], own: set[Node]) -> tuple[set[Node], set[Node]]:
    """The nodes that a function made on the way to its result, and those from around it that these were computed from."""
    first = min((node.number for node in own), default=0)
    inside, around, stack = set[Node](), set[Node](), list(roots)
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


def _gradients(
    outs: Sequence[Tensor], variables: Sequence[Tensor], cotangents: Sequence[Any], create_graph: bool, retain: bool
) -> list[Tensor]:
    """The gradients of some outputs, zero for what they do not depend on."""
    pairs = [(out, g) for out, g in zip(outs, cotangents, strict=True) if out.node is not None]
    if not pairs:
        return [Tensor(np.zeros_like(x.data)) for x in variables]
    roots, given = zip(*pairs, strict=True)
    found = autograd.grad(
        roots, variables, given, create_graph=create_graph, retain_graph=retain or create_graph, allow_unused=True
    )
    return [Tensor(np.zeros_like(x.data)) if g is None else g for g, x in zip(found, variables, strict=True)]


def _listed(inputs: Any) -> Sequence[Any]:
    return inputs if isinstance(inputs, (list, tuple)) else [inputs]


def _wants_gradient(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def variable(x: Any) -> Tensor:
    """A variable of these numbers; Python's integers count as float64."""
    if not isinstance(x, (Tensor, np.ndarray, np.generic)):
        try:
            x = np.asarray(x, float)
        except (TypeError, ValueError) as error:
            raise DtypeError(f"an input is a {type(x).__name__}, not a number: {x!r:.60}; choose by argnums") from error
    leaf = Tensor(x, requires_grad=True)
    leaf.node = _Variable()
    return leaf


def in_one(who: str, out: Any) -> Tensor:
    """All that a function gave, in one Tensor. Raises GraphError, as `who`, where it is no Tensor, nor a container of them."""
    if isinstance(out, Tensor):
        return out
    parts: list[Any] = leaves(out)
    if not parts or not all(isinstance(part, Tensor) for part in parts):
        raise GraphError(f"{who}: the function gave a {type(out).__name__}; it must give a Tensor, or several")
    return RULES[np.concatenate]([part.reshape(-1) for part in parts])
