"""GPT-2, whole: from ids to logits, on your own engine

    ids (B, T)
     |    a row of wte.weight for each token
     +  <- a row of wpe.weight for each position 0, 1, ..., T - 1
    x (B, T, C)
     |    block h.0, then h.1, ...: as many as there are parameters for
     |    layer_norm with ln_f.weight and ln_f.bias
     |    @ lm_head.weight transposed, + lm_head.bias
    logits (B, T, V): at each position, a score for every next token

`p` holds the parameters by the names that OpenAI gave them, as Tensors: wte.weight (V, C), wpe.weight (at least T, C),
h.0.ln_1.weight and the others of each block, ln_f.weight, ln_f.bias, lm_head.weight (V, C) and lm_head.bias (V,).

- `gpt2(ids, p, heads)` -> logits (B, T, V), a Tensor.
- `loss(ids, targets, p, heads)` -> the mean cross-entropy of targets (B, T), a Tensor that is one number.
- `from_openai(weights)` -> the arrays by the names above, from those of a file of OpenAI's GPT-2. There, every name may begin
  with "transformer."; buffers such as h.0.attn.bias and h.0.attn.masked_bias, which hold the causal mask, are no parameters;
  and the head is tied: its matrix is that of the token embedding, and it has no bias, which is a bias of zeros.
- `without_gradient(C)` -> (start, stop): of h.i.attn.c_attn.bias, (3 C,), some entries have a gradient of zero, whatever the
  text is. Which? Try it, or think: softmax does not change when the same number is added to all scores of a row.
[zh]
完整的 GPT-2：在你自己的引擎上，从 id 到 logits

    ids (B, T)
     |    每个 token 取 wte.weight 的一行
     +  <- 每个位置 0, 1, ..., T - 1 取 wpe.weight 的一行
    x (B, T, C)
     |    块 h.0，然后 h.1 ……：有多少参数就有多少块
     |    用 ln_f.weight 和 ln_f.bias 做层归一化
     |    @ lm_head.weight 的转置，+ lm_head.bias
    logits (B, T, V)：每个位置上，对每个可能的下一个 token 的分数

`p` 按 OpenAI 的命名保存参数（均为 Tensor）：wte.weight (V, C)、wpe.weight（至少 T 行，C 列）、h.0.ln_1.weight 等各块的参数、
ln_f.weight、ln_f.bias、lm_head.weight (V, C) 和 lm_head.bias (V,)。

- `gpt2(ids, p, heads)` -> logits (B, T, V)，Tensor。
- `loss(ids, targets, p, heads)` -> 对 targets (B, T) 的平均交叉熵，为一个数的 Tensor。
- `from_openai(weights)` -> 由 OpenAI 的 GPT-2 文件中的数组得到按上述名称命名的数组。文件中的名称可能以 "transformer." 开头；
  h.0.attn.bias、h.0.attn.masked_bias 等缓冲区保存因果掩码，不是参数；输出头与词嵌入共享矩阵，且没有偏置，即偏置为零。
- `without_gradient(C)` -> (start, stop)：h.i.attn.c_attn.bias (3 C,) 中有一些元素，无论什么文本，梯度都为零。是哪些？
  可以试验，也可以思考：同一行的所有分数加上同一个数，softmax 不变。
"""

import numpy as np
from e08_tensor import Tensor, op  # Tensor is for the files that go on from here
from e11_cross_entropy import cross_entropy_backward, cross_entropy_forward
from e12_embedding import embedding_backward, embedding_forward
from e15_layer_norm import layer_norm_backward, layer_norm_forward
from e21_block import block

embedding = op(embedding_forward, embedding_backward)
layer_norm = op(layer_norm_forward, layer_norm_backward)
cross_entropy = op(cross_entropy_forward, cross_entropy_backward)


def gpt2(ids, p, heads):
    """ids (B, T) -> logits (B, T, V)."""
    # <hole>
    x = embedding(ids, p["wte.weight"])
    x = x + embedding(np.arange(ids.shape[-1]), p["wpe.weight"])
    layer = 0
    while f"h.{layer}.ln_1.weight" in p:
        x = block(x, p, f"h.{layer}.", heads)
        layer += 1
    x = layer_norm(x, p["ln_f.weight"], p["ln_f.bias"])
    return x @ p["lm_head.weight"].transpose(1, 0) + p["lm_head.bias"]
    # </hole>


def loss(ids, targets, p, heads):
    """ids (B, T), targets (B, T) -> the mean cross-entropy."""
    # <hole>
    return cross_entropy(gpt2(ids, p, heads), targets)
    # </hole>


def from_openai(weights):
    """Arrays by OpenAI's names -> arrays by the names of `p`."""
    # <hole>
    p = {name.removeprefix("transformer."): x for name, x in weights.items()}
    p = {name: x for name, x in p.items() if not name.endswith((".attn.bias", ".attn.masked_bias"))}
    p["lm_head.weight"] = p["wte.weight"]
    p["lm_head.bias"] = np.zeros(len(p["wte.weight"]))
    return p
    # </hole>


def without_gradient(C):
    """(start, stop) of the entries of c_attn.bias whose gradient is zero."""
    # <hole>
    return C, 2 * C
    # </hole>
