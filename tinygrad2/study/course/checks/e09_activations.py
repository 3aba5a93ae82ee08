"""Functions of each entry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad2 import ops
from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Pair, Probe, Text, reference


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    for shape in ((4,), (2, 3), (2, 1, 3)):
        yield Pair(theirs.exp_forward, theirs.exp_backward, draw.normal(*shape))
        yield Pair(theirs.log_forward, theirs.log_backward, draw.uniform(0.2, 3, *shape))
        yield Pair(theirs.tanh_forward, theirs.tanh_backward, draw.normal(*shape))
        yield Pair(theirs.gelu_forward, theirs.gelu_backward, draw.uniform(-3, 3, *shape))


EXERCISE = Exercise(
    week=3,
    minutes=35,
    show=show,
    ours=reference(exp=np.exp, log=np.log, tanh=np.tanh, gelu=ops.gelu),
    idea=Text(
        "Keep in the cache what the derivative is made of. For GELU, give tanh(u) a name; its derivative is 1 - "
        "tanh(u)^2, times "
        "the derivative of u.",
        "把导数所需的东西存入 cache。对 GELU，给 tanh(u) 起个名字；它的导数是 1 - tanh(u)^2 乘以 u 的导数。",
    ),
    mistakes=[
        Mistake(
            "return dout * cache\n",
            "return dout + cache\n",
            Text("The chain rule multiplies dout by exp(x), and adds nothing.", "链式法则是用 dout 乘以 exp(x)，而不是相加。"),
        ),
        Mistake(
            "    out = np.exp(x)\n    return out, out\n",
            "    out = np.exp(x)\n    return out, x\n",
            Text(
                "The derivative of exp(x) is exp(x), the result, and not x.", "exp(x) 的导数是 exp(x)，即结果本身，而不是 x。"
            ),
        ),
        Mistake(
            "    out = np.exp(x)\n    return out, out\n",
            "    out = np.exp(x)\n    return out, np.exp(out)\n",
            Text(
                "exp is taken of the result once more: the result is already exp(x), and that is the derivative.",
                "对结果又取了一次 exp：结果已经是 exp(x)，它就是导数。",
            ),
        ),
        Mistake(
            "return np.log(x), x\n",
            "return np.log(x), np.log(x)\n",
            Text("The derivative of log(x) is 1 / x, not 1 / log(x).", "log(x) 的导数是 1 / x，而不是 1 / log(x)。"),
        ),
        Mistake(
            "return dout / cache\n",
            "return -dout / cache**2\n",
            Text(
                "The derivative of log(x) is 1 / x; -1 / x**2 is that of 1 / x.",
                "log(x) 的导数是 1 / x；-1 / x**2 是 1 / x 的导数。",
            ),
        ),
        Mistake(
            "return dout / cache\n",
            "return dout * cache\n",
            Text("The gradient is divided by x, not multiplied.", "梯度应除以 x，而不是乘以 x。"),
        ),
        Mistake(
            "return np.log(x), x\n",
            "return np.log10(x), x\n",
            Text("That is the logarithm to base 10; np.log is the natural one.", "这是以 10 为底的对数；np.log 是自然对数。"),
        ),
        Mistake(
            "dout * (1 - cache**2)",
            "dout * (1 - cache)",
            Text("The square is missing: the derivative of tanh is 1 - tanh(x)^2.", "缺少平方：tanh 的导数是 1 - tanh(x)^2。"),
        ),
        Mistake(
            "dout * (1 - cache**2)",
            "dout * (1 - np.tanh(cache) ** 2)",
            Text(
                "tanh is taken of the result once more: out is tanh(x) already.",
                "对结果又取了一次 tanh：out 已经是 tanh(x)。",
            ),
        ),
        Mistake(
            "dout * (1 - cache**2)",
            "dout * cache * (1 - cache)",
            Text(
                "That is the derivative of the sigmoid; that of tanh is 1 - tanh(x)^2.",
                "这是 sigmoid 的导数；tanh 的导数是 1 - tanh(x)^2。",
            ),
        ),
        Mistake(
            "dout * (1 - cache**2)",
            "1 - dout * cache**2",
            Text(
                "dout multiplies the whole of 1 - tanh(x)^2: parentheses are missing.",
                "dout 应乘以整个 1 - tanh(x)^2：缺少括号。",
            ),
        ),
        Mistake(
            "0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du",
            "0.5 * (1 + t)",
            Text(
                "The second term of the product rule is missing: tanh(u) depends on x too.",
                "缺少乘法法则的第二项：tanh(u) 也依赖于 x。",
            ),
        ),
        Mistake(
            "0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du",
            "0.5 * x * (1 - t**2) * du",
            Text(
                "The first term of the product rule is missing: 0.5 (1 + tanh(u)), from the factor x.",
                "缺少乘法法则的第一项：来自因子 x 的 0.5 (1 + tanh(u))。",
            ),
        ),
        Mistake(
            "0.5 * x * (1 - t**2) * du",
            "0.5 * x * (1 - t**2)",
            Text(
                "The chain rule ends at tanh: the derivative of u, sqrt(2 / pi) (1 + 3 * 0.044715 x^2), is missing.",
                "链式法则只到 tanh 为止：缺少 u 的导数 sqrt(2 / pi) (1 + 3 * 0.044715 x^2)。",
            ),
        ),
        Mistake(
            "(1 + 3 * 0.044715 * x**2)",
            "(1 + 0.044715 * x**2)",
            Text("The derivative of x^3 is 3 x^2: the 3 is missing.", "x^3 的导数是 3 x^2：缺少 3。"),
        ),
        Mistake(
            "    du = np.sqrt(2 / np.pi) * (1 + 3",
            "    du = (1 + 3",
            Text("The factor sqrt(2 / pi) is missing in the derivative of u.", "u 的导数中缺少因子 sqrt(2 / pi)。"),
        ),
        Mistake(
            "0.5 * x * (1 - t**2) * du",
            "0.5 * (1 - t**2) * du",
            Text(
                "The factor x is missing in the second term: the derivative of 1 + tanh(u) is multiplied by 0.5 x.",
                "第二项缺少因子 x：1 + tanh(u) 的导数要乘以 0.5 x。",
            ),
        ),
        Mistake(
            "    t = np.tanh(np.sqrt(2 / np.pi) * (x",
            "    t = np.tanh(2 / np.pi * (x",
            Text(
                "The root is missing in forward: u = sqrt(2 / pi) (x + 0.044715 x^3).",
                "前向中缺少根号：u = sqrt(2 / pi) (x + 0.044715 x^3)。",
            ),
        ),
        Mistake(
            "    t = np.tanh(np.sqrt(2 / np.pi) * (x",
            "    t = np.tanh(np.sqrt(np.pi / 2) * (x",
            Text("The fraction is upside down: it is sqrt(2 / pi).", "分数弄反了：应为 sqrt(2 / pi)。"),
        ),
        Mistake(
            "0.044715 * x**3))",
            "0.44715 * x**3))",
            Text("A zero is missing: the factor of x^3 is 0.044715.", "少了一个零：x^3 的系数是 0.044715。"),
        ),
        Mistake(
            "return 0.5 * x * (1 + t), (x, t)",
            "return x * (1 + t), (x, t)",
            Text(
                "The factor 0.5 is missing in forward: a large x is to pass as it is.",
                "前向缺少因子 0.5：较大的 x 应原样通过。",
            ),
        ),
    ],
)
