"""Files of which each line is a document: what they hold, what is refused, and that they are as good as a folder."""

import gzip
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2.cli import main
from gpt2.config import TrainConfig
from gpt2.errors import DataError
from gpt2.text.corpora import Form, load_corpus
from gpt2.text.encoding import prepare
from gpt2.tokenizers import ByteTokenizer

WORDS = ["the cat", " sat\n on the mat\n", "é 語 🙂", "a\r\nb", '"quoted" \\ and \u2028 more', "x" * 40]


def documents(corpus):
    return ["".join(document.pieces) for document in corpus.documents()]


def write(path, rows):
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


@pytest.mark.parametrize("name", ["my.jsonl", "my.jsonl.gz"])
def test_each_line_is_a_document(tmp_path, name):
    corpus = load_corpus(write(tmp_path / name, [{"id": i, "text": text} for i, text in enumerate(WORDS)]))
    expected = [text.replace("\r\n", "\n") for text in WORDS]
    assert corpus.name == "my"
    assert documents(corpus) == expected
    assert documents(corpus) == expected  # again
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, text in enumerate(WORDS):
        (folder / f"{i}.txt").write_bytes(text.encode())
    assert corpus.sha256 == load_corpus(str(folder)).sha256


@given(texts=st.lists(st.text(max_size=20), min_size=1, max_size=8), ascii=st.booleans(), end=st.sampled_from(["\n", "\r\n"]))
def test_any_texts(tmp_path_factory, texts, ascii, end):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    texts = [text.replace("\r\n", "\n") for text in texts if text.isprintable() or ascii]
    rows = [json.dumps({"text": text}, ensure_ascii=ascii) for text in texts]
    path.write_bytes((end.join(rows) + "\n\n" + ("{}"[:0])).encode("utf-8", "surrogatepass"))
    expected = [text for text in texts if text]
    if expected:
        assert documents(load_corpus(str(path))) == expected
    else:
        with pytest.raises(DataError, match="the file is empty"):
            load_corpus(str(path))


def test_another_field(tmp_path):
    path = write(tmp_path / "my.jsonl", [{"content": "a"}, {"content": "b", "text": "c"}])
    assert documents(load_corpus(path, Form(field="content"))) == ["a", "b"]
    with pytest.raises(
        DataError, match="line 1: it has no field 'text', only 'content'; name the text's field with --text-field"
    ):
        load_corpus(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": oops}', "line 3: not JSON: Expecting value, at character 10"),
        ('{"text": "cut', "line 3: not JSON: Unterminated string"),
        ("[1]", "line 3: it holds a list, not an object"),
        ('{"text": null}', "line 3: its 'text' is null, not a text"),
        ('{"text": 3}', "line 3: its 'text' is int, not a text"),
        ('{"a": 1, "b": 2}', "line 3: it has no field 'text', only 'a', 'b'; name the text's field with --text-field"),
        ("{}", "line 3: it has no field 'text'; name the text's field with --text-field"),
        ('{"text": "\\ud800"}', r"line 3: U\+D800 at position 0 is half of a surrogate pair"),
        ('{"text": "a", "text": "b"}', "line 3: 'text' comes twice"),
        ("[" * 100_000, "line 3: nested too deeply"),
        (json.dumps({str(i): i for i in range(50)}), "'9', ...; name the text's field with --text-field"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path, line, message):
    (tmp_path / "x.jsonl").write_text(f'{{"text": "a"}}\n\n{line}\n{{"text": "b"}}\n')
    corpus = load_corpus(str(tmp_path / "x.jsonl"))  # it begins well
    with pytest.raises(DataError, match=rf"^{tmp_path}/x\.jsonl: .*{message}"):
        corpus.characters  # noqa: B018
    (tmp_path / "y.jsonl").write_text(f"\n\n{line}\n")
    with pytest.raises(DataError, match=message):
        load_corpus(str(tmp_path / "y.jsonl"))


def test_a_line_may_be_long_but_not_endless(tmp_path, monkeypatch):
    monkeypatch.setattr("gpt2.text.corpora.lines.LONGEST", 5_000_000)
    long = "some words " * 300_000
    assert documents(load_corpus(write(tmp_path / "a.jsonl", [{"text": long}, {"text": "b"}]))) == [long, "b"]
    path = write(tmp_path / "b.jsonl.gz", [{"text": "x" * 50_000_000}])
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="a line has more than 5,000,000 characters"):
            load_corpus(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40e6


def test_a_folder_and_a_glob_with_such_files(tmp_path):
    write(tmp_path / "b.jsonl", [{"text": "B1"}, {"text": ""}, {"text": "B2"}])
    write(tmp_path / "c.jsonl.gz", [{"text": "C"}])
    (tmp_path / "a.txt").write_text("A")
    (tmp_path / "d.txt").write_text('{"text": "as it is"}')
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "none.jsonl").write_bytes(b"\x89PNG\0")
    corpus = load_corpus(str(tmp_path))
    assert documents(corpus) == ["A", "B1", "B2", "C", '{"text": "as it is"}']
    (note,) = corpus.notes
    assert note.endswith(f"left out files that are not UTF-8 text: {tmp_path / 'none.jsonl'}")
    assert documents(load_corpus(f"{tmp_path}/[bc].jsonl*")) == ["B1", "B2", "C"]
    write(tmp_path / "e.jsonl", [{"body": "E"}])
    with pytest.raises(DataError, match=r"e\.jsonl: line 1: it has no field 'text', only 'body'"):
        load_corpus(str(tmp_path))


def test_documents_are_split_and_kept_apart(tmp_path):
    texts = [f"{i:03d} " * 50 for i in range(40)]
    corpus = load_corpus(write(tmp_path / "my.jsonl", [{"text": text} for text in texts]))
    tokenizer = ByteTokenizer()
    made = prepare(corpus, tokenizer, TrainConfig(split="document", val_fraction=0.2), 16)
    parts = []
    for ids in (made.train, made.val):
        parts.append([part for part in tokenizer.decode(ids).split("<|endoftext|>") if part])
    assert sorted(parts[0] + parts[1]) == texts
    assert len(parts[1]) == 8


def test_a_run_on_one(tmp_path, capsys):
    path = write(tmp_path / "my.jsonl", [{"body": f"Document {i} says something. " * 3} for i in range(60)])
    out = str(tmp_path / "run")
    shape = ["--d-model=16", "--num-layers=1", "--num-heads=2", "--max-seq-len=16", "--sample-tokens=0", "--steps=2"]
    train = ["train", "--no-plots", "--data", path, "--out", out, "--split", "document", "--tokenizer", "byte", *shape]
    assert main(train) == 2
    assert "it has no field 'text', only 'body'; name the text's field with --text-field" in capsys.readouterr().err
    assert main([*train, "--text-field", "body"]) == 0
    for command in (
        ["eval", "--run", out],
        ["eval", "--run", out, "--data", path, "--text-field", "body"],
        ["replay", out, "--step", "2"],
        ["tokenize", "--train", path, "--text-field", "body", "--vocab-size", "300", "--out", str(tmp_path / "t.json")],
    ):
        assert main(command) == 0, command


def test_a_number_that_is_too_long_is_said_in_our_words(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one", "n": %s}\n' % ("1" * 6000))
    with pytest.raises(DataError, match="line 1: a whole number has 6,000 digits, which are too many"):
        load_corpus(str(tmp_path / "a.jsonl")).sha256  # noqa: B018
