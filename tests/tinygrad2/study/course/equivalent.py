"""Changes of the solutions that leave all results as they are: the exercise, a statement, what it becomes, and why.

The statements are as Python writes them again from what it has read.
"""

SAME = [
    ("e01_slope", "g = np.zeros(x.shape)", "g = np.ones(x.shape)", "every entry is written"),
    (
        "e03_value",
        "return Value(self.data + other.data, (self, other), (1.0, 1.0))",
        "return Value(self.data + other.data, (other, self), (1.0, 1.0))",
        "both inputs of a sum get the same",
    ),
    (
        "e05_sums_and_shapes",
        "kept = np.sum(x, axis=axis, keepdims=True).shape",
        "kept = np.mean(x, axis=axis, keepdims=True).shape",
        "a sum and a mean have one shape",
    ),
    (
        "e07_matmul",
        "rows = np.reshape(x, (-1, k))",
        "rows = np.reshape(x, (-2, k))",
        "NumPy takes any negative length for the one that is left over",
    ),
    (
        "e07_matmul",
        "drows = np.reshape(dout, (-1, m))",
        "drows = np.reshape(dout, (-2, m))",
        "NumPy takes any negative length for the one that is left over",
    ),
    (
        "e08_tensor",
        "self.data = np.asarray(data, dtype=np.float64)",
        "self.data = np.asarray(data)",
        "all data are float64 already",
    ),
    (
        "e08_tensor",
        "return Tensor(self.data + other.data, (self, other), lambda g: (g, g))",
        "return Tensor(self.data + other.data, (other, self), lambda g: (g, g))",
        "both inputs of a sum get the same",
    ),
    ("e08_tensor", "return self + -tensor(other)", "return self + -other", "a number can be negated as it is"),
    ("e08_tensor", "return tensor(other) + -self", "return other + -self", "a number can be on the left of a sum"),
    (
        "e08_tensor",
        "kept = np.sum(self.data, axis=axis, keepdims=True).shape",
        "kept = np.mean(self.data, axis=axis, keepdims=True).shape",
        "a sum and a mean have one shape",
    ),
    (
        "e08_tensor",
        "rows = self.data.reshape(-1, self.shape[-1])",
        "rows = self.data.reshape(-2, self.shape[-1])",
        "NumPy takes any negative length for the one that is left over",
    ),
    (
        "e08_tensor",
        "return (g @ other.data.T, rows.T @ g.reshape(-1, g.shape[-1]))",
        "return (g @ other.data.T, rows.T @ g.reshape(-2, g.shape[-1]))",
        "NumPy takes any negative length for the one that is left over",
    ),
    (
        "e11_cross_entropy",
        "rows = np.reshape(logits, (-1, logits.shape[-1]))",
        "rows = np.reshape(logits, (-2, logits.shape[-1]))",
        "NumPy takes any negative length for the one that is left over",
    ),
    (
        "e11_cross_entropy",
        "places = (np.arange(len(rows)), np.reshape(targets, -1))",
        "places = (np.arange(len(rows)), np.reshape(targets, -2))",
        "NumPy takes any negative length for the one that is left over",
    ),
    (
        "e11_cross_entropy",
        "shifted = rows - np.max(rows, axis=-1, keepdims=True)",
        "shifted = rows - np.max(rows, axis=1, keepdims=True)",
        "there are two axes",
    ),
    (
        "e11_cross_entropy",
        "logs = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))",
        "logs = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))",
        "there are two axes",
    ),
    (
        "e11_cross_entropy",
        "return np.reshape(g * dloss / len(g), shape)",
        "return np.reshape(g * dloss / len(logs), shape)",
        "both have one length",
    ),
    ("e14_optimizers", "done = (t - warmup) / (total - warmup)", "done = (warmup - t) / (total - warmup)", "cos(-x) is cos(x)"),
    ("e14_optimizers", "done = (t - warmup) / (total - warmup)", "done = (t - warmup) / (warmup - total)", "cos(-x) is cos(x)"),
    (
        "e16_accumulation",
        "for start in range(0, len(rows), size):",
        "for start in range(0, len(counted), size):",
        "both have one length",
    ),
    ("e17_mlp", "decay = 0.01 if x.data.ndim > 1 else 0.0", "decay = 0.01 if m.data.ndim > 1 else 0.0", "m has the shape of x"),
    ("e18_causal_head", "T, d = q.shape[-2:]", "T, d = k.shape[-2:]", "queries and keys have one shape"),
    (
        "e18_causal_head",
        "weights = softmax_forward(np.where(future, -np.inf, scores))[0]",
        "weights = softmax_forward(np.where(future, -np.inf, scores))[1]",
        "the cache of softmax is what it gives",
    ),
    (
        "e18_causal_head",
        "weights = softmax_forward(np.where(future, -np.inf, scores))[0]",
        "weights = softmax_forward(np.where(future, -np.inf, scores))[-1]",
        "the cache of softmax is what it gives",
    ),
    (
        "e19_head_backward",
        "dscores = weights * (dweights - along) / np.sqrt(q.shape[-1])",
        "dscores = weights * (dweights - along) / np.sqrt(k.shape[-1])",
        "queries and keys have one shape",
    ),
    (
        "e22_gpt2",
        "x = x + embedding(np.arange(ids.shape[-1]), p['wpe.weight'])",
        "x = x + embedding(np.arange(ids.shape[1]), p['wpe.weight'])",
        "there are two axes",
    ),
    (
        "e22_gpt2",
        "p = {name: x for name, x in p.items() if not name.endswith(('.attn.bias', '.attn.masked_bias'))}",
        "p = {name: x for name, x in p.items() if not name.endswith(('.attn.masked_bias', '.attn.bias'))}",
        "the order is free",
    ),
    (
        "e24_generation",
        "if top_k is not None and top_k < len(p):",
        "if top_k is not None and top_k <= len(p):",
        "the smallest of all is no limit",
    ),
    (
        "e24_generation",
        "if top_k is not None and top_k < len(p):",
        "if top_k is not None and top_k < len(logits):",
        "both have one length",
    ),
    (
        "e24_generation",
        "return int(np.argmax(np.cumsum(p) > u))",
        "return np.argmax(np.cumsum(p) > u)",
        "it is the same integer",
    ),
    (
        "e24_generation",
        "before = k.shape[2] - q.shape[2]",
        "before = v.shape[2] - q.shape[2]",
        "there are as many values as keys",
    ),
    (
        "e24_generation",
        "scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])",
        "scores = q @ np.swapaxes(k, -1, 2) / np.sqrt(q.shape[-1])",
        "there are four axes",
    ),
    (
        "e24_generation",
        "scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])",
        "scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(k.shape[-1])",
        "queries and keys have one length",
    ),
    (
        "e24_generation",
        "scores = np.where(np.arange(k.shape[2]) <= own, scores, -np.inf)",
        "scores = np.where(np.arange(v.shape[2]) <= own, scores, -np.inf)",
        "there are as many values as keys",
    ),
    (
        "e24_generation",
        "logits = next_logits(np.array(ids[-context:]))",
        "logits = next_logits(ids[-context:])",
        "a list will do here",
    ),
    (
        "e25_the_fault",
        "return abs(measured - claimed) <= 1e-08 + 0.0001 * max(abs(measured), abs(claimed))",
        "return abs(measured - claimed) < 1e-08 + 0.0001 * max(abs(measured), abs(claimed))",
        "no two slopes are just so far apart",
    ),
    (
        "e25_the_fault",
        "return abs(measured - claimed) <= 1e-08 + 0.0001 * max(abs(measured), abs(claimed))",
        "return abs(claimed - measured) <= 1e-08 + 0.0001 * max(abs(measured), abs(claimed))",
        "it is the absolute value",
    ),
    ("e25_the_fault", "h = 1e-05", "h = 5e-06", "half the step gives the same nine digits"),
    (
        "e25_the_fault",
        "return low - 1 if low else None",
        "return low - 1 if high else None",
        "low and high are the same at the end",
    ),
    (
        "e25_the_fault",
        "return low - 1 if low else None",
        "return high - 1 if low else None",
        "low and high are the same at the end",
    ),
    (
        "e26_checkpointing",
        "out = f(*[Tensor(x) for x in arrays])",
        "out = f(*[x for x in arrays])",
        "f gives the same numbers of arrays",
    ),
    (
        "e26_checkpointing",
        "(f(*inputs) * Tensor(dout)).sum().backward()",
        "(f(*inputs) * Tensor(dout)).backward()",
        "backward begins with ones",
    ),
    (
        "e26_checkpointing",
        "(f(*inputs) * Tensor(dout)).sum().backward()",
        "(f(*inputs) * dout).sum().backward()",
        "it makes the Tensor itself",
    ),
]
EQUIVALENT: dict[str, dict[str, str]] = {}
for key, before, after, why in SAME:
    EQUIVALENT.setdefault(key, {})[f"{before}  ->  {after}"] = why
