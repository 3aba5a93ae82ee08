"""Functions that are put together of others, and NumPy's arguments: values are NumPy's, gradients those of differences."""

import numpy as np
import pytest

from tinygrad2 import Tensor, gradcheck

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
np.linalg.multi_dot([V, x.T, W[:3]]); np.linalg.multi_dot([x, V])
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
np.flipud(x); np.fliplr(x); np.ravel(x); np.ravel(x, "C"); np.ravel(x[0, 0]); np.copy(x); np.positive(x); +x; np.conjugate(x)
np.conj(x); np.real(x)
np.diff(x); np.diff(x, 2, 0); np.diff(x, axis=0, prepend=0.5); np.diff(x, append=B[:, :2]); np.diff(x, n=0)
np.diff(x, prepend=x, append=1.0)
np.gradient(x); np.gradient(x, axis=1); np.gradient(x, 0.5, 2.0); np.gradient(x, [0.0, 1, 3, 4.5], axis=1, edge_order=2)
np.gradient(x, 2.0, edge_order=2); np.gradient(x, 2, axis=(1, 0))
np.gradient(x[0], [0, 1, 4, 5]); np.gradient(x[0], np.array([0.0, 1, 2, 3]) + 0.1 * x[1])
np.gradient(x, [0, 2, 4, 6], axis=-1, edge_order=2); np.gradient(x[0] ** 2, x[1, 1])
np.trapezoid(x); np.trapezoid(x, dx=0.5, axis=0); np.trapezoid(x, [0, 1, 3, 4]); np.trapezoid(x, B); np.trapezoid(V, x[0])
np.trapezoid(x, [0, 1, 3], axis=0)
np.average(x); np.average(x, 1, [1, 2, 3, 4]); np.average(x, weights=C[:3, 0, :1] * x ** 2)
np.average(x, axis=0, keepdims=True); np.average(x, 1, V**2, True); np.average(x, returned=True)
np.average(C * x[0, 0], axis=(2, 0), weights=C[:, 0].T); np.average(B, 0, weights=x[:, 0] ** 2, returned=True)
np.average([1, 2, 3, 4], weights=x[0] ** 2); np.average(x, axis=1, returned=True)
np.ptp(x); np.ptp(x, 1); np.ptp(x, axis=0, keepdims=True); np.modf(x * 3)[0]; np.modf(np.array(np.inf) + x)[0]
np.select([x > 0.5, x < 0], [x, B * x], 0.3); np.select([MASK], [2 * x]); np.select([MASK, x > 0], [1, x], default=x * x)
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
np.linalg.diagonal(x); np.linalg.diagonal(C * x[0, 0], offset=1); np.linalg.trace(x, offset=-1); np.linalg.trace(x, dtype="f4")
np.nan_to_num(x); np.nan_to_num(np.where(MASK, x, np.nan), nan=2.0); np.nan_to_num(np.where(MASK, x, np.inf), posinf=1.0)
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
