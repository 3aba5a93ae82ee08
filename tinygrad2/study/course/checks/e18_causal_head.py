"""One causal head forward, compared with a softmax for each position over what it may see."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad2 import ops
from tinygrad2.study.course.exercise import Call, Exercise, Inputs, Mistake, Probe, Text
from tinygrad2.types import Array


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    for q, k, v in inputs(draw):
        yield Call(theirs.causal_head_forward, q, k, v)
    q, k, v = draw.normal(3, 2), np.array([[1.0, 1.0], [2.0, -1.0], [900.0, 900.0]]), draw.normal(3, 2)
    yield Call(theirs.causal_head_forward, np.abs(q), k, v)  # the largest score is one that must not be seen


def inputs(draw: Inputs) -> Iterator[tuple[Array, Array, Array]]:
    """Queries, keys and values of different shapes."""
    n = draw.normal
    for front, T, d, e in (((), 4, 3, 3), ((), 3, 2, 5), ((2,), 3, 4, 1), ((2, 3), 4, 2, 3), ((2, 1), 1, 3, 2), ((), 3, 3, 3)):
        yield n(*front, T, d), n(*front, T, d), n(*front, T, e)


def causal_head(q: Any, k: Any, v: Any) -> Any:
    """Position after position, each with a softmax over the positions up to itself: nothing needs a mask."""
    d = q.shape[-1]
    rows = []
    for t in range(q.shape[-2]):
        scores = q[..., t : t + 1, :] @ np.swapaxes(k[..., : t + 1, :], -1, -2) / d**0.5
        rows.append(ops.softmax(scores, axis=-1) @ v[..., : t + 1, :])
    return np.concatenate(rows, axis=-2)


def causal_head_forward(q: Array, k: Array, v: Array) -> tuple[Array, tuple[Array, ...]]:
    """The weights are what the head gives of the unit vectors."""
    T = q.shape[-2]
    weights = causal_head(q, k, np.broadcast_to(np.eye(T), (*q.shape[:-1], T)))
    return np.asarray(causal_head(q, k, v)), (q, k, v, np.asarray(weights))


SCORES = "q @ np.swapaxes(k, -1, -2) / np.sqrt(d)"
FUTURE = "np.triu(np.ones((T, T)), k=1)"
WEIGHTS = "softmax_forward(np.where(future, -np.inf, scores))[0]"

EXERCISE = Exercise(
    week=5,
    minutes=40,
    show=show,
    ours=SimpleNamespace(causal_head_forward=causal_head_forward),
    idea=Text(
        "Four lines: the scores, q times k with its last two axes swapped, over sqrt(d); -inf above the diagonal (np.triu and "
        "np.where); softmax; times v.",
        "四行：分数（q 乘以交换了最后两个轴的 k，再除以 sqrt(d)）；对角线以上为 -inf（np.triu 和 np.where）；softmax；乘以 v。",
    ),
    mistakes=[
        Mistake(
            SCORES,
            "q @ np.swapaxes(k, -1, -2)",
            Text("The scores are not divided by sqrt(d), d the length of a query.", "分数没有除以 sqrt(d)，d 为查询的长度。"),
        ),
        Mistake(
            SCORES,
            "q @ np.swapaxes(k, -1, -2) / d",
            Text("The scores are divided by d, and not by its square root.", "分数除以了 d，而不是 d 的平方根。"),
        ),
        Mistake(
            SCORES,
            "q @ np.swapaxes(k, -1, -2) * np.sqrt(d)",
            Text("The scores are multiplied by sqrt(d); divide.", "分数乘以了 sqrt(d)；应当除以它。"),
        ),
        Mistake(
            SCORES,
            "q @ np.swapaxes(k, -1, -2) / np.sqrt(T)",
            Text(
                "The scores are divided by the square root of T, the number of positions; it is d, the length of a query, that "
                "counts.",
                "分数除以了位置个数 T 的平方根；应为查询的长度 d。",
            ),
        ),
        Mistake(
            SCORES,
            "q @ np.swapaxes(k, -1, -2) / np.sqrt(v.shape[-1])",
            Text(
                "The scores are divided by the square root of the length of a value; it is that of a query that counts.",
                "分数除以了值的长度的平方根；应为查询的长度。",
            ),
        ),
        Mistake(
            SCORES,
            "k @ np.swapaxes(q, -1, -2) / np.sqrt(d)",
            Text(
                "Queries and keys are swapped: row t of the scores belongs to the query of t.",
                "查询和键弄反了：分数的第 t 行属于位置 t 的查询。",
            ),
        ),
        Mistake(
            WEIGHTS,
            "softmax_forward(scores)[0]",
            Text("There is no mask: every position sees those that come after it.", "没有掩码：每个位置都看到了之后的位置。"),
        ),
        Mistake(
            FUTURE,
            "np.triu(np.ones((T, T)))",
            Text(
                "The mask begins on the diagonal: a position may see itself, and the first sees nothing else.",
                "掩码包含了对角线：位置可以看到自己，而第一个位置只能看到自己。",
            ),
        ),
        Mistake(
            FUTURE,
            "np.triu(np.ones((T, T)), k=2)",
            Text(
                "The mask begins one too far above the diagonal: every position sees the next one.",
                "掩码开始得太靠上：每个位置都看到了下一个位置。",
            ),
        ),
        Mistake(
            FUTURE,
            "np.tril(np.ones((T, T)), k=-1)",
            Text("The mask is transposed: it hides the past, and shows the future.", "掩码转置了：遮住了过去，却露出了未来。"),
        ),
        Mistake(
            WEIGHTS,
            "softmax_forward(np.where(future, 0.0, scores))[0]",
            Text(
                "Hidden scores become 0, which is a score like others: exp(0) is 1. They are to be -inf.",
                "被遮住的分数变成了 0，而 0 也是一个分数：exp(0) 为 1。应为 -inf。",
            ),
        ),
        Mistake(
            WEIGHTS,
            "softmax_forward(scores + future * -np.inf)[0]",
            Text(
                "0 * -inf is NaN, wherever nothing is to be hidden: choose with np.where instead of multiplying.",
                "在不该遮住的地方，0 * -inf 得到 NaN：应用 np.where 选择，而不是相乘。",
            ),
        ),
        Mistake(
            "    return weights @ v",
            "    weights = np.where(future, 0.0, softmax_forward(scores)[0])\n    return weights @ v",
            Text(
                "The mask comes after the softmax: the weights that are left do not add up to 1.",
                "掩码放在了 softmax 之后：剩下的权重之和不为 1。",
            ),
        ),
        Mistake(
            WEIGHTS,
            "np.swapaxes(softmax_forward(np.swapaxes(np.where(future, -np.inf, scores), -1, -2))[0], -1, -2)",
            Text(
                "The softmax goes along the queries (axis -2); each query spreads its weights over the keys (axis -1).",
                "softmax 沿查询的轴（-2）进行；每个查询应沿键的轴（-1）分配权重。",
            ),
        ),
        Mistake(
            "(q, k, v, weights)\n    #",
            "(q, k, v, scores)\n    #",
            Text(
                "The cache holds the scores; it is to hold the weights, which the softmax gave.",
                "cache 中放的是分数；应放 softmax 给出的权重。",
            ),
        ),
    ],
)
