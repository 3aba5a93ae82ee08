"""Columns by a product with a part of the unit matrix, and heads by other permutations."""

import numpy as np
from e08_tensor import Tensor, op  # noqa: F401


def columns_forward(x, start, stop):
    chosen = np.eye(x.shape[-1])[:, start:stop]
    return x @ chosen, chosen


def columns_backward(dout, chosen):
    return dout @ chosen.T


def split_heads(x, H):
    B, T, C = x.shape
    return x.transpose(2, 0, 1).reshape(H, C // H, B, T).transpose(2, 0, 3, 1)


def merge_heads(x):
    B, H, T, d = x.shape
    return x.transpose(1, 3, 0, 2).reshape(H * d, B, T).transpose(1, 2, 0)
