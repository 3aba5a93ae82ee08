"""Whole rules that people type from memory, and what is wrong with them."""

from __future__ import annotations

from tinygrad2.study.lab.catalogue import CATALOGUE

FAULTS = {fault.key: fault.title for fault in CATALOGUE}

MISSING_G = "the gradient that arrives is missing: this is the local derivative alone"

TYPED: dict[str, tuple[dict[str, str], ...]] = {
    "tanh": (
        {
            "g * (1 - x ** 2)": "tanh' is 1 - tanh(x)^2: square the output, not the input",
            "g * (1 + out ** 2)": "a sign is wrong: tanh' is 1 - tanh^2",
            "g * out": "this multiplies with tanh itself; its derivative is 1 - tanh^2",
            "g / (1 - out ** 2)": "divided by the derivative instead of multiplied with it",
            "g * (1 - out) ** 2": "the square is at the wrong place: tanh' is 1 - tanh^2",
        },
    ),
    "sigmoid": (
        {
            "g * x * (1 - x)": "s (1 - s) is of the output s, not of the input",
            "g * (1 - out)": "half of s (1 - s): the factor s is missing",
            "g * out * (1 + out)": "a sign is wrong: it is s (1 - s)",
        },
    ),
    "softmax": (
        {
            "g * out * (1 - out)": "this is the diagonal of softmax's Jacobian: one score also lowers the other outputs",
            "out * (g - np.sum(g, axis=axis, keepdims=True))": "the sum over the row lacks the weights: it is that of g * out",
            "out * (g - np.sum(g * out))": "summed over everything instead of along the axis of the softmax",
            "out * g - np.sum(g * out, axis=axis, keepdims=True)": "the sum over the row lacks the factor out before it",
            "x * (g - np.sum(g * x, axis=axis, keepdims=True))": "the rule is of the output p, not of the scores",
            "g * np.exp(x)": "this is the rule of exp: the outputs of a softmax share one denominator",
            "out - g": "p - onehot is of softmax and cross-entropy together, and g is no onehot",
        },
    ),
    "log_softmax": ({"g - np.exp(out) * g": FAULTS["softmax_row_sum"], "g * (1 - np.exp(out))": FAULTS["softmax_row_sum"]},),
    "exp": ({"g * x": "exp' is exp: multiply with the output, not with the input"},),
    "log": (
        {
            "g / out": "log' is 1 / x: divide by the input, not by the output",
            "-g / x ** 2": "this is the derivative of 1 / x",
        },
    ),
    "sqrt": (
        {
            "g / (2 * x)": "divided by the input: the derivative of sqrt is 1 / (2 sqrt(x))",
            "0.5 * g * out": "multiplied with the root instead of divided by it",
        },
    ),
    "square": ({"2 * g * out": "2 x is of the input, not of the output"},),
    "power": (
        {
            "g * b * out": "the exponent was not lowered by one",
            "g * a ** (b - 1)": "the exponent did not come down as a factor",
            "g * out * np.log(a)": "this is the gradient of the exponent",
        },
        {"g * b * a ** (b - 1)": "this is the gradient of the base"},
    ),
    "divide": (
        {"g * b": "multiplied with b instead of divided by it", "-g * a / b ** 2": "this is the gradient of b"},
        {
            "g * a / b ** 2": "the sign is wrong: 1 / b falls where b rises",
            "-g * a / b": "one division by b is missing",
            "-g / b ** 2": "the factor a is missing",
            "g / b": "this is the gradient of a",
        },
    ),
    "multiply": (
        {"g * a": "multiplied with itself instead of with the other factor"},
        {"g * b": "multiplied with itself instead of with the other factor"},
    ),
    "subtract": ({"-g": "the minus is that of the other operand"}, {}),
    "gelu": (
        {
            "g * (x > 0)": "this is the rule of relu",
            "g * sigmoid(1.702 * x)": FAULTS["gelu_second_term"],
            "g * out / x": FAULTS["gelu_second_term"],
        },
    ),
    "layer_norm": (
        {
            "g * gain": "the gain alone: the normalisation has a derivative too",
            "g * gain / np.std(x, axis=-1, keepdims=True)": FAULTS["layer_norm_both_means"],
        },
        {
            "g * out": "out is after gain and bias; the gain multiplies what is normalised alone",
            "g * gain": "the gain multiplies the normalised input, not itself",
            "g * (x - np.mean(x, axis=-1, keepdims=True))": "centred and not divided by the standard deviation",
        },
        {"g * gain": "the gain multiplies the normalised input; the bias is only added"},
    ),
    "mean": (
        {
            "np.broadcast_to(g, x.shape)": FAULTS["mean_count"],
            "g": "each entry of the input gets its part: this still has the shape of the mean",
        },
    ),
    "sum": (
        {
            "np.broadcast_to(g, x.shape) / x.size": "each entry of a sum has all of g: this is the rule of the mean",
            "g": "each entry of the input gets g: this still has the shape of the sum",
        },
    ),
    "relu": ({"g": FAULTS["relu_open"]},),
    "embedding": (
        {
            "g": "a row for each position; the table has one for each token, and gets the sum of what its positions got",
            "g[ids]": "this reads rows of g; backward adds the rows of g to those of the table",
        },
    ),
    "causal_attention": ({"np.concatenate([g, g, g], axis=-1)": "queries, keys and values each have a rule of their own"},),
}
"""By the name of an op: for each of its inputs, programs and what is wrong with them."""
