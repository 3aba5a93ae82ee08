"""What the page of the lab shows: a recorded computation and its backward pass as plain data, ready for JSON."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad2.ops.indexing import Scatter
from tinygrad2.study.formulas import argument_names, evaluate, settings
from tinygrad2.study.lab.diagnose import TOLERANCE, Case, Diagnosis, shown
from tinygrad2.study.lab.questions import Question, Rules, Use, questions, unbroadcast_code
from tinygrad2.study.lab.trials import Trial
from tinygrad2.study.mathml import mathml
from tinygrad2.study.recording import Value
from tinygrad2.study.trace import Backward, Contribution, Trace
from tinygrad2.types import Array

WINDOW = (2, 2, 6, 8)
"""Of an array that is too large for the page, the first so many entries along its last four axes are there."""

Data = dict[str, Any]


class Arrays:
    """The arrays of a page, each once. Some are favoured, and the last to be cut, or never; others are only glimpsed at."""

    def __init__(self) -> None:
        self._arrays: list[tuple[Array, str]] = []
        self._favour: list[int] = []
        self._known: dict[Any, int] = {}

    def add(self, array: Any, favour: int = 0) -> int:
        """The number of an array in the list. `favour`: 2 never to cut it, 1 to do so last, -1 always, 0 for none of these."""
        array = np.asarray(array)
        kind = {"f": "f4" if array.dtype == np.float32 else "f8", "b": "u1"}.get(array.dtype.kind, "i4")
        packed = np.ascontiguousarray(array, np.dtype(f"<{kind}")).reshape(array.shape)
        key = (array.shape, kind, hashlib.sha256(packed.tobytes()).digest())
        number = self._known.setdefault(key, len(self._arrays))
        if number == len(self._arrays):
            self._arrays.append((packed, kind))
            self._favour.append(favour)
        self._favour[number] = max(self._favour[number], favour)
        return number

    def packed(self, favoured_limit: int, limit: int) -> list[Data]:
        """All of them as base64. Those with more entries than their limit are cut to a window."""
        limits = {2: math.inf, 1: favoured_limit, 0: limit, -1: 0}
        found = []
        for number, (array, kind) in enumerate(self._arrays):
            entry: Data = {"s": list(array.shape), "t": kind}
            if array.size > max(limits[self._favour[number]], math.prod(WINDOW)):
                keep = (1,) * max(0, array.ndim - 4) + WINDOW[-array.ndim :]
                array = np.ascontiguousarray(array[tuple(slice(n) for n in keep)])
                entry["w"] = list(array.shape)
            found.append({**entry, "d": base64.b64encode(array.tobytes()).decode()})
        return found


def contents(trace: Trace, arrays: Arrays, favoured: Callable[[Value], bool]) -> Data:
    """Values, edges and the order of the backward pass of a trace; its arrays by their numbers in `arrays`."""
    backward = trace.backward()
    number = {value: i for i, value in enumerate(trace.values)}
    values = [_value(trace, v, number, arrays, favoured(v), backward.gradients.get(v)) for v in trace.values]
    rules = Rules()
    edges: list[Data] = []
    uses: list[Use] = []
    for part, before, after in _uses(backward):
        g, favour = backward.gradients[part.user], favoured(part.target)
        text = rules.code(part, g)
        edge = _edge(part, text, g, before, after, arrays, favour)
        edges.append({"user": number[part.user], "index": part.index, "target": number[part.target], **edge})
        size = sum(np.size(x) for x in (*part.user.arrays, g))
        worth = favour, bool((g != 1).any()), -size
        uses.append(Use(len(uses), part, text, edge["summed"], before is not None, worth))
    steps = [number[value] for value in backward.order if not value.is_leaf]
    asked = [_question(question, arrays) for question in questions(uses, rules)]
    return {"values": values, "edges": edges, "steps": steps, "questions": asked}


def _uses(backward: Backward) -> list[tuple[Contribution, Array | None, Array]]:
    """Every use of a value in the order in which it adds to the gradient; with what was there before, and after."""
    parts = [part for parts in backward.contributions.values() for part in parts]
    place = {value: i for i, value in enumerate(backward.order)}
    sums: dict[Value, Array] = {}
    found = []
    for part in sorted(parts, key=lambda part: (place[part.user], part.index)):
        before = sums.get(part.target)
        sums[part.target] = part.added_to(before)
        found.append((part, before, sums[part.target]))
    return found


def games(diagnosis: Diagnosis, cases: list[Case], arrays: Arrays) -> Data:
    """The cases of *Diagnose*: what each shows that the healthy pass does not, and what every probe of it gives."""
    number = {value: i for i, value in enumerate(diagnosis.trace.values)}
    return {
        "tolerance": TOLERANCE,
        "measured": {number[op]: slope for op, slope in diagnosis.measured.items()},
        "cases": [_case(case, diagnosis.healthy.backward, number, arrays) for case in cases],
    }


def _case(case: Case, healthy: Backward, number: dict[Value, int], arrays: Arrays) -> Data:
    mine, right = shown(case.backward), shown(healthy)
    edges: Data = {}
    for i, (use, other) in enumerate(zip(_uses(case.backward), _uses(healthy), strict=True)):
        edge = (use[0].user, use[0].index)
        if not _same(mine[edge], right[edge]) or not _same(use[1], other[1]):
            sums = {"before": use[1], "part": mine[edge], "after": use[2]}
            edges[str(i)] = {name: None if x is None else arrays.add(np.float32(x), -1) for name, x in sums.items()}
    gradients = case.backward.gradients.items()
    return {
        "key": case.key,
        "culprit": None if case.culprit is None else number[case.culprit],
        "title": None if case.fault is None else case.fault.title,
        "mistake": None if case.fault is None else case.fault.mistake,
        "budget": case.budget,
        "predicted": {number[op]: slope for op, slope in case.predicted.items()},
        "gradients": {number[v]: arrays.add(np.float32(g), -1) for v, g in gradients if not _same(g, healthy.gradients[v])},
        "edges": edges,
    }


def _same(a: Array | None, b: Array | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


def _value(
    trace: Trace, value: Value, number: dict[Value, int], arrays: Arrays, favoured: bool, gradient: Array | None
) -> Data:
    about: Data = {
        "name": value.full_name,
        "variable": trace.names[value],
        "path": value.path,
        "source": value.source,
        "dtype": str(value.array.dtype),
        "array": arrays.add(value.array, favoured),
        "gradient": None if gradient is None else arrays.add(gradient, favoured and not value.is_leaf),
        "op": None,
    }
    if value.op is not None:
        inputs = []
        for name, x, array in zip(argument_names(value), value.inputs, value.arrays, strict=True):
            known = number[x] if x is not None else None
            inputs.append({"name": name, "value": known, "array": None if array is None or x else arrays.add(array, 1)})
        about |= {"op": value.op.name, "inputs": inputs, "settings": {k: _plain(v, arrays) for k, v in settings(value).items()}}
    return about


def _question(question: Question, arrays: Arrays) -> Data:
    """A rule that is asked for: wrong ones with the mistake, what to choose from (0 is the right one), and the trials."""
    programs = [question.right, *question.wrong]
    return {
        "uses": question.uses,
        "right": question.right,
        "wrong": list(question.wrong.items()),
        "misfits": list(question.misfits.items()),
        "choices": [programs.index(text) for text in question.offered],
        "trials": [_trial(trial, question.accumulate, arrays) for trial in question.trials],
    }


def _trial(trial: Trial, accumulate: bool, arrays: Arrays) -> Data:
    def drawn(x: Any) -> int:
        return arrays.add(np.float32(x) if np.asarray(x).dtype.kind == "f" else x, 2)  # they were rounded to that

    value = trial.value
    return {
        "g": drawn(trial.g),
        "out": arrays.add(value.array, 2),
        "inputs": [None if x is None else drawn(x) for x in value.arrays],
        "settings": {name: _plain(x, arrays, 2) for name, x in settings(value).items()},
        "before": drawn(trial.before) if accumulate else None,
        "part": arrays.add(trial.truth, 2),
    }


def _edge(
    part: Contribution, text: str | None, g: Array, before: Array | None, after: Array, arrays: Arrays, favoured: bool
) -> Data:
    """One use of a value: the rule, where its source says it, what it gives, and the sum before and after."""
    user, target = part.user, part.target.array
    favour = favoured and not part.target.is_leaf  # of a parameter a part will do: no rule reads its gradient
    raw = np.asarray(part.array if isinstance(part.raw, Scatter) else part.raw)
    shown = raw if text is None else np.asarray(evaluate(text, user, g))
    before_sum = shown if shown.shape != target.shape else raw
    return {
        "code": text,
        "math": text and mathml(text),
        "summed": unbroadcast_code(before_sum.shape, target.shape),
        "raw": arrays.add(before_sum.astype(target.dtype), favour) if before_sum.shape != target.shape else None,
        "part": arrays.add(part.array, favour),
        "before": None if before is None else arrays.add(before, favour),
        "after": arrays.add(after, favour),
    }


def _plain(x: Any, arrays: Arrays, favour: int = 1) -> Any:
    """A setting as JSON: {"array": number} for an array, {"slice": ...} for a slice, text for what has no other form."""
    if isinstance(x, np.ndarray):
        return {"array": arrays.add(x, favour)}
    if isinstance(x, np.generic):
        return x.item()
    if isinstance(x, slice):
        return {"slice": [x.start, x.stop, x.step]}
    if isinstance(x, (list, tuple)):
        return [_plain(item, arrays, favour) for item in x]
    return x if x is None or isinstance(x, (bool, int, float, str)) else {"text": str(x)}
