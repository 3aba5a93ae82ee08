"""Sums and shapes: what moves numbers around moves gradients back

    x (2, 3)              sum over axis 1        gradient of the sum (2,)
    [1 2 3]  --->  [6 ]                          [g0]  --->  [g0 g0 g0]
    [4 5 6]        [15]                          [g1]        [g1 g1 g1]

Each entry of x moves its own sum one to one, so it gets the gradient of that sum: what forward adds up, backward repeats. A
mean is a sum divided by how many were added, and so is its gradient. Reshaping and transposing change no number, only its
place: the gradient goes back to the place that its number came from.

From here on, gradients come as pairs. `name_forward` returns the result and a `cache`: whatever the backward function will
need, in any form. `name_backward` takes `dout`, the gradient of the result, which has its shape, and the cache, and returns the
gradient of x, which has the shape of x. It may be called more than once with the same cache, so it writes neither into `dout`
nor into the cache.

- `sum_forward(x, axis, keepdims)` -> (out, cache): `axis` is None (over all), a number or a tuple of several, and may count
  from the end (-1); with `keepdims`, the axes that were summed stay, with length 1.
- `sum_backward(dout, cache)` -> dx; also `mean_forward` and `mean_backward`, with the same arguments.
- `reshape_forward(x, shape)`, `reshape_backward(dout, cache)`.
- `transpose_forward(x, axes)`, `transpose_backward(dout, cache)`: axis i of the result is axis `axes[i]` of x.
[zh]
求和与形状：搬动数的运算，把梯度搬回原处

    x (2, 3)              沿轴 1 求和            和的梯度 (2,)
    [1 2 3]  --->  [6 ]                          [g0]  --->  [g0 g0 g0]
    [4 5 6]        [15]                          [g1]        [g1 g1 g1]

x 的每个元素一比一地影响它所在的和，所以它得到这个和的梯度：前向相加的，反向就复制。平均值是和除以相加的个数，梯度也是如此。
reshape 和 transpose 不改变数值，只改变位置：梯度回到它的数原来的位置。

从这里开始，梯度以成对函数的形式给出。`name_forward` 返回结果和 `cache`：反向函数所需要的一切，形式不限。
`name_backward` 接收 `dout`（结果的梯度，与结果形状相同）和 cache，返回 x 的梯度，与 x 形状相同。
它可能以同一个 cache 被调用多次，所以不改写 `dout` 和 cache。

- `sum_forward(x, axis, keepdims)` -> (out, cache)：`axis` 为 None（对全部求和）、一个数或由几个数组成的元组，
  也可以从末尾数起（-1）；`keepdims` 为真时，被求和的轴以长度 1 保留。
- `sum_backward(dout, cache)` -> dx；以及参数相同的 `mean_forward` 和 `mean_backward`。
- `reshape_forward(x, shape)`，`reshape_backward(dout, cache)`。
- `transpose_forward(x, axes)`，`transpose_backward(dout, cache)`：结果的第 i 个轴是 x 的第 `axes[i]` 个轴。
"""

import numpy as np


def sum_forward(x, axis, keepdims):
    """x (...), None or a number or a tuple, True or False -> the sum, and what backward needs."""
    # <hole>
    kept = np.sum(x, axis=axis, keepdims=True).shape
    return np.sum(x, axis=axis, keepdims=keepdims), (kept, x.shape)
    # </hole>


def sum_backward(dout, cache):
    """dout, of the shape of the sum -> dx, of the shape of x."""
    # <hole>
    kept, shape = cache
    return np.broadcast_to(np.reshape(dout, kept), shape)
    # </hole>


def mean_forward(x, axis, keepdims):
    """x (...), None or a number or a tuple, True or False -> the mean, and what backward needs."""
    # <hole>
    total, cache = sum_forward(x, axis, keepdims)
    count = x.size / np.size(total)
    return total / count, (count, cache)
    # </hole>


def mean_backward(dout, cache):
    """dout, of the shape of the mean -> dx, of the shape of x."""
    # <hole>
    count, of_sum = cache
    return sum_backward(dout, of_sum) / count
    # </hole>


def reshape_forward(x, shape):
    """x (...), another shape of as many entries -> x in that shape, and what backward needs."""
    # <hole>
    return np.reshape(x, shape), x.shape
    # </hole>


def reshape_backward(dout, cache):
    """dout, of the new shape -> dx, of the shape of x."""
    # <hole>
    return np.reshape(dout, cache)
    # </hole>


def transpose_forward(x, axes):
    """x (...), a permutation of its axes -> x with its axes in that order, and what backward needs."""
    # <hole>
    return np.transpose(x, axes), axes
    # </hole>


def transpose_backward(dout, cache):
    """dout, with axes in the new order -> dx, with axes as in x."""
    # <hole>
    back = np.argsort(cache)
    return np.transpose(dout, back)
    # </hole>
