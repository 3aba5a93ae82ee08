"""A Pre-LN block on the learner's engine, compared with the modules of tinygrad2.nn that hold the same parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad2 import nn
from tinygrad2.study.course.checks.e08_tensor import Tensor
from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Probe, Text
from tinygrad2.types import Array


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    def run(label: str, f: Callable[..., Any], x: Array, arrays: dict[str, Array]) -> Iterator[Probe]:
        leaf, p = theirs.Tensor(x), {name: theirs.Tensor(a) for name, a in arrays.items()}
        out = f(leaf, p)
        yield f"{label}: value", out.data
        (out * theirs.Tensor(draw.normal(*np.shape(out.data)))).sum().backward()
        yield f"{label}: gradient of x", leaf.grad
        for name, parameter in p.items():
            yield f"{label}: gradient of {name}", parameter.grad

    shapes = {"w": (2, 5), "b": (5,)}
    yield from run(
        "linear(x, w, b)", lambda x, p: theirs.linear(x, p["w"], p["b"]), draw.normal(3, 4, 2), parameters(draw, shapes)
    )
    drawn = []
    for B, T, C, heads, prefix in ((2, 3, 6, 3, "h.0."), (1, 4, 4, 1, "h.11."), (2, 1, 2, 2, "h.1.")):
        every = parameters(draw, {prefix + name: shape for name, shape in block_shapes(C).items()})
        drawn.append((f"x {(B, T, C)}, {heads} heads", draw.normal(B, T, C), every, prefix, heads))

    parts: list[tuple[str, str, Callable[..., Any]]] = [
        ("attention", "attn", lambda x, p, prefix, heads: theirs.attention(x, p, prefix, heads)),
        ("feed_forward", "mlp", lambda x, p, prefix, heads: theirs.feed_forward(x, p, prefix)),
        ("block", "", lambda x, p, prefix, heads: theirs.block(x, p, prefix, heads)),
    ]
    for name, part, f in parts:
        for of, x, every, prefix, heads in drawn:
            chosen = {key: a for key, a in every.items() if part in key}
            yield from run(f"{name} of {of}", lambda x, p, f=f, g=prefix, h=heads: f(x, p, g, h), x, chosen)


def parameters(draw: Inputs, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    """Random ones, by name."""
    return {name: draw.normal(*shape) for name, shape in shapes.items()}


def block_shapes(C: int) -> dict[str, tuple[int, ...]]:
    """The parameters of one block, in the order in which they are used."""
    return {
        "ln_1.weight": (C,),
        "ln_1.bias": (C,),
        "attn.c_attn.weight": (C, 3 * C),
        "attn.c_attn.bias": (3 * C,),
        "attn.c_proj.weight": (C, C),
        "attn.c_proj.bias": (C,),
        "ln_2.weight": (C,),
        "ln_2.bias": (C,),
        "mlp.c_fc.weight": (C, 4 * C),
        "mlp.c_fc.bias": (4 * C,),
        "mlp.c_proj.weight": (4 * C, C),
        "mlp.c_proj.bias": (C,),
    }


def applied(module: nn.Module, x: Any, p: dict[str, Any], prefix: str = "") -> Any:
    """What a module gives with parameters of a dict."""
    with module.using({name.removeprefix(prefix): leaf for name, leaf in p.items() if name.startswith(prefix)}):
        return module(x)


def linear(x: Any, w: Any, b: Any) -> Any:
    """A module of this one layer."""
    return applied(nn.Linear(*w.shape), x, {"weight": w, "bias": b})


def attention(x: Any, p: dict[str, Any], prefix: str, heads: int) -> Any:
    """tinygrad2's fused attention of all heads."""
    return applied(nn.MultiHeadAttention(x.shape[-1], heads), x, p, prefix + "attn.")


def feed_forward(x: Any, p: dict[str, Any], prefix: str) -> Any:
    """tinygrad2's."""
    return applied(nn.FeedForward(x.shape[-1], 4 * x.shape[-1]), x, p, prefix + "mlp.")


def block(x: Any, p: dict[str, Any], prefix: str, heads: int) -> Any:
    """As the blocks of GPT-2."""
    x = x + attention(applied(nn.LayerNorm(x.shape[-1]), x, p, prefix + "ln_1."), p, prefix, heads)
    return x + feed_forward(applied(nn.LayerNorm(x.shape[-1]), x, p, prefix + "ln_2."), p, prefix)


COLUMNS = "[split_heads(columns(qkv, i * C, (i + 1) * C), heads) for i in range(3)]"
MERGED = "merge_heads(causal_head(q, k, v))"
LN_1 = 'layer_norm(x, p[prefix + "ln_1.weight"], p[prefix + "ln_1.bias"])'
LN_2 = 'layer_norm(x, p[prefix + "ln_2.weight"], p[prefix + "ln_2.bias"])'
FIRST = "x = x + attention(normalized, p, prefix, heads)"
SECOND = "return x + feed_forward(normalized, p, prefix)"

EXERCISE = Exercise(
    week=5,
    minutes=75,
    show=show,
    ours=SimpleNamespace(Tensor=Tensor, linear=linear, attention=attention, feed_forward=feed_forward, block=block),
    idea=Text(
        "One line for each step of the picture. In attention: qkv = linear(...), three times split_heads(columns(...)), one "
        "causal_head for all heads at once, merge_heads, linear.",
        "图中每一步一行。attention 中：qkv = linear(...)，三次 split_heads(columns(...))，所有头一次 causal_head，merge_heads，"
        "linear。",
    ),
    mistakes=[
        Mistake(
            "return x @ w + b",
            "return x @ w",
            Text("The bias is missing in linear.", "linear 中缺少偏置。"),
        ),
        Mistake(
            COLUMNS,
            "[split_heads(columns(qkv, i * C, (i + 1) * C), heads) for i in (1, 0, 2)]",
            Text("Keys are taken for queries: the order is queries, keys, values.", "把键当成了查询：顺序为查询、键、值。"),
        ),
        Mistake(
            COLUMNS,
            "[split_heads(columns(qkv, i * C, (i + 1) * C), heads) for i in (2, 1, 0)]",
            Text(
                "The three parts are read from the end: the order is queries, keys, values.",
                "三部分倒着读了：顺序为查询、键、值。",
            ),
        ),
        Mistake(
            COLUMNS,
            "[split_heads(columns(qkv, i * C, (i + 1) * C), 1) for i in range(3)]",
            Text(
                "There is one head of all C columns: split into `heads`. The scores are then divided by sqrt(C/heads).",
                "只有一个占全部 C 列的头：应分成 heads 个，此时分数除以 sqrt(C/heads)。",
            ),
        ),
        Mistake(
            MERGED,
            "causal_head(q, k, v).reshape(*x.shape)",
            Text(
                "The heads are put together by a reshape alone, which mixes the tokens: use merge_heads.",
                "只用 reshape 合并各头，会把 token 混在一起：应用 merge_heads。",
            ),
        ),
        Mistake(
            'return linear(merged, p[prefix + "attn.c_proj.weight"], p[prefix + "attn.c_proj.bias"])',
            "return merged",
            Text(
                "c_proj is missing in attention: without it the heads stand side by side and never mix.",
                "attention 中缺少 c_proj：没有它，各头只是并排放着，从不混合。",
            ),
        ),
        Mistake(
            'gelu(linear(x, p[prefix + "mlp.c_fc.weight"], p[prefix + "mlp.c_fc.bias"]))',
            'linear(x, p[prefix + "mlp.c_fc.weight"], p[prefix + "mlp.c_fc.bias"])',
            Text(
                "GELU is missing: two linear layers one after the other are a single linear layer.",
                "缺少 GELU：两个线性层连在一起仍是一个线性层。",
            ),
        ),
        Mistake(
            'return linear(hidden, p[prefix + "mlp.c_proj.weight"], p[prefix + "mlp.c_proj.bias"])',
            'return gelu(linear(hidden, p[prefix + "mlp.c_proj.weight"], p[prefix + "mlp.c_proj.bias"]))',
            Text(
                "GELU is there a second time, after c_proj: what is added to x must be able to have both signs.",
                "c_proj 之后又用了一次 GELU：加到 x 上的量应当可正可负。",
            ),
        ),
        Mistake(
            FIRST,
            "x = attention(normalized, p, prefix, heads)",
            Text("The first residual is missing: add x to what attention gives.", "缺少第一个残差：attention 的结果要加上 x。"),
        ),
        Mistake(
            SECOND,
            "return feed_forward(normalized, p, prefix)",
            Text(
                "The second residual is missing: add x to what feed_forward gives.",
                "缺少第二个残差：feed_forward 的结果要加上 x。",
            ),
        ),
        Mistake(
            FIRST,
            "x = normalized + attention(normalized, p, prefix, heads)",
            Text(
                "The residual adds the normalized x; x itself goes on, so that its gradient passes unchanged.",
                "残差加的是归一化后的 x；应加 x 本身，梯度才能原样通过。",
            ),
        ),
        Mistake(
            SECOND,
            "return normalized + feed_forward(normalized, p, prefix)",
            Text(
                "The second residual adds the normalized x; it is x itself that goes on.",
                "第二个残差加了归一化后的 x；应加 x 本身。",
            ),
        ),
        Mistake(
            FIRST,
            "x = x + attention(x, p, prefix, heads)",
            Text("Attention reads x as it is; it is to read ln_1 of it.", "attention 直接读取了 x；应读取 ln_1 之后的 x。"),
        ),
        Mistake(
            SECOND,
            "return x + feed_forward(x, p, prefix)",
            Text(
                "feed_forward reads x as it is; it is to read ln_2 of it.", "feed_forward 直接读取了 x；应读取 ln_2 之后的 x。"
            ),
        ),
        Mistake(
            FIRST,
            'x = layer_norm(x + attention(x, p, prefix, heads), p[prefix + "ln_1.weight"], p[prefix + "ln_1.bias"])',
            Text(
                "That is Post-LN for the first part, as in the transformer of 2017: the sum is normalized. In GPT-2 only what "
                "attention reads is.",
                "第一部分成了 Post-LN（2017 年 Transformer 的做法）：对和做了归一化。GPT-2 只对 attention 读取的量做归一化。",
            ),
        ),
        Mistake(
            LN_2,
            'layer_norm(x, p[prefix + "ln_1.weight"], p[prefix + "ln_1.bias"])',
            Text("ln_1 is used twice; the second part has ln_2.", "ln_1 用了两次；第二部分应使用 ln_2。"),
        ),
        Mistake(
            f"    normalized = {LN_2}\n    {SECOND}",
            f"    {SECOND}",
            Text(
                "Both parts read the same normalized x: ln_2 is to be of the sum that attention was added to.",
                "两部分读取了同一个归一化的 x：ln_2 应作用于加上 attention 之后的和。",
            ),
        ),
    ],
)
