"""What `study` knows of a computation: every value of it, where it came from, and the code that asked for it.

Nothing is noted outside of `with record():`. What is noted hangs on the result, and goes when the result goes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from tinygrad2.errors import GraphError
from tinygrad2.graph import Node
from tinygrad2.observer import PACKAGE, Observer, observe, observing
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array

ENGINE = (
    *(path for path in PACKAGE.iterdir() if path.suffix == ".py" or path.name in ("ops", "kernels", "study")),
    Path(np.__file__).parent,
)
"""Where the line that asked for an op is not: all of tinygrad2 but its modules, and NumPy, which calls the operators."""


class Value:
    """One value of a recorded computation: a leaf (`op` is None) or what an op made of other values.

    array    its entries; of a leaf, the array it had when it was used
    inputs   for each input of the op the Value it was, or None for a constant
    arrays   for each input its entries
    settings, residuals   what the op's rules receive beside them; see `Op`
    name     its own: the name of a parameter or of a variable for a leaf, that of the op for a result
    path     of the module that was being called, in the outermost one: "h.3.attn.c_attn"; of a leaf, of its module
    source   the line that asked for it: "layers.py:38: return ops.linear(x, self.weight, self.bias)"
    """

    def __init__(
        self,
        node: Node,
        array: Array,
        name: str,
        path: str = "",
        source: str = "",
        inputs: tuple[Value | None, ...] = (),
        arrays: tuple[Any, ...] = (),
    ) -> None:
        self.node, self.array, self.name, self.path, self.source = node, array, name, path, source
        self.inputs, self.arrays = inputs, arrays
        self.number, self.op, self.settings, self.residuals = node.number, node.op, node.settings, node.residuals
        self.version = node.version

    @property
    def is_leaf(self) -> bool:
        """Whether no op has made it."""
        return self.op is None

    @property
    def full_name(self) -> str:
        """The module path and the name: "h.3.attn.c_attn.weight", "h.3.attn.c_attn.linear"."""
        return f"{self.path}.{self.name}" if self.path else self.name

    def __repr__(self) -> str:
        return f"<Value {self.full_name} {self.array.shape}>"


_leaves: WeakValueDictionary[int, Value] = WeakValueDictionary()
"""By the id of its node: each leaf that a computation still remembers, so that it is one in all recordings, on all threads."""

_lock = threading.Lock()


class Recorder(Observer):
    """Makes a Value of every node."""

    def recorded(self, node: Node, out: Array) -> None:
        """The op of `node` has made `out`."""
        assert node.op is not None
        assert node.primals is not None
        inputs = tuple(self._value(parent, x) for parent, x in zip(node.parents, node.primals, strict=True))
        _, source = self.line(ENGINE)
        path = self.call.path if self.call is not None else ""
        node.observed = Value(node, out, node.op.name, path, source, inputs, node.primals)

    def _value(self, node: Node | None, array: Array) -> Value | None:
        if node is None:
            return None
        if isinstance(node.observed, Value):
            return node.observed
        if node.op is not None:
            raise GraphError(
                f"record: an input of this op was made by a {node.op.name} before recording began; "
                "compute all of it inside `with study.record():`"
            )
        with _lock:
            leaf = _leaves.get(id(node))
            if leaf is None or leaf.version != node.version:
                path, _, name = self._name(node).rpartition(".")
                leaf = _leaves[id(node)] = Value(node, array, name, path)
        return leaf

    def _name(self, node: Node) -> str:
        """The name of a leaf: as a parameter of the outermost module or, elsewhere, of a variable that holds it."""
        if self.call is not None:
            for name, parameter in chain(self.call.parameters, self.call.root.named_parameters()):  # those of now: if it is new
                if parameter.node is node:
                    return str(name)
        frame, _ = self.line(ENGINE)
        for name, x in {**frame.f_globals, **frame.f_locals}.items():
            if isinstance(x, Tensor) and x.node is node:
                return str(name)
        return "leaf"


@contextmanager
def record() -> Iterator[None]:
    """Inside, also on the threads of a pool, every op notes what the functions of `study` need: values, module, source line.

    Memory: everything that was computed is kept for as long as its result is, even past `backward`.
    Raises GraphError inside `autograd.detect_anomaly()`, which looks at the same ops.
    """
    if observing() is not None:
        raise GraphError("record: the ops are already being observed here; leave detect_anomaly() or record() first")
    with observe(Recorder()):
        yield


def value_of(tensor: Tensor) -> Value:
    """What was recorded of a Tensor. Raises GraphError if nothing was."""
    value = tensor.node.observed if tensor.node is not None else None
    if not isinstance(value, Value):
        what = "a leaf" if tensor.node is not None and tensor.node.op is None else "not computed inside `with study.record():`"
        raise GraphError(f"study: this tensor of shape {np.shape(tensor.data)} is {what}, so there is nothing to show of it")
    return value
