"""A block: attention, feed-forward network, and two residuals

    x ----------------------.             x ----------------------.
    |                       |             |                       |
    ln_1                    |             ln_2                    |
    c_attn -> q, k, v       |             c_fc   C -> 4C          |
    causal heads            |             gelu                    |
    c_proj                  |             c_proj 4C -> C          |
    |                       |             |                       |
    + <---------------------'             + <---------------------'

GPT-2 is a stack of such blocks. Attention is the only place where positions exchange something; the feed-forward network
works on each position alone. Both read a normalized x, and what they find is added to x itself, which is never normalized on
its way through the blocks (Pre-LN). In backward the + hands the gradient on unchanged, past both parts: this is why many
blocks can be trained.

All parameters are in a dict `p` of Tensors, with the names of OpenAI's files; `prefix` is "h.0." for the first block:

    h.0.ln_1.weight         h.0.ln_1.bias           (C,)
    h.0.attn.c_attn.weight  h.0.attn.c_attn.bias    (C, 3C)  (3C,)    queries, keys, values side by side, in this order
    h.0.attn.c_proj.weight  h.0.attn.c_proj.bias    (C, C)   (C,)
    h.0.ln_2.weight         h.0.ln_2.bias           (C,)
    h.0.mlp.c_fc.weight     h.0.mlp.c_fc.bias       (C, 4C)  (4C,)
    h.0.mlp.c_proj.weight   h.0.mlp.c_proj.bias     (4C, C)  (C,)

Your engine and your pairs are imported, and made functions of Tensors by your `op`. Write four functions of Tensors; x is (B,
T, C).

- `linear(x, w, b)`: (..., n), (n, m), (m,) -> (..., m).
- `attention(x, p, prefix, heads)`: c_attn, columns, split_heads, causal_head, merge_heads, c_proj -> (B, T, C).
- `feed_forward(x, p, prefix)`: c_fc, gelu, c_proj -> (B, T, C).
- `block(x, p, prefix, heads)`: x + attention(ln_1(x)), and then the same with feed_forward and ln_2 -> (B, T, C).
[zh]
一个块：注意力、前馈网络和两个残差

    x ----------------------.             x ----------------------.
    |                       |             |                       |
    ln_1                    |             ln_2                    |
    c_attn -> q, k, v       |             c_fc   C -> 4C          |
    因果注意力头            |             gelu                    |
    c_proj                  |             c_proj 4C -> C          |
    |                       |             |                       |
    + <---------------------'             + <---------------------'

GPT-2 由这样的块堆叠而成。只有注意力在位置之间交换信息；前馈网络对每个位置单独计算。两者读取的都是归一化后的 x，所得结果加到 x
本身上，而 x 在穿过各块时从不归一化（Pre-LN）。反向传播时，加号把梯度原样传过去，绕过这两部分：正因为如此，很多块也能训练。

所有参数都在由 Tensor 组成的字典 `p` 中，名字与 OpenAI 的文件相同；第一个块的 `prefix` 为 "h.0."：

    h.0.ln_1.weight         h.0.ln_1.bias           (C,)
    h.0.attn.c_attn.weight  h.0.attn.c_attn.bias    (C, 3C)  (3C,)    查询、键、值按此顺序并排
    h.0.attn.c_proj.weight  h.0.attn.c_proj.bias    (C, C)   (C,)
    h.0.ln_2.weight         h.0.ln_2.bias           (C,)
    h.0.mlp.c_fc.weight     h.0.mlp.c_fc.bias       (C, 4C)  (4C,)
    h.0.mlp.c_proj.weight   h.0.mlp.c_proj.bias     (4C, C)  (C,)

你的引擎和各对函数已经导入，并由你的 `op` 变成 Tensor 的函数。请写出四个 Tensor 的函数；x 形状为 (B, T, C)。

- `linear(x, w, b)`：(..., n)、(n, m)、(m,) -> (..., m)。
- `attention(x, p, prefix, heads)`：c_attn、columns、split_heads、causal_head、merge_heads、c_proj -> (B, T, C)。
- `feed_forward(x, p, prefix)`：c_fc、gelu、c_proj -> (B, T, C)。
- `block(x, p, prefix, heads)`：x + attention(ln_1(x))，再用 feed_forward 和 ln_2 做同样的事 -> (B, T, C)。
"""

from e08_tensor import Tensor, op  # the engine that all of this runs on
from e09_activations import gelu_backward, gelu_forward
from e15_layer_norm import layer_norm_backward, layer_norm_forward
from e19_head_backward import causal_head_backward, causal_head_forward
from e20_heads import columns_backward, columns_forward, merge_heads, split_heads

gelu = op(gelu_forward, gelu_backward)
layer_norm = op(layer_norm_forward, layer_norm_backward)
causal_head = op(causal_head_forward, causal_head_backward)
columns = op(columns_forward, columns_backward)


def linear(x, w, b):
    """x (..., n), w (n, m), b (m,) -> (..., m)."""
    # <hole>
    return x @ w + b
    # </hole>


def attention(x, p, prefix, heads):
    """x (B, T, C) -> (B, T, C)."""
    # <hole>
    C = x.shape[-1]
    qkv = linear(x, p[prefix + "attn.c_attn.weight"], p[prefix + "attn.c_attn.bias"])
    q, k, v = [split_heads(columns(qkv, i * C, (i + 1) * C), heads) for i in range(3)]
    merged = merge_heads(causal_head(q, k, v))
    return linear(merged, p[prefix + "attn.c_proj.weight"], p[prefix + "attn.c_proj.bias"])
    # </hole>


def feed_forward(x, p, prefix):
    """x (B, T, C) -> (B, T, C)."""
    # <hole>
    hidden = gelu(linear(x, p[prefix + "mlp.c_fc.weight"], p[prefix + "mlp.c_fc.bias"]))
    return linear(hidden, p[prefix + "mlp.c_proj.weight"], p[prefix + "mlp.c_proj.bias"])
    # </hole>


def block(x, p, prefix, heads):
    """x (B, T, C) -> (B, T, C)."""
    # <hole>
    normalized = layer_norm(x, p[prefix + "ln_1.weight"], p[prefix + "ln_1.bias"])
    x = x + attention(normalized, p, prefix, heads)
    normalized = layer_norm(x, p[prefix + "ln_2.weight"], p[prefix + "ln_2.bias"])
    return x + feed_forward(normalized, p, prefix)
    # </hole>
