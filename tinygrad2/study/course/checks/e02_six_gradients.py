"""Rules of six operations, compared with the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad2 import ops, vjp
from tinygrad2.study.course.exercise import Call, Exercise, Inputs, Mistake, Probe, Text, frozen


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    for name in ("multiply", "divide"):
        yield Call(getattr(theirs, name), draw.normal(2, 3), draw.normal(2, 3), draw.uniform(1, 2, 2, 3))
        yield Call(getattr(theirs, name), draw.number(1, 2), draw.number(2, 3), draw.number(-4, -3))
    for n in (3, 0.5, -2, 1):
        yield Call(theirs.power, draw.normal(2, 3), draw.uniform(1, 2, 2, 3), n)
    yield Call(theirs.power, draw.number(1, 2), draw.number(-3, -2), 2)
    for name in ("sine", "logarithm", "relu"):
        yield Call(getattr(theirs, name), draw.normal(2, 3), draw.uniform(0.5, 2, 2, 3))
        yield Call(getattr(theirs, name), draw.number(1, 2), draw.number(2, 3))
    yield Call(theirs.sine, draw.normal(4), draw.normal(4) * 2)
    yield Call(theirs.relu, draw.normal(5), frozen(np.array([-2.0, -0.5, 0.0, 0.5, 2.0])))


def rule(f: Callable[..., Any], inputs: int) -> Callable[..., Any]:
    """The gradients of the first so many inputs."""

    def backward(g: Any, *args: Any) -> Any:
        _, pull = vjp(lambda *floats: f(*floats, *args[inputs:]), *args[:inputs])
        found = tuple(np.asarray(gradient) for gradient in pull(g))
        return found if inputs > 1 else found[0]

    return backward


EXERCISE = Exercise(
    week=1,
    minutes=30,
    show=show,
    ours=SimpleNamespace(
        multiply=rule(np.multiply, 2),
        divide=rule(np.divide, 2),
        power=rule(lambda x, n: x**n, 1),
        sine=rule(np.sin, 1),
        logarithm=rule(np.log, 1),
        relu=rule(ops.relu, 1),
    ),
    idea=Text(
        "Write the derivative on paper first, with the other inputs held fixed, and multiply it by g. Is it in doubt? Measure "
        "it with the slope of exercise 1.",
        "先在纸上写出导数（其他输入保持不变），再乘以 g。拿不准时，用练习 1 的 slope 测量。",
    ),
    mistakes=[
        Mistake(
            "return g * b, g * a",
            "return g * a, g * b",
            Text("The factors are swapped: the derivative of a * b by a is b.", "因子弄反了：a * b 对 a 的导数是 b。"),
        ),
        Mistake(
            "return g * b, g * a",
            "return b, a",
            Text(
                "multiply leaves g out: these are the derivatives alone, right only where g is 1.",
                "multiply 漏掉了 g：这只是导数本身，只在 g 为 1 时才对。",
            ),
        ),
        Mistake(
            "return g / b, -g * a / b**2",
            "return g / b, g * a / b**2",
            Text(
                "The sign of the gradient of b: a larger divisor makes the quotient smaller, -g * a / b**2.",
                "b 的梯度符号有误：除数变大，商变小，应为 -g * a / b**2。",
            ),
        ),
        Mistake(
            "return g / b, -g * a / b**2",
            "return g / b, -g * a / b",
            Text("The derivative of 1 / b is -1 / b**2: the square is missing.", "1 / b 的导数是 -1 / b**2：缺少平方。"),
        ),
        Mistake(
            "return g / b, -g * a / b**2",
            "return g / b, -g / b**2",
            Text("The factor a is missing in the gradient of b: -g * a / b**2.", "b 的梯度缺少因子 a：应为 -g * a / b**2。"),
        ),
        Mistake(
            "return g / b, -g * a / b**2",
            "return g * b, -g * a / b**2",
            Text("The derivative of a / b by a is 1 / b, not b.", "a / b 对 a 的导数是 1 / b，而不是 b。"),
        ),
        Mistake(
            "return g * n * x ** (n - 1)",
            "return g * n * x ** n",
            Text("The exponent is one less after differentiation: n * x ** (n - 1).", "求导后指数要减一：n * x ** (n - 1)。"),
        ),
        Mistake(
            "g * n * x ** (n - 1)",
            "g * x ** (n - 1)",
            Text("The factor n in front is missing: n * x ** (n - 1).", "缺少前面的因子 n：n * x ** (n - 1)。"),
        ),
        Mistake(
            "return g * n * x ** (n - 1)",
            "return g * n * x ** n - 1",
            Text(
                "x ** n - 1 subtracts 1 from the power: put n - 1 into parentheses.",
                "x ** n - 1 是从幂中减 1：n - 1 要加括号。",
            ),
        ),
        Mistake(
            "g * n * x ** (n - 1)",
            "n * x ** (n - 1)",
            Text("power leaves g out: the chain rule multiplies by it.", "power 漏掉了 g：链式法则要乘以 g。"),
        ),
        Mistake(
            "g * np.cos(x)",
            "-g * np.cos(x)",
            Text("The derivative of sin is cos; the minus belongs to that of cos.", "sin 的导数是 cos；负号属于 cos 的导数。"),
        ),
        Mistake(
            "return g * np.cos(x)",
            "return np.cos(g * x)",
            Text(
                "g stands inside the cosine: it multiplies the derivative cos(x).", "g 放进了余弦里面：它应该乘以导数 cos(x)。"
            ),
        ),
        Mistake(
            "return g * np.cos(x)",
            "return g * np.sin(x)",
            Text("The function is taken again; its derivative is cos(x).", "用的还是函数本身；它的导数是 cos(x)。"),
        ),
        Mistake(
            "return g / x",
            "return g * np.log(x)",
            Text(
                "The function is taken again; the derivative of log(x) is 1 / x.", "用的还是函数本身；log(x) 的导数是 1 / x。"
            ),
        ),
        Mistake(
            "return g / x",
            "return g / (x * np.log(10))",
            Text(
                "That is the derivative of the logarithm to base 10; np.log is the natural one.",
                "这是以 10 为底的对数的导数；np.log 是自然对数。",
            ),
        ),
        Mistake(
            "return g * (x > 0)",
            "return g * (x >= 0)",
            Text("At exactly 0 the gradient is to be 0: x > 0, not x >= 0.", "恰好在 0 处梯度应为 0：用 x > 0 而不是 x >= 0。"),
        ),
        Mistake(
            "return g * (x > 0)",
            "return g * (g > 0)",
            Text(
                "The sign of g decides, and it is that of x which does: where x is below 0, the output stays at 0.",
                "用 g 的符号来判断了，而应该看 x 的符号：x 小于 0 时输出始终为 0。",
            ),
        ),
        Mistake(
            "g * (x > 0)",
            "g * np.maximum(x, 0)",
            Text(
                "g is multiplied by the value of relu; its derivative is 1 where x is above 0, and 0 elsewhere.",
                "g 乘以了 relu 的值；它的导数在 x 大于 0 处为 1，其余为 0。",
            ),
        ),
        Mistake(
            "return g / b, -g * a / b**2",
            "return 1 / b, -a / b**2",
            Text(
                "divide leaves g out: these are the derivatives alone, right only where g is 1.",
                "divide 漏掉了 g：这只是导数本身，只在 g 为 1 时才对。",
            ),
        ),
        Mistake(
            "return g / b, -g * a / b**2",
            "return -g * a / b**2, g / b",
            Text(
                "The two gradients of divide have changed places: first that of a, then that of b.",
                "divide 的两个梯度位置弄反了：先是 a 的，再是 b 的。",
            ),
        ),
        Mistake(
            "return g * np.cos(x)",
            "return np.cos(x)",
            Text("sine leaves g out: the chain rule multiplies by it.", "sine 漏掉了 g：链式法则要乘以 g。"),
        ),
        Mistake(
            "return g / x",
            "return 1 / x",
            Text("logarithm leaves g out: the chain rule multiplies by it.", "logarithm 漏掉了 g：链式法则要乘以 g。"),
        ),
        Mistake(
            "return g * (x > 0)",
            "return (x > 0) * 1.0",
            Text("relu leaves g out: where x is above 0, g goes through.", "relu 漏掉了 g：在 x 大于 0 处，g 原样通过。"),
        ),
    ],
)
