"""LayerNorm: every row with mean 0 and variance 1, then a gain and a bias

    x    [ 1   3   8 ]         one token, C features
           |  mean 4, variance 8.67
    n    [-1.02 -0.34 1.36 ]   (x - mean) / sqrt(variance + 1e-5)
           |  * gain + bias    one of each per feature, the same for all tokens
    out  [ ... ]

Deep networks train better when what goes into each layer keeps its size. LayerNorm gives each token, over its features, the
mean 0 and the variance 1, and then lets the model choose a scale and an offset for each feature.

The gain and the bias are used by every token, so their gradients add up over all axes but the last. The gradient of x is the
harder part: each n[i] depends on x[i], and through the mean and the variance on all others of the row. With dn = dout * gain,

    dx = (dn - mean(dn) - n * mean(dn * n)) / sqrt(variance + 1e-5)

The first mean is what the mean of x hands back, the second what the variance does: moving a row as a whole, or stretching it,
does not change n (but for the 1e-5), and so neither of these is in dx.

- `layer_norm_forward(x, gain, bias) -> (out, cache)`: x is (..., C), with any number of axes in front; gain and bias are (C,).
  The variance is the mean of the squared deviations.
- `layer_norm_backward(dout, cache) -> (dx, dgain, dbias)`.
[zh]
层归一化：每一行均值为 0、方差为 1，再乘增益、加偏置

    x    [ 1   3   8 ]         一个 token，C 个特征
           |  均值 4，方差 8.67
    n    [-1.02 -0.34 1.36 ]   (x - 均值) / sqrt(方差 + 1e-5)
           |  * gain + bias    每个特征各一个，所有 token 共用
    out  [ ... ]

若进入每一层的数保持同样的大小，深层网络更容易训练。层归一化使每个 token 的特征均值为 0、方差为 1，
再让模型为每个特征选择缩放和偏移。

gain 和 bias 被每个 token 使用，所以它们的梯度要沿除最后一个轴以外的所有轴相加。x 的梯度较难：每个 n[i] 依赖于 x[i]，
又通过均值和方差依赖于该行的所有其他元素。设 dn = dout * gain，则

    dx = (dn - mean(dn) - n * mean(dn * n)) / sqrt(方差 + 1e-5)

第一个平均来自 x 的均值，第二个来自方差：把一行整体平移或拉伸都不会改变 n（1e-5 的影响除外），所以 dx 中没有这两个方向的分量。

- `layer_norm_forward(x, gain, bias) -> (out, cache)`：x 为 (..., C)，前面的轴个数任意；gain 和 bias 为 (C,)。
  方差是偏差平方的平均值。
- `layer_norm_backward(dout, cache) -> (dx, dgain, dbias)`。
"""

import numpy as np

EPS = 1e-5


def layer_norm_forward(x, gain, bias):
    """x (..., C), gain (C,), bias (C,) -> out (..., C), and what backward needs."""
    # <hole>
    centred = x - np.mean(x, axis=-1, keepdims=True)
    std = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + EPS)
    n = centred / std
    return n * gain + bias, (n, std, gain)
    # </hole>


def layer_norm_backward(dout, cache):
    """dout (..., C) -> dx (..., C), dgain (C,), dbias (C,)."""
    # <hole>
    n, std, gain = cache
    tokens = tuple(range(dout.ndim - 1))
    dn = dout * gain
    of_mean = np.mean(dn, axis=-1, keepdims=True)
    of_variance = n * np.mean(dn * n, axis=-1, keepdims=True)
    dx = (dn - of_mean - of_variance) / std
    return dx, np.sum(dout * n, axis=tokens), np.sum(dout, axis=tokens)
    # </hole>
