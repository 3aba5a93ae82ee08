r"""Optimizers: from gradients to the next parameters

    gradients ---> clip: all together no longer than `most`
                    |
    step t ------> learning rate: warm-up, then down a cosine
                    |
    p, m, v -----> AdamW -----> new p, m, v

       lr |   /\__
          |  /    \__            a step of AdamW is about lr long in every
          | /        \__         entry, however large its gradients are
          +--------------- t

Nothing may be written into: return new arrays.

- `sgd(p, g, lr)` -> the new p: a step of length lr * g downhill.
- `adamw(p, g, m, v, t, lr, beta1, beta2, decay)` -> (p, m, v), all new. m and v begin as zeros and average g and its square:
  m = beta1 m + (1 - beta1) g, and v likewise with g * g and beta2. They begin too small, so m is divided by 1 - beta1**t and v
  by 1 - beta2**t, where t = 1 in the first step (what is returned is m and v before that division). Then p moves by -lr times
  m / (sqrt(v) + 1e-8). Weight decay is apart from the gradient ("decoupled"): p is also made smaller by lr * decay * p, with
  the old p.
- `clip(gradients, most)` -> (gradients, norm). `gradients` is a list of arrays, norm the root of the sum of the squares of all
  their entries. All are multiplied by min(1, most / (norm + 1e-6)).
- `learning_rate(t, peak, warmup, total, final)`, where t counts from 0: for t < warmup it is peak * (t + 1) / warmup; then half
  a cosine from peak, at t = warmup, to final, at t = total.
[zh]
优化器：从梯度到新的参数

    梯度 --------> 裁剪：总长度不超过 `most`
                    |
    第 t 步 -----> 学习率：预热，然后按余弦下降
                    |
    p, m, v -----> AdamW -----> 新的 p, m, v

       lr |   /\__
          |  /    \__            无论梯度多大，AdamW 的一步
          | /        \__         在每个元素上的长度大约为 lr
          +--------------- t

不得改写任何输入：返回新的数组。

- `sgd(p, g, lr)` -> 新的 p：沿下坡方向走 lr * g。
- `adamw(p, g, m, v, t, lr, beta1, beta2, decay)` -> (p, m, v)，均为新数组。m 和 v 从零开始，对 g 及其平方做平均：
  m = beta1 m + (1 - beta1) g，v 同理，用 g * g 和 beta2。它们起初偏小，所以 m 要除以 1 - beta1**t，v 要除以 1 - beta2**t，
  第一步 t = 1（返回的是除之前的 m 和 v）。然后 p 移动 -lr 乘以 m / (sqrt(v) + 1e-8)。权重衰减与梯度无关（“解耦”）：
  p 还要减去 lr * decay * p，其中用旧的 p。
- `clip(gradients, most)` -> (gradients, norm)。`gradients` 是数组的列表，norm 是所有元素平方和的平方根。
  全部乘以 min(1, most / (norm + 1e-6))。
- `learning_rate(t, peak, warmup, total, final)`，t 从 0 开始：t < warmup 时为 peak * (t + 1) / warmup；之后按半个余弦从
  peak（t = warmup）降到 final（t = total）。
"""

import numpy as np


def sgd(p, g, lr):
    """p, g -> the new p."""
    # <hole>
    return p - lr * g
    # </hole>


def adamw(p, g, m, v, t, lr, beta1, beta2, decay):
    """p, g, m, v of one shape -> the new p, m, v."""
    # <hole>
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    mean = m / (1 - beta1**t)
    square = v / (1 - beta2**t)
    step = mean / (np.sqrt(square) + 1e-8)
    return p - lr * step - lr * decay * p, m, v
    # </hole>


def clip(gradients, most):
    """A list of arrays -> a list of arrays, and their norm before."""
    # <hole>
    norm = np.sqrt(sum(np.sum(g * g) for g in gradients))
    factor = min(1.0, most / (norm + 1e-6))
    return [g * factor for g in gradients], norm
    # </hole>


def learning_rate(t, peak, warmup, total, final):
    """That of step t, from 0."""
    # <hole>
    if t < warmup:
        return peak * (t + 1) / warmup
    done = (t - warmup) / (total - warmup)
    return final + (peak - final) * (1 + np.cos(np.pi * done)) / 2
    # </hole>
