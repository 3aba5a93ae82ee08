# %% [markdown] lang="en"
# # A gradient check of your own code
#
# You have written a backward pass by hand. Is it right? Training does not tell: with a wrong gradient the loss often still falls,
# only more slowly. A *gradient check* compares it with finite differences: move one input a little, and see how the result moves.
# %% [markdown] lang="zh"
# # 检查你自己的梯度
#
# 你手写了一个反向传播。它对吗？训练看不出来：梯度错了，损失往往照样下降，只是慢一些。*梯度检查*把它与有限差分比较：把一个输入移动一点点，
# 看结果变化多少。
# %%
import numpy as np

from tinygrad2 import gradcheck


def affine(x, w, b):  # (N, D), (D, M), (M,) -> (N, M)
    return x @ w + b


rng = np.random.default_rng(0)
x, w, b = rng.standard_normal((3, 4)), rng.standard_normal((4, 2)), rng.standard_normal(2)
# %% [markdown] lang="en"
# ## The idea in five lines
#
# Take one entry of `w`, and the sum of the result as one number. Its slope is the difference of two values, divided by how far
# apart they were taken. How far should that be? Far apart, the curve bends between them; too near, the subtraction loses digits.
# %% [markdown] lang="zh"
# ## 五行代码说明原理
#
# 取 `w` 的一个元素，并把结果求和成一个数。斜率等于两个函数值之差，除以两点的距离。距离取多大？太大，曲线在两点之间会弯曲；
# 太小，相减会损失有效数字。
# %%
exact = np.exp(1.0)
for h in (1e-1, 1e-3, 1e-5, 1e-7, 1e-9, 1e-11):
    slope = (np.exp(1 + h) - np.exp(1 - h)) / (2 * h)
    print(f"h = {h:.0e}: slope of exp at 1 is {slope:.12f}, off by {abs(slope - exact):.0e}")


# %% [markdown] lang="en"
# `gradcheck` does this for every entry of every input. It estimates the error of its differences itself, so there is no tolerance to
# choose.
#
# ## A backward pass with a mistake
#
# `g` is the gradient of the result, of its shape: the *cotangent*. The function below turns it into the gradients of `x`, `w` and `b`.
# One of them is wrong.
# %% [markdown] lang="zh"
# `gradcheck` 对每个输入的每个元素都这样做。差分的误差由它自己估计，所以不必选容差。
#
# ## 一个有错的反向传播
#
# `g` 是结果的梯度（*余切*，cotangent），形状与结果相同。下面的函数由它求出 `x`、`w` 和 `b` 的梯度，其中一个是错的。
# %%
def affine_vjp(g, x, w, b):
    return g @ w.T, x.T @ g, g.mean(axis=0)


gradcheck(affine, [x, w, b], vjp=affine_vjp)


# %% [markdown] lang="en"
# The verdict is *wrong*, in `b`, with both numbers and the mistake that it looks like: a mean where a sum belongs. `b` was added to
# each of the three rows, and the gradients of all uses add up.
# %% [markdown] lang="zh"
# 结论是 *wrong*（错误），错在 `b`；表中有两个数值，以及它看起来像哪种错误：该求和的地方取了平均。`b` 加到了三行的每一行上，
# 而所有使用的梯度要相加。
# %%
def repaired(g, x, w, b):
    return g @ w.T, x.T @ g, g.sum(axis=0)


result = gradcheck(affine, [x, w, b], vjp=repaired)
result
# %% [markdown] lang="en"
# ## In a test
#
# Only *right* counts as true, so that a check is one line of a test. `assert_right` fails with the whole table.
# %% [markdown] lang="zh"
# ## 写进测试
#
# 只有 *right*（正确）算真，所以一次检查就是测试中的一行。`assert_right` 失败时给出整张表。
# %%
result.assert_right()
assert gradcheck(affine, [x, w, b], vjp=repaired)
assert not gradcheck(affine, [x, w, b], vjp=affine_vjp)
# %% [markdown] lang="en"
# ## What no check can decide
#
# At a corner there are two slopes. A gradient between them is accepted; anything else is wrong. And a function that gives another
# value each time has no slope at all: *undecidable*.
# %% [markdown] lang="zh"
# ## 检查无法判定的情况
#
# 在折点处有两个斜率：介于两者之间的梯度都可接受，其他的是错误。如果一个函数每次给出不同的值，就根本没有斜率：*undecidable*（无法判定）。
# %%
noise = np.random.default_rng(1)
gradcheck(lambda x: x + noise.standard_normal(x.shape), [x], vjp=lambda g, x: (g,))


# %% [markdown] lang="en"
# ## Try it
#
# Write the backward pass of the function below, and check it. The derivative of $x \sigma(x)$, with $\sigma(x) = 1 / (1 + e^{-x})$,
# is $\sigma(x) + x \sigma(x) (1 - \sigma(x))$. Then leave one of its factors out and read the verdict.
# %% [markdown] lang="zh"
# ## 试一试
#
# 为下面的函数写出反向传播并检查它。记 $\sigma(x) = 1 / (1 + e^{-x})$，则 $x \sigma(x)$ 的导数是
# $\sigma(x) + x \sigma(x) (1 - \sigma(x))$。然后去掉一个因子，看看结论怎么说。
# %%
def silu(x):
    return x / (1 + np.exp(-x))
