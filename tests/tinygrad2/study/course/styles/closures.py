"""An engine of closures: every operation leaves a function behind that gives its inputs their gradients."""

import numpy as np
from e06_unbroadcast import unbroadcast


class Tensor:
    def __init__(self, data, inputs=()):
        self.data = np.asarray(data, dtype=np.float64)
        self.shape = self.data.shape
        self.grad = None
        self.inputs = inputs
        self.part = None  # what has arrived in this walk
        self.push = lambda: None

    def take(self, g):
        g = unbroadcast(np.asarray(g), self.shape)
        self.part = g if self.part is None else self.part + g

    def __add__(self, other):
        other = tensor(other)
        out = Tensor(self.data + other.data, (self, other))

        def push():
            self.take(out.part)
            other.take(out.part)

        out.push = push
        return out

    def __mul__(self, other):
        other = tensor(other)
        out = Tensor(self.data * other.data, (self, other))

        def push():
            self.take(out.part * other.data)
            other.take(out.part * self.data)

        out.push = push
        return out

    def __pow__(self, n):
        out = Tensor(self.data**n, (self,))
        out.push = lambda: self.take(out.part * n * self.data ** (n - 1))
        return out

    def __matmul__(self, other):
        out = Tensor(self.data @ other.data, (self, other))

        def push():
            self.take(out.part @ other.data.T)
            other.take(self.data.reshape(-1, self.shape[-1]).T @ out.part.reshape(-1, out.shape[-1]))

        out.push = push
        return out

    def exp(self):
        out = Tensor(np.exp(self.data), (self,))
        out.push = lambda: self.take(out.part * out.data)
        return out

    def sum(self, axis=None, keepdims=False):
        out = Tensor(np.sum(self.data, axis=axis, keepdims=keepdims), (self,))

        def push():
            g = out.part if keepdims or axis is None else np.expand_dims(out.part, axis)
            self.take(np.ones(self.shape) * g)

        out.push = push
        return out

    def mean(self, axis=None, keepdims=False):
        total = self.sum(axis, keepdims)
        return total * (total.data.size / self.data.size)

    def reshape(self, *shape):
        out = Tensor(self.data.reshape(*shape), (self,))
        out.push = lambda: self.take(out.part.reshape(self.shape))
        return out

    def transpose(self, *axes):
        out = Tensor(self.data.transpose(*axes), (self,))
        out.push = lambda: self.take(out.part.transpose(*np.argsort(axes)))
        return out

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -tensor(other)

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, other):
        return self * tensor(other) ** -1

    def __rtruediv__(self, other):
        return self**-1 * other

    __radd__ = __add__
    __rmul__ = __mul__

    def backward(self):
        order, seen, stack = [], set(), [(self, False)]
        while stack:
            node, after = stack.pop()
            if after:
                order.append(node)
            elif node not in seen:
                seen.add(node)
                stack.append((node, True))
                stack.extend((x, False) for x in node.inputs)
        for node in order:
            node.part = None
        self.part = np.ones(self.shape)
        for node in reversed(order):
            node.push()
        for node in order:
            node.grad = node.part if node.grad is None else node.grad + node.part


def tensor(x):
    return x if isinstance(x, Tensor) else Tensor(x)


class Value(Tensor):
    def __init__(self, data):
        super().__init__(data)
        self.grad = 0.0


def op(forward, backward):
    def apply(*args):
        inputs = tuple(x for x in args if isinstance(x, Tensor))
        found, cache = forward(*(x.data if isinstance(x, Tensor) else x for x in args))
        out = Tensor(found, inputs)

        def push():
            gradients = backward(out.part, cache)
            for x, g in zip(inputs, gradients if len(inputs) > 1 else [gradients], strict=True):
                x.take(g)

        out.push = push
        return out

    return apply
