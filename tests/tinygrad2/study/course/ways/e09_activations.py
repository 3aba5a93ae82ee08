"""Everything is computed again in backward."""

import numpy as np


def exp_forward(x):
    return np.e**x, x


def exp_backward(dout, x):
    return np.exp(x) * dout


def log_forward(x):
    return np.log2(x) * np.log(2), x


def log_backward(dout, x):
    return np.reciprocal(x) * dout


def tanh_forward(x):
    e = np.exp(2 * x)
    return (e - 1) / (e + 1), x


def tanh_backward(dout, x):
    return dout / np.cosh(x) ** 2


def gelu_forward(x):
    u = (2 / np.pi) ** 0.5 * (x + 0.044715 * x * x * x)
    return x / (1 + np.exp(-2 * u)), x


def gelu_backward(dout, x):
    u = (2 / np.pi) ** 0.5 * (x + 0.044715 * x * x * x)
    s = 1 / (1 + np.exp(-2 * u))
    return dout * (s + x * s * (1 - s) * 2 * (2 / np.pi) ** 0.5 * (1 + 0.134145 * x * x))
