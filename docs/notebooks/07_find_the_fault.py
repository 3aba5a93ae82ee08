# %% [markdown] lang="en"
# # Break it and find the fault
#
# Three faults, from loud to silent: a NaN, a gradient that is never added, and a wrong rule with which training still goes on. For
# each there is a tool that says where it is.
# %% [markdown] lang="zh"
# # 弄坏它，再找出错误
#
# 三个错误，从明显到隐蔽：一个 NaN，一个没有累加的梯度，以及一条错误的求导规则，用它训练照样进行。每种错误都有工具指出它在哪里。
# %%
import numpy as np

from tinygrad2 import Tensor, autograd, gradcheck, ops, study
from tinygrad2.errors import AnomalyError
from tinygrad2.ops import primitive


# %% [markdown] lang="en"
# ## 1. A NaN
#
# The loss is fine, and the gradient is not a number. The place where it shows is not the place where it began.
# %% [markdown] lang="zh"
# ## 1. NaN
#
# 损失是正常的，梯度却不是数。它显现的地方并不是它产生的地方。
# %%
def distance(a, b):
    return np.sqrt(((a - b) ** 2).sum(axis=-1))


points = Tensor([[0.0, 1.0], [2.0, 2.0], [3.0, -1.0]], requires_grad=True)
centre = np.array([2.0, 2.0])
loss = distance(points, centre).mean()
with np.errstate(all="ignore"):
    loss.backward()
print("loss:", loss.item())
points.grad
# %% [markdown] lang="en"
# `detect_anomaly` watches every operation, forward and backward, and stops at the first one that makes a NaN or an infinity.
# %% [markdown] lang="zh"
# `detect_anomaly` 监视前向和反向的每个运算，在第一个产生 NaN 或无穷大的运算处停下。
# %%
try:
    with autograd.detect_anomaly():
        distance(points, centre).mean().backward()
except AnomalyError as error:
    print(str(error).replace(" at ", "\nat ", 1))


# %% [markdown] lang="en"
# The square root has an infinite slope at 0, and the second point lies in the centre. A small number under the root repairs it.
# %% [markdown] lang="zh"
# 平方根在 0 处斜率为无穷大，而第二个点正好在中心。在根号下加一个小数即可修复。
# %%
def safe_distance(a, b):
    return np.sqrt(((a - b) ** 2).sum(axis=-1) + 1e-12)


points.grad = None
safe_distance(points, centre).mean().backward()
points.grad
# %% [markdown] lang="en"
# ## 2. A contribution is missing
#
# `x` is used twice. A backward pass by hand easily keeps one of the two contributions and drops the other. `split` shows them all:
# their sum is the gradient.
# %% [markdown] lang="zh"
# ## 2. 少了一份贡献
#
# `x` 被用了两次。手写反向传播时，很容易只保留其中一份而丢掉另一份。`split` 列出每一份：它们的和就是梯度。
# %%
x = Tensor([[0.5, -1.0], [2.0, 0.3]], requires_grad=True)
with study.record():
    loss = (x + np.tanh(x)).sum()
study.split(loss, x)


# %%
def dropped(g, x):
    return (g * (1 - np.tanh(x) ** 2),)


gradcheck(lambda x: x + np.tanh(x), [x.numpy()], vjp=dropped)
# %% [markdown] lang="en"
# ## 3. A wrong rule with which training still goes on
#
# We write an operation of our own, with a mistake in its rule: the derivative of $\tanh$ is $1 - \tanh^2$, and the square is missing.
# A small network with this operation still learns.
# %% [markdown] lang="zh"
# ## 3. 规则错了，训练照样进行
#
# 我们自己写一个运算，并在它的规则中放一个错误：$\tanh$ 的导数是 $1 - \tanh^2$，这里漏了平方。用了这个运算的小网络照样能学习。
# %%
BadTanh = primitive(np.tanh, lambda g, out, x: g * (1 - out), name="bad_tanh")

rng = np.random.default_rng(0)
inputs = rng.standard_normal((64, 2))
labels = (inputs[:, 0] > np.sin(2 * inputs[:, 1])).astype(np.int64)


def train(bend, steps=400):
    rng = np.random.default_rng(1)
    w = [Tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((2, 16), (16, 2))]
    for _ in range(steps):
        loss = ops.cross_entropy(bend(inputs @ w[0]) @ w[1], labels)
        loss.backward()
        for p in w:
            p.data, p.grad = p.data - 0.5 * p.grad.data, None
    return loss.item()


print(f"ln 2 is a blind guess: {np.log(2):.3f}")
print(f"right rule: {train(np.tanh):.3f}, wrong rule: {train(BadTanh.call):.3f}")
# %% [markdown] lang="en"
# Nothing in the loss says that there is a mistake. The check finds it, and says what it looks like.
# %% [markdown] lang="zh"
# 损失中看不出任何错误。梯度检查能找到它，并说明它看起来像什么。
# %%
gradcheck(BadTanh.call, [np.array([-1.5, -0.2, 0.4, 2.0])])
# %% [markdown] lang="en"
# ## Now you
#
# This is the VJP Lab of a small computation. Open *Diagnose*: one rule of the backward pass is wrong, or none is. A *probe* moves one
# entry and shows what finite differences say there. With how few probes do you find the op?
# %% [markdown] lang="zh"
# ## 轮到你了
#
# 这是一个小计算的 VJP Lab。打开 *Diagnose*（诊断）：反向传播中有一条规则是错的，或者全对。每次*探测*移动一个元素，并显示有限差分在那里的结果。
# 最少用几次探测能找到出错的运算？
# %%
w = Tensor(np.array([[0.3, -0.5], [0.8, 0.1]]), requires_grad=True)
with study.record():
    h = x @ w
    loss = (np.tanh(h) * h).mean()
study.lab(loss)
# %% [markdown] lang="en"
# ## Try it
#
# 1. Write a rule with `2 * g * (1 - out**2)`. What is the diagnosis? Would a training with half the step size notice?
# 2. Write a rule that is right for positive numbers only. Does the check still find it if all inputs are positive?
# %% [markdown] lang="zh"
# ## 试一试
#
# 1. 写一条规则 `2 * g * (1 - out**2)`。诊断是什么？把步长减半的训练能察觉吗？
# 2. 写一条只对正数正确的规则。如果所有输入都是正数，检查还能发现它吗？
