"""With einsum, a mask that is added, and exponentials of differences from the log of their sum."""

import numpy as np


def causal_head_forward(q, k, v):
    positions = np.arange(q.shape[-2])
    hidden = np.where(positions[None, :] > positions[:, None], -1e30, 0.0)
    scores = np.einsum("...td,...sd->...ts", q, k) * q.shape[-1] ** -0.5 + hidden
    weights = np.exp(scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True))
    return np.einsum("...ts,...se->...te", weights, v), (q, k, v, weights)
