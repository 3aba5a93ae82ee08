"""Optimizers: from gradients to the next parameters

    gradient ---> clip ---> mean of gradients  m ---.
       |                                             m / sqrt(v) ---> * rate ---> step
       '----------------->  mean of squares    v ---'

    rate     peak  /\\___
                  /     `--.__         warm-up, then half a cosine
                 /            `-.___
           step 0  warmup        total

SGD steps against the gradient: p - rate * g. AdamW keeps two running means for each number, of its gradient (m) and of the
square of its gradient (v), and divides one by the root of the other, so that every number moves by about the rate, however
large its gradients are:

    m = b1 m + (1 - b1) g                    both begin with 0, and so are too small at first:
    v = b2 v + (1 - b2) g^2                  after t steps, by the factors 1 - b1^t and 1 - b2^t
    p = p - rate * ( m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay * p )

The decay pulls weights toward 0. It stands outside of the means ("decoupled": it is not added to the gradient), and it is for
matrices only: arrays of two axes or more. Gains and biases do not decay.

Parameters and gradients are lists of arrays, one gradient for each parameter. Nothing that is handed in may be changed: return
new arrays.

- `sgd(parameters, gradients, rate)` -> a list of arrays.
- `adamw_start(parameters)` -> the state before the first step, `{"step": 0, "mean": [...], "square": [...]}`, with an array of
  zeros for each parameter in both lists.
- `adamw(parameters, gradients, state, rate, betas, eps, decay)` -> (a list of arrays, the next state). betas is (b1, b2);
  `step` counts the steps taken: it is 1 after the first.
- `clip(gradients, max_norm)` -> (a list of arrays, norm). The norm is that of all numbers of all gradients together, as it was
  before; above max_norm all are multiplied by max_norm / (norm + 1e-6), and otherwise they stay.
- `warmup_cosine(step, peak, warmup, total, final)` -> the rate of a step, counted from 0: (step + 1) / warmup of the peak in
  the first `warmup` steps, then along half a cosine from peak at step `warmup` to final at step `total`; final after that.
[zh]
优化器：由梯度得到下一步的参数

    梯度 ---> 裁剪 ---> 梯度的平均       m ---.
       |                                       m / sqrt(v) ---> * 学习率 ---> 一步
       '------------->  平方的平均       v ---'

    学习率  peak  /\\___
                 /     `--.__          预热，然后半个余弦
                /            `-.___
          step 0  warmup        total

SGD 沿梯度的反方向走：p - rate * g。AdamW 为每个数保存两个滑动平均：梯度的（m）和梯度平方的（v），
并用前者除以后者的平方根，于是不论梯度多大，每个数每步大约移动一个学习率：

    m = b1 m + (1 - b1) g                    二者都从 0 开始，所以起初偏小：
    v = b2 v + (1 - b2) g^2                  t 步之后，偏小的倍数为 1 - b1^t 和 1 - b2^t
    p = p - rate * ( m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay * p )

权重衰减把权重拉向 0。它在两个平均之外（“解耦”：不加到梯度里），并且只用于矩阵，即有两个或更多轴的数组。增益和偏置不衰减。

参数和梯度都是数组的列表，每个参数对应一个梯度。不得改变传入的任何东西：应返回新的数组。

- `sgd(parameters, gradients, rate)` -> 数组的列表。
- `adamw_start(parameters)` -> 第一步之前的状态 `{"step": 0, "mean": [...], "square": [...]}`，
  两个列表中对每个参数各有一个零数组。
- `adamw(parameters, gradients, state, rate, betas, eps, decay)` -> (数组的列表, 下一个状态)。betas 为 (b1, b2)；
  `step` 是已走的步数：第一步之后为 1。
- `clip(gradients, max_norm)` -> (数组的列表, 范数)。范数是所有梯度的所有数合在一起、裁剪之前的范数；
  超过 max_norm 时全部乘以 max_norm / (norm + 1e-6)，否则不变。
- `warmup_cosine(step, peak, warmup, total, final)` -> 从 0 数起的某一步的学习率：前 `warmup` 步为 peak 的
  (step + 1) / warmup，然后沿半个余弦，从第 `warmup` 步的 peak 降到第 `total` 步的 final；此后保持 final。
"""

import math

import numpy as np


def sgd(parameters, gradients, rate):
    """Lists of arrays, a number -> a list of arrays."""
    # <hole>
    return [p - rate * g for p, g in zip(parameters, gradients, strict=True)]
    # </hole>


def adamw_start(parameters):
    """A list of arrays -> the state before the first step."""
    # <hole>
    return {
        "step": 0,
        "mean": [np.zeros(p.shape) for p in parameters],
        "square": [np.zeros(p.shape) for p in parameters],
    }
    # </hole>


def adamw(parameters, gradients, state, rate, betas, eps, decay):
    """Lists of arrays, the state, numbers -> a list of arrays, the next state."""
    # <hole>
    b1, b2 = betas
    t = state["step"] + 1
    means = [b1 * m + (1 - b1) * g for m, g in zip(state["mean"], gradients, strict=True)]
    squares = [b2 * v + (1 - b2) * g**2 for v, g in zip(state["square"], gradients, strict=True)]
    moved = []
    for p, m, v in zip(parameters, means, squares, strict=True):
        m_hat = m / (1 - b1**t)
        v_hat = v / (1 - b2**t)
        pull = decay * p if p.ndim >= 2 else 0.0
        moved.append(p - rate * (m_hat / (np.sqrt(v_hat) + eps) + pull))
    return moved, {"step": t, "mean": means, "square": squares}
    # </hole>


def clip(gradients, max_norm):
    """A list of arrays, a number -> a list of arrays, their norm before."""
    # <hole>
    norm = math.sqrt(sum(np.sum(g**2) for g in gradients))
    factor = max_norm / (norm + 1e-6) if norm > max_norm else 1.0
    return [factor * g for g in gradients], norm
    # </hole>


def warmup_cosine(step, peak, warmup, total, final):
    """A step from 0, numbers -> the rate of that step."""
    # <hole>
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / (total - warmup))
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * progress))
    # </hole>
