"""The samples of every op, in every kind of memory and use, for tests to run through."""

import numpy as np

from tinygrad2 import Tensor
from tinygrad2.ops.op import Op


def all_ops(base=Op):
    """Every op of the package."""
    for op in base.__subclasses__():
        yield from all_ops(op)
        if hasattr(op, "forward") and op.__module__.startswith("tinygrad2.ops"):
            yield op


OPS = sorted(set(all_ops()), key=lambda op: op.name)
SAMPLES = [(op, number) for op in OPS for number in range(len(op.samples))]
NAMES = [f"{op.name}({op.samples[number]})" for op, number in SAMPLES]


def arguments(op, number, seed=0):
    """The arguments that a sample stands for, positional and by name."""
    rng = np.random.default_rng([seed, number])
    names = {
        "np": np,
        "normal": lambda *shape: np.asarray(rng.standard_normal(shape)),
        "positive": lambda *shape: np.asarray(rng.uniform(0.5, 2.0, shape)),
        "arguments": lambda *args, **settings: (args, settings),
    }
    return eval(f"arguments({op.samples[number]})", names)


def sample(op, number, seed=0):
    """(f, inputs): a function of the floating-point inputs alone, and those inputs."""
    args, params = arguments(op, number, seed)
    places = [i for i, a in enumerate(args[: op.arity]) if isinstance(a, np.ndarray) and a.dtype == float]

    def f(*inputs):
        full = list(args)
        for i, x in zip(places, inputs, strict=True):
            full[i] = x
        return op.call(*full, **params)

    return f, [args[i] for i in places]


def bound(op, number):
    """The array arguments and the settings of a sample by name, with defaults filled in."""
    args, params = arguments(op, number)
    arrays = op.bind(args, params)
    named = {"arrays": arrays} if op.arity is None else dict(zip(op.arguments, arrays, strict=True))
    return arrays, params, {**op.settings, **params, **named}


def weigh(out):
    """A scalar with a different cotangent for every entry."""
    return np.sum(out * np.random.default_rng(2).standard_normal(out.shape).astype(out.dtype))


def packed(x):
    """As it is."""
    return x


def strided(x):
    """The same numbers with gaps in memory."""
    wide = np.zeros((*x.shape, 2), x.dtype)
    wide[..., 0] = x
    return wide[..., 0]


def backwards(x):
    """The same numbers with every stride negative."""
    every = (slice(None, None, -1),) * x.ndim
    return x[every].copy()[every]


def with_shape(condition):
    return lambda f, inputs: (f, inputs) if any(condition(x) for x in inputs) else None


def repeated(f, inputs):
    """One operand in several places."""
    if len(inputs) > 1 and len({x.shape for x in inputs}) == 1:
        return lambda x: f(*[x] * len(inputs)), inputs[:1]
    return lambda *xs: weigh(f(*xs)) * sum(weigh(x) for x in xs), inputs


def shared(f, inputs):
    """One computed value with several uses."""

    def twice(*xs):
        hs = [np.tanh(x) + 1.5 for x in xs]
        return f(*hs) + 2 * f(*hs)

    return twice, inputs


def as_it_is(f, inputs):
    return f, inputs


KINDS = {
    "plain": (as_it_is, packed),
    "0-d": (with_shape(lambda x: x.ndim == 0), packed),
    "empty": (with_shape(lambda x: x.size == 0), packed),
    "size 1": (with_shape(lambda x: 1 in x.shape), packed),
    "strided": (as_it_is, strided),
    "reversed": (as_it_is, backwards),
    "repeated": (repeated, packed),
    "shared": (shared, packed),
}
"""The columns of the table: how a sample is changed (None where it does not apply), and how its arrays lie in memory."""


def gradients(f, inputs, dtype=np.float64, layout=packed):
    """The value, and the gradients of all inputs for the cotangent of `weigh`."""
    tensors = [Tensor(layout(x.astype(dtype)), requires_grad=True) for x in inputs]
    out = f(*tensors)
    weigh(out).backward()
    return out, [x.grad for x in tensors]
