# %% [markdown] lang="en"
# # What attention looks at
#
# A model is trained on a task whose answer we know, so that we can tell whether its attention looks at the right place. The task:
# eight random letters, and then the same eight again. Who wants to predict the second half has to look back.
# %% [markdown] lang="zh"
# # 注意力在看什么
#
# 我们在一个已知答案的任务上训练模型，这样就能判断它的注意力是否看对了地方。任务是：八个随机字母，然后把这八个字母再写一遍。
# 要预测后一半，就必须往回看。
# %%
import matplotlib.pyplot as plt
import numpy as np

from gpt2 import GPT2, GPT2Config
from gpt2.insight.inspection import inspect
from tinygrad2 import optim

LETTERS, N = 12, 8


def sequences(count, rng):  # (count, 2N)
    half = rng.integers(0, LETTERS, (count, N))
    return np.concatenate([half, half], axis=1)


rng = np.random.default_rng(0)
sequences(2, rng)
# %% [markdown] lang="en"
# ## Train
#
# One block with two heads. Of the second half the loss can go to 0; the first half is random, and nobody can predict it better than
# $\ln 12 = 2.48$.
# %% [markdown] lang="zh"
# ## 训练
#
# 一个块，两个头。后一半的损失可以降到 0；前一半是随机的，谁也不能比 $\ln 12 = 2.48$ 预测得更好。
# %%
model = GPT2(GPT2Config(vocab_size=LETTERS, max_seq_len=2 * N, d_model=32, num_heads=2, num_layers=1), seed=0)
optimizer = optim.AdamW(model.parameters(), lr=5e-3)
losses = []
for _ in range(500):
    ids = sequences(32, rng)
    model.zero_grad()
    loss = model.loss(ids[:, :-1], ids[:, 1:])
    loss.backward()
    optim.clip_grad_norm(model.parameters(), 1.0)
    optimizer.step()
    losses.append(loss.item())

test = sequences(200, rng)
predicted = model(test[:, :-1]).numpy().argmax(axis=-1)[:, N - 1 :]
accuracy = (predicted == test[:, N:]).mean()
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}; in the second half, {accuracy:.0%} of the letters are right")
# %% [markdown] lang="en"
# ## Look
#
# A row is the position that looks, a column the position that it looks at; a row sums to 1. To predict the letter at position
# $t + 1$, position $t$ needs the letter at $t + 1 - 8$. The circles are there.
# %% [markdown] lang="zh"
# ## 观察
#
# 每一行是正在看的位置，每一列是被看的位置；每行之和为 1。要预测位置 $t + 1$ 的字母，位置 $t$ 需要位置 $t + 1 - 8$ 的字母。圆圈标在那里。
# %%
attention = inspect(model, test[0, :-1]).attention[0]  # (H, T, T) of the only block
figure, panels = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
looks = np.arange(N - 1, 2 * N - 1)
for head, axes in enumerate(panels):
    image = axes.imshow(attention[head], cmap="viridis", vmin=0, vmax=1)
    axes.scatter(looks - N + 1, looks, s=90, facecolors="none", edgecolors="tab:red")
    axes.set(title=f"head {head}", xlabel="position that is looked at", ylabel="position that looks")
figure.colorbar(image, ax=panels, label="attention weight")
plt.show()
# %% [markdown] lang="en"
# In numbers: the weight that goes to the right place, beside what an even look at all earlier positions would give it.
# %% [markdown] lang="zh"
# 用数值表示：落在正确位置上的权重，以及均匀地看之前所有位置时它会得到的权重。
# %%
right = attention[:, looks, looks - N + 1].mean(axis=1)
even = np.mean(1 / (looks + 1))
print(f"head 0: {right[0]:.2f}, head 1: {right[1]:.2f}, evenly: {even:.2f}")
# %% [markdown] lang="en"
# Attention weights show what a head *reads*, not what is *done* with it. What counts is what changes when it is taken away; see
# experiment 11 of this project, *Why several heads?*
#
# ## Try it
#
# 1. Let the second half be the first one in reverse order. Where do you expect the circles?
# 2. Train with one head, and with four. Does each of them learn the same?
# 3. Train for 50 steps only. Which comes first, the pattern or the accuracy?
# %% [markdown] lang="zh"
# 注意力权重说明一个头*读*了什么，而不是*用*它做了什么。要看作用，得看去掉它之后有什么变化；见本项目的实验 11（*Why several heads?*，
# 为什么要多个头？）。
#
# ## 试一试
#
# 1. 让后一半是前一半的倒序。你预计圆圈在哪里？
# 2. 用一个头、四个头训练。每个头学到的一样吗？
# 3. 只训练 50 步。先出现的是图案，还是准确率？
