"""Folders of solutions, some of them changed, and checks of them in this very process."""

import math
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from tinygrad2.study.course.comparing import first_difference
from tinygrad2.study.course.exercise import exercises
from tinygrad2.study.course.judging import Written, import_from, judged, loaded
from tinygrad2.study.course.transcript import Failure, Transcript, observed

EVERY = {one.key: one for one in exercises(("tinygrad2.study.course", "gpt2.course"))}


def folder_of(path, changed=()):
    """`path`, with all solutions, and other sources by key in place of some."""
    path.mkdir(exist_ok=True)
    for key, one in EVERY.items():
        (path / f"{key}.py").write_text(one.solved("en"), "utf-8")
    for key, source in dict(changed).items():
        (path / f"{key}.py").write_text(source, "utf-8")
    return path


@contextmanager
def modules():
    """Inside, modules of exercises may be imported; afterwards they are gone."""
    before, finders, keys = list(sys.path), list(sys.meta_path), set(sys.modules)
    try:
        yield
    finally:
        sys.path[:] = before
        sys.meta_path[:] = finders
        for key in set(sys.modules) - keys:
            if key in EVERY:
                del sys.modules[key]


def verdict_of(key, folder, seed=0):
    """What `judged` says, without a process of its own and without a clock: a busy machine finds the same."""
    with modules(), np.errstate(all="ignore"):
        return judged(replace(EVERY[key], seconds=math.inf), folder, seed)


def shown(key, folder, source, seed=0, until=None):
    """The transcript of a source for an exercise, beside the solutions of a folder; `until` one is unlike another's."""
    one = EVERY[key]
    with modules(), np.errstate(all="ignore"):
        import_from(folder)
        path = folder / f"{key}.py"
        try:
            code = loaded(key, source, path)
        except BaseException as error:
            return Transcript([], Failure("the file", error, "", ""))
        found = Transcript([], None)
        for seen in observed(one.show, Written(code, path.name), seed, path):
            if isinstance(seen, Failure):
                return Transcript(found.values, seen)
            found.values.append(seen)
            if until is not None and first_difference(
                Transcript(until.values[len(found.values) - 1 :], None), Transcript([seen], None), one.tolerance
            ):
                break
        return found
