"""Which op of a learner's step is the first to differ from the reference, forward or backward, and how.

Values are matched by their numbers, not by their names: whatever the style of an engine is, the Tensors that it makes on the
way hold the values of the reference, up to the first one that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad2.study.course.exercise import Step
from tinygrad2.study.course.patterns import common
from tinygrad2.study.formulas import argument_names
from tinygrad2.study.recording import Value, record
from tinygrad2.study.trace import Backward, Trace
from tinygrad2.types import Array


def first_difference(theirs: Step, ours: Step) -> str:
    """In one sentence; empty where nothing differs, or nothing can be said."""
    if not isinstance(theirs.code.Tensor, type):  # it makes Tensors of a class that is not known
        return ""
    with record():
        loss, _ = ours.run(ours.code)
    trace = Trace(loss)
    backward = trace.backward()
    with _made(theirs.code.Tensor) as made, np.errstate(all="ignore"):
        loss, leaves = theirs.run(theirs.code)
        loss.backward()
    if not made:
        return ""
    matches = {value: [one for one in made if _alike(one.data, value.array)] for value in trace.results}
    return _forward(trace, matches, made) or _backward(trace, backward, matches, leaves)


@contextmanager
def _made(kind: type) -> Iterator[list[Any]]:
    """All Tensors of a class that are made inside."""
    made: list[Any] = []
    before = kind.__init__  # type: ignore[misc]

    def noted(self: Any, *args: Any, **settings: Any) -> None:
        if before is not object.__init__:  # it may have a __new__ instead
            before(self, *args, **settings)
        made.append(self)

    kind.__init__ = noted  # type: ignore[misc]
    try:
        yield made
    finally:
        kind.__init__ = before  # type: ignore[misc]


def _alike(x: Any, y: Array) -> bool:
    return (
        x is not None and np.shape(x) == y.shape and np.allclose(x, y, rtol=1e-9, atol=1e-9 * float(np.abs(y).max(initial=0)))
    )


def _forward(trace: Trace, matches: dict[Value, list[Any]], made: list[Any]) -> str:
    """The first value that is nowhere among theirs, nor anything that follows from it; and what the nearest one is like."""
    follows: dict[Value, bool] = {}  # whether anything computed from it is there
    for value in reversed(trace.results):
        follows[value] = any(matches[user] or follows[user] for user, _ in trace.consumers(value))
    for value in trace.results:
        if not matches[value] and not follows[value]:
            others = [np.asarray(one.data) for one in made if one.data is not None and np.shape(one.data) == value.array.shape]
            if not others:
                return f"forward differs first at {value.full_name}: nothing of shape {value.array.shape} was made there"
            nearest = min(others, key=lambda x: float(np.nan_to_num(np.abs(x - value.array), nan=np.inf).sum()))
            how = common(nearest, value.array, {})
            return f"forward differs first at {value.full_name}{': ' if how else ''}{how}"
    return ""


def _backward(trace: Trace, backward: Backward, matches: dict[Value, list[Any]], leaves: dict[str, Any]) -> str:
    """The first gradient, in the order of the walk, that is another."""
    for value in backward.order:
        expected = backward.gradients[value]
        candidates = [leaves[value.full_name]] if value.full_name in leaves else matches.get(value, [])
        found = [np.asarray(one.grad) for one in candidates if one.grad is not None]
        if not found or any(_alike(g, expected) for g in found):
            continue
        users = [f"{user.full_name}, gradient of {argument_names(user)[i]}" for user, i in trace.consumers(value)]
        got = found[0]
        how = f"shape {got.shape} for {expected.shape}" if got.shape != expected.shape else common(got, expected, {})
        return f"backward differs first at {' or '.join(users) or 'the loss'}{': ' if how else ''}{how}"
    return ""
