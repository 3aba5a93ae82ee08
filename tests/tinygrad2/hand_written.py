"""Functions with gradients derived by hand, and what can be done wrong in them: for tests of the checker."""

import inspect

import numpy as np

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape)


def unbroadcast(g, shape):
    g = g.sum(tuple(range(g.ndim - len(shape))))
    return g.sum(tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] > 1), keepdims=True) if shape else g


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_rule(g, x):
    p = softmax(x)
    return (p * (g - (g * p).sum(-1, keepdims=True)),)


def cross_entropy(x, y):
    return -np.log(softmax(x)[np.arange(len(y)), y]).mean()


def cross_entropy_rule(g, x, y):
    p = softmax(x)
    p[np.arange(len(y)), y] -= 1
    return (g * p / len(y),)


def normalised(x, axis):
    mean = x.mean(axis, keepdims=True)
    std = np.sqrt(((x - mean) ** 2).mean(axis, keepdims=True) + 1e-5)
    return (x - mean) / std, std


def layer_norm(x, gain, bias):
    return normalised(x, -1)[0] * gain + bias


def back_through(h, unit, std, axis):
    return (h - h.mean(axis, keepdims=True) - unit * (h * unit).mean(axis, keepdims=True)) / std


def layer_norm_rule(g, x, gain, bias):
    unit, std = normalised(x, -1)
    return back_through(g * gain, unit, std, -1), (g * unit).sum(0), g.sum(0)


def batch_norm(x):
    return normalised(x, 0)[0]


def batch_norm_rule(g, x):
    unit, std = normalised(x, 0)
    return (back_through(g, unit, std, 0),)


def scatter_rows(g, w, ids):
    out = np.zeros_like(w)
    np.add.at(out, ids, g)
    return (out,)


def unit_rows(x):
    return x / np.sqrt((x * x).sum(-1, keepdims=True))


def unit_rows_rule(g, x):
    n, y = np.sqrt((x * x).sum(-1, keepdims=True)), unit_rows(x)
    return ((g - y * (g * y).sum(-1, keepdims=True)) / n,)


def top(x):
    return x == x.max(-1, keepdims=True)


def recurrent(x, w):
    h, out = np.zeros(x.shape[1:]), []
    for row in x:
        h = np.tanh(row + w * h)
        out.append(h)
    return np.stack(out)


def recurrent_rule(g, x, w):
    h = recurrent(x, w)
    before = np.concatenate([np.zeros_like(h[:1]), h[:-1]])
    dx, dw, later = np.zeros_like(x), np.zeros_like(w), np.zeros(x.shape[1:])
    for t in reversed(range(len(x))):
        dx[t] = (g[t] + later) * (1 - h[t] ** 2)
        dw += dx[t] * before[t]
        later = dx[t] * w
    return dx, dw


def convolved(x, k):
    return np.array([(x[i : i + len(k)] * k).sum() for i in range(len(x) - len(k) + 1)])


def convolved_rule(g, x, k):
    dx, dk = np.zeros_like(x), np.zeros_like(k)
    for i, c in enumerate(g):
        dx[i : i + len(k)] += c * k
        dk += c * x[i : i + len(k)]
    return dx, dk


def differences_rule(g, x):
    out = np.zeros_like(x)
    out[1:] += g
    out[:-1] -= g
    return (out,)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


A, B, W, X = normal(3, 4), normal(3, 4), normal(4, 5), normal(3, 5)
MASK = normal(3, 5) > 0
RULES = {
    "tanh": (np.tanh, lambda g, x: (g * (1 - np.tanh(x) ** 2),), [A]),
    "product": (lambda a, b: a * b, lambda g, a, b: (g * b, g * a), [A, B]),
    "quotient": (lambda a, b: a / b, lambda g, a, b: (g / b, -g * a / b**2), [A, np.abs(B) + 0.5]),
    "difference": (lambda a, b: a - b, lambda g, a, b: (g, -unbroadcast(g, b.shape)), [A, normal(4)]),
    "matmul": (lambda a, b: a @ b, lambda g, a, b: (g @ b.T, a.T @ g), [A, W]),
    "square matmul": (lambda x, w: x @ w, lambda g, x, w: (g @ w.T, x.T @ g), [A, normal(4, 4)]),
    "dense": (
        lambda x, w: np.tanh(x @ w),
        lambda g, x, w: ((h := g * (1 - np.tanh(x @ w) ** 2)) @ w.T, x.T @ h),
        [A, normal(4, 4)],
    ),
    "affine": (lambda x, w, b: x @ w + b, lambda g, x, w, b: (g @ w.T, x.T @ g, g.sum(0)), [A, W, normal(5)]),
    "outer": (lambda a, b: a[:, None] * b, lambda g, a, b: (g @ b, a @ g), [normal(3), normal(4)]),
    "softmax": (softmax, softmax_rule, [X]),
    "cross entropy": (cross_entropy, cross_entropy_rule, [normal(4, 5), np.array([1, 0, 4, 2])]),
    "layer norm": (layer_norm, layer_norm_rule, [normal(3, 6), normal(6), normal(6)]),
    "batch norm": (batch_norm, batch_norm_rule, [normal(6, 3)]),
    "mean": (lambda x: x.mean(1), lambda g, x: (np.repeat(g[:, None], 5, 1) / 5,), [X]),
    "variance": (lambda x: x.var(1), lambda g, x: (2 * g[:, None] * (x - x.mean(1, keepdims=True)) / 5,), [X]),
    "logsumexp": (lambda x: np.log(np.exp(x).sum(-1)), lambda g, x: (g[:, None] * softmax(x),), [X]),
    "embedding": (lambda w, ids: w[ids], scatter_rows, [normal(6, 3), np.array([1, 4, 1, 0, 4, 1])]),
    "running sum": (lambda x: np.cumsum(x, 1), lambda g, x: (np.cumsum(g[:, ::-1], 1)[:, ::-1],), [X]),
    "unit rows": (unit_rows, unit_rows_rule, [normal(2, 5)]),
    "maximum": (lambda x: x.max(-1), lambda g, x: (g[:, None] * top(x),), [X]),
    "masked": (lambda x, mask: np.where(mask, np.exp(x), 0), lambda g, x, mask: (g * np.where(mask, np.exp(x), 0),), [X, MASK]),
    "two terms": (lambda x: x * np.sin(x), lambda g, x: (g * (np.sin(x) + x * np.cos(x)),), [normal(7)]),
    "recurrent": (recurrent, recurrent_rule, [normal(5, 2), normal(2)]),
    "convolution": (convolved, convolved_rule, [normal(8), normal(3)]),
    "slices": (lambda x: x[1:] - x[:-1], differences_rule, [normal(6)]),
    "squares": (lambda x, t: ((x - t) ** 2).mean(), lambda g, x, t: (g * (d := 2 * (x - t) / x.size), -d * g), [A, B]),
    "sigmoid": (sigmoid, lambda g, x: (g * sigmoid(x) * (1 - sigmoid(x)),), [normal(9)]),
    "power": (lambda x: x**3, lambda g, x: (3 * g * x * x,), [A]),
    "gelu": (
        lambda x: 0.5 * x * (1 + np.tanh(0.8 * x)),
        lambda g, x: (g * 0.5 * (1 + np.tanh(0.8 * x) + 0.8 * x * (1 - np.tanh(0.8 * x) ** 2)),),
        [normal(3, 3)],
    ),
}
"""By name: the function, the rule, and inputs; those that are not floating-point have no gradient."""


def one_entry(c, x):
    changed = c.copy()
    changed.flat[1] *= 1.01
    return changed


def once(c, x):
    """NaN at one entry."""
    changed = c.copy()
    changed.flat[0] = np.nan
    return changed


def along_rows(c, flags):
    """A flag for each row, as c can be multiplied by it."""
    return flags.reshape(-1, *[1] * (c.ndim - 1))


CHANGES = {
    "sign": (lambda c, x: -c, "the sign is wrong"),
    "factor": (lambda c, x: 1.001 * c, r"factor of 1\.001"),
    "mean for a sum": (lambda c, x: c / len(x) if len(x) > 2 else c, r"it is 1 / \d, and \d is the (length|number)"),
    "root": (lambda c, x: c * np.sqrt(len(x)) if len(x) > 2 else c, r"it is the root of \d"),
    "dropped": (lambda c, x: 0 * c, "always zero"),
    "transposed": (lambda c, x: c.T if c.ndim == 2 and c.shape[0] == c.shape[1] else c, "transposed"),
    "reversed": (lambda c, x: c[..., ::-1], "reversed along|transposed|swapped"),
    "shifted": (lambda c, x: np.roll(c, 1, -1), "shifted by|reversed along"),
    "one entry": (one_entry, r"(at|from|before|the first|the last|but) .*\b(of|along)\b"),
    "the first row only": (lambda c, x: c * along_rows(c, np.arange(len(c)) < 1), "all but the first along axis 0|missing"),
    "where positive": (lambda c, x: c * (x > 0), "where x is negative|is negative"),
    "times the input": (lambda c, x: c * x, r"factor of (\S+ \* )?[a-z]+( |$)|squared|\*\*"),
    "float32": (lambda c, x: c.astype(np.float32).astype(np.float64), "float32"),
    "nan": (once, "not finite"),
}
"""What is done to the cotangent of one input, and what a diagnosis of it says."""


def squared(g):
    return g * g


WHOLE = {
    "the cotangent ignored": (lambda rule: lambda g, *xs: rule(np.ones_like(g), *xs), "cotangent is ignored|always zero"),
    "the cotangent squared": (lambda rule: lambda g, *xs: rule(g * np.abs(g), *xs), "not linear in the cotangent"),
    "later outputs ignored": (
        lambda rule: lambda g, *xs: rule(g * along_rows(g, np.arange(len(g)) < len(g) - 1), *xs),
        "at the last along axis 0",
    ),
    "the cotangent written into": (lambda rule: lambda g, *xs: (written(g), rule(g, *xs))[1], "writes into the cotangent"),
    "an input written into": (lambda rule: lambda g, *xs: (rule(g, *xs), written(xs[0]))[0], "writes into its input"),
    "random": (lambda rule: lambda g, *xs: [c * (1 + RNG.random()) for c in rule(g, *xs)], "not deterministic"),
}
"""What is done to a whole rule."""


def written(x):
    if isinstance(x, np.ndarray):
        x *= 2


def lacking():
    """Rules that lack something of their own: (name of the rule, what is wrong, the rule, what a diagnosis says)."""
    yield "two terms", "the first term", lambda g, x: (g * np.sin(x),), "term"
    yield "two terms", "the second term", lambda g, x: (g * x * np.cos(x),), "term is missing: the output / x|term"
    yield "gelu", "the first term", lambda g, x: (g * 0.5 * (1 + np.tanh(0.8 * x)),), "term"
    yield "softmax", "the diagonal only", lambda g, x: (g * (p := softmax(x)) * (1 - p),), "off the diagonal.*constant"
    yield "softmax", "the sum as constant", lambda g, x: (g * softmax(x),), "axis 1 is taken as constant"
    yield "layer norm", "the mean as constant", no_mean, "axis 1 is taken as constant"
    yield "layer norm", "the variance as constant", no_variance, "axis 1 is taken as constant"
    yield "layer norm", "both as constant", neither, "axis 1 is taken as constant"
    yield "batch norm", "the mean as constant", lambda g, x: no_mean_batch(g, x), "axis 0 is taken as constant"
    yield "batch norm", "the variance as constant", no_variance_batch, "axis 0 is taken as constant"
    yield "unit rows", "the norm as constant", lambda g, x: (g / np.sqrt((x * x).sum(-1, keepdims=True)),), "axis 1 is taken as"
    yield "variance", "twice too small", lambda g, x: (g[:, None] * (x - x.mean(1, keepdims=True)) / 5,), r"factor of 0\.5"
    yield "variance", "Bessel", lambda g, x: (2 * g[:, None] * (x - x.mean(1, keepdims=True)) / 4,), r"it is 5 / \(5 - 1\)"
    yield "cross entropy", "no target", lambda g, x, y: (g * softmax(x) / len(y),), "at the targets, y"
    yield (
        "cross entropy",
        "a sum",
        lambda g, x, y: (len(y) * cross_entropy_rule(g, x, y)[0],),
        "it is 4, and 4 is the",
    )
    yield "masked", "the mask forgotten", lambda g, x, mask: (g * np.exp(x),), "where mask is False"
    yield "masked", "the other side", lambda g, x, mask: (g * np.where(mask, 0, np.exp(x)),), "mask"
    yield "embedding", "= for +=", assigned, "ids that come"
    yield "square matmul", "w for w.T", lambda g, x, w: (g @ w, x.T @ g), "transposed"
    yield "dense", "w for w.T", lambda g, x, w: ((h := g * (1 - np.tanh(x @ w) ** 2)) @ w, x.T @ h), "transpose belongs"
    yield "dense", "no square", lambda g, x, w: ((h := g * (1 - np.tanh(x @ w))) @ w.T, x.T @ h), r"\(1 \+ the output\)"
    yield "square matmul", "gradients swapped", lambda g, x, w: (g @ w.T, (x.T @ g).T), "transposed"
    yield "product", "operands swapped", lambda g, a, b: (g * a, g * b), "factor of|swapped"
    yield "squares", "operands swapped", lambda g, x, t: RULES["squares"][1](g, x, t)[::-1], "sign is wrong|swapped"
    yield "recurrent", "only this step", one_step, "(later|earlier) outputs along|off the diagonal"
    yield "running sum", "only itself", lambda g, x: (g,), "off the diagonal"
    yield "running sum", "the wrong way", lambda g, x: (np.cumsum(g, 1),), "transposed"
    yield "slices", "off by one", lambda g, x: (np.concatenate([[0.0], g]),), "missing"
    yield "convolution", "not turned", lambda g, x, k: (convolved_rule(g, x, k[::-1])[0], convolved_rule(g, x, k)[1]), ""
    yield "tanh", "out not squared", lambda g, x: (g * (1 - np.tanh(x)),), r"\(1 \+ the output\)"
    yield "tanh", "the derivative forgotten", lambda g, x: (g,), r"\(1 - the output squared\)"
    yield "sigmoid", "one factor", lambda g, x: (g * sigmoid(x),), r"\(1 - the output\)"
    yield "quotient", "b not squared", lambda g, a, b: (g / b, -g * a / b), "factor of b"
    yield "quotient", "sign", lambda g, a, b: (g / b, g * a / b**2), "the sign is wrong"
    yield "power", "the power kept", lambda g, x: (3 * g * x**3,), "factor of x"
    yield "power", "no constant", lambda g, x: (g * x**2,), r"factor of 0\.333333"
    yield "maximum", "ties shared", lambda g, x: (g[:, None] / 5 * np.ones_like(x),), "largest of x along axis 1|differ"
    yield "maximum", "to all", lambda g, x: (g[:, None] * np.ones_like(x),), "away from the largest of x"
    yield "logsumexp", "no softmax", lambda g, x: (g[:, None] * np.exp(x),), "factor"
    yield "mean", "a sum", lambda g, x: (np.repeat(g[:, None], 5, 1),), "it is 5, and 5 is the length of axis 1 of x"
    yield "affine", "the bias once", lambda g, x, w, b: (g @ w.T, x.T @ g, g[0]), "all but the first along axis 0 of the output"
    yield "affine", "the mean of the bias", lambda g, x, w, b: (g @ w.T, x.T @ g, g.mean(0)), "it is 1 / 3, and 3 is"
    yield "difference", "not summed", lambda g, a, b: (g, -g), "the sum over axis 0 is missing|shape"
    yield "difference", "the sign of b", lambda g, a, b: (g, g.sum(0)), "the sign is wrong"
    yield "outer", "the other way", lambda g, a, b: (g @ b, g.T @ a * 0 + b), "cotangent of zero"


def no_mean(g, x, gain, bias):
    unit, std = normalised(x, -1)
    h = g * gain
    return (h - unit * (h * unit).mean(-1, keepdims=True)) / std, (g * unit).sum(0), g.sum(0)


def no_variance(g, x, gain, bias):
    unit, std = normalised(x, -1)
    h = g * gain
    return (h - h.mean(-1, keepdims=True)) / std, (g * unit).sum(0), g.sum(0)


def neither(g, x, gain, bias):
    unit, std = normalised(x, -1)
    return g * gain / std, (g * unit).sum(0), g.sum(0)


def no_mean_batch(g, x):
    unit, std = normalised(x, 0)
    return ((g - unit * (g * unit).mean(0)) / std,)


def no_variance_batch(g, x):
    _, std = normalised(x, 0)
    return ((g - g.mean(0)) / std,)


def assigned(g, w, ids):
    out = np.zeros_like(w)
    out[ids] = g
    return (out,)


def one_step(g, x, w):
    h = recurrent(x, w)
    return g * (1 - h**2), recurrent_rule(g, x, w)[1]


def with_change(rule, position, change):
    """A rule in which one cotangent is changed."""

    def wrong(g, *xs):
        return tuple(np.asarray(change(c, xs[i])) if i == position else c for i, c in enumerate(rule(g, *xs)))

    return wrong


def differ(a, b):
    """By more than rounding."""
    return any(x.shape != y.shape or not np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def mutants():
    """(name of the rule, what is wrong, the wrong rule, what a diagnosis says): all that change a gradient."""
    for name, (f, rule, inputs) in RULES.items():
        out = np.asarray(f(*inputs))
        g = normal(*out.shape)
        right = [np.asarray(c) for c in rule(g, *inputs)]
        for position, c in enumerate(right):
            for what, (change, said) in CHANGES.items():
                with np.errstate(all="ignore"):
                    changed = np.asarray(change(c, inputs[position]))
                if not np.array_equal(changed, c):
                    yield name, f"{what} in input {position}", with_change(rule, position, change), said
        for what, (wrong, said) in WHOLE.items():
            if out.ndim or what not in ("later outputs ignored", "the cotangent written into"):
                yield name, what, wrong(rule), said
    yield from lacking()


MUTANTS = list(mutants())


def inspect_names(f):
    """The names of the arguments of a function; `x` of NumPy's own."""
    return ["x"] if isinstance(f, np.ufunc) else list(inspect.signature(f).parameters)
