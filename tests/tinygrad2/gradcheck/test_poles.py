"""Beside a pole, a spike or a step that is narrower than any step of the differences, a right gradient is not called wrong."""

import numpy as np
import pytest

from tinygrad2.gradcheck import gradcheck

NEAR = np.random.default_rng(0).standard_normal((3, 4))
NEAR[1, 2] = 1e-6


def inverse(x):
    return 1 / x, lambda g: -g / x**2


def log_of_square(x):
    return np.log(x * x), lambda g: 2 * g / x


def guarded(x):
    return x / (abs(x) + 1e-8), lambda g: g * 1e-8 / (abs(x) + 1e-8) ** 2


def cubed(x):
    return x**3, lambda g: 3 * g * x * x


def step(x):
    return np.tanh(x * 1e9), lambda g: g * 1e9 / np.cosh(x * 1e9) ** 2


def spike(x):
    return 1 / (1 + (x * 1e7) ** 2), lambda g: -g * 2e14 * x / (1 + (x * 1e7) ** 2) ** 2


CASES = [
    *[(inverse, 10.0**k) for k in range(-14, -5)],
    *[(guarded, x) for x in (0.0, 1e-12, 1e-10, 1e-8, 1e-6)],
    *[(cubed, x) for x in (1e-13, 1e-12, 1e-10)],
    *[(f, x) for f in (step, spike) for x in (0.0, 1e-9, 1e-7)],
    (log_of_square, 1e-6),
    (inverse, NEAR),
]


def checked(f, x, factor=1.0, **how):
    with np.errstate(all="ignore"):
        return gradcheck(lambda x: f(x)[0], [np.array(x)], vjp=lambda g, x: factor * f(x)[1](g), **how).verdict


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(("f", "x"), CASES, ids=lambda value: getattr(value, "__name__", None))
def test_what_is_right_is_not_called_wrong(f, x, fast):
    assert checked(f, x, fast=fast) in ("right", "undecidable")


@pytest.mark.parametrize(
    ("f", "x"), [(inverse, 1e-2), (guarded, 1e-2), (cubed, 1e-8), (log_of_square, 1e-2), (inverse, NEAR + 2)]
)
def test_where_differences_can_tell_they_do(f, x):
    assert checked(f, x) == "right"
    assert checked(f, x, 1.01) == "wrong"
    assert checked(f, x, 100.0) == "wrong"


@pytest.mark.oracle
@pytest.mark.parametrize("fast", [False, True])
def test_norms_of_pytorch_at_almost_nothing(torch, fast):
    for f, x in (
        (lambda x: torch.nn.functional.rms_norm(x, (4,)), torch.zeros(2, 4, dtype=torch.float64)),
        (torch.nn.functional.normalize, torch.full((2, 4), 1e-9, dtype=torch.float64)),
    ):
        assert gradcheck(f, [x], fast=fast).verdict == "undecidable"
