r"""Accumulation: a large batch in small pieces

    batch of 7 rows                 mean loss of 7
    [ . . . ]  [ . . . ]  [ . ]
     3 rows     3 rows    1 row
       |          |         |
     mean       mean      mean      gradients of three small means
       * 3        * 3       * 1     weights: rows
        \_________|_________/
                 / 7                = gradient of the mean of all 7

A large batch may not fit into memory. Cut it into micro-batches, compute the gradients of one after the other, and add them up:
only one of them is in memory at a time. The result is to be that of the whole batch, to the last digits.

The loss is a mean over the rows of its batch. The mean of means is the mean of all only where all have as many rows; the last
micro-batch is often smaller. So each counts with its number of rows, and at the end everything is divided by the number of all
rows. That is known at the end only: the micro-batches come one by one.

- `split(x, y, size)` -> a list of micro-batches (x part, y part), of `size` rows each but for the last, which has what is left.
  x and y have as many rows; a row is an entry of axis 0.
- `accumulated(loss_and_gradients, batches)` -> (loss, gradients) of all rows together. `loss_and_gradients(x, y)` gives the
  mean loss of a micro-batch, a number, and a list of arrays, its gradients, which you may not write into. `batches` can be gone
  through once, with `for`; finish with each before you take the next one.
[zh]
梯度累积：把大批次分成小块

    7 行的批次                      7 行的平均 loss
    [ . . . ]  [ . . . ]  [ . ]
      3 行       3 行      1 行
       |          |         |
      平均       平均      平均     三个小平均值的梯度
       * 3        * 3       * 1     权重：行数
        \_________|_________/
                 / 7                = 全部 7 行平均值的梯度

大批次可能放不进内存。把它切成微批次，依次计算每个的梯度并相加：内存中同时只有一个。结果应与整个批次的结果一致，
直到最后几位数字。

loss 是批次各行的平均值。只有当各微批次行数相同时，平均值的平均值才等于总平均值；而最后一个微批次往往较小。
所以每个微批次按它的行数计入，最后再除以总行数。总行数到最后才知道：微批次是一个一个来的。

- `split(x, y, size)` -> 微批次 (x 的部分, y 的部分) 的列表，每个 `size` 行，最后一个为剩下的行。
  x 与 y 行数相同；一行指轴 0 的一个元素。
- `accumulated(loss_and_gradients, batches)` -> 全部行的 (loss, 梯度)。`loss_and_gradients(x, y)` 给出一个微批次的平均 loss
  （一个数）和它的梯度（数组的列表，不得改写）。`batches` 只能用 `for` 遍历一次；处理完一个，再取下一个。
"""


def split(x, y, size):
    """x (n, ...), y (n, ...), a number of rows -> a list of pairs."""
    # <hole>
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]
    # </hole>


def accumulated(loss_and_gradients, batches):
    """A function, pairs (x, y) -> the mean loss of all rows, its gradients."""
    # <hole>
    rows, total, sums = 0, 0.0, None
    for x, y in batches:
        loss, gradients = loss_and_gradients(x, y)
        rows += len(x)
        total += len(x) * loss
        parts = [len(x) * g for g in gradients]
        sums = parts if sums is None else [s + part for s, part in zip(sums, parts, strict=True)]
    return total / rows, [s / rows for s in sums]
    # </hole>
