"""`python -m tinygrad2.study lab`: a page of any expression, or one line that says what is wrong."""

import json
import re

import pytest

from tinygrad2.study.__main__ import main


def contents(path):
    return json.loads(re.search(r'<script type="application/json".*?>(.*?)</script>', path.read_text(), re.S)[1])


def test_the_page_of_an_expression(tmp_path, capsys):
    path = tmp_path / "lab.html"
    assert main(["lab", "h = np.tanh(x * w); np.sum(softmax(h, axis=0) * x)", "x=3x1", "w=[1, -2.5]", "--out", str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: ")
    data = contents(path)
    assert [value["variable"] for value in data["values"]] == ["x", "w", "multiply", "tanh", "softmax", "multiply_2", "sum"]
    assert [value["source"] for value in data["values"]][2:5] == [
        "expression:1: h = np.tanh(x * w)",
        "expression:1: h = np.tanh(x * w)",
        "expression:2: np.sum(softmax(h, axis=0) * x)",
    ]
    assert data["arrays"][data["values"][1]["array"]]["s"] == [2]


def test_the_example_needs_nothing_and_repeats(tmp_path):
    first, second, other = (tmp_path / name for name in ("a.html", "b.html", "c.html"))
    assert main(["lab", "--out", str(first)]) == main(["lab", "--out", str(second)]) == 0
    assert first.read_text() == second.read_text()
    assert main(["lab", "--out", str(other), "--seed", "1"]) == 0
    assert first.read_text() != other.read_text()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["x @ w", "x=3x4", "w=5x2"], r"\(3, 4\) @ \(5, 2\)"),
        (["np.sum(x * y)", "x=3"], "name 'y' is not defined"),
        (["np.sum(x", "x=3"], "was never closed"),
        (["x * 2", "x=3"], r"the output has shape \(3,\); sum it to one number"),
        (["np.sum(x)", "x=big"], "input 'x=big' must be NAME=3x4"),
        (["np.sum(x)", "1x=3"], "'1x' is not a name"),
        (["y = np.sum(x)", "x=3"], "'y = np.sum\\(x\\)', must be an expression"),
        (["3.0", "x=3"], "gives a float that depends on none of the inputs"),
        (["np.sum(x)", "x=3", "--out", "/no/such/folder/lab.html"], "/no/such/folder/lab.html: cannot be written"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(args, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["lab", *args]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.search(said, lines[0]), lines
    assert not list(tmp_path.iterdir())
