# %% [markdown] lang="en"
# # Where memory goes
#
# To compute gradients, the backward pass needs numbers from the forward pass, so these are kept in between: the *activations*. In a
# training with long sequences they take more memory than the weights. This notebook counts them, array by array.
# %% [markdown] lang="zh"
# # 内存用在哪里
#
# 为了计算梯度，反向传播需要前向传播中的一些数，所以这些数要保留下来，它们称为*激活*。用长序列训练时，激活占的内存比权重还多。
# 本笔记逐个数组地清点它们。
# %%
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image

from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, checkpoint, nn, study

config = GPT2Config(vocab_size=100, max_seq_len=256, d_model=64, num_heads=4, num_layers=2)
model = GPT2(config, seed=0)


def ledger(model, batch_size, length):
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (batch_size, length + 1))
    with study.record():
        loss = model.loss(ids[:, :-1], ids[:, 1:])
    return study.ledger(loss)


kept = ledger(model, 8, 64)
kept
# %% [markdown] lang="en"
# The first table says which module keeps how much, the second which kind of operation. The third has the largest arrays, the
# operation whose backward needs them, and when they are free again: backward runs from the last operation to the first.
#
# As a curve: memory grows through the forward pass, is largest when the loss is computed, and shrinks on the way back.
# %% [markdown] lang="zh"
# 第一张表说明每个模块保留多少，第二张按运算的种类统计。第三张列出最大的数组、反向时需要它们的运算，以及何时释放：
# 反向传播从最后一个运算走到第一个。
#
# 画成曲线：内存在前向传播中增长，算出损失时最大，往回走时减少。
# %%
kept.plot("memory.png")
Image("memory.png", width=800)
# %% [markdown] lang="en"
# ## Weights or activations?
#
# Weights, their gradients and the two averages of Adam are each as large as the model, whatever the batch. Activations grow with the
# batch size.
# %% [markdown] lang="zh"
# ## 权重还是激活？
#
# 权重、权重的梯度，以及 Adam 的两个平均值，各自与模型一样大，与批次无关。激活则随批次大小增长。
# %%
fixed = 4 * sum(parameter.numpy().nbytes for parameter in model.parameters())
for batch_size in (1, 4, 16):
    activations = ledger(model, batch_size, 64).total
    print(f"batch {batch_size:2}: fixed {fixed / 1e6:.1f} MB, activations {activations / 1e6:5.1f} MB")


# %% [markdown] lang="en"
# ## Which part grows with the square of the length?
#
# Attention compares each position with each: T x T scores. All else grows with T. A fused operation may compute the scores again in
# backward and keep none of them; here is what a plain attention keeps, written out in NumPy's functions, beside that of this project.
# %% [markdown] lang="zh"
# ## 哪一部分按长度的平方增长？
#
# 注意力要把每个位置与每个位置比较：T x T 个分数。其余部分都与 T 成正比。融合的运算可以在反向时重新计算分数，一个也不保留。
# 下面比较用 NumPy 函数直接写出的注意力与本项目的注意力各保留多少。
# %%
def plain_attention(q, k, v):  # (H, T, d) each
    T = q.shape[1]
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])  # (H, T, T)
    powers = np.exp(np.where(np.tri(T, dtype=bool), scores, -np.inf))
    return powers / powers.sum(axis=-1, keepdims=True) @ v


def kept_by_plain(length):
    rng = np.random.default_rng(0)
    q, k, v = (Tensor(rng.standard_normal((4, length, 16)).astype(np.float32), requires_grad=True) for _ in range(3))
    with study.record():
        out = plain_attention(q, k, v).sum()
    return study.ledger(out).total


def kept_by_fused(length):
    attention = nn.MultiHeadAttention(64, 4, rng=np.random.default_rng(0))
    x = Tensor(np.ones((length, 64), np.float32), requires_grad=True)
    with study.record():
        out = attention(x).sum()
    return study.ledger(out).total


lengths = [32, 64, 128, 256, 512]
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for name, kept_by in (("plain", kept_by_plain), ("fused", kept_by_fused)):
    axes.loglog(lengths, [kept_by(length) / 1e6 for length in lengths], "o-", label=name)
axes.set(xlabel="length T", ylabel="kept for backward (MB)")
axes.set_xticks(lengths, lengths)
axes.minorticks_off()
axes.legend()
plt.show()


# %% [markdown] lang="en"
# ## Less memory for more time
#
# `checkpoint(f, x)` keeps nothing of `f` but its inputs, and computes `f` again in backward. The gradient is the same.
# The input `x` is a leaf, which would be there anyway, and is not counted.
# %% [markdown] lang="zh"
# ## 用时间换内存
#
# `checkpoint(f, x)` 只保留 `f` 的输入，反向时把 `f` 再算一遍。梯度不变。输入 `x` 是叶节点，本来就在内存中，不计入。
# %%
def bend(x):
    for _ in range(10):
        x = np.tanh(x) * 1.5
    return x


x = Tensor(np.linspace(-1, 1, 10_000), requires_grad=True)
gradients = []
for name, f in (("kept", bend), ("computed again", lambda x: checkpoint(bend, x))):
    with study.record():
        loss = f(x).sum()
    print(f"{name:15} {study.ledger(loss).total:9,} bytes")
    x.grad = None
    f(x).sum().backward()
    gradients.append(x.grad.numpy())
assert np.array_equal(*gradients)
# %% [markdown] lang="en"
# ## Try it
#
# 1. Double `d_model`. Which rows of the first table double, and which grow fourfold?
# 2. Why does `np.tanh` keep its *result* and not its input? Write its derivative in terms of the result.
# 3. Count the activations for a length of 256. From which batch size on do they outweigh all that is fixed?
# %% [markdown] lang="zh"
# ## 试一试
#
# 1. 把 `d_model` 加倍。第一张表的哪些行变为两倍，哪些变为四倍？
# 2. `np.tanh` 为什么保留它的*结果*而不是输入？用结果写出它的导数。
# 3. 清点长度为 256 时的激活。从多大的批次起，它们超过所有固定的部分？
