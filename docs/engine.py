"""The engine on one page: tinygrad2 without its comfort. It needs NumPy alone. Read it first, from top to bottom.

Some arrays go into a computation, and one number comes out: the loss. For each entry of each array we ask: if it grew by a
little, by how much would the loss grow, per unit? The answers are the gradient. Four ideas find all of it in one go:

1. A Tensor is an array that remembers how it was computed.
2. Every function has rules: from the gradient of its result to the gradient of each of its inputs.
3. A walk from the loss back to the beginning, applying the rules, gives the gradient of everything.
4. What was used several times has a contribution from every use, and contributions add up.

>>> x, b = Tensor([[1.0, 2.0], [3.0, 4.0]]), Tensor([10.0, 20.0])
>>> loss = np.sum((x + b) * x)
>>> print(*grad(loss, [x, b]))  # 2 x + b, and the sum of each column of x
[[12. 24.]
 [16. 28.]] [4. 6.]
"""

from __future__ import annotations

import heapq
import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


class Tensor(NDArrayOperatorsMixin):  # the mixin makes a call of every operator: x + y is np.add(x, y)
    """1. An array, and the function that computed it: its rules, inputs and settings. A leaf, made by hand, has none."""

    numbers = itertools.count()
    __hash__ = object.__hash__  # a dictionary finds this very Tensor, not one of equal entries

    def __init__(self, data: Any, rules: Any = (), inputs: Any = (), arrays: Any = (), settings: Any = None) -> None:
        self.data = np.asarray(data)
        self.shape = self.data.shape
        self.number = next(Tensor.numbers)  # counted up: an input has a lower number than what is computed from it
        self.rules, self.inputs, self.arrays, self.settings = rules, inputs, arrays, settings

    # A NumPy function that is handed a Tensor asks it what to do, instead of running. So ask those that work entry by entry:
    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **settings: Any) -> Tensor:
        return record(function if method == "__call__" else getattr(function, method), inputs, settings)

    # ... and so the others, such as np.sum:
    def __array_function__(self, function: Any, types: Any, inputs: Any, settings: Any) -> Tensor:
        return record(function, inputs, settings)

    def __getitem__(self, index: Any) -> Tensor:
        return record(operator.getitem, (self, index), {})


def record(function: Any, inputs: Sequence[Any], settings: dict[str, Any]) -> Tensor:
    """Compute the value on plain arrays, and remember how."""
    if function not in RULES or "out" in settings:
        given = ", ".join(settings)
        raise TypeError(f"{function.__name__}({given}) has no rule here: write it with what is in RULES, or add a rule")
    arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]  # what is not a Tensor is a constant
    return Tensor(function(*arrays, **settings), RULES[function], inputs, arrays, settings)


# 2. One expression for each input: a rule takes `g`, the gradient of the result (its *cotangent*), the result `out`, the inputs
# and the settings, and gives what its input gets. The slope of a product with respect to one factor is the other factor.
# Matrices have two axes or more here. For -x, x ** 2 and np.mean write 0 - x, x * x and np.sum(x) / n, or add their rules.
RULES: dict[Any, tuple[Callable[..., Any], ...]] = {
    np.add: (lambda g, out, a, b: g, lambda g, out, a, b: g),
    np.subtract: (lambda g, out, a, b: g, lambda g, out, a, b: -g),
    np.multiply: (lambda g, out, a, b: g * b, lambda g, out, a, b: g * a),
    np.divide: (lambda g, out, a, b: g / b, lambda g, out, a, b: -g * out / b),
    np.exp: (lambda g, out, x: g * out,),
    np.log: (lambda g, out, x: g / x,),
    np.sqrt: (lambda g, out, x: g / (2 * out),),
    np.tanh: (lambda g, out, x: g * (1 - out * out),),
    np.matmul: (lambda g, out, a, b: g @ np.swapaxes(b, -1, -2), lambda g, out, a, b: np.swapaxes(a, -1, -2) @ g),
    np.sum: (lambda g, out, x, axis=None, keepdims=False: spread(g, x.shape, axis),),
    np.reshape: (lambda g, out, x, shape: np.reshape(g, x.shape),),
    np.swapaxes: (lambda g, out, x, axis1, axis2: np.swapaxes(g, axis1, axis2),),
    operator.getitem: (lambda g, out, x, index: scatter(g, x.shape, index),),
}


def spread(g: Any, shape: tuple[int, ...], axis: Any) -> Any:
    """Every entry of an array of this shape is in one of the sums, with slope 1: it gets the cotangent of that sum."""
    return np.broadcast_to(np.reshape(g, np.sum(np.zeros(shape), axis=axis, keepdims=True).shape), shape)


def scatter(g: Any, shape: tuple[int, ...], index: Any) -> Any:
    """What was picked gets its `g`, as often as it was picked; the rest gets zero."""
    zeros = np.zeros(shape, g.dtype)
    np.add.at(zeros, index, g)
    return zeros


def grad(loss: Tensor, wanted: Sequence[Tensor]) -> list[Any]:
    """3. The walk: the gradient of `loss`, one number, for each `wanted` Tensor. Only read them: two may be one array."""
    if loss.data.size != 1:
        raise ValueError(f"the loss has shape {loss.shape}: it must be one number, such as its np.sum")
    cotangents = {loss: np.ones_like(loss.data)}  # the slope of the loss with respect to itself is 1
    waiting = [(-loss.number, loss)]
    while waiting:  # the highest number first (a heap gives its lowest, hence the minus): after all its uses
        node = heapq.heappop(waiting)[1]
        for x, contribution in visit(node, cotangents[node]):
            if x not in cotangents:
                heapq.heappush(waiting, (-x.number, x))
            cotangents[x] = cotangents[x] + contribution if x in cotangents else contribution  # 4. they add up
    return [cotangents.get(x, np.zeros_like(x.data)) for x in wanted]  # zero where the loss does not depend on it


def visit(node: Tensor, g: Any) -> Iterator[tuple[Tensor, Any]]:
    """Each input that is a Tensor, and what this use of it contributes to its cotangent. A leaf has no inputs."""
    for x, rule in zip(node.inputs, node.rules, strict=False):  # np.sum(x, 0) has two inputs and one rule: 0 is a setting
        if isinstance(x, Tensor):
            yield x, unbroadcast(rule(g, node.data, *node.arrays, **node.settings), x)


def unbroadcast(g: Any, x: Tensor) -> Any:
    """NumPy repeats an input that is too small. Each repetition is a use, so sum over the axes along which it was repeated."""
    repeated = tuple(i for i in range(-g.ndim, 0) if i < -len(x.shape) or g.shape[i] != x.shape[i])  # shapes end together
    return np.reshape(np.sum(g, axis=repeated), x.shape) if repeated else g
