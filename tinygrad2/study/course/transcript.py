"""What comes out when the list of an exercise is computed with somebody's code."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad2.study.course.exercise import Call, Inputs, Probe
from tinygrad2.types import Array


@dataclass(frozen=True)
class Observation:
    """A value, what it is in words, and where it came from."""

    label: str
    value: Any
    probe: Probe
    dout: Any = None  # of a gradient: what was handed to backward


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


Show = Callable[[Any, Inputs], Iterator[Probe]]


def observed(show: Show, code: Any, seed: int, file: Path | None = None) -> Iterator[Observation | Failure]:
    """Compute all that `show` asks for with `code`, which is of `file`, one after another. What is raised comes last."""
    label = "the beginning"
    try:
        for index, probe in enumerate(show(code, Inputs(seed))):
            if isinstance(probe, tuple):
                label, found = probe
                yield Observation(label, copied(found), probe)
            elif isinstance(probe, Call):
                label = _label(probe.function, probe.args)
                yield Observation(label, copied(probe.function(*probe.args)), probe)
            else:
                label = _label(probe.forward, probe.args)
                out, cache = _out_and_cache(probe.forward(*probe.args), label)
                before = Observation(label, copied(out), probe)
                yield before
                label = f"{_label(probe.backward, ('dout', 'cache'))} after {label}"
                dout = cotangent(out, seed, index)
                found = copied(probe.backward(dout, cache))
                if not _equal(before.value, out):
                    raise ContractError("it writes into the result of forward, which others read: make a new array")
                yield Observation(label, found, probe, dout)
                if not _equal(found, probe.backward(dout, cache)):
                    raise ContractError(
                        "called again with the same dout and cache, it gives something else: it writes into the cache"
                    )
            label = f"after {label}"
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        where, name = located(error, file)
        yield Failure(label, error, where, name)


class ContractError(Exception):
    """What a learner's function may not do, although its numbers may be right."""


def copied(value: Any) -> Any:
    """The same with arrays of its own: others may be written into later."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: copied(part) for key, part in value.items()}
    return type(value)(map(copied, value)) if type(value) in (tuple, list) else value


def _equal(a: Any, b: Any) -> bool:
    """Whether nothing has changed. What cannot be compared has not."""
    try:
        pairs = zip(a, b, strict=True) if isinstance(a, (tuple, list)) else [(a, b)]
        return all(np.array_equal(x, y, equal_nan=True) for x, y in pairs)
    except (TypeError, ValueError):
        return True


def transcript(show: Show, code: Any, seed: int, file: Path | None = None) -> Transcript:
    """All of `observed`."""
    found = list(observed(show, code, seed, file))
    failure = found.pop() if found and isinstance(found[-1], Failure) else None
    return Transcript([one for one in found if isinstance(one, Observation)], failure if isinstance(failure, Failure) else None)


def cotangent(out: Any, seed: int, index: int) -> Array:
    """The gradient that is handed to a backward function: random, and the same for all results of one shape."""
    dout = np.asarray(np.random.default_rng([seed, index]).standard_normal(np.shape(out)))
    dout.setflags(write=False)
    return dout


def _out_and_cache(found: Any, label: str) -> tuple[Any, Any]:
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        what = "nothing" if found is None else f"{len(found)} things" if isinstance(found, (tuple, list)) else "one thing"
        raise TypeError(f"{label} gives {what}; it is to return two, (out, cache)")
    return found[0], found[1]


def _label(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    return f"{getattr(function, '__name__', 'it')}({', '.join(map(_short, args))})"


def _short(x: Any) -> str:
    if isinstance(x, np.ndarray):
        return f"array {x.shape}" if x.ndim else f"{float(x):.6g}"
    return f"{x:.6g}" if isinstance(x, float) else x if isinstance(x, str) else repr(x) if len(repr(x)) < 30 else "..."


def located(error: BaseException, file: Path | None) -> tuple[str, str]:
    """File and line, and the function, that raised: in the file itself or, if that did not, in one beside it."""
    if file is None:
        return "", ""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).parent == file.parent:
        return f"{Path(error.filename).name}, line {error.lineno}", ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == file.parent]
    own = [frame for frame in frames if Path(frame.filename) == file]
    for frame in reversed(frames if isinstance(error, NotImplementedError) else own or frames):
        return f"{Path(frame.filename).name}, line {frame.lineno}: {frame.line or '':.80}", frame.name
    return "", ""
