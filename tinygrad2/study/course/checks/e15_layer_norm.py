"""LayerNorm over the last axis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinygrad2 import ops
from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Pair, Probe, Text, frozen, reference


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    forward, backward = theirs.layer_norm_forward, theirs.layer_norm_backward
    for shape in ((4, 3), (3, 3), (2, 3, 4), (1, 5), (5,), (2, 1, 3, 4), (3, 1)):
        x = frozen(3 * draw.normal(*shape) + 2)
        yield Pair(forward, backward, x, draw.uniform(0.5, 2, shape[-1]), draw.normal(shape[-1]))
    tiny = frozen(1e-3 * draw.normal(3, 4))
    yield Pair(forward, backward, tiny, draw.uniform(0.5, 2, 4), draw.normal(4))


EXERCISE = Exercise(
    week=4,
    minutes=60,
    show=show,
    ours=reference(layer_norm=ops.layer_norm),
    idea=Text(
        "Forward: every mean is over the last axis, with keepdims=True. Backward: first dout * gain; then take two means over "
        "the row, of that and of that times n.",
        "前向：每个平均都沿最后一个轴，keepdims=True。反向：先算 dout * gain，再对行取两个平均：它本身的，以及它乘以 n 的。",
    ),
    mistakes=[
        Mistake(
            "dx = (dn - of_mean - of_variance) / std",
            "dx = dn / std",
            Text(
                "Mean and variance are taken as constants: both depend on all of the row, and each subtracts a mean.",
                "把均值和方差当成了常数：它们都依赖于整行，各要减去一个平均。",
            ),
        ),
        Mistake(
            "dx = (dn - of_mean - of_variance) / std",
            "dx = (dn - of_variance) / std",
            Text(
                "The term of the mean is missing: subtract the mean of dn over the row, along the last axis.",
                "缺少均值的一项：要减去 dn 在该行（沿最后一个轴）的平均。",
            ),
        ),
        Mistake(
            "dx = (dn - of_mean - of_variance) / std",
            "dx = (dn - of_mean) / std",
            Text(
                "The term of the variance is missing: subtract n * mean(dn * n) over the row, along the last axis.",
                "缺少方差的一项：要减去 n * mean(dn * n)，沿该行的最后一个轴。",
            ),
        ),
        Mistake(
            "dx = (dn - of_mean - of_variance) / std",
            "dx = (dn - of_mean - of_variance) / (std**2 - EPS)",
            Text(
                "It is divided by the variance; it is to be the standard deviation, its root.",
                "除以了方差；应除以标准差，即它的平方根。",
            ),
        ),
        Mistake(
            "dx = (dn - of_mean - of_variance) / std",
            "dx = dn - of_mean - of_variance",
            Text("The division by the standard deviation is missing in the gradient of x.", "x 的梯度中缺少除以标准差。"),
        ),
        Mistake(
            "    dn = dout * gain\n",
            "    dn = dout\n",
            Text(
                "The gain is left out: the gradient of n is dout * gain, and that comes before the means.",
                "漏掉了 gain：n 的梯度是 dout * gain，并且要在取平均之前相乘。",
            ),
        ),
        Mistake(
            "    dn = dout * gain\n    of_mean = np.mean(dn, axis=-1, keepdims=True)\n"
            "    of_variance = n * np.mean(dn * n, axis=-1, keepdims=True)\n    dx = (dn - of_mean - of_variance) / std\n",
            "    of_mean = np.mean(dout, axis=-1, keepdims=True)\n"
            "    of_variance = n * np.mean(dout * n, axis=-1, keepdims=True)\n    dx = gain * (dout - of_mean - "
            "of_variance) / std\n",
            Text(
                "The gain is multiplied after the means; it differs between the features of the mean, so it comes before.",
                "gain 在取平均之后才相乘；各个特征的 gain 不同，必须在取平均之前相乘。",
            ),
        ),
        Mistake(
            "of_mean = np.mean(dn, axis=-1, keepdims=True)",
            "of_mean = np.sum(dn, axis=-1, keepdims=True)",
            Text(
                "The sum of dn is subtracted, C times its mean along the last axis.",
                "减去的是 dn 的和，即沿最后一个轴的平均的 C 倍。",
            ),
        ),
        Mistake(
            "n * np.mean(dn * n, axis=-1, keepdims=True)",
            "n * np.sum(dn * n, axis=-1, keepdims=True)",
            Text(
                "The sum of dn * n is subtracted, C times its mean along the last axis.",
                "减去的是 dn * n 的和，即沿最后一个轴的平均的 C 倍。",
            ),
        ),
        Mistake(
            "of_variance = n * np.mean(dn * n, axis=-1, keepdims=True)",
            "of_variance = np.mean(dn * n, axis=-1, keepdims=True)",
            Text("The factor n is missing in front of mean(dn * n).", "mean(dn * n) 前面缺少因子 n。"),
        ),
        Mistake(
            "n * np.mean(dn * n, axis=-1, keepdims=True)",
            "n * np.mean(dn * n)",
            Text(
                "The second mean runs over the whole array; every token has its own, over its features.",
                "第二个平均遍及整个数组；每个 token 对自己的特征各取平均。",
            ),
        ),
        Mistake(
            "of_mean = np.mean(dn, axis=-1, keepdims=True)",
            "of_mean = np.mean(dn)",
            Text(
                "The first mean runs over the whole array; every token has its own, over its features.",
                "第一个平均遍及整个数组；每个 token 对自己的特征各取平均。",
            ),
        ),
        Mistake(
            "np.sum(dout * n, axis=tokens)",
            "np.mean(dout * n, axis=tokens)",
            Text(
                "The gradient of the gain is averaged over the tokens; it is to be summed.",
                "gain 的梯度对 token 取了平均；应当求和。",
            ),
        ),
        Mistake(
            "return dx, np.sum(dout * n, axis=tokens), np.sum(dout, axis=tokens)",
            "return dx, np.sum(dout, axis=tokens), np.sum(dout, axis=tokens)",
            Text("The gradient of the gain lacks n, which the gain is multiplied by.", "gain 的梯度缺少与 gain 相乘的 n。"),
        ),
        Mistake(
            "np.sum(dout * n, axis=tokens)",
            "np.sum(dout * gain * n, axis=tokens)",
            Text(
                "The gradient of the gain contains the gain itself: the derivative of n * gain by gain is n.",
                "gain 的梯度里又含有 gain 本身：n * gain 对 gain 的导数是 n。",
            ),
        ),
        Mistake(
            "return dx, np.sum(dout * n, axis=tokens), np.sum(dout, axis=tokens)",
            "return dx, np.sum(dout * n, axis=tokens), np.mean(dout, axis=tokens)",
            Text(
                "The gradient of the bias is averaged over the tokens; it is to be summed.",
                "bias 的梯度对 token 取了平均；应当求和。",
            ),
        ),
        Mistake(
            "tokens = tuple(range(dout.ndim - 1))",
            "tokens = 0",
            Text(
                "The gradients of gain and bias are summed over axis 0 alone; sum over all axes but the last, or none is left.",
                "gain 和 bias 的梯度只沿轴 0 求和了；应沿除最后一个轴以外的所有轴求和。",
            ),
        ),
        Mistake(
            "tokens = tuple(range(dout.ndim - 1))",
            "tokens = -1",
            Text(
                "The gradients of gain and bias are summed over the features; they have one entry for each feature.",
                "gain 和 bias 的梯度沿特征求和了；它们对每个特征各有一个元素。",
            ),
        ),
        Mistake(
            "std = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + EPS)",
            "std = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True)) + EPS",
            Text(
                "1e-5 is added to the standard deviation; it is to be added to the variance, under the root.",
                "1e-5 加到了标准差上；应加到方差上，即根号之内。",
            ),
        ),
        Mistake(
            "std = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + EPS)",
            "std = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True))",
            Text("1e-5 is missing: a row of equal entries is divided by 0.", "缺少 1e-5：元素全相等的行会除以 0。"),
        ),
        Mistake(
            "std = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + EPS)",
            "std = np.sqrt(np.var(x, axis=-1, keepdims=True, ddof=1) + EPS)",
            Text(
                "The variance is divided by C - 1 (ddof=1); it is the mean of the squared deviations, over C.",
                "方差除以了 C - 1（ddof=1）；这里的方差是偏差平方的平均值，除以 C。",
            ),
        ),
        Mistake(
            "std = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + EPS)",
            "std = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + EPS)",
            Text(
                "The mean of x^2 is no variance: subtract the mean first.",
                "x^2 的平均不是方差：要先减去均值。",
            ),
        ),
        Mistake(
            "std = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + EPS)",
            "std = np.mean(centred**2, axis=-1, keepdims=True) + EPS",
            Text("The root is missing: it is divided by the variance.", "缺少根号：除以了方差。"),
        ),
        Mistake(
            "centred = x - np.mean(x, axis=-1, keepdims=True)",
            "centred = x - np.mean(x, axis=0, keepdims=True)",
            Text(
                "The mean is taken over axis 0, the batch: that is BatchNorm. LayerNorm takes it over the features, the last "
                "axis.",
                "沿轴 0（批次）取了均值：那是 BatchNorm。层归一化沿特征，即最后一个轴，取均值。",
            ),
        ),
        Mistake(
            "return n * gain + bias, (n, std, gain)",
            "return (n + bias) * gain, (n, std, gain)",
            Text("The bias is multiplied by the gain: it is to be added last.", "bias 也乘上了 gain：它应最后相加。"),
        ),
        Mistake(
            "return dx, np.sum(dout * n, axis=tokens), np.sum(dout, axis=tokens)",
            "return dx, np.sum(dout, axis=tokens), np.sum(dout * n, axis=tokens)",
            Text(
                "The gradients of gain and bias have changed places: the gain multiplies n, so its gradient is the "
                "sum of dout * n.",
                "gain 和 bias 的梯度位置弄反了：gain 与 n 相乘，所以它的梯度是 dout * n 之和。",
            ),
        ),
        Mistake(
            "dx = (dn - of_mean - of_variance) / std",
            "dx = (dn - of_mean + of_variance) / std",
            Text(
                "The term of the variance is added; it is to be subtracted, as that of the mean.",
                "方差的一项是加上的；它与均值的一项一样，应当减去。",
            ),
        ),
        Mistake(
            "    centred = x - np.mean(x, axis=-1, keepdims=True)\n"
            "    std = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + EPS)\n",
            "    centred = x - np.mean(x, axis=0, keepdims=True)\n"
            "    std = np.sqrt(np.mean(centred**2, axis=0, keepdims=True) + EPS)\n",
            Text(
                "Mean and variance are taken over axis 0, the batch: that is BatchNorm. LayerNorm takes them over "
                "the features, the last axis.",
                "沿轴 0（批次）取了均值和方差：那是 BatchNorm。层归一化沿特征，即最后一个轴，取均值和方差。",
            ),
        ),
        Mistake(
            "    centred = x - np.mean(x, axis=-1, keepdims=True)\n"
            "    std = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + EPS)\n    n = centred / std\n"
            "    return n * gain + bias, (n, std, gain)\n    # </hole>\n\n\ndef layer_norm_backward(dout, cache):\n"
            '    """dout (..., C) -> dx (..., C), dgain (C,), dbias (C,)."""\n    # <hole>\n'
            "    n, std, gain = cache\n    tokens = tuple(range(dout.ndim - 1))\n    dn = dout * gain\n"
            "    of_mean = np.mean(dn, axis=-1, keepdims=True)\n"
            "    of_variance = n * np.mean(dn * n, axis=-1, keepdims=True)\n",
            "    centred = x - np.mean(x, axis=0, keepdims=True)\n"
            "    std = np.sqrt(np.mean(centred**2, axis=0, keepdims=True) + EPS)\n    n = centred / std\n"
            "    return n * gain + bias, (n, std, gain)\n    # </hole>\n\n\ndef layer_norm_backward(dout, cache):\n"
            '    """dout (..., C) -> dx (..., C), dgain (C,), dbias (C,)."""\n    # <hole>\n'
            "    n, std, gain = cache\n    tokens = tuple(range(dout.ndim - 1))\n    dn = dout * gain\n"
            "    of_mean = np.mean(dn, axis=0, keepdims=True)\n"
            "    of_variance = n * np.mean(dn * n, axis=0, keepdims=True)\n",
            Text(
                "All means, forward and backward, are taken over axis 0, the batch: that is BatchNorm. LayerNorm "
                "takes them over the features, the last axis.",
                "前向和反向的所有平均都沿轴 0（批次）取：那是 BatchNorm。层归一化沿特征，即最后一个轴，取平均。",
            ),
        ),
    ],
)
