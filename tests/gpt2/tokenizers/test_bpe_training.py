"""Merges against a trainer of a few lines, against Hugging Face's, and by hand."""

import random
import subprocess
import sys
import tracemalloc
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2.cli import main
from gpt2.errors import DataError
from gpt2.tokenizers import BPETokenizer
from gpt2.tokenizers.alphabet import BYTES
from gpt2.tokenizers.words import words

pytestmark = pytest.mark.slow

FEW = st.text(st.sampled_from("aab bc\né\n日😀1!"), max_size=60)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def naive_merges(documents, count):
    """Counts everything again for every merge."""
    order = {byte: i for i, byte in enumerate(BYTES.values())}
    all_words = [[order[bytes([b])] for b in word.encode()] for text in documents for some in words(text) for word in some]
    merges = []
    while len(merges) < count:
        counts = Counter(pair for word in all_words for pair in pairwise(word))
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for word in all_words:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [256 + len(merges)]
                i += 1
        merges.append(best)
    return merges


@settings(max_examples=150, deadline=None)
@given(st.lists(FEW | ANY, max_size=4), st.integers(0, 60))
def test_the_naive_trainer_finds_the_same(documents, count):
    tokenizer = BPETokenizer.train(documents, 257 + count)
    assert tokenizer.merges == naive_merges(documents, count)
    assert tokenizer.vocab_size == 257 + len(tokenizer.merges)
    for text in documents:
        assert tokenizer.decode(tokenizer.encode(text)) == text


@given(ANY)
def test_every_text_round_trips_whatever_was_trained_on(text):
    ids = SMALL.encode(text)
    assert SMALL.decode(ids) == text
    assert b"".join(map(SMALL.token_bytes, ids)) == text.encode()
    special = SMALL.encode(text + "<|endoftext|>" + text, special=True)
    assert special.tolist() == [*ids, SMALL.end_of_text, *ids]


SMALL = BPETokenizer.train("low lower lowest, newer newest; wide wider widest 日本語 日本\n" * 3, 300)


def test_by_hand():
    tokenizer = BPETokenizer.train("aaab aab b", 300)  # the words aaab, " aab", " b"
    made = [(tokenizer.token_bytes(left), tokenizer.token_bytes(right)) for left, right in tokenizer.merges]
    assert made == [
        (b"a", b"a"),  # in three places, though two of aaab's overlap: aa a b, " " aa b, " " b
        (b"a", b"b"),  # now each pair is in one place; ids: a 64, b 65, space 220, aa 256, ab 257
        (b" ", b"b"),  # 220, 65
        (b" ", b"aa"),  # 220, 256
        (b"aa", b"ab"),  # 256, 257: aaab is one token
        (b" aa", b"b"),  # 259, 65
    ]
    assert [tokenizer.token_bytes(i) for i in tokenizer.encode("aaaaab aaa")] == [b"aa", b"aaab", b" aa", b"a"]


def test_ids_are_laid_out_as_gpt2s():
    assert [SMALL.token_bytes(i) for i in (0, 1, 93, 94, 187, 188, 220, 255)] == [
        *[b"!", b'"', b"~", b"\xa1", b"\xff", b"\x00", b" ", b"\xad"]
    ]
    assert SMALL.end_of_text == SMALL.vocab_size - 1 == 284
    assert SMALL.token_bytes(284) == b"<|endoftext|>"
    for rank, (left, right) in enumerate(SMALL.merges):
        assert max(left, right) < 256 + rank
        assert SMALL.token_bytes(256 + rank) == SMALL.token_bytes(left) + SMALL.token_bytes(right)


def test_documents_are_separate_and_read_one_by_one():
    apart, together = BPETokenizer.train(["ab", "cd"] * 3, 300), BPETokenizer.train("abcd" * 3, 300)
    assert apart.tokens[256:] == [b"ab", b"cd", b"<|endoftext|>"]
    assert b"abcd" in together.tokens
    assert BPETokenizer.train("ab<|endoftext|>cd<|endoftext|>" * 3, 300).sha256 == apart.sha256
    tracemalloc.start()
    BPETokenizer.train((f"document {i} " * 10_000 for i in range(50)), 300)  # 6 MB
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_500_000  # one of them, and its words


def test_order_and_parts_do_not_matter(text):
    lines = text.splitlines(keepends=True)
    whole = BPETokenizer.train(lines, 500).sha256
    random.Random(0).shuffle(lines)
    assert BPETokenizer.train(lines, 500).sha256 == whole
    assert BPETokenizer.train(lines, 499).sha256 != whole


def test_hash_seeds_do_not_matter():
    program = (
        "from gpt2.text.corpora import pydocs; from gpt2.tokenizers import BPETokenizer as B; "
        "print(B.train(pydocs(), 400).sha256)"
    )
    found = set()
    for seed in "012":
        done = subprocess.run([sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1


def test_it_ends_where_there_is_nothing_to_merge(tmp_path, capsys):
    tokenizer = BPETokenizer.train("ab ab", 1000, progress=True)
    assert tokenizer.vocab_size == 257 + 2  # ab, " ab"
    (tmp_path / "ab.txt").write_text("ab ab")
    for size, said in ((1000, True), (259, False)):
        command = [
            "tokenize",
            "--train",
            str(tmp_path / "ab.txt"),
            "--vocab-size",
            str(size),
            "--out",
            str(tmp_path / "t.json"),
        ]
        assert main(command) == 0
        assert ("the text has merges for only 259 tokens" in capsys.readouterr().err) == said
    assert BPETokenizer.train("", 300).vocab_size == BPETokenizer.train([], 300).vocab_size == 257


def test_what_cannot_be_trained():
    with pytest.raises(DataError, match=r"vocab_size = 256: the 256 bytes and <\|endoftext\|> need 257"):
        BPETokenizer.train("abc", 256)
    with pytest.raises(DataError, match="half of a surrogate pair"):
        BPETokenizer.train("a\ud800", 300)


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["english", "few letters", "unicode"])
def test_hugging_faces_trainer_finds_the_same(hf, name):
    from gpt2.text.corpora import pydocs

    rng = random.Random(0)
    texts = {
        "english": pydocs,
        "few letters": lambda: "".join(rng.choice("ab é\n日") for _ in range(20_000)),
        "unicode": lambda: "".join(
            chr(rng.choice([rng.randrange(0x3000), rng.randrange(0x1F300, 0x1FA00)])) for _ in range(20_000)
        ),
    }
    text, count = texts[name](), 1500
    theirs = hf.Tokenizer(hf.models.BPE())
    theirs.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = hf.pre_tokenizers.ByteLevel.alphabet()
    trainer = hf.trainers.BpeTrainer(vocab_size=256 + count, show_progress=False, special_tokens=[], initial_alphabet=alphabet)
    theirs.train_from_iterator([text], trainer)
    ours = BPETokenizer.train(text, 257 + count)
    vocab = {name: i for name, i in ours.to_json()["model"]["vocab"].items() if i != ours.end_of_text}
    assert theirs.get_vocab() == vocab
    assert ours.encode(text).tolist() == theirs.encode(text).ids
