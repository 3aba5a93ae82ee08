"""The fault: find it in somebody else's gradients, with few probes

    pairs you can call: one slope          a chain you can only probe: halve it

    f(x + h u)                             x0 -> x1 -> x2 -> x3 -> x4 -> loss
     |       \\   rises by                     f0    f1    f2    f3
    f(x - h u)   sum(gradient * u) * 2h    gradient:  x0 x   x1 x   x2 ok  x3 ok  x4 ok
                                           so the backward of f1 is wrong

To test a gradient entry by entry takes two calls of the function for each entry. One number is enough: move x along a random
direction u, and all entries at once must explain what happens. For a result that is an array, choose a random array `dout`
too, and look at the number sum(dout * out). With h = 1e-5 both ways of computing the slope agree to about nine digits. A
fault stays hidden from directions and weights that are special: softmax adds up to 1, so that with dout = 1 everywhere its
slope is 0.

Where only the gradients of a chain of n layers can be seen, every gradient before a fault is wrong, and all after it are
right. Each probe in the middle halves what is left: 1000 layers take ten probes.

Write four functions:

- `agree(measured, claimed)`: True where the two numbers differ by at most 1e-8 + 1e-4 * (the larger of their absolute
  values). The first term is for gradients that are 0, where differences give something like 1e-12.
- `slopes(forward, backward, args, i, dout, u) -> (measured, claimed)`: both slopes of sum(dout * out) when the array args[i]
  of the tuple `args` moves along u. `measured` is the central difference with h = 1e-5, `claimed` what the gradient of
  args[i] says. `forward(*args) -> (out, cache)`, `backward(dout, cache)` gives a tuple with one gradient for each of args.
- `suspects(pairs, rng)`: `pairs` is a dict from a name to (forward, backward, args). Return the list of all (name, i) for
  which the gradient of args[i] is wrong, in order. Draw dout and u with `rng.standard_normal(shape)`. At most four calls of
  forward for each argument.
- `faulty_layer(n, probe)`: `probe(i)` gives (measured, claimed) at x_i, for i from 0 to n. Layer i computes x_(i+1) from x_i,
  and at x_n, behind the last layer, the two always agree. Return the number of the layer whose backward is wrong, or None
  where all are right. At most as many probes as it takes to tell n + 1 answers apart by halving.
[zh]
找错：用很少的探测找出别人梯度中的错误

    可以调用的函数对：一个斜率             只能探测的链：对半查找

    f(x + h u)                             x0 -> x1 -> x2 -> x3 -> x4 -> loss
     |       \\   升高了                       f0    f1    f2    f3
    f(x - h u)   sum(梯度 * u) * 2h        梯度：     x0 错  x1 错  x2 对  x3 对  x4 对
                                           所以 f1 的反向是错的

逐个元素检验梯度，每个元素都要调用函数两次。其实一个数就够了：让 x 沿随机方向 u 移动，所有元素必须合起来解释结果的变化。若结果
是数组，就再随机取一个数组 `dout`，看 sum(dout * out) 这个数。取 h = 1e-5，两种方法算出的斜率大约有九位相同。特殊的方向和权重
看不出某些错误：softmax 之和为 1，所以 dout 处处为 1 时斜率是 0。

如果只能看到 n 层的链中各处的梯度：错误之前的梯度全错，之后的全对。每次在中间探测，剩下的范围减半：1000 层只需十次探测。

请写出四个函数：

- `agree(measured, claimed)`：两数之差不超过 1e-8 + 1e-4 * （两者绝对值中较大的一个）时为 True。第一项用于梯度为 0 的情形，此
  时差分会得到 1e-12 之类的数。
- `slopes(forward, backward, args, i, dout, u) -> (measured, claimed)`：元组 `args` 中的数组 args[i] 沿 u 移动时，sum(dout *
  out) 的两个斜率。`measured` 为 h = 1e-5 的中心差分，`claimed` 由 args[i] 的梯度算出。`forward(*args) -> (out, cache)`，
  `backward(dout, cache)` 给出元组，args 的每一项各有一个梯度。
- `suspects(pairs, rng)`：`pairs` 是从名字到 (forward, backward, args) 的字典。返回所有梯度错误的 (name, i) 的列表，按顺序。
  dout 和 u 用 `rng.standard_normal(shape)` 抽取。每个参数最多调用 forward 四次。
- `faulty_layer(n, probe)`：`probe(i)` 给出 x_i 处的 (measured, claimed)，i 从 0 到 n。第 i 层由 x_i 算出 x_(i+1)；在最后一层
  之后的 x_n 处，两者总是一致。返回反向有错的层的编号；全对时返回 None。探测次数不得超过用对半查找区分 n + 1 种答案所需的次数。
"""

import numpy as np


def agree(measured, claimed):
    """Two numbers -> whether they are the same slope."""
    # <hole>
    return abs(measured - claimed) <= 1e-8 + 1e-4 * max(abs(measured), abs(claimed))
    # </hole>


def slopes(forward, backward, args, i, dout, u):
    """A pair and its args, which of them moves, dout like out, u like args[i] -> (measured, claimed)."""
    # <hole>
    h = 1e-5
    above, _ = forward(*args[:i], args[i] + h * u, *args[i + 1 :])
    below, _ = forward(*args[:i], args[i] - h * u, *args[i + 1 :])
    _, cache = forward(*args)
    gradients = backward(dout, cache)
    return np.sum(dout * (above - below)) / (2 * h), np.sum(gradients[i] * u)
    # </hole>


def suspects(pairs, rng):
    """A dict of (forward, backward, args) -> a list of (name, i)."""
    # <hole>
    found = []
    for name, (forward, backward, args) in pairs.items():
        out, _ = forward(*args)
        for i, x in enumerate(args):
            dout = rng.standard_normal(out.shape)
            u = rng.standard_normal(x.shape)
            if not agree(*slopes(forward, backward, args, i, dout, u)):
                found.append((name, i))
    return found
    # </hole>


def faulty_layer(n, probe):
    """How many layers, and slopes at x_i -> the number of a layer, or None."""
    # <hole>
    low, high = 0, n  # the gradients of x_high and all behind it are right, those of all before x_low are wrong
    while low < high:
        middle = (low + high) // 2
        if agree(*probe(middle)):
            high = middle
        else:
            low = middle + 1
    return low - 1 if low else None
    # </hole>
