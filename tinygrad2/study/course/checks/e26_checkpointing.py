"""A function that is computed again in backward: values, gradients, and what is kept meanwhile.

What is inside it are pairs of this file, whose caches are counted: how many there are at a time, and how many were made.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

import tinygrad2
from tinygrad2.study.course.checks.e08_tensor import Tensor, op
from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Probe, Text
from tinygrad2.types import Array


class Counter:
    """Caches that are there, all that were made and, where it is watched, the most there were at a time."""

    def __init__(self) -> None:
        self.alive: weakref.WeakSet[Cache] = weakref.WeakSet()
        self.made = self.peak = 0
        self.watched = False

    def tanh(self, x: Array) -> tuple[Array, Cache]:
        out = np.tanh(x)
        return out, Cache(self, out)

    def product(self, x: Array, y: Array) -> tuple[Array, Cache]:
        return x * y, Cache(self, x, y)

    def kept(self) -> int:
        """How many there are now, without what only waits to be collected."""
        gc.collect()
        return len(self.alive)


class Cache:
    """What a pair keeps."""

    def __init__(self, counter: Counter, *arrays: Array) -> None:
        self.arrays = arrays
        counter.alive.add(self)
        counter.made += 1
        if counter.watched:
            counter.peak = max(counter.peak, counter.kept())


def tanh_backward(dout: Array, cache: Cache) -> Array:
    (out,) = cache.arrays
    return dout * (1 - out**2)


def product_backward(dout: Array, cache: Cache) -> tuple[Array, Array]:
    x, y = cache.arrays
    return dout * y, dout * x


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    gc.collect()
    gc.freeze()  # what was there before is none of ours, and takes long to go through each time
    try:
        yield from parts(theirs, draw)
    finally:
        gc.unfreeze()


def parts(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    """One checkpoint of a function of two arguments, and then several in a row."""
    counter = Counter()
    tanh, product = theirs.op(counter.tanh, tanh_backward), theirs.op(counter.product, product_backward)

    def several(x: Any, y: Any) -> Any:
        return tanh(product(x, x) + y) * 3 - product(y, x)

    def chain(x: Any) -> Any:
        return tanh(product(tanh(x * 2 + 1), x))

    def backward(out: Any) -> None:
        (out * theirs.Tensor(draw.normal(*out.shape))).sum().backward()

    x, y = theirs.Tensor(draw.normal(2, 3)), theirs.Tensor(draw.normal(3))
    f = theirs.checkpoint(several)
    out = f(x, y)
    yield "checkpoint(f)(x, y): value", out.data
    yield "what f keeps after forward, in arrays", counter.kept()
    yield "how many ops inside f were computed in forward", counter.made
    backward(out)
    yield "checkpoint(f)(x, y): gradient of x", x.grad
    yield "checkpoint(f)(x, y): gradient of y", y.grad
    out = f(x * 2, f(x, y)) * y
    backward(out)
    yield "f of f, in a second loss: gradient of x", x.grad
    yield "f of f, in a second loss: gradient of y", y.grad
    del out
    yield from deep(theirs, counter, chain, backward, draw)


def deep(theirs: Any, counter: Counter, f: Callable[..., Any], backward: Callable[..., Any], draw: Inputs) -> Iterator[Probe]:
    """Four checkpoints one after another, of three counted ops each."""
    counter.made = 0
    x = theirs.Tensor(draw.normal(4))
    h = x
    for _ in range(4):
        h = theirs.checkpoint(f)(h)
    yield "four checkpoints in a row: value", h.data
    yield "what they keep after forward, in arrays", counter.kept()
    counter.watched = True
    backward(h)
    yield "four checkpoints in a row: gradient of x", x.grad
    yield "the most that was kept at a time in backward, in arrays", counter.peak
    yield "how many ops were computed in all", counter.made
    yield "what is kept after backward, in arrays", counter.kept()


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """tinygrad2's."""
    return lambda *inputs: tinygrad2.checkpoint(f, *inputs)


FORWARD = "        return out.data, arrays"
LOSS = "        (f(*inputs) * Tensor(dout)).sum().backward()"
GRADIENTS = "        return tuple(x.grad for x in inputs)"

EXERCISE = Exercise(
    week=6,
    minutes=60,
    show=show,
    ours=SimpleNamespace(Tensor=Tensor, op=op, checkpoint=checkpoint),
    idea=Text(
        "Return op(forward, backward), with two functions of your own. forward runs f on new Tensors and returns the data of "
        "the result, and as its cache the arrays. backward makes new Tensors of these arrays.",
        "返回 op(forward, backward)，其中两个函数由你来写。forward 在新的 Tensor 上运行 f，返回结果的 data，并以这些数组作为 "
        "cache。backward 再由这些数组建立新的 Tensor。",
    ),
    mistakes=[
        Mistake(
            "    return op(forward, backward)",
            "    return f",
            Text(
                "f runs as it is, and all that is inside it is kept: nothing is saved.",
                "f 照原样运行，其内部的一切都被保存：没有省下任何内存。",
            ),
        ),
        Mistake(
            FORWARD,
            "        return out.data, (*arrays, out)",
            Text(
                "The cache holds the result, and with it the whole graph that led to it: keep arrays, and not Tensors.",
                "cache 中保存了结果，也就保存了得到它的整个计算图：应保存数组，而不是带有记忆的 Tensor。",
            ),
        ),
        Mistake(
            FORWARD,
            "        return f(*[Tensor(x) for x in arrays]).data, arrays",
            Text(
                "f runs twice in forward; once is enough, and backward runs it again.",
                "前向中 f 运行了两次；一次就够，反向时再运行一次。",
            ),
        ),
        Mistake(
            LOSS,
            "        f(*inputs).sum().backward()",
            Text(
                "The gradient that arrives is dropped, as if it were 1 everywhere: weight the result with dout before the sum.",
                "丢弃了传来的梯度，好像它处处为 1：求和之前应先用 dout 加权。",
            ),
        ),
        Mistake(
            LOSS,
            "        (f(*inputs) * Tensor(dout)).mean().backward()",
            Text(
                "The mean instead of the sum: all gradients are too small by the number of entries of the result.",
                "用了平均值而不是和：所有梯度都小了，差一个因子，即结果的元素个数。",
            ),
        ),
        Mistake(
            LOSS,
            "        y = f(*inputs)\n        (y * y * Tensor(dout)).sum().backward()",
            Text(
                "The result comes in twice, so that its gradient is 2 y dout; it is to be dout.",
                "结果出现了两次，它的梯度成了 2 y dout；应为 dout。",
            ),
        ),
        Mistake(
            GRADIENTS,
            "        return tuple(x.grad for x in reversed(inputs))",
            Text("The gradients are returned in the reverse order of the inputs.", "返回的梯度与输入的顺序相反。"),
        ),
        Mistake(
            GRADIENTS,
            "        return tuple(dout * x.grad for x in inputs)",
            Text(
                "dout comes in twice: weighting the result with it has put it into every gradient already.",
                "dout 用了两次：用它给结果加权时，它已经进入了每个梯度。",
            ),
        ),
        Mistake(
            GRADIENTS,
            "        return inputs[0].grad",
            Text(
                "Only the first input gets its gradient; return one for each.",
                "只有第一个输入得到了梯度；应为每个输入各返回一个。",
            ),
        ),
    ],
)
