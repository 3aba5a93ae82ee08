"""The backward pass.

Going through the nodes of the graph from the highest number to the lowest visits each one after all its uses. That is
the whole algorithm: take the highest node off a heap, ask its op for the cotangents of its inputs, add them to what the
inputs already have.

With `create_graph` the cotangents are Tensors, so the rules themselves are recorded and can be differentiated again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np

from tinygrad2 import kernels
from tinygrad2.errors import GraphError, ShapeError
from tinygrad2.graph import (
    Node,
    R,
    Recorded,
    detect_anomaly,
    enable_grad,
    is_recording,
    no_grad,
    observing,
    record,
    require_float,
)
from tinygrad2.observer import Observer
from tinygrad2.ops.op import Array, Identity, Scatter, has_content

__all__ = [
    "Node",
    "backpropagate",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "is_recording",
    "no_grad",
    "observing",
    "record",
    "require_float",
]


def grad(
    outputs: R | Sequence[R],
    inputs: R | Sequence[R],
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
    outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [cast(R, outputs)]
    inputs = list(inputs) if isinstance(inputs, (list, tuple)) else [cast(R, inputs)]
    given = cotangents if isinstance(cotangents, (list, tuple)) else [cotangents] * len(outputs)
    tensor = type(outputs[0])
    roots = [(output, g) for output, g in zip(outputs, given, strict=True)]
    for i, x in enumerate(inputs):
        if x.node is None:
            raise GraphError(f"grad: input {i} does not require a gradient; make it Tensor(..., requires_grad=True)")
    wanted = {x.node for x in inputs if x.node is not None}
    retain = create_graph if retain_graph is None else retain_graph
    found = backpropagate(roots, wanted, create_graph, retain, None if create_graph else ready)
    result = []
    for i, x in enumerate(inputs):
        g = found.get(x.node) if x.node is not None else None
        if g is None and not allow_unused:
            raise GraphError(
                f"grad: input {i}, of shape {x.data.shape}, is not used by the outputs; pass allow_unused=True for None"
            )
        result.append(tensor.wrap(g, None) if isinstance(g, np.ndarray) else g)
    return result


def backpropagate(
    roots: Iterable[tuple[R, Any]],
    wanted: set[Node] | None = None,
    create_graph: bool = False,
    retain: bool = False,
    ready: Callable[[Array], None] | None = None,
) -> dict[Node, Any]:
    """The cotangents of the `wanted` nodes (of every leaf, if None): arrays of their own, or Tensors to `create_graph`.

    `roots` pairs each output with its cotangent, None standing for the 1 of a scalar. `ready`: see `grad`.
    """
    if create_graph and not is_recording():
        with enable_grad():
            return backpropagate(roots, wanted, create_graph, retain)
    sums = _Sums(create_graph, min((node.number for node in wanted), default=0) if wanted is not None else 0)
    for output, g in roots:
        if output.node is None:
            raise GraphError("backward: nothing was recorded; no input has requires_grad=True, or no_grad() was on")
        seed = _seed(output, g)
        sums.add(output.node, output.wrap(seed, None) if create_graph and isinstance(seed, np.ndarray) else seed, False)
    tensor, observer = type(output), observing()
    wrap = tensor.wrap if create_graph else None
    found: dict[Node, Any] = {}
    uses = _uses_of_leaves((output.node for output, _ in roots), wanted) if ready is not None else {}
    while sums.heap:
        node, g, owned = sums.take()
        for hook in node.hooks:
            g, owned = _hooked(hook, g, tensor, create_graph), False
        if node in wanted if wanted is not None else node.op is None:
            found[node] = g if create_graph or owned else np.array(g)
        if node.op is None:
            continue
        if node.arrays is None:
            raise GraphError(
                f"backward: the graph of this {node.op.name} was freed by an earlier backward; "
                "compute the loss again, or pass retain_graph=True the first time"
            )
        if any(p is not None and p.version != v for p, v in zip(node.parents, node.seen, strict=True)):
            raise GraphError(
                f"backward: a leaf that {node.op.name} used was changed after that, so its gradient would be of neither "
                "value; call backward before changing parameters, or compute the loss again"
            )
        _spread(node, g, sums, wrap, retain, observer)
        if ready is not None:
            for parent in node.parents:
                if parent in uses:
                    uses[parent] -= 1
                    if not uses[parent] and parent in sums.sums:
                        ready(sums.own(parent))
        if not retain:
            if observer is not None:
                observer.released(node)
            node.arrays = node.saved = None
            node.parents, node.params = (), {}
    return found


def _uses_of_leaves(roots: Iterable[Node | None], wanted: set[Node] | None) -> dict[Node, int]:
    """How often the wanted leaves without hooks are an input of what leads to the roots."""
    uses: dict[Node, int] = {}
    stack = [node for node in roots if node is not None]
    seen = set(stack)
    while stack:
        for parent in stack.pop().parents:
            if parent is None:
                continue
            if parent.op is None and not parent.hooks and (wanted is None or parent in wanted):
                uses[parent] = uses.get(parent, 0) + 1
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return uses


def _spread(node: Node, g: Any, sums: _Sums, wrap: Any, retain: bool, observer: Observer | None) -> None:
    """Add the cotangents of a node's inputs to what these have. (A function, so that its arrays are not there in the next.)"""
    assert node.arrays is not None
    cotangents = _pull(node, g, wrap)
    if observer is not None:
        observer.backward(node, g, cotangents)
    aliases = [g, *node.arrays, *cotangents]  # each cotangent is there once, if nothing else is the same array
    if retain or node.place is not None:  # nor is it needed again
        aliases += node.saved if isinstance(node.saved, tuple) else [node.saved]
    for parent, x, c in zip(node.parents, node.arrays, cotangents, strict=True):
        if parent is None or c is None:
            continue
        if isinstance(c, Scatter):
            sums.scatter(parent, c, x)
        else:
            fitted = unbroadcast(c if wrap else np.asarray(c), x)
            alone = wrap is None and (fitted is not c or (c.base is None and sum(c is a for a in aliases) == 1))
            sums.add(parent, fitted, alone)


class _Sums:
    """The cotangents on their way: for each node the sum of what has arrived, and the nodes by number.

    The first cotangent to arrive is kept as it is, without a copy. Only an array that nothing else refers to is
    added to in place; those nodes are `owned`.
    """

    def __init__(self, create_graph: bool, lowest: int) -> None:
        self.create_graph = create_graph
        self.lowest = lowest  # what is below it leads to nothing that is wanted
        self.sums: dict[Node, Any] = {}
        self.owned: set[Node] = set()
        self.heap: list[tuple[int, Node]] = []

    def add(self, node: Node, g: Any, alone: bool) -> None:
        """Add a cotangent; `alone` says that it is an array nothing else refers to."""
        if node.number < self.lowest:
            return
        before = self.sums.get(node)
        if before is None:
            heapq.heappush(self.heap, (-node.number, node))
        elif self.create_graph:
            g = before + g
        elif node in self.owned:
            g = kernels.add(before, g, out=before) if g.ndim else np.add(before, g, out=before)
        else:
            g, alone = np.asarray(before + g), True
        self.sums[node] = g
        if alone:
            self.owned.add(node)

    def scatter(self, node: Node, g: Scatter, like: Array) -> None:
        """Add a cotangent that is zero but at an index, into the one buffer of its node."""
        if node.number < self.lowest:
            return
        if node not in self.sums:
            self.add(node, np.zeros(like.shape, like.dtype), True)
        g.add_to(self.own(node))

    def own(self, node: Node) -> Array:
        """The sum of what has arrived, from now on in an array that nothing else refers to."""
        if node not in self.owned:
            self.sums[node] = np.array(self.sums[node])
            self.owned.add(node)
        return self.sums[node]

    def take(self) -> tuple[Node, Any, bool]:
        """The highest node, its cotangent, and whether that is an array nothing else refers to."""
        node = heapq.heappop(self.heap)[1]
        return node, self.sums.pop(node), node in self.owned


def _seed(output: Recorded, g: Any) -> Any:
    """The cotangent to start from, checked against the output."""
    if g is None:
        if output.data.size != 1:
            raise GraphError(
                f"backward: the output has shape {output.data.shape}, not one number; "
                "pass a cotangent of that shape, or sum to a scalar first"
            )
        return np.ones_like(output.data)
    g = g if hasattr(g, "node") else np.asarray(g, output.data.dtype)
    if g.shape != output.data.shape:
        raise ShapeError(f"backward: cotangent of shape {g.shape} for an output of shape {output.data.shape}")
    return g


def _hooked(hook: Callable[[Any], Any], g: Any, tensor: type[Recorded], create_graph: bool) -> Any:
    """What a hook makes of a cotangent: the same, or what it gives instead."""
    given = hook(g if create_graph else tensor.wrap(np.array(g), None))  # a copy: others may hold the same array
    if given is None:
        return g
    given = given if hasattr(given, "node") else tensor.wrap(np.asarray(given, g.dtype), None)
    if given.data.shape != g.shape:
        raise ShapeError(f"hook: gave a gradient of shape {given.data.shape} instead of one of shape {g.shape}")
    return given if create_graph else given.data


def _pull(node: Node, g: Any, wrap: Any) -> Sequence[Any]:
    """The cotangents of a node's inputs: by its rule or, for a recorded fused op, through its specification."""
    assert node.op is not None
    assert node.arrays is not None
    if wrap is None:
        return node.op.vjp(g, node.saved, *node.arrays, **node.params)
    pairs = list(zip(node.arrays, node.parents, strict=True))
    if node.op.spec is None:
        inputs = [wrap(a, p) if p is not None else a for a, p in pairs]
        return node.op.vjp(g, wrap(node.saved, node), *inputs, **node.params)
    if not all(has_content(a) for a in node.arrays):
        raise GraphError(f"backward: {node.op.name} in bfloat16 has no second derivative; compute it in float32")
    # New nodes stand for the inputs, so that the way back through the specification ends there.
    ends = [Node(Identity, (p,), (a,), {}, a) if p is not None else None for a, p in pairs]
    inputs = [wrap(a, end) if end is not None else a for a, end in zip(node.arrays, ends, strict=True)]
    out = node.op.spec(*inputs, **node.params)
    found = backpropagate([(out, g)], {end for end in ends if end is not None}, create_graph=True, retain=True)
    return [found.get(end) if end is not None else None for end in ends]


def unbroadcast(g: Any, x: Array) -> Any:
    """Sum a cotangent back to the shape its input had before broadcasting, in the input's dtype."""
    if g.shape != x.shape:
        extra = g.ndim - x.ndim
        stretched = tuple(i + extra for i, n in enumerate(x.shape) if n == 1 and g.shape[i + extra] != 1)
        g = np.reshape(np.sum(g, axis=(*range(extra), *stretched), keepdims=True), x.shape)
    return g if g.dtype == x.dtype else g.astype(x.dtype)
