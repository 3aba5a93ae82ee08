"""Lists for tuples, and np.where."""

import numpy as np


def multiply(g, a, b):
    return [b * g, a * g]


def divide(g, a, b):
    da = g * (1 / b)
    return [da, -da * (a / b)]


def power(g, x, n):
    return g * (n * x**n / x)


def sine(g, x):
    return np.sin(x + np.pi / 2) * g


def logarithm(g, x):
    return x**-1.0 * g


def relu(g, x):
    return np.where(x > 0, g, 0.0)
