"""Every op, on all of its samples: gradients, formulas, specifications, PyTorch, and the errors of bad shapes."""

import math
import sys
from statistics import NormalDist

import numpy as np
import pytest
from op_samples import NAMES, OPS, SAMPLES, arguments, bound, gradients, sample, weigh

from tinygrad2 import Tensor, autograd, gradcheck, ops
from tinygrad2.errors import ShapeError, UnsupportedError
from tinygrad2.ops.indexing import Scatter
from tinygrad2.ops.op import Fused, Primitive

each_sample = pytest.mark.parametrize(("op", "number"), SAMPLES, ids=NAMES)


def is_constant(op, i):
    """Whether an input of an op gets no gradient by its declaration."""
    return op.arity is not None and (op.sources[i] is None if issubclass(op, Primitive) else op.arguments[i] == "targets")


def test_every_op_is_declared_in_full():
    assert {"add", "linear", "gelu", "causal_attention", "get_item", "einsum", "stack", "identity"} <= {op.name for op in OPS}
    for op in OPS:
        assert all(op.formula(i) for i in range(op.arity or 2) if not is_constant(op, i)), op.name
        assert op.samples, op.name


@each_sample
def test_gradient_against_finite_differences(op, number, implementation):
    f, inputs = sample(op, number)
    if any(x.size for x in inputs) and f(*inputs).size:
        gradcheck(f, inputs).assert_right()


@each_sample
def test_gradient_of_the_gradient(op, number, implementation):
    f, inputs = sample(op, number)

    def slope(*tensors):
        out = weigh(f(*tensors))
        found = autograd.grad(out, tensors, create_graph=True)
        return weigh(np.concatenate([np.reshape(g * g, (-1,)) for g in found])) + 0 * out

    if any(x.size for x in inputs) and f(*inputs).size:
        gradcheck(slope, inputs).assert_right()


@each_sample
def test_formula_is_the_rule(op, number):
    """What is shown is executed: the text of a formula gives what the vjp gives."""
    arrays, params, names = bound(op, number)
    out, residuals = op.run(arrays, params)
    g = np.random.default_rng(3).standard_normal(out.shape)
    found = op.vjp(g, residuals, *arrays, **params)
    assert len(found) == len(arrays)
    for i, (x, real) in enumerate(zip(arrays, found, strict=True)):
        if real is None or x is None:
            assert real is None
        elif isinstance(x, np.ndarray):
            space = {**vars(sys.modules[op.__module__]), **names, "g": g, "out": out, "np": np}
            *steps, result = op.formula(i).code.split("; ")
            exec("\n".join(steps), space)
            np.testing.assert_allclose(fit(eval(result, space), x), fit(real, x), rtol=1e-12, atol=1e-14)


@each_sample
def test_value_is_numpys(op, number):
    """An op that stands for a NumPy function computes that function, with its defaults."""
    args, params = arguments(op, number)
    args, params = (op.bind(args, params), {}) if op.name == "clip" else (args, params)  # np.clip wants the two
    for function in [function for function, rule in ops.RULES.items() if getattr(rule, "__self__", None) is op]:
        ours, numpys = op.call(*args, **params), function(*args, **params)
        assert ours.shape == np.shape(numpys)
        np.testing.assert_array_equal(ours, numpys)


BESIDE = np.random.default_rng(7).standard_normal((3, 4))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.concatenate([x, BESIDE]),
        lambda x: np.concatenate([x, BESIDE], axis=-1),
        lambda x: np.stack([x, BESIDE]),
        lambda x: np.stack([x, BESIDE], axis=2),
        lambda x: np.concatenate(np.split(x, 3)[::-1], axis=1),
        lambda x: np.concatenate(np.split(x, 2, axis=1)),
        lambda x: np.concatenate(np.split(x, [1, 3], axis=-1)[::-1], axis=1),
        lambda x: np.concatenate(np.split(x, 1)),
        lambda x: np.take(x, [3, 5, 5]),
        lambda x: np.take(x, [[0, 2], [1, 1]], axis=0),
        lambda x: np.take(x, [3, 0], axis=-1),
        lambda x: np.take_along_axis(x, np.argsort(BESIDE, axis=1), axis=1),
        lambda x: np.take_along_axis(x, np.argsort(BESIDE, axis=0), axis=0),
        lambda x: np.take_along_axis(x[None], np.argsort(BESIDE[None], axis=-1)),
        lambda x: np.pad(x, 1),
        lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=3.0),
        lambda x: np.einsum("ij,kj", x, BESIDE),
        lambda x: np.einsum("ji", x),
        lambda x: np.einsum("ba, bc", x, BESIDE),
        lambda x: np.einsum("...j,kj", x[0], BESIDE),
        lambda x: np.einsum("...ji", x[None]),
        lambda x: np.einsum("...i,i->...", x, BESIDE[0]),
        lambda x: np.einsum("...i,i->...", x[0], BESIDE[0]),
        lambda x: np.einsum("...ij,...j->i...", np.stack([x, x * x]), BESIDE[:2]),
        lambda x: np.einsum("ij->j", x[:1]),
    ],
)
def test_functions_of_several_arrays_are_numpys(call, rng):
    x = rng.standard_normal((3, 4))
    np.testing.assert_allclose(call(Tensor(x)).data, call(x), rtol=1e-13, strict=True)
    gradcheck(call, [x]).assert_right()


@pytest.mark.parametrize(("op", "numpys"), [(ops.shape.Stack, np.stack), (ops.shape.Concatenate, np.concatenate)])
def test_the_default_axis_is_numpys(op, numpys, rng):
    arrays = [rng.standard_normal((2, 3)), rng.standard_normal((2, 3))]
    np.testing.assert_array_equal(op.call(*arrays), numpys(arrays))
    gradcheck(op.call, arrays).assert_right()


FORMULAS = {
    ops.sigmoid: lambda x: 1 / (1 + np.exp(-x)),
    ops.softplus: lambda x: np.log(1 + np.exp(x)),
    ops.relu: lambda x: np.where(x > 0, x, 0),
    ops.silu: lambda x: x / (1 + np.exp(-x)),
    ops.erf: lambda x: np.array([math.erf(v) for v in x.flat]).reshape(x.shape),
    ops.gelu_erf: lambda x: np.array([v * NormalDist().cdf(v) for v in x.flat]).reshape(x.shape),
    ops.gelu: lambda x: x / (1 + np.exp(-np.sqrt(8 / np.pi) * (x + 0.044715 * x**3))),  # since (1 + tanh u) / 2 = sigmoid 2u
    ops.softmax: lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True),
    ops.logsumexp: lambda x: np.log(np.exp(x).sum()),
    ops.log_softmax: lambda x: np.log(np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)),
}


@pytest.mark.parametrize(("f", "formula"), FORMULAS.items(), ids=[f.__qualname__ for f in FORMULAS])
def test_value_of_what_numpy_has_not(f, formula, rng, implementation):
    x = rng.standard_normal((2, 3, 4))
    np.testing.assert_allclose(f(Tensor(x)).data, formula(x), rtol=1e-12, strict=True)


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (np.max, [3.0, 1.0, 3.0, 3.0], [1 / 3, 0, 1 / 3, 1 / 3]),
        (np.min, [1.0, 1.0, 3.0, 2.0], [1 / 2, 1 / 2, 0, 0]),
        (lambda x: np.maximum(x, 2.0), [1.0, 2.0, 3.0], [0, 0.5, 1]),
        (lambda x: np.maximum(2.0, x), [1.0, 2.0, 3.0], [0, 0.5, 1]),
        (lambda x: np.minimum(x, 2.0), [1.0, 2.0, 3.0], [1, 0.5, 0]),
        (lambda x: np.minimum(2.0, x), [1.0, 2.0, 3.0], [1, 0.5, 0]),
        (np.abs, [-1.0, 0.0, 1.0], [-1, 0, 1]),
        (ops.relu, [-1.0, 0.0, 1.0], [0, 0, 1]),
        (lambda x: np.clip(x, 1.0, 3.0), [0.0, 1.0, 2.0, 3.0, 4.0], [0, 1, 1, 1, 0]),
        (np.std, [2.0, 2.0], [0, 0]),
        (lambda x: np.power(0.0, x), [0.0, 1.0, 2.0], [0, 0, 0]),
        (lambda x: x**0, [0.0, 2.0], [0, 0]),
    ],
)
def test_the_choice_at_a_kink_is_the_documented_one(f, x, expected):
    """Finite differences accept every slope between the two sides; this is the one that is promised."""
    x = Tensor(x, requires_grad=True)
    f(x).sum().backward()
    np.testing.assert_allclose(x.grad.data, expected, rtol=1e-15)


def fit(g, x):
    """A cotangent as an array of the input's shape."""
    if isinstance(g, Scatter):
        spread = np.zeros(x.shape)
        g.add_to(spread)
        return spread
    g = np.asarray(g)
    g = g.sum(axis=tuple(range(g.ndim - x.ndim)))
    return g.sum(axis=tuple(i for i, n in enumerate(x.shape) if n == 1), keepdims=True) if g.shape != x.shape else g


@pytest.mark.parametrize(
    ("op", "number"),
    [case for case in SAMPLES if issubclass(case[0], Fused)],
    ids=[name for name, (op, _) in zip(NAMES, SAMPLES, strict=True) if issubclass(op, Fused)],
)
def test_fused_op_is_its_specification(op, number, implementation, monkeypatch):
    f, inputs = sample(op, number)
    out, fast = gradients(f, inputs)
    monkeypatch.setattr(op, "call", op.spec)
    spec_out, slow = gradients(f, inputs)
    assert out.data is not spec_out.data
    np.testing.assert_allclose(out.data, spec_out.data, rtol=1e-12, atol=1e-14)
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-11, atol=1e-13)


def torch_twins(torch):
    """Each op in PyTorch, with the arguments of ours."""
    F = torch.nn.functional

    def fold(function):
        def twin(x, axis=None, keepdims=False):
            return function(x, tuple(range(x.ndim)) if axis is None else axis, keepdims)

        return twin

    def several(function):  # for those torch folds one axis at a time only
        def twin(x, axis=None, keepdims=False):
            axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
            for a in sorted((a % x.ndim for a in axes), reverse=True):
                x = function(x, a, keepdims)
            return x

        return twin

    def log_softmax(x, axis=-1):
        return x - torch.logsumexp(x, axis, keepdim=True)

    def attention(qkv, heads, keep=None):
        T, width = qkv.shape[-2], qkv.shape[-1] // 3
        q, k, v = (t.reshape(-1, T, heads, width // heads).transpose(1, 2) for t in qkv.split(width, -1))
        mask = torch.full((T, T), -torch.inf, dtype=qkv.dtype).triu(1)
        p = torch.softmax(q @ k.mT / (width // heads) ** 0.5 + mask, -1)
        p = p if keep is None else p * torch.tensor(keep, dtype=p.dtype)
        return (p @ v).transpose(1, 2).reshape(*qkv.shape[:-1], width)

    def rotary(qkv, heads, start=0):
        T, width = qkv.shape[-2], qkv.shape[-1] // 3
        x = qkv.reshape(*qkv.shape[:-1], 3, heads, width // heads)  # (..., T, 3, H, d_k)
        unit = F.rms_norm(x[..., :2, :, :], x.shape[-1:], eps=1e-6)
        places = torch.arange(start, start + T, dtype=qkv.dtype)[:, None]
        turns = places * 10_000.0 ** -(torch.arange(0, x.shape[-1], 2, dtype=qkv.dtype) / x.shape[-1])  # (T, d_k / 2)
        turned = torch.view_as_complex(unit.unflatten(-1, (-1, 2))) * torch.polar(torch.ones_like(turns), turns)[:, None, None]
        scale = torch.tensor([1.7, 1.0], dtype=qkv.dtype)[:, None, None]
        return torch.cat([torch.view_as_real(turned).flatten(-2) * scale, x[..., 2:, :, :]], -3).reshape(qkv.shape)

    def pad(x, pad_width, constant_values=0.0):
        widths = np.broadcast_to(pad_width, (x.ndim, 2))[::-1].ravel().tolist()
        return F.pad(x, widths, value=constant_values)

    same = "tan sinh cosh arcsin arccos arctan arcsinh arccosh arctanh exp2 log2 log10 reciprocal positive sinc deg2rad rad2deg"
    same += " fmax fmin hypot arctan2 logaddexp logaddexp2 remainder fmod copysign"
    return {
        **{name: getattr(torch, name) for name in same.split()},
        **{name: getattr(torch.linalg, name) for name in ("inv", "det", "solve", "pinv")},
        # these differ in what they give together or read, or are steps of others; test_op_db.py has those that PyTorch has
        **dict.fromkeys(("eigh", "svd", "qr", "cholesky", "vector_norm", "ldexp", "cbrt", "horner", "sinc_slope")),
        "absolute": torch.abs,
        "add": torch.add,
        "astype": lambda x, dtype: x.to(torch.float64),
        "bell": lambda x, by: torch.exp(-by * x * x),
        "broadcast_to": torch.broadcast_to,
        "causal_attention": attention,
        "rotary": rotary,
        "clip": lambda x, a_min=None, a_max=None: torch.clip(x, a_min, a_max),
        "conjugate": torch.conj_physical,
        "copy": torch.clone,
        "convolve": lambda a, v: F.conv1d(a[None, None], v.flip(0)[None, None], padding=len(v) - 1)[0, 0],
        "concatenate": lambda *xs, axis=0: torch.cat(xs, axis),
        "cos": torch.cos,
        "cross_entropy": lambda x, t: F.cross_entropy(x, torch.tensor(t)),
        "linear_cross_entropy": lambda h, w, b, t: F.cross_entropy(F.linear(h, w, b), torch.tensor(t)),
        "cumprod": lambda x, axis=None: torch.cumprod(x.reshape(-1) if axis is None else x, axis or 0),
        "cumsum": lambda x, axis=None: torch.cumsum(x.reshape(-1) if axis is None else x, axis or 0),
        "divide": torch.divide,
        "degrees": torch.rad2deg,
        "dropout": lambda x, keep, scale: x * torch.tensor(keep) * scale,
        "einsum": lambda *xs, subscripts: torch.einsum(subscripts, *xs),
        "embedding": lambda t, ids: F.embedding(torch.tensor(ids), t),
        "erf": torch.erf,
        "exp": torch.exp,
        "expand_dims": lambda x, axis: x[None, ..., None] if axis == (0, -1) else x.unsqueeze(axis),
        "expm1": torch.expm1,
        "fabs": torch.abs,
        "flip": lambda x, axis=None: x.flip(tuple(range(x.ndim)) if axis is None else axis),
        "gelu": lambda x: F.gelu(x, approximate="tanh"),
        "gelu_erf": F.gelu,
        "identity": lambda x: x,
        "layer_norm": lambda x, w, b, eps: F.layer_norm(x, x.shape[-1:], w, b, eps),
        "linear": lambda x, w, b: F.linear(x, w.T, b),
        "log": torch.log,
        "slogdet": lambda a: torch.linalg.slogdet(a).logabsdet,
        "log1p": torch.log1p,
        "log_softmax": log_softmax,
        "logsumexp": fold(torch.logsumexp),
        "matmul": torch.matmul,
        "max": fold(torch.amax),
        "nanmax": fold(torch.amax),
        "maximum": torch.maximum,
        "mean": fold(torch.mean),
        "min": fold(torch.amin),
        "nanmin": fold(torch.amin),
        "minimum": torch.minimum,
        "multiply": torch.multiply,
        "negative": torch.negative,
        "normal_cdf": torch.special.ndtr,
        "pad": pad,
        "power": torch.pow,
        "prod": several(torch.prod),
        "put_item": None,  # torch's index_put has other arguments
        "get_item": None,  # torch refuses negative steps; slices and lists are compared below
        "radians": torch.deg2rad,
        "relu": torch.relu,
        "real": torch.real,
        "reshape": lambda x, shape: x.reshape(shape),
        "sech2": lambda x: 1 / torch.cosh(x) ** 2,
        "sigmoid": torch.sigmoid,
        "sign": torch.sign,
        "silu": F.silu,
        "sin": torch.sin,
        "softmax": torch.softmax,
        "softplus": lambda x: F.softplus(x, threshold=1e9),
        "sqrt": torch.sqrt,
        "square": torch.square,
        "squeeze": lambda x, axis=None: x.squeeze() if axis is None else x.squeeze(axis),
        "stack": lambda *xs, axis=0: torch.stack(xs, axis),
        "std": lambda x, axis=None, ddof=0, keepdims=False: torch.std(x, axis, correction=ddof, keepdim=keepdims),
        "subtract": torch.subtract,
        "sum": fold(torch.sum),
        "swapaxes": torch.swapaxes,
        "tanh": torch.tanh,
        "transpose": lambda x, axes=None: x.permute(tuple(reversed(range(x.ndim))) if axes is None else axes),
        "tril": lambda x, k=0: torch.tril(x, k),
        "triu": lambda x, k=0: torch.triu(x, k),
        "var": lambda x, axis=None, ddof=0, keepdims=False: torch.var(x, axis, correction=ddof, keepdim=keepdims),
        "where": lambda c, a, b: torch.where(torch.tensor(c), a, b),
    }


@pytest.mark.oracle
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)], ids=["float64", "float32"])
@each_sample
def test_against_pytorch(torch, op, number, dtype, tolerance, implementation):
    twin = torch_twins(torch)[op.name]
    f, inputs = sample(op, number)
    folds_nothing = op.name in ("max", "min", "logsumexp", "var", "std") and any(x.size == 0 for x in inputs)
    singular = op.name == "det" and "outer" in op.samples[number]  # where torch takes the slope as 0
    if twin is None or folds_nothing or singular:  # torch has none, or warns
        return
    ours = [Tensor(x.astype(dtype), requires_grad=True) for x in inputs]
    theirs = [torch.tensor(x.data, requires_grad=True) for x in ours]
    args, params = arguments(op, number)
    floats, full = iter(theirs), []
    for i, a in enumerate(args):
        full.append(next(floats) if i < (op.arity or 99) and isinstance(a, np.ndarray) and a.dtype == float else a)
    out, expected = f(*ours), twin(*full, **params)
    k = np.random.default_rng(2).standard_normal(out.shape).astype(out.dtype)
    np.sum(out * k).backward()
    (expected * torch.tensor(k)).sum().backward()
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Tensor(np.ones((3, 4))) @ np.ones((5, 6)), r"^matmul: \(3, 4\) @ \(5, 6\): inner dimensions 4 and 5 differ"),
        (lambda: Tensor(np.ones((3, 4))) @ np.ones(3), r"^matmul: \(3, 4\) @ \(3,\): inner dimensions 4 and 3 differ"),
        (lambda: Tensor(1.0) @ np.ones(3), r"^matmul of \(\), \(3,\): .*does not have enough dimensions"),
        (lambda: np.einsum("ij,jk", Tensor(np.ones((2, 3)))), r"^einsum: 'ij,jk' names 2 operands, but 1 are given"),
        (lambda: Tensor(np.ones(3)) + np.ones(4), r"add of \(3,\), \(4,\)"),
        (lambda: ops.linear(Tensor(np.ones((2, 3))), np.ones((4, 5))), r"linear: x \(2, 3\) @ w \(4, 5\)"),
        (lambda: ops.linear(Tensor(np.ones((2, 3))), np.ones((3, 5)), np.ones(4)), r"bias \(4,\).*needs shape \(5,\)"),
        (lambda: ops.linear(Tensor(np.ones(3)), np.ones(3)), r"^linear: x \(3,\) @ w \(3,\)"),
        (lambda: ops.linear(Tensor(np.ones(3)), np.ones((3, 2, 2))), r"^linear: x \(3,\) @ w \(3, 2, 2\)"),
        (lambda: ops.linear(Tensor(1.0), np.ones((1, 1))), r"^linear: x \(\) @ w \(1, 1\)"),
        (lambda: ops.layer_norm(Tensor(np.ones((2, 3))), np.ones(2), np.ones(3)), r"needs gain and bias \(3,\)"),
        (lambda: ops.layer_norm(Tensor(np.ones((2, 4, 3))), np.ones(3), np.ones(2)), r"bias \(3,\), not \(3,\) and \(2,\)"),
        (lambda: ops.layer_norm(Tensor(1.0), np.ones(()), np.ones(())), r"^layer_norm: x \(\)"),
        (lambda: ops.softmax(Tensor(1.0)), r"^softmax: a single number has no axis"),
        (lambda: ops.rotary(Tensor(np.ones((2, 4, 6))), 2), r"^rotary: qkv \(2, 4, 6\) with 2 heads.*d_k even"),
        (lambda: ops.rotary(Tensor(np.ones(12)), 2), r"^rotary: qkv \(12,\) with 2 heads"),
        (lambda: ops.causal_attention(Tensor(np.ones((2, 4, 8))), 2), r"\(2, 4, 8\) with 2 heads"),
        (lambda: ops.causal_attention(Tensor(np.ones((2, 4, 3))), 2), r"\(2, 4, 3\) with 2 heads"),
        (lambda: ops.causal_attention(Tensor(np.ones(12)), 2), r"^causal_attention: qkv \(12,\) with 2 heads"),
        (lambda: ops.causal_attention(Tensor(np.ones((2, 4, 10))), 2), r"\(2, 4, 10\) with 2 heads"),
        (lambda: ops.cross_entropy(Tensor(np.ones((2, 3))), [0, 3]), r"integers in 0..2; these are int64 from 0 to 3"),
        (lambda: ops.cross_entropy(Tensor(np.ones((2, 3))), [-1, 0]), r"integers in 0..2; these are int64 from -1 to 0"),
        (
            lambda: ops.cross_entropy(Tensor(np.ones((2, 3))), [0.0, 1.0]),
            r"integers in 0..2; these are float64 from 0.0 to 1.0",
        ),
        (lambda: ops.cross_entropy(Tensor(np.ones((0, 3))), np.zeros(0, int)), r"logits \(0, 3\) need targets"),
        (lambda: ops.cross_entropy(Tensor(np.ones((2, 4, 3))), [0, 1]), r"\(2, 4, 3\) need targets \(2, 4\), not \(2,\)"),
        (lambda: ops.cross_entropy(Tensor(np.ones((2, 3))), [0]), r"need targets \(2,\), not \(1,\)"),
        (
            lambda: ops.linear_cross_entropy(Tensor(1.0), np.ones((4, 1)), None, 0),
            r"^linear_cross_entropy: h \(\) and w \(4, 1\)",
        ),
        (lambda: ops.linear_cross_entropy(Tensor(np.ones(3)), np.ones(3), None, 0), r"h \(3,\) and w \(3,\) must have equal"),
        (lambda: ops.linear_cross_entropy(Tensor(np.ones(3)), np.ones((4, 2)), None, 0), r"h \(3,\) and w \(4, 2\) must"),
        (lambda: ops.linear_cross_entropy(Tensor(np.ones(3)), np.ones((4, 3)), np.ones(3), 0), r"bias \(3,\).*shape \(4,\)$"),
        (lambda: ops.linear_cross_entropy(Tensor(np.ones(3)), np.ones((4, 3)), None, 7), r"integers in 0..3; these are int64"),
        (lambda: ops.embedding(Tensor(np.ones((5, 2))), [[0, 1], [2, 7]]), r"id 7 at \[1, 1\] is outside the table's 5 rows"),
        (lambda: ops.embedding(Tensor(np.ones((5, 2))), [0, -1]), r"id -1 at \[1\]"),
        (lambda: ops.embedding(Tensor(np.ones((5, 2))), [4, 5]), r"id 5 at \[1\]"),
        (lambda: ops.embedding(Tensor(np.ones((5, 2))), [0.0]), r"embedding: ids must be integers, not float64"),
        (lambda: ops.gather(Tensor(np.ones((2, 3))), [0, 1]), r"gather: indices \(2,\) for x \(2, 3\)"),
        (lambda: Tensor(np.ones((2, 3))).reshape(4, 2), r"reshape of \(2, 3\)"),
        (lambda: Tensor(np.ones(3))[5], r"get_item of \(3,\): index 5 is out of bounds"),
    ],
)
def test_dimension_errors_name_the_shapes(call, message):
    with pytest.raises(ShapeError, match=message):
        call()


def test_what_has_no_gradient_here_is_refused():
    with pytest.raises(UnsupportedError, match="pad: mode 'mean' has no rule here; 'constant' has, and 'reflect'"):
        np.pad(Tensor(np.ones(3)), 1, mode="mean", stat_length=2)
    for sections in (0, 2):
        with pytest.raises(ValueError, match=f"split: 3 entries along axis 0 do not divide into {sections} equal parts"):
            np.split(Tensor(np.ones(3)), sections)


def test_a_setting_that_is_not_there_is_refused():
    with pytest.raises(UnsupportedError, match=r"np.sum: \['out'\] is not supported here; it takes \['axis', 'keepdims', "):
        np.sum(Tensor(np.ones(3)), out=np.ones(()))


BIG = np.array([[1e4, -1e4, 0.0, 1e4], [-1e4, -1e4, -9e3, 1.0]])
EXTREMES = {
    "large": BIG,
    "equal": np.full((2, 4), 7.0),
    "zero": np.zeros((2, 4)),
    "equal and large": np.full((2, 4), -1e4),
    "tiny": BIG * 1e-300,
}
EVERYWHERE_FINITE = {
    "softmax": ops.softmax,
    "log_softmax": ops.log_softmax,
    "logsumexp": lambda x: ops.logsumexp(x, axis=-1),
    "layer_norm": lambda x: ops.layer_norm(x, np.ones(4, x.dtype), np.zeros(4, x.dtype)),
    "gelu": ops.gelu,
    "gelu_erf": ops.gelu_erf,
    "silu": ops.silu,
    "sigmoid": ops.sigmoid,
    "softplus": ops.softplus,
    "relu": ops.relu,
    "tanh": np.tanh,
    "erf": ops.erf,
    "std": lambda x: np.std(x, axis=-1),
    "causal_attention": lambda x: ops.causal_attention(np.concatenate([x, x, x], axis=-1), 2),
    "rotary": lambda x: ops.rotary(np.concatenate([x, x, x], axis=-1), 2),
    "cross_entropy": lambda x: ops.cross_entropy(x, [1, 3]),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("values", EXTREMES.values(), ids=EXTREMES)
@pytest.mark.parametrize("f", EVERYWHERE_FINITE.values(), ids=EVERYWHERE_FINITE)
def test_extremes_stay_finite_forward_backward_and_twice(f, values, dtype, implementation):
    x = Tensor(values, requires_grad=True, dtype=dtype)
    out = f(x)
    (g,) = autograd.grad([weigh(out)], [x], create_graph=True)
    assert np.isfinite(out.data).all()
    assert np.isfinite(g.data).all()
    weigh(f(x)).backward()
    assert np.isfinite(x.grad.data).all()
    np.testing.assert_allclose(g.data, x.grad.data, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("f", [ops.softmax, ops.log_softmax, lambda x: ops.logsumexp(x, axis=-1)])
def test_masks_of_minus_infinity(f):
    x = Tensor(np.array([[-np.inf, 1.0, 2.0], [0.0, -np.inf, -np.inf]]), requires_grad=True)
    out = f(x)
    masked = np.isneginf(x.data)
    picked = out[~masked] if out.shape == x.shape else out
    weigh(picked).backward()
    assert np.isfinite(picked.data).all()
    assert np.isfinite(x.grad.data).all()
    assert (x.grad.data[masked] == 0).all()


def test_a_row_that_is_masked_everywhere():
    x = Tensor(np.full((1, 3), -np.inf), requires_grad=True)
    np.testing.assert_array_equal(ops.softmax(x).data, [[0, 0, 0]])
    assert ops.logsumexp(x).item() == -np.inf
    weigh(ops.softmax(x)).backward()
    np.testing.assert_array_equal(x.grad.data, [[0, 0, 0]])


def test_softmax_over_several_axes(rng):
    x = rng.standard_normal((2, 3, 4))
    p = ops.softmax(x, axis=(0, 2))
    np.testing.assert_allclose(p, np.exp(x) / np.exp(x).sum(axis=(0, 2), keepdims=True))
    gradcheck(lambda x: ops.softmax(x, axis=(0, 2)), [x]).assert_right()


def test_a_single_row_will_do(rng):
    x, w, b = (rng.standard_normal(shape) for shape in (3, (3, 2), 2))
    np.testing.assert_allclose(ops.linear(x, w, b), x @ w + b)
    gradcheck(ops.linear, [x, w, b]).assert_right()
    np.testing.assert_allclose(ops.layer_norm(x, 2 * x, x * x), (x - x.mean()) / np.sqrt(x.var() + 1e-5) * 2 * x + x * x)
    gradcheck(ops.layer_norm, [x, 2 * x, x * x]).assert_right()


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
def test_softmax_along_any_axis(axis, rng):
    x = rng.standard_normal((2, 3, 4))
    np.testing.assert_allclose(ops.softmax(x, axis=axis), np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True))
    gradcheck(lambda x: ops.softmax(x, axis=axis), [x]).assert_right()


def test_cross_entropy_is_the_mean_over_every_position(rng):
    logits, targets = rng.standard_normal((2, 3, 5)), rng.integers(0, 5, (2, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    expected = -np.mean([np.log(p[i, j, targets[i, j]]) for i, j in np.ndindex(2, 3)])
    assert ops.cross_entropy(Tensor(logits), targets).item() == pytest.approx(expected, rel=1e-13)
    assert ops.cross_entropy(Tensor(logits), targets.astype(np.uint8)).item() == pytest.approx(expected, rel=1e-13)


def test_cross_entropy_of_certainty():
    x = Tensor(np.array([[1e4, -1e4, 0.0, 1e4]]), requires_grad=True)
    loss = ops.cross_entropy(x, [1])
    assert loss.item() == pytest.approx(2e4 + np.log(2))
    loss.backward()
    np.testing.assert_allclose(x.grad.data, [[0.5, -1, 0, 0.5]])


def test_attention_sees_no_later_position(rng, implementation):
    qkv = rng.standard_normal((1, 6, 12))
    before = ops.causal_attention(qkv, 2)
    qkv[:, 4:] += 1
    np.testing.assert_array_equal(ops.causal_attention(qkv, 2)[:, :4], before[:, :4])


def test_dropout_keeps_the_mean_and_the_share(rng):
    x = np.ones((200, 500))
    dropped = ops.dropout(x, 0.3, rng)
    assert set(np.unique(dropped)) == {0, 1 / (1 - 0.3)}
    assert np.mean(dropped == 0) == pytest.approx(0.3, abs=0.01)
    assert dropped.mean() == pytest.approx(1, abs=0.01)


class Draws:
    """Random numbers that are known."""

    def __init__(self, values):
        self.values = np.array(values, np.float32)

    def random(self, shape, dtype):
        return np.resize(self.values, shape).astype(dtype)


def test_dropout_drops_what_is_below_its_probability():
    x = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(ops.dropout(x, 0.75, Draws([0.0, 0.5, 0.75, 0.99])), [0, 0, 12, 16])
    assert ops.dropout(x, 0.0, Draws([0.0])) is x
    for p in (-0.5, 1.0, 1.5):
        with pytest.raises(ValueError, match=rf"dropout: probability {p} is not in \[0, 1\)"):
            ops.dropout(x, p, Draws([0.0]))


def test_attention_drops_weights_below_the_probability(rng, implementation):
    qkv = rng.standard_normal((2, 3, 12))
    values = rng.random((2, 2, 3, 3)).astype(np.float32)
    values[0, 0, 1, 0] = 0.25
    dropped = ops.causal_attention(qkv, 2, 0.25, Draws(values))
    np.testing.assert_allclose(dropped, ops.fused.CausalAttention.spec(qkv, heads=2, keep=(values >= 0.25) / 0.75), rtol=1e-12)
    with pytest.raises(ValueError, match=r"causal_attention: dropout 0.25 needs rng="):
        ops.causal_attention(qkv, 2, 0.25)
