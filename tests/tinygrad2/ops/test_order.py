"""Sorting, medians, quantiles, reductions without NaN, padding, and others: NumPy's values, and gradients by differences."""

import numpy as np
import pytest
from op_samples import weigh

from tinygrad2 import Tensor, autograd, gradcheck
from tinygrad2.errors import UnsupportedError

rng = np.random.default_rng(4)
X, CUBE, ODD = rng.standard_normal((3, 4)), rng.standard_normal((2, 3, 4)), rng.standard_normal(5)
HOLES = np.where(rng.random((3, 4)) < 0.3, np.nan, X)
HOLES[1] = np.nan
METHODS = ("linear", "lower", "higher", "nearest", "midpoint", "hazen", "weibull", "inverted_cdf", "median_unbiased")
CALLS = {
    "sort": (np.sort, X),
    "sort, axis 0": (lambda x: np.sort(x, axis=0), X),
    "sort, all": (lambda x: np.sort(x, None, stable=True), X),
    "partition": (lambda x: np.partition(x, 2)[..., 2:3], X),
    "partition, all": (lambda x: np.partition(x, [1, 4], axis=None)[[1, 4]], X),
    **{
        f"median, {axis}, {k}": (lambda x, a=axis, k=k: np.median(x, a, keepdims=k), CUBE)
        for axis in (None, 1, (0, -1))
        for k in (0, 1)
    },
    "median of five": (np.median, ODD),
    **{f"quantile, {m}": (lambda x, m=m: np.quantile(x, 0.3, method=m), ODD) for m in METHODS},
    "quantile, several": (lambda x: np.quantile(x, [[0.0, 0.25], [0.6, 1.0]], axis=1), CUBE),
    "quantile, keepdims": (lambda x: np.quantile(x, [0.1, 0.9], axis=(0, 2), keepdims=True), CUBE),
    "percentile": (lambda x: np.percentile(x, 37.5, axis=-1), CUBE),
    "percentile, method": (lambda x: np.percentile(x, [20, 80], method="hazen", keepdims=True), X),
    **{
        f"pad, {mode}, {width}": (lambda x, mode=mode, width=width: np.pad(x, width, mode), X)
        for mode in ("reflect", "symmetric", "edge", "wrap")
        for width in (1, (2, 0), ((1, 2), (3, 1)), ((7, 0), (0, 9)))
    },
    **(
        {"pad, by axis": (lambda x: np.pad(x, {-1: (2, 1)}, mode="edge"), X)}
        if np.lib.NumpyVersion(np.__version__) >= "2.4.0"
        else {}
    ),
    "pad, reflected once more": (lambda x: np.pad(x, 2, mode="reflect", reflect_type="even"), X),
    "float_power": (lambda x: np.float_power(np.exp(x), 1.5), X),
    "heaviside": (lambda x: np.heaviside(np.array([-1.0, 0.0, 0.0, 2.0]), x), X),
    "nan_to_num": (lambda x: np.nan_to_num(np.where(X > 1, np.nan, x), nan=2.0), X),
    "nancumsum": (lambda x: np.nancumsum(np.where(X > 1, np.nan, x), axis=1), X),
    "nancumprod": (lambda x: np.nancumprod(np.where(X > 1, np.nan, x)), X),
}
NANS = (np.nansum, np.nanprod, np.nanmean, np.nanvar, np.nanstd, np.nanmax, np.nanmin, np.nanmedian)
for function in NANS:
    for setting in ({}, {"axis": 0}, {"axis": 1, "keepdims": True}, {"axis": (0, 2)}):
        where = np.arange(24).reshape(CUBE.shape) % 5 == 3
        CALLS[f"{function.__name__}, {setting}"] = (
            lambda x, f=function, s=setting, w=where: f(np.where(w, np.nan, x), **s),
            CUBE,
        )


@pytest.mark.parametrize(("f", "x"), CALLS.values(), ids=CALLS)
def test_value_gradient_and_the_gradient_of_it(f, x):
    np.testing.assert_allclose(f(Tensor(x)).data, f(x), rtol=1e-13, strict=True)
    gradcheck(f, [x], fast=x is CUBE).assert_right()
    t = Tensor(x, requires_grad=True)
    (plain,), (recorded,) = (autograd.grad([weigh(f(t))], [t], create_graph=twice) for twice in (False, True))
    np.testing.assert_array_equal(recorded.data, plain.data)


@pytest.mark.parametrize("f", [np.nanvar, np.nanstd, np.nanprod])
def test_second_derivatives_without_nan(f):
    x = np.where(np.arange(12).reshape(3, 4) % 5 == 0, 0, X)

    def slope(t):
        t = np.where(x == 0, np.nan, t)
        return weigh(autograd.grad([weigh(f(t, axis=1))], [t], create_graph=True)[0][:, 1:3]) + 0 * np.nansum(t)

    gradcheck(slope, [X]).assert_right()


@pytest.mark.filterwarnings("ignore:All-NaN|Mean of empty|Degrees of freedom|invalid value:RuntimeWarning")
def test_rows_of_nan_alone():
    for f in NANS:
        x = Tensor(HOLES, requires_grad=True)
        out = f(x, axis=1)
        np.testing.assert_allclose(out.data, f(HOLES, axis=1), rtol=1e-14)
        (g,) = autograd.grad([out], [x], [np.array([1.0, 2.0, 3.0])])
        assert np.isfinite(g.data[[0, 2]]).all()
        assert (g.data[np.isnan(HOLES)][[0]] == 0).all()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_integers_have_no_nan(dtype):
    x = np.array([[1, 0, 3], [0, 0, 2]], dtype)
    for f in (*NANS, np.median, np.sort, lambda a, axis: np.quantile(a.astype(float), 0.3, axis)):
        found, right = f(Tensor(x), axis=1), f(x, axis=1)
        np.testing.assert_allclose(found.data, right, rtol=1e-15, strict=True)


def test_an_axis_that_is_not_there_or_twice_is_refused():
    for f in (np.median, np.nanmedian, np.nanmean, np.nanmax, lambda x, axis: np.quantile(x, 0.5, axis), np.linalg.norm):
        for axis in (2, -3, (0, 0), (0, 5)):
            with pytest.raises(ValueError, match=r"out of bounds|repeated axis|duplicate"):
                f(Tensor(X), axis=axis)


def test_nan_is_selected():
    x = np.array([[1.0, np.nan, 3.0], [2.0, 5.0, 1.0]])
    for f in (np.median, lambda x, axis: np.quantile(x, 0.2, axis), lambda x, axis: np.sort(x, axis)[:, -1]):
        t = Tensor(x, requires_grad=True)
        (g,) = autograd.grad([f(t, axis=1)], [t], [np.array([2.0, 1.0])])
        np.testing.assert_array_equal(g.data[0], [0, 2, 0])
    for f in (np.fmax, np.fmin):
        t = Tensor(x[0], requires_grad=True)
        (g,) = autograd.grad([f(t, [2.0, 2.0, np.nan])], [t], [np.array([1.0, 2.0, 4.0])])
        assert g.data[1] == 0
        assert g.data[2] == 4


def test_infinities_in_quantiles():
    for q in (0.0, 0.5, 1.0):
        assert np.quantile(Tensor([-np.inf, 1.0, np.inf], requires_grad=True), q).item() == [-np.inf, 1.0, np.inf][int(2 * q)]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda t: np.quantile(t, Tensor(0.5)), "quantile: q is a Tensor"),
        (lambda t: np.percentile(t, Tensor(50)), "percentile: q is a Tensor"),
        (lambda t: np.quantile(t, 0.5, weights=[1.0, 2.0, 1.0], method="inverted_cdf"), "quantile: out= and weights="),
        (lambda t: np.pad(t, 1, "linear_ramp"), "pad: mode 'linear_ramp' has no rule here"),
        (lambda t: np.pad(t, 1, "reflect", reflect_type="odd"), "pad: mode 'reflect', reflect_type='odd' has no rule"),
        (lambda t: np.nan_to_num(t, copy=False), "nan_to_num: copy=False would write"),
        (lambda t: np.sort(t, order="x"), "sort: order='x'"),
    ],
)
def test_what_has_no_rule_is_refused(call, match):
    with pytest.raises(UnsupportedError, match=match):
        call(Tensor([1.0, 2.0, 3.0], requires_grad=True))


@pytest.mark.parametrize(
    ("f", "x", "found"),
    [
        (np.sinc, 0.0, [1, 0, -(np.pi**2) / 3, 0, np.pi**4 / 5]),
        (np.sinc, 1e-9, [1, -(np.pi**2) / 3 * 1e-9, -(np.pi**2) / 3, np.pi**4 / 5 * 1e-9, np.pi**4 / 5]),
        (np.sinc, 2.0, [0, 1 / 2, -1 / 2]),
        (np.cbrt, 8.0, [2, 1 / 12, -1 / 144]),
        (np.arctan, 1e200, [np.pi / 2, 0, 0]),
        (np.arcsinh, 1e200, [np.arcsinh(1e200), 1e-200, 0]),
        (np.arccosh, 1e200, [np.arccosh(1e200), 1e-200, 0]),
        (np.reciprocal, -2.0, [-0.5, -0.25, -0.25]),
        (lambda x: np.hypot(x, 0.0), 0.0, [0, 0]),
        (lambda x: np.hypot(x, 1e200), 1e200, [np.sqrt(2) * 1e200, np.sqrt(0.5)]),
        (lambda x: np.arctan2(x, 0.0), 0.0, [0, 0]),
        (lambda x: np.arctan2(x, 1e200), 1e200, [np.pi / 4, 0.5e-200]),
        (lambda x: np.arctan2(0.0, x), -3.0, [np.pi, 0]),
        (lambda x: np.logaddexp(x, -np.inf), 2.0, [2, 1, 0]),
        (lambda x: np.logaddexp(x, 2.0), 2.0, [2 + np.log(2), 0.5, 0.25]),
        (lambda x: np.logaddexp(x, 2.0), np.inf, [np.inf, 1, 0]),
        (lambda x: np.logaddexp2(x, 1e4), 1e4, [1e4 + 1, 0.5, np.log(2) / 4]),
        (lambda x: np.logaddexp(x, -np.inf), -np.inf, [-np.inf, 0.5]),
        (lambda x: np.remainder(7.5, x), -2.0, [-0.5, 4]),
        (lambda x: np.fmod(-7.5, x), 2.0, [-1.5, 3]),
        (lambda x: np.copysign(x, -1.0), 3.0, [-3, -1]),
        (lambda x: np.copysign(x, -1.0), 0.0, [0, 0]),
        (np.fabs, 0.0, [0, 0]),
        (np.nan_to_num, np.nan, [0, 0]),
        (np.nan_to_num, np.inf, [np.finfo(float).max, 0]),
    ],
)
def test_derivatives_at_edges(f, x, found):
    t = Tensor(x, requires_grad=True)
    out, values = f(t), []
    for _ in found[1:]:
        values.append(out.item())
        (out,) = autograd.grad([out], [t], create_graph=True)
    values.append(out.item())
    np.testing.assert_allclose(values, found, rtol=1e-14, atol=1e-15)


# -- what has no graph to be wrong in


def test_without_nan_in_float16():
    t = Tensor(np.full(70000, 0.5, np.float16), requires_grad=True)
    assert np.nanmean(t).item() == 0.5
    assert np.nanvar(t).item() == 0
    assert np.nanmean(t).dtype == np.float16
    high = Tensor(np.full(4, 60000, np.float16), requires_grad=True)
    assert np.nanmedian(high).item() == np.median(high).item() == 60000


def test_an_infinity_is_not_taken_for_a_nan():
    for f, inf in ((np.nanmax, -np.inf), (np.nanmin, np.inf)):
        t = Tensor([np.nan, inf, inf], requires_grad=True)
        f(t).backward(np.array(3.0))
        np.testing.assert_array_equal(t.grad.data, [0, 1.5, 1.5])


def test_a_variance_with_no_freedom_is_infinite_and_so_is_its_slope():
    t = Tensor([1.0, 2.0, 4.0], requires_grad=True)
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="Degrees of freedom"):
        np.var(t, ddof=5).backward()
    np.testing.assert_array_equal(t.grad.data, [-np.inf, -np.inf, np.inf])


@pytest.mark.parametrize("ord", [-1, -2.5])
def test_a_norm_of_negative_order_is_flat_where_an_entry_is_zero(ord):
    t = Tensor([0.0, 2.0, 3.0], requires_grad=True)
    with np.errstate(divide="ignore"):
        np.linalg.norm(t, ord).backward(np.array(2.0))
    np.testing.assert_array_equal(t.grad.data, 0)


def test_the_shapes_of_odd_calls_are_numpys():
    x = np.arange(6.0).reshape(2, 3)
    t = Tensor(x, requires_grad=True)
    for call in (
        lambda a: a.transpose(()),
        lambda a: np.sort(a[0, 0], axis=-1),
        lambda a: np.partition(a[0, 0], 0),
    ):
        with pytest.raises((ValueError, IndexError)):
            call(x)
        with pytest.raises((ValueError, IndexError)) as caught:
            call(t)
        assert "gather" not in str(caught.value)
    np.testing.assert_array_equal(t.transpose(None).data, x.T)
    single = np.choose(np.array([0, 1, 0]), [Tensor(np.ones(3, np.float32), requires_grad=True), 0.0])
    assert single.dtype == np.choose(np.array([0, 1, 0]), [np.ones(3, np.float32), 0.0]).dtype
    with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        assert np.isnan(np.nanmedian(t[:, :0]).data)
    np.testing.assert_array_equal(np.pad(t, {-1: (1, 2)}).data, np.pad(x, [(0, 0), (1, 2)]))
    with pytest.raises(ValueError, match="axis 5 is out of bounds"):
        np.pad(t, {5: 1})
