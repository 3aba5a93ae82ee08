"""The whole matrix of derivatives, row by row."""

import numpy as np


def softmax_forward(x):
    p = np.exp(x - np.logaddexp.reduce(x, axis=-1, keepdims=True))
    return p, p


def softmax_backward(dp, cache):
    dx = np.zeros(dp.shape)
    for row in np.ndindex(dp.shape[:-1]):
        p = cache[row]
        dx[row] = (np.diag(p) - np.outer(p, p)) @ dp[row]
    return dx
