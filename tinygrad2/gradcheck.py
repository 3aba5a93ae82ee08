"""Is a gradient right? Compare it, entry by entry, with finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad2 import autograd
from tinygrad2.errors import DtypeError, TinygradError
from tinygrad2.ops import Array
from tinygrad2.tensor import Tensor

STENCIL = ((1, 8 / 12), (-1, -8 / 12), (2, -1 / 12), (-2, 1 / 12))
"""Offsets in steps, and weights, of the fourth-order central difference (Fornberg, 1988, table 1)."""
REFINEMENTS = 4
"""How often the step is quartered for an entry that does not agree: an error that stays is not one of truncation."""


@dataclass(frozen=True)
class InputCheck:
    """What the check found for one input; the numbers are those of its worst entry."""

    name: str
    shape: tuple[int, ...]
    error: float  # relative
    index: tuple[int, ...]  # of the output, then of the input
    analytic: float
    numeric: float


@dataclass(frozen=True)
class GradcheckResult:
    """The verdict, `right` or `wrong`, and one row per input."""

    verdict: str
    rows: tuple[InputCheck, ...]
    tolerance: float

    @property
    def worst(self) -> InputCheck:
        """The input with the largest relative error."""
        return max(self.rows, key=lambda row: row.error)

    def assert_right(self) -> None:
        """Raise AssertionError, with the table, unless the verdict is `right`."""
        if self.verdict != "right":
            raise AssertionError(f"\n{self}")

    def __str__(self) -> str:
        width = max(len("input"), *(len(row.name) for row in self.rows))
        lines = [f"{'input':{width}}  {'shape':>14}  {'analytic':>13}  {'numeric':>13}  {'rel. error':>10}"]
        for row in self.rows:
            mark = "" if row.error <= self.tolerance else f"  <- wrong at {list(row.index)}"
            lines.append(
                f"{row.name:{width}}  {row.shape!s:>14}  {row.analytic:13.6e}  {row.numeric:13.6e}  {row.error:10.1e}{mark}"
            )
        entries = sum(int(np.prod(row.shape)) for row in self.rows)
        lines.append(f"{self.verdict}: {entries:,} entries, worst relative error {self.worst.error:.1e} in {self.worst.name}")
        return "\n".join(lines)


def gradcheck(
    f: Callable[..., Tensor],
    inputs: Sequence[Any],
    *,
    names: Sequence[str] | None = None,
    step: float = 1e-3,
    tolerance: float = 1e-6,
    progress: Callable[[int], object] | None = None,
) -> GradcheckResult:
    """Compare the full Jacobian of `f(*inputs)` with fourth-order central differences, in float64.

    Args:
        f: gives one Tensor of any shape. It is called with the inputs as Tensors, whose arrays are changed in place
            between calls; a function that reads them elsewhere, such as a model its parameters, works as well.
        inputs: float64 leaf Tensors, or anything Tensor takes, which is then converted to float64.
        names: what to call the inputs in the table.
        step: the distance between evaluations, times max(1, |x|); smaller ones are tried where it is too coarse.
        tolerance: the largest relative error that passes. The error of an entry is |analytic - numeric| over the larger of
            the two, or over noise / tolerance if that is larger still, where noise = 4 * machine epsilon * max|f| / step is
            what rounding does to a finite difference: a difference smaller than that is no evidence.
        progress: called with the number of entries just checked.

    Raises:
        DtypeError: an input is a Tensor of another dtype.
    """
    tensors = [_leaf(x, i) for i, x in enumerate(inputs)]
    names = list(names) if names is not None else [f"input {i}" for i in range(len(tensors))]
    out = f(*tensors)
    if not out.size or not any(x.size for x in tensors):
        shapes = ", ".join(str(x.shape) for x in tensors)
        raise TinygradError(f"gradcheck: inputs of shape {shapes} to an output of shape {out.shape}: there is nothing to check")
    scale = float(np.abs(out.data).max(initial=0)) or 1.0
    analytic = _jacobian(f, tensors, out)
    rows = []
    for name, x, a in zip(names, tensors, analytic, strict=True):
        if not a.size:
            continue
        numeric, error = np.zeros(a.shape), np.zeros(a.shape)
        for i in np.ndindex(x.shape):
            at = (..., *i)
            numeric[at], error[at] = _differences(f, tensors, x, i, a[at], scale, step, tolerance)
            if progress is not None:
                progress(1)
        worst = tuple(int(k) for k in np.unravel_index(np.argmax(error), error.shape))
        rows.append(InputCheck(name, x.shape, float(error[worst]), worst, float(a[worst]), float(numeric[worst])))
    verdict = "right" if all(row.error <= tolerance for row in rows) else "wrong"
    return GradcheckResult(verdict, tuple(rows), tolerance)


def _leaf(x: Any, i: int) -> Tensor:
    if not isinstance(x, Tensor):
        return Tensor(np.array(x, np.float64), requires_grad=True)
    if x.dtype != np.float64 or not x.requires_grad:
        state = f"{x.dtype}{'' if x.requires_grad else ' without requires_grad'}"
        raise DtypeError(
            f"gradcheck: input {i} is {state}; finite differences need float64: model.to(np.float64), or pass the array"
        )
    return x


def _jacobian(f: Callable[..., Tensor], tensors: list[Tensor], out: Tensor) -> list[Array]:
    """By the gradients under test: one array of shape out.shape + x.shape per input."""
    rows: list[list[Array]] = [[] for _ in tensors]
    for i in range(out.size):
        cotangent = np.zeros(out.size)
        cotangent[i] = 1
        found = autograd.grad([out], tensors, cotangent.reshape(out.shape), retain_graph=True, allow_unused=True)
        for row, x, g in zip(rows, tensors, found, strict=True):
            row.append(np.zeros(x.shape) if g is None else g.data)
    return [np.array(row).reshape(out.shape + x.shape) for row, x in zip(rows, tensors, strict=True)]


def _differences(
    f: Callable[..., Tensor],
    tensors: list[Tensor],
    x: Tensor,
    i: tuple[int, ...],
    analytic: Array,
    scale: float,
    step: float,
    tolerance: float,
) -> tuple[Array, Array]:
    """The derivatives of all outputs with respect to x[i], and their errors, at the step where they agree best."""
    before = x.data[i]
    best: tuple[Array, Array] | None = None
    for h in (step * max(1.0, abs(before)) / 4**k for k in range(REFINEMENTS + 1)):
        try:
            column = np.zeros(analytic.shape)
            with np.errstate(all="ignore"):  # a step may leave the domain; then a smaller one is tried
                for offset, weight in STENCIL:
                    x.data[i] = before + offset * h
                    column += weight * f(*tensors).data
        finally:
            x.data[i] = before
        column /= h
        floor = 4 * np.finfo(float).eps * scale / h / tolerance
        with np.errstate(invalid="ignore"):
            error = np.abs(analytic - column) / np.maximum(np.maximum(np.abs(analytic), np.abs(column)), floor)
        error = np.where(np.isfinite(error), error, np.inf)  # a NaN agrees with nothing
        if best is None or error.max() < best[1].max():
            best = column, error
        if best[1].max() <= tolerance:
            break
    assert best is not None
    return best
