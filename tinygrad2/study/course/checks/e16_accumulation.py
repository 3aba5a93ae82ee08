"""Gradients of micro-batches, compared with those of all of their rows at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad2 import value_and_grad
from tinygrad2.study.course.exercise import Call, Exercise, Inputs, Mistake, Probe, Text, frozen
from tinygrad2.types import Array

Batch = tuple[Array, Array]


class Model:
    """A linear model with its mean squared error; it counts the rows it was asked about."""

    def __init__(self, w: Array, b: Array) -> None:
        self.parameters = (w, b)
        self.used = 0

    def __call__(self, x: Array, y: Array) -> tuple[float, list[Array]]:
        self.used += len(x)
        loss, gradients = value_and_grad(lambda w, b: np.mean((x @ w + b - y) ** 2), argnums=(0, 1))(*self.parameters)
        return float(loss.data), [frozen(np.array(g.data)) for g in gradients]

    def __repr__(self) -> str:
        return "loss_and_gradients"


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    for rows, size in ((7, 3), (6, 2), (5, 5), (4, 9), (3, 1)):
        yield Call(theirs.split, draw.normal(rows, 2), draw.integers(9, rows), size)
    for sizes in ((3, 3, 1), (2,), (1, 4), (2, 2), (1, 2, 3, 5)):
        model = Model(draw.normal(3), draw.normal())
        batches = [(draw.normal(n, 3), draw.normal(n)) for n in sizes]
        found = theirs.accumulated(model, batches)
        yield f"micro-batches of {', '.join(map(str, sizes))} rows: loss", float(found[0])
        yield f"micro-batches of {', '.join(map(str, sizes))} rows: gradients", list(found[1])
    model = Model(draw.normal(3), draw.normal())
    taken, ahead = [0], []

    def one_by_one() -> Iterator[Batch]:
        for n in (2, 3, 1):
            ahead.append(sum(taken) - model.used)
            taken.append(n)
            yield draw.normal(n, 3), draw.normal(n)

    found = theirs.accumulated(model, one_by_one())
    yield "micro-batches that can be gone through once: loss", float(found[0])
    yield "micro-batches that can be gone through once: gradients", list(found[1])
    yield "rows that were taken and not yet used, whenever the next micro-batch was taken", 0 if theirs is OURS else max(ahead)


def split(x: Array, y: Array, size: int) -> list[Batch]:
    places = range(size, len(x), size)
    return list(zip(np.split(x, places), np.split(y, places), strict=True))


def accumulated(loss_and_gradients: Callable[[Array, Array], Any], batches: Iterable[Batch]) -> Any:
    """All at once."""
    x, y = zip(*batches, strict=True)
    return loss_and_gradients(np.concatenate(x), np.concatenate(y))


OURS = SimpleNamespace(split=split, accumulated=accumulated)

EXERCISE = Exercise(
    week=4,
    minutes=30,
    show=show,
    ours=OURS,
    idea=Text(
        "Turn each mean back into a sum, times the number of its rows, and add the sums; one division at the end.",
        "把每个平均值乘以行数还原成和，把和加起来；最后只做一次除法。",
    ),
    mistakes=[
        Mistake(
            "    return total / rows, [s / rows for s in sums]",
            "    return total, sums",
            Text(
                "The sums over all rows are returned: divide by the number of rows.",
                "返回的是所有行之和：应除以行数。",
            ),
        ),
        Mistake(
            "    return total / rows, [s / rows for s in sums]",
            "    return total / rows, sums",
            Text(
                "The loss is divided by the number of rows, and the gradients are not.",
                "loss 除以了行数，梯度却没有。",
            ),
        ),
        Mistake(
            "        rows += len(x)\n        total += len(x) * loss\n        parts = [len(x) * g for g in gradients]\n",
            "        rows += 1\n        total += loss\n        parts = list(gradients)\n",
            Text(
                "The mean of the means is taken: a micro-batch of one row counts as much as one of three. Weight each by its "
                "rows.",
                "取了平均值的平均值：一行的微批次与三行的微批次同样计入。应按行数加权。",
            ),
        ),
        Mistake(
            "        rows += len(x)\n        total += len(x) * loss\n        parts = [len(x) * g for g in gradients]\n",
            "        rows = 1\n        total += loss\n        parts = list(gradients)\n",
            Text(
                "The means of the micro-batches are added as they are, so that the gradient grows with their number.",
                "直接把各微批次的平均值相加，梯度会随微批次的个数变大。",
            ),
        ),
        Mistake(
            "        parts = [len(x) * g for g in gradients]\n",
            "        parts = list(gradients)\n",
            Text(
                "The gradients are not weighted by the number of rows, and the loss is.",
                "loss 按行数加权了，梯度却没有。",
            ),
        ),
        Mistake(
            "        total += len(x) * loss\n",
            "        total += loss\n",
            Text(
                "The loss is not weighted by the number of rows, and the gradients are.",
                "梯度按行数加权了，loss 却没有。",
            ),
        ),
        Mistake(
            "        rows += len(x)\n",
            "        rows += x.size\n",
            Text(
                "All numbers of x are counted; the mean is over its rows.",
                "数的是 x 的所有元素；平均是对行取的。",
            ),
        ),
        Mistake(
            "        rows += len(x)\n",
            "        rows = len(x)\n",
            Text(
                "It is divided by the rows of the last micro-batch; count those of all (+=).",
                "除以了最后一个微批次的行数；应累计所有的行数（+=）。",
            ),
        ),
        Mistake(
            "sums = parts if sums is None else [s + part for s, part in zip(sums, parts, strict=True)]",
            "sums = parts",
            Text(
                "Only the gradients of the last micro-batch are left: add them up.",
                "只剩下最后一个微批次的梯度：应当相加。",
            ),
        ),
        Mistake(
            "        parts = [len(x) * g for g in gradients]\n"
            "        sums = parts if sums is None else [s + part for s, part in zip(sums, parts, strict=True)]\n",
            "        sums = gradients if sums is None else sums\n        for s, g in zip(sums, gradients, strict=True):\n"
            "            s += len(x) * g\n",
            Text(
                "The gradients that were handed in are written into: begin with arrays of your own.",
                "改写了传入的梯度：应从自己的数组开始。",
            ),
        ),
        Mistake(
            "    for x, y in batches:\n",
            "    for x, y in list(batches):\n",
            Text(
                "All micro-batches are collected first, so that all of them are in memory at once: take one, use it, take the "
                "next.",
                "先把所有微批次收集起来，它们就同时在内存里了：应取一个，用一个，再取下一个。",
            ),
        ),
        Mistake(
            "for i in range(0, len(x), size)]",
            "for i in range(0, len(x) - size + 1, size)]",
            Text(
                "The last rows are dropped where they do not fill a micro-batch.",
                "最后几行不足一个微批次时被丢弃了。",
            ),
        ),
        Mistake(
            "for i in range(0, len(x), size)]",
            "for i in range(0, len(x))]",
            Text(
                "Micro-batches overlap: the next one begins `size` rows later.",
                "微批次互相重叠：下一个应从 `size` 行之后开始。",
            ),
        ),
        Mistake(
            "return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]",
            "return [(x[i : i + size], y[: size]) for i in range(0, len(x), size)]",
            Text("y is always cut at its beginning; its rows go with those of x.", "y 总是从开头切取；它的行应与 x 的行对应。"),
        ),
        Mistake(
            "return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]",
            "return [(x[i::size], y[i::size]) for i in range(size)]",
            Text(
                "`size` is taken for the number of micro-batches; it is the number of rows of each.",
                "把 `size` 当成了微批次的个数；它是每个微批次的行数。",
            ),
        ),
    ],
)
