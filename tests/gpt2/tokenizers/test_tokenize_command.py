"""`gpt2 tokenize` as a user meets it."""

import argparse
import json
import os
import re
import sys

import pytest

from gpt2.commands import tokenize
from gpt2.errors import ConfigError, DataError, RunError
from gpt2.tokenizers import BPETokenizer, CharTokenizer, load_tokenizer


def command(*argv):
    parser = argparse.ArgumentParser()
    tokenize.arguments(parser)
    return tokenize.run(parser.parse_args(argv))


@pytest.fixture
def bpe(tmp_path):
    BPETokenizer.train("low lower lowest newest 日本 日", 280).save(tmp_path / "bpe.json")
    return str(tmp_path / "bpe.json")


def test_tokens_ids_and_sizes(bpe, capsys):
    assert command(" low日x\n\\·\u0301", "--tokenizer", bpe) == 0
    lines = capsys.readouterr().out.splitlines()
    tokenizer = load_tokenizer(bpe)
    shown = [line.split()[:3] for line in lines[3:-3]]
    ids = tokenizer.encode(" low日x\n\\·\u0301").tolist()
    assert [int(row[0]) for row in shown] == ids
    assert [int(row[2]) for row in shown] == [len(tokenizer.token_bytes(i)) for i in ids]
    assert lines[0].split() == [row[1] for row in shown]
    assert lines[0].startswith("·lo w ")
    for part in ("\\n", "\\\\"):
        assert part in lines[0].split()
    assert (
        f"{len(ids)} tokens of {tokenizer.vocab_size} for 10 characters, 14 bytes: {14 / len(ids):.2f} bytes per token" in lines
    )


def test_characters_that_are_cut_are_named(capsys):
    assert command("é日", "--tokenizer", "byte") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [re.split(r" {2,}", line.strip()) for line in lines[3:8]] == [
        ["195", "\\xc3", "1", "part of é"],
        ["169", "\\xa9", "1", "part of é"],
        ["230", "\\xe6", "1", "part of 日"],
        ["151", "\\x97", "1", "part of 日"],
        ["165", "\\xa5", "1", "part of 日"],
    ]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b" a b", "·a·b"),
        ("·".encode(), "\\u00b7"),
        ("e\u0301\u200b\x00\t\r\U000e0001".encode(), "e\\u0301\\u200b\\u0000\\t\\r\\U000e0001"),
        (b"\xe6\x97a\xff", "\\xe6\\x97a\\xff"),
        ("é日😀".encode(), "é日😀"),
    ],
)
def test_a_token_is_one_line_of_visible_characters(raw, shown):
    assert tokenize._escaped(raw) == shown


def test_show_tells_every_merge_in_order(bpe, capsys):
    assert command("lowest", "--tokenizer", bpe, "--show", "--json") == 0
    about = json.loads(capsys.readouterr().out)
    (word,) = about["words"]
    tokens = word["start"]
    assert tokens == list("lowest")
    merges = load_tokenizer(bpe).merges
    for merge in word["merges"]:
        at = merge["at"]
        assert tokens[at : at + 2] == [merge["left"], merge["right"]]
        tokens = [*tokens[:at], merge["left"] + merge["right"], *tokens[at + 2 :]]
        assert merge["tokens"] == tokens
        assert merge["rank"] < len(merges)
    assert tokens == [token["text"] for token in about["tokens"]]
    assert len(word["merges"]) == 6 - len(tokens) > 0
    assert command("lowest", "--tokenizer", bpe, "--show") == 0
    out = capsys.readouterr().out
    first = word["merges"][0]
    assert f"lowest  6 bytes, {len(word['merges'])} merges" in out
    assert re.search(rf"{first['rank']} +{first['left']} \+ {first['right']} .*\[{first['left']}{first['right']}\]", out)


def test_special_tokens(bpe, capsys):
    for flags, special in (((), False), (("--special",), True)):
        command("a<|endoftext|>", "--tokenizer", bpe, "--json", "--show", *flags)
        about = json.loads(capsys.readouterr().out)
        assert (about["tokens"][-1]["text"] == "<|endoftext|>") == special
        assert about["words"][-1]["special"] == special
    command("<|endoftext|>", "--tokenizer", bpe, "--show", "--special")
    assert "a special token: never cut, never merged" in capsys.readouterr().out


def test_colours_only_on_a_terminal(bpe, capsys, monkeypatch):
    command("low lower", "--tokenizer", bpe, "--show")
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    command("low lower", "--tokenizer", bpe, "--show")
    out = capsys.readouterr().out
    assert re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()[0] == "low·lower"
    assert out.count("\x1b[0m") > 5
    monkeypatch.setenv("NO_COLOR", "1")
    command("low lower", "--tokenizer", bpe, "--show")
    assert "\x1b" not in capsys.readouterr().out


def test_standard_input_and_the_other_places_of_a_tokenizer(tmp_path, capsys, monkeypatch):
    CharTokenizer("ab\n").save(tmp_path / "tokenizer.json")
    (tmp_path / "text").write_text("ab\n")
    with open(tmp_path / "text") as text:
        monkeypatch.setattr(sys, "stdin", text)
        assert command("-", "--tokenizer", str(tmp_path), "--json") == 0  # a run folder
    assert [token["id"] for token in json.loads(capsys.readouterr().out)["tokens"]] == [0, 1, 2]
    (tmp_path / "tokenizer.json").unlink()
    BPETokenizer.train("ab", 258).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert command("ab", "--tokenizer", str(tmp_path), "--json") == 0  # vocab.json and merges.txt
    assert [token["id"] for token in json.loads(capsys.readouterr().out)["tokens"]] == [256]
    assert command("", "--tokenizer", "byte") == 0
    assert capsys.readouterr().out.startswith("0 tokens of 257 for 0 characters, 0 bytes\n")
    (tmp_path / "text").write_bytes(b"a\xff")
    with open(tmp_path / "text") as text:
        monkeypatch.setattr(sys, "stdin", text)
        with pytest.raises(DataError, match=r"standard input: not UTF-8 text \(byte 0xff at offset 1\)"):
            command("-", "--tokenizer", "byte")
    with pytest.raises(DataError, match="standard input is closed"):
        command("-", "--tokenizer", "byte")
    (tmp_path / "text").write_bytes(b"a" * ((1 << 24) + 1))
    for name, message in (("/dev/zero", "a binary file"), (tmp_path / "text", "has more than 16,777,216 characters")):
        with open(name) as text:
            monkeypatch.setattr(sys, "stdin", text)
            with pytest.raises(DataError, match=message):
                command("-", "--tokenizer", "byte")
    for name in ("", "a\0b", "n" * 300, "\ud800"):
        with pytest.raises(RunError, match="no such file or folder; the names are gpt2 and byte"):
            command("a", "--tokenizer", name)


def test_training(tmp_path, capsys):
    (tmp_path / "my.txt").write_text("low lower lowest " * 20)
    out = str(tmp_path / "t.json")
    assert command("--train", str(tmp_path / "my.txt"), "--vocab-size", "262", "--out", out) == 0
    said = capsys.readouterr().out
    tokenizer = load_tokenizer(out)
    assert tokenizer.vocab_size == 262
    count = len(tokenizer.encode("low lower lowest " * 20))
    assert "262 tokens, 5 merges, in " in said
    assert f"my is 340 bytes and now {count} tokens: {340 / count:.2f} bytes per token" in said
    assert "the first merges made  lo  low  ·low  ·lowe  st\n" in said
    assert command("--train", str(tmp_path / "my.txt"), "--vocab-size", "257", "--out", out, "--json") == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["vocab_size"], about["merges"], about["tokens"], about["bytes_per_token"]) == (257, 0, 340, 1.0)
    assert about["sha256"] == load_tokenizer(out).sha256


def test_training_says_what_was_left_out(tmp_path, capsys):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("ab")
    os.mkfifo(tmp_path / "texts" / "pipe")
    assert command("--train", str(tmp_path / "texts"), "--vocab-size", "258", "--out", str(tmp_path / "t.json")) == 0
    assert f"left out what is not a file: {tmp_path}/texts/pipe (a pipe)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "error", "message"),
    [
        ([], ConfigError, "give a text"),
        (["a", "--out", "x"], ConfigError, "--out and --vocab-size are for --train"),
        (["a", "--vocab-size", "0"], ConfigError, "--out and --vocab-size are for --train"),
        (["a", "--tokenizer", "byte", "--show"], ConfigError, "the tokenizer byte has no merges; choose a BPE"),
        (
            ["a", "--tokenizer", "/nowhere"],
            RunError,
            "--tokenizer /nowhere: no such file or folder; the names are gpt2 and byte",
        ),
        (["--train", "pydocs", "--out", "x"], ConfigError, "--train needs --vocab-size and --out"),
        (["--train", "pydocs", "--vocab-size", "300"], ConfigError, "--train needs --vocab-size and --out"),
        (["a", "--train", "pydocs", "--vocab-size", "300", "--out", "x"], ConfigError, "and no other text"),
        (["--train", "pydocs", "--vocab-size", "300", "--out", "x", "--show"], ConfigError, "are for a text"),
        (["--train", "/nowhere", "--vocab-size", "300", "--out", "x"], DataError, "/nowhere"),
        (["--train", "pydocs", "--vocab-size", "256", "--out", "x"], DataError, "vocab_size = 256"),
        (["--train", "pydocs", "--vocab-size", "257", "--out", "/nowhere/x"], RunError, "/nowhere/x: cannot be written"),
    ],
)
def test_what_it_refuses(argv, error, message):
    with pytest.raises(error, match=message):
        command(*argv)


def test_without_the_vocabulary_of_gpt2_it_is_said_first_what_works(monkeypatch):
    def nowhere():
        raise RunError("GPT-2's vocabulary was not found.")

    monkeypatch.setattr(BPETokenizer, "gpt2", nowhere)
    with pytest.raises(RunError, match=r"^--tokenizer RUN or --tokenizer byte works without GPT-2's vocabulary. GPT-2's v"):
        command("To be")


@pytest.mark.oracle
def test_gpt2_is_the_default(gpt2, capsys):
    assert command("It's naïve", "--json") == 0
    assert [token["id"] for token in json.loads(capsys.readouterr().out)["tokens"]] == [1026, 338, 41492]
