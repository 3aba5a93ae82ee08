"""Less memory for more time: a function of which nothing is kept but its inputs, and that is computed again in backward."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad2 import autograd
from tinygrad2.containers import leaves, rebuilt
from tinygrad2.errors import GraphError
from tinygrad2.ops import Fused
from tinygrad2.ops.draws import remembered, repeated
from tinygrad2.ops.op import outline
from tinygrad2.tensor import Tensor
from tinygrad2.transforms import in_one, variable
from tinygrad2.types import Array


def checkpoint(f: Callable[..., Any], *inputs: Any) -> Any:
    """f(*inputs), keeping only the inputs for backward: everything between is computed again when it is needed.

    What dropout drew is drawn again. Gradients reach the inputs only: parameters that `f` uses must be passed, too, alone or in
    containers. It may give one Tensor, or a container of them of one dtype (Chen et al., 2016).

    Raises GraphError for a Tensor that wants a gradient and was not passed; and in backward, where some entries show that `f`
    gave something else the second time.
    """
    function = _Recomputed(f, inputs)

    class Checkpoint(Fused):
        forward, vjp, spec = staticmethod(function.forward), staticmethod(function.vjp), staticmethod(function.again)

    return function.unpacked(Checkpoint.call(*function.arrays))


class _Recomputed:
    """A function of containers, as one of the arrays that are in them, which gives all in one Tensor.

    arrays      the Tensors and arrays among the inputs; `places` says where, among the leaves of these
    like        the container that it gave at first, of outlines; None where it gave one Tensor
    drawn       what random numbers were drawn from
    shown       some entries of what it gave
    """

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any]) -> None:
        self.f, self.inputs, self.leaves = f, inputs, leaves(inputs)
        self.places = [i for i, x in enumerate(self.leaves) if isinstance(x, (Tensor, np.ndarray))]
        self.arrays = [self.leaves[i] for i in self.places]
        self.are_tensors = [isinstance(x, Tensor) for x in self.arrays]
        if not any(self.are_tensors):
            raise GraphError("checkpoint: no input is a Tensor, so backward reaches nothing; pass the tensors as inputs")
        kept = (copy.deepcopy(x) if isinstance(x, list) else x for x in self.leaves)
        self.leaves = [None if i in self.places else x for i, x in enumerate(kept)]  # the graph keeps the arrays
        self.like: Any = None
        self.drawn: Sequence[np.random.Generator] = ()
        self.shown: Array = np.empty(0)

    def call(self, arrays: Sequence[Any]) -> tuple[Any, Any]:
        """What f gives, and all of it in one Tensor."""
        given = [copy.copy(x) if isinstance(x, list) else x for x in self.leaves]
        for place, x, is_tensor in zip(self.places, arrays, self.are_tensors, strict=True):
            given[place] = Tensor(x) if is_tensor and not isinstance(x, Tensor) else x
        out = self.f(*rebuilt(self.inputs, iter(given)))
        packed = in_one("checkpoint", out)
        dtypes = [part.dtype for part in leaves(out)]
        if len(set(dtypes)) > 1:
            raise GraphError(f"checkpoint: the function gave {', '.join(map(str, dtypes))}; give one dtype")
        return out, packed

    def forward(self, *arrays: Any) -> tuple[Array, None]:
        with remembered() as self.drawn:
            out, packed = self.call(arrays)
        if packed.requires_grad:
            raise GraphError(
                "checkpoint: the function uses a tensor that requires a gradient but was not passed to it, and would get none; "
                "pass it as an input"
            )
        if not isinstance(out, Tensor):
            self.like = rebuilt(out, (outline(part.data) for part in leaves(out)))
        self.shown = _some(packed.data)
        return packed.data, None

    def again(self, *arrays: Any) -> Any:
        with repeated(self.drawn):
            _, packed = self.call(arrays)
        size = np.abs(self.shown).max(initial=0)
        if not np.allclose(_some(packed.data), self.shown, rtol=1e-3, atol=1e-4 * size, equal_nan=True):
            raise GraphError(
                "checkpoint: the function gave something else when it was computed again; it must draw random numbers only by "
                "dropout, and read nothing that changes meanwhile"
            )
        return packed

    def vjp(self, g: Array, saved: None, *arrays: Any) -> tuple[Any, ...]:
        variables = [
            variable(x) if is_tensor and x.dtype.kind == "f" else x
            for x, is_tensor in zip(arrays, self.are_tensors, strict=True)
        ]
        with autograd.enable_grad():
            out = self.again(*variables)
        found: dict[Any, Any] = autograd.backpropagate([(out, g)]) if out.node is not None else {}
        return tuple(found.get(x.node) if isinstance(x, Tensor) else None for x in variables)

    def unpacked(self, packed: Tensor) -> Any:
        """The parts of the one Tensor, as the function gave them."""
        if self.like is None:
            return packed
        outlines = leaves(self.like)
        ends = np.cumsum([part.size for part in outlines])
        parts = (packed[end - part.size : end].reshape(part.shape) for part, end in zip(outlines, ends, strict=True))
        return rebuilt(self.like, parts)


def _some(out: Array) -> Array:
    """A copy of some entries of an array, far apart."""
    return out.reshape(-1)[:: max(1, out.size // 64)].copy()
