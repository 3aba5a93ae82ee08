"""Products of matrices, and bfloat16: what is rounded, how, and where it ends."""

import gc

import numpy as np
import pytest
from kernel_settings import MKL, SETTINGS, name, needs_mkl, use

from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, autograd, kernels, ops
from tinygrad2.errors import GraphError, UnsupportedError
from tinygrad2.kernels import reference
from tinygrad2.kernels.fast import products
from tinygrad2.kernels.fast.products import bfloat16, matmul, round_to_bfloat16
from tinygrad2.kernels.fast.threads import pool


@pytest.fixture(params=SETTINGS, ids=name)
def setting(request, monkeypatch):
    """Runs a test in every setting."""
    implementation, library, threads = request.param
    use(monkeypatch, implementation, library)
    monkeypatch.setattr(reference, "BLOCK", 1000)
    monkeypatch.setattr(reference, "ADDED_ROWS", 50, raising=False)
    with pool(threads):
        yield request.param


@pytest.fixture(params=kernels.IMPLEMENTATIONS)
def with_mkl(request, monkeypatch):
    """Runs a test on every implementation, with MKL's products."""
    if not MKL:
        pytest.skip("pip install -e '.[mkl]'")
    use(monkeypatch, request.param, "mkl")
    with pool(2):
        yield request.param


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def exact(x):
    """The numbers that 16 bits stand for."""
    return (x.astype(np.uint32) << 16).view(np.float32)


def by_columns(x):
    return np.asfortranarray(x)


def with_gaps(x):
    """Between the numbers of a row."""
    return np.repeat(x, 2, axis=1)[:, ::2]


def in_a_wider_one(x):
    """Rows that do not touch."""
    return np.pad(x, ((0, 0), (3, 4)))[:, 3:-4]


def upside_down(x):
    return x[::-1].copy()[::-1]


WRITTEN = [np.ascontiguousarray, by_columns, with_gaps, in_a_wider_one]
LAYOUTS = [*WRITTEN, upside_down]


def relative(found, expected):
    """The largest difference, as a share of the largest number."""
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("shape", [(131, 33, 45), (45, 33, 131), (1, 33, 131), (131, 1, 1), (1, 7, 1), (3, 0, 4), (0, 3, 4)])
def test_products_of_every_layout(shape, setting):
    """In float32; written, and added."""
    m, k, n = shape
    a, b, before = normal(m, k), normal(k, n, seed=1), normal(m, n, seed=2)
    expected = a.astype(float) @ b.astype(float)
    for i, of_a in enumerate(LAYOUTS):
        for of_b in LAYOUTS:
            of_out = WRITTEN[(i + LAYOUTS.index(of_b)) % len(WRITTEN)]
            for add in (False, True):
                out = of_out(before.copy())
                assert matmul(of_a(a), of_b(b), out, add) is out
                np.testing.assert_allclose(out, expected + add * before, rtol=0, atol=1e-5 * max(1, k) ** 0.5)
    assert matmul(a, b).dtype == np.float32


def swapped(x):
    """In the other byte order."""
    return x.astype(x.dtype.newbyteorder())


def unaligned(x):
    """At an odd address."""
    out = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    out[...] = x
    return out


@pytest.mark.parametrize("of_out", [np.array, swapped, unaligned])
@pytest.mark.parametrize("layout", [np.array, swapped, unaligned])
def test_products_of_foreign_memory(layout, of_out, setting):
    """Both operands alike, which is what two arrays of one file are."""
    a, b, before = normal(131, 33), normal(33, 45, seed=1), normal(131, 45, seed=2)
    for add in (False, True):
        for one, other in ((layout(a), layout(b)), (a, layout(b))):
            out = of_out(before)
            matmul(one, other, out, add)
            np.testing.assert_allclose(out, a.astype(float) @ b.astype(float) + add * before, rtol=0, atol=1e-4)


def test_a_linear_layer_with_one_array_in_float64_is_computed_in_it(setting):
    """As NumPy does, in a pool or not."""
    arrays = [normal(33, 7), normal(7, 5, seed=1), normal(5, seed=2)]
    exact = arrays[0].astype(float) @ arrays[1] + arrays[2]
    for i in range(2):
        some = [x.astype(float) if i == j else x for j, x in enumerate(arrays)]
        out, _ = kernels.linear(*some)
        assert out.dtype == np.float64
        np.testing.assert_allclose(out, exact, rtol=0, atol=1e-12)


def test_products_in_float64_are_exact(setting):
    a, b = normal(131, 33).astype(float), normal(33, 45).astype(float)
    np.testing.assert_allclose(matmul(a, b), a @ b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(131, 33, 45), (45, 33, 131), (1, 33, 131), (131, 1, 1), (64, 64, 64)])
@pytest.mark.parametrize("of_out", [np.ascontiguousarray, in_a_wider_one])
def test_products_of_bfloat16_are_those_of_the_rounded_numbers(shape, of_out, with_mkl):
    """To what float32 sums of exact products can be."""
    m, k, n = shape
    a, b, before = round_to_bfloat16(normal(m, k)), round_to_bfloat16(normal(k, n, seed=1)), normal(m, n, seed=2)
    expected = exact(a).astype(float) @ exact(b).astype(float)
    for of_a in LAYOUTS:
        for of_b in LAYOUTS:
            for add in (False, True):
                out = of_out(before.copy())
                matmul(of_a(a), of_b(b), out, add)
                assert relative(out, expected + add * before) < 1e-5


@pytest.mark.parametrize("of_out", [by_columns, with_gaps])
def test_products_of_bfloat16_into_columns(of_out, with_mkl):
    a, b = round_to_bfloat16(normal(31, 7)), round_to_bfloat16(normal(7, 12, seed=1))
    out = of_out(np.zeros((31, 12), np.float32))
    assert relative(matmul(a, b, out), exact(a).astype(float) @ exact(b).astype(float)) < 1e-5


# -- rounding

UPPER = np.arange(1 << 16, dtype=np.uint32) << 16
EVERY = (UPPER[:, None] | np.uint32([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])).view(np.float32)
"""All that 16 bits stand for, and what lies between: ties and their neighbours, denormals, infinities, NaN."""


def test_rounding_is_to_the_nearest_and_to_even_at_ties(setting):
    """By distances in float64, in which all of these are exact."""
    found = round_to_bfloat16(EVERY)
    assert (found.dtype, found.shape) == (np.uint16, EVERY.shape)
    nan = np.isnan(EVERY)
    np.testing.assert_array_equal(np.isnan(exact(found)), nan)
    x = EVERY[~nan]
    lower = x.view(np.uint32) >> 16
    with np.errstate(invalid="ignore"):  # above infinity are NaN
        sizes = [np.abs(exact(bits).astype(float)) for bits in (lower, lower + 1)]
    below, above = [np.where(np.isinf(size), 2.0**128, size) for size in sizes]
    down, up = np.abs(x.astype(float)) - below, above - np.abs(x.astype(float))
    finite = np.isfinite(x)
    np.testing.assert_array_equal(found[~nan][~finite], lower[~finite])
    expected = np.where((down < up) | ((down == up) & (lower % 2 == 0)), lower, lower + 1)
    np.testing.assert_array_equal(found[~nan][finite], expected[finite])


@pytest.mark.oracle
def test_rounding_is_torchs(torch, implementation):
    x = np.concatenate([EVERY.ravel(), normal(10_007), normal(10_007) * np.float32(1e-39)])
    found, theirs = round_to_bfloat16(x), torch.from_numpy(x).to(torch.bfloat16)
    nan = np.isnan(x)
    np.testing.assert_array_equal(found[~nan], theirs.view(torch.int16).numpy().view(np.uint16)[~nan])
    np.testing.assert_array_equal(np.isnan(exact(found)), theirs.isnan().numpy())


@pytest.mark.parametrize("x", [normal(131, 67).T, normal(131, 67)[::2, 1:], normal(3, 4, 5).swapaxes(0, 2), normal(0, 4)])
def test_rounding_of_every_layout(x, implementation):
    found = round_to_bfloat16(x)
    assert found.shape == x.shape
    np.testing.assert_array_equal(found, round_to_bfloat16(x.ravel()).reshape(x.shape))


# -- bfloat16 in a model

CONFIG = GPT2Config(vocab_size=97, max_seq_len=80, d_model=48, num_layers=2, num_heads=3)


def model_and_batch(**change):
    model = GPT2(CONFIG, seed=1)
    ids = np.random.default_rng(0).integers(0, 97, (3, 81))
    return model, (ids[:, :-1], ids[:, 1:])


def loss_and_gradients(model, batch):
    loss = model.loss(*batch)
    return loss.item(), [g.data for g in autograd.grad(loss, model.parameters())]


def distance(found, expected):
    """The norm of the difference, as a share of the norm."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_the_gradient_in_bfloat16_is_near(with_mkl):
    """And is another: what is multiplied has 8 bits."""
    model, batch = model_and_batch()
    loss, gradients = loss_and_gradients(model, batch)
    with bfloat16(p.data for p in model.parameters()):
        rounded, found = loss_and_gradients(model, batch)
    assert rounded == pytest.approx(loss, rel=2e-3)
    assert rounded != loss
    for (parameter, _), g, expected in zip(model.named_parameters(), found, gradients, strict=True):
        assert g.dtype == np.float32
        assert 1e-5 < distance(g, expected) < 0.04, parameter


def test_nothing_of_bfloat16_stays_on(with_mkl):
    model, batch = model_and_batch()
    before = loss_and_gradients(model, batch)
    with pytest.raises(ZeroDivisionError), bfloat16(p.data for p in model.parameters()):
        _ = model.loss(*batch).item() / 0
    after = loss_and_gradients(model, batch)
    assert before[0] == after[0]
    for a, b in zip(before[1], after[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert products.operand(batch[0]) is batch[0]


def test_a_copy_of_a_parameter_is_made_again_at_the_next_entry(with_mkl):
    """As in training: changed in place after every step."""
    w, x = normal(24, 45), normal(131, 24)
    for _ in range(2):
        with bfloat16([w]):
            expected = exact(round_to_bfloat16(x)).astype(float) @ exact(round_to_bfloat16(w)).astype(float)
            for found in (kernels.linear(x, w, None)[0], kernels.linear(x, by_columns(w), None)[0]):
                assert relative(found, expected) < 1e-5
            ((for_x, for_w, _),) = [kernels.linear_vjp(normal(131, 45), round_to_bfloat16(x), x, w, (True, True, False))]
        g = exact(round_to_bfloat16(normal(131, 45))).astype(float)
        assert relative(for_x, g @ exact(round_to_bfloat16(w)).T.astype(float)) < 1e-5
        assert relative(for_w, exact(round_to_bfloat16(x)).T.astype(float) @ g) < 1e-5
        w *= -1.5


def test_a_weight_that_only_looks_like_a_parameter_is_itself(with_mkl):
    """Slices, and squares that are not the transpose of their base."""
    w, x = normal(24, 24), normal(131, 24)
    for part in (w, w.T, w[:, ::-1], w[::-1].T, w[:12].T, w.reshape(24, 24)):
        with bfloat16([w]):
            found, _ = kernels.linear(x[:, : len(part)], part, None)
        assert distance(found, x[:, : len(part)].astype(float) @ part) < 0.01


def test_there_is_no_second_derivative_in_bfloat16(with_mkl):
    model, batch = model_and_batch()
    with bfloat16(p.data for p in model.parameters()), pytest.raises(GraphError, match=r"in bfloat16 has no second derivative"):
        autograd.grad(model.loss(*batch), model.parameters(), create_graph=True)


COTANGENTS = {
    "broadcast": lambda g: np.broadcast_to(g[:1, :1], g.shape),
    "by columns": lambda g: np.ascontiguousarray(g.swapaxes(1, 2)).swapaxes(1, 2),
    "read-only": lambda g: np.frombuffer(g.tobytes(), g.dtype).reshape(g.shape),
}


@pytest.mark.parametrize("lies", COTANGENTS.values(), ids=COTANGENTS)
def test_attention_in_bfloat16_takes_any_cotangent(lies, with_mkl):
    qkv, g = Tensor(normal(2, 70, 36), requires_grad=True), lies(normal(2, 70, 12))
    (expected,) = autograd.grad(ops.causal_attention(qkv, 3), qkv, g)
    with bfloat16([]):
        (found,) = autograd.grad(ops.causal_attention(qkv, 3), qkv, g)
    assert distance(found.data, expected.data) < 0.02


def test_a_backward_after_bfloat16_is_right_or_refused(with_mkl):
    x, w, g = Tensor(normal(131, 24)), Tensor(normal(24, 45), requires_grad=True), normal(131, 45)
    (expected,) = autograd.grad(ops.linear(x, w), w, g)
    with bfloat16([w.data]):
        out = ops.linear(x, w)
    try:
        (found,) = autograd.grad(out, w, g)
    except GraphError:
        return
    assert distance(found.data, expected.data) < 0.02


@pytest.mark.parametrize("lies", [np.ascontiguousarray, by_columns])
def test_linear_cross_entropy_in_bfloat16(lies, with_mkl, monkeypatch):
    monkeypatch.setattr(reference, "LOGITS", 10_000)
    h, w, b, targets = normal(131, 24), lies(normal(211, 24)), normal(211), np.random.default_rng(0).integers(0, 211, 131)
    loss, gradients = kernels.linear_cross_entropy(h, w, b, targets, (True, True, True))
    with bfloat16([w]):
        rounded, found = kernels.linear_cross_entropy(h, w, b, targets, (True, True, True))
    assert rounded == pytest.approx(loss, rel=2e-3)
    for x, y in zip(found, gradients, strict=True):
        assert distance(x, y) < 0.02


@pytest.mark.parametrize("implementation", kernels.IMPLEMENTATIONS)
def test_without_mkl_bfloat16_says_what_to_install(implementation, monkeypatch):
    use(monkeypatch, implementation, "numpy")
    monkeypatch.setattr(products, "mkl", lambda: None)
    with pytest.raises(UnsupportedError, match=r"bfloat16 products need MKL: pip install 'tinygrad2\[mkl\]'"), bfloat16([]):
        pass
    assert products.operand(normal(2, 2)).dtype == np.float32


# -- what a graph holds


def arrays_of(loss):
    """Every array that a graph keeps, whole where it is a view."""
    seen, waiting, found = set(), [loss.node], []
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting.extend(node.parents)
        parts = [node.primals, node.residuals, tuple(node.settings.values())]
        while parts:
            part = parts.pop()
            if isinstance(part, (tuple, list)):
                parts.extend(part)
            elif isinstance(part, np.ndarray):
                while isinstance(part.base, np.ndarray):
                    part = part.base
                found.append(part)
    return found


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=needs_mkl)])
def test_a_forward_keeps_neither_attention_weights_nor_logits(dtype, implementation):
    model, batch = model_and_batch()
    B, T, H, V = 3, 80, 3, 97
    with pool(2):
        if dtype == "bfloat16":
            with bfloat16(p.data for p in model.parameters()):
                loss = model.loss(*batch)
        else:
            loss = model.loss(*batch)
    gc.collect()
    sizes = [x.size for x in arrays_of(loss)]
    assert len(sizes) > 30
    assert max(sizes) == max(B * T * 4 * 48, 4 * 48 * 48)
    assert B * T * 4 * 48 < B * H * T * T
    assert not any(x.shape[-2:] == (T, T) or (x.shape[-1:] == (V,) and x.ndim > 1) for x in arrays_of(loss))
