"""Checkpointing: compute twice, keep little

    f = three layers           kept for backward           with checkpoint(f)

    x -> a -> b -> y           x, a, b                     x
                               y.backward() reads them     y.backward() computes a and b again, and then reads them

What a network keeps for backward grows with its depth, and for a long sequence it is most of the memory. But everything
between x and y can be had again from x. So keep x alone. When the gradient of y arrives, run f once more, this time with an
engine that remembers, and go back through this small graph; afterwards it can be forgotten. With one checkpoint for every k
of n layers there are n/k inputs and one piece of k layers in memory, and not n layers. The price is one forward pass more
(Chen et al., 2016).

One question is left: `backward()` starts from a single number with gradient 1, but what arrives at y is an array dy. The
number sum(y * dy), with dy constant, has the gradient dy with respect to y.

Write `checkpoint(f)`. `f` takes Tensors and gives one Tensor. The result is a function of the same arguments that gives the
same values and gradients. Until backward arrives, it keeps nothing but the arrays of its inputs, and during the forward pass
f is run once. The check counts how much of what is inside f is kept at each time, and how often it is computed.

Two tools of yours do it: `op(forward, backward)` makes a function of Tensors from functions of arrays, and `Tensor(array)`
begins a new graph. (An engine that writes every op on one tape must take what forward wrote off it again.)
[zh]
检查点：算两遍，少存储

    f = 三层                   为反向保存的量              用 checkpoint(f)

    x -> a -> b -> y           x、a、b                     x
                               y.backward() 读取它们       y.backward() 重新算出 a 和 b，然后读取

网络为反向传播保存的量随深度增长，序列很长时占去大部分内存。但 x 与 y 之间的一切都可以由 x 再次算出，所以只保存 x。y 的梯度到
来时，再运行一次 f，这次由引擎记住各步，沿这个小计算图反向传播，之后就可以丢弃。若 n 层中每 k 层设一个检查点，内存中有 n/k 个
输入和一段k 层，而不是 n 层。代价是多一次前向（Chen 等，2016）。

还有一个问题：`backward()` 从一个数、梯度 1 开始，而到达 y 的是数组 dy。把 dy 看作常数，sum(y * dy) 这个数对 y 的梯度就是 dy。

请写出 `checkpoint(f)`。`f` 接受若干 Tensor，给出一个 Tensor。结果是参数相同的函数，值和梯度都相同。在反向到来之前，它只保存输
入的数组；前向时 f 只运行一次。检查会统计每一时刻保存了 f 内部的多少量，以及它们被计算了多少次。

你的两个工具就够了：`op(forward, backward)` 由数组的函数得到 Tensor 的函数；`Tensor(array)` 开始一个新的计算图。（若引擎把所有
运算记在同一条 tape 上，前向结束时要把 f 记下的部分从中移除。）
"""

from e08_tensor import Tensor, op


def checkpoint(f):
    """A function of Tensors -> one that gives the same, and keeps only its inputs."""
    # <hole>

    def forward(*arrays):
        out = f(*[Tensor(x) for x in arrays])
        return out.data, arrays

    def backward(dout, arrays):
        inputs = [Tensor(x) for x in arrays]
        (f(*inputs) * Tensor(dout)).sum().backward()
        return tuple(x.grad for x in inputs)

    return op(forward, backward)
    # </hole>
