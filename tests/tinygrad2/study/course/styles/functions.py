"""An engine with a class for each function, which keeps what its backward needs."""

import numpy as np
from e06_unbroadcast import unbroadcast


class Function:
    def __init__(self, *inputs):
        self.inputs = [x if isinstance(x, Tensor) else Tensor(x) for x in inputs]

    @classmethod
    def of(cls, *inputs, **settings):
        function = cls(*inputs)
        out = Tensor(function.forward(*(x.data for x in function.inputs), **settings))
        out.creator = function
        return out


class Add(Function):
    def forward(self, a, b):
        return a + b

    def backward(self, g):
        return g, g


class Multiply(Function):
    def forward(self, a, b):
        self.a, self.b = a, b
        return a * b

    def backward(self, g):
        return g * self.b, g * self.a


class Reciprocal(Function):
    def forward(self, a):
        self.out = 1 / a
        return self.out

    def backward(self, g):
        return (-g * self.out**2,)


class Exp(Function):
    def forward(self, a):
        self.out = np.exp(a)
        return self.out

    def backward(self, g):
        return (g * self.out,)


class Matmul(Function):
    def forward(self, a, b):
        self.a, self.b = a, b
        return a @ b

    def backward(self, g):
        batch = tuple(range(g.ndim - 2))
        return g @ self.b.T, np.sum(np.swapaxes(self.a, -1, -2) @ g, axis=batch)


class Sum(Function):
    def forward(self, a, axis, keepdims):
        self.shape = a.shape
        self.missing = axis if axis is not None and not keepdims else ()
        return a.sum(axis=axis, keepdims=keepdims)

    def backward(self, g):
        return (np.broadcast_to(np.expand_dims(g, self.missing), self.shape),)


class Reshape(Function):
    def forward(self, a, shape):
        self.shape = a.shape
        return a.reshape(shape)

    def backward(self, g):
        return (g.reshape(self.shape),)


class Transpose(Function):
    def forward(self, a, axes):
        self.axes = axes
        return a.transpose(axes)

    def backward(self, g):
        return (np.moveaxis(g, range(g.ndim), self.axes),)


class Tensor:
    def __init__(self, data):
        self.data = np.asarray(data, np.float64)
        self.shape = self.data.shape
        self.grad = None
        self.creator = None

    def __add__(self, other):
        return Add.of(self, other)

    def __radd__(self, other):
        return Add.of(other, self)

    def __mul__(self, other):
        return Multiply.of(self, other)

    def __rmul__(self, other):
        return Multiply.of(other, self)

    def __neg__(self):
        return Multiply.of(self, -1.0)

    def __sub__(self, other):
        return self + Multiply.of(other, -1.0)

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, other):
        return self * Reciprocal.of(other)

    def __rtruediv__(self, other):
        return other * Reciprocal.of(self)

    def __matmul__(self, other):
        return Matmul.of(self, other)

    def exp(self):
        return Exp.of(self)

    def sum(self, axis=None, keepdims=False):
        return Sum.of(self, axis=axis, keepdims=keepdims)

    def mean(self, axis=None, keepdims=False):
        count = self.data.size if axis is None else self.shape[axis]
        return self.sum(axis, keepdims) / count

    def reshape(self, *shape):
        return Reshape.of(self, shape=shape)

    def transpose(self, *axes):
        return Transpose.of(self, axes=axes)

    def backward(self):
        gradients = {self: np.ones(self.shape)}
        for node in reversed(finished(self)):
            g = gradients[node]
            node.grad = g if node.grad is None else node.grad + g
            if node.creator:
                for x, part in zip(node.creator.inputs, node.creator.backward(g), strict=True):
                    gradients[x] = gradients.get(x, 0.0) + unbroadcast(np.asarray(part), x.shape)


def finished(root):
    """All nodes, in the order in which a walk into depth is done with them."""

    def inputs(node):
        return iter(node.creator.inputs if node.creator else [])

    done, seen, path = [], {root}, [(root, inputs(root))]
    while path:
        node, left = path[-1]
        new = next((x for x in left if x not in seen), None)
        if new is None:
            done.append(node)
            path.pop()
        else:
            seen.add(new)
            path.append((new, inputs(new)))
    return done


class Value(Tensor):
    def __init__(self, data):
        super().__init__(data)
        self.grad = 0.0


def op(forward, backward):
    def apply(*args):
        class Given(Function):
            def forward(self, *arrays):
                arrays = iter(arrays)
                out, self.cache = forward(*(next(arrays) if isinstance(x, Tensor) else x for x in args))
                return out

            def backward(self, g):
                found = backward(g, self.cache)
                return found if isinstance(found, tuple) else (found,)

        return Given.of(*(x for x in args if isinstance(x, Tensor)))

    return apply
