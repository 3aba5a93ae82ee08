"""The NumPy kernels: pure functions from arrays to arrays, written for few passes over memory.

Large arrays are worked through in blocks of rows that stay in the cache. A `*_vjp` takes the cotangent of the output
and what the forward saved, and returns the cotangents of the inputs; no input is ever written to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BLOCK = 1 << 15  # entries: 128 KB of float32
QUERY_BLOCK = 64  # positions whose attention weights are computed at once
FEW_ROWS = 4  # up to here, that many matrix-vector products read a matrix faster than one matrix product does
SQRT_2_OVER_PI = math.sqrt(2 / math.pi)  # a Python float, so that float32 stays float32


def rows(x: Array) -> Array:
    """The array as a matrix, its last axis kept."""
    return x.reshape(-1, x.shape[-1]) if x.size else x.reshape(0, max(x.shape[-1], 1))


def blocks(x: Array) -> Iterator[slice]:
    """Slices over the first axis that take about BLOCK entries each."""
    step = max(1, BLOCK // max(1, x[0].size)) if len(x) else 1
    return (slice(i, i + step) for i in range(0, len(x), step))


def linear(x: Array, w: Array, b: Array | None) -> Array:
    """x (..., K) @ w (K, N) + b (N)."""
    x2 = rows(x)
    few = 1 < len(x2) <= FEW_ROWS
    out = np.stack([row @ w for row in x2]) if few else np.matmul(x2, w)
    if b is not None:
        out += b
    return out.reshape(*x.shape[:-1], w.shape[1])


def linear_vjp(g: Array, x: Array, w: Array, bias: bool) -> tuple[Array, Array, Array | None]:
    """Cotangents of x, w and b. That of w is laid out in memory as w is."""
    g2, x2 = rows(g), rows(x)
    for_x = np.matmul(g2, w.T).reshape(x.shape)
    for_w = x2.T @ g2 if w.flags.c_contiguous else (g2.T @ x2).T
    return for_x, for_w, g2.sum(axis=0) if bias else None


def gelu(x: Array) -> tuple[Array, Array]:
    """0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), and the tanh."""
    flat = x.reshape(-1)
    out, tanh = np.empty_like(flat), np.empty_like(flat)
    for part in blocks(flat):
        v, t, o = flat[part], tanh[part], out[part]
        np.multiply(v, v, out=t)
        t *= 0.044715 * SQRT_2_OVER_PI
        t += SQRT_2_OVER_PI
        t *= v
        np.tanh(t, out=t)
        np.add(t, 1, out=o)
        o *= v
        o *= 0.5
    return out.reshape(x.shape), tanh.reshape(x.shape)


def gelu_vjp(g: Array, tanh: Array, x: Array) -> Array:
    """g * (0.5 (1 + tanh) + 0.5 x (1 - tanh^2) sqrt(2/pi) (1 + 3 * 0.044715 x^2))."""
    flat, flat_tanh, flat_g = x.reshape(-1), tanh.reshape(-1), g.reshape(-1)
    out = np.empty_like(flat)
    scratch = np.empty(min(len(flat), BLOCK), x.dtype)
    for part in blocks(flat):
        v, t, o = flat[part], flat_tanh[part], out[part]
        s = scratch[: len(v)]
        np.multiply(v, v, out=o)
        o *= 3 * 0.044715 * SQRT_2_OVER_PI
        o += SQRT_2_OVER_PI
        o *= v
        np.subtract(1, t, out=s)
        o *= s  # (1 - t) x inner'; times (1 + t) below
        o += 1
        np.add(t, 1, out=s)
        o *= s
        o *= 0.5
        o *= flat_g[part]
    return out.reshape(x.shape)


def layer_norm(x: Array, gain: Array, bias: Array, eps: float) -> tuple[Array, tuple[Array, Array]]:
    """(x - mean) / sqrt(variance + eps) * gain + bias over the last axis; also the normalised x and 1 / std."""
    x2 = rows(x)
    n = x2.shape[1]
    unit, out, rstd = np.empty_like(x2), np.empty_like(x2), np.empty((len(x2), 1), x.dtype)
    for part in blocks(x2):
        u, r = unit[part], rstd[part]
        np.subtract(x2[part], x2[part].sum(axis=1, keepdims=True) / n, out=u)
        variance = np.einsum("ij,ij->i", u, u)[:, None] / n
        np.divide(1, np.sqrt(variance + eps), out=r)
        u *= r
        np.multiply(u, gain, out=out[part])
        out[part] += bias
    return out.reshape(x.shape), (unit, rstd)


def layer_norm_vjp(g: Array, saved: tuple[Array, Array], gain: Array) -> tuple[Array, Array, Array]:
    """Cotangents of x, gain and bias: for x, rstd * (h - mean(h) - unit * mean(h * unit)) with h = g * gain."""
    unit, rstd = saved
    g2 = rows(g)
    n = g2.shape[1]
    out = np.empty_like(unit)
    for part in blocks(unit):
        u, h = unit[part], out[part]
        np.multiply(g2[part], gain, out=h)
        along = np.einsum("ij,ij->i", h, u)[:, None] / n
        h -= h.mean(axis=1, keepdims=True)
        h -= u * along
        h *= rstd[part]
    return out.reshape(g.shape), np.einsum("ij,ij->j", g2, unit), g2.sum(axis=0)


def softmax(x: Array) -> Array:
    """exp(x - max) / sum over the last axis. A row that is -inf everywhere becomes zeros."""
    top = x.max(axis=-1, keepdims=True, initial=-np.inf)
    out = x - np.where(np.isfinite(top), top, 0)
    np.exp(out, out=out)
    total = out.sum(axis=-1, keepdims=True)
    out /= np.where(total == 0, 1, total)
    return out


def softmax_vjp(g: Array, p: Array) -> Array:
    """p * (g - sum(g * p)) over the last axis."""
    out = g * p
    along = out.sum(axis=-1, keepdims=True)
    out -= p * along
    return out


def causal_attention(qkv: Array, heads: int, keep: Array | None) -> tuple[Array, tuple[Array, Array]]:
    """softmax(Q K^T / sqrt(d_k) + causal mask) V for every head, from packed (B, T, 3C) to merged (B, T, C).

    `keep`, (B, H, T, T), multiplies the weights (dropout). Also returns the weights before and after it.
    """
    q, k, v = _heads(qkv, heads)  # (B, H, T, d)
    T, d = q.shape[-2:]
    weights = np.matmul(q, k.swapaxes(-1, -2))  # (B, H, T, T)
    weights *= 1 / math.sqrt(d)
    weights += np.triu(np.full((T, T), -np.inf, qkv.dtype), 1)
    weights -= weights.max(axis=-1, keepdims=True, initial=-np.inf)
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=-1, keepdims=True)
    kept = weights if keep is None else weights * keep
    out = np.empty((*qkv.shape[:-1], qkv.shape[-1] // 3), qkv.dtype)
    np.matmul(kept, v, out=_split(out, heads))
    return out, (weights, kept)


def causal_attention_vjp(g: Array, saved: tuple[Array, Array], qkv: Array, heads: int, keep: Array | None) -> Array:
    """The cotangent of the packed qkv."""
    weights, kept = saved
    q, k, v = _heads(qkv, heads)
    out = np.empty_like(qkv, order="C")
    for_q, for_k, for_v = _heads(out, heads)
    g_heads = _split(g, heads)
    np.matmul(kept.swapaxes(-1, -2), g_heads, out=for_v)
    scores = np.matmul(g_heads, v.swapaxes(-1, -2))
    if keep is not None:
        scores *= keep
    scores -= np.einsum("...ij,...ij->...i", scores, weights)[..., None]
    scores *= weights
    scores *= 1 / math.sqrt(q.shape[-1])
    np.matmul(scores, k, out=for_q)
    np.matmul(scores.swapaxes(-1, -2), q, out=for_k)
    return out


def cached_attention(qkv: Array, keys: Array, values: Array, start: int) -> Array:
    """Causal attention of the positions `start`, `start` + 1... to themselves and to all before, whose keys are kept.

    qkv (B, T, 3C) -> (B, T, C). The T new keys and values are written into `keys` and `values`, both (B, H, L, d). The
    queries are taken in blocks: a block needs the keys up to its own end only, and one block of weights fits the cache.
    """
    q, k, v = _heads(qkv, keys.shape[1])  # (B, H, T, d)
    T, d = q.shape[-2:]
    keys[:, :, start : start + T], values[:, :, start : start + T] = k, v
    q = q * np.asarray(1 / math.sqrt(d), q.dtype)
    out = np.empty((*qkv.shape[:-1], qkv.shape[-1] // 3), qkv.dtype)
    merged = _split(out, keys.shape[1])  # (B, H, T, d)
    for i in range(0, T, QUERY_BLOCK):
        part = slice(i, min(i + QUERY_BLOCK, T))
        size, end = part.stop - i, start + part.stop
        weights = np.matmul(q[:, :, part], keys[:, :, :end].swapaxes(-1, -2))  # (B, H, block, end)
        if size > 1:
            weights[..., end - size :] += np.triu(np.full((size, size), -np.inf, weights.dtype), 1)
        weights -= weights.max(axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        total = weights.sum(axis=-1, keepdims=True)
        np.divide(np.matmul(weights, values[:, :, :end]), total, out=merged[:, :, part])
    return out


def _split(x: Array, heads: int) -> Array:
    """(B, T, C) -> a view (B, H, T, d)."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).swapaxes(-2, -3)


def _heads(qkv: Array, heads: int) -> tuple[Array, Array, Array]:
    """(B, T, 3C) -> three views (B, H, T, d)."""
    width = qkv.shape[-1] // 3
    q, k, v = (_split(qkv[..., i * width : (i + 1) * width], heads) for i in range(3))
    return q, k, v


def cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array]:
    """The mean of logsumexp(row) - row[target] over (N, V) logits, and the probabilities."""
    p = np.empty_like(logits)
    losses = np.empty(len(logits), logits.dtype)
    for part in blocks(logits):
        x, row = logits[part], p[part]
        np.subtract(x, x.max(axis=1, keepdims=True), out=row)
        picked = row[np.arange(len(row)), targets[part]]
        np.exp(row, out=row)
        total = row.sum(axis=1, keepdims=True)
        row /= total
        losses[part] = np.log(total[:, 0]) - picked
    return np.asarray(losses.mean(dtype=np.float64), logits.dtype), p


def cross_entropy_vjp(g: Array, p: Array, targets: Array) -> Array:
    """(p - onehot(target)) * g / N."""
    scale = g / len(p)
    out = p * scale
    out[np.arange(len(p)), targets] -= scale
    return out


def adamw(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    *,
    step_size: float,
    betas: tuple[float, float],
    eps: float,
    shrink: float,
    root: float,
) -> None:
    """One update of flat arrays, in place: p, and the running means m of g and v of g^2.

    p = p * shrink - step_size * m / (sqrt(v) / root + eps), where `root` is sqrt(1 - beta2^t).
    """
    scratch = np.empty(min(len(p), BLOCK), p.dtype)
    for part in blocks(p):
        s = scratch[: len(p[part])]
        np.multiply(g[part], 1 - betas[0], out=s)
        m[part] *= betas[0]
        m[part] += s
        np.multiply(g[part], g[part], out=s)
        s *= 1 - betas[1]
        v[part] *= betas[1]
        v[part] += s
        np.sqrt(v[part], out=s)
        s *= 1 / root
        s += eps
        np.divide(m[part], s, out=s)
        s *= step_size
        p[part] *= shrink
        p[part] -= s
