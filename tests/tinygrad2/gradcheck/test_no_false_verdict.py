"""Where differences see little, or something else than the slope: no right gradient is called wrong, nor a wrong one right."""

import itertools

import numpy as np
import pytest

from tinygrad2.gradcheck import gradcheck

V = np.array([0.5, -1.2, 2.0])


def relu(x):
    return np.maximum(x, 0)


def slope_of_relu(x):
    return 1.0 * (x > 0)


def norm(x):
    return np.sqrt(np.sum(x * x)) * np.ones(1)


def bump(s, tilt=0.0):
    """A function that is `s` wide, and its derivative."""
    return (
        lambda x: tilt * x + (s if tilt else 1) * np.exp(-((x / s) ** 2)),
        lambda x: tilt - 2 * x / s**2 * (s if tilt else 1) * np.exp(-((x / s) ** 2)),
    )


def rough(x):
    """Weierstrass's function, as far as its terms are smooth: it swings faster than any step is small."""
    return sum(0.5**k * np.cos(7**k * x) for k in range(15))


def slope_of_rough(x):
    return sum(-(0.5**k) * 7**k * np.sin(7**k * x) for k in range(15))


def lifted(by):
    return lambda x: np.sin(x) + by


def checked(f, slope, x, factor=1.0, **how):
    return gradcheck(f, [np.array(x)], vjp=lambda g, x: factor * g * slope(x), **how).verdict


RIGHT_ONES = {
    **{f"a bump {s} wide": (*bump(s), [s / 2]) for s in (3e-5, 1e-5, 1e-6, 1e-8)},
    **{f"a slope with a bump {s} wide": (*bump(s, 1.0), [s / 2]) for s in (1e-4, 3e-5, 1e-6, 1e-8, 1e-10)},
    "a kink nearby": (relu, slope_of_relu, [1e-9, -1e-9]),
    "saturated": (lambda x: np.tanh(x / 1e-8), lambda x: 1e8 / np.cosh(x / 1e-8) ** 2, [1e-11]),
    "clipped nearby": (lambda x: np.minimum(x, 0.7), lambda x: 1.0 * (x < 0.7), [0.7 - 1e-9]),
    "rough": (rough, slope_of_rough, [0.3]),
    "infinite": (np.cbrt, lambda x: x + np.inf, [0.0]),
    **{f"tiny, {t}": (np.square, lambda x: 2 * x, V * t) for t in (1e-10, 1e-20, 1e-25, 1e-170)},
    **{f"lifted by {by:g}": (lifted(by), np.cos, V) for by in (1e6, 1e9, 1e12, 1e13, 1e15)},
    "a kink": (np.abs, np.sign, [0.0, 1.0]),
    "a kink of which little is seen": (lambda x: 1 + 1e-9 * relu(x), lambda x: 1e-9 * slope_of_relu(x), [0.0, 2e-4, -5e-5]),
    "a small slope": (np.tanh, lambda x: 1 / np.cosh(x) ** 2, [8.0, 11.0, 14.0, 25.0]),
}
CERTAIN = ["a slope with a bump 0.0001 wide", "tiny, 1e-10", "lifted by 1e+06", "lifted by 1e+09", "a kink"]


@pytest.mark.parametrize("how", [{}, {"fast": True}, {"complex_step": True}, {"ulps": 1e6}], ids=str)
@pytest.mark.parametrize("name", RIGHT_ONES)
def test_what_is_right_is_not_called_wrong(name, how):
    assert checked(*RIGHT_ONES[name], **how) in ("right", "undecidable")


@pytest.mark.parametrize("name", CERTAIN)
def test_where_it_can_be_told_it_is(name):
    assert checked(*RIGHT_ONES[name]) == "right"
    assert checked(*RIGHT_ONES[name], 1.5) == "wrong"


WRONG_ONES = {
    **{f"a bump {s} wide is overlooked": (bump(s, 1.0)[0], np.ones_like, [s / 2]) for s in (1e-4, 3e-5, 1e-6, 1e-8)},
    "zero beside a kink": (relu, np.zeros_like, [1e-9]),
    **{
        f"the norm of {x}, {factor} times": (norm, lambda x, factor=factor: factor * x / norm(x), [x, x / 2])
        for x, factor in itertools.product((1e-5, 1e-6, 1e-7), (0, 0.5, -1))
    },
    "between the slopes of a kink": (np.abs, lambda x: np.where(x == 0, 0, 1.3), [0.0, 1.0]),
    "a mask turned round beside a kink": (relu, lambda x: 1.0 * (x < 0), [1e-9, -1e-9]),
    **{f"tiny, {t}": (np.square, lambda x: -7 * x, V * t) for t in (1e-10, 1e-20, 1e-25, 1e-170)},
    **{
        f"{factor} times, lifted by {by:g}": (lifted(by), lambda x, factor=factor: factor * np.cos(x), V)
        for by, factor in itertools.product((1e9, 1e11, 1e12), (0, 3, 1000))
    },
    "a thousand times, lifted by 1e15": (lifted(1e15), lambda x: 1000 * np.cos(x), V),
}


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", WRONG_ONES)
def test_what_is_wrong_is_not_called_right(name, fast):
    assert checked(*WRONG_ONES[name], fast=fast) in ("wrong", "undecidable")


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(("large", "factor"), [(1e11, 1.5), (1e12, 9.0), (1e12, 1.0)])
def test_a_large_output_does_not_hide_another(large, factor, fast):
    def rule(g, x):
        return np.array([large * g[0], factor * g[1] * np.cos(x[1]), 0])

    result = gradcheck(lambda x: (large * x[0], np.sin(x[1])), [V], vjp=rule, fast=fast)
    assert result.verdict == ("right" if factor == 1 else "wrong")


def test_a_small_output_is_judged_by_itself():
    for factor, verdict in ((1, "right"), (5, "wrong")):
        result = gradcheck(
            lambda x, z: (x * 1e-13, z * 1.0),
            [V, np.array([2.0])],
            vjp=lambda g, x, z, factor=factor: (g[0] * factor * 1e-13, g[1]),
        )
        assert result.verdict == verdict


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (np.exp, [100.0]),
        (lambda a: a * 1e40, [1.0, 2.0]),
        (lambda a: np.sin(1e5 * a), [0.3, 0.7]),
        (lambda a: a * a * a, [1e15, 1.0]),
    ],
)
def test_what_float32_cannot_hold_or_resolve_is_not_called_wrong(f, x):
    assert gradcheck(f, [np.array(x)]).verdict == "right"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (lambda x: x * x * 1e50, lambda x: 2e50 * x),
        (lambda x: np.sin(x) * 1e-200, lambda x: 1e-200 * np.cos(x)),
        (lambda x: np.sin(x) * 1e300, lambda x: 1e300 * np.cos(x)),
    ],
)
def test_very_large_and_very_small_numbers_are_judged_without_a_warning(f, slope, fast):
    assert checked(f, slope, V, fast=fast) == "right"
    for factor in (1.01, 3.0):
        assert checked(f, slope, V, factor, fast=fast) == "wrong"


def test_a_kink_is_not_called_inaccurate():
    for slope in (0.1, 0.55, 1.0):
        assert checked(lambda x: np.where(x > 0, x, 0.1 * x), lambda x, slope=slope: slope + 0 * x, [0.0], ulps=8) == "right"
    assert checked(np.floor, np.zeros_like, [1.0], ulps=8) == "undecidable"


def test_more_digits_tell_where_differences_cannot():
    pytest.importorskip("mpmath")
    assert checked(np.cos, lambda x: -np.sqrt(1 - np.cos(x) ** 2), [1e-9], ulps=4) in ("inaccurate", "wrong")
    assert checked(np.cos, lambda x: -np.sin(x), [1e-9], ulps=4) == "right"
    assert checked(*bump(1e-8), [5e-9], ulps=100) == "right"
    assert checked(*bump(1e-8), [5e-9], 1.5, ulps=100) in ("inaccurate", "wrong")


@pytest.mark.parametrize("x", [0.0413259793472436, 1e-2, 1e-4])
def test_the_complex_step_is_not_held_for_more_exact_than_it_is(x):
    assert gradcheck(np.sinc, [np.array([x])], ulps=8).verdict == "right"


def test_integers_are_watched_and_everything_is_left_as_it_was():
    i, x = np.array([3, 1, 2]), V.copy()

    def sorts(x, i):
        i.sort()
        return x * 2

    result = gradcheck(sorts, [x, i], vjp=lambda g, x, i: g * 2)
    assert result.verdict == "wrong"
    assert "the function writes into its input i" in result.diagnosis
    assert i.tolist() == [3, 1, 2]

    def raises(g, x):
        x *= 2
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        gradcheck(lambda x: x * 2, [x], vjp=raises)
    np.testing.assert_array_equal(x, V)
