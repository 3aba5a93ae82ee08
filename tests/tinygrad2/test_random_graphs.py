"""Random expressions, with shared and repeated values, against PyTorch.

200 of them by default; `RANDOM_GRAPHS=10000 pytest tests/tinygrad2/test_random_graphs.py` for a long night.
"""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinygrad2 import Tensor, ops

SHAPES = [(3, 3), (3, 3), (3,), (1, 3), (3, 1), ()]
UNARY = ["sin", "tanh", "exp", "square", "sum", "mean", "max", "softmax", "gelu", "norm", "transpose", "rows", "flip", "cumsum"]
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "where", "matmul", "concatenate"]
MASK = np.array([True, False, True])
PICK = [2, 0, 0]


@st.composite
def programs(draw):
    """(shapes of the leaves, steps): a step is an op and the numbers of the values it is applied to."""
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))
    steps = []
    for i in range(draw(st.integers(1, 12))):
        known = st.integers(0, len(shapes) + i - 1)
        if draw(st.booleans()):
            steps.append((draw(st.sampled_from(UNARY)), draw(known)))
        else:
            steps.append((draw(st.sampled_from(BINARY)), draw(known), draw(known)))
    return shapes, steps


def square(x):
    """As a 3 x 3 matrix, whatever it was."""
    return x + np.zeros((3, 3), x.dtype)


def ours(name, *args):
    x = args[0]
    if name in ("sin", "tanh", "square"):
        return getattr(np, name)(x)
    if name == "exp":
        return np.exp(np.tanh(x))
    if name in ("sum", "mean", "max"):
        return getattr(np, name)(square(x), axis=-1, keepdims=True)
    if name == "divide":
        return x / (1.5 + np.sin(args[1]))
    if name == "where":
        return np.where(MASK, x, args[1])
    if name == "matmul":
        return np.tanh(square(x) @ square(args[1]))
    if name == "concatenate":
        return np.concatenate([square(x), square(args[1])], axis=0)[1:6:2]
    table = {
        "softmax": lambda: ops.softmax(square(x), axis=0),
        "gelu": lambda: ops.gelu(x),
        "norm": lambda: ops.layer_norm(square(x), np.ones(3), np.zeros(3), 0.1),
        "transpose": lambda: square(x).T,
        "rows": lambda: square(x)[PICK],
        "flip": lambda: square(x)[:, ::-1],
        "cumsum": lambda: np.cumsum(square(x), axis=1),
    }
    return table[name]() if name in table else getattr(np, name)(*args)


def theirs(torch, name, *args):
    F, x = torch.nn.functional, args[0]

    def matrix(x):
        return x + torch.zeros(3, 3, dtype=x.dtype)

    if name in ("sin", "tanh", "square"):
        return getattr(torch, name)(x)
    table = {
        "exp": lambda: torch.exp(torch.tanh(x)),
        "sum": lambda: matrix(x).sum(-1, keepdim=True),
        "mean": lambda: matrix(x).mean(-1, keepdim=True),
        "max": lambda: matrix(x).amax(-1, keepdim=True),
        "divide": lambda: x / (1.5 + torch.sin(args[1])),
        "where": lambda: torch.where(torch.tensor(MASK), x, args[1]),
        "matmul": lambda: torch.tanh(matrix(x) @ matrix(args[1])),
        "concatenate": lambda: torch.cat([matrix(x), matrix(args[1])], 0)[1:6:2],
        "softmax": lambda: torch.softmax(matrix(x), 0),
        "gelu": lambda: F.gelu(x, approximate="tanh"),
        "norm": lambda: F.layer_norm(matrix(x), (3,), eps=0.1),
        "transpose": lambda: matrix(x).T,
        "rows": lambda: matrix(x)[PICK],
        "flip": lambda: matrix(x).flip(1),
        "cumsum": lambda: torch.cumsum(matrix(x), 1),
    }
    return table[name]() if name in table else getattr(torch, name)(*args)


def run(apply, leaves, steps, bounded):
    values = list(leaves)
    for name, *places in steps:
        values.append(bounded(apply(name, *(values[i] for i in places))))
    return values


@pytest.mark.oracle
@settings(
    max_examples=int(os.environ.get("RANDOM_GRAPHS", "200")),
    deadline=None,
    derandomize="RANDOM_GRAPHS" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(program=programs(), seed=st.integers(0, 2**32 - 1))
def test_random_expressions(torch, program, seed):
    shapes, steps = program
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(rng.standard_normal(shape)) for shape in shapes]
    mine = [Tensor(a, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    results = run(ours, mine, steps, lambda x: 3 * np.tanh(x / 3))
    expected = run(lambda *a: theirs(torch, *a), other, steps, lambda x: 3 * torch.tanh(x / 3))
    total, reference = Tensor(0.0), torch.tensor(0.0, dtype=torch.float64)
    for a, b in zip(results, expected, strict=True):
        np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=1e-10, atol=1e-10)
        k = rng.standard_normal(a.shape)
        total, reference = total + np.sum(a * k), reference + (b * torch.tensor(k)).sum()
    total.backward()
    reference.backward()
    for a, b in zip(mine, other, strict=True):
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-10, atol=1e-10)
