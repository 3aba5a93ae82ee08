"""Layers against plain NumPy, finite differences, and the distributions their weights start from."""

import numpy as np
import pytest

from tinygrad2 import Tensor, gradcheck, nn
from tinygrad2.errors import ShapeError


def test_linear_and_embedding_and_layer_norm(rng):
    x = rng.standard_normal((2, 5, 3))
    linear = nn.Linear(3, 4, rng=rng, dtype=np.float64)
    np.testing.assert_allclose(linear(Tensor(x)).data, x @ linear.weight.data + linear.bias.data)
    table = nn.Embedding(7, 3, rng=rng)
    np.testing.assert_array_equal(table([[0, 6]]).data, table.weight.data[[[0, 6]]])
    norm = nn.LayerNorm(3, bias=False, dtype=np.float64)
    y = norm(Tensor(x)).data
    np.testing.assert_allclose(y.mean(-1), 0, atol=1e-12)
    np.testing.assert_allclose((y**2).mean(-1), x.var(-1) / (x.var(-1) + 1e-5))


def test_attention_by_the_book(rng):
    """Head by head and position by position, as the formulas say."""
    C, H, T = 6, 2, 4
    attention = nn.MultiHeadAttention(C, H, rng=rng, dtype=np.float64)
    x = rng.standard_normal((T, C))
    q, k, v = np.split(x @ attention.c_attn.weight.data + attention.c_attn.bias.data, 3, axis=-1)
    heads = np.zeros((T, C))
    for h in range(H):
        part = slice(h * C // H, (h + 1) * C // H)
        for t in range(T):
            scores = q[t, part] @ k[: t + 1, part].T / np.sqrt(C // H)
            weights = np.exp(scores) / np.exp(scores).sum()
            heads[t, part] = weights @ v[: t + 1, part]
    expected = heads @ attention.c_proj.weight.data + attention.c_proj.bias.data
    np.testing.assert_allclose(attention(Tensor(x)).data, expected, rtol=1e-12)
    np.testing.assert_allclose(attention(Tensor(x[None]))[0].data, expected, rtol=1e-12)


def test_feed_forward_by_the_book(rng):
    mlp = nn.FeedForward(3, 12, rng=rng, dtype=np.float64)
    x = rng.standard_normal((2, 3))
    h = x @ mlp.c_fc.weight.data + mlp.c_fc.bias.data
    h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
    np.testing.assert_allclose(mlp(Tensor(x)).data, h @ mlp.c_proj.weight.data + mlp.c_proj.bias.data, rtol=1e-12)


@pytest.mark.parametrize(
    "layer",
    [nn.MultiHeadAttention(4, 2, dtype=np.float64), nn.FeedForward(4, 5, dtype=np.float64), nn.LayerNorm(4, dtype=np.float64)],
    ids=lambda layer: type(layer).__name__,
)
def test_gradients_of_every_parameter(layer, rng):
    x = Tensor(rng.standard_normal((2, 3, 4)), requires_grad=True)
    weights = rng.standard_normal((2, 3, 4))
    gradcheck(lambda *_: np.sum(layer(x) * weights), [x, *layer.parameters()]).assert_right()


def test_heads_must_divide_the_width():
    with pytest.raises(ShapeError, match="d_model 10 is not divisible by num_heads 3"):
        nn.MultiHeadAttention(10, 3)


def test_xavier_uniform_fills_its_interval():
    limit = np.sqrt(6 / (300 + 500))
    w = nn.init.xavier_uniform((300, 500), np.random.default_rng(0))
    assert w.dtype == np.float32
    assert np.abs(w).max() <= limit
    assert np.abs(w).max() > 0.999 * limit
    assert w.mean() == pytest.approx(0, abs=1e-3)
    assert w.std() == pytest.approx(limit / np.sqrt(3), rel=0.01)
    q = nn.MultiHeadAttention(100, 2, rng=np.random.default_rng(0)).c_attn.weight.data
    assert np.abs(q).max() == pytest.approx(np.sqrt(6 / 200), rel=1e-3)  # Wq, Wk, Wv: three square matrices


def test_normal_has_its_deviation():
    w = nn.init.normal((300, 500), 0.02, np.random.default_rng(0), np.float64)
    assert w.std() == pytest.approx(0.02, rel=0.01)
    assert abs(w.mean()) < 1e-3


def test_shapes_only_allocates_nothing():
    with nn.init.shapes_only():
        big = nn.Linear(1_000_000, 1_000_000)
    assert big.weight.shape == (1_000_000, 1_000_000)
    assert big.weight.data.strides == (0, 0)
    assert nn.Linear(2, 2).weight.data.strides != (0, 0)


def test_dropout_acts_in_training_only_and_is_repeatable():
    layer, x = nn.Dropout(0.5), Tensor(np.ones((4, 50)))
    with nn.dropout_rng(np.random.default_rng(7)):
        first, second = layer(x).data, layer(x).data
    with nn.dropout_rng(np.random.default_rng(7)):
        again = layer(x).data
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()
    assert (first == 0).any()
    np.testing.assert_array_equal(layer.eval()(x).data, x.data)


def test_dropout_inside_attention_changes_the_result():
    attention, x = nn.MultiHeadAttention(4, 2, dropout=0.5), Tensor(np.ones((1, 6, 4), np.float32))
    with nn.dropout_rng(np.random.default_rng(0)):
        first = attention(x).data
        assert (attention(x).data != first).any()
    assert attention(x).dtype == np.float32
    np.testing.assert_array_equal(attention.eval()(x).data, attention(x).data)
