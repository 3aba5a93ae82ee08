"""Optimizers against PyTorch and against the papers' formulas; schedules; clipping."""

import math

import numpy as np
import pytest

from tinygrad2 import Tensor, autograd, nn, optim
from tinygrad2.errors import DtypeError, ShapeError, TinygradError


def parameters(rng, dtype=np.float64):
    return [nn.Parameter(rng.standard_normal(shape).astype(dtype)) for shape in [(3, 4), (4,), (2, 2)]]


def loss_of(ps, step):
    a, b, c = ps
    return np.sum(np.tanh(a @ b) * (1 + step)) + np.sum(c * c * c) * 0.1 + np.sum(b * b)


def test_adam_by_the_paper(rng):
    """Kingma & Ba, algorithm 1, written out."""
    p = nn.Parameter(rng.standard_normal(5))
    x, m, v = p.data.copy(), 0, 0
    optimizer = optim.Adam([p], lr=0.1, betas=(0.8, 0.95), eps=1e-3)
    for t in range(1, 6):
        g = np.cos(x) * t
        p.grad = np.cos(p.data) * t
        optimizer.step()
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        x = x - 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-3)
        np.testing.assert_allclose(p.data, x, rtol=1e-12)


def test_adamw_decays_matrices_only():
    matrix, bias = nn.Parameter(np.ones((2, 2))), nn.Parameter(np.ones(2))
    optimizer = optim.AdamW([matrix, bias], lr=0.1, weight_decay=0.5)
    matrix.grad, bias.grad = np.zeros((2, 2)), np.zeros(2)
    optimizer.step()
    np.testing.assert_allclose(matrix.data, 0.95)
    np.testing.assert_array_equal(bias.data, 1)


def test_sgd_with_momentum():
    p = nn.Parameter(np.array([1.0]))
    optimizer = optim.SGD([p], lr=0.1, momentum=0.5)
    for expected in (0.9, 0.75, 0.575):
        p.grad = np.array([1.0])
        optimizer.step()
        assert p.item() == pytest.approx(expected)


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, 0.1), optim.Adam, optim.AdamW], ids=["SGD", "Adam", "AdamW"])
def test_parameters_without_gradient_or_in_odd_memory_order(make, rng):
    p = nn.Parameter(np.asfortranarray(rng.standard_normal((3, 4))))
    still = nn.Parameter(rng.standard_normal(3))
    before, unmoved = p.data.copy(), still.data.copy()
    optimizer = make([p, still])
    p.grad = np.ones((3, 4))
    optimizer.step()
    assert (p.data < before).all()
    np.testing.assert_array_equal(still.data, unmoved)


@pytest.mark.parametrize(
    ("default", "explicit"),
    [
        (optim.SGD, lambda p: optim.SGD(p, lr=0.01, momentum=0.0)),
        (optim.Adam, lambda p: optim.Adam(p, lr=0.001, betas=(0.9, 0.999), eps=1e-8)),
        (optim.AdamW, lambda p: optim.AdamW(p, lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)),
    ],
)
def test_defaults_are_the_usual_ones(default, explicit, rng):
    start, slopes = rng.standard_normal((2, 3)), [rng.standard_normal((2, 3)) * 10.0 ** -np.arange(0, 9, 3) for _ in range(4)]
    ends = []
    for make in (default, explicit):
        p = nn.Parameter(start.copy())
        optimizer = make([p])
        for g in slopes:
            p.grad = g
            optimizer.step()
        ends.append(p.data)
    assert (ends[0] != start).all()
    np.testing.assert_array_equal(*ends)


def test_a_parameter_without_gradient_holds_up_no_other():
    still, p = nn.Parameter(np.ones(1)), nn.Parameter(np.ones(1))
    optimizer = optim.SGD([still, p], lr=0.5)
    p.grad = np.ones(1)
    optimizer.step()
    assert (still.item(), p.item()) == (1, 0.5)


def test_zero_grad_forgets_every_gradient_and_leaves_the_frozen_alone():
    ps = [nn.Parameter(np.ones(2)) for _ in range(3)]
    optimizer = optim.SGD(ps)
    ps[1].requires_grad = False
    (ps[0] * ps[1] * ps[2]).sum().backward()
    optimizer.zero_grad()
    assert [p.grad for p in ps] == [None] * 3
    assert [p.requires_grad for p in ps] == [True, False, True]


def test_no_parameters_is_an_error():
    with pytest.raises(TinygradError, match="AdamW: no parameters"):
        optim.AdamW([])


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda p: optim.SGD(p, 0.05, momentum=0.9), lambda t, p: t.SGD(p, 0.05, momentum=0.9)),
        (lambda p: optim.Adam(p, 0.01), lambda t, p: t.Adam(p, 0.01)),
        (
            lambda p: optim.AdamW(p, 0.01, (0.8, 0.9), weight_decay=0.3),
            lambda t, p: t.AdamW(
                [{"params": [p[0], p[2]], "weight_decay": 0.3}, {"params": [p[1]], "weight_decay": 0.0}], 0.01, (0.8, 0.9)
            ),
        ),
    ],
    ids=["SGD", "Adam", "AdamW"],
)
def test_ten_steps_as_pytorch(torch, rng, ours, theirs):
    mine = parameters(rng)
    other = [torch.tensor(p.data.copy(), requires_grad=True) for p in mine]
    optimizer, reference = ours(mine), theirs(torch.optim, other)
    for step in range(10):
        optimizer.zero_grad()
        loss_of(mine, step).backward()
        norm = optim.clip_grad_norm(mine, 1.0)
        optimizer.step()
        reference.zero_grad()
        a, b, c = other
        (torch.tanh(a @ b).sum() * (1 + step) + (c**3).sum() * 0.1 + (b * b).sum()).backward()
        expected = torch.nn.utils.clip_grad_norm_(other, 1.0)
        reference.step()
        assert norm == pytest.approx(expected.item(), rel=1e-12)
        for p, q in zip(mine, other, strict=True):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-10, atol=1e-12)


def test_clipping_scales_all_gradients_together():
    ps = [nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros(1)), nn.Parameter(np.zeros(3))]
    ps[0].grad, ps[1].grad = np.array([3.0, 0.0]), np.array([4.0])
    assert optim.clip_grad_norm(ps, 10.0) == pytest.approx(5)
    np.testing.assert_array_equal(ps[0].grad.data, [3, 0])
    assert optim.clip_grad_norm(ps, 1.0) == pytest.approx(5)
    assert optim.grad_norm(p.grad for p in ps) == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(ps[1].grad.data, [4 / (5 + 1e-6)], rtol=1e-12)


def test_the_factor_of_clipping_is_one_below_the_norm_and_where_the_norm_is_no_number():
    assert optim.clip_factor(4.0, 2.0) == pytest.approx(2 / (4 + 1e-6), rel=1e-12)
    assert [optim.clip_factor(norm, 2.0) for norm in (1.0, 0.0, math.inf, math.nan)] == [1, 1, 1, 1]


@pytest.mark.parametrize("make", [optim.SGD, optim.AdamW, optim.Adam])
def test_a_scaled_step_is_a_step_of_scaled_gradients(make, rng):
    p, q = (nn.Parameter(np.ones((3, 2))) for _ in range(2))
    mine, other = make([p]), make([q])
    for scale in (0.25, 1.0, 2.0, 0.0):
        g = rng.standard_normal((3, 2))
        p.grad, q.grad = g, scale * g
        mine.step(scale=scale)
        other.step()
        np.testing.assert_allclose(p.data, q.data, rtol=1e-13)


@pytest.mark.parametrize("schedule", [optim.warmup_cosine, optim.warmup_linear])
def test_schedules(schedule):
    rates = [schedule(step, 1.0, 10, 110, 0.1) for step in range(120)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[10] == 1
    assert (np.diff(rates[10:111]) < 0).all()
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    assert rates[119] == pytest.approx(0.1)
    assert schedule(0, 1.0, 0, 10) == 1
    assert schedule(11, 1.0, 10, 11, 0.1) == pytest.approx(0.1)
    assert [schedule(step, 1.0, 10, 10, 0.1) for step in (10, 11)] == [1, pytest.approx(0.1)]  # nothing left to fall in


def test_cosine_and_linear_differ_where_they_should():
    assert optim.warmup_cosine(25, 1.0, 0, 100) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert optim.warmup_linear(25, 1.0, 0, 100) == pytest.approx(0.75)


def test_a_constant_rate_stays():
    rates = [optim.warmup_constant(step, 2.0, 4, 10, 0.5) for step in range(20)]
    np.testing.assert_allclose(rates, [0.5, 1, 1.5] + [2] * 17)
    assert [optim.warmup_constant(0, 2.0, warmup, 10) for warmup in (0, 1)] == [2, 2]


def test_a_stable_rate_falls_in_the_last_fifth():
    rates = [optim.warmup_stable_decay(step, 2.0, 10, 110, 0.1) for step in range(120)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 5)
    np.testing.assert_allclose(rates[10:89], 2)  # 88 is the first of the last 22
    np.testing.assert_allclose(rates[88:111], np.linspace(2, 0.1, 23))
    np.testing.assert_allclose(rates[110:], 0.1)
    assert optim.warmup_stable_decay(110, 2.0, 10, 110) == 0
    late = [optim.warmup_stable_decay(step, 2.0, 95, 100, 0.1) for step in (94, 95, 100)]  # a warm-up into the last fifth
    np.testing.assert_allclose(late, [2, 2, 0.1])


def test_steps_change_one_array_in_place_and_it_is_nobody_elses():
    mine = np.ones((2, 3)).T
    locked = np.ones((3, 2))
    locked.flags.writeable = False
    for array in (mine, locked, np.broadcast_to(1.0, (3, 2))):
        p = Tensor(array, requires_grad=True)
        optimizer = optim.SGD([p], 0.5)
        optimizer.step([np.ones((3, 2))])
        held = p.data
        optimizer.step([np.ones((3, 2))])
        assert p.data is held
        np.testing.assert_array_equal(held, 0)
        np.testing.assert_array_equal(array, 1)
        p.data = array  # borrowed again
        optimizer.step([np.ones((3, 2))])
        np.testing.assert_array_equal(p.data, 0.5)
        np.testing.assert_array_equal(array, 1)


def test_a_parameter_that_joins_late_takes_its_own_first_step():
    """The bias correction of Adam is that of the steps a parameter has seen (Kingma & Ba, 2015, section 3)."""
    early, late, alone = (Tensor([1.0, 2.0], requires_grad=True) for _ in range(3))
    g = np.array([0.3, -2.0])
    both, single = optim.AdamW([early, late], 0.1), optim.AdamW([alone], 0.1)
    for _ in range(50):
        both.step([g, None])
    for _ in range(3):
        both.step([g, g])
        single.step([g])
        np.testing.assert_array_equal(late.data, alone.data)
    assert (both.steps, both.counts) == (53, [53, 3])
    both.steps = 7
    assert both.counts == [7, 7]


def test_a_parameter_that_is_given_twice_is_refused():
    a, b = (Tensor(np.ones(2), requires_grad=True) for _ in range(2))
    with pytest.raises(TinygradError, match=r"parameter 2, of shape \(2,\), is parameter 0 again"):
        optim.SGD([a, b, a], 1.0)


def test_without_momentum_an_infinite_gradient_is_not_remembered():
    p = Tensor(np.ones(2), requires_grad=True)
    optimizer = optim.SGD([p], 0.5)
    optimizer.step([np.array([np.inf, 1.0])])
    p.data = np.ones(2)
    optimizer.step([np.array([1.0, 1.0])])
    np.testing.assert_array_equal(p.data, 0.5)


@pytest.mark.parametrize("kind", [lambda p: optim.SGD(p, momentum=0.9), optim.AdamW])
def test_a_parameter_that_no_longer_fits_its_state_is_refused_and_nothing_moves(kind):
    for array in (np.ones(5), np.ones((2, 1)), np.ones(2, np.float32)):
        a, b = (Tensor(np.ones(2), requires_grad=True) for _ in range(2))
        optimizer = kind([a, b])
        b.data = array
        with pytest.raises(ShapeError, match="as it was when this optimizer was made; make a new one"):
            optimizer.step([np.ones(2), np.ones(array.shape)])
        np.testing.assert_array_equal(a.data, 1)
        assert optimizer.steps == 0
        assert optimizer.counts == [0, 0]


@pytest.mark.parametrize("make", [optim.SGD, optim.AdamW])
def test_a_gradient_of_another_dtype_is_converted_or_refused(make):
    ps = [Tensor(np.ones(2, np.float32), requires_grad=True) for _ in range(3)]
    optimizers = [make([p], 0.5) for p in ps]
    for optimizer, dtype in zip(optimizers, (np.float32, np.float64, np.int8), strict=True):
        optimizer.step([np.array([1, 2], dtype)])
    np.testing.assert_array_equal(ps[0].data, ps[1].data)
    np.testing.assert_array_equal(ps[0].data, ps[2].data)
    assert ps[1].dtype == np.float32
    with pytest.raises(DtypeError, match="gradient 0 is complex128; give real numbers"):
        optimizers[0].step([np.array([1, 2j])])


# -- gradients as values


@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW])
@pytest.mark.parametrize("wrap", [lambda g: g, Tensor], ids=["arrays", "tensors"])
def test_gradients_that_are_given_are_taken_and_grad_is_not_looked_at(rng, kind, wrap):
    values = [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 2), (4,), ())]
    grads = [rng.standard_normal(v.shape).astype(np.float32) for v in values]
    mine, other = ([Tensor(v.copy(), requires_grad=True) for v in values] for _ in range(2))
    for p, q, g in zip(mine, other, grads, strict=True):
        p.grad, q.grad = Tensor(np.full_like(g, 7.0)), Tensor(g)
    kind(mine, 0.1).step([wrap(g) for g in grads], scale=0.5)
    kind(other, 0.1).step(scale=0.5)
    for p, q, v in zip(mine, other, values, strict=True):
        np.testing.assert_array_equal(p.data, q.data)
        assert (p.data != v).any()
    assert optim.grad_norm([*grads, None]) == pytest.approx(np.sqrt(sum((g.astype(float) ** 2).sum() for g in grads)), rel=1e-6)


def test_a_missing_gradient_leaves_its_parameter_alone():
    a, b = (Tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    optim.SGD([a, b], 1.0).step([None, np.array([1.0, 1.0])])
    np.testing.assert_array_equal(a.data, [1, 2])
    np.testing.assert_array_equal(b.data, [0, 1])


@pytest.mark.parametrize(
    ("grads", "message"),
    [
        ([np.ones(2)], "1 gradients for 2 parameters"),
        ([np.ones(2), np.ones((1, 2))], r"gradient 1 has shape \(1, 2\), its parameter \(2,\)"),
        ([np.ones(2), np.ones(())], r"gradient 1 has shape \(\), its parameter \(2,\)"),
    ],
)
def test_gradients_that_do_not_fit_change_nothing(grads, message):
    ps = [Tensor([1.0, 2.0], requires_grad=True) for _ in range(2)]
    optimizer = optim.AdamW(ps, 1.0)
    with pytest.raises(ShapeError, match=message):
        optimizer.step(grads)
    assert optimizer.steps == 0
    assert all((p.data == [1, 2]).all() for p in ps)


def test_the_norm_of_parameters_is_not_taken_for_that_of_their_gradients():
    w = Tensor([3.0, 4.0], requires_grad=True)
    with pytest.raises(TinygradError, match=r"grad_norm\(p.grad for p in parameters\)"):
        optim.grad_norm([w])
    (g,) = autograd.grad((w**2).sum(), [w], create_graph=True)
    assert optim.grad_norm([g]) == 10


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int64])
def test_the_norm_neither_overflows_nor_loses_what_is_small(dtype):
    values = [np.full(5000, 100, dtype), np.full((2, 3), 3, dtype)]
    assert optim.grad_norm(values) == pytest.approx(math.sqrt(5000 * 100**2 + 6 * 9), rel=1e-6)
    assert optim.grad_norm([np.full(3, np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 250.0, dtype)]) > 200
    if dtype in (np.float32, np.float64):
        for size in (1e25, 1e-25, 1e-30, 0.0):
            assert optim.grad_norm([np.full(4, size, dtype), None]) == pytest.approx(2 * size, rel=1e-6)
    assert optim.grad_norm([np.ones(5, bool)]) == pytest.approx(math.sqrt(5))
    assert math.isnan(optim.grad_norm([np.array([1, np.nan], np.float32)]))
    assert optim.grad_norm([np.array([1, np.inf])]) == math.inf
    with pytest.raises(DtypeError, match="a gradient is complex128; give real numbers"):
        optim.grad_norm([np.array([1, 1j])])


def test_a_single_tensor_is_no_list_of_tensors():
    """Its rows would be taken for parameters, and nothing would happen to itself."""
    p = nn.Parameter(np.ones((2, 2), np.float32))
    p.grad = Tensor(np.ones((2, 2), np.float32))
    optimizer = optim.SGD([p])
    for attempt in (
        lambda: optim.SGD(p),
        lambda: optim.clip_grad_norm(p, 1.0),
        lambda: optim.grad_norm(p),
        lambda: optim.grad_norm(np.ones(3)),
        lambda: optimizer.step(np.ones((1, 2, 2))),
        lambda: optimizer.step(np.float32(2)),
        lambda: optimizer.step(np.array(1.0)),
    ):
        with pytest.raises(TinygradError, match="is not a list of"):
            attempt()
    for scale in (None, "a", 1j, p, np.ones(2), math.nan, math.inf):
        with pytest.raises(TinygradError, match="is not a finite number"):
            optimizer.step(scale=scale)
    assert optimizer.steps == 0
    optimizer.step([[[1, 1], [1, 1]]], scale=np.float32(100))  # lists are arrays
    np.testing.assert_array_equal(p.data, 0)


def test_what_two_parameters_share_is_clipped_once():
    a, b = (Tensor(np.ones(2), requires_grad=True) for _ in range(2))
    a.grad = b.grad = Tensor(np.full(2, 3.0))
    assert optim.clip_grad_norm([a, b, a], 1.0) == 6
    np.testing.assert_allclose(a.grad.data, 0.5, rtol=1e-6)
    np.testing.assert_allclose(b.grad.data, 0.5, rtol=1e-6)
    a.grad = np.broadcast_to(3.0, 2)
    optim.clip_grad_norm([a], 1.0)
    assert np.linalg.norm(a.grad.data) == pytest.approx(1, rel=1e-5)


def test_clipping_leaves_a_lent_array_alone():
    locked = np.full(3, 2.0)
    locked.flags.writeable = False
    for lent in (np.full(3, 2.0), locked):
        p = Tensor(np.ones(3), requires_grad=True)
        p.grad = lent
        assert optim.clip_grad_norm([p], 1.0) == pytest.approx(math.sqrt(12))
        np.testing.assert_array_equal(lent, 2)
        assert np.linalg.norm(p.grad.data) == pytest.approx(1, rel=1e-5)


def test_what_cannot_be_stepped_is_refused_before_anything_moves():
    x = Tensor([1.0, 2.0], requires_grad=True)
    for wrong in (np.ones(2), None, Tensor([1, 2]), "a"):
        with pytest.raises(TinygradError, match=r"parameter 1 is a .*; give Tensors of floating-point numbers"):
            optim.SGD([x, wrong])
    optimizer = optim.AdamW([x])
    for lr in ("a", None, Tensor(0.1), math.nan, math.inf):
        optimizer.lr = lr
        with pytest.raises(TinygradError, match=r"step: lr=.* is not a finite number"):
            optimizer.step([np.ones(2)])
    np.testing.assert_array_equal(x.data, [1, 2])
    assert (optimizer.steps, optimizer.counts) == (0, [0])
    assert not optimizer.state[0]["mean"].any()
    half = Tensor(np.ones(2, np.float16), requires_grad=True)
    with pytest.raises(TinygradError, match=r"parameter 0 is float16, .* eps=1e-08 is 0; use float32"):
        optim.Adam([half])
    optim.SGD([half])
    for bound in (-1.0, math.nan):
        with pytest.raises(TinygradError, match=r"max_norm=.* must not be negative"):
            optim.clip_grad_norm([x], bound)


def test_norms_of_float64_neither_overflow_nor_vanish():
    for size in (1e200, 1e-200, 1e300, 5e-324):
        assert optim.grad_norm([np.full(4, size), np.zeros(3)]) == pytest.approx(2 * size, abs=0)
    assert optim.grad_norm([np.array([3e200, 4e200]), np.zeros(0)]) == pytest.approx(5e200)
    assert optim.grad_norm([np.zeros(0)]) == optim.grad_norm([]) == optim.grad_norm([np.array([1e-200])]) * 0
    assert optim.grad_norm([np.array([1e-200]), np.zeros(0)]) == pytest.approx(1e-200, abs=0)


@pytest.mark.parametrize("bound", [0.0, 0.5])
def test_any_bound_from_zero_on_is_taken(bound):
    p = Tensor(np.ones(2), requires_grad=True)
    p.grad = np.array([3.0, 4.0])
    assert optim.clip_grad_norm([p], bound) == 5
    np.testing.assert_allclose(p.grad.data, np.array([0.6, 0.8]) * bound, rtol=1e-6)
