"""The gradients of PyTorch, JAX and HIPS autograd: found by type, whole modules, float32, second derivatives, contracts."""

import subprocess
import sys

import numpy as np
import pytest

from tinygrad2.errors import DtypeError, TinygradError
from tinygrad2.gradcheck import gradcheck
from tinygrad2.gradcheck.engines import found_engine

pytestmark = pytest.mark.oracle
RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 2))


@pytest.fixture(scope="module")
def jnp():
    pytest.importorskip("jax", reason="pip install jax")
    import jax.numpy

    return jax.numpy


@pytest.fixture(scope="module")
def anp():
    pytest.importorskip("autograd", reason="pip install autograd")
    import autograd.numpy

    return autograd.numpy


def test_nothing_is_imported_that_is_not_asked_for():
    code = "import sys; from tinygrad2.gradcheck import gradcheck; import numpy as np; gradcheck(np.sin, [1.0], ulps=4); "
    code += "gradcheck(np.sin, [1.0], vjp=lambda g, x: g * np.cos(x)); "
    code += "print({'torch', 'jax', 'autograd', 'scipy'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


# -- PyTorch


def test_functions_of_pytorch(torch):
    x, w = torch.from_numpy(X), torch.from_numpy(W)
    for fast in (False, True):
        result = gradcheck(lambda x, w: torch.tanh(x @ w), [x, w], fast=fast)
        result.assert_right()
        assert [row.name for row in result.rows] == ["x", "w"]
    gradcheck(lambda x, w: torch.tanh(x @ w), [x, w], order=2).assert_right()
    gradcheck(lambda x: (x.sum(), [x * 2, {"a": x[0]}]), [x]).assert_right()
    gradcheck(lambda p: p["x"] @ p["w"], [{"x": x, "w": w}]).assert_right()
    gradcheck(lambda x: torch.tanh(x), [X]).assert_right()  # arrays of NumPy, for a function that uses PyTorch


def test_inputs_of_pytorch_that_want_a_gradient_are_checked_or_else_all(torch):
    x, w = torch.from_numpy(X), torch.from_numpy(W)
    assert [row.name for row in gradcheck(torch.matmul, [x, w]).rows] == ["input 0", "input 1"]
    wanted = w.clone().requires_grad_()
    result = gradcheck(lambda x, w: x @ w, [x, wanted])
    assert [row.name for row in result.rows] == ["w"]
    assert wanted.grad is None
    ids = torch.tensor([1, 1, 0])
    gradcheck(lambda w, ids: torch.nn.functional.embedding(ids, w), [w, ids]).assert_right()


def test_results_of_pytorch_that_are_complex_or_have_no_gradient(torch):
    x = torch.from_numpy(X)
    gradcheck(torch.fft.fft, [x]).assert_right()
    gradcheck(lambda x: torch.fft.rfft(x).abs(), [x], order=2).assert_right()
    result = gradcheck(lambda x: x.max(1), [x])  # values and indices
    result.assert_right()
    result = gradcheck(lambda x: (x * 2, x.detach().mean()), [x])  # a statistic that is said to have none
    result.assert_right()
    assert result.note == "1 of 2 results has no gradient, and is not checked"
    assert gradcheck(lambda x: x.detach() * 2, [x]).verdict == "wrong"
    with pytest.raises(TinygradError, match="the function gave tensor"):
        gradcheck(lambda x: x.argmax(), [x])
    with pytest.raises(TinygradError, match="the function gave a ndarray; give PyTorch's Tensors"):
        gradcheck(lambda x: x.detach().numpy(), [x])
    with pytest.raises(DtypeError, match="input 0 is complex128"):
        gradcheck(torch.abs, [x + 0j])
    with pytest.raises(DtypeError, match="x is float16"):
        gradcheck(lambda x: x * 2, [x.half()])


@pytest.mark.parametrize("kind", ["bfloat16", "ragged"])
def test_what_numpy_cannot_have_does_not_break_a_diagnosis(torch, kind):
    other = torch.ones(3, 4, dtype=torch.bfloat16) if kind == "bfloat16" else [1.0, [2.0, 3]]
    f = a_function(torch, lambda g, x: 6 * g * x * x).apply
    x = torch.from_numpy(X.copy()).requires_grad_()
    assert "off by a factor of 2" in gradcheck(lambda x, other: f(x), [x, other]).diagnosis


def a_function(torch, backward, forward=lambda x: x * x * x):
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return forward(x)

        @staticmethod
        def backward(ctx, g):
            return backward(g, *ctx.saved_tensors)

    return Cube


@pytest.mark.parametrize(
    ("backward", "said"),
    [
        (lambda g, x: 3 * g * x * x, ""),
        (lambda g, x: 3 * g * x, "off by a factor of 1 / input 0"),
        (lambda g, x: None, "always zero"),
        (lambda g, x: (g, g), "incorrect number of gradients"),
        (lambda g, x: g[0, :2], "invalid gradient at index 0"),
        (lambda g, x: 3 * x * x, "the cotangent is ignored"),
        (lambda g, x: g.mul_(3 * x * x), "writes into the cotangent"),
        (lambda g, x: 3 * g * x.mul_(x), "writes into its input input 0|modified by an inplace operation"),
        (lambda g, x: (3 * g * x * x).float(), "float32"),
    ],
)
def test_an_autograd_function(torch, backward, said):
    cube = a_function(torch, backward)
    for f in (cube, cube.apply):
        result = gradcheck(f, [torch.from_numpy(X.copy())])
        assert result.verdict == ("wrong" if said else "right")
        with pytest.raises(AssertionError, match=said) if said else pytest.MonkeyPatch.context():
            result.assert_right()


def test_second_derivatives_of_an_autograd_function(torch):
    def frozen(g, x):
        return 3 * g * x.detach() ** 2

    assert gradcheck(a_function(torch, frozen), [torch.from_numpy(X)]).verdict == "right"
    assert gradcheck(a_function(torch, frozen), [torch.from_numpy(X)], order=2).verdict == "wrong"


def test_second_derivatives_that_are_zero(torch, jnp):
    x, w = torch.from_numpy(X), torch.from_numpy(X + 1)
    for f, inputs in (
        (lambda x: 2 * x, [x]),
        (lambda x, w: torch.sin(x), [x, w]),
        (lambda x: torch.sign(x), [x]),
        (lambda x: (x.float() * 2).double(), [x]),
        (lambda x: 2 * x, [jnp.asarray(X)]),
        (lambda x, w: jnp.sin(x), [X, X + 1]),
        (lambda x: jnp.sign(x), [X]),
    ):
        gradcheck(f, inputs, order=2).assert_right()


def test_modules_are_checked_with_all_parameters_and_left_as_they_are(torch):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
    net[3].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    result = gradcheck(net, [torch.randn(5, 4)])
    result.assert_right()
    assert [row.name for row in result.rows] == ["input", "0.weight", "0.bias", "2.weight", "2.bias", "3.weight"]
    assert result.note == ""  # float32, but checked in float64
    for name, value in net.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])
    embedding = torch.nn.Embedding(5, 2)
    assert [row.name for row in gradcheck(embedding, [torch.tensor([[1, 1, 4]])]).rows] == ["weight"]
    result = gradcheck(torch.nn.Sequential(torch.nn.Dropout(0.5)), [torch.randn(5, 4)])
    assert result.verdict == "undecidable"
    assert ".eval()" in result.note


def test_a_wrong_module(torch):
    class Affine(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.bias = (torch.nn.Parameter(torch.from_numpy(a.copy())) for a in (W, W[0]))

        def forward(self, x):
            return x @ self.weight + (self.bias.detach() + self.bias) / 2

    result = gradcheck(Affine(), [torch.from_numpy(X)])
    assert [row.verdict for row in result.rows] == ["right", "right", "wrong"]
    assert "off by a factor of 0.5" in result.worst.note


def test_functions_of_pytorch_for_float32_alone(torch):
    w = torch.from_numpy(W.astype(np.float32))

    def f(x):
        return torch.tanh(x @ w)

    for inputs in ([torch.from_numpy(X.astype(np.float32))],):
        for fast in (False, True):
            result = gradcheck(f, inputs, fast=fast)
            result.assert_right()
            assert "in float32" in result.note

    class Narrow(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(4, 3)

        def forward(self, x):
            return self.linear(x.float())

        def double(self):
            return self

    result = gradcheck(Narrow(), [torch.from_numpy(X)])
    result.assert_right()
    assert "in float32" in result.note


def test_ulps_and_the_complex_step_through_pytorch(torch):
    x = torch.tensor([0.3, 40.0, -40.0], dtype=torch.float64)
    assert gradcheck(torch.sigmoid, [x]).verdict == "right"
    result = gradcheck(torch.sigmoid, [x], ulps=4)
    assert result.verdict == "inaccurate"
    assert result.worst.numeric == pytest.approx(4.248354255291589e-18)
    assert gradcheck(torch.exp, [x], ulps=4).verdict == "right"
    gradcheck(torch.abs, [x], ulps=4).assert_right()
    assert "decides 9 of 9" in gradcheck(torch.exp, [x], complex_step=True).worst.note


def test_what_a_function_of_pytorch_raises_is_raised(torch):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        gradcheck(torch.matmul, [torch.from_numpy(X), torch.from_numpy(X)])


# -- JAX


def test_functions_of_jax(jnp):
    import jax

    for inputs in ([X, W], [jnp.asarray(X), jnp.asarray(W)]):
        for f in (lambda x, w: jnp.tanh(x @ w), jax.jit(lambda x, w: jnp.tanh(x @ w))):
            for fast in (False, True):
                gradcheck(f, inputs, fast=fast).assert_right()
    gradcheck(lambda x: jnp.tanh(x), [X], order=2).assert_right()
    gradcheck(lambda p, n: {"a": p["w"] ** n, "b": (p["w"].sum(), p["v"])}, [{"w": X, "v": W}, 3], engine="jax").assert_right()
    result = gradcheck(lambda x: jnp.tanh(x).astype(jnp.float32), [jnp.asarray(X)])
    result.assert_right()
    assert "in float32" in result.note
    assert jnp.asarray(X).dtype == np.float32  # the setting of JAX is as it was
    result = gradcheck(lambda x: jnp.tanh(x), [np.array([20.0])], ulps=4)
    assert result.verdict == "inaccurate"
    gradcheck(lambda x: jnp.abs(x), [X], ulps=4).assert_right()


def test_rules_of_jax(jnp):
    import jax

    f = jax.custom_vjp(lambda x: jnp.sin(x))
    for rule, said in (
        (lambda x, g: (g * jnp.cos(x),), ""),
        (lambda x, g: (g * jnp.cos(x) * 1.001,), "off by a factor of 1.001"),
        (lambda x, g: (g[0],), "the shapes do not match"),
        (lambda x, g: (g, g), "must produce a tuple of length"),
        (lambda x, g: (None,), "always zero"),
        (lambda x, g: (jnp.cos(x),), "the cotangent is ignored"),
    ):
        f.defvjp(lambda x: (jnp.sin(x), x), rule)
        result = gradcheck(f, [X])
        assert result.verdict == ("wrong" if said else "right")
        assert said in result.diagnosis


# -- HIPS autograd


def test_functions_of_hips_autograd(anp):
    from autograd.extend import defvjp, primitive

    for fast in (False, True):
        gradcheck(lambda x, w: anp.tanh(anp.dot(x, w)), [X, W], fast=fast).assert_right()
    gradcheck(lambda x: (anp.sin(x), [x[0] * 2]), [X]).assert_right()
    gradcheck(lambda p: p["a"] * anp.sum(p["b"]), [{"a": X, "b": W}]).assert_right()
    f = primitive(lambda x: x * x)
    defvjp(f, lambda out, x: lambda g: 3 * g * x)
    result = gradcheck(f, [X], engine="autograd")
    assert result.verdict == "wrong"
    assert "off by a factor of 1.5" in result.diagnosis
    gradcheck(lambda x: anp.tanh(x), [np.array([20.0])], ulps=4).assert_right()  # its rule is g / cosh(x) ** 2


# -- whose it is


def test_an_engine_is_found_by_type(torch, jnp, anp):
    import jax

    x = torch.from_numpy(X)

    def helper(x):
        return jnp.sin(x)

    class Layer:
        def apply(self, x):
            return torch.sin(x)

    for f, inputs, engine in (
        (lambda x: x, [x], "pytorch"),
        (lambda p: p, [{"w": [x]}], "pytorch"),
        (torch.nn.Linear(2, 2), [X], "pytorch"),
        (torch.sin, [X], "pytorch"),
        (lambda x: torch.sin(x), [X], "pytorch"),
        (Layer().apply, [X], "pytorch"),
        (a_function(torch, None).apply, [X], "pytorch"),
        (lambda x: x, [jnp.asarray(X)], "jax"),
        (jax.jit(np.sin), [X], "jax"),
        (jax.custom_vjp(np.sin), [X], "jax"),
        (jnp.sin, [X], "jax"),
        (lambda x: helper(x), [X], "jax"),
        (lambda x: anp.sin(x), [X], "autograd"),
        (np.sin, [X], "tensors"),
        (lambda x: np.sin(x), [X], "tensors"),
        (lambda x: x * 2, [1.0], "tensors"),
    ):
        assert found_engine(f, inputs) == engine
