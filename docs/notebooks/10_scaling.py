# %% [markdown] lang="en"
# # Scaling
#
# How much better does a model get when it is made larger, or trained longer? For large language models the loss falls as a *power*
# of the number of parameters and of the number of tokens (Kaplan et al., 2020). A power is a straight line when both axes are
# logarithmic, so that one can see it, and predict from small models what a larger one will do.
# %% [markdown] lang="zh"
# # 规模
#
# 模型变大，或训练得更久，会好多少？对大语言模型，损失按参数个数和 token 个数的*幂*下降（Kaplan et al., 2020）。
# 两个轴都取对数时，幂函数是一条直线，所以既能看出来，也能由小模型预测较大模型的结果。
# %%
import matplotlib.pyplot as plt
import numpy as np

from gpt2 import GPT2, GPT2Config
from gpt2.text.corpora import pydocs
from gpt2.tokenizers import CharTokenizer
from tinygrad2 import no_grad, optim

text = pydocs()[:200_000]
tokenizer = CharTokenizer.train(text)
ids = np.asarray(tokenizer.encode(text))
train_ids, val_ids = ids[:-20_000], ids[-20_000:]
T, BATCH = 32, 16
print(f"{len(train_ids):,} characters to train on, {tokenizer.vocab_size} different ones")


# %% [markdown] lang="en"
# ## Train several sizes
#
# Everything but the width is the same: the text, the number of steps, the step size, the batches. We note the validation loss on the
# way, so that each training also tells what a shorter one would have reached. Parameters are counted without the embeddings.
# %% [markdown] lang="zh"
# ## 训练几种规模
#
# 除宽度外一切相同：文本、步数、步长、批次。训练途中记下验证损失，这样每次训练也说明了更短的训练能达到什么。参数个数不计嵌入。
# %%
def windows(source, starts):
    rows = source[starts[:, None] + np.arange(T + 1)]
    return rows[:, :-1], rows[:, 1:]


def train(width, stops):
    """Parameters in the blocks, and the validation loss after each of these numbers of steps."""
    rng = np.random.default_rng(0)
    config = GPT2Config(vocab_size=tokenizer.vocab_size, max_seq_len=T, d_model=width, num_heads=4, num_layers=2)
    model = GPT2(config, seed=0)
    optimizer = optim.AdamW(model.parameters())
    val_windows = windows(val_ids, np.linspace(0, len(val_ids) - T - 1, 200).astype(int))
    losses = []
    for step in range(stops[-1]):
        model.zero_grad()
        model.loss(*windows(train_ids, rng.integers(0, len(train_ids) - T, BATCH))).backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.lr = 4e-3 * min(1, (step + 1) / 20)
        optimizer.step()
        if step + 1 in stops:
            with no_grad():
                losses.append(model.loss(*val_windows).item())
    return sum(p.size for block in model.h for p in block.parameters()), losses


widths, stops = [8, 16, 32, 48], [50, 100, 200]
sizes, losses = zip(*(train(width, stops) for width in widths), strict=True)
losses = np.array(losses)  # (widths, stops)
for size, row in zip(sizes, losses, strict=True):
    print(f"{size:7,} parameters: " + ", ".join(f"{x:.3f} after {stop}" for x, stop in zip(row, stops, strict=True)))
# %% [markdown] lang="en"
# ## A straight line?
#
# The line is fitted to all models but the largest, and then drawn on to the largest: a prediction that could fail.
# %% [markdown] lang="zh"
# ## 是直线吗？
#
# 直线只用除最大模型以外的模型拟合，再延长到最大的模型：这是一个可能失败的预测。
# %%
slope, height = np.polyfit(np.log(sizes[:-1]), np.log(losses[:-1, -1]), 1)
predicted = np.exp(height + slope * np.log(sizes[-1]))
tokens = np.array(stops) * BATCH * T
figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for i, stop in enumerate(stops):
    panels[0].loglog(sizes, losses[:, i], "o-", label=f"{stop} steps")
panels[0].loglog(sizes, np.exp(height + slope * np.log(sizes)), "k--", label="power law, fitted to three")
panels[0].set(xlabel="parameters in the blocks", ylabel="validation loss (nats per character)")
for size, row in zip(sizes, losses, strict=True):
    panels[1].loglog(tokens, row, "o-", label=f"{size:,} parameters")
panels[1].set(xlabel="tokens seen")
for axes, ticks in zip(panels, (sizes, tokens), strict=True):
    axes.minorticks_off()
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_yticks([2.5, 3.0, 3.5], ["2.5", "3.0", "3.5"])
    axes.legend()
plt.show()
print(f"loss ~ parameters^{slope:.3f}; predicted {predicted:.3f}, measured {losses[-1, -1]:.3f}")
# %% [markdown] lang="en"
# Be careful with what this shows. One seed tells nothing about chance, and one step size need not be right for all widths. The trainings
# are so short that larger models have not come to the end of what they can learn. Experiment 14 of this project, *Do small scaling
# laws hold here?*, repeats it over five seeds and says where the line fails.
#
# ## Try it
#
# 1. Repeat it with another seed in `train`. Is the prediction off by more than the losses of two seeds differ?
# 2. Which is better at the same cost, a model twice as large or a training twice as long? The cost of a step is about
#    $6 \times$ parameters $\times$ tokens.
# 3. Add the width 64, and predict its loss before you measure it.
# %% [markdown] lang="zh"
# 要小心看待这个结果。一个种子说明不了偶然性有多大，同一个步长也未必适合所有宽度。训练很短，较大的模型还远没有学完。
# 本项目的实验 14（*Do small scaling laws hold here?*，小规模的缩放定律在这里成立吗？）用五个种子重复，并指出直线在哪里不成立。
#
# ## 试一试
#
# 1. 在 `train` 中换一个种子重复。预测的偏差比两个种子的损失之差更大吗？
# 2. 成本相同时，模型大一倍好还是训练长一倍好？一步的成本约为 $6 \times$ 参数个数 $\times$ token 个数。
# 3. 加上宽度 64，并在测量之前预测它的损失。
