"""np.var, and one factor in front of the gradient of x."""

import numpy as np


def layer_norm_forward(x, gain, bias):
    inverse = 1 / np.sqrt(x.var(-1) + 1e-5)[..., None]
    return gain * ((x - x.mean(-1)[..., None]) * inverse) + bias, (x, gain, inverse)


def layer_norm_backward(dout, cache):
    x, gain, inverse = cache
    c = x.shape[-1]
    n = (x - x.mean(-1)[..., None]) * inverse
    rows, drows = n.reshape(-1, c), dout.reshape(-1, c)
    dn = drows * gain
    dx = c * dn - dn.sum(1, keepdims=True) - rows * (dn * rows).sum(1, keepdims=True)
    return [(inverse.reshape(-1, 1) / c * dx).reshape(x.shape), np.einsum("nc,nc->c", rows, drows), drows.sum(0)]
