"""What is said about an answer: its contract, known mistakes, what its wrong numbers have in common, and gradient checks.

This runs in a process of its own, next to the learner's code; `runner` starts it, and limits its time and memory.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.abc
import itertools
import os
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tinygrad2.gradcheck import GradcheckResult, gradcheck
from tinygrad2.gradcheck.verdicts import WRONG as GRADIENT_WRONG
from tinygrad2.study.course.comparing import Difference, first_difference, of_one_function, same, worst_error
from tinygrad2.study.course.exercise import Exercise, Inputs, Pair, Step, Text
from tinygrad2.study.course.first_difference import first_difference as differing_op
from tinygrad2.study.course.patterns import common
from tinygrad2.study.course.transcript import (
    ContractError,
    Failure,
    Observation,
    Transcript,
    copied,
    located,
    observed,
    transcript,
)

RIGHT, WRONG, UNWRITTEN, BROKEN, MISSING = "right", "wrong", "not written", "broken", "missing"
VERDICTS = {
    RIGHT: Text("right", "正确"),
    WRONG: Text("wrong", "错误"),
    UNWRITTEN: Text("not written yet", "尚未完成"),
    BROKEN: Text("does not run", "无法运行"),
    MISSING: Text("no file", "没有文件"),
}


NOTHING = Text("", "")


@dataclass(frozen=True)
class Verdict:
    """What is said of one exercise, in the languages of the course.

    where   what went wrong and in which of the things computed
    why     the mistake it looks like; empty where nothing is known
    line    where to look
    mistake the number of the known mistake, from 0; None for no known one
    error   the worst relative error of all numbers, or None where nothing could be compared
    """

    verdict: str
    where: Text = NOTHING
    why: Text = NOTHING
    line: Text = NOTHING
    mistake: int | None = None
    error: float | None = None
    checked: int = 0
    sha256: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def of(cls, found: dict[str, Any]) -> Verdict:
        """From what `as_dict` made and JSON kept. Raises ValueError, KeyError or TypeError for anything else."""
        for key in ("where", "why", "line"):
            en, zh = found[key]
            found = {**found, key: Text(str(en), str(zh))}
        if found["verdict"] not in VERDICTS or not isinstance(found["sha256"], str):
            raise ValueError(f"{found['verdict']!r} is no verdict")
        return cls(**found)


def judged(exercise: Exercise, folder: Path, seed: int) -> Verdict:
    """The verdict on the learner's file of one exercise."""
    begun = time.monotonic()
    path = folder / f"{exercise.key}.py"
    expected = transcript(exercise.show, exercise.ours, seed)
    assert expected.failure is None, expected.failure
    if not path.is_file():
        said = f"there is no file {path.name}" if not os.path.lexists(path) else f"{path.name} is no file: move it away"
        return Verdict(MISSING, Text(f"{said}; gpt2 learn start writes it", f"{said}；用 gpt2 learn start 生成"))
    source = path.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    import_from(folder)
    try:
        code = loaded(exercise.key, source, path)
    except NotImplementedError as error:
        at, _ = located(error, path)
        first = Text(f"it imports what is not written yet ({at}); do that first", f"它导入了尚未完成的内容（{at}）；请先完成它")
        return Verdict(UNWRITTEN, first, sha256=digest)
    except BaseException as error:
        return Verdict(BROKEN, _raised(error, path, "the file", "文件"), sha256=digest)
    got = transcript(exercise.show, Written(code, path.name), seed, path)
    different = first_difference(expected, got, exercise.tolerance)
    numbers: dict[str, Any] = {"error": worst_error(expected, got), "checked": len(got.values), "sha256": digest}
    until = begun + exercise.seconds / 2  # their code may be slow
    whole = got.failure is None and len(got.values) == len(expected.values)
    if different is None and not whole and got.failure and isinstance(got.failure.error, NotImplementedError):
        return Verdict(UNWRITTEN, _unwritten(got.failure.function, len(got.values), len(expected.values)), **numbers)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # what they print has been printed
        if different is None and whole:
            wrong = _gradients(got, path, until)
            return Verdict(WRONG, wrong[0], wrong[1], **numbers) if wrong else Verdict(RIGHT, **numbers)
        where = _where(different, got, path)
        elsewhere = exercise.needs and _gives(exercise.solution, exercise, got, seed, folder)
        number = None if elsewhere else _known(exercise, got, different, seed, folder, until)
        if number is not None:
            return Verdict(WRONG, where, exercise.mistakes[number].why, _line(exercise, number), number, **numbers)
        structure = ""
        if different and different.kind == "value":
            with contextlib.suppress(Exception):  # of their code, which is called in other ways here
                structure = _structure(exercise, seed, different, expected, got)
        line = NOTHING
        if elsewhere:
            names = ", ".join(exercise.needs)
            line = Text(
                f"the mistake is not in this file: look into what it imports, {names}",
                f"错误不在本文件：请检查它导入的 {names}",
            )
        return Verdict(BROKEN if different is None else WRONG, where, Text(structure, structure), line, **numbers)


def _unwritten(name: str, right: int, all_of_them: int) -> Text:
    at = f"{name} is not written yet" if name else "not written yet"
    if not right:
        return Text(at, f"{name} 尚未完成")
    return Text(
        f"{at}; {right} of {all_of_them} results are right so far",
        f"{name} 尚未完成；目前 {all_of_them} 个结果中有 {right} 个正确",
    )


class Written:
    """The learner's module; what is missing in it is said in words."""

    def __init__(self, module: ModuleType, file: str) -> None:
        self._module, self._file = module, file

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(self._module, name)
        except AttributeError:
            raise AttributeError(
                f"{self._file} has no {name}: the names of the file as it was at the start must stay"
            ) from None


class _Files(importlib.abc.MetaPathFinder):
    """Finds the other exercises in one folder, whatever else is on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """That of an exercise."""
        file = self.folder / f"{name}.py"
        known = re.fullmatch(r"e\d\d_\w+", name) and file.is_file()
        return spec_from_file_location(name, file) if known else None


def import_from(folder: Path) -> None:
    """From here on, exercises are imported from a folder; other files in there come after all that is installed."""
    sys.meta_path.insert(0, _Files(folder))
    sys.path.append(str(folder))


def loaded(name: str, source: str | bytes, path: Path) -> ModuleType:
    """A module of this source, which other files can import by its name."""
    module = ModuleType(name)
    module.__file__ = str(path)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException:
        sys.modules.pop(name)
        if before is not None:
            sys.modules[name] = before
        raise
    return module


def _known(
    exercise: Exercise, got: Transcript, different: Difference | None, seed: int, folder: Path, until: float
) -> int | None:
    """The number of the known mistake with which the same comes out. It is looked for `until` then.

    Where no mistake explains all, it is enough that one explains the function that is the first to be wrong: others may be
    wrong too, or not be written yet.
    """
    for index in (None, different.index) if different else (None,):
        for number, mistake in enumerate(exercise.mistakes):
            if time.monotonic() > until:
                return None
            if _gives(exercise.with_mistake(mistake), exercise, got, seed, folder, index):
                return number
    return None


def _gives(source: str, exercise: Exercise, got: Transcript, seed: int, folder: Path, index: int | None = None) -> bool:
    """Whether a file of this source, beside their other files, gives the same as theirs.

    With `index`, it is enough that the function of that value does.
    """
    path = folder / f"{exercise.key}.py"
    kept = sys.modules.get(exercise.key)
    try:
        with np.errstate(all="ignore"):
            code = loaded(exercise.key, source, path)
            found: Iterable[Observation | Failure] = observed(exercise.show, Written(code, path.name), seed, path)
            if index is not None:
                theirs = list(of_one_function(got.values, got.values[index]))
                got = Transcript(theirs, None)
                found = itertools.islice(of_one_function(found, theirs[0]), len(theirs))
            return same(found, got, max(1e-9, exercise.tolerance))
    finally:
        if kept is not None:
            sys.modules[exercise.key] = kept


def _line(exercise: Exercise, number: int) -> Text:
    """The function of the mistake, and how it is written there."""
    mistake = exercise.mistakes[number]
    source = exercise.solution
    line = source[: source.rindex(mistake.old)].count("\n") + 1
    within = [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    name = within[-1] if within else exercise.key
    old, new = ([part.strip() for part in text.splitlines()] for text in (mistake.old, mistake.new))
    gone = next((part for part in old if part not in new), "")
    added = next((part for part in new if part and part not in old), "" if gone else new[0])
    if not added:
        return Text(f"in {name}, something like `{gone}` is missing", f"在 {name} 中缺少类似 `{gone}` 的一行")
    return Text(f"in {name}, look for the line that does the same as `{added}`", f"在 {name} 中，找出相当于 `{added}` 的那一行")


def _where(different: Difference | None, got: Transcript, path: Path) -> Text:
    if different:
        return Text(f"{different.label}: {different.said.en}", f"{different.label}：{different.said.zh}")
    if got.failure is None:
        return Text("it ends too early", "过早结束")
    return _raised(got.failure.error, path, got.failure.label, got.failure.label)


def _raised(error: BaseException, path: Path, en: str, zh: str) -> Text:
    """What was raised, and where, with the usual fix."""
    where, name = located(error, path)
    where = f"in {name}, {where}" if name and name != "<module>" else where
    kind, said = type(error).__name__, str(error.msg if isinstance(error, SyntaxError) else error).split("\n")[0][:200]
    fix = NOTHING
    if isinstance(error, ValueError) and ("read-only" in said):
        fix = Text("; do not write into an input: make a new array", "；不要改写输入，应新建数组")
    elif isinstance(error, SystemExit):
        kind, fix = "sys.exit", Text("; return a value instead", "；应返回一个值")
    elif isinstance(error, MemoryError):
        fix = Text("; it asks for more memory than a check may take", "；超出了检查所允许的内存")
    elif isinstance(error, RecursionError):
        fix = Text("; a function calls itself too often: use a loop", "；递归过深：改用循环")
    what = said if isinstance(error, ContractError) else f"{kind}: {said}" if said else kind
    at = f" ({where})" if where else ""
    return Text(f"{en}: {what}{fix.en}{at}", f"{zh}：{what}{fix.zh}{at}")


def _structure(exercise: Exercise, seed: int, different: Difference, expected: Transcript, got: Transcript) -> str:
    """What wrong numbers have in common, as far as that is known."""
    probe = got.values[different.index].probe
    if isinstance(probe, Step):
        (ours,) = (one for one in exercise.show(exercise.ours, Inputs(seed)) if isinstance(one, Step))
        return differing_op(probe, ours)
    seen = got.values[different.index]
    if isinstance(probe, Pair) and seen.dout is not None:
        with contextlib.suppress(Exception):
            turned = Observation("", copied(probe.backward(probe.forward(*probe.args)[1], seen.dout)), probe)
            right = Transcript([expected.values[different.index]], None)
            if not first_difference(right, Transcript([turned], None), exercise.tolerance):
                return "the arguments are swapped: it is called as backward(dout, cache)"
        found = _checked(probe)
        if found.verdict == GRADIENT_WRONG:
            return found.diagnosis
    if not isinstance(different.got, np.ndarray):
        return ""
    args = [] if isinstance(probe, tuple) else probe.args
    others = {f"argument {i}": x for i, x in enumerate(args) if isinstance(x, np.ndarray)}
    return common(different.got, different.expected, others)


def _checked(pair: Pair) -> GradcheckResult:
    """The gradient check of a pair, which may give lists for tuples."""

    @functools.wraps(pair.forward)
    def forward(*args: Any) -> tuple[Any, ...]:
        return tuple(pair.forward(*args))

    return gradcheck(forward, pair.args, backward=pair.backward)


def _gradients(got: Transcript, path: Path, until: float) -> tuple[Text, Text] | None:
    """The first backward function that is not the derivative of its own forward function; None if all are."""
    for seen in got.values:
        if isinstance(seen.probe, Pair) and seen.dout is not None and time.monotonic() < until:
            try:
                found = _checked(seen.probe)
            except Exception as error:
                label = f"{seen.label}, with inputs that were moved a little"
                return _raised(error, path, label, label), NOTHING
            if found.verdict == GRADIENT_WRONG:
                said = f"{seen.label}: it is not the derivative of what the forward function computes"
                return Text(said, f"{seen.label}：与前向函数的导数不符"), Text(found.diagnosis, found.diagnosis)
    return None
