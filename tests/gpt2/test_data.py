"""Corpora, batches, baselines."""

import math

import numpy as np
import pytest

from gpt2 import data
from gpt2.baselines import baselines
from gpt2.corpora import load_corpus
from gpt2.errors import DataError
from gpt2.streams import stream
from gpt2.tokenizers import CharTokenizer


def test_the_embedded_corpus_is_real_text():
    corpus = load_corpus("pydocs")
    assert len(corpus.text) > 300_000
    assert "statement" in corpus.text
    assert len(corpus.sha256) == 64


def test_a_file_is_read_as_utf8_with_unix_newlines(tmp_path):
    path = tmp_path / "my.txt"
    path.write_bytes("\ufeffhé\r\nho".encode())
    corpus = load_corpus(str(path))
    assert (corpus.name, corpus.text) == ("my", "hé\nho")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file, nor a corpus of that name"),
        (b"", "the file is empty"),
        (b"abc\xff", "not UTF-8 text .byte 0xff at offset 3."),
        (b"abc\0def", "a binary file .a zero byte at offset 3."),
    ],
)
def test_files_that_hold_no_text(tmp_path, content, message):
    path = tmp_path / "x.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        print(load_corpus(str(path)).characters)


def test_a_folder_without_text(tmp_path):
    with pytest.raises(DataError, match="the folder holds no text"):
        load_corpus(str(tmp_path))


def test_split_never_overlaps_and_refuses_what_is_too_short():
    train, val = data.split(np.arange(100), 0.1, 5)
    np.testing.assert_array_equal(np.concatenate([train, val]), np.arange(100))
    assert len(val) == 10
    with pytest.raises(DataError, match=r"100 tokens: 90 to train on and 10 to validate on; a context of 10"):
        data.split(np.arange(100), 0.1, 10)
    data.split(np.arange(100), 0.1, 9)


def test_nanogpts_split(shakespeare):
    text = shakespeare.read_text("utf-8")
    train, val = data.split(CharTokenizer.train(text).encode(text), 0.1, 64)
    assert (len(train), len(val)) == (1_003_854, 111_540)


def test_batches_are_windows_that_depend_on_seed_and_step_only():
    ids = np.arange(50)
    x, y = data.batch(ids, 4, 8, seed=1, step=3)
    assert x.shape == y.shape == (4, 8)
    np.testing.assert_array_equal(y, x + 1)
    np.testing.assert_array_equal(data.batch(ids, 4, 8, 1, 3)[0], x)
    assert (data.batch(ids, 4, 8, 1, 4)[0] != x).any()
    assert (data.batch(ids, 4, 8, 2, 3)[0] != x).any()
    starts = {int(x[0]) for step in range(300) for x in data.batch(ids, 4, 8, 0, step)[0]}
    assert starts == set(range(50 - 8))  # every window, the first and the last too


def test_consecutive_windows_cover_all_but_the_incomplete_end():
    ids = np.arange(33)
    batches = data.consecutive(ids, 5, 4)
    assert [x.shape[0] for x, _ in batches] == [4, 2]
    np.testing.assert_array_equal(np.concatenate([x.ravel() for x, _ in batches]), np.arange(30))
    np.testing.assert_array_equal(np.concatenate([y.ravel() for _, y in batches]), np.arange(1, 31))


def test_bigram_by_hand():
    train, val = np.array([0, 1, 0, 1, 0, 2]), np.array([0, 1, 1])
    found = baselines(train, val, 3)
    assert found["uniform"] == pytest.approx(math.log(3))
    p_1_after_0, p_1_after_1 = (2 + 1) / (3 + 3), (0 + 1) / (2 + 3)
    assert found["bigram"] == pytest.approx(-(math.log(p_1_after_0) + math.log(p_1_after_1)) / 2)


def test_streams_are_independent_and_repeatable():
    draws = [stream(*key).random() for key in [(0, "a"), (0, "b"), (1, "a"), (0, "a", 1), (0, "a", 2), (0, "a", 1, 1)]]
    assert len(set(draws)) == len(draws)
    assert stream(0, "a", 1).random() == draws[3]
