"""The hot ops: fast kernels with hand-derived gradients, each beside its specification in plain NumPy.

A specification is what the op *means*, and a rule its gradient on paper. The tests hold the kernel against both, and higher
derivatives go through the specification.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad2 import kernels
from tinygrad2.errors import ShapeError
from tinygrad2.ops.draws import uniform
from tinygrad2.ops.functions import sigmoid
from tinygrad2.ops.op import as_array, floating, fused, outline, real, refuse_tensors, values, wide
from tinygrad2.ops.reductions import log_softmax
from tinygrad2.types import Array

Linear = fused(
    lambda x, w, b: kernels.linear(x, w, b),
    lambda g, rounded, x, w, b, *, needed: kernels.linear_vjp(g, rounded, x, w, (*needed[:2], needed[2] and b is not None)),
    spec=lambda x, w, b: x @ w if b is None else x @ w + b,
    rule=lambda g, out, x, w, b: (g @ w.T, x.reshape(-1, x.shape[-1]).T @ g.reshape(-1, g.shape[-1]), g),
    name="linear",
    takes=real,
    samples="normal(2, 3, 4), normal(4, 5), normal(5); normal(3, 4), normal(4, 5), None; normal(3, 4), normal(5, 4).T, None; "
    "normal(0, 4), normal(4, 5), normal(5); normal(1, 1), normal(1, 1), normal(1)",
    kept=lambda arrays, rounded: arrays if rounded is None else (outline(arrays[0]), *arrays[1:]),
)


def linear(x: Any, w: Any, b: Any = None) -> Any:
    """x w + b: x (..., K), w (K, N), b (N) or None -> (..., N). Raises ShapeError if the dimensions differ."""
    x, w, b = as_array(x), as_array(w), as_array(b)
    if x.ndim < 1 or w.ndim != 2 or x.shape[-1] != w.shape[0]:
        raise ShapeError(f"linear: x {x.shape} @ w {w.shape}: the last axis of x must equal the first of w")
    if b is not None and b.shape != w.shape[1:]:
        raise ShapeError(f"linear: bias {b.shape} for w {w.shape}: it needs shape {w.shape[1:]}")
    return Linear.call(x, w, b)


def gelu_rule(g: Any, out: Any, x: Any) -> Any:
    c = np.sqrt(2 / np.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * c * (1 + 3 * 0.044715 * x**2))


GELU = fused(
    lambda x: kernels.gelu(x),
    lambda g, saved, x: (kernels.gelu_vjp(g, saved, x),),
    spec=lambda x: x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)),  # (1 + tanh u) / 2 = sigmoid 2u
    rule=gelu_rule,
    name="gelu",
    takes=real,
    samples="normal(3, 4); normal(); normal(0, 3); normal(1, 1)",
)


def gelu(x: Any) -> Any:
    """0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), entry by entry (Hendrycks & Gimpel, 2016, eq. 2)."""
    return GELU.call(x)


def layer_norm_spec(x: Any, gain: Any, bias: Any, *, eps: float) -> Any:
    centred = x - np.mean(x, axis=-1, keepdims=True)
    std = np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + eps)
    return centred / std * gain + bias


def layer_norm_rule(g: Any, out: Any, x: Any, gain: Any, bias: Any, *, eps: float) -> Any:
    mean = lambda a: np.mean(a, axis=-1, keepdims=True)  # noqa: E731  (shown as it is)
    std = np.sqrt(mean((x - mean(x)) ** 2) + eps)  # type: ignore[no-untyped-call]
    unit = (x - mean(x)) / std  # type: ignore[no-untyped-call]
    h = g * gain
    return (h - mean(h) - unit * mean(h * unit)) / std, g * unit, g  # type: ignore[no-untyped-call]


LayerNorm = fused(
    lambda x, gain, bias, *, eps: kernels.layer_norm(x, gain, bias, eps),
    lambda g, saved, x, gain, bias, *, needed, eps: kernels.layer_norm_vjp(g, saved, x, gain, needed),
    spec=layer_norm_spec,
    rule=layer_norm_rule,
    name="layer_norm",
    takes=real,
    samples="normal(2, 3, 5), normal(5), normal(5), eps=1e-5; normal(0, 3), normal(3), normal(3), eps=1e-5; "
    "normal(1, 4), normal(4), normal(4), eps=1e-5",
)


def layer_norm(x: Any, gain: Any, bias: Any, eps: float = 1e-5) -> Any:
    """Normalise the last axis: (x - mean) / sqrt(variance + eps) * gain + bias (Ba et al., 2016, eq. 4).

    x (..., C), gain (C), bias (C) -> (..., C); the variance is the biased one, divided by C. Raises ShapeError.
    """
    x, gain, bias = as_array(x), as_array(gain), as_array(bias)
    if x.ndim < 1 or gain.shape != x.shape[-1:] or bias.shape != x.shape[-1:]:
        raise ShapeError(f"layer_norm: x {x.shape} needs gain and bias {x.shape[-1:]}, not {gain.shape} and {bias.shape}")
    return LayerNorm.call(x, gain, bias, eps=eps)


def softmax_spec(x: Any, *, axis: int) -> Any:
    return np.exp(log_softmax(x, axis=axis))


def _softmax(x: Array, *, axis: int) -> tuple[Array, Array]:
    p = np.swapaxes(kernels.softmax(np.swapaxes(x, axis, -1)), axis, -1)
    return p, p


Softmax = fused(
    _softmax,
    lambda g, p, x, *, axis: (np.swapaxes(kernels.softmax_vjp(np.swapaxes(g, axis, -1), np.swapaxes(p, axis, -1)), axis, -1),),
    spec=softmax_spec,
    rule=lambda g, out, x, *, axis: out * (g - np.sum(g * out, axis=axis, keepdims=True)),
    name="softmax",
    takes=real,
    samples="normal(3, 4), axis=-1; normal(3, 4), axis=0; normal(0, 3), axis=-1; normal(3, 1), axis=0",
)


def softmax(x: Any, axis: int | tuple[int, ...] = -1) -> Any:
    """exp(x - max) / sum(exp(x - max)) along one or several axes: positive, summing to 1, never overflowing; (...) -> (...).

    It is the limit where x is infinite: entries that are inf have equal parts, and where all are -inf, all parts are 0. With a
    NaN all are NaN.
    """
    x = as_array(x)
    if not x.ndim:
        raise ShapeError("softmax: a single number has no axis to sum over")
    return np.exp(log_softmax(x, axis=axis)) if isinstance(axis, tuple) else Softmax.call(x, axis=axis)


def split_heads(x: Any, parts: int, heads: int) -> list[Any]:
    """(..., T, parts * C) -> that many (..., H, T, d_k)."""
    packed = np.reshape(x, (*x.shape[:-1], parts * heads, x.shape[-1] // (parts * heads)))
    return [np.swapaxes(packed[..., i * heads : (i + 1) * heads, :], -2, -3) for i in range(parts)]


def merge_heads(*parts: Any) -> Any:
    """The reverse of split_heads."""
    merged = np.swapaxes(np.concatenate(parts, axis=-3), -2, -3)
    return np.reshape(merged, (*merged.shape[:-2], merged.shape[-2] * merged.shape[-1]))


def attention_weights(q: Any, k: Any) -> Any:
    """softmax(Q K^T / sqrt(d_k) + mask), the mask -inf above the diagonal: two (..., T, d_k) -> (..., T, T)."""
    scores = q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
    return Softmax.spec(np.where(np.tri(q.shape[-2], dtype=bool), scores, -np.inf), axis=-1)


def causal_attention_spec(qkv: Any, *, heads: int, keep: Array | None = None) -> Any:
    q, k, v = split_heads(qkv, 3, heads)  # (..., H, T, d_k)
    weights = attention_weights(q, k)  # (..., H, T, T)
    return merge_heads((weights if keep is None else weights * keep) @ v)  # (..., T, C)


def causal_attention_rule(g: Any, out: Any, qkv: Any, *, heads: int, keep: Array | None = None) -> Any:
    q, k, v = split_heads(qkv, 3, heads)
    h = split_heads(g, 1, heads)[0]
    scores = q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
    weights = Softmax.spec(np.where(np.tri(q.shape[-2], dtype=bool), scores, -np.inf), axis=-1)
    kept = weights if keep is None else weights * keep
    dv = np.swapaxes(kept, -1, -2) @ h
    dp = h @ np.swapaxes(v, -1, -2) * (1 if keep is None else keep)
    ds = weights * (dp - np.sum(dp * weights, axis=-1, keepdims=True)) / math.sqrt(q.shape[-1])
    dq, dk = ds @ k, np.swapaxes(ds, -1, -2) @ q
    return merge_heads(dq, dk, dv)


CausalAttention = fused(
    lambda qkv, *, heads, keep=None: kernels.causal_attention(qkv, heads, keep),
    lambda g, saved, qkv, *, heads, keep=None: (kernels.causal_attention_vjp(g, saved, qkv, heads, keep),),
    spec=causal_attention_spec,
    rule=causal_attention_rule,
    name="causal_attention",
    takes=real,
    samples="normal(2, 4, 12), heads=2; normal(2, 4, 12), heads=2, keep=(normal(2, 2, 4, 4) > -0.5) / 0.7; "
    "normal(3, 6), heads=1; normal(1, 1, 6), heads=2; normal(0, 3, 6), heads=2",
    kept=lambda arrays, saved: arrays if saved[1] is None else (outline(arrays[0]),),
)


def causal_attention(qkv: Any, heads: int, p: float = 0.0, rng: np.random.Generator | None = None) -> Any:
    """Multi-head causal self-attention: softmax(Q K^T / sqrt(d_k) + mask) V (Vaswani et al., 2017, eq. 1).

    Args:
        qkv: queries, keys and values side by side, (..., T, 3C). Head h uses columns h d_k to (h + 1) d_k of each.
        heads: how many heads; d_k = d_v = C / heads.
        p: probability with which a weight is dropped, with `rng` to decide.

    Returns:
        (..., T, C), the heads concatenated. Position t sees positions 0 to t.

    Raises:
        ShapeError: the last axis is not 3 times a multiple of `heads`, or there is no axis of positions.
    """
    refuse_tensors("causal_attention", {"heads": heads, "p": p})
    qkv = as_array(qkv)
    if qkv.ndim < 2 or heads < 1 or qkv.shape[-1] % (3 * heads):
        raise ShapeError(f"causal_attention: qkv {qkv.shape} with {heads} heads: it needs shape (..., T, 3 * heads * d_k)")
    keep = None
    if p:
        if rng is None:
            raise ValueError(f"causal_attention: dropout {p} needs rng=")
        T = qkv.shape[-2]
        keep = (uniform(rng, (*qkv.shape[:-2], heads, T, T)) >= p) * np.asarray(
            1 / (1 - p), np.result_type(qkv.dtype, np.float32)
        )
    return CausalAttention.call(qkv, heads=heads, keep=keep)


def rotary_spec(qkv: Any, *, heads: int, start: int = 0) -> Any:
    q, k, v = split_heads(qkv, 3, heads)  # (..., H, T, d_k)
    cos, sin = angles(qkv, heads, start)
    q, k = (x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6) for x in (q, k))
    return merge_heads(turned(q, cos, sin) * 1.7, turned(k, cos, sin), v)


def rotary_rule(g: Any, out: Any, qkv: Any, *, heads: int, start: int = 0) -> Any:
    q, k, _ = split_heads(qkv, 3, heads)
    gq, gk, gv = split_heads(g, 3, heads)
    cos, sin = angles(qkv, heads, start)
    rms = lambda x: np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6)  # noqa: E731
    through = lambda h, x: (h - x * np.mean(h * x, axis=-1, keepdims=True) / rms(x) ** 2) / rms(x)  # type: ignore[no-untyped-call]  # noqa: E731
    return merge_heads(through(turned(1.7 * gq, cos, -sin), q), through(turned(gk, cos, -sin), k), gv)  # type: ignore[no-untyped-call]


def turned(x: Any, cos: Any, sin: Any) -> Any:
    """Each pair of entries as a point of the plane, turned: x (..., T, d_k), cos and sin (T, d_k / 2)."""
    a, b = x[..., 0::2], x[..., 1::2]
    return np.reshape(np.stack([a * cos - b * sin, a * sin + b * cos], axis=-1), x.shape)


def angles(qkv: Any, heads: int, start: int) -> tuple[Any, Any]:
    """By how much each pair of entries is turned: cosines and sines, (T, d_k / 2) each, for positions from `start` on."""
    T, d_k = qkv.shape[-2], qkv.shape[-1] // (3 * heads)
    found = np.arange(start, start + T)[:, None] / 10_000 ** (np.arange(0, d_k, 2) / d_k)
    return np.cos(found).astype(qkv.dtype), np.sin(found).astype(qkv.dtype)


Rotary = fused(
    lambda qkv, *, heads, start=0: kernels.rotary(qkv, heads, start),
    lambda g, factors, qkv, *, heads, start=0: (kernels.rotary_vjp(g, factors, qkv, heads, start),),
    spec=rotary_spec,
    rule=rotary_rule,
    name="rotary",
    takes=real,
    samples="normal(2, 4, 12), heads=2; normal(2, 3, 24), heads=2, start=5; normal(3, 6), heads=1; normal(1, 1, 12), heads=2; "
    "normal(0, 3, 12), heads=2",
)


def rotary(qkv: Any, heads: int, start: int = 0) -> Any:
    """Queries and keys of one length, turned by their position; values as they are: what `causal_attention` then takes.

    Each query and key of a head is divided by the root mean square of its entries (Henry et al., 2020, "QK-norm"), the query
    then multiplied by 1.7, so that a score is at most 1.7 sqrt(d_k); and its entries 2i and 2i + 1 are turned as a point of the
    plane by position / 10000^(2i / d_k) (Su et al., 2021, eq. 15). So a score depends on how far apart two positions are.

    Args:
        qkv: queries, keys and values side by side, (..., T, 3C), as for `causal_attention`.
        heads: how many heads; d_k = C / heads is even.
        start: the position of the first of the T.

    Returns:
        (..., T, 3C).

    Raises:
        ShapeError: the last axis is not 6 times a multiple of `heads`, or there is no axis of positions.
    """
    refuse_tensors("rotary", {"heads": heads, "start": start})
    qkv = as_array(qkv)
    if qkv.ndim < 2 or heads < 1 or qkv.shape[-1] % (6 * heads):
        raise ShapeError(f"rotary: qkv {qkv.shape} with {heads} heads: it needs shape (..., T, 3 * heads * d_k), d_k even")
    return Rotary.call(qkv, heads=heads, start=start)


def cross_entropy_spec(logits: Any, targets: Array) -> Any:
    shifted = logits - np.max(values(logits), axis=-1, keepdims=True)
    picked = shifted[np.arange(len(targets)), targets]
    return np.mean(np.log(np.sum(np.exp(shifted), axis=-1)) - picked)


def cross_entropy_rule(g: Any, out: Any, logits: Any, targets: Array) -> Any:
    p = Softmax.spec(logits, axis=-1)
    return (p - (np.arange(logits.shape[-1]) == targets[:, None])) * g / len(targets), None


CrossEntropy = fused(
    lambda logits, targets: kernels.cross_entropy(logits, targets),
    lambda g, gradient, logits, targets: (gradient * g, None),
    spec=cross_entropy_spec,
    rule=cross_entropy_rule,
    name="cross_entropy",
    takes=wide,
    samples="normal(6, 4), np.array([1, 2, 0, 0, 0, 3]); normal(1, 3), np.array([2]); normal(2, 1), np.zeros(2, int)",
)


def cross_entropy(logits: Any, targets: Any) -> Any:
    """The mean of -log softmax(logits)[target], in nats: logits (..., V), integer targets (...) -> a scalar.

    Raises ShapeError where the shapes differ, there is no position, or a target is not in 0..V-1.
    """
    logits = floating(logits)
    targets = _checked(targets, logits.shape)
    return CrossEntropy.call(np.reshape(logits, (-1, logits.shape[-1])), targets.reshape(-1))


def linear_cross_entropy_rule(
    g: Any, out: Any, h: Any, w: Any, b: Any, targets: Array, *, gradients: Any = (True, True, True)
) -> Any:
    logits = h @ w.T + (0 if b is None else b)
    d = (Softmax.spec(logits, axis=-1) - (np.arange(len(w)) == targets[:, None])) * g / len(targets)
    return d @ w, d.T @ h, d, None


LinearCrossEntropy = fused(
    lambda h, w, b, targets, *, gradients=(True, True, True): kernels.linear_cross_entropy(h, w, b, targets, gradients),
    lambda g, saved, h, w, b, targets, *, gradients=(True, True, True): (
        *(part if part is None or g == 1 else part * g for part in saved),
        None,
    ),
    spec=lambda h, w, b, targets, *, gradients=(True, True, True): cross_entropy_spec(
        Linear.spec(h, np.swapaxes(w, 0, 1), b), targets
    ),
    rule=linear_cross_entropy_rule,
    name="linear_cross_entropy",
    takes=wide,
    samples="normal(6, 3), normal(4, 3), normal(4), np.array([1, 2, 0, 0, 0, 3]); "
    "normal(6, 3), normal(4, 3), None, np.array([1, 2, 0, 0, 0, 3]); normal(1, 1), normal(1, 1), None, np.zeros(1, int)",
)


def linear_cross_entropy(h: Any, w: Any, b: Any, targets: Any, gradients: bool = True) -> Any:
    """cross_entropy(h w^T + b) without ever holding all logits: h (..., C), w (V, C), b (V) or None, targets (...) -> a scalar.

    The gradients that are wanted are computed with the value, while the logits are there; without `gradients` there is none.
    Raises ShapeError as `linear` and `cross_entropy` do.
    """
    h, w, b = floating(h), floating(w), floating(b)
    if h.ndim < 1 or w.ndim != 2 or h.shape[-1] != w.shape[1]:
        raise ShapeError(f"linear_cross_entropy: h {h.shape} and w {w.shape} must have equal last axes")
    if b is not None and b.shape != w.shape[:1]:
        raise ShapeError(f"linear_cross_entropy: bias {b.shape} for w {w.shape}: it needs shape {w.shape[:1]}")
    targets = _checked(targets, (*h.shape[:-1], len(w)))
    wanted = tuple(gradients and getattr(x, "requires_grad", False) for x in (h, w, b))
    return LinearCrossEntropy.call(np.reshape(h, (-1, h.shape[-1])), w, b, targets.reshape(-1), gradients=wanted)


def _checked(targets: Any, logits: tuple[int, ...]) -> Array:
    """Targets that suit logits of this shape."""
    targets = np.asarray(targets)
    if logits[:-1] != targets.shape or 0 in logits:
        raise ShapeError(f"cross_entropy: logits {logits} need targets {logits[:-1]}, not {targets.shape}")
    if targets.dtype.kind not in "iu" or targets.min() < 0 or targets.max() >= logits[-1]:
        raise ShapeError(
            f"cross_entropy: targets must be integers in 0..{logits[-1] - 1}; "
            f"these are {targets.dtype} from {targets.min()} to {targets.max()}"
        )
    return targets
