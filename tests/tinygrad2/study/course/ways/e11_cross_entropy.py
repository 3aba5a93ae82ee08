"""Ones and zeros for the targets, and all axes as they are."""

import numpy as np


def cross_entropy_forward(logits, targets):
    y = np.eye(logits.shape[-1])[targets]
    total = np.logaddexp.reduce(logits, axis=-1)
    picked = np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return np.mean(total - picked), (logits, total, y)


def cross_entropy_backward(dloss, cache):
    logits, total, y = cache
    return (np.exp(logits - total[..., None]) - y) * (float(dloss) / total.size)
