"""Transforms against closed forms, finite differences and each other."""

import gc
import threading
import weakref

import numpy as np
import pytest

from gpt2 import GPT2, GPT2Config
from tinygrad2 import (
    Tensor,
    checkpoint,
    grad,
    gradcheck,
    hessian,
    hvp,
    jacobian,
    jvp,
    no_grad,
    ops,
    transforms,
    value_and_grad,
    vjp,
)
from tinygrad2.errors import DtypeError, GraphError, ShapeError

A = np.random.default_rng(0).standard_normal((4, 4))
X, V = np.random.default_rng(1).standard_normal((2, 4))


def quadratic(x):
    return x @ (A @ x)


def bend(x):
    return np.sum(np.sin(x) * np.exp(0.3 * x[::-1]))


def test_grad_and_value():
    value, g = value_and_grad(quadratic)(X)
    assert value.item() == pytest.approx(X @ A @ X)
    np.testing.assert_allclose(g.data, (A + A.T) @ X)
    assert not g.requires_grad
    assert not value.requires_grad
    np.testing.assert_allclose(grad(lambda a, b: a * b * b, argnum=1)(3.0, 2.0).data, 12)
    assert grad(lambda x: x**2)(3).item() == 6


def test_grad_of_grad_of_grad():
    f = np.sin
    for expected in (np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)):
        f = grad(f)
        assert f(0.7).item() == pytest.approx(expected(0.7))


def test_hessian_and_jacobian():
    np.testing.assert_allclose(hessian(quadratic)(X).data, A + A.T)
    np.testing.assert_allclose(jacobian(lambda x: A @ x)(X).data, A)
    J = jacobian(lambda x: np.sin(x)[:, None] * x)(X)
    assert J.shape == (4, 4, 4)
    np.testing.assert_allclose(J.data[0, 1], np.sin(X[0]) * np.eye(4)[1] + np.cos(X[0]) * X[1] * np.eye(4)[0])


def test_hvp_is_the_hessian_times_a_vector():
    for f in (quadratic, bend):
        value, (product,) = hvp(f, X, V)
        np.testing.assert_allclose(product.data, hessian(f)(X).data @ V, rtol=1e-12)
        assert value.item() == pytest.approx(f(Tensor(X)).item())
    np.testing.assert_array_equal(hvp(lambda x: np.sum(3 * x), X, V)[1][0].data, np.zeros(4))


def test_jvp_and_vjp_are_transposes():
    def f(x):
        return np.tanh(A @ x) * x

    J = jacobian(f)(X).data
    value, moved = jvp(f, X, V)
    np.testing.assert_allclose(moved.data, J @ V, rtol=1e-12)
    np.testing.assert_allclose(value.data, f(Tensor(X)).data)
    value, pull = vjp(f, X)
    for g in (V, 2 * V):
        np.testing.assert_allclose(pull(g)[0].data, g @ J, rtol=1e-12)
    np.testing.assert_array_equal(jvp(lambda x: np.sum(x) * 0 + 1.0, X, V)[1].data, 0)


def test_several_inputs():
    (_, pull) = vjp(lambda a, b: a @ b, A, X)
    ga, gb = pull(V)
    np.testing.assert_allclose(ga.data, np.outer(V, X))
    np.testing.assert_allclose(gb.data, A.T @ V)
    _, moved = jvp(lambda a, b: a @ b, [A, X], [2 * A, V])
    np.testing.assert_allclose(moved.data, 2 * A @ X + A @ V)


@pytest.mark.parametrize(
    "transform", [grad(bend), hessian(bend), lambda x: hvp(bend, x, V)[1][0], lambda x: jvp(np.exp, x, V)[1]]
)
def test_results_can_be_differentiated_again(transform):
    gradcheck(transform, [X]).assert_right()


def test_another_argument_can_be_differentiated_later():
    w = Tensor(2.0, requires_grad=True)
    grad(lambda x, w: w * x**3)(1.5, w).backward()
    assert w.grad.item() == pytest.approx(3 * 1.5**2)


def test_they_work_inside_no_grad():
    with no_grad():
        assert grad(lambda x: x**3)(2.0).item() == 12
        np.testing.assert_allclose(hvp(quadratic, X, V)[1][0].data, (A + A.T) @ V)


def test_mistakes():
    with pytest.raises(GraphError, match=r"shape \(4,\), not one number"):
        grad(np.sin)(X)
    for gave, f in (("NoneType", lambda x: None), ("tuple", lambda x: (x, x)), ("list", lambda x: [x])):
        with pytest.raises(GraphError, match=f"gave a {gave}; it must give a Tensor"):
            grad(f)(X)
    with pytest.raises(GraphError, match=r"shape \(4,\), not one number"):
        grad(lambda x: np.ones(4))(X)
    with pytest.raises(DtypeError, match="the function gave complex128; it must give real numbers"):
        grad(lambda x: x * 1j)(3.0)
    assert grad(lambda a, b: a * b * b, -1)(3.0, 2.0).item() == 12
    with pytest.raises(ShapeError, match=r"tangent of shape \(2,\) for an input of shape \(4,\)"):
        jvp(np.sin, X, np.ones(2))


@pytest.mark.parametrize("tied", [False, True])
def test_second_order_through_a_whole_gpt2(tied):
    """Fused ops included: H v from two backward passes is the difference of two gradients."""
    config = GPT2Config(vocab_size=7, max_seq_len=4, d_model=8, num_layers=2, num_heads=2, tie_embeddings=tied)
    model = GPT2(config, dtype=np.float64)
    ids = np.array([[1, 2, 3, 4], [6, 5, 0, 1]])
    ps = model.parameters()
    rng = np.random.default_rng(0)
    vs = [rng.standard_normal(p.shape) for p in ps]
    _, products = hvp(lambda *_: model.loss(ids, ids[:, ::-1]), ps, vs)

    def slopes(t):
        before = [p.data for p in ps]
        for p, v in zip(ps, vs, strict=True):
            p.data = p.data + t * v
        model.zero_grad()
        model.loss(ids, ids[:, ::-1]).backward()
        for p, b in zip(ps, before, strict=True):
            p.data = b
        return [p.grad.data for p in ps]

    for a, b, product in zip(slopes(1e-5), slopes(-1e-5), products, strict=True):
        np.testing.assert_allclose(product.data, (a - b) / 2e-5, rtol=1e-4, atol=1e-7)


# -- checkpoint


def layer(x, w):
    return np.tanh(np.tanh(x @ w) @ w)


def test_checkpoint_changes_no_gradient():
    x, w = Tensor(A, requires_grad=True), Tensor(A * 0.5, requires_grad=True)
    np.sum(layer(layer(x, w), w) * A).backward()
    expected = x.grad.data, w.grad.data
    x.grad = w.grad = None
    out = checkpoint(layer, checkpoint(layer, x, w), w)
    np.sum(out * A).backward()
    np.testing.assert_allclose(x.grad.data, expected[0], rtol=1e-12)
    np.testing.assert_allclose(w.grad.data, expected[1], rtol=1e-12)
    gradcheck(lambda x: grad(lambda y: np.sum(checkpoint(layer, y, w.detach())))(x), [A]).assert_right()


def test_checkpoint_keeps_nothing_but_its_inputs():
    held = []

    def f(x):
        hidden = np.exp(x)
        held.append(weakref.ref(hidden.data))
        return hidden * hidden

    x = Tensor(A, requires_grad=True)
    out = checkpoint(f, x)
    gc.collect()
    assert [ref() for ref in held] == [None]
    out.sum().backward()
    assert len(held) == 2
    np.testing.assert_allclose(x.grad.data, 2 * np.exp(2 * A))


def test_checkpoint_refuses_to_lose_a_gradient():
    x, w = Tensor(A, requires_grad=True), Tensor(A, requires_grad=True)
    with pytest.raises(GraphError, match="uses a tensor that requires a gradient but was not passed"):
        checkpoint(lambda x: layer(x, w), x)
    with pytest.raises(GraphError, match="uses a tensor that requires a gradient but was not passed"):
        grad(lambda a: checkpoint(lambda z: z * z * a, x).sum())(3.0)
    with no_grad():
        checkpoint(lambda x: layer(x, w), x)


def test_checkpoint_passes_integers_through():
    t = Tensor(A, requires_grad=True)
    checkpoint(ops.embedding, t, np.array([0, 0, 3])).sum().backward()
    np.testing.assert_array_equal(t.grad.data[:, 0], [2, 0, 0, 1])


# -- derivatives of what is around a function


INSIDE = {
    "grad": lambda a: grad(lambda y: np.sum(a * y * y))(X).sum(),
    "value_and_grad": lambda a: np.sum(value_and_grad(lambda y: np.sum(a * y * y))(X)[1] * V),
    "the value": lambda a: value_and_grad(lambda y: np.sum(a * a * y * y))(X)[0],
    "vjp": lambda a: np.sum(vjp(lambda y: np.sin(a * y), X)[1](V)[0] * X),
    "vjp, of its cotangent": lambda a: np.sum(vjp(lambda y: np.sin(y), X)[1](a * V)[0] * X),
    "jvp": lambda a: np.sum(jvp(lambda y: np.sin(a * y), X, V)[1] * X),
    "jvp, of its tangent": lambda a: np.sum(jvp(lambda y: np.sin(y), X, a * V)[1] * X),
    "hvp": lambda a: np.sum(hvp(lambda y: np.sum(a * a * y**3), X, V)[1][0] * X),
    "hvp, of its vector": lambda a: np.sum(hvp(lambda y: np.sum(y**3), X, a * V)[1][0] * X),
    "jacobian": lambda a: np.sum(jacobian(lambda y: a * a * y * y)(X) * A),
    "hessian": lambda a: np.sum(hessian(lambda y: np.sum(np.sin(a * y)))(X) * A),
    "two deep": lambda a: grad(lambda b: b * grad(lambda y: np.sum(a * b * y * y))(X).sum())(2.0),
    "a function that is made there": lambda a: grad(lambda y: np.sum(np.sin(y)))(a * X)[1] * a,
}
AROUND = {
    "grad": lambda f, a: grad(f)(a),
    "value_and_grad": lambda f, a: value_and_grad(f)(a)[1],
    "vjp": lambda f, a: vjp(f, a)[1](1.0)[0],
    "jvp": lambda f, a: jvp(f, a, 1.0)[1],
    "hvp": lambda f, a: hvp(lambda b: f(b) * b, a, 1.0)[1][0],
    "jacobian": lambda f, a: jacobian(f)(a),
    "hessian": lambda f, a: hessian(f)(a),
}


@pytest.mark.parametrize("inner", INSIDE.values(), ids=INSIDE)
@pytest.mark.parametrize("outer", AROUND)
def test_a_transform_inside_another_depends_on_what_it_reads_from_there(outer, inner):
    """Against differences of the inner one alone, which no outer derivative goes through."""
    at, h = 0.7, 1e-4
    value = {k: inner(Tensor(at + k * h)).item() for k in (-2, -1, 0, 1, 2)}
    slope = (8 * (value[1] - value[-1]) - (value[2] - value[-2])) / (12 * h)
    curve = (16 * (value[1] + value[-1]) - (value[2] + value[-2]) - 30 * value[0]) / (12 * h * h)
    expected = {"hvp": 2 * slope + at * curve, "hessian": curve}.get(outer, slope)
    found = AROUND[outer](inner, at)
    assert found.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert not found.requires_grad


def test_by_hand():
    assert grad(lambda x: x * grad(lambda y: x * y)(2.0))(1.0).item() == 2  # x times x
    assert grad(lambda x: x * grad(lambda y: x + y)(x))(1.0).item() == 1  # x times 1, though both variables are at x
    assert grad(lambda x: x * grad(lambda y: x * y)(x))(3.0).item() == 6
    assert grad(lambda x: grad(lambda y: x * y * y)(x))(3.0).item() == 12  # 2 x x, by both


def test_a_leaf_outside_of_all_transforms_counts_too():
    w = Tensor(2.0, requires_grad=True)
    slope = grad(lambda y: w * y * y)(3.0)
    slope.backward()
    assert (slope.item(), w.grad.item()) == (12, 6)
    with no_grad():
        assert not grad(lambda y: w * y * y)(3.0).requires_grad
        assert grad(lambda x: x * grad(lambda y: x * y)(2.0))(1.0).item() == 2


def test_a_function_that_reads_the_leaf_and_not_its_argument():
    w = Tensor(3.0, requires_grad=True)
    for transform in (lambda f: grad(f)(w), lambda f: vjp(f, w)[1](1.0)[0], lambda f: jvp(f, w, 1.0)[1]):
        assert transform(lambda _: w * w).item() == 6
    assert hvp(lambda _: w * w, w, 1.0)[1][0].item() == 2
    for second in (hessian, lambda f: grad(grad(f)), lambda f: jacobian(grad(f)), lambda f: grad(lambda a: jvp(f, a, 1.0)[1])):
        assert second(lambda _: w**3)(w).item() == 18


def test_what_a_transform_gives_may_be_an_input_of_the_next():
    """Its value and derivatives depend on the tangent: a Tensor whose history goes through variables that are done with."""
    v, moved = jvp(np.sin, 1.0, Tensor(1.0, requires_grad=True))
    for x in (v, moved):
        assert hessian(lambda y: y**3)(x).item() == pytest.approx(6 * x.item())
        assert grad(lambda y: y * grad(lambda z: z * y)(1.0))(x).item() == pytest.approx(2 * x.item())
    kept = []
    grad(lambda x: (kept.append(x * 1.0), x * x)[1])(2.0)
    assert grad(grad(lambda y: y**3))(kept[0]).item() == 12
    assert grad(lambda y: y * grad(lambda z: z * kept[0])(1.0))(3.0).item() == 2


def test_a_transform_on_a_thread_of_its_own_sees_the_variables_around_it():
    def in_a_thread(f):
        found = []
        thread = threading.Thread(target=lambda: found.append(f()))
        thread.start()
        thread.join()
        return found[0]

    assert grad(lambda x: x * in_a_thread(lambda: grad(lambda y: x * y)(2.0)))(1.0).item() == 2


def test_only_what_a_function_makes_is_walked_through():
    """A chain of ops around it is one Tensor to it, however long."""
    h = Tensor(2.0, requires_grad=True)
    for _ in range(1000):
        h = h * 1.0
    y = Tensor(3.0, requires_grad=True) * 1.0
    made = h * y
    assert transforms._reached((made * made).node, {y.node})[1] == {h.node}
    assert grad(lambda y: h * y)(3.0).item() == 2


def test_inside_a_checkpoint_a_function_means_the_same():
    def through(f):
        return lambda x: checkpoint(f, x) + 0 * x

    for f in (lambda z: jvp(lambda y: z * z, z, 1.0)[1], lambda z: grad(lambda y: z * z)(z)):
        value, slope = value_and_grad(through(f))(3.0)
        assert (value.item(), slope.item()) == (0, 0)
    assert grad(lambda x: np.sum(checkpoint(lambda a: Tensor(1.0), x) * x))(2.0).item() == 1


def test_a_leaf_that_is_used_in_both_ways_is_refused():
    w = Tensor(2.0, requires_grad=True)
    for transform in (lambda f: grad(f)(w), lambda f: hessian(f)(w), lambda f: jvp(f, w, 1.0)):
        with pytest.raises(GraphError, match="input 0 is used as the argument and, the same Tensor, from around the function"):
            transform(lambda y: w * y * y)
    assert grad(lambda y: w * y * y)(w.detach()).item() == 8
    assert grad(lambda y: y * y + 0 * w.detach())(w).item() == 4


def test_steps_of_descent_inside_a_loss():
    """Learning to learn (MAML, Finn et al., 2017): through two steps, for the start and for the step size."""

    def inner(w):
        return np.sum(np.sin(w) * np.array([1.0, 2.0, -1.0, 0.5])) + np.sum(w**4)

    def outer(w, rate):
        for _ in range(2):
            w = w - rate * grad(inner)(w)
        return np.sum(np.cos(w) * np.array([1.0, -1.0, 2.0, 3.0]))

    for f, inputs in ((outer, [0.3 * X, np.array(0.1)]), (lambda rate: outer(0.3 * X, rate), [np.array(0.1)])):
        gradcheck(f, inputs, order=2).assert_right()
        slopes = [grad(f, i)(*inputs).data for i in range(len(inputs))]
        tensors = [Tensor(x, requires_grad=True) for x in inputs]
        f(*tensors).backward()
        for slope, x in zip(slopes, tensors, strict=True):
            np.testing.assert_allclose(slope, x.grad.data, rtol=1e-12)
    direct = gradcheck(lambda w, r: grad(lambda v: outer(v, r))(w), [0.3 * X, np.array(0.1)])
    direct.assert_right()


CONSTANT = {
    "a number": lambda x: 3.0,
    "an integer": lambda x: 3,
    "an array": lambda x: np.float64(2.0),
    "a Tensor": lambda x: Tensor(1.5),
    "what is cut off": lambda x: x.detach().sum(),
    "what has no slope": lambda x: np.sum(np.floor(x)),
    "another variable": lambda x: Tensor(2.0, requires_grad=True) * 3.0,
}


@pytest.mark.parametrize("f", CONSTANT.values(), ids=CONSTANT)
def test_the_derivative_of_what_does_not_depend_on_its_input_is_zero(f):
    zeros = np.zeros(4)
    np.testing.assert_array_equal(grad(f)(X).data, zeros)
    np.testing.assert_array_equal(jacobian(f)(X).data, zeros)
    np.testing.assert_array_equal(hessian(f)(X).data, np.zeros((4, 4)))
    np.testing.assert_array_equal(vjp(f, X)[1](2.0)[0].data, zeros)
    np.testing.assert_array_equal(jvp(f, X, V)[1].data, 0)
    np.testing.assert_array_equal(hvp(f, X, V)[1][0].data, zeros)


def test_second_derivatives_of_what_is_linear_are_zero():
    for linear in (np.sum, lambda x: x @ V, lambda x: 3 * x[1]):
        np.testing.assert_array_equal(hessian(linear)(X).data, np.zeros((4, 4)))
        np.testing.assert_array_equal(hvp(linear, X, V)[1][0].data, np.zeros(4))
    assert grad(grad(lambda x: 3 * x))(1.0).item() == 0
    assert grad(grad(grad(lambda x: x * x)))(1.0).item() == 0
    np.testing.assert_array_equal(jacobian(jacobian(lambda x: A @ x))(X).data, np.zeros((4, 4, 4)))
    np.testing.assert_array_equal(jacobian(lambda x: np.ones((2, 3)))(X).data, np.zeros((2, 3, 4)))
