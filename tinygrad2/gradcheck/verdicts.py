"""Is a gradient right? Three verdicts: right, wrong, or undecidable, each for a stated reason."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad2 import autograd
from tinygrad2.containers import leaves, rebuilt
from tinygrad2.errors import DtypeError, TinygradError, counted
from tinygrad2.gradcheck.differences import Slope, scatter, slopes
from tinygrad2.tensor import Tensor
from tinygrad2.transforms import in_one
from tinygrad2.types import Array

RIGHT, WRONG, UNDECIDABLE = "right", "wrong", "undecidable"
RESOLUTION = 1e-4  # an estimate that is off by more than this share of the largest entry decides nothing
PROJECTIONS = 3
TINY = 1e-20  # the imaginary step: its square is lost in rounding
Function = Callable[..., Tensor]


@dataclass(frozen=True)
class InputCheck:
    """What the check found for one input; index, numbers and note are those of its worst entry."""

    name: str
    shape: tuple[int, ...]
    verdict: str
    error: float  # |analytic - numeric|, relative to the larger of them or, if that is more, to a millionth of |f|
    index: tuple[int, ...]  # of the output, then of the input
    analytic: float
    numeric: float
    note: str = ""
    projected: bool = False  # the numbers are of one random direction through all entries


@dataclass(frozen=True, repr=False)
class GradcheckResult:
    """The verdict and one row per input; `str()` is a table.

    For tests: `gradcheck(...).assert_right()`, or `assert gradcheck(...)`: only *right* counts as true.
    """

    verdict: str
    rows: tuple[InputCheck, ...]
    note: str = ""

    @property
    def worst(self) -> InputCheck:
        """The input with the worst verdict, then the largest relative error."""
        return max(self.rows, key=lambda row: ((RIGHT, UNDECIDABLE, WRONG).index(row.verdict), row.error))

    def assert_right(self) -> None:
        """Raise AssertionError, with the table, unless the verdict is `right`."""
        if self.verdict != RIGHT:
            raise AssertionError(f"\n{self}")

    def __bool__(self) -> bool:
        return self.verdict == RIGHT

    def __repr__(self) -> str:
        return f"\n{self}\n"

    def _compared(self) -> str:
        """What was compared with differences, counted: entries, or one direction through all entries of an input."""
        one_by_one, together = ([row for row in self.rows if row.projected == kind] for kind in (False, True))
        parts = [f"{counted(sum(math.prod(row.shape) for row in one_by_one), 'entry')}"] * (bool(one_by_one) or not together)
        if together:
            entries = sum(math.prod(row.shape) for row in together)
            parts.append(f"{counted(len(together), 'random direction')} through {counted(entries, 'entry')}")
        return " and ".join(parts)

    def __str__(self) -> str:
        width = max((len(row.name) for row in self.rows), default=5)
        lines = [f"{'input':{width}}  {'shape':>14}  {'analytic':>13}  {'numeric':>13}  {'rel. error':>10}"]
        for row in self.rows:
            mark = "" if row.verdict == RIGHT else f"  <- {row.verdict} at {list(row.index)}"
            mark += f"{':' if mark else ' '} {row.note}" if row.note else ""
            numbers = f"{row.analytic:13.6e}  {row.numeric:13.6e}  {row.error:10.1e}"
            lines.append(f"{row.name:{width}}  {row.shape!s:>14}  {numbers}{mark}")
        end = f", worst relative error {self.worst.error:.1e} in {self.worst.name}" if self.rows else ""
        lines.append(f"{self.verdict}: {self._compared()}{end}{'; ' if self.note else ''}{self.note}")
        return "\n".join(lines)


def gradcheck(
    f: Function,
    inputs: Sequence[Any],
    *,
    order: int = 1,
    fast: bool = False,
    complex_step: bool = False,
    names: Sequence[str] | None = None,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> GradcheckResult:
    """Compare the gradients of `f(*inputs)` with finite differences, in float64.

    An entry is *right* when it agrees within the error that the differences are estimated to have (see
    `finite_differences`) or, at a kink, lies between the slopes of the two sides; *wrong* when it does not; and
    *undecidable* when the function is not deterministic, not finite, or too rough there for differences to tell.
    Also checked: that a cotangent of zero gives exactly zero, that the gradients have the inputs' shapes and dtypes, and,
    where the inputs are arrays, that float32 gives the same within its own rounding.

    Args:
        f: gives a Tensor of any shape, or a container of them. It is called with the inputs as Tensors, whose arrays are
            changed in place between calls; a function that reads them elsewhere, such as a model its parameters, works as well.
        inputs: float64 leaf Tensors, anything Tensor takes, which is then converted to float64, or containers of these.
        order: 2 also checks the gradient of the gradient.
        fast: compare a few random projections of the Jacobian, in a number of evaluations that does not depend on its
            size; where one disagrees, the whole Jacobian is checked to find the entry.
        complex_step: where the complex step (Squire & Trapp, 1998) gives what the differences give, within their error, it
            takes their place: exact to rounding, it finds what is wrong by less than differences can see. Elsewhere, as
            where f is not analytic (abs, a kink) or does not take complex numbers, the differences stay. It can turn
            *right* into *wrong*, never the reverse. The table says how many derivatives it decided.
        names: what to call the inputs in the table.
        seed: decides the projections.
        progress: called with the number of entries just checked.

    Raises:
        DtypeError: an input is a Tensor of another dtype or without gradient.
        TinygradError: there is no entry to check.
    """
    f, inputs = _of_leaves(f, inputs)
    tensors = [_leaf(x, i) for i, x in enumerate(inputs)]
    names = list(names) if names is not None else [f"input {i}" for i in range(len(tensors))]
    out = f(*tensors)
    if not out.size or not any(x.size for x in tensors):
        shapes = ", ".join(str(x.shape) for x in tensors)
        raise TinygradError(f"gradcheck: inputs of shape {shapes} to an output of shape {out.shape}: there is nothing to check")
    if not np.array_equal(out.data, f(*tensors).data, equal_nan=True):
        return GradcheckResult(UNDECIDABLE, (), "f is not deterministic: two calls with the same inputs differ")
    flaw = _zero_cotangent(tensors, out)
    if flaw:
        return GradcheckResult(WRONG, (), flaw)
    checked = _projected(f, tensors, names, out, np.random.default_rng(seed), complex_step) if fast else None
    pairs = [(x, name) for x, name in zip(tensors, names, strict=True) if x.size]
    rows = checked or [_full(f, tensors, x, name, complex_step, progress) for x, name in pairs]
    verdict = max((row.verdict for row in rows), key=(RIGHT, UNDECIDABLE, WRONG).index)
    note = "" if verdict == WRONG or any(isinstance(x, Tensor) for x in inputs) else _float32(f, tensors)
    result = GradcheckResult(WRONG if note else verdict, tuple(rows), note)
    if order > 1 and result.verdict == RIGHT and not _recorded_alike(f, tensors, seed):
        note = "the gradient with create_graph differs from the one without: check that the spec of each op equals its forward"
        return GradcheckResult(WRONG, tuple(rows), note)
    if order > 1 and result.verdict == RIGHT:
        slope = _slope_of(f, seed)  # made by a backward pass, which is not for complex numbers
        second = gradcheck(slope, inputs, order=order - 1, fast=fast, names=names, seed=seed, progress=progress)
        note = f"{'second' if order == 2 else 'higher'} order: {second.note}" if second.note else ""
        result = GradcheckResult(second.verdict, (*result.rows, *second.rows), note)
    return result


def _of_leaves(f: Callable[..., Any], inputs: Sequence[Any]) -> tuple[Function, list[Any]]:
    """The same function of what is in its inputs, giving all that it gives in one Tensor."""
    like = dict(enumerate(inputs))

    def flat(*tensors: Tensor) -> Tensor:
        return in_one("gradcheck", f(*rebuilt(like, iter(tensors)).values()))

    return flat, leaves(like)


def _leaf(x: Any, i: int) -> Tensor:
    if not isinstance(x, Tensor):
        return Tensor(np.array(x, np.float64), requires_grad=True)
    if x.dtype != np.float64 or not x.requires_grad:
        state = f"{x.dtype}{'' if x.requires_grad else ' without requires_grad'}"
        raise DtypeError(
            f"gradcheck: input {i} is {state}; finite differences need float64: model.to(np.float64), or pass the array"
        )
    if not x.data.flags.writeable:
        x.data = x.data.copy()
    return x


def _pulled(out: Tensor, tensors: list[Tensor], cotangent: Array) -> list[Array]:
    found = autograd.grad([out], tensors, [cotangent], retain_graph=True, allow_unused=True)
    return [np.zeros(x.shape) if g is None else g.data for g, x in zip(found, tensors, strict=True)]


def _zero_cotangent(tensors: list[Tensor], out: Tensor) -> str:
    """A rule is linear in the cotangent: nothing in, nothing out. Also looks at shapes and dtypes."""
    if not out.requires_grad:
        return ""
    for x, g in zip(tensors, _pulled(out, tensors, np.zeros(out.shape)), strict=True):
        if g.shape != x.shape or g.dtype != x.dtype:
            return f"a gradient is {g.dtype} {g.shape} for an input that is {x.dtype} {x.shape}"
        if np.isfinite(g).all() and g.any():
            return "a cotangent of zero gives a gradient that is not zero"
    return ""


# -- the whole Jacobian


def _full(
    f: Function,
    tensors: list[Tensor],
    x: Tensor,
    name: str,
    complex_step: bool,
    progress: Callable[[int], object] | None,
) -> InputCheck:
    """All entries of the Jacobian with respect to one input."""
    out = f(*tensors)
    analytic = np.zeros((out.size, x.size))
    for i in range(out.size if out.requires_grad else 0):
        cotangent = np.zeros(out.size)
        cotangent[i] = 1
        analytic[i] = _pulled(out, [x], cotangent.reshape(out.shape))[0].reshape(-1)
    scale = float(np.abs(analytic[np.isfinite(analytic)]).max(initial=0))
    noise = 0.0, 0.0
    columns = []
    for j, at in enumerate(np.ndindex(x.shape)):
        before = float(x.data[at])

        def line(t: float, at: tuple[int, ...] = at, before: float = before) -> Array:
            x.data[at] = before + t
            try:
                with np.errstate(all="ignore"):  # a step may leave the domain; then a smaller one is tried
                    return f(*tensors).data.flatten()  # a copy: the result may be a view of the input
            finally:
                x.data[at] = before

        size = max(1.0, abs(before))
        noise = scatter(line, size) if j % 16 == 0 else noise  # much the same at the entries that follow
        along = np.zeros(x.shape)
        along[at] = 1
        exact = _complex_step(f, tensors, x, along) if complex_step else None
        columns.append(_judge(analytic[:, j], line, size, noise, scale, exact))
        if progress is not None:
            progress(1)
    # each (outputs, entries)
    verdicts, errors, numeric, sharp = (np.array(part).T for part in zip(*columns, strict=True))
    order = np.where(verdicts == RIGHT, 0, np.where(verdicts == UNDECIDABLE, 1, 2))
    worst = np.unravel_index(np.lexsort((errors.ravel(), order.ravel()))[-1], errors.shape)
    index = (*np.unravel_index(worst[0], out.shape), *np.unravel_index(worst[1], x.shape))
    verdict = str(verdicts[worst])
    note = _diagnosis(analytic, numeric, x.shape) if verdict == WRONG else _decided(sharp) if complex_step else ""
    return InputCheck(
        name,
        x.shape,
        verdict,
        float(errors[worst]),
        tuple(int(i) for i in index),
        float(analytic[worst]),
        float(numeric[worst]),
        note,
    )


def _judge(
    analytic: Array,
    line: Callable[[float], Array],
    size: float,
    noise: tuple[float, float],
    scale: float,
    exact: Array | None = None,
) -> tuple[Any, Any, Any, Any]:
    """(verdicts, relative errors, numeric derivatives, where these are `exact`) of all outputs along one line."""
    sides: Slope | None = None
    scale = max(scale, 1e-5 * noise[1] / size)  # a slope far below the function itself counts as none
    value, error = np.zeros(analytic.shape), np.full(analytic.shape, np.inf)
    own = 1e-11 * scale  # the rounding of the analytic gradient itself
    for estimate in slopes(line, size, noise[0]):
        better = np.where(np.isfinite(estimate.value), estimate.error, np.inf) < error
        value, error = np.where(better, estimate.value, value), np.where(better, estimate.error, error)
        if (np.abs(analytic - value) <= error + own).all() and (error <= RESOLUTION * np.maximum(np.abs(value), scale)).all():
            break
        if sides is None or not sides.side_error.max() <= estimate.side_error.max():
            sides = estimate
    with np.errstate(invalid="ignore"):
        resolved = error <= RESOLUTION * np.maximum(np.maximum(np.abs(value), np.abs(analytic)), scale)
        sharp = np.zeros(value.shape, bool) if exact is None else resolved & (np.abs(exact - value) <= error)
        if exact is not None:  # within the error of the differences: whoever agrees with it agrees with them
            value, error = np.where(sharp, exact, value), np.where(sharp, 0.0, error)
        off = np.abs(analytic - value)
        floor = max(1e-6 * noise[1] / size, 1e-300)  # below it differences cannot tell one slope from another
        relative = off / np.maximum(np.maximum(np.abs(analytic), np.abs(value)), floor)
        agrees = off <= error + own
        verdicts = np.where(resolved | (error == 0), np.where(agrees, RIGHT, WRONG), UNDECIDABLE)
        if sides is not None and not agrees.all():
            low, high = np.minimum(sides.left, sides.right), np.maximum(sides.left, sides.right)
            kink = (high - low > 4 * sides.side_error) & np.isfinite(high - low)
            between = (analytic >= low - sides.side_error) & (analytic <= high + sides.side_error)
            verdicts = np.where(kink & ~agrees, np.where(between, RIGHT, WRONG), verdicts)
            relative = np.where(kink & between & ~agrees, 0.0, relative)
    verdicts = np.where(np.isfinite(analytic), verdicts, np.where(np.isfinite(error), WRONG, UNDECIDABLE))
    return verdicts, np.where(np.isfinite(relative), relative, np.inf), value, sharp


def _complex_step(f: Function, tensors: list[Tensor], x: Tensor, v: Array) -> Array | None:
    """Im f(x + ihv) / h, flat; None where f does not take complex numbers.

    Nothing is subtracted, so nothing cancels, and h can be so small that only the rounding of f itself is left. It is the
    derivative if f is analytic there; of |x| it makes 0. So it has to be compared with differences.
    """
    before = [t.data for t in tensors]
    try:
        for t in tensors:  # not through .data: they get their old arrays back, so no graph needs to know
            t._array = t.data + 1j * TINY * (v if t is x else 0.0)
        with autograd.no_grad(), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)  # an imaginary part is thrown away
            return f(*tensors).data.imag.flatten() / TINY
    except Exception:  # whatever it is, it says that f is not for complex numbers
        return None
    finally:
        for t, real in zip(tensors, before, strict=True):
            t._array = real


def _decided(sharp: Array) -> str:
    return f"the complex step decides {np.count_nonzero(sharp)} of {sharp.size}"


def _diagnosis(analytic: Array, numeric: Array, shape: tuple[int, ...]) -> str:
    """The usual mistake that a wrong Jacobian, (outputs, entries), looks like."""

    def same(a: Array, b: Array) -> bool:
        return bool(np.allclose(a, b, rtol=1e-4, atol=1e-6 * np.abs(numeric).max()))

    if not np.isfinite(analytic).all():
        return "not finite"
    if not analytic.any():
        return "always zero: no gradient arrives here"
    if same(analytic, -numeric):
        return "the sign is wrong"
    if len(shape) == 2 and shape[0] == shape[1]:
        turned = analytic.reshape(-1, *shape).swapaxes(1, 2).reshape(analytic.shape)
        if same(turned, numeric):
            return "transposed"
    ratio = float(np.sum(analytic * numeric) / np.sum(numeric * numeric)) if numeric.any() else 0.0
    if ratio and same(analytic, ratio * numeric):
        parts = round(1 / ratio) if abs(1 / ratio - round(1 / ratio)) < 1e-3 and abs(ratio) < 0.9 else 0
        hint = f": as if one of {parts} uses were kept (= for +=), or a mean taken for a sum" if parts > 1 else ""
        return f"off by a factor of {ratio:.6g}{hint}"
    there = np.abs(analytic) > 1e-12 * np.abs(numeric).max()
    if same(np.where(there, numeric, 0), analytic):
        return "some contributions are missing: not accumulated, or a sum over an axis left out"
    wrong = ~np.isclose(analytic, numeric, rtol=1e-4, atol=1e-6 * np.abs(numeric).max())
    return f"{int(wrong.sum())} of {wrong.size} derivatives differ"


# -- random projections


def _projected(
    f: Function, tensors: list[Tensor], names: Sequence[str], out: Tensor, rng: np.random.Generator, complex_step: bool
) -> list[InputCheck] | None:
    """u J v for random u and v, per input; None if one of them does not agree."""
    rows = []
    cotangents = [rng.standard_normal(out.shape) for _ in range(PROJECTIONS)]
    grads = [_pulled(out, tensors, u) if out.requires_grad else [np.zeros(x.shape) for x in tensors] for u in cotangents]
    weights = np.array([u.reshape(-1) for u in cotangents])  # (projections, outputs)
    for k, (x, name) in enumerate(zip(tensors, names, strict=True)):
        if not x.size:
            continue
        v = rng.standard_normal(x.shape)
        v /= np.sqrt(np.sum(v * v))
        before = x.data.copy()

        def line(t: float, x: Tensor = x, v: Array = v, before: Array = before) -> Array:
            x.data[...] = before + t * v
            try:
                with np.errstate(all="ignore"):
                    return weights @ f(*tensors).data.reshape(-1)
            finally:
                x.data[...] = before

        analytic = np.array([np.sum(g[k] * v) for g in grads])
        size = max(1.0, float(np.abs(before).max()))
        scale = float(np.abs(analytic).max())
        turned = _complex_step(f, tensors, x, v) if complex_step else None
        exact = weights @ turned if turned is not None else None
        verdicts, errors, numeric, sharp = _judge(analytic, line, size, scatter(line, size), scale, exact)
        if (verdicts != RIGHT).any():
            return None
        worst = int(np.argmax(errors))
        rows.append(
            InputCheck(
                name,
                x.shape,
                RIGHT,
                float(errors[worst]),
                (worst,),
                float(analytic[worst]),
                float(numeric[worst]),
                _decided(sharp) if complex_step else "",
                projected=True,
            )
        )
    return rows


# -- what else is checked


def _float32(f: Function, tensors: list[Tensor]) -> str:
    """Whether float32 inputs keep their dtype and give the same gradient, within what float32 can do."""
    single = [Tensor(x.data.astype(np.float32), requires_grad=True) for x in tensors]
    double = [Tensor(x.data.astype(np.float64), requires_grad=True) for x in single]
    outs = [f(*single), f(*double)]
    if not outs[0].requires_grad:
        return ""
    u = np.random.default_rng(0).standard_normal(outs[0].shape)
    grads, exacts = (_pulled(out, xs, u.astype(out.dtype)) for out, xs in zip(outs, (single, double), strict=True))
    for i, (g, exact) in enumerate(zip(grads, exacts, strict=True)):
        if g.dtype != np.float32 and g.any():
            return f"float32: the gradient of input {i} is {g.dtype}"
        off = np.abs(g - exact).max(initial=0)
        if np.isfinite(exact).all() and not off <= 1e-3 * max(np.abs(exact).max(initial=0), 1):
            return f"float32: the gradient of input {i} is off by {off:.1e}"
    return ""


def _recorded_alike(f: Function, tensors: list[Tensor], seed: int) -> bool:
    """Whether gradients are the same with `create_graph`, where fused ops go through their specifications."""
    out = f(*tensors)
    g = np.random.default_rng(seed).standard_normal(out.shape)
    found = (autograd.grad([f(*tensors)], tensors, [g], create_graph=again, allow_unused=True) for again in (False, True))
    pairs = [(a.data, b.data) for a, b in zip(*found, strict=True) if a is not None and b is not None]
    return all(np.allclose(a, b, rtol=1e-6, atol=1e-9 * np.abs(a).max(initial=0), equal_nan=True) for a, b in pairs)


def _slope_of(f: Function, seed: int) -> Function:
    """A function whose gradient needs the second derivatives of `f`: its gradients, in a random mixture."""

    def slope(*tensors: Tensor) -> Tensor:
        rng = np.random.default_rng(seed)
        out = f(*tensors)
        found = autograd.grad([out], list(tensors), [rng.standard_normal(out.shape)], create_graph=True, allow_unused=True)
        total: Any = 0.0 * np.sum(out)
        for g in found:
            if g is not None:
                total = total + np.sum(np.sin(g) * rng.standard_normal(g.shape))
        return total

    return slope
