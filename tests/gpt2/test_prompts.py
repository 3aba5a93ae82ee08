"""Prompts and what is written after them: from files and pipes, as JSON, and with characters that a model does not know."""

import json
import os
import sys

import numpy as np
import pytest

from gpt2.cli import main
from gpt2.generation import Sampling
from gpt2.run.folder import load_model

TINY = "--steps=6 --d-model=16 --num-layers=1 --num-heads=2 --max-seq-len=16 --sample-tokens=0".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run with a token per character, and one with a token per byte."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "my.txt").write_text("the cat sat on the mat, and the dog on the log.\n" * 60)
    for tokenizer in ("char", "byte"):
        given = ["--data", str(folder / "my.txt"), "--out", str(folder / tokenizer), "--tokenizer", tokenizer]
        assert main(["train", "--no-plots", *given, *TINY]) == 0
    return folder


def refused(command):
    try:
        return main(command)
    except SystemExit as end:
        return end.code


def test_json_is_a_line_for_each_sample(runs, capsys):
    """With the tokens that the model draws from Python, and all that is needed to draw them again."""
    run, prompt = str(runs / "char"), "the cat"
    flags = ["--tokens", "30", "--seed", "5", "--temperature", "0.7", "--top-k", "9", "--samples", "3"]
    assert main(["sample", "--run", run, "--prompt", prompt, *flags, "--json"]) == 0
    output = capsys.readouterr()
    found = [json.loads(line) for line in output.out.splitlines()]
    assert output.err == ""
    model, tokenizer = load_model(run)
    sampling = Sampling(0.7, 9)
    for i, sample in enumerate(found):
        assert set(sample) == {"prompt", "text", "tokens", "seed", "settings"}
        ids = tokenizer.encode(prompt)
        expected = model.generate(ids, 30, sampling.temperature, sampling.top_k, seed=5 + i)[len(ids) :]
        assert sample["tokens"] == expected.tolist()
        assert sample["text"] == tokenizer.decode(expected)
        assert (sample["prompt"], sample["seed"], sample["settings"]["top_k"]) == (prompt, 5 + i, 9)
        assert (sample["settings"]["run"], sample["settings"]["stop"], sample["settings"]["tokens"]) == (run, [], 30)
    assert main(["sample", "--run", run, "--prompt", prompt, *flags[:-2]]) == 0
    assert capsys.readouterr().out == prompt + found[0]["text"] + "\n"


def test_json_ends_where_the_text_does(runs, capsys):
    command = ["sample", "--run", str(runs / "char"), "--prompt", "the", "--tokens", "60", "--json", "--temperature", "1"]
    assert main(command) == 0
    whole = json.loads(capsys.readouterr().out)
    stop = whole["text"][20:22]
    assert main([*command, "--stop", stop]) == 0
    stopped = json.loads(capsys.readouterr().out)
    end = whole["text"].index(stop)
    assert stopped["text"] == whole["text"][:end]
    assert stopped["tokens"] == whole["tokens"][: end + len(stop)]
    assert stopped["settings"]["stop"] == [stop]
    assert refused([*command, "--explain"]) == 2
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "prompt"),
    [
        (b"the cat\n", "the cat"),
        (b"the cat", "the cat"),
        (b"the\r\ncat\r\n\r\n", "the\ncat\n"),
        (b"\xef\xbb\xbfthe", "the"),
        ("the cat".encode("utf-16"), "the cat"),
    ],
)
@pytest.mark.parametrize("way", ["file", "standard input", "pipe"])
def test_a_prompt_from_a_file(runs, tmp_path, capsys, monkeypatch, content, prompt, way):
    (tmp_path / "p.txt").write_bytes(content)
    command = ["sample", "--run", str(runs / "char"), "--tokens", "5", "--json", "--prompt-file"]
    if way == "file":
        assert main([*command, str(tmp_path / "p.txt")]) == 0
    elif way == "standard input":
        with open(tmp_path / "p.txt") as file:
            monkeypatch.setattr(sys, "stdin", file)
            assert main([*command, "-"]) == 0
    else:
        here, there = os.pipe()
        os.write(there, content)
        os.close(there)
        assert main([*command, f"/dev/fd/{here}"]) == 0
        os.close(here)
    assert json.loads(capsys.readouterr().out)["prompt"] == prompt


def test_other_commands_read_their_prompt_from_a_file_too(runs, tmp_path, capsys):
    (tmp_path / "p.txt").write_text("the cat\n", "utf-16-le")
    given = ["--prompt-file", str(tmp_path / "p.txt"), "--encoding", "utf-16-le"]
    assert main(["inspect", str(runs / "char"), *given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prompt"] == "the cat"
    assert main(["lab", str(runs / "char"), *given, "--out", str(tmp_path / "lab.html")]) == 0
    assert "the cat" in (tmp_path / "lab.html").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--prompt-file {tmp}/nope.txt", "nope.txt: No such file or directory"),
        ("--prompt-file {tmp}", "it is a folder, and not a file"),
        ("--prompt-file {tmp}/latin.txt", "latin.txt: not UTF-8 text (byte 0xe9 at offset 11); --encoding cp1252 would read"),
        ("--prompt-file {tmp}/latin.txt --encoding klingon", "encoding = 'klingon' is not an encoding of text"),
        ("--prompt-file {tmp}/long.txt", "has more than 16,777,216 characters, too many to read at once"),
        ("--prompt-file {tmp}/latin.txt --prompt a", "not allowed with argument"),
        ("--prompt a --encoding cp1252", "--encoding is for --prompt-file"),
        ("", "one of the arguments --prompt --prompt-file is required"),
        ("--prompt=", "the prompt is empty: give a text"),
        ("--prompt-file {tmp}/empty.txt", "the prompt is empty: give a text"),
        ("--prompt thé", "'é' (U+00E9) is not among the 16 characters that this model was trained on; --skip-unknown leaves"),
    ],
)
def test_what_is_no_prompt(runs, tmp_path, capsys, flags, message):
    (tmp_path / "latin.txt").write_text("the cat, olé: el niño comió. ¿Dónde está?", "cp1252")
    (tmp_path / "long.txt").write_text("a" * ((1 << 24) + 1))
    (tmp_path / "empty.txt").write_text("\n")
    assert refused(["sample", "--run", str(runs / "char"), *flags.format(tmp=tmp_path).split()]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert output.err.count("\n") == 1


def test_nothing_begins_a_document_where_there_is_a_token_for_it(runs, capsys):
    command = ["sample", "--run", str(runs / "byte"), "--prompt", "", "--tokens", "8", "--json"]
    assert main(command) == 0
    output = capsys.readouterr()
    assert output.err == "gpt2: note: the prompt is empty: the model begins a document, after <|endoftext|>\n"
    model, _ = load_model(runs / "byte")
    found = json.loads(output.out)
    assert found["prompt"] == ""
    expected = model.generate(np.array([256]), 8, 0.8, vocab_size=257)[1:].tolist()
    assert found["tokens"] == expected[: expected.index(256) + 1 if 256 in expected else 8]


def test_characters_without_a_token_are_skipped_on_demand(runs, tmp_path, capsys):
    run = str(runs / "char")
    note = "gpt2: note: the prompt is read without the characters that have no token: 'é語' (3 of 10)\n"
    for command in (["sample", "--run", run, "--tokens", "3", "--json"], ["inspect", run, "--json"]):
        assert main([*command, "--prompt", "thé é語cat", "--skip-unknown"]) == 0
        output = capsys.readouterr()
        assert json.loads(output.out)["prompt"] == "th cat"
        assert output.err == note.replace("3 of 10", "3 of 9")
        assert main([*command, "--prompt", "the cat", "--skip-unknown"]) == 0
        assert capsys.readouterr().err == ""
    assert main(["lab", run, "--prompt", "thé", "--skip-unknown", "--out", str(tmp_path / "a.html")]) == 0
    assert main(["tokenize", "thé", "--tokenizer", run, "--skip-unknown", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["characters"] == 2
    assert refused(["sample", "--run", run, "--prompt", "é", "--skip-unknown"]) == 2
    assert "the prompt is empty" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_a_byte_that_is_not_utf8_is_skipped_on_demand(runs, kind, capsys):
    command = ["sample", "--run", str(runs / kind), "--tokens", "3", "--json", "--prompt", "the\udcff cat"]
    assert main(command) == 2
    assert "--skip-unknown leaves them out" in capsys.readouterr().err
    assert main([*command, "--skip-unknown"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["prompt"] == "the cat"
    assert "without the characters that have no token: '\\udcff' (1 of 8)" in output.err


def test_a_stop_that_is_not_utf8_is_refused(runs, capsys):
    assert main(["sample", str(runs / "byte"), "--json", "--prompt", "the", "--stop", "\udcff"]) == 2
    assert "--stop '\\udcff' is not UTF-8, so no model writes it" in capsys.readouterr().err


def test_an_evaluation_skips_them_too(runs, tmp_path, capsys):
    """Its loss is that of the text without them."""
    text = "the cat sat on the mat, and the dog on the log.\n" * 5
    (tmp_path / "known.txt").write_text(text)
    (tmp_path / "strange.txt").write_text(text.replace("c", "ç語c").replace("dog", "dog€"))
    losses = []
    for name, flags in (("known", []), ("strange", ["--skip-unknown"]), ("known", ["--skip-unknown"])):
        assert main(["eval", "--run", str(runs / "char"), "--data", str(tmp_path / f"{name}.txt"), "--json", *flags]) == 0
        output = capsys.readouterr()
        losses.append({**json.loads(output.out), "data": ""})
        expected = "strange is read without the characters that have no token: 'ç語€' (15 of 255)\n" * (name == "strange")
        assert output.err == "gpt2: note: " * bool(expected) + expected
    assert losses[0] == losses[1] == losses[2]
    assert main(["eval", "--run", str(runs / "char"), "--data", str(tmp_path / "strange.txt")]) == 2
    assert "'ç' (U+00E7), '語' (U+8A9E), '€' (U+20AC) are not among the 16" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("prompt", "tokens", "said"), [("the", 200, False), ("the cat sat on t", 1, False), ("the cat sat on th", 1, True)]
)
def test_the_context_is_only_spoken_of_where_a_prompt_is_cut(runs, capsys, prompt, tokens, said):
    assert main(["sample", "--run", str(runs / "char"), "--prompt", prompt, "--tokens", str(tokens)]) == 0
    assert ("the model sees only the last 16" in capsys.readouterr().err) == said
