"""Six gradients by hand: from the gradient of a result to those of its inputs

    a ----+
          |
          * ---> out ---> ... ---> loss      forward: numbers go right
          |
    b ----+

    a <---+
          |
          * <--- g                           backward: gradients go left
          |
    b <---+

`g` is how fast the loss rises with `out`. The chain rule says the rest: the gradient of an input is g times the derivative of
`out` by that input. If out rises by 3 for each step of a, and the loss by g for each step of out, then the loss rises by 3 g
for each step of a. Nothing else of the loss has to be known, and this is why one small rule for each operation is enough for a
whole GPT-2.

Each function takes g first, then the inputs of the operation, all numbers or all arrays of one shape, entry by entry. It
returns the gradient of each input that can be differentiated, in their order.

- `multiply(g, a, b)` -> (gradient of a, gradient of b), for a * b
- `divide(g, a, b)` -> (gradient of a, gradient of b), for a / b
- `power(g, x, n)` -> gradient of x, for x ** n, where n is a number that does not change
- `sine(g, x)` -> gradient of x, for sin(x)
- `logarithm(g, x)` -> gradient of x, for log(x), the natural one
- `relu(g, x)` -> gradient of x, for max(x, 0); there is none at exactly 0, where 0 is taken
[zh]
手算六个梯度：由结果的梯度得到输入的梯度

    a ----+
          |
          * ---> out ---> ... ---> loss      前向：数值从左到右
          |
    b ----+

    a <---+
          |
          * <--- g                           反向：梯度从右到左
          |
    b <---+

`g` 表示 loss 随 `out` 上升得多快。其余由链式法则给出：某个输入的梯度等于 g 乘以 `out` 对该输入的导数。若 a 每移动一步 out 上升
3，而 out 每移动一步 loss 上升 g，那么 a 每移动一步 loss 上升 3 g。除此之外不需要知道 loss 的任何信息，
所以每种运算只要一条小规则，就足以支撑整个 GPT-2。

每个函数先接收 g，再接收该运算的输入；它们都是数，或都是同一形状的数组，逐元素计算。按输入的顺序返回每个可微输入的梯度。

- `multiply(g, a, b)` -> (a 的梯度, b 的梯度)，运算为 a * b
- `divide(g, a, b)` -> (a 的梯度, b 的梯度)，运算为 a / b
- `power(g, x, n)` -> x 的梯度，运算为 x ** n，n 是不变的数
- `sine(g, x)` -> x 的梯度，运算为 sin(x)
- `logarithm(g, x)` -> x 的梯度，运算为 log(x)，即自然对数
- `relu(g, x)` -> x 的梯度，运算为 max(x, 0)；在 0 处没有导数，取 0
"""

import numpy as np


def multiply(g, a, b):
    """g, a, b (...) -> gradients of a and b (...)."""
    # <hole>
    return g * b, g * a
    # </hole>


def divide(g, a, b):
    """g, a, b (...) -> gradients of a and b (...)."""
    # <hole>
    return g / b, -g * a / b**2
    # </hole>


def power(g, x, n):
    """g, x (...), a number -> gradient of x (...)."""
    # <hole>
    return g * n * x ** (n - 1)
    # </hole>


def sine(g, x):
    """g, x (...) -> gradient of x (...)."""
    # <hole>
    return g * np.cos(x)
    # </hole>


def logarithm(g, x):
    """g, x (...) -> gradient of x (...)."""
    # <hole>
    return g / x
    # </hole>


def relu(g, x):
    """g, x (...) -> gradient of x (...)."""
    # <hole>
    return g * (x > 0)
    # </hole>
