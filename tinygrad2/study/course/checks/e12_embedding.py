"""Rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad2 import ops
from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Pair, Probe, Text, frozen, reference


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    forward, backward = theirs.embedding_forward, theirs.embedding_backward
    for ids, shape in (
        (np.array([2, 0, 1]), (4, 3)),
        (np.array([3, 0, 2]), (4, 3)),
        (np.array([2, 0, 2, 2]), (5, 3)),
        (np.array([[1, 1, 0], [1, 4, 0]]), (6, 2)),
        (np.array([[[2], [2]]]), (3, 3)),
        (np.array(1), (3, 2)),
        (np.array([0, 0]), (1, 4)),
        (np.array([1, 0, 2]), (3, 3)),
    ):
        yield Pair(forward, backward, frozen(ids), draw.normal(*shape))
    yield Pair(forward, backward, draw.integers(7, 4, 5), draw.normal(7, 1))


EXERCISE = Exercise(
    week=3,
    minutes=25,
    show=show,
    ours=reference(embedding=lambda ids, weight: ops.embedding(weight, ids)),
    idea=Text(
        "Forward is indexing. Backward begins with zeros of the shape of weight, and adds every row of dout where it came "
        "from.",
        "前向就是索引。反向从与 weight 同形状的零开始，把 dout 的每一行加到它所来自的位置。",
    ),
    mistakes=[
        Mistake(
            "    np.add.at(dweight, ids, dout)\n",
            "    dweight[ids] += dout\n",
            Text(
                "Of a token that comes several times, the last use alone counts: dweight[ids] += ... adds to each row once, "
                "and dweight[ids] = ... keeps the last. Use np.add.at.",
                "重复出现的 token 只计入了最后一次使用：dweight[ids] += ... 对每一行只加一次，dweight[ids] = ... "
                "只留下最后一次。应使用 np.add.at。",
            ),
        ),
        Mistake(
            "    np.add.at(dweight, ids, dout)\n",
            "    np.add.at(dweight, ids, dout)\n"
            "    dweight /= np.maximum(np.bincount(np.ravel(ids), minlength=len(dweight)), 1)[:, None]\n",
            Text(
                "The mean over the uses of a token is taken, and not their sum: each use has its own effect on the loss.",
                "对同一个 token 的各次使用取了平均值而不是求和：每次使用都单独影响 loss。",
            ),
        ),
        Mistake(
            "    np.add.at(dweight, ids, dout)\n    return dweight\n",
            "    return dout\n",
            Text(
                "The gradient has the shape of the result; weight is (V, C), and its rows get what their uses got.",
                "梯度的形状是结果的形状；weight 为 (V, C)，每一行应得到它各次使用的梯度。",
            ),
        ),
        Mistake(
            "    np.add.at(dweight, ids, dout)\n",
            "    np.add.at(dweight, ids, 1.0)\n",
            Text(
                "That counts how often each token comes; dout is to be added.", "这里数的是每个 token 出现的次数；应加上 dout。"
            ),
        ),
        Mistake(
            "    dweight = np.zeros(shape)\n",
            "    dweight = np.zeros((np.max(ids) + 1, shape[1]))\n",
            Text(
                "The table has V rows, also those behind the largest id of this text, whose gradient is 0.",
                "表有 V 行，包括比本文中最大的 id 更靠后的行，它们的梯度为 0。",
            ),
        ),
        Mistake(
            "    np.add.at(dweight, ids, dout)\n",
            "    np.add.at(dweight, ids - 1, dout)\n",
            Text("The gradient goes to the row before: ids count from 0.", "梯度落到了前一行：id 从 0 开始计数。"),
        ),
        Mistake(
            "    dweight = np.zeros(shape)\n",
            "    dweight = np.ones(shape)\n",
            Text(
                "It begins with ones; what is added up begins with zeros, and rows that are not used stay there.",
                "从 1 开始累加了；应从 0 开始，没有用到的行保持为 0。",
            ),
        ),
        Mistake(
            "    return weight[ids], (ids, weight.shape)\n",
            "    return weight[:, ids].T, (ids, weight.shape)\n",
            Text(
                "The ids pick columns; a token is a row of weight.",
                "ids 取的是列；一个 token 对应 weight 的一行。",
            ),
        ),
        Mistake(
            "    np.add.at(dweight, ids, dout)\n",
            "    np.add.at(dweight, ids, dout / np.size(ids))\n",
            Text(
                "The gradient is divided by the number of tokens: that belongs to the loss, where it takes a mean.",
                "梯度除以了 token 的个数：取平均是 loss 的事，不属于这里。",
            ),
        ),
        Mistake(
            "return weight[ids], (ids, weight.shape)",
            "return weight[ids + 1], (ids, weight.shape)",
            Text(
                "The row after the one of the token is read: ids count from 0, as rows do.",
                "读取的是该 token 后面的一行：id 与行都从 0 开始计数。",
            ),
        ),
        Mistake(
            "return weight[ids], (ids, weight.shape)",
            "return weight[ids - 1], (ids, weight.shape)",
            Text(
                "The row before the one of the token is read: ids count from 0, as rows do.",
                "读取的是该 token 前面的一行：id 与行都从 0 开始计数。",
            ),
        ),
    ],
)
