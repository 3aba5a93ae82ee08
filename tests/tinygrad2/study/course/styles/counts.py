"""An engine that counts: a node is ready when all of its uses have brought their parts."""

from collections import Counter, deque

import numpy as np
from e06_unbroadcast import unbroadcast


class Tensor:
    def __init__(self, data, inputs=(), pull=None):
        self.data = np.asarray(data, dtype=np.float64)
        self.shape = self.data.shape
        self.grad = None
        self.inputs, self.pull = inputs, pull

    def exp(self):
        return exp(self)

    def sum(self, axis=None, keepdims=False):
        return total(self, axis, keepdims)

    def mean(self, axis=None, keepdims=False):
        count = self.data.size / np.sum(self.data, axis=axis).size
        return total(self, axis, keepdims) / count

    def reshape(self, *shape):
        return reshape(self, shape)

    def transpose(self, *axes):
        return transpose(self, axes)

    def __neg__(self):
        return multiply(self, -1.0)

    def backward(self):
        uses, left, seen = Counter(), [self], {self}
        while left:
            for x in left.pop().inputs:
                uses[x] += 1
                if x not in seen:
                    seen.add(x)
                    left.append(x)
        parts, ready = {self: [np.ones(self.shape)]}, deque([self])
        while ready:
            node = ready.popleft()
            g = sum(parts.pop(node))
            node.grad = g if node.grad is None else node.grad + g
            for x, part in zip(node.inputs, node.pull(g) if node.pull else (), strict=True):
                parts.setdefault(x, []).append(unbroadcast(np.asarray(part), x.shape))
                uses[x] -= 1
                if not uses[x]:
                    ready.append(x)


def op(forward, backward):
    """The only way here in which a node is made."""

    def apply(*args):
        inputs = [x for x in args if isinstance(x, Tensor)]
        out, cache = forward(*(x.data if isinstance(x, Tensor) else x for x in args))

        def pull(g):
            found = backward(g, cache)
            return found if isinstance(found, tuple) else (found,)

        return Tensor(out, inputs, pull)

    return apply


def operator(forward, backward):
    """An op of two inputs, and the methods for it on both sides; a number becomes a Tensor."""
    made = op(forward, backward)
    return lambda a, b: made(*(x if isinstance(x, Tensor) else Tensor(x) for x in (a, b)))


def matmul_backward(g, cache):
    a, b = cache
    return g @ b.T, a.reshape(-1, a.shape[-1]).T @ g.reshape(-1, g.shape[-1])


def total_forward(x, axis, keepdims):
    kept = np.sum(x, axis=axis, keepdims=True)
    return kept if keepdims else np.sum(x, axis=axis), (kept.shape, x.shape)


add = operator(lambda a, b: (a + b, None), lambda g, c: (g, g))
subtract = operator(lambda a, b: (a - b, None), lambda g, c: (g, -g))
multiply = operator(lambda a, b: (a * b, (a, b)), lambda g, c: (g * c[1], g * c[0]))
divide = operator(lambda a, b: (a / b, (a, b)), lambda g, c: (g / c[1], -g * c[0] / c[1] ** 2))
matmul = operator(lambda a, b: (a @ b, (a, b)), matmul_backward)
exp = op(lambda x: (np.exp(x),) * 2, lambda g, out: g * out)
total = op(total_forward, lambda g, c: np.broadcast_to(g.reshape(c[0]), c[1]))
reshape = op(lambda x, shape: (x.reshape(shape), x.shape), lambda g, shape: g.reshape(shape))
transpose = op(lambda x, axes: (x.transpose(axes), axes), lambda g, axes: g.transpose(np.argsort(axes)))

for name, function in {"add": add, "sub": subtract, "mul": multiply, "truediv": divide, "matmul": matmul}.items():
    setattr(Tensor, f"__{name}__", lambda self, other, f=function: f(self, other))
    setattr(Tensor, f"__r{name}__", lambda self, other, f=function: f(other, self))


class Value(Tensor):
    def __init__(self, data):
        super().__init__(data)
        self.grad = 0.0
