"""Several heads: cut into columns, split into heads, and put together again

    x (B, T, C), here B = 1, T = 2, C = 6, and H = 3 heads of d = C/H = 2 columns

                head 0   head 1   head 2          reshape             transpose
    token 0  [  a0 a1 |  b0 b1 |  c0 c1 ]    ->   (B, T, H, d)   ->   (B, H, T, d)
    token 1  [  a2 a3 |  b2 b3 |  c2 c3 ]

    head 0: [ a0 a1 ]    head 1: [ b0 b1 ]   head 2: [ c0 c1 ]
            [ a2 a3 ]            [ b2 b3 ]           [ c2 c3 ]

A head is attention on some of the columns. All heads are computed at once when they stand on an axis in front of T and d:
your `causal_head_forward` takes any axes there. `reshape` alone cannot move an axis: it reads the numbers in their order and
writes them in the same order. It cuts the last axis in two; `transpose` then moves the heads to the front.

Queries, keys and values come out of a single product, side by side: (B, T, 3C). To take them apart needs one more pair. What
was not taken has the gradient 0, and where a Tensor is cut three times, your engine adds up the three.

- `columns_forward(x, start, stop) -> (out, cache)`: columns start to stop - 1 of the last axis of an array x.
- `columns_backward(dout, cache) -> dx`, of the shape of x: dout in these columns, 0 in all others.
- `split_heads(x, H)`: a Tensor (B, T, C) -> (B, H, T, C/H). Use what your Tensor can do: it knows the gradients already.
- `merge_heads(x)`: the way back, (B, H, T, d) -> (B, T, H d).
[zh]
多个头：按列切开，分成头，再合起来

    x (B, T, C)，这里 B = 1，T = 2，C = 6，H = 3 个头，每头 d = C/H = 2 列

                头 0     头 1     头 2            reshape             transpose
    token 0  [  a0 a1 |  b0 b1 |  c0 c1 ]    ->   (B, T, H, d)   ->   (B, H, T, d)
    token 1  [  a2 a3 |  b2 b3 |  c2 c3 ]

    头 0：  [ a0 a1 ]    头 1：  [ b0 b1 ]   头 2：  [ c0 c1 ]
            [ a2 a3 ]            [ b2 b3 ]           [ c2 c3 ]

一个头就是在一部分列上做的注意力。把头的轴放在 T 和 d 之前，就能一次算出所有的头：你的 `causal_head_forward` 前面可以有任意多
个轴。单用 `reshape` 不能移动轴：它按顺序读出这些数，又按同样的顺序写入。它把最后一个轴一分为二；再用 `transpose` 把头的轴移到
前面。

查询、键和值由一次乘法算出，并排放在一起：(B, T, 3C)。把它们分开还需要一对函数。没有取到的列梯度为 0；同一个 Tensor 被切了三次
时，你的引擎会把三份梯度相加。

- `columns_forward(x, start, stop) -> (out, cache)`：数组 x 最后一个轴的第 start 到 stop - 1 列。
- `columns_backward(dout, cache) -> dx`，形状与 x 相同：这些列为 dout，其余为 0。
- `split_heads(x, H)`：Tensor (B, T, C) -> (B, H, T, C/H)。用你的 Tensor 已有的运算：它已经知道梯度。
- `merge_heads(x)`：反过来，(B, H, T, d) -> (B, T, H d)。
"""

import numpy as np
from e08_tensor import Tensor, op  # the engine that the functions below run on


def columns_forward(x, start, stop):
    """x (..., n) -> (..., stop - start), and what backward needs."""
    # <hole>
    return x[..., start:stop], (x.shape, start, stop)
    # </hole>


def columns_backward(dout, cache):
    """dout (..., stop - start) -> dx (..., n)."""
    # <hole>
    shape, start, stop = cache
    dx = np.zeros(shape)
    dx[..., start:stop] = dout
    return dx
    # </hole>


def split_heads(x, H):
    """A Tensor (B, T, C) -> (B, H, T, C/H)."""
    # <hole>
    B, T, C = x.shape
    return x.reshape(B, T, H, C // H).transpose(0, 2, 1, 3)
    # </hole>


def merge_heads(x):
    """A Tensor (B, H, T, d) -> (B, T, H d)."""
    # <hole>
    B, H, T, d = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, T, H * d)
    # </hole>
