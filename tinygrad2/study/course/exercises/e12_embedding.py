"""Embedding: a row for each token, and a token that comes twice

    ids [2 0 2]         weight (V, C)          out (3, C)

          2 ----------> row 0  . . .           row 2
          0 ----------> row 1  . . .   --->    row 0
          2 ----------> row 2  . . .           row 2

    dweight: row 2 gets the gradients of both its uses, row 1 gets 0

The first thing that a language model does is to look up a row of a table for each token. No number is computed, so the
gradient of each row of the result goes back to the row it was read from. A token may come several times, in a text most do,
and then its row was used several times: the gradients add up. Rows that no token asked for have the gradient 0.

In NumPy, `table[ids] += rows` keeps one only of several rows that go to the same place; `np.add.at` adds them all.

- `embedding_forward(ids, weight) -> (out, cache)`: ids (...) are integers from 0 to V - 1, weight is (V, C), out is (..., C).
- `embedding_backward(dout, cache) -> dweight`: ids have no gradient.
[zh]
嵌入：每个 token 一行，以及重复出现的 token

    ids [2 0 2]         weight (V, C)          out (3, C)

          2 ----------> 第 0 行 . . .          第 2 行
          0 ----------> 第 1 行 . . .  --->    第 0 行
          2 ----------> 第 2 行 . . .          第 2 行

    dweight：第 2 行得到它两次使用的梯度，第 1 行得到 0

语言模型做的第一件事，是为每个 token 从表中取出一行。这里不计算任何数，所以结果每一行的梯度都回到它被读出的那一行。
一个 token 可以出现多次（文本中大多如此），它的行就被使用了多次：梯度要相加。没有 token 用到的行，梯度为 0。

在 NumPy 中，若有几行去往同一位置，`table[ids] += rows` 只保留其中一行；`np.add.at` 会把它们全部加上。

- `embedding_forward(ids, weight) -> (out, cache)`：ids 为 (...)，是 0 到 V - 1 的整数，weight 为 (V, C)，out 为 (..., C)。
- `embedding_backward(dout, cache) -> dweight`：ids 没有梯度。
"""

import numpy as np


def embedding_forward(ids, weight):
    """integers (...), weight (V, C) -> rows (..., C), and what backward needs."""
    # <hole>
    return weight[ids], (ids, weight.shape)
    # </hole>


def embedding_backward(dout, cache):
    """dout (..., C) -> dweight (V, C)."""
    # <hole>
    ids, shape = cache
    dweight = np.zeros(shape)
    np.add.at(dweight, ids, dout)
    return dweight
    # </hole>
