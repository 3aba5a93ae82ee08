"""Functions that are put together of others, and NumPy's arguments: values are NumPy's, gradients those of differences."""

import tracemalloc

import numpy as np
import pytest

from tinygrad2 import Tensor, autograd, gradcheck

MASK = np.array([[True, False, True, True], [False, True, True, False], [True, True, False, True]])
B = np.random.default_rng(7).standard_normal((3, 4))
C = np.random.default_rng(8).uniform(0.5, 2.0, (4, 2, 3))
V, W = B[0], B[1]


def joined(found):
    """All numbers of one array, or of a tuple of them, in a row."""
    parts = found if isinstance(found, (tuple, list)) else [found]
    return np.concatenate([np.reshape(part, (-1,)) for part in parts])


CALLS = """
np.sum(x, 0, np.float32); np.sum(x, 0, None, None, True); np.sum(a=x, axis=-1); np.sum(x, where=MASK)
np.sum(x, axis=1, initial=2.5)
np.sum(x, axis=0, where=MASK[0], keepdims=True); np.sum(x, out=None, dtype=None, initial=0, where=True)
np.sum(x, -1, dtype="f4")
np.prod(x, axis=1, where=MASK); np.prod(x, initial=3.0); np.prod(x, dtype=np.float32)
np.max(x, axis=0, where=MASK, initial=-9.0); np.min(x, where=MASK, initial=0.1); np.max(x, initial=0.3); np.amax(x, 1)
np.amin(x, 1)
np.max(x[:0], initial=0.3) + np.sum(x); np.min(x[:0], axis=0, initial=0.3) + x; np.amax(x, initial=0.3, where=MASK)
np.mean(x, 1, where=MASK); np.mean(x, where=MASK, keepdims=True); np.mean(x, dtype=np.float32)
np.var(x, correction=1); np.std(x, 0, correction=2, keepdims=True); np.var(x, 1, None, None, 1)
np.var(x, dtype=np.float32, ddof=1)
np.cumsum(x, 1, np.float32); np.add(x, B, dtype=np.float32); np.multiply(B, x, dtype="f4", casting="same_kind")
np.exp(x, where=True)
np.concatenate([x, B], dtype=np.float32); np.stack([x, B], 1, dtype="f4", casting="same_kind"); np.concatenate([x, B], None)
np.concatenate((x, [[1, 2, 3, 4]])); np.stack([x[0], [1, 2, 3, 4]]); np.concatenate([x[0], [4.0, 5.0]]); np.concatenate(x)
np.clip(x, None, 0.5); np.clip(x, a_min=V, a_max=None); np.clip(x, min=-0.2, max=0.4)
np.clip(x, -0.2, a_max=[0.1, 0.2, 0.3, 0.4])
np.reshape(x, (4, 3), "C"); np.reshape(x, shape=-1); np.reshape(x, 12, copy=None); np.astype(x, np.float32, copy=False)
np.pad(x, 1, "constant"); np.transpose(x, axes=(1, 0)); np.squeeze(a=x[None], axis=0); np.expand_dims(x, axis=(0, -1))
x + [1, 2, 3, 4]; [1, 2, 3, 4] * x; (x * x + 1) ** [2, 3, 1, 2]; [[1.0, 2, 3], [3, 4, 5]] @ x; x @ [1, 2, 3, 4]
np.maximum(x, [0.1, 0, 0, 0.2])
np.where(MASK, x, [1, 2, 3, 4]); np.where(MASK.tolist(), [1, 2, 3, 4], x); np.where(x > 0, x, B); np.where(MASK, x, 2)
x[0] + [x[0, 0], 1, x[1, 2], 2]; np.stack([[x[0, 0], 1], x[1, :2]]); [[x[0, 0], 1], [2, x[1, 1]]] @ x[:2]
np.einsum("ij,kj", x, B, optimize=True); np.einsum(x, [0, 1], B, [2, 1], [2, 0]); np.einsum(x, [0, 1], B, [2, 1])
np.einsum(x, [3, 2])
np.einsum("ii->i", x[:, :3]); np.einsum("ii", x[:, 1:]); np.einsum("iij->j", x[:, :3, None] * V)
np.einsum("iij,j->ji", x[:, :3, None] * V, W)
np.einsum("iji->j", x[:, None, :3] * V[:, None]); np.einsum(x, [..., 1], V, [1], [...])
np.einsum("...ii->...i", np.stack([x[:, 1:], x[:, :3]]))
np.einsum("ij,jk,kl->il", x, B.T, x, optimize="greedy"); np.einsum("iiii->i", x[:1, :1, None, None])
np.einsum("ij,j->i", x, [1, 2, 3, 4]); np.einsum("a...,a...->...", x, B); np.einsum(x[:, :3], [0, 0])
np.einsum("i,i->i", x[0], V, optimize=False)
np.split(x, np.int64(2), axis=1); np.array_split(x, 3, axis=1); np.array_split(x, [1, 3], -1); np.split(x, (1, 2))
np.array_split(x, 5)
np.take(x, (0, 2), 1); np.take(x, 1, -2); np.take(x, [[0, 7], [-1, 13]], mode="wrap"); np.take(x, [5, -5], 1, mode="clip")
np.take(x, -1); np.take(x, [True, False]); np.take(x[0, 0], 0); np.take(x[0, 0], [0, 0], axis=0)
np.take(a=x, indices=np.array([2, 0]), axis=0)
np.take_along_axis(x, np.array([[0], [1], [3]]), 1); np.take_along_axis(x, np.array([[0, 1, 2, 0]]), 0)
np.take_along_axis(x, np.array([4, 4, 0]), None)
np.take_along_axis(x[:1], np.argsort(B, 1), axis=1); np.take_along_axis(x, np.array([[0, -1]]), 1)
np.sum(x[0, 0], 0); np.sum(x[0, 0], -1, keepdims=True); np.max(x[1, 1], axis=-1); np.var(x[0], axis=(0,)); np.mean(x[1, 1], ())
np.prod(x[1, 1], 0)
np.dot(x, B.T); np.dot(x, V); np.dot(2.0, x); np.dot(x, x[0, 0]); np.dot(x[:, :2], C); np.dot(C, x.T[:3]); np.dot(x[0], x[1])
np.dot(x, [1, 2, 3, 4])
np.vdot(x, B); np.inner(x, B); np.inner(x, V); np.inner(x, 3.0); np.outer(x, V); np.outer([1, 2], x); np.inner(C.T, x)
np.tensordot(x, B); np.tensordot(x, C, 1); np.tensordot(x, B, 0); np.tensordot(x, C, ([1, 0], [0, 2]))
np.tensordot(x, B, (1, -1)); np.tensordot(C, x, axes=[[2], [0]])
np.kron(x, B[:2, :2]); np.kron(V, x); np.kron(x, 2.0); np.kron(C, x[0]); np.cross(x.T, B.T); np.cross(x, B, axis=0)
np.cross(x[:, :3], V[:3], axisa=0, axisc=0)
np.cross(x.T[0], B.T); np.linalg.cross(x.T, B.T); np.linalg.matmul(x, B.T); np.linalg.outer(x[0], V)
np.linalg.tensordot(x, B, axes=2)
np.linalg.vecdot(x, B); np.vecdot(x, V); np.vecdot(x, B, axis=0); np.matvec(x, V); np.matvec(B, x); np.vecmat(x.T, B)
np.vecmat(V, x.T); np.linalg.vecdot(x, B, axis=0)
np.linalg.matrix_transpose(x); np.matrix_transpose(x[None]); x.mT; np.linalg.multi_dot([x, B.T, x])
np.linalg.multi_dot([V, x.T, W[:3]]); np.linalg.multi_dot([x, V]); np.linalg.multi_dot([x[0], V])
np.linalg.multi_dot([C, x[:, :2]]); np.linalg.multi_dot([x[0], B.T, x, B.T, x, V])
np.linalg.multi_dot([B, x[:1].T, x[:1], B.T, x[:2].T[:3]])
np.hstack([x, B]); np.hstack([x[0], V]); np.hstack([x[0, 0], 2.0]); np.vstack([x, V]); np.vstack((x[0], V)); np.dstack([x, B])
np.dstack([x[0], V]); np.hstack([x, B], dtype="f4")
np.column_stack([x[0], V, B.T]); np.append(x, B); np.append(x, B, 0); np.append(x, [1, 2]); np.append(V, x[0])
np.append(x, 1.0); np.vstack([x, [1, 2, 3, 4]])
np.hsplit(x, 2); np.hsplit(x[0], [1]); np.vsplit(x, 3); np.dsplit(x[None], 2); np.unstack(x); np.unstack(x, axis=1)
np.atleast_1d(x[0, 0]); np.atleast_2d(x[0]); np.atleast_3d(x); np.atleast_3d(x[0]); np.atleast_3d(x[0, 0])
np.atleast_2d(x, 1.0); np.atleast_2d(x[0, 0]); np.atleast_1d([1, 2], x)
np.broadcast_arrays(x, V, 1.0); np.meshgrid(x[0], V); np.meshgrid(x[0], V[:2], indexing="ij")
np.meshgrid(x[0], V, W[:2], sparse=True); np.meshgrid(x[0]); np.meshgrid(x[0], 3, copy=False)
np.repeat(x, 2); np.repeat(x, [1, 0, 2], axis=0); np.repeat(x, 3, 1); np.tile(x, 2); np.tile(x, (2, 1, 2))
np.tile(x[0], (2, 2)); np.tile(x[0, 0], 3); np.tile(x, ())
np.roll(x, 1); np.roll(x, -2, axis=1); np.roll(x, (1, 2), (0, 1)); np.roll(x, 5, 0); np.roll(x, shift=[1, 1], axis=(1, 1))
np.rot90(x); np.rot90(x, 2); np.rot90(x[None], k=-1, axes=(1, 2))
np.moveaxis(x[None], 0, -1); np.moveaxis(C * x[0, 0], [0, 1], [-1, 0]); np.rollaxis(C * x[0, 0], 2)
np.rollaxis(C * x[0, 0], 0, 3); np.rollaxis(x, -1, -1)
np.flipud(x); np.fliplr(x); np.ravel(x); np.ravel(x, "C"); np.ravel(x[0, 0]); np.copy(x); np.conjugate(x)
np.conj(x); np.real(x)
np.diff(x); np.diff(x, 2, 0); np.diff(x, axis=0, prepend=0.5); np.diff(x, append=B[:, :2]); np.diff(x, n=0)
np.diff(x, prepend=x, append=1.0)
np.gradient(x); np.gradient(x, axis=1); np.gradient(x, 0.5, 2.0); np.gradient(x, [0.0, 1, 3, 4.5], axis=1, edge_order=2)
np.gradient(x, 2.0, edge_order=2); np.gradient(x, 2, axis=(1, 0))
np.gradient(x[0], [0, 1, 4, 5]); np.gradient(x[0], np.array([0.0, 1, 2, 3]) + 0.1 * x[1])
np.gradient(x[0], np.arange(4.0) + 0 * x[1]); np.gradient(V, np.array([0, 2.0, 4, 6]) + 0 * x[0], edge_order=2)
np.gradient(x, x[0, 0]); np.gradient(x, [0, 2, 4, 6], axis=-1, edge_order=2); np.gradient(x[0] ** 2, x[1, 1])
np.trapezoid(x); np.trapezoid(x, dx=0.5, axis=0); np.trapezoid(x, [0, 1, 3, 4]); np.trapezoid(x, B); np.trapezoid(V, x[0])
np.trapezoid(x, [0, 1, 3], axis=0); np.trapezoid(x, dx=C[:2, 0, :1], axis=0); np.trapezoid(x, dx=[1.0, 2, 4])
np.trapezoid(x, B, axis=-2); np.trapezoid(B, dx=x[:2] ** 2, axis=0); np.trapezoid(C * x[0, 0], [0, 2.0], axis=1)
np.trapezoid(x[0], x[1], axis=0); np.trapezoid(C, C * x[0, 0], axis=1)
np.average(x); np.average(x, 1, [1, 2, 3, 4]); np.average(x, weights=C[:3, 0, :1] * x ** 2)
np.average(x, axis=0, keepdims=True); np.average(x, 1, V**2, True); np.average(x, returned=True)
np.average(C * x[0, 0], axis=(2, 0), weights=C[:, 0].T); np.average(B, 0, weights=x[:, 0] ** 2, returned=True)
np.average([1, 2, 3, 4], weights=x[0] ** 2); np.average(x, axis=1, returned=True)
np.ptp(x); np.ptp(x, 1); np.ptp(x, axis=0, keepdims=True); np.modf(x * 3)[0]; np.modf(np.array(np.inf) + x)[0]
np.select([x > 0.5, x < 0], [x, B * x], 0.3); np.select([MASK], [2 * x]); np.select([MASK, x > 0], [1, x], default=x * x)
np.select([x > 0.5], [x], False)
np.select([MASK], [x], [1, 2, 3, 4]); np.select([MASK, x > 0], [True, x], [x[0, 0], 1, 2.0, x[1, 1]])
np.choose([0, 2, 1, 0], [x[0], V, x[2]]); np.choose([0, 5, -1, 1], [x, B], mode="wrap"); np.choose([[0], [1]], x[:2])
np.choose(1, [V, x])
np.delete(x, 1); np.delete(x, [0, 2], axis=1); np.delete(x, slice(None, None, 2), 0); np.delete(x, -1, axis=0)
np.delete(x, np.array([True, False, True]), 0)
np.insert(x, 1, 5.0); np.insert(x, 1, V, axis=0); np.insert(x, [0, 2], B[:, :2], axis=1); np.insert(V, [1, 1], x[0, :2])
np.insert(x, 2, x[0], 0); np.insert(x, 3, [1, 2, 3], axis=1)
np.resize(x, (2, 9)); np.compress([True, False, True], x, axis=0); np.compress([False, True], x); np.extract(MASK, x)
np.extract(x > 0, x); np.block([[x, B], [B, x]]); np.block([x[0], 1.0]); np.block(x)
np.unique(x); np.unique(x * 0 + 1); np.unique(x, return_counts=True); np.unique(x, axis=0); np.unique(x, True, True)
np.full_like(x, 2.5) + x; np.full_like(x, x[0, 1]); np.full_like(x, x[0], shape=(2, 4))
np.ediff1d(x); np.ediff1d(x, to_begin=[1.0, 2.0], to_end=x[0]); np.ediff1d(V, x[0, 0]); np.vander(x[0])
np.vander(x[0], 3, increasing=True)
np.convolve(x[0], V); np.convolve(V[:3], x[0], "same"); np.convolve(x[0], V[:2], mode="same")
np.convolve(x[0], V[:3], "valid"); np.convolve(x[0], x[1])
np.convolve([2.0], x[0]); np.convolve(x[0], 3.0); np.correlate(x[0], V); np.correlate(x[0], V[:2], "full")
np.correlate(V[:2], x[0], "full"); np.correlate(x[0], V[:3])
np.correlate(V[:2], x[0]); np.correlate(x[0], V[:3], "same"); np.correlate(V[:3], x[0], "same")
np.correlate(V[:2], x[0], "same"); np.correlate(x[0], V[:2], "same")
np.interp(x, [-0.7, 0.1, 0.9], [1.0, 3, -2]); np.interp([-2, 0.0, 0.5, 1, 7], [0.0, 0.6, 1], x[:, 0])
np.interp(V, np.array([-9.0, 0.1, 9.0]) + 0.1 * x[:, 0], x[:, 1])
np.interp(x, [0.0], [2.0]) * x; np.interp(x, [-0.1, 0.1], x[0, :2], left=x[1, 1], right=0.0); np.interp(0.3, [0, 1], x[0, :2])
np.interp(x[0, 0], [-5, 0, 5], V[:3])
np.linspace(x[0], 2.0, 3); np.linspace(0, x, 4, axis=-1); np.linspace(x[0, 0], x[0, 1], 5, endpoint=False)
np.linspace(x[0], x[1], 1); np.linspace(x[0], 9, 3, retstep=True)
np.sum(np.linspace(x[0, 0], 1, 0)) + x; np.linspace(0, x[0], 3, True, False, np.float32); np.polyval(x[0], 1.5)
np.polyval([1, 2, 3], x); np.polyval(x[0], x[1]); np.polyval(V, x)
np.cov(x); np.cov(x[0], x[1]); np.cov(x, rowvar=False, bias=True); np.cov(x[0], ddof=0); np.cov(x, V); np.corrcoef(x)[0, 1:]
np.corrcoef(x[0], V)[0, 1]; np.corrcoef(x, rowvar=False)[1, 2:]
np.clip(B, a_min=x * 0.1, a_max=2.0); np.clip(B, -0.1, a_max=x); np.clip(B, x, x + 0.5); np.where(MASK, B, x)
np.outer(B, x[0])
np.concatenate([B, x]); np.full_like(x, x); np.average(B, weights=np.exp(x))
np.trapezoid(B, x, axis=0); np.kron(V, x)
np.sum(B * 0 + x[0], initial=x[0, 0]); np.max(x, axis=1, initial=x[0, 0] + 9); np.interp(0.5, [0, 1], x[0, :2])
np.insert(x, 0, x[2], 0); np.cross(B.T, x.T)
x.transpose(None); x.transpose(0, 1); x[0].transpose(0); x[0].transpose(-1)
np.sum(x, 0, where=MASK, dtype=np.float64, initial=1)
x.copy(); x.ravel(); x.flatten(); x[:1].squeeze(); x[:1].squeeze(0); x.min(1); x.std(); x.var(0, ddof=1); x.prod(1)
x.cumsum(0); x.clip(-0.3, 0.4); x.clip(max=0.1); x.dot(B.T); x.repeat(2, 0); x.take([0, 1], 1)
x.sum(0, np.float32); x.max(axis=1, initial=0.2); x.mean(dtype="f4"); x.astype("f4", copy=False); x.swapaxes(0, 1)
x.reshape(4, 3).transpose(); x.take([1, 1, 0])
"""
CASES = [call.strip() for line in CALLS.strip().splitlines() for call in line.split("; ")]


@pytest.mark.parametrize("call", CASES)
def test_values_are_numpys_and_gradients_those_of_differences(call):
    f = eval(f"lambda x: {call}")
    x = np.random.default_rng(3).standard_normal((3, 4))
    found, expected = f(Tensor(x, requires_grad=True)), f(x)
    pairs = zip(found, expected, strict=True) if isinstance(expected, (tuple, list)) else [(found, expected)]
    for ours, numpys in pairs:
        assert type(ours) is Tensor
        assert (ours.shape, ours.dtype) == (np.shape(numpys), np.asarray(numpys).dtype)
        rtol = 3e-6 if ours.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(ours.data, numpys, rtol=rtol, atol=1e-14)
    if "f4" not in call and "float32" not in call:
        gradcheck(lambda x: joined(f(x)), [x]).assert_right()


def test_the_slope_between_uniform_coordinates_is_that_of_all_spacings():
    coordinates = np.arange(6.0)
    gradcheck(lambda x, c: np.gradient(x, c), [np.sin(coordinates), coordinates]).assert_right()
    x = np.array([1.0, np.inf, 2.0, 4.0])
    np.testing.assert_array_equal(np.gradient(Tensor(x), 0.5).data, np.gradient(x, 0.5))


INF = np.inf


@pytest.mark.parametrize(
    ("xp", "fp"),
    [
        ([0.0, 1, 2], [1.0, 3, INF]),
        ([0.0, 1, 2], [-INF, 3, 5]),
        ([0.0, 1, 2], [INF, INF, 5]),
        ([0.0, 1, 2], [-INF, INF, 5]),
        ([0.0, 1, 2], [1, np.nan, 5]),
        ([-INF, 1, INF], [1.0, 3, 4]),
        ([-INF, 1, INF], [3.0, 3, 3]),
        ([0.0, 1, INF], [1.0, 3, INF]),
        ([0.0, 0, 1, 1, 2], [1.0, 2, 3, 4, 5]),
        ([1.0], [7.0]),
    ],
)
@pytest.mark.parametrize("beyond", [{}, {"left": -9.0}, {"right": INF}])
def test_interp_with_infinities_is_numpys(xp, fp, beyond):
    x = np.array([-INF, -1, 0, 0.25, 1, 1.75, 2, 3, INF, np.nan])
    ours = np.interp(*(Tensor(part, requires_grad=True) for part in (x, xp, fp)), **beyond).data
    np.testing.assert_array_equal(ours, np.interp(x, xp, fp, **beyond), strict=True)


def test_what_is_beyond_the_points_leaves_the_gradient_finite():
    x, xp, fp = (Tensor(part, requires_grad=True) for part in ([-INF, 0.0, 0.5, 1.0, INF], [0.0, 1, 2], [1.0, 3, INF]))
    found = autograd.grad(np.sum(np.interp(x, xp, fp) * [1, 2, 3, 4, 5]), [x, xp, fp])
    right = [[0, 4, 6, 0, 0], [-7, -3, 0], [1 + 2 + 1.5, 1.5 + 4, 5]]  # the first knot has a slope, and at (0.5, 2) half of it
    for ours, expected in zip(found, right, strict=True):
        np.testing.assert_allclose(ours.data, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
def test_interp_computes_in_float64(dtype):
    parts = [np.array(part, dtype) for part in ([0, 1, 2], [0, 2, 4], [1, 3, 4])]
    found = np.interp(*map(Tensor, parts))
    np.testing.assert_array_equal(found.data, np.interp(*parts), strict=True)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 1), (5, 2), (4, 3), (2, 4), (3, 6)])
def test_sums_of_shifted_copies_have_a_gradient_twice(n, m, mode):
    a, v = (np.random.default_rng(i).standard_normal(length) for i, length in enumerate((n, m)))
    for f in (np.convolve, np.correlate):
        np.testing.assert_allclose(f(Tensor(a), Tensor(v), mode).data, f(a, v, mode), rtol=1e-12, atol=1e-14, strict=True)
        gradcheck(lambda a, v, f=f: f(a, v, mode), [a, v]).assert_right()

        def slopes(a, v, f=f):
            loss = np.sum(f(a, v, mode) ** 2 * np.arange(1.0, 1 + f(a, v, mode).size))
            return joined(autograd.grad(loss, [a, v], create_graph=True))

        gradcheck(slopes, [a, v]).assert_right()


def test_a_convolution_takes_no_more_memory_than_its_numbers():
    a, v = (Tensor(np.ones(n), requires_grad=True) for n in (20_000, 300))
    tracemalloc.start()
    autograd.grad(np.sum(np.convolve(a, v, "same") ** 2), [a, v])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


def test_a_product_of_many_matrices_is_in_the_order_of_the_fewest_steps():
    many = [np.random.default_rng(i).standard_normal((2 + i % 3, 2 + (i + 1) % 3)) for i in range(40)]
    found = np.linalg.multi_dot([Tensor(x, requires_grad=True) for x in many])
    np.testing.assert_allclose(found.data, np.linalg.multi_dot(many), rtol=1e-9)
    tall, wide = Tensor(np.ones((2000, 1)), requires_grad=True), np.ones((1, 2000))
    tracemalloc.start()
    product = np.linalg.multi_dot([wide, tall, wide, tall, wide, tall])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert product.data == [[8e9]]
    assert peak < 1e6  # tall @ wide would have 4 million entries
