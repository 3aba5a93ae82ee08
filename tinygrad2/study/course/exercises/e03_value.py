r"""A scalar Value: numbers that remember how they were made

    a = Value(2.0)   b = Value(3.0)

         a ------.
         |        \
         |         *  -> c = 6       c remembers a and b, and that
         |        /                  a is multiplied by 3, b by 2
         |   b --'
         |
         '----- + -> d = 8           d.backward() sets
                |                    d.grad = 1, c.grad = 1,
                c                    a.grad = 3 + 1, b.grad = 2

A Value holds a number, `data`. An operation of Values makes a new one, which keeps its inputs and, for each, the derivative of
the result by that input. `backward` then goes from the result to the inputs: each Value multiplies its own gradient by these
derivatives and hands the products on. A Value that is used several times gets one part from each use, and its gradient is
their sum. So it may hand on its gradient only when all its uses have handed theirs to it: a is not done when d is done, it
still waits for c.

Write the class `Value`. How you do it is free; the check looks at what comes out.

- `Value(data)`: `data` is a float, and `grad` is 0.0 at first.
- `a + b` and `a * b`, where one of the two may be a plain number on either side, and `a.exp()`: each gives a Value.
- `d.backward()` adds the derivative of d by v to `v.grad`, for d itself and every Value it was made from. Values that d does
  not depend on keep theirs. A second result that uses some of the same Values adds its own derivatives, and nothing else.

Graphs are small here. Exercise 4 makes them large.
[zh]
标量 Value：记住自己如何得来的数

    a = Value(2.0)   b = Value(3.0)

         a ------.
         |        \
         |         *  -> c = 6       c 记住 a 和 b，以及
         |        /                  a 乘了 3，b 乘了 2
         |   b --'
         |
         '----- + -> d = 8           d.backward() 之后
                |                    d.grad = 1, c.grad = 1,
                c                    a.grad = 3 + 1, b.grad = 2

Value 保存一个数 `data`。Value 之间的运算得到新的 Value，它记住自己的输入，以及结果对每个输入的导数。`backward` 从结果走向输入：
每个 Value 把自己的梯度乘以这些导数，再把乘积传下去。被使用多次的 Value 从每次使用得到一份，它的梯度是各份之和。
因此，只有当它的所有使用都已传来梯度之后，它才能继续往下传：d 处理完时 a 还没有完成，它还要等 c。

请写出类 `Value`。写法自由：检查只看结果。

- `Value(data)`：`data` 是浮点数，`grad` 一开始为 0.0。
- `a + b` 和 `a * b`，其中一个可以是普通的数，在左在右都可以；以及 `a.exp()`：都得到 Value。
- `d.backward()` 把 d 对 v 的导数加到 `v.grad` 上，v 包括 d 本身以及它所由来的每个 Value。与 d 无关的 Value 保持不变。
  若第二个结果用到了部分相同的 Value，则只加上它自己的导数，不加别的。

这里的计算图很小，练习 4 会把它变大。
"""

import math


class Value:
    """A number that remembers how it was made."""

    # <hole> def __init__(self, data):
    def __init__(self, data, inputs=(), slopes=()):
        self.data = data
        self.grad = 0.0
        self.inputs = inputs
        self.slopes = slopes  # the derivative of this by each input

    def __add__(self, other):
        other = value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        other = value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    __radd__ = __add__
    __rmul__ = __mul__

    def exp(self):
        out = math.exp(self.data)
        return Value(out, (self,), (out,))

    def backward(self):
        parts = {id(self): 1.0}  # what each has got so far, in this walk
        for node in self.order():
            g = parts[id(node)]
            node.grad = node.grad + g
            for x, slope in zip(node.inputs, node.slopes, strict=True):
                parts[id(x)] = parts.get(id(x), 0.0) + g * slope

    def order(self):
        found, seen, stack = [], set(), [(self, False)]
        while stack:
            node, done = stack.pop()
            if done:
                found.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                stack.append((node, True))
                stack += [(x, False) for x in node.inputs]
        return found[::-1]

    # </hole>


# <hole>
def value(x):
    return x if isinstance(x, Value) else Value(x)


# </hole>
