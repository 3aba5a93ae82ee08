# %% [markdown] lang="en"
# # A GPT-2 from its parts
#
# A GPT-2 reads a sequence of *tokens*, here characters, and gives for each position the probabilities of the next token. We compute
# it from a handful of NumPy functions, and then compare with the model of this project: the numbers are the same.
#
# Shapes: T tokens, C numbers for each of them (the width), H heads of width d = C / H, V tokens in the vocabulary.
# %% [markdown] lang="zh"
# # 由各部件组成 GPT-2
#
# GPT-2 读入一串 *token*（这里是字符），并在每个位置给出下一个 token 的概率。我们用几个 NumPy 函数把它算出来，再与本项目的模型比较：数值相同。
#
# 形状：T 个 token，每个用 C 个数表示（宽度），H 个头，每个头宽 d = C / H，词表中有 V 个 token。
# %%
import numpy as np

from gpt2 import GPT2, GPT2Config

config = GPT2Config(vocab_size=11, max_seq_len=8, d_model=8, num_heads=2, num_layers=1)
model = GPT2(config, seed=0, dtype=np.float64)
p = {name: parameter.numpy() for name, parameter in model.named_parameters()}
model
# %% [markdown] lang="en"
# The table has every parameter of the model. `p` holds them as plain arrays; all that follows is computed from these.
#
# ## 1. From ids to vectors
#
# Each token has a row of `wte`, each position a row of `wpe`. The two are added.
# %% [markdown] lang="zh"
# 表中是模型的全部参数。`p` 以普通数组的形式保存它们，下面的一切都由它们算出。
#
# ## 1. 从 id 到向量
#
# 每个 token 对应 `wte` 的一行，每个位置对应 `wpe` 的一行，两者相加。
# %%
ids = np.array([3, 7, 2, 7])
T = len(ids)
x = p["wte.weight"][ids] + p["wpe.weight"][np.arange(T)]  # (T, C)
x.shape


# %% [markdown] lang="en"
# ## 2. Layer normalisation
#
# Every row gets mean 0 and variance 1, and then a gain and a bias.
# %% [markdown] lang="zh"
# ## 2. 层归一化
#
# 使每一行的均值为 0、方差为 1，再乘增益、加偏置。
# %%
def layer_norm(x, gain, bias):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * gain + bias


normal = layer_norm(x, p["h.0.ln_1.weight"], p["h.0.ln_1.bias"])  # (T, C)


# %% [markdown] lang="en"
# ## 3. Attention
#
# Each position makes a *query* (what it looks for), a *key* (what it is found by) and a *value* (what it hands over). The score of
# a query and a key is their dot product, divided by $\sqrt d$. The causal mask sets the scores of later positions to $-\infty$:
# a token must not see what it is to predict. Softmax turns scores into weights whose sum is 1.
# %% [markdown] lang="zh"
# ## 3. 注意力
#
# 每个位置产生一个*查询*（要找什么）、一个*键*（凭什么被找到）和一个*值*（交出什么）。查询与键的分数是两者的点积除以 $\sqrt d$。
# 因果掩码把之后位置的分数设为 $-\infty$：一个 token 不能看到它要预测的内容。softmax 把分数变成总和为 1 的权重。
# %%
def softmax(scores):
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def split(x, heads):  # (T, C) -> (H, T, d)
    return x.reshape(len(x), heads, -1).swapaxes(0, 1)


H = config.num_heads
qkv = normal @ p["h.0.attn.c_attn.weight"] + p["h.0.attn.c_attn.bias"]  # (T, 3C)
q, k, v = (split(part, H) for part in np.split(qkv, 3, axis=-1))  # (H, T, d) each
scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])  # (H, T, T)
scores = np.where(np.tri(T, dtype=bool), scores, -np.inf)
weights = softmax(scores)
# %% [markdown] lang="en"
# A row is a query, a column is a key. Above the diagonal all is zero: that is the mask.
# %% [markdown] lang="zh"
# 每一行是一个查询，每一列是一个键。对角线上方全为零：这就是掩码。
# %%
from tinygrad2 import Tensor

Tensor(weights)
# %%
heads = (weights @ v).swapaxes(0, 1).reshape(T, -1)  # (T, C)
x = x + heads @ p["h.0.attn.c_proj.weight"] + p["h.0.attn.c_proj.bias"]


# %% [markdown] lang="en"
# Note the `x +`: the result of attention is *added* to what was there. That is a residual connection.
#
# ## 4. The feed-forward network
#
# It works on every position by itself: wider by a factor of 4, the bent curve GELU, and back.
# %% [markdown] lang="zh"
# 注意 `x +`：注意力的结果*加*在原来的内容上，这就是残差连接。
#
# ## 4. 前馈网络
#
# 它对每个位置单独计算：先变宽到 4 倍，经过弯曲的函数 GELU，再变回来。
# %%
def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


normal = layer_norm(x, p["h.0.ln_2.weight"], p["h.0.ln_2.bias"])
wide = gelu(normal @ p["h.0.mlp.c_fc.weight"] + p["h.0.mlp.c_fc.bias"])  # (T, 4C)
x = x + wide @ p["h.0.mlp.c_proj.weight"] + p["h.0.mlp.c_proj.bias"]
# %% [markdown] lang="en"
# ## 5. The head
#
# A last normalisation, and a score for every token of the vocabulary: the *logits*. That was the whole model.
# %% [markdown] lang="zh"
# ## 5. 输出头
#
# 最后做一次归一化，再为词表中的每个 token 算一个分数，即 *logits*。整个模型就是这些。
# %%
h = layer_norm(x, p["ln_f.weight"], p["ln_f.bias"])
logits = h @ p["lm_head.weight"].T + p["lm_head.bias"]  # (T, V)
difference = np.abs(logits - model(ids).numpy()).max()
print(f"largest difference from the model: {difference:.1e}")
assert difference < 1e-12
# %% [markdown] lang="en"
# ## Generation
#
# Predict, append, repeat. Here the likeliest token is always taken. The weights are random, so what it writes means nothing yet.
# %% [markdown] lang="zh"
# ## 生成
#
# 预测、追加、重复。这里每次取最可能的 token。权重是随机的，所以它写出的内容还没有意义。
# %%
model.generate(ids, max_new_tokens=4)
# %% [markdown] lang="en"
# ## Try it
#
# 1. Leave the mask out (the line with `np.tri`). Which rows of the logits change, and why not the last one?
# 2. Swap the first two ids. Without `wpe`, would the last row of the logits change?
# 3. Set `num_layers=2` and put steps 2 to 4 into a loop over the blocks `h.0` and `h.1`.
# %% [markdown] lang="zh"
# ## 试一试
#
# 1. 去掉掩码（有 `np.tri` 的那一行）。logits 的哪些行会变？最后一行为什么不变？
# 2. 交换前两个 id。如果没有 `wpe`，logits 的最后一行会变吗？
# 3. 设 `num_layers=2`，把第 2 至 4 步写成对 `h.0` 和 `h.1` 两个块的循环。
