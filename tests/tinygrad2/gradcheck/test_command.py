"""`python -m tinygrad2.gradcheck` and the pytest plugin."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad2.gradcheck.__main__ import main

ROOT = Path(__file__).parents[3]
LAYERS = """
import numpy as np

def affine_forward(x, w, b):
    return x @ w + b, (x, w)

def affine_backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(0)

def careless_backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.mean(0)

def scaled(x, y):
    return x * y

def scaled_vjp(g, x, y):
    return g * y, g * x

def step(x):
    return np.sign(x)

def step_vjp(g, x):
    return 0 * g

step_inputs = [np.zeros(2)]

def tail(x):
    return np.tanh(x)

def tail_vjp(g, x):
    return g * (1 - np.tanh(x) ** 2)

def tail_inputs():
    return [np.array([20.0])]

def loss(x, y):
    p = np.exp(x - x.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    value = -np.log(p[np.arange(len(y)), y]).mean()
    p[np.arange(len(y)), y] -= 1
    return value, p / len(y)

def of_tensors(x, mask):
    return np.sum(np.sin(x) * x * mask)

def broken(x):
    raise KeyError("mine")

def ending(x):
    raise SystemExit

def relu(x):
    return np.maximum(x, 0)

def relu_grad(dout, x):
    return 5 * dout * (x > 0)

def conv_fwd(x):
    return 2 * x, (x,)

def conv_bwd(dout, cache):
    return 5 * dout

class Scale:
    def __init__(self, by):
        self.by = by

def talking(x):
    print("here I am")
    return 2 * x

def of_nothing(*xs):
    return 1.0

five = 5
"""


@pytest.fixture
def layers(tmp_path):
    path = tmp_path / "some_layers.py"
    path.write_text(LAYERS)
    yield str(path)
    sys.modules.pop("_checked_some_layers", None)
    sys.path.remove(str(tmp_path)) if str(tmp_path) in sys.path else None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("affine_forward --inputs 3x4,4x2,2", 0, "right: 22 entries"),
        ("affine_forward --inputs 3x4,4x2,2 --fast --seed 3", 0, "random directions through 22 entries"),
        ("affine_forward --inputs 3x4,4x2,2 --backward careless_backward", 1, "it is 1 / 3, and 3 is the length of axis 0"),
        (
            "affine_forward --inputs 3x4,4x2,2 --backward careless_backward --language zh",
            1,
            "它是 1 / 3，而 3 是 输出 的轴 0 的长度",
        ),
        ("scaled", 0, "right: 24 entries"),
        ("scaled --inputs 0d,0d+", 0, "right: 2 entries"),
        ("step", 3, "the function jumps there"),
        ("tail", 0, "right: 1 entry"),
        ("tail --ulps 4", 4, "units in the last place, where x is 20.0"),
        ("loss --value-and-grad --inputs 3x4,3<4", 0, "right: 12 entries"),
        ("of_tensors --inputs 3x4,3x4? --engine tensors", 0, "right: 12 entries"),
        ("of_tensors --inputs 3x4+,3x4 --order 2", 0, "right: 48 entries"),
        ("relu --engine tensors", 0, "the gradient of tinygrad2's Tensors"),
        ("conv_fwd --backward conv_bwd", 1, "the gradient of conv_bwd"),
        ("scaled", 0, "the gradient of scaled_vjp"),
        ("loss --value-and-grad --inputs 3x4,3<4", 0, "the gradient of loss"),
    ],
)
def test_a_function_in_a_file(layers, arguments, code, said, capsys):
    name, *flags = arguments.split()
    assert main([f"{layers}::{name}", *flags]) == code
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "flags", "said"),
    [
        ("nowhere.py::f", [], "there is no file 'nowhere.py'"),
        ("{}", [], "names no function; say FILE.py::NAME"),
        ("{}::five", [], "has no function 'five'; it has affine_forward"),
        ("{}::scaled", ["--vjp", "scaled_bjp"], "has no function 'scaled_bjp'"),
        ("{}::scaled", ["--inputs", "3by4"], "'3by4' is no shape; say 3x4"),
        ("{}::of_nothing", [], "Say --inputs 3x4,4"),
        ("{}::scaled", ["--engine", "theano"], "there is no engine 'theano'"),
        ("{}::scaled", ["--inputs", "0x3,0x3"], "there is nothing to check"),
        ("{}::scaled", ["--order", "0"], "order=0 was given"),
        ("{}::scaled", ["--ulps", "nan"], "ulps=nan was given"),
        ("{}::loss", ["--value-and-grad", "--vjp", "scaled_vjp"], "vjp and value_and_grad were given"),
        ("{}::loss", ["--value-and-grad", "--engine", "jax"], "value_and_grad and engine were given"),
        ("{}::broken", ["--vjp", "scaled_vjp"], "KeyError: 'mine'"),
        ("{}::ending", [], "SystemExit: the file ends the program, so nothing was checked"),
        ("{}::relu", [], "some_layers.py has relu_grad, and relu would be checked without: say --vjp"),
        ("{}::conv_fwd", [], "some_layers.py has conv_bwd, and conv_fwd would be checked without"),
        ("{}::five", [], "Scale"),
        ("{}::Scale", [], "missing 1 required positional argument: 'by'"),
        ("{}::scaled", ["--inputs", "3"], "missing 1 required positional argument: 'y'"),
        ("{}::scaled", ["--inputs", "3,3,3"], "2 positional arguments but 3 were given"),
        ("{}::scaled", ["--inputs", "3,3<0"], "'3<0' is no shape"),
        ("{}::scaled", ["--seed", "-1"], "the seed is -1; give an integer from 0 on"),
        ("{}::scaled", ["--inputs", "3000x3000,3000x3000"], "say --fast, or take fewer numbers"),
    ],
)
def test_what_cannot_be_checked_is_said_and_is_no_verdict(layers, target, flags, said, capsys):
    assert main([target.format(layers), *flags]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1 or "in broken" in printed or "in ending" in printed
    assert "tinygrad2/gradcheck" not in printed
    assert main([target.format(layers), *flags, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["verdict"] == "error"


@pytest.mark.oracle
def test_a_class_of_pytorch_is_made_and_a_function_of_it_is_not(tmp_path, capsys, torch):
    (tmp_path / "of_torch.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Linear):\n    def __init__(self):\n        super().__init__(4, 2)\n"
        "class Twice(torch.autograd.Function):\n"
        "    @staticmethod\n    def forward(ctx, x):\n        return 2 * x\n"
        "    @staticmethod\n    def backward(ctx, g):\n        return 2 * g\n"
    )
    for name in ("Net", "Twice"):
        assert main([f"{tmp_path / 'of_torch.py'}::{name}", "--inputs", "3x4"]) == 0
        assert "right:" in capsys.readouterr().out


def test_json_has_the_worst_entry_both_numbers_and_the_diagnosis(layers, capsys):
    assert main([f"{layers}::affine_forward", "--inputs", "3x4,4x2,2", "--backward", "careless_backward", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "wrong"
    assert found["worst"]["name"] == "b"
    assert found["worst"]["analytic"] == pytest.approx(1 / 3)
    assert found["worst"]["numeric"] == pytest.approx(1)
    assert found["worst"]["index"] in [[i, j, j] for i in range(3) for j in range(2)]
    assert "off by a factor of 0.333333" in found["diagnosis"]
    assert [row["verdict"] for row in found["inputs"]] == ["right", "right", "wrong"]


def test_numbers_that_are_not_finite_are_text_in_json(layers, capsys):
    Path(layers).write_text(
        "import numpy as np\nf = np.log\ndef f_vjp(g, x):\n    return g * np.nan\nf_inputs = [np.ones(2)]\n"
    )
    assert main([f"{layers}::f", "--json"]) == 1
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["worst"]["analytic"] == "nan"


@pytest.mark.parametrize(
    "what", ["raise SystemExit(0)", "import pytest; pytest.skip(allow_module_level=True)", "import sys; sys.exit()"]
)
def test_a_file_that_ends_at_its_import_was_not_checked(layers, what, capsys):
    Path(layers).write_text(what)
    assert main([f"{layers}::f"]) == 2
    assert "error: " in capsys.readouterr().err


def test_what_a_function_prints_is_not_in_the_json(layers, capsys):
    assert main([f"{layers}::talking", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["gradient"] == "tinygrad2's Tensors"
    assert "here I am" in err


@pytest.mark.parametrize("name", ["autograd", "jax", "torch", "json"])
def test_a_file_may_be_called_as_a_package_is(tmp_path, monkeypatch, name, capsys):
    monkeypatch.syspath_prepend(str(tmp_path))  # which puts the path back as it was
    (tmp_path / f"{name}.py").write_text("import numpy as np\ndef f(x):\n    return np.sin(x)\n")
    assert main([f"{tmp_path / name}.py::f"]) == 0
    assert "the gradient of tinygrad2's Tensors" in capsys.readouterr().out


@pytest.mark.oracle
def test_a_function_of_pytorch_and_a_module(torch, layers, capsys):
    Path(layers).write_text("""
import torch

class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x
    @staticmethod
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0]

net = torch.nn.Linear(4, 2)
""")
    assert main([f"{layers}::Square"]) == 0
    assert "the gradient of PyTorch" in capsys.readouterr().out
    assert main([f"{layers}::net", "--inputs", "3x4"]) == 0
    assert main([f"{layers}::net", "--inputs", "3x5"]) == 2
    assert "shapes cannot be multiplied (3x5 and 4x2)" in capsys.readouterr().err
    assert main([f"{layers}::nothing"]) == 2
    assert "it has Square, net" in capsys.readouterr().err


# -- the plugin

TESTS = """
import numpy as np

def test_right(gradcheck):
    assert gradcheck(np.sin, [np.ones(2)], vjp=lambda g, x: g * np.cos(x)).verdict == "right"

def test_wrong(gradcheck):
    gradcheck(np.sin, [np.ones(2)], vjp=lambda g, x: -g * np.cos(x))

def test_expected(gradcheck):
    gradcheck(np.sin, [np.ones(2)], vjp=lambda g, x: -g * np.cos(x), expect="wrong", seed=4)

def test_not_as_expected(gradcheck):
    gradcheck(np.sin, [np.ones(2)], vjp=lambda g, x: g * np.cos(x), expect="wrong", fast=True)
"""


OTHERS = """
import numpy as np
from tinygrad2.gradcheck import gradcheck as check

def test_several(gradcheck):
    gradcheck(np.sin, [np.ones(2)], vjp=lambda g, x: g * np.cos(x))
    gradcheck(np.sin, [np.ones(2)], vjp=lambda g, x: -g * np.cos(x))  # the second

def test_asserted():
    assert check(np.sin, [np.ones(2)], vjp=lambda g, x: -g * np.cos(x))

def test_misspelt(gradcheck):
    gradcheck(np.sin, [np.ones(2)], vjp=lambda g, x: g * np.cos(x), expect="rihgt")

def test_without_seed(gradcheck):
    gradcheck(np.sin, [np.ones(2)], vjp=lambda g, x: g * np.cos(x), seed=None)
"""


def pytest_run(folder, *flags):
    """What pytest prints, where the plugin is loaded as it is by its entry point."""
    command = [sys.executable, "-m", "pytest", "-p", "pytest_tinygrad2", "-p", "no:cacheprovider", "-q", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120).stdout


def test_the_fixture_prints_the_table_when_it_fails(tmp_path):
    (tmp_path / "test_mine.py").write_text(TESTS)
    said = pytest_run(tmp_path, "--gradcheck-seed", "7")
    assert "2 failed, 2 passed" in said
    assert "gradcheck: wrong, with --gradcheck-seed 7" in said
    assert "<- wrong at [0, 0]: the sign is wrong" in said
    assert "gradcheck: right (expected: wrong), with --gradcheck-seed 7" in said


def test_what_failed_is_shown_with_its_line(tmp_path):
    (tmp_path / "test_mine.py").write_text(OTHERS)
    said = pytest_run(tmp_path)
    assert "4 failed" in said
    assert "test_mine.py:7: Failed" in said
    assert "vjp=lambda g, x: -g * np.cos(x))  # the second" in said
    assert "assert <- wrong at [0, 0] of x: the sign is wrong; -5.403023e-01 and not 5.403023e-01" in said
    assert "expect='rihgt' is no verdict; there are right, undecidable, inaccurate, wrong" in said
    assert "the seed is None; give an integer from 0 on" in said
    assert "pytest_tinygrad2.py" not in said


def test_it_costs_nothing_where_it_is_not_used(tmp_path):
    (tmp_path / "test_mine.py").write_text(
        "import sys\ndef test_it():\n    assert not {'numpy', 'tinygrad2'} & set(sys.modules)\n"
    )
    assert "1 passed" in pytest_run(tmp_path)
