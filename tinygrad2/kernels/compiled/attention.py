"""Causal attention, head by head: compiled loops around a library's products of small matrices.

The algorithm is the reference's, but what happens between two products is one pass over weights that are in the cache.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32, int64, prange, types, void

from tinygrad2.kernels import reference
from tinygrad2.kernels.compiled.arithmetic import ONE, F, bounds, compiled, exp, fits, largest, parts_of, spread, vector
from tinygrad2.kernels.compiled.gemm import gemm
from tinygrad2.kernels.mkl import PLAIN, TRANSPOSED
from tinygrad2.kernels.products import mkl
from tinygrad2.kernels.reference import QUERY_BLOCK, Array

packed, per_row = float32[:, :, ::1], float32[:, :, :, ::1]
SIZE = 4  # bytes of a float32
HIDDEN = F(-3e38)  # the score of what follows a query: its weight is 0, and rows are as long as the library's blocks


@compiled(types.UniTuple(float32, 2)(vector, int64))
def _to_weights(row: Any, seen: Any) -> Any:
    """A row of scores becomes its exponentials; gives what was subtracted first, and their sum."""
    for j in range(seen, len(row)):
        row[j] = HIDDEN
    top = largest(row)
    total = F(0)
    for j in range(len(row)):
        e = exp(row[j] - top)
        row[j] = e
        total += e
    return top, total


@compiled(void(vector, float32))
def _times(row: Any, factor: Any) -> None:
    for j in range(len(row)):
        row[j] *= factor


@compiled(void(vector, vector, int64, float32, float32, float32))
def _to_cotangents(row: Any, score: Any, seen: Any, top: Any, one_over: Any, scale: Any) -> None:
    """A row of scores becomes its weights, and a row of their cotangents those of the scores."""
    for j in range(seen, len(row)):
        row[j] = HIDDEN
    along = F(0)
    for j in range(len(row)):
        p = exp(row[j] - top) * one_over
        row[j] = p
        along += p * score[j]
    for j in range(len(row)):
        score[j] = (score[j] - along) * row[j] * scale


@compiled(void(int64, packed, int64, packed, per_row, per_row, int64, int64))
def _forward(f: Any, qkv: Any, heads: Any, out: Any, tops: Any, totals: Any, start: Any, stop: Any) -> None:
    """The heads `start` to `stop`, counted through all sequences."""
    T, W = qkv.shape[1:]
    C = W // 3
    d = C // heads
    scale = F(1 / math.sqrt(d))
    weights = np.empty((min(QUERY_BLOCK, T), T), F)
    w = weights.ctypes.data
    for unit in range(start, stop):
        b, h = unit // heads, unit % heads
        q = qkv.ctypes.data + SIZE * (b * T * W + h * d)
        k, v = q + SIZE * C, q + SIZE * 2 * C
        o = out.ctypes.data + SIZE * (b * T * C + h * d)
        for i in range(0, T, QUERY_BLOCK):
            n = min(QUERY_BLOCK, T - i)
            m = i + n
            gemm(f, PLAIN, TRANSPOSED, n, m, d, scale, q + SIZE * i * W, W, k, W, F(0), w, T)
            for r in range(n):
                top, total = _to_weights(weights[r, :m], i + r + 1)
                tops[b, h, i + r, 0], totals[b, h, i + r, 0] = top, total
            gemm(f, PLAIN, PLAIN, n, d, m, ONE, w, T, v, W, F(0), o + SIZE * i * C, C)
            for r in range(n):
                _times(out[b, i + r, h * d : (h + 1) * d], ONE / totals[b, h, i + r, 0])


@spread(void(int64, packed, int64, packed, per_row, per_row, int64))
def _forward_spread(f: Any, qkv: Any, heads: Any, out: Any, tops: Any, totals: Any, parts: Any) -> None:
    for part in prange(parts):
        start, stop = bounds(len(qkv) * heads, part, parts)
        _forward(f, qkv, heads, out, tops, totals, start, stop)


@compiled(void(int64, packed, packed, int64, per_row, per_row, packed, int64, int64))
def _backward(
    f: Any, g: Any, qkv: Any, heads: Any, tops: Any, totals: Any, out: Any, start: Any, stop: Any
) -> None:
    """The same for the cotangent of qkv; those of keys and values must be zeros at first."""
    T, W = qkv.shape[1:]
    C = W // 3
    d = C // heads
    scale = F(1 / math.sqrt(d))
    weights = np.empty((min(QUERY_BLOCK, T), T), F)
    scores = np.empty((min(QUERY_BLOCK, T), T), F)
    w, s = weights.ctypes.data, scores.ctypes.data
    for unit in range(start, stop):
        b, h = unit // heads, unit % heads
        out[b, :, C + h * d : C + (h + 1) * d] = F(0)
        out[b, :, 2 * C + h * d : 2 * C + (h + 1) * d] = F(0)
        q = qkv.ctypes.data + SIZE * (b * T * W + h * d)
        k, v = q + SIZE * C, q + SIZE * 2 * C
        for_q = out.ctypes.data + SIZE * (b * T * W + h * d)
        for_k, for_v = for_q + SIZE * C, for_q + SIZE * 2 * C
        g_head = g.ctypes.data + SIZE * (b * T * C + h * d)
        for i in range(0, T, QUERY_BLOCK):
            n = min(QUERY_BLOCK, T - i)
            m = i + n
            q_block, g_block = q + SIZE * i * W, g_head + SIZE * i * C
            gemm(f, PLAIN, TRANSPOSED, n, m, d, scale, q_block, W, k, W, F(0), w, T)
            gemm(f, PLAIN, TRANSPOSED, n, m, d, ONE, g_block, C, v, W, F(0), s, T)
            for r in range(n):
                top, total = tops[b, h, i + r, 0], totals[b, h, i + r, 0]
                _to_cotangents(weights[r, :m], scores[r, :m], i + r + 1, top, ONE / total, scale)
            gemm(f, TRANSPOSED, PLAIN, m, d, n, ONE, w, T, g_block, C, ONE, for_v, W)
            gemm(f, PLAIN, PLAIN, n, d, m, ONE, s, T, k, W, F(0), for_q + SIZE * i * W, W)
            gemm(f, TRANSPOSED, PLAIN, m, d, n, ONE, s, T, q_block, W, ONE, for_k, W)


@spread(void(int64, packed, packed, int64, per_row, per_row, packed, int64))
def _backward_spread(f: Any, g: Any, qkv: Any, heads: Any, tops: Any, totals: Any, out: Any, parts: Any) -> None:
    for part in prange(parts):
        start, stop = bounds(len(qkv) * heads, part, parts)
        _backward(f, g, qkv, heads, tops, totals, out, start, stop)


def causal_attention(qkv: Array, heads: int, keep: Array | None) -> tuple[Array, Array]:
    """See `reference.causal_attention`."""
    library = mkl()
    if keep is not None or library is None or not fits(qkv):
        return reference.causal_attention(qkv, heads, keep)
    x = qkv.reshape(-1, *qkv.shape[-2:])
    B, T, W = x.shape
    out, saved = np.empty((B, T, W // 3), F), np.empty((2, B, heads, T, 1), F)
    _forward_spread(library.sgemm, x, heads, out, *saved, parts_of(B * heads, 1))
    return out.reshape(*qkv.shape[:-1], W // 3), saved


def causal_attention_vjp(g: Array, saved: Array, qkv: Array, heads: int, keep: Array | None) -> Array:
    """See `reference.causal_attention_vjp`."""
    library = mkl()
    if keep is not None or library is None or not fits(g, qkv, saved):
        return reference.causal_attention_vjp(g, saved, qkv, heads, keep)
    x = qkv.reshape(-1, *qkv.shape[-2:])
    B, T, W = x.shape
    out, g = np.empty_like(x), g.reshape(B, T, W // 3)
    _backward_spread(library.sgemm, g, x, heads, *saved, out, parts_of(B * heads, 1))
    return out.reshape(qkv.shape)
