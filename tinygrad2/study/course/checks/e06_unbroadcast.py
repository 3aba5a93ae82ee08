"""Un-broadcasting, compared with the gradient of an addition."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad2.containers import leaves
from tinygrad2.study.course.exercise import Call, Exercise, Inputs, Mistake, Probe, Text
from tinygrad2.transforms import vjp
from tinygrad2.types import Array

SHAPES = [
    ((3,), (2, 3)),
    ((2, 3), (2, 3)),
    ((4, 1), (4, 5)),
    ((1, 3), (4, 3)),
    ((), (2, 3)),
    ((3, 1, 2), (5, 3, 4, 2)),
    ((1, 1), (2, 3)),
]


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    for shape, wide in SHAPES:
        yield Call(theirs.unbroadcast, draw.normal(*wide), shape)


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of b in b + zeros."""
    _, pull = vjp(lambda b: b + np.zeros(g.shape), np.zeros(shape))
    return np.asarray(leaves(pull(g))[0])


EXERCISE = Exercise(
    week=2,
    minutes=25,
    show=show,
    ours=SimpleNamespace(unbroadcast=unbroadcast),
    idea=Text(
        "There are two kinds of repetition: along new axes at the front, which vanish again, and along axes of length 1, which "
        "stay (keepdims=True).",
        "复制有两种：沿前面新增的轴（求和后消失），以及沿长度为 1 的轴（求和后保留，keepdims=True）。",
    ),
    mistakes=[
        Mistake(
            "np.sum(g, axis=extra)",
            "np.mean(g, axis=extra)",
            Text(
                "The mean over the repetitions is taken, and not their sum: every repetition is a use of its own.",
                "对各次复制取了平均值而不是求和：每次复制都是一次单独的使用。",
            ),
        ),
        Mistake(
            "np.sum(g, axis=ones, keepdims=True)",
            "np.mean(g, axis=ones, keepdims=True)",
            Text("Along axes of length 1 the mean is taken, and not the sum.", "沿长度为 1 的轴取了平均值而不是求和。"),
        ),
        Mistake(
            "np.sum(g, axis=extra)",
            "g[(0,) * len(extra)]",
            Text("Only the first repetition counts; the others are dropped.", "只计入了第一次复制，其余的被丢弃。"),
        ),
        Mistake(
            "np.sum(g, axis=ones, keepdims=True)",
            "np.sum(g, axis=ones)",
            Text(
                "The axes of length 1 are gone: sum with keepdims=True, since the array has them.",
                "长度为 1 的轴消失了：数组本身有这些轴，求和时要用 keepdims=True。",
            ),
        ),
        Mistake(
            "np.sum(g, axis=ones, keepdims=True)",
            "g",
            Text(
                "Axes of length 1 are repeated too, as (4, 1) in (4, 5): sum over them.",
                "长度为 1 的轴同样会被复制，例如 (4, 1) 变为 (4, 5)：要沿它们求和。",
            ),
        ),
    ],
)
