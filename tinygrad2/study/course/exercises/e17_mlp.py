"""An MLP language model: the first model of your own that sees more than one token (milestone 2)

    the last n tokens        ids         5        2        7          n = 3
                             |           |        |        |
    a row of the table     (N, n, C)   [ .... ] [ .... ] [ .... ]     the same table for every place
                             |              \\     |     /
    side by side           (N, n C)    [ .... .... .... ]
                             |                   |
    hidden layer           (N, H)      tanh( x w1 + b1 )
                             |                   |
    logits                 (N, V)           hidden w2 + b2  ------->  cross-entropy with the token that comes next

This is the neural language model of Bengio et al. (2003). A bigram model knows one token and has a row of numbers for it;
with n tokens such a table would need V**n rows. Here every token becomes a point in C dimensions instead, and a network reads
n points side by side: what it learns of one context serves for similar ones. Its loss must fall below the best that any
bigram model can reach, and the check compares the two.

Parameters are a dict `p`: "embedding" (V, C), "w1" (n C, H), "b1" (H,), "w2" (H, V), "b2" (V,). Write three functions:

- `contexts(ids, n) -> (windows, targets)`: for every token that has n tokens before it, these n in their order, (N, n), and
  the token itself, (N,). `ids` is an array of N + n integers.
- `logits(windows, p)`: windows an array of integers, p a dict of Tensors -> a Tensor (N, V).
- `train(windows, targets, p, steps, lr) -> (losses, p)`: p a dict of arrays, which stays as it is; the new one is returned.
  Each step takes the gradients of the mean loss of all windows, and then one step of your `adamw` for each parameter, with
  beta1 = 0.9, beta2 = 0.99, and a decay of 0.01 for matrices and none for biases. `losses` is a list of numbers: the loss of
  each step, before its update.

Make new Tensors from the arrays in every step: gradients add up in those that stay.
[zh]
MLP 语言模型：第一个能看到多个 token 的模型（里程碑 2）

    最后 n 个 token          ids         5        2        7          n = 3
                             |           |        |        |
    嵌入表的一行           (N, n, C)   [ .... ] [ .... ] [ .... ]     每个位置用同一张表
                             |              \\     |     /
    并排放置               (N, n C)    [ .... .... .... ]
                             |                   |
    隐藏层                 (N, H)      tanh( x w1 + b1 )
                             |                   |
    logits                 (N, V)           hidden w2 + b2  ------->  与下一个 token 的交叉熵

这就是 Bengio 等人（2003）的神经语言模型。bigram 模型只知道一个 token，每个 token 对应一行数；若用 n 个 token，这样的表需要
V**n 行。这里每个 token 变成 C 维空间中的一个点，网络把 n 个点并排读入：从一个上下文学到的东西，对相似的上下文也有用。它的损失
必须低于任何bigram 模型所能达到的最好值，检查会比较这两者。

参数是字典 `p`："embedding" (V, C)、"w1" (n C, H)、"b1" (H,)、"w2" (H, V)、"b2" (V,)。请写出三个函数：

- `contexts(ids, n) -> (windows, targets)`：对前面有 n 个 token 的每个 token，给出这 n 个 token（按原来的顺序），(N, n)，以及
  它本身，(N,)。`ids` 是 N + n 个整数的数组。
- `logits(windows, p)`：windows 为整数数组，p 为 Tensor 的字典 -> Tensor (N, V)。
- `train(windows, targets, p, steps, lr) -> (losses, p)`：p 为数组的字典，保持不变；返回新的字典。每一步先求所有窗口平均损失的
  梯度，再对每个参数用你的 `adamw` 走一步，beta1 = 0.9，beta2 = 0.99，矩阵的权重衰减为 0.01，偏置不衰减。`losses` 是数的列表：
  每一步更新之前的损失。

每一步都要由数组建立新的 Tensor：梯度会在保留下来的 Tensor 中累加。
"""

import numpy as np
from e08_tensor import Tensor, op
from e09_activations import tanh_backward, tanh_forward
from e11_cross_entropy import cross_entropy_backward, cross_entropy_forward
from e12_embedding import embedding_backward, embedding_forward
from e14_optimizers import adamw

tanh = op(tanh_forward, tanh_backward)
cross_entropy = op(cross_entropy_forward, cross_entropy_backward)
embedding = op(embedding_forward, embedding_backward)


def contexts(ids, n):
    """ids (N + n,) -> windows (N, n), targets (N,)."""
    # <hole>
    N = len(ids) - n
    windows = np.stack([ids[i : i + N] for i in range(n)], axis=1)
    return windows, ids[n:]
    # </hole>


def logits(windows, p):
    """windows (N, n), a dict of Tensors -> a Tensor (N, V)."""
    # <hole>
    N, n = windows.shape
    C = p["embedding"].shape[1]
    x = embedding(windows, p["embedding"]).reshape(N, n * C)
    hidden = tanh(x @ p["w1"] + p["b1"])
    return hidden @ p["w2"] + p["b2"]
    # </hole>


def train(windows, targets, p, steps, lr):
    """windows (N, n), targets (N,), a dict of arrays -> a list of losses, a new dict of arrays."""
    # <hole>
    p = dict(p)
    moments = {name: (np.zeros(x.shape), np.zeros(x.shape)) for name, x in p.items()}
    losses = []
    for t in range(1, steps + 1):
        tensors = {name: Tensor(x) for name, x in p.items()}
        loss = cross_entropy(logits(windows, tensors), targets)
        loss.backward()
        losses.append(float(loss.data))
        for name, x in tensors.items():
            m, v = moments[name]
            decay = 0.01 if x.data.ndim > 1 else 0.0
            p[name], m, v = adamw(x.data, x.grad, m, v, t, lr, 0.9, 0.99, decay)
            moments[name] = m, v
    return losses, p
    # </hole>
