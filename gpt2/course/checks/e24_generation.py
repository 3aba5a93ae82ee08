"""Sampling as ours does it, and attention piece by piece beside attention at once."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from gpt2.generation import Sampling
from tinygrad2 import ops
from tinygrad2.study.course.exercise import Call, Exercise, Inputs, Mistake, Probe, Text
from tinygrad2.types import Array


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    logits = draw.normal(7) * 3
    for temperature, top_k in ((1.0, None), (0.5, None), (2.0, None), (0, None), (1.0, 3), (0.7, 1), (1.0, 7), (1.0, 9)):
        yield Call(theirs.probabilities, logits, temperature, top_k)
    yield Call(theirs.probabilities, np.array([1.0, 3.0, 3.0]), 0, None)
    yield Call(theirs.probabilities, np.array([0.0, 2000.0, 1999.0]), 1.0, None)
    for u in (0.0, 0.05, 0.1, 0.3999, 0.4, 0.6, 0.999):
        yield Call(theirs.pick, np.array([0.1, 0.0, 0.3, 0.2, 0.4]), u)
    yield Call(theirs.pick, np.array([0.0, 0.0, 1.0]), 0.0)
    table, weights = draw.normal(7, 7), draw.normal(16)

    def next_logits(seen: Array) -> Array:
        return np.asarray(sum(table[int(i)] * weights[n] for n, i in enumerate(seen[::-1])))

    us = draw.uniform(0, 1, 12)
    for start, count, context, temperature, top_k in (
        ([3], 9, 4, 1.0, None),
        ([1, 2, 3, 4, 5, 6], 6, 3, 0, None),
        ([5, 0], 12, 8, 0.6, 4),
    ):
        yield Call(theirs.generate, next_logits, start, count, context, temperature, top_k, us)
        yield "generate: the list that was given, afterwards", list(start)
    B, H, T, d = 2, 3, 6, 4
    q, k, v = (draw.normal(B, H, T, d) for _ in range(3))
    for pieces in ((6,), (1, 1, 1, 1, 1, 1), (3, 1, 2)):
        cache, begin = None, 0
        for n in pieces:
            now = np.s_[:, :, begin : begin + n]
            out, cache = theirs.attend(q[now], k[now], v[now], cache)
            yield f"attend: {n} positions after {begin}", out
            begin += n
    loud = q * np.array([1.0, 1000.0, 1.0, 1000.0, 1000.0, 1.0])[:, None]
    yield "attend: scores in the thousands beside small ones", theirs.attend(loud, k, v, None)[0]


def attend(q: Array, k: Array, v: Array, cache: Any) -> tuple[Array, Any]:
    """All of the sequence, of which the last positions are handed out."""
    whole = (q, k, v) if cache is None else tuple(np.concatenate(pair, axis=2) for pair in zip(cache, (q, k, v), strict=True))
    B, H, T, d = whole[0].shape
    merged = np.concatenate([x.transpose(0, 2, 1, 3).reshape(B, T, H * d) for x in whole], axis=-1)  # (B, T, 3C)
    out = np.asarray(ops.causal_attention(merged, H)).reshape(B, T, H, d).transpose(0, 2, 1, 3)
    return out[:, :, -q.shape[2] :], whole


def probabilities(logits: Array, temperature: float, top_k: int | None) -> Array:
    """Those of `gpt2 sample`."""
    return Sampling(temperature, top_k).probabilities(np.array(logits), np.array([], int))


def pick(p: Array, u: float) -> int:
    """By bisection."""
    return int(np.searchsorted(np.cumsum(p), u, side="right"))


def generate(
    next_logits: Any, ids: list[int], count: int, context: int, temperature: float, top_k: Any, us: Array
) -> list[int]:
    """One token after another."""
    for u in us[:count]:
        ids = [*ids, pick(probabilities(next_logits(np.array(ids)[-context:]), temperature, top_k), u)]
    return ids


EXERCISE = Exercise(
    week=6,
    minutes=60,
    show=show,
    ours=SimpleNamespace(probabilities=probabilities, pick=pick, generate=generate, attend=attend),
    idea=Text(
        "np.cumsum(p) > u is True from the wanted token on. For the cache: concatenate along the axis of positions, then "
        "compute scores for the new rows alone, and shift the causal mask by what the cache holds.",
        "np.cumsum(p) > u 从所求的 token 起为 True。缓存：沿位置轴拼接，只为新的行计算分数，并把因果掩码平移缓存中的位置数。",
    ),
    mistakes=[
        Mistake(
            "(logits - np.max(logits)) / temperature",
            "(logits - np.max(logits)) * temperature",
            Text(
                "Logits are multiplied by the temperature; dividing by a small one makes the likeliest token likelier.",
                "logits 乘了温度；应除以温度，温度小时最可能的 token 更可能。",
            ),
        ),
        Mistake(
            "np.exp((logits - np.max(logits)) / temperature)",
            "np.exp(logits / temperature)",
            Text(
                "The maximum is not subtracted, so that exp(2000) is infinite.",
                "没有减去最大值，exp(2000) 成了无穷大。",
            ),
        ),
        Mistake(
            "np.exp((logits - np.max(logits)) / temperature)",
            "np.exp(logits - np.max(logits)) / temperature",
            Text(
                "The temperature divides the exponentials, which changes nothing once they add up to 1: divide the logits.",
                "温度除在了指数之后，归一化后毫无作用：应除在 logits 上。",
            ),
        ),
        Mistake(
            "p[np.argmax(logits)] = 1.0",
            "p[np.argmax(logits[::-1])] = 1.0",
            Text(
                "With temperature 0 the wrong token is taken: the array is turned round.",
                "温度为 0 时取错了 token：数组被颠倒了。",
            ),
        ),
        Mistake(
            "p >= np.sort(p)[-top_k]",
            "p > np.sort(p)[-top_k]",
            Text(
                "One token too few stays: the one on rank top_k belongs to them.",
                "少保留了一个 token：排名第 top_k 的也要保留。",
            ),
        ),
        Mistake(
            "np.sort(p)[-top_k]",
            "np.sort(p)[top_k - 1]",
            Text("The sort is upwards: the top_k likeliest are at its end.", "排序是升序的：最可能的 top_k 个在末尾。"),
        ),
        Mistake(
            "    return p / np.sum(p)\n",
            "    return p\n",
            Text(
                "The probabilities do not add up to 1: divide by their sum, after cutting.",
                "概率之和不为 1：截断之后要除以它们的和。",
            ),
        ),
        Mistake(
            "np.cumsum(p) > u",
            "np.cumsum(p) >= u",
            Text(
                "A token with p = 0 can be picked where u is 0: the sum must be above u, not equal to it.",
                "u 为 0 时可能选出 p = 0 的 token：累积和必须大于 u，而不是等于。",
            ),
        ),
        Mistake(
            "np.argmax(np.cumsum(p) > u)",
            "np.argmax(p > u)",
            Text("The probabilities are compared with u one by one; add them up first.", "逐个把概率与 u 比较了；应先累加。"),
        ),
        Mistake(
            "logits = next_logits(np.array(ids[-context:]))",
            "logits = next_logits(np.array(ids[:context]))",
            Text("The model sees the first tokens; it is to see the last.", "模型看到的是最前面的 token；应看最后的。"),
        ),
        Mistake(
            "logits = next_logits(np.array(ids[-context:]))",
            "logits = next_logits(np.array(ids))",
            Text("More tokens than the context are handed to the model.", "传给模型的 token 超过了上下文长度。"),
        ),
        Mistake(
            "ids.append(pick(probabilities(logits, temperature, top_k), us[i]))",
            "ids.append(pick(probabilities(logits, temperature, top_k), us[0]))",
            Text(
                "Every token is picked by the same random number: take one after another.",
                "每个 token 都用同一个随机数选出：应依次使用。",
            ),
        ),
        Mistake(
            "    own = before + np.arange(q.shape[2])[:, None]\n",
            "    own = np.arange(q.shape[2])[:, None]\n",
            Text(
                "The causal mask begins at 0 with every call; the new positions come after those in the cache.",
                "每次调用因果掩码都从 0 开始；新位置在缓存中的位置之后。",
            ),
        ),
        Mistake(
            "    scores = np.where(np.arange(k.shape[2]) <= own, scores, -np.inf)\n",
            "",
            Text(
                "There is no mask: where several new positions come at once, each sees those after it.",
                "没有掩码：一次传入多个新位置时，前面的会看到后面的。",
            ),
        ),
        Mistake(
            "np.concatenate([cache[0], k], axis=2)",
            "np.concatenate([k, cache[0]], axis=2)",
            Text("The old keys come after the new ones; they belong before them.", "旧的 key 排在了新的之后；应排在之前。"),
        ),
        Mistake(
            "scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])",
            "scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(k.shape[2])",
            Text(
                "Scores are divided by the root of the number of keys, axis 2; it is the root of d, the last axis.",
                "分数除以了 key 个数（轴 2）的平方根；应除以最后一个轴 d 的平方根。",
            ),
        ),
        Mistake(
            "scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])",
            "scores = q @ np.swapaxes(k, -1, -2)",
            Text("The scores are not divided by sqrt(d).", "分数没有除以 sqrt(d)。"),
        ),
    ],
)
