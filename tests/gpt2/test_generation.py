"""Choosing tokens."""

import numpy as np
import pytest

from gpt2 import GPT2, GPT2Config
from gpt2.errors import ConfigError, DataError
from gpt2.generation import sample

LOGITS = np.log(np.array([[0.5, 0.3, 0.15, 0.05]]))


def shares(**cut):
    settings = {"temperature": 1.0, "top_k": None, "top_p": None, **cut}
    drawn = sample(np.repeat(LOGITS, 20_000, axis=0), rng=np.random.default_rng(0), **settings)
    return np.bincount(drawn, minlength=4) / len(drawn)


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ({}, [0.5, 0.3, 0.15, 0.05]),
        ({"temperature": 0.5}, np.array([0.25, 0.09, 0.0225, 0.0025]) / 0.365),
        ({"top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"top_k": 9}, [0.5, 0.3, 0.15, 0.05]),
        ({"top_p": 0.6}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.5}, [1, 0, 0, 0]),
        ({"top_p": 1.0}, [0.5, 0.3, 0.15, 0.05]),
        ({"top_k": 1}, [1, 0, 0, 0]),
        ({"temperature": 0.0}, [1, 0, 0, 0]),
    ],
)
def test_tokens_are_drawn_as_often_as_they_should(cut, expected):
    np.testing.assert_allclose(shares(**cut), expected, atol=0.01)


@pytest.fixture(scope="module")
def model():
    return GPT2(GPT2Config(vocab_size=11, max_seq_len=6, d_model=8, num_layers=1, num_heads=2, dropout=0.5))


def test_greedy_is_predict_append_repeat(model):
    ids = [1, 2]
    for _ in range(9):  # beyond the context of 6: only the last 6 are seen
        ids.append(int(model.eval()(np.array(ids[-6:])).data[-1].argmax()))
    model.train()
    np.testing.assert_array_equal(model.generate([1, 2], 9), ids)
    assert model.training


def test_shapes_and_seeds(model):
    assert model.generate([[1, 2], [3, 4]], 3, temperature=1.0).shape == (2, 5)
    assert model.generate([1], 0).tolist() == [1]
    a, b, c = (model.generate([1], 30, temperature=1.0, seed=seed).tolist() for seed in (0, 0, 1))
    assert a == b != c


@pytest.mark.parametrize("cut", [{"temperature": -1}, {"temperature": 1, "top_k": 0}, {"temperature": 1, "top_p": 0.0}])
def test_settings_that_leave_nothing(model, cut):
    with pytest.raises(ConfigError, match="must"):
        model.generate([1], 1, **cut)


def test_an_empty_prompt(model):
    with pytest.raises(DataError, match="at least one token"):
        model.generate([], 1)
