"""A whole GPT-2, beside ours after some steps of training, and by OpenAI's names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from gpt2.config import GPT2Config
from gpt2.model import GPT2
from tinygrad2 import Tensor, nn, ops, optim
from tinygrad2.study.course.exercise import Call, Exercise, Inputs, Mistake, Probe, Step, Text
from tinygrad2.types import Array

HEADS, LAYERS = 2, 3
CONFIG = GPT2Config(vocab_size=11, max_seq_len=7, num_layers=LAYERS, num_heads=HEADS, d_model=8, d_ff=32, dropout=0.0)


@cache
def trained(seed: int, tied: bool) -> dict[str, Array]:
    """The parameters after twenty steps, in float64."""
    config = GPT2Config(**{**vars(CONFIG), "tie_embeddings": tied, "head_bias": not tied})
    model = GPT2(config, seed, np.float64)
    rng = np.random.default_rng(seed)
    optimizer = optim.AdamW(model.parameters(), 3e-2, (0.9, 0.99))
    for _ in range(20):
        ids = np.cumsum(rng.integers(1, 3, (4, 8)), axis=1) % 11
        optimizer.zero_grad()
        model.loss(ids[:, :-1], ids[:, 1:]).backward()
        optimizer.step()
    return {name: p.data for name, p in model.named_parameters()}


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    arrays = trained(draw.seed, tied=False)
    p = {name: theirs.Tensor(x) for name, x in arrays.items()}
    yield "logits of one token", theirs.gpt2(draw.integers(11, 1, 1), p, HEADS).data
    yield "logits of two sequences", theirs.gpt2(draw.integers(11, 2, 7), p, HEADS).data
    ids = draw.integers(11, 2, 6)

    def one_step(code: Any) -> tuple[Any, dict[str, Any]]:
        p = {name: code.Tensor(x) for name, x in arrays.items()}
        return code.loss(ids[:, :-1], ids[:, 1:], p, HEADS), p

    yield Step(theirs, one_step)
    openai = {f"transformer.{name}": x for name, x in trained(draw.seed, tied=True).items()}
    for layer in range(LAYERS):
        openai[f"transformer.h.{layer}.attn.bias"] = np.tril(np.ones((1, 1, 7, 7)))
        openai[f"transformer.h.{layer}.attn.masked_bias"] = np.asarray(-1e4)
    for weights in (openai, {name.removeprefix("transformer."): x for name, x in openai.items()}):
        found = theirs.from_openai(weights)
        yield "names of the parameters of OpenAI's file", " ".join(sorted(found))
        p = {name: theirs.Tensor(x) for name, x in found.items()}
        yield "logits with OpenAI's parameters", theirs.gpt2(draw.integers(11, 1, 7), p, HEADS).data
    for width in (8, 12):
        yield Call(theirs.without_gradient, width)


def model_of(p: dict[str, Any], heads: int) -> GPT2:
    """Our model, computing with these parameters."""
    V, C = p["wte.weight"].shape
    layers = sum(name.endswith(".ln_1.weight") for name in p)
    config = GPT2Config(vocab_size=V, max_seq_len=len(p["wpe.weight"].data), num_layers=layers, num_heads=heads, d_model=C)
    with nn.init.shapes_only():
        model = GPT2(config, dtype=np.float64)
    for name, _ in list(model.named_parameters()):
        module, _, last = name.rpartition(".")
        setattr(dict(model.named_modules())[module], last, p[name])
    return model


def gpt2(ids: Array, p: dict[str, Any], heads: int) -> Tensor:
    """Its logits."""
    return model_of(p, heads)(ids)


def loss(ids: Array, targets: Array, p: dict[str, Any], heads: int) -> Tensor:
    """The mean cross-entropy."""
    return ops.cross_entropy(gpt2(ids, p, heads), targets)


def from_openai(weights: dict[str, Array]) -> dict[str, Array]:
    """What our model has of these, by its own list of names."""
    tied = {name: weights.get(name, weights.get(f"transformer.{name}")) for name, _ in GPT2.shapes(CONFIG)}
    head = {"lm_head.weight": tied["wte.weight"], "lm_head.bias": np.zeros(CONFIG.vocab_size)}
    return {**tied, **head}  # type: ignore[dict-item]


def without_gradient(C: int) -> tuple[int, int]:
    """Those of the keys."""
    return C, 2 * C


EXERCISE = Exercise(
    week=6,
    minutes=90,
    show=show,
    ours=SimpleNamespace(
        Tensor=lambda x: nn.Parameter(np.array(x)),
        gpt2=gpt2,
        loss=loss,
        from_openai=from_openai,
        without_gradient=without_gradient,
    ),
    idea=Text(
        "Five lines are enough: two embeddings that are added, a loop over the blocks, a layer norm, and a product with the "
        "transposed head.",
        "五行就够：两个相加的嵌入、对各块的循环、一次层归一化，以及与转置后的输出头相乘。",
    ),
    mistakes=[
        Mistake(
            '    x = layer_norm(x, p["ln_f.weight"], p["ln_f.bias"])\n',
            "",
            Text(
                "The last layer norm, ln_f, is missing: Pre-LN blocks leave a sum that is not normalised.",
                "缺少最后的层归一化 ln_f：Pre-LN 的块留下的是未归一化的和。",
            ),
        ),
        Mistake(
            '    x = x + embedding(np.arange(ids.shape[-1]), p["wpe.weight"])\n',
            "",
            Text(
                "The positions are missing: without wpe the model cannot tell one order of tokens from another.",
                "缺少位置：没有 wpe，模型无法区分 token 的顺序。",
            ),
        ),
        Mistake(
            "np.arange(ids.shape[-1])",
            "np.arange(1, ids.shape[-1] + 1) % 7",
            Text("Positions count from 0, and here they begin with 1.", "位置从 0 开始计数，这里从 1 开始。"),
        ),
        Mistake(
            'x = x + embedding(np.arange(ids.shape[-1]), p["wpe.weight"])',
            'x = x + embedding(ids % 7, p["wpe.weight"])',
            Text(
                "The position embedding is looked up by the ids; it belongs to the places 0, 1, 2, ...",
                "位置嵌入用 id 来查找了；它应按位置 0, 1, 2 …… 查找。",
            ),
        ),
        Mistake(
            "        layer += 1\n",
            "        layer += 2\n",
            Text("Every second block is left out: the counter goes up by 2.", "每隔一个块被跳过：计数器加了 2。"),
        ),
        Mistake(
            "    layer = 0\n",
            "    layer = 1\n",
            Text("The first block, h.0, is left out.", "漏掉了第一个块 h.0。"),
        ),
        Mistake(
            'x = block(x, p, f"h.{layer}.", heads)',
            'x = block(x, p, "h.0.", heads)',
            Text(
                "Every block computes with the parameters of h.0: the prefix must count too.",
                "每个块都用了 h.0 的参数：前缀也要随层数变化。",
            ),
        ),
        Mistake(
            'return x @ p["lm_head.weight"].transpose(1, 0) + p["lm_head.bias"]',
            'return x @ p["lm_head.weight"].transpose(1, 0)',
            Text("The bias of the head is missing.", "缺少输出头的偏置。"),
        ),
        Mistake(
            'x @ p["lm_head.weight"].transpose',
            'x @ p["wte.weight"].transpose',
            Text(
                "The head is tied to the token embedding; here it has a matrix of its own, lm_head.weight.",
                "输出头用了词嵌入的矩阵；这里它有自己的矩阵 lm_head.weight。",
            ),
        ),
        Mistake(
            "cross_entropy(gpt2(ids, p, heads), targets)",
            "cross_entropy(gpt2(ids, p, heads), ids)",
            Text(
                "The loss asks for the token that is there, not for the next one: the targets are left out.",
                "损失预测的是当前 token 而不是下一个：没有用到 targets。",
            ),
        ),
        Mistake(
            'p["lm_head.weight"] = p["wte.weight"]',
            'p["lm_head.weight"] = p["wte.weight"][::-1]',
            Text("The tied head is the token embedding as it is, not turned round.", "共享的输出头就是词嵌入本身，不应颠倒。"),
        ),
        Mistake(
            'p = {name: x for name, x in p.items() if not name.endswith((".attn.bias", ".attn.masked_bias"))}',
            'p = {name: x for name, x in p.items() if not name.endswith("bias")}',
            Text(
                "All biases are dropped with the masks; only attn.bias and attn.masked_bias are no parameters.",
                "所有偏置都和掩码一起被丢弃了；只有 attn.bias 和 attn.masked_bias 不是参数。",
            ),
        ),
        Mistake(
            'p = {name.removeprefix("transformer."): x for name, x in weights.items()}',
            "p = {name: x for name, x in weights.items()}",
            Text('The prefix "transformer." is still in the names.', '名称中仍带有前缀 "transformer."。'),
        ),
        Mistake(
            "    return C, 2 * C\n",
            "    return 0, C\n",
            Text(
                "Those are the biases of the queries. A key's bias adds q . b to every score of a row, the same for all keys.",
                "这些是 query 的偏置。key 的偏置给一行的每个分数都加上相同的 q . b。",
            ),
        ),
        Mistake(
            "    return C, 2 * C\n",
            "    return 2 * C, 3 * C\n",
            Text(
                "Those are the biases of the values, which are added to the result. What is added to all scores of a row?",
                "这些是 value 的偏置，会加到结果上。想一想什么会加到一行的所有分数上。",
            ),
        ),
    ],
)
