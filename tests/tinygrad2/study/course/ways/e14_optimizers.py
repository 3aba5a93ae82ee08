"""Means that move by a part of the difference, and the corrections put into the step size."""

import numpy as np


def sgd(p, g, lr):
    moved = p.copy()
    moved -= lr * g
    return moved


def adamw(p, g, m, v, t, lr, beta1, beta2, decay):
    m = m + (1 - beta1) * (g - m)
    v = v + (1 - beta2) * (np.square(g) - v)
    root = np.sqrt(1 - beta2**t)
    return [p * (1 - lr * decay) - lr * root / (1 - beta1**t) * m / (np.sqrt(v) + 1e-8 * root), m, v]


def clip(gradients, most):
    norm = np.linalg.norm(np.concatenate([np.ravel(g) for g in gradients]))
    return tuple(g if norm + 1e-6 < most else g / ((norm + 1e-6) / most) for g in gradients), norm


def learning_rate(t, peak, warmup, total, final):
    if t < warmup:
        return (t + 1) * (peak / warmup)
    return final + (peak - final) * np.cos(np.pi / 2 * (t - warmup) / (total - warmup)) ** 2
