r"""A training step of GPT-2 in JAX, compiled by XLA for a CPU, timed: another that ours is compared with.

    python experiments/speed/jax_gpt2.py --vocab-size 65 --seq-len 64 --num-layers 4 --num-heads 4 \
        --d-model 128 --batch-size 12

The model and the step are those of torch_gpt2.py, by hand in `jax.numpy`. For JAX's benefit the whole step is one compiled
function, and parameters and moments are replaced in their own memory (`donate_argnums`).

Prints one JSON object: see peer.py. Needs JAX and nothing else.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from peer import BETAS, EPSILON, LEARNING_RATE, MAX_NORM, STD, WEIGHT_DECAY, arguments, report

Parameters = dict[str, Any]


def initial(key: Array, vocab_size: int, seq_len: int, num_layers: int, d_model: int) -> Parameters:
    """N(0, 0.02^2) for every matrix and no bias; a matrix of a linear layer is (in, out)."""
    keys = iter(jax.random.split(key, 2 + 4 * num_layers))

    def matrix(rows: int, columns: int) -> Array:
        return STD * jax.random.normal(next(keys), (rows, columns))

    def linear(rows: int, columns: int) -> Parameters:
        return {"weight": matrix(rows, columns), "bias": jnp.zeros(columns)}

    def norm() -> Parameters:
        return {"weight": jnp.ones(d_model), "bias": jnp.zeros(d_model)}

    def block() -> Parameters:
        attention = {"norm_1": norm(), "qkv": linear(d_model, 3 * d_model), "out": linear(d_model, d_model)}
        return {**attention, "norm_2": norm(), "up": linear(d_model, 4 * d_model), "down": linear(4 * d_model, d_model)}

    blocks = [block() for _ in range(num_layers)]
    return {"tokens": matrix(vocab_size, d_model), "positions": matrix(seq_len, d_model), "blocks": blocks, "norm": norm()}


def linear(x: Array, p: Parameters) -> Array:
    """(..., in) to (..., out)."""
    return x @ p["weight"] + p["bias"]


def norm(x: Array, p: Parameters) -> Array:
    """LayerNorm of the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5) * p["weight"] + p["bias"]


def attention(x: Array, p: Parameters, num_heads: int) -> Array:
    """Causal self-attention of several heads: (B, T, C) to (B, T, C)."""
    B, T, C = x.shape
    q, k, v = (part.reshape(B, T, num_heads, -1) for part in jnp.split(linear(x, p["qkv"]), 3, axis=-1))  # each (B, T, H, d_k)
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(C // num_heads)
    causal = jnp.tril(jnp.ones((T, T), bool))
    weights = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf))  # (B, H, T, T)
    return linear(jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(B, T, C), p["out"])


def loss_of(p: Parameters, ids: Array, targets: Array, num_heads: int) -> Array:
    """Token ids and their successors, both (B, T), to the mean cross-entropy."""
    x = p["tokens"][ids] + p["positions"][: ids.shape[1]]  # (B, T, C)
    for block in p["blocks"]:
        x = x + attention(norm(x, block["norm_1"]), block, num_heads)
        x = x + linear(jax.nn.gelu(linear(norm(x, block["norm_2"]), block["up"]), approximate=True), block["down"])
    logits = norm(x, p["norm"]) @ p["tokens"].T  # (B, T, V)
    right = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return (jax.nn.logsumexp(logits, axis=-1) - right).mean()


@partial(jax.jit, static_argnames="num_heads", donate_argnums=(0, 1, 2))
def update(
    p: Parameters, m: Parameters, v: Parameters, step: Array, ids: Array, targets: Array, num_heads: int
) -> tuple[Parameters, Parameters, Parameters, Array]:
    """One step, counted from 1, of AdamW along the clipped gradient: new parameters and moments, and the loss before it."""
    loss, grads = jax.value_and_grad(loss_of)(p, ids, targets, num_heads)
    length = jnp.sqrt(sum(jnp.square(g).sum() for g in jax.tree.leaves(grads)))
    clip = jnp.minimum(1, MAX_NORM / (length + 1e-6))
    first, second = BETAS

    def moved(p: Array, m: Array, v: Array) -> Array:
        along = m / (1 - first**step) / (jnp.sqrt(v / (1 - second**step)) + EPSILON)
        return p - LEARNING_RATE * (along + WEIGHT_DECAY * p)

    m = jax.tree.map(lambda m, g: first * m + (1 - first) * clip * g, m, grads)
    v = jax.tree.map(lambda v, g: second * v + (1 - second) * jnp.square(clip * g), v, grads)
    return jax.tree.map(moved, p, m, v), m, v, loss


def stepper(p: Parameters, ids: Array, targets: Array, num_heads: int) -> Callable[[], float]:
    """A function that makes one more step on the same batch and returns the loss before it. The parameters are used up."""
    state = p, jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p)
    count = 0

    def step() -> float:
        nonlocal state, count
        count += 1
        *moved, loss = update(*state, jnp.float32(count), ids, targets, num_heads)
        state = tuple(moved)
        return float(jax.block_until_ready((state, loss))[1])

    return step


def main() -> None:
    """Time the steps and print what was found."""
    args = arguments(__doc__, dtype=("float32",))
    threads = args.threads or os.cpu_count() or 1
    os.environ["NPROC"] = str(threads)  # XLA reads it when it begins to compute, and has no other setting for all its threads
    weights, batch = jax.random.split(jax.random.key(0))
    p = initial(weights, args.vocab_size, args.seq_len, args.num_layers, args.d_model)
    ids, targets = jax.random.randint(batch, (2, args.batch_size, args.seq_len), 0, args.vocab_size)
    report(args, stepper(p, ids, targets, args.num_heads), threads)


if __name__ == "__main__":
    main()
