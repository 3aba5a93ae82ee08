"""The product with a matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Pair, Probe, Text, reference


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    for x, w in (
        ((2, 3), (3, 3)),
        ((3, 3), (3, 4)),
        ((2, 3), (3, 4)),
        ((3, 3), (3, 3)),
        ((1, 3), (3, 2)),
        ((3, 1), (1, 2)),
        ((2, 3), (3, 1)),
        ((2, 4, 3), (3, 5)),
        ((3, 3, 3), (3, 3)),
        ((2, 1, 4, 3), (3, 2)),
    ):
        yield Pair(theirs.matmul_forward, theirs.matmul_backward, draw.normal(*x), draw.normal(*w))


EXERCISE = Exercise(
    week=2,
    minutes=35,
    show=show,
    ours=reference(matmul=lambda x, w: x @ w),
    idea=Text(
        "Write the shapes side by side: (n, k) is to come of (n, m) and (k, m), and (k, m) of (n, k) and (n, m). For axes in "
        "front, make of x one long matrix of rows.",
        "把形状并排写出来：由 (n, m) 和 (k, m) 得到 (n, k)，由 (n, k) 和 (n, m) 得到 (k, m)。前面有轴时，把 x "
        "变成一个由所有行组成的长矩阵。",
    ),
    mistakes=[
        Mistake(
            "return dout @ w.T, rows.T @ drows",
            "return dout @ w, rows.T @ drows",
            Text(
                "w is not transposed in the gradient of x: dx = dout w^T. With a square w the shapes do not tell.",
                "x 的梯度中没有转置 w：dx = dout w^T。w 为方阵时，从形状看不出来。",
            ),
        ),
        Mistake(
            "return dout @ w.T, rows.T @ drows",
            "return dout @ w.T, drows.T @ rows",
            Text(
                "The gradient of w comes out transposed, as (m, k): dw = x^T dout.",
                "w 的梯度被转置了，成为 (m, k)：dw = x^T dout。",
            ),
        ),
        Mistake(
            "return dout @ w.T, rows.T @ drows",
            "return dout @ w.T, np.swapaxes(x, -1, -2) @ dout",
            Text(
                "Each matrix of the batch gives a gradient of its own; w is one for all, so sum over the axes in front.",
                "批次中的每个矩阵各得到一个梯度；而 w 是共用的，要沿前面的轴求和。",
            ),
        ),
        Mistake(
            "return dout @ w.T, rows.T @ drows",
            "gradient = np.swapaxes(x, -1, -2) @ dout\n    return dout @ w.T, np.mean(gradient, axis=tuple(range(x.ndim - 2)))",
            Text(
                "The mean over the batch is taken, and not the sum: each matrix is a use of w.",
                "对批次取了平均值而不是求和：每个矩阵都是 w 的一次使用。",
            ),
        ),
        Mistake(
            "return dout @ w.T, rows.T @ drows",
            "return rows.T @ drows, dout @ w.T",
            Text(
                "The two gradients are swapped: first that of x, then that of w.",
                "两个梯度的顺序反了：先是 x 的，再是 w 的。",
            ),
        ),
        Mistake(
            "return dout @ w.T, rows.T @ drows",
            "return dout @ w.T, rows.T @ drows / len(rows)",
            Text(
                "The gradient of w is divided by the number of rows: that belongs to the loss, where it takes a mean.",
                "w 的梯度除以了行数：取平均是 loss 的事，不属于这里。",
            ),
        ),
        Mistake(
            "rows = np.reshape(x, (-1, k))",
            "rows = np.reshape(np.swapaxes(x, -1, -2), (-1, k))",
            Text(
                "The matrices of x are transposed before they are made one: a row is then no longer a row of x.",
                "在合并之前转置了 x 的各个矩阵：这样每一行就不再是 x 的行了。",
            ),
        ),
        Mistake(
            "return dout @ w.T, rows.T @ drows",
            "return np.sum(w, axis=-1) * np.ones_like(x), np.sum(rows, axis=0)[:, None] * np.ones_like(w)",
            Text(
                "dout is not used: this is the gradient of the sum of all entries of the result.",
                "没有使用 dout：这是结果所有元素之和的梯度。",
            ),
        ),
        Mistake(
            "return x @ w, (x, w)",
            "return np.dot(w.T, x.T).T, (x, w)",
            Text(
                "Transposing all axes turns round those in front as well: x w is the same for each matrix, with x @ w.",
                "转置所有轴时，前面的轴也被倒过来了：对每个矩阵做同样的乘法，用 x @ w。",
            ),
        ),
        Mistake(
            "return dout @ w.T, rows.T @ drows",
            "return w.T @ dout, rows.T @ drows",
            Text(
                "The order is the other way round: the gradient of the left factor has dout on the left, dx = dout "
                "w^T. With a square w and x the shapes do not tell.",
                "次序反了：左因子的梯度中 dout 在左边，dx = dout w^T。x 和 w 都是方阵时，从形状看不出来。",
            ),
        ),
        Mistake(
            "return dout @ w.T, rows.T @ drows",
            "return dout @ w.T, drows @ rows.T",
            Text(
                "The gradient of the right factor has dout on the right: dw = x^T dout, as (k, n) (n, m).",
                "右因子的梯度中 dout 在右边：dw = x^T dout，即 (k, n) (n, m)。",
            ),
        ),
        Mistake(
            "return dout @ w.T, rows.T @ drows",
            "return dout @ w.T, x.T @ dout",
            Text(
                "x.T turns all axes round, also those in front: of a batch (2, n, k) it makes (k, n, 2). Make of x "
                "and dout one long matrix of rows each, then transpose.",
                "x.T 把所有的轴都倒过来，包括前面的轴：批次 (2, n, k) 变成了 (k, n, 2)。应先把 x 和 dout "
                "各合成一个由所有行组成的长矩阵，再转置。",
            ),
        ),
        Mistake(
            "return dout @ w.T, rows.T @ drows",
            "gradient = np.swapaxes(x, -1, -2) @ dout\n"
            "    return dout @ w.T, np.sum(gradient, axis=0) if x.ndim > 2 else gradient",
            Text(
                "The gradient of w is summed over axis 0 alone; there may be several axes in front, and all of them "
                "are to be summed.",
                "w 的梯度只沿轴 0 求和了；前面可能有多个轴，要沿所有这些轴求和。",
            ),
        ),
        Mistake(
            "return dout @ w.T, rows.T @ drows",
            "gradient = np.swapaxes(x, -1, -2) @ dout\n"
            "    return dout @ w.T, np.mean(gradient, axis=0) if x.ndim > 2 else gradient",
            Text(
                "The mean over the batch, axis 0, is taken, and not the sum: each matrix is a use of w.",
                "对批次（轴 0）取了平均值而不是求和：每个矩阵都是 w 的一次使用。",
            ),
        ),
        Mistake(
            "return dout @ w.T, rows.T @ drows",
            "gradient = np.swapaxes(x, -1, -2) @ dout\n    return dout @ w.T, np.sum(gradient, axis=0)",
            Text(
                "The gradient of w is summed over axis 0 also where x is one matrix, and loses its own axis k: sum "
                "over the axes in front, of which there may be none.",
                "x 只是一个矩阵时也沿轴 0 求和，丢掉了 w 自己的轴 k：应沿前面的轴求和，而前面可能没有轴。",
            ),
        ),
        Mistake(
            "return dout @ w.T, rows.T @ drows",
            "gradient = np.swapaxes(x, -1, -2) @ dout\n    return dout @ w.T, np.mean(gradient, axis=0)",
            Text(
                "The mean over axis 0 is taken: each matrix is a use of w, so they are to be summed; and where x is "
                "one matrix, axis 0 is that of w itself.",
                "沿轴 0 取了平均值：每个矩阵都是 w 的一次使用，应当求和；而 x 只是一个矩阵时，轴 0 是 w 自己的轴。",
            ),
        ),
    ],
)
