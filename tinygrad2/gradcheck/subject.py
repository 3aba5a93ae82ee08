"""What is checked: a function with a gradient of its own, of whatever engine, as vectors of numbers.

An engine says two things of a function, and knows nothing of checks: its value at some arrays, and what a cotangent is
pulled back to. Here these become one function of vectors, and what breaks the contract of a gradient is refused by name.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tinygrad2.errors import DtypeError, TinygradError
from tinygrad2.gradcheck.differences import DOUBLE, SINGLE, Line, Precision
from tinygrad2.types import Array

ROUNDED = "off by {:.1e} of the largest, and each number is one of float32: rounded on the way"
KNOWN = {np.dtype(np.float32), np.dtype(np.float64)}
"""What inputs may be: coarser numbers have no digits left for differences, and steps are not made for finer ones."""


class Subject(Protocol):
    """A function and its gradient, as an engine has them. Arrays may be moved in place between two calls of `value`."""

    def value(self, inputs: list[Array]) -> Any:
        """The result at these inputs: an array, a number, or a list of them. Remembers what `pull` needs."""

    def pull(self, cotangents: list[Array]) -> Sequence[Any]:
        """For a cotangent of each result that `value` gave last, that of each input; None for zeros."""


class ContractError(TinygradError):
    """A gradient that is no cotangent of its input: of another shape or dtype, too few of them, or made by writing into
    what it was given."""


class DoubtError(Exception):
    """A reason why nothing can be said."""


@dataclass
class Case:
    """A function, where it is checked, and what to call its inputs."""

    subject: Subject
    inputs: list[Array]  # that a gradient is wanted of; they are moved in place
    names: list[str]
    others: dict[str, Any] = field(default_factory=dict)  # the other inputs, such as targets and masks
    precision: Precision = DOUBLE
    rounded: str = ROUNDED  # what is said of one that has the digits of float32
    note: str = ""
    hint: str = ""  # why it may not be deterministic
    engine: str = ""
    whose: str = ""  # gradient it is, in words
    around: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext  # what the engine wants to be in
    deep: Any = None  # of an engine whose gradients can be differentiated: seed -> the function that order=2 checks


class Flat:
    """A case as a function of nothing, which gives one vector: all results at the inputs as they are now."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.shapes: list[tuple[int, ...]] = []
        self.dtypes: list[np.dtype[Any]] = []

    def __call__(self) -> Array:
        parts = self._parts()
        self.shapes, self.dtypes = [part.shape for part in parts], [part.dtype for part in parts]
        return _joined(parts, np.float64)

    def at(self, inputs: list[Any]) -> Array:
        """The same at other arrays, which may be complex, of more digits, or objects."""
        return _joined(listed(self.case.subject.value(inputs)))

    def attempt(self) -> Array:
        """The same where the inputs may have left the domain: NaN if the function raises something, or gives another shape."""
        try:
            parts = self._parts()
        except Exception:  # whatever it is: at the inputs as they were given the function raised nothing
            parts = []
        if [part.shape for part in parts] != self.shapes:
            parts = [np.full(shape, np.nan) for shape in self.shapes]
        return _joined(parts, np.float64)

    def line(self, k: int, at: Any = ..., v: Any = 1.0) -> Line:
        """The function along a direction in input k, or in one entry of it, which is afterwards as it was."""
        x = self.case.inputs[k]
        before = x[at].copy()

        def moved(t: float) -> Array:
            x[at] = before + t * v
            try:
                return self.attempt()
            finally:
                x[at] = before

        return moved

    def _parts(self) -> list[Array]:
        parts = [np.asarray(part) for part in listed(self.case.subject.value(self.case.inputs))]
        if not parts:
            raise TinygradError("gradcheck: the function gave no result; give an array, a number, or several")
        for i, part in enumerate(parts):
            if part.dtype.kind != "f":
                which = f"output {i}" if len(parts) > 1 else "the function's output"
                raise DtypeError(f"gradcheck: {which} is {part.dtype}; give floating-point numbers, or leave it out")
            if part.dtype not in KNOWN:
                raise DoubtError(f"the result is {part.dtype}, and differences can tell something of float64 and float32 alone")
        return parts

    def settle_single(self) -> None:
        """Take the budget of float32 if the last results were, in part, float32."""
        if np.dtype(np.float32) in self.dtypes and self.case.precision is not SINGLE:
            self.case.precision, self.case.note = SINGLE, SINGLE_NOTE

    def index(self, i: int) -> tuple[int, ...]:
        """Where a number of the vector is: in the only result, or the number of one of several and where it is there."""
        for number, shape in enumerate(self.shapes):
            size = math.prod(shape)
            if i < size:
                place = tuple(map(int, np.unravel_index(i, shape)))
                return place if len(self.shapes) == 1 else (number, *place)
            i -= size
        raise IndexError(i)

    def split(self, u: Array) -> list[Array]:
        """A vector as arrays like the results; new ones."""
        ends = list(itertools.accumulate(map(math.prod, self.shapes), initial=0))
        places = zip(ends, ends[1:], self.shapes, self.dtypes, strict=False)
        return [u[i:j].reshape(shape).astype(dtype) for i, j, shape, dtype in places]

    def pull(self, u: Array) -> list[Array]:
        """The cotangents of all inputs. Raises ContractError where they are none."""
        given = self.split(u)
        found = list(self.case.subject.pull(given))
        if not all(map(np.array_equal, given, self.split(u))):
            raise ContractError(
                "the rule writes into the cotangent that it is given, which others may read: make a new array, "
                "2 * g and not g *= 2"
            )
        names, inputs = self.case.names, self.case.inputs
        if len(found) != len(inputs):
            raise ContractError(f"{len(found)} cotangents were given for {len(inputs)} inputs: {', '.join(names)}")
        return [self._cotangent(g, x, name) for g, x, name in zip(found, inputs, names, strict=True)]

    def _cotangent(self, g: Any, x: Array, name: str) -> Array:
        if g is None:
            return np.zeros(x.shape)
        g = np.array(g)  # a copy: the next one may be made in the same memory
        if g.shape != x.shape:
            raise ContractError(
                f"the gradient of {name} has shape {g.shape}, and {name} has {x.shape}{_misfit(g.shape, x.shape)}"
            )
        if g.dtype.kind != "f" or g.dtype.itemsize < self.case.precision.dtype(0).itemsize:
            raise ContractError(f"the gradient of {name} is {g.dtype}, and {name} is {x.dtype}{_narrow(g.dtype)}")
        return g


def _joined(parts: Sequence[Any], dtype: Any = None) -> Array:
    """Results as one vector, a new one."""
    return np.concatenate([np.asarray(part).reshape(-1) for part in parts], dtype=dtype)


def apart(arrays: Sequence[Array]) -> list[Array]:
    """Arrays that can be moved one by one: a copy of each that cannot be written to, or shares memory with one before it."""
    shared = [any(np.shares_memory(x, y) for y in arrays[:i]) for i, x in enumerate(arrays)]
    return [x.copy() if copied or not x.flags.writeable else x for x, copied in zip(arrays, shared, strict=True)]


def listed(value: Any) -> Sequence[Any]:
    """The results of a function one by one."""
    return value if isinstance(value, (list, tuple)) else [value]


def _narrow(dtype: np.dtype[Any]) -> str:
    if dtype.kind in "iub":
        return ": what is behind the point is lost; was it made with np.zeros_like of integers, or dtype=int?"
    return ": it was rounded on the way" if dtype.kind == "f" else ": take the real part of what is to be real"


def _misfit(found: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """What to do with a gradient of another shape, where that can be guessed."""
    if math.prod(found) == math.prod(wanted):
        turned = ": transposed" if found == wanted[::-1] else ""
        return turned or ": the same number of entries, so a reshape is missing"
    extra = len(found) - len(wanted)
    padded = (1,) * extra + wanted
    if extra >= 0 and all(n in (1, m) for n, m in zip(padded, found, strict=True)):
        axes = [i for i, (n, m) in enumerate(zip(padded, found, strict=True)) if i < extra or n != m]
        name = f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"
        return f": it was broadcast, and the sum over {name} is missing"
    padded = (1,) * -extra + found
    if extra <= 0 and all(n in (1, m) for n, m in zip(padded, wanted, strict=True)):
        return ": summed over an axis that is one of the input's own"
    return ""


COARSE_NOTE = "as rough as float32: derivatives are known to about a thousandth of the largest"
SINGLE_NOTE = "in float32, where derivatives are known to about a thousandth of the largest"


def settle(case: Case) -> None:
    """Choose the best precision that a function with float32 inputs computes in.

    They become float64 where the function takes that and gives float64. Otherwise it is checked with the steps and the budget
    of float32, and that is said.
    """
    for x, name in zip(case.inputs, case.names, strict=True):
        if x.dtype.newbyteorder("=") not in KNOWN:
            raise DtypeError(f"gradcheck: {name} is {x.dtype}; differences need float64 or float32: convert it first")
    case.inputs = [x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("=")) for x in case.inputs]
    if any(x.dtype == np.float32 for x in case.inputs):
        narrow, flat, why = case.inputs, Flat(case), ""
        case.inputs = wide = [x.astype(np.float64) for x in narrow]
        try:
            flat.pull(np.zeros(flat().shape))
            read = _read(flat)
            case.inputs = narrow
            elsewhere = any(once and not now for once, now in zip(_read(flat), read, strict=True))  # as a model its parameters
        except Exception as error:  # whatever it is, it says that the function is not for float64
            elsewhere, why = True, f" (in float64 it raises {type(error).__name__}: {str(error).partition(chr(10))[0]:.120})"
        if elsewhere:
            flat.dtypes = [np.dtype(np.float32)]
        flat.settle_single()
        case.inputs = narrow if case.precision is SINGLE else wide
        case.note += why
        case.rounded += ", where the inputs, of float32, were made float64"


def _read(flat: Flat) -> list[bool]:
    """Of each input whether the function changes with it."""
    base = flat.attempt()
    steps = (flat.line(k, v=np.maximum(np.abs(x), 1))(SINGLE.start) for k, x in enumerate(flat.case.inputs))
    return [not np.array_equal(base, step, equal_nan=True) for step in steps]
