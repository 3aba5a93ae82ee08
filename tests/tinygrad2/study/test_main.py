"""`python -m tinygrad2.study lab`: a page of any expression, or one line that says what is wrong."""

import json
import re
import sys

import numpy as np
import pytest

from tinygrad2 import study
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


def test_functions_have_their_plain_names_and_help_lists_them(tmp_path, capsys):
    path = tmp_path / "lab.html"
    assert main(["lab", "h = tanh(x);mean(relu(h) * softmax(h)) + sum(square(x));", "x=3x1", "--out", str(path)]) == 0
    data = contents(path)
    assert {"tanh", "relu", "softmax", "mean", "square", "sum"} <= {value["op"] for value in data["values"]}
    assert data["values"][1]["source"] == "expression:1: h = tanh(x)"
    with pytest.raises(SystemExit):
        main(["lab", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert all(name in said for name in (" tanh,", " softmax,", " causal_attention,", "NAME=ARRAY", "gpt2"))
    assert not {" Array,", " primitive,", " RULES,"} & {f" {word}" for word in said.split()}


def test_the_small_gpt2_is_the_model_that_gpt2_builds(tmp_path):
    """The same loss and gradients as gpt2.GPT2 with these parameters."""
    from gpt2 import GPT2, GPT2Config
    from tinygrad2 import Tensor
    from tinygrad2.study.__main__ import _computed
    from tinygrad2.study.lab import small

    given = {name: Tensor(x, requires_grad=True) for name, x in small.parameters(np.random.default_rng(0)).items()}
    loss = _computed(list(small.STEPS), given)
    names = {"wte.weight": "wte", "wpe.weight": "wpe", "ln_f.weight": "gain_f", "ln_f.bias": "bias_f"}
    for mine, theirs in {"qkv": "attn.c_attn", "proj": "attn.c_proj", "up": "mlp.c_fc", "down": "mlp.c_proj"}.items():
        names |= {f"h.0.{theirs}.weight": f"w_{mine}", f"h.0.{theirs}.bias": f"b_{mine}"}
    for place in ("1", "2"):
        names |= {f"h.0.ln_{place}.weight": f"gain_{place}", f"h.0.ln_{place}.bias": f"bias_{place}"}
    config = GPT2Config(4, 3, 8, 1, 2, 16, dropout=0.0, tie_embeddings=True, head_bias=False)
    model = GPT2(config, seed=0, dtype=np.float64)
    parameters = dict(model.named_parameters())
    assert parameters.keys() == names.keys()
    for name, p in parameters.items():
        p.data = given[names[name]].data.copy()
    theirs = model.loss(np.array([0, 1, 2]), np.array([1, 2, 3]))
    assert loss.item() == pytest.approx(theirs.item(), rel=1e-12)
    loss.backward()
    theirs.backward()
    for name, p in parameters.items():
        np.testing.assert_allclose(given[names[name]].grad.data, p.grad.data, rtol=1e-9, atol=1e-12, err_msg=name)
    path = tmp_path / "lab.html"
    assert main(["lab", "gpt2", "--out", str(path), "--cases", "5", "--seed", "3"]) == 0
    data = contents(path)
    assert data["tokens"] == ["to", "be", "or"]
    assert len(data["diagnose"]["cases"]) == 5
    assert all(question["trials"] and len(question["choices"]) == 4 for question in data["questions"])


def test_a_page_that_would_be_too_large_says_what_to_leave_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.modules[study.lab.__module__], "SIZE", 100_000)
    assert main(["lab", "gpt2", "--out", str(tmp_path / "lab.html")]) == 2
    assert "15 ops and 12 cases of diagnose do not fit into a page of 100000 bytes; take fewer" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["x @ w", "x=3x4", "w=5x2"], r"\(3, 4\) @ \(5, 2\)"),
        (["np.sum(x * y)", "x=3"], r"y has no value; give it as y=3x4, random numbers of that shape, or y=\[1,2,3\]"),
        (["sum(tanh(x))"], "x has no value"),
        (["sum(softmx(x))", "x=3"], "there is no function softmx; did you mean softmax"),
        (["sum(qqqq(x))", "x=3"], "there is no function qqqq; --help lists the functions"),
        (["sum(x) / 0", "x=3"], r"'sum\(x\) / 0' is -?inf for the inputs x \(3,\)"),
        (["sum(x)", "x=[1e999]"], "is inf for the inputs"),
        (["sum(log(x))", "x=[-1]"], "is nan for the inputs"),
        (["", "x=3"], "there is no statement; give the loss, as in"),
        (["gpt2", "x=3"], "gpt2 takes no inputs, but 'x=3' was given"),
        (["sum(x)", "x=3", "--seed", "-1"], "--seed -1: must be 0 or more"),
        (["sum(x)", "x=3", "--cases", "0"], "cases=0: must be at least 1"),
        (["sum(x)", "x=9999999x9999999"], "does not fit into memory"),
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
