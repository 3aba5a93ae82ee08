"""Corpora into ids: which part validates, what is kept in the cache and survives there, and what a perfect model pays."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2 import GPT2, GPT2Config, TrainConfig
from gpt2.errors import ConfigError, DataError, RunError
from gpt2.text import batches, encoding, id_cache
from gpt2.text.corpora import Corpus, Document, load_corpus
from gpt2.text.corpora.generated import addition, markov
from gpt2.text.encoding import prepare, prepare_whole, tokenizer_for
from gpt2.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer
from gpt2.training.shards import Shards
from gpt2.training.step import Trainer

pytestmark = pytest.mark.slow

BY_DOCUMENT = TrainConfig(split="document", val_fraction=0.3)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of each test's own."""
    monkeypatch.setenv("TINYGRAD2_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ids"


@pytest.fixture
def long(monkeypatch):
    """A corpus that is long enough to go through the cache."""
    monkeypatch.setattr(encoding, "IN_MEMORY", 100)
    return Corpus.of_text("long", *(f"document {i} of {i % 7}\n" * 5 for i in range(40)))


def parts(prepared):
    """The texts that train and those that validate, of a tokenizer with an end-of-text token."""
    found = []
    for ids in (prepared.train, prepared.val):
        ends = np.flatnonzero(ids == prepared.tokenizer.end_of_text)
        found.append([prepared.tokenizer.decode(i[i != 256].astype(int)) for i in np.split(ids, ends + 1) if len(i)])
    return found


# The split


def test_by_position_the_last_ids_validate_whatever_the_seed():
    text = "".join(map(chr, range(32, 232)))
    tokenizer = CharTokenizer.train(text)
    for seed in (0, 1):
        prepared = prepare(Corpus.of_text("x", text), tokenizer, TrainConfig(seed=seed, val_fraction=0.1), 10)
        np.testing.assert_array_equal(prepared.train, np.arange(180))
        np.testing.assert_array_equal(prepared.val, np.arange(180, 200))


@settings(max_examples=200)
@given(texts=st.lists(st.text("ab", min_size=2, max_size=6), min_size=2, max_size=30), seed=st.integers(0, 5))
def test_by_document_no_text_is_on_both_sides_and_none_is_lost(texts, seed):
    config = TrainConfig(split="document", val_fraction=0.3, seed=seed)
    corpus = Corpus.of_text("x", *texts)
    if len(set(texts)) < 2:
        with pytest.raises(DataError, match="only one document, or copies of one"):
            prepare(corpus, ByteTokenizer(), config, 1)
        return
    train, val = parts(prepare(corpus, ByteTokenizer(), config, 1))
    assert train
    assert val
    assert not set(train) & set(val)
    assert train == [text for text in texts if text in set(train)]  # in their order
    assert sorted(train + val) == sorted(texts)


def test_the_seed_decides_which_documents_validate_and_val_fraction_how_many():
    texts = [f"{i} " * 40 for i in range(200)]
    sides = {}
    for seed in (0, 0, 1):
        for fraction in (0.1, 0.5):
            config = TrainConfig(split="document", val_fraction=fraction, seed=seed)
            _, val = parts(prepare(Corpus.of_text("x", *texts), ByteTokenizer(), config, 8))
            assert sum(map(len, val)) / sum(map(len, texts)) == pytest.approx(fraction, abs=0.005)
            assert sides.setdefault((seed, fraction), val) == val
    assert sides[0, 0.1] != sides[1, 0.1]
    assert set(sides[0, 0.1]) < set(sides[0, 0.5])
    shuffled = [texts[i] for i in np.random.default_rng(0).permutation(200)]
    _, val = parts(prepare(Corpus.of_text("x", *shuffled), ByteTokenizer(), TrainConfig(split="document"), 8))
    assert set(val) == set(sides[0, 0.1])  # a function of the texts, not of their order


def test_a_large_document_does_not_take_the_place_of_many():
    texts = ["large" * 2000, *(f"{i} " * 20 for i in range(50))]
    for seed in range(20):
        config = TrainConfig(split="document", val_fraction=0.1, seed=seed)
        _, val = parts(prepare(Corpus.of_text("x", *texts), ByteTokenizer(), config, 8))
        assert 1000 < sum(map(len, val)) < 1400


def test_two_documents_are_enough():
    _, val = parts(prepare(Corpus.of_text("x", "abc" * 9, "d" * 9), ByteTokenizer(), BY_DOCUMENT, 4))
    assert val == ["d" * 9]


@pytest.mark.parametrize("split", ["document", "position"])
def test_too_short(split):
    config = TrainConfig(split=split, val_fraction=0.3)
    with pytest.raises(DataError, match=r"tokens, \d+ to train on and \d+ to validate on; a context of 12 needs at least 13"):
        prepare(Corpus.of_text("x", "abc" * 9, "d" * 9), ByteTokenizer(), config, 12)


def test_end_of_text_stands_between_documents_and_nowhere_else():
    corpus = Corpus.of_text("x", "ab", "c<|endoftext|>", "de")
    expected = [97, 98, 256, 99, *b"<|endoftext|>", 256, 100, 101]
    assert prepare_whole(corpus, ByteTokenizer()).val.tolist() == expected
    tokenizer = CharTokenizer.train(corpus.pieces())
    assert tokenizer.decode(prepare_whole(corpus, tokenizer).val.tolist()) == "abc<|endoftext|>de"


# Tokenizers


def test_a_bpe_learns_from_what_trains_alone():
    config = TrainConfig(tokenizer="bpe", val_fraction=0.5)
    tokenizer = tokenizer_for(Corpus.of_text("x", "abab" * 10 + "cdcd" * 10), config, 300)
    tokens = {tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)}
    assert b"abab" in tokens
    assert b"cd" not in tokens
    texts = [f"{c}{c}{c}{c}" for c in "abcdefghijklmnop"]
    corpus, config = Corpus.of_text("x", *texts), TrainConfig(tokenizer="bpe", split="document", val_fraction=0.5)
    tokenizer = tokenizer_for(corpus, config, 300)
    tokens = {tokenizer.token_bytes(i).decode(errors="replace") for i in range(tokenizer.vocab_size)}
    train, val = parts(prepare(corpus, ByteTokenizer(), config, 4))
    assert {t for t in texts if t in tokens} == set(train) == set(texts) - set(val)


def test_a_bpe_has_the_size_asked_for(text):
    corpus = Corpus.of_text("x", text)
    assert tokenizer_for(corpus, TrainConfig(tokenizer="bpe"), 300).vocab_size == 300
    assert tokenizer_for(corpus, TrainConfig(tokenizer="bpe")).vocab_size == 1024


def test_tokenizers_by_name_and_from_files(tmp_path):
    corpus = Corpus.of_text("x", "hello")
    assert tokenizer_for(corpus, TrainConfig(tokenizer="char")).characters == "ehlo"
    assert tokenizer_for(corpus, TrainConfig(tokenizer="byte")).vocab_size == 257
    CharTokenizer.train("helo!").save(tmp_path / "tokenizer.json")
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        assert tokenizer_for(corpus, TrainConfig(tokenizer=str(path))).characters == "!ehlo"
    with pytest.raises(ConfigError, match="tokenizer = 'wrod' is neither char, byte, bpe, gpt2 nor a file"):
        tokenizer_for(corpus, TrainConfig(tokenizer="wrod"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"empty/tokenizer\.json"):
        tokenizer_for(corpus, TrainConfig(tokenizer=str(tmp_path / "empty")))


# The cache


def content(prepared):
    return prepared.train.tolist(), prepared.val.tolist()


def mapped(array):
    """Whether an array is a view of a file."""
    return isinstance(array, np.memmap) or (isinstance(array, np.ndarray) and mapped(array.base))


@pytest.mark.parametrize("config", [TrainConfig(), BY_DOCUMENT], ids=["position", "document"])
def test_what_the_cache_gives_is_what_memory_gives(long, cache, monkeypatch, config):
    first, second = (prepare(long, ByteTokenizer(), config, 8) for _ in range(2))
    assert mapped(second.train)
    assert not second.train.flags.writeable
    assert len(list(cache.iterdir())) == 2
    monkeypatch.setattr(encoding, "IN_MEMORY", 10**9)
    in_memory = prepare(long, ByteTokenizer(), config, 8)
    assert not mapped(in_memory.train)
    assert content(first) == content(second) == content(in_memory)
    assert first.train.dtype == in_memory.train.dtype == np.uint16


def test_a_short_text_leaves_no_file(cache):
    prepare(Corpus.of_text("x", "abc" * 100), ByteTokenizer(), TrainConfig(), 8)
    assert not cache.exists()


class Counting(ByteTokenizer):
    """Counts what it encodes."""

    pieces = 0

    def encode(self, text, special=False):
        self.pieces += 1
        return super().encode(text, special)


def test_ids_are_made_once_for_each_text_tokenizer_and_split(long, cache):
    tokenizer = Counting()
    for config in (TrainConfig(), TrainConfig(seed=1), TrainConfig(val_fraction=0.5)):  # the same ids, cut elsewhere
        prepare(long, tokenizer, config, 8)
    prepare_whole(long, tokenizer)
    assert tokenizer.pieces == 40
    for config in (BY_DOCUMENT, TrainConfig(split="document", val_fraction=0.3, seed=1)):
        prepare(long, tokenizer, config, 8)
    assert tokenizer.pieces == 120
    prepare(Corpus.of_text("other", *(long.text[i : i + 100] for i in range(0, 3000, 100))), tokenizer, TrainConfig(), 8)
    assert tokenizer.pieces == 150
    prepare(long, CharTokenizer.train(long.pieces()), TrainConfig(), 8)
    assert len(list(cache.iterdir())) == 2 * 5


def test_the_same_ids_cut_elsewhere_are_another_file(monkeypatch):
    monkeypatch.setattr(encoding, "IN_MEMORY", 10)
    corpus = Corpus.of_text("x", "abc" * 9, "d" * 9)  # the second validates
    prepare(corpus, ByteTokenizer(), TrainConfig(val_fraction=0.3), 4)
    assert parts(prepare(corpus, ByteTokenizer(), BY_DOCUMENT, 4)) == [["abc" * 9], ["d" * 9]]


def cut(path):
    path.write_bytes(path.read_bytes()[:-2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "cut": (".bin", cut, True),
    "flipped": (".bin", flip, True),
    "empty": (".bin", lambda path: path.write_bytes(b""), True),
    "gone": (".bin", lambda path: path.unlink(), False),
    "no note": (".json", lambda path: path.unlink(), False),  # killed just before it was written
    "empty note": (".json", lambda path: path.write_bytes(b""), True),
    "other note": (".json", lambda path: path.write_text("[]"), True),
    "older note": (".json", lambda path: path.write_text('{"tokens": 3}'), True),
}


@pytest.mark.parametrize(("suffix", "damage", "said"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_noticed_and_made_again(long, cache, suffix, damage, said):
    expected = content(prepare(long, ByteTokenizer(), TrainConfig(), 8))
    (path,) = cache.glob(f"*{suffix}")
    damage(path)
    messages, tokenizer = [], Counting()
    assert content(prepare(long, tokenizer, TrainConfig(), 8, messages.append)) == expected
    assert tokenizer.pieces == 40
    assert ["is damaged, so it is written again: " in message for message in messages] == [True] * said
    assert content(prepare(long, tokenizer, TrainConfig(), 8, messages.append)) == expected
    assert tokenizer.pieces == 40


def test_without_a_cache_folder_a_temporary_file_will_do(long, tmp_path, monkeypatch):
    expected = content(prepare(long, ByteTokenizer(), TrainConfig(), 8))
    (tmp_path / "file").touch()
    monkeypatch.setenv("TINYGRAD2_CACHE", str(tmp_path / "file" / "cache"))
    messages = []
    prepared = prepare(long, ByteTokenizer(), TrainConfig(), 8, messages.append)
    assert content(prepared) == expected
    assert mapped(prepared.train)
    assert len(messages) == 1
    assert "is not used (Not a directory): this time the ids go into a temporary file" in messages[0]


def test_a_full_disk(long, cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    expected = content(prepare_whole(long, ByteTokenizer()))
    for path in cache.iterdir():
        path.unlink()
    monkeypatch.setattr(os, "fsync", full)
    messages = []
    assert content(prepare_whole(long, ByteTokenizer(), messages.append)) == expected
    assert "No space left on device" in messages[0]
    assert list(cache.iterdir()) == []
    monkeypatch.setattr(id_cache, "_write", full)
    with pytest.raises(DataError, match=r"can hold the ids of long .No space left on device.: set TMPDIR"):
        prepare_whole(long, ByteTokenizer(), messages.append)


def test_a_text_that_changes_while_it_is_read(long, tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("abc " * 100)
    corpus = load_corpus(str(path))
    assert corpus.characters == 400
    path.write_text("abd " * 100)
    with pytest.raises(DataError, match="changed while it was being read"):
        prepare_whole(corpus, ByteTokenizer())


PREPARE = """
import sys, time
from gpt2.text import encoding
from gpt2.config import TrainConfig
from gpt2.text.corpora import Corpus
from gpt2.tokenizers import ByteTokenizer

class Slow(ByteTokenizer):
    def encode(self, text, special=False):
        print("piece", flush=True)
        time.sleep(float(sys.argv[1]))
        return super().encode(text, special)

encoding.IN_MEMORY = 100
corpus = Corpus.of_text("long", *(f"document {i} of {i % 7}\\n" * 5 for i in range(40)))
print(sum(encoding.prepare(corpus, Slow(), TrainConfig(), 8).train.tolist()))
"""


def preparing(pause):
    command = [sys.executable, "-c", PREPARE, str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_killed_in_the_middle_nothing_is_taken_for_whole(long, cache):
    with preparing(0.05) as process:
        for _ in range(10):
            assert process.stdout.readline() == "piece\n"
        process.send_signal(signal.SIGKILL)
    (leftover,) = cache.iterdir()
    assert leftover.suffix == ".tmp"
    prepared = prepare(long, ByteTokenizer(), TrainConfig(), 8)
    assert prepared.tokenizer.decode(np.concatenate([prepared.train, prepared.val])).replace("<|endoftext|>", "") == long.text
    assert leftover.exists()  # it might be that of another process, at work
    os.utime(leftover, (time.time() - 90_000,) * 2)
    prepare(long, ByteTokenizer(), BY_DOCUMENT, 8)
    assert sorted(path.suffix for path in cache.iterdir()) == [".bin", ".bin", ".json", ".json"]


def test_two_at_a_time_do_no_harm(long, cache):
    with preparing(0.01) as one, preparing(0.012) as other:
        outputs = [process.communicate(timeout=60)[0].splitlines() for process in (one, other)]
    expected = str(sum(prepare(long, ByteTokenizer(), TrainConfig(), 8).train.tolist()))
    assert [lines.pop() for lines in outputs] == [expected] * 2
    assert [len(lines) for lines in outputs] == [40] * 2  # both were at work
    assert sorted(path.suffix for path in cache.iterdir()) == [".bin", ".json"]


class ManyTokens(ByteTokenizer):
    """Ids beyond 16 bits."""

    offset = 0

    @property
    def vocab_size(self):
        return 257 + self.offset

    @property
    def sha256(self):
        return f"many {self.offset}"

    def encode(self, text, special=False):
        return super().encode(text, special) + self.offset


@pytest.mark.parametrize(("offset", "dtype"), [(65536 - 257, np.uint16), (65537 - 257, np.uint32)])
@pytest.mark.parametrize("in_memory", [1, 10**6])
def test_ids_have_room(monkeypatch, offset, dtype, in_memory):
    monkeypatch.setattr(encoding, "IN_MEMORY", in_memory)
    monkeypatch.setattr(ManyTokens, "offset", offset)
    ids = prepare_whole(Corpus.of_text("x", "aÿ" * 50), ManyTokens()).val
    assert ids.dtype == dtype
    assert ids[:3].tolist() == [97 + offset, 195 + offset, 191 + offset]


def test_a_large_text_takes_little_memory(tmp_path):
    path = tmp_path / "large.txt"
    line = b"The quick brown fox jumps over the lazy dog, again and again.\n"
    path.write_bytes(line * (60_000_000 // len(line)))
    tracemalloc.start()
    try:
        corpus = load_corpus(str(path))
        tokenizer = tokenizer_for(corpus, TrainConfig())
        prepared = prepare(corpus, tokenizer, TrainConfig(), 64)
        x, _ = batches.batch(prepared.train, 12, 64, 0, 0)
        batches.consecutive(prepared.val, 64, 16)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(prepared.train) + len(prepared.val) == path.stat().st_size
    assert x.dtype == np.int64
    assert tokenizer.decode(x[0].tolist()) in (line * 3).decode()
    assert peak < 45e6  # 60 MB of text, 120 of ids


# The loss of a perfect model


def spent(corpus, config, tokenizer):
    """What each token that validates costs, found by spelling them out."""
    prepared = prepare(corpus, tokenizer, config, 8)
    everything = [(tokens, c) for d in prepared.documents() for tokens, c in zip("".join(d.pieces), d.nats, strict=True)]
    expected = []
    for i in reversed(prepared.val.tolist()):
        cost = 0.0
        for character in reversed("" if i == tokenizer.end_of_text else tokenizer.decode([i])):
            written, nats = everything.pop()
            assert written == character
            cost += nats
        expected.append(cost)
    return prepared, expected[::-1]


@pytest.mark.parametrize("config", [TrainConfig(val_fraction=0.37), BY_DOCUMENT], ids=["position", "document"])
@pytest.mark.parametrize("source", [addition, markov])
@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_a_token_costs_what_its_characters_cost(source, config, kind):
    corpus = source(0, 30)
    tokenizers = {"char": CharTokenizer.train(corpus.text), "byte": ByteTokenizer()}
    prepared, expected = spent(corpus, config, tokenizers.get(kind) or BPETokenizer.train(corpus.text, 300))
    np.testing.assert_allclose(prepared.costs(), expected, atol=1e-9)


def test_costs_where_a_part_begins_with_end_of_text():
    corpus = Corpus("x", lambda: [Document(["abcdefgh"], np.arange(8.0)), Document(["ijklmnopq"], np.arange(9.0))])
    prepared = prepare(corpus, ByteTokenizer(), TrainConfig(val_fraction=10 / 18), 4)
    assert prepared.costs().tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]


def test_a_text_of_unknown_source_has_no_costs():
    assert prepare_whole(Corpus.of_text("x", "abc" * 9), ByteTokenizer()).costs() is None


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("addition", 8 * math.log(10) / 16),
        ("sorting", 7 * math.log(26) / 16),
        ("brackets", (math.log(9_694_845) + 15 * math.log(3)) / 32),
    ],
)
def test_the_validation_part_costs_what_the_formula_says(name, loss):
    config = TrainConfig()
    corpus = load_corpus(name)
    prepared = prepare(corpus, tokenizer_for(corpus, config), config, 64)
    assert len(prepared.val) == 104_000
    assert prepared.costs().mean() == pytest.approx(loss, rel=1e-6)


def test_a_model_of_a_chain_comes_close_to_a_perfect_one_and_not_below():
    config = TrainConfig(steps=700, batch_size=32, learning_rate=1e-2, warmup_steps=20, schedule="linear", beta2=0.99)
    corpus = load_corpus("markov")
    prepared = prepare(corpus, tokenizer_for(corpus, config), config, 32)
    model = GPT2(GPT2Config(vocab_size=9, max_seq_len=32, d_model=32, num_layers=1, num_heads=2))
    with Shards(1, 1, 32) as shards:
        trainer = Trainer(model, config, prepared.train, shards)
        for _ in range(config.steps):
            trainer.step()
        loss = shards.evaluate(model, batches.consecutive(prepared.val, 32, 32))
    perfect = np.mean([c for _, costs in batches.consecutive(prepared.costs(), 32, 1) for c in costs])
    assert 0.01 < loss - perfect < 0.05  # 0.015 of it because a window does not show what was before its first character


def test_the_split_is_checked():
    with pytest.raises(ConfigError, match="split = 'random' must be position or document"):
        TrainConfig(split="random")


def test_the_note_of_a_file_in_the_cache(long, cache):
    prepared = prepare(long, ByteTokenizer(), BY_DOCUMENT, 8)
    (path,) = cache.glob("*.json")
    about = json.loads(path.read_text())
    assert (about["corpus"], about["dtype"], about["cut"]) == ("long", "uint16", len(prepared.train))
    assert about["tokens"] == len(prepared.train) + len(prepared.val)
