"""A check lets no wrong program pass: of small changes of the solutions none does, but for those that change nothing."""

import signal
import time
import warnings
from contextlib import contextmanager
from functools import cache
from itertools import islice

import numpy as np
import pytest
from solved import EVERY, folder_of, modules
from study.course.equivalent import EQUIVALENT
from study.course.mutator import mutants

from tinygrad2.study.course.comparing import first_difference
from tinygrad2.study.course.judging import Written, import_from, loaded
from tinygrad2.study.course.transcript import transcript

pytestmark = pytest.mark.slow
SAMPLE = 100
PREFIXES = (4, None)
"""How many of the results are compared: the first few, and then all. Most mutants are wrong at once."""


@contextmanager
def limited(seconds):
    """Raises TimeoutError when time is up, where signals can."""

    def stop(*_):
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


def shown(key, code, count):
    """The first `count` results, or all."""
    return transcript(lambda theirs, draw: islice(EVERY[key].show(theirs, draw), count), code, 0)


@cache
def expected(key, count):
    """The transcript of the reference, and after how many seconds a program is taken to run without end."""
    begin = time.perf_counter()
    return shown(key, EVERY[key].ours, count), 1 + 8 * (time.perf_counter() - begin)


def passes(key, path, source):
    """Whether the check of an exercise is content with a program; the solutions of the others can be imported."""
    for count in PREFIXES:
        ours, seconds = expected(key, count)
        try:
            with limited(seconds):
                got = shown(key, Written(loaded(key, source, path), path.name), count)
        except Exception:
            return False
        complete = got.failure is None and len(got.values) == len(ours.values)
        if not complete or first_difference(ours, got, EVERY[key].tolerance):
            return False
    return True


@cache
def changes(key):
    """All mutants of a solution."""
    return list(mutants(EVERY[key].solution))


def uncatalogued(key):
    """Those that are in no list."""
    return [mutant for mutant in changes(key) if mutant.change not in EQUIVALENT.get(key, {})]


def survivors(key, chosen, folder):
    """What of these passes."""
    path = folder / f"{key}.py"
    with modules(), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_from(folder)
        return [mutant.change for mutant in chosen if passes(key, path, mutant.source)]


@pytest.fixture(scope="module")
def solutions(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("solutions"))


def test_no_mutant_of_a_solution_passes(solutions):
    everything = [(key, mutant) for key in EVERY for mutant in uncatalogued(key)]
    chosen = [everything[i] for i in np.random.default_rng(2018).permutation(len(everything))[:SAMPLE]]
    alive = [(key, survivors(key, [mutant for of, mutant in chosen if of == key], solutions)) for key in EVERY]
    assert len(chosen) == SAMPLE
    assert [(key, found) for key, found in alive if found] == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("key", EVERY)
def test_none_of_all_mutants_passes(key, solutions):
    assert survivors(key, uncatalogued(key), solutions) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("key", EVERY)
def test_what_is_listed_as_equivalent_is_a_mutant_that_passes(key, solutions):
    harmless = EQUIVALENT.get(key, {})
    listed = [mutant for mutant in changes(key) if mutant.change in harmless]
    assert set(survivors(key, listed, solutions)) == set(harmless)


def test_what_is_listed_as_equivalent_is_a_mutant():
    for key in EVERY:
        assert not set(EQUIVALENT.get(key, {})) - {mutant.change for mutant in changes(key)}, key


def test_a_mutator_changes_what_stands_in_a_hole_and_nothing_else():
    source = "def f(x):\n    # <hole>\n    return x + 1\n    # </hole>\n\n\ndef g(x):\n    return x * 2\n"
    changed = {mutant.change: mutant.source for mutant in mutants(source)}
    assert changed["return x + 1  ->  return x - 1"] == source.replace("x + 1", "x - 1")
    assert {"return x + 1  ->  return x", "return x + 1  ->  return x + 2"} <= set(changed)
    assert not any("* 2" in change for change in changed)
