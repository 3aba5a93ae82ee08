"""Softmax: weights that add up to 1

    x  [ 1.0   2.0   4.0 ]   scores: any numbers
        |      |     |
       exp    exp   exp      e^(x - max), so that nothing overflows
        \\      |     /
          their sum          one number per row
        /      |     \\
    p  [ 0.04  0.11  0.84 ]  weights: positive, and 1 together

Raising one score lowers all other weights of its row, so every gradient depends on all of the row. With g the gradient of p:

    dx_i = p_i (g_i - sum_j g_j p_j)

Write both functions; softmax is along the last axis, for any number of axes.

- `softmax_forward(x) -> (p, cache)`: subtract the maximum of the row first, or exp(1000) is infinite.
- `softmax_backward(dp, cache) -> dx`. It may be called more than once with the same cache, so it writes neither into `dp` nor
  into the cache.
[zh]
Softmax：和为 1 的权重

    x  [ 1.0   2.0   4.0 ]   分数：任意数
        |      |     |
       exp    exp   exp      e^(x - max)，以免溢出
        \\      |     /
            求和             每行一个数
        /      |     \\
    p  [ 0.04  0.11  0.84 ]  权重：均为正，总和为 1

提高一个分数会降低同一行的其他权重，所以每个梯度都依赖于整行。设 g 为 p 的梯度：

    dx_i = p_i (g_i - sum_j g_j p_j)

请写出两个函数；softmax 沿最后一个轴，轴的个数任意。

- `softmax_forward(x) -> (p, cache)`：先减去该行的最大值，否则 exp(1000) 是无穷大。
- `softmax_backward(dp, cache) -> dx`。它可能以同一个 cache 被调用多次，所以不改写 `dp` 和 cache。
"""

import numpy as np


def softmax_forward(x):
    """x (..., n) -> p (..., n), and what backward needs."""
    # <hole>
    shifted = x - np.max(x, axis=-1, keepdims=True)
    e = np.exp(shifted)
    p = e / np.sum(e, axis=-1, keepdims=True)
    return p, p
    # </hole>


def softmax_backward(dp, cache):
    """dp (..., n) -> dx (..., n)."""
    # <hole>
    p = cache
    along = np.sum(dp * p, axis=-1, keepdims=True)
    return p * (dp - along)
    # </hole>
