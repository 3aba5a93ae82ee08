# %% [markdown] lang="en"
# # The explained program
#
# What does `loss.backward()` actually compute? `study.explain` answers with a program: the forward and the backward pass in plain
# NumPy, a line for each operation. It can be read, changed and run, and gives the same numbers bit for bit.
# %% [markdown] lang="zh"
# # 展开的程序
#
# `loss.backward()` 究竟计算了什么？`study.explain` 用一个程序来回答：前向和反向传播都写成普通的 NumPy，每个运算一行。
# 它可以阅读、修改和运行，得到的数值逐位相同。
# %%
from pathlib import Path

import numpy as np

from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, ops, study

rng = np.random.default_rng(0)
x = rng.standard_normal((4, 3))
labels = np.array([0, 1, 1, 0])
w = Tensor(rng.standard_normal((3, 2)), requires_grad=True)
b = Tensor(np.zeros(2), requires_grad=True)
# %% [markdown] lang="en"
# ## A classifier in one line
#
# Only what is computed inside `study.record()` is remembered with all of its values. The whole program is in the file
# `explained/program.py`; here is its main part, below the functions that it calls. Behind each line is the shape of what it sets.
# %% [markdown] lang="zh"
# ## 一行代码的分类器
#
# 只有在 `study.record()` 之内计算的内容才会连同所有的值一起记录下来。完整的程序在文件 `explained/program.py` 中；
# 这里是它的主体，略去了前面供它调用的函数。每行末尾是该行所求数组的形状。
# %%
with study.record():
    loss = ops.cross_entropy(np.tanh(x) @ w + b, labels)
text = study.explain(loss, "explained", kernels="spec")
print(text[text.index("# Forward") :])


# %% [markdown] lang="en"
# Read it from the end. The backward pass begins with the gradient of the loss with respect to itself, 1, and passes it to what the
# loss was computed from. Each line is the rule of one operation; a value that is used several times gets a sum.
#
# ## It is executed, not just printed
#
# With `kernels="numpy"`, the default, the program makes the same bits as the engine. It reads the parameters from `inputs.npz` beside
# it and leaves `grads`.
# %% [markdown] lang="zh"
# 从末尾读起。反向传播从损失对自身的梯度 1 开始，把它传给算出损失的那些量。每一行是一个运算的规则；被多次使用的值得到各份之和。
#
# ## 它是可以运行的
#
# 默认的 `kernels="numpy"` 生成的程序与引擎的结果逐位相同。它从旁边的 `inputs.npz` 读入参数，运行后留下 `grads`。
# %%
def run(folder):
    program = Path(folder, "program.py")
    names = {"__name__": "explained", "__file__": str(program.absolute())}
    exec(compile(program.read_text(encoding="utf-8"), str(program), "exec"), names)
    return names


study.explain(loss, "explained")
loss.backward()
grads = run("explained")["grads"]
for name, gradient in grads.items():
    print(name, gradient.shape)
assert all(any(np.array_equal(gradient, p.grad.numpy()) for p in (w, b)) for gradient in grads.values())
# %% [markdown] lang="en"
# ## A whole GPT-2
#
# The same for a language model of two blocks. `collapse=True` writes the blocks, which are alike, as one function.
# %% [markdown] lang="zh"
# ## 整个 GPT-2
#
# 对两个块的语言模型也一样。各个块结构相同，`collapse=True` 把它们写成一个函数。
# %%
model = GPT2(GPT2Config(vocab_size=11, max_seq_len=5, d_model=8, num_heads=2, num_layers=2), seed=0, dtype=np.float64)
ids = rng.integers(0, 11, (2, 6))
with study.record():
    loss = model.loss(ids[:, :-1], ids[:, 1:])
text = study.explain(loss, "explained_gpt2", collapse=True, kernels="spec")
first, last = text.index("def h_forward"), text.index("def h_backward")
print(len(text.splitlines()), "lines, of which these are the forward pass of a block:\n")
print(text[first:last])
# %%
loss.backward()
grads = run("explained_gpt2")["grads"]
worst = max(np.abs(grads[name] - p.grad.numpy()).max() for name, p in model.named_parameters())
print(f"{len(grads)} gradients; largest difference from the engine: {worst:.1e}")
# %% [markdown] lang="en"
# The program by specification computes the formulas as they stand in a textbook; the engine computes several of them at once. So the
# numbers differ by rounding, and by no more.
#
# ## Try it
#
# 1. In `program.py`, find the line of the gradient of `b`. Why does it contain a sum over an axis?
# 2. Delete one term of a sum in the program and run it again. Which gradients change, and which do not?
# 3. Compare the numbers of lines with and without `collapse`, for two blocks and for four.
# %% [markdown] lang="zh"
# 按定义写出的程序照课本上的公式计算；引擎则把几步合在一起算。所以数值只差舍入误差，不会更多。
#
# ## 试一试
#
# 1. 在 `program.py` 中找到 `b` 的梯度那一行。为什么其中有沿某个轴的求和？
# 2. 删去程序中某个和的一项，再运行一次。哪些梯度变了，哪些没变？
# 3. 比较使用和不使用 `collapse` 时的行数：两个块，以及四个块。
