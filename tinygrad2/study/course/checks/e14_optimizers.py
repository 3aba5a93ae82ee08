"""Steps of SGD and AdamW, clipping and a schedule, beside those of `tinygrad2.optim`."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad2 import Tensor, optim
from tinygrad2.study.course.exercise import Call, Exercise, Inputs, Mistake, Probe, Text, frozen
from tinygrad2.types import Array


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    yield Call(theirs.sgd, draw.normal(2, 3), draw.normal(2, 3), 0.3)
    for beta1, beta2, decay in ((0.9, 0.99, 0.0), (0.8, 0.95, 0.1)):
        p, m, v = draw.normal(2, 3), frozen(np.zeros((2, 3))), frozen(np.zeros((2, 3)))
        for t in (1, 2, 3):
            p, m, v = theirs.adamw(p, draw.normal(2, 3) * 10.0 ** (2 - t), m, v, t, 0.05, beta1, beta2, decay)
            yield f"adamw, step {t}, decay {decay}", (p, m, v)
            p, m, v = (frozen(np.array(x)) for x in (p, m, v))
    tiny = draw.normal(3) * 1e-8
    zeros = frozen(np.zeros(3))
    yield "adamw, gradients of 1e-8", theirs.adamw(draw.normal(3), frozen(tiny), zeros, zeros, 1, 0.1, 0.9, 0.99, 0.0)
    for most in (0.5, 100.0, 2.0):
        yield Call(theirs.clip, [draw.normal(2, 3), draw.normal(4), draw.normal(1, 2, 2)], most)
    yield Call(theirs.clip, [frozen(draw.normal(3) * 1e-6)], 1e-6)
    for t in (0, 1, 3, 4, 5, 12, 19, 20):
        yield Call(theirs.learning_rate, t, 0.3, 4, 20, 0.03)
    yield Call(theirs.learning_rate, 0, 0.3, 0, 10, 0.0)


def adamw(
    p: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, decay: float
) -> tuple[Array, Array, Array]:
    """One step of ours, which decays matrices only."""
    parameter = Tensor(np.array(p).reshape(1, -1), requires_grad=True)
    optimizer = optim.AdamW([parameter], lr, (beta1, beta2), weight_decay=decay)
    optimizer.steps = t - 1
    optimizer.state = [{"mean": np.array(m).reshape(1, -1), "square": np.array(v).reshape(1, -1)}]
    optimizer.step([g.reshape(1, -1)])
    state = optimizer.state[0]
    return parameter.data.reshape(p.shape), state["mean"].reshape(p.shape), state["square"].reshape(p.shape)


def sgd(p: Array, g: Array, lr: float) -> Array:
    """One step of ours."""
    parameter = Tensor(np.array(p), requires_grad=True)
    optim.SGD([parameter], lr).step([g])
    return parameter.data


def clip(gradients: list[Array], most: float) -> tuple[list[Array], float]:
    """By ours."""
    norm = optim.grad_norm(gradients)
    return [np.asarray(g * optim.clip_factor(norm, most)) for g in gradients], norm


EXERCISE = Exercise(
    week=4,
    minutes=60,
    show=show,
    ours=SimpleNamespace(adamw=adamw, sgd=sgd, clip=clip, learning_rate=optim.warmup_cosine),
    idea=Text(
        "Every line of adamw stands in the text, in order. Half a cosine: (1 + cos(pi * done)) / 2 falls from 1 to 0 as done "
        "goes from 0 to 1.",
        "adamw 的每一行都在文中，按顺序写出。半个余弦：当 done 从 0 到 1 时，(1 + cos(pi * done)) / 2 从 1 降到 0。",
    ),
    mistakes=[
        Mistake(
            "    return p - lr * g\n",
            "    return p + lr * g\n",
            Text("The step goes uphill: the gradient points to where the loss grows.", "走的是上坡：梯度指向损失增大的方向。"),
        ),
        Mistake(
            "mean = m / (1 - beta1**t)",
            "mean = m",
            Text(
                "m is not corrected: in the first steps it is too small by 1 - beta1**t.",
                "m 没有修正：最初几步它偏小，差因子 1 - beta1**t。",
            ),
        ),
        Mistake(
            "square = v / (1 - beta2**t)",
            "square = v",
            Text(
                "v is not corrected: in the first steps it is too small by 1 - beta2**t.",
                "v 没有修正：最初几步它偏小，差因子 1 - beta2**t。",
            ),
        ),
        Mistake(
            "mean = m / (1 - beta1**t)",
            "mean = m / (1 - beta1 ** (t + 1))",
            Text("The correction of m is one step ahead: t is 1 in the first step.", "m 的修正超前一步：第一步 t 为 1。"),
        ),
        Mistake(
            "mean = m / (1 - beta1**t)",
            "mean = m / (1 - beta1)",
            Text(
                "The correction of m is the same in every step; the power t is missing.",
                "每一步对 m 的修正都相同；缺少幂 t。",
            ),
        ),
        Mistake(
            "(1 - beta2) * g * g",
            "(1 - beta2) * g",
            Text("v averages the gradients themselves, and not their squares.", "v 平均的是梯度本身而不是平方。"),
        ),
        Mistake(
            "m = beta1 * m + (1 - beta1) * g",
            "m = beta1 * m + g",
            Text("The factor 1 - beta1 in m is missing.", "m 中缺少因子 1 - beta1。"),
        ),
        Mistake(
            "beta1 * m + (1 - beta1) * g",
            "(1 - beta1) * m + beta1 * g",
            Text(
                "In m the two weights are swapped: most of it is the past, beta1.",
                "m 中两个权重弄反了：大部分应是过去的值，权重 beta1。",
            ),
        ),
        Mistake(
            "step = mean / (np.sqrt(square) + 1e-8)",
            "step = mean / np.sqrt(square + 1e-8)",
            Text("1e-8 belongs outside of the root; inside it acts like 1e-4.", "1e-8 应在根号之外；在根号内它相当于 1e-4。"),
        ),
        Mistake(
            "step = mean / (np.sqrt(square) + 1e-8)",
            "step = mean / (square + 1e-8)",
            Text("The root of v is missing.", "缺少对 v 开平方。"),
        ),
        Mistake(
            "    m = beta1 * m",
            "    g = g + decay * p\n    m = beta1 * m",
            Text(
                "The decay is also added to the gradient, as in L2 regularisation; in AdamW it is apart from it.",
                "衰减还被加到了梯度上（L2 正则化）；AdamW 中它与梯度无关。",
            ),
        ),
        Mistake(
            "return p - lr * step - lr * decay * p, m, v",
            "return p - lr * step, m, v",
            Text("The weight decay is missing.", "缺少权重衰减。"),
        ),
        Mistake(
            " - lr * decay * p, m, v",
            " - decay * p, m, v",
            Text("The decay is not multiplied by the learning rate.", "衰减没有乘以学习率。"),
        ),
        Mistake(
            "lr * decay * p, m, v",
            "lr * decay * p, mean, square",
            Text(
                "The corrected m and v are returned; the next step needs them as they were before.",
                "返回了修正后的 m 和 v；下一步需要修正之前的值。",
            ),
        ),
        Mistake(
            "np.sqrt(sum(np.sum(g * g) for g in gradients))",
            "max(np.sqrt(np.sum(g * g)) for g in gradients)",
            Text(
                "The norm is that of the longest array; it is that of all entries together.",
                "取了最长数组的范数；应是所有元素合在一起的范数。",
            ),
        ),
        Mistake(
            "np.sqrt(sum(np.sum(g * g) for g in gradients))",
            "sum(np.sqrt(np.sum(g * g)) for g in gradients)",
            Text(
                "The norms of the arrays are added; add the squares, and take the root once.",
                "把各数组的范数相加了；应先加平方，再开一次根号。",
            ),
        ),
        Mistake(
            "min(1.0, most / (norm + 1e-6))",
            "most / (norm + 1e-6)",
            Text("Short gradients are made longer: the factor is at most 1.", "短的梯度被放大了：因子最多为 1。"),
        ),
        Mistake(
            "peak * (t + 1) / warmup",
            "peak * t / warmup",
            Text(
                "The first step has a learning rate of 0: steps count from 0, so t + 1.",
                "第一步学习率为 0：步数从 0 开始，应为 t + 1。",
            ),
        ),
        Mistake(
            "done = (t - warmup) / (total - warmup)",
            "done = t / total",
            Text("The cosine begins at step 0; it begins where the warm-up ends.", "余弦从第 0 步开始了；应从预热结束处开始。"),
        ),
        Mistake(
            "final + (peak - final) * (1 + np.cos(np.pi * done)) / 2",
            "peak * (1 + np.cos(np.pi * done)) / 2",
            Text("It falls to 0, and not to final.", "降到了 0 而不是 final。"),
        ),
        Mistake(
            "(1 + np.cos(np.pi * done)) / 2",
            "(1 + np.cos(2 * np.pi * done)) / 2",
            Text("A whole cosine goes down and up again; half of one is wanted.", "整个余弦会降下去再升上来；应取半个。"),
        ),
        Mistake(
            "return final + (peak - final) * (1 + np.cos(np.pi * done)) / 2",
            "return final + (peak - final) * (1 - done)",
            Text("The fall is a straight line, not half a cosine.", "下降是直线而不是半个余弦。"),
        ),
    ],
)
