"""What an exercise is: a file with holes, a list of things to compute with it, a reference for them, and known mistakes.

The file in `exercises/` is whole: it is the solution, and what a learner gets is made from it. Its counterpart of the same name
in `checks/` has `EXERCISE`. Both `show` and the solution are written once: the check computes the same list with what the
learner wrote, with the reference, and with the solution in which a mistake was planted, and compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from importlib.resources import files
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from tinygrad2.containers import leaves
from tinygrad2.transforms import vjp
from tinygrad2.types import Array

PACKAGES = ("tinygrad2.study.course",)
LANGUAGES = ("en", "zh")
HOLE, END = "# <hole>", "# </hole>"
"""Around what a learner writes. After the first may stand the head of a function that takes its place at the start."""
NOT_WRITTEN = 'raise NotImplementedError("not written yet")'
TRANSLATION = "\n[zh]\n"


class Text(NamedTuple):
    """The same sentence in English and in Chinese."""

    en: str
    zh: str

    def of(self, language: str) -> str:
        """In one of `LANGUAGES`."""
        return self.zh if language == "zh" else self.en


class Inputs:
    """Arrays to compute with. They depend on the seed alone, and cannot be written into."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = np.random.default_rng([seed, 2018])

    def normal(self, *shape: int) -> Array:
        """Standard normal numbers, float64."""
        return frozen(self.rng.standard_normal(shape))

    def uniform(self, low: float, high: float, *shape: int) -> Array:
        """Numbers in [low, high), float64."""
        return frozen(self.rng.uniform(low, high, shape))

    def integers(self, high: int, *shape: int) -> Array:
        """Integers in [0, high), int64."""
        return frozen(self.rng.integers(0, high, shape))

    def number(self, low: float, high: float) -> float:
        """A Python number in [low, high)."""
        return float(self.rng.uniform(low, high))


def frozen(x: Array) -> Array:
    """The same array, which can only be read."""
    x.setflags(write=False)
    return x


class Call:
    """One thing to compute: `function(*args)`."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.function, self.args = function, args


class Pair:
    """A function `forward(*args) -> (out, cache)` and `backward(dout, cache) ->` one gradient for each array of floats."""

    def __init__(self, forward: Callable[..., Any], backward: Callable[..., Any], *args: Any) -> None:
        self.forward, self.backward, self.args = forward, backward, args


class Step(Call):
    """One step of a whole model: its loss, and the gradient of every parameter.

    `run(code)` gives the loss, which has `backward`, and the parameters by name. Where the numbers differ, the first op that
    does is looked for; so `code.Tensor` is the class of its Tensors.
    """

    def __init__(self, code: Any, run: Callable[[Any], tuple[Any, dict[str, Any]]]) -> None:
        def one_step() -> dict[str, Any]:
            loss, parameters = run(code)
            value = np.array(loss.data)  # an engine may free it
            loss.backward()
            gradients = {name: None if p.grad is None else np.asarray(p.grad) for name, p in parameters.items()}
            return {"loss": value, "gradients": gradients}

        super().__init__(one_step)
        self.code, self.run = code, run


Probe = Call | Pair | tuple[str, Any]
"""What `show` yields; of a tuple the first says in words what the second is."""


def reference(**functions: Callable[..., Any]) -> SimpleNamespace:
    """What a learner is to write, from functions of Tensors: `name_forward` and `name_backward` of each."""
    made: dict[str, Any] = {}
    for name, f in functions.items():
        made[f"{name}_forward"], made[f"{name}_backward"] = _pair(f)
    return SimpleNamespace(**made)


def _pair(f: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(*args: Any) -> tuple[Any, Any]:
        floats = [i for i, x in enumerate(args) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]

        def of_floats(*xs: Any) -> Any:
            whole = list(args)
            for i, x in zip(floats, xs, strict=True):
                whole[i] = x
            return f(*whole)

        out, pull = vjp(of_floats, *(args[i] for i in floats))
        return np.asarray(out), (pull, len(floats))

    def backward(dout: Any, cache: Any) -> Any:
        pull, count = cache
        found = tuple(np.asarray(g) for g in leaves(pull(dout)))
        return found if count > 1 else found[0]

    return forward, backward


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people give: the solution with one piece of text in place of another, and why it is wrong."""

    old: str
    new: str
    why: Text


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    week      of the course
    minutes   that it takes
    show      what to compute with the functions of a learner: yields calls, pairs, and values with a label
    ours      the reference: the same names as the learner's file has
    mistakes  wrong answers that are recognised
    idea      what helps when nothing is written yet
    tolerance how far off a result may be, relative to the largest entry
    seconds   after which a check is given up
    """

    week: int
    minutes: int
    show: Callable[[Any, Inputs], Iterator[Probe]]
    ours: Any
    mistakes: Sequence[Mistake]
    idea: Text
    tolerance: float = 1e-9
    seconds: float = 20.0
    key: str = field(default="", kw_only=True)
    package: str = field(default="", kw_only=True)

    @property
    def number(self) -> int:
        """Its place in the course, from 1."""
        return int(self.key[1:3])

    @cached_property
    def solution(self) -> str:
        """The whole file."""
        return (files(self.package) / "exercises" / f"{self.key}.py").read_text("utf-8")

    @property
    def needs(self) -> list[str]:
        """The exercises whose files this one imports."""
        return re.findall(r"^from (e\d\d_\w+) import", self.solution, re.MULTILINE)

    @property
    def text(self) -> Text:
        """What the learner reads: the docstring of the file, whose first line is the title."""
        found = re.match(r'r?"""(.*?)"""', self.solution, re.DOTALL)
        assert found, f"{self.key} begins with no docstring"
        en, _, zh = found[1].partition(TRANSLATION)
        return Text(en.strip(), zh.strip())

    @property
    def title(self) -> Text:
        """In a few words."""
        return Text(*(text.partition("\n")[0] for text in self.text))

    def start(self, language: str) -> str:
        """The file with its holes, in one language."""
        return self._told(_HOLE.sub(_emptied, self.solution), language)

    def solved(self, language: str) -> str:
        """The file with its holes filled."""
        return self._told(re.sub(rf"^ *(?:{HOLE}.*|{END})\n", "", self.solution, flags=re.MULTILINE), language)

    def _told(self, source: str, language: str) -> str:
        text, _ = self._parts()
        return f"{text[: text.index(_QUOTES) + 3]}{self.text.of(language)}\n{_QUOTES}{source[len(text) :]}"

    def with_mistake(self, mistake: Mistake) -> str:
        """The solution with a mistake in its code. Raises ValueError unless the text that is replaced is there once."""
        text, code = self._parts()
        if code.count(mistake.old) != 1:
            raise ValueError(f"{self.key}: {mistake.old!r} is there {code.count(mistake.old)} times, and not once")
        return text + code.replace(mistake.old, mistake.new)

    def _parts(self) -> tuple[str, str]:
        """The docstring, and all that follows."""
        end = self.solution.index(_QUOTES, self.solution.index(_QUOTES) + 3) + 3
        return self.solution[:end], self.solution[end:]


_QUOTES = '"""'
_HOLE = re.compile(rf"^( *){HOLE}(.*)\n(?s:.*?)^ *{END}\n", re.MULTILINE)


def _emptied(hole: re.Match[str]) -> str:
    """What stands in the start file for a hole: an error or, at the top of the file, nothing."""
    indent, head = hole[1], hole[2].strip()
    if head:
        return f"{indent}{head}\n{indent}    {NOT_WRITTEN}\n"
    return f"{indent}{NOT_WRITTEN}\n" if indent else ""


def exercises(packages: Sequence[str] = PACKAGES) -> list[Exercise]:
    """All exercises of the course, in order. Their checks are imported."""
    found = []
    for package in packages:
        for path in (files(package) / "exercises").iterdir():
            if path.name.endswith(".py"):
                found.append(exercise(package, path.name.removesuffix(".py")))
    return sorted(found, key=lambda one: one.key)


def exercise(package: str, key: str) -> Exercise:
    """One of them."""
    one: Exercise = import_module(f"{package}.checks.{key}").EXERCISE
    return replace(one, key=key, package=package)
