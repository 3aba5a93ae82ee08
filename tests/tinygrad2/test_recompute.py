"""checkpoint: what is computed again is what was."""

import gc
import weakref

import numpy as np
import pytest

from tinygrad2 import Tensor, checkpoint, grad, gradcheck, nn, no_grad, ops, vjp
from tinygrad2.errors import GraphError

A = np.random.default_rng(0).standard_normal((4, 4))
X, V = np.random.default_rng(1).standard_normal((2, 4))


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


def test_a_checkpoint_of_dropout_computes_what_was():
    rng, mine = np.random.default_rng(0), np.random.default_rng(1)
    p, qkv = Tensor(np.ones(2000), requires_grad=True), Tensor(rng.standard_normal((2, 5, 12)), requires_grad=True)
    attention_rng = np.random.default_rng(2)

    def f(x, qkv):
        inner = checkpoint(lambda y: ops.dropout(y, 0.25, mine) * y, x)
        return np.sum(ops.dropout(x, 0.5, mine) * inner) * np.sum(ops.causal_attention(qkv, 2, 0.3, attention_rng))

    layer = nn.Dropout(0.5)
    for create_graph in (False, True):
        for g in (np.random.default_rng(3).standard_normal(2000),):
            out = checkpoint(layer, p)
            out.backward(g, create_graph=create_graph)
            np.testing.assert_array_equal(p.grad.data, g * out.data)
            p.grad = None
        states = mine.bit_generator.state, attention_rng.bit_generator.state
        f(p, qkv).backward()
        expected, of_attention = p.grad.data, qkv.grad.data
        p.grad = qkv.grad = None
        mine.bit_generator.state, attention_rng.bit_generator.state = states
        checkpoint(f, p, qkv).backward(create_graph=create_graph)
        np.testing.assert_allclose(p.grad.data, expected, rtol=1e-12)
        np.testing.assert_allclose(qkv.grad.data, of_attention, rtol=1e-9, atol=1e-9)
        p.grad = qkv.grad = None
    after = mine.bit_generator.state
    checkpoint(lambda x: ops.dropout(x, 0.5, mine), p).backward(np.ones(2000))
    mine.bit_generator.state, again = after, mine.bit_generator.state
    ops.dropout(p, 0.5, mine)
    assert mine.bit_generator.state == again  # as if it had been computed once


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_checkpoint_that_computes_something_else_is_refused(create_graph):
    rng, calls = np.random.default_rng(0), []
    x = Tensor(np.ones(5), requires_grad=True)

    def counts(x):
        calls.append(x)
        return ops.dropout(ops.dropout(x, 0.5, rng), 0.5, rng) if len(calls) > 1 else ops.dropout(x, 0.5, rng)

    for f, message in (
        (lambda x: x * rng.standard_normal(5), "gave something else when it was computed again"),
        (counts, "drew random numbers 1 times at first, and more often"),
    ):
        with pytest.raises(GraphError, match=message):
            np.sum(checkpoint(f, x) * V[0]).backward(create_graph=create_graph)


def test_a_checkpoint_of_containers_and_of_several_outputs():
    p = {"w": Tensor(A, requires_grad=True), "b": [Tensor(X, requires_grad=True), None, "kept"]}

    def f(p, x, shift):
        assert p["b"][1:] == [None, "kept"]
        h = np.tanh(p["w"] @ x + p["b"][0])
        return {"h": h, "s": (np.sum(h) + shift,)}

    def loss(out):
        return np.sum(out["h"] ** 2 * V) * out["s"][0]

    direct = vjp(lambda w, b: loss(f({"w": w, "b": [b, None, "kept"]}, X, 2.0)), A, X)[1](1.0)
    for create_graph in (False, True):
        out = checkpoint(f, p, X, 2.0)
        np.testing.assert_allclose(out["s"][0].data, f(p, X, 2.0)["s"][0].data)
        assert out["s"][0].shape == ()
        loss(out).backward(create_graph=create_graph)
        np.testing.assert_allclose(p["w"].grad.data, direct[0].data, rtol=1e-12)
        np.testing.assert_allclose(p["b"][0].grad.data, direct[1].data, rtol=1e-12)
        p["w"].grad = p["b"][0].grad = None
    with pytest.raises(GraphError, match="gave float64, float32; give one dtype"):
        checkpoint(lambda x: (x, x.astype(np.float32)), p["w"])
    with pytest.raises(GraphError, match="gave a list; it must give a Tensor, or several"):
        checkpoint(lambda x: [x, 1.0], p["w"])


def test_lists_that_were_lent_may_be_written_to():
    x, a = Tensor([1.0, 2.0, 3.0], requires_grad=True), [1.0, 2.0, 3.0]

    def f(x, a):
        a[0] += 1  # its own
        return x * a

    y = checkpoint(f, x, a)
    a[:] = [7.0, 7.0, 7.0]
    y.backward(np.array([1.0, 10.0, 100.0]))
    np.testing.assert_array_equal(x.grad.data, [2, 20, 300])
