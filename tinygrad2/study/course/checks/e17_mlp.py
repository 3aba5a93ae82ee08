"""A neural language model that is trained on the learner's engine, next to one of tinygrad2 and to the best bigram model."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad2 import ops, optim
from tinygrad2.study.course.checks.e08_tensor import Tensor
from tinygrad2.study.course.exercise import Call, Exercise, Inputs, Mistake, Probe, Text, frozen
from tinygrad2.types import Array


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    yield Call(theirs.contexts, draw.integers(9, 7), 3)
    yield Call(theirs.contexts, draw.integers(9, 5), 1)
    windows, p = draw.integers(5, 4, 2), parameters(draw, V=5, n=2, C=3, H=4)
    tensors = {name: theirs.Tensor(x) for name, x in p.items()}
    out = theirs.logits(windows, tensors)
    yield "logits(windows (4, 2), p)", out.data
    (out * theirs.Tensor(draw.normal(4, 5))).sum().backward()
    for name, leaf in tensors.items():
        yield f"logits: gradient of {name}", leaf.grad
    given = dict(p)
    yield "train, 3 steps: losses and parameters", tuple(theirs.train(windows, draw.integers(5, 4), given, 3, 0.1))
    yield "train: the dict that was given, afterwards", {name: np.array(x) for name, x in given.items()}
    ids = language(draw, V=7, count=160)
    losses, _ = theirs.train(*theirs.contexts(ids, 3), parameters(draw, V=7, n=3, C=4, H=12), 100, 0.03)
    yield "losses of 100 steps, every tenth", [float(loss) for loss in losses[::10]]
    yield "how many losses there are", len(losses)
    yield "the last loss is below that of the best bigram model", bool(losses[-1] < bigram_loss(ids[2:]))


def parameters(draw: Inputs, V: int, n: int, C: int, H: int) -> dict[str, Array]:
    """Random ones, of a size to begin with."""
    shapes = {"embedding": (V, C), "w1": (n * C, H), "b1": (H,), "w2": (H, V), "b2": (V,)}
    return {name: frozen(draw.normal(*shape) * 0.4) for name, shape in shapes.items()}


def language(draw: Inputs, V: int, count: int) -> Array:
    """Tokens of which each follows from the two before it, but for one in ten."""
    rule, chance, ids = draw.integers(V, V, V), draw.uniform(0, 1, count), np.array(draw.integers(V, count))
    for t in range(2, count):
        if chance[t] > 0.1:
            ids[t] = rule[ids[t - 2], ids[t - 1]]
    return frozen(ids)


def bigram_loss(ids: Array) -> float:
    """The mean cross-entropy of the pairs in a text when each is predicted by its own frequency: no bigram model is better."""
    pairs = np.zeros((ids.max() + 1,) * 2)
    np.add.at(pairs, (ids[:-1], ids[1:]), 1)
    rows = pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1)
    return float(-np.log(rows[ids[:-1], ids[1:]]).mean())


def contexts(ids: Array, n: int) -> tuple[Array, Array]:
    """By NumPy's windows."""
    every = np.lib.stride_tricks.sliding_window_view(ids, n + 1)
    return np.array(every[:, :-1]), np.array(every[:, -1])


def logits(windows: Array, p: dict[str, Any]) -> Any:
    """In tinygrad2's ops."""
    x = ops.embedding(p["embedding"], windows)
    return ops.linear(
        np.tanh(ops.linear(np.concatenate([x[:, i] for i in range(x.shape[1])], axis=-1), p["w1"], p["b1"])), p["w2"], p["b2"]
    )


def train(windows: Array, targets: Array, p: dict[str, Array], steps: int, lr: float) -> tuple[list[float], dict[str, Array]]:
    """With tinygrad2's AdamW, which decays matrices only."""
    tensors = {name: Tensor(x) for name, x in p.items()}
    optimizer = optim.AdamW(list(tensors.values()), lr, (0.9, 0.99), weight_decay=0.01)
    losses = []
    for _ in range(steps):
        loss = ops.cross_entropy(logits(windows, tensors), targets)
        for leaf in tensors.values():
            leaf.grad = None
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: leaf.data for name, leaf in tensors.items()}


WINDOWS = "np.stack([ids[i : i + N] for i in range(n)], axis=1)"
TENSORS = "        tensors = {name: Tensor(x) for name, x in p.items()}\n"
UPDATE = "p[name], m, v = adamw(x.data, x.grad, m, v, t, lr, 0.9, 0.99, decay)"

EXERCISE = Exercise(
    week=4,
    minutes=90,
    show=show,
    ours=SimpleNamespace(Tensor=Tensor, contexts=contexts, logits=logits, train=train),
    tolerance=1e-8,
    idea=Text(
        "Windows: column i of them is ids from place i on, N long. In train keep the arrays, and m and v of each; a step makes "
        "Tensors, the loss, backward, and then calls adamw for each name, with t from 1 on.",
        "窗口：第 i 列是从第 i 个位置起、长度为 N 的 ids。train 中保存数组以及各自的 m 和 v；每一步建立 Tensor，求 loss，"
        "backward，再对每个名字调用 adamw，t 从 1 开始。",
    ),
    mistakes=[
        Mistake(
            "return windows, ids[n:]",
            "return windows, ids[n - 1 : -1]",
            Text(
                "The target is the last token of the window; it is to be the one after it, or there is nothing to predict.",
                "目标成了窗口的最后一个 token；应为窗口之后的那个，否则没有什么可预测的。",
            ),
        ),
        Mistake(
            WINDOWS,
            "np.stack([ids[n - 1 - i : n - 1 - i + N] for i in range(n)], axis=1)",
            Text(
                "The tokens of a window stand in reverse order; the last is to be the one just before the target.",
                "窗口中 token 的顺序反了；最后一个应是目标前面的那一个。",
            ),
        ),
        Mistake(
            WINDOWS,
            "np.stack([ids[i : i + N] for i in range(n)], axis=0)",
            Text(
                "The windows lie along axis 1, (n, N); each is to be a row, (N, n).",
                "窗口沿轴 1 排列，(n, N)；每个窗口应为一行，(N, n)。",
            ),
        ),
        Mistake(
            "N = len(ids) - n",
            "N = len(ids) - n - 1",
            Text("The last window is missing: there are len(ids) - n.", "缺少最后一个窗口：共有 len(ids) - n 个。"),
        ),
        Mistake(
            'x = embedding(windows, p["embedding"]).reshape(N, n * C)',
            'x = embedding(windows, p["embedding"]).transpose(0, 2, 1).reshape(N, n * C)',
            Text(
                "The entries of the tokens are interleaved: whole rows of the table are to stand side by side.",
                "各 token 的元素交错了：应把嵌入表的整行并排放置。",
            ),
        ),
        Mistake(
            'hidden = tanh(x @ p["w1"] + p["b1"])',
            'hidden = x @ p["w1"] + p["b1"]',
            Text(
                "tanh is missing: without it the network is linear, and contexts do not interact.",
                "缺少 tanh：没有它，网络是线性的，上下文中的 token 之间没有相互作用。",
            ),
        ),
        Mistake(
            'hidden = tanh(x @ p["w1"] + p["b1"])',
            'hidden = tanh(x @ p["w1"]) + p["b1"]',
            Text("b1 is added after the tanh; it shifts what goes into it.", "b1 加在了 tanh 之后；它应加在 tanh 的输入上。"),
        ),
        Mistake(
            'return hidden @ p["w2"] + p["b2"]',
            'return hidden @ p["w2"]',
            Text("The bias b2 of the logits is missing.", "logits 缺少偏置 b2。"),
        ),
        Mistake(
            "    losses = []\n    for t in range(1, steps + 1):\n" + TENSORS,
            "    losses = []\n    tensors = {name: Tensor(x) for name, x in p.items()}\n    for t in range(1, steps + 1):\n"
            "        for name, x in tensors.items():\n            x.data = p[name]\n",
            Text(
                "The Tensors stay from step to step, and so do their gradients, which add up: make new ones, or set grad back.",
                "Tensor 从一步保留到下一步，梯度也随之累加：应建立新的 Tensor，或把 grad 清空。",
            ),
        ),
        Mistake(
            UPDATE,
            "p[name], m, v = adamw(x.data, x.grad, m, v, 1, lr, 0.9, 0.99, decay)",
            Text(
                "t is 1 in every step: the correction of m and v is meant to fade as t grows.",
                "每一步的 t 都是 1：对 m 和 v 的校正应随 t 增大而消失。",
            ),
        ),
        Mistake(
            UPDATE,
            "p[name], m, v = adamw(x.data, x.grad, m, v, t - 1, lr, 0.9, 0.99, decay)",
            Text(
                "t begins at 0: 1 - beta1**0 is 0, and the first step divides by it. The first step has t = 1.",
                "t 从 0 开始：1 - beta1**0 为 0，第一步就除以了 0。第一步的 t 为 1。",
            ),
        ),
        Mistake(
            "            moments[name] = m, v\n",
            "",
            Text("m and v are not kept: every step begins with zeros.", "没有保存 m 和 v：每一步都从零开始。"),
        ),
        Mistake(
            "decay = 0.01 if x.data.ndim > 1 else 0.0",
            "decay = 0.01",
            Text("Biases decay too; only matrices are to.", "偏置也衰减了；只有矩阵应当衰减。"),
        ),
        Mistake(
            "decay = 0.01 if x.data.ndim > 1 else 0.0",
            "decay = 0.0",
            Text("Nothing decays; matrices are to, by 0.01.", "没有权重衰减；矩阵应以 0.01 衰减。"),
        ),
        Mistake(
            "losses.append(float(loss.data))",
            "losses.append(float(loss.data) * len(targets))",
            Text("The loss is a sum over the windows; it is to be their mean.", "损失是各窗口之和；应为平均值。"),
        ),
        Mistake(
            "    p = dict(p)\n",
            "",
            Text(
                "The dict that was given is written into: work with a copy, dict(p).",
                "改写了传入的字典：应在副本 dict(p) 上操作。",
            ),
        ),
    ],
)
