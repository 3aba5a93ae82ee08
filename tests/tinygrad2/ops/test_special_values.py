"""Infinities, NaN, zeros, float16, integers, small integer types and foreign memory: every op is right there too.

What is right is worked out by hand, or is what the same op gives for float32 and float64.
"""

import math
import tracemalloc

import numpy as np
import pytest
from op_samples import NAMES, OPS, SAMPLES, arguments, gradients, sample, weigh

from tinygrad2 import Tensor, autograd, gradcheck, ops
from tinygrad2.ops.op import Fused

INTEGERS = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64]
INF, NAN = np.inf, np.nan


def gradient(f, x, g=None):
    """The value of a function of one array, and its gradient for a cotangent of different entries."""
    x = Tensor(x, requires_grad=True)
    out = f(x)
    g = np.arange(1.0, 1 + out.size).reshape(out.shape) if g is None else g
    return out.data, autograd.grad([out], [x], [np.asarray(g, out.dtype)])[0].data


# -- ids of every integer type


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.__name__)
@pytest.mark.parametrize("look_up", [ops.embedding, lambda w, ids: w[ids], lambda w, ids: np.take(w, ids, axis=0)])
@pytest.mark.parametrize("columns", [1, 3])
def test_the_largest_id_of_a_small_type_is_an_id(look_up, dtype, columns):
    top = min(np.iinfo(dtype).max, 299)
    ids = np.array([[3, top, 3], [0, top, top]], dtype)
    w, g = np.arange(300.0 * columns).reshape(300, columns), np.random.default_rng(0).standard_normal((2, 3, columns))
    value, found = gradient(lambda t: look_up(t, ids), w, g)
    right = np.zeros_like(w)
    np.add.at(right, ids.astype(int), g)
    np.testing.assert_array_equal(value, w[ids.astype(int)])
    np.testing.assert_allclose(found, right, rtol=1e-14)
    t = Tensor(w, requires_grad=True)
    (recorded,) = autograd.grad([look_up(t, ids)], [t], [g], create_graph=True)
    np.testing.assert_allclose(recorded.data, right, rtol=1e-14)


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.__name__)
def test_targets_of_every_integer_type(dtype, rng, implementation):
    top = min(np.iinfo(dtype).max, 299)
    for real in (np.float64, np.float32):
        logits, h, w = (rng.standard_normal(shape).astype(real) for shape in ((3, 300), (3, 5), (300, 5)))
        for f, x in (
            (lambda x, t: ops.cross_entropy(x, t), logits),
            (lambda x, t, h=h: ops.linear_cross_entropy(Tensor(h), x, None, t), w),
        ):
            for a, b in zip(*(gradient(lambda x, t=t, f=f: f(x, t), x) for t in targets(top, dtype)), strict=True):
                np.testing.assert_array_equal(a, b)


def targets(top, dtype):
    """The same ids in a small type and in NumPy's own."""
    return np.array([0, top, top - 1], dtype), np.array([0, top, top - 1])


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.__name__)
def test_indices_along_an_axis_of_every_integer_type(dtype, rng):
    x, ids = rng.standard_normal((2, 300)), np.array([[0, min(np.iinfo(dtype).max, 299)]] * 2, dtype)
    found = gradient(lambda t: np.take_along_axis(t, ids, axis=1), x)
    for a, b in zip(found, gradient(lambda t: np.take_along_axis(t, ids.astype(int), axis=1), x), strict=True):
        np.testing.assert_array_equal(a, b)


# -- infinities and NaN in sums of exponentials


@pytest.mark.parametrize(
    ("x", "value", "found"),
    [
        ([1.0, INF, 2.0, INF], INF, [0, 0.5, 0, 0.5]),
        ([INF, 1000.0], INF, [1, 0]),
        ([-INF, INF], INF, [0, 1]),
        ([1.0, NAN, 2.0], NAN, [NAN] * 3),
        ([INF, NAN, 1000.0], NAN, [NAN] * 3),
        ([-INF, -INF], -INF, [0, 0]),
        ([-INF, 0.0], 0, [0, 1]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_infinities_in_sums_of_exponentials(x, value, found, dtype, implementation):
    x, part = np.array([x, [1.0, 2.0, 3.0, 4.0][: len(x)]], dtype), np.array(found)
    total, g = gradient(lambda t: ops.logsumexp(t, axis=1), x)
    np.testing.assert_array_equal([total[0], *g[0]], [value, *part])
    np.testing.assert_allclose(g[1], 2 * np.exp(x[1]) / np.exp(x[1]).sum(), rtol=1e-5)
    assert total.dtype == g.dtype == dtype
    cotangent = np.arange(1.0, 1 + x.size).reshape(x.shape)
    back = part * (cotangent[0] - np.sum(part * cotangent[0]))
    for f in (ops.softmax, lambda t: ops.softmax(t.T, axis=0).T, ops.fused.Softmax.spec):
        p, g = gradient(lambda t, f=f: f(t, axis=-1) if f is ops.fused.Softmax.spec else f(t), x, cotangent)
        np.testing.assert_array_equal(p[0], part)
        np.testing.assert_array_equal(g[0], back)
        assert p.dtype == dtype
    log_p, g = gradient(ops.log_softmax, x, cotangent)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(log_p[0], np.log(part), rtol=1e-6)
    np.testing.assert_array_equal(g[0], cotangent[0] - part * cotangent[0].sum())
    assert log_p.dtype == dtype


@pytest.mark.parametrize("f", [lambda t: ops.logsumexp(t, axis=1), ops.softmax, ops.log_softmax])
def test_a_second_derivative_beside_an_infinity(f):
    x = Tensor([[1.0, INF, 2.0], [1.0, 2.0, -INF]], requires_grad=True)
    (g,) = autograd.grad([weigh(np.where(np.isfinite(f(x).data), f(x), 0))], [x], create_graph=True)
    (h,) = autograd.grad([weigh(g * g)], [x])
    assert np.isfinite(h.data).all()
    assert (h.data[0] == 0).all()


def test_sums_of_exponentials_of_nothing():
    x = np.zeros((3, 0))
    for f in (ops.softmax, ops.log_softmax):
        value, g = gradient(f, x)
        assert value.shape == g.shape == (3, 0)
        (g,) = autograd.grad([f(t := Tensor(x, requires_grad=True))], [t], [x], create_graph=True)
        assert g.shape == (3, 0)
    value, g = gradient(lambda t: ops.logsumexp(t, axis=1), x)
    np.testing.assert_array_equal(value, [-INF] * 3)
    assert g.shape == (3, 0)
    assert ops.softmax(np.zeros((0, 3)), axis=0).shape == (0, 3)


# -- integers, booleans and lists

OF_REALS = {
    **{
        f.__self__.name: f for f in (ops.sigmoid, ops.softplus, ops.silu, ops.erf, ops.gelu_erf, ops.logsumexp, ops.log_softmax)
    },
    "gelu": ops.gelu,
    "softmax": ops.softmax,
    "layer_norm": lambda x: ops.layer_norm(x, [1, 2, 3], [0, 1, 0]),
    "linear": lambda x: ops.linear(x, [[1, 2], [3, 4], [5, 6]], [1, 2]),
    "causal_attention": lambda x: ops.causal_attention([x, x] if isinstance(x, list) else np.stack([x, x]), 1),
    "rotary": lambda x: ops.rotary([[*x, *x]] if isinstance(x, list) else np.concatenate([x, x])[None], 1),
    "cross_entropy": lambda x: ops.cross_entropy(x, 1),
    "linear_cross_entropy": lambda x: ops.linear_cross_entropy(x, [[1, 2, 3], [1, 0, 1]], None, 1),
}


@pytest.mark.parametrize("f", OF_REALS.values(), ids=OF_REALS)
def test_functions_of_integers_are_those_of_the_same_floats(f, implementation):
    right = f(np.array([1.0, 0.0, 1.0]))
    for x in (
        np.array([True, False, True]),
        *(np.array([1, 0, 1], dtype) for dtype in INTEGERS),
        [1, 0, 1],
        [True, False, 1.0],
    ):
        np.testing.assert_array_equal(f(x), right, strict=True)
        if not isinstance(x, list):
            np.testing.assert_array_equal(f(Tensor(x)).data, right, strict=True)


def test_functions_of_one_number():
    assert ops.erf(1) == math.erf(1)
    assert ops.sigmoid(np.uint8(3)) == pytest.approx(1 / (1 + math.exp(-3)), rel=1e-15)
    assert ops.relu([1, -2]).tolist() == [1, 0]
    np.testing.assert_array_equal(ops.embedding([[1, 2], [3, 4]], [1]), [[3, 4]])


# -- powers


@pytest.mark.parametrize(
    ("a", "b", "for_a", "for_b"),
    [
        (0.0, -1.5, -INF, -INF),
        (0.0, 0.0, 0, 0),
        (0.0, 2.0, 0, 0),
        (0.0, 1.0, 1, 0),
        (2.0, 0.0, 0, math.log(2)),
        (-2.0, 3.0, 12, NAN),
        (-2.0, -1.0, -0.25, NAN),
        (INF, 0.0, 0, INF),
        (INF, 0.3, 0, INF),
    ],
)
def test_powers_at_their_edges(a, b, for_a, for_b):
    x, y = Tensor([a], requires_grad=True), Tensor([b], requires_grad=True)
    with np.errstate(divide="ignore"):
        out = x**y
        found = autograd.grad([out], [x, y], [np.ones(1)])
    np.testing.assert_allclose([g.item() for g in found], [for_a, for_b], rtol=1e-15)


def test_powers_of_and_by_integers():
    for a, b in ((2.0, -1), (-3.0, 2), (0.0, 3), (1.5, 0)):
        for power in (b, np.int8(b), np.array([b]), np.array([b], np.int16)):
            _, g = gradient(lambda t, p=power: t**p, [a])
            np.testing.assert_allclose(g, [0 if b == 0 else b * a ** (b - 1)], rtol=1e-15)
    for base in (np.array([2, 3]), np.array([2, 3], np.uint8)):
        _, g = gradient(lambda t, base=base: base**t, [-1.0, -2.0])
        np.testing.assert_allclose(g, [math.log(2) / 2, 2 * math.log(3) / 9], rtol=1e-14)
    with pytest.raises(ValueError, match="Integers to negative integer powers"):
        Tensor(np.array([2, 3])) ** -1
    x, y = Tensor([2.0, 3.0], requires_grad=True), Tensor([0.0, 1.0], requires_grad=True)
    (g,) = autograd.grad([x**y], [x], [np.ones(2)], create_graph=True)
    np.testing.assert_allclose(autograd.grad([g], [y], [np.ones(2)])[0].data, [1 / 2, 1 + math.log(3)], rtol=1e-15)


# -- NaN, where entries are selected


@pytest.mark.parametrize(
    ("f", "x", "found"),
    [
        (np.max, [1.0, NAN, 3.0, NAN], [0, 0.5, 0, 0.5]),
        (np.min, [NAN, 1.0], [1, 0]),
        (lambda x: np.max(x, axis=0), [[1.0, NAN], [2.0, 5.0]], [[0, 2], [1, 0]]),
        (lambda x: np.maximum(x, 1.0), [NAN, 2.0, 0.0], [1, 2, 0]),
        (lambda x: np.maximum(1.0, x), [NAN, 2.0, 0.0], [1, 2, 0]),
        (lambda x: np.minimum(x, 1.0), [NAN, 2.0, 0.0], [1, 0, 3]),
        (lambda x: np.maximum(x, NAN), [NAN, 2.0], [0.5, 0]),
        (lambda x: np.maximum(x, [INF, INF]), [INF, 2.0], [0.5, 0]),
        (ops.relu, [NAN, 2.0, -1.0, INF, -INF], [1, 2, 0, 4, 0]),
        (lambda x: np.clip(x, 0.0, 1.0), [NAN, 2.0, 0.5], [1, 0, 3]),
        (lambda x: np.clip([NAN, 2.0, -1.0], x, 1.0), [0.0, 0.0, 0.0], [0, 0, 3]),
        (lambda x: np.clip(0.5, x, 1.0), [NAN, 0.0], [1, 0]),
        (lambda x: np.clip(0.5, 0.0, x), [NAN, 0.1, 1.0], [1, 2, 0]),
        (lambda x: np.clip(2.0, x, None), [NAN, 3.0, 1.0], [1, 2, 0]),
    ],
)
def test_the_entry_that_was_selected_gets_the_gradient(f, x, found):
    x = np.array(x)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(gradient(f, x)[1], found)


# -- products


@pytest.mark.parametrize("x", [[2.0, 3.0, 5.0], [2.0, 0.0, 5.0], [0.0, 3.0, 0.0], [0.0], [-2.0, 7.0]])
def test_products_with_zeros_and_twice(x):
    for f in (np.prod, np.cumprod):
        gradcheck(f, [np.array(x)]).assert_right()
        gradcheck(lambda t, f=f: weigh(autograd.grad([weigh(f(t))], [t], create_graph=True)[0]) + 0 * weigh(t), [np.array(x)])
    x = np.array(x)
    t = Tensor(x, requires_grad=True)
    (g,) = autograd.grad([np.prod(t)], [t], create_graph=True)
    others = [np.prod(np.delete(x, i)) for i in range(len(x))]
    np.testing.assert_allclose(g.data, others, rtol=1e-15)
    weights = np.arange(1.0, 1 + len(x))
    (h,) = autograd.grad([g], [t], [weights])
    pairs = [sum(w * np.prod(np.delete(x, [i, j])) for i, w in enumerate(weights) if i != j) for j in range(len(x))]
    np.testing.assert_allclose(h.data, pairs, rtol=1e-15)


def test_the_gradient_of_a_product_takes_memory_for_its_entries_only():
    x = np.random.default_rng(0).uniform(0.9, 1.1, 4000)
    for f in (np.prod, np.cumprod):
        tracemalloc.start()
        gradient(f, x)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3e6


# -- float16


def halves(x):
    """Numbers that float16 has."""
    return np.asarray(x, np.float16).astype(float)


@pytest.mark.parametrize(("op", "number"), SAMPLES, ids=NAMES)
def test_float16_is_float32_rounded(op, number, implementation):
    f, inputs = sample(op, number)
    if op.name == "astype" or not any(x.size for x in inputs):
        return
    inputs = [halves(x) for x in inputs]
    out, grads = gradients(f, inputs, np.float16)
    exact_out, exact = gradients(f, inputs, np.float32)
    assert out.dtype == np.float16
    assert all(g.dtype == np.float16 for g in grads)
    for a, b in ((out.data, exact_out.data), *((g.data, e.data) for g, e in zip(grads, exact, strict=True))):
        np.testing.assert_allclose(a.astype(float), b, rtol=4e-3, atol=4e-3 * max(1, np.abs(b).max(initial=0)))


MANY = np.ones((5000, 2))
SUMS = {
    "bias": (lambda b: MANY.astype(np.float16) + b, np.zeros(2)),
    "linear": (lambda b: ops.linear(MANY.astype(np.float16), np.eye(2, dtype=np.float16), b), np.zeros(2)),
    "weight": (lambda w: ops.linear(MANY.astype(np.float16), w), np.eye(2)),
    "matmul": (lambda w: MANY.astype(np.float16) @ w, np.eye(2)),
    "einsum": (lambda w: np.einsum("ij,jk->ik", MANY.astype(np.float16), w), np.eye(2)),
    "gain": (lambda g: ops.layer_norm(MANY.astype(np.float16) * np.float16([1, -1]), g, np.zeros(2, np.float16)), np.ones(2)),
    "row": (lambda w: ops.embedding(w, np.zeros(5000, int)), np.ones((3, 2))),
    "index": (lambda w: w[np.zeros(5000, int)], np.ones(3)),
    "mask": (lambda w: np.broadcast_to(w, (5000, 2)), np.ones(2)),
    "cumsum": (lambda w: np.cumsum(w, axis=0)[::100], np.ones((5000, 2))),
    "sum": (lambda w: np.sum(w * np.ones((5000, 1), np.float16), axis=0), np.ones(2)),
    "mean": (lambda w: np.mean(w, axis=0), np.full((5000, 2), 300.0)),
    "var": (lambda w: np.var(w, axis=0), np.arange(10000.0).reshape(5000, 2) % 300),
    "std": (lambda w: np.std(w, axis=0), np.arange(10000.0).reshape(5000, 2) % 300),
    "logsumexp": (lambda w: ops.logsumexp(w, axis=0), np.zeros((5000, 2))),
    "log_softmax": (lambda w: ops.log_softmax(w, axis=0)[:3], np.zeros((5000, 2))),
    "softmax": (lambda w: 1000 * ops.softmax(w, axis=0)[:3], np.zeros((5000, 2))),
    "layer_norm": (
        lambda x: ops.layer_norm(x, np.ones(4, np.float16), np.zeros(4, np.float16)),
        np.array([[300.0, 299.0, 301.0, 300.0], [3e4, 3e4, 2e4, 3.5e4]]),
    ),
    "silu": (ops.silu, np.array([200.0, -8.0, 1.0])),
    "gelu": (ops.gelu, np.array([200.0, -2.0, 1.0])),
    "prod": (np.prod, np.array([300.0, 300.0, 0.01, 0.02])),
    "attention": (lambda x: ops.causal_attention(x, 1), np.full((40, 6), 20.0)),
    "cross_entropy": (lambda x: ops.cross_entropy(x, np.zeros(1, int)), np.zeros((1, 3000))),
}


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize(("f", "x"), SUMS.values(), ids=SUMS)
def test_long_sums_of_float16(f, x, twice):
    """Of the same numbers in float32; where the gradient is recorded too."""
    found = []
    for dtype in (np.float16, np.float32):
        t = Tensor(np.float16(x).astype(dtype), requires_grad=True)
        out = f(t)
        g = np.ones(out.shape, out.dtype) * np.resize([1.0, 0.5], out.shape[-1:] or 1).astype(out.dtype)[: out.size].reshape(
            out.shape[-1:]
        )
        (back,) = autograd.grad([out], [t], [g], create_graph=twice)
        assert out.dtype == back.dtype == dtype
        found.append((out.data, back.data))
    for a, b in zip(*found, strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a.astype(float), b, rtol=3e-3, atol=1e-3 * np.abs(b).max())


# -- memory in another order


def swapped(x):
    """In the other byte order."""
    return x.astype(x.dtype.newbyteorder())


def unaligned(x):
    """At an odd address."""
    memory = np.zeros(x.nbytes + 1, np.uint8)
    out = memory[1:].view(x.dtype).reshape(x.shape)
    out[...] = x
    return out


@pytest.mark.parametrize("layout", [swapped, unaligned])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("op", [op for op in OPS if issubclass(op, Fused)], ids=lambda op: op.name)
def test_kernels_of_foreign_memory(op, dtype, layout, implementation):
    args, settings = arguments(op, 0)
    inputs, _ = [a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype == float else a for a in args], settings
    foreign = [layout(a) if isinstance(a, np.ndarray) else a for a in inputs]
    out, residuals = op.run(tuple(inputs), settings)
    found, saved = op.run(tuple(foreign), settings)
    np.testing.assert_allclose(found, out, rtol=1e-5)
    g = np.random.default_rng(0).standard_normal(out.shape).astype(dtype)
    for a, b in zip(op.vjp(layout(g), saved, *foreign, **settings), op.vjp(g, residuals, *inputs, **settings), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
