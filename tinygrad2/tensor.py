"""Tensor: a NumPy array that remembers how it was computed.

NumPy's own functions and operators accept Tensors (`np.exp(t)`, `2 / t`, `array @ t`) and give Tensors back.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from tinygrad2 import autograd, dispatch, graph
from tinygrad2.dispatch import OPERANDS
from tinygrad2.errors import DtypeError, GraphError, ShapeError, UnsupportedError
from tinygrad2.ops import RULES, GetItem, Op
from tinygrad2.ops.op import values
from tinygrad2.types import Array, numbers

METHODS = """
    all any argmax argmin argsort astype clip conj conjugate copy cumprod cumsum diagonal dot max mean min nonzero prod ravel
    repeat round searchsorted squeeze std sum swapaxes take trace var
"""
"""Functions of NumPy that are methods of a Tensor too, with the arguments that follow the array."""


class Tensor(NDArrayOperatorsMixin):
    """An array, where it came from, and its gradient.

    Args:
        data: anything `np.asarray` takes; the dtype is NumPy's choice unless given.
        requires_grad: record what is computed from it, so that `backward()` fills `.grad`. Floating-point only.
        dtype: the dtype to convert to, such as `np.float32`.

    Example:
        >>> x = Tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        Tensor([2., 4.])
    """

    __slots__ = ("_array", "node")
    __hash__ = object.__hash__  # by identity: == compares entries, as in NumPy
    _array: Array
    node: graph.Node | None

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        self.node = None
        if isinstance(data, Tensor) and data.node is not None and data.node.op is not None and graph.is_recording():
            raise GraphError("Tensor: its data is part of a graph, which would be cut here; call .detach() to cut it")
        self._array = numbers(data.data if isinstance(data, Tensor) else data, dtype)
        self.requires_grad = requires_grad

    @classmethod
    def wrap(cls, data: Array, node: graph.Node | None) -> Tensor:
        """A Tensor around an array and a node, as they are."""
        tensor = object.__new__(Tensor)  # never a subclass: what is computed from a Parameter is a plain Tensor
        tensor._array, tensor.node = data, node
        return tensor

    @property
    def data(self) -> Array:
        """The array. Setting it, or `t.data += ...`, tells the graph: a backward that needs the old value is refused.

        Writing into it by index, `t.data[0] = ...`, is seen only inside `autograd.detect_anomaly()`; and so is writing into a
        plain array that was computed with, if it has more than 1 MiB: of smaller ones, indices too, the graph has a copy.
        The array of `t.T` or `t[1:]` is a view, as in NumPy: what is written there is written into that of `t`, unseen.
        """
        return self._array

    @data.setter
    def data(self, array: Array) -> None:
        array = numbers(array)
        if self.node is not None:
            graph.require_float(array)
            self.node.version += 1
        self._array = array

    # -- gradients
    @property
    def requires_grad(self) -> bool:
        """Whether what is computed from this is recorded. May be set on a leaf, to freeze or thaw it."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self.node is not None and self.node.op is not None:
            raise GraphError("requires_grad: only a leaf can be changed; use detach() for a result")
        if value and self.node is None:
            graph.require_float(self.data)
            self.node = graph.Node()
        elif not value:
            self.node = None

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward()` calls have added up; None before the first. Assign None to start again."""
        grad: Tensor | None = self.node.grad if self.node is not None else None
        return grad

    @grad.setter
    def grad(self, value: Tensor | Array | None) -> None:
        if self.node is None:
            raise GraphError("grad: this tensor does not require a gradient")
        if value is not None:
            value = value if isinstance(value, Tensor) else Tensor(value)
            if value.shape != self.shape:
                raise ShapeError(f"grad: a gradient of shape {value.shape} for a tensor of shape {self.shape}")
            if value.dtype.kind not in "fiub":
                raise DtypeError(f"grad: a gradient of {value.dtype} for a tensor of {self.dtype}; give real numbers")
            value = value if value.dtype == self.dtype else value.astype(self.dtype)
        self.node.grad = value

    def backward(self, gradient: Any = None, *, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf it was computed from, and free the graph.

        Gradients *accumulate*: calling it for two losses gives the gradient of their sum. Set `.grad = None` (or call
        `zero_grad()` on the module or optimizer) to start afresh.

        Args:
            gradient: the cotangent, of this tensor's shape; may be left out for a single number.
            retain_graph: keep the graph, so that another backward can go through it.
            create_graph: record the backward pass too, so that `.grad` can be differentiated.

        Raises:
            GraphError: nothing was recorded, the graph was freed, or this is not a scalar and no gradient is given.
        """
        leaves = autograd.backpropagate([(self, gradient)], None, create_graph, retain_graph or create_graph)
        for leaf, g in leaves.items():
            g = g if create_graph else Tensor.wrap(g, None)
            if leaf.grad is not None and leaf.grad.shape != g.shape:
                raise ShapeError(
                    f"backward: a gradient of shape {g.shape} cannot be added to a .grad of shape {leaf.grad.shape}"
                )
            leaf.grad = g if leaf.grad is None else leaf.grad + g

    def register_hook(self, hook: Callable[[Tensor], Tensor | Array | None]) -> Callable[[], None]:
        """Call `hook` with the whole gradient of this tensor in every backward; what it returns replaces the gradient.

        The hook is called once per backward, after all uses have been added up. Returns a function that removes it.
        """
        node = self.node
        if node is None:
            raise GraphError("register_hook: this tensor does not require a gradient")
        registered = partial(hook)  # a new object, so that the same hook may be there twice and be removed once
        node.hooks = (*node.hooks, registered)

        def remove() -> None:
            node.hooks = tuple(h for h in node.hooks if h is not registered)

        return remove

    def detach(self) -> Tensor:
        """The same array, outside the graph."""
        return Tensor.wrap(self.data, None)

    # -- NumPy's protocols
    @classmethod
    def __record__(cls, op: type[Op], inputs: Sequence[Any], settings: dict[str, Any]) -> Tensor:
        return graph.record(Tensor, op, inputs, settings)

    def __init_subclass__(cls) -> None:
        OPERANDS.add(cls)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "__call__" and not kwargs and OPERANDS.issuperset(map(type, inputs)) and ufunc in RULES:
            return RULES[ufunc](*inputs)
        return dispatch.of_ufunc(Tensor.wrap, ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return dispatch.of_function(Tensor.wrap, func, types, args, kwargs)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self.node is not None and graph.is_recording():
            raise GraphError(
                "this tensor is part of a graph; hand it to NumPy's function, as in np.dot(a, t) and not a.dot(t); "
                "np.stack joins several; .numpy() or .data takes its array out of the graph"
            )
        return np.array(self.data, dtype, copy=copy)

    # -- as an array
    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the entries."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of entries."""
        return self.data.size

    @property
    def T(self) -> Tensor:  # noqa: N802  (NumPy's name)
        """The axes in reverse order."""
        return self.transpose()

    @property
    def mT(self) -> Tensor:  # noqa: N802  (NumPy's name)
        """The last two axes swapped: each matrix transposed."""
        return RULES[np.matrix_transpose](self)

    @property
    def itemsize(self) -> int:
        """The bytes of one entry."""
        return self.data.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all entries."""
        return self.data.nbytes

    def numpy(self) -> Array:
        """The array itself: no copy, outside the graph."""
        return self.data

    def item(self) -> float:
        """The single number in it."""
        return self.data.item()

    def tolist(self) -> Any:
        """The numbers in it, as nested lists."""
        return self.data.tolist()

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        """For copy.deepcopy and pickle: the array, as a new leaf."""
        if self.node is not None and self.node.op is not None:
            raise GraphError("copy: this tensor is a result inside a graph; copy t.detach(), or the leaves")
        return type(self), (self.data, self.requires_grad)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        if self.node is not None and graph.is_recording():
            raise GraphError(
                "float: this tensor is part of a graph; write np.exp(t) for math.exp(t), or .item() to take its number out"
            )
        return float(self.data)

    def __round__(self, digits: int | None = None) -> Any:
        return int(np.round(self.data)) if digits is None else Tensor.wrap(np.round(self.data, digits), None)

    def __int__(self) -> int:
        return int(self.data)  # a step: its derivative is 0

    def __index__(self) -> int:
        return operator.index(self.data)

    def __format__(self, spec: str) -> str:
        return format(self.item() if spec and self.size == 1 else self.data if spec else str(self), spec)

    def __getitem__(self, index: Any) -> Tensor:
        parts = index if isinstance(index, tuple) else (index,)
        plain = tuple([numbers(values(part)) if isinstance(part, (Tensor, np.ndarray)) else part for part in parts])
        return GetItem.call(self, index=plain if isinstance(index, tuple) else plain[0])

    def __setitem__(self, index: Any, value: Any) -> None:
        """Refused: what was recorded with the old entries would no longer be true."""
        raise UnsupportedError("a Tensor cannot be written into; make a new one, as in np.where(mask, new, old), or np.stack")

    def __repr__(self) -> str:
        body = np.array2string(self.data, separator=", ", prefix="Tensor(", threshold=50)
        dtype = "" if self.dtype in (np.float64, np.int64, np.bool_) else f", dtype={self.dtype}"
        return f"Tensor({body}{dtype}{', requires_grad=True' if self.requires_grad else ''})"

    def _repr_html_(self) -> str:
        """In a notebook: its type and shape, and its numbers as a heat map."""
        from tinygrad2.html import heat_map

        grad = ", requires_grad" if self.requires_grad else ""
        return heat_map(self.data, f"{type(self).__name__} {self.shape} {self.dtype}{grad}")

    # -- NumPy's methods, which are its functions
    def reshape(self, *shape: Any) -> Tensor:
        """`np.reshape`; the shape as one tuple or as separate numbers."""
        return RULES[np.reshape](self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """`np.transpose`; the axes as one tuple, as separate numbers, or left out to reverse them."""
        alone = len(axes) == 1 and (axes[0] is None or np.iterable(axes[0]))
        return RULES[np.transpose](self, axes[0] if alone else axes or None)

    def flatten(self) -> Tensor:
        """A copy as one row of numbers."""
        return RULES[np.copy](RULES[np.ravel](self))

    def sort(self, *_: Any, **__: Any) -> None:
        """Refused: an array sorts itself in place."""
        raise UnsupportedError("sort: a tensor cannot be sorted in place; write np.sort(t), which gives a new one")

    sum: Callable[..., Tensor]  # the rest of METHODS are set below
    mean: Callable[..., Tensor]
    max: Callable[..., Tensor]
    swapaxes: Callable[..., Tensor]
    astype: Callable[..., Tensor]


OPERANDS.add(Tensor)


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **settings: Any) -> Any:
        return dispatch.answer(Tensor.wrap, function, (self, *args), settings)

    method.__name__, method.__doc__ = function.__name__, f"`np.{function.__name__}` of this tensor."
    return method


for _name in METHODS.split():
    setattr(Tensor, _name, _method(getattr(np, _name)))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"):
    # t += u makes a new Tensor, so that what was recorded with the old one stays true.
    setattr(Tensor, f"__i{_name}__", getattr(Tensor, f"__{_name}__"))
