"""Causal attention, head by head: compiled loops around a library's products of small matrices.

The algorithm is the reference's, but what happens between two products is one pass over weights that are in the cache.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32, int64, prange, types, void

from tinygrad2.kernels import reference
from tinygrad2.kernels.fast.compiled.arithmetic import ONE, F, bounds, compiled, exp, fits, largest, parts_of, spread, vector
from tinygrad2.kernels.fast.compiled.gemm import gemm
from tinygrad2.kernels.fast.compiled.loops import round_row
from tinygrad2.kernels.fast.libraries import PLAIN, TRANSPOSED
from tinygrad2.kernels.fast.products import library, operand, round_to_bfloat16
from tinygrad2.kernels.reference import QUERY_BLOCK
from tinygrad2.types import Array

packed, per_row = float32[:, :, ::1], float32[:, :, :, ::1]
per_row_in = types.Array(float32, 4, "C", readonly=True)
SIZE, HALF_SIZE = 4, 2  # bytes of a float32, and of a bfloat16


@compiled(types.UniTuple(float32, 2)(vector, int64))
def _to_weights(row: Any, seen: Any) -> Any:
    """A row of scores becomes its exponentials, 0 of what follows; gives what was subtracted first, and their sum."""
    top = largest(row[:seen])
    total = F(0)
    for j in range(seen):
        e = exp(row[j] - top)
        row[j] = e
        total += e
    for j in range(seen, len(row)):
        row[j] = F(0)
    return top, total


@compiled(void(vector, float32))
def _times(row: Any, factor: Any) -> None:
    for j in range(len(row)):
        row[j] *= factor


@compiled(void(vector, vector, int64, float32, float32, float32))
def _to_cotangents(row: Any, score: Any, seen: Any, top: Any, one_over: Any, scale: Any) -> None:
    """A row of scores becomes its weights, and a row of their cotangents those of the scores."""
    along = F(0)
    for j in range(seen):
        p = exp(row[j] - top) * one_over
        row[j] = p
        along += p * score[j]
    for j in range(seen):
        score[j] = (score[j] - along) * row[j] * scale
    for j in range(seen, len(row)):
        row[j] = score[j] = F(0)


@compiled(void(int64, int64, int64, packed, per_row, per_row, int64, int64))
def _forward(f: Any, qkv: Any, size: Any, out: Any, tops: Any, totals: Any, start: Any, stop: Any) -> None:
    """The heads `start` to `stop`, counted through all sequences. `qkv` is an address, its numbers have `size` bytes."""
    T, C, H = out.shape[1], out.shape[2], tops.shape[1]
    d, W = C // H, 3 * C
    scale = F(1 / math.sqrt(d))
    weights = np.empty((min(QUERY_BLOCK, T), T), F)
    rounded = np.empty((min(QUERY_BLOCK, T), T if size == HALF_SIZE else 1), np.uint16)
    scores, w = weights.ctypes.data, rounded.ctypes.data if size == HALF_SIZE else weights.ctypes.data
    for unit in range(start, stop):
        b, h = unit // H, unit % H
        q = qkv + size * (b * T * W + h * d)
        k, v = q + size * C, q + size * 2 * C
        o = out.ctypes.data + SIZE * (b * T * C + h * d)
        for i in range(0, T, QUERY_BLOCK):
            n = min(QUERY_BLOCK, T - i)
            m = i + n
            gemm(f, PLAIN, TRANSPOSED, n, m, d, scale, q + size * i * W, W, k, W, F(0), scores, T)
            for r in range(n):
                top, total = _to_weights(weights[r, :m], i + r + 1)
                tops[b, h, i + r, 0], totals[b, h, i + r, 0] = top, total
                if size == HALF_SIZE:
                    round_row(weights[r, :m], rounded[r, :m])
            gemm(f, PLAIN, PLAIN, n, d, m, ONE, w, T, v, W, F(0), o + SIZE * i * C, C)
            for r in range(n):
                _times(out[b, i + r, h * d : (h + 1) * d], ONE / totals[b, h, i + r, 0])


@compiled(void(int64, int64, int64, int64, per_row_in, per_row_in, packed, int64, int64))
def _backward(f: Any, g: Any, qkv: Any, size: Any, tops: Any, totals: Any, out: Any, start: Any, stop: Any) -> None:
    """The same for the cotangent of qkv, from `g` at an address too."""
    T, W, H = out.shape[1], out.shape[2], tops.shape[1]
    C = W // 3
    d = C // H
    scale = F(1 / math.sqrt(d))
    weights, scores = np.empty((min(QUERY_BLOCK, T), T), F), np.empty((min(QUERY_BLOCK, T), T), F)
    rounded = np.empty((2, min(QUERY_BLOCK, T), T if size == HALF_SIZE else 1), np.uint16)
    w, s = weights.ctypes.data, scores.ctypes.data
    w_in, s_in = (rounded[0].ctypes.data, rounded[1].ctypes.data) if size == HALF_SIZE else (w, s)
    for unit in range(start, stop):
        b, h = unit // H, unit % H
        out[b, :, C + h * d : C + (h + 1) * d] = F(0)
        out[b, :, 2 * C + h * d : 2 * C + (h + 1) * d] = F(0)
        q = qkv + size * (b * T * W + h * d)
        k, v = q + size * C, q + size * 2 * C
        for_q = out.ctypes.data + SIZE * (b * T * W + h * d)
        for_k, for_v = for_q + SIZE * C, for_q + SIZE * 2 * C
        g_head = g + size * (b * T * C + h * d)
        for i in range(0, T, QUERY_BLOCK):
            n = min(QUERY_BLOCK, T - i)
            m = i + n
            q_block, g_block = q + size * i * W, g_head + size * i * C
            gemm(f, PLAIN, TRANSPOSED, n, m, d, scale, q_block, W, k, W, F(0), w, T)
            gemm(f, PLAIN, TRANSPOSED, n, m, d, ONE, g_block, C, v, W, F(0), s, T)
            for r in range(n):
                top, total = tops[b, h, i + r, 0], totals[b, h, i + r, 0]
                _to_cotangents(weights[r, :m], scores[r, :m], i + r + 1, top, ONE / total, scale)
                if size == HALF_SIZE:
                    round_row(weights[r, :m], rounded[0, r, :m])
                    round_row(scores[r, :m], rounded[1, r, :m])
            gemm(f, TRANSPOSED, PLAIN, m, d, n, ONE, w_in, T, g_block, C, ONE, for_v, W)
            gemm(f, PLAIN, PLAIN, n, d, m, ONE, s_in, T, k, W, F(0), for_q + SIZE * i * W, W)
            gemm(f, TRANSPOSED, PLAIN, m, d, n, ONE, s_in, T, q_block, W, ONE, for_k, W)


@spread(void(int64, int64, int64, packed, per_row, per_row, int64))
def _forward_spread(f: Any, qkv: Any, size: Any, out: Any, tops: Any, totals: Any, parts: Any) -> None:
    for part in prange(parts):
        start, stop = bounds(tops.shape[0] * tops.shape[1], part, parts)
        _forward(f, qkv, size, out, tops, totals, start, stop)


@spread(void(int64, int64, int64, int64, per_row_in, per_row_in, packed, int64))
def _backward_spread(f: Any, g: Any, qkv: Any, size: Any, tops: Any, totals: Any, out: Any, parts: Any) -> None:
    for part in prange(parts):
        start, stop = bounds(tops.shape[0] * tops.shape[1], part, parts)
        _backward(f, g, qkv, size, tops, totals, out, start, stop)


def causal_attention(qkv: Array, heads: int, keep: Array | None) -> tuple[Array, tuple[Array, Array | None]]:
    """See `reference.causal_attention`."""
    if keep is not None or not fits(qkv):
        return reference.causal_attention(qkv, heads, keep)
    x = operand(qkv.reshape(-1, *qkv.shape[-2:]))
    blas = library(x.dtype)
    if blas is None:
        return reference.causal_attention(qkv, heads, keep)
    B, T, W = x.shape
    out, saved = np.empty((B, T, W // 3), F), np.empty((2, B, heads, T, 1), F)
    _forward_spread(blas.address(x.dtype), x.ctypes.data, x.itemsize, out, *saved, parts_of(B * heads, 1))
    return out.reshape(*qkv.shape[:-1], W // 3), (saved, x if x.dtype != qkv.dtype else None)


def causal_attention_vjp(g: Array, saved: tuple[Array, Array | None], qkv: Array, heads: int, keep: Array | None) -> Array:
    """See `reference.causal_attention_vjp`."""
    rows, rounded = saved
    blas = library(np.dtype(np.float32 if rounded is None else np.uint16))
    if blas is None or (rounded is None and (keep is not None or not fits(g, rows, qkv))):
        return reference.causal_attention_vjp(g, saved, qkv, heads, keep)
    B, H, T, _ = rows.shape[1:]
    g = np.ascontiguousarray(g, F).reshape(B, T, -1)
    x, g = (qkv, g) if rounded is None else (rounded, round_to_bfloat16(g))
    out = np.empty((B, T, qkv.shape[-1]), F)
    _backward_spread(blas.address(x.dtype), g.ctypes.data, x.ctypes.data, x.itemsize, *rows, out, parts_of(B * H, 1))
    return out.reshape(qkv.shape)
