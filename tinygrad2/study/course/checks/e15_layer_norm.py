"""Layer norm over the last axis, with gain and bias."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad2 import ops
from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Pair, Probe, Text, reference


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    for shape in ((4, 5), (2, 3, 4), (5,), (3, 3), (1, 6)):
        x = draw.normal(*shape) * 2 + 1
        yield Pair(theirs.layer_norm_forward, theirs.layer_norm_backward, x, draw.normal(shape[-1]), draw.normal(shape[-1]))
    small = draw.normal(2, 4) * 1e-3 + np.array([[0.0], [5.0]])  # where 1e-5 counts
    yield Pair(theirs.layer_norm_forward, theirs.layer_norm_backward, small, draw.normal(4), draw.normal(4))


EXERCISE = Exercise(
    week=4,
    minutes=60,
    show=show,
    ours=reference(layer_norm=lambda x, gain, bias: ops.layer_norm(x, gain, bias)),
    idea=Text(
        "Forward: keep n, std and gain for backward; use keepdims=True in every mean. Backward: gain and bias first, they are "
        "sums over all axes but the last.",
        "前向：为反向保留 n、std 和 gain；每个平均都用 keepdims=True。反向：先算 gain 和 bias，对最后一个轴以外的各轴求和。",
    ),
    mistakes=[
        Mistake(
            "h - of_mean - of_variance",
            "h - of_variance",
            Text(
                "The part of the mean is left out: the mean of the row depends on every x of it.",
                "漏掉了均值的部分：一行的均值依赖于该行的每个 x。",
            ),
        ),
        Mistake(
            "h - of_mean - of_variance",
            "h - of_mean",
            Text(
                "The part of the variance is left out: std is treated as constant, and depends on every x of the row.",
                "漏掉了方差的部分：把 std 当作常数，而它依赖于该行的每个 x。",
            ),
        ),
        Mistake(
            "(h - of_mean - of_variance) / std",
            "h / std",
            Text(
                "Mean and std are both treated as constant: two of the three parts of dx are left out.",
                "均值和 std 都被当作常数：dx 的三部分漏了两部分。",
            ),
        ),
        Mistake(
            "h - of_mean - of_variance",
            "h - of_mean + of_variance",
            Text("The part of the variance has the wrong sign.", "方差部分的符号错了。"),
        ),
        Mistake(
            "(h - of_mean - of_variance) / std",
            "h - of_mean - of_variance",
            Text("The division by std is missing in dx.", "dx 中缺少除以 std。"),
        ),
        Mistake(
            "    h = dout * gain\n",
            "    h = dout\n",
            Text(
                "The gain is forgotten on the way back: dx begins with dout * gain.",
                "反向时忘了 gain：dx 要从 dout * gain 开始。",
            ),
        ),
        Mistake(
            "n * np.mean(h * n, axis=-1, keepdims=True)",
            "n * np.sum(h * n, axis=-1, keepdims=True)",
            Text(
                "The part of the variance has a sum over the row for a mean: C times too much, the length of the last axis.",
                "方差部分用了对行求和而不是平均：多了因子 C，即最后一个轴的长度。",
            ),
        ),
        Mistake(
            "np.mean(h, axis=-1, keepdims=True)",
            "np.sum(h, axis=-1, keepdims=True)",
            Text(
                "In the part of the mean stands a sum over the row, and not a mean: a factor of C too much.",
                "均值部分用了对行求和而不是平均：多了因子 C。",
            ),
        ),
        Mistake(
            "    of_variance = n * np.mean(h * n, axis=-1, keepdims=True)\n",
            "    of_variance = np.mean(h * n, axis=-1, keepdims=True)\n",
            Text("The factor n in front of mean(h * n) is missing.", "mean(h * n) 前面缺少因子 n。"),
        ),
        Mistake(
            "dgain = np.sum(dout * n, axis=rows)",
            "dgain = np.mean(dout * n, axis=rows)",
            Text(
                "The gain gets the mean over the rows; each row is a use of its own, so it gets the sum.",
                "gain 得到的是各行的平均；每一行都是一次使用，应求和。",
            ),
        ),
        Mistake(
            "dgain = np.sum(dout * n, axis=rows)",
            "dgain = np.sum(dout * (n * gain), axis=rows)",
            Text(
                "The gain is multiplied by n, so that its gradient is dout * n, without the gain itself.",
                "gain 与 n 相乘，所以它的梯度是 dout * n，不含 gain 本身。",
            ),
        ),
        Mistake(
            "dbias = np.sum(dout, axis=rows)",
            "dbias = np.mean(dout, axis=rows)",
            Text("The bias gets the mean over the rows, and not the sum.", "bias 得到的是各行的平均而不是和。"),
        ),
        Mistake(
            "np.mean(centred**2, axis=-1, keepdims=True)",
            "np.sum(centred**2, axis=-1, keepdims=True) / (x.shape[-1] - 1)",
            Text(
                "The variance is divided by C - 1; here it is the mean of the squares, over C.",
                "方差除以了 C - 1；这里是平方的平均，除以 C。",
            ),
        ),
        Mistake(
            "np.sqrt(variance + 1e-5)",
            "np.sqrt(variance) + 1e-5",
            Text("1e-5 belongs under the root, beside the variance.", "1e-5 应在根号之内，加在方差上。"),
        ),
        Mistake(
            "np.sqrt(variance + 1e-5)",
            "np.sqrt(variance)",
            Text(
                "The 1e-5 under the root is missing: a row of equal numbers would be divided by 0.",
                "根号内缺少 1e-5：一行全相等的数会除以 0。",
            ),
        ),
        Mistake(
            "    n = centred / std\n",
            "    n = centred / (variance + 1e-5)\n",
            Text("It is divided by the variance; take its root.", "除以了方差；应除以它的平方根。"),
        ),
    ],
)
