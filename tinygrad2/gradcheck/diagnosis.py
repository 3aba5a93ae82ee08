"""What a wrong Jacobian looks like, and where: the usual mistakes, recognised by their numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from tinygrad2.gradcheck.differences import DOUBLE
from tinygrad2.gradcheck.patterns import LARGE, View, aligned, factor, places, powers
from tinygrad2.gradcheck.subject import Flat
from tinygrad2.types import Array

OFF = "off the diagonal"
STATISTIC = ": perhaps what is computed of all of them, such as a mean or a norm, is taken as constant"


@dataclass(frozen=True)
class Findings:
    """All that a check has found out: of each input the two Jacobians, (outputs, entries), and where they disagree."""

    flat: Flat
    base: Array
    analytic: list[Array]
    numeric: list[Array]
    wrong: list[Array]


def diagnosis(findings: Findings, k: int) -> str:
    """The usual mistake that a wrong Jacobian looks like, and where it is."""
    if not findings.analytic[k].any():
        return "always zero: no gradient arrives here"
    if np.abs(findings.numeric[k]).max() <= 1e-9 * np.abs(findings.analytic[k]).max():  # NaN is none of these
        name, x = findings.flat.case.names[k], findings.flat.case.inputs[k]
        if np.array_equal(findings.flat.line(k, v=1 + np.abs(x))(1.0), findings.base):
            return f"the function does not depend on {name}: hand in the very arrays that it reads"
        return "the function is flat here, so that its gradient is zero; another is an estimate, such as a straight-through one"
    views = list(_views(findings, k))
    if len(views) > 1:
        bad = [number for number, view in enumerate(views) if view.wrong.any()]
        if not any(views[number].analytic.any() for number in bad):
            one = len(bad) == 1
            which = f"output {bad[0]} is" if one else f"outputs {', '.join(map(str, bad))} are"
            return f"the cotangent{'' if one else 's'} of {which} ignored"
        if len(bad) == 1:
            return f"in output {bad[0]}: {_of_view(views[bad[0]], findings, k)}"
        return _of_view(_whole(findings, k), findings, k)
    return _of_view(views[0], findings, k)


def _views(findings: Findings, k: int) -> Iterator[View]:
    """One for each output."""
    ends = np.cumsum([math.prod(shape) for shape in findings.flat.shapes])
    for shape, end in zip(findings.flat.shapes, ends, strict=True):
        yield _view(findings, k, slice(end - math.prod(shape), end), shape)


def _whole(findings: Findings, k: int) -> View:
    return _view(findings, k, slice(None), findings.base.shape)


def _view(findings: Findings, k: int, rows: slice, shape: tuple[int, ...]) -> View:
    case = findings.flat.case
    others = {name: x for i, (name, x) in enumerate(zip(case.names, case.inputs, strict=True)) if i != k}
    for name, x in case.others.items():
        if hasattr(x, "__array__") or isinstance(x, (list, float)):
            with suppress(Exception):  # NumPy does not have it, such as bfloat16
                others[name] = np.asarray(x)
    double = case.precision is DOUBLE
    return View(
        case.names[k],
        findings.analytic[k][rows],
        findings.numeric[k][rows],
        findings.wrong[k][rows],
        findings.base[rows].reshape(shape),
        case.inputs[k],
        others,
        1e-4 if double else 3e-2,
        1e-6 if double else 3e-3,
    )


def _of_view(view: View, findings: Findings, k: int) -> str:
    if not np.isfinite(view.analytic).all():
        return _not_finite(view)
    if _rounded(view):
        return findings.flat.case.rounded.format(np.abs(view.analytic - view.numeric).max() / view.scale)
    looks = [_scaled, _rearranged, _swapped(findings, k), _averaged, _missing, _coupled, _multiplied, _turned]
    for look in looks if view.analytic.size <= LARGE else (_scaled, _missing):
        found = look(view)
        if found:
            return found
    return _somewhere(view)


def _not_finite(view: View) -> str:
    count = np.count_nonzero(~np.isfinite(view.analytic))
    if not np.isfinite(view.numeric).all():
        return "not finite"
    hint = (
        "does a branch that is not taken still get a gradient, 0 * inf?"
        if np.isnan(view.analytic).any()
        else "a division by 0?"
    )
    bad = replace(view, wrong=~np.isfinite(view.analytic), analytic=np.nan_to_num(view.analytic, nan=1.0))
    where = places(bad)
    found = f"not finite in {count} of {view.analytic.size}"
    return f"{found}, {where}: {hint}" if where else f"{found}: {hint}"


def _rounded(view: View) -> bool:
    """Whether digits were lost on the way."""
    single = [(a.astype(np.float32) == a).all() for a in (view.analytic, view.numeric)]
    return single == [True, False] and np.abs(view.analytic - view.numeric).max() <= 1e-6 * view.scale


def _scaled(view: View) -> str:
    if view.same(view.analytic, -view.numeric):
        return "the sign is wrong"
    ratio = _ratio(view.analytic, view.numeric)
    return factor(ratio, view) if ratio and view.same(view.analytic, ratio * view.numeric) else ""


def _ratio(a: Array, b: Array) -> float:
    largest = np.abs(b).max()  # whose square may be too large, or too small, for a number
    return float(np.sum(a / largest * (b / largest)) / np.sum((b / largest) ** 2)) if largest else 0.0


def _rearranged(view: View) -> str:
    """The right numbers in other places."""
    shape = view.x.shape
    right = view.numeric.reshape(-1, *shape)

    def is_(turned: Array) -> bool:
        return view.same(view.analytic, turned.reshape(view.analytic.shape))

    for a, b in itertools.combinations(range(len(shape)), 2):
        if shape[a] == shape[b] and is_(right.swapaxes(a + 1, b + 1)):
            return "transposed" if len(shape) == 2 else f"transposed: axes {a} and {b} are swapped"
    if view.out.size == view.x.size > 1 and is_(view.numeric.T):
        return "the Jacobian is transposed: p for p.T, a matrix where its transpose belongs, or an operand on the wrong side"
    inner = _blocks_transposed(view)
    if inner:
        return inner
    for axis, n in enumerate(shape):
        if n > 1 and is_(np.flip(right, axis + 1)):
            return f"reversed along axis {axis}"
        for by in range(1, min(n, 4)):
            for sign in (1, -1):
                if _shifted(view, right, axis, sign * by):
                    return f"shifted by {by} along axis {axis}: an index or a slice that is off by {'one' if by == 1 else by}"
    if len(shape) > 1 and is_(
        np.stack([part.reshape(shape[::-1]).transpose().copy() for part in right.reshape(len(right), -1)])
    ):
        return "in another order: a reshape that goes through the axes the other way round"
    return ""


def _shifted(view: View, right: Array, axis: int, by: int) -> bool:
    """Whether all is the same a few places further along an axis, whatever is at the edge."""
    found = view.analytic.reshape(right.shape)
    n = right.shape[axis + 1]
    here = np.take(found, range(max(by, 0), n + min(by, 0)), axis + 1)
    there = np.take(right, range(max(-by, 0), n + min(-by, 0)), axis + 1)
    unmoved = np.take(right, range(max(by, 0), n + min(by, 0)), axis + 1)
    return view.same(here, there) and not view.same(here, unmoved)


def _blocks_transposed(view: View) -> str:
    """For each place along the first axes the Jacobian of the last one is transposed."""
    o, s = view.out.shape, view.x.shape
    if o == s and len(s) > 1:
        n, rest = s[-1], math.prod(s[:-1])
        blocks = view.numeric.reshape(rest, n, rest, n).transpose(0, 3, 2, 1).reshape(view.numeric.shape)
        if view.same(view.analytic, blocks):
            return "the Jacobian along the last axis is transposed: p for p.T, a matrix where its transpose belongs"
    return ""


def _swapped(findings: Findings, k: int) -> Callable[[View], str]:
    """Whether it is the gradient of another input."""

    def look(view: View) -> str:
        for other, numeric in enumerate(findings.numeric):
            if other == k or numeric.shape != findings.numeric[k].shape or view.analytic.shape != numeric.shape:
                continue
            name = findings.flat.case.names[other]
            if view.same(view.analytic, numeric):
                return f"it is the gradient of {name}: the operands, or their gradients, are swapped"
            if view.same(view.analytic, -numeric):
                return f"it is the gradient of {name} with the other sign: the operands are swapped"
        return ""

    return look


def _averaged(view: View) -> str:
    """Right for `.sum()`, whose cotangent is the same everywhere."""
    sums = view.analytic.sum(0), view.numeric.sum(0)
    if len(view.numeric) > 1 and not view.zero(sums[1]).all() and view.same(*sums):
        return "right only where the cotangent is the same for all outputs, as after .sum(): it is averaged, or put elsewhere"
    return ""


def _missing(view: View) -> str:
    """Right, or zero."""
    if view.same(np.where(view.zero(view.analytic), 0, view.numeric), view.analytic):
        where = places(view)
        guess = "they are not accumulated, or a sum over an axis is left out"
        perhaps = f"perhaps {guess}" if not where else f"{_only(where)}: perhaps {guess}"
        return f"some contributions are missing: {f'{_only(where)}, or {guess}' if where.startswith(OFF) else perhaps}"
    return ""


def _only(where: str) -> str:
    return f"those {where}{STATISTIC if where.startswith(OFF) else ''}"


def _coupled(view: View) -> str:
    """A matrix of low rank is missing along an axis: what a mean, a variance, a norm or a maximum passes on."""
    lack = view.numeric - view.analytic
    if view.out.shape != view.x.shape or lack.size > LARGE:
        return ""
    for axes in [*([a] for a, b in aligned(view) if a == b), *[list(range(view.x.ndim))] * (view.x.ndim > 1)]:
        blocks = _along(lack, view.x.shape, axes)
        n = blocks.shape[-1]
        if n < 3:
            continue
        ranks = [_rank(block, view.atol * view.scale * n) for block in blocks]
        total = np.sqrt(np.sum(blocks * blocks)) / max(np.sqrt(np.sum(lack * lack)), 1e-300)
        if total < 1 - 1e-6 or not 1 <= max(ranks) <= min(2, n - 2 if n > 3 else 1):
            continue
        columns = (~view.zero(blocks)).any(axis=1).sum(axis=-1)  # of each block, how many
        if columns.max() <= max(2, n // 2):
            continue
        where = f"axis {axes[0]}" if len(axes) == 1 else "all axes"
        flat = all(np.allclose(block, block[0, 0], atol=view.atol * view.scale * 10) for block in blocks)
        what = "a mean" if flat else "a statistic (a sum, mean, variance, norm or maximum)"
        return f"{what} over {where} is taken as constant, or what it passes on is not right"
    return ""


def _along(lack: Array, shape: tuple[int, ...], axes: list[int]) -> Array:
    """The blocks of a square Jacobian that lead from some axes to the same, for each place along the others."""
    nd = len(shape)
    rest = [a for a in range(nd) if a not in axes]
    n = math.prod(shape[a] for a in axes)
    m = math.prod(shape[a] for a in rest)
    whole = lack.reshape(*shape, *shape).transpose(*rest, *axes, *(nd + a for a in rest), *(nd + a for a in axes))
    return np.einsum("ijik->ijk", whole.reshape(m, n, m, n))


def _rank(block: Array, floor: float) -> int:
    s = np.linalg.svd(block, compute_uv=False)
    return int(np.sum(s > max(1e-5 * s[0], floor)))


def _multiplied(view: View) -> str:
    """By a factor that depends on the place."""
    both = ~view.zero(view.analytic) & ~view.zero(view.numeric)
    alone = np.abs(view.analytic - view.numeric)[~both] > 2 * view.atol * view.scale  # one of them is zero, and not the other
    if np.count_nonzero(alone) > 0.01 * np.count_nonzero(both):
        return ""
    ratio = np.where(both, view.analytic / view.numeric, 1)
    wrong = both & view.wrong
    if wrong.any() and np.ptp(ratio[wrong]) <= 10 * view.rtol * np.abs(ratio[wrong]).max():
        where = places(view)
        if where:
            return f"{_count(view.wrong)}: {factor(float(np.mean(ratio[wrong])), view)}, only {where}"
    found = powers(ratio, both, view)
    if found:
        return f"off by a factor of {found}"
    lack = view.numeric - view.analytic
    there = ~view.zero(lack)
    found = powers(lack, there, view)
    return f"a term is missing: {found}" if found else ""


def _turned(view: View) -> str:
    """A matrix where its transpose belongs, between other factors: A / N.T is a number of the row by one of the column."""
    n = view.x.size
    if view.out.shape == view.x.shape and view.x.ndim > 1:
        axes = [view.x.ndim - 1]
        pairs = zip(_along(view.analytic, view.x.shape, axes), _along(view.numeric, view.x.shape, axes), strict=True)
    elif view.out.size == n:
        pairs = zip([view.analytic], [view.numeric], strict=True)
    else:
        return ""
    for a, b in pairs:
        if len(a) < 3 or not a.all() or not b.all():
            return ""
        ratio = a / b.T
        logs, signs = np.log(np.abs(ratio)), np.sign(ratio)
        rest = logs - logs.mean(0) - logs.mean(1)[:, None] + logs.mean()
        typical = np.median(np.abs(rest))  # where a derivative is tiny, its differences have few digits
        if typical > 10 * view.rtol or not (signs * signs[0] * signs[:, :1] * signs[0, 0] > 0).all():
            return ""
    return "a matrix stands where its transpose belongs, beside other factors: p for p.T"


def _somewhere(view: View) -> str:
    wrong = ~np.isclose(view.analytic, view.numeric, rtol=view.rtol, atol=view.atol * view.scale)
    wrong = wrong if wrong.any() else view.wrong
    count = _count(wrong)
    where = places(replace(view, wrong=wrong))
    if where:
        return f"{count}: only {_only(where)}"
    relevant = ~(view.zero(view.analytic) & view.zero(view.numeric))
    if (view.zero(view.analytic) != view.zero(view.numeric))[relevant].all():
        return f"{count}: zero where it should not be, and the other way round: is a mask or a condition turned round?"
    if np.count_nonzero(wrong) > 2 and np.count_nonzero(wrong) >= 0.99 * np.count_nonzero(relevant):
        return f"{count}, each by another factor: a term or a factor is missing, such as one of the two of a product rule"
    return count


def _count(wrong: Array) -> str:
    return f"{int(wrong.sum())} of {wrong.size} derivatives differ"
