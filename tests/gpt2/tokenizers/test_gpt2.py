"""GPT-2's own tokenizer: the ids of tiktoken and of Hugging Face, from the same files.

1,000 random texts by default; `RANDOM_TEXTS=100000 pytest tests/gpt2/tokenizers/test_gpt2.py` for more.
"""

import os
import random
import time

import numpy as np
import pytest

from gpt2.errors import DataError
from gpt2.text.corpora import pydocs
from gpt2.tokenizers import words as cutting

pytestmark = pytest.mark.oracle

EVERY_CHARACTER = [chr(i) for i in range(0x110000) if not 0xD800 <= i <= 0xDFFF]
PARTS = [  # where the pattern has something to decide
    *[
        "'s",
        "'t",
        "'re",
        "'ve",
        "'m",
        "'ll",
        "'d",
        "'",
        "’s",
        "'S",
        " ",
        "  ",
        "   ",
        "\n",
        "\n\n",
        "\t",
        "\r\n",
        "\x1c",
        "\x85",
    ],
    *[
        "\xa0",
        "\u2028",
        "\u3000",
        "\u180e",
        "\u200b",
        "\ufeff",
        "a",
        "Z",
        "é",
        "e\u0301",
        "ß",
        "the",
        " the",
        "Hello",
        "日本",
        "ا",
    ],
    *[
        "0",
        "12",
        "²",
        "Ⅷ",
        "٣",
        "१",
        "𝟙",
        "!",
        "...",
        "_",
        "-",
        "€",
        "😀",
        "👨‍👩‍👧",
        "🇫🇷",
        "\U00010400",
        "𐐀𐐨",
        "\U0010ffff",
        "\0",
    ],
    *["<|endoftext|>", "<|", "|>", "\U000e0001", "\ufffd", "ﬁ", "İ", "ſ", "K"],
]


def random_text(rng):
    """Parts that matter, characters from all of Unicode, and runs of one character."""
    text = []
    for _ in range(rng.randrange(1, 25)):
        kind = rng.random()
        part = rng.choice(PARTS) if kind < 0.6 else rng.choice(EVERY_CHARACTER) if kind < 0.8 else chr(rng.randrange(0x250))
        text.append(part * rng.randrange(1, 6) if rng.random() < 0.15 else part)
    return "".join(text)


def test_random_texts(gpt2, tiktoken_gpt2, hf, vocabulary_folder):
    theirs = hf.Tokenizer(hf.models.BPE.from_file(*(os.path.join(vocabulary_folder, f) for f in ("encoder.json", "vocab.bpe"))))
    theirs.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    rng = random.Random(0)
    for _ in range(int(os.environ.get("RANDOM_TEXTS", "1000"))):
        text = random_text(rng)
        ids = gpt2.encode(text).tolist()
        assert ids == tiktoken_gpt2.encode_ordinary(text), text
        assert ids == theirs.encode(text).ids, text
        assert gpt2.encode(text, special=True).tolist() == tiktoken_gpt2.encode(text, allowed_special="all"), text
        assert gpt2.decode(ids) == text
        assert b"".join(map(gpt2.token_bytes, ids)) == text.encode()


@pytest.mark.parametrize("frame", ["a{}a", "1{}1", "!{}!"])
def test_every_character_there_is(gpt2, tiktoken_gpt2, frame):
    for start in range(0, len(EVERY_CHARACTER), 4096):
        text = "\x01".join(frame.format(c) for c in EVERY_CHARACTER[start : start + 4096])
        np.testing.assert_array_equal(gpt2.encode(text), tiktoken_gpt2.encode_ordinary(text))


def test_a_corpus(gpt2, tiktoken_gpt2):
    text = pydocs()
    ids = gpt2.encode(text)
    np.testing.assert_array_equal(ids, tiktoken_gpt2.encode_ordinary(text))
    assert gpt2.decode(ids) == text


def test_shakespeare(gpt2, tiktoken_gpt2, shakespeare):
    text = shakespeare.read_text("utf-8")
    ids = gpt2.encode(text)
    assert len(ids) == 338_025  # nanoGPT's data/shakespeare: 301,966 to train on and 36,059 to validate on
    np.testing.assert_array_equal(ids, tiktoken_gpt2.encode_ordinary(text))


def test_every_token(gpt2, tiktoken_gpt2):
    assert gpt2.vocab_size == tiktoken_gpt2.n_vocab == 50257
    assert gpt2.end_of_text == tiktoken_gpt2.eot_token == 50256
    for i in range(50257):
        assert gpt2.token_bytes(i) == tiktoken_gpt2.decode_single_token_bytes(i)


def test_random_ids_decode_as_theirs(gpt2, tiktoken_gpt2, rng):
    for _ in range(300):
        ids = rng.integers(0, 50257, 20)
        assert gpt2.decode(ids) == tiktoken_gpt2.decode(ids.tolist())


@pytest.mark.parametrize("size", [1, 7, 64])
def test_where_the_text_is_cut_into_chunks_changes_nothing(gpt2, monkeypatch, text, size):
    text = "  \n a" * 20 + text[:3000] + "\u3000日本 語\u3000 \x1c x" * 20 + "a" * 200 + " " * 200
    whole = gpt2.encode(text)
    monkeypatch.setattr(cutting, "CHUNK", size)
    chunks = list(cutting.words(text))
    assert "".join(word for some in chunks for word in some) == text
    assert len(chunks) > 40
    np.testing.assert_array_equal(gpt2.encode(text), whole)


def test_long_words_are_merged_as_short_ones(gpt2, tiktoken_gpt2):
    rng = random.Random(1)
    for letters, n in (("a", 500), ("ab", 300), ("thein", 700), ("=-", 400), (" ", 333)):
        for _ in range(20):
            word = "".join(rng.choice(letters) for _ in range(n))
            ids = gpt2.spelled(word)
            for _ in gpt2.merging(ids):
                pass
            assert (
                ids == gpt2._merge_long(gpt2.spelled(word)) == tiktoken_gpt2.encode_ordinary(word) == gpt2.encode(word).tolist()
            )


def test_a_word_of_200_000_letters_takes_a_second(gpt2):
    begin = time.perf_counter()
    assert gpt2.decode(gpt2.encode("ab" * 100_000)) == "ab" * 100_000
    assert time.perf_counter() - begin < 20  # n^2 steps would take minutes


def test_the_cache_is_bounded_and_changes_nothing(gpt2, monkeypatch, text):
    expected = gpt2.encode(text)
    monkeypatch.setattr(type(gpt2._cache), "MOST", 50)
    gpt2._cache.clear()
    np.testing.assert_array_equal(gpt2.encode(text + "x" * 40)[: len(expected) - 1], expected[:-1])
    gpt2._cache.clear()
    for i in range(50):
        gpt2.encode("a" * (i % 10 + 1) + "b" * (i // 10 + 1))
    assert len(gpt2._cache) == 50
    gpt2.encode("c")
    assert list(gpt2._cache) == ["c"]
    gpt2.encode("y" * 33 + " " + "z" * 31)
    assert "y" * 33 not in gpt2._cache
    assert " " + "z" * 31 in gpt2._cache


def test_special_tokens_only_when_asked_for(gpt2):
    text = "a<|endoftext|>b"
    assert 50256 not in gpt2.encode(text)
    assert gpt2.encode(text, special=True).tolist() == [64, 50256, 65]
    assert gpt2.decode([64, 50256, 65]) == text
    assert gpt2.token_bytes(50256) == b"<|endoftext|>"
    assert gpt2.encode("<|endoftext|><|endoftext|>", special=True).tolist() == [50256, 50256]


def test_half_a_surrogate_pair_has_no_ids(gpt2):
    with pytest.raises(DataError, match=r"U\+D83D at position 4 is half of a surrogate pair"):
        gpt2.encode("two \ud83d")
    for ids in ([50257], [-1], np.array([50257])):
        with pytest.raises(DataError, match=r"outside the vocabulary of 50257"):
            gpt2.decode(ids)
    assert gpt2.decode(gpt2.encode("日")[:1]) == "\ufffd"
    assert gpt2.encode("").shape == (0,)
    assert gpt2.encode("").dtype == gpt2.encode("a").dtype == np.int64
