"""Activations: exp, log, tanh and GELU, entry by entry

          tanh                             GELU

            |  ,------  1                    |      /   2
            | /                              |    /
            |/                               |  /       1
    --------+--------               ---------+'--------
           /|                       -.____.-'|
          / |                                |
    -----'  | -1                             |

Between two matrix products stands a bend: without one, both would be one product. Each entry goes through it alone, so that the
gradient of each is dout times the derivative at that entry. What forward has computed is often most of the derivative:

    out = exp(x)     d out / dx = out
    out = log(x)     d out / dx = 1 / x
    out = tanh(x)    d out / dx = 1 - out^2

GPT-2 bends with GELU, which lets large x through, stops x far below 0, and is smooth in between:

    gelu(x) = 0.5 x (1 + tanh(u)),   u = sqrt(2 / pi) (x + 0.044715 x^3)

It is a product of 0.5 x and (1 + tanh(u)), and x is in both: the product rule gives two terms, and the second takes the chain
rule through tanh and through u.

Write four pairs, for arrays of any shape: `exp_forward(x) -> (out, cache)`, `exp_backward(dout, cache) -> dx`, and the same of
`log`, `tanh` and `gelu`.
[zh]
激活函数：逐元素的 exp、log、tanh 和 GELU

          tanh                             GELU

            |  ,------  1                    |      /   2
            | /                              |    /
            |/                               |  /       1
    --------+--------               ---------+'--------
           /|                       -.____.-'|
          / |                                |
    -----'  | -1                             |

两次矩阵乘法之间需要一个非线性：没有它，两次乘法就等于一次。每个元素单独通过它，所以每个元素的梯度等于 dout 乘以该处的导数。
前向算出的结果往往就是导数的主要部分：

    out = exp(x)     d out / dx = out
    out = log(x)     d out / dx = 1 / x
    out = tanh(x)    d out / dx = 1 - out^2

GPT-2 使用 GELU，它让较大的 x 通过，拦住远小于 0 的 x，中间光滑过渡：

    gelu(x) = 0.5 x (1 + tanh(u)),   u = sqrt(2 / pi) (x + 0.044715 x^3)

它是 0.5 x 与 (1 + tanh(u)) 的乘积，而两个因子都含有 x：乘法法则给出两项，第二项还要用链式法则穿过 tanh 和 u。

请写出四对函数，适用于任意形状的数组：`exp_forward(x) -> (out, cache)`，`exp_backward(dout, cache) -> dx`，
以及同样的 `log`、`tanh` 和 `gelu`。
"""

import numpy as np


def exp_forward(x):
    """x (...) -> exp(x) (...), and what backward needs."""
    # <hole>
    out = np.exp(x)
    return out, out
    # </hole>


def exp_backward(dout, cache):
    """dout (...) -> dx (...)."""
    # <hole>
    return dout * cache
    # </hole>


def log_forward(x):
    """x (...), above 0 -> log(x) (...), and what backward needs."""
    # <hole>
    return np.log(x), x
    # </hole>


def log_backward(dout, cache):
    """dout (...) -> dx (...)."""
    # <hole>
    return dout / cache
    # </hole>


def tanh_forward(x):
    """x (...) -> tanh(x) (...), and what backward needs."""
    # <hole>
    out = np.tanh(x)
    return out, out
    # </hole>


def tanh_backward(dout, cache):
    """dout (...) -> dx (...)."""
    # <hole>
    return dout * (1 - cache**2)
    # </hole>


# <hole>
SCALE = np.sqrt(2 / np.pi)  # u = SCALE (x + CUBE x^3)
CUBE = 0.044715
# </hole>


def gelu_forward(x):
    """x (...) -> GELU(x) (...), and what backward needs."""
    # <hole>
    t = np.tanh(SCALE * (x + CUBE * x**3))
    return 0.5 * x * (1 + t), (x, t)
    # </hole>


def gelu_backward(dout, cache):
    """dout (...) -> dx (...)."""
    # <hole>
    x, t = cache
    du = SCALE * (1 + 3 * CUBE * x**2)
    return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)
    # </hole>
