"""Functions of each entry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad2 import ops
from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Pair, Probe, Text, reference


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    shapes = ((4,), (2, 3), (2, 1, 3))
    for shape in shapes:
        yield Pair(theirs.exp_forward, theirs.exp_backward, draw.normal(*shape))
    for shape in shapes:
        yield Pair(theirs.log_forward, theirs.log_backward, draw.uniform(0.2, 3, *shape))
    for shape in shapes:
        yield Pair(theirs.tanh_forward, theirs.tanh_backward, draw.normal(*shape))
    for shape in shapes:
        yield Pair(theirs.gelu_forward, theirs.gelu_backward, draw.uniform(-3, 3, *shape))


EXERCISE = Exercise(
    week=3,
    minutes=35,
    show=show,
    ours=reference(exp=np.exp, log=np.log, tanh=np.tanh, gelu=ops.gelu),
    idea=Text(
        "Keep in the cache what the derivative is made of. For GELU, give tanh(u) a name; its derivative is 1 - tanh(u)^2, "
        "times the derivative of u.",
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
            "return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)",
            "return dout * 0.5 * (1 + t)",
            Text(
                "The second term of the product rule is missing: tanh(u) depends on x too.",
                "缺少乘法法则的第二项：tanh(u) 也依赖于 x。",
            ),
        ),
        Mistake(
            "return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)",
            "return dout * 0.5 * x * (1 - t**2) * du",
            Text(
                "The first term of the product rule is missing: 0.5 (1 + tanh(u)), from the factor x.",
                "缺少乘法法则的第一项：来自因子 x 的 0.5 (1 + tanh(u))。",
            ),
        ),
        Mistake(
            "return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)",
            "return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t**2))",
            Text(
                "The chain rule ends at tanh: the derivative of u, sqrt(2 / pi) (1 + 3 * 0.044715 x^2), is missing.",
                "链式法则只到 tanh 为止：缺少 u 的导数 sqrt(2 / pi) (1 + 3 * 0.044715 x^2)。",
            ),
        ),
        Mistake(
            "    du = SCALE * (1 + 3 * CUBE * x**2)\n",
            "    du = SCALE * (1 + CUBE * x**2)\n",
            Text("The derivative of x^3 is 3 x^2: the 3 is missing.", "x^3 的导数是 3 x^2：缺少 3。"),
        ),
        Mistake(
            "    du = SCALE * (1 + 3 * CUBE * x**2)\n",
            "    du = 1 + 3 * CUBE * x**2\n",
            Text("The factor sqrt(2 / pi) is missing in the derivative of u.", "u 的导数中缺少因子 sqrt(2 / pi)。"),
        ),
        Mistake(
            "return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)",
            "return dout * (0.5 * (1 + t) + 0.5 * (1 - t**2) * du)",
            Text(
                "The factor x is missing in the second term: the derivative of 1 + tanh(u) is multiplied by 0.5 x.",
                "第二项缺少因子 x：1 + tanh(u) 的导数要乘以 0.5 x。",
            ),
        ),
        Mistake(
            "SCALE = np.sqrt(2 / np.pi)",
            "SCALE = 2 / np.pi",
            Text(
                "The root is missing: u = sqrt(2 / pi) (x + 0.044715 x^3).",
                "缺少根号：u = sqrt(2 / pi) (x + 0.044715 x^3)。",
            ),
        ),
        Mistake(
            "SCALE = np.sqrt(2 / np.pi)",
            "SCALE = np.sqrt(np.pi / 2)",
            Text("The fraction is upside down: it is sqrt(2 / pi).", "分数弄反了：应为 sqrt(2 / pi)。"),
        ),
        Mistake(
            "CUBE = 0.044715",
            "CUBE = 0.44715",
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
        Mistake(
            "SCALE = np.sqrt(2 / np.pi)",
            "SCALE = np.sqrt(2 * np.pi)",
            Text(
                "It is sqrt(2 * pi); the constant of u is sqrt(2 / pi), which is below 1.",
                "这是 sqrt(2 * pi)；u 的常数是 sqrt(2 / pi)，小于 1。",
            ),
        ),
        Mistake(
            "    t = np.tanh(SCALE * (x + CUBE * x**3))\n    return 0.5 * x * (1 + t), (x, t)\n    # </hole>\n\n\n"
            'def gelu_backward(dout, cache):\n    """dout (...) -> dx (...)."""\n    # <hole>\n    x, t = cache\n'
            "    du = SCALE * (1 + 3 * CUBE * x**2)\n"
            "    return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)\n",
            "    t = np.vectorize(math.erf)(x / np.sqrt(2))\n    return 0.5 * x * (1 + t), (x, t)\n\n\n"
            "def gelu_backward(dout, cache):\n    x, t = cache\n"
            "    return dout * (0.5 * (1 + t) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))\n\n\nimport math\n",
            Text(
                "That is GELU with the error function, erf. GPT-2 takes the form with tanh, which differs from it in "
                "the fourth digit.",
                "这是用误差函数 erf 的 GELU。GPT-2 用的是 tanh 形式，二者在第四位数字上有差别。",
            ),
        ),
        Mistake(
            "t = np.tanh(SCALE * (x + CUBE * x**3))",
            "t = np.tanh(SCALE * x + CUBE * x**3)",
            Text(
                "The constant multiplies x alone; it is to multiply all of x + 0.044715 x^3: parentheses are missing.",
                "常数只乘了 x；它应乘以整个 x + 0.044715 x^3：缺少括号。",
            ),
        ),
        Mistake(
            "return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)",
            "return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t) * du)",
            Text(
                "The square is missing in the derivative of tanh(u): 1 - tanh(u)^2.",
                "tanh(u) 的导数中缺少平方：1 - tanh(u)^2。",
            ),
        ),
        Mistake(
            "return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)",
            "return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du",
            Text(
                "gelu_backward leaves dout out: the chain rule multiplies by it.",
                "gelu_backward 漏掉了 dout：链式法则要乘以它。",
            ),
        ),
        Mistake(
            "return dout * (1 - cache**2)",
            "return dout * (1 + cache**2)",
            Text(
                "The sign is wrong: the derivative of tanh is 1 - tanh(x)^2, at most 1.",
                "符号有误：tanh 的导数是 1 - tanh(x)^2，最大为 1。",
            ),
        ),
    ],
)
