"""One token per character, one per byte."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2.errors import DataError, RunError
from gpt2.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer, load_tokenizer

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def test_characters_are_numbered_by_code_point():
    tokenizer = CharTokenizer.train("wörld hello\n😀")
    assert tokenizer.characters == "\n dehlorwö😀"
    assert tokenizer.vocab_size == 11
    assert tokenizer.end_of_text is None
    ids = tokenizer.encode("ö\n😀o")
    assert ids.tolist() == [9, 0, 10, 6]
    assert ids.dtype == np.int64
    assert tokenizer.decode(ids) == "ö\n😀o"
    assert tokenizer.token_bytes(9) == b"\xc3\xb6"
    assert CharTokenizer.train(iter(["wörld", " hello\n", "😀"])).sha256 == tokenizer.sha256


@given(TEXTS.filter(bool))
def test_every_text_of_its_characters_round_trips(text):
    tokenizer = CharTokenizer.train(text)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert len(ids) == len(text)
    assert tokenizer.vocab_size == len(set(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hexe", r"^'x' \(U\+0078\) is not among the 4 characters"),  # between known characters
        ("h😀e", r"U\+1F600\) is not"),  # above all of them
        ("\0", r"U\+0000\) is not"),  # below
        ("\ud800", r"U\+D800\) is not"),
        ("xylophxne", r"'x' \(U\+0078\), 'y' \(U\+0079\), 'p' \(U\+0070\), 'n' \(U\+006E\) are not among"),
        ("abcdeäöü", r"'d' \(U\+0064\), 'ä' \(U\+00E4\) and 2 more are not among"),
    ],
)
def test_a_character_that_was_not_trained_on(text, message):
    with pytest.raises(DataError, match=message):
        CharTokenizer.train("hello").encode(text)


def test_there_must_be_characters_and_each_once():
    for make in (lambda: CharTokenizer.train(""), lambda: CharTokenizer.train([])):
        with pytest.raises(DataError, match="no characters"):
            make()
    with pytest.raises(DataError, match="3 characters, but only 2 distinct"):
        CharTokenizer("aba")
    with pytest.raises(DataError, match=r"U\+D800 at position 1"):
        CharTokenizer("a\ud800")


@given(TEXTS)
def test_byte_ids_are_utf8(text):
    tokenizer = ByteTokenizer()
    assert tokenizer.encode(text).tolist() == list(text.encode())
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_special_token_of_bytes():
    tokenizer = ByteTokenizer()
    text = "é<|endoftext|><|endoftext|>b<|endoftext|"
    assert tokenizer.encode(text).max() < 256
    ids = tokenizer.encode(text, special=True)
    assert ids.tolist() == [*"é".encode(), 256, 256, *b"b<|endoftext|"]
    assert ids.dtype == np.int64
    assert tokenizer.decode(ids) == text
    assert (tokenizer.vocab_size, tokenizer.end_of_text) == (257, 256)
    assert tokenizer.token_bytes(256) == b"<|endoftext|>"
    assert tokenizer.token_bytes(255) == b"\xff"


def test_bytes_that_are_not_utf8_are_replaced():
    assert ByteTokenizer().decode([0x68, 0xC3, 0x68, 0xA9]) == "h\ufffdh\ufffd"
    with pytest.raises(DataError, match=r"U\+DC80 at position 1 is half of a surrogate pair"):
        ByteTokenizer().encode("a\udc80")


@pytest.mark.parametrize("tokenizer", [CharTokenizer("ab"), ByteTokenizer()], ids=["char", "byte"])
def test_ids_that_are_none(tokenizer):
    size = tokenizer.vocab_size
    for ids in ([0, size], np.array([size]), (0, size, -1)):
        with pytest.raises(DataError, match=f"id {size} is outside the vocabulary of {size}"):
            tokenizer.decode(ids)
    for ids in ([-1], np.array([0, -1])):
        with pytest.raises(DataError, match="id -1 is outside"):
            tokenizer.decode(ids)
    for i in (-1, size):
        with pytest.raises(DataError, match=f"id {i} is outside"):
            tokenizer.token_bytes(i)
    for ids in ([0.5], ["a"], np.array([0.0]), np.array([[0]]), [None]):
        with pytest.raises(DataError, match="integers"):
            tokenizer.decode(ids)
    assert tokenizer.decode([]) == tokenizer.decode(np.array([])) == ""
    assert tokenizer.decode(np.array([1], np.uint16)) == tokenizer.decode(iter([1])) == tokenizer.token_bytes(1).decode()


@pytest.mark.parametrize("tokenizer", [CharTokenizer.train('hé\n"\\\u2028\0😀'), ByteTokenizer()], ids=["char", "byte"])
def test_saved_and_loaded(tmp_path, tokenizer):
    tokenizer.save(tmp_path / "t.json")
    loaded = load_tokenizer(tmp_path / "t.json")
    assert type(loaded) is type(tokenizer)
    assert loaded.sha256 == tokenizer.sha256
    assert loaded.vocab_size == tokenizer.vocab_size
    assert [p.name for p in tmp_path.iterdir()] == ["t.json"]
    with pytest.raises(RunError, match=r"nowhere.t\.json: cannot be written: No such file"):
        tokenizer.save(tmp_path / "nowhere" / "t.json")


def test_other_characters_another_sha256():
    shas = [CharTokenizer(c).sha256 for c in ("ab", "ba", "abc")] + [ByteTokenizer().sha256]
    assert len(set(shas)) == 4


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "Expecting value"),
        (b"[]", "holds a list, not an object"),
        (b"{}", "type None is none of char, byte"),
        (b'{"type": ["char"]}', "type .'char'. is none of"),
        (b'{"type": "char"}', "'characters' are not a text"),
        (b'{"type": "char", "characters": 3}', "'characters' are not a text"),
        (b'{"type": "char", "characters": ""}', "no characters"),
        (b'{"type": "char", "characters": "aa"}', "only 1 distinct"),
        (b'{"type": "char", "characters": "a", "characters": "b"}', "'characters' comes twice"),
        (b'{"type": "char", "characters": "\\ud800"}', r"U\+D800"),
        (b'{"type": "char", "characters": "\xff"}', "can't decode byte 0xff"),
        (b'{"type": "char", "characters": "ab', "Unterminated string"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b"9" * 5000, "whole number has 5,000 digits|not an object"),
        (None, "No such file"),
    ],
)
def test_damaged_files(tmp_path, content, cause):
    path = tmp_path / "t.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=rf"t\.json( is not a tokenizer)?: .*({cause})"):
        load_tokenizer(path)


def test_what_is_in_a_folder(tmp_path):
    with pytest.raises(RunError, match=r"tokenizer\.json: No such file"):
        load_tokenizer(tmp_path)
    tokenizer = BPETokenizer.train("low lower lowest " * 9, 262)
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).sha256 == tokenizer.sha256
    (tmp_path / "tokenizer.json").unlink()
    assert load_tokenizer(str(tmp_path)).sha256 == tokenizer.sha256
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(RunError, match=r"tokenizer\.json.*it is a folder, and not a file"):
        load_tokenizer(tmp_path)
