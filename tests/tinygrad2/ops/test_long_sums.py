"""Sums of a million float32 numbers are those of float64: where rows are added, in the forward and in the rules."""

import numpy as np
import pytest

from tinygrad2 import Tensor, autograd, ops
from tinygrad2.ops.indexing import add_at

ROWS = 1_000_000
VALUES = np.random.default_rng(0).uniform(0.05, 0.15, (ROWS, 2)).astype(np.float32) * np.float32([1, 2])
VALUES[::2] = [0.1, 0.3]  # of equal numbers, the roundings do not cancel
COLUMNS = np.asfortranarray(VALUES[:5000].T)
IDS = np.random.default_rng(1).integers(0, 2, ROWS)

FORWARD = {
    "sum": lambda x: np.sum(x, axis=0),
    "sum of a middle axis": lambda x: np.sum(np.reshape(x, (2, ROWS // 4, 2, 2)), axis=1),
    "sum of two axes": lambda x: np.sum(np.reshape(x, (100, ROWS // 100, 2)), axis=(0, 1)),
    "sum of axes apart": lambda x: np.sum(np.reshape(x, (ROWS // 4, 4, 2)), axis=(0, 2)),
    "sum of columns": lambda x: np.sum(x.T, axis=1),
    "sum of columns in their own memory": lambda x: np.sum(np.reshape(x.T, (2, ROWS)), axis=1, keepdims=True),
    "sum of every other column": lambda x: np.sum(np.concatenate([x, x], axis=1)[:, ::2], axis=0),
    "sum of all": np.sum,
    "sum of what is repeated": lambda x: np.sum(np.broadcast_to(x[0], (ROWS, 2)), axis=0),
    "sum of all of what is repeated": lambda x: np.sum(np.broadcast_to(x[0], (ROWS // 2, 2, 2)), axis=(0, -1), keepdims=True),
    "sum of what is repeated in between": lambda x: np.sum(
        np.broadcast_to(x[: ROWS // 8, None], (ROWS // 8, 8, 2)), axis=(0, 1)
    ),
    "mean": lambda x: np.mean(x, axis=0),
    "mean of a middle axis": lambda x: np.mean(np.reshape(x, (2, ROWS // 4, 2, 2)), axis=1, keepdims=True),
    "nansum": lambda x: np.nansum(np.where(VALUES > 0.2, np.float32(np.nan), x), axis=0),
    "nanmean": lambda x: np.nanmean(x, axis=0),
    "nanvar": lambda x: np.nanvar(x, axis=0),
    "var": lambda x: np.var(x, axis=0),
    "std": lambda x: np.std(x, axis=0, ddof=1),
    "average": lambda x: np.average(x, axis=0, weights=x),
    "norm": lambda x: np.linalg.norm(x, axis=0),
    "cumsum": lambda x: np.cumsum(x, axis=0),
    "cumsum of all": lambda x: np.cumsum(np.reshape(x, -1)),
    "logsumexp": lambda x: ops.logsumexp(x, axis=0),
    "softmax": lambda x: ops.softmax(x, axis=0),
    "log_softmax": lambda x: ops.log_softmax(x, axis=0),
    "cross_entropy": lambda x: ops.cross_entropy(x, IDS),
    "layer_norm of columns": lambda x: ops.layer_norm(
        Tensor(COLUMNS.astype(x.dtype)), np.ones(5000, x.dtype), np.zeros(5000, x.dtype)
    ),
    "where": lambda x: np.sum(x, axis=0, where=VALUES > 0.1),
}

BACKWARD = {
    "bias": (lambda b: VALUES.astype(b.dtype) + b, np.zeros(2)),
    "bias of linear": (lambda b: ops.linear(np.zeros((ROWS, 1), b.dtype), np.zeros((1, 2), b.dtype), b), np.zeros(2)),
    "gain": (lambda a: ops.layer_norm(VALUES.astype(a.dtype), a, np.zeros(2, a.dtype)), np.ones(2)),
    "bias of layer_norm": (lambda b: ops.layer_norm(VALUES.astype(b.dtype), np.ones(2, b.dtype), b), np.ones(2)),
    "bias of a sum": (lambda b: np.sum(VALUES.astype(b.dtype) + b) * 0.1, np.zeros(2)),
    "factor": (lambda a: VALUES.astype(a.dtype) * a, np.ones((1, 2))),
    "column": (lambda a: VALUES.astype(a.dtype).reshape(2, -1, 2) * a * 0.5, np.ones((2, 1, 2))),
    "broadcast_to": (lambda b: np.broadcast_to(b, (ROWS, 2)), np.zeros(2)),
    "one number": (lambda b: VALUES.astype(b.dtype) * b, np.zeros(())),
    "embedding": (lambda w: ops.embedding(w, IDS), np.zeros((3, 2))),
    "rows": (lambda w: w[IDS], np.zeros((3, 2))),
    "entries": (lambda w: w[IDS][:, None] * np.ones(2, w.dtype), np.zeros(3)),
    "take": (lambda w: np.take(w, IDS, axis=0), np.zeros((3, 2))),
    "take_along_axis": (lambda w: np.take_along_axis(w, np.zeros((ROWS, 2), int), axis=0), np.zeros((ROWS, 2))),
    "tile": (lambda w: np.tile(w, (ROWS, 1)), np.zeros(2)),
    "repeat": (lambda w: np.repeat(w, ROWS, axis=0), np.zeros((1, 2))),
    "cumsum": (lambda x: np.cumsum(x, axis=0), np.zeros((ROWS, 2))),
    "softmax": (lambda x: ROWS * ops.softmax(x, axis=0), VALUES),
    "log_softmax": (lambda x: ops.log_softmax(x, axis=0), VALUES),
    "var": (lambda x: np.var(x, axis=0) * np.ones((ROWS, 1), x.dtype), VALUES),
    "std": (lambda x: np.std(x, axis=0) * np.ones((ROWS, 1), x.dtype), VALUES),
    "pad": (lambda x: np.pad(x, ((0, ROWS - 1), (0, 0)), mode="edge"), np.zeros((1, 2))),
    "bias of linear_cross_entropy": (
        lambda b: ops.linear_cross_entropy(np.zeros((ROWS, 1), b.dtype), np.zeros((2, 1), b.dtype), b, IDS // 2),
        np.float32([0.5, 0.1]),
    ),
}


def check(found, right, rtol=1e-6):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, right, rtol=rtol, atol=rtol * max(np.abs(right).max(), np.abs(VALUES).max()))


@pytest.mark.parametrize("f", FORWARD.values(), ids=FORWARD)
def test_forward(f, implementation):
    check(f(Tensor(VALUES)).data, f(Tensor(VALUES.astype(float))).data)


@pytest.mark.parametrize(("f", "x"), BACKWARD.values(), ids=BACKWARD)
def test_backward(f, x, implementation):
    found = []
    for dtype in (np.float32, np.float64):
        t = Tensor(np.asarray(x, dtype), requires_grad=True)
        out = f(t)
        found.append(autograd.grad([out], [t], [np.resize(VALUES.astype(out.dtype), out.shape)])[0].data)
    check(*found)


@pytest.mark.parametrize("f", [np.sum, np.mean, np.var, np.std, np.linalg.norm, np.cumsum, ops.logsumexp])
@pytest.mark.parametrize("axis", [2, -3, (0, 0), (0, -2)])
def test_an_axis_that_there_is_not_is_refused_for_many_rows_too(f, axis):
    with pytest.raises((ValueError, TypeError), match=r"out of bounds|duplicate|repeated axis|an integer"):
        f(Tensor(VALUES[:5000]), axis=axis)


def test_values_to_add_may_be_a_number_or_a_list():
    for values in (0.5, [0.5, 0.25], np.float64(0.5)):
        sums = np.zeros(2, np.float32)
        add_at(sums, np.array([1, 1]), values)
        np.testing.assert_array_equal(sums, [0, np.sum(np.broadcast_to(values, 2))])
