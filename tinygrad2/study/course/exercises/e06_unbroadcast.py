"""Un-broadcast: what NumPy repeats, backward sums

NumPy repeats an array that is too small until the shapes fit:

    b          b, as x + b uses it        gradient of b
    (3,)       (2, 3)
    [1 2 3] -> [1 2 3]  <- row 0          the sum of both rows of the
               [1 2 3]  <- row 1          gradient of x + b

Each repetition is a use of the same number, and the gradients of all uses add up. Shapes are compared from their ends: (3,)
is repeated along a new first axis, and (4, 1) along its last one.

Write `unbroadcast(g, shape)`. `g` is the gradient of an array of `shape` after it was broadcast; return the gradient of the
array itself, of exactly `shape`, also where that is (), and also where nothing was repeated.
[zh]
反广播：NumPy 复制了什么，反向就求和什么

NumPy 会把过小的数组复制，直到形状相符：

    b          x + b 中实际使用的 b       b 的梯度
    (3,)       (2, 3)
    [1 2 3] -> [1 2 3]  <- 第 0 行        x + b 的梯度中
               [1 2 3]  <- 第 1 行        两行之和

每次复制都是同一个数的一次使用，而所有使用的梯度要相加。形状从末尾开始对齐：(3,) 沿新的第一个轴复制，(4, 1) 沿最后一个轴复制。

请写出 `unbroadcast(g, shape)`。`g` 是形状为 `shape` 的数组广播之后的梯度；返回原数组的梯度，形状恰为 `shape`；
`shape` 为 () 时，以及没有发生复制时，也要正确。
"""

import numpy as np


def unbroadcast(g, shape):
    """g, of the broadcast shape -> an array of `shape`."""
    # <hole>
    extra = tuple(range(g.ndim - len(shape)))
    g = np.sum(g, axis=extra)
    ones = tuple(axis for axis, n in enumerate(shape) if n == 1)
    return np.sum(g, axis=ones, keepdims=True)
    # </hole>
