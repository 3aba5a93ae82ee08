"""The pair of a causal head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinygrad2.study.course.checks.e18_causal_head import causal_head, inputs
from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Pair, Probe, Text, reference


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    for q, k, v in inputs(draw):
        yield Pair(theirs.causal_head_forward, theirs.causal_head_backward, q, k, v)


DV = "dv = np.swapaxes(weights, -1, -2) @ dout"
ALONG = "along = np.sum(dweights * weights, axis=-1, keepdims=True)"
DSCORES = "dscores = weights * (dweights - along)"
SCALE = "scale = np.sqrt(q.shape[-1])"
DQ = "dq = dscores @ k / scale"
DK = "dk = np.swapaxes(dscores, -1, -2) @ q / scale"

EXERCISE = Exercise(
    week=5,
    minutes=60,
    show=show,
    ours=reference(causal_head=causal_head),
    idea=Text(
        "Go backward line by line through your forward function, and write the shape beside each gradient: it is that of the "
        "array it belongs to. Begin with dv and dweights, for out = weights v.",
        "沿前向函数逐行往回走，并在每个梯度旁写下形状：它与所属数组的形状相同。先写 dv 和 dweights（out = weights v）。",
    ),
    mistakes=[
        Mistake(
            DV,
            "dv = weights @ dout",
            Text(
                "dv takes the weights as they are; it needs them transposed: key s collects from all queries t, the sum over "
                "axis -2 of the weights.",
                "dv 直接用了 weights；应当转置：键 s 从所有查询 t 收集，即沿 weights 的轴 -2 求和。",
            ),
        ),
        Mistake(
            f"    {ALONG}\n    {DSCORES}\n",
            "    dscores = weights * dweights\n",
            Text(
                "The softmax is missing a term: subtract the sum over the row of dweights * weights.",
                "softmax 少了一项：要减去 dweights * weights 的行和。",
            ),
        ),
        Mistake(
            ALONG,
            "along = np.mean(dweights * weights, axis=-1, keepdims=True)",
            Text("The mean over the keys is subtracted, and not the sum.", "减去的是沿键的轴的平均值，而不是和。"),
        ),
        Mistake(
            ALONG,
            "along = np.sum(dweights * weights, axis=-2, keepdims=True)",
            Text(
                "The sum of the softmax runs over the queries (axis -2); the softmax went along the keys (axis -1).",
                "softmax 的求和沿查询的轴（-2）进行；前向的 softmax 沿键的轴（-1）。",
            ),
        ),
        Mistake(
            ALONG,
            "along = np.sum(dweights, axis=-1, keepdims=True)",
            Text(
                "The gradients of a row are added as they are; each is to be weighted by its weight first.",
                "直接把该行的梯度相加了；应先用各自的权重加权。",
            ),
        ),
        Mistake(
            ALONG,
            "along = np.sum(dweights * weights)",
            Text("The sum runs over the whole array; every row has its own.", "求和遍及整个数组；每一行应有自己的和。"),
        ),
        Mistake(
            DSCORES,
            "dscores = dweights - along",
            Text(
                "The factor weights is missing in dscores; without it gradients flow through the mask as well.",
                "dscores 中缺少因子 weights；没有它，梯度还会穿过掩码。",
            ),
        ),
        Mistake(
            f"    {DQ}\n    {DK}\n",
            "    dq = dscores @ k\n    dk = np.swapaxes(dscores, -1, -2) @ q\n",
            Text(
                "1 / sqrt(d) is missing: forward divides the scores by it, so dq and dk are divided too.",
                "缺少 1 / sqrt(d)：前向中分数除以了它，所以 dq 和 dk 也要除。",
            ),
        ),
        Mistake(
            SCALE,
            "scale = q.shape[-1]",
            Text("dq and dk are divided by sqrt(d) twice; once is right.", "dq 和 dk 除了两次 sqrt(d)；应只除一次。"),
        ),
        Mistake(
            SCALE,
            "scale = np.sqrt(v.shape[-1])",
            Text(
                "The scale is the square root of the length of a value; it is that of a query.",
                "缩放用了值的长度的平方根；应为查询的长度。",
            ),
        ),
        Mistake(
            DQ,
            "dq = dscores @ k / scale**2",
            Text("dq is divided by sqrt(d) twice, dk once.", "dq 除了两次 sqrt(d)，dk 一次。"),
        ),
        Mistake(
            DK,
            "dk = dscores @ q / scale",
            Text(
                "dk takes dscores as it is; it needs it transposed, so that key s collects from all queries.",
                "dk 直接用了 dscores；应当转置，使键 s 从所有查询收集。",
            ),
        ),
        Mistake(
            DK,
            "dk = np.swapaxes(dscores, -1, -2) @ k / scale",
            Text(
                "dk is made from the keys; its other factor is the queries.",
                "dk 用了键；分数的另一个因子是查询。",
            ),
        ),
        Mistake(
            DQ,
            "dq = dscores @ q / scale",
            Text(
                "dq is made from the queries; its other factor is the keys.",
                "dq 用了查询；分数的另一个因子是键。",
            ),
        ),
        Mistake(
            "return dq, dk, dv",
            "return dk, dq, dv",
            Text("dq and dk have changed places in what is returned.", "返回值中 dq 和 dk 的位置弄反了。"),
        ),
        Mistake(
            "    along = np.sum(dweights * weights, axis=-1, keepdims=True)\n    dscores = weights * (dweights - along)\n",
            "    dscores = dweights\n",
            Text(
                "The softmax is skipped: its rule stands between dweights and dscores, weights * (dweights - the sum "
                "over the row of dweights * weights).",
                "跳过了 softmax：在 dweights 与 dscores 之间有它的规则，weights * (dweights - 该行 dweights * weights 之和)。",
            ),
        ),
        Mistake(
            "dq = dscores @ k / scale",
            "dq = dscores @ k",
            Text(
                "1 / sqrt(d) is missing in dq: forward divides the scores by it, so dq and dk are divided too.",
                "dq 中缺少 1 / sqrt(d)：前向中分数除以了它，所以 dq 和 dk 也要除。",
            ),
        ),
        Mistake(
            "dk = np.swapaxes(dscores, -1, -2) @ q / scale",
            "dk = np.swapaxes(dscores, -1, -2) @ q",
            Text(
                "1 / sqrt(d) is missing in dk: forward divides the scores by it, so dq and dk are divided too.",
                "dk 中缺少 1 / sqrt(d)：前向中分数除以了它，所以 dq 和 dk 也要除。",
            ),
        ),
        Mistake(
            "dq = dscores @ k / scale\n    dk = np.swapaxes(dscores, -1, -2) @ q / scale",
            "dq = dscores @ k * scale\n    dk = np.swapaxes(dscores, -1, -2) @ q * scale",
            Text(
                "dq and dk are multiplied by sqrt(d); they are to be divided by it, as the scores are.",
                "dq 和 dk 乘以了 sqrt(d)；它们应像分数一样除以它。",
            ),
        ),
        Mistake(
            "dscores = weights * (dweights - along)",
            "dscores = weights * (1 - weights) * dweights",
            Text(
                "That is the derivative of a sigmoid, the diagonal alone: what other weights of the row pass on is missing.",
                "这是 sigmoid 的导数，只有对角线：缺少该行其他权重传来的部分。",
            ),
        ),
    ],
)
