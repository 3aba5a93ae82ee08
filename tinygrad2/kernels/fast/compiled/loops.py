"""Kernels that are a loop or two over their arrays, with nothing held in between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import float32, float64, int64, prange, uint16, void

from tinygrad2.kernels import reference
from tinygrad2.kernels.fast.compiled.arithmetic import (
    ONE,
    F,
    bounds,
    compiled,
    exp,
    fits,
    indices,
    largest,
    matrix,
    parts_of,
    row_in,
    rows_in,
    spread,
    vector,
)
from tinygrad2.kernels.reference import FEWEST, rows
from tinygrad2.types import Array

LEAST = 1 << 13
"""Entries that are worth a thread of their own."""

totals = float64[::1]

U1, U3 = F(2 * math.sqrt(2 / math.pi)), F(2 * 0.044715 * math.sqrt(2 / math.pi))
U9 = F(3) * U3
INFINITY, SHARPER = F(np.inf), F(reference.SHARPER)
FAR = F(50)  # where GELU is x, or 0, and its slope 1, or 0; squares stay finite


@compiled(void(row_in, vector))
def _gelu(x: Any, out: Any) -> None:
    for i in range(len(x)):
        v = x[i]
        near = (-FAR if v < -FAR else FAR if v > FAR else v) + v * F(0)  # NaN where v is not finite
        s = ONE / (ONE + exp(-near * (U1 + U3 * near * near)))  # (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u))
        out[i] = (v if v > F(0) else near) * s


@spread(void(row_in, vector, int64))
def _gelu_spread(x: Any, out: Any, parts: Any) -> None:
    for part in prange(parts):
        i, j = bounds(len(x), part, parts)
        _gelu(x[i:j], out[i:j])


@compiled(void(row_in, row_in, vector))
def _gelu_vjp(g: Any, x: Any, out: Any) -> None:
    for i in range(len(x)):
        v = x[i]
        v = (-FAR if v < -FAR else FAR if v > FAR else v) + v * F(0)
        e = exp(-v * (U1 + U3 * v * v))
        s = ONE / (ONE + e)
        out[i] = g[i] * s * (ONE + v * (U1 + U9 * v * v) * (e * s))  # 1 - s would have no digit left where s is nearly 1


@spread(void(row_in, row_in, vector, int64))
def _gelu_vjp_spread(g: Any, x: Any, out: Any, parts: Any) -> None:
    for part in prange(parts):
        i, j = bounds(len(x), part, parts)
        _gelu_vjp(g[i:j], x[i:j], out[i:j])


def gelu(x: Array) -> tuple[Array, Array | None]:
    """See `reference.gelu`."""
    if not fits(x):
        return reference.gelu(x)
    out = np.empty_like(x)
    _gelu_spread(x.reshape(-1), out.reshape(-1), parts_of(x.size, LEAST))
    return out, None


def gelu_vjp(g: Array, e: Array | None, x: Array) -> Array:
    """See `reference.gelu_vjp`; the exponential is computed again unless the reference has kept it."""
    if e is not None or not fits(g, x):
        return reference.gelu_vjp(g, e, x)
    out = np.empty_like(x)
    _gelu_vjp_spread(g.reshape(-1), x.reshape(-1), out.reshape(-1), parts_of(x.size, LEAST))
    return out


@compiled(void(totals, rows_in))
def _add_rows_to(total: Any, x: Any) -> None:
    """In float64, or of a million equal rows the third digit would be wrong."""
    four = len(x) // 4 * 4
    for i in range(0, four, 4):  # at once: fewer passes over the totals
        for j in range(len(total)):
            total[j] += x[i, j] + x[i + 1, j] + x[i + 2, j] + x[i + 3, j]
    for i in range(four, len(x)):
        for j in range(len(total)):
            total[j] += x[i, j]


@compiled(void(rows_in, row_in, row_in, float32, matrix, vector, vector))
def _layer_norm(x: Any, gain: Any, bias: Any, eps: Any, out: Any, mean: Any, rstd: Any) -> None:
    n = x.shape[1]
    for i in range(len(x)):
        total = F(0)
        for j in range(n):
            total += x[i, j]
        m = total / F(n)
        squares = F(0)
        for j in range(n):
            squares += (x[i, j] - m) * (x[i, j] - m)
        variance = squares / F(n) + eps
        r = F(0) if variance == INFINITY else ONE / np.sqrt(variance)  # the estimate that processors begin with gives NaN there
        for j in range(n):
            out[i, j] = (x[i, j] - m) * r * gain[j] + bias[j]
        mean[i], rstd[i] = m, r


@spread(void(rows_in, row_in, row_in, float32, matrix, vector, vector, int64))
def _layer_norm_spread(x: Any, gain: Any, bias: Any, eps: Any, out: Any, mean: Any, rstd: Any, parts: Any) -> None:
    for part in prange(parts):
        i, j = bounds(len(x), part, parts)
        _layer_norm(x[i:j], gain, bias, eps, out[i:j], mean[i:j], rstd[i:j])


@compiled(void(rows_in, rows_in, row_in, row_in, row_in, matrix, totals, totals))
def _layer_norm_vjp(g: Any, x: Any, gain: Any, mean: Any, rstd: Any, out: Any, for_gain: Any, for_bias: Any) -> None:
    n = x.shape[1]
    for i in range(len(x)):
        m, r = mean[i], rstd[i]
        if r == F(0):  # the squares overflowed; in another order of the products below, infinity times 0 would be NaN
            for j in range(n):
                out[i, j] = g[i, j] * gain[j] * r
                for_gain[j] += g[i, j] * r
            continue
        total, along = F(0), F(0)
        for j in range(n):
            h = g[i, j] * gain[j]
            total += h
            along += h * (x[i, j] - m)
        total, along = total / F(n), along * r / F(n)
        for j in range(n):
            out[i, j] = (g[i, j] * gain[j] - total - (x[i, j] - m) * r * along) * r
        for j in range(n):
            for_gain[j] += g[i, j] * (x[i, j] - m) * r
    _add_rows_to(for_bias, g)


@spread(void(rows_in, rows_in, row_in, row_in, row_in, matrix, float64[:, ::1], float64[:, ::1], int64))
def _layer_norm_vjp_spread(
    g: Any, x: Any, gain: Any, mean: Any, rstd: Any, out: Any, for_gain: Any, for_bias: Any, parts: Any
) -> None:
    for part in prange(parts):
        i, j = bounds(len(x), part, parts)
        _layer_norm_vjp(g[i:j], x[i:j], gain, mean[i:j], rstd[i:j], out[i:j], for_gain[part], for_bias[part])


def layer_norm(x: Array, gain: Array, bias: Array, eps: float) -> tuple[Array, tuple[Array, Array]]:
    """See `reference.layer_norm`."""
    if not fits(x, gain, bias):
        return reference.layer_norm(x, gain, bias, eps)
    x2 = rows(x)
    out, mean, rstd = np.empty_like(x2), np.empty((len(x2), 1), F), np.empty((len(x2), 1), F)
    _layer_norm_spread(x2, gain, bias, eps, out, mean[:, 0], rstd[:, 0], parts_of(len(x2), FEWEST))
    return out.reshape(x.shape), (mean, rstd)


def layer_norm_vjp(
    g: Array, saved: tuple[Array, Array], x: Array, gain: Array, needed: Sequence[bool]
) -> tuple[Array, Array | None, Array | None]:
    """See `reference.layer_norm_vjp`."""
    mean, rstd = saved
    if not fits(g, x, gain, mean):
        return reference.layer_norm_vjp(g, saved, x, gain, needed)
    g2, x2 = rows(g), rows(x)
    out, parts = np.empty_like(x2), parts_of(len(x2), FEWEST)
    for_gain, for_bias = sums = np.zeros((2, parts, x2.shape[1]))
    _layer_norm_vjp_spread(g2, x2, gain, mean[:, 0], rstd[:, 0], out, for_gain, for_bias, parts)
    for_gain, for_bias = sums.sum(axis=1).astype(F)
    return out.reshape(x.shape), for_gain if needed[1] else None, for_bias if needed[2] else None


@compiled(void(rows_in, int64, int64, rows_in, rows_in, float32, matrix, matrix))
def _rotary(x: Any, first: Any, heads: Any, cos: Any, sin: Any, eps: Any, out: Any, factors: Any) -> None:
    d = x.shape[1] // (3 * heads)
    for i in range(len(x)):
        t = (first + i) % len(cos)
        for h in range(2 * heads):
            squares = F(0)
            for j in range(h * d, (h + 1) * d):
                squares += x[i, j] * x[i, j]
            mean = squares / F(d) + eps
            factor = F(0) if mean == INFINITY else ONE / np.sqrt(mean)
            factor = factor * SHARPER if h < heads else factor
            factors[i, h] = factor
            for pair in range(d // 2):
                j = h * d + 2 * pair
                a, b = x[i, j] * factor, x[i, j + 1] * factor
                out[i, j] = a * cos[t, pair] - b * sin[t, pair]
                out[i, j + 1] = a * sin[t, pair] + b * cos[t, pair]
        for j in range(2 * heads * d, 3 * heads * d):
            out[i, j] = x[i, j]


@spread(void(rows_in, int64, rows_in, rows_in, float32, matrix, matrix, int64))
def _rotary_spread(x: Any, heads: Any, cos: Any, sin: Any, eps: Any, out: Any, factors: Any, parts: Any) -> None:
    for part in prange(parts):
        i, j = bounds(len(x), part, parts)
        _rotary(x[i:j], i, heads, cos, sin, eps, out[i:j], factors[i:j])


@compiled(void(rows_in, rows_in, rows_in, int64, int64, rows_in, rows_in, matrix))
def _rotary_vjp(g: Any, x: Any, factors: Any, first: Any, heads: Any, cos: Any, sin: Any, out: Any) -> None:
    d = g.shape[1] // (3 * heads)
    for i in range(len(g)):
        t = (first + i) % len(cos)
        for h in range(2 * heads):
            factor, along = factors[i, h], F(0)
            for pair in range(d // 2):
                j = h * d + 2 * pair
                a = g[i, j] * cos[t, pair] + g[i, j + 1] * sin[t, pair]
                b = g[i, j + 1] * cos[t, pair] - g[i, j] * sin[t, pair]
                out[i, j], out[i, j + 1] = a, b
                along += a * (x[i, j] * factor) + b * (x[i, j + 1] * factor)
            along = along / (F(d) * SHARPER * SHARPER) if h < heads else along / F(d)
            for j in range(h * d, (h + 1) * d):
                out[i, j] = (out[i, j] - (x[i, j] * factor) * along) * factor
        for j in range(2 * heads * d, 3 * heads * d):
            out[i, j] = g[i, j]


@spread(void(rows_in, rows_in, rows_in, int64, rows_in, rows_in, matrix, int64))
def _rotary_vjp_spread(g: Any, x: Any, factors: Any, heads: Any, cos: Any, sin: Any, out: Any, parts: Any) -> None:
    for part in prange(parts):
        i, j = bounds(len(g), part, parts)
        _rotary_vjp(g[i:j], x[i:j], factors[i:j], i, heads, cos, sin, out[i:j])


def _cos_and_sin(start: int, T: int, d_k: int) -> tuple[Array, Array]:
    turns = reference.turns(start, T, d_k, np.dtype(F))
    return np.ascontiguousarray(turns.real), np.ascontiguousarray(turns.imag)


def rotary(qkv: Array, heads: int, start: int) -> tuple[Array, Array]:
    """See `reference.rotary`."""
    if not fits(qkv):
        return reference.rotary(qkv, heads, start)
    T, columns = qkv.shape[-2:]
    x, cos_and_sin = rows(qkv), _cos_and_sin(start, T, columns // (3 * heads))
    out, factors = np.empty_like(x), np.empty((len(x), 2 * heads), F)
    _rotary_spread(x, heads, *cos_and_sin, reference.TINY, out, factors, parts_of(len(x), FEWEST))
    return out.reshape(qkv.shape), factors.reshape(-1, T, 2 * heads)


def rotary_vjp(g: Array, factors: Array, qkv: Array, heads: int, start: int) -> Array:
    """See `reference.rotary_vjp`."""
    if not fits(g, qkv, factors):
        return reference.rotary_vjp(g, factors, qkv, heads, start)
    T, columns = g.shape[-2:]
    x, cos_and_sin = rows(qkv), _cos_and_sin(start, T, columns // (3 * heads))
    out = np.empty_like(x)
    _rotary_vjp_spread(rows(g), x, factors.reshape(len(x), -1), heads, *cos_and_sin, out, parts_of(len(x), FEWEST))
    return out.reshape(g.shape)


@compiled(void(matrix, indices, float32, vector))
def _to_gradients(logits: Any, targets: Any, scale: Any, losses: Any) -> None:
    for i in range(len(logits)):
        row = logits[i]
        top = largest(row)
        picked = row[targets[i]] - top
        total = F(0)
        for j in range(len(row)):
            e = exp(row[j] - top)
            row[j] = e
            total += e
        factor = scale / total
        for j in range(len(row)):
            row[j] *= factor
        row[targets[i]] -= scale
        losses[i] = np.log(total) - picked


@spread(void(matrix, indices, float32, vector, int64))
def _to_gradients_spread(logits: Any, targets: Any, scale: Any, losses: Any, parts: Any) -> None:
    for part in prange(parts):
        i, j = bounds(len(logits), part, parts)
        _to_gradients(logits[i:j], targets[i:j], scale, losses[i:j])


def to_gradients(logits: Array, targets: Array, scale: float) -> Array:
    """See `reference.to_gradients`."""
    if not fits(logits) or not logits.flags.writeable:
        return reference.to_gradients(logits, targets, scale)
    losses, targets = np.empty(len(logits), F), np.require(targets, np.int64, ["C", "A"])
    _to_gradients_spread(logits, targets, scale, losses, parts_of(len(logits), 1 + LEAST // logits.shape[1]))
    return losses


@compiled(void(vector, row_in, vector, vector, *[float32] * 9))
def _adamw(
    p: Any, g: Any, m: Any, v: Any, step_size: Any, beta1: Any, beta2: Any, rest1: Any, rest2: Any, eps: Any, shrink: Any,
    one_over_root: Any, scale: Any,
) -> None:  # fmt: skip
    """`rest1` and `rest2` are 1 - beta: as a difference, the compiler might multiply it out, and inf - inf is NaN."""
    for i in range(len(p)):
        gradient = scale * g[i]
        mean = beta1 * m[i] + rest1 * gradient
        square = beta2 * v[i] + rest2 * gradient * gradient
        m[i], v[i] = mean, square
        p[i] = p[i] * shrink - step_size * mean / (np.sqrt(square) * one_over_root + eps)


@spread(void(vector, row_in, vector, vector, *[float32] * 9, int64))
def _adamw_spread(
    p: Any, g: Any, m: Any, v: Any, step_size: Any, beta1: Any, beta2: Any, rest1: Any, rest2: Any, eps: Any, shrink: Any,
    one_over_root: Any, scale: Any, parts: Any,
) -> None:  # fmt: skip
    for part in prange(parts):
        i, j = bounds(len(p), part, parts)
        _adamw(p[i:j], g[i:j], m[i:j], v[i:j], step_size, beta1, beta2, rest1, rest2, eps, shrink, one_over_root, scale)


def adamw(p: Array, g: Array, m: Array, v: Array, **how: Any) -> None:
    """See `reference.adamw`."""
    if not fits(p, g, m, v) or not all(x.flags.writeable for x in (p, m, v)):
        return reference.adamw(p, g, m, v, **how)
    beta1, beta2 = how["betas"]
    betas = beta1, beta2, 1 - beta1, 1 - beta2
    rest = how["step_size"], *betas, how["eps"], how["shrink"], 1 / how["root"], how.get("scale", 1.0)
    parts = parts_of(len(p), LEAST)
    if parts == 1:  # of a model's parameters most are small: no thread is worth waking
        _adamw(p, g, m, v, *rest)
    else:
        _adamw_spread(p, g, m, v, *rest, parts)
    return None


@compiled(void(row_in, uint16[::1]))
def round_row(x: Any, out: Any) -> None:
    """float32 to bfloat16."""
    for i in range(len(x)):
        bits = np.float32(x[i]).view(np.uint32)
        rounded = np.uint32(np.uint32(bits + np.uint32(0x7FFF)) + np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1)))
        nan = np.uint32(bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
        out[i] = np.uint16(0x7FC0) if nan else np.uint16(rounded >> np.uint32(16))


@spread(void(row_in, uint16[::1], int64))
def _round(x: Any, out: Any, parts: Any) -> None:
    for part in prange(parts):
        i, j = bounds(len(x), part, parts)
        round_row(x[i:j], out[i:j])


def rounding(x: Array, out: Array) -> None:
    """float32 to bfloat16, both flat; see `products.round_to_bfloat16`."""
    if fits(x):
        _round(x, out, parts_of(len(x), LEAST))
    else:
        reference.rounding(x, out)


@spread(void(row_in, row_in, vector, int64))
def _add(a: Any, b: Any, out: Any, parts: Any) -> None:
    for part in prange(parts):
        i, j = bounds(len(a), part, parts)
        out[i:j] = a[i:j] + b[i:j]


def add(a: Array, b: Array, out: Array | None = None) -> Array:
    """See `reference.add`."""
    out = np.empty_like(a) if out is None else out
    if not fits(a, b, out) or not out.flags.writeable:
        return reference.add(a, b, out)
    _add(a.reshape(-1), b.reshape(-1), out.reshape(-1), parts_of(a.size, LEAST))
    return out


@spread(void(matrix, row_in, int64))
def _add_to_rows(x: Any, b: Any, parts: Any) -> None:
    for part in prange(parts):
        i, j = bounds(len(x), part, parts)
        for row in range(i, j):
            x[row] += b


def add_to_rows(x: Array, b: Array) -> None:
    """See `reference.add_to_rows`."""
    if fits(x, b) and x.flags.writeable:
        _add_to_rows(x, b, parts_of(len(x), FEWEST))
    else:
        reference.add_to_rows(x, b)


@spread(void(rows_in, float64[:, ::1], int64))
def _column_sums(x: Any, sums: Any, parts: Any) -> None:
    for part in prange(parts):
        i, j = bounds(len(x), part, parts)
        _add_rows_to(sums[part], x[i:j])


def column_sums(x: Array) -> Array:
    """See `reference.column_sums`."""
    if not fits(x):
        return reference.column_sums(x)
    parts = parts_of(len(x), FEWEST)
    sums = np.zeros((parts, x.shape[1]))
    _column_sums(x, sums, parts)
    return sums.sum(axis=0).astype(F)


@compiled(float64(row_in))
def _square_sum(x: Any) -> Any:
    total = np.float64(0)
    for start in range(0, len(x), 4096):
        few = F(0)
        for k in range(start, min(start + 4096, len(x))):
            few += x[k] * x[k]
        total += few
    return total


@spread(void(row_in, float64[::1], int64))
def _square_sum_spread(x: Any, sums: Any, parts: Any) -> None:
    for part in prange(parts):
        i, j = bounds(len(x), part, parts)
        sums[part] = _square_sum(x[i:j])


def square_sum(x: Array) -> float:
    """See `reference.square_sum`."""
    if not fits(x):
        return reference.square_sum(x)
    parts = parts_of(x.size, LEAST)
    if parts == 1:
        return float(_square_sum(x))
    sums = np.empty(parts)
    _square_sum_spread(x, sums, parts)
    return float(sums.sum())
