"""Writing: sampling, and a cache of keys and values

    ids   T  h  e  _            the last `context` of them are seen
            |
       next_logits(ids)         a score for each of V tokens
            |  / temperature    below 1: bolder; 0: always the likeliest
         softmax                cut to the top_k likeliest, then 1 together again
            |  u in [0, 1)      a random number picks a token
    ids   T  h  e  _  q

- `probabilities(logits, temperature, top_k)` -> (V,), what the next token is drawn from. `top_k` may be None, for all. With
  temperature 0 it is 1 for the likeliest token (the first of equal ones), and 0 for the others.
- `pick(p, u)` -> a token: the first one whose p, added to those of all tokens before it, is above u.
- `generate(next_logits, ids, count, context, temperature, top_k, us)` -> a list: `ids` (a list) and `count` tokens more.
  `next_logits(seen)` gives the logits (V,) after the ids `seen`, an array of the last `context` of all ids so far, or of
  fewer where there are fewer; the number i of `us` picks the new token i.

A new token needs the keys and values of all tokens before it, but they do not change. Keep them:

    cache k  [ k_0 k_1 k_2 ] + [ k_3 ]      one row of scores for q_3,
    cache v  [ v_0 v_1 v_2 ] + [ v_3 ]      and not four

- `attend(q, k, v, cache)` -> (out, new_cache), for arrays (B, H, n, d) of n new positions. `cache` is None at first, then
  what the last call gave; the positions in it come before the new ones. Attention is causal, scores are divided by sqrt(d),
  and out (B, H, n, d) is what attention over the whole sequence would give for the new positions.
[zh]
生成文本：采样，以及 key 与 value 的缓存

    ids   T  h  e  _            只看最后 `context` 个
            |
       next_logits(ids)         对 V 个 token 各一个分数
            |  / temperature    小于 1：更大胆；0：总取最可能的
         softmax                只保留最可能的 top_k 个，再归一化
            |  u 属于 [0, 1)    由随机数选出一个 token
    ids   T  h  e  _  q

- `probabilities(logits, temperature, top_k)` -> (V,)，下一个 token 的分布。`top_k` 可为 None，表示全部。temperature 为 0 时，
  最可能的 token（相等时取第一个）为 1，其余为 0。
- `pick(p, u)` -> 一个 token：第一个使得自身与之前所有 token 的 p 之和大于 u 的 token。
- `generate(next_logits, ids, count, context, temperature, top_k, us)` -> 列表：`ids`（列表）加上 `count` 个新 token。
  `next_logits(seen)` 给出在 `seen` 之后的 logits (V,)，`seen` 是目前所有 id 中最后 `context` 个（不足则全部）组成的数组；
  `us` 的第 i 个数选出第 i 个新 token。

新的 token 需要之前所有 token 的 key 和 value，但它们不再变化，因此可以保存：

    缓存 k  [ k_0 k_1 k_2 ] + [ k_3 ]      只需为 q_3 计算一行分数，
    缓存 v  [ v_0 v_1 v_2 ] + [ v_3 ]      而不是四行

- `attend(q, k, v, cache)` -> (out, new_cache)，用于 n 个新位置的数组 (B, H, n, d)。`cache` 起初为 None，之后是上一次调用的
  结果；其中的位置在新位置之前。注意力是因果的，分数除以 sqrt(d)，out (B, H, n, d) 等于对整个序列做注意力时新位置的结果。
"""

import numpy as np


def probabilities(logits, temperature, top_k):
    """logits (V,) -> (V,), 1 together."""
    # <hole>
    if temperature == 0:
        p = np.zeros(len(logits))
        p[np.argmax(logits)] = 1.0
        return p
    p = np.exp((logits - np.max(logits)) / temperature)
    if top_k is not None and top_k < len(p):
        p = np.where(p >= np.sort(p)[-top_k], p, 0.0)
    return p / np.sum(p)
    # </hole>


def pick(p, u):
    """p (V,), u in [0, 1) -> a token."""
    # <hole>
    return int(np.argmax(np.cumsum(p) > u))
    # </hole>


def generate(next_logits, ids, count, context, temperature, top_k, us):
    """A list of ids -> the same with `count` more."""
    # <hole>
    ids = list(ids)
    for i in range(count):
        logits = next_logits(np.array(ids[-context:]))
        ids.append(pick(probabilities(logits, temperature, top_k), us[i]))
    return ids
    # </hole>


def attend(q, k, v, cache):
    """q, k, v (B, H, n, d), a cache or None -> out (B, H, n, d), the new cache."""
    # <hole>
    if cache is not None:
        k = np.concatenate([cache[0], k], axis=2)
        v = np.concatenate([cache[1], v], axis=2)
    before = k.shape[2] - q.shape[2]
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    own = before + np.arange(q.shape[2])[:, None]
    scores = np.where(np.arange(k.shape[2]) <= own, scores, -np.inf)
    e = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True) @ v, (k, v)
    # </hole>
