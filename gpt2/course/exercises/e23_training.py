"""Training: your GPT-2 learns a text (milestone 3)

    batch 0, 1, 2, ...
      |  loss of your GPT-2            exercise 22
      |  backward                      your engine, exercise 8
      |  gradients, clipped            exercise 14
      |  learning rate of this step    exercise 14
      |  adamw for each parameter      exercise 14
    new parameters, and so on; then it writes

The check does the same with the GPT-2 of `gpt2 train`, in float64: three hundred losses must be the same to twelve digits. If
they are not, it takes one step on both sides, and says which operation is the first to differ.

- `train(weights, batches, heads, settings)` -> (losses, weights). `weights` are arrays by OpenAI's names, `batches` a list of
  (inputs, targets), both (B, T); there is one step for each, and its loss is the one before the update. `settings` is a
  dictionary: learning_rate, warmup, final (the learning rate at the end, after as many steps as there are batches), beta1,
  beta2, decay, grad_clip. Only parameters with two axes decay. Gradients are clipped all together. The returned weights are
  arrays by the same names, after the last step.
- `write(weights, ids, count, heads)` -> a list: the list `ids`, and `count` tokens more, always the likeliest one. The model
  sees the last tokens, as many as wpe.weight has rows.
[zh]
训练：你的 GPT-2 学习一段文本（里程碑 3）

    批次 0, 1, 2, ...
      |  你的 GPT-2 的损失             练习 22
      |  反向传播                      你的引擎，练习 8
      |  裁剪后的梯度                  练习 14
      |  这一步的学习率                练习 14
      |  对每个参数做 adamw            练习 14
    新的参数，如此继续；然后写作

检查用 `gpt2 train` 的 GPT-2 以 float64 做同样的事：三百个损失必须有十二位数字相同。若不相同，则在两边各走一步，指出第一个不同
的运算。

- `train(weights, batches, heads, settings)` -> (losses, weights)。`weights` 是按 OpenAI 命名的数组，`batches` 是
  (inputs, targets) 的列表，两者形状均为 (B, T)；每个批次一步，记录的损失是更新之前的。`settings` 是字典：learning_rate、
  warmup、final（与批次数相同的步数之后的学习率）、beta1、beta2、decay、grad_clip。只有具有两个轴的参数才衰减。
  所有梯度一起裁剪。返回的 weights 是最后一步之后按相同名称的数组。
- `write(weights, ids, count, heads)` -> 列表：`ids` 加上 `count` 个 token，每次取最可能的一个。模型只看最后的 token，
  个数为 wpe.weight 的行数。
"""

import numpy as np
from e08_tensor import Tensor
from e14_optimizers import adamw, clip, learning_rate
from e22_gpt2 import gpt2, loss


def train(weights, batches, heads, settings):
    """weights by name, batches of (inputs, targets) -> losses, weights by name."""
    # <hole>
    weights = dict(weights)
    m = {name: np.zeros_like(x) for name, x in weights.items()}
    v = {name: np.zeros_like(x) for name, x in weights.items()}
    losses = []
    for t, (inputs, targets) in enumerate(batches):
        p = {name: Tensor(x) for name, x in weights.items()}
        its_loss = loss(inputs, targets, p, heads)
        its_loss.backward()
        losses.append(float(its_loss.data))
        gradients, _ = clip([x.grad for x in p.values()], settings["grad_clip"])
        lr = learning_rate(t, settings["learning_rate"], settings["warmup"], len(batches), settings["final"])
        for (name, x), g in zip(weights.items(), gradients, strict=True):
            decay = settings["decay"] if x.ndim > 1 else 0.0
            new = adamw(x, g, m[name], v[name], t + 1, lr, settings["beta1"], settings["beta2"], decay)
            weights[name], m[name], v[name] = new
    return losses, weights
    # </hole>


def write(weights, ids, count, heads):
    """A list of ids -> the same with `count` more."""
    # <hole>
    p = {name: Tensor(x) for name, x in weights.items()}
    ids = list(ids)
    for _ in range(count):
        seen = np.array([ids[-len(weights["wpe.weight"]) :]])
        ids.append(int(np.argmax(gpt2(seen, p, heads).data[0, -1])))
    return ids
    # </hole>
