"""Every exercise: its solution is right, its start file is not written yet, and every known mistake gets its own hint."""

import ast
import re

import numpy as np
import pytest
from solved import EVERY, folder_of, shown, verdict_of

from tinygrad2.study.course.comparing import first_difference, same
from tinygrad2.study.course.judging import RIGHT, UNWRITTEN, WRONG
from tinygrad2.study.course.transcript import transcript


@pytest.fixture(scope="module")
def solutions(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("solutions"))


def test_the_course_is_whole():
    numbers = [one.number for one in EVERY.values()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [one.week for one in EVERY.values()] == sorted(one.week for one in EVERY.values())
    assert {one.week for one in EVERY.values()} == {1, 2, 3, 4, 5, 6}
    assert sum(len(one.mistakes) for one in EVERY.values()) >= 120


@pytest.mark.parametrize("key", EVERY)
def test_the_solution_is_right(key, solutions):
    for seed in (0, 1):
        found = verdict_of(key, solutions, seed)
        assert found.verdict == RIGHT, found
        assert found.error <= EVERY[key].tolerance
        assert found.checked >= 3


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("key", EVERY)
def test_an_untouched_file_is_not_written_yet(key, language, tmp_path):
    folder = folder_of(tmp_path / "one", {key: EVERY[key].start(language)})
    assert verdict_of(key, folder).verdict == UNWRITTEN


@pytest.mark.parametrize("key", EVERY)
def test_each_mistake_gets_its_own_hint(key, solutions, tmp_path):
    """What comes out with it is wrong, and unlike what comes out with any other; so the first that is alike is it."""
    one = EVERY[key]
    expected = transcript(one.show, one.ours, 0)
    sources = [one.with_mistake(mistake) for mistake in one.mistakes]
    found = [shown(key, solutions, source, until=expected) for source in sources]
    assert len(found) >= 4

    def alike(i, j):
        """Also in all that comes after the first wrong value."""
        near = max(1e-9, one.tolerance)
        return same(found[i], found[j], near) and same(*(shown(key, solutions, sources[k]) for k in (i, j)), near)

    for i, a in enumerate(found):
        what = f"{i}: {one.mistakes[i].old!r} -> {one.mistakes[i].new!r}"
        assert first_difference(expected, a, one.tolerance) or a.failure, f"{what} is right"
        others = [j for j in range(i) if alike(j, i)]
        assert not others, f"{what} is like {others}"
    last = len(found) - 1
    verdict = verdict_of(key, folder_of(tmp_path / "one", {key: one.with_mistake(one.mistakes[last])}))
    assert (verdict.mistake, verdict.why) == (last, one.mistakes[last].why)
    assert verdict.verdict in (WRONG, "broken")
    assert verdict.where.en
    assert verdict.line.en


@pytest.mark.parametrize("key", EVERY)
def test_the_files_of_a_learner_are_whole_in_both_languages(key):
    one = EVERY[key]
    for language, text in zip(("en", "zh"), one.text, strict=True):
        start = one.start(language)
        assert text.splitlines()[0] in start
        assert ("<hole>" in start) is False
        assert "[zh]" not in start
        assert ast.get_docstring(ast.parse(start)).splitlines()[0] == text.splitlines()[0].replace("\\\\", "\\")
        assert "not written yet" in start
        assert len(start) < len(one.solved(language)) + 200
    assert not re.search("[一-鿿]", one.text.en)
    assert len(re.findall("[一-鿿]", one.text.zh)) > 30
    solved = ast.dump(ast.parse(one.solved("en")).body[-1])
    assert solved == ast.dump(ast.parse(one.solution).body[-1])


@pytest.mark.parametrize("key", EVERY)
def test_what_is_computed_depends_on_the_seed(key):
    one = EVERY[key]
    a, b = (transcript(one.show, one.ours, seed) for seed in (0, 1))
    assert first_difference(a, b, 1e-9), "the same numbers could be written down"


def test_wrong_numbers_that_nobody_foresaw_are_described(tmp_path):
    source = EVERY["e10_softmax"].solved("en").replace("return p * (dp - along)", "return p * (dp - along) * p.shape[-1]")
    found = verdict_of("e10_softmax", folder_of(tmp_path / "one", {"e10_softmax": source}))
    assert found.verdict == WRONG
    assert found.mistake is None
    assert "off by a factor of 4: it is 4, and 4 is the length of axis 0 of x" in found.why.en


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, g: g * 0, "zero everywhere"),
        (lambda x, g: -g, "the other sign"),
        (lambda x, g: g + 0.25, "off by the same number, 0.25"),
        (lambda x, g: g - g.mean(0), "along axis 0 every entry is off by the same number"),
        (lambda x, g: g * np.arange(1, 4)[:, None], "along axis 1 every entry is off by the same factor"),
        (lambda x, g: np.where(np.arange(3)[:, None] == 2, 0, g), "wrong only at the last along axis 0"),
        (lambda x, g: g * 4, "it is 4, and 4 is the length of axis 1"),
        (lambda x, g: np.where(g > 1e9, g, np.nan), "not finite"),
    ],
)
def test_patterns(change, said):
    from tinygrad2.study.course.patterns import common

    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    assert said in common(change(x, g), g, {"x": x})


SOFTMAX = """import numpy as np


def rule(dp, p):
    return dp - (dp * p).sum(-1, keepdims=True)


def softmax_forward(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
"""


@pytest.mark.parametrize(
    ("rest", "where", "why"),
    [
        (
            "    return p, p\n\n\ndef softmax_backward(dp, p):\n    p *= rule(dp, p)\n    return p\n",
            "softmax_backward(dout, cache) after softmax_forward(array (4,)): it writes into the result of forward",
            "",
        ),
        (
            "    return p, p.copy()\n\n\ndef softmax_backward(dp, p):\n    p *= rule(dp, p)\n    return p\n",
            "called again with the same dout and cache, it gives something else: it writes into the cache",
            "",
        ),
        (
            "    return p, [p]\n\n\ndef softmax_backward(dp, cache):\n    p = cache.pop()\n    return p * rule(dp, p)\n",
            "IndexError: pop from empty list",
            "",
        ),
        (
            "    return p, p\n\n\ndef softmax_backward(p, dp):\n    return p * rule(dp, p)\n",
            "softmax_backward(dout, cache)",
            "the arguments are swapped: it is called as backward(dout, cache)",
        ),
        (
            "    return [p, p]\n\n\ndef softmax_backward(dp, p):\n    return p * rule(dp, p) / 7\n",
            "softmax_backward(dout, cache)",
            "off by a factor of 0.142857",
        ),
        ("    return p, p, p\n\n\ndef softmax_backward(dp, p):\n    pass\n", "gives 3 things; it is to return two", ""),
    ],
)
def test_contracts_and_what_is_said_of_them(rest, where, why, tmp_path):
    found = verdict_of("e10_softmax", folder_of(tmp_path / "one", {"e10_softmax": SOFTMAX + rest}))
    assert found.verdict in ("wrong", "broken")
    assert where in found.where.en
    assert found.why.en.startswith(why) if why else not found.why.en, found.why.en


def test_an_error_of_the_same_kind_is_not_the_same_mistake(tmp_path):
    """A name that nobody knows, for one that is missing elsewhere."""
    source = EVERY["e22_gpt2"].solved("en").replace('= p["wte.weight"]\n', '= p["wte"]\n')
    found = verdict_of("e22_gpt2", folder_of(tmp_path / "one", {"e22_gpt2": source}))
    assert "KeyError: 'wte'" in found.where.en
    assert found.mistake is None
