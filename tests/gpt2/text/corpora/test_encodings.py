"""Text that is not UTF-8: read as whoever asks says, or as its mark does, and refused with the encodings it may have."""

import codecs
import contextlib
import gzip
import json
import os
import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2.cli import main
from gpt2.errors import DataError
from gpt2.text.corpora import Form, load_corpus
from gpt2.text.corpora.reading import TextFile

CHINESE = "在人工智能领域，语言模型学习预测下一个词。\n这是一段中文文本，用来测试编码的检测。\n" * 4
FRENCH = "Le café était fermé, et la forêt pleine de bêtes.\nOù êtes-vous allé hier soir ? Voilà l'été, à Noël.\n" * 4
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.\n" * 3
TINY = (  # noqa: SIM905
    "--d-model=16 --num-layers=1 --num-heads=2 --max-seq-len=16 --sample-tokens=0 --steps=2 --eval-every=2 --save-every=1"
    " --no-plots --threads=1 --shards=1"
).split()


@given(
    text=st.text("aé語🙂 \r\n", max_size=30),
    encoding=st.sampled_from(["gb18030", "utf-16-le", "utf-16-be", "utf-32-le", "utf-7", "utf-8"]),
    block=st.integers(1, 9),
)
def test_blocks_may_end_anywhere(tmp_path_factory, text, encoding, block):
    path = tmp_path_factory.getbasetemp() / "encoded.txt"
    path.write_bytes(text.encode(encoding))
    assert "".join(TextFile(path, block, encoding=encoding)) == text.replace("\r\n", "\n")


@given(text=st.text("aé語🙂 \r\n", max_size=30), encoding=st.sampled_from(["utf-16", "utf-32"]), little=st.booleans())
def test_a_byte_order_mark_says_it_whatever_was_asked_for(tmp_path_factory, text, encoding, little):
    path = tmp_path_factory.getbasetemp() / "marked.txt"
    mark = {"utf-16": (codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE), "utf-32": (codecs.BOM_UTF32_BE, codecs.BOM_UTF32_LE)}
    path.write_bytes(mark[encoding][little] + text.encode(f"{encoding}-{'le' if little else 'be'}"))
    for asked in ("utf-8", "latin-1", encoding, f"{encoding}-le"):
        for block in (1, 3, 100):
            assert "".join(TextFile(path, block, encoding=asked)) == text.replace("\r\n", "\n")


def test_what_a_mark_says_is_told(tmp_path):
    (tmp_path / "a.txt").write_bytes(FRENCH.encode("utf-16"))
    (tmp_path / "b.txt").write_bytes(FRENCH.encode("utf-8-sig"))
    one, both = load_corpus(str(tmp_path / "a.txt")), load_corpus(str(tmp_path))
    assert one.text == FRENCH
    assert both.text == 2 * FRENCH
    assert one.notes == both.notes == (f"read as UTF-16, by its byte-order mark: {tmp_path / 'a.txt'}",)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("text", "encoding"),
    [(CHINESE, "gbk"), (FRENCH, "latin-1"), (RUSSIAN, "koi8-r"), (CHINESE, "utf-16-be"), (CHINESE, "big5")],
)
def test_an_encoding_that_is_given(tmp_path, text, encoding, suffix):
    text = text.encode(encoding, "ignore").decode(encoding)
    content = text.encode(encoding)
    (tmp_path / f"x.txt{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    corpus = load_corpus(str(tmp_path / f"x.txt{suffix}"), Form(encoding))
    assert corpus.text == text
    (tmp_path / "utf8.txt").write_text(text, "utf-8")
    assert corpus.sha256 == load_corpus(str(tmp_path / "utf8.txt")).sha256  # it is that of the text


@pytest.mark.parametrize(
    ("text", "encoding", "names"),
    [
        (CHINESE, "gbk", ["gb18030"]),
        (CHINESE, "utf-16-le", ["utf-16-le"]),
        (FRENCH, "latin-1", ["cp1250", "cp1252"]),
        (FRENCH, "utf-16-be", ["utf-16-be"]),
        (RUSSIAN, "koi8-r", ["koi8-r"]),
        (
            "All of it is English. " * 100 + "We met at the café, and had a jalapeño.\n" + "And so on. " * 100,
            "cp1252",
            ["cp1252"],
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_refusal_names_the_encodings_that_a_library_finds(tmp_path, text, encoding, names, suffix):
    """With what each makes of the place; whoever follows one of them has the text."""
    content = text.encode(encoding)
    (tmp_path / f"x.txt{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    path = str(tmp_path / f"x.txt{suffix}")
    with pytest.raises(DataError) as refused:
        load_corpus(path)
    said = str(refused.value)
    assert said.startswith(f"{path}: not UTF-8 text (byte 0x") or (encoding == "utf-16-be" and "a binary file" in said)
    for name in names:
        assert f"--encoding {name} would read '" in said
    assert any(load_corpus(path, Form(name)).text == text for name in names)


@pytest.mark.parametrize("head", ["", "a", "Words in English. " * 20_000])
def test_they_are_found_in_a_line_without_an_end(tmp_path, head):
    (tmp_path / "x.txt").write_text(head + CHINESE.replace("\n", "") * 1000, "gbk")
    with pytest.raises(DataError, match=r"; --encoding gb18030 would read '.*在人工智能领域，语言模型' there$"):
        load_corpus(str(tmp_path / "x.txt")).characters  # noqa: B018


def test_two_candidates_are_shown_where_they_differ(tmp_path):
    (tmp_path / "x.txt").write_text(FRENCH, "latin-1")
    with pytest.raises(
        DataError, match=r"cp1252 would read '.* forêt .*' and --encoding cp1250 would read '.* foręt .*' there"
    ):
        load_corpus(str(tmp_path / "x.txt"))


@pytest.mark.parametrize(
    ("text", "encoding", "names"),
    [
        ("était où café était l'élève garçon très fermé; à où\nâgé. côté café pluie, naïve très\n" * 9, "latin-1", ["cp1252"]),
        ("Heute ist ein schöner Tag, und alle sind fröhlich, weil wir gehen können. " * 9, "cp1252", ["cp1252"]),
        ("Zażółć gęślą jaźń. W Szczebrzeszynie chrząszcz brzmi, a dziś świeci słońce. " * 9, "cp1250", ["cp1250"]),
    ],
)
def test_of_encodings_that_may_all_be_right_the_usual_one_comes_first(tmp_path, text, encoding, names):
    (tmp_path / "x.txt").write_text(text, encoding)
    with pytest.raises(DataError) as refused:
        load_corpus(str(tmp_path / "x.txt"))
    assert re.findall(r"--encoding (\S+) would read", str(refused.value))[: len(names)] == names


@pytest.mark.parametrize("content", [b"abc\xff", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 50])
def test_what_seems_to_be_no_text_gets_no_such_hint(tmp_path, content):
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(DataError) as refused:
        load_corpus(str(tmp_path / "x.txt"))
    assert "--encoding" not in str(refused.value)


def test_a_folder_says_it_once(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.txt").write_text(CHINESE, "gbk")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n\0")
    with pytest.raises(DataError, match=r"holds no text, only .*0.txt, .*1.txt, .* and 3 more; --encoding gb18030 would"):
        load_corpus(str(tmp_path))
    (tmp_path / "utf8.txt").write_text(FRENCH)
    (note,) = load_corpus(str(tmp_path)).notes
    assert "left out files that are not UTF-8 text: " in note
    assert note.count("--encoding gb18030 would read '") == 1
    (note,) = load_corpus(str(tmp_path), Form("gbk")).notes
    assert "left out files that are not GBK text: " in note


def test_a_wrong_encoding_is_one_clear_error(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text(CHINESE, "gbk")
    with pytest.raises(DataError, match=r"not BIG5 text \(byte 0x.. at offset 2\); --encoding gb18030 would read"):
        load_corpus(str(path), Form("big5"))
    path.write_text(FRENCH, "utf-16-le")
    for name in ("utf-16", "UTF16", "u16"):
        with pytest.raises(
            DataError, match="no byte-order mark; give --encoding utf-16-le, as on Windows, or --encoding utf-16-be"
        ):
            load_corpus(str(path), Form(name))
    for name in ("klingon", "", "hex", "base64", "rot13", "undefined", "é", "\ud800", "a" * 5000, "../x"):
        with pytest.raises(DataError, match="is not an encoding of text; Python knows utf-8"):
            Form(name)


def test_what_is_wrong_is_found_where_it_is_in_any_encoding(tmp_path):
    path = tmp_path / "x.txt"
    for encoding, wrong in {"gb18030": b"\xff", "shift-jis": b"\xff", "utf-16-le": b"\0\xdc", "cp1252": b"\x81"}.items():
        head = "日本 ab\n".encode(encoding, "ignore")
        path.write_bytes(head + wrong + "ab".encode(encoding))
        for block in (1, 3, 5, 100):
            with pytest.raises(DataError, match=f"not {encoding.upper()} text .* at offset {len(head)}"):
                list(TextFile(path, block, encoding=encoding))


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16-le"])
def test_little_of_a_long_text_is_in_memory(tmp_path, encoding):
    path = tmp_path / "long.txt.gz"
    path.write_bytes(gzip.compress(("语言 model\n" * 100_000).encode(encoding) * 20, 1))
    corpus = load_corpus(str(path), Form(encoding))
    tracemalloc.start()
    try:
        assert corpus.characters == 18_000_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_a_run_remembers_its_encoding(tmp_path, capsys):
    """It is trained, resumed, evaluated and replayed; of a copy in UTF-8 too, since the text is the same."""
    (tmp_path / "my.txt").write_text(CHINESE * 10, "gbk")
    (tmp_path / "utf8.txt").write_text(CHINESE * 10)
    data, out = str(tmp_path / "my.txt"), str(tmp_path / "run")
    assert main(["train", "--data", data, "--out", out, *TINY]) == 2
    assert "; --encoding gb18030 would read" in capsys.readouterr().err
    assert not os.path.exists(out)
    assert main(["train", "--data", data, "--encoding", "gbk", "--out", out, *TINY]) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training"]["encoding"] == "gbk"
    for command in (
        ["train", "--resume", "--out", out],
        ["eval", "--run", out],
        ["eval", "--run", out, "--data", data, "--encoding", "gb18030"],
        ["eval", "--run", out, "--data", str(tmp_path / "utf8.txt")],
        ["replay", out, "--step", "2"],
        ["replay", out, "--step", "2", "--data", str(tmp_path / "utf8.txt"), "--encoding", "utf-8"],
        ["tokenize", "--train", data, "--encoding", "gbk", "--vocab-size", "300", "--out", str(tmp_path / "t.json")],
        ["train", "--resume", "--out", out, "--data", str(tmp_path / "utf8.txt"), "--encoding", "utf-8", "--no-plots"],
    ):
        assert main(command) == 0, command
    capsys.readouterr()
    assert main(["eval", "--run", out, "--data", data]) == 2  # another text need not be in the encoding of that of the run
    assert "; --encoding gb18030 would read" in capsys.readouterr().err


def test_a_setting_from_a_file_is_checked(tmp_path, capsys):
    (tmp_path / "c.toml").write_text('encoding = "klingon"\n')
    assert main(["train", "--config", str(tmp_path / "c.toml")]) == 2
    assert "encoding = 'klingon' is not an encoding of text" in capsys.readouterr().err


def test_standard_input_has_an_encoding_too(tmp_path, capsys, monkeypatch):
    path = tmp_path / "x.txt"
    path.write_text(CHINESE * 10, "gbk")
    for command in (
        ["train", "--data", "-", "--encoding", "gbk", "--out", str(tmp_path / "run"), *TINY],
        ["tokenize", "-", "--encoding", "gbk", "--tokenizer", "byte"],
    ):
        with open(path) as file, contextlib.ExitStack():
            monkeypatch.setattr("sys.stdin", file)
            assert main(command) == 0
    assert f"{len(CHINESE) * 10:,} characters" in capsys.readouterr().out
    path.write_text(FRENCH, "utf-16")
    with open(path) as file:
        monkeypatch.setattr("sys.stdin", file)
        corpus = load_corpus("-")
    assert corpus.notes == ("read as UTF-16, by its byte-order mark: standard input",)
    assert corpus.text == FRENCH


def test_another_text_is_read_like_that_of_the_run_unless_it_is_utf8(tmp_path, capsys):
    run = str(tmp_path / "run")
    (tmp_path / "my.txt").write_text(FRENCH * 3, "cp1252")
    assert main(["train", "--data", str(tmp_path / "my.txt"), "--encoding", "cp1252", "--out", run, *TINY]) == 0
    other, found = FRENCH[:150], []
    (tmp_path / "latin.txt").write_text(other, "cp1252")
    (tmp_path / "utf8.txt").write_text(other)
    (tmp_path / "ascii.txt").write_text("Le")
    capsys.readouterr()
    for name, note in (
        ("latin", "latin.txt is read as cp1252, like the text of the run"),
        ("utf8", "utf8.txt is read as UTF-8, though the text of the run was cp1252"),
    ):
        path = str(tmp_path / f"{name}.txt")
        assert main(["eval", run, "--data", path, "--json"]) == 0
        output = capsys.readouterr()
        assert note in output.err
        found.append({**json.loads(output.out), "data": ""})
        assert main(["sample", run, "--prompt-file", path, "--tokens", "1", "--json"]) == 0
        output = capsys.readouterr()
        assert note in output.err
        assert json.loads(output.out)["prompt"] == other.removesuffix("\n")
    assert found[0] == found[1]
    assert main(["eval", run, "--data", str(tmp_path / "ascii.txt")]) == 0
    assert capsys.readouterr().err == ""
    assert main(["sample", run, "--prompt-file", str(tmp_path / "latin.txt"), "--encoding", "utf-8"]) == 2
    assert "not UTF-8 text" in capsys.readouterr().err
