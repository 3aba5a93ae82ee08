"""Losses and gradients of parts, beside those of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad2.study.course.exercise import Call, Exercise, Inputs, Mistake, Probe, Text, frozen
from tinygrad2.transforms import value_and_grad
from tinygrad2.types import Array

LossAndGradients = Callable[[Array], tuple[float, dict[str, Array]]]


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    w, b = draw.normal(3), draw.normal(2)
    asked: list[int] = []

    def loss_and_gradients(rows: Array) -> tuple[float, dict[str, Array]]:
        asked.append(len(rows))
        f = value_and_grad(lambda w, b: np.mean((np.tanh(rows @ w) - b[0]) ** 2 * b[1] ** 2), argnums=(0, 1))
        loss, found = f(w, b)
        return float(loss), {name: frozen(np.array(g)) for name, g in zip("wb", found, strict=True)}

    for n, size in ((6, 2), (7, 3), (5, 5), (4, 9), (3, 1)):
        yield Call(theirs.accumulated, loss_and_gradients, draw.normal(n, 3), size)
    for counted, size in (([1, 0, 1, 1, 0, 0, 1], 3), ([0, 0, 1, 0, 1], 2), ([1, 1, 1, 1], 2), ([0, 1], 1)):
        rows = draw.normal(len(counted), 3)
        mask = frozen(np.array(counted, bool))
        asked.clear()
        yield Call(theirs.masked, loss_and_gradients, rows, mask, size)
        yield "rows that masked asked for", sum(asked)
        yield "whether it asked for parts without rows", 0 in asked


def accumulated(loss_and_gradients: LossAndGradients, rows: Array, size: int) -> tuple[float, dict[str, Array]]:
    """At once."""
    return loss_and_gradients(rows)


def masked(loss_and_gradients: LossAndGradients, rows: Array, counted: Array, size: int) -> tuple[float, dict[str, Array]]:
    """At once."""
    return loss_and_gradients(rows[counted])


EXERCISE = Exercise(
    week=4,
    minutes=30,
    show=show,
    ours=SimpleNamespace(accumulated=accumulated, masked=masked),
    idea=Text(
        "Multiply the loss and the gradients of a part by (rows of the part) / (rows of all) before you add them.",
        "把每一份的损失和梯度乘以（该份的行数）/（总行数）再相加。",
    ),
    mistakes=[
        Mistake(
            "share = len(part) / np.sum(counted)",
            "share = 1 / (-(-len(rows) // size))",
            Text(
                "Every part counts the same: a mean of means. The last part is shorter, and counts less.",
                "每一份权重相同：这是平均的平均。最后一份更短，权重应更小。",
            ),
        ),
        Mistake(
            "share = len(part) / np.sum(counted)",
            "share = 1.0",
            Text(
                "The means are added as they are; each is to be multiplied by its share of the rows.",
                "把各平均直接相加了；应先乘以各自所占的行数比例。",
            ),
        ),
        Mistake(
            "share = len(part) / np.sum(counted)",
            "share = len(part) / len(rows)",
            Text(
                "It is divided by all rows; the mean is over those that count.",
                "除以了全部行数；平均只对计入的行。",
            ),
        ),
        Mistake(
            "share = len(part) / np.sum(counted)",
            "share = size / np.sum(counted)",
            Text("The last part is taken to have `size` rows; it may have fewer.", "把最后一份当作有 `size` 行；它可能更少。"),
        ),
        Mistake(
            "gradients.get(name, 0.0) + share * g",
            "share * g",
            Text("The gradients of a part replace those before it: add them up.", "每一份的梯度覆盖了之前的：应累加。"),
        ),
        Mistake(
            "gradients.get(name, 0.0) + share * g",
            "gradients.get(name, 0.0) + g",
            Text(
                "The loss is weighted and the gradients are not: they need the same share.",
                "损失加了权重而梯度没有：梯度也要乘以同样的比例。",
            ),
        ),
        Mistake(
            "loss = loss + share * its_loss",
            "loss = share * its_loss",
            Text("Only the loss of the last part is left.", "只剩下最后一份的损失。"),
        ),
        Mistake(
            "range(0, len(rows), size)",
            "range(0, len(rows) - size + 1, size)",
            Text("The last part is dropped where it is shorter than `size`.", "最后一份不足 `size` 行时被丢弃了。"),
        ),
        Mistake(
            "rows[start : start + size][counted[start : start + size]]",
            "rows[start : start + size]",
            Text(
                "Rows that do not count are computed too: leave out what `counted` says.",
                "不计入的行也被计算了：应按 `counted` 略去。",
            ),
        ),
        Mistake(
            "            gradients[name] = gradients.get(name, 0.0) + share * g\n",
            "            g *= share\n            gradients[name] = gradients.get(name, 0.0) + g\n",
            Text(
                "The gradients are multiplied in place; they belong to somebody else. Make a new array: share * g.",
                "就地改写了别人的梯度数组；应新建数组：share * g。",
            ),
        ),
        Mistake(
            "        if not len(part):\n            continue\n",
            "",
            Text(
                "A part in which no row counts is asked for too: its mean is 0 / 0, and makes all NaN.",
                "没有任何计入行的一份也被计算了：它的平均是 0 / 0，会使结果全为 NaN。",
            ),
        ),
    ],
)
