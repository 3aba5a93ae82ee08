"""np.expand_dims, np.tile and inverse permutations by hand."""

import numpy as np


def _axes(axis, ndim):
    if axis is None:
        return tuple(range(ndim))
    return tuple(a % ndim for a in (axis if isinstance(axis, tuple) else (axis,)))


def sum_forward(x, axis, keepdims):
    axes = _axes(axis, x.ndim)
    out = x
    for a in sorted(axes, reverse=True):
        out = out.sum(axis=a)
    return np.expand_dims(out, axes) if keepdims else out, (x.shape, axes, keepdims)


def sum_backward(dout, cache):
    shape, axes, keepdims = cache
    if not keepdims:
        dout = np.expand_dims(dout, axes)
    return np.tile(dout, [n if a in axes else 1 for a, n in enumerate(shape)])


def mean_forward(x, axis, keepdims):
    return x.mean(axis=axis, keepdims=keepdims), (x.shape, _axes(axis, x.ndim), keepdims)


def mean_backward(dout, cache):
    shape, axes, _ = cache
    return sum_backward(dout / np.prod([shape[a] for a in axes]), cache)


def reshape_forward(x, shape):
    return x.reshape(shape), x


def reshape_backward(dout, x):
    return np.asarray(dout).reshape(x.shape)


def transpose_forward(x, axes):
    return np.einsum(x, range(x.ndim), axes), axes


def transpose_backward(dout, axes):
    return np.moveaxis(dout, range(dout.ndim), axes)
