"""Matmul: two matrix products for one

    x (n, k)                     dx = dout w^T
    [ . . . ]                    (n, k) = (n, m) (m, k)
    [ . . . ]  @  w (k, m)  =  out (n, m)
                                 dw = x^T dout
                                 (k, m) = (k, n) (n, m)

out[i, j] is the sum over l of x[i, l] * w[l, j]. So x[i, l] is used once in every column j of row i, and its gradient is the
sum over j of dout[i, j] * w[l, j]: again a matrix product. Shapes tell you which: there is one way only to make (n, k) of dout
and w.

In a GPT-2, x has axes in front, (..., n, k): a batch of sequences. The matrix w is the same for all of them, so each row of
each matrix is a use of w, and the gradients of all uses add up. dw has the shape of w, with no axes in front.

- `matmul_forward(x, w) -> (out, cache)`: x is (..., n, k), with any number of axes in front or none; w is (k, m).
- `matmul_backward(dout, cache) -> (dx, dw)`.
[zh]
矩阵乘法：一次乘法的反向是两次乘法

    x (n, k)                     dx = dout w^T
    [ . . . ]                    (n, k) = (n, m) (m, k)
    [ . . . ]  @  w (k, m)  =  out (n, m)
                                 dw = x^T dout
                                 (k, m) = (k, n) (n, m)

out[i, j] 是 x[i, l] * w[l, j] 对 l 的和。所以 x[i, l] 在第 i 行的每一列 j 中各使用一次，它的梯度是 dout[i, j] * w[l, j]
对 j 的和：还是矩阵乘法。形状会告诉你是哪一个：由 dout 和 w 得到 (n, k) 只有一种方式。

在 GPT-2 中，x 前面还有轴，(..., n, k)：一批序列。它们共用同一个矩阵 w，所以每个矩阵的每一行都是 w 的一次使用，
而所有使用的梯度要相加。dw 与 w 形状相同，前面没有轴。

- `matmul_forward(x, w) -> (out, cache)`：x 为 (..., n, k)，前面的轴个数任意，也可以没有；w 为 (k, m)。
- `matmul_backward(dout, cache) -> (dx, dw)`。
"""

import numpy as np


def matmul_forward(x, w):
    """x (..., n, k), w (k, m) -> x w (..., n, m), and what backward needs."""
    # <hole>
    return x @ w, (x, w)
    # </hole>


def matmul_backward(dout, cache):
    """dout (..., n, m) -> dx (..., n, k), dw (k, m)."""
    # <hole>
    x, w = cache
    k, m = w.shape
    rows = np.reshape(x, (-1, k))
    drows = np.reshape(dout, (-1, m))
    return dout @ w.T, rows.T @ drows
    # </hole>
