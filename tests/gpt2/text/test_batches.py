"""Batches, windows, baselines."""

import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from gpt2.errors import DataError
from gpt2.rng import generator
from gpt2.text import baselines as baselines_module
from gpt2.text import batches
from gpt2.text.baselines import baselines, compressors
from gpt2.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer


def test_split_never_overlaps_and_refuses_what_is_too_short():
    train, val = batches.split(np.arange(100), 0.1, 5)
    np.testing.assert_array_equal(np.concatenate([train, val]), np.arange(100))
    assert len(val) == 10
    with pytest.raises(DataError, match=r"100 tokens, 90 to train on and 10 to validate on; a context of 10"):
        batches.split(np.arange(100), 0.1, 10)
    batches.split(np.arange(100), 0.1, 9)


def test_nanogpts_split(shakespeare):
    text = shakespeare.read_text("utf-8")
    train, val = batches.split(CharTokenizer.train(text).encode(text), 0.1, 64)
    assert (len(train), len(val)) == (1_003_854, 111_540)


def test_batches_are_windows_that_depend_on_seed_and_step_only():
    ids = np.arange(50)
    x, y = batches.batch(ids, 4, 8, seed=1, step=3)
    assert x.shape == y.shape == (4, 8)
    np.testing.assert_array_equal(y, x + 1)
    np.testing.assert_array_equal(batches.batch(ids, 4, 8, 1, 3)[0], x)
    assert (batches.batch(ids, 4, 8, 1, 4)[0] != x).any()
    assert (batches.batch(ids, 4, 8, 2, 3)[0] != x).any()
    starts = {int(x[0]) for step in range(300) for x in batches.batch(ids, 4, 8, 0, step)[0]}
    assert starts == set(range(50 - 8))  # every window, the first and the last too


def test_consecutive_windows_cover_all_but_the_incomplete_end():
    ids = np.arange(33)
    windows = batches.consecutive(ids, 5, 4)
    assert [x.shape[0] for x, _ in windows] == [4, 2]
    np.testing.assert_array_equal(np.concatenate([x.ravel() for x, _ in windows]), np.arange(30))
    np.testing.assert_array_equal(np.concatenate([y.ravel() for _, y in windows]), np.arange(1, 31))


def test_bigram_by_hand():
    train, val = np.array([0, 1, 0, 1, 0, 2]), np.array([0, 1, 1])
    found = baselines(train, val, 3)
    assert found["uniform"] == pytest.approx(math.log(3))
    p_1_after_0, p_1_after_1 = (2 + 1) / (3 + 3), (0 + 1) / (2 + 3)
    assert found["bigram"] == pytest.approx(-(math.log(p_1_after_0) + math.log(p_1_after_1)) / 2)


def by_counting(train, val, vocab_size):
    """The same from a table of all pairs."""
    counts = np.ones((vocab_size, vocab_size))
    np.add.at(counts, (train[:-1], train[1:]), 1)
    after = np.bincount(train[:-1], minlength=vocab_size) + vocab_size
    return -np.mean(np.log(counts[val[:-1], val[1:]] / after[val[:-1]]))


def trigrams_by_the_paper(train, val, vocab_size):
    """Witten & Bell, method C, token by token: (count + different * p of the shorter context) / (total + different)."""
    seen = [Counter(tuple(train[i - n : i + 1]) for i in range(n, len(train))) for n in range(3)]

    def p(context, token):
        if not context:
            return (sum(train[:-1] == token) + 1) / (len(train) - 1 + vocab_size)
        after = [count for key, count in seen[len(context)].items() if key[:-1] == context]
        shorter = p(context[1:], token)
        if not after:
            return shorter
        return (seen[len(context)][*context, token] + len(after) * shorter) / (sum(after) + len(after))

    return -np.mean([math.log(p(tuple(val[max(0, i - 2) : i]), val[i])) for i in range(1, len(val))])


@pytest.mark.parametrize("vocab_size", [3, 9])
def test_trigrams_by_the_paper(rng, vocab_size):
    train, val = (rng.integers(0, vocab_size, n) ** 2 // vocab_size for n in (200, 60))
    expected = trigrams_by_the_paper(train, val, vocab_size)
    assert baselines(train, val, vocab_size)["trigram"] == pytest.approx(expected, rel=1e-12)
    for short in range(2, 4):  # of the text, too
        expected = trigrams_by_the_paper(train[:short], val, vocab_size)
        assert baselines(train[:short], val, vocab_size)["trigram"] == pytest.approx(expected, rel=1e-12)


def test_the_probabilities_of_all_tokens_sum_to_one(rng):
    train, context = rng.integers(0, 7, 150), rng.integers(0, 8, (20, 2))  # one that is in no training text
    found = [baselines(train, np.array([*pair, token]), 8) for pair in context for token in range(8)]
    first = {tuple(pair): baselines(train, np.array(pair), 8)["trigram"] for pair in context}
    for i, pair in enumerate(context):
        total = sum(math.exp(first[tuple(pair)] - 2 * one["trigram"]) for one in found[8 * i : 8 * i + 8])
        assert total == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("vocab_size", [2, 300])  # 300 * 300 is beyond 16 bits
@pytest.mark.parametrize("block", [3, 64, 999, 1000])
def test_bigrams_of_many_tokens_in_blocks(rng, monkeypatch, vocab_size, block):
    monkeypatch.setattr(baselines_module, "BLOCK", block)
    train, val = (rng.integers(0, vocab_size, 1000) ** 2 // vocab_size for _ in range(2))
    expected = by_counting(train, val, vocab_size)
    assert baselines(train.astype(np.uint16), val.astype(np.uint16), vocab_size)["bigram"] == pytest.approx(expected)


def test_of_a_long_text_blocks_all_over_it_are_counted(monkeypatch):
    monkeypatch.setattr(baselines_module, "BLOCK", 10)
    monkeypatch.setattr(baselines_module, "COUNTED", 30)
    train = np.arange(100, dtype=np.uint16)
    counted = np.concatenate([np.arange(a, a + 9) * 100 + np.arange(a + 1, a + 10) for a in (0, 45, 90)])
    for first in range(99):
        seen = first * 100 + first + 1 in counted
        expected = math.log(101 / 2) if seen else math.log(101 if first in counted // 100 else 100)
        assert baselines(train, train[first : first + 2], 100)["bigram"] == pytest.approx(expected)


def test_bigrams_of_a_large_vocabulary_take_little_memory(rng):
    ids = (50256 * rng.random(300_000) ** 3).astype(np.uint16)
    tracemalloc.start()
    try:
        found = baselines(ids[:200_000], ids[200_000:], 50257)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found["uniform"] == pytest.approx(10.8249, abs=1e-4)
    assert 9 < found["bigram"] < found["uniform"]
    assert peak < 30e6  # a table of all pairs would have 10 GB


def test_batches_of_a_file_are_int64_and_only_they_are_read(tmp_path):
    path = tmp_path / "ids.bin"
    with open(path, "wb") as file:
        file.truncate(1 << 36)  # 64 GiB of nothing, which takes no room
    ids = np.memmap(path, np.uint16, "r")
    x, y = batches.batch(ids, 8, 64, 0, 0)
    assert x.dtype == y.dtype == np.int64
    assert type(x) is np.ndarray
    assert x.shape == (8, 64)
    windows = batches.consecutive(ids[: 64 * 1000 + 1], 64, 16)
    assert len(windows) == 63
    assert np.shares_memory(windows[0][0], ids[:64])


def test_streams_are_independent_and_repeatable():
    draws = [generator(*key).random() for key in [(0, "a"), (0, "b"), (1, "a"), (0, "a", 1), (0, "a", 2), (0, "a", 1, 1)]]
    assert len(set(draws)) == len(draws)
    assert generator(0, "a", 1).random() == draws[3]


@pytest.mark.parametrize("count", [0, 5, 999])
def test_sampled_windows_are_a_fixed_choice_in_order(count):
    windows = batches.consecutive(np.arange(200), 8, 10)
    found = batches.sample_windows(windows, count, generator(0, "evaluation"))
    starts = [int(row[0]) for inputs, _ in found for row in inputs]
    assert starts == sorted(set(starts))
    assert len(starts) == {0: 24, 5: 5, 999: 24}[count]
    assert all((targets == inputs + 1).all() for inputs, targets in found)
    again = batches.sample_windows(windows, count, generator(0, "evaluation"))
    assert starts == [int(row[0]) for inputs, _ in again for row in inputs]


@pytest.mark.parametrize(("away", "gzip"), [(20_000, 0), (50_000, 6)])
def test_a_compressor_knows_the_training_text_as_far_back_as_it_looks(rng, away, gzip):
    """One of 64 letters by chance costs 6 bits, and next to nothing where the same have been before."""
    pytest.importorskip("lzma")
    tokenizer = CharTokenizer.train("".join(map(chr, range(48, 112))))
    train = rng.integers(0, 64, 100_000)

    def bits(val):
        return {name: nats / math.log(2) for name, nats in compressors(train, val, tokenizer).items()}

    assert bits(rng.integers(0, 64, 2000)) == pytest.approx({"gzip": 6, "xz": 6}, abs=0.4)
    assert bits(train[-away:][:2000]) == pytest.approx({"gzip": gzip, "xz": 0}, abs=0.4)


def test_a_compressor_is_measured_on_text_alone_and_on_enough_of_it(rng):
    """Ends of documents cost nothing; on a few bytes a compressor says nothing."""
    tokenizer = ByteTokenizer()
    letters = rng.integers(48, 112, 6000)
    ends = np.insert(letters, np.arange(0, 6000, 3), tokenizer.end_of_text)
    plain, mixed = (compressors(letters[:100], val, tokenizer) for val in (letters, ends))
    assert mixed == pytest.approx({name: nats * 6000 / 8000 for name, nats in plain.items()})
    assert compressors(letters, letters[:999], tokenizer) == {}
    assert {*compressors(letters, letters[:1000], tokenizer)} >= {"gzip"}
    assert tokenizer.text_of(ends[:9]) == bytes(letters[:6].tolist())


def test_a_compressor_gets_only_a_part_of_a_long_text(rng, monkeypatch):
    """The end of what trains, and the beginning of what validates; in tokens of any length."""
    pytest.importorskip("lzma")
    words = [f" {''.join(word)}" for word in rng.choice(list("abcdefghij"), (64, 7))]
    text = "".join(rng.choice(words, 4000))
    tokenizer = BPETokenizer.train([text], 1000)
    ids = tokenizer.encode(text)
    assert len(ids) == 4000  # each a word of 8 bytes, which costs 6 bits

    def bits(train, val):
        return {name: nats / math.log(2) for name, nats in compressors(train, val, tokenizer).items()}

    assert bits(ids[:2000], ids[2000:]) == pytest.approx({"gzip": 12, "xz": 10}, abs=3)
    monkeypatch.setattr(baselines_module, "COMPRESSED", 2000)
    assert bits(ids[:2000], ids[2000:]) == pytest.approx({"gzip": 12, "xz": 10}, abs=3)
    monkeypatch.setattr(baselines_module, "LOOKED_BACK", 8000)
    assert bits(ids[:2000], ids[:1000])["xz"] > 5  # the same stands too far back
    assert bits(ids[:2000], ids[1000:])["xz"] < 2
