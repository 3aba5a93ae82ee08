"""Steps of optimizers, compared with those of `tinygrad2.optim`."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad2 import Tensor, optim
from tinygrad2.study.course.exercise import Call, Exercise, Inputs, Mistake, Probe, Text, frozen
from tinygrad2.types import Array

SHAPES = ((2, 3), (3,), (), (2, 1, 2), (1, 4))


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    yield Call(theirs.sgd, [draw.normal(*shape) for shape in SHAPES], [draw.normal(*shape) for shape in SHAPES], 0.3)
    for betas, eps, decay in (((0.9, 0.99), 1e-8, 0.0), ((0.8, 0.95), 0.1, 0.5)):
        parameters = [draw.normal(*shape) for shape in SHAPES]
        state = theirs.adamw_start(parameters)
        yield "the state at the start", [state[name] for name in ("step", "mean", "square")]
        for step in range(1, 4):
            for old in (state["mean"], state["square"], parameters):
                for x in old:
                    frozen(np.asarray(x))
            gradients = [draw.normal(*shape) * 2 for shape in SHAPES]
            parameters, new = theirs.adamw(parameters, gradients, state, 0.1, betas, eps, decay)
            yield f"step {step}, betas {betas}, eps {eps}, decay {decay}: parameters", list(parameters)
            yield f"step {step}: the next state", [new[name] for name in ("step", "mean", "square")]
            yield f"step {step}: the count in the state that was handed in", state["step"]
            state = new
    for factor in (0.01, 1.0, 30.0, 0.0):
        gradients = [frozen(factor * draw.normal(*shape)) for shape in SHAPES]
        for max_norm in (1.0, 0.5):
            yield Call(theirs.clip, gradients, max_norm)
    for warmup, total in ((4, 20), (0, 10), (1, 5)):
        for step in (0, 1, 2, 3, 4, 5, 9, 15, 19, 20, 30):
            yield Call(theirs.warmup_cosine, step, 0.3, warmup, total, 0.05)


def sgd(parameters: list[Array], gradients: list[Array], rate: float) -> list[Array]:
    tensors = [Tensor(np.array(p), requires_grad=True) for p in parameters]
    optim.SGD(tensors, rate).step(gradients)
    return [t.data for t in tensors]


def adamw_start(parameters: list[Array]) -> dict[str, Any]:
    return {"step": 0, "mean": [np.zeros(p.shape) for p in parameters], "square": [np.zeros(p.shape) for p in parameters]}


def adamw(
    parameters: list[Array],
    gradients: list[Array],
    state: dict[str, Any],
    rate: float,
    betas: tuple[float, float],
    eps: float,
    decay: float,
) -> tuple[list[Array], dict[str, Any]]:
    tensors = [Tensor(np.array(p), requires_grad=True) for p in parameters]
    optimizer = optim.AdamW(tensors, rate, betas, eps, decay)
    optimizer.steps = state["step"]
    for kept, mean, square in zip(optimizer.state, state["mean"], state["square"], strict=True):
        kept |= {"mean": np.array(mean), "square": np.array(square)}
    optimizer.step(gradients)
    after = {name: [kept[name] for kept in optimizer.state] for name in ("mean", "square")}
    return [t.data for t in tensors], {"step": optimizer.steps, **after}


def clip(gradients: list[Array], max_norm: float) -> tuple[list[Array], float]:
    norm = optim.grad_norm(gradients)
    return [g * optim.clip_factor(norm, max_norm) for g in gradients], norm


EXERCISE = Exercise(
    week=4,
    minutes=70,
    show=show,
    ours=SimpleNamespace(sgd=sgd, adamw_start=adamw_start, adamw=adamw, clip=clip, warmup_cosine=optim.warmup_cosine),
    idea=Text(
        "Write the three lines of AdamW for one array first, then loop over the list. The step t in the corrections "
        "counts from 1.",
        "先为一个数组写出 AdamW 的三行公式，再对列表循环。修正中的步数 t 从 1 开始。",
    ),
    mistakes=[
        Mistake(
            "p - rate * g for p, g",
            "p + rate * g for p, g",
            Text("The step goes uphill: the gradient is to be subtracted.", "朝上坡走了：应减去梯度。"),
        ),
        Mistake(
            "return [p - rate * g for p, g in zip(parameters, gradients, strict=True)]",
            "for p, g in zip(parameters, gradients):\n        p -= rate * g\n    return parameters",
            Text(
                "The parameters that were handed in are written into: return new arrays.",
                "改写了传入的参数：应返回新的数组。",
            ),
        ),
        Mistake(
            "m_hat = m / (1 - b1**t)",
            "m_hat = m",
            Text(
                "The correction of m is missing: it begins with 0, and is too small by the factor 1 - b1^t.",
                "缺少对 m 的修正：它从 0 开始，偏小的倍数为 1 - b1^t。",
            ),
        ),
        Mistake(
            "v_hat = v / (1 - b2**t)",
            "v_hat = v",
            Text(
                "The correction of v is missing: it begins with 0, and is too small by the factor 1 - b2^t.",
                "缺少对 v 的修正：它从 0 开始，偏小的倍数为 1 - b2^t。",
            ),
        ),
        Mistake(
            "        m_hat = m / (1 - b1**t)\n        v_hat = v / (1 - b2**t)\n",
            "        m_hat = m\n        v_hat = v\n",
            Text(
                "Neither mean is corrected: both begin with 0, and are too small by the factors 1 - b1^t and 1 - b2^t.",
                "两个平均都没有修正：它们从 0 开始，偏小的倍数为 1 - b1^t 和 1 - b2^t。",
            ),
        ),
        Mistake(
            "        m_hat = m / (1 - b1**t)\n        v_hat = v / (1 - b2**t)\n",
            "        m_hat = m / (1 - b1)\n        v_hat = v / (1 - b2)\n",
            Text(
                "The corrections are those of the first step for ever: the power t is missing, 1 - b1^t.",
                "修正始终停留在第一步：缺少指数 t，应为 1 - b1^t。",
            ),
        ),
        Mistake(
            "        m_hat = m / (1 - b1**t)\n        v_hat = v / (1 - b2**t)\n",
            "        m_hat = m / (1 - b1 ** (t + 1))\n        v_hat = v / (1 - b2 ** (t + 1))\n",
            Text(
                "The corrections are one step ahead: at the first step t is 1.",
                "修正早了一步：第一步时 t 为 1。",
            ),
        ),
        Mistake(
            "        m_hat = m / (1 - b1**t)\n        v_hat = v / (1 - b2**t)\n",
            "        m_hat = m / (1 - b1 * t)\n        v_hat = v / (1 - b2 * t)\n",
            Text("b1 * t is not b1 to the power of t.", "b1 * t 不是 b1 的 t 次方。"),
        ),
        Mistake(
            "(1 - b2) * g**2",
            "(1 - b2) * g",
            Text("v is the mean of the squares: g**2 and not g.", "v 是平方的平均：应为 g**2 而不是 g。"),
        ),
        Mistake(
            "b1 * m + (1 - b1) * g",
            "(1 - b1) * m + b1 * g",
            Text(
                "b1 and 1 - b1 are swapped: b1 = 0.9 keeps nine tenths of the old mean.",
                "b1 与 1 - b1 弄反了：b1 = 0.9 表示保留旧平均的十分之九。",
            ),
        ),
        Mistake(
            "b1 * m + (1 - b1) * g",
            "b1 * m + g",
            Text("That is momentum; a mean takes the new gradient times 1 - b1.", "这是动量；求平均时新梯度要乘以 1 - b1。"),
        ),
        Mistake(
            "(np.sqrt(v_hat) + eps)",
            "np.sqrt(v_hat + eps)",
            Text("eps is under the root; it is to be added to the root.", "eps 放进了根号；应加在根号之外。"),
        ),
        Mistake(
            "(np.sqrt(v_hat) + eps)",
            "(v_hat + eps)",
            Text("The root is missing: it is divided by sqrt(v), not by v.", "缺少根号：应除以 sqrt(v)，而不是 v。"),
        ),
        Mistake(
            "        v_hat = v / (1 - b2**t)\n        pull = decay * p if p.ndim >= 2 else 0.0\n"
            "        moved.append(p - rate * (m_hat / (np.sqrt(v_hat) + eps) + pull))\n",
            "        root = math.sqrt(1 - b2**t)\n        pull = decay * p if p.ndim >= 2 else 0.0\n"
            "        moved.append(p - rate * (m_hat / (np.sqrt(v) + eps) * root + pull))\n",
            Text(
                "The correction of v comes after eps: v is corrected first, then eps is added to its root.",
                "对 v 的修正放在了 eps 之后：应先修正 v，再在它的平方根上加 eps。",
            ),
        ),
        Mistake(
            "pull = decay * p if p.ndim >= 2 else 0.0",
            "pull = decay * p",
            Text(
                "Gains and biases decay too: the decay is for arrays of two axes or more.",
                "增益和偏置也衰减了：权重衰减只用于有两个或更多轴的数组。",
            ),
        ),
        Mistake(
            "pull = decay * p if p.ndim >= 2 else 0.0",
            "pull = 0.0",
            Text("The decay is missing.", "缺少权重衰减。"),
        ),
        Mistake(
            "+ eps) + pull))",
            "+ eps)) - pull)",
            Text("The decay is not multiplied by the rate.", "权重衰减没有乘以学习率。"),
        ),
        Mistake(
            "+ eps) + pull))",
            "+ eps) - pull))",
            Text("The decay pushes weights away from 0: its sign is wrong.", "权重衰减把权重推离 0：符号相反。"),
        ),
        Mistake(
            '    t = state["step"] + 1\n',
            '    t = state["step"] + 1\n'
            "    gradients = [g + decay * p * (p.ndim >= 2) for p, g in zip(parameters, gradients)]\n"
            "    decay = 0.0\n",
            Text(
                "The decay is added to the gradient, as in Adam with L2: in AdamW it stays outside of both means.",
                "权重衰减加到了梯度里，即带 L2 的 Adam：在 AdamW 中，它在两个平均之外。",
            ),
        ),
        Mistake(
            '    t = state["step"] + 1\n',
            '    state["step"] += 1\n    t = state["step"]\n',
            Text(
                "The state that was handed in is changed: make a new dict.",
                "改变了传入的状态：应新建一个 dict。",
            ),
        ),
        Mistake(
            '{"step": t, "mean": means',
            '{"step": 1, "mean": means',
            Text("The count of steps does not go on: it is t after this step.", "步数没有增加：这一步之后应为 t。"),
        ),
        Mistake(
            "math.sqrt(sum(np.sum(g**2) for g in gradients))",
            "max(math.sqrt(np.sum(g**2)) for g in gradients)",
            Text(
                "Each array has a norm of its own here; the norm is that of all numbers together, as of one long vector.",
                "这里每个数组各有自己的范数；应是把所有数合成一个长向量的范数。",
            ),
        ),
        Mistake(
            "math.sqrt(sum(np.sum(g**2) for g in gradients))",
            "sum(math.sqrt(np.sum(g**2)) for g in gradients)",
            Text(
                "Norms do not add up: add the squares of all arrays, and take the root once.",
                "范数不能相加：应把所有数组的平方相加，再开一次方。",
            ),
        ),
        Mistake(
            "math.sqrt(sum(np.sum(g**2) for g in gradients))",
            "float(sum(np.sum(g**2) for g in gradients))",
            Text("The root is missing: this is the square of the norm.", "缺少开方：这是范数的平方。"),
        ),
        Mistake(
            "max_norm / (norm + 1e-6) if norm > max_norm else 1.0",
            "max_norm / (norm + 1e-6)",
            Text(
                "Small gradients are made larger: below max_norm they stay as they are.",
                "较小的梯度被放大了：不超过 max_norm 时应保持不变。",
            ),
        ),
        Mistake(
            "return [factor * g for g in gradients], norm",
            "return [np.clip(g, -max_norm, max_norm) for g in gradients], norm",
            Text(
                "Each number is clipped for itself, which changes the direction; all are to be scaled together.",
                "对每个数单独裁剪，会改变方向；应把所有数一起缩放。",
            ),
        ),
        Mistake(
            "return [factor * g for g in gradients], norm",
            "return [factor * g for g in gradients], factor * norm",
            Text("The norm after clipping is returned; it is to be the one before.", "返回了裁剪之后的范数；应返回之前的。"),
        ),
        Mistake(
            "return peak * (step + 1) / warmup",
            "return peak * step / warmup",
            Text(
                "The first step has a rate of 0, and changes nothing: it is (step + 1) / warmup of the peak.",
                "第一步的学习率为 0，什么也不会改变：应为 peak 的 (step + 1) / warmup。",
            ),
        ),
        Mistake(
            "(step - warmup) / (total - warmup)",
            "step / total",
            Text(
                "The cosine begins at step 0; it is to begin where the warm-up ends, at the peak.",
                "余弦从第 0 步开始了；应从预热结束处，即 peak 处开始。",
            ),
        ),
        Mistake(
            "min(1.0, (step - warmup) / (total - warmup))",
            "(step - warmup) / (total - warmup)",
            Text(
                "After `total` the rate rises again: the progress ends at 1.", "在 `total` 之后学习率又上升了：进度到 1 为止。"
            ),
        ),
        Mistake(
            "final + (peak - final) * 0.5",
            "final + peak * 0.5",
            Text(
                "The cosine begins at peak + final: its height is peak - final.",
                "余弦从 peak + final 开始：它的高度应为 peak - final。",
            ),
        ),
        Mistake(
            "final + (peak - final) * 0.5",
            "peak * 0.5",
            Text("The rate falls to 0, and not to `final`.", "学习率降到了 0，而不是 `final`。"),
        ),
        Mistake(
            "* (1 + math.cos(math.pi * progress))",
            "* (1 + math.cos(2 * math.pi * progress))",
            Text(
                "That is a whole cosine, which rises again: half of one, pi * progress.",
                "这是整个余弦，会再次上升：应是半个，即 pi * progress。",
            ),
        ),
    ],
)
