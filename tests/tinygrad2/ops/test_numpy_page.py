"""The page of NumPy's functions is what the code says, and leaves none out."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygrad2 import Tensor, ops
from tinygrad2.errors import TinygradError
from tinygrad2.ops.__main__ import KINDS, functions, kind, page
from tinygrad2.ops.plain import IN_PLACE, PLAIN

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "numpy.md").read_text("utf-8")


def lists(text):
    """The names in each list of a page."""
    found = {}
    for title, section in re.findall(r"^## (.*?)$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE):
        found[title] = re.findall(r"`(np\.[\w.]+)`", section.strip().rpartition("\n\n")[2])
    return found


def test_every_public_function_is_in_one_list_of_the_page():
    printed, written = lists(page()), lists(PAGE)
    assert list(printed) == list(written) == list(KINDS)
    here = [name for names in printed.values() for name in names]
    assert sorted(here) == sorted(functions())
    assert {"np.sum", "np.add", "np.array", "np.linalg.norm", "np.einsum", "np.copyto", "np.conj"} <= set(here)
    if f"NumPy {np.__version__}." in " ".join(PAGE.split()):
        assert page() + "\n" == PAGE, "python -m tinygrad2.ops > docs/numpy.md"
    for title, names in printed.items():  # another version may have others
        assert set(names) - set(written[title]) <= set(here) - {name for names in written.values() for name in names}, title


def test_the_command_prints_the_page():
    printed = subprocess.run([sys.executable, "-m", "tinygrad2.ops"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert printed.stdout == page() + "\n"


def test_each_function_has_one_answer():
    assert not PLAIN & ops.RULES.keys()
    assert not IN_PLACE & (PLAIN | ops.RULES.keys())
    assert all(kind(function) in ("Never", "Without a gradient") for function in PLAIN | IN_PLACE)


def error_of(function, args):
    """What is raised by a call with arguments that it may or may not take."""
    try:
        function(*args)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("name", [name for name, f in functions().items() if kind(f) == "Outside a graph"])
def test_what_is_refused_is_refused_by_its_name(name):
    function = functions()[name]
    x = Tensor(np.eye(3) + 1, requires_grad=True)
    n = getattr(function, "nin", 1)
    tried = ([x] * n, [x, x], [x, 1], [1, x], [x, x, x], [x, 1, 1], [0, 1, x], [len, 0, x])
    refused = re.compile(rf"np\.(linalg\.)?{function.__name__} has no differentiable rule")
    assert any(refused.match(str(error_of(function, args))) for args in tried)


@pytest.mark.parametrize("name", [name for name, f in functions().items() if kind(f) == "With a gradient"])
def test_an_argument_that_no_rule_knows_is_refused(name):
    function = functions()[name]
    x = Tensor(np.arange(9.0).reshape(3, 3) + 1, requires_grad=True)
    tried = [[x[0]], [x], [x, x], [[x, x]], [x, 1], [x, (3, 3)], [x, 0, 1], ["ij", x], [x, np.float32], [x, x > 0, 1.0]]
    args = next((args for args in tried if error_of(function, args) is None), [x])
    with pytest.raises((TinygradError, TypeError)):
        function(*args, out=np.ones((3, 3)))
