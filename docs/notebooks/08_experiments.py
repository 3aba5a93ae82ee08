# %% [markdown] lang="en"
# # Experiments
#
# "Residual connections help." How would one know? An experiment has four parts: a question whose answer is a number, what to expect
# and why, a measurement repeated over several *seeds* (other random numbers), and a *control* from which the cause is taken away.
# If the effect is still there in the control, it had another cause.
# %% [markdown] lang="zh"
# # 实验
#
# “残差连接有帮助。”怎样才能知道？一个实验有四部分：答案是一个数的问题；预期的结果和理由；在几个*种子*（不同的随机数）上重复的测量；
# 以及去掉原因的*对照*。如果在对照中效应依然存在，它就另有原因。
# %%
import matplotlib.pyplot as plt
import numpy as np

from tinygrad2 import Tensor, autograd

# %% [markdown] lang="en"
# ## The question
#
# How large is the gradient that arrives at the output of the first layer of a deep network, beside the one that sets out from the
# output of the last layer?
#
# **What to expect.** Without residual connections, the gradient is multiplied by the derivative of each layer on its way back. The
# weights below make a vector smaller by a factor of about 0.7, and twenty layers by $0.7^{20} \approx 0.0008$. With $x + f(x)$ the
# gradient also passes *beside* each layer unchanged, so it should not vanish.
# %% [markdown] lang="zh"
# ## 问题
#
# 在深层网络中，梯度从最后一层的输出出发，到达第一层的输出时，与出发时相比还有多大？
#
# **预期。** 没有残差连接时，梯度在往回走的路上要逐层乘以各层的导数。下面的权重使向量缩小到约 0.7 倍，二十层就缩小到 $0.7^{20} \approx 0.0008$。
# 使用 $x + f(x)$ 时，梯度还可以从每一层的*旁边*不变地通过，所以不应消失。
# %%
WIDTH = 16


def ratio(depth, is_residual, seed):
    """The norm of the loss's gradient at the output of the first layer, over that at the output of the last."""
    rng = np.random.default_rng(seed)
    x = Tensor(rng.standard_normal((8, WIDTH)), requires_grad=True)
    target = rng.standard_normal((8, WIDTH))
    outputs = []
    for _ in range(depth):
        w = rng.normal(0, 0.7 / np.sqrt(WIDTH), (WIDTH, WIDTH))
        x = x + np.tanh(x @ w) if is_residual else np.tanh(x @ w)
        outputs.append(x)
    loss, ends = np.mean((x - target) ** 2), [outputs[0], outputs[-1]]
    first, last = autograd.grad(loss, ends)
    return np.linalg.norm(first.numpy()) / np.linalg.norm(last.numpy())


# %% [markdown] lang="en"
# ## The measurement
#
# Each point is the mean over ten seeds, and the bar is its 95% confidence interval: about two standard errors to either side. One
# run alone says nothing about the next. Ratios are compared by their logarithms, because they multiply.
# %% [markdown] lang="zh"
# ## 测量
#
# 每个点是十个种子的平均值，竖线是它的 95% 置信区间：两侧各约两个标准误差。单独一次运行不能说明下一次会怎样。比值是相乘的，
# 所以比较它们的对数。
# %%
depths, seeds = [1, 2, 5, 10, 20, 40], range(10)
figure, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
means = {}
for name, is_residual in (("plain", False), ("residual", True)):
    logs = np.log10([[ratio(depth, is_residual, seed) for seed in seeds] for depth in depths])
    means[name], error = logs.mean(axis=1), 2 * logs.std(axis=1, ddof=1) / np.sqrt(len(seeds))
    axes.errorbar(depths, means[name], error, fmt="o-", capsize=3, label=name)
axes.set(xlabel="layers", ylabel="log10 of |gradient at first| / |gradient at last|")
axes.legend()
plt.show()
# %% [markdown] lang="en"
# ## Does the claim hold?
#
# A claim is a sentence that could be false, so it can be written as code. The control is a depth of 1: there the first layer *is* the
# last one, so both must be equal, with and without residual connections.
# %% [markdown] lang="zh"
# ## 结论成立吗？
#
# 结论是一个可能为假的句子，所以可以写成代码。对照是深度 1：这时第一层*就是*最后一层，有没有残差连接，比值都必须等于 1。
# %%
deepest = {name: 10 ** mean[-1] for name, mean in means.items()}
print(f"40 layers: plain {deepest['plain']:.1e}, residual {deepest['residual']:.2f}")
assert deepest["plain"] < 1e-3 < deepest["residual"]
assert means["plain"][0] == means["residual"][0] == 0
# %% [markdown] lang="en"
# The project has sixteen such experiments, each a question with its control and an exercise: `python -m experiments 07 --quick`, in a
# checkout, runs the one on residual connections with a real GPT-2.
#
# ## Try it
#
# 1. Replace 0.7 by 1.0 and by 1.4. Does the plain network need the residual connections as much?
# 2. Measure the gradient of the *weights* of the first and the last layer instead. Why does their ratio tell much less? (Which
#    numbers is the gradient of the last weights made of?)
# 3. Use one seed instead of ten, twice. How often would you have drawn a wrong conclusion?
# %% [markdown] lang="zh"
# 本项目有十六个这样的实验，每个都是一个问题，带有对照和练习：在代码仓库中，`python -m experiments 07 --quick` 用真正的 GPT-2 运行关于残差连接的那一个。
#
# ## 试一试
#
# 1. 把 0.7 换成 1.0 和 1.4。没有残差连接的网络还那么需要它吗？
# 2. 改为测量第一层和最后一层*权重*的梯度。为什么它们的比值能说明的少得多？（最后一层权重的梯度由哪些数组成？）
# 3. 只用一个种子而不是十个，做两次。你会有多少次得出错误的结论？
