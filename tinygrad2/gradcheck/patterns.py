"""Where derivatives are wrong, and by which factor: what the places and the numbers have in common.

Nothing here knows an op. A place is described by its indices, by the numbers that stand there, and by the integers and masks
among the inputs; a factor by the lengths of axes and by powers of the numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad2.types import Array

LARGE = 4_000_000
"""Of more derivatives than that, no patterns are looked for."""


@dataclass(frozen=True)
class View:
    """A Jacobian of one output by one input: (entries of the output, entries of the input)."""

    name: str  # of the input
    analytic: Array
    numeric: Array
    wrong: Array
    out: Array  # the output, of its shape
    x: Array  # the input, of its shape
    others: dict[str, Array]  # all other inputs
    rtol: float
    atol: float

    @property
    def scale(self) -> float:
        """The largest derivative."""
        return float(np.abs(self.numeric[np.isfinite(self.numeric)]).max(initial=0))

    def same(self, a: Array, b: Array) -> bool:
        """Whether two Jacobians agree, as far as differences tell."""
        return bool(np.allclose(a, b, rtol=self.rtol, atol=self.atol * self.scale))

    def zero(self, a: Array) -> Array:
        """Where a Jacobian is zero."""
        return np.abs(a) <= self.atol * self.scale


# -- factors


def lengths(view: View) -> dict[int, str]:
    """The lengths of axes, and the numbers of entries, with their names."""
    found: dict[int, str] = {}
    arrays = {view.name: view.x, "the output": view.out, **view.others}
    for name, x in arrays.items():
        for axis, n in enumerate(np.shape(x)):
            found.setdefault(n, f"the length of axis {axis} of {name}")
    for name, x in arrays.items():
        found.setdefault(int(np.size(x)), f"the number of entries of {name}")
    return {n: what for n, what in found.items() if n > 1}


def factor(ratio: float, view: View) -> str:
    """A factor in words: its number and, if it has one, its origin."""
    near = abs(ratio - 1)
    text = f"{ratio:.6g}" if near > 1e-6 else f"1 {'+' if ratio > 1 else '-'} {near:.1e}"
    known = lengths(view)
    hints = []
    for number, hint in {
        0.5: "as if the 2 of a square were left out, or one of 2 uses kept (= for +=)",
        2.0: "as if the 1/2 of a loss were left out",
        **{1 / n: f"as if one of {n} uses were kept (= for +=), or a mean taken for a sum" for n in known if n > 2},
        **{p: f"it is {name}" for name, p in _numbers(view)},
        **{1 / p: f"it is 1 / {name}" for name, p in _numbers(view)},
    }.items():
        hints += [hint] if abs(ratio / number - 1) < 1e-3 else []
    origins = [_origin(abs(ratio), n, what, view.rtol, spread) for spread in (False, True) for n, what in known.items()]
    hints += [origin for origin in origins if origin][:1]
    return f"off by a factor of {text}{': ' if hints else ''}{'; '.join(hints)}"


def _origin(size: float, n: int, what: str, rtol: float, less_one: bool) -> str:
    """How a number is made of the length of an axis, if it is; also of one less, as in a variance."""
    forms: dict[str, float] = {"{}": n, "1 / {}": 1 / n, "the root of {}": math.sqrt(n), "1 / the root of {}": 1 / math.sqrt(n)}
    if less_one:
        forms = {"{0} - 1": n - 1, "1 / ({0} - 1)": 1 / (n - 1), "{0} / ({0} - 1)": n / (n - 1), "({0} - 1) / {0}": (n - 1) / n}
    for form, value in forms.items():
        if (n > 3 or not less_one) and abs(size / value - 1) < (rtol if rtol > 1e-3 else 1e-5):
            return f"it is {form.format(n)}, and {n} is {what}"
    return ""


def _numbers(view: View) -> list[tuple[str, float]]:
    """The other inputs that are single numbers, such as a probability."""
    single = [(name, float(x.reshape(()))) for name, x in view.others.items() if x.size == 1 and x.dtype.kind == "f"]
    return [(name, p) for name, p in single if p and np.isfinite(p)]


def fields(view: View) -> Iterator[tuple[str, Array]]:
    """Numbers that a factor may be made of, by name, for all pairs of an output and an entry."""
    outs, ins = view.analytic.shape
    yield view.name, np.broadcast_to(view.x.reshape(1, -1), (outs, ins))
    for name, other in view.others.items():
        for shape, turn in ((view.x.shape, (1, -1)), (view.out.shape, (-1, 1))):
            if other.dtype.kind == "f" and _fits(other.shape, shape):
                yield name, np.broadcast_to(np.broadcast_to(other, shape).reshape(turn), (outs, ins))
                break
    if outs > 1:
        out = view.out.reshape(-1, 1)
        yield "the output", np.broadcast_to(out, (outs, ins))
        yield "(1 - the output)", np.broadcast_to(1 - out, (outs, ins))
        yield "(1 + the output)", np.broadcast_to(1 + out, (outs, ins))
        yield "(1 - the output squared)", np.broadcast_to(1 - out * out, (outs, ins))


def _fits(shape: tuple[int, ...], wide: tuple[int, ...]) -> bool:
    """Whether an array can be broadcast to a shape."""
    return len(shape) <= len(wide) and all(n in (1, m) for n, m in zip(shape[::-1], wide[::-1], strict=False))


def powers(ratio: Array, where: Array, view: View) -> str:
    """A number for each place as a product of powers of `fields`, such as `2 * x / the output`; empty if it is none."""
    found = ratio[where]
    if found.size < 4 or not np.isfinite(found).all() or not found.all():
        return ""
    target = np.log(np.abs(found))
    known = [(name, field[where]) for name, field in fields(view)]
    known = [(name, f) for name, f in known if f.all() and np.isfinite(f).all() and np.ptp(np.abs(f)) > 1e-3 * np.abs(f).max()]
    for count in (1, 2):
        for chosen in itertools.combinations(known, count):
            columns = np.stack([np.ones(found.size), *(np.log(np.abs(f)) for _, f in chosen)], axis=1)
            if found.size < count + 3:
                continue
            solved, *_ = np.linalg.lstsq(columns, target, rcond=None)
            rounded = np.round(2 * solved[1:]) / 2
            constant = float(np.mean(target - columns[:, 1:] @ rounded))
            off = target - constant - columns[:, 1:] @ rounded
            if not rounded.all() or np.abs(rounded).max() > 3 or np.quantile(np.abs(off), 0.99) > max(1e-4, 3 * view.rtol):
                continue
            signs = np.sign(found) * np.prod(
                [np.sign(f) ** (p % 2 == 1) for (_, f), p in zip(chosen, rounded, strict=True)], axis=0
            )
            if abs(signs.sum()) != signs.size and abs(np.sign(found).sum()) != found.size:
                continue
            names = [name for name, _ in chosen]
            return _product(math.exp(constant) * float(signs[0]), dict(zip(names, rounded.tolist(), strict=True)))
    return ""


def _product(constant: float, exponents: dict[str, float]) -> str:
    """As it would be written."""

    def power(name: str, p: float) -> str:
        return name if p == 1 else f"the root of {name}" if p == 0.5 else f"{name} ** {p:g}"

    above = [power(name, p) for name, p in exponents.items() if p > 0]
    below = [power(name, -p) for name, p in exponents.items() if p < 0]
    number = f"{constant:.4g}"
    if number not in ("1", "-1") or not above:
        above.insert(0, number)
    elif number == "-1":
        above[0] = f"-{above[0]}"
    return " * ".join(above) + "".join(f" / {part}" for part in below)


# -- places


def places(view: View) -> str:
    """What is common to the places that are wrong, and to none that is right; empty if nothing is."""
    relevant = ~(view.zero(view.analytic) & view.zero(view.numeric))
    wrong = view.wrong & relevant
    if view.wrong.size > LARGE or wrong.all() or not wrong.any() or (wrong == relevant).all():
        return ""
    for text, condition in itertools.chain(_relations(view), _integers(view), _edges(view), _values(view), _indices(view)):
        if (np.broadcast_to(condition, wrong.shape)[relevant] == wrong[relevant]).all():
            return text
    return ""


def _grids(view: View) -> tuple[list[Array], list[Array]]:
    """The index along each axis: of the outputs as columns, of the entries as rows."""
    outs = [i.reshape(-1, 1) for i in np.indices(view.out.shape)] if view.out.ndim else []
    ins = [j.reshape(1, -1) for j in np.indices(view.x.shape)] if view.x.ndim else []
    return outs, ins


def aligned(view: View) -> list[tuple[int, int]]:
    """Pairs of an axis of the output and one of the input that have the same length and the same place from either end."""
    o, s = view.out.shape, view.x.shape
    pairs = [(a, a) for a in range(min(len(o), len(s)))] + [(len(o) - c, len(s) - c) for c in range(1, min(len(o), len(s)) + 1)]
    return [(a, b) for a, b in dict.fromkeys(pairs) if o[a] == s[b] > 1]


def _relations(view: View) -> Iterator[tuple[str, Array]]:
    outs, ins = _grids(view)
    pairs = aligned(view)
    if len(pairs) > 1 and view.out.shape == view.x.shape:
        all_equal = np.all([outs[a] == ins[b] for a, b in pairs if a == b], axis=0)
        yield "on the diagonal, in the derivative of an output by the input at the same place", all_equal
        yield "off the diagonal, in the derivatives of an output by the inputs at other places", ~all_equal
    for a, b in pairs:
        axis = f"axis {b}"
        yield f"on the diagonal, in the derivatives of an output by the inputs at its own place along {axis}", outs[a] == ins[b]
        yield f"off the diagonal, in the derivatives of an output by the inputs at other places along {axis}", outs[a] != ins[b]
        yield f"in the derivatives of later outputs along {axis} by earlier inputs", outs[a] > ins[b]
        yield f"in the derivatives of earlier outputs along {axis} by later inputs", outs[a] < ins[b]


def _integers(view: View) -> Iterator[tuple[str, Array]]:
    """At targets, in masks, and for ids that come again."""
    outs, ins = _grids(view)
    for name, other in view.others.items():
        if other.dtype.kind == "b":
            for shape, turn in ((view.x.shape, (1, -1)), (view.out.shape, (-1, 1))):
                if _fits(other.shape, shape):
                    there = np.broadcast_to(other, shape).reshape(turn)
                    yield f"where {name} is True", there
                    yield f"where {name} is False", ~there
        elif other.dtype.kind in "iu" and other.size:
            for grid, shape in ((ins, view.x.shape), (outs, view.out.shape)):
                if shape[:-1] == other.shape and shape and other.max() < shape[-1]:
                    at = grid[-1] == other[tuple(grid[:-1])]
                    yield f"at the targets, {name}", at
                    yield f"away from the targets, {name}", ~at
            if view.out.shape[: other.ndim] == other.shape and view.x.ndim and other.max() < view.x.shape[0]:
                flat = other.reshape(-1)
                first, last = (np.unique(turned, return_index=True)[1] for turned in (flat, flat[::-1]))
                for what, once in (("again later", flat.size - 1 - last), ("for another time", first)):
                    several = np.ones(flat.size, bool)
                    several[once] = False
                    where = several.reshape(other.shape)[tuple(outs[: other.ndim])]
                    yield f"for those of {name} that come {what}: only one of several uses counts, = for +=", where


def _values(view: View) -> Iterator[tuple[str, Array]]:
    named: dict[str, Any] = {view.name: view.x.reshape(1, -1)}
    if view.out.size > 1:
        named["the output"] = view.out.reshape(-1, 1)
    for name, v in named.items():
        yield f"where {name} is negative", v < 0
        yield f"where {name} is positive", v > 0
        yield f"where {name} is 0", v == 0
        yield f"where {name} is not 0", v != 0
        yield f"where {name} is beyond -1 and 1", np.abs(v) > 1
        yield f"where {name} is between -1 and 1", np.abs(v) < 1
    for axis in range(view.x.ndim):
        top = (view.x == view.x.max(axis=axis, keepdims=True)).reshape(1, -1)
        yield f"at the largest of {view.name} along axis {axis}", top
        yield f"away from the largest of {view.name} along axis {axis}", ~top


def _edges(view: View) -> Iterator[tuple[str, Array]]:
    outs, ins = _grids(view)
    for name, grids in ((view.name, ins), ("the output", outs)):
        for axis, g in enumerate(grids):
            last = int(g.max())
            where = f"along axis {axis} of {name}"
            yield f"at the first {where}", g == 0
            yield f"at the last {where}", g == last
            yield f"at all but the first {where}", g > 0
            yield f"at all but the last {where}", g < last


def _indices(view: View) -> Iterator[tuple[str, Array]]:
    outs, ins = _grids(view)
    for name, grids in ((view.name, ins), ("the output", outs)):
        for axis, g in enumerate(grids):
            last = int(g.max())
            where = f"along axis {axis} of {name}"
            if last < 64:
                for n in range(1, last):
                    yield f"at {n} {where}", g == n
                    yield f"from {n} on {where}", g >= n
                    yield f"before {n} {where}", g < n
    for name, grids in ((view.name, ins), ("the output", outs)):
        if len(grids) > 1:
            for at in itertools.islice(np.ndindex(*(int(g.max()) + 1 for g in grids)), 256):
                yield f"at {list(at)} of {name}", np.all([g == n for g, n in zip(grids, at, strict=True)], axis=0)
