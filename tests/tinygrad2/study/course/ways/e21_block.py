"""The matrix of c_attn is cut, and not what it gives; and the residual stream is a list that is added up."""

from e08_tensor import Tensor, op  # noqa: F401
from e09_activations import gelu_backward, gelu_forward
from e15_layer_norm import layer_norm_backward, layer_norm_forward
from e19_head_backward import causal_head_backward, causal_head_forward
from e20_heads import columns_backward, columns_forward, merge_heads, split_heads

gelu = op(gelu_forward, gelu_backward)
layer_norm = op(layer_norm_forward, layer_norm_backward)
causal_head = op(causal_head_forward, causal_head_backward)
columns = op(columns_forward, columns_backward)


def linear(x, w, b):
    return b + x @ w


def layer(x, p, name):
    return linear(x, p[name + ".weight"], p[name + ".bias"])


def attention(x, p, prefix, heads):
    C = x.shape[-1]
    parts = []
    for start in (0, C, 2 * C):
        w, b = (columns(p[f"{prefix}attn.c_attn.{kind}"], start, start + C) for kind in ("weight", "bias"))
        parts.append(split_heads(linear(x, w, b), heads))
    return layer(merge_heads(causal_head(*parts)), p, prefix + "attn.c_proj")


def feed_forward(x, p, prefix):
    return layer(gelu(layer(x, p, prefix + "mlp.c_fc")), p, prefix + "mlp.c_proj")


def block(x, p, prefix, heads):
    for name, part in (("ln_1", lambda y: attention(y, p, prefix, heads)), ("ln_2", lambda y: feed_forward(y, p, prefix))):
        x = part(layer_norm(x, p[f"{prefix}{name}.weight"], p[f"{prefix}{name}.bias"])) + x
    return x
