"""The checker is checked: right rules pass, and rules that are wrong in any usual way fail."""

import numpy as np
import pytest

from tinygrad2 import Tensor, gradcheck
from tinygrad2.errors import DtypeError, TinygradError
from tinygrad2.ops import Op


class Cube(Op):
    """x ** 3 with a rule that the tests replace."""

    wrong = staticmethod(lambda g, x: 3 * g * x * x)

    @staticmethod
    def forward(x):
        return x * x * x

    @staticmethod
    def vjp(g, out, x):
        return (Cube.wrong(g, x),)


X = np.array([[0.3, -1.2], [0.8, 2.0]])


def one_wrong_entry(g, x):
    result = 3 * g * x * x
    result[1, 0] += 1e-4
    return result


@pytest.mark.parametrize(
    "rule",
    [
        lambda g, x: -3 * g * x * x,
        lambda g, x: 3.003 * g * x * x,
        lambda g, x: 3 * 1.00001 * g * x * x,
        lambda g, x: 3 * x * x + 0 * g,
        lambda g, x: (3 * g * x * x).T,
        lambda g, x: 0 * g,
        lambda g, x: np.nan * g,
        one_wrong_entry,
    ],
    ids=["sign", "0.1%", "0.001%", "ignores g", "transposed", "zero", "nan", "one entry"],
)
def test_a_wrong_rule_is_caught(monkeypatch, rule):
    gradcheck(Cube.call, [X]).assert_right()
    monkeypatch.setattr(Cube, "wrong", staticmethod(rule))
    result = gradcheck(Cube.call, [X])
    assert result.verdict == "wrong"
    with pytest.raises(AssertionError, match="wrong at"):
        result.assert_right()


def test_the_table_names_the_input_and_both_numbers(monkeypatch):
    monkeypatch.setattr(Cube, "wrong", staticmethod(lambda g, x: 4 * g * x * x))
    result = gradcheck(lambda a, b: Cube.call(a) + b, [X, X], names=["a", "b"])
    assert result.worst.name == "a"
    assert result.worst.analytic / result.worst.numeric == pytest.approx(4 / 3)
    assert "a " in str(result)
    assert "<- wrong at" in str(result).splitlines()[1]
    assert "<- wrong" not in str(result).splitlines()[2]


def test_a_coarse_step_is_refined():
    gradcheck(lambda x: np.sin(x * 300), [X]).assert_right()
    gradcheck(lambda x: np.log(x), [np.array([1e-3, 2.0])]).assert_right()


def test_inputs_are_left_as_they_were():
    x = Tensor(X.copy(), requires_grad=True)
    gradcheck(np.exp, [x])
    np.testing.assert_array_equal(x.data, X)
    assert x.grad is None


def test_a_function_may_read_its_inputs_elsewhere():
    w = Tensor(X.copy(), requires_grad=True)
    gradcheck(lambda *_: np.sum(np.sin(w) * w), [w]).assert_right()


def test_float32_and_frozen_inputs_are_refused():
    with pytest.raises(DtypeError, match="input 0 is float32"):
        gradcheck(np.exp, [Tensor(X, dtype=np.float32, requires_grad=True)])
    with pytest.raises(DtypeError, match="without requires_grad"):
        gradcheck(np.exp, [Tensor(X)])


@pytest.mark.parametrize("inputs", [[], [np.zeros((0, 3))]])
def test_nothing_to_check_is_not_a_pass(inputs):
    with pytest.raises(TinygradError, match="nothing to check"):
        gradcheck(lambda *x: Tensor(1.0), inputs)
