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
    ((3,), (3, 3)),
    ((1, 2), (2, 2)),
    ((2, 1), (2, 2)),
    ((2, 2), (2, 2, 2)),
    ((2, 1), (2, 2, 2)),
    ((1, 2), (2, 1, 2)),
    ((1,), (1,)),
]


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    for shape, wide in SHAPES:
        yield Call(theirs.unbroadcast, draw.normal(*wide), shape)


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of b in b + zeros."""
    _, pull = vjp(lambda b: b + np.zeros(g.shape), np.zeros(shape))
    return np.asarray(leaves(pull(g))[0])


BODY = """\
    extra = tuple(range(g.ndim - len(shape)))
    g = np.sum(g, axis=extra)
    ones = tuple(axis for axis, n in enumerate(shape) if n == 1)
    return np.sum(g, axis=ones, keepdims=True)
"""

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
            "    return np.sum(g, axis=ones, keepdims=True)",
            "    return g",
            Text(
                "Axes of length 1 are repeated too, as (4, 1) in (4, 5): sum over them.",
                "长度为 1 的轴同样会被复制，例如 (4, 1) 变为 (4, 5)：要沿它们求和。",
            ),
        ),
        Mistake(
            BODY,
            "    extra = tuple(range(g.ndim - len(shape)))\n    g = np.mean(g, axis=extra)\n"
            "    ones = tuple(axis for axis, n in enumerate(shape) if n == 1)\n"
            "    return np.mean(g, axis=ones, keepdims=True)\n",
            Text(
                "The mean over the repetitions is taken, along new axes and along axes of length 1, and not their "
                "sum: every repetition is a use of its own.",
                "沿新增的轴和长度为 1 的轴都取了平均值而不是求和：每次复制都是一次单独的使用。",
            ),
        ),
        Mistake(
            BODY,
            "    axes = tuple(axis for axis, n in enumerate(g.shape) if n not in shape)\n"
            "    return np.reshape(np.sum(g, axis=axes), shape)\n",
            Text(
                "An axis is taken to be repeated if its length does not occur in shape; lengths may be equal by "
                "chance, as in (3,) and (3, 3). Compare the axes one by one, from the end.",
                "凡长度不在 shape 中的轴就当作被复制的轴；但长度可能碰巧相等，如 (3,) 与 (3, 3)。应从末尾起逐个比较轴。",
            ),
        ),
        Mistake(
            BODY,
            "    extra = tuple(range(g.ndim - len(shape)))\n"
            "    g = np.sum(g, axis=tuple(-1 - axis for axis in extra))\n"
            "    ones = tuple(axis for axis, n in enumerate(shape) if n == 1)\n"
            "    return np.sum(g, axis=ones, keepdims=True)\n",
            Text(
                "The new axes stand at the front, since shapes are compared from their ends: sum over axis 0, not "
                "over the last.",
                "形状从末尾对齐，新增的轴在最前面：应沿轴 0 求和，而不是最后一个轴。",
            ),
        ),
        Mistake(
            BODY,
            "    axes = {*range(g.ndim - len(shape)), *(axis for axis, n in enumerate(shape) if n == 1)}\n"
            "    return np.reshape(np.sum(g, axis=tuple(axes)), shape)\n",
            Text(
                "The axes of length 1 are counted in shape, but summed in g, which has more axes in front: add the "
                "number of the new axes, or sum over those first.",
                "长度为 1 的轴是在 shape 中数的，却在 g 中求和，而 g 前面多了几个轴：应加上新增轴的个数，"
                "或者先沿新增的轴求和。",
            ),
        ),
        Mistake(
            BODY,
            "    return np.sum(g, axis=tuple(range(g.ndim - len(shape))), keepdims=True)\n",
            Text(
                "The new axes stay, with length 1, and axes of length 1 are not summed at all: the result is to have "
                "exactly `shape`.",
                "新增的轴以长度 1 留了下来，长度为 1 的轴则完全没有求和：结果的形状应恰为 shape。",
            ),
        ),
        Mistake(
            BODY,
            "    extra = tuple(range(g.ndim - len(shape)))\n    g = np.sum(g, axis=extra)\n"
            "    return np.reshape(g, -1)[: int(np.prod(shape))].reshape(shape)\n",
            Text(
                "Entries are cut off until the shape fits: what NumPy repeated is to be summed, along axes of length 1 too.",
                "靠截掉元素来凑形状：NumPy 复制的部分应当求和，沿长度为 1 的轴也是如此。",
            ),
        ),
        Mistake(
            BODY,
            "    return np.sum(g, axis=tuple(axis for axis, n in enumerate(g.shape) if n not in shape))\n",
            Text(
                "An axis is taken to be repeated if its length does not occur in shape, and axes of length 1 are "
                "lost: compare the axes one by one, from the end, and keep those of length 1.",
                "凡长度不在 shape 中的轴就当作被复制的轴，而且丢掉了长度为 1 的轴：应从末尾起逐个比较轴，并保留长度为 1 的轴。",
            ),
        ),
        Mistake(
            BODY,
            "    return np.sum(g, axis=0)\n",
            Text(
                "Axis 0 is summed in every case; which axes were repeated follows from the two shapes, and there may be none.",
                "总是沿轴 0 求和；哪些轴被复制了要由两个形状得出，也可能一个都没有。",
            ),
        ),
        Mistake(
            BODY,
            "    axes = tuple(axis for axis, (n, m) in enumerate(zip(g.shape, shape)) if n != m)\n"
            "    return np.reshape(np.sum(g, axis=axes), shape)\n",
            Text(
                "The shapes are compared from their beginnings; NumPy compares them from their ends, and puts "
                "missing axes at the front.",
                "形状是从开头对齐的；NumPy 从末尾对齐，缺少的轴补在最前面。",
            ),
        ),
    ],
)
