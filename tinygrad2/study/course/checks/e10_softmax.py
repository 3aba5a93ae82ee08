"""Softmax along the last axis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad2 import ops
from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Pair, Probe, Text, reference


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    for x in (draw.normal(4), draw.normal(3, 3), draw.normal(3, 5), draw.normal(2, 3, 4)):
        yield Pair(theirs.softmax_forward, theirs.softmax_backward, x)
    x = draw.normal(2, 3) + np.array([1000.0, 1000.0, 0.0])
    yield Pair(theirs.softmax_forward, theirs.softmax_backward, x)
    x = draw.normal(2, 4) + np.array([[0.0], [1000.0]])
    yield Pair(theirs.softmax_forward, theirs.softmax_backward, x)


FORWARD = """\
    shifted = x - np.max(x, axis=-1, keepdims=True)
    e = np.exp(shifted)
    p = e / np.sum(e, axis=-1, keepdims=True)
"""
BOTH = (
    FORWARD
    + '''\
    return p, p
    # </hole>


def softmax_backward(dp, cache):
    """dp (..., n) -> dx (..., n)."""
    # <hole>
    p = cache
    along = np.sum(dp * p, axis=-1, keepdims=True)
'''
)

EXERCISE = Exercise(
    week=3,
    minutes=35,
    show=show,
    ours=reference(softmax=lambda x: ops.softmax(x, axis=-1)),
    idea=Text(
        "Forward: subtract the maximum with keepdims=True, exp, divide by the sum. Backward: one number per row, the sum of "
        "g * p, is subtracted from g.",
        "前向：减去最大值（keepdims=True），取 exp，除以和。反向：每行有一个数，即 g * p 之和，从 g 中减去它。",
    ),
    mistakes=[
        Mistake(
            "return p * (dp - along)",
            "return p * dp",
            Text(
                "The sum over the row is missing: each weight depends on every score of its row, not on its own alone.",
                "缺少对整行的求和：每个权重依赖于该行的所有分数，而不只是自己的分数。",
            ),
        ),
        Mistake(
            "p * (dp - along)",
            "p * (1 - p) * dp",
            Text(
                "That is the derivative of a sigmoid, the diagonal alone: what other weights of the row pass on is missing.",
                "这是 sigmoid 的导数，只有对角线：缺少该行其他权重传来的部分。",
            ),
        ),
        Mistake(
            "np.sum(dp * p, axis=-1, keepdims=True)",
            "np.mean(dp * p, axis=-1, keepdims=True)",
            Text("The mean of g * p is subtracted, and not its sum.", "减去的是 g * p 的平均值而不是和。"),
        ),
        Mistake(
            "np.sum(dp * p, axis=-1, keepdims=True)",
            "np.sum(dp * p)",
            Text(
                "The sum runs over the whole array: every row has its own sum, along the last axis.",
                "求和遍及整个数组：每一行沿最后一个轴有自己的和。",
            ),
        ),
        Mistake(
            "np.sum(dp * p, axis=-1, keepdims=True)",
            "np.sum(dp * p, axis=0, keepdims=True)",
            Text(
                "Backward sums along the first axis; softmax goes along the last.", "反向沿第一个轴求和；softmax 沿最后一个轴。"
            ),
        ),
        Mistake(
            "np.sum(dp * p, axis=-1, keepdims=True)",
            "np.sum(dp, axis=-1, keepdims=True)",
            Text(
                "The gradients of the row are added as they are; each is to be weighted by its p first.",
                "直接把该行的梯度相加了；应先用各自的 p 加权。",
            ),
        ),
        Mistake(
            "    return p * (dp - along)",
            "    return dp - along",
            Text("The factor p in front is missing.", "缺少前面的因子 p。"),
        ),
        Mistake(
            "    p = e / np.sum(e, axis=-1, keepdims=True)",
            "    p = e / np.sum(e)",
            Text(
                "The whole array adds up to 1, and not every row: sum along the last axis.",
                "整个数组之和为 1，而不是每一行：应沿最后一个轴求和。",
            ),
        ),
        Mistake(
            "shifted = x - np.max(x, axis=-1, keepdims=True)",
            "shifted = x",
            Text(
                "The maximum is not subtracted: exp(1000) is infinite, and infinite / infinite is NaN.",
                "没有减去最大值：exp(1000) 是无穷大，无穷大除以无穷大是 NaN。",
            ),
        ),
        Mistake(
            "shifted = x - np.max(x, axis=-1, keepdims=True)",
            "shifted = x - np.max(x)",
            Text(
                "The maximum of the whole array is subtracted: a row that is 1000 below it becomes 0 / 0.",
                "减去的是整个数组的最大值：比它小 1000 的行会变成 0 / 0。",
            ),
        ),
        Mistake(
            FORWARD,
            FORWARD.replace("axis=-1", "axis=0"),
            Text(
                "Softmax goes along the first axis; each row is to add up to 1, along the last axis.",
                "softmax 沿第一个轴进行了；每一行之和应为 1，即沿最后一个轴。",
            ),
        ),
        Mistake(
            FORWARD,
            FORWARD.replace(", keepdims=True", ""),
            Text(
                "keepdims=True is missing in the maximum and the sum of forward: one number per row, of shape (3,), "
                "is aligned with the columns of (3, 3), and fits no (3, 5).",
                "前向的最大值与求和缺少 keepdims=True：每行一个数，形状为 (3,)，会与 (3, 3) 的列对齐，而与 (3, 5) 不符。",
            ),
        ),
        Mistake(
            "shifted = x - np.max(x, axis=-1, keepdims=True)",
            "shifted = x - np.max(x, axis=-1)",
            Text(
                "keepdims=True is missing in the maximum: one number per row, of shape (3,), is aligned with the "
                "columns of (3, 3), and fits no (3, 5).",
                "最大值缺少 keepdims=True：每行一个数，形状为 (3,)，会与 (3, 3) 的列对齐，而与 (3, 5) 不符。",
            ),
        ),
        Mistake(
            "p = e / np.sum(e, axis=-1, keepdims=True)",
            "p = e / np.sum(e, axis=-1)",
            Text(
                "keepdims=True is missing in the sum of forward: one number per row, of shape (3,), is aligned with "
                "the columns of (3, 3), and fits no (3, 5).",
                "前向的求和缺少 keepdims=True：每行一个数，形状为 (3,)，会与 (3, 3) 的列对齐，而与 (3, 5) 不符。",
            ),
        ),
        Mistake(
            "np.sum(dp * p, axis=-1, keepdims=True)",
            "np.sum(dp * p, axis=-1)",
            Text(
                "keepdims=True is missing in the sum of backward: one number per row, of shape (3,), is aligned with "
                "the columns of (3, 3), and fits no (3, 5).",
                "反向的求和缺少 keepdims=True：每行一个数，形状为 (3,)，会与 (3, 3) 的列对齐，而与 (3, 5) 不符。",
            ),
        ),
        Mistake(
            "return p * (dp - along)",
            "return p * (dp + along)",
            Text(
                "The sum over the row is added; raising one score lowers the other weights, so it is to be subtracted.",
                "加上了该行的和；提高一个分数会降低其他权重，所以应当减去。",
            ),
        ),
        Mistake(
            "return p * (dp - along)",
            "return p * dp - along",
            Text(
                "Only dp is multiplied by p; the sum over the row is to be as well: p * (dp - along).",
                "只有 dp 乘了 p；该行的和也要乘：p * (dp - along)。",
            ),
        ),
        Mistake(
            "return p * (dp - along)",
            "return p * (along - dp)",
            Text("The sign is wrong: it is g minus the sum over the row.", "符号相反：应为 g 减去该行的和。"),
        ),
        Mistake(
            BOTH,
            BOTH.replace("axis=-1", "axis=0"),
            Text(
                "Softmax goes along the first axis, forward and backward; each row is to add up to 1, along the last axis.",
                "softmax 的前向和反向都沿第一个轴进行；每一行之和应为 1，即沿最后一个轴。",
            ),
        ),
        Mistake(
            BOTH,
            BOTH.replace(", keepdims=True", ""),
            Text(
                "keepdims=True is missing throughout: one number per row, of shape (3,), is aligned with the columns "
                "of (3, 3), and fits no (3, 5).",
                "到处都缺少 keepdims=True：每行一个数，形状为 (3,)，会与 (3, 3) 的列对齐，而与 (3, 5) 不符。",
            ),
        ),
    ],
)
