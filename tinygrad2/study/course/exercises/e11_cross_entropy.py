"""Cross-entropy: how surprised the model is by what comes next

    logits [ 1.0   2.0   4.0 ]      target 1
              softmax
    p      [ 0.04  0.11  0.84 ]
                    |
                 -log 0.11 = 2.2    the loss of this position, in nats

    gradient [ 0.04  0.11 - 1  0.84 ] / n

The loss of one position is -log of the probability that the model gives to the token that does come next; the loss is the mean
over all n positions. Without exp of a large number:

    -log p[target] = log(sum_j exp(x_j - max)) - (x[target] - max)

Its gradient is as simple as gradients get. Raising a logit raises its probability at the cost of all others, and after all
terms of the chain rule are put together, what is left is p - y: the probabilities minus 1 at the target. Every position has a
weight of 1 / n, since the loss is a mean.

- `cross_entropy_forward(logits, targets) -> (loss, cache)`: logits (..., V); targets (...) are integers from 0 to V - 1; the
  loss is one number. There may be several axes in front, or none. Logits may be as large as 1000.
- `cross_entropy_backward(dloss, cache) -> dlogits`: dloss is one number. Targets have no gradient.
[zh]
交叉熵：模型对下一个 token 有多意外

    logits [ 1.0   2.0   4.0 ]      target 1
              softmax
    p      [ 0.04  0.11  0.84 ]
                    |
                 -log 0.11 = 2.2    这个位置的 loss，单位为 nat

    梯度   [ 0.04  0.11 - 1  0.84 ] / n

一个位置的 loss 是模型给真正的下一个 token 的概率取 -log；总的 loss 是全部 n 个位置的平均值。为了避免对很大的数取 exp：

    -log p[target] = log(sum_j exp(x_j - max)) - (x[target] - max)

它的梯度再简单不过。提高一个 logit 会提高它的概率，同时降低所有其他的概率；把链式法则的各项合在一起，剩下的就是 p - y：
概率减去目标处的 1。因为 loss 是平均值，每个位置的权重是 1 / n。

- `cross_entropy_forward(logits, targets) -> (loss, cache)`：logits 为 (..., V)；targets 为 (...)，是 0 到 V - 1 的整数；
  loss 是一个数。前面可以有几个轴，也可以没有。logits 可能大到 1000。
- `cross_entropy_backward(dloss, cache) -> dlogits`：dloss 是一个数。targets 没有梯度。
"""

import numpy as np


def cross_entropy_forward(logits, targets):
    """logits (..., V), integers (...) -> the mean of -log p[target], and what backward needs."""
    # <hole>
    rows = np.reshape(logits, (-1, logits.shape[-1]))
    places = (np.arange(len(rows)), np.reshape(targets, -1))
    shifted = rows - np.max(rows, axis=-1, keepdims=True)
    logs = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    return -np.mean(logs[places]), (logs, places, logits.shape)
    # </hole>


def cross_entropy_backward(dloss, cache):
    """dloss, a number -> dlogits (..., V)."""
    # <hole>
    logs, places, shape = cache
    g = np.exp(logs)
    g[places] -= 1
    return np.reshape(g * dloss / len(g), shape)
    # </hole>
