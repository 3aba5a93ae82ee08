"""An engine of nodes apart from the arrays: an edge has a rule for one input, and the youngest node goes first."""

import heapq
import itertools

import numpy as np
from e06_unbroadcast import unbroadcast

AGE = itertools.count()


class Node:
    def __init__(self, owner, edges):
        self.owner, self.edges, self.age = owner, edges, next(AGE)


class Tensor:
    def __init__(self, data, edges=()):
        self.data = np.asarray(data, dtype=np.float64)
        self.grad = None
        self.node = Node(self, [(x.node, rule) for x, rule in edges])

    shape = property(lambda self: self.data.shape)

    def __add__(self, other):
        return linear(self, other, 1.0)

    def __sub__(self, other):
        return linear(self, other, -1.0)

    def __rsub__(self, other):
        return linear(other, self, -1.0)

    def __neg__(self):
        return linear(0.0, self, -1.0)

    def __mul__(self, other):
        if not isinstance(other, Tensor):
            return Tensor(self.data * other, [(self, lambda g: g * other)])
        return Tensor(self.data * other.data, [(self, lambda g: g * other.data), (other, lambda g: g * self.data)])

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other):
        return self * (other.inverse() if isinstance(other, Tensor) else 1 / other)

    def __rtruediv__(self, other):
        return self.inverse() * other

    def inverse(self):
        out = 1 / self.data
        return Tensor(out, [(self, lambda g: -g * out * out)])

    def exp(self):
        out = np.exp(self.data)
        return Tensor(out, [(self, lambda g: g * out)])

    def __matmul__(self, other):
        a, b = self.data, other.data

        def of_right(g):
            return sum(x.T @ part for x, part in zip(a.reshape(-1, *a.shape[-2:]), g.reshape(-1, *g.shape[-2:]), strict=True))

        return Tensor(a @ b, [(self, lambda g: g @ b.T), (other, of_right)])

    def sum(self, axis=None, keepdims=False):
        kept = np.sum(self.data, axis, keepdims=True).shape
        return Tensor(np.sum(self.data, axis, keepdims=keepdims), [(self, lambda g: g.reshape(kept) + np.zeros(self.shape))])

    def mean(self, axis=None, keepdims=False):
        total = self.sum(axis, keepdims)
        return total * (total.data.size / self.data.size)

    def reshape(self, *shape):
        return Tensor(self.data.reshape(shape), [(self, lambda g: g.reshape(self.shape))])

    def transpose(self, *axes):
        return Tensor(self.data.transpose(axes), [(self, lambda g: g.transpose(np.argsort(axes)))])

    def backward(self):
        arrived = {self.node: np.ones(self.shape)}
        left = [(-self.node.age, self.node)]
        while left:
            _, node = heapq.heappop(left)
            g = arrived.pop(node)
            owner = node.owner
            owner.grad = g if owner.grad is None else owner.grad + g
            for x, rule in node.edges:
                part = unbroadcast(np.asarray(rule(g)), x.owner.shape)
                if x in arrived:
                    arrived[x] = arrived[x] + part
                else:
                    arrived[x] = part
                    heapq.heappush(left, (-x.age, x))


def linear(a, b, sign):
    """a + sign * b, where one of both may be a number."""
    x, y = (t.data if isinstance(t, Tensor) else t for t in (a, b))
    rules = [(a, lambda g: g), (b, lambda g: sign * g)]
    return Tensor(x + sign * y, [(t, rule) for t, rule in rules if isinstance(t, Tensor)])


class Value(Tensor):
    def __init__(self, data):
        super().__init__(data)
        self.grad = 0.0


def op(forward, backward):
    def apply(*args):
        tensors = [x for x in args if isinstance(x, Tensor)]
        out, cache = forward(*(x.data if isinstance(x, Tensor) else x for x in args))

        def rule(i):
            return lambda g: backward(g, cache)[i] if len(tensors) > 1 else backward(g, cache)

        return Tensor(out, [(x, rule(i)) for i, x in enumerate(tensors)])

    return apply
