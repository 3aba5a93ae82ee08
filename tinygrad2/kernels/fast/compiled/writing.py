"""A few rows times a matrix, and a whole block for a few new tokens: what writing token by token consists of.

Each token reads every weight once, so the time is that of memory. Weights lie by rows, one for each output: float32, or int8
with a scale for each row, which is a quarter of the bytes. A block is looked at once, and not each of its ops for itself:
the interpreter would take longer between them than they do.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import boolean, float32, int8, int64, prange, types, void

from tinygrad2.kernels import reference
from tinygrad2.kernels.fast.compiled import gemm
from tinygrad2.kernels.fast.compiled.arithmetic import (
    F,
    bounds,
    compiled,
    exp,
    fits,
    largest,
    matrix,
    parts_of,
    row_in,
    rows_in,
    spread,
)
from tinygrad2.kernels.fast.compiled.loops import _gelu, _layer_norm
from tinygrad2.kernels.fast.products import rounds
from tinygrad2.kernels.reference import FEW, FEWEST, Layer, rows
from tinygrad2.types import Array

kept, code_in, codes_in = float32[:, :, :, ::1], *(types.Array(int8, axes, "C", readonly=True) for axes in (1, 2))


@compiled([float32(row, row_in) for row in (row_in, code_in)])
def _dot(row: Any, x: Any) -> Any:
    total = F(0)
    for k in range(len(row)):
        total += F(row[k]) * x[k]
    return total


@compiled([types.UniTuple(float32, 2)(row, row, row_in) for row in (row_in, code_in)])
def _two_dots(row: Any, other: Any, x: Any) -> Any:
    total, second = F(0), F(0)
    for k in range(len(row)):
        total += F(row[k]) * x[k]
        second += F(other[k]) * x[k]
    return total, second


@compiled([void(rows_in, w, row_in, row_in, matrix, boolean, int64, int64) for w in (rows_in, codes_in)])
def _products(x: Any, w: Any, scale: Any, bias: Any, out: Any, add: Any, start: Any, stop: Any) -> None:
    """The outputs `start` to `stop`, or what is added to them. Memory is read fastest in two places at a time, far apart."""
    half = (stop - start) // 2
    for m in range(len(x)):
        for n in range(start, stop if not add else start):
            out[m, n] = F(0)
    for n in range(start, start + half):
        for m in range(len(x)):
            y, z = _two_dots(w[n], w[n + half], x[m])
            out[m, n] += y * scale[n] + bias[n]
            out[m, n + half] += z * scale[n + half] + bias[n + half]
    for n in range(start + 2 * half, stop):
        for m in range(len(x)):
            out[m, n] += _dot(w[n], x[m]) * scale[n] + bias[n]


@spread([void(rows_in, w, row_in, row_in, matrix, boolean, int64) for w in (rows_in, codes_in)])
def _products_spread(x: Any, w: Any, scale: Any, bias: Any, out: Any, add: Any, parts: Any) -> None:
    for part in prange(parts):
        i, j = bounds(len(w), part, parts)
        _products(x, w, scale, bias, out, add, i, j)


@compiled(void(rows_in, kept, kept, int64, int64, matrix, int64, int64))
def _attention(qkv: Any, keys: Any, values: Any, past: Any, T: Any, out: Any, start: Any, stop: Any) -> None:
    """The heads `start` to `stop`, counted through all sequences; `past` positions are kept, and T more come now."""
    H, d = keys.shape[1], keys.shape[3]
    scale = F(1 / math.sqrt(d))
    weights = np.empty(past + T, F)
    for unit in range(start, stop):
        b, h = unit // H, unit % H
        for t in range(T):
            keys[b, h, past + t] = qkv[b * T + t, (H + h) * d : (H + h + 1) * d]
            values[b, h, past + t] = qkv[b * T + t, (2 * H + h) * d : (2 * H + h + 1) * d]
        for t in range(T):
            q, o, seen = qkv[b * T + t, h * d : (h + 1) * d], out[b * T + t, h * d : (h + 1) * d], past + t + 1
            for j in range(seen):
                weights[j] = _dot(keys[b, h, j], q) * scale
            top = largest(weights[:seen])
            total = F(0)
            for j in range(seen):
                weights[j] = exp(weights[j] - top)
                total += weights[j]
            o[:] = F(0)
            for j in range(seen):
                share = weights[j] / total
                for i in range(d):
                    o[i] += share * values[b, h, j, i]


@spread(void(rows_in, kept, kept, int64, matrix, int64))
def _attention_spread(qkv: Any, keys: Any, values: Any, past: Any, out: Any, parts: Any) -> None:
    for part in prange(parts):
        i, j = bounds(keys.shape[0] * keys.shape[1], part, parts)
        _attention(qkv, keys, values, past, len(qkv) // len(keys), out, i, j)


def _fits(w: Array) -> bool:
    """Whether these are rows of weights as compiled code reads them."""
    return fits(w) or (w.dtype == np.int8 and w.flags.c_contiguous and bool(w.size))


@functools.cache
def _all(value: float, n: int) -> Array:
    """What stands for the scales of float32 rows, and for a bias that there is not."""
    return np.full(n, value, F)


def _whole(w: Array, scale: Array | None, b: Array | None) -> tuple[Array, Array, Array]:
    return w, _all(1, len(w)) if scale is None else scale, _all(0, len(w)) if b is None else b


def _few(x: Array, w: Array, scale: Array | None, b: Array | None) -> Array:
    out = np.empty((*x.shape[:-1], len(w)), F)
    _products_spread(rows(x), *_whole(w, scale, b), rows(out), False, parts_of(len(w), FEWEST))
    return out


def linear(x: Array, w: Array, b: Array | None) -> tuple[Array, Array | None]:
    """See `reference.linear`."""
    if 0 < x.size <= FEW * len(w) and fits(x, w.T) and (b is None or fits(b)) and not rounds():
        return _few(x, w.T, None, b), None
    return gemm.linear(x, w, b)


def scaled_linear(x: Array, w: Array, scale: Array, b: Array | None) -> Array:
    """See `reference.scaled_linear`."""
    if 0 < x.size <= FEW * w.shape[1] and _fits(w) and fits(x, scale) and (b is None or fits(b)):
        return _few(x, w, scale, b)
    return reference.scaled_linear(x, w, scale, b)


def cached_attention(qkv: Array, keys: Array, values: Array, past: int) -> Array:
    """See `reference.cached_attention`."""
    B, H, C = *keys.shape[:2], qkv.shape[-1] // 3
    if qkv.size > FEW * 3 * C or not fits(qkv, keys, values) or not keys.flags.writeable:
        return reference.cached_attention(qkv, keys, values, past)
    out = np.empty((*qkv.shape[:-1], C), F)
    _attention_spread(rows(qkv), keys, values, past, rows(out), parts_of(B * H, 1))
    return out


def block(
    x: Array, norms: Sequence[Array], eps: float, layers: Sequence[Layer], keys: Array, values: Array, past: int
) -> Array:
    """See `reference.block`."""
    (B, H), C, D = keys.shape[:2], x.shape[-1], len(layers[2][0])
    whole = [_whole(*layer) for layer in layers]
    arrays = [part for _, *others in whole for part in others]
    if x.size > FEW * C or not all(_fits(w) for w, *_ in whole) or not fits(x, *norms, *arrays, keys, values):
        return reference.block(x, norms, eps, layers, keys, values, past)
    M, parts = x.size // C, parts_of(C, FEWEST)
    out, h, qkv, hidden = x.copy(), np.empty((M, C), F), np.empty((M, 3 * C), F), np.empty((M, D), F)
    y, mean, rstd = out.reshape(M, C), np.empty(M, F), np.empty(M, F)
    _layer_norm(y, norms[0], norms[1], eps, h, mean, rstd)  # too little to share
    _products_spread(h, *whole[0], qkv, False, parts)
    _attention_spread(qkv, keys, values, past, h, min(parts, B * H))
    _products_spread(h, *whole[1], y, True, parts)
    _layer_norm(y, norms[2], norms[3], eps, h, mean, rstd)
    _products_spread(h, *whole[2], hidden, False, parts)
    _gelu(hidden.reshape(-1), hidden.reshape(-1))
    _products_spread(hidden, *whole[3], y, True, parts)
    return out
