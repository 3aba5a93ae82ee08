# %% [markdown] lang="en"
# # Train on your text
#
# You need one text file of 700 characters or more. This notebook writes one, a part of Python's own documentation, so that it works
# anywhere; put the path of your text in its place.
# %% [markdown] lang="zh"
# # 用你自己的文本训练
#
# 你需要一个文本文件，至少 700 个字符。为了在任何地方都能运行，本笔记自己写一个：Python 自带文档的一部分。把它换成你的文本的路径即可。
# %%
from pathlib import Path

import gpt2
from gpt2.text.corpora import pydocs

text = pydocs()[:60_000]
Path("my.txt").write_text(text, encoding="utf-8")
print(text[:300])
# %% [markdown] lang="en"
# ## Train
#
# One line. The model is kept very small, so that this takes seconds. While it trains, the picture is drawn anew: the loss falls from
# that of a blind guess, $\ln V$ for V characters, past the baselines. A *bigram* table knows the character before, a *trigram*
# table two of them; what the model has learned beyond these is more than such tables hold.
# %% [markdown] lang="zh"
# ## 训练
#
# 只要一行。为了几秒内完成，模型取得很小。训练时图会不断重画：损失从盲猜的 $\ln V$（V 是字符种数）开始下降，越过各条基线。
# *bigram*（二元语法）表知道前一个字符，*trigram*（三元语法）表知道前两个；模型若降到它们之下，学到的就比这些表更多。
# %%
sizes = {"d_model": 48, "num_layers": 2, "num_heads": 4, "max_seq_len": 32}
run = gpt2.train("my.txt", steps=600, eval_every=150, sample_tokens=60, seed=0, **sizes)
# %% [markdown] lang="en"
# ## Let it write
#
# The model predicts one character, appends it, and goes on. `temperature` says how bold it is: near 0 it always takes the
# likeliest character; at 1 it draws each with its probability.
# %% [markdown] lang="zh"
# ## 让它写
#
# 模型预测一个字符，追加在后面，再继续。`temperature`（温度）说明它有多大胆：接近 0 时总取最可能的字符；为 1 时按概率抽取。
# %%
for temperature in (0.2, 0.8, 1.2):
    print(f"--- {temperature}\n{run.sample('The ', tokens=120, temperature=temperature)}")
# %% [markdown] lang="en"
# ## How good is it?
#
# *Bits per byte* can be compared between models with different tokens: how many bits an optimal code would need for each byte of the
# text, given these predictions.
# %% [markdown] lang="zh"
# ## 它有多好？
#
# *每字节比特数*可以在 token 不同的模型之间比较：给定这些预测，最优编码为文本的每个字节需要多少比特。
# %%
for sentence in ("The expression is evaluated.", "zebra quartz jumps!"):
    print(f"{run.evaluate(sentence).bits_per_byte:.2f} bits per byte for {sentence!r}")
# %% [markdown] lang="en"
# ## Is this normal?
#
# The verdicts below come from what the run has recorded: losses, sizes of updates, gradients, attention. Where something is wrong,
# they say what is likely the cause, and what to try.
# %% [markdown] lang="zh"
# ## 这正常吗？
#
# 下面的结论来自这次训练的记录：损失、更新的大小、梯度、注意力。如果有问题，会说明可能的原因和可尝试的办法。
# %%
run.health()
# %% [markdown] lang="en"
# ## Try it
#
# 1. Train for 1,500 steps. Does the validation loss still fall at the end? When it rises while the training loss falls, the model
#    learns the text by heart.
# 2. Train on a text in Chinese. How many different characters has it, and what is $\ln V$?
# 3. In a terminal, `gpt2 train my.txt --minutes 3` does the same with a model that fits the time.
# %% [markdown] lang="zh"
# ## 试一试
#
# 1. 训练 1500 步。结束时验证损失还在下降吗？如果训练损失下降而验证损失上升，说明模型在死记文本。
# 2. 用一篇中文文本训练。它有多少种字符，$\ln V$ 是多少？
# 3. 在终端里，`gpt2 train my.txt --minutes 3` 做同样的事，并选用与时间相配的模型。
