"""The whole matrix of derivatives, row by row."""

import numpy as np


def softmax_forward(x):
    p = np.exp(x - np.logaddexp.reduce(x, axis=-1, keepdims=True))
    return p, p


def softmax_backward(dp, p):
    jacobian = np.einsum("...i,ij->...ij", p, np.eye(p.shape[-1])) - p[..., :, None] * p[..., None, :]
    return np.einsum("...ij,...j->...i", jacobian, dp)
