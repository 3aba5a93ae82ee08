"""The loss of a language model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad2 import ops
from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Pair, Probe, Text, frozen, reference


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    forward, backward = theirs.cross_entropy_forward, theirs.cross_entropy_backward
    for shape in ((3, 5), (1, 4), (4, 4), (2, 3, 5), (2, 1, 3, 4)):
        yield Pair(forward, backward, draw.normal(*shape) * 2, draw.integers(shape[-1], *shape[:-1]))
    yield Pair(forward, backward, draw.normal(4), frozen(np.array(2)))
    yield Pair(forward, backward, draw.normal(4, 3), frozen(np.array([2, 1, 1, 2])))
    far = draw.normal(3, 4) + np.array([[1000.0], [0.0], [-1000.0]])
    yield Pair(forward, backward, far, draw.integers(4, 3))
    yield Pair(forward, backward, frozen(np.array([[0.0, 1000.0], [1.0, -1.0]])), frozen(np.array([0, 1])))


EXERCISE = Exercise(
    week=3,
    minutes=45,
    show=show,
    ours=reference(cross_entropy=ops.cross_entropy),
    idea=Text(
        "Make one long matrix of all rows first. logs[np.arange(n), targets] picks one entry of each row; the same places get "
        "- 1 in backward.",
        "先把所有行合成一个长矩阵。logs[np.arange(n), targets] 从每一行取一个元素；反向时在同样的位置减 1。",
    ),
    mistakes=[
        Mistake(
            "    g[places] -= 1\n",
            "",
            Text(
                "The probabilities alone are handed on: 1 is to be subtracted at the target of each row, p - y.",
                "只传回了概率：每一行的目标处还要减 1，即 p - y。",
            ),
        ),
        Mistake(
            "    g = np.exp(logs)\n    g[places] -= 1\n",
            "    g = -np.exp(logs)\n    g[places] += 1\n",
            Text("The sign is wrong: it is p - y, and not y - p.", "符号相反：应为 p - y，而不是 y - p。"),
        ),
        Mistake(
            "    g = np.exp(logs)\n    g[places] -= 1\n",
            "    g = np.zeros_like(logs)\n    g[places] = -1 / np.exp(logs[places])\n",
            Text(
                "That is the gradient of p, -1 / p at the target; it must go on through softmax, to the logits.",
                "这是 p 的梯度，即目标处的 -1 / p；还要穿过 softmax 传到 logits。",
            ),
        ),
        Mistake(
            "return np.reshape(g * dloss / len(g), shape)",
            "return np.reshape(g * dloss, shape)",
            Text(
                "The factor 1 / n is missing: the loss is the mean over n positions, so each has a weight of 1 / n.",
                "缺少因子 1 / n：loss 是 n 个位置的平均值，每个位置的权重是 1 / n。",
            ),
        ),
        Mistake(
            "g * dloss / len(g)",
            "g * dloss / shape[0]",
            Text(
                "It is divided by the length of axis 0; the mean is over all positions, of all axes in front.",
                "只除以了轴 0 的长度；平均是对前面所有轴的全部位置进行的。",
            ),
        ),
        Mistake(
            "g * dloss / len(g)",
            "g * dloss / g.size",
            Text(
                "It is divided by n V, the number of all logits; the mean is over the n positions.",
                "除以了 n V，即全部 logits 的个数；平均只对 n 个位置进行。",
            ),
        ),
        Mistake(
            "g * dloss / len(g)",
            "g * dloss / shape[-1]",
            Text(
                "It is divided by V, the number of tokens; the mean is over the positions.",
                "除以了词表大小 V；平均是对位置进行的。",
            ),
        ),
        Mistake(
            "return np.reshape(g * dloss / len(g), shape)",
            "return np.reshape(g / len(g), shape)",
            Text("dloss is not used: the chain rule multiplies by it.", "没有使用 dloss：链式法则要乘以它。"),
        ),
        Mistake(
            "return -np.mean(logs[places])",
            "return -np.sum(logs[places])",
            Text("The loss is the sum over the positions; it is to be their mean.", "loss 取了各位置之和；应取平均值。"),
        ),
        Mistake(
            "return -np.mean(logs[places])",
            "return np.mean(logs[places])",
            Text(
                "The minus is missing: log of a probability is below 0, and the loss is not.",
                "缺少负号：概率的对数小于 0，而 loss 不是。",
            ),
        ),
        Mistake(
            "return -np.mean(logs[places])",
            "return -np.mean(logs)",
            Text(
                "The mean runs over all tokens; only the log probability of each target counts.",
                "对所有 token 取了平均；只应计入每个目标的对数概率。",
            ),
        ),
        Mistake(
            "return -np.mean(logs[places])",
            "return -np.mean(logs[places]) / np.log(2)",
            Text(
                "The loss is in bits; it is to be in nats, with the natural logarithm.",
                "loss 以 bit 为单位；应使用自然对数，以 nat 为单位。",
            ),
        ),
        Mistake(
            "return -np.mean(logs[places])",
            "return -np.mean(np.exp(logs)[places])",
            Text("The logarithm is missing: this is the mean probability of the targets.", "缺少对数：这是目标概率的平均值。"),
        ),
        Mistake(
            "shifted = rows - np.max(rows, axis=-1, keepdims=True)",
            "shifted = rows",
            Text(
                "The maximum is not subtracted: exp(1000) is infinite.",
                "没有减去最大值：exp(1000) 是无穷大。",
            ),
        ),
        Mistake(
            "shifted = rows - np.max(rows, axis=-1, keepdims=True)",
            "shifted = rows - np.max(rows)",
            Text(
                "The maximum of the whole array is subtracted: a row that is 1000 below it has a sum of 0, whose logarithm is "
                "not finite. Every row has its own, along the last axis.",
                "减去的是整个数组的最大值：比它小 1000 的行求和为 0，其对数不是有限数。每一行沿最后一个轴有自己的最大值。",
            ),
        ),
        Mistake(
            "logs = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))",
            "p = np.exp(shifted)\n    logs = np.log(p / np.sum(p, axis=-1, keepdims=True))",
            Text(
                "log of softmax: a probability that is too small for a float is 0, and its logarithm infinite. Subtract the "
                "logarithm of the sum instead.",
                "对 softmax 取 log：过小的概率会变成 0，其对数为无穷大。应改为减去和的对数。",
            ),
        ),
        Mistake(
            "logs = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))",
            "logs = rows - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))",
            Text(
                "The maximum is subtracted within exp alone; it must be subtracted from the logit of the target as well.",
                "只在 exp 里减去了最大值；目标的 logit 也要减去它。",
            ),
        ),
        Mistake(
            "np.sum(np.exp(shifted), axis=-1, keepdims=True)",
            "np.sum(np.exp(shifted), axis=0, keepdims=True)",
            Text(
                "The sum runs over the positions, axis 0; probabilities add up to 1 over the tokens, along the last axis.",
                "沿位置（轴 0）求和了；概率是沿最后一个轴对 token 求和为 1。",
            ),
        ),
        Mistake(
            "    g[places] -= 1\n",
            "    g[places] += 1\n",
            Text(
                "1 is added at the target of each row; it is to be subtracted, p - y.",
                "每一行的目标处加了 1；应当减去 1，即 p - y。",
            ),
        ),
        Mistake(
            "    g[places] -= 1\n",
            "    g -= 1\n",
            Text(
                "1 is subtracted from every entry; only that of the target gets it, one in each row.",
                "每个元素都减了 1；每一行只有目标处的那一个元素要减。",
            ),
        ),
        Mistake(
            "    return np.reshape(g * dloss / len(g), shape)\n",
            "    return g * dloss / len(g)\n",
            Text(
                "The gradient is one long matrix; give it the shape of the logits again.",
                "梯度仍是一个长矩阵；要恢复成 logits 的形状。",
            ),
        ),
    ],
)
