"""The product with a matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Pair, Probe, Text, reference


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    for x, w in (
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
    ],
)
