"""The NumPy kernels: pure functions from arrays to arrays, written for few passes over memory.

Large arrays are worked through in blocks of rows that stay in the cache. A `*_vjp` takes the cotangent of the output
and what the forward saved, and returns the cotangents of the inputs; no input is ever written to.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad2 import kernels
from tinygrad2.kernels.fast.products import library, matmul, operand, round_to_bfloat16, rounds, weight
from tinygrad2.kernels.fast.threads import share
from tinygrad2.types import Array

Tile = tuple[slice, slice]
"""Some sequences, and some of their heads."""
Layer = tuple[Array, Array | None, Array | None]
"""A linear layer as it is read: rows (N, K), one for each output; the scales (N) of int8 rows; and the bias (N)."""

COMPILED = False
SPREADS = False  # whether every kernel shares its work among the threads by itself, at next to no cost
FEWEST = 32  # rows that are worth a thread of their own
BLOCK = 1 << 17  # entries: 512 KB of float32, which suits caches and gives threads long turns with the interpreter
QUERY_BLOCK = 64  # positions whose attention weights are computed at once
ATTENTION_BLOCK = 1 << 18  # attention weights that are in the cache at once
ADDED_ROWS = 1024  # of a product that are there before they are added
LOGITS = 1 << 24  # that are there at once
ROW_BLOCK = 256  # rows that are summed one after another
MANY_ROWS = 1 << 12  # from here on, float32 has too few digits for a sum of so many, one after another
FEW = 8  # rows, up to which reading a matrix takes longer than computing with it
DEQUANTISED = 1 << 20  # entries of an int8 matrix that are float32 at once
FEW_ROWS = 4  # up to here, that many matrix-vector products read a matrix faster than one matrix product does
FAR = {4: 12.0, 8: 25.0}  # where GELU is x, or 0, to the last digit, by the bytes of a number
SQRT_2_OVER_PI = math.sqrt(2 / math.pi)  # a Python float, so that float32 stays float32


def rows(x: Array) -> Array:
    """The array as a matrix, its last axis kept."""
    return x.reshape(-1, x.shape[-1]) if x.size else x.reshape(0, max(x.shape[-1], 1))


def blocks(x: Array, span: slice) -> Iterator[slice]:
    """Slices of a part of the first axis that take about BLOCK entries each."""
    step = max(1, BLOCK // max(1, x[0].size)) if len(x) else 1
    return (slice(i, min(i + step, span.stop)) for i in range(span.start, span.stop, step))


def product(a: Array, b: Array, out: Array, add: bool) -> None:
    """out = a @ b, or out += a @ b; see `products.matmul`."""
    found = library(a.dtype)
    one = _numpy_product if found is None else found.product
    if len(a) >= b.shape[1]:
        share(lambda part: one(a[part], b, out[part], add), len(a), FEWEST)
    else:
        share(lambda part: one(a, b[:, part], out[:, part], add), b.shape[1], FEWEST)


def _numpy_product(a: Array, b: Array, out: Array, add: bool) -> None:
    if not add:
        np.matmul(a, b, out=out)
    for i in range(0, len(a) if add else 0, ADDED_ROWS):
        out[i : i + ADDED_ROWS] += a[i : i + ADDED_ROWS] @ b


def rounding(x: Array, out: Array) -> None:
    """float32 to bfloat16, both flat; see `products.round_to_bfloat16`."""

    def work(span: slice) -> None:
        for part in blocks(x, span):
            bits = x[part].view(np.uint32)
            rounded = bits >> 16
            rounded &= 1
            rounded += bits
            rounded += 0x7FFF
            rounded >>= 16
            np.copyto(rounded, 0x7FC0, where=np.isnan(x[part]))
            out[part] = rounded

    share(work, len(x), BLOCK)


def linear(x: Array, w: Array, b: Array | None) -> tuple[Array, Array | None]:
    """x (..., K) @ w (K, N) + b (N); also the rounded copy of x, if there is one."""
    x2 = rows(x)
    if 1 < len(x2) <= FEW_ROWS:
        out = np.stack([row @ w for row in x2])
    else:
        x2 = operand(x2)
        out = matmul(x2, weight(w, x2.dtype == np.uint16))
    if b is not None:
        kernels.add_to_rows(out, b)
    return out.reshape(*x.shape[:-1], w.shape[1]), x2 if x2.dtype != x.dtype else None


def linear_vjp(g: Array, rounded: Array | None, x: Array, w: Array, needed: Sequence[bool]) -> tuple[Array | None, ...]:
    """Cotangents of x, w and b, None for those that are not needed. That of w is laid out in memory as w is."""
    g2, for_x, for_w = rows(g), None, None
    for_b = kernels.column_sums(g2) if needed[2] else None
    g2 = g2 if rounded is None else round_to_bfloat16(g2)
    if needed[0]:
        for_x = matmul(g2, weight(w, rounded is not None).T).reshape(x.shape)
    if needed[1]:
        x2 = rows(x) if rounded is None else rounded
        for_w = matmul(x2.T, g2) if w.flags.c_contiguous else matmul(g2.T, x2).T
    return for_x, for_w, for_b


def scaled_linear(x: Array, w: Array, scale: Array, b: Array | None) -> Array:
    """x (..., K) times the rows of w (N, K), int8, each with its scale (N), + b (N): (..., N), summed in the dtype of x."""
    x2 = rows(x)
    out = np.empty((len(x2), len(w)), x.dtype)
    step = max(1, DEQUANTISED // max(1, w.shape[1]))

    def work(span: slice) -> None:
        for i in range(span.start, span.stop, step):
            part = slice(i, min(i + step, span.stop))
            matmul(x2, w[part].astype(x.dtype).T, out=out[:, part])

    share(work, len(w), FEWEST)
    out *= scale
    if b is not None:
        out += b
    return out.reshape(*x.shape[:-1], len(w))


def add_to_rows(x: Array, b: Array) -> None:
    """x (N, C) += b (C)."""
    share(lambda part: np.add(x[part], b, out=x[part]), len(x), FEWEST)


def column_sums(x: Array) -> Array:
    """The sum over the rows, as a product, which is faster than np.sum over the first axis.

    A product adds row after row, and so does np.sum there: of a million equal rows in float32 the third digit would be wrong.
    So the sums of ROW_BLOCK rows each come first, and of these again, and the few that are left are added in float64.
    """
    if len(x) < MANY_ROWS:
        return np.ones(len(x), x.dtype) @ x
    rest = x
    while len(rest) >= MANY_ROWS:
        whole, left = divmod(len(rest), ROW_BLOCK)
        sums = np.matmul(np.ones((1, ROW_BLOCK), x.dtype), rest[: len(rest) - left].reshape(whole, ROW_BLOCK, -1))[:, 0]
        rest = np.concatenate([sums, rest[len(rest) - left :]]) if left else sums
    return rest.sum(axis=0, dtype=np.float64).astype(x.dtype)


def add(a: Array, b: Array, out: Array | None = None) -> Array:
    """a + b of one shape, written into `out` if it is given."""
    out = np.empty_like(a) if out is None else out
    whole = out
    share(lambda part: np.add(a[part], b[part], out=whole[part]), len(a), 1 + BLOCK // max(1, a[:1].size))
    return out


def gelu(x: Array) -> tuple[Array, Array]:
    """0.5 x (1 + tanh(u)) with u = sqrt(2/pi) (x + 0.044715 x^3); also e = exp(-2u), flat.

    It is computed as x / (1 + e): where tanh is nearly -1, 1 + tanh has no digit left.
    """
    flat = x.reshape(-1)
    out, e = np.empty_like(flat), np.empty_like(flat)

    def work(span: slice) -> None:
        with np.errstate(over="ignore"):
            for part in blocks(flat, span):
                v, o, t = flat[part], out[part], e[part]
                np.multiply(v, v, out=t)
                t *= -2 * 0.044715 * SQRT_2_OVER_PI
                t -= 2 * SQRT_2_OVER_PI
                t *= v
                np.exp(t, out=t)
                np.add(t, 1, out=o)
                np.divide(v, o, out=o)

    share(work, len(flat), BLOCK)
    return out.reshape(x.shape), e


def gelu_vjp(g: Array, e: Array | None, x: Array) -> Array:
    """g * s * (1 + x 2u' e s) with s = 1 / (1 + e) and the e that `gelu` gave; other kernels than these do not keep it."""
    if e is None:
        e = gelu(x)[1]
    flat, flat_g = x.reshape(-1), g.reshape(-1)
    far, most = FAR[x.itemsize], np.finfo(x.dtype).max
    out = np.empty_like(flat)

    def work(span: slice) -> None:
        scratch = np.empty((2, min(len(flat), BLOCK)), x.dtype)
        for part in blocks(flat, span):
            v, o, (s, t) = flat[part], out[part], scratch[:, : len(flat[part])]
            if not -far < v.min() <= v.max() < far:  # the slope is 0 or 1 there, and the square of x might overflow
                v = np.clip(v, -far, far) + 0 * v  # NaN for an infinity: it is to be found
            np.multiply(v, v, out=o)
            o *= 2 * 3 * 0.044715 * SQRT_2_OVER_PI
            o += 2 * SQRT_2_OVER_PI
            o *= v
            np.clip(e[part], 0, most, out=t)  # 0 times an infinity would be no number
            np.add(t, 1, out=s)
            np.divide(1, s, out=s)
            o *= s
            o *= t
            o += 1
            o *= s
            o *= flat_g[part]

    share(work, len(flat), BLOCK)
    return out.reshape(x.shape)


def layer_norm(x: Array, gain: Array, bias: Array, eps: float) -> tuple[Array, tuple[Array, Array]]:
    """(x - mean) / sqrt(variance + eps) * gain + bias over the last axis; also the means and 1 / std, (N, 1)."""
    x2 = np.ascontiguousarray(rows(x))  # of columns, NumPy would add thousands one after another
    n = x2.shape[1]
    out, mean, rstd = np.empty_like(x2), np.empty((len(x2), 1), x.dtype), np.empty((len(x2), 1), x.dtype)

    def work(span: slice) -> None:
        for part in blocks(x2, span):
            o, m, r = out[part], mean[part], rstd[part]
            np.divide(x2[part].sum(axis=1, keepdims=True), n, out=m)
            np.subtract(x2[part], m, out=o)
            variance = np.einsum("ij,ij->i", o, o)[:, None] / n
            np.divide(1, np.sqrt(variance + eps), out=r)
            o *= r
            o *= gain
            o += bias

    share(work, len(x2), FEWEST)
    return out.reshape(x.shape), (mean, rstd)


def layer_norm_vjp(
    g: Array, saved: tuple[Array, Array], x: Array, gain: Array, needed: Sequence[bool]
) -> tuple[Array, Array | None, Array | None]:
    """Cotangents of x, gain and bias: for x, rstd * (h - mean(h) - unit * mean(h * unit)) with h = g * gain.

    Those of gain and bias are None where they are not needed.
    """
    mean, rstd = saved
    g2, x2 = rows(g), np.ascontiguousarray(rows(x))
    n = g2.shape[1]
    out = np.empty_like(x2)

    def work(span: slice) -> tuple[Array, Array]:
        for_gain, for_bias = np.zeros((2, n))  # of blocks there may be many
        for part in blocks(x2, span):
            h, r = out[part], rstd[part]
            unit = x2[part] - mean[part]
            unit *= r
            np.multiply(g2[part], unit, out=h)
            if needed[1]:
                for_gain += column_sums(h)
            if needed[2]:
                for_bias += column_sums(g2[part])
            along = (h @ gain)[:, None] / n
            np.multiply(g2[part], gain, out=h)
            h -= (g2[part] @ gain)[:, None] / n
            unit *= along
            h -= unit
            h *= r
        return for_gain, for_bias

    found = share(work, len(x2), FEWEST)
    for_gain, for_bias = (sum(part[i] for part in found).astype(x.dtype) if needed[1 + i] else None for i in (0, 1))
    return out.reshape(g.shape), for_gain, for_bias


def centred(x: Array, axis: int | tuple[int, ...] | None = -1) -> Array:
    """x minus the largest entry along an axis. A row of -inf stays so; where some are inf, these become 0 and the rest -inf."""
    top = x.max(axis=axis, keepdims=True, initial=-np.inf)
    if np.isinf(top).any():
        x = np.where((top == np.inf) & (x < np.inf), -np.inf, np.where(x == np.inf, 0, x))
        top = np.where(np.isinf(top), 0, top)
    return x - top


def row_sums(x: Array) -> Array:
    """The sums over the last axis, which is kept. Where its entries are not neighbours, NumPy adds them one after another."""
    many = x.dtype == np.float32 and x.shape[-1] >= MANY_ROWS and x.strides[-1] != x.itemsize
    return x.sum(axis=-1, keepdims=True, dtype=np.float64 if many else x.dtype).astype(x.dtype, copy=False)


def softmax(x: Array) -> Array:
    """exp(x - max) / sum over the last axis. A row that is -inf everywhere becomes zeros; where some are inf, they share 1."""
    out = centred(x)
    np.exp(out, out=out)
    total = row_sums(out)
    out /= np.where(total == 0, 1, total)
    return out


def softmax_vjp(g: Array, p: Array) -> Array:
    """p * (g - sum(g * p)) over the last axis."""
    out = g * p
    along = row_sums(out)
    out -= p * along
    return out


def causal_attention(qkv: Array, heads: int, keep: Array | None) -> tuple[Array, tuple[Array, Array | None]]:
    """softmax(Q K^T / sqrt(d_k) + causal mask) V for every head, from packed (B, T, 3C) to merged (B, T, C).

    `keep`, (B, H, T, T), multiplies the weights (dropout). Also returns what was subtracted from every row of scores and what
    its exponentials were divided by, (2, B, H, T, 1), from which backward computes the weights again; and the rounded copy of
    qkv, if there is one. Queries are taken in blocks: a block needs the keys up to its own end only, and its weights fit
    the cache (Dao et al., 2022).
    """
    shape, qkv = (*qkv.shape[:-1], qkv.shape[-1] // 3), qkv.reshape(-1, *qkv.shape[-2:])
    q, k, v = _heads(qkv, heads)  # (B, H, T, d)
    B, H, T, _ = q.shape
    tops, totals = row_numbers = np.empty((2, B, H, T, 1), qkv.dtype)
    out = np.empty((B, T, shape[-1]), qkv.dtype)
    merged = _split(out, heads)

    def work(tile: Tile) -> None:
        for block, seen in _query_blocks(T):
            queries, past = (*tile, block), (*tile, seen)
            weights = _scores(q[queries], k[past])  # (b, h, block, seen)
            top, total = tops[queries], totals[queries]
            np.max(weights, axis=-1, keepdims=True, out=top)
            weights -= top
            np.exp(weights, out=weights)
            np.matmul(weights, np.ones((weights.shape[-1], 1), weights.dtype), out=total)  # faster than np.sum
            if keep is not None:
                weights *= keep.reshape(B, H, T, T)[(*queries, seen)]
            np.divide(np.matmul(weights, v[past]), total, out=merged[queries])

    _for_tiles(work, B, H, T)
    return out.reshape(shape), (row_numbers, None)


def causal_attention_vjp(g: Array, saved: tuple[Array, Array | None], qkv: Array, heads: int, keep: Array | None) -> Array:
    """The cotangent of the packed qkv."""
    shape, qkv = qkv.shape, qkv.reshape(-1, *qkv.shape[-2:])
    q, k, v = _heads(qkv, heads)
    B, H, T, d = q.shape
    out = np.empty_like(qkv, order="C")
    for_q, for_k, for_v = _heads(out, heads)
    g_heads = _split(g.reshape(B, T, H * d), heads)
    tops, totals = saved[0]
    scale = np.asarray(1 / math.sqrt(d), qkv.dtype)

    def work(tile: Tile) -> None:
        sums = np.zeros((2, *q[tile].shape), qkv.dtype)  # of the cotangents of keys and values
        for block, seen in _query_blocks(T):
            queries, past = (*tile, block), (*tile, seen)
            weights = _scores(q[queries], k[past])
            weights -= tops[queries]
            np.exp(weights, out=weights)
            weights /= totals[queries]
            scores = np.matmul(g_heads[queries], v[past].swapaxes(-1, -2))
            kept = weights
            if keep is not None:
                part = keep.reshape(B, H, T, T)[(*queries, seen)]
                kept = weights * part
                scores *= part
            sums[1][..., seen, :] += np.matmul(kept.swapaxes(-1, -2), g_heads[queries])
            scores -= np.einsum("...ij,...ij->...i", scores, weights)[..., None]
            scores *= weights
            scores *= scale
            np.matmul(scores, k[past], out=for_q[queries])
            sums[0][..., seen, :] += np.matmul(scores.swapaxes(-1, -2), q[queries])
        for_k[tile], for_v[tile] = sums

    _for_tiles(work, B, H, T)
    return out.reshape(shape)


def _for_tiles(work: Callable[[Tile], None], B: int, H: int, T: int) -> None:
    """Work on all heads of all sequences, as many at a time as have the weights of a block of queries in the cache."""
    room = max(1, ATTENTION_BLOCK // max(1, min(T, QUERY_BLOCK) * T))  # heads
    b, h = max(1, room // max(1, H)), min(H, room)
    tiles = [(slice(i, i + b), slice(j, j + h)) for i in range(0, B, b) for j in range(0, H, h)]

    def some(span: slice) -> None:
        for tile in tiles[span]:
            work(tile)

    share(some, len(tiles))


def _query_blocks(T: int) -> Iterator[tuple[slice, slice]]:
    """The positions of each block of queries, and the positions that they see."""
    return ((slice(i, min(i + QUERY_BLOCK, T)), slice(0, min(i + QUERY_BLOCK, T))) for i in range(0, T, QUERY_BLOCK))


def _scores(q: Array, k: Array) -> Array:
    """Q K^T / sqrt(d_k), -inf where a query would see what follows it: (..., n, d) and (..., m, d) -> (..., n, m).

    The queries are the last n of the m positions.
    """
    n, m = q.shape[-2], k.shape[-2]
    scores = np.matmul(q * np.asarray(1 / math.sqrt(q.shape[-1]), q.dtype), k.swapaxes(-1, -2))
    if n > 1:
        scores[..., m - n :] += _mask(n)
    return scores


@functools.cache
def _mask(n: int) -> Array:
    """-inf above the diagonal, float32."""
    return np.triu(np.full((n, n), -np.inf, np.float32), 1)


def cached_attention(qkv: Array, keys: Array, values: Array, start: int) -> Array:
    """Causal attention of the positions `start`, `start` + 1... to themselves and to all before, whose keys are kept.

    qkv (B, T, 3C) -> (B, T, C). The T new keys and values are written into `keys` and `values`, both (B, H, L, d). The
    queries are taken in blocks: a block needs the keys up to its own end only, and one block of weights fits the cache.
    """
    q, k, v = _heads(qkv, keys.shape[1])  # (B, H, T, d)
    T = q.shape[-2]
    keys[:, :, start : start + T], values[:, :, start : start + T] = k, v
    if not start:
        return kernels.causal_attention(qkv, keys.shape[1], None)[0]
    out = np.empty((*qkv.shape[:-1], qkv.shape[-1] // 3), qkv.dtype)
    merged = _split(out, keys.shape[1])  # (B, H, T, d)
    for part, _ in _query_blocks(T):
        end = start + part.stop
        weights = _scores(q[:, :, part], keys[:, :, :end])  # (B, H, block, end)
        weights -= weights.max(axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        total = weights.sum(axis=-1, keepdims=True)
        np.divide(np.matmul(weights, values[:, :, :end]), total, out=merged[:, :, part])
    return out


def block(
    x: Array, norms: Sequence[Array], eps: float, layers: Sequence[Layer], keys: Array, values: Array, past: int
) -> Array:
    """A Pre-LN block of GPT-2 for new positions, (B, T, C) -> (B, T, C), after `past` whose keys and values are kept.

    `norms` are the gain and the bias of both layer norms; `layers` make Q, K and V, mix the heads, and are the two of the
    feed-forward network. See `cached_attention`.
    """

    def through(h: Array, w: Array, scale: Array | None, b: Array | None) -> Array:
        return kernels.linear(h, w.T, b)[0] if scale is None else kernels.scaled_linear(h, w, scale, b)

    h = kernels.layer_norm(x, norms[0], norms[1], eps)[0]
    x = x + through(kernels.cached_attention(through(h, *layers[0]), keys, values, past), *layers[1])
    h = kernels.layer_norm(x, norms[2], norms[3], eps)[0]
    return x + through(kernels.gelu(through(h, *layers[2]))[0], *layers[3])


def _split(x: Array, heads: int) -> Array:
    """(B, T, C) -> a view (B, H, T, d)."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).swapaxes(-2, -3)


def _heads(qkv: Array, heads: int) -> tuple[Array, Array, Array]:
    """(B, T, 3C) -> three views (B, H, T, d)."""
    width = qkv.shape[-1] // 3
    q, k, v = (_split(qkv[..., i * width : (i + 1) * width], heads) for i in range(3))
    return q, k, v


TINY = 1e-6  # added to a mean of squares
SHARPER = 1.7  # what normalised queries are multiplied by


@functools.lru_cache(64)
def turns(start: int, T: int, d_k: int, dtype: np.dtype[Any]) -> Array:
    """What multiplies each pair of entries, as a complex number: e^(i position / 10000^(2 pair / d_k)), (T, d_k / 2)."""
    angles = np.arange(start, start + T)[:, None] / 10_000 ** (np.arange(0, d_k, 2) / d_k)
    found = np.exp(1j * angles).astype(np.result_type(dtype, np.complex64))
    found.flags.writeable = False
    return found


def rotary(qkv: Array, heads: int, start: int) -> tuple[Array, Array]:
    """Queries and keys of one length, turned; also what each was multiplied by, (N, T, 2 heads)."""
    out = _own(qkv)
    x = _queries_and_keys(out, heads)
    factors = 1 / np.sqrt(np.einsum("btnd,btnd->btn", x, x) / x.shape[-1] + np.asarray(TINY, x.dtype))
    factors[..., :heads] *= SHARPER
    x *= factors[..., None]
    _turn(x, turns(start, x.shape[1], x.shape[-1], x.dtype))
    return out, factors


def rotary_vjp(g: Array, factors: Array, qkv: Array, heads: int, start: int) -> Array:
    """The cotangent of qkv: for a query or key y = R f x, f = s / rms, it is f (R^T g - f x mean(f x R^T g) / s^2)."""
    unit = _queries_and_keys(np.ascontiguousarray(qkv), heads) * factors[..., None]
    out = _own(g)
    h = _queries_and_keys(out, heads)
    _turn(h, turns(start, h.shape[1], h.shape[-1], h.dtype).conj())
    along = np.einsum("btnd,btnd->btn", h, unit) / h.shape[-1]
    along[..., :heads] /= SHARPER**2
    unit *= along[..., None]
    h -= unit
    h *= factors[..., None]
    return out


def _own(x: Array) -> Array:
    """A copy in one piece, in the byte order of this machine: pairs of its entries can be seen as complex numbers."""
    return np.array(x, x.dtype.newbyteorder("="), order="C")


def _queries_and_keys(qkv: Array, heads: int) -> Array:
    """A view of (..., T, 3C), in one piece: (N, T, 2 heads, d_k)."""
    *above, T, columns = qkv.shape
    return qkv.reshape(math.prod(above), T, 3 * heads, columns // (3 * heads))[:, :, : 2 * heads]


def _turn(x: Array, turns: Array) -> None:
    """Multiply pairs of entries as complex numbers, in place: x (N, T, H, d_k), turns (T, d_k / 2)."""
    pairs = x.view(turns.dtype)
    pairs *= turns[:, None]


def cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array]:
    """The mean of logsumexp(row) - row[target] over (N, V) logits, and its gradient."""
    gradient = logits.copy()
    losses = kernels.to_gradients(gradient, targets, 1 / len(logits))
    return np.asarray(losses.mean(dtype=np.float64), logits.dtype), gradient


def to_gradients(logits: Array, targets: Array, scale: float) -> Array:
    """-log softmax(row)[target] of (N, V) logits, which become (softmax(row) - onehot(target)) * scale, in place."""
    losses = np.empty(len(logits), logits.dtype)

    def work(span: slice) -> None:
        for part in blocks(logits, span):
            row, target = logits[part], (np.arange(len(losses[part])), targets[part])
            row -= row.max(axis=1, keepdims=True)
            picked = row[target]
            np.exp(row, out=row)
            total = row.sum(axis=1, keepdims=True)
            row *= np.asarray(scale, row.dtype) / total
            row[target] -= scale
            losses[part] = np.log(total[:, 0]) - picked

    share(work, len(logits), max(1, BLOCK // logits.shape[1]))
    return losses


def linear_cross_entropy(
    h: Array, w: Array, b: Array | None, targets: Array, needed: Sequence[bool]
) -> tuple[Array, tuple[Array | None, ...]]:
    """cross_entropy(h @ w.T + b) for h (N, C), w (V, C), b (V), and those of the gradients of h, w and b that are needed.

    The rows are taken a few at a time, and their gradient is computed while their logits are there: the whole (N, V) never
    is (Hsu et al., 2024, "Liger kernel", sec. 3.2).
    """
    chunks = -(-len(h) * len(w) // LOGITS)
    step = -(-len(h) // max(1, chunks))
    total = 0.0
    for_h, for_w = (np.empty_like(x) if wanted else None for x, wanted in zip((h, w), needed, strict=False))
    for_b = np.zeros_like(b) if needed[2] and b is not None else None
    matrix = weight(w, rounds())
    for i in range(0, len(h), step):
        part = slice(i, i + step)
        of_h = operand(h[part])
        logits = matmul(of_h, matrix.T)
        if b is not None:
            kernels.add_to_rows(logits, b)
        total += float(kernels.to_gradients(logits, targets[part], 1 / len(h)).sum(dtype=np.float64))
        if for_b is not None:
            for_b += kernels.column_sums(logits)
        of_logits = operand(logits) if for_h is not None or for_w is not None else logits
        if for_h is not None:
            matmul(of_logits, matrix, out=for_h[part])
        if for_w is not None:
            matmul(of_logits.T, of_h, out=for_w, add=i > 0)
    return np.asarray(total / len(h), h.dtype), (for_h, for_w, for_b)


def square_sum(x: Array) -> float:
    """The sum of the squares of a flat array."""
    return float(sum(share(lambda part: np.dot(x[part], x[part]), len(x), BLOCK)))


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
    scale: float = 1.0,
) -> None:
    """One update of flat arrays, in place: p, and the running means m of `scale` times g and v of its square.

    p = p * shrink - step_size * m / (sqrt(v) / root + eps), where `root` is sqrt(1 - beta2^t).
    """

    def work(span: slice) -> None:
        scratch = np.empty(min(len(p), BLOCK), p.dtype)
        for part in blocks(p, span):
            s = scratch[: len(p[part])]
            np.multiply(g[part], scale * (1 - betas[0]), out=s)
            m[part] *= betas[0]
            m[part] += s
            np.multiply(g[part], g[part], out=s)
            s *= scale * scale * (1 - betas[1])
            v[part] *= betas[1]
            v[part] += s
            np.sqrt(v[part], out=s)
            s += eps * root
            np.divide(m[part], s, out=s)
            s *= step_size * root
            if shrink != 1:
                p[part] *= shrink
            p[part] -= s

    share(work, len(p), BLOCK)
