"""Accumulation: a batch that is too large for the memory, in parts

    batch of 7       [ 0 1 2 ]   [ 3 4 5 ]   [ 6 ]       micro-batches
                         |           |         |
    mean losses         L_0         L_1       L_2        each the mean over its own rows
                          \\          |         /
                        (3 L_0 + 3 L_1 + 1 L_2) / 7      the mean over all rows

A mean of means is not the mean: a part counts by its size. With gradients it is the same, since the gradient of a sum is the
sum of the gradients.

- `accumulated(loss_and_gradients, rows, size)` -> (loss, gradients), those of all `rows` together. `rows` is an array whose
  first axis is cut into parts of `size` rows, the last of which may be shorter. `loss_and_gradients(part)` gives the mean loss
  of a part, a number, and a dictionary of its gradients, arrays by name. It owns these arrays: do not write into them.
- `masked(loss_and_gradients, rows, counted, size)` -> the same where only some rows count: those for which `counted`, an array
  of bools, is True. `loss_and_gradients(part)` is asked for these alone, and not at all where a part has none. (So padding is
  left out.) One row at least counts.
[zh]
梯度累积：内存放不下的批次，分成几份

    批次 7 行        [ 0 1 2 ]   [ 3 4 5 ]   [ 6 ]       微批次
                         |           |         |
    平均损失            L_0         L_1       L_2        各自对自己的行取平均
                          \\          |         /
                        (3 L_0 + 3 L_1 + 1 L_2) / 7      对所有行的平均

平均的平均不是总平均：每一份要按大小计权。梯度也一样，因为和的梯度等于梯度的和。

- `accumulated(loss_and_gradients, rows, size)` -> (loss, gradients)，即全部 `rows` 的损失与梯度。`rows` 是数组，沿第一个轴切成
  每份 `size` 行，最后一份可以更短。`loss_and_gradients(part)` 给出一份的平均损失（一个数）以及梯度的字典（按名称的数组）。
  这些数组属于它：不要改写。
- `masked(loss_and_gradients, rows, counted, size)` -> 同上，但只计入布尔数组 `counted` 为 True 的行：只对这些行调用
  `loss_and_gradients(part)`，某一份中一行也没有时则不调用（这样就略去了填充）。至少有一行计入。
"""

import numpy as np


def accumulated(loss_and_gradients, rows, size):
    """rows (n, ...) -> the mean loss, and its gradients by name."""
    # <hole>
    return masked(loss_and_gradients, rows, np.ones(len(rows), bool), size)
    # </hole>


def masked(loss_and_gradients, rows, counted, size):
    """rows (n, ...), counted (n,) -> the mean loss of the rows that count, and its gradients by name."""
    # <hole>
    loss, gradients = 0.0, {}
    for start in range(0, len(rows), size):
        part = rows[start : start + size][counted[start : start + size]]
        if not len(part):
            continue
        share = len(part) / np.sum(counted)
        its_loss, its_gradients = loss_and_gradients(part)
        loss = loss + share * its_loss
        for name, g in its_gradients.items():
            gradients[name] = gradients.get(name, 0.0) + share * g
    return loss, gradients
    # </hole>
