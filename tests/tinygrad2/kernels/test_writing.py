"""What writing consists of: a few rows times int8 or float32 rows, attention to kept keys, and a block for a few tokens."""

import numpy as np
import pytest
from kernel_settings import PAIRS, SETTINGS, name, use, with_kept_keys

from tinygrad2 import kernels
from tinygrad2.kernels import reference
from tinygrad2.kernels.fast.threads import pool


@pytest.fixture(params=SETTINGS, ids=name)
def setting(request, monkeypatch):
    """Runs a test in every setting, with so few entries dequantised at once that there are several parts."""
    implementation, library, threads = request.param
    use(monkeypatch, implementation, library)
    monkeypatch.setattr(reference, "DEQUANTISED", 200)
    with pool(threads):
        yield request.param


@pytest.fixture(params=PAIRS, ids=name)
def pair(request, monkeypatch):
    use(monkeypatch, *request.param)
    with pool(2):
        yield request.param


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def codes(*shape):
    return np.random.default_rng(shape).integers(-127, 128, shape, np.int8)


def scales(n):
    return (abs(normal(n)) + 0.1).astype(np.float32) / 100


SHAPES = [(1, 1, 1), (1, 64, 768), (1, 97, 13), (3, 70, 8), (3, 33, 31), (8, 5, 100), (9, 66, 40), (40, 131, 24)]
"""Rows of x, outputs, and terms of each sum."""


@pytest.mark.parametrize(("M", "N", "K"), SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_scaled_rows_are_the_product_with_what_they_stand_for(setting, M, N, K, bias):
    x, w, scale, b = normal(M, K), codes(N, K), scales(N), normal(N) if bias else None
    exact = x.astype(float) @ (w.astype(float) * scale[:, None].astype(float)).T + (0 if b is None else b)
    found = kernels.scaled_linear(x, w, scale, b)
    assert found.dtype == np.float32
    size = abs(x).astype(float) @ abs(w * scale[:, None]).T + 1
    assert (abs(found - exact) / size).max() < 1e-6
    np.testing.assert_array_equal(kernels.scaled_linear(x, w, scale, b), found)


@pytest.mark.parametrize(("M", "N", "K"), SHAPES)
def test_few_rows_times_float32_rows(setting, M, N, K):
    x, w, b = normal(M, K), normal(N, K), normal(N)
    exact = x.astype(float) @ w.T.astype(float) + b
    size = abs(x).astype(float) @ abs(w).T + 1
    assert (abs(kernels.linear(x, w.T, b)[0] - exact) / size).max() < 1e-6


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3)])
def test_nothing(setting, shape):
    M, N, K = shape
    b = normal(N)
    found = kernels.scaled_linear(np.zeros((M, K), np.float32), np.zeros((N, K), np.int8), scales(N), b)
    np.testing.assert_array_equal(found, np.broadcast_to(b, (M, N)))


def test_more_axes_and_float64(setting):
    x, w, scale, b = normal(2, 3, 24), codes(7, 24), scales(7), normal(7)
    found = kernels.scaled_linear(x, w, scale, b)
    assert found.shape == (2, 3, 7)
    wide = kernels.scaled_linear(x.astype(float), w, scale, b)
    assert wide.dtype == np.float64
    np.testing.assert_allclose(found, wide, rtol=1e-5, atol=1e-5)


def test_rows_do_not_depend_on_those_beside_them(setting):
    """A sample is the same alone and among others, as far as they are few."""
    x, w, scale = normal(8, 100), codes(77, 100), scales(77)
    together = kernels.scaled_linear(x, w, scale, None)
    alone = np.concatenate([kernels.scaled_linear(row[None], w, scale, None) for row in x])
    np.testing.assert_allclose(together, alone, rtol=0, atol=0 if setting[0] == "numba" else 1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_comes_out(setting, bad):
    x = normal(2, 24)
    x[1, 3] = bad
    with np.errstate(invalid="ignore"):
        found = kernels.scaled_linear(x, codes(45, 24), scales(45), None)
    assert np.isfinite(found[0]).all()
    assert not np.isfinite(found[1][codes(45, 24)[:, 3] != 0]).any()


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("kind", ["int8", "float32", "mixed", "no biases"])
@pytest.mark.parametrize(("B", "T"), [(1, 1), (2, 3), (3, 5)])
def test_a_block_is_the_composition_of_its_ops_in_float64(pair, B, T, kind, read_only):
    C, H, D, past, room = 24, 3, 40, 5, 12
    norms = [normal(C, seed=i) for i in range(4)]
    layers, exact = [], []
    for i, (n, k) in enumerate([(3 * C, C), (C, C), (D, C), (C, D)]):
        b = None if kind == "no biases" else normal(n, seed=i)
        is_int8 = kind == "int8" or (kind == "mixed" and i % 2)
        layers.append((codes(n, k), scales(n), b) if is_int8 else (normal(n, k), None, b))
        w, scale, _ = layers[-1]
        exact.append((w * (1.0 if scale is None else scale[:, None].astype(float)), None, np.zeros(n) if b is None else b))
    x, keys, values = normal(B, T, C), *normal(2, B, H, room, C // H)
    if read_only:
        for array in (x, *norms, *(part for layer in layers for part in layer if part is not None)):
            array.flags.writeable = False
    exact_keys, exact_values, before = keys.astype(float), values.astype(float), x.copy()
    expected = _block(x.astype(float), [n.astype(float) for n in norms], exact, exact_keys, exact_values, past)
    found = kernels.block(x, norms, 1e-5, layers, keys, values, past)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * abs(expected).max())
    np.testing.assert_allclose(keys, exact_keys, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(values, exact_values, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(x, before)


def _block(x, norms, layers, keys, values, past):
    """The same, written out."""

    def normed(x, gain, bias):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gain + bias

    def through(x, w, _, b):
        return x @ w.T + b

    (B, T, C), H = x.shape, keys.shape[1]
    q, k, v = np.moveaxis(through(normed(x, *norms[:2]), *layers[0]).reshape(B, T, 3, H, C // H), (2, 3), (0, 2))
    keys[:, :, past : past + T], values[:, :, past : past + T] = k, v
    scores = q @ keys[:, :, : past + T].swapaxes(-1, -2) / np.sqrt(C // H)
    scores = np.where(np.arange(past + T) <= np.arange(past, past + T)[:, None], scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    heads = (p / p.sum(-1, keepdims=True)) @ values[:, :, : past + T]
    x = x + through(heads.swapaxes(1, 2).reshape(B, T, C), *layers[1])
    h = through(normed(x, *norms[2:]), *layers[2])
    gelu = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
    return x + through(gelu, *layers[3])


@pytest.mark.parametrize("part", [1, 3, 8])
def test_attention_of_few_positions_with_kept_keys(pair, part):
    qkv = normal(1, 24, 45)
    expected = reference.causal_attention(qkv.astype(float), 3, None)[0]
    np.testing.assert_allclose(with_kept_keys(qkv, 3, part), expected, atol=1e-6)


def test_keys_that_may_not_be_written(pair):
    keys, values = np.zeros((2, 1, 3, 9, 5), np.float32)
    keys.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        kernels.cached_attention(normal(1, 1, 45), keys, values, 2)
