"""Mistakes that people make in a backward pass: what *Diagnose* plants, and what it says of it afterwards."""

from __future__ import annotations

import numpy as np

from tinygrad2.ops.indexing import Scatter
from tinygrad2.study.formulas import code, evaluate
from tinygrad2.study.lab.faults import Fault, Healthy, OntoStale, Overwrites
from tinygrad2.study.trace import Contribution
from tinygrad2.types import Array


def _overwritten(healthy: Healthy, part: Contribution, g: Array) -> Contribution | None:
    return None if healthy.is_first(part) else Overwrites(part.user, part.index, part.target, part.array)


def _lost(healthy: Healthy, part: Contribution, g: Array) -> Contribution | None:
    users = {other.user for other in healthy.backward.contributions[part.target]}
    if not part.target.is_leaf or len(users) == 1:
        return None
    return Contribution(part.user, part.index, part.target, np.zeros_like(part.target.array))


def _stale_gradient(healthy: Healthy, part: Contribution, g: Array) -> Contribution | None:
    if not part.target.is_leaf or not healthy.is_first(part):
        return None
    wrong = OntoStale(part.user, part.index, part.target, part.array)
    wrong.stale = healthy.older_backward.gradients[part.target]
    return wrong


def _stale_activation(healthy: Healthy, part: Contribution, g: Array) -> Contribution | None:
    if all(x is None or x.is_leaf for x in part.user.inputs) or isinstance(part.raw, Scatter):
        return None
    return next(other for other in healthy.with_older(part.user, g, leaves=False) if other.index == part.index)


def _unsummed(part: Contribution, g: Array) -> Array | None:
    """A contribution from before broadcasting was undone, if it has another shape then."""
    text = code(part.user, part.index)
    if isinstance(part.raw, Scatter) or text is None:
        return None
    raw = np.asarray(evaluate(text, part.user, g))
    return raw if raw.size > part.target.array.size else None


def _first_row(healthy: Healthy, part: Contribution, g: Array) -> Contribution | None:
    raw = _unsummed(part, g)
    if raw is None:
        return None
    x = part.target.array
    rows = raw[(0,) * (raw.ndim - x.ndim)]
    first = rows[tuple(slice(n) for n in x.shape)]
    return Contribution(part.user, part.index, part.target, first)


def _first_row_but_of_a_product(healthy: Healthy, part: Contribution, g: Array) -> Contribution | None:
    return None if part.user.op is not None and part.user.op.name == "matmul" else _first_row(healthy, part, g)


def _first_of_the_batch(healthy: Healthy, part: Contribution, g: Array) -> Contribution | None:
    return _first_row(healthy, part, g) if part.user.op is not None and part.user.op.name == "matmul" else None


def _mean_for_sum(healthy: Healthy, part: Contribution, g: Array) -> Contribution | None:
    raw = _unsummed(part, g)
    if raw is None:
        return None
    return Contribution(part.user, part.index, part.target, part.array * (part.target.array.size / raw.size))


def _skip_lost(healthy: Healthy, part: Contribution, g: Array) -> Contribution | None:
    user = part.user
    branches = [x for x in user.inputs if x is not None and not x.is_leaf]
    if user.op is None or user.op.name != "add" or part.index or len(branches) < 2:
        return None
    return Contribution(user, part.index, part.target, np.zeros_like(part.target.array))


CATALOGUE = (
    Fault(
        "first_row",
        "Broadcasting was not undone: the operand gets the first row instead of the sum over the rows",
        "The forward repeats a bias, a gain or a position embedding for every row, so each row is one more use of it and its "
        "gradient is the sum over all of them. Cutting the gradient to the right shape silences the shape error and keeps one "
        "use. For a single row it is right, so a test with one row misses it.",
        change=_first_row_but_of_a_product,
    ),
    Fault(
        "mean_for_sum",
        "Broadcasting was undone with a mean instead of a sum",
        "The loss is already a mean, so averaging once more looks natural. But the uses of a repeated value add up. The "
        "gradient has the right direction and is too small by the number of rows, so training goes on, slowly, for this "
        "parameter alone.",
        change=_mean_for_sum,
    ),
    Fault(
        "first_of_the_batch",
        "matmul did not sum its gradient over the batch axis of the other factor",
        "A matrix that meets a whole batch, (B, T, K) @ (K, N), is used B times. The rule gives one gradient for each of the "
        "batch, (B, K, N), and they must be summed. Met in every matmul written for two axes and then given three.",
        change=_first_of_the_batch,
    ),
    Fault(
        "overwrite",
        "= in place of +=: this use of a value overwrote what its other uses had given",
        "A value that is used twice gets a gradient from each use, and the total is their sum. Assigning works in every test "
        "where nothing is used twice, and fails at the first residual connection, tied weight or x * x.",
        change=_overwritten,
    ),
    Fault(
        "lost_use",
        "A parameter that is used in two places did not get its gradient from this one",
        "With tied weights one table is both embedding and head. If the two are copies, or one of them is detached, each use "
        "trains a table of its own and one of them is thrown away. Met when a checkpoint is loaded after tying.",
        change=_lost,
    ),
    Fault(
        "stale_gradient",
        "zero_grad was forgotten: the sum started from the gradient of an older step",
        "Gradients accumulate on purpose, so the buffer must be cleared before each step. Where it is not for some "
        "parameters, such as those of a second group of the optimizer, they follow the sum of all gradients so far: a "
        "momentum that never decays.",
        change=_stale_gradient,
    ),
    Fault(
        "stale_activation",
        "The rule read its input as it was at an older step",
        "Backward needs the values that the forward saw. A cache that is not refreshed, or an array that is written in place "
        "after it was saved, leaves others there. Shapes and sizes are right, only the numbers are of another moment. Engines "
        "keep version counters to refuse this.",
        change=_stale_activation,
    ),
    Fault(
        "attention_scale",
        "The attention's backward left out 1/sqrt(d_k)",
        "The forward divides the scores by sqrt(d_k), so what comes back through them is divided too. Queries and keys get "
        "gradients too large by that factor while the values' are right. It hides in tests with d_k = 1.",
        {"causal_attention": ("keepdims=True)) / math.sqrt(q.shape[-1])", "keepdims=True))")},
    ),
    Fault(
        "softmax_row_sum",
        "softmax's backward left out the sum over the row",
        "The outputs of a softmax share one denominator, so raising one score lowers all the others: p * (g - sum(p * g)). "
        "p * g alone treats it as a function of each entry, like exp: it is the diagonal of the Jacobian. Every row of the "
        "gradient must sum to zero, which is quickly checked.",
        {
            "softmax": ("(g - np.sum(g * out, axis=axis, keepdims=True))", "g"),
            "log_softmax": ("sums(g, axis=axis, keepdims=True)", "g"),
            "causal_attention": ("(dp - np.sum(dp * weights, axis=-1, keepdims=True))", "dp"),
        },
    ),
    Fault(
        "attention_mask",
        "The attention's backward computed its weights without the causal mask",
        "Memory is saved by computing the attention weights again in backward instead of keeping them. If the mask is only in "
        "the forward, positions send gradient to what comes after them: the future leaks into training through the gradient, "
        "while every output is right.",
        {
            "causal_attention": ("np.where(np.tri(q.shape[-2], dtype=bool), scores, -np.inf)", "scores"),
        },
    ),
    Fault(
        "attention_queries_and_keys",
        "The attention's backward gave queries and keys each other's transposition",
        "The scores are q k^T, so the queries get ds k and the keys ds^T q. ds is square, (T, T), so transposing the wrong one "
        "of the two raises no error.",
        {"causal_attention": ("ds @ k, np.swapaxes(ds, -1, -2) @ q", "np.swapaxes(ds, -1, -2) @ k, ds @ q")},
    ),
    Fault(
        "layer_norm_both_means",
        "LayerNorm's backward treated mean and standard deviation as constants",
        "Every entry of a row moves the row's mean and its spread. Dividing g * gain by std and stopping there leaves out both "
        "ways. Met wherever statistics are computed under no_grad or detached.",
        {"layer_norm": ("(h - mean(h) - unit * mean(h * unit)) / std", "h / std")},
    ),
    Fault(
        "layer_norm_mean",
        "LayerNorm's backward left out the mean of the gradient",
        "Subtracting the row's mean in the forward means that shifting a whole row changes nothing, so the gradient of a row "
        "sums to zero. Without mean(h) it does not: a check that is quickly made.",
        {"layer_norm": ("h - mean(h) - unit", "h - unit")},
    ),
    Fault(
        "layer_norm_spread",
        "LayerNorm's backward left out the way through the standard deviation",
        "Scaling a row changes nothing after normalising, so its gradient is at right angles to the normalised row. "
        "unit * mean(h * unit) takes that part out. What is left out is one direction out of C, so the gradient is "
        "nearly right and training suffers quietly.",
        {"layer_norm": (" - unit * mean(h * unit)", "")},
    ),
    Fault(
        "layer_norm_gain",
        "LayerNorm's gain got its gradient from the raw input instead of the normalised one",
        "The gain multiplies the normalised input, so its gradient is g times that. Using x is easy, because x is what was "
        "saved and the normalised input has to be computed again.",
        {"layer_norm": ("g * unit", "g * x")},
    ),
    Fault(
        "weight_not_transposed",
        "The gradient went back through the weight without transposing it",
        "y = x w gives x the gradient g w^T. For most weights g w does not even have a shape; for a square one, such as the "
        "projection of an attention, it does.",
        {
            "linear": ("g @ w.T", "g @ w"),
            "matmul": ("np.swapaxes(column(b), -1, -2)", "column(b)"),
            "linear_cross_entropy": ("d @ w", "d @ w.T"),
        },
    ),
    Fault(
        "weight_gradient_transposed",
        "The weight got the transpose of its gradient",
        "x^T g and g^T x are each other's transpose. Where the weight is square both have its shape. Met when code is carried "
        "over from a library that stores weights as (out, in).",
        {
            "linear": (
                "x.reshape(-1, x.shape[-1]).T @ g.reshape(-1, g.shape[-1])",
                "g.reshape(-1, g.shape[-1]).T @ x.reshape(-1, x.shape[-1])",
            ),
            "matmul": (
                "np.swapaxes(row(a), -1, -2) @ matrix(g, a.ndim, b.ndim)",
                "np.swapaxes(matrix(g, a.ndim, b.ndim), -1, -2) @ row(a)",
            ),
        },
    ),
    Fault(
        "weights_not_transposed",
        "The attention's values got their gradient through weights that were not transposed",
        "A value at position j reaches every later position i with weight p[i, j], so it gets back sum over i: p^T h. p is "
        "square, and p h has the same shape. Then a value hears from the positions before it, which never saw it.",
        {"causal_attention": ("np.swapaxes(kept, -1, -2) @ h", "kept @ h")},
    ),
    Fault(
        "gelu_second_term",
        "The activation's derivative has only its first term: the product rule was not used",
        "x times a function of x has two terms in its derivative. With the first alone the slope is right at zero and "
        "far out, and wrong in between: GELU's is 1.08 at x = 1, and this gives 0.84.",
        {
            "gelu": (" + 0.5 * x * (1 - t ** 2) * c * (1 + 3 * 0.044715 * x ** 2)", ""),
            "gelu_erf": (" + x * bell(x, by=0.5) / math.sqrt(2 * math.pi)", ""),
            "silu": (" * (1 + x * sigmoid(-x))", ""),
        },
    ),
    Fault(
        "wrong_derivative",
        "The derivative of an elementary function has a factor wrong",
        "tanh' = 1 - tanh^2, sigmoid' = s (1 - s), exp' = exp, sqrt' = 1 / (2 sqrt), (x^2)' = 2 x. Rules typed from memory "
        "lose a square or a factor of two. The sign stays right, so a loss still goes down.",
        {
            "tanh": ("sech2(x)", "(1 - out)"),
            "sigmoid": ("0.25 * g * sech2(0.5 * x)", "g * out"),
            "exp": ("g * out", "g"),
            "sqrt": ("(2 * out)", "out"),
            "square": ("2 * g * x", "g * x"),
            "power": ("g * b * ", "g * "),
            "log": ("g / x", "g * x"),
            "sin": ("np.cos(x)", "x"),
            "divide": ("-g * out / b", "-g * out"),
        },
    ),
    Fault(
        "relu_open",
        "The gradient passed where the forward had cut",
        "Where relu or clip gives a constant the slope is zero. Passing g on unchanged is the straight-through estimator: "
        "meant in quantised networks, a mistake elsewhere.",
        {"relu": ("np.where(x <= 0, 0, g)", "g"), "clip": ("np.where(same(x, out), g, 0)", "g")},
    ),
    Fault(
        "sign",
        "A sign is wrong",
        "a - b gives b the gradient -g. With the sign lost, what should fall rises: the parameter behind it climbs the loss "
        "while all the others go down.",
        {"subtract": ("-g", "g"), "negative": ("-g", "g"), "cos": ("-g", "g")},
    ),
    Fault(
        "cross_entropy_mean",
        "cross-entropy's backward did not divide by the number of positions",
        "The loss is a mean, so each position has 1/N of its gradient. Without it the gradient is that of the sum, and the "
        "right learning rate depends on the batch size. Clipping and Adam hide it.",
        {"cross_entropy": (" / len(targets)", ""), "linear_cross_entropy": (" / len(targets)", "")},
    ),
    Fault(
        "cross_entropy_target",
        "cross-entropy's backward did not subtract the one-hot target",
        "The gradient is p - onehot: push every logit down by its probability, and the target up. With p alone nothing tells "
        "the model what was right; it becomes uniform and stays there.",
        {
            "cross_entropy": (" - (np.arange(logits.shape[-1]) == targets[:, None])", ""),
            "linear_cross_entropy": (" - (np.arange(len(w)) == targets[:, None])", ""),
        },
    ),
    Fault(
        "rows_overwritten",
        "Rows that are read several times kept only the last of their gradients",
        "grad[ids] += g looks like a sum, but NumPy reads, adds and writes once for all: of a token that comes twice only the "
        "last gradient stays. np.add.at adds each. Met in every first embedding layer.",
        {
            "embedding": ("scatter(g, table.shape, ids)", "put(g, table.shape, ids)"),
            "get_item": ("scatter(g, x.shape, index)", "put(g, x.shape, index)"),
        },
    ),
    Fault(
        "dropout_scale",
        "dropout's backward zeroed the right entries and did not scale up the rest",
        "The forward divides what it keeps by 1 - p, so that the mean stays. Backward has to do the same. Without it all "
        "gradients below shrink a little at every dropout.",
        {
            "dropout": ("np.multiply(keep, scale, dtype=g.dtype)", "keep"),
            "causal_attention": (" * (1 if keep is None else keep)", " * (1 if keep is None else keep > 0)"),
        },
    ),
    Fault(
        "dropout_mask",
        "dropout's backward used another mask than the forward",
        "Each pass draws a mask; backward must use the one of its forward. Met with checkpointing, where the forward runs "
        "again and draws again unless the state of the generator was kept.",
        {
            "dropout": ("np.multiply(keep,", "np.multiply(np.roll(keep, 1),"),
            "causal_attention": (
                "kept = weights if keep is None else weights * keep",
                "kept = weights if keep is None else weights * np.roll(keep, 1)",
            ),
        },
    ),
    Fault(
        "mean_count",
        "mean's backward did not divide by the number of entries",
        "Each entry has 1/n of the mean, so it gets g / n. Giving it g is the rule of sum. The gradient points the right way "
        "and is n times too long.",
        {"mean": (" / count(x.shape, axis)", "")},
    ),
    Fault(
        "max_to_everyone",
        "The gradient of a maximum went to every entry",
        "Only the largest entry moves a maximum. max must give it all of the gradient and zero to the others; spreading g over "
        "the row is the rule of sum. Met in max-pooling whose positions were not kept.",
        {
            "max": (
                "np.where(best, spread(g / np.sum(best, axis=axis, keepdims=keepdims), x.shape, axis), 0)",
                "spread(g, x.shape, axis)",
            ),
            "min": (
                "np.where(best, spread(g / np.sum(best, axis=axis, keepdims=keepdims), x.shape, axis), 0)",
                "spread(g, x.shape, axis)",
            ),
            "maximum": ("np.where(same(a, out), np.where(same(b, out), 0.5 * g, g), 0)", "g"),
        },
    ),
    Fault(
        "slice_shifted",
        "The gradient of a slice was put back one place off",
        "x[1:] sends its gradient back to places 1, 2, ... and not 0, 1, ... An offset forgotten in backward gives a gradient "
        "of the right size for the neighbours. Met where next-token targets are cut from the same array.",
        {"get_item": ("scatter(g, x.shape, index)", "np.roll(put(g, x.shape, index), 1)")},
    ),
    Fault(
        "sums_before_product",
        "multiply summed its factors before it multiplied them",
        "The gradient of a broadcast factor is the sum over rows of g times the other factor. The product of two sums is "
        "another thing. Met when broadcasting is undone on the way in, as a step of preparation, instead of on the way out.",
        {"multiply": ("g * a", "summed(g, b, g.shape) * summed(a, b, g.shape)")},
    ),
    Fault(
        "skip_lost",
        "A branch of an addition got no gradient",
        "x + f(x) hands g to both sides. That the skip connection needs no rule of its own does not mean that it needs no "
        "gradient: without it a deep network is back where it was before residual connections.",
        change=_skip_lost,
    ),
    Fault(
        "reshaped_for_transposed",
        "A transposition was undone with a reshape",
        "Both give the right shape; only one brings each entry back to its place. The most common mistake in attention written "
        "by hand, where heads are split with reshape and transpose.",
        {
            "transpose": (
                "np.transpose(g, None if axes is None else np.argsort([a % g.ndim for a in axes]))",
                "np.reshape(g, x.shape)",
            ),
            "swapaxes": ("np.swapaxes(g, axis1, axis2)", "np.reshape(g, x.shape)"),
            "reshape": ("np.reshape(g, x.shape)", 'np.reshape(g, x.shape, order="F")'),
        },
    ),
)
"""Every mistake that can be planted."""
