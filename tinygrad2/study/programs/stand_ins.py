"""What a program has instead of some kernels and rules: the same numbers, without threads and without bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad2.kernels import reference
from tinygrad2.kernels.fast import products
from tinygrad2.kernels.reference import rows
from tinygrad2.ops.arithmetic import Add, add
from tinygrad2.ops.fused import Linear
from tinygrad2.ops.op import Op, values
from tinygrad2.ops.reductions import Axis, Mean, Sum, deviation, loses_digits, mean, running, total, variance
from tinygrad2.types import Array


def linear(x: Array, w: Array, b: Array | None) -> Array:
    """x (..., K) @ w (K, N) + b (N)."""
    x2 = rows(x)
    out = np.stack([row @ w for row in x2]) if 1 < len(x2) <= reference.FEW_ROWS else x2 @ w
    if b is not None:
        out += b
    return out.reshape(*x.shape[:-1], w.shape[1])


def linear_vjp(g: Array, x: Array, w: Array, b: Array | None) -> tuple[Array, Array, Array | None]:
    """Cotangents of x, w and b. That of w is laid out in memory as w is."""
    g2, x2 = rows(g), rows(x)
    for_x = (g2 @ w.T).reshape(x.shape)
    for_w = x2.T @ g2 if w.flags.c_contiguous else (g2.T @ x2).T
    return for_x, for_w, None if b is None else column_sums(g2)


column_sums = reference.column_sums


def matmul(a: Array, b: Array, out: Array, add: bool = False) -> Array:
    """out = a @ b, or out += a @ b."""
    if not add:
        np.matmul(a, b, out=out)
    for i in range(0, len(a) if add else 0, reference.ADDED_ROWS):
        out[i : i + reference.ADDED_ROWS] += a[i : i + reference.ADDED_ROWS] @ b
    return out


def add_to_rows(x: Array, b: Array) -> None:
    """x (N, C) += b (C)."""
    x += b


def laid_out(x: Array, strides: tuple[int, ...]) -> Array:
    """The same entries as far apart in memory as they were, which can decide the last bit of a sum."""
    reach = [step * (n - 1) for step, n in zip(strides, x.shape, strict=True)]
    start = -sum(r for r in reach if r < 0)
    memory = np.zeros(start + sum(r for r in reach if r > 0) + x.itemsize, np.uint8)
    out: Array = np.ndarray(x.shape, x.dtype, memory.data, start, strides)
    out[...] = x
    return out


def linear_rule(g: Array, out: Array, x: Array, w: Array, b: Array | None) -> tuple[Array, Array, Array | None]:
    """`ops.Linear.vjp` without the copy in bfloat16."""
    return linear_vjp(g, x, w, b)


def added_like_first(a: Array, b: Array) -> Array:
    """a + b, laid out as its first term, where NumPy would not."""
    return np.add(a, b, out=np.empty_like(a))


def forward_of(op: type[Op], arrays: Sequence[Any], axis: Axis = None, by_spec: bool = False) -> Callable[..., Any]:
    """The forward of an op as a program applies it."""
    if by_spec:
        return PLAIN.get(op.forward, op.forward)
    if op is Linear:
        return linear
    if op is Add:
        a, b = arrays
        kernel = np.ndim(a) > 1 and np.shape(a) == np.shape(b) and a.dtype == b.dtype
        return added_like_first if kernel and np.empty_like(a).strides != np.add(a, b).strides else np.add
    if op in (Sum, Mean) and not loses_digits(arrays[0], axis):
        return np.sum if op is Sum else np.mean
    return op.forward


STAND_INS: dict[Any, Any] = {products.matmul: matmul, reference.add_to_rows: add_to_rows}
"""Instead of the kernels that differ only in how threads share them, and in bfloat16."""

TRANSPARENT = (products.operand, products.weight, values)
"""Functions whose first argument is what they give, without bfloat16."""

PLAIN: dict[Any, Any] = {add: np.add, total: np.sum, mean: np.mean, variance: np.var, deviation: np.std, running: np.cumsum}
"""What NumPy has instead, where the last digits do not matter."""
