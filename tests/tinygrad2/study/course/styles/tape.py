"""An engine with a tape: one list of all that was ever computed, read backwards."""

import numpy as np
from e06_unbroadcast import unbroadcast

TAPE = []  # (result, inputs, a function from the gradient of the result to theirs)


def written(data, inputs, pull):
    out = Tensor(data)
    out.place = len(TAPE)
    TAPE.append((out, inputs, pull))
    return out


class Tensor:
    def __init__(self, data):
        self.data = np.array(data, dtype=float)
        self.grad = None
        self.place = -1

    @property
    def shape(self):
        return self.data.shape

    def __add__(self, other):
        a, b = self, lifted(other)
        return written(a.data + b.data, [a, b], lambda g: [g, g])

    def __sub__(self, other):
        a, b = self, lifted(other)
        return written(a.data - b.data, [a, b], lambda g: [g, -g])

    def __mul__(self, other):
        a, b = self, lifted(other)
        return written(a.data * b.data, [a, b], lambda g: [g * b.data, g * a.data])

    def __truediv__(self, other):
        a, b = self, lifted(other)
        return written(a.data / b.data, [a, b], lambda g: [g / b.data, -g * a.data / b.data**2])

    def __matmul__(self, other):
        a, b = self.data, other.data
        axes = list(range(a.ndim - 1))
        return written(np.dot(a, b), [self, other], lambda g: [np.dot(g, b.T), np.tensordot(a, g, (axes, axes))])

    def __neg__(self):
        return 0.0 - self

    def __radd__(self, other):
        return lifted(other) + self

    def __rsub__(self, other):
        return lifted(other) - self

    def __rmul__(self, other):
        return lifted(other) * self

    def __rtruediv__(self, other):
        return lifted(other) / self

    def exp(self):
        data = np.exp(self.data)
        return written(data, [self], lambda g: [g * data])

    def sum(self, axis=None, keepdims=False):
        kept = self.data.sum(axis=axis, keepdims=True)
        data = kept if keepdims else self.data.sum(axis=axis)
        return written(data, [self], lambda g: [np.broadcast_to(g.reshape(kept.shape), self.shape)])

    def mean(self, axis=None, keepdims=False):
        data = self.data.mean(axis=axis, keepdims=keepdims)
        kept = self.data.mean(axis=axis, keepdims=True).shape
        share = data.size / self.data.size
        return written(data, [self], lambda g: [np.broadcast_to(g.reshape(kept) * share, self.shape)])

    def reshape(self, *shape):
        return written(self.data.reshape(shape), [self], lambda g: [g.reshape(self.shape)])

    def transpose(self, *axes):
        back = [axes.index(i) for i in range(len(axes))]
        return written(self.data.transpose(axes), [self], lambda g: [g.transpose(back)])

    def backward(self):
        gradients = {self: np.ones(self.shape)}
        for out, inputs, pull in TAPE[self.place :: -1] if self.place >= 0 else []:
            if out in gradients:
                for x, g in zip(inputs, pull(gradients[out]), strict=True):
                    g = unbroadcast(g, x.shape)
                    gradients[x] = gradients[x] + g if x in gradients else g
        for x, g in gradients.items():
            x.grad = g if x.grad is None else x.grad + g


def lifted(x):
    return x if isinstance(x, Tensor) else Tensor(x)


class Value(Tensor):
    def __init__(self, data):
        Tensor.__init__(self, data)
        self.grad = np.zeros(())


def op(forward, backward):
    def recorded(*args):
        out, cache = forward(*[getattr(x, "data", x) if isinstance(x, Tensor) else x for x in args])

        def pull(g):
            found = backward(g, cache)
            return list(found) if isinstance(found, (tuple, list)) else [found]

        return written(out, [x for x in args if isinstance(x, Tensor)], pull)

    return recorded
