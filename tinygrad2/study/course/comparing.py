"""Where two transcripts first differ, in what, and whether two wrong ones are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad2.study.course.exercise import Pair, Text
from tinygrad2.study.course.transcript import Failure, Observation, Transcript
from tinygrad2.types import Array

TINY = 1e-30
"""Numbers below are as good as zero: what is left of exp(-1000) has no digits."""


@dataclass(frozen=True)
class Difference:
    """Where two transcripts first differ."""

    index: int
    label: str
    kind: str  # count, type, shape, dtype, value
    said: Text
    path: str = ""
    error: float = 0.0
    got: Any = None
    expected: Any = None


def parts(value: Any, path: str = "", like: Any = None) -> Iterator[tuple[str, Any]]:
    """The arrays, numbers and texts in nested tuples, lists and dictionaries, each with its place.

    A list of numbers is one array, unless there is something `like` it that has them one by one, as a tuple has.
    """
    if isinstance(value, dict):
        for key, part in value.items():
            yield from parts(part, f"{path}[{key!r}]", like.get(key) if isinstance(like, dict) else None)
    elif isinstance(value, (tuple, list)) and not _is_row(like if isinstance(like, (tuple, list)) else value):
        for i, part in enumerate(value):
            yield from parts(part, f"{path}[{i}]", like[i] if isinstance(like, (tuple, list)) and i < len(like) else None)
    else:
        yield path, value


def _is_row(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(x, (int, float, np.number)) for x in value)


def first_difference(expected: Transcript, got: Transcript, tolerance: float) -> Difference | None:
    """Where they first differ; None as far as there is anything to compare."""
    for index, (ours, theirs) in enumerate(zip(expected.values, got.values, strict=False)):
        found = _differ(index, theirs.label, ours.value, theirs.value, tolerance)
        if found:
            return found
    return None


def worst_error(expected: Transcript, got: Transcript) -> float:
    """The largest relative error of all values; infinite where one cannot be compared."""
    worst = 0.0
    for ours, theirs in zip(expected.values, got.values, strict=False):
        for (_, a), (_, b) in zip(parts(ours.value), parts(theirs.value, like=ours.value), strict=False):
            if isinstance(a, (float, np.ndarray, np.floating)):
                y = _numbers(b)
                if y is None or y.shape != np.shape(a):
                    return float("inf")
                worst = max(worst, _error(np.asarray(a), y))
    return worst


def same(one: Iterable[Observation | Failure], other: Transcript, tolerance: float = 1e-9) -> bool:
    """Whether two wrong answers are one and the same. What comes after the first difference is not computed."""
    count = 0
    for seen in one:
        if isinstance(seen, Failure):
            failure = other.failure
            if failure is None or count != len(other.values) or seen.label != failure.label:
                return False
            kind = type(seen.error)
            return kind is type(failure.error) and (kind is RecursionError or str(seen.error) == str(failure.error))
        if count == len(other.values) or _differ(0, "", other.values[count].value, seen.value, tolerance):
            return False
        count += 1
    return other.failure is None and count == len(other.values)


def of_one_function(values: Iterable[Observation | Failure], one: Observation) -> Iterator[Observation]:
    """Those values that come from the function of `one`; all that have a label of their own count as one function."""

    def name(value: Observation) -> str:
        if isinstance(value.probe, tuple):
            return ""
        return str(getattr(value.probe.forward if isinstance(value.probe, Pair) else value.probe.function, "__name__", "it"))

    return (value for value in values if isinstance(value, Observation) and name(value) == name(one))


def _differ(index: int, label: str, ours: Any, theirs: Any, tolerance: float) -> Difference | None:
    wanted, given = list(parts(ours)), list(parts(theirs, like=ours))

    def different(kind: str, said: Text, path: str = "", **more: Any) -> Difference:
        return Difference(index, label, kind, said, path, **more)

    if [p for p, _ in wanted] != [p for p, _ in given]:
        a, b = _built(ours), _built(theirs)
        return different("count", Text(f"it gives {b}; expected {a}", f"得到 {b}，应为 {a}"))
    for (path, a), (_, b) in zip(wanted, given, strict=True):
        at = f"{path}: " if path else ""
        if a is None or isinstance(a, (str, bool)) or b is None or isinstance(b, str):
            if a is b or (type(a) is type(b) and a == b):
                continue
            wanted_one = _built(a) if hasattr(a, "shape") else f"{a!r:.60}"
            said = Text(f"{at}it is {b!r:.60}; expected {wanted_one}", f"{at}得到 {b!r:.60}，应为 {wanted_one}")
            return different("value" if type(a) is type(b) else "type", said, path, got=b, expected=a)
        x, y = np.asarray(a), _numbers(b)
        if y is None:
            what = f"{type(b).__name__}" + (f" of {b.dtype}" if hasattr(b, "dtype") else "")
            said = Text(f"{at}it is of type {what}; expected numbers", f"{at}类型为 {what}，应为数值")
            return different("type", said, path)
        if x.shape != y.shape:
            said = Text(f"{at}the shape is {y.shape}; expected {x.shape}", f"{at}形状为 {y.shape}，应为 {x.shape}")
            return different("shape", said, path, got=y, expected=x)
        if x.dtype.kind != y.dtype.kind or x.dtype.itemsize != y.dtype.itemsize:
            said = Text(f"{at}the dtype is {y.dtype}; expected {x.dtype}", f"{at}dtype 为 {y.dtype}，应为 {x.dtype}")
            return different("dtype", said, path, got=y, expected=x)
        error = _error(x, y)
        if not error <= tolerance:
            worst = np.unravel_index(int(np.argmax(_apart(x, y))), x.shape)
            spot = f"[{', '.join(map(str, worst))}]" if worst else ""
            u, v = float(y[worst]), float(x[worst])
            said = Text(
                f"{at}{spot}{' ' if spot else ''}is {u:.10g}; expected {v:.10g}",
                f"{at}{spot}{' ' if spot else ''}得到 {u:.10g}，应为 {v:.10g}",
            )
            return different("value", said, path, error=error, got=y, expected=x)
    return None


def _numbers(value: Any) -> Array | None:
    """An array of real numbers; None for what is none."""
    try:
        x = np.asarray(value)
    except (ValueError, TypeError):
        return None
    return x if x.dtype.kind in "iufb" else None


def _built(value: Any) -> str:
    """What a value is built of: "(array (2, 3), None)"."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_built(part)}' for key, part in value.items())}}}"[:200]
    if isinstance(value, (tuple, list)):
        built = [*map(_built, value)]
        return f"{len(built)} numbers" if {*built} == {"a number"} else f"({', '.join(built)})"[:200]
    if value is None or isinstance(value, (str, bool)):
        return f"{value!r:.60}"
    numbers = _numbers(value)
    if numbers is None:
        return type(value).__name__
    return f"array {numbers.shape}" if numbers.ndim else "a number"


def _apart(x: Array, y: Array) -> Array:
    """|x - y|, infinite where only one of them is finite."""
    if x.dtype.kind not in "iuf":
        return np.asarray(x != y, float)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(np.asarray(x, float) - np.asarray(y, float))
    alike = (x == y) | (np.isnan(x) & np.isnan(y))
    return np.where(alike, 0.0, np.where(np.isnan(apart), np.inf, apart))


def _error(x: Array, y: Array) -> float:
    """The largest difference, relative to the largest entry of what is expected."""
    if not x.size:
        return 0.0
    size = float(np.abs(x[np.isfinite(x)]).max(initial=0)) if x.dtype.kind in "iuf" else 1.0
    return float(_apart(x, y).max()) / max(size, TINY if size else 1.0)
