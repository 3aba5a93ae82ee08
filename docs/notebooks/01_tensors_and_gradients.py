# %% [markdown] lang="en"
# # Tensors and gradients
#
# A *gradient* says how a number changes when the numbers it was computed from change a little. This notebook computes one by hand,
# lets the computer do the same, and uses it to fit a line.
#
# A `Tensor` is a NumPy array that remembers how it was computed. NumPy's own functions and operators work on it.
# %% [markdown] lang="zh"
# # 张量与梯度
#
# *梯度*说明：当输入的数稍有变化时，由它们算出的那个数会变化多少。本笔记先手算一个梯度，再让计算机完成同样的事，最后用梯度拟合一条直线。
#
# `Tensor`（张量）是一个记得自己如何算出来的 NumPy 数组。NumPy 的函数和运算符都可以直接用在它上面。
# %%
import numpy as np

from tinygrad2 import Tensor, study

x = Tensor([[1.0, -2.0, 0.5], [3.0, 0.0, -1.0]], requires_grad=True)
x
# %% [markdown] lang="en"
# A notebook shows the numbers as a heat map: blue is positive, orange is negative, and the stronger the colour, the larger the
# number. Now we compute one number from the six.
# %% [markdown] lang="zh"
# 在笔记本中，张量显示为热力图：蓝色为正，橙色为负，颜色越深，绝对值越大。下面由这六个数算出一个数。
# %%
y = np.sum(x * x)
y
# %% [markdown] lang="en"
# By hand: $y = \sum x_i^2$, so $\partial y / \partial x_i = 2 x_i$. The computer goes backwards through what it has recorded and
# leaves the gradient in `x.grad`. It has the shape of `x`, one slope for every entry.
# %% [markdown] lang="zh"
# 手算：$y = \sum x_i^2$，所以 $\partial y / \partial x_i = 2 x_i$。计算机沿记录下来的计算往回走，把梯度留在 `x.grad` 中。
# 它的形状与 `x` 相同，每个元素对应一个斜率。
# %%
y.backward()
assert np.array_equal(x.grad.numpy(), 2 * x.numpy())
x.grad
# %% [markdown] lang="en"
# ## What was recorded
#
# Each operation is a node of a *graph*. Values go down along its edges; gradients come back up. Here `a` is used twice, so its
# gradient is the sum of two contributions.
# %% [markdown] lang="zh"
# ## 记录下了什么
#
# 每个运算是*计算图*中的一个节点。值沿着边向下传，梯度沿着边往回传。这里 `a` 被用了两次，所以它的梯度是两份之和。
# %%
a = Tensor(2.0, requires_grad=True)
b = Tensor(3.0, requires_grad=True)
with study.record():
    c = a * b + np.sin(a)
study.draw(c)
# %%
c.backward()
print("by the graph:", a.grad.item())
print("by hand:     ", 3.0 + np.cos(2.0))
# %% [markdown] lang="en"
# ## A line through points
#
# *Gradient descent* repeats three steps: compute how wrong the model is (the loss), compute the gradient, and move each parameter a
# little against its gradient. The points below lie near the line $y = 2x - 1$.
# %% [markdown] lang="zh"
# ## 过点的直线
#
# *梯度下降*重复三步：计算模型错了多少（损失），计算梯度，再让每个参数逆着自己的梯度移动一小步。下面的点都在直线 $y = 2x - 1$ 附近。
# %%
rng = np.random.default_rng(0)
points = rng.uniform(-1, 1, 50)
values = 2 * points - 1 + 0.1 * rng.standard_normal(50)

slope = Tensor(0.0, requires_grad=True)
height = Tensor(0.0, requires_grad=True)
for step in range(61):
    loss = np.mean((slope * points + height - values) ** 2)
    slope.grad = height.grad = None
    loss.backward()
    if step % 20 == 0:
        print(f"step {step:2}: loss {loss.item():.4f}, line {slope.item():+.2f} x {height.item():+.2f}")
    slope.data = slope.data - 0.3 * slope.grad.data
    height.data = height.data - 0.3 * height.grad.data
# %% [markdown] lang="en"
# ## Try it
#
# 1. Take the line `slope.grad = height.grad = None` away. Gradients then add up from step to step. What becomes of the loss?
# 2. Replace the step size 0.3 by 2.0. Why does the loss grow?
# 3. Fit a parabola: add a third parameter, multiplied by `points ** 2`.
# %% [markdown] lang="zh"
# ## 试一试
#
# 1. 去掉 `slope.grad = height.grad = None` 这一行。梯度会一步步累加起来，损失会怎样？
# 2. 把步长 0.3 换成 2.0。损失为什么会变大？
# 3. 拟合一条抛物线：再加一个参数，乘以 `points ** 2`。
