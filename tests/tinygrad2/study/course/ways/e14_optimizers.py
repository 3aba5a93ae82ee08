"""Arrays one after the other, with the corrections put into the step size."""

import numpy as np


def sgd(parameters, gradients, rate):
    moved = []
    for i in range(len(parameters)):
        p = parameters[i].copy()
        p -= rate * gradients[i]
        moved.append(p)
    return moved


def adamw_start(parameters):
    return {"square": [0.0 * p for p in parameters], "mean": [0.0 * p for p in parameters], "step": 0}


def adamw(parameters, gradients, state, rate, betas, eps, decay):
    (b1, b2), t = betas, state["step"] + 1
    moved, new = [], {"mean": [], "square": [], "step": t}
    for p, g, m, v in zip(parameters, gradients, state["mean"], state["square"], strict=True):
        m = m + (1 - b1) * (g - m)
        v = v + (1 - b2) * (g * g - v)
        root = np.sqrt(1 - b2**t)
        if np.ndim(p) > 1:
            p = p * (1 - rate * decay)
        moved.append(p - rate * root / (1 - b1**t) * m / (np.sqrt(v) + eps * root))
        new["mean"].append(m)
        new["square"].append(v)
    return moved, new


def clip(gradients, max_norm):
    norm = np.linalg.norm(np.concatenate([np.ravel(g) for g in gradients]))
    return [g * min(1.0, max_norm / (norm + 1e-6)) for g in gradients], norm


def warmup_cosine(step, peak, warmup, total, final):
    if step < warmup:
        return (step + 1) * (peak / warmup)
    if step > total:
        return final
    return final + (peak - final) * np.cos(np.pi / 2 * (step - warmup) / (total - warmup)) ** 2
