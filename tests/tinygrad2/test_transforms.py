"""Transforms against closed forms, finite differences and each other."""

import gc
import weakref

import numpy as np
import pytest

from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, checkpoint, grad, gradcheck, hessian, hvp, jacobian, jvp, no_grad, ops, value_and_grad, vjp
from tinygrad2.errors import GraphError, ShapeError

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
    with pytest.raises(GraphError, match="gave a NoneType; it must give a Tensor"):
        grad(lambda x: None)(X)
    with pytest.raises(GraphError, match=r"shape \(4,\), not one number"):
        grad(lambda x: np.ones(4))(X)
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
    out = checkpoint(lambda x: layer(x, w), x)
    with pytest.raises(GraphError, match="uses 1 tensors that require a gradient but were not passed"):
        out.sum().backward()


def test_checkpoint_passes_integers_through():
    t = Tensor(A, requires_grad=True)
    checkpoint(ops.embedding, t, np.array([0, 0, 3])).sum().backward()
    np.testing.assert_array_equal(t.grad.data[:, 0], [2, 0, 0, 1])
