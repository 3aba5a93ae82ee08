"""Kernels that are a loop or two over their arrays, with nothing held in between."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32, uint16, uint32, void

from tinygrad2.kernels import reference
from tinygrad2.kernels.compiled.arithmetic import ONE, F, compiled, exp, fits, indices, largest, matrix, vector
from tinygrad2.kernels.products import FEWEST
from tinygrad2.kernels.reference import Array, rows
from tinygrad2.kernels.threads import share

LEAST = 1 << 13
"""Entries that are worth a thread of their own."""

U1, U3 = F(2 * math.sqrt(2 / math.pi)), F(2 * 0.044715 * math.sqrt(2 / math.pi))
U9 = F(3) * U3


@compiled(void(vector, vector))
def _gelu(x: Any, out: Any) -> None:
    for i in range(len(x)):
        v = x[i]
        out[i] = v / (ONE + exp(-v * (U1 + U3 * v * v)))  # (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u))


@compiled(void(vector, vector, vector))
def _gelu_vjp(g: Any, x: Any, out: Any) -> None:
    for i in range(len(x)):
        v = x[i]
        s = ONE / (ONE + exp(-v * (U1 + U3 * v * v)))
        out[i] = g[i] * (s + v * s * (ONE - s) * (U1 + U9 * v * v))


def gelu(x: Array) -> Array:
    """See `reference.gelu`."""
    if not fits(x):
        return reference.gelu(x)
    out = np.empty_like(x)
    flat, flat_out = x.reshape(-1), out.reshape(-1)
    share(lambda part: _gelu(flat[part], flat_out[part]), len(flat), LEAST)
    return out


def gelu_vjp(g: Array, x: Array) -> Array:
    """See `reference.gelu_vjp`."""
    if not fits(g, x):
        return reference.gelu_vjp(g, x)
    out = np.empty_like(x)
    flat_g, flat, flat_out = g.reshape(-1), x.reshape(-1), out.reshape(-1)
    share(lambda part: _gelu_vjp(flat_g[part], flat[part], flat_out[part]), len(flat), LEAST)
    return out


@compiled(void(matrix, vector, vector, float32, matrix, vector, vector))
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
        r = ONE / np.sqrt(squares / F(n) + eps)
        for j in range(n):
            out[i, j] = (x[i, j] - m) * r * gain[j] + bias[j]
        mean[i], rstd[i] = m, r


@compiled(void(matrix, matrix, vector, vector, vector, matrix, vector, vector))
def _layer_norm_vjp(g: Any, x: Any, gain: Any, mean: Any, rstd: Any, out: Any, for_gain: Any, for_bias: Any) -> None:
    n = x.shape[1]
    for i in range(len(x)):
        m, r = mean[i], rstd[i]
        total, along = F(0), F(0)
        for j in range(n):
            h = g[i, j] * gain[j]
            total += h
            along += h * (x[i, j] - m)
        total, along = total / F(n), along * r / F(n)
        for j in range(n):
            unit = (x[i, j] - m) * r
            for_gain[j] += g[i, j] * unit
            for_bias[j] += g[i, j]
            out[i, j] = (g[i, j] * gain[j] - total - unit * along) * r


def layer_norm(x: Array, gain: Array, bias: Array, eps: float) -> tuple[Array, tuple[Array, Array]]:
    """See `reference.layer_norm`."""
    if not fits(x, gain, bias):
        return reference.layer_norm(x, gain, bias, eps)
    x2 = rows(x)
    out, mean, rstd = np.empty_like(x2), np.empty((len(x2), 1), F), np.empty((len(x2), 1), F)

    def work(part: slice) -> None:
        _layer_norm(x2[part], gain, bias, eps, out[part], mean[part, 0], rstd[part, 0])

    share(work, len(x2), FEWEST)
    return out.reshape(x.shape), (mean, rstd)


def layer_norm_vjp(g: Array, saved: tuple[Array, Array], x: Array, gain: Array) -> tuple[Array, Array, Array]:
    """See `reference.layer_norm_vjp`."""
    mean, rstd = saved
    if not fits(g, x, gain, mean):
        return reference.layer_norm_vjp(g, saved, x, gain)
    g2, x2 = rows(g), rows(x)
    out = np.empty_like(x2)

    def work(part: slice) -> Array:
        sums = np.zeros((2, x2.shape[1]), F)
        _layer_norm_vjp(g2[part], x2[part], gain, mean[part, 0], rstd[part, 0], out[part], sums[0], sums[1])
        return sums

    for_gain, for_bias = np.sum(share(work, len(x2), FEWEST), axis=0)
    return out.reshape(x.shape), for_gain, for_bias


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


def to_gradients(logits: Array, targets: Array, scale: float) -> Array:
    """See `reference._to_gradients`."""
    if not fits(logits):
        return reference._to_gradients(logits, targets, scale)
    losses, targets = np.empty(len(logits), F), np.ascontiguousarray(targets, np.int64)
    share(
        lambda part: _to_gradients(logits[part], targets[part], scale, losses[part]), len(logits), 1 + LEAST // logits.shape[1]
    )
    return losses


def cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array]:
    """See `reference.cross_entropy`."""
    return reference.cross_entropy(logits, targets, to_gradients)


def linear_cross_entropy(h: Array, w: Array, b: Array | None, targets: Array, gradients: bool) -> tuple[Array, Any]:
    """See `reference.linear_cross_entropy`."""
    return reference.linear_cross_entropy(h, w, b, targets, gradients, to_gradients)


@compiled(void(vector, vector, vector, vector, float32, float32, float32, float32, float32, float32))
def _adamw(
    p: Any, g: Any, m: Any, v: Any, step_size: Any, beta1: Any, beta2: Any, eps: Any, shrink: Any, one_over_root: Any
) -> None:
    for i in range(len(p)):
        gradient = g[i]
        mean = beta1 * m[i] + (ONE - beta1) * gradient
        square = beta2 * v[i] + (ONE - beta2) * gradient * gradient
        m[i], v[i] = mean, square
        p[i] = p[i] * shrink - step_size * mean / (np.sqrt(square) * one_over_root + eps)


def adamw(p: Array, g: Array, m: Array, v: Array, **how: Any) -> None:
    """See `reference.adamw`."""
    if not fits(p, g, m, v):
        return reference.adamw(p, g, m, v, **how)
    beta1, beta2 = how["betas"]
    rest = how["step_size"], beta1, beta2, how["eps"], how["shrink"], 1 / how["root"]
    share(lambda part: _adamw(p[part], g[part], m[part], v[part], *rest), len(p), LEAST)
    return None


@compiled(void(uint32[::1], uint16[::1]))
def _round(x: Any, out: Any) -> None:
    for i in range(len(x)):
        bits = np.uint32(x[i])
        rounded = np.uint32(np.uint32(bits + np.uint32(0x7FFF)) + np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1)))
        nan = np.uint32(bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
        out[i] = np.uint16(0x7FC0) if nan else np.uint16(rounded >> np.uint32(16))


def rounding(x: Array, out: Array) -> None:
    """float32 to bfloat16, both flat; see `products.round_to_bfloat16`."""
    _round(x.view(np.uint32), out)
