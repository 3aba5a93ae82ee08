"""A known mistake is named while the rest of the file is not written yet, or is wrong as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinygrad2.study.course.exercise import NOT_WRITTEN, Exercise, exercises
from tinygrad2.study.course.judging import WRONG, Verdict, judged

EVERY = {one.key: one for one in exercises()}
CASES = [
    ("e02_six_gradients", "swapped"),
    ("e05_sums_and_shapes", "dout lacks the axes"),
    ("e09_activations", "multiplies dout by exp(x), and adds nothing"),
    ("e14_optimizers", "The step goes uphill"),
    ("e14_optimizers", "decay is not multiplied by the learning rate"),
    ("e16_accumulation", "The last rows are dropped"),
]


def named(key: str, words: str) -> tuple[Exercise, int, str]:
    """The exercise, the number of the mistake with these words, and the file with it."""
    one = EVERY[key]
    [number] = [i for i, mistake in enumerate(one.mistakes) if words in mistake.why.en]
    return one, number, one.with_mistake(one.mistakes[number])


def verdict(one: Exercise, folder: Path, source: str) -> Verdict:
    (folder / f"{one.key}.py").write_text(source, "utf-8")
    return judged(one, folder, seed=4)


@pytest.mark.parametrize(("key", "words"), CASES)
def test_while_the_functions_after_it_are_not_written(folder: Path, key: str, words: str) -> None:
    one, number, source = named(key, words)
    written, begun, rest = source.partition(one.mistakes[number].new)
    functions = rest.split("\n\n\ndef ")
    heads = [f"{text.split('# <hole>')[0]}{NOT_WRITTEN}\n" for text in functions[1:]]
    assert heads
    found = verdict(one, folder, "\n\n\ndef ".join([written + begun + functions[0], *heads]))
    assert (found.verdict, found.mistake) == (WRONG, number), found


@pytest.mark.parametrize(("key", "words"), CASES)
def test_while_another_function_is_wrong_too(folder: Path, key: str, words: str) -> None:
    one, number, source = named(key, words)
    here = source.rfind("\ndef ", 0, source.index(one.mistakes[number].new))
    others = [mistake for mistake in reversed(one.mistakes) if source.count(mistake.old) == 1]
    other = next(mistake for mistake in others if source.rfind("\ndef ", 0, source.index(mistake.old)) != here)
    found = verdict(one, folder, source.replace(other.old, other.new))
    assert (found.verdict, found.mistake) == (WRONG, number), found
