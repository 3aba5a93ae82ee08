"""The fourth verdict: what agrees with differences, and is off all the same; and who is not to be accused of it."""

import numpy as np
import pytest
from hand_written import RULES
from op_samples import SAMPLES, sample

from tinygrad2.gradcheck import gradcheck
from tinygrad2.ops import primitive

mpmath = pytest.importorskip("mpmath", reason="pip install -e '.[oracle]'")

TAILS = {
    "tanh": (np.tanh, lambda g, x: g * (1 - np.tanh(x) ** 2), [20.0], lambda x: mpmath.sech(x) ** 2),
    "sigmoid": (
        lambda x: 1 / (1 + np.exp(-x)),
        lambda g, x: g * (s := 1 / (1 + np.exp(-x))) * (1 - s),
        [40.0],
        lambda x: mpmath.exp(-x) / (1 + mpmath.exp(-x)) ** 2,
    ),
    "expm1": (np.expm1, lambda g, x: g * (np.expm1(x) + 1), [-40.0], mpmath.exp),
    "arctan": (np.arctan, lambda g, x: g * np.cos(np.arctan(x)) ** 2, [1e6], lambda x: 1 / (1 + x * x)),
    "root": (lambda x: np.sqrt(1 + x * x), lambda g, x: g * np.sqrt(1 - 1 / (1 + x * x)), [1e-5], None),
}


@pytest.mark.parametrize("name", TAILS)
def test_a_derivative_without_digits_in_the_tails_is_inaccurate(name):
    f, rule, x, true = TAILS[name]
    inputs = [np.array([0.3, *x])]
    assert gradcheck(f, inputs, vjp=rule).verdict == "right"
    result = gradcheck(f, inputs, vjp=rule, ulps=4)
    assert result.verdict == "inaccurate"
    assert not result
    assert result.worst.index == (1, 1)
    assert f"where x is {x[0]!r}" in result.diagnosis
    assert "units in the last place" in str(result)
    assert result.exit_code == 4
    if true is not None:
        with mpmath.workdps(30):
            assert result.worst.numeric == float(true(mpmath.mpf(x[0])))


@pytest.mark.parametrize("f", [np.exp, np.sqrt, np.log1p, np.sin, lambda x: x**3, lambda x: x / (1 + x)])
def test_accurate_ones_of_tensors_are_right(f):
    gradcheck(f, [np.array([1e-3, 0.3, 20.0])], ulps=4).assert_right()


def test_tensors_are_seen_through_the_complex_step():
    careless = primitive(np.tanh, lambda g, out, x: g * (1 - out * out), name="careless")
    inputs = [np.array([0.3, 20.0])]
    assert gradcheck(careless.call, inputs).verdict == "right"
    result = gradcheck(careless.call, inputs, ulps=4)
    assert result.verdict == "inaccurate"
    assert "the complex step can tell" in result.diagnosis


@pytest.mark.parametrize(
    ("f", "rule"),
    [
        (np.abs, lambda g, x: g * np.sign(x)),
        (lambda x: np.maximum(x, 0.1), lambda g, x: g * (x > 0.1)),
        (np.conj, lambda g, x: g),
        (lambda x: np.where(x > 0, x, 3 * x), lambda g, x: g * np.where(x > 0, 1, 3)),
        (lambda x: np.real(x) * 2, lambda g, x: 2 * g),
        (lambda x: np.floor(x + 0.1), lambda g, x: 0 * g),
        (lambda x: np.sum(np.sort(x) * np.arange(3.0)), lambda g, x: g * np.argsort(np.argsort(x)).astype(float)),
        (lambda x: x.astype(np.float64) * 2, lambda g, x: 2 * g),
        (lambda x: np.linalg.norm(x), lambda g, x: g * x / np.linalg.norm(x)),
    ],
)
def test_where_no_instrument_can_tell_nobody_is_accused(f, rule):
    """100 digits can tell of most of these; the complex step of none."""
    gradcheck(f, [np.array([-1.5, 0.3, 2.0])], vjp=rule, ulps=4).assert_right()
    gradcheck(f, [np.array([-1.5, 0.3, 2.0])], vjp=rule, ulps=4, complex_step=True).assert_right()


@pytest.mark.parametrize("name", RULES)
def test_rounding_as_usual_is_no_inaccuracy(name):
    f, rule, inputs = RULES[name]
    ulps = 1e5 if name == "recurrent" else 64  # it multiplies by 1 - h * h, with h near 1
    gradcheck(f, [x.copy() for x in inputs], vjp=rule, ulps=ulps).assert_right()


@pytest.mark.parametrize(("op", "number"), SAMPLES[::9], ids=lambda value: getattr(value, "name", value))
def test_samples_of_the_ops_are_not_accused(op, number):
    f, inputs = sample(op, number)
    if any(x.size for x in inputs) and np.size(f(*inputs)):
        assert gradcheck(f, inputs, ulps=1e4).verdict in ("right", "undecidable")


def test_what_the_last_place_of_an_input_does_is_not_held_against_a_derivative():
    x = [np.array([100.3, 211.7])]  # one unit in their last place is thousands in that of the result
    gradcheck(lambda x: np.sin(x * x), x, vjp=lambda g, x: 2 * g * x * np.cos(x * x), ulps=4).assert_right()


def test_numbers_of_many_digits():
    from tinygrad2.gradcheck.digits import exactly, to_float, working

    x = exactly(np.array([[0.1, 2.0], [3.0, -0.5]]))
    y = np.array([0.5, 2.0])
    with working(40):
        for value, expected in (
            (x @ x + y, np.array([[0.1, 2.0], [3.0, -0.5]]) @ np.array([[0.1, 2.0], [3.0, -0.5]]) + y),
            (np.exp(x) / np.sum(np.exp(x)), None),
            (y - x * 2, y - np.array([[0.1, 2.0], [3.0, -0.5]]) * 2),
            (np.maximum(x, 0) ** 2, np.maximum(np.array([[0.1, 2.0], [3.0, -0.5]]), 0) ** 2),
            (np.abs(x).max(), 3.0),
            (np.where(x > 0, x, y), np.array([[0.1, 2.0], [3.0, 2.0]])),
            (np.float64(2) * x.sum() - 1, np.float64(8.2)),
            (np.arctan(x) + np.log1p(np.abs(x)) + np.cbrt(np.abs(x)), None),
        ):
            found = to_float(np.asarray(value))
            if expected is not None:
                np.testing.assert_allclose(found, np.ravel(expected), rtol=1e-15)
        with pytest.raises(TypeError):
            x[0, 0] * 1j
        assert str(float((x[0, 0] * 3).x)) == "0.30000000000000004"  # 0.1 is what float64 has
    assert bool(np.isnan(to_float(np.sqrt(exactly(np.array([-1.0]))))))


def test_it_is_said_what_could_tell():
    x = [np.array([-1.5, 0.3, 2.0])]
    within = "within 4 units in the last place, beside what those of the inputs do"
    note = gradcheck(np.sin, x, vjp=lambda g, x: g * np.cos(x), ulps=4).worst.note
    assert note == f"100 digits can tell of 9 of 9: {within}"
    assert gradcheck(np.sin, x, ulps=4).worst.note == f"the complex step can tell of 9 of 9: {within}"
    result = gradcheck(lambda x: np.asarray(x, float) * 2, x, vjp=lambda g, x: 2 * g, ulps=4)
    assert result.worst.note in (
        "nothing sharper than differences takes this function",
        f"100 digits can tell of 6 of 9: {within}",  # which are turned into float64, and show no slope
    )
    single = gradcheck(lambda x: np.sin(x.astype(np.float32)), x, vjp=lambda g, x: g * np.cos(x), ulps=4)
    assert single.worst.note == ""
    assert "in float32" in single.note
