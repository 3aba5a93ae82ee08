"""Gradients written by hand in NumPy: the three ways to write one, what courses hand out, and contracts that are broken."""

import math

import numpy as np
import pytest
from hand_written import RNG, RULES, normal, normalised, sigmoid, softmax

from tinygrad2 import Tensor
from tinygrad2.containers import leaves
from tinygrad2.errors import DtypeError, TinygradError
from tinygrad2.gradcheck import gradcheck

X, W, B = normal(3, 4), normal(4, 2), normal(2)


# -- what courses hand out


def affine_forward(x, w, b):
    return x.reshape(len(x), -1) @ w + b, (x, w, b)


def affine_backward(dout, cache):
    x, w, _ = cache
    return (dout @ w.T).reshape(x.shape), x.reshape(len(x), -1).T @ dout, dout.sum(0)


def softmax_loss(x, y):
    p = softmax(x)
    loss = -np.log(p[np.arange(len(y)), y]).sum() / len(y)
    p[np.arange(len(y)), y] -= 1
    return loss, p / len(y)


def batchnorm_forward(x, gamma, beta, settings):
    unit, std = normalised(x, 0)
    settings["running_mean"] = 0.9 * settings.get("running_mean", 0) + 0.1 * x.mean(0)
    return gamma * unit + beta, (unit, std, gamma)


def batchnorm_backward(dout, cache):
    unit, std, gamma = cache
    h = dout * gamma
    return (h - h.mean(0) - unit * (h * unit).mean(0)) / std, (dout * unit).sum(0), dout.sum(0)


def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    i, f, o, g = np.split(x @ Wx + prev_h @ Wh + b, 4, axis=1)
    i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
    next_c = f * prev_c + i * g
    next_h = o * np.tanh(next_c)
    return next_h, next_c, (x, prev_h, prev_c, Wx, Wh, i, f, o, g, next_c)


def lstm_step_backward(dnext_h, dnext_c, cache):
    x, prev_h, prev_c, Wx, Wh, i, f, o, g, next_c = cache
    t = np.tanh(next_c)
    dc = dnext_c + dnext_h * o * (1 - t * t)
    da = np.concatenate(
        [dc * g * i * (1 - i), dc * prev_c * f * (1 - f), dnext_h * t * o * (1 - o), dc * i * (1 - g * g)], axis=1
    )
    return da @ Wx.T, da @ Wh.T, dc * f, x.T @ da, prev_h.T @ da, da.sum(0)


def test_affine_and_softmax_loss():
    gradcheck(affine_forward, [normal(3, 2, 2), W, B], backward=affine_backward).assert_right()
    gradcheck(softmax_loss, [X, np.array([0, 3, 1])], value_and_grad=True).assert_right()


def test_batch_normalisation():
    inputs = [X, normal(4), normal(4), {"mode": "train"}]
    gradcheck(batchnorm_forward, inputs, backward=batchnorm_backward).assert_right()


def test_a_step_of_an_lstm():
    inputs = [normal(2, 3), normal(2, 4), normal(2, 4), normal(3, 16), normal(4, 16), normal(16)]
    result = gradcheck(lstm_step_forward, inputs, backward=lstm_step_backward)
    result.assert_right()
    assert [row.name for row in result.rows] == ["x", "prev_h", "prev_c", "Wx", "Wh", "b"]
    assert len(result.rows[0].index) == 1 + 2 + 2  # which output, where in it, and where in the input

    def forgetful(dnext_h, dnext_c, cache):
        return lstm_step_backward(dnext_h, 0 * dnext_c, cache)

    result = gradcheck(lstm_step_forward, inputs, backward=forgetful)
    assert result.verdict == "wrong"
    assert "the cotangent of output 1 is ignored" in result.diagnosis


class TwoLayers:
    """As the first assignments have it: parameters in a dictionary, and a loss that gives their gradients too."""

    def __init__(self):
        self.params = {"W1": normal(4, 3), "b1": normal(3), "W2": normal(3, 2), "b2": normal(2)}

    def loss(self, X, y):
        p = self.params
        h = np.maximum(X @ p["W1"] + p["b1"], 0)
        loss, d = softmax_loss(h @ p["W2"] + p["b2"], y)
        dh = d @ p["W2"].T * (h > 0)
        return loss, {"W1": X.T @ dh, "b1": dh.sum(0), "W2": h.T @ d, "b2": d.sum(0)}


def test_a_model_with_a_dictionary_of_parameters_is_changed_in_place():
    net, y = TwoLayers(), np.array([1, 0, 1])
    before = {name: p.copy() for name, p in net.params.items()}
    result = gradcheck(lambda params: net.loss(X, y), [net.params], value_and_grad=True)
    result.assert_right()
    assert [row.name for row in result.rows] == ["W1", "b1", "W2", "b2"]
    for name, p in net.params.items():
        np.testing.assert_array_equal(p, before[name])


# -- the three ways, and what may be given


def product(g, a, b):
    return g * b, g * a


@pytest.mark.parametrize(
    "rule",
    [
        product,
        lambda g, a, b: list(product(g, a, b)),
        lambda g, a, b: {"a": g * b, "b": g * a},
        lambda g, a, b: {"db": g * a, "da": g * b},
        lambda g, a, b: {"grad_b": g * a, "a_grad": g * b, "other": None},
    ],
)
def test_cotangents_come_in_order_or_by_name(rule):
    gradcheck(lambda a, b: a * b, [X, X + 1], vjp=rule).assert_right()


def test_one_cotangent_needs_no_tuple():
    for rule in (lambda g, x: g * np.cos(x), lambda g, x: (g * np.cos(x),), lambda g, x: {"dx": g * np.cos(x)}):
        gradcheck(lambda x: np.sin(x), [X], vjp=rule).assert_right()


@pytest.mark.parametrize(
    ("f", "inputs", "rule"),
    [
        (lambda x: float(x) ** 2, [3.0], lambda g, x: 2 * g * x),
        (lambda x: np.sum(x * x), [[1.0, 2.0]], lambda g, x: 2 * g * x),
        (lambda x: (x[0] * x[1])[()], [np.array([1.0, 2.0])], lambda g, x: g * x[::-1]),
        (lambda x: x[1:], [np.array([1.0, 2.0])], lambda g, x: np.array([0.0, g[0]])),  # a view of the input
        (lambda x: (x, [2 * x, x.sum()]), [X], lambda g, x: g[0] + 2 * g[1][0] + g[1][1]),
        (lambda x: {"a": np.sin(x)}, [X], lambda g, x: g["a"] * np.cos(x)),
        (lambda x, n: x**n, [X, 3], lambda g, x, n: n * g * x ** (n - 1)),
        (lambda x, n: x**n, [X, 3], lambda g, x, n: (n * g * x ** (n - 1), None)),
        (lambda x, p: x * p, [X, 0.5], lambda g, x, p: g * p),
        (lambda pair: pair[0] * pair[1], [[X, X + 1]], lambda g, pair: [g * pair[1], g * pair[0]]),
        (lambda p, x: p["w"] * x, [{"w": X}, X + 1], lambda g, p, x: ({"w": g * x}, g * p["w"])),
        (lambda x: x * 2, [X[:, ::-1]], lambda g, x: 2 * g),
        (lambda x: np.asfortranarray(x) * 2, [X.T], lambda g, x: 2 * g),
    ],
)
def test_what_may_be_given(f, inputs, rule):
    gradcheck(f, inputs, vjp=rule).assert_right()
    gradcheck(f, inputs, vjp=rule, fast=True).assert_right()


def test_arrays_that_cannot_be_written_to_are_checked_in_a_copy():
    x = np.broadcast_to(0.7, (2, 2))
    gradcheck(np.sin, [x], vjp=lambda g, x: g * np.cos(x)).assert_right()


def test_pytorch_tensors_in_hand_written_pairs():
    torch = pytest.importorskip("torch")
    x, w = torch.from_numpy(X), torch.from_numpy(W)
    gradcheck(lambda x, w: (x @ w, (x, w)), [x, w], backward=lambda d, c: (d @ c[1].T, c[0].T @ d)).assert_right()


# -- contracts


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (lambda g, a, b: (g * b,), "gave 1 for the cotangents of 2 inputs: a, b"),
        (lambda g, a, b: (g * b, g * a, 0), "gave 3 for the cotangents of 2 inputs"),
        (lambda g, a, b: g * b, "gave one ndarray for the cotangents of 2 inputs"),
        (lambda g, a, b: (g * b, None), "gave None for b"),
        (lambda g, a, b: (g * b, "b"), "gave a str for b"),
        (lambda g, a, b: {"a": g * b}, "gave a, and nothing for b: it may be called b, db or grad_b"),
        (lambda g, a, b: (g * b, (g * a)[0]), r"the gradient of b has shape \(4,\), and b has \(3, 4\)"),
        (lambda g, a, b: (g * b, (g * a).T), r"transposed"),
        (lambda g, a, b: (g * b, (g * a).reshape(-1)), "a reshape is missing"),
        (lambda g, a, b: (g * b, (g * a)[None]), "the same number of entries"),
        (lambda g, a, b: (g * b, np.stack([g * a] * 2)), "the sum over axis 0 is missing"),
        (lambda g, a, b: (g * b, (g * a).sum(1, keepdims=True)), "summed over an axis that is one of the input's own"),
        (lambda g, a, b: (g * b, (g * a).astype(np.float32)), "the gradient of b is float32, and b is float64"),
        (lambda g, a, b: (g * b, (g * a).astype(int)), "the gradient of b is int64.*behind the point"),
        (lambda g, a, b: (g * b, (g * a) + 0j), "the gradient of b is complex128.*real part"),
        (lambda g, a, b: (np.multiply(g, b, out=g), g * a), "writes into the cotangent"),
        (lambda g, a, b: (np.multiply(g, b, out=b), g * a), "the rule writes into its input b"),
        (lambda g, a, b: (b, a), "a cotangent of zero gives a gradient of a that is not zero: the cotangent is ignored"),
        (lambda g, a, b: (g * g * b, g * a), "not linear in the cotangent"),
        (lambda g, a, b: (np.abs(g) * b, np.sign(g) * a), "not linear in the cotangent"),
    ],
)
@pytest.mark.parametrize("fast", [False, True])
def test_a_broken_contract_is_wrong_and_says_so(rule, said, fast):
    result = gradcheck(lambda a, b: a * b, [X.copy(), X + 1], vjp=rule, fast=fast)
    assert result.verdict == "wrong"
    with pytest.raises(AssertionError, match=said):
        result.assert_right()


def test_inputs_are_restored_after_a_rule_has_written_into_them():
    x = X.copy()
    result = gradcheck(np.sin, [x], vjp=lambda g, x: (g * np.cos(x), x.fill(0))[0])
    assert "the rule writes into its input x" in result.note
    np.testing.assert_array_equal(x, X)

    def forward(x):
        x *= 2
        return x.copy()

    result = gradcheck(forward, [x], vjp=lambda g, x: 2 * g)
    assert result.verdict == "wrong"
    assert "the function writes into its input x" in result.note
    np.testing.assert_array_equal(x, X)


def test_a_rule_that_writes_into_the_cache():
    def backward(dout, cache):
        cache *= dout
        return cache

    result = gradcheck(lambda x: (np.sin(x), np.cos(x)), [X], backward=backward)
    assert result.verdict == "wrong"
    assert "writes into what the forward left for it" in result.note


@pytest.mark.parametrize(
    ("f", "rule"),
    [
        (lambda x: x * RNG.random(), lambda g, x: g),
        (lambda x: x * 2, lambda g, x: g * 2 * (RNG.random(x.shape) > 0.5)),
    ],
)
def test_what_is_not_deterministic_is_undecidable(f, rule):
    result = gradcheck(f, [X], vjp=rule)
    assert result.verdict == "undecidable"
    assert "not deterministic" in result.note


@pytest.mark.parametrize(
    ("f", "error", "said"),
    [
        (lambda x: "text", TinygradError, "the function gave a str; give arrays of numbers: 'text'"),
        (lambda x: None, TinygradError, "the function gave None"),
        (lambda x: (), TinygradError, r"the function gave a tuple; give arrays of numbers: \(\)"),
        (lambda x: x > 0, DtypeError, "the function's output is bool"),
        (lambda x: (x, x.astype(int)), DtypeError, "output 1 is int64"),
        (lambda x: x + 1j, DtypeError, "complex128"),
        (lambda x: x[:0], TinygradError, "there is nothing to check"),
    ],
)
def test_a_function_that_gives_something_else(f, error, said):
    with pytest.raises(error, match=said):
        gradcheck(f, [X], vjp=lambda g, x: x)


def test_arguments_that_do_not_fit_each_other():
    for given, said in (
        ({"vjp": product, "backward": product}, "vjp and backward were given; it takes one"),
        ({"vjp": product, "engine": "jax"}, "vjp and engine were given"),
        ({"engine": "theano"}, "there is no engine 'theano'; there are autograd, jax, pytorch, tensors"),
        ({"vjp": 3}, "give two functions"),
        ({"vjp": product, "order": 2}, "order=2 differentiates the gradient itself, which is for functions of Tensors, JAX"),
        ({"vjp": product, "ulps": 4, "fast": True}, "leave one of them out"),
        *[({"order": n}, f"order={n} was given; it takes a whole number from 1") for n in (0, -2, 1.5, "2")],
        *[({"vjp": product, "ulps": n}, f"ulps={n} was given; it takes a number of units") for n in (np.nan, -1)],
        ({"vjp": product, "names": ["x"]}, "1 names were given for 2 inputs: a, b"),
    ):
        with pytest.raises(TinygradError, match=said):
            gradcheck(lambda a, b: a * b, [X, X], **given)
    with pytest.raises(TinygradError, match="the inputs are a ndarray; give a list"):
        gradcheck(np.sin, X, vjp=product)
    with pytest.raises(TinygradError, match="with backward= the function gives"):
        gradcheck(np.sin, [X], backward=product)
    with pytest.raises(TinygradError, match="the value is one number"):
        gradcheck(lambda x: (x, x), [X], value_and_grad=True)
    with pytest.raises(DtypeError, match="x is float16; differences need float64 or float32"):
        gradcheck(np.sin, [X.astype(np.float16)], vjp=lambda g, x: g)


# -- float32


def single(x):
    return np.tanh(x.astype(np.float32))


def test_a_function_that_computes_in_float32_has_a_budget_of_its_own():
    x = X.astype(np.float32)
    for f, given in ((single, x), (single, X), (np.tanh, x)):
        for scale in (1, 1.1, 0.9):
            result = gradcheck(f, [given], vjp=lambda g, x, scale=scale: (g * scale * (1 - np.tanh(x) ** 2)).astype(x.dtype))
            assert result.verdict == ("right" if scale == 1 else "wrong")
        noted = "in float32, where derivatives are known to about a thousandth" in str(gradcheck(f, [given], vjp=tanh_rule))
        assert noted == (f is single)  # np.tanh takes float64, and is checked so


def tanh_rule(g, x):
    return (g * (1 - np.tanh(x) ** 2)).astype(x.dtype)


@pytest.mark.parametrize("name", RULES)
def test_no_false_verdict_in_float32(name):
    f, rule, inputs = RULES[name]

    def narrow(*xs):
        return np.float32(1) * f(*[x.astype(np.float32) if x.dtype.kind == "f" else x for x in xs])

    def narrow_rule(g, *xs):
        return [c.astype(np.float32) for c in rule(g, *xs)]

    narrowed = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in inputs]
    for fast in (False, True):
        result = gradcheck(narrow, narrowed, vjp=narrow_rule, fast=fast)
        result.assert_right()
        assert "in float32" in result.note


def test_inputs_that_are_no_numbers_are_undecidable():
    x = np.array([1.0, np.nan, np.inf, -np.inf])
    with np.errstate(all="ignore"):
        result = gradcheck(np.tanh, [x], vjp=lambda g, x: g * (1 - np.tanh(x) ** 2))
        assert result.verdict == "undecidable"
        assert "x is nan there" in result.diagnosis
        assert gradcheck(np.nan_to_num, [x[:2]], vjp=lambda g, x: g).verdict == "undecidable"
        assert gradcheck(np.nan_to_num, [x[:2]], vjp=lambda g, x: 2 * g).verdict == "wrong"  # where x is 1


# -- somebody else's engine


class Value:
    """A scalar that remembers, as in micrograd."""

    def __init__(self, data, parents=()):
        self.data, self.parents, self.grad = data, parents, 0.0

    def __mul__(self, other):
        return Value(self.data * other.data, ((self, other.data), (other, self.data)))

    def __add__(self, other):
        return Value(self.data + other.data, ((self, 1.0), (other, 1.0)))

    def back(self, g):
        self.grad += g
        for parent, slope in self.parents:
            parent.back(g * slope)


class Scalars:
    """What gradcheck needs of an engine."""

    def __init__(self, f):
        self.f = f

    def value(self, inputs):
        self.inputs = [[Value(float(v)) for v in x.flat] for x in inputs]
        self.out = self.f(*self.inputs)
        return self.out.data

    def pull(self, cotangents):
        for v in (v for x in self.inputs for v in x):
            v.grad = 0.0
        self.out.back(float(cotangents[0]))
        return [np.array([v.grad for v in x]) for x in self.inputs]


def test_an_engine_of_somebodys_own(monkeypatch):
    def f(x, y):
        return x[0] * y[0] * y[0] + x[1] * x[1]

    inputs = [np.array([1.0, -2.0]), [3.0]]
    result = gradcheck(Scalars(f), inputs)
    result.assert_right()
    assert [row.name for row in result.rows] == ["x", "y"]
    monkeypatch.setattr(Value, "back", lambda self, g: setattr(self, "grad", g) or [p.back(g * s) for p, s in self.parents])
    result = gradcheck(Scalars(f), inputs)
    assert result.verdict == "wrong"
    assert "one of 2 uses kept (= for +=)" in result.diagnosis


def test_a_number_beside_arrays_is_a_setting_and_that_is_said():
    result = gradcheck(lambda x, a: x * a, [X, 0.5], vjp=lambda g, x, a: (g * a, 7 * np.sum(g * x)))
    result.assert_right()
    assert result.note == "a number beside arrays is a setting, and not checked: a"
    assert (
        gradcheck(lambda x, a: x * a, [X, np.float64(0.5)], vjp=lambda g, x, a: (g * a, 7 * np.sum(g * x))).verdict == "wrong"
    )
    assert gradcheck(lambda x, n: x * n, [X, 3], vjp=lambda g, x, n: g * n).note == ""


@pytest.mark.parametrize(
    ("f", "inputs", "how", "said"),
    [
        (lambda a, b: a * b, [X, X + 1], {"vjp": lambda d, cache: d}, r"vjp= .* 3 arguments, .* \(d, cache\); say backward="),
        (lambda a, b: (a * b, 0), [X, X + 1], {"backward": product}, r"backward= .* 2 arguments, .* \(g, a, b\); say vjp="),
        (lambda x: ((x, x), 0), [X], {"backward": lambda a, b, cache: a + b}, "2 arguments"),
        (lambda x: None, [X], {"vjp": lambda g, x: g}, "the function gave None; does it return"),
    ],
)
def test_functions_that_do_not_belong_together(f, inputs, how, said):
    with pytest.raises(TinygradError, match=said):
        gradcheck(f, inputs, **how)


def test_the_cotangent_of_a_tuple_before_the_cache_is_a_tuple():
    gradcheck(lambda x: ((2 * x, 3 * x), None), [X], backward=lambda g, cache: 2 * g[0] + 3 * g[1]).assert_right()
    gradcheck(lambda x: (2 * x, 3 * x, None), [X], backward=lambda a, b, cache: 2 * a + 3 * b).assert_right()
    gradcheck(lambda x: (2.0 * x.sum(), 3.0, None), [X], backward=lambda a, b, cache: np.full(X.shape, 2 * a)).assert_right()


class Kept:
    """Gradients that are added to, as those of a layer with += are."""

    def __init__(self):
        self.g = np.zeros(X.shape)

    def __call__(self, g, x):
        self.g += 2 * g
        return self.g


WB = {"W": X, "b": X + 1}


def of_both(*names):
    return lambda p: (np.sum(p["W"] * p["b"]), {name: p["b" if name[-1] == "W" else "W"] for name in names})


@pytest.mark.parametrize(
    ("f", "inputs", "how", "said"),
    [
        (lambda x: 2 * x, [X], {"vjp": lambda g, x: None}, "the rule gave None: does it return"),
        (lambda x: 2 * x, [X], {"vjp": Kept()}, "kept from the call before, and added to"),
        (lambda a, b: a * b, [X, X + 1], {"vjp": lambda a, b, g: (g * b, g * a)}, "arguments in another order"),
        (of_both("W"), [WB], {"value_and_grad": True}, "gave W, and nothing for b: it may be called b, db or grad_b"),
        (of_both("W", "b", "db"), [WB], {"value_and_grad": True}, "gave b and db, and each may be the gradient of b"),
        (lambda p: (np.sum(X**2), {"W": 2 * X}), [{"W": X.copy()}], {"value_and_grad": True}, "does not depend on W: hand in"),
        (lambda x: np.round(x), [X], {"vjp": lambda g, x: g}, "the function is flat here"),
        (lambda x: np.sign(x), [X], {"vjp": lambda g, x: g * (np.abs(x) < 1)}, "the function is flat here"),
    ],
)
def test_what_is_wrong_is_said_as_it_is(f, inputs, how, said):
    result = gradcheck(f, inputs, **how)
    assert result.verdict == "wrong"
    assert said in result.diagnosis


def test_gradients_of_a_dictionary_are_found_by_name_too():
    gradcheck(of_both("dW", "grad_b"), [WB], value_and_grad=True).assert_right()


@pytest.mark.parametrize("kind", [">f8", ">f4"])
def test_bytes_in_another_order(kind):
    x = X.astype(kind)
    for factor in (1, 1.1):
        result = gradcheck(np.sin, [x], vjp=lambda g, x, factor=factor: factor * g * np.cos(x))
        assert result.verdict == ("right" if factor == 1 else "wrong")


def test_it_says_whose_gradient_it_is():
    def f(x):
        return 2 * x

    def rule(g, x):
        return 2 * g

    class Own:
        def value(self, inputs):
            return inputs[0] * 2

        def pull(self, cotangents):
            return [2 * cotangents[0]]

    for result, whose in (
        (gradcheck(f, [X], vjp=rule), "rule"),
        (gradcheck(f, [X], vjp=lambda g, x: 2 * g), "the function in vjp="),
        (gradcheck(f, [X]), "tinygrad2's Tensors"),
        (gradcheck(f, [X], order=2), "tinygrad2's Tensors"),
        (gradcheck(Own(), [X]), "Own"),
    ):
        assert result.gradient == whose
        assert str(result).endswith(f"; the gradient of {whose}")
        assert result.as_dict()["gradient"] == whose


def test_a_cache_that_is_no_tensor_needs_a_word():
    for cache in ((X, X.shape), {"x": X}, "cache"):
        with pytest.raises(TinygradError, match=r"if that is \(out, cache\), say backward="):
            gradcheck(lambda x, cache=cache: (x * 2, cache), [X])


def test_what_has_no_floating_point_number_is_not_checked():
    for inputs in ([3], [np.arange(3)], [], ["text"]):
        for how in ({}, {"vjp": product}):
            with pytest.raises(TinygradError, match=r"there is nothing to check in .*: give floating-point arrays"):
                gradcheck(lambda *xs: np.zeros(3), inputs, **how)


def test_functions_of_tensors_are_handed_ids_and_masks():
    ids, mask = np.array([1, 0, 1]), X > 0
    for order in (1, 2):
        result = gradcheck(lambda x, ids: np.sin(x[np.arange(3), ids]), [X, ids], order=order)
        result.assert_right()
        assert [row.name for row in result.rows] == ["x", "x'"][:order]
        gradcheck(lambda p, n: np.sin(p["x"])[p["mask"]] * n, [{"x": X, "mask": mask}, 3], order=order).assert_right()
        gradcheck(lambda x, m: np.sin(x[m]), [Tensor(X, requires_grad=True), mask], order=order).assert_right()


def test_tensors_are_still_what_is_meant_where_nothing_is_said():
    gradcheck(lambda x: np.sum(np.sin(x) * x), [X]).assert_right()
    gradcheck(lambda x: x * 2, [Tensor(X, requires_grad=True)]).assert_right()


@pytest.mark.parametrize("name", RULES)
def test_no_false_verdict_where_float32_is_on_the_way(name):
    """float64 goes in and comes out, and what is between is float32."""
    f, rule, inputs = RULES[name]

    def narrow(x):
        return x.astype(np.float32) if x.dtype.kind == "f" else x

    def through(*xs):
        return np.asarray(f(*map(narrow, xs)), np.float64) * 1.0

    def rule_through(g, *xs):
        return [c.astype(np.float32).astype(np.float64) for c in rule(g, *map(narrow, xs))]

    result = gradcheck(through, inputs, vjp=rule_through)
    assert result.verdict in ("right", "undecidable")
    assert result.verdict == "right" or name == "maximum"
    wrong = gradcheck(through, inputs, vjp=lambda g, *xs: [1.2 * c for c in rule_through(g, *xs)])
    assert wrong.verdict == "wrong"


def test_a_million_rows_added_up_one_by_one_in_float32():
    rows = np.full(10**6, np.float32(0.1))

    def loss(b):
        return np.sum(rows * (1 + b), dtype=np.float64).astype(np.float32)

    def careless(g, b):
        return np.add.accumulate(rows * g)[-1:]  # 100,958

    b = np.ones(1, np.float32)
    result = gradcheck(loss, [b], vjp=careless)
    assert result.verdict == "wrong"
    assert result.worst.analytic == pytest.approx(100_958, abs=1)
    assert result.worst.numeric == pytest.approx(100_000, rel=1e-5)
    gradcheck(loss, [b], vjp=lambda g, b: np.sum(rows, dtype=np.float64, keepdims=True).astype(np.float32) * g).assert_right()


# -- steps that leave the domain, and buffers


def cholesky_vjp(g, a):
    low = np.linalg.cholesky(a)
    inner = np.tril(low.T @ np.tril(g))
    inner[np.diag_indices(len(a))] /= 2
    half = np.linalg.solve(low.T, np.linalg.solve(low.T, inner.T).T)
    return np.tril(half + half.T) - np.diag(np.diag(half))


@pytest.mark.parametrize(
    ("f", "x", "rule"),
    [
        (lambda x: math.sqrt(x), np.array(1e-3), lambda g, x: g / (2 * math.sqrt(x))),
        (lambda x: math.log(x), np.array(1e-3), lambda g, x: g / x),
        (np.linalg.cholesky, np.eye(2) * 1e-3, cholesky_vjp),
        (lambda x: x[x > 0] * 2, np.array([1e-3, -1.0]), lambda g, x: np.array([2 * g[0], 0.0])),  # with another shape
    ],
)
@pytest.mark.parametrize("factor", [1.0, 1.1])
@pytest.mark.parametrize("fast", [False, True])
def test_a_step_that_leaves_the_domain_with_an_exception_is_made_smaller(f, x, rule, factor, fast):
    before = x.copy()
    result = gradcheck(f, [x], vjp=lambda g, x: factor * rule(g, x), fast=fast)
    assert result.verdict == ("right" if factor == 1 else "wrong")
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("fast", [False, True])
def test_a_rule_may_give_its_own_buffer_and_a_function_too(fast):
    buffer, out = np.empty_like(X), np.empty_like(X)
    for f in (np.sin, lambda x: np.sin(x, out=out)):
        gradcheck(f, [X], vjp=lambda g, x: np.multiply(g, np.cos(x), out=buffer), fast=fast).assert_right()


def test_an_engine_without_a_result():
    class Nothing:
        def value(self, inputs):
            return []

        def pull(self, cotangents):
            return cotangents

    with pytest.raises(TinygradError, match="the function gave no result"):
        gradcheck(Nothing(), [X])


# -- gradients that are hidden, shared or wrapped


class Narrow:
    """A model of float32 that reads its parameter itself."""

    def __init__(self):
        self.w = X.astype(np.float32)


@pytest.mark.parametrize("loss", [float, np.float32, np.float64])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_model_of_float32_that_reads_its_parameters_itself(loss, kind):
    model = Narrow()
    for factor in (2, 2.2):
        result = gradcheck(
            lambda p, factor=factor: (loss(np.sum(model.w.astype(kind) ** 2)), {"w": (factor * model.w).astype(kind)}),
            [{"w": model.w}],
            value_and_grad=True,
        )
        assert result.verdict == ("right" if factor == 2 else "wrong")
        assert "float32" in result.note or factor != 2


def test_gradients_of_a_loss_have_the_dtype_of_their_input():
    result = gradcheck(lambda x: (np.sum(2 * x), np.full(x.shape, 2)), [X], value_and_grad=True)
    assert result.verdict == "wrong"
    assert "the gradient of x is int64" in result.note
    assert "float32" in gradcheck(lambda x: (np.sum(x * x), (2 * x).astype(np.float32)), [X], value_and_grad=True).note


def test_the_same_memory_under_two_names():
    a = X.copy()
    for inputs in ([a, a], [a[:2], a[1:]], [a, a[:]]):
        gradcheck(lambda a, b: a * b, inputs, vjp=product).assert_right()
        gradcheck(
            lambda p: p["a"] * p["b"],
            [dict(zip("ab", inputs, strict=True))],
            vjp=lambda g, p: {"a": g * p["b"], "b": g * p["a"]},
        ).assert_right()
        gradcheck(lambda a, b: a * b, inputs).assert_right()
        gradcheck(lambda a, b: a * b, [Tensor(x, requires_grad=True) for x in inputs]).assert_right()
    x = Tensor(a, requires_grad=True)
    gradcheck(lambda a, b: a * b, [x, x]).assert_right()
    np.testing.assert_array_equal(a, X)

    class Product:
        def value(self, inputs):
            self.inputs = [x.copy() for x in inputs]
            return inputs[0] * inputs[1]

        def pull(self, cotangents):
            return cotangents[0] * self.inputs[1], cotangents[0] * self.inputs[0]

    gradcheck(Product(), [a, a]).assert_right()


@pytest.mark.parametrize(
    ("inputs", "gradients"),
    [
        ([{"w": X}], lambda g, p: ({"w": 2 * g * p["w"]},)),
        ([{"w": X}, 3], lambda g, p, n: ({"w": 2 * g * p["w"]}, None)),
        ([{"w": X}], lambda g, p: {"w": 2 * g * p["w"]}),
        ([[X]], lambda g, p: ([2 * g * p[0]],)),
        ([[X]], lambda g, p: (2 * g * p[0],)),
        ([[X]], lambda g, p: [2 * g * p[0]]),
        ([[[X]]], lambda g, p: [[2 * g * p[0][0]]]),
        ([[[X]]], lambda g, p: ([[2 * g * p[0][0]]],)),
    ],
)
def test_a_tuple_of_one_container_is_what_is_in_it(inputs, gradients):
    def f(p, n=0):
        (x,) = leaves(p)
        return np.sum(x**2)

    gradcheck(f, inputs, vjp=gradients).assert_right()
    gradcheck(lambda *given: (f(*given), gradients(1.0, *given)), inputs, value_and_grad=True).assert_right()


@pytest.mark.parametrize(
    ("f", "rule", "inputs", "said"),
    [
        (lambda x: x * x, lambda g, x: g * x, [X], "0.5: as if the 2 of a square were left out"),
        (lambda x: x * x / 2, lambda g, x: 2 * g * x, [X], "2: as if the 1/2 of a loss were left out"),
        (lambda x, p: x / p, lambda g, x, p: (g, -(g * x).sum() / p**2), [X, np.array(0.3)], "0.3: it is p"),
        (lambda x, p: x * p, lambda g, x, p: (g, (g * x).sum()), [X, np.array(0.3)], "3.33333: it is 1 / p"),
        (lambda x, y: y + 0, lambda g, x, y: (g * x, g), [X, X + 1], "the function does not depend on x"),
    ],
)
def test_a_factor_is_named_by_what_is_there(f, rule, inputs, said):
    result = gradcheck(f, inputs, vjp=rule)
    assert result.verdict == "wrong"
    assert said in result.diagnosis


def test_no_uses_are_named_that_nothing_has_the_number_of():
    def leaky(slope):
        return lambda x: np.where(x > 0, x, slope * x)

    result = gradcheck(leaky(0.1), [X], vjp=lambda g, x: g * np.where(x > 0, 1, 0.01))
    assert "off by a factor of 0.1, only where x is negative" in result.diagnosis
