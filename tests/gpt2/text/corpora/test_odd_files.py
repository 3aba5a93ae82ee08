"""Data folders and globs with pipes, sockets, devices, circles of links and what cannot be read: nothing hangs or is lost."""

import inspect
import os
import sys

import pytest

from gpt2.cli import main
from gpt2.errors import DataError
from gpt2.text.corpora import load_corpus
from gpt2.text.corpora.reading import TextFile


def documents(corpus):
    return ["".join(document.pieces) for document in corpus.documents()]


def test_a_folder_leaves_out_what_is_no_file_and_says_so(odd):
    corpus = load_corpus(str(odd))
    assert documents(corpus) == ["through a link", "a text"]
    (note,) = corpus.notes
    for part in ("left out what is not a file", "again (a link to a folder)", "device.txt (a link to a device)", "and 3 more"):
        assert part in note


@pytest.mark.parametrize(
    ("pattern", "texts", "left_out"),
    [
        ("*.txt", ["through a link"], ["device.txt", "folder.txt (a folder)", "pipe.txt (a pipe)", "1 more"]),
        ("**/*.txt", ["through a link", "a text"], ["device.txt", "pipe.txt", "socket.txt (a socket)"]),
        ("**", ["through a link", "a text"], ["again"]),
        ("*/*.txt", ["a text"], ["again (a link to a folder)", "other", "up"]),
        ("[so]*/*.txt", ["a text"], ["other (a link to a folder)"]),
        ("other/*.txt", ["through a link"], None),  # a link that the pattern names
        ("s*/text.txt", ["a text"], None),
        ("sub/[t]ext.txt/..", None, None),
    ],
)
def test_a_glob_does_too(odd, pattern, texts, left_out):
    if texts is None:
        with pytest.raises(DataError, match="the pattern matches no text"):
            load_corpus(f"{odd}/{pattern}")
        return
    corpus = load_corpus(f"{odd}/{pattern}")
    assert documents(corpus) == texts
    assert len(corpus.notes) == (left_out is not None)
    assert all(part in corpus.notes[0] for part in left_out or [])


def test_a_glob_is_what_glob_gives(tmp_path):
    import glob

    for name in ("a.txt", "b/a.txt", "b/c/a.md", "b/c/.x/a.txt", ".h/a.txt", ".a.txt", "b/[x].txt", "d/d/d/a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    patterns = ["*", "*.txt", "**", "**/*", "**/a.*", "b/**", "*/*/*", "**/c/*", "?/**/a.txt", ".*/*", "**/d/**/*.txt"]
    for pattern in [*patterns, ".*", "b/[[]x]*"]:
        expected = sorted({p for p in glob.glob(f"{tmp_path}/{pattern}", recursive=True) if os.path.isfile(p)})
        try:
            found = sorted(documents(load_corpus(f"{tmp_path}/{pattern}")))
        except DataError:
            found = []
        assert found == sorted(os.path.relpath(p, tmp_path) for p in expected), pattern


def test_a_circle_of_links_is_no_forest(tmp_path):
    for name in "abcdefgh":
        (tmp_path / name).mkdir()
        for other in "abcdefgh":
            (tmp_path / name / f"to_{other}").symlink_to(tmp_path / other)
    (tmp_path / "a" / "x.txt").write_text("once")
    for data in (tmp_path, tmp_path / "**", tmp_path / "**" / "*.txt"):
        assert documents(load_corpus(str(data))) == ["once"]
    (tmp_path / "self").symlink_to(tmp_path / "self")
    with pytest.raises(DataError, match="self: Too many levels of symbolic links"):
        load_corpus(str(tmp_path))
    with pytest.raises(DataError, match="self: Too many levels of symbolic links"):
        load_corpus(str(tmp_path / "self"))


def test_folders_deeper_than_pythons_stack(tmp_path):
    folder = tmp_path.joinpath(*["d"] * 150)
    folder.mkdir(parents=True)
    (folder / "x.txt").write_text("deep")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 120)
    try:
        found = [documents(load_corpus(str(data))) for data in (tmp_path, tmp_path / "**" / "*.txt")]
    finally:
        sys.setrecursionlimit(limit)
    assert found == [["deep"], ["deep"]]


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_a_device_is_not_read(name):
    with pytest.raises(DataError, match=f"{name}: it is a device, and not a file"):
        load_corpus(name)


def test_a_socket_is_not_read(odd):
    with pytest.raises(DataError, match=r"socket\.txt: it is a socket, and not a file"):
        load_corpus(str(odd / "socket.txt"))
    with pytest.raises(DataError, match="it is a pipe, and not a file"):
        list(TextFile(odd / "pipe.txt"))


@pytest.mark.parametrize("name", ["", " ", "\t\n"])
def test_a_name_of_nothing_is_refused(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("never read")
    with pytest.raises(DataError, match=r"is not a text; give a file, a folder, or a corpus by name .pydocs"):
        load_corpus(name)
    (tmp_path / "c.toml").write_text(f"data = {name!r}\n".replace("'", '"'))
    for command in (
        ["train", "--data", name],
        ["train", "--config", "c.toml"],
        ["tokenize", "--train", name, "--vocab-size", "300", "--out", "t.json"],
    ):
        assert main(command) == 2
        assert "is not a text" in capsys.readouterr().err
    assert main(["train", "--data", "a.txt", "--tokenizer", name]) == 2
    assert "is neither char, byte, bpe, gpt2 nor a file" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "c.toml"]


NAMES = ["a\nb.txt", "\udcff.txt", "\x1b[2J.txt", "é" * 125 + ".txt", "n" * 251 + ".txt", "*.txt", "[.txt"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_all_kinds(tmp_path, name):
    (tmp_path / name).write_text("the text")
    for data in (tmp_path / name, tmp_path, tmp_path / "*.txt"):
        assert load_corpus(str(data)).text == "the text"


@pytest.mark.parametrize("name", NAMES)
def test_a_run_on_a_text_of_any_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("A text that is long enough to be trained on. " * 20)
    tiny = ["--d-model=16", "--num-layers=1", "--num-heads=2", "--max-seq-len=16", "--sample-tokens=0", "--steps=1"]
    assert main(["train", "--no-plots", "--data", name, *tiny]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert str(run).isprintable()
    assert main(["eval", "--run", str(run)]) == 0


@pytest.mark.parametrize("name", ["n" * 256, "n/" * 3000, "a\0b", "\ud800", "*\0", "**/\ud800*", "[" * 300])
def test_names_that_no_file_has(tmp_path, name):
    for data in (name, f"{tmp_path}/{name}"):
        with pytest.raises(DataError, match=r"no such file|File name too long|no text"):
            load_corpus(data)


READ = """
import sys
from gpt2.text.corpora import load_corpus
from gpt2.errors import DataError
for data in sys.argv[1:]:
    try:
        print(load_corpus(data).text)
    except DataError as error:
        print("refused:", error)
"""


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o600], ids=["closed", "not to list", "not to enter"])
def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path, unprivileged, mode):
    (tmp_path / "a.txt").write_text("A")
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "b.txt").write_text("B")
    (tmp_path / "closed").chmod(mode)
    patterns = ["", "/**", "/**/*.txt", "/*/*.txt", "/closed/*.txt"] + ["/*/b.txt"] * (mode != 0o300)
    done = unprivileged(READ, *(f"{tmp_path}{pattern}" for pattern in patterns))
    (tmp_path / "closed").chmod(0o700)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == len(patterns)
    for line in lines:
        assert line.startswith("refused: ")
        assert "closed" in line
        assert "Permission denied" in line


def test_a_file_that_cannot_be_read_is_not_passed_over(tmp_path, unprivileged):
    (tmp_path / "a.txt").write_text("A")
    (tmp_path / "b.txt").write_text("B")
    (tmp_path / "b.txt").chmod(0)
    done = unprivileged(READ, tmp_path, tmp_path / "*.txt", tmp_path / "b.txt")
    assert done.stdout == f"refused: {tmp_path}/b.txt: Permission denied\n" * 3


def test_what_changes_while_it_is_read(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("some text")
    corpus = load_corpus(str(tmp_path))
    (tmp_path / "b.txt").unlink()
    with pytest.raises(DataError, match=r"b\.txt: No such file"):
        corpus.sha256  # noqa: B018
    os.mkfifo(tmp_path / "b.txt")
    with pytest.raises(DataError, match=r"b\.txt: it is a pipe"):
        corpus.sha256  # noqa: B018


def test_a_run_among_its_texts_is_no_text(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("a text, and it is here.\n" * 60)
    (tmp_path / "sub" / "config.json").write_text('{"model": "a text that is none of a run"}')
    before = {data: load_corpus(data).sha256 for data in (".", "**/*", "**")}
    sizes = {"--d-model": 16, "--num-layers": 1, "--num-heads": 2, "--max-seq-len": 16, "--threads": 1, "--batch-size": 2}
    small = ["--no-plots", *(f"{flag}={size}" for flag, size in sizes.items())]
    for flags in (["--out", "sub/mine"], ["--out", "sub/mine", "--resume"], [], ["--out", "other"]):
        assert main(["train", ".", "--steps", "2", *small, *flags]) == 0
        assert "config.json: not" not in capsys.readouterr().err
    for data, sha256 in before.items():
        corpus = load_corpus(data)
        assert corpus.sha256 == sha256
        assert "left out what gpt2 train wrote: " in corpus.notes[-1]
        assert "other (a folder)" in corpus.notes[-1]
    for folder in ("sub/mine", "other"):
        assert main(["eval", folder]) == 0
    assert main(["train", ".", "--steps", "4", "--out", "other", "--resume", "--accept-changes", *small]) == 0
    with pytest.raises(DataError, match=r"matches no text, only other \(a folder\)"):
        load_corpus("other*/*.txt")
    assert documents(load_corpus("other/s*.txt"))  # who names the run means it


def test_a_link_to_nothing_is_left_out(tmp_path):
    (tmp_path / "a.txt").write_text("a text")
    (tmp_path / "b.txt").symlink_to("nowhere")
    for data in (tmp_path, f"{tmp_path}/*"):
        corpus = load_corpus(str(data))
        assert documents(corpus) == ["a text"]
        assert "left out what is not a file: " in corpus.notes[0]
        assert "b.txt (a link to nothing)" in corpus.notes[0]


def test_a_name_in_capitals_or_of_another_kind_has_lines(tmp_path):
    for name in ("a.JSONL", "a.ndjson"):
        (tmp_path / name).write_text('{"text": "one"}\n{"text": "two"}\n')
        assert documents(load_corpus(str(tmp_path / name))) == ["one", "two"]


def test_what_is_called_gz_and_is_none(tmp_path):
    (tmp_path / "a.txt.gz").write_text("a text")
    with pytest.raises(DataError, match=r"a\.txt\.gz: it is not compressed: rename it, without \.gz"):
        load_corpus(str(tmp_path / "a.txt.gz"))
