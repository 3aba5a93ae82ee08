"""Layer norm: every row gets mean 0 and variance 1

    x  [ 1.0   3.0   8.0 ]                 one row of C numbers
         - mean 4.0
       [ -3.0  -1.0  4.0 ]
         / std = sqrt(variance + 1e-5)     the variance is the mean of the squares, over C and not C - 1
    n  [ -1.02 -0.34 1.36 ]
         * gain + bias                     one number of each for every column

Each x of a row moves the mean and the variance of its row, and through them all entries of n. So its gradient has three
parts. With h = g * gain, and means over the row:

    dx = (h - mean(h) - n * mean(h * n)) / std

The first part is what x does to its own n, the second what it does to the mean, the third what it does to the variance.

- `layer_norm_forward(x, gain, bias) -> (out, cache)`, for x (..., C), and gain and bias (C,).
- `layer_norm_backward(dout, cache) -> (dx, dgain, dbias)`. Gain and bias are used in every row.
[zh]
层归一化：每一行的均值为 0，方差为 1

    x  [ 1.0   3.0   8.0 ]                 一行 C 个数
         - 均值 4.0
       [ -3.0  -1.0  4.0 ]
         / std = sqrt(方差 + 1e-5)         方差是平方的平均，除以 C 而不是 C - 1
    n  [ -1.02 -0.34 1.36 ]
         * gain + bias                     每一列各有一个

一行中的每个 x 都会改变该行的均值和方差，从而影响 n 的所有元素。因此它的梯度有三部分。设 h = g * gain，平均都在一行之内：

    dx = (h - mean(h) - n * mean(h * n)) / std

第一部分是 x 对自己的 n 的影响，第二部分是对均值的影响，第三部分是对方差的影响。

- `layer_norm_forward(x, gain, bias) -> (out, cache)`，x 为 (..., C)，gain 和 bias 为 (C,)。
- `layer_norm_backward(dout, cache) -> (dx, dgain, dbias)`。每一行都用到 gain 和 bias。
"""

import numpy as np


def layer_norm_forward(x, gain, bias):
    """x (..., C), gain (C,), bias (C,) -> out (..., C), and what backward needs."""
    # <hole>
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(centred**2, axis=-1, keepdims=True)
    std = np.sqrt(variance + 1e-5)
    n = centred / std
    return n * gain + bias, (n, std, gain)
    # </hole>


def layer_norm_backward(dout, cache):
    """dout (..., C) -> dx (..., C), dgain (C,), dbias (C,)."""
    # <hole>
    n, std, gain = cache
    rows = tuple(range(dout.ndim - 1))
    dgain = np.sum(dout * n, axis=rows)
    dbias = np.sum(dout, axis=rows)
    h = dout * gain
    of_mean = np.mean(h, axis=-1, keepdims=True)
    of_variance = n * np.mean(h * n, axis=-1, keepdims=True)
    return (h - of_mean - of_variance) / std, dgain, dbias
    # </hole>
