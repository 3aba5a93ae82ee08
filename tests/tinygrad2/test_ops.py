"""Every op: one line each in CASES, checked against finite differences, its formula, its dtype, and PyTorch."""

import inspect
import sys

import numpy as np
import pytest

from tinygrad2 import Tensor, autograd, gradcheck, ops
from tinygrad2.errors import ShapeError, UnsupportedError
from tinygrad2.ops.op import Fused, Op, Scatter

R = np.random.default_rng(1)


def normal(*shape):
    return R.standard_normal(shape)


def positive(*shape):
    return R.uniform(0.5, 2, shape)


MASK = normal(3, 4) > 0
KEEP = (R.random((2, 2, 4, 4)) > 0.3) / 0.7
CASES = {
    # name: (the function, its inputs). A name is an op's, with a suffix where there is more than one line for it.
    "add": (np.add, normal(3, 4), normal(4)),
    "subtract": (np.subtract, normal(3, 1), normal(4)),
    "multiply": (np.multiply, normal(2, 3, 1), normal(3, 4)),
    "divide": (np.divide, normal(3, 4), positive(1, 4)),
    "negative": (np.negative, normal(3)),
    "power": (np.power, positive(3, 4), normal(4)),
    "power:constant": (lambda x: x**3, normal(3)),
    "exp": (np.exp, normal(3, 2)),
    "log": (np.log, positive(3, 2)),
    "sqrt": (np.sqrt, positive(3, 2)),
    "tanh": (np.tanh, normal(3, 2)),
    "sin": (np.sin, normal(3, 2)),
    "cos": (np.cos, normal(3, 2)),
    "maximum": (np.maximum, normal(3, 4), normal(4)),
    "where": (lambda a, b: np.where(MASK, a, b), normal(3, 4), normal(4)),
    "astype": (lambda x: x.astype(np.float64), normal(3)),
    "dropout": (lambda x: ops.dropout(x, 0.4, np.random.default_rng(0)), normal(3, 4)),
    "sum": (lambda x: np.sum(x, axis=(0, -1)), normal(2, 3, 4)),
    "sum:all": (np.sum, normal(2, 3)),
    "sum:keepdims": (lambda x: x.sum(axis=1, keepdims=True), normal(2, 3)),
    "mean": (lambda x: np.mean(x, axis=1), normal(2, 3, 4)),
    "max": (lambda x: np.max(x, axis=-1), normal(3, 4)),
    "reshape": (lambda x: x.reshape(2, -1), normal(3, 4)),
    "transpose": (lambda x: x.transpose(2, 0, 1), normal(2, 3, 4)),
    "transpose:all": (lambda x: x.T, normal(2, 3)),
    "swapaxes": (lambda x: x.swapaxes(0, 2), normal(2, 3, 4)),
    "broadcast_to": (lambda x: np.broadcast_to(x, (2, 3, 4)), normal(3, 1)),
    "concatenate": (lambda a, b: np.concatenate([a, b], axis=-1), normal(2, 3), normal(2, 1)),
    "get_item": (lambda x: x[1:, [0, 0, 2]], normal(3, 4)),
    "get_item:slice": (lambda x: x[::-2, None, 1], normal(3, 4)),
    "put_item": (lambda x: ops.indexing.PutItem.call(x, np.zeros(4), index=[0, 2, 2]), normal(3)),
    "embedding": (lambda t: ops.embedding(t, [[1, 2, 1], [0, 0, 1]]), normal(3, 4)),
    "matmul": (np.matmul, normal(2, 3, 4), normal(4, 5)),
    "matmul:vectors": (np.matmul, normal(4), normal(4)),
    "matmul:left vector": (np.matmul, normal(4), normal(2, 4, 3)),
    "matmul:right vector": (np.matmul, normal(2, 3, 4), normal(4)),
    "linear": (ops.linear, normal(2, 3, 4), normal(4, 5), normal(5)),
    "linear:no bias": (ops.linear, normal(3, 4), normal(4, 5)),
    "linear:transposed": (lambda x, w: ops.linear(x, w.T), normal(3, 4), normal(5, 4)),
    "gelu": (ops.gelu, 2 * normal(3, 4)),
    "layer_norm": (ops.layer_norm, normal(2, 3, 5), normal(5), normal(5)),
    "softmax": (ops.softmax, normal(3, 4)),
    "softmax:axis": (lambda x: ops.softmax(x, axis=0), normal(3, 4)),
    "causal_attention": (lambda x: ops.causal_attention(x, 2), normal(2, 4, 12)),
    "causal_attention:dropout": (lambda x: ops.fused.CausalAttention.call(x, heads=2, keep=KEEP), normal(2, 4, 12)),
    "causal_attention:one head": (lambda x: ops.causal_attention(x, 1), normal(3, 6)),
    "cross_entropy": (lambda x: ops.cross_entropy(x, [[1, 2, 0], [0, 0, 3]]), normal(2, 3, 4)),
}
each_case = pytest.mark.parametrize(("f", "inputs"), [(f, x) for f, *x in CASES.values()], ids=list(CASES))


def all_ops(base=Op):
    for op in base.__subclasses__():
        yield from all_ops(op)
        if hasattr(op, "forward"):
            yield op


def weigh(out):
    """A scalar with a different cotangent for every entry."""
    return np.sum(out * np.random.default_rng(2).standard_normal(out.shape))


def test_every_op_has_a_line():
    named = {name.split(":")[0] for name in CASES}
    assert named >= {op.name for op in all_ops() if op.__module__.startswith("tinygrad2")}


@each_case
def test_gradient_against_finite_differences(f, inputs, implementation):
    gradcheck(f, inputs).assert_right()


@each_case
def test_gradient_of_the_gradient(f, inputs, implementation):
    def slope(*tensors):
        found = autograd.grad(weigh(f(*tensors)), tensors, create_graph=True)
        return weigh(np.concatenate([np.reshape(g * g, (-1,)) for g in found])) + 0 * weigh(f(*tensors))

    gradcheck(slope, inputs).assert_right()


@each_case
def test_float32_stays_float32(f, inputs, implementation):
    tensors = [Tensor(x, requires_grad=True, dtype=np.float32) for x in inputs]
    out = f(*tensors)
    if f is not CASES["astype"][0]:
        assert out.dtype == np.float32
    exact = f(*inputs) if not isinstance(inputs[0], Tensor) else None
    np.testing.assert_allclose(out.data, exact, rtol=1e-5, atol=1e-6)
    weigh(out).backward()
    for x in tensors:
        assert x.grad.dtype == np.float32
        assert x.grad.shape == x.shape


@pytest.mark.parametrize("op", [op for op in all_ops() if op.formula], ids=lambda op: op.name)
def test_formula_is_the_rule(op, monkeypatch):
    """What is shown is executed: the text of a formula gives what the vjp gives."""
    f, *inputs = CASES[op.name]
    seen = []
    run = op.run.__func__
    monkeypatch.setattr(op, "run", classmethod(lambda cls, a, p: seen.append((a, p)) or run(cls, a, p)))
    f(*[Tensor(x) for x in inputs])
    arrays, params = seen[-1]
    out, saved = run(op, arrays, params)
    g = np.random.default_rng(3).standard_normal(out.shape)
    signature = inspect.signature(op.forward).parameters
    defaults = {name: p.default for name, p in signature.items()}
    bound = {"arrays": arrays} if op.arity is None else dict(zip(signature, arrays, strict=False))
    space = {**vars(sys.modules[op.__module__]), **defaults, **bound, **params, "g": g, "out": out, "np": np}
    results = []
    for part in op.formula.split("; "):
        name, equals, _ = part.partition(" = ")
        if equals and name.replace(", ", "").isidentifier():
            exec(part, space)
        else:
            results.extend(eval(f"[{part}]", space))
    for x, shown, real in zip(arrays, results, op.vjp(g, saved, *arrays, **params), strict=True):
        if real is None:
            assert shown is None
        else:
            np.testing.assert_allclose(fit(shown, x), fit(real, x), rtol=1e-12, atol=1e-14)


def fit(g, x):
    """A cotangent as an array of the input's shape."""
    if isinstance(g, Scatter):
        spread = np.zeros(x.shape)
        g.add_to(spread)
        return spread
    extra = tuple(range(g.ndim - x.ndim))
    g = g.sum(axis=extra)
    return g.sum(axis=tuple(i for i, n in enumerate(x.shape) if n == 1), keepdims=True) if g.shape != x.shape else g


FUSED = {name: case for name, case in CASES.items() if name.split(":")[0] in {op.name for op in all_ops(Fused)}}


@pytest.mark.parametrize(("f", "inputs"), [(f, x) for f, *x in FUSED.values()], ids=list(FUSED))
def test_fused_op_is_its_specification(f, inputs, implementation, monkeypatch):
    fast = [Tensor(x, requires_grad=True) for x in inputs]
    out = f(*fast)
    k = np.random.default_rng(2).standard_normal(out.shape)
    np.sum(out * k).backward()
    plain = [Tensor(x, requires_grad=True) for x in inputs]
    for op in all_ops(Fused):
        monkeypatch.setattr(op, "call", op.spec)
    slow = f(*plain)
    assert slow.data is not out.data
    np.testing.assert_allclose(out.data, slow.data, rtol=1e-12, atol=1e-14)
    np.sum(slow * k).backward()
    for a, b in zip(fast, plain, strict=True):
        np.testing.assert_allclose(a.grad.data, b.grad.data, rtol=1e-11, atol=1e-13)


def torch_twins(torch):
    F = torch.nn.functional

    def attention(x):
        q, k, v = (t.reshape(2, 4, 2, 2).transpose(1, 2) for t in x.split(4, dim=-1))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(2, 4, 4)

    return {
        "add": torch.add,
        "subtract": torch.subtract,
        "multiply": torch.multiply,
        "divide": torch.divide,
        "negative": torch.negative,
        "power": torch.pow,
        "power:constant": lambda x: x**3,
        "exp": torch.exp,
        "log": torch.log,
        "sqrt": torch.sqrt,
        "tanh": torch.tanh,
        "sin": torch.sin,
        "cos": torch.cos,
        "maximum": torch.maximum,
        "where": lambda a, b: torch.where(torch.tensor(MASK), a, b),
        "sum": lambda x: x.sum((0, -1)),
        "mean": lambda x: x.mean(1),
        "max": lambda x: x.amax(-1),
        "transpose": lambda x: x.permute(2, 0, 1),
        "concatenate": lambda a, b: torch.cat([a, b], -1),
        "embedding": lambda t: F.embedding(torch.tensor([[1, 2, 1], [0, 0, 1]]), t),
        "matmul": torch.matmul,
        "matmul:left vector": torch.matmul,
        "matmul:right vector": torch.matmul,
        "linear": lambda x, w, b: F.linear(x, w.T, b),
        "gelu": lambda x: F.gelu(x, approximate="tanh"),
        "layer_norm": lambda x, w, b: F.layer_norm(x, (5,), w, b),
        "softmax": lambda x: torch.softmax(x, -1),
        "softmax:axis": lambda x: torch.softmax(x, 0),
        "causal_attention": attention,
        "cross_entropy": lambda x: F.cross_entropy(x.flatten(0, 1), torch.tensor([1, 2, 0, 0, 0, 3])),
    }


@pytest.mark.oracle
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)], ids=["float64", "float32"])
def test_against_pytorch(torch, dtype, tolerance, implementation):
    for name, twin in torch_twins(torch).items():
        f, *inputs = CASES[name]
        ours = [Tensor(x, requires_grad=True, dtype=dtype) for x in inputs]
        theirs = [torch.tensor(x.data, requires_grad=True) for x in ours]
        out, expected = f(*ours), twin(*theirs)
        k = np.random.default_rng(2).standard_normal(out.shape).astype(dtype)
        np.sum(out * k).backward()
        (expected * torch.tensor(k)).sum().backward()
        np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=tolerance, atol=tolerance, err_msg=name)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Tensor(np.ones((3, 4))) @ np.ones((5, 6)), r"matmul: \(3, 4\) @ \(5, 6\): inner dimensions 4 and 5 differ"),
        (lambda: Tensor(np.ones((3, 4))) @ np.ones(3), r"matmul: \(3, 4\) @ \(3,\): inner dimensions 4 and 3 differ"),
        (lambda: Tensor(np.ones(3)) + np.ones(4), r"add of \(3,\), \(4,\)"),
        (lambda: ops.linear(Tensor(np.ones((2, 3))), np.ones((4, 5))), r"linear: x \(2, 3\) @ w \(4, 5\)"),
        (lambda: ops.linear(Tensor(np.ones((2, 3))), np.ones((3, 5)), np.ones(4)), r"bias \(4,\).*needs shape \(5,\)"),
        (lambda: ops.layer_norm(Tensor(np.ones((2, 3))), np.ones(2), np.ones(3)), r"needs gain and bias \(3,\)"),
        (lambda: ops.causal_attention(Tensor(np.ones((2, 4, 10))), 2), r"\(2, 4, 10\) with 2 heads"),
        (lambda: ops.cross_entropy(Tensor(np.ones((2, 3))), [0, 3]), r"integers in 0..2; these are int64 from 0 to 3"),
        (lambda: ops.cross_entropy(Tensor(np.ones((2, 3))), [0]), r"need targets \(2,\), not \(1,\)"),
        (lambda: ops.embedding(Tensor(np.ones((5, 2))), [[0, 1], [2, 7]]), r"id 7 at \[1, 1\] is outside the table's 5 rows"),
        (lambda: ops.embedding(Tensor(np.ones((5, 2))), [-1]), r"id -1 at \[0\]"),
        (lambda: Tensor(np.ones((2, 3))).reshape(4, 2), r"reshape of \(2, 3\)"),
        (lambda: Tensor(np.ones(3))[5], r"get_item of \(3,\): index 5 is out of bounds"),
    ],
)
def test_dimension_errors_name_the_shapes(call, message):
    with pytest.raises(ShapeError, match=message):
        call()


def test_a_setting_that_is_not_there_is_refused():
    with pytest.raises(UnsupportedError, match=r"sum: \['where'\] is not supported here; it takes \['axis', 'keepdims'\]"):
        np.sum(Tensor(np.ones(3)), where=np.array([True, False, True]))


def test_numerical_extremes():
    big = np.array([[1e4, -1e4, 0.0, 1e4]])
    for f in (ops.softmax, ops.gelu, lambda x: ops.layer_norm(x, np.ones(4), np.zeros(4))):
        for values in (big, np.zeros((1, 4)), big.astype(np.float32)):
            x = Tensor(values, requires_grad=True)
            weigh(f(x)).backward()
            assert np.isfinite(f(x).data).all()
            assert np.isfinite(x.grad.data).all()
    x = Tensor(big, requires_grad=True)
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
