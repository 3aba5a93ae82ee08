"""A check lets no wrong program pass: of small changes of the solutions none does, but for those that change nothing."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from study.course.mutator import Mutant, mutants

from tinygrad2.study.course.exercise import Exercise, exercises
from tinygrad2.study.course.judging import Written, loaded
from tinygrad2.study.course.transcript import first_difference, transcript

EXERCISES = exercises()
SAMPLE = 100
SECONDS = 1.0
"""After which a program is taken to run without end."""

RESHAPED = "NumPy takes any negative length for the one that is left over"
AGREE = "return abs(measured - claimed) <= 1e-08 + 0.0001 * max(abs(measured), abs(claimed))"
EQUIVALENT: dict[str, dict[str, str]] = {
    "e08_tensor": {
        "self.data = np.asarray(data, dtype=np.float64)  ->  self.data = np.asarray(data)": "all data are float64 already",
        "return Tensor(self.data + other.data, (self, other), lambda g: (g, g))  ->  "
        "return Tensor(self.data + other.data, (other, self), lambda g: (g, g))": "both inputs of a sum get the same",
        "return self + -tensor(other)  ->  return self + -other": "a number can be negated as it is",
        "return tensor(other) + -self  ->  return other + -self": "a number can be on the left of a sum",
        "kept = np.sum(self.data, axis=axis, keepdims=True).shape  ->  "
        "kept = np.mean(self.data, axis=axis, keepdims=True).shape": "a sum and a mean have one shape",
        "rows = self.data.reshape(-1, self.shape[-1])  ->  rows = self.data.reshape(-2, self.shape[-1])": RESHAPED,
        "return (g @ other.data.T, rows.T @ g.reshape(-1, g.shape[-1]))  ->  "
        "return (g @ other.data.T, rows.T @ g.reshape(-2, g.shape[-1]))": RESHAPED,
    },
    "e17_mlp": {
        "decay = 0.01 if x.data.ndim > 1 else 0.0  ->  decay = 0.01 if m.data.ndim > 1 else 0.0": "m has the shape of x",
    },
    "e18_causal_head": {
        "T, d = q.shape[-2:]  ->  T, d = k.shape[-2:]": "queries and keys have one shape",
        "weights = softmax_forward(np.where(future, -np.inf, scores))[0]  ->  "
        "weights = softmax_forward(np.where(future, -np.inf, scores))[1]": "the cache of softmax is what it gives",
        "weights = softmax_forward(np.where(future, -np.inf, scores))[0]  ->  "
        "weights = softmax_forward(np.where(future, -np.inf, scores))[-1]": "the cache of softmax is what it gives",
    },
    "e19_head_backward": {
        "dscores = weights * (dweights - along) / np.sqrt(q.shape[-1])  ->  "
        "dscores = weights * (dweights - along) / np.sqrt(k.shape[-1])": "queries and keys have one shape",
    },
    "e25_the_fault": {
        f"{AGREE}  ->  {AGREE.replace('<=', '<')}": "no two slopes are just so far apart",
        f"{AGREE}  ->  {AGREE.replace('measured - claimed', 'claimed - measured')}": "it is the absolute value",
        f"{AGREE}  ->  {AGREE.replace('abs(measured), abs(claimed)', 'abs(claimed), abs(measured)')}": "max has no order",
        "h = 1e-05  ->  h = 5e-06": "half the step gives the same nine digits",
        "return low - 1 if low else None  ->  return low - 1 if high else None": "low and high are the same at the end",
        "return low - 1 if low else None  ->  return high - 1 if low else None": "low and high are the same at the end",
    },
    "e26_checkpointing": {
        "out = f(*[Tensor(x) for x in arrays])  ->  out = f(*[x for x in arrays])": "f gives the same numbers of arrays",
        "(f(*inputs) * Tensor(dout)).sum().backward()  ->  (f(*inputs) * Tensor(dout)).backward()": "backward begins with ones",
        "(f(*inputs) * Tensor(dout)).sum().backward()  ->  (f(*inputs) * dout).sum().backward()": "it makes the Tensor itself",
    },
}
"""By exercise, changes that leave all results as they are, and why."""


@pytest.fixture(autouse=True)
def _modules_as_before() -> Iterator[None]:
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        if name in {one.key for one in EXERCISES}:
            del sys.modules[name]


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises TimeoutError when time is up, where signals can."""

    def stop(*_: Any) -> None:
        raise TimeoutError

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def load_needs(exercise: Exercise) -> None:
    for one in EXERCISES:
        if one.key in exercise.needs:
            loaded(one.key, one.solution, Path(f"{one.key}.py"))


def passes(exercise: Exercise, source: str, expected: Any) -> bool:
    """Whether the check of an exercise is content with a program; what it needs is loaded."""
    path = Path(f"{exercise.key}.py")
    try:
        with limited(SECONDS), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            got = transcript(exercise.show, Written(loaded(exercise.key, source, path), path.name), 0)
    except Exception:
        return False
    complete = got.failure is None and len(got.values) == len(expected.values)
    return complete and first_difference(expected, got, exercise.tolerance) is None


def uncatalogued(exercise: Exercise) -> list[Mutant]:
    """Changes that are none of the known mistakes, and change what comes out."""
    harmless = EQUIVALENT.get(exercise.key, {})
    return [mutant for mutant in mutants(exercise.solution) if mutant.change not in harmless]


def survivors(exercise: Exercise, chosen: list[Mutant]) -> list[str]:
    load_needs(exercise)
    expected = transcript(exercise.show, exercise.ours, 0)
    assert passes(exercise, exercise.solution, expected)
    return [mutant.change for mutant in chosen if passes(exercise, mutant.source, expected)]


def sample() -> dict[str, list[Mutant]]:
    """As many of each exercise as its part of all there are, at least one."""
    everything = [(one.key, mutant) for one in EXERCISES for mutant in uncatalogued(one)]
    chosen = np.random.default_rng(2018).permutation(len(everything))[:SAMPLE]
    found: dict[str, list[Mutant]] = {}
    for i in chosen:
        key, mutant = everything[i]
        found.setdefault(key, []).append(mutant)
    return found


def test_no_mutant_of_a_solution_passes():
    chosen = sample()
    assert sum(map(len, chosen.values())) == SAMPLE
    alive = {one.key: survivors(one, chosen[one.key]) for one in EXERCISES if one.key in chosen}
    assert not any(alive.values()), {key: changes for key, changes in alive.items() if changes}


@pytest.mark.exhaustive
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda one: one.key)
def test_none_of_all_mutants_passes(exercise):
    assert survivors(exercise, uncatalogued(exercise)) == []


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda one: one.key)
def test_what_is_listed_as_equivalent_is_a_mutant_that_passes(exercise):
    harmless = EQUIVALENT.get(exercise.key, {})
    listed = [mutant for mutant in mutants(exercise.solution) if mutant.change in harmless]
    assert {mutant.change for mutant in listed} == set(harmless)
    assert survivors(exercise, listed) == [mutant.change for mutant in listed]


def test_a_mutator_changes_what_stands_in_a_hole_and_nothing_else():
    source = "def f(x):\n    # <hole>\n    return x + 1\n    # </hole>\n\n\ndef g(x):\n    return x * 2\n"
    changed = {mutant.change for mutant in mutants(source)}
    assert {"return x + 1  ->  return x - 1", "return x + 1  ->  return x", "return x + 1  ->  return x + 2"} <= changed
    assert not any("* 2" in change for change in changed)
