"""Slope: how much the output moves when the input moves a little

    f(x)
     |                      o     f(x + h)
     |                o           f(x)
     |          o                 f(x - h)
     +----------|-----|-----|---->
              x - h   x   x + h

A derivative says how fast f rises at x. Nothing but f itself is needed to measure it: move x by a small step h and see how far
f moves. From one side, the error is about h / 2 times the second derivative. From both sides, that part cancels, and the error
is about h**2 / 6 times the third. Every gradient of this course is judged by such a measurement.

A smaller h is better only up to a point: f is known to about 16 digits, the two values of f agree in most of them, and what is
left of their difference is divided by h. Rounding costs about eps / h, with eps = 2**-52. Both errors together are least where
h is about eps**(1/2) from one side and about eps**(1/3) from both; for a large x, that times |x|.

- `one_sided(f, x, h)` -> a number: from f at x and at x + h.
- `slope(f, x, h)` -> a number: from f at x - h and at x + h.
- `gradient(f, x, h)` -> an array of the shape of x. Here x is an array of any shape, also (), and f(x) a number; entry i
  is the slope from both sides when x[i] alone is moved. x itself must not change.
- `step_size(x, sides)` -> the h to take at the number x: eps**(1/2) for one side, eps**(1/3) for two, times |x| where |x| is
  above 1.
[zh]
斜率：输入稍微移动时，输出移动多少

    f(x)
     |                      o     f(x + h)
     |                o           f(x)
     |          o                 f(x - h)
     +----------|-----|-----|---->
              x - h   x   x + h

导数表示 f 在 x 处上升得多快。测量它只需要 f 本身：把 x 移动一小步 h，看 f 移动多少。单侧差分的误差约为二阶导数的 h / 2 倍；
双侧差分中这一项互相抵消，误差约为三阶导数的 h**2 / 6 倍。本课程的每个梯度都用这种测量来检验。

h 并不是越小越好：f 只有约 16 位有效数字，两个函数值的大部分数字相同，相减后剩下的部分还要除以 h。舍入误差约为 eps / h，
其中 eps = 2**-52。两种误差之和最小时，单侧的 h 约为 eps**(1/2)，双侧的 h 约为 eps**(1/3)；x 较大时再乘以 |x|。

- `one_sided(f, x, h)` -> 一个数：由 f 在 x 和 x + h 处的值得到。
- `slope(f, x, h)` -> 一个数：由 f 在 x - h 和 x + h 处的值得到。
- `gradient(f, x, h)` -> 与 x 形状相同的数组。这里 x 是任意形状的数组（包括 ()），f(x) 是一个数；第 i 个元素是只移动 x[i]
  时的双侧斜率。不得改变 x 本身。
- `step_size(x, sides)` -> 在数 x 处应取的 h：单侧为 eps**(1/2)，双侧为 eps**(1/3)；|x| 大于 1 时再乘以 |x|。
"""

import numpy as np

EPS = 2.0**-52  # the distance from 1 to the next float64


def one_sided(f, x, h):
    """A function of a number, x, h -> its slope, from x and x + h."""
    # <hole>
    return (f(x + h) - f(x)) / h
    # </hole>


def slope(f, x, h):
    """A function of a number, x, h -> its slope, from x - h and x + h."""
    # <hole>
    return (f(x + h) - f(x - h)) / (2 * h)
    # </hole>


def gradient(f, x, h):
    """A function of an array, x (...), h -> one slope for each entry (...)."""
    # <hole>
    g = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        g[i] = (f(up) - f(down)) / (2 * h)
    return g
    # </hole>


def step_size(x, sides):
    """A number, 1 or 2 -> the step for a difference from so many sides."""
    # <hole>
    power = 1 / 2 if sides == 1 else 1 / 3
    return EPS**power * max(1.0, abs(x))
    # </hole>
