"""Where text comes from: files of all kinds, corpora by name, and generated ones with the cost of every character."""

import gzip
import hashlib
import io
import itertools
import math
import re
import tracemalloc
import urllib.error
import urllib.request

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2.errors import DataError
from gpt2.text.corpora import Corpus, load_corpus, named
from gpt2.text.corpora.generated import GENERATED, SYMBOLS, ballot, brackets, entropy, markov, transitions
from gpt2.text.corpora.reading import TextFile, pieces
from gpt2.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer
from gpt2.tokenizers.words import words

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of each test's own."""
    monkeypatch.setenv("TINYGRAD2_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def documents(corpus):
    return ["".join(document.pieces) for document in corpus.documents()]


# Files


def test_the_embedded_corpus_is_real_text():
    corpus = load_corpus("pydocs")
    assert corpus.characters == len(corpus.text) > 300_000
    assert "statement" in corpus.text


def test_a_file_is_read_as_utf8_with_unix_newlines(tmp_path):
    path = tmp_path / "my.txt"
    path.write_bytes("\ufeffhé\r\nho\r!".encode())
    corpus = load_corpus(str(path))
    assert (corpus.name, corpus.text, corpus.characters) == ("my", "hé\nho\r!", 7)
    assert corpus.sha256 == hashlib.sha256("hé\nho\r!".encode()).hexdigest()


@given(text=st.text("aé€🙂 \r\n\ufeff", max_size=30), bom=st.booleans(), block=st.integers(1, 9))
def test_blocks_may_end_anywhere(tmp_path_factory, text, bom, block):
    path = tmp_path_factory.getbasetemp() / "blocks.txt"
    path.write_bytes(b"\xef\xbb\xbf" * bom + text.encode())
    expected = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    assert "".join(TextFile(path, block)) == expected


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"abc\xff", "not UTF-8 text .byte 0xff at offset 3."),
        (b"abc\xe2\x82", "not UTF-8 text .byte 0xe2 at offset 3."),
        (b"\xef\xbb\xbfabc\0def", "a binary file .a zero byte at offset 6."),
    ],
)
def test_files_that_hold_no_text(tmp_path, content, message, suffix):
    path = tmp_path / f"x.txt{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(DataError, match=message):
        load_corpus(str(path))


@pytest.mark.parametrize("wrong", [b"\xff", b"\xff!", b"\xe2\x82", b"\xe2\x82!", b"\0", b"\0!"])
@pytest.mark.parametrize("block", [1, 3, 5, 100])
def test_what_is_wrong_is_found_where_it_is(tmp_path, wrong, block):
    path = tmp_path / "x.txt"
    path.write_bytes("aé€b\n".encode() + wrong)
    with pytest.raises(DataError, match="at offset 8"):
        list(TextFile(path, block))


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(
        DataError, match=r"nope\.txt: no such file; give a file, a folder, or a corpus by name .pydocs, shakespeare, add"
    ):
        load_corpus(str(tmp_path / "nope.txt"))
    with pytest.raises(DataError, match="it is a folder, and not a file"):
        list(TextFile(tmp_path))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"abc" * 1000)[:-12])
    (tmp_path / "not.gz").write_bytes(b"abc")
    (tmp_path / "crc.gz").write_bytes(gzip.compress(b"abc")[:-8] + bytes(8))
    (tmp_path / "bits.gz").write_bytes(gzip.compress(b"abc")[:10] + b"\xff" * 20)
    damaged = "a damaged .gz file"
    for name, why in {"cut": damaged, "not": "it is not compressed: rename it", "crc": damaged, "bits": damaged}.items():
        name += ".gz"
        with pytest.raises(DataError, match=f"{name}: {why}"):
            load_corpus(str(tmp_path / name)).characters  # noqa: B018


def test_gz_is_the_text_inside(tmp_path):
    (tmp_path / "my.txt.gz").write_bytes(gzip.compress("hé\r\nho".encode()))
    corpus = load_corpus(str(tmp_path / "my.txt.gz"))
    assert (corpus.name, corpus.text) == ("my", "hé\nho")


@pytest.mark.parametrize("word", [b"ab cd\n", b"abcdef"], ids=["words", "one word"])
def test_a_gz_that_grows_a_thousandfold_stays_small_in_memory(tmp_path, word):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(word * 7_000_000, 1))
    assert path.stat().st_size < 400_000
    corpus = load_corpus(str(path))
    tracemalloc.start()
    try:
        assert corpus.characters == 42_000_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16e6


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "texts"
    files = {
        "b.txt": b"B",
        "a/2.md": b"A2",
        "a/10.md": b"A10",
        "a.txt": b"A",
        "c.txt.gz": gzip.compress(b"C"),
        "empty.py": b"",
        "picture.png": b"\x89PNG\0",
        "latin.txt": b"caf\xe9",
        ".hidden/x.txt": b"X",
        ".y.txt": b"Y",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_a_folder_is_its_texts_in_order_of_their_paths(folder):
    corpus = load_corpus(str(folder))
    assert corpus.name == "texts"
    assert documents(corpus) == ["A10", "A2", "A", "B", "C"]
    assert documents(corpus) == ["A10", "A2", "A", "B", "C"]  # again
    (note,) = corpus.notes
    assert note.endswith(f"left out files that are not UTF-8 text: {folder / 'latin.txt'}, {folder / 'picture.png'}")


def test_the_digest_of_a_folder_tells_its_documents_apart(tmp_path):
    digests = set()
    for name, texts in {"a": ["ab", "c"], "b": ["a", "bc"], "c": ["c", "ab"], "d": ["abc"]}.items():
        (tmp_path / name).mkdir()
        for i, text in enumerate(texts):
            (tmp_path / name / f"{i}.txt").write_text(text)
        digests.add(load_corpus(str(tmp_path / name)).sha256)
    assert len(digests) == 4


def test_a_glob(folder, monkeypatch):
    assert documents(load_corpus(f"{folder}/*.txt")) == ["A", "B"]
    assert documents(load_corpus(f"{folder}/**/*.md")) == ["A10", "A2"]
    assert load_corpus(f"{folder}/a/*.md").name == "a"
    monkeypatch.chdir(folder)
    assert load_corpus("[ab].txt").name == "texts"
    (folder / "[ab].txt").write_text("a file of that very name")
    assert documents(load_corpus("[ab].txt")) == ["a file of that very name"]


def test_a_folder_or_glob_without_text(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: the folder holds no text$"):
        load_corpus(str(tmp_path / "empty"))
    with pytest.raises(DataError, match=r"matches no text, only .*picture\.png"):
        load_corpus(f"{folder}/*.png")


def test_a_file_of_a_folder_that_turns_out_to_be_no_text_is_named(folder):
    (folder / "late.txt").write_bytes(b"a" * 200_000 + b"\xff")
    with pytest.raises(DataError, match=r"late\.txt: not UTF-8 text .byte 0xff at offset 200000"):
        load_corpus(str(folder)).characters  # noqa: B018


# Pieces

BPE = BPETokenizer.train("the cat, the dog's  hat\n\n  and 12 123!! <|endoftext|>\tthe\n " * 20, 330)
WORDS = st.sampled_from(["the", "cat", "'s", "s", "12", "!!", ",", "é", "中文。", "🙂", "<|endoftext|>", "'"])
GAPS = st.sampled_from(
    ["", " ", " ", "\n", "  ", "   ", "\n\n", "\n  ", " \n", "\t", "\r\n", "\u3000", "\x1c ", "\x85", "\xa0 "]
)


@settings(max_examples=400)
@given(parts=st.lists(st.tuples(WORDS, GAPS), max_size=40), size=st.integers(1, 40))
def test_the_tokens_of_the_pieces_are_those_of_the_whole(parts, size):
    text = "".join(itertools.chain.from_iterable(parts))
    found = list(pieces([text[i : i + 3] for i in range(0, len(text), 3)], size))
    assert "".join(found) == text
    assert all(found)
    tokenizers = [ByteTokenizer(), CharTokenizer.train(text or "a")]
    if all(len(piece) < 4 * size for piece in found):  # none ends for lack of a place
        tokenizers.append(BPE)
        assert [w for piece in found for some in words(piece) for w in some] == [w for some in words(text) for w in some]
    for tokenizer in tokenizers:
        whole = tokenizer.encode(text).tolist()
        assert [i for piece in found for i in tokenizer.encode(piece).tolist()] == whole


def test_pieces_are_about_as_long_as_asked_for():
    assert [len(p) for p in pieces(["ab cd " * 100], 100)] == [599, 1]  # a text is cut when it comes, at its last place
    assert [len(p) for p in pieces(["ab cd "] * 100, 100)] == [101] + [102] * 4 + [91]
    assert [len(p) for p in pieces(["abcdef"] * 100, 100)] == [402, 198]
    assert list(pieces(["abcdefghij", " klm", "nop"], 10)) == ["abcdefghij", " klmnop"]


# Shakespeare


class Network:
    """Answers every request with the same bytes, or not at all."""

    def __init__(self, monkeypatch, content):
        self.content, self.requests = content, []
        monkeypatch.setattr(urllib.request, "urlopen", self.open)

    def open(self, url, timeout):
        self.requests.append((url, timeout))
        if self.content is None:
            raise urllib.error.URLError("Name or service not known")
        return io.BytesIO(self.content)


@pytest.fixture
def small(monkeypatch):
    """A short text in the place of Shakespeare."""
    text = b"To be, or not to be"
    monkeypatch.setattr(named, "SHAKESPEARE_SHA256", hashlib.sha256(text).hexdigest())
    monkeypatch.setattr(named, "SHAKESPEARE_BYTES", len(text))
    return text


def test_shakespeare_is_downloaded_once(cache, monkeypatch, small):
    network = Network(monkeypatch, small)
    for _ in range(2):
        assert load_corpus("shakespeare").text == small.decode()
    assert [url for url, _ in network.requests] == [
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
    ]
    assert 0 < network.requests[0][1] <= 60
    path = cache / "corpora" / "tinyshakespeare.txt"
    path.write_bytes(small[:-1] + b"!")
    assert load_corpus("shakespeare").text == small.decode()
    assert len(network.requests) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Name or service not known"),
        (b"To be, or not to bee", "more than the 19 bytes"),
        (b"<html>Please log in", "is not the file it should be"),
    ],
)
def test_without_shakespeare_it_says_what_to_do(cache, monkeypatch, small, content, message):
    Network(monkeypatch, content)
    with pytest.raises(DataError, match=message) as error:
        load_corpus("shakespeare")
    path = cache / "corpora" / "tinyshakespeare.txt"
    assert f"copy it to {path}, or give the file: --data FILE" in str(error.value)
    assert named.SHAKESPEARE_URL in str(error.value)
    assert not path.exists()


def test_a_copy_of_shakespeare_needs_no_network(cache, monkeypatch, shakespeare):
    Network(monkeypatch, None)
    (cache / "corpora").mkdir(parents=True)
    (cache / "corpora" / "tinyshakespeare.txt").write_bytes(shakespeare.read_bytes())
    corpus = load_corpus("shakespeare")
    assert corpus.text == shakespeare.read_text("utf-8")
    assert corpus.sha256 == named.SHAKESPEARE_SHA256


# Generated


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_text_is_a_function_of_its_seed(name):
    once, again, other = (GENERATED[name](seed, count=50) for seed in (1, 1, 2))
    assert once.text == again.text != other.text
    for document in once.documents():
        assert len(document.nats) == len("".join(document.pieces))


@pytest.mark.parametrize("name", ["addition", "sorting", "brackets"])
@pytest.mark.parametrize("context", [32, 64, 256])
def test_windows_of_the_last_tenth_begin_with_a_document(name, context):
    lines = documents(load_corpus(name))
    text = "".join(lines)
    assert 1e6 < len(text) < 1.1e6
    starts = set(np.cumsum([0, *map(len, lines)]).tolist())
    assert set(range(int(len(text) * (1 - 0.1)), len(text), context)) <= starts


def test_additions_are_right_and_their_digits_cost_ln_10():
    corpus = load_corpus("addition")
    first, second = [], []
    for document in itertools.islice(corpus.documents(), 20_000):
        (line,) = document.pieces
        a, b, c = re.fullmatch(r"(\d{4})\+(\d{4})=(\d{5})\n", line).groups()
        assert int(a) + int(b) == int(c)
        first.append(int(a))
        second.append(int(b))
        assert document.nats.tolist() == [math.log(10) * (i in (0, 1, 2, 3, 5, 6, 7, 8)) for i in range(16)]
    for numbers in (first, second):  # each of 100 parts of 0..9999 equally often: 200 times, give or take 14
        assert np.abs(np.bincount(np.array(numbers) // 100, minlength=100) - 200).max() < 5 * 14
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(20_000)


def test_lines_are_sorted_and_their_letters_cost_ln_26():
    drawn = ""
    for document in itertools.islice(load_corpus("sorting").documents(), 20_000):
        (line,) = document.pieces
        given, result = re.fullmatch(r"([a-z]{7})>([a-z]{7})\n", line).groups()
        assert "".join(sorted(given)) == result
        drawn += given
        assert document.nats.tolist() == [math.log(26)] * 7 + [0] * 9
    counts = np.bincount(np.frombuffer(drawn.encode(), np.uint8) - ord("a"))
    assert np.abs(counts - 140_000 / 26).max() < 5 * math.sqrt(140_000 / 26)


def nestings(pairs):
    """All ways to nest brackets, found by trying everything."""
    for steps in itertools.product((1, -1), repeat=2 * pairs):
        heights = list(itertools.accumulate(steps))
        if min(heights) >= 0 and heights[-1] == 0:
            yield steps


def balanced(line):
    """Whether brackets match, by taking out what matches until nothing changes."""
    while (shorter := re.sub(r"\(\)|\[\]|\{\}", "", line)) != line:
        line = shorter
    return not line


def test_every_bracket_costs_what_counting_all_lines_says():
    pairs = 3
    lines = set()
    for steps in nestings(pairs):
        for kinds in itertools.product("([{", repeat=pairs):
            line, opened, kind = "", [], iter(kinds)
            for step in steps:
                opened += [next(kind)] if step == 1 else []
                line += opened[-1] if step == 1 else {"(": ")", "[": "]", "{": "}"}[opened.pop()]
            lines.add(line)
    assert len(lines) == 5 * 27
    seen = {}
    for document in brackets(0, 20_000, pairs).documents():
        (text,) = document.pieces
        line = text.removesuffix("\n\n")
        seen[line] = seen.get(line, 0) + 1
        if seen[line] == 1:
            for at in range(2 * pairs):
                before, after = (sum(other.startswith(line[:n]) for other in lines) for n in (at, at + 1))
                assert document.nats[at] == pytest.approx(-math.log(after / before), abs=1e-12)
            assert document.nats[2 * pairs :].tolist() == [0, 0]
    assert seen.keys() == lines
    expected = 20_000 / len(lines)  # all lines equally often
    assert max(abs(count - expected) for count in seen.values()) < 5 * math.sqrt(expected)


def test_the_brackets_of_the_corpus():
    per_line = math.log(math.comb(30, 15) // 16) + 15 * math.log(3)  # Catalan's number
    assert ballot(30, 0) == math.comb(30, 15) // 16 == 9_694_845
    for document in itertools.islice(load_corpus("brackets").documents(), 500):
        (line,) = document.pieces
        assert re.fullmatch(r"[()\[\]{}]{30}\n\n", line)
        assert balanced(line.strip())
        assert document.nats.sum() == pytest.approx(per_line)


def test_a_chain_costs_what_its_table_says():
    table = transitions()
    np.testing.assert_allclose(table.sum(-1), 1)
    end = SYMBOLS.index("\n")
    assert (table[:, end] == table[0, end]).all()  # what was before the end of a line is forgotten
    assert table[0, end, end] == 0
    assert (table[:, :end, end] == 1 / 64).all()
    for document in itertools.islice(load_corpus("markov").documents(), 100):
        (line,) = document.pieces
        assert re.fullmatch(r"[a-h]+\n", line)
        past = "\n\n" + line
        for at, c in enumerate(line):
            state = SYMBOLS.index(past[at]), SYMBOLS.index(past[at + 1])
            assert document.nats[at] == pytest.approx(-math.log(table[*state, SYMBOLS.index(c)]))


def test_a_chain_costs_its_entropy_rate_and_counting_comes_close():
    corpus = load_corpus("markov")
    nats = np.concatenate([document.nats for document in corpus.documents()])
    rate = entropy(transitions())
    assert nats.mean() == pytest.approx(rate, abs=5 * nats.std() / math.sqrt(len(nats)))
    ids = CharTokenizer.train(corpus.text).encode(corpus.text)
    contexts, following = ids[:-2] * 9 + ids[1:-1], ids[2:]
    half = len(following) // 2
    counts = np.full((81, 9), 1e-3)
    np.add.at(counts, (contexts[:half], following[:half]), 1)
    p = counts / counts.sum(-1, keepdims=True)
    loss = -np.log(p[contexts[half:], following[half:]]).mean()
    assert -0.0005 < loss - nats[half + 2 :].mean() < 0.003


def test_entropy_of_a_chain_known_in_closed_form():
    p, q = 0.2, 0.5  # 0 -> 1 and 1 -> 0, whatever was before
    table = np.array([[[1 - p, p], [q, 1 - q]]] * 2)
    binary = [-(x * math.log(x) + (1 - x) * math.log(1 - x)) for x in (p, q)]
    assert entropy(table) == pytest.approx((q * binary[0] + p * binary[1]) / (p + q))
    table = np.array([[[0, 1], [0.5, 0.5]], [[0.5, 0.5], [1, 0]]])  # free after 01 and 10, each 1/3 of the time
    assert entropy(table) == pytest.approx(2 / 3 * math.log(2))


def test_the_length_of_a_line_of_a_chain():
    lengths = np.array([len(line) for line in documents(markov(3, 4000))])
    assert lengths.min() >= 2
    assert lengths.mean() == pytest.approx(65, abs=5 * 64 / math.sqrt(4000))  # a letter, and on average 63 more and the end


def test_documents_of_texts_in_memory():
    corpus = Corpus.of_text("two", "ab", "c")
    assert (documents(corpus), corpus.text, corpus.characters) == (["ab", "c"], "abc", 3)
