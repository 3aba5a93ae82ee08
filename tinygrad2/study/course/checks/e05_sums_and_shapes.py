"""Sums, means, and other places for the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Pair, Probe, Text, reference


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    for forward, backward in (
        (theirs.sum_forward, theirs.sum_backward),
        (theirs.mean_forward, theirs.mean_backward),
    ):
        for shape, axis in (
            ((4,), None),
            ((3, 3), 0),
            ((2, 3), 1),
            ((2, 3), None),
            ((2, 3, 4), -2),
            ((2, 3, 4), (0, 2)),
            ((3, 1), 1),
            ((1, 3), 0),
        ):
            for keepdims in (False, True):
                yield Pair(forward, backward, draw.normal(*shape), axis, keepdims)
    for shape, to in (((2, 3), (3, 2)), ((2, 6), (3, 4)), ((2, 3, 4), (6, 4)), ((6,), (1, 2, 3)), ((1, 1), ())):
        yield Pair(theirs.reshape_forward, theirs.reshape_backward, draw.normal(*shape), to)
    for axes in ((1, 0), (1, 2, 0), (2, 0, 3, 1)):
        yield Pair(theirs.transpose_forward, theirs.transpose_backward, draw.normal(2, 3, 4, 5)[(0,) * (4 - len(axes))], axes)
        yield Pair(theirs.transpose_forward, theirs.transpose_backward, draw.normal(*[2] * len(axes)), axes)


EXERCISE = Exercise(
    week=2,
    minutes=40,
    show=show,
    ours=reference(
        sum=lambda x, axis, keepdims: np.sum(x, axis=axis, keepdims=keepdims),
        mean=lambda x, axis, keepdims: np.mean(x, axis=axis, keepdims=keepdims),
        reshape=lambda x, shape: np.reshape(x, shape),
        transpose=lambda x, axes: np.transpose(x, axes),
    ),
    idea=Text(
        "What does the shape of dout lack, compared with that of x? Give the summed axes back to it, with length 1, "
        "and NumPy can "
        "repeat it.",
        "与 x 的形状相比，dout 的形状少了什么？把被求和的轴以长度 1 还给它，NumPy 就能复制它。",
    ),
    mistakes=[
        Mistake(
            "np.broadcast_to(np.reshape(dout, kept), shape)",
            "np.broadcast_to(dout, shape)",
            Text(
                "dout lacks the axes that were summed, and NumPy aligns shapes at their ends: (2,) does not fit (2, 3), and "
                "(3,) fits the wrong axis of (3, 3). Put the summed axes back with length 1.",
                "dout 缺少被求和的轴，而 NumPy 从末尾对齐形状：(2,) 与 (2, 3) 不符，(3,) 则会对到 (3, 3) 的错误的轴。"
                "应把被求和的轴以长度 1 放回去。",
            ),
        ),
        Mistake(
            "np.broadcast_to(np.reshape(dout, kept), shape)",
            "np.full(shape, np.sum(dout))",
            Text(
                "Every entry gets the sum of all gradients; it is to get that of the one sum it is in.",
                "每个元素得到了所有梯度之和；它只应得到它所在的那个和的梯度。",
            ),
        ),
        Mistake(
            "np.broadcast_to(np.reshape(dout, kept), shape)",
            "np.ones(shape)",
            Text(
                "The derivative alone is 1; the chain rule multiplies it by dout.",
                "1 只是导数本身；链式法则还要乘以 dout。",
            ),
        ),
        Mistake(
            "np.broadcast_to(np.reshape(dout, kept), shape)",
            "np.reshape(dout, kept)",
            Text(
                "The gradient has the shape of the sum; it is to be repeated along the summed axes, to the shape of x.",
                "梯度的形状仍是和的形状；应沿被求和的轴复制到 x 的形状。",
            ),
        ),
        Mistake(
            "return np.sum(x, axis=axis, keepdims=keepdims), (kept, x.shape)",
            "return np.sum(x, axis=axis), (kept, x.shape)",
            Text(
                "keepdims is not used: where it is True, the summed axes stay, with length 1.",
                "没有使用 keepdims：它为 True 时，被求和的轴以长度 1 保留。",
            ),
        ),
        Mistake(
            "return sum_backward(dout, of_sum) / count",
            "return sum_backward(dout, of_sum)",
            Text(
                "The gradient of a mean is that of a sum, divided by how many numbers were averaged.",
                "平均值的梯度是和的梯度除以参与平均的个数。",
            ),
        ),
        Mistake(
            "return sum_backward(dout, of_sum) / count",
            "return sum_backward(dout, of_sum) * count",
            Text(
                "The gradient of a mean is divided by how many numbers were averaged, not multiplied.",
                "平均值的梯度要除以参与平均的个数，而不是乘以它。",
            ),
        ),
        Mistake(
            "return total / count, (count, cache)",
            "return total / count, (x.size, cache)",
            Text(
                "backward divides by the number of all entries; a mean over an axis averages as many as the axis is long.",
                "反向除以了所有元素的个数；沿某个轴的平均只涉及该轴长度那么多个数。",
            ),
        ),
        Mistake(
            "count = x.size / np.size(total)",
            "count = x.size",
            Text(
                "The mean over an axis divides by the length of that axis, not by the number of all entries.",
                "沿某个轴取平均要除以该轴的长度，而不是元素总数。",
            ),
        ),
        Mistake(
            "count = x.size / np.size(total)",
            "count = x.shape[0]",
            Text(
                "It is always divided by the length of axis 0; it is to be that of the axes which are averaged.",
                "总是除以轴 0 的长度；应除以被平均的那些轴的长度。",
            ),
        ),
        Mistake(
            "return np.reshape(dout, cache)",
            "return np.reshape(dout, cache[::-1]).T",
            Text(
                "Reshaping back needs no transposition: entries keep their order, row after row.",
                "恢复形状不需要转置：元素保持逐行的顺序不变。",
            ),
        ),
        Mistake(
            "return np.reshape(dout, cache)",
            "return dout",
            Text(
                "The gradient of x has the shape of x: keep it in the cache, and reshape back to it.",
                "x 的梯度与 x 形状相同：把形状存入 cache，再恢复成它。",
            ),
        ),
        Mistake(
            "np.reshape(x, shape), x.shape",
            "np.resize(x.T, shape), x.shape",
            Text(
                "The entries are read column after column; reshape keeps the order of the rows.",
                "元素被逐列读取了；reshape 保持逐行的顺序。",
            ),
        ),
        Mistake(
            "return np.transpose(dout, back)",
            "return np.transpose(dout, cache)",
            Text(
                "The same permutation is done twice. It is undone by its inverse, np.argsort(axes); for two axes both "
                "are the same.",
                "同一个排列做了两次。应当用逆排列 np.argsort(axes) 还原；只有两个轴时二者相同。",
            ),
        ),
        Mistake(
            "return np.transpose(dout, back)",
            "return np.transpose(dout)",
            Text(
                "Without axes, transpose turns the order of all axes round; that undoes only some permutations.",
                "不给 axes 时，transpose 把所有轴的顺序倒过来；这只能还原某些排列。",
            ),
        ),
        Mistake(
            "return np.transpose(dout, back)",
            "return np.reshape(dout, np.array(dout.shape)[back])",
            Text(
                "Reshaping gives the right shape and leaves the numbers in the wrong places: move the axes.",
                "reshape 得到了正确的形状，但数仍在错误的位置：应移动轴。",
            ),
        ),
    ],
)
