"""Differences of polynomials, compared with their Taylor series, whose derivatives are those of the engine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad2 import grad
from tinygrad2.study.course.exercise import Call, Exercise, Inputs, Mistake, Probe, Text
from tinygrad2.types import Array


class Formula:
    """A function that is shown as its formula."""

    def __init__(self, text: str, f: Callable[[Any], Any]) -> None:
        self.text, self.f = text, f

    def __call__(self, x: Any) -> Any:
        return self.f(x)

    def __repr__(self) -> str:
        return self.text


LINE = Formula("3 * x - 1", lambda x: 3 * x - 1)
SQUARE = Formula("x**2", lambda x: x * x)
CUBE = Formula("x**3 - 2 * x", lambda x: x * x * x - 2 * x)
CUBES = Formula(
    "sum(w * x**3) + x[0] * x[-1]", lambda x: (np.arange(1.0, 1 + x.size) * (x * x * x).reshape(-1)).sum() + ends(x)
)


def ends(x: Any) -> Any:
    """A product of two entries: the gradient of each is the other."""
    flat = x.reshape(-1)
    return flat[0] * flat[-1]


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    for difference in (theirs.one_sided, theirs.slope):
        for f in (LINE, SQUARE, CUBE):
            for h in (0.5, 0.01):
                yield Call(difference, f, draw.number(1, 2), h)
    for shape in ((3,), (2, 3), (1, 2, 2), ()):
        yield Call(theirs.gradient, CUBES, draw.normal(*shape), 0.1)
    for x in (0.25, 1.0, 1.5, 300.0, -300.0):
        for sides in (1, 2):
            yield Call(theirs.step_size, x, sides)


def derivatives(f: Callable[[Any], Any], x: Any) -> list[float]:
    """The first, second and third."""
    first = grad(f)
    second = grad(first)
    return [float(of(np.float64(x)).data) for of in (first, second, grad(second))]


def one_sided(f: Callable[[Any], Any], x: float, h: float) -> float:
    """What it is for a polynomial of degree 3."""
    first, second, third = derivatives(f, x)
    return first + h / 2 * second + h**2 / 6 * third


def slope(f: Callable[[Any], Any], x: float, h: float) -> float:
    """What it is for a polynomial of degree 4."""
    first, _, third = derivatives(f, x)
    return first + h**2 / 6 * third


def gradient(f: Callable[[Any], Any], x: Array, h: float) -> Array:
    """Along each axis the function is one of a number."""

    def along(unit: Array) -> float:
        return slope(lambda t: f(x + t * unit), 0.0, h)

    return np.array([along(unit) for unit in np.eye(x.size).reshape(x.size, *x.shape)]).reshape(x.shape)


def step_size(x: float, sides: int) -> float:
    """Where the sum of both errors is least, but for a factor that depends on f."""
    return float(np.power(sys.float_info.epsilon, 1 / (sides + 1)) * np.maximum(np.abs(x), 1))


EXERCISE = Exercise(
    week=1,
    minutes=40,
    show=show,
    ours=SimpleNamespace(one_sided=one_sided, slope=slope, gradient=gradient, step_size=step_size),
    idea=Text(
        "A slope is the rise of f over the run: how far apart are the two places at which f is computed? For an array, copy "
        "it, move one entry, and go on with a fresh copy.",
        "斜率等于 f 的增量除以自变量的增量：计算 f 的两个位置相距多远？对数组，先复制，移动一个元素，下一个元素再用新的副本。",
    ),
    mistakes=[
        Mistake(
            "return (f(x + h) - f(x - h)) / (2 * h)",
            "return (f(x + h) - f(x - h)) / h",
            Text(
                "x - h and x + h are 2 * h apart, and the difference is divided by h: it is twice the slope.",
                "x - h 与 x + h 相距 2 * h，却只除以了 h：结果是斜率的两倍。",
            ),
        ),
        Mistake(
            "return (f(x + h) - f(x - h)) / (2 * h)",
            "return (f(x + h) - f(x - h)) / 2 * h",
            Text(
                "/ 2 * h divides by 2 and then multiplies by h: put 2 * h into parentheses.",
                "/ 2 * h 是先除以 2 再乘以 h：2 * h 要加括号。",
            ),
        ),
        Mistake(
            "return (f(x + h) - f(x - h)) / (2 * h)",
            "return (f(x + h) - f(x)) / h",
            Text(
                "That is the difference from one side, whose error is h / 2 times the second derivative; f is to be computed "
                "at x - h too.",
                "这是单侧差分，误差为二阶导数的 h / 2 倍；还要计算 f(x - h)。",
            ),
        ),
        Mistake(
            "return (f(x + h) - f(x - h)) / (2 * h)",
            "return (f(x - h) - f(x + h)) / (2 * h)",
            Text(
                "The sign is wrong: the value at the smaller x is subtracted from the one at the larger.",
                "符号相反：应该用较大的 x 处的值减去较小的 x 处的值。",
            ),
        ),
        Mistake(
            "return (f(x + h) - f(x)) / h",
            "return (f(x + h) - f(x)) / (2 * h)",
            Text(
                "From one side the two places are h apart, not 2 * h: it is half the slope.",
                "单侧差分的两个位置相距 h 而不是 2 * h：结果是斜率的一半。",
            ),
        ),
        Mistake(
            "return (f(x + h) - f(x)) / h",
            "return f(x + h) - f(x) / h",
            Text(
                "Division comes before subtraction: only f(x) is divided by h. Put the difference into parentheses.",
                "除法先于减法：只有 f(x) 被除以了 h。差要加括号。",
            ),
        ),
        Mistake(
            "        up[i] += h\n        down[i] -= h",
            "        up += h\n        down -= h",
            Text(
                "All entries move together, so that every entry gets the sum of all slopes; move one at a time.",
                "所有元素一起移动了，于是每个元素得到的都是所有斜率之和；每次只能移动一个。",
            ),
        ),
        Mistake(
            "    for i in np.ndindex(x.shape):\n        up, down = x.copy(), x.copy()\n",
            "    up, down = x.copy(), x.copy()\n    for i in np.ndindex(x.shape):\n",
            Text(
                "An entry that was moved is not moved back before the next one: each needs a fresh copy of x.",
                "移动过的元素没有在处理下一个之前恢复：每个元素都需要 x 的新副本。",
            ),
        ),
        Mistake(
            "up, down = x.copy(), x.copy()",
            "up = down = x.copy()",
            Text(
                "Both names are the same array, so that + h and - h cancel; make two copies.",
                "两个名字指向同一个数组，+ h 与 - h 互相抵消；要复制两份。",
            ),
        ),
        Mistake(
            "up, down = x.copy(), x.copy()",
            "up, down = x, x.copy()",
            Text(
                "x itself is written into, and it belongs to whoever called: work on a copy.",
                "改写了 x 本身，而它属于调用者：应在副本上操作。",
            ),
        ),
        Mistake(
            "g[i] = (f(up) - f(down)) / (2 * h)",
            "g[i] = (f(up) - f(x)) / h",
            Text(
                "gradient takes the difference from one side; from both, the error is much smaller.",
                "gradient 用了单侧差分；双侧差分的误差小得多。",
            ),
        ),
        Mistake(
            "g[i] = (f(up) - f(down)) / (2 * h)",
            "g[i] = (f(up) - f(down)) / h",
            Text("gradient divides by h, and the two arrays are 2 * h apart.", "gradient 只除以了 h，而两个数组相距 2 * h。"),
        ),
        Mistake(
            "power = 1 / 2 if sides == 1 else 1 / 3",
            "power = 1 / 3 if sides == 1 else 1 / 2",
            Text(
                "The powers are swapped: from both sides the error of the formula is smaller, so the step may be larger, "
                "eps**(1/3).",
                "两个指数弄反了：双侧公式误差更小，步长可以更大，即 eps**(1/3)。",
            ),
        ),
        Mistake(
            "power = 1 / 2 if sides == 1 else 1 / 3",
            "power = 1",
            Text(
                "A step of eps leaves nothing of the difference but rounding: its root is to be taken.",
                "步长取 eps 时，差值只剩舍入误差：应当取它的方根。",
            ),
        ),
        Mistake(
            "return EPS**power * max(1.0, abs(x))",
            "return EPS**power * abs(x)",
            Text(
                "Near 0 the step becomes tiny, and at 0 it is 0: it shrinks with |x| only down to |x| = 1.",
                "x 接近 0 时步长变得极小，在 0 处为 0：步长只在 |x| 大于 1 时随 |x| 变化。",
            ),
        ),
        Mistake(
            " * max(1.0, abs(x))",
            "",
            Text(
                "For a large x the step is lost in its last digits: multiply by |x| where that is above 1.",
                "x 很大时，步长会淹没在 x 的末位数字中：|x| 大于 1 时要乘以 |x|。",
            ),
        ),
        Mistake(
            "return EPS**power * max(1.0, abs(x))",
            "return EPS**power * max(1.0, x)",
            Text("x = -300 is as large as 300: take the absolute value.", "x = -300 与 300 一样大：应取绝对值。"),
        ),
    ],
)
