"""A causal head: each position gathers from itself and from what came before it

     q k^T / sqrt(d)           mask                softmax of rows         @ v
    [ 0.3  0.9 -0.2 ]    [ 0.3  -inf  -inf ]    [ 1     0     0    ]    [ v_0               ]
    [ 1.1  0.4  0.7 ] -> [ 1.1   0.4  -inf ] -> [ 0.67  0.33  0    ] -> [ a mean of v_0 v_1 ]
    [ 0.2  0.5  0.1 ]    [ 0.2   0.5   0.1 ]    [ 0.31  0.41  0.28 ]    [ of all three      ]

Each of the T positions has a query (what it looks for), a key (what it offers to be found by) and a value (what it hands
over). The score of position t for position s is the inner product of the query of t and the key of s. Scores grow with the
square root of the number of entries d that are added up, and large scores make a softmax that looks at one place only; hence
the division by sqrt(d).

A model that is to predict the next token must not see it. So the scores above the diagonal, where s comes after t, become
-inf *before* the softmax: exp(-inf) is exactly 0, and the weights that are left add up to 1.

Write `causal_head_forward(q, k, v) -> (out, cache)`, for any number of axes in front (batches, heads).

- `q` and `k` are (..., T, d); `v` is (..., T, e), and e need not be d. `out` is (..., T, e).
- `cache` is the tuple `(q, k, v, weights)`, where `weights` (..., T, T) is what the softmax gave: the next exercise needs
  them.

Your `softmax_forward` is imported.
[zh]
因果注意力头：每个位置从自己和之前的位置收集信息

     q k^T / sqrt(d)           掩码                按行 softmax            @ v
    [ 0.3  0.9 -0.2 ]    [ 0.3  -inf  -inf ]    [ 1     0     0    ]    [ v_0               ]
    [ 1.1  0.4  0.7 ] -> [ 1.1   0.4  -inf ] -> [ 0.67  0.33  0    ] -> [ v_0、v_1 的加权和 ]
    [ 0.2  0.5  0.1 ]    [ 0.2   0.5   0.1 ]    [ 0.31  0.41  0.28 ]    [ 三者的加权和      ]

T 个位置各有一个查询（在找什么）、一个键（凭什么被找到）和一个值（交出什么）。位置 t 对位置 s 的分数是 t 的查询与 s 的键的内
积。内积由 d 项相加而成，其大小随 d 的平方根增长；分数过大时，softmax 只会看一个位置，所以要除以 sqrt(d)。

要预测下一个 token 的模型不能看到它。因此对角线以上（s 在 t 之后）的分数要在 softmax *之前*变为 -inf：exp(-inf) 恰为 0，其余的
权重之和为 1。

请写出 `causal_head_forward(q, k, v) -> (out, cache)`，前面可以有任意多个轴（批次、头）。

- `q` 和 `k` 形状为 (..., T, d)；`v` 为 (..., T, e)，e 不必等于 d。`out` 为 (..., T, e)。
- `cache` 为元组 `(q, k, v, weights)`，其中 `weights` (..., T, T) 是 softmax 的结果：下一个练习需要它们。

你写的 `softmax_forward` 已经导入。
"""

import numpy as np
from e10_softmax import softmax_forward


def causal_head_forward(q, k, v):
    """q, k (..., T, d), v (..., T, e) -> out (..., T, e), and the cache (q, k, v, weights)."""
    # <hole>
    T, d = q.shape[-2:]
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(d)
    future = np.triu(np.ones((T, T)), k=1)
    weights = softmax_forward(np.where(future, -np.inf, scores))[0]
    return weights @ v, (q, k, v, weights)
    # </hole>
