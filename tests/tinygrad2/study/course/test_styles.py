"""A check judges what comes out, and not how: six engines in six styles are right, and other ways of many exercises."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinygrad2.study.course.exercise import exercises
from tinygrad2.study.course.judging import BROKEN, RIGHT, WRONG, Verdict, judged

STYLES = sorted((Path(__file__).parent / "styles").glob("*.py"))
WAYS = sorted((Path(__file__).parent / "ways").glob("*.py"))
EVERY = {one.key: one for one in exercises()}
SCALAR, ARRAY = "e03_value", "e08_tensor"


def verdict(folder: Path, file: str, source: str, key: str, seed: int = 3) -> Verdict:
    """On the exercise `key`, where `file` has this source."""
    (folder / f"{file}.py").write_text(source, "utf-8")
    return judged(EVERY[key], folder, seed)


@pytest.mark.parametrize("style", STYLES, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("file", "key"),
    [(SCALAR, SCALAR), (SCALAR, "e04_order"), (ARRAY, ARRAY), (ARRAY, "e13_bigram"), (ARRAY, "e21_block")],
    ids=["scalar", "deep", "array", "trained", "block"],
)
def test_every_style_is_right(folder: Path, style: Path, file: str, key: str) -> None:
    found = verdict(folder, file, style.read_text("utf-8"), key)
    assert found.verdict == RIGHT, found


OFF_THE_TAPE = (
    ("        out = f(", "        mark = len(e08_tensor.TAPE)\n        out = f("),
    ("        return out.data, arrays", "        del e08_tensor.TAPE[mark:]\n        return out.data, arrays"),
    ("        inputs = [", "        mark = len(e08_tensor.TAPE)\n        inputs = ["),
    ("        return tuple(", "        del e08_tensor.TAPE[mark:]\n        return tuple("),
    ("from e08_tensor import", "import e08_tensor\nfrom e08_tensor import"),
)


@pytest.mark.parametrize("style", STYLES, ids=lambda path: path.stem)
def test_checkpoints_keep_little_in_every_style(folder: Path, style: Path) -> None:
    """On a tape only after what f wrote was taken off it again, as the text of the exercise says."""
    key = "e26_checkpointing"
    (folder / f"{ARRAY}.py").write_text(style.read_text("utf-8"), "utf-8")
    source = EVERY[key].solved("en")
    if style.stem == "tape":
        assert "what f keeps after forward" in verdict(folder, key, source, key).where.en
        for old, new in OFF_THE_TAPE:
            assert source.count(old) == 1
            source = source.replace(old, new)
    assert verdict(folder, key, source, key).verdict == RIGHT


@pytest.mark.parametrize("way", WAYS, ids=lambda path: path.stem)
@pytest.mark.parametrize("seed", range(3))
def test_another_way_is_right(folder: Path, way: Path, seed: int) -> None:
    found = verdict(folder, way.stem, way.read_text("utf-8"), way.stem, seed)
    assert found.verdict == RIGHT, found


REPLACED = {  # in each style, the gradient of one use in place of those of all
    "closures": ("self.part = g if self.part is None else self.part + g", "self.part = g"),
    "counts": ("g = sum(parts.pop(node))", "g = parts.pop(node)[-1]"),
    "edges": ("arrived[x] = arrived[x] + part", "arrived[x] = part"),
    "functions": ("gradients[x] = gradients.get(x, 0.0) + unbroadcast", "gradients[x] = unbroadcast"),
    "tape": ("gradients[x] = gradients[x] + g if x in gradients else g", "gradients[x] = g"),
    "ufuncs": ("found[id(x)] = found[id(x)] + unbroadcast", "found[id(x)] = unbroadcast"),
}


def test_every_style_has_its_mistake() -> None:
    assert list(REPLACED) == [path.stem for path in STYLES]


@pytest.mark.parametrize("style", STYLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("key", [SCALAR, ARRAY])
def test_the_same_mistake_is_named_in_every_style(folder: Path, style: Path, key: str) -> None:
    source, (right, wrong) = style.read_text("utf-8"), REPLACED[style.stem]
    assert source.count(right) == 1
    found = verdict(folder, key, source.replace(right, wrong), key)
    assert found.verdict == WRONG
    assert "those of all uses add up" in found.why.en, found


RECURSIVE = """
    def order(self):
        found, seen = [], set()

        def visit(node):
            if id(node) not in seen:
                seen.add(id(node))
                for x in node.inputs:
                    visit(x)
                found.append(node)

        visit(self)
        return found[::-1]

"""


def test_a_value_whose_order_is_recursive_will_do_until_graphs_are_deep(folder: Path) -> None:
    """Exercise 3 asks for small graphs alone; exercise 4 says what fails in the file of exercise 3, and how to mend it."""
    solution = EVERY[SCALAR].solved("en")
    begin, end = solution.index("\n    def order(self):"), solution.index("def value(x):")
    recursive = solution[:begin] + RECURSIVE + solution[end:]
    assert verdict(folder, SCALAR, recursive, SCALAR).verdict == RIGHT
    found = verdict(folder, SCALAR, recursive, "e04_order")
    assert found.verdict == BROKEN
    for part in ("value_in_a_chain_of_3000_additions", "RecursionError", "use a loop", "e03_value.py"):
        assert part in found.where.en
