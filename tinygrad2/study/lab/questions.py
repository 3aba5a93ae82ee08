"""What *Predict* asks: each rule of a computation once, the easy ones first, beside such as people mistake for it."""

from __future__ import annotations

import ast
import random
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad2.study.formulas import code, evaluate
from tinygrad2.study.lab.mutants import mutants, whole
from tinygrad2.study.lab.specialise import specialised
from tinygrad2.study.lab.trials import Trial, trials
from tinygrad2.study.trace import Contribution
from tinygrad2.types import Array

COUNT = 4
"""Rules to choose from."""


def unbroadcast_code(raw: tuple[int, ...], shape: tuple[int, ...]) -> str | None:
    """How a contribution of one shape is summed to another, as code with {} for the contribution; None if it need not be."""
    if raw == shape:
        return None
    extra = len(raw) - len(shape)
    stretched = [i + extra for i, n in enumerate(shape) if n == 1 and raw[i + extra] != 1]
    axes = [*range(extra), *stretched]
    axis = axes[0] if len(axes) == 1 else tuple(axes)
    if not stretched:
        return f"np.sum({{}}, axis={axis})"
    if not extra:
        return f"np.sum({{}}, axis={axis}, keepdims=True)"
    return f"np.reshape(np.sum({{}}, axis={axis}), {shape})"


class Rules:
    """The rules of a computation as the lab shows them: without what does not concern its values, see `specialised`."""

    def __init__(self) -> None:
        self._known: dict[Any, tuple[str | None, list[Trial]]] = {}

    def of(self, part: Contribution) -> tuple[str | None, list[Trial]]:
        """The program of a use, None where its source does not say it; and the trials of its op."""
        value = part.user
        arrays = [(np.shape(x), known is None) for x, known in zip(value.arrays, value.inputs, strict=True)]
        key = (value.op, part.index, str(arrays), str({name: _outline(x) for name, x in value.settings.items()}))
        if key not in self._known:
            text, found = code(value, part.index), trials(value, part.index)
            self._known[key] = text and specialised(text, found), found
        return self._known[key]

    def code(self, part: Contribution, g: Array) -> str | None:
        """The program of a use, which on the values of the computation gives what the source of its rule does."""
        original, (text, _) = code(part.user, part.index), self.of(part)
        if text is None or text == original or original is None:
            return text
        with np.errstate(all="ignore"):
            a, b = (np.asarray(evaluate(program, part.user, g)) for program in (original, text))
        top = float(np.max(np.abs(a), initial=0.0))
        return text if a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-5 * top, equal_nan=True) else original


def _outline(x: Any) -> Any:
    return x.shape if isinstance(x, np.ndarray) else x


@dataclass(eq=False)
class Use:
    """A use of a value that a question may be asked at: its number, its rule, and how its gradient is summed up."""

    number: int
    part: Contribution
    rule: str | None
    summed: str | None
    accumulate: bool
    worth: tuple[bool, bool, int]  # the higher, the better to be asked at

    @property
    def key(self) -> tuple[Any, ...]:
        """Uses with the same key have the same rule."""
        op = self.part.user.op
        assert op is not None
        text = whole(self.rule, self.summed, self.accumulate) if self.rule else (self.part.index, self.summed, self.accumulate)
        return op.name, text


@dataclass(eq=False)
class Question:
    """One rule.

    uses     the numbers of all uses that have it; the first is the one that is shown
    right    the program, None where the source of the rule does not say it
    wrong    others, and what the mistake is
    misfits  such as have no value here, since the shapes do not fit
    offered  programs to choose from
    """

    uses: list[int]
    right: str | None
    accumulate: bool
    trials: list[Trial]
    wrong: dict[str, str] = field(default_factory=dict)
    misfits: dict[str, str] = field(default_factory=dict)
    offered: list[str] = field(default_factory=list)


def questions(uses: Iterable[Use], rules: Rules) -> list[Question]:
    """Of every group of uses with the same rule one, the shortest rules first."""
    groups: dict[tuple[Any, ...], list[Use]] = {}
    for use in uses:
        groups.setdefault(use.key, []).append(use)
    return sorted((_question(group, rules) for group in groups.values()), key=_effort)


def _question(group: list[Use], rules: Rules) -> Question:
    shown = max(group, key=lambda use: use.worth)
    tried = rules.of(shown.part)[1]
    numbers = [shown.number, *(use.number for use in group if use is not shown)]
    if shown.rule is None:
        return Question(numbers, None, shown.accumulate, tried)
    right = whole(shown.rule, shown.summed, shown.accumulate)
    if not tried:
        return Question(numbers, right, shown.accumulate, tried)
    wrong, misfits = mutants(shown.rule, shown.summed, shown.accumulate, tried)
    return Question(numbers, right, shown.accumulate, tried, wrong, misfits, _offered(right, wrong))


def _effort(question: Question) -> float:
    """How much there is to write."""
    return np.inf if question.right is None else len(list(ast.walk(ast.parse(question.right))))


def _offered(right: str, wrong: dict[str, str]) -> list[str]:
    """The right program among wrong ones of like length, so that it is not told by being the longest, or the shortest."""
    rng = random.Random(zlib.crc32(right.encode()))
    near = sorted(wrong, key=lambda text: abs(len(text) - len(right)) > 0.3 * len(right) + 4)
    shorter, longer = ([text for text in near if (len(text) < len(right)) == less] for less in (True, False))
    rank = rng.randrange(COUNT)
    found = [*_unlike(shorter, wrong)[:rank], *_unlike(longer, wrong)[: COUNT - 1 - rank]]
    found += [text for text in _unlike(near, wrong) if text not in found]
    offered = [right, *found[: COUNT - 1]]
    rng.shuffle(offered)
    return offered if len(offered) > 1 else []


def _unlike(texts: list[str], wrong: dict[str, str]) -> list[str]:
    """One for each mistake, then the others."""
    first = {wrong[text]: text for text in reversed(texts)}
    return [text for text in texts if first[wrong[text]] == text] + [text for text in texts if first[wrong[text]] != text]
