"""The backward pass.

Going through the nodes of the graph from the highest number to the lowest visits each one after all its uses. That is the
whole algorithm, and it is `walk`. The rest says what a contribution is, and how it is added: to arrays, in place where nothing
else refers to them; or, with `create_graph`, to Tensors, so that the rules themselves are recorded and can be differentiated.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, cast

import numpy as np

from tinygrad2 import kernels
from tinygrad2.anomaly import detect_anomaly
from tinygrad2.errors import DtypeError, GraphError, MatrixError, ShapeError
from tinygrad2.graph import Node, T, TensorLike, ancestors, enable_grad, is_recording, no_grad
from tinygrad2.observer import observing
from tinygrad2.ops.indexing import Scatter
from tinygrad2.ops.op import Fused, Identity, Op, Outline, arrays_in, wide
from tinygrad2.ops.reductions import total
from tinygrad2.types import Array, numbers

__all__ = ["backpropagate", "detect_anomaly", "enable_grad", "grad", "is_recording", "no_grad", "observing", "walk"]


def walk(
    roots: Iterable[tuple[Any, Any]],
    visit: Callable[[Any, Any], Iterable[tuple[Any, Any]]],
    add: Callable[[Any, Any, Any], Any],
    cotangents: dict[Any, Any],
) -> None:
    """Go back from the roots, and visit each node once, with its whole cotangent.

    `visit(node, cotangent)` gives the contributions of a node, each with the parent that it is for; `add(node, before,
    contribution)` gives the sum, `before` being None for the first. `cotangents` has what has arrived so far.
    """
    waiting: list[tuple[int, Any]] = []

    def arrive(contributions: Iterable[tuple[Any, Any]]) -> None:
        for node, contribution in contributions:
            if node not in cotangents:
                heapq.heappush(waiting, (-node.number, node))
            cotangents[node] = add(node, cotangents.get(node), contribution)

    arrive(roots)
    while waiting:
        _, node = heapq.heappop(waiting)  # the highest number: all that was computed from it has been visited
        arrive(visit(node, cotangents.pop(node)))


def grad(
    outputs: T | Sequence[T],
    inputs: T | Sequence[T],
    cotangents: Any = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
    ready: Callable[[Array], None] | None = None,
) -> list[Any]:
    """The gradients of `outputs` with respect to each of `inputs`, as a list of Tensors. Touches no `.grad`.

    `cotangents` (one per output, of its shape) may be left out for scalars. With `create_graph` the result can be
    differentiated again. The graph is freed unless `retain_graph`, which defaults to `create_graph`.
    `ready` is called with the gradient of a leaf (its array, in the result too) as soon as all that adds to it has been: while
    the backward pass still goes on. It is not called where the leaf has hooks, which come last, nor with `create_graph`.
    Safe to call on several threads at once. Raises GraphError where there is no path from an input to the outputs.
    """
    outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [cast(T, outputs)]
    inputs = list(inputs) if isinstance(inputs, (list, tuple)) else [cast(T, inputs)]
    if not outputs:
        raise GraphError("grad: no outputs were given")
    for what, tensors in (("output", outputs), ("input", inputs)):
        for i, x in enumerate(tensors):
            if not hasattr(x, "node"):
                raise GraphError(f"grad: {what} {i} is a {type(x).__name__}; give Tensors")
    given = cotangents if isinstance(cotangents, (list, tuple)) else [cotangents] * len(outputs)
    if len(given) != len(outputs):
        how = "shorter" if len(given) < len(outputs) else "longer"
        raise ShapeError(f"grad: the list of cotangents is {how} than the list of outputs: {len(given)} for {len(outputs)}")
    for i, x in enumerate(inputs):
        if x.node is None:
            raise GraphError(f"grad: input {i} does not require a gradient; make it Tensor(..., requires_grad=True)")
    nodes = [cast(Node, x.node) for x in inputs]
    retain = create_graph if retain_graph is None else retain_graph
    roots = zip(outputs, given, strict=True)
    found = backpropagate(roots, set(nodes), create_graph, retain, None if create_graph else ready)
    for i, (x, node) in enumerate(zip(inputs, nodes, strict=True)):
        if node not in found and not allow_unused:
            raise GraphError(
                f"grad: input {i}, of shape {x.data.shape}, is not used by the outputs; pass allow_unused=True for None"
            )
    gradients = [found.get(node) for node in nodes]
    return [type(outputs[0]).wrap(g, None) if isinstance(g, np.ndarray) else g for g in gradients]


def backpropagate(
    roots: Iterable[tuple[T, Any]],
    wanted: set[Node] | None = None,
    create_graph: bool = False,
    retain: bool = False,
    ready: Callable[[Array], None] | None = None,
) -> dict[Node, Any]:
    """The cotangents of the `wanted` nodes (of every leaf, if None): arrays of their own, or Tensors to `create_graph`.

    `roots` pairs each output with its cotangent, None standing for the 1 of a scalar. `ready`: see `grad`.
    """
    roots = list(roots)
    for output, g in roots:
        if output.node is None:
            raise GraphError("backward: nothing was recorded; no input has requires_grad=True, or no_grad() was on")
        if g is None and output.data.size != 1:
            raise GraphError(
                f"backward: the output has shape {output.data.shape}, not one number; "
                "pass a cotangent of that shape, or sum to a scalar first"
            )
    back = _Backward(type(output), wanted, create_graph, retain, ready)
    back.count_uses([output.node for output, _ in roots])
    given = [np.ones_like(output.data) if g is None else g for output, g in roots]
    seeds = [(out.node, (back.cotangent("backward", g, out.data), False)) for g, (out, _) in zip(given, roots, strict=True)]
    with enable_grad() if create_graph else nullcontext():
        walk(seeds, back.visit, back.add, back.cotangents)
    return back.found


class _Backward:
    """What is done on the way back.

    cotangents   what has arrived so far, by node. The first to arrive is kept as it is, without a copy
    owned        the nodes whose sum is an array that nothing else refers to: only these are added to in place
    found        the cotangents that were asked for
    uses         with `ready`: how often each leaf that was asked for is still to be given something
    """

    def __init__(
        self, tensor: type[TensorLike], wanted: set[Node] | None, create_graph: bool, retain: bool, ready: Any
    ) -> None:
        self.tensor, self.wanted, self.create_graph, self.retain, self.ready = tensor, wanted, create_graph, retain, ready
        self.lowest = min((node.number for node in wanted), default=0) if wanted is not None else 0
        self.cotangents: dict[Node, Any] = {}
        self.owned: set[Node] = set()
        self.found: dict[Node, Any] = {}
        self.uses: dict[Node, int] = {}
        self.observer = observing()

    def visit(self, node: Node, g: Any) -> Iterator[tuple[Node, tuple[Any, bool]]]:
        """The contributions of a node, each with whether it is an array that nothing else refers to."""
        for hook in node.hooks:  # which gets a copy, since others may hold the same array
            given = hook(g if self.create_graph else self.tensor.wrap(np.array(g), None))
            g = g if given is None else self.cotangent("hook", given, g)
            self.owned.discard(node)
        if self.is_wanted(node):
            self.found[node] = self.own_of(node, g)
        if node.op is None:
            return
        needed = self.needed(node)
        out, inputs = node.residuals, node.primals or ()
        if self.create_graph:
            inputs = tuple([x if p is None else self.tensor.wrap(x, p) for x, p in zip(inputs, node.parents, strict=True)])
            out = out if out is None or node.op.spec is not None else self.tensor.wrap(out, node)
        rules, settings = node.op.rules, node.settings
        together = self.together(node, g, out, inputs, needed) if rules is None else []
        kept = [id(g), *map(id, inputs), *map(id, settings.values())]
        if self.retain or node.observed is not None:  # else what was kept is not read again
            kept += map(id, arrays_in(out))
        for i, parent in enumerate(node.parents):
            if parent is None or not needed[i]:
                continue
            try:
                c, x = rules[i](g, out, *inputs, **settings) if rules is not None else together[i], inputs[i]
            except MatrixError:
                raise
            except np.linalg.LinAlgError as error:
                raise GraphError(f"backward of {node.op.name}: {error}") from error
            if c is None:
                continue
            if self.observer is not None:
                self.observer.backward(node, g, c)
            if self.create_graph:
                c = c if hasattr(c, "node") else self.tensor.wrap(np.asarray(c), None)
                yield parent, (unbroadcast(c, x, node.op), False)
            elif type(c) is np.ndarray and c.shape == x.shape and c.dtype == x.dtype:
                yield parent, (c, c.base is None and id(c) not in kept and c.flags.writeable)
            else:
                yield parent, (c if isinstance(c, Scatter) else unbroadcast(np.asarray(c), x, node.op), True)
        for parent in node.parents if self.uses else ():
            self.tell(parent)
        if not self.retain and node.op is not Identity:  # which keeps nothing, and names the variable of a transform
            if self.observer is not None:
                self.observer.released(node)
            node.primals = node.residuals = None
            node.parents, node.settings = (), {}

    def add(self, node: Node, before: Any, contribution: tuple[Any, bool]) -> Any:
        """The sum for a node of what it has and one contribution more."""
        c, is_new = contribution
        if isinstance(c, Scatter):
            total = np.zeros(c.shape, c.values.dtype) if before is None else self.own(node)
            self.owned.add(node)
            c.add_to(total)
            return total
        if before is None:
            if is_new:
                self.owned.add(node)
            return c
        if self.create_graph:
            return before + c
        if node in self.owned:
            return kernels.add(before, c, out=before) if c.ndim else np.add(before, c, out=before)
        self.owned.add(node)
        return np.asarray(before + c)

    def own(self, node: Node) -> Any:
        """The sum of what has arrived, from now on in an array that nothing else refers to."""
        if node not in self.owned:
            self.cotangents[node] = np.array(self.cotangents[node])
            self.owned.add(node)
        return self.cotangents[node]

    def own_of(self, node: Node, g: Any) -> Any:
        """A cotangent as something that no other result refers to; what is recorded stays as it is."""
        if self.create_graph:
            return g if g.node is not None else self.tensor.wrap(np.array(g.data), None)
        return g if node in self.owned else np.array(g)

    def is_wanted(self, node: Node) -> bool:
        """Whether the cotangent of a node was asked for."""
        return node.op is None if self.wanted is None else node in self.wanted

    def needed(self, node: Node) -> list[bool]:
        """Which inputs of a node lead to what is wanted, as far as is known. Raises GraphError where no rule can be applied."""
        assert node.op is not None
        if node.primals is None:
            raise GraphError(
                f"backward: the graph of this {node.op.name} was freed by an earlier backward; "
                "compute the loss again, or pass retain_graph=True the first time"
            )
        if node.version and node.residuals is not None:
            raise GraphError(
                f"backward: the result of {node.op.name} was changed after it was computed, so its gradient would be of "
                "neither value; compute a new one instead, as in y = 3 * y"
            )
        needed, wanted, lowest = [], self.wanted, self.lowest
        for parent, version in zip(node.parents, node.parent_versions, strict=True):
            if parent is None:
                needed.append(False)
                continue
            if parent.version != version:
                what = "leaf" if parent.op is None else "result"
                raise GraphError(
                    f"backward: a {what} that {node.op.name} used was changed after that, so its gradient would be of neither "
                    "value; call backward before changing parameters, or compute the loss again"
                )
            needed.append(parent.number >= lowest and (wanted is None or parent.op is not None or parent in wanted))
        return needed

    def together(self, node: Node, g: Any, out: Any, inputs: tuple[Any, ...], needed: list[bool]) -> list[Any]:
        """What an op gives that computes the cotangents of its inputs at once: none shares its memory with another."""
        assert node.op is not None
        if self.create_graph and node.op.spec is not None:
            return self.through_specification(node, g, needed)
        if self.create_graph and issubclass(node.op, Fused):
            raise GraphError(
                f"backward: {node.op.name} has no second derivative: it has a vjp for arrays, and no spec; add one"
            )
        if not hasattr(node.op, "vjp"):
            raise GraphError(f"backward: {node.op.name} has no vjp beside its forward; give it one, as a static method")
        found = list(node.op.vjp(g, out, *inputs, needed=needed, **node.settings))
        owners: set[int] = set()
        for i, c in enumerate(found):
            if isinstance(c, np.ndarray) and c is not g:
                owner = id(c if c.base is None else c.base)
                found[i] = np.array(c) if owner in owners else c
                owners.add(owner)
        return found

    def through_specification(self, node: Node, g: Any, needed: list[bool]) -> list[Any]:
        """The cotangents of a fused op's inputs as Tensors, by the rules of the primitives that it stands for."""
        op, primals = cast(Any, node.op), node.primals or ()
        if any(isinstance(x, Outline) for x in primals):
            raise GraphError(f"backward: {op.name} in bfloat16 has no second derivative; compute it in float32")
        # New nodes stand for the inputs, so that the way back ends there.
        ends = [Node(Identity, (p,), (x,)) if p is not None else None for x, p in zip(primals, node.parents, strict=True)]
        inputs = [self.tensor.wrap(x, end) if end is not None else x for x, end in zip(primals, ends, strict=True)]
        wanted = {end for end, is_needed in zip(ends, needed, strict=True) if end is not None and is_needed}
        out = op.spec(*inputs, **node.settings)
        if not hasattr(out, "node"):
            raise GraphError(f"{op.name}: its spec gave a {type(out).__name__}; write it with NumPy's functions of its inputs")
        found = backpropagate([(out, g)], wanted, create_graph=True, retain=True)
        return [found.get(end) if end is not None else None for end in ends]

    def cotangent(self, who: str, given: Any, like: Any) -> Any:
        """What somebody gave as the cotangent of a value: an array, or a Tensor to create a graph."""
        given = given if hasattr(given, "node") else self.tensor.wrap(numbers(given), None)
        if given.data.dtype.kind not in "fiub":
            raise DtypeError(f"{who}: a cotangent of {given.data.dtype} for a value of {like.dtype}; give real numbers")
        given = given if given.data.dtype == like.dtype else given.astype(like.dtype)
        if given.data.shape != like.shape:
            raise ShapeError(f"{who}: a cotangent of shape {given.data.shape} was given for a value of shape {like.shape}")
        return given if self.create_graph else given.data

    def count_uses(self, roots: Iterable[Node | None]) -> None:
        """With `ready`: how often each wanted leaf without hooks is an input of what leads to the roots."""
        for node in ancestors(roots) if self.ready is not None else ():
            for parent in node.parents:
                if parent is not None and parent.op is None and not parent.hooks and self.is_wanted(parent):
                    self.uses[parent] = self.uses.get(parent, 0) + 1

    def tell(self, parent: Node | None) -> None:
        """Call `ready` if all has arrived at a leaf, one more op having given it its contribution."""
        if parent in self.uses:
            self.uses[parent] -= 1
            if not self.uses[parent] and parent in self.cotangents:
                self.ready(self.own(parent))


def unbroadcast(g: Any, x: Array, op: type[Op] | None = None) -> Any:
    """Sum a cotangent back to the shape its input had before broadcasting, in the input's dtype; errors are said of the op."""
    who = f"{op.name}: its rule gave " if op is not None else ""
    if g.shape != x.shape:
        g, extra = wide(g), g.ndim - x.ndim
        if extra < 0 or any(n not in (1, m) for n, m in zip(x.shape, g.shape[extra:], strict=True)):
            raise ShapeError(
                f"{who}a cotangent of shape {g.shape} for an input of shape {x.shape}, to which it cannot be summed"
            )
        stretched = tuple(i + extra for i, n in enumerate(x.shape) if n == 1 and g.shape[i + extra] != 1)
        added = total if isinstance(g, np.ndarray) else np.sum
        g = np.reshape(added(g, axis=(*range(extra), *stretched), keepdims=True), x.shape)
    if g.dtype == x.dtype:
        return g
    if g.dtype.kind not in "fiub":
        raise DtypeError(f"{who}a cotangent of {g.dtype} for an input of {x.dtype}; give real numbers")
    return g.astype(x.dtype)
