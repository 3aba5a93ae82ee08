"""Your own Tensor: an engine that the rest of the course runs on

    x (2, 3)   w (3, 4)
         \\     /
           @            a Tensor remembers what it was made from,
           |            and how to hand a gradient on
           +  <- b (4,)
           |
          sum           loss.backward(): from the loss to x, w and b,
                        each Tensor after all its uses

Write a class `Tensor` and a function `op`. How you do it is free (closures, a tape, a class for each function, nodes): the
check looks at what comes out.

- `Tensor(data)`: `data` is an array of float64, also where a list or integers were given, `shape` its shape, `grad` an array of
  that shape, or None before `backward`.
- `a + b`, `a - b`, `a * b`, `a / b`, `a @ b`, `-a`; for all but `@`, one of the two may be a number.
  `@` is for matrices, of which the left may have more axes in front: (..., n, k) @ (k, m).
- `a.sum(axis=None, keepdims=False)`, `a.mean(axis=None, keepdims=False)`, `a.reshape(*shape)`, `a.transpose(*axes)`.
- `loss.backward()` adds to the `grad` of every Tensor that the loss, a single number, depends on: of those that were computed
  on the way too. A second loss adds its own gradients, and nothing else. A graph may be deep, and have very many paths.
- `op(forward, backward)` makes a function of Tensors from such a pair as the exercises that follow have:
  `forward(*arrays) -> (out, cache)`, `backward(dout, cache)` -> one gradient, or a tuple with one for each Tensor that was
  given. Arguments that are not Tensors are handed to `forward` as they are. `backward` may be called more than once with the
  same cache, so it writes neither into `dout` nor into the cache.

Two exercises that you have done will help: `unbroadcast` and the order of `backward`.
[zh]
你自己的 Tensor：后续课程所用的引擎

    x (2, 3)   w (3, 4)
         \\     /
           @            Tensor 记住自己由什么算出，
           |            以及如何把梯度传回去
           +  <- b (4,)
           |
          sum           loss.backward()：从 loss 回到 x、w 和 b，
                        每个 Tensor 都在其所有使用之后处理

请写出类 `Tensor` 和函数 `op`。写法自由（闭包、tape、每个函数一个类、节点图均可）：检查只看结果。

- `Tensor(data)`：`data` 为 float64 数组（给定列表或整数时也是如此），`shape` 为其形状，`grad` 为同形状的数组，
  在 `backward` 之前可为 None。
- `a + b`、`a - b`、`a * b`、`a / b`、`a @ b`、`-a`；除 `@` 外，两者之一可以是数。
  `@` 用于矩阵，左边前面可以有更多的轴：(..., n, k) @ (k, m)。
- `a.sum(axis=None, keepdims=False)`、`a.mean(axis=None, keepdims=False)`、`a.reshape(*shape)`、`a.transpose(*axes)`。
- `loss.backward()` 把梯度加到 loss（一个数）所依赖的每个 Tensor 的 `grad` 上，包括中间算出的 Tensor。第二个 loss 只加上它自己的
  梯度，不加别的。计算图可能很深，路径也可能非常多。
- `op(forward, backward)` 把后续练习中的一对函数变成 Tensor 的函数：
  `forward(*arrays) -> (out, cache)`，`backward(dout, cache)` -> 一个梯度，或与给定的各 Tensor 对应的元组。
  不是 Tensor 的参数原样传给 `forward`。`backward` 可能以同一个 cache 被调用多次，所以它不改写 `dout` 和 cache。

你已完成的两个练习会有帮助：`unbroadcast` 和 `backward` 的顺序。
"""

import numpy as np
from e06_unbroadcast import unbroadcast


class Tensor:
    """An array of float64 that remembers how it was made."""

    # <hole> def __init__(self, data):
    def __init__(self, data, inputs=(), pull=None):
        self.data = np.asarray(data, dtype=np.float64)
        self.shape = self.data.shape
        self.grad = None
        self.inputs = inputs
        self.pull = pull  # the gradient of this -> one of each input

    def __add__(self, other):
        other = tensor(other)
        return Tensor(self.data + other.data, (self, other), lambda g: (g, g))

    def __mul__(self, other):
        other = tensor(other)
        return Tensor(self.data * other.data, (self, other), lambda g: (g * other.data, g * self.data))

    def __truediv__(self, other):
        other = tensor(other)
        out = self.data / other.data
        return Tensor(out, (self, other), lambda g: (g / other.data, -g * out / other.data))

    def __neg__(self):
        return Tensor(-self.data, (self,), lambda g: (-g,))

    def __sub__(self, other):
        return self + -tensor(other)

    def __rsub__(self, other):
        return tensor(other) + -self

    def __rtruediv__(self, other):
        return tensor(other) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def __matmul__(self, other):
        def pull(g):
            rows = self.data.reshape(-1, self.shape[-1])
            return g @ other.data.T, rows.T @ g.reshape(-1, g.shape[-1])

        return Tensor(self.data @ other.data, (self, other), pull)

    def sum(self, axis=None, keepdims=False):
        out = np.sum(self.data, axis=axis, keepdims=keepdims)
        kept = np.sum(self.data, axis=axis, keepdims=True).shape
        return Tensor(out, (self,), lambda g: (np.broadcast_to(g.reshape(kept), self.shape),))

    def mean(self, axis=None, keepdims=False):
        total = self.sum(axis, keepdims)
        return total / (self.data.size / total.data.size)

    def reshape(self, *shape):
        return Tensor(self.data.reshape(shape), (self,), lambda g: (g.reshape(self.shape),))

    def transpose(self, *axes):
        return Tensor(self.data.transpose(axes), (self,), lambda g: (g.transpose(np.argsort(axes)),))

    def backward(self):
        order, seen, stack = [], set(), [(self, False)]
        while stack:
            node, done = stack.pop()
            if done:
                order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                stack.append((node, True))
                stack += [(x, False) for x in node.inputs]
        gradients = {id(self): np.ones_like(self.data)}
        for node in reversed(order):
            g = gradients[id(node)]
            for x, part in zip(node.inputs, node.pull(g) if node.pull else (), strict=True):
                part = unbroadcast(part, x.shape)
                gradients[id(x)] = gradients[id(x)] + part if id(x) in gradients else part
            node.grad = node.grad + g if node.grad is not None else g

    # </hole>


def op(forward, backward):
    """A function of Tensors from forward(*arrays) -> (out, cache) and backward(dout, cache) -> gradients."""
    # <hole>

    def apply(*args):
        inputs = tuple(x for x in args if isinstance(x, Tensor))
        out, cache = forward(*(x.data if isinstance(x, Tensor) else x for x in args))

        def pull(g):
            found = backward(g, cache)
            return found if isinstance(found, tuple) else (found,)

        return Tensor(out, inputs, pull)

    return apply
    # </hole>


# <hole>
def tensor(x):
    return x if isinstance(x, Tensor) else Tensor(x)


# </hole>
