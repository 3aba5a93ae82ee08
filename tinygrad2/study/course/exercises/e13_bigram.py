"""Bigram: a first language model on your own engine (milestone 1)

    text   a b a c a b            table (V, V)
           | | | | |                a  b  c     <- what comes next
    input  a b a c a            a [ .  .  . ]
    target b a c a b            b [ .  .  . ]   row: logits of the token after b
                                c [ .  .  . ]

    ids --> embedding --> logits --> cross-entropy --> loss
                ^                                        |
              table  <------------- backward ------------'

A language model gives each token that may come next a probability. The simplest looks at one token alone, the last: a table
with a row of logits for each. Here all that you have built comes together for the first time: the row is looked up with the
embedding, its surprise is the cross-entropy, your Tensor takes the gradient, and the table steps against it.

How good can it get? No model that sees one token only can do better than the counts of pairs. Where b comes after a in 3 of 4
cases, the best probability is 3/4; the mean of -log of these, over all pairs of the text, is the baseline that training must
come near.

`embedding` and `cross_entropy` below are functions of Tensors, made of your pairs with `op`.

- `pairs(ids)` -> (inputs, targets): ids (n,) -> each token but the last, and the token after each: (n - 1,) both.
- `loss(table, inputs, targets)` -> a Tensor, one number: table is a Tensor (V, V).
- `train(ids, vocabulary, steps, rate)` -> (losses, table): begin with an array of zeros (vocabulary, vocabulary), and take so
  many steps of gradient descent, table - rate * gradient, each on the whole text. `losses` is a list with the loss before each
  step; `table` is the array after the last.
- `baseline(ids, vocabulary)` -> the mean of -log(count of the pair / count of its first token), over all pairs of the text,
  where both counts are of pairs.
[zh]
Bigram（二元语法）：在自己的引擎上训练第一个语言模型（里程碑 1）

    文本   a b a c a b            table (V, V)
           | | | | |                a  b  c     <- 下一个 token
    输入   a b a c a            a [ .  .  . ]
    目标   b a c a b            b [ .  .  . ]   行：b 之后的 token 的 logits
                                c [ .  .  . ]

    ids --> 嵌入 --> logits --> 交叉熵 --> loss
              ^                              |
            table  <-------- 反向传播 -------'

语言模型给每个可能的下一个 token 一个概率。最简单的模型只看一个 token，即最后一个：一张表，每个 token 对应一行 logits。
到目前为止你所写的一切在这里第一次合到一起：用嵌入取出一行，用交叉熵衡量意外程度，用你的 Tensor 求梯度，表再沿梯度的反方向
走一步。

它能达到多好？只看一个 token 的模型不可能胜过对相邻 token 对的计数。若 a 之后 4 次中有 3 次是 b，最好的概率就是 3/4；
对文本中所有的对，取这些概率的 -log 的平均值，就是训练应当接近的基线。

下面的 `embedding` 和 `cross_entropy` 是 Tensor 的函数，由你的函数对通过 `op` 得到。

- `pairs(ids)` -> (inputs, targets)：ids (n,) -> 除最后一个以外的每个 token，以及各自的下一个 token：均为 (n - 1,)。
- `loss(table, inputs, targets)` -> 一个 Tensor，只含一个数：table 是 Tensor (V, V)。
- `train(ids, vocabulary, steps, rate)` -> (losses, table)：从零数组 (vocabulary, vocabulary) 开始，做若干步梯度下降，
  table - rate * 梯度，每步使用整个文本。`losses` 是每一步之前的 loss 的列表；`table` 是最后一步之后的数组。
- `baseline(ids, vocabulary)` -> 对文本中所有的对，取 -log(该对的次数 / 其第一个 token 的次数) 的平均值，两个次数都在对中计数。
"""

import numpy as np
from e08_tensor import Tensor, op
from e11_cross_entropy import cross_entropy_backward, cross_entropy_forward
from e12_embedding import embedding_backward, embedding_forward

embedding = op(embedding_forward, embedding_backward)
cross_entropy = op(cross_entropy_forward, cross_entropy_backward)


def pairs(ids):
    """integers (n,) -> inputs (n - 1,), targets (n - 1,)."""
    # <hole>
    return ids[:-1], ids[1:]
    # </hole>


def loss(table, inputs, targets):
    """Tensor (V, V), integers (n,), integers (n,) -> Tensor ()."""
    # <hole>
    return cross_entropy(embedding(inputs, table), targets)
    # </hole>


def train(ids, vocabulary, steps, rate):
    """integers (n,), V, numbers -> a list of losses, an array (V, V)."""
    # <hole>
    inputs, targets = pairs(ids)
    data = np.zeros((vocabulary, vocabulary))
    losses = []
    for _ in range(steps):
        table = Tensor(data)
        now = loss(table, inputs, targets)
        now.backward()
        losses.append(float(now.data))
        data = data - rate * table.grad
    return losses, data
    # </hole>


def baseline(ids, vocabulary):
    """integers (n,), V -> the loss that counting pairs reaches."""
    # <hole>
    inputs, targets = pairs(ids)
    counts = np.zeros((vocabulary, vocabulary))
    np.add.at(counts, (inputs, targets), 1)
    rows = np.sum(counts, axis=1)
    return -np.mean(np.log(counts[inputs, targets] / rows[inputs]))
    # </hole>
