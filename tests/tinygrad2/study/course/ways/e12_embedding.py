"""A product with ones and zeros."""

import numpy as np


def embedding_forward(ids, weight):
    chosen = np.eye(len(weight))[ids]
    return chosen @ weight, chosen


def embedding_backward(dout, chosen):
    return chosen.reshape(-1, chosen.shape[-1]).T @ dout.reshape(-1, dout.shape[-1])
