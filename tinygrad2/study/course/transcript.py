"""What comes out when the list of an exercise is computed with somebody's code, and where two such lists first differ."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad2.study.course.exercise import Call, Inputs, Pair, Probe, Text
from tinygrad2.types import Array


@dataclass(frozen=True)
class Observation:
    """A value, what it is in words, and where it came from."""

    label: str
    value: Any
    probe: Probe


@dataclass(frozen=True)
class Failure:
    """What was raised instead of the next value."""

    label: str
    error: BaseException
    where: str  # file and line in the learner's code; empty where it is none of theirs
    function: str


@dataclass(frozen=True)
class Transcript:
    """All values in order and, where it ended early, why."""

    values: list[Observation]
    failure: Failure | None

    def __iter__(self) -> Iterator[Observation | Failure]:
        yield from self.values
        if self.failure:
            yield self.failure


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


Show = Callable[[Any, Inputs], Iterator[Probe]]


def observed(show: Show, code: Any, seed: int, folder: Path | None = None) -> Iterator[Observation | Failure]:
    """Compute all that `show` asks for with `code`, one after another. What is raised comes last."""
    label = "the beginning"
    try:
        for index, probe in enumerate(show(code, Inputs(seed))):
            if isinstance(probe, tuple):
                yield Observation(*probe, probe)
                label = f"after {probe[0]}"
                continue
            function = probe.forward if isinstance(probe, Pair) else probe.function
            label = _label(function, probe.args)
            found = function(*probe.args)
            if isinstance(probe, Call):
                yield Observation(label, found, probe)
                label = f"after {label}"
                continue
            out, cache = _out_and_cache(found, label)
            yield Observation(label, out, probe)
            label = f"{_label(probe.backward, ('dout', 'cache'))} after {label}"
            yield Observation(label, probe.backward(cotangent(out, seed, index), cache), probe)
            label = f"after {label}"
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        where, name = located(error, folder)
        yield Failure(label, error, where, name)


def transcript(show: Show, code: Any, seed: int, folder: Path | None = None) -> Transcript:
    """All of `observed`."""
    found = list(observed(show, code, seed, folder))
    failure = found.pop() if found and isinstance(found[-1], Failure) else None
    return Transcript([one for one in found if isinstance(one, Observation)], failure if isinstance(failure, Failure) else None)


def cotangent(out: Any, seed: int, index: int) -> Array:
    """The gradient that is handed to a backward function: random, and the same for all results of one shape."""
    dout = np.asarray(np.random.default_rng([seed, index]).standard_normal(np.shape(out)))
    dout.setflags(write=False)
    return dout


def _out_and_cache(found: Any, label: str) -> tuple[Any, Any]:
    if not isinstance(found, tuple) or len(found) != 2:
        what = "nothing" if found is None else f"a {type(found).__name__}"
        raise TypeError(f"{label} gives {what}; it is to return two things, (out, cache)")
    return found


def _label(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    return f"{getattr(function, '__name__', 'it')}({', '.join(map(_short, args))})"


def _short(x: Any) -> str:
    if isinstance(x, np.ndarray):
        return f"array {x.shape}" if x.ndim else f"{float(x):.6g}"
    return f"{x:.6g}" if isinstance(x, float) else x if isinstance(x, str) else repr(x) if len(repr(x)) < 30 else "..."


def located(error: BaseException, folder: Path | None) -> tuple[str, str]:
    """File and line, and the function, of the learner's code that raised."""
    if isinstance(error, SyntaxError) and error.filename and folder and Path(error.filename).parent == folder:
        return f"{Path(error.filename).name}, line {error.lineno}", ""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if folder is not None and Path(frame.filename).parent == folder:
            return f"{Path(frame.filename).name}, line {frame.lineno}: {frame.line}", frame.name
    return "", ""


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
                try:
                    worst = max(worst, _error(np.asarray(a), np.asarray(b)))
                except (TypeError, ValueError, OverflowError):
                    return float("inf")
    return worst


def same(one: Iterable[Observation | Failure], other: Transcript, tolerance: float = 1e-9) -> bool:
    """Whether two wrong answers are one and the same. What comes after the first difference is not computed."""
    count = 0
    for seen in one:
        if isinstance(seen, Failure):
            failure = other.failure
            alike = failure is not None and (seen.label, type(seen.error)) == (failure.label, type(failure.error))
            return alike and count == len(other.values)
        if count == len(other.values) or _differ(0, "", other.values[count].value, seen.value, tolerance):
            return False
        count += 1
    return other.failure is None and count == len(other.values)


def _differ(index: int, label: str, ours: Any, theirs: Any, tolerance: float) -> Difference | None:
    wanted, given = list(parts(ours)), list(parts(theirs, like=ours))

    def different(kind: str, said: Text, path: str = "", **more: Any) -> Difference:
        return Difference(index, label, kind, said, path, **more)

    if [p for p, _ in wanted] != [p for p, _ in given]:
        a, b = _counted(ours), _counted(theirs)
        if a == b:  # and the difference is within one of them
            a, b = (f"{', '.join(p for p, _ in places):.60}" for places in (wanted, given))
        return different("count", Text(f"it gives {b}; expected {a}", f"得到 {b}，应为 {a}"))
    for (path, a), (_, b) in zip(wanted, given, strict=True):
        at = f"{path}: " if path else ""
        if a is None or isinstance(a, (str, bool)) or b is None or isinstance(b, str):
            if a is b or (type(a) is type(b) and a == b):
                continue
            en, zh = (
                (("an array", "数组") if isinstance(a, np.ndarray) else (f"{a!r:.60}",) * 2) if a is not None else ("None",) * 2
            )
            said = Text(f"{at}it is {b!r:.60}; expected {en}", f"{at}得到 {b!r:.60}，应为 {zh}")
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


def _counted(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, (tuple, list)):
        return f"{len(value)} values"
    return f"a dict with {', '.join(map(str, value))}"[:80] if isinstance(value, dict) else "one value"


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
    return float(_apart(x, y).max()) / (size or 1.0)
