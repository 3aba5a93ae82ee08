"""Columns, and heads on a Tensor: values, and gradients through the learner's engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinygrad2.study.course.checks.e08_tensor import Tensor, op
from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Pair, Probe, Text, reference


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    def run(label: str, f: Callable[..., Any], *shape: int) -> Iterator[Probe]:
        x = theirs.Tensor(draw.normal(*shape))
        out = f(x)
        yield f"{label}: value", out.data
        (out * theirs.Tensor(draw.normal(*np.shape(out.data)))).sum().backward()
        yield f"{label}: gradient of x", x.grad

    for shape, start, stop in (((2, 3, 6), 2, 4), ((2, 6), 0, 2), ((5,), 3, 5), ((3, 3), 0, 3), ((2, 4), 2, 3)):
        yield Pair(theirs.columns_forward, theirs.columns_backward, draw.normal(*shape), start, stop)
    cut = theirs.op(theirs.columns_forward, theirs.columns_backward)
    yield from run(
        "columns 0 to 1 times columns 2 to 3 plus columns 4 to 5", lambda x: cut(x, 0, 2) * cut(x, 2, 4) + cut(x, 4, 6), 2, 3, 6
    )
    sizes = (1, 2, 6, 3), (2, 3, 8, 2), (2, 4, 4, 4), (3, 2, 5, 1)
    for B, T, C, H in sizes:
        yield from run(f"split_heads(x {(B, T, C)}, {H})", lambda x, H=H: theirs.split_heads(x, H), B, T, C)
    for B, T, C, H in sizes:
        yield from run(f"merge_heads(x {(B, H, T, C // H)})", theirs.merge_heads, B, H, T, C // H)


def split_heads(x: Any, H: int) -> Any:
    """Head by head."""
    return np.stack(np.split(x, H, axis=-1), axis=1)


def merge_heads(x: Any) -> Any:
    """Head after head, side by side."""
    return np.concatenate([x[:, h] for h in range(x.shape[1])], axis=-1)


OURS = reference(columns=lambda x, start, stop: np.take(x, range(start, stop), axis=-1))
vars(OURS).update(Tensor=Tensor, op=op, split_heads=split_heads, merge_heads=merge_heads)

TAKEN = "return x[..., start:stop], (x.shape, start, stop)"
SPLIT = "x.reshape(B, T, H, C // H).transpose(0, 2, 1, 3)"
MERGED = "x.transpose(0, 2, 1, 3).reshape(B, T, H * d)"

EXERCISE = Exercise(
    week=5,
    minutes=35,
    show=show,
    ours=OURS,
    idea=Text(
        "Split: first cut the last axis, (B, T, C) to (B, T, H, d), then swap the two axes in the middle. Merge: the same two "
        "steps backward. For the columns, begin with np.zeros of the shape of x.",
        "分开：先切最后一个轴，(B, T, C) 变为 (B, T, H, d)，再交换中间两个轴。合并：倒过来做这两步。列的反向从与 x 同形状的 "
        "np.zeros 开始。",
    ),
    mistakes=[
        Mistake(
            SPLIT,
            "x.reshape(B, H, T, C // H)",
            Text(
                "reshape alone gives the right shape with the wrong numbers: a head holds pieces of several tokens. Reshape to "
                "(B, T, H, d), then transpose.",
                "单用 reshape 形状对了而数不对：一个头里混入了多个 token 的片段。应先 reshape 为 (B, T, H, d)，再 transpose。",
            ),
        ),
        Mistake(
            SPLIT,
            "x.reshape(B, T, C // H, H).transpose(0, 3, 1, 2)",
            Text(
                "A head takes every H-th column; it is to have d columns side by side: the last axis is (H, d), not (d, H).",
                "一个头取了每隔 H 列的一列；应取相邻的 d 列：最后一个轴应拆为 (H, d)，而不是 (d, H)。",
            ),
        ),
        Mistake(
            SPLIT,
            "x.reshape(B, T, H, C // H)",
            Text(
                "The heads stand behind the tokens, (B, T, H, d): transpose, so that T and d are the last two axes.",
                "头的轴在 token 之后，(B, T, H, d)：应 transpose，使最后两个轴为 T 和 d。",
            ),
        ),
        Mistake(
            SPLIT,
            "x.reshape(B, T, H, C // H).transpose(0, 2, 3, 1)",
            Text(
                "The last two axes are swapped, (B, H, d, T): only the two in the middle change places.",
                "最后两个轴弄反了，(B, H, d, T)：只交换中间两个轴。",
            ),
        ),
        Mistake(
            MERGED,
            "x.reshape(B, T, H * d)",
            Text(
                "The heads are not moved back before they are merged: transpose to (B, T, H, d), then reshape.",
                "合并前没有把头的轴移回去：应先 transpose 为 (B, T, H, d)，再 reshape。",
            ),
        ),
        Mistake(
            MERGED,
            "x.transpose(0, 2, 3, 1).reshape(B, T, H * d)",
            Text(
                "The columns of the heads are interleaved: the axes before the reshape are (B, T, H, d), not (B, T, d, H).",
                "各头的列交错了：reshape 之前的轴应为 (B, T, H, d)，而不是 (B, T, d, H)。",
            ),
        ),
        Mistake(
            TAKEN,
            "return x[start:stop], (x.shape, start, stop)",
            Text(
                "Rows are taken, from the first axis; columns are on the last: x[..., start:stop].",
                "取的是第一个轴上的行；列在最后一个轴上：x[..., start:stop]。",
            ),
        ),
        Mistake(
            TAKEN,
            "return x[..., start : stop + 1], (x.shape, start, stop + 1)",
            Text("One column too many: stop is not among them.", "多取了一列：不包含 stop。"),
        ),
        Mistake(
            "dx[..., start:stop] = dout",
            "dx[..., : stop - start] = dout",
            Text(
                "The gradient goes into the first columns, and not into those that were taken.",
                "梯度写进了最前面的列，而不是被取出的列。",
            ),
        ),
        Mistake(
            "dx = np.zeros(shape)",
            "dx = np.ones(shape)",
            Text(
                "Columns that were not taken get 1; what was not used has the gradient 0.",
                "没有取的列得到了 1；没有用到的数梯度为 0。",
            ),
        ),
        Mistake(
            "    return dx\n",
            "    return dout\n",
            Text(
                "The gradient has the shape of the columns; it is to have that of x, with 0 in the other columns.",
                "梯度的形状是取出的列的形状；应与 x 相同，其余列为 0。",
            ),
        ),
    ],
)
