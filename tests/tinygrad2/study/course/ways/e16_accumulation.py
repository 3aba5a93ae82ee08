"""A mean that moves with every micro-batch."""

import numpy as np


def split(x, y, size):
    parts = []
    while len(x):
        parts.append([x[:size], y[:size]])
        x, y = x[size:], y[size:]
    return parts


def accumulated(loss_and_gradients, batches):
    rows = 0
    mean, means = 0.0, 0.0
    for x, y in batches:
        loss, gradients = loss_and_gradients(x, y)
        rows += len(y)
        mean = mean + (loss - mean) * len(y) / rows
        if means == 0.0:
            means = [np.zeros(np.shape(g)) for g in gradients]
        means = [m + (g - m) * (len(y) / rows) for m, g in zip(means, gradients, strict=True)]
    return mean, tuple(means)
