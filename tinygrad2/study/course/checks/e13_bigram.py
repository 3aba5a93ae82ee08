"""A bigram model, trained on the learner's engine and on tinygrad2."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad2 import ops, value_and_grad
from tinygrad2.study.course.checks.e08_tensor import Tensor
from tinygrad2.study.course.exercise import Call, Exercise, Inputs, Mistake, Probe, Text, frozen
from tinygrad2.types import Array

V = 5


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    yield Call(theirs.pairs, draw.integers(V, 9))
    table = theirs.Tensor(draw.normal(V, V))
    loss = theirs.loss(table, draw.integers(V, 7), draw.integers(V, 7))
    yield "loss of a random table", loss.data
    loss.backward()
    yield "gradient of the table", table.grad
    ids = text(draw, 400)
    for n in (400, 30):
        yield Call(theirs.baseline, ids[:n], V)
    yield Call(theirs.baseline, ids, V + 2)
    for steps, rate in ((2, 1.5), (200, 10.0)):
        losses, after = theirs.train(ids, V, steps, rate)
        yield f"train, {steps} steps with a rate of {rate}: losses", np.asarray(losses, float)
        yield f"train, {steps} steps with a rate of {rate}: table", after
    near = float(losses[-1]) - float(theirs.baseline(ids, V)) < 0.02
    yield "the last loss is at most 0.02 above the baseline", near
    losses, after = theirs.train(ids[:40], V + 1, 3, 0.5)
    yield "train on 40 tokens, with one that never comes: losses", np.asarray(losses, float)
    yield "train on 40 tokens, with one that never comes: table", after


def text(draw: Inputs, n: int) -> Array:
    """Tokens, each of which depends on the one before."""
    rows = np.exp(draw.normal(V, V))
    likely = np.cumsum(rows / rows.sum(axis=1, keepdims=True), axis=1)
    ids = [0]
    for u in draw.uniform(0, 1, n - 1):
        ids.append(min(int(np.searchsorted(likely[ids[-1]], u)), V - 1))
    return frozen(np.array(ids))


def pairs(ids: Array) -> tuple[Array, Array]:
    both = np.lib.stride_tricks.sliding_window_view(ids, 2)
    return both[:, 0], both[:, 1]


def loss(table: Any, inputs: Array, targets: Array) -> Any:
    return ops.cross_entropy(ops.embedding(table, inputs), targets)


def train(ids: Array, vocabulary: int, steps: int, rate: float) -> tuple[list[float], Array]:
    table, losses = np.zeros((vocabulary, vocabulary)), []
    for _ in range(steps):
        value, gradient = value_and_grad(loss)(table, *pairs(ids))
        losses.append(float(value.data))
        table = table - rate * gradient.data
    return losses, table


def baseline(ids: Array, vocabulary: int) -> float:
    """The entropy of pairs, less that of their first tokens."""
    first, second = pairs(ids)

    def entropy(x: Array) -> float:
        p = np.unique(x, return_counts=True)[1] / len(x)
        return float(-np.sum(p * np.log(p)))

    return entropy(first * vocabulary + second) - entropy(first)


EXERCISE = Exercise(
    week=3,
    minutes=60,
    show=show,
    ours=SimpleNamespace(Tensor=Tensor, pairs=pairs, loss=loss, train=train, baseline=baseline),
    idea=Text(
        "loss is one line: cross_entropy of embedding. In train, make a new Tensor of the array at each step, so that its "
        "gradient begins at nothing.",
        "loss 只有一行：对 embedding 的结果取 cross_entropy。在 train 中，每一步用数组新建一个 Tensor，这样它的梯度从零开始。",
    ),
    mistakes=[
        Mistake(
            "return ids[:-1], ids[1:]",
            "return ids[:-1], ids[:-1]",
            Text(
                "Each token is its own target: the target is the one after it, ids[1:].",
                "每个 token 以自己为目标：目标应是它的下一个，即 ids[1:]。",
            ),
        ),
        Mistake(
            "return ids[:-1], ids[1:]",
            "return ids[1:], ids[:-1]",
            Text(
                "The model is asked what came before: inputs and targets are swapped.",
                "让模型去猜前一个 token 了：输入和目标弄反了。",
            ),
        ),
        Mistake(
            "return ids[:-1], ids[1:]",
            "return ids[:-2], ids[2:]",
            Text("The target is two tokens later; it is to be the next one.", "目标是之后第二个 token；应是下一个。"),
        ),
        Mistake(
            "return ids[:-1], ids[1:]",
            "return ids, np.roll(ids, -1)",
            Text(
                "After the last token the text begins anew: the last one has no target, so there are n - 1 pairs.",
                "最后一个 token 之后又接回了开头：它没有目标，所以共有 n - 1 对。",
            ),
        ),
        Mistake(
            "return ids[:-1], ids[1:]",
            "return ids[::2][: len(ids) // 2], ids[1::2]",
            Text(
                "Pairs do not overlap here; every token but the last is an input.",
                "这里的对互不重叠；除最后一个以外，每个 token 都是输入。",
            ),
        ),
        Mistake(
            "return cross_entropy(embedding(inputs, table), targets)",
            "return cross_entropy(embedding(targets, table), inputs)",
            Text(
                "The row of the target is looked up: it is to be that of the input.",
                "取出的是目标对应的行：应是输入对应的行。",
            ),
        ),
        Mistake(
            "return cross_entropy(embedding(inputs, table), targets)",
            "return cross_entropy(embedding(inputs, table.transpose(1, 0)), targets)",
            Text(
                "The column of the input is looked up: a row of the table has the logits of what comes after its token.",
                "取出的是输入对应的列：表的一行才是该 token 之后各 token 的 logits。",
            ),
        ),
        Mistake(
            "return cross_entropy(embedding(inputs, table), targets)",
            "return cross_entropy(embedding(inputs, table), targets) * len(inputs)",
            Text(
                "The loss is the sum over the text; it is to be the mean.",
                "loss 取了整个文本的和；应取平均值。",
            ),
        ),
        Mistake(
            "        data = data - rate * table.grad\n",
            "        data = data + rate * table.grad\n",
            Text("The step goes uphill: the gradient is to be subtracted.", "朝上坡走了：应减去梯度。"),
        ),
        Mistake(
            "    for _ in range(steps):\n        table = Tensor(data)\n",
            "    table = Tensor(data)\n    for _ in range(steps):\n        table.data = data\n",
            Text(
                "Gradients of earlier steps are still in grad, and the new ones are added to them: begin each step with none.",
                "grad 中还留着之前各步的梯度，新的梯度又加了上去：每一步都应从没有梯度开始。",
            ),
        ),
        Mistake(
            "        data = data - rate * table.grad\n",
            "        data = data - rate * table.grad\n        losses[-1] = float(loss(Tensor(data), inputs, targets).data)\n",
            Text(
                "The losses are those after each step; they are to be those before it, so that the first is log(V).",
                "记录的是每一步之后的 loss；应是之前的，这样第一个就是 log(V)。",
            ),
        ),
        Mistake(
            "        data = data - rate * table.grad\n",
            "        data = data - rate * np.sign(table.grad)\n",
            Text("Only the sign of the gradient is used; its size counts too.", "只用了梯度的符号；它的大小也要计入。"),
        ),
        Mistake(
            "    data = np.zeros((vocabulary, vocabulary))\n    losses",
            "    data = np.random.default_rng(0).standard_normal((vocabulary, vocabulary))\n    losses",
            Text("The table begins with random numbers; it is to begin with zeros.", "表从随机数开始了；应从零开始。"),
        ),
        Mistake(
            "    for _ in range(steps):\n",
            "    for _ in range(steps - 1):\n",
            Text("There is one step too few.", "少走了一步。"),
        ),
        Mistake(
            "np.add.at(counts, (inputs, targets), 1)",
            "counts[inputs, targets] += 1",
            Text(
                "Pairs that come several times are counted once: use np.add.at.",
                "多次出现的对只计了一次：应使用 np.add.at。",
            ),
        ),
        Mistake(
            "rows = np.sum(counts, axis=1)",
            "rows = np.sum(counts, axis=0)",
            Text(
                "The counts are of second tokens: sum over what comes next, axis 1.",
                "这里数的是第二个 token：应沿“下一个 token”，即轴 1 求和。",
            ),
        ),
        Mistake(
            "return -np.mean(np.log(counts[inputs, targets] / rows[inputs]))",
            "return -np.mean(np.log(counts[inputs, targets] / len(inputs)))",
            Text(
                "That is the entropy of whole pairs. The model knows the first token: divide by its count.",
                "这是整个对的熵。模型已知第一个 token：应除以它的次数。",
            ),
        ),
        Mistake(
            "return -np.mean(np.log(counts[inputs, targets] / rows[inputs]))",
            "p = rows / len(inputs)\n    return -np.sum(p[p > 0] * np.log(p[p > 0]))",
            Text(
                "That is the entropy of single tokens, of a model that looks at none: count pairs.",
                "这是单个 token 的熵，即不看任何 token 的模型：应对“对”计数。",
            ),
        ),
        Mistake(
            "return -np.mean(np.log(counts[inputs, targets] / rows[inputs]))",
            "p = counts / np.maximum(rows, 1)[:, None]\n    return -np.mean(np.log(p[p > 0]))",
            Text(
                "Every kind of pair counts once; a pair that comes often in the text counts as often.",
                "每种对只计了一次；在文本中出现多次的对应计多次。",
            ),
        ),
        Mistake(
            "return -np.mean(np.log(counts[inputs, targets] / rows[inputs]))",
            "return -np.mean(np.log2(counts[inputs, targets] / rows[inputs]))",
            Text(
                "The baseline is in bits, and the loss in nats: take the natural logarithm.",
                "基线以 bit 为单位，而 loss 以 nat 为单位：应取自然对数。",
            ),
        ),
        Mistake(
            "counts = np.zeros((vocabulary, vocabulary))",
            "counts = np.ones((vocabulary, vocabulary))",
            Text(
                "The counts begin with 1 (smoothing); the baseline takes the counts as they are.",
                "计数从 1 开始（平滑）；基线应使用原本的计数。",
            ),
        ),
    ],
)
