"""The checker is checked: right rules pass, and rules that are wrong in any usual way fail."""

import numpy as np
import pytest

from tinygrad2 import Tensor, grad, gradcheck, ops
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


def one_entry(g, x):
    result = 3 * g * x * x
    result[1, 0] *= 1.01
    return result


WRONG = {
    "the sign is wrong": lambda g, x: -3 * g * x * x,
    "off by a factor of 1.001": lambda g, x: 3.003 * g * x * x,
    "off by a factor of 1.00001": lambda g, x: 3.00003 * g * x * x,
    "off by a factor of 0.5: as if the 2 of a square": lambda g, x: 1.5 * g * x * x,
    "a cotangent of zero gives a gradient that is not zero": lambda g, x: 3 * x * x + 0 * g,
    "transposed": lambda g, x: (3 * g * x * x).T,
    "always zero: no gradient arrives here": lambda g, x: 0 * g,
    "not finite": lambda g, x: np.nan * g,
    "some contributions are missing": lambda g, x: 3 * g * x * x * (x > 0),
    "1 of 16 derivatives differ": one_entry,
}


@pytest.mark.parametrize(("note", "rule"), WRONG.items(), ids=WRONG)
@pytest.mark.parametrize("fast", [False, True])
def test_a_wrong_rule_is_caught_and_recognised(monkeypatch, note, rule, fast):
    gradcheck(Cube.call, [X], fast=fast).assert_right()
    monkeypatch.setattr(Cube, "wrong", staticmethod(rule))
    result = gradcheck(Cube.call, [X], fast=fast)
    assert result.verdict == "wrong"
    with pytest.raises(AssertionError, match=note):
        result.assert_right()


def test_the_table_names_the_input_the_index_and_both_numbers(monkeypatch):
    monkeypatch.setattr(Cube, "wrong", staticmethod(lambda g, x: 4 * g * x * x))
    result = gradcheck(lambda a, b: Cube.call(a) + b, [X, X], names=["a", "b"])
    assert result.worst.name == "a"
    assert result.worst.analytic / result.worst.numeric == pytest.approx(4 / 3)
    assert result.worst.index[:2] == result.worst.index[2:]
    table = str(result).splitlines()
    assert "<- wrong at" in table[1]
    assert "<-" not in table[2]


def test_only_right_counts_as_true(monkeypatch):
    assert gradcheck(Cube.call, [X])
    with pytest.raises(AssertionError, match="<- undecidable at"):
        assert gradcheck(np.sign, [np.zeros(1)])
    monkeypatch.setattr(Cube, "wrong", staticmethod(one_entry))
    with pytest.raises(AssertionError, match="<- wrong at"):
        assert gradcheck(Cube.call, [X])


def test_a_broken_contract_is_the_reason_that_is_shown():
    x = np.arange(1.0, 7.0)
    bent = gradcheck(lambda x: x * x, [x], vjp=lambda g, x: 2 * x * np.where(g > 0.5, g, g * 1.0001))
    assert bent.verdict == "wrong"
    assert bent.worst.verdict == "right"
    assert repr(bent).startswith("<- wrong: the gradient is not linear in the cotangent")
    broken = gradcheck(lambda x: x * x, [x], vjp=lambda g, x: (g, g))
    assert broken.worst is None
    assert str(broken) == repr(broken).strip() == "wrong: the rule gave 2 for the cotangents of 1 inputs: x"
    assert broken.as_dict()["worst"] is None


# -- kinks, jumps, noise


def at_kink(slope):
    class Hinge(Op):
        @staticmethod
        def forward(x):
            return np.maximum(x, 0)

        @staticmethod
        def vjp(g, out, x):
            return (g * np.where(x > 0, 1, np.where(x == 0, slope, 0)),)

    return gradcheck(Hinge.call, [np.array([0.0, 1.0, -1.0])]).verdict


@pytest.mark.parametrize(("slope", "verdict"), [(0, "right"), (0.5, "right"), (1, "right"), (1.1, "wrong"), (-0.1, "wrong")])
def test_at_a_kink_any_subgradient_is_right(slope, verdict):
    assert at_kink(slope) == verdict


@pytest.mark.parametrize("f", [np.abs, ops.relu, lambda x: np.maximum(x, -x), lambda x: np.max(x), lambda x: np.clip(x, 0, 1)])
def test_kinks_of_our_own_ops(f):
    gradcheck(f, [np.array([0.0, 0.0])]).assert_right()
    gradcheck(f, [np.array([1e-5, 0.3])]).assert_right()


def test_a_kink_does_not_hide_a_wrong_slope_elsewhere(monkeypatch):
    monkeypatch.setattr(ops.functions.Relu, "rules", (lambda g, out, x: np.where(x > 0, 1.001 * g, 0),))
    assert gradcheck(ops.relu, [np.array([0.0, 2.0])]).verdict == "wrong"


def test_a_jump_is_undecidable():
    class Step(Op):
        @staticmethod
        def forward(x):
            return np.where(x >= 0, 1.0, 0.0)

        @staticmethod
        def vjp(g, out, x):
            return (0 * g,)

    assert gradcheck(Step.call, [np.array([0.0])]).verdict == "undecidable"
    assert gradcheck(Step.call, [np.array([0.5])]).verdict == "right"


def test_the_edge_of_the_domain_is_undecidable():
    class Root(Op):
        @staticmethod
        def forward(x):
            return np.sqrt(x)

        @staticmethod
        def vjp(g, out, x):
            return (g * 0.5,)

    assert gradcheck(Root.call, [np.array([0.0])]).verdict == "undecidable"


def test_a_function_that_is_not_deterministic_is_undecidable():
    rng = np.random.default_rng(0)
    result = gradcheck(lambda x: x * rng.random(), [X])
    assert result.verdict == "undecidable"
    assert "not deterministic" in str(result)


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e9])
def test_a_noisy_function_is_not_called_wrong(offset):
    assert gradcheck(lambda x: (x * x + offset) - offset, [X]).verdict in ("right", "undecidable")


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda x: np.sin(x * 300), X),
        (np.log, [1e-3, 2.0]),
        (lambda x: 1 / x, [1e-4, -1e-3]),
        (lambda x: np.exp(x), [20.0, -20.0]),
        (lambda x: x**3, [1e5, 1e-5]),
        (lambda x: np.sqrt(x), [1e-4, 1e6]),
        (lambda x: 1e-12 * np.sin(x), X),
        (lambda x: 1e12 * np.sin(x), X),
    ],
)
def test_every_scale(f, x):
    gradcheck(f, [np.array(x)]).assert_right()


# -- the complex step


def squire_and_trapp(x):
    """Their own example."""
    return np.exp(x) / (np.sin(x) ** 3 + np.cos(x) ** 3)


SMOOTH = {
    "squire and trapp": (squire_and_trapp, [np.array([1.5, 0.3, -0.2])]),
    "matmul": (lambda a, b: np.tanh(a @ b) @ b, [X, X + 1]),
    "softmax": (lambda x: np.sum(ops.softmax(x) * X), [X]),
    "layer_norm": (lambda x: ops.layer_norm(x, np.arange(6.0), np.ones(6)), [np.sin(np.arange(24.0)).reshape(4, 6)]),
    "attention": (lambda x: ops.causal_attention(x, 2), [np.sin(np.arange(24.0)).reshape(4, 6)]),
}


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(("f", "inputs"), SMOOTH.values(), ids=SMOOTH)
def test_the_complex_step_is_exact_to_rounding(f, inputs, fast):
    differences, complex_step = (gradcheck(f, inputs, fast=fast, complex_step=c) for c in (False, True))
    differences.assert_right()
    complex_step.assert_right()
    for row in complex_step.rows:
        decided, of = row.note.removeprefix("the complex step decides ").split(" of ")
        assert decided == of
        assert row.note in str(complex_step)
        assert abs(row.analytic - row.numeric) <= 1e-14 * max(1, abs(row.numeric))
    assert differences.worst.error > 10 * complex_step.worst.error


def test_it_knows_the_derivative_of_squire_and_trapp():
    x = 1.5
    s, c = np.sin(x), np.cos(x)
    expected = np.exp(x) * (s**3 + c**3 - 3 * s * s * c + 3 * c * c * s) / (s**3 + c**3) ** 2
    row = gradcheck(squire_and_trapp, [np.array(x)], complex_step=True).worst
    assert abs(row.numeric - expected) <= 1e-14 * abs(expected)


@pytest.mark.parametrize("fast", [False, True])
def test_it_finds_what_differences_cannot_see(fast):
    class Wave(Op):
        @staticmethod
        def forward(x):
            return np.exp(np.sin(20 * x))

        @staticmethod
        def vjp(g, out, x):
            return ((1 + 1e-10) * 20 * g * out * np.cos(20 * x),)

    gradcheck(Wave.call, [X], fast=fast).assert_right()
    assert gradcheck(Wave.call, [X], fast=fast, complex_step=True).verdict == "wrong"


@pytest.mark.parametrize(("note", "rule"), WRONG.items(), ids=WRONG)
@pytest.mark.parametrize("fast", [False, True])
def test_a_wrong_rule_is_caught_by_it_too(monkeypatch, note, rule, fast):
    monkeypatch.setattr(Cube, "wrong", staticmethod(rule))
    with pytest.raises(AssertionError, match=note):
        gradcheck(Cube.call, [X], fast=fast, complex_step=True).assert_right()


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (np.abs, -1.5),
        (ops.relu, 0.0),
        (lambda x: np.maximum(x, 0.5), 0.5),
        (lambda x: np.clip(x, 0, 1), 1.0),
        (ops.softplus, 0.3),  # no complex logaddexp
        (ops.erf, 0.3),
        (lambda x: x.astype(np.float64) * 2, 0.3),  # throws the imaginary part away
        (lambda x: grad(np.sin)(x), 0.3),  # nothing is recorded of complex numbers
    ],
)
def test_where_f_is_not_analytic_the_differences_decide(f, x):
    plain, sharp = (gradcheck(f, [np.array(x)], complex_step=c) for c in (False, True))
    assert sharp.worst.note == "the complex step decides 0 of 1"
    assert (sharp.verdict, sharp.worst.numeric, sharp.worst.error) == (plain.verdict, plain.worst.numeric, plain.worst.error)
    sharp.assert_right()


def test_a_function_that_lies_about_complex_numbers_makes_no_wrong_rule_right():
    class Liar(Op):
        @staticmethod
        def forward(x):
            return x * x if x.dtype.kind == "f" else x.real**2 + 3j * x.real * x.imag

        @staticmethod
        def vjp(g, out, x):
            return (3 * g * x,)  # what the complex numbers say

    for fast in (False, True):
        assert gradcheck(Liar.call, [X], fast=fast, complex_step=True).verdict == "wrong"


@pytest.mark.parametrize("f", [np.exp, ops.softplus])
def test_the_complex_step_leaves_no_trace(f):
    x = Tensor(X.copy(), requires_grad=True)
    held, loss = x.data, np.sum(x * x)
    gradcheck(f, [x], complex_step=True).assert_right()
    assert x.data is held
    np.testing.assert_array_equal(held, X)
    loss.backward()  # a graph from before is still good
    np.testing.assert_array_equal(x.grad.data, 2 * X)


# -- order, dtype, modes


def test_second_order_finds_a_rule_that_is_right_only_once():
    class Square(Op):
        @staticmethod
        def forward(x):
            return x * x

        @staticmethod
        def vjp(g, out, x):
            frozen = x.data if isinstance(x, Tensor) else x  # forgets that the slope depends on x
            return (g * 2 * frozen,)

    gradcheck(Square.call, [X]).assert_right()
    result = gradcheck(Square.call, [X], order=2)
    assert result.verdict == "wrong"
    gradcheck(np.exp, [X], order=3).assert_right()


@pytest.mark.parametrize(("f", "n"), [(np.sign, 1), (lambda x: Tensor(3.0), 1), (lambda x, y: x * 2.0, 2)])
def test_second_order_of_a_function_without_a_gradient(f, n):
    gradcheck(f, [X] * n, order=2).assert_right()


def test_a_gradient_that_is_lost_with_create_graph_is_a_difference():
    class Lost(Op):
        @staticmethod
        def forward(x):
            return x * x

        @staticmethod
        def vjp(g, out, x):
            return (g * 2 * x,) if isinstance(x, np.ndarray) else (None,)

    result = gradcheck(Lost.call, [X], order=2)
    assert result.verdict == "wrong"
    assert "differs from the one without" in result.note


def test_second_order_says_what_no_sharper_instrument_takes():
    assert "the complex step decides 0 of 4" in gradcheck(np.exp, [X], order=2, complex_step=True).rows[1].note
    first, second = gradcheck(np.exp, [X], order=2, ulps=4).rows
    assert "can tell of" in first.note
    assert second.note == "nothing sharper than differences takes this function"


def test_float32_is_checked_with_its_own_budget():
    class Leaves(Op):
        @staticmethod
        def forward(x):
            return np.float64(1) * np.asarray(x, np.float64) if x.dtype == np.float64 else x

        @staticmethod
        def vjp(g, out, x):
            return (g if x.dtype == np.float64 else g * np.float32(1.01),)

    result = gradcheck(Leaves.call, [X], names=["w"])
    assert result.verdict == "wrong"
    assert "float32: the gradient of w is off by" in str(result)


def test_what_was_compared_is_counted():
    inputs, f = [np.ones((2, 3)), np.ones(3)], lambda x, y: np.sum(np.sin(x) * y)
    for fast, what in ((False, "9 entries"), (True, "2 random directions through 9 entries")):
        assert f"\nright: {what}, worst" in str(gradcheck(f, inputs, fast=fast))
    assert "\nright: 4 random directions through 18 entries, worst" in str(gradcheck(f, inputs, fast=True, order=2))


def test_fast_takes_a_fixed_number_of_evaluations():
    counts = []
    for size in (3, 300):
        calls = []
        gradcheck(lambda x, calls=calls: calls.append(1) or np.sum(np.sin(x) * x), [np.ones(size)], fast=True).assert_right()
        counts.append(len(calls))
    assert counts[0] == counts[1] < 50


def test_inputs_are_left_as_they_were():
    x = Tensor(X.copy(), requires_grad=True)
    for fast in (False, True):
        gradcheck(np.exp, [x], fast=fast)
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


def test_containers_of_inputs_and_of_outputs(monkeypatch):
    def f(p, y):
        return {"a": np.sin(p["w"]) * y, "b": (np.sum(p["w"] * p["v"][0]), Cube.call(y))}

    inputs = [{"w": X, "v": [X + 1, None]}, np.array([0.3, -2.0])]
    for fast in (False, True):
        result = gradcheck(f, inputs, fast=fast, order=2)
        result.assert_right()
        assert [row.shape for row in result.rows[:3]] == [(2, 2), (2, 2), (2,)]
    monkeypatch.setattr(Cube, "wrong", staticmethod(lambda g, x: 3.003 * g * x * x))
    for fast in (False, True):
        result = gradcheck(f, inputs, fast=fast)
        assert [row.verdict for row in result.rows] == ["right", "right", "wrong"]
    with pytest.raises(TinygradError, match="the function gave a list; it must give a Tensor, or several"):
        gradcheck(lambda x: [x, 1.0], [X])
    with pytest.raises(TinygradError, match="the function gave a NoneType; it must give a Tensor, or several"):
        gradcheck(lambda x: None, [X])


def test_a_leaf_that_cannot_be_written_to_is_checked_on_a_copy():
    x = Tensor(np.broadcast_to(0.7, (2, 2)), requires_grad=True)
    gradcheck(np.sin, [x]).assert_right()
    np.testing.assert_array_equal(x.data, 0.7)
