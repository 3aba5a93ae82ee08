"""Unit vectors, and roots by their names."""

import numpy as np


def one_sided(f, x, h):
    rise = f(x + h) - f(x)
    return rise * (1 / h)


def slope(f, x, h):
    return 0.5 * (one_sided(f, x, h) + one_sided(f, x, -h))


def gradient(f, x, h):
    found = []
    for i in range(x.size):
        unit = np.zeros(x.size)
        unit[i] = h
        unit = unit.reshape(x.shape)
        found.append((f(x + unit) - f(x - unit)) / h / 2)
    return np.array(found).reshape(x.shape)


def step_size(x, sides):
    eps = np.finfo(np.float64).eps
    root = {1: np.sqrt, 2: np.cbrt}[sides](eps)
    return root if abs(x) < 1 else root * abs(x)
