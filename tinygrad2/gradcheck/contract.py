"""What every gradient promises, whatever it is the gradient of.

The same function and the same cotangent give the same, nothing comes from nothing, and what is given is not written into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad2.containers import leaves
from tinygrad2.errors import TinygradError
from tinygrad2.gradcheck.differences import SINGLE
from tinygrad2.gradcheck.engines.tensors import Tensors, gradients
from tinygrad2.gradcheck.subject import Case, ContractError, DoubtError, Flat
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array

ROUNDING = 64
"""So many last places two calls may differ by: sums on several threads are not always made in the same order."""


def first_look(flat: Flat, seed: int) -> tuple[Array, tuple[Array, list[Array]]]:
    """The value, and a random cotangent with what it is pulled back to.

    Raises ContractError and DoubtError, and TinygradError where there is nothing to check.
    """
    with watched(flat.case) as unchanged:
        return _first_look(flat, seed, unchanged)


def _first_look(flat: Flat, seed: int, unchanged: Callable[[str], None]) -> tuple[Array, tuple[Array, list[Array]]]:
    inputs = flat.case.inputs
    base = flat()
    flat.settle_single()
    if not base.size or not any(x.size for x in inputs):
        ins, outs = (", ".join(map(str, shapes)) or "none" for shapes in ([x.shape for x in inputs], flat.shapes))
        raise TinygradError(f"gradcheck: inputs of shape {ins} to an output of shape {outs}: there is nothing to check")
    unchanged("the function")
    if _differ(flat, [base], [flat()]):
        raise DoubtError("f is not deterministic: two calls with the same inputs differ" + flat.case.hint)
    u: Array = np.random.default_rng([seed, 1]).standard_normal(base.shape).astype(flat.case.precision.dtype)
    first = flat.pull(u)
    unchanged("the rule")
    nothing = flat.pull(np.zeros(base.shape))
    unchanged("the rule")
    again = flat.pull(u)
    for g, name in zip(nothing, flat.case.names, strict=True):
        if np.isfinite(g).all() and g.any():
            where = f" of {name}" if len(inputs) > 1 else ""
            cause = "it does not depend on the cotangent alone, or the rule takes its arguments in another order"
            if all(map(np.array_equal, first, nothing)):
                cause = "the cotangent is ignored"
                if not all(map(np.array_equal, first, again)):
                    cause = "it is kept from the call before, and added to: start each time from zeros"
            raise ContractError(f"a cotangent of zero gives a gradient{where} that is not zero: {cause}")
    if _differ(flat, first, again):
        flat()
        if not _differ(flat, first, flat.pull(u)):
            raise ContractError(
                "the rule writes into what the forward left for it: a second pull of the same cotangent gives something else"
            )
        raise DoubtError("the gradient is not deterministic: the same cotangent is pulled back to two different gradients")
    return base, (u, first)


@contextmanager
def watched(case: Case) -> Iterator[Callable[[str], None]]:
    """Gives what raises ContractError once an input is changed; at the end all are as they were."""
    arrays = list(zip(case.names, case.inputs, strict=True))
    arrays += [(name, x) for name, other in case.others.items() for x in leaves(other) if isinstance(x, np.ndarray)]
    before = [(name, x, x.copy()) for name, x in arrays if x.dtype.kind in "biufc" and x.flags.writeable]

    def unchanged(who: str) -> None:
        changed = dict.fromkeys(name for name, x, old in before if not np.array_equal(x, old, equal_nan=True))
        if changed:
            which = f"its input {' and '.join(changed)}, which others may read"
            raise ContractError(f"{who} writes into {which}: make a new array, 2 * x, not x *= 2")

    try:
        yield unchanged
    finally:
        for _, x, old in before:
            x[...] = old


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
                return flat.case.rounded.format(off / scale)
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

    def near(share: float, least: float = 0.0) -> Array:
        for x in flat.case.inputs:
            x += share * rng.standard_normal(x.shape) * np.maximum(np.abs(x), least)
        return flat.attempt()

    flat()  # of which shapes the results are
    with watched(flat.case):
        there, aside, beside = near(1e-3, 1e-3), near(1e-4), near(1e-10)
    moved = 1e-6 * np.abs(aside - there) > 16 * np.spacing(np.abs(aside))  # so much that the other shows; NaN is not
    return bool(moved.any() and ((aside == aside.astype(np.float32)) | (aside == beside))[moved].all())


def in_float32(tensors: Tensors, inputs: list[Array], names: list[str]) -> str:
    """What is wrong where float32 inputs do not keep their dtype, or give another gradient than float32 can be off by.

    That is a thousandth, and what moving the inputs by their last place does. What float32 cannot hold is left out.
    """
    f: Any = tensors.flat

    def pulled(arrays: list[Array]) -> tuple[Array, list[Array]]:
        xs = [Tensor(x, requires_grad=True) for x in arrays]
        out = f(*xs)
        u = np.random.default_rng(0).standard_normal(out.shape).astype(out.dtype)
        return out.data, [g.data for g in gradients(out, xs, [u])]

    single = [x.astype(np.float32) for x in inputs]
    out, grads = pulled(single)
    if not np.isfinite(out).all():
        return ""
    rng = np.random.default_rng(1)
    places = [SINGLE.eps * x.astype(np.float64) * rng.choice([-1, 1], x.shape) for x in single]
    exacts, *moved = (pulled([x + side * place for x, place in zip(single, places, strict=True)])[1] for side in (0, 1, -1))
    for name, g, exact, *near in zip(names, grads, exacts, *moved, strict=True):
        if g.dtype != np.float32 and g.any():
            return f"float32: the gradient of {name} is {g.dtype}"
        off, largest = (float(np.abs(x).max(initial=0)) for x in (g - exact, exact))
        allowed = 1e-3 * max(largest, 1) + 16 * max(float(np.abs(x - exact).max(initial=0)) for x in near)
        if largest < np.finfo(np.float32).max and (off > allowed or not np.isfinite(off)):
            return f"float32: the gradient of {name} is off by {off:.1e}"
    return ""
