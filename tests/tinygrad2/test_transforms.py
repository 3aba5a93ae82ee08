"""Transforms against closed forms, finite differences and each other."""

import threading
from collections import OrderedDict, defaultdict
from typing import NamedTuple

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
    np.testing.assert_allclose(grad(lambda a, b: a * b * b, argnums=1)(3.0, 2.0).data, 12)
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
    with pytest.raises(DtypeError, match="multiply: it gave complex128, and complex numbers have no gradient here"):
        grad(lambda x: x * 1j)(3.0)
    with pytest.raises(DtypeError, match="the function gave complex128; it must give real numbers"):
        grad(lambda x: Tensor(1j))(3.0)
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
    assert transforms._reached([(made * made).node], {y.node})[1] == {h.node}
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
        with pytest.raises(GraphError, match="input 0 is used both as the argument and from around the function"):
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


# -- one Tensor in two places


@pytest.mark.parametrize("wants", [True, False])
def test_one_tensor_given_for_two_arguments_is_two_variables(wants):
    x = Tensor(3.0, requires_grad=wants)

    def f(a, b):
        return a * a * b

    assert grad(f)(x, x).item() == 18
    assert grad(f, 1)(x, x).item() == 9
    assert grad(lambda a, b: a * a * b)(x, b=x).item() == 18
    assert [g.item() for g in grad(f, (0, 1))(x, x)] == [18, 9]
    assert grad(lambda a, p: a * p["k"][0])(x, {"k": [x]}).item() == 3
    assert jacobian(f)(x, x).item() == 18
    assert hessian(f)(x, x).item() == 6
    assert [g.item() for g in vjp(f, x, x)[1](1.0)] == [18, 9]
    assert jvp(f, [x, x], [1.0, 0.0])[1].item() == 18
    assert [g.item() for g in hvp(f, [x, x], [1.0, 0.0])[1]] == [6, 6]
    out = checkpoint(f, x, x)
    if wants:
        out.backward()
        assert x.grad.item() == 27
        x.grad = None
        grad(f)(x, x).backward()  # 2ab, by both: the result is recorded
        assert x.grad.item() == 12


# -- containers

PARAMETERS = {"w": A[:2], "b": [X[:2], (X[2], X[3])]}


def network(p, x):
    hidden = np.tanh(p["w"] @ x) + p["b"][0] * p["b"][1][0]
    return np.sum(hidden * hidden) * p["b"][1][1]


def test_containers_come_back_as_they_were_given():
    value, g = value_and_grad(network)(PARAMETERS, X)
    assert set(g) == {"w", "b"}
    assert isinstance(g["b"], list)
    assert isinstance(g["b"][1], tuple)
    flat = lambda w, b, c, d: network({"w": w, "b": [b, (c, d)]}, X)  # noqa: E731
    arrays = [A[:2], X[:2], X[2], X[3]]
    assert value.item() == flat(*map(Tensor, arrays)).item()
    for found, expected in zip([g["w"], g["b"][0], *g["b"][1]], vjp(flat, *arrays)[1](1.0), strict=True):
        np.testing.assert_allclose(found.data, expected.data, rtol=1e-14)
    gradcheck(flat, arrays).assert_right()
    of_both = grad(network, (1, 0))(PARAMETERS, X)
    np.testing.assert_allclose(of_both[0].data, grad(network, 1)(PARAMETERS, X).data)
    np.testing.assert_array_equal(of_both[1]["w"].data, g["w"].data)
    by_name = grad(network)(PARAMETERS, x=X)
    np.testing.assert_array_equal(by_name["b"][0].data, g["b"][0].data)


def test_jvp_vjp_and_hvp_of_containers():
    rng = np.random.default_rng(5)
    p, v = ({"a": rng.standard_normal(3), "b": (rng.standard_normal(()),)} for _ in range(2))

    def several(p):
        return {"y": np.sin(p["a"]) * p["b"][0], "z": [np.sum(p["a"] ** 2)]}

    def mixed(p):
        out = several(p)
        return np.sum(out["y"] * p["a"][::-1]) * out["z"][0]

    value, moved = jvp(several, p, v)
    np.testing.assert_allclose(value["y"].data, np.sin(p["a"]) * p["b"][0])
    np.testing.assert_allclose(moved["y"].data, np.cos(p["a"]) * v["a"] * p["b"][0] + np.sin(p["a"]) * v["b"][0])
    np.testing.assert_allclose(moved["z"][0].data, 2 * p["a"] @ v["a"])
    g = {"y": rng.standard_normal(3), "z": [1.5]}
    (back,) = vjp(several, p)[1](g)
    through = np.sum(back["a"].data * v["a"]) + back["b"][0].item() * v["b"][0]
    assert through == pytest.approx(np.sum(moved["y"].data * g["y"]) + moved["z"][0].item() * 1.5)
    _, (product,) = hvp(mixed, [p], [v])
    h = 1e-6
    up, down = (grad(mixed)({"a": p["a"] + s * v["a"], "b": (p["b"][0] + s * v["b"][0],)}) for s in (h, -h))
    np.testing.assert_allclose(product["a"].data, (up["a"].data - down["a"].data) / (2 * h), rtol=1e-6)
    np.testing.assert_allclose(product["b"][0].data, (up["b"][0].data - down["b"][0].data) / (2 * h), rtol=1e-6)
    full = jacobian(several)(p)
    np.testing.assert_allclose(full["y"]["a"].data, np.diag(np.cos(p["a"]) * p["b"][0]))
    np.testing.assert_allclose(full["z"][0]["b"][0].data, 0)
    assert hessian(mixed)(p)["a"]["b"][0].shape == (3,)
    np.testing.assert_allclose(hessian(mixed)(p)["b"][0]["a"].data, hessian(mixed)(p)["a"]["b"][0].data, rtol=1e-12)


def test_a_list_of_numbers_is_an_array():
    np.testing.assert_array_equal(grad(lambda x: np.sum(x**2))([1, 2.5]).data, [2, 5])
    np.testing.assert_array_equal(vjp(lambda x: x * x, [[1.0, 2.0]])[1]([[1.0, 3.0]])[0].data, [[2, 12]])


def test_has_aux_hands_something_else_through():
    def f(x):
        return np.sum(x**2), {"norm": np.sqrt(np.sum(x**2)), "name": "f"}

    (value, aux), g = value_and_grad(f, has_aux=True)(X)
    assert value.item() == pytest.approx(X @ X)
    assert aux["norm"].item() == pytest.approx(np.sqrt(X @ X))
    assert not aux["norm"].requires_grad
    assert aux["name"] == "f"
    np.testing.assert_allclose(g.data, 2 * X)
    g, aux = grad(f, has_aux=True)(X)
    np.testing.assert_allclose(g.data, 2 * X)
    assert aux["name"] == "f"
    with pytest.raises(GraphError, match=r"has_aux: the function gave a Tensor; it must give a pair"):
        grad(lambda x: np.sum(x), has_aux=True)(X)


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: jvp(np.multiply, [X, X], [X]), r"1 tangents for 2 inputs"),
        (
            lambda: hvp(lambda p: np.sum(p["a"] ** 2), {"a": X}, X),
            r"vectors: .* given for .*; both must have the same structure",
        ),
        (lambda: hvp(bend, X, np.ones((1, 4))), r"a vector of shape \(1, 4\) for an input of shape \(4,\)"),
        (lambda: hvp(bend, X, np.ones(1)), r"a vector of shape \(1,\) for an input of shape \(4,\)"),
        (lambda: vjp(lambda x: (x, x), X)[1](V), r"cotangents: a ndarray was given for a tuple of 2"),
        (lambda: vjp(lambda x: {"y": x}, X)[1]({"z": V}), r"cotangents: a dict with 'z' was given for a dict with 'y'"),
    ],
)
def test_what_is_built_otherwise_is_refused(attempt, message):
    with pytest.raises(ShapeError, match=message):
        attempt()


def test_a_place_that_there_is_not_is_refused():
    with pytest.raises(GraphError, match=r"argnums=2: the function was called with 2 arguments by position"):
        grad(lambda a, b: a * b, 2)(1.0, 2.0)


def test_cotangents_and_tangents_may_be_recorded():
    c = Tensor(V, requires_grad=True)
    (g,) = vjp(lambda x: np.sin(x) * x, X)[1](c)
    np.sum(g * X).backward()
    np.testing.assert_allclose(c.grad.data, (np.cos(X) * X + np.sin(X)) * X)
    c.grad = None
    np.sum(jvp(np.sin, X, c)[1] * X).backward()
    np.testing.assert_allclose(c.grad.data, np.cos(X) * X)
    c.grad = None
    np.sum(hvp(bend, X, c * 2)[1][0] * X).backward()
    np.testing.assert_allclose(c.grad.data, 2 * hessian(bend)(X).data @ X)


def test_a_ragged_list_of_numbers_is_a_container():
    g = grad(lambda p: p[0] * p[1][0] ** 2 + p[1][1])([3.0, [2.0, 3.0]])
    assert g[0].item() == 4
    np.testing.assert_array_equal(g[1].data, [12, 1])
    assert grad(lambda p: p[1] * p[0])([3.0, np.float64(2.0)])[1].item() == 3


class Line(NamedTuple):
    slope: float
    offset: float


def test_containers_keep_their_kind():
    g = grad(lambda p: p.slope * p.offset**2)(Line(2.0, 3.0))
    assert (type(g), g.slope.item(), g.offset.item()) == (Line, 9, 12)
    ordered = OrderedDict(a=np.array(2.0), b=np.array(3.0))

    def f(p):
        p.move_to_end("a")
        return p["a"] * p["b"]

    g = grad(f)(ordered)
    assert (type(g), list(g), g["a"].item()) == (OrderedDict, ["a", "b"], 3)
    assert list(ordered) == ["a", "b"]
    assert grad(lambda p: p["a"] * p["c"])(defaultdict(lambda: 5.0, a=np.array(2.0)))["a"].item() == 5


def test_odd_argnums_and_no_aux():
    f = lambda a, b: a * b * b  # noqa: E731
    assert grad(f, np.int64(1))(3.0, 2.0).item() == 12
    assert [g.item() for g in grad(f, [np.int64(-1)])(3.0, 2.0)] == [12]
    (value, aux), g = value_and_grad(lambda a: (a * a, None), has_aux=True)(3.0)
    assert (value.item(), aux, g.item()) == (9, None, 6)
    for wrong in ("x", 5, [0, 7]):
        with pytest.raises(GraphError, match="argnums="):
            grad(f, wrong)(1.0, 2.0)
    with pytest.raises(DtypeError, match="an input is a str, not a number: 'x'"):
        grad(lambda p: p["a"])({"a": 1.0, "name": "x"})
