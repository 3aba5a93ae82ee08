"""What every gradient promises, whatever it is the gradient of.

The same function and the same cotangent give the same, nothing comes from nothing, and what is given is not written into.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2.errors import TinygradError
from tinygrad2.gradcheck.engines.tensors import Tensors, gradients
from tinygrad2.gradcheck.subject import ROUNDED, ContractError, DoubtError, Flat
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array

ROUNDING = 64
"""So many last places two calls may differ by: sums on several threads are not always made in the same order."""


def first_look(flat: Flat, seed: int) -> tuple[Array, tuple[Array, list[Array]]]:
    """The value, and a random cotangent with what it is pulled back to.

    Raises ContractError and DoubtError, and TinygradError where there is nothing to check.
    """
    inputs = flat.case.inputs
    before = [x.copy() for x in inputs]
    base = flat()
    flat.settle_single()
    if not base.size or not any(x.size for x in inputs):
        ins, outs = (", ".join(map(str, shapes)) or "none" for shapes in ([x.shape for x in inputs], flat.shapes))
        raise TinygradError(f"gradcheck: inputs of shape {ins} to an output of shape {outs}: there is nothing to check")
    _unchanged(flat, before, "the function")
    if _differ(flat, [base], [flat()]):
        raise DoubtError("f is not deterministic: two calls with the same inputs differ" + flat.case.hint)
    u: Array = np.random.default_rng([seed, 1]).standard_normal(base.shape).astype(flat.case.precision.dtype)
    first = flat.pull(u)
    _unchanged(flat, before, "the rule")
    nothing = flat.pull(np.zeros(base.shape))
    _unchanged(flat, before, "the rule")
    again = flat.pull(u)
    for g, name in zip(nothing, flat.case.names, strict=True):
        if np.isfinite(g).all() and g.any():
            where = f" of {name}" if len(inputs) > 1 else ""
            ignored = all(np.array_equal(a, b) for a, b in zip(first, nothing, strict=True))
            cause = ": the cotangent is ignored" if ignored else ""
            raise ContractError(f"a cotangent of zero gives a gradient{where} that is not zero{cause}")
    if _differ(flat, first, again):
        flat()
        if not _differ(flat, first, flat.pull(u)):
            raise ContractError(
                "the rule writes into what the forward left for it: a second pull of the same cotangent gives something else"
            )
        raise DoubtError("the gradient is not deterministic: the same cotangent is pulled back to two different gradients")
    return base, (u, first)


def _unchanged(flat: Flat, before: list[Array], who: str) -> None:
    changed = []
    for x, old, name in zip(flat.case.inputs, before, flat.case.names, strict=True):
        if not np.array_equal(x, old, equal_nan=True):
            changed.append(name)
            x[...] = old
    if changed:
        raise ContractError(
            f"{who} writes into its input {' and '.join(changed)}, which others may read: make a new array, 2 * x, not x *= 2"
        )


def _differ(flat: Flat, first: list[Array], second: list[Array]) -> bool:
    near = ROUNDING * flat.case.precision.eps
    for a, b in zip(first, second, strict=True):
        if not np.array_equal(a, b, equal_nan=True):
            finite = np.isfinite(a)
            scale = np.abs(a[finite]).max(initial=0)
            if not np.array_equal(finite, np.isfinite(b)) or (np.abs(a[finite] - b[finite]) > near * scale).any():
                return True
    return False


def not_linear(flat: Flat, base: Array, pulled: tuple[Array, list[Array]], jacobians: list[Array]) -> str:
    """What there is to say where a random cotangent is not pulled back to what those of the single outputs add up to."""
    u, found = pulled
    finite = [
        (g.reshape(-1), j) for g, j in zip(found, jacobians, strict=True) if np.isfinite(j).all() and np.isfinite(g).all()
    ]
    largest = float(np.abs(base[np.isfinite(base)]).max(initial=0))  # what cancels to nothing is as large as that on its way
    scale = max([largest * float(np.abs(u).max()), *((np.abs(u) @ np.abs(j)).max(initial=0) for _, j in finite)])
    for g, jacobian in finite:
        off = np.abs(g - u @ jacobian).max(initial=0)
        if off > 100 * flat.case.precision.rounding * scale and (base.any() or off > flat.case.precision.rounding):
            if off < 1e-6 * scale and np.array_equal(g.astype(np.float32), g):
                return ROUNDED.format(off / scale)
            return (
                "the gradient is not linear in the cotangent: a rule may multiply it and add it up, but not square it, nor "
                "take its sign, its size or its average"
            )
    return ""


def is_coarse(flat: Flat, seed: int) -> bool:
    """Whether a function that takes and gives float64 goes through float32 on its way.

    Then its results are numbers of float32, or they do not change with digits that float32 does not have. Where they do not
    change with some that it has, as where they are clipped, that says nothing.
    """
    rng = np.random.default_rng([seed, 2])
    inputs, before = flat.case.inputs, [x.copy() for x in flat.case.inputs]

    def near(share: float, least: float = 0.0) -> Array:
        for x in inputs:
            x += share * rng.standard_normal(x.shape) * np.maximum(np.abs(x), least)
        return flat.attempt()

    flat()  # of which shapes the results are
    try:
        there, aside, beside = near(1e-3, 1e-3), near(1e-4), near(1e-10)
    finally:
        for x, old in zip(inputs, before, strict=True):
            x[...] = old
    moved = 1e-6 * np.abs(aside - there) > 16 * np.spacing(np.abs(aside))  # so much that the other shows; NaN is not
    return bool(moved.any() and ((aside == aside.astype(np.float32)) | (aside == beside))[moved].all())


def in_float32(tensors: Tensors, inputs: list[Array], names: list[str]) -> str:
    """What is wrong where float32 inputs do not keep their dtype, or give another gradient than float32 can be off by."""
    f: Any = tensors.f
    single = [Tensor(x.astype(np.float32), requires_grad=True) for x in inputs]
    double = [Tensor(x.data.astype(np.float64), requires_grad=True) for x in single]
    outs = [f(*single), f(*double)]
    u = np.random.default_rng(0).standard_normal(outs[0].shape)
    grads, exacts = (gradients(out, xs, [u.astype(out.dtype)]) for out, xs in zip(outs, (single, double), strict=True))
    for name, g, exact in zip(names, *([g.data for g in found] for found in (grads, exacts)), strict=True):
        if g.dtype != np.float32 and g.any():
            return f"float32: the gradient of {name} is {g.dtype}"
        off = np.abs(g - exact).max(initial=0)
        if np.isfinite(exact).all() and not off <= 1e-3 * max(np.abs(exact).max(initial=0), 1):
            return f"float32: the gradient of {name} is off by {off:.1e}"
    return ""
