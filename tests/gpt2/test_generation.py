"""Choosing tokens, and writing with and without a cache."""

import numpy as np
import pytest

from gpt2 import GPT2, GPT2Config
from gpt2.errors import ConfigError, DataError, NonFiniteError
from gpt2.generation import Sampling, TextStream, draw, steps
from gpt2.tokenizers import ByteTokenizer, CharTokenizer
from tinygrad2 import Tensor, no_grad
from tinygrad2.errors import GraphError, ShapeError

LOGITS = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))


def probabilities(logits=LOGITS, seen=(), **settings):
    return Sampling(**{"temperature": 1.0, **settings}).probabilities(logits, np.array(seen, int))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.5, 0.3, 0.15, 0.05]),
        ({"temperature": 0.5}, np.array([0.25, 0.09, 0.0225, 0.0025]) / 0.365),
        ({"top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"top_k": 9}, [0.5, 0.3, 0.15, 0.05]),
        ({"top_p": 0.6}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.4}, [1, 0, 0, 0]),
        ({"top_p": 1.0}, [0.5, 0.3, 0.15, 0.05]),
        ({"top_k": 2, "top_p": 0.62}, [1, 0, 0, 0]),  # the nucleus is taken of what top-k left: 0.625
        ({"min_p": 0.25}, np.array([0.5, 0.3, 0.15, 0]) / 0.95),
        ({"min_p": 1.0}, [1, 0, 0, 0]),
        ({"top_k": 1}, [1, 0, 0, 0]),
        ({"temperature": 0.0}, [1, 0, 0, 0]),
    ],
)
def test_what_is_left_to_draw_from(settings, expected):
    np.testing.assert_allclose(probabilities(**settings), expected, rtol=1e-6)


def test_of_equally_likely_tokens_no_more_are_kept_than_asked_for():
    assert probabilities(np.zeros(8), top_k=3).tolist() == [1 / 3] * 3 + [0] * 5
    assert np.count_nonzero(probabilities(np.zeros(8), top_p=0.5)) in (4, 5)


def test_repetition_penalty_divides_positive_logits_and_multiplies_negative_ones():
    p = probabilities(np.array([2.0, 2.0, -1.0, -1.0]), seen=[0, 2, 2], repetition_penalty=2.0)
    np.testing.assert_allclose(p, np.exp([1, 2, -2, -1]) / np.exp([1, 2, -2, -1]).sum())


@pytest.mark.oracle
def test_cuts_are_those_of_transformers(torch, rng):
    pytest.importorskip("transformers", reason="pip install -e '.[oracle]'")
    from transformers import LogitsProcessorList
    from transformers.generation import logits_process as theirs

    for trial in range(200):
        logits = rng.normal(0, 3, 50).astype(np.float32)
        seen = rng.integers(0, 50, 7)
        k, p, m, penalty, t = int(rng.integers(1, 60)), rng.uniform(0.05, 1), rng.uniform(0, 0.3), rng.uniform(0.7, 2), 0.7
        process = LogitsProcessorList(
            [
                theirs.RepetitionPenaltyLogitsProcessor(penalty),
                theirs.TemperatureLogitsWarper(t),
                theirs.TopKLogitsWarper(k),
                theirs.TopPLogitsWarper(p),
                theirs.MinPLogitsWarper(m),
            ]
        )
        scores = process(torch.tensor(seen)[None], torch.tensor(logits)[None])
        expected = torch.softmax(scores, -1)[0].numpy()
        ours = probabilities(logits, seen, temperature=t, top_k=k, top_p=p, min_p=m, repetition_penalty=penalty)
        np.testing.assert_allclose(ours, expected, atol=1e-5, err_msg=f"trial {trial}")


def test_tokens_are_drawn_as_often_as_they_should(rng):
    p = np.array([0, 0.5, 0.3, 0, 0.2, 0])
    drawn = np.bincount([draw(p, rng) for _ in range(20_000)], minlength=6) / 20_000
    np.testing.assert_allclose(drawn, p, atol=0.015)
    assert drawn[[0, 3, 5]].sum() == 0


class Fixed:
    """A random generator that returns what it is told."""

    def __init__(self, value):
        self.random = lambda: value


@pytest.mark.parametrize(("u", "token"), [(0.0, 1), (1 - 2**-53, 2)])
def test_the_ends_of_the_unit_interval_never_draw_what_was_cut(u, token):
    assert draw(np.array([0, 0.1, 0.9, 0]), Fixed(u)) == token


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"temperature": float("inf")},
        {"top_k": -3},
        {"top_k": 2.5},
        {"top_k": "3"},
        {"temperature": None},
        {"temperature": "1"},
        {"temperature": True},
        {"top_p": [0.5]},
        {"top_p": -0.5},
        {"top_p": 1.5},
        {"top_p": float("nan")},
        {"min_p": 1.5},
        {"repetition_penalty": 0},
        {"vocab_size": 0},
    ],
)
def test_settings_that_leave_nothing(settings):
    with pytest.raises(ConfigError, match=f"{next(iter(settings))} = .* must"):
        Sampling(**settings)


@pytest.mark.parametrize("top_p", [np.nextafter(1, 0), 1 - 1e-12, 0.9999999, np.nextafter(0, 1)])
@pytest.mark.parametrize("tokens", [1, 3, 1000])
def test_a_nucleus_of_nearly_all_or_nearly_nothing(top_p, tokens, rng):
    """Rounding may leave the sum of all probabilities below such a P: then all are kept."""
    for _ in range(50):
        logits = rng.normal(0, 3, tokens)
        p = probabilities(logits, top_p=top_p)
        assert p.sum() == pytest.approx(1)
        plain = probabilities(logits)
        falling = np.sort(plain)[::-1]
        least = next((n for n in range(1, tokens + 1) if np.cumsum(falling)[n - 1] >= top_p), tokens)
        assert np.count_nonzero(p) == least


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 5e-324},
        {"temperature": 1e-300},
        {"temperature": 1.7e308},
        {"repetition_penalty": 1e-320},
        {"repetition_penalty": 1e308},
        {"top_k": 10**9},
        {"min_p": 0.0},
        {"temperature": 5e-324, "repetition_penalty": 1e-320, "top_k": 2, "top_p": 0.5, "min_p": 0.5},
    ],
)
@pytest.mark.parametrize("logits", [LOGITS, [3e38, -3e38, 0, 1], [0, 0, 0, 0]])
def test_settings_at_the_ends_of_what_they_can_be(settings, logits):
    p = probabilities(np.array(logits, np.float32), seen=[0, 1], **settings)
    assert np.isfinite(p).all()
    assert p.sum() == pytest.approx(1)


def test_of_a_model_with_more_ids_than_the_tokenizer_only_tokens_are_chosen():
    """Whatever else is asked for, and as if the others were not there."""
    logits = np.array([0.1, 1.0, 0.5, 9.0, 8.0])
    for settings in ({}, {"temperature": 0.0}, {"top_k": 1}, {"top_k": 4}, {"top_p": 0.7}, {"min_p": 0.9}):
        expected = probabilities(logits[:3], seen=[1], repetition_penalty=1.5, **settings)
        found = probabilities(logits, seen=[1, 4], repetition_penalty=1.5, vocab_size=3, **settings)
        np.testing.assert_allclose(found, [*expected, 0, 0], atol=1e-12)
    np.testing.assert_array_equal(probabilities(logits, vocab_size=5), probabilities(logits))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers(value):
    for settings in ({}, {"temperature": 0.0}, {"vocab_size": 3}):
        with pytest.raises(NonFiniteError, match="not finite numbers"):
            probabilities(np.array([0, 1, value, 2]), **settings)


# -- writing


@pytest.fixture(scope="module")
def model():
    model = GPT2(GPT2Config(vocab_size=11, max_seq_len=12, d_model=16, num_layers=2, num_heads=4, dropout=0.5, init="gpt2"))
    for p in model.parameters():  # far from uniform predictions
        p.data = p.data * 4
    return model


def test_greedy_is_predict_append_repeat(model):
    ids = [1, 2]
    with model.evaluating():
        for _ in range(30):  # beyond the context of 12: only the last 12 are seen
            ids.append(int(model(np.array(ids[-12:])).data[-1].argmax()))
    for use_cache in (True, False):
        np.testing.assert_array_equal(model.generate([1, 2], 30, use_cache=use_cache), ids)
    assert model.training


@pytest.mark.parametrize("chunks", [[12], [1] * 12, [5, 1, 1, 5], [1, 11], [3, 9]])
def test_a_cache_changes_no_logits(model, rng, chunks):
    ids = rng.integers(0, 11, (3, 12))
    with model.evaluating(), no_grad():
        expected = model(ids).data
        cache, at = model.new_cache(3), 0
        for size in chunks:
            at += size
            found = model.next_logits(ids[:, at - size : at], cache).data
            np.testing.assert_allclose(found, expected[:, at - 1], atol=1e-5)


def test_long_prompts_go_through_a_cache_in_blocks(rng):
    model = GPT2(GPT2Config(vocab_size=11, max_seq_len=200, d_model=8, num_layers=1, num_heads=2)).eval()
    ids = rng.integers(0, 11, (2, 200))
    with no_grad():
        cache = model.new_cache(2)
        first = model.hidden(ids[:, :50], cache).data
        rest = model.hidden(ids[:, 50:], cache).data
        np.testing.assert_allclose(np.concatenate([first, rest], 1), model.hidden(ids).data, atol=1e-5)


def test_cached_and_uncached_draw_the_same(model):
    for seed in range(5):
        settings = {"temperature": 1.0, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.2, "seed": seed, "slide": 4}
        one, other = (model.generate([1, 2, 3], 40, use_cache=cache, **settings).tolist() for cache in (True, False))
        assert one == other


@pytest.mark.parametrize("count", [2, 5, 9])
def test_a_batch_is_its_single_runs(model, rng, count):
    prompts = rng.integers(0, 11, (count, 4))
    together = model.generate(prompts, 20, temperature=1.0, seed=7)
    for i, prompt in enumerate(prompts):
        np.testing.assert_array_equal(together[i], model.generate(prompt, 20, temperature=1.0, seed=7 + i))


def test_sliding_forgets_as_many_tokens_as_asked(model):
    """With slide 4 the model sees, one after another, windows of 12, 9, 10, 11, 12, 9... tokens."""
    ids = [*range(11), 0]
    seen = 12
    with model.evaluating():
        for _ in range(9):
            ids.append(int(model(np.array(ids[-seen:])).data[-1].argmax()))
            seen = seen + 1 if seen < 12 else 9
    assert model.generate(ids[:12], 9, slide=4).tolist() == ids


def test_shapes_and_seeds(model):
    assert model.generate([[1, 2], [3, 4]], 3, temperature=1.0).shape == (2, 5)
    assert model.generate([1], 0).tolist() == [1]
    a, b, c = (model.generate([1], 30, temperature=1.0, seed=seed).tolist() for seed in (0, 0, 1))
    assert a == b != c


@pytest.mark.parametrize("ids", [[], [[]], 3, [0.5], [[[1]]]])
def test_a_prompt_that_is_none(model, ids):
    with pytest.raises(DataError, match="give integers"):
        model.generate(ids, 1)


@pytest.mark.parametrize("settings", [{"max_new_tokens": -1}, {"slide": 0}, {"seed": -1}])
def test_counts_below_their_least(model, settings):
    with pytest.raises(ConfigError, match=f"{next(iter(settings))} = .* must be at least"):
        model.generate([1], **{"max_new_tokens": 1, **settings})


@pytest.mark.parametrize("name", ["max_new_tokens", "slide", "seed"])
@pytest.mark.parametrize("value", [1.5, "1", None, True])
def test_counts_that_are_none(model, name, value):
    with pytest.raises(ConfigError, match=f"{name} = .* must be int"):
        model.generate([1], **{"max_new_tokens": 1, name: value})


def test_numbers_of_numpy_are_numbers(model):
    given = {"max_new_tokens": 5, "seed": 3, "slide": 2, "top_k": 4, "temperature": 1, "top_p": 0.5}
    theirs = {name: np.float32(value) if name in ("temperature", "top_p") else np.int64(value) for name, value in given.items()}
    np.testing.assert_array_equal(model.generate([1], **theirs), model.generate([1], **given))


def test_a_step_shows_what_it_was_chosen_from(model):
    step = next(steps(model, np.array([[1, 2]]), 1, Sampling(temperature=1.0, top_k=3)))
    assert step.logits.shape == step.p.shape == (1, 11)
    assert np.count_nonzero(step.p) == 3
    assert step.p[0, step.tokens[0]] > 0


def test_a_cache_refuses_what_it_cannot_hold_or_differentiate(model):
    cache = model.new_cache(1)
    with no_grad():
        model.next_logits(np.zeros((1, 10), int), cache)
    with pytest.raises(DataError, match=r"\(1, 5\) after 10 tokens"):
        model.next_logits(np.zeros((1, 5), int), cache)
    with pytest.raises(GraphError, match="no_grad"):
        model.next_logits(np.zeros((1, 3), int), model.new_cache(1))
    with pytest.raises(ShapeError, match="for 1 sequences"):
        model.new_cache(1)[0].attend(Tensor(np.zeros((2, 3, 48), np.float32)))


# -- text


def test_text_appears_only_when_it_is_whole_characters():
    tokenizer = ByteTokenizer()
    text = TextStream(tokenizer)
    out = [text.feed(int(i)) for i in tokenizer.encode("aé€😀b")]
    assert out == ["a", "", "é", "", "", "€", "", "", "", "😀", "b"]
    assert text.finish() == ""


def test_half_a_character_at_the_end_is_marked():
    text = TextStream(ByteTokenizer())
    assert text.feed(0xE2) + text.finish() == "\ufffd"


def test_stop_strings_end_the_text_and_are_held_back_while_they_may_come():
    tokenizer = CharTokenizer.train("abcdx")
    text = TextStream(tokenizer, ["abcd", "bx", ""])
    out = [text.feed(int(i)) for i in tokenizer.encode("xabcabx")]
    assert out == ["x", "", "", "", "abc", "", "a"]  # "ab" is held until "x" shows that "bx", not "abcd", came
    assert text.stopped
    assert text.feed(0) == ""


def test_end_of_text_ends_the_text():
    tokenizer = ByteTokenizer()
    text = TextStream(tokenizer)
    assert text.feed(65) + text.feed(tokenizer.end_of_text) == "A"
    assert text.stopped
