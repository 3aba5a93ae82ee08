"""One matrix for each place of the window, and Tensors that are made of what adamw gives."""

import numpy as np
from e08_tensor import Tensor, op
from e09_activations import tanh_backward, tanh_forward
from e11_cross_entropy import cross_entropy_backward, cross_entropy_forward
from e12_embedding import embedding_backward, embedding_forward
from e14_optimizers import adamw

tanh = op(tanh_forward, tanh_backward)
cross_entropy = op(cross_entropy_forward, cross_entropy_backward)
embedding = op(embedding_forward, embedding_backward)
rows = op(lambda w, i, C: (w[i * C : (i + 1) * C], (w, i, C)), lambda g, c: _put(g, *c))


def _put(g, w, i, C):
    whole = np.zeros_like(w)
    whole[i * C : (i + 1) * C] = g
    return whole


def contexts(ids, n):
    pairs = [(ids[i - n : i], ids[i]) for i in range(n, len(ids))]
    return np.array([window for window, _ in pairs]), np.array([target for _, target in pairs])


def logits(windows, p):
    C = p["embedding"].shape[1]
    total = p["b1"]
    for i in range(windows.shape[1]):
        total = embedding(windows[:, i], p["embedding"]) @ rows(p["w1"], i, C) + total
    return tanh(total) @ p["w2"] + p["b2"]


def train(windows, targets, p, steps, lr):
    tensors = {name: Tensor(np.array(x)) for name, x in p.items()}
    m, v = ({name: 0.0 * x for name, x in p.items()} for _ in range(2))
    losses = []
    for t in range(steps):
        loss = cross_entropy(logits(windows, tensors), targets)
        losses.append(loss.data)
        loss.backward()
        for name, x in list(tensors.items()):
            decay = 0.01 * (x.data.ndim == 2)
            new, m[name], v[name] = adamw(x.data, x.grad, m[name], v[name], t + 1, lr, 0.9, 0.99, decay)
            tensors[name] = Tensor(new)
    return np.array(losses), {name: x.data for name, x in tensors.items()}
