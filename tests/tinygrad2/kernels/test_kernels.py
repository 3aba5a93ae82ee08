"""Kernels: however they run, they agree with the reference in float64, repeat their bits, and hide no NaN."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from kernel_settings import PAIRS, SETTINGS, name, use, with_kept_keys

from tinygrad2 import Tensor, autograd, kernels, ops
from tinygrad2.kernels import reference
from tinygrad2.kernels.fast.threads import pool
from tinygrad2.ops import fused


@pytest.fixture(params=SETTINGS, ids=name)
def setting(request, monkeypatch):
    """Runs a test in every setting, with the reference's blocks so small that arrays here have several."""
    implementation, library, threads = request.param
    use(monkeypatch, implementation, library)
    small_blocks(monkeypatch)
    with pool(threads):
        yield request.param


@pytest.fixture(params=PAIRS, ids=name)
def pair(request, monkeypatch):
    """The same, on one thread."""
    use(monkeypatch, *request.param)
    small_blocks(monkeypatch)
    with pool(1):
        yield request.param


@pytest.fixture
def compiled():
    """The functions of one number, or of one row."""
    pytest.importorskip("numba", reason="pip install -e '.[fast]'")
    from tinygrad2.kernels.fast.compiled import arithmetic

    return arithmetic


def small_blocks(patch):
    patch.setattr(reference, "BLOCK", 1000)
    patch.setattr(reference, "LOGITS", 10_000)
    patch.setattr(reference, "ATTENTION_BLOCK", 5000)


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def integers(below, n):
    return np.random.default_rng(n).integers(0, below, n)


def keep(B, heads, T):
    return (normal(B, heads, T, T) > -0.5).astype(np.float32) / np.float32(0.7)


CASES = {
    "linear": (fused.Linear, (normal(2, 67, 24), normal(24, 45), normal(45)), {}),
    "linear, more columns than rows": (fused.Linear, (normal(37, 24), normal(24, 131), normal(131)), {}),
    "linear, a transposed weight": (fused.Linear, (normal(131, 24), normal(45, 24).T, None), {}),
    "linear, by columns": (fused.Linear, (normal(131, 24), np.asfortranarray(normal(24, 45)), normal(45)), {}),
    "linear, a weight with gaps": (fused.Linear, (normal(131, 24), normal(24, 90)[:, ::2], normal(45)), {}),
    "linear, 3 rows": (fused.Linear, (normal(3, 24), normal(24, 45), normal(45)), {}),
    "linear, 1 row": (fused.Linear, (normal(24), normal(24, 45), normal(45)), {}),
    "linear, no rows": (fused.Linear, (normal(0, 24), normal(24, 45), normal(45)), {}),
    "gelu": (fused.GELU, (4 * normal(24_593),), {}),
    "gelu, large": (fused.GELU, (1000 * normal(7, 11),), {}),
    "gelu, one number": (fused.GELU, (normal(),), {}),
    "gelu, nothing": (fused.GELU, (normal(0, 4),), {}),
    "layer_norm": (fused.LayerNorm, (3 + 2 * normal(2, 67, 48), normal(48), normal(48)), {"eps": 1e-5}),
    "layer_norm, 1 row": (fused.LayerNorm, (normal(1, 5), normal(5), normal(5)), {"eps": 1e-5}),
    "layer_norm, no rows": (fused.LayerNorm, (normal(0, 5), normal(5), normal(5)), {"eps": 1e-5}),
    "softmax": (fused.Softmax, (5 * normal(131, 33),), {"axis": -1}),
    "softmax, over rows": (fused.Softmax, (5 * normal(131, 33),), {"axis": 0}),
    **{
        f"attention, {T} tokens, {heads} heads": (fused.CausalAttention, (2 * normal(3, T, 15 * heads),), {"heads": heads})
        for T in (1, 63, 64, 65, 200)
        for heads in (1, 3)
    },
    "attention, no batch": (fused.CausalAttention, (normal(65, 30),), {"heads": 2}),
    "attention, two axes of batches": (fused.CausalAttention, (normal(2, 1, 65, 30),), {"heads": 2}),
    "attention, dropout": (fused.CausalAttention, (normal(2, 65, 30),), {"heads": 2, "keep": keep(2, 2, 65)}),
    "attention, nothing": (fused.CausalAttention, (normal(0, 5, 30),), {"heads": 2}),
    "rotary": (fused.Rotary, (2 * normal(3, 67, 72),), {"heads": 3}),
    "rotary, later": (fused.Rotary, (normal(2, 1, 5, 24),), {"heads": 2, "start": 1000}),
    "rotary, 1 token": (fused.Rotary, (normal(1, 12),), {"heads": 2}),
    "rotary, nothing": (fused.Rotary, (normal(2, 0, 12),), {"heads": 2}),
    "cross_entropy": (fused.CrossEntropy, (3 * normal(131, 211), integers(211, 131)), {}),
    "cross_entropy, 2 of them": (fused.CrossEntropy, (3 * normal(12_301, 2), integers(2, 12_301)), {}),
    "cross_entropy, 1 row": (fused.CrossEntropy, (3 * normal(1, 7), integers(7, 1)), {}),
    "linear_cross_entropy": (fused.LinearCrossEntropy, (normal(131, 24), normal(211, 24), normal(211), integers(211, 131)), {}),
    "linear_cross_entropy, 2 of them": (fused.LinearCrossEntropy, (normal(131, 24), normal(2, 24), None, integers(2, 131)), {}),
    "linear_cross_entropy, by columns": (
        fused.LinearCrossEntropy,
        (normal(131, 24), normal(24, 211).T, normal(211), integers(211, 131)),
        {},
    ),
    "add": (ops.arithmetic.Add, (normal(131, 211), normal(131, 211, seed=1)), {}),
}


def each(*names):
    """Cases whose name begins so; all of them for none."""
    found = {key: case for key, case in CASES.items() if key.startswith(names or ("",))}
    return pytest.mark.parametrize("case", found.values(), ids=found)


def is_real(x):
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def converted(x, dtype):
    """To another dtype, the same in memory."""
    return x.astype(dtype) if is_real(x) else x


def computed(case, change=lambda x: x):
    """The value of an op, and its gradients for a cotangent without a pattern; `change` is done to what goes in."""
    op, arrays, params = case
    arrays = [change(x) for x in arrays]
    params = {key: change(value) for key, value in params.items()}
    out, saved = op.run(arrays, params)
    g = change(normal(*out.shape, seed=9).astype(out.dtype))
    return [out, *(x for x in op.vjp(g, saved, *arrays, **params) if x is not None)]


def assert_close(found, expected, tolerance=5e-6):
    """Entries differ by no more than a share of the largest."""
    assert found.shape == expected.shape
    largest = np.abs(expected).max(initial=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(largest, 1e-30))


@each()
def test_a_kernel_is_the_reference_and_repeats_its_bits(case, setting):
    found, again = computed(case), computed(case)
    for x, y in zip(found, again, strict=True):
        assert x.dtype == np.float32
        assert x.tobytes() == y.tobytes()
    for x, y in zip(found, computed(case, lambda x: converted(x, float)), strict=True):
        assert_close(x, y)


def read_only(x):
    if is_real(x):
        x = x.copy(order="K")
        x.flags.writeable = False
    return x


def with_gaps(x):
    return np.repeat(x, 2, axis=-1)[..., ::2] if is_real(x) and x.ndim else x


@each("linear", "gelu", "layer_norm", "attention, 65", "attention, dropout", "rotary", "cross_entropy", "add")
@pytest.mark.parametrize("change", [read_only, with_gaps, lambda x: converted(x, float)], ids=["read-only", "gaps", "float64"])
def test_arrays_that_compiled_code_does_not_take_give_the_same(case, change, pair):
    before = [x.copy() if is_real(x) else x for x in case[1]]
    expected = computed(case)
    for x, y in zip(computed(case, change), expected, strict=True):
        assert_close(x, y)
    for x, y in zip(case[1], before, strict=True):
        np.testing.assert_array_equal(x, y)


# -- kernels that no op is made of alone


def test_adamw_is_its_formula(setting):
    n = 24_593
    arrays = [normal(n), normal(n, seed=1), normal(n, seed=2), normal(n, seed=3) ** 2]
    found, (p, g, m, v) = [x.copy() for x in arrays], [x.astype(float) for x in arrays]
    about = {"step_size": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "shrink": 0.97, "root": 0.3}
    kernels.adamw(*found, **about, scale=0.5)
    m, v = 0.8 * m + 0.2 * 0.5 * g, 0.95 * v + 0.05 * 0.25 * g * g
    p = 0.97 * p - 0.02 * m / (np.sqrt(v) / 0.3 + 1e-3)
    np.testing.assert_array_equal(found[1], arrays[1])
    for x, y in zip(found, (p, g, m, v), strict=True):
        assert_close(x, y)


def test_sums_and_additions(setting):
    x, b = normal(131, 211), normal(211)
    assert_close(kernels.column_sums(x), x.astype(float).sum(axis=0), 2e-6)
    assert kernels.square_sum(normal(24_593)) == pytest.approx(np.sum(normal(24_593).astype(float) ** 2), rel=1e-6)
    out = x.copy()
    kernels.add_to_rows(out, b)
    np.testing.assert_array_equal(out, x + b)
    same = kernels.add(out, x, out=out)
    assert same is out
    np.testing.assert_array_equal(out, x + b + x)


@pytest.mark.parametrize("part", [1, 64, 70])
def test_attention_with_kept_keys_is_attention(part, pair):
    """Tokens in parts, each seeing what was kept of those before."""
    qkv = normal(2, 150, 45)
    assert_close(with_kept_keys(qkv, 3, part), kernels.causal_attention(qkv.astype(float), 3, None)[0])


# -- what is not a number, and what is large


@each("linear", "gelu", "layer_norm", "softmax", "attention, 65", "attention, 200", "rotary", "cross_entropy", "add")
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf])
def test_a_nan_or_an_infinity_comes_out(case, bad, pair):
    """Where the specification, or for `add` NumPy, has a value or a gradient that is not finite, so has the kernel."""
    op, arrays, params = case
    if op is fused.CausalAttention and bad == np.inf:
        arrays = [np.abs(arrays[0])]  # no score is -inf: of those there is a test below
    exact = getattr(op, "spec", None) or np.add
    with np.errstate(all="ignore"):
        for i, x in enumerate(arrays):
            for place in {x.size // 3, x.size - 1} if is_real(x) and x.size else ():
                ill = [a.copy() if is_real(a) else a for a in arrays]
                ill[i].flat[place] = bad
                found = computed((op, ill, params))
                tensors = [Tensor(a.astype(float), requires_grad=True) if is_real(a) else a for a in ill]
                out = exact(*tensors, **params)
                g = normal(*out.shape, seed=9)
                wanted = [t for t in tensors if isinstance(t, Tensor)]
                expected = [out, *autograd.grad(out, wanted, g)]
                for a, b in zip(found, expected, strict=True):
                    assert np.isfinite(b.data).all() or not np.isfinite(a).all()


@each("gelu", "layer_norm", "softmax", "attention, 65", "rotary", "cross_entropy", "add")
@pytest.mark.parametrize("size", [1e-30, 1e10, 1e18, 1e25])
def test_where_the_reference_has_a_number_so_has_a_kernel(case, size, pair):
    """Squares and scores overflow, or vanish: what compilers make of a sum or of 1 / sqrt must not be NaN where NumPy has 0."""
    op, arrays, params = case
    arrays = [x * np.float32(size) if is_real(x) else x for x in arrays]
    with np.errstate(all="ignore"):
        found = computed((op, arrays, params))
        with pytest.MonkeyPatch.context() as patch:
            use(patch, "numpy", "numpy")
            expected = computed((op, arrays, params))
    for x, y in zip(found, expected, strict=True):
        assert not (np.isfinite(y) & ~np.isfinite(x)).any()


@pytest.mark.parametrize("size", [0, 1e-30, 1e18, 3e19, 1e25])
def test_an_update_whose_squares_overflow_or_vanish(size, pair):
    p, m, v = np.ones(100, np.float32), np.zeros(100, np.float32), np.zeros(100, np.float32)
    with np.errstate(all="ignore"):
        kernels.adamw(p, np.full(100, size, np.float32), m, v, step_size=0.1, betas=(0.9, 0.99), eps=1e-8, shrink=1.0, root=0.1)
    overflows = size**2 > 3.4e38
    np.testing.assert_allclose(v, np.inf if overflows else 0.01 * size**2, rtol=1e-5, atol=1e-40)
    np.testing.assert_allclose(m, 0.1 * size, rtol=1e-5)
    change = 0 if overflows else 0.1 * 0.1 * size / (np.sqrt(float(v[0])) / 0.1 + 1e-8)
    np.testing.assert_allclose(p, 1 - change, rtol=1e-5)


def test_a_nan_reaches_every_sum_and_update(pair):
    x = normal(24_593)
    x[20_000] = np.nan
    assert np.isnan(kernels.square_sum(x))
    assert np.isnan(kernels.column_sums(x[:24_000].reshape(-1, 4))).tolist() == [True, False, False, False]
    p, m, v = np.ones((3, len(x)), np.float32)
    kernels.adamw(p, x, m, v, step_size=0.1, betas=(0.9, 0.9), eps=1e-8, shrink=1.0, root=1.0)
    for array in (p, m, v):
        np.testing.assert_array_equal(np.isnan(array), np.isnan(x))


def test_a_score_of_minus_infinity_shows_nobody_the_future(pair):
    """The first token has one key: where its score overflows there is no answer, and none made of later tokens."""
    qkv = normal(1, 4, 6)
    qkv[0, 0, :4] = 1e20, 1e20, -1e20, -1e20
    with np.errstate(all="ignore"):
        out, _ = kernels.causal_attention(qkv, 1, None)
    assert np.isnan(out[0, 0]).all() or np.array_equal(out[0, 0], qkv[0, 0, 4:])


@pytest.mark.parametrize("size", [30, 1e4, 1e9, 1e20, 3e38])
def test_gelu_of_large_numbers(size, pair):
    x = np.linspace(-size, size, 1001, dtype=np.float32)
    out, saved = kernels.gelu(x)
    slope = kernels.gelu_vjp(np.ones_like(x), saved, x)
    far = np.abs(x) > 10
    np.testing.assert_allclose(out[far], np.maximum(x, 0)[far], atol=1e-6)
    np.testing.assert_allclose(slope[far], x[far] > 0, atol=1e-6)


def test_compiled_exp(compiled):
    x = np.linspace(-60, 60, 40_001, dtype=np.float32)
    found = np.array([compiled.exp(v) for v in x], np.float32)
    np.testing.assert_allclose(found, np.exp(x.astype(float)), rtol=3e-7)
    assert compiled.exp(np.float32(0)) == 1
    below = np.float32([-60.0001, -88, -104, -1e30, -np.inf])
    assert [compiled.exp(v) for v in below] == [0] * 5
    assert np.isnan(compiled.exp(np.float32(np.nan)))


ROWS = [
    *[normal(n) for n in (1, 7, 8, 100)],
    -np.abs(normal(33)),
    np.float32([-np.inf, -3, -np.inf]),
    np.float32([-np.inf] * 9),
    np.float32([1, np.inf, 2]),
    np.float32([-0.0] * 5),
    np.float32([-1e-45, -1e-44]),
    np.float32([1, np.nan, 2]),
    np.float32([np.nan, np.inf]),
    np.float32([3.4e38, -3.4e38]),
]


@pytest.mark.parametrize("row", ROWS)
def test_largest_is_numpys(row, compiled):
    found = np.float32(compiled.largest(row))
    np.testing.assert_array_equal(found, row.max())
    assert np.isnan(found) or np.signbit(found) == np.signbit(row.max())


def test_largest_sees_the_nan_that_processors_make(compiled):
    """inf - inf has its sign bit set."""
    assert np.isnan(compiled.largest(np.float32([1, -np.nan, 2])))


# -- attention sees no future


@pytest.mark.parametrize("known", [1, 63, 64, 65, 129])
def test_later_tokens_change_no_bit_of_what_is_earlier(known, pair):
    qkv = normal(2, 130, 36)
    other = qkv.copy()
    other[:, known:] = 100 * normal(2, 130 - known, 36, seed=1)
    out, saved = kernels.causal_attention(qkv, 3, None)
    changed, _ = kernels.causal_attention(other, 3, None)
    assert out[:, :known].tobytes() == changed[:, :known].tobytes()
    assert (out[:, known:] != changed[:, known:]).all()
    g = normal(*out.shape)
    g[:, known:] = 0
    assert not kernels.causal_attention_vjp(g, saved, qkv, 3, None)[:, known:].any()


# -- threads


def test_a_share_of_work_keeps_what_numpy_was_told(monkeypatch):
    """Training judges itself what is not finite, so nothing warns of it; on other threads neither."""
    use(monkeypatch, "numpy", "numpy")
    x = np.full((200, 8), np.inf, np.float32)
    with pool(2), np.errstate(invalid="ignore"):
        assert np.isnan(kernels.add(x.repeat(500, 0), -x.repeat(500, 0))).all()


# -- memory


@pytest.mark.parametrize("bias", [True, False])
def test_linear_cross_entropy_is_linear_then_cross_entropy(bias, pair):
    h, w, b = normal(131, 24), normal(211, 24), normal(211)
    targets = integers(211, 131)
    whole, parts = ([Tensor(x, requires_grad=True) for x in (h, w, *([b] if bias else []))] for _ in range(2))
    first = ops.cross_entropy(ops.linear(whole[0], whole[1].T, *whole[2:]), targets)
    second = ops.linear_cross_entropy(parts[0], parts[1], parts[2] if bias else None, targets)
    alone = ops.linear_cross_entropy(parts[0], parts[1], parts[2] if bias else None, targets, gradients=False)
    assert alone.item() == second.item() == pytest.approx(first.item(), rel=1e-6)
    for loss in (first, second):
        (0.7 * loss).backward()
    for x, y in zip(whole, parts, strict=True):
        assert_close(y.grad.data, x.grad.data)
    assert kernels.linear_cross_entropy(h, w, b, targets, (False, False, False))[1] == (None, None, None)


def test_the_logits_are_never_all_there(pair, monkeypatch):
    N, V, C = 512, 2000, 16
    monkeypatch.setattr(reference, "LOGITS", 1 << 15)
    h, w, targets = normal(N, C), normal(V, C), integers(V, N)
    kernels.linear_cross_entropy(h, w, None, targets, (True, True, False))
    tracemalloc.start()
    try:
        kernels.linear_cross_entropy(h, w, None, targets, (True, True, False))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * N * V / 4


def test_a_sum_holds_no_content_of_what_was_added(implementation):
    a, b = Tensor(normal(3, 4), requires_grad=True), Tensor(normal(3, 4), requires_grad=True)
    total = a + b
    assert all(isinstance(x, ops.op.Outline) for x in total.node.primals)
    assert [x.shape for x in total.node.primals] == [(3, 4), (3, 4)]
    assert total.node.residuals is None


# -- which implementation runs


def test_every_implementation_has_every_kernel():
    for implementation in kernels.IMPLEMENTATIONS:
        module = kernels.load(implementation)
        assert all(hasattr(module, kernel) for kernel in kernels.KERNELS)
        assert set(getattr(module, "__all__", kernels.KERNELS)) == kernels.KERNELS
    with pytest.raises(AttributeError, match="no attribute 'sofmax'"):
        _ = kernels.sofmax


def python(*arguments, **environment):
    """Run a fresh Python."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env={**os.environ, **environment})


def test_an_unknown_implementation_is_one_clear_error():
    done = python("-m", "gpt2", "bench", "--steps", "1", TINYGRAD2_KERNELS="nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gpt2 bench: error: TINYGRAD2_KERNELS='nonsense': choose from numpy")
    assert done.stderr.count("\n") == 1


def test_numpy_by_name_loads_neither_compiled_kernels_nor_mkl():
    code = "from tinygrad2 import kernels; import sys; print(kernels.running(), 'numba' in sys.modules)"
    done = python("-c", code, TINYGRAD2_KERNELS="numpy")
    assert "'kernels': 'numpy', 'products': 'numpy'" in done.stdout
    assert done.stdout.endswith("False\n")


@pytest.mark.parametrize("code", ["import tinygrad2", "import gpt2.cli; gpt2.cli.main(['--help'])"])
def test_what_takes_long_to_load_waits_until_it_is_needed(code):
    script = f"""
import sys
try:
    {code}
except SystemExit:
    pass
print({{"numba", "llvmlite", "matplotlib"}} & set(sys.modules))
"""
    assert python("-c", script).stdout.endswith("set()\n")
