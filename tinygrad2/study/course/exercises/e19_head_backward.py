"""The causal head, backward: from the gradient of the result to those of q, k and v

    q    k
     \\  /
    scores ---- weights      v         forward:  weights = softmax(q k^T / sqrt(d)), masked
                      \\    /                     out = weights v
                       out

    dv       = weights^T dout                       every key handed its value to several queries: they add up
    dweights = dout v^T                             how much each weight mattered
    dscores  = weights (dweights - sum_s dweights weights)     softmax, row by row
    dq       = dscores k   / sqrt(d)
    dk       = dscores^T q / sqrt(d)

Read each line as the rule of a product of matrices: for Z = X Y it is dX = dZ Y^T and dY = X^T dZ. In scores = q k^T the
second factor is k^T, so that its gradient is q^T dscores, and that of k is this transposed.

The mask needs nothing of its own here. A weight that it hid is exactly 0, and the rule of softmax multiplies with the weight.

Write `causal_head_backward(dout, cache) -> (dq, dk, dv)`. `cache` is what your `causal_head_forward` gives: (q, k, v,
weights). `dout` is (..., T, e), with any number of axes in front.
[zh]
因果注意力头的反向传播：由结果的梯度求 q、k、v 的梯度

    q    k
     \\  /
    分数 ------ weights      v         前向：weights = softmax(q k^T / sqrt(d))，带掩码
                      \\    /                 out = weights v
                       out

    dv       = weights^T dout                       每个键把它的值交给了多个查询：要相加
    dweights = dout v^T                             每个权重的影响有多大
    dscores  = weights (dweights - sum_s dweights weights)     softmax，逐行
    dq       = dscores k   / sqrt(d)
    dk       = dscores^T q / sqrt(d)

每一行都是矩阵乘积的规则：对 Z = X Y，有 dX = dZ Y^T 和 dY = X^T dZ。在 scores = q k^T 中，第二个因子是 k^T，它的梯度为 q^T
dscores，再转置就是 k 的梯度。

这里不需要再处理掩码：被遮住的权重恰为 0，而 softmax 的规则会乘以权重。

请写出 `causal_head_backward(dout, cache) -> (dq, dk, dv)`。`cache` 是你的 `causal_head_forward` 给出的 (q, k, v, weights)。
`dout` 形状为 (..., T, e)，前面可以有任意多个轴。
"""

import numpy as np
from e18_causal_head import causal_head_forward  # the other half of the pair


def causal_head_backward(dout, cache):
    """dout (..., T, e) -> dq (..., T, d), dk (..., T, d), dv (..., T, e)."""
    # <hole>
    q, k, v, weights = cache
    dv = np.swapaxes(weights, -1, -2) @ dout
    dweights = dout @ np.swapaxes(v, -1, -2)
    along = np.sum(dweights * weights, axis=-1, keepdims=True)
    dscores = weights * (dweights - along)
    scale = np.sqrt(q.shape[-1])
    dq = dscores @ k / scale
    dk = np.swapaxes(dscores, -1, -2) @ q / scale
    return dq, dk, dv
    # </hole>
