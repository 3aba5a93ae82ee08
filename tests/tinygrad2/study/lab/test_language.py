"""The page of the lab in Chinese: the same as Python says, with a switch, and nothing left in English."""

import itertools
import json
import re
from importlib.resources import files

import pytest

from tinygrad2.context import within
from tinygrad2.language import LANGUAGE, translation

pytestmark = pytest.mark.slow

TEXTS = json.loads((files("tinygrad2.study.lab") / "zh.json").read_text("utf-8"))

LEFT = """
const left = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const { data, parentElement } = walker.currentNode;
  const quiet = parentElement.closest("script, style, code, pre, kbd, math, h1, [translate=no], header p");
  if (!quiet && parentElement.offsetParent) left.push(data);
}
return left;"""
SHOWN = "return [...document.querySelectorAll('#check ~ p.put')].map((p) => p.textContent)"
PUT = """
for (const text of arguments[0]) {
  const p = document.createElement("p");
  p.className = "put";
  p.textContent = text;
  document.querySelector("header").append(p);
}"""


@pytest.fixture
def chinese(expression):
    """The page, switched to Chinese; afterwards it is English again."""
    expression.open(mode="watch")
    expression.one(".language").click()
    yield expression
    expression.browser.execute_script("document.querySelectorAll('p.put').forEach((p) => p.remove())")
    expression.one(".language").click()


def test_the_page_says_what_python_says_and_goes_back_to_english(chinese):
    keys = [re.sub(r"\{(\d+)\}", r"\g<1>\g<1>.5", key) for key in TEXTS]
    more = ["nobody said this", "x.y: the sign is wrong.", "the sign is wrong, [0, 1]"]
    texts = [*keys, *(f"{a}; {b}" for a, b in itertools.pairwise(keys)), *more]
    chinese.browser.execute_script(PUT, texts)
    with within(LANGUAGE, "zh"):
        say = translation("tinygrad2.study.lab")
    shown = chinese.browser.execute_script(SHOWN)
    assert len(shown) == len(texts)
    assert [pair for pair in zip(shown, map(say, texts), strict=True) if pair[0] != pair[1]] == []
    assert sum(a != b for a, b in zip(shown, texts, strict=True)) > len(keys)
    chinese.one(".language").click()
    assert chinese.browser.execute_script(SHOWN) == texts
    chinese.one(".language").click()


@pytest.mark.parametrize("state", ["watch", "predict", "diagnose"])
def test_nothing_is_left_in_english(chinese, state):
    chinese.open(mode=state)
    left = [text for text in chinese.browser.execute_script(LEFT) if re.search("[A-Za-z]{2,} [A-Za-z]{2,}", text)]
    assert left == []
    assert chinese.browser.execute_script("return document.documentElement.lang") == "zh"
