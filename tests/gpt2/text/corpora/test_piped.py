"""Text that comes through standard input or a pipe: read once, trained on as often as needed, and missed when it is gone."""

import contextlib
import errno
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc

import pytest

from gpt2.cli import _parser, main
from gpt2.commands import train
from gpt2.errors import ConfigError, DataError
from gpt2.text.corpora import load_corpus, piped
from gpt2.text.corpora.reading import BLOCK
from gpt2.training.mpi import comm

SMALL = (  # noqa: SIM905
    "--d-model 16 --num-layers 1 --num-heads 2 --max-seq-len 16 --sample-tokens 0 --steps 4 --eval-every 2 --save-every 2 "
    "--threads 1 --shards 1"
).split()


@contextlib.contextmanager
def writer(content):
    """The end of a pipe from which the content, or what a function writes, can be read."""
    here, there = os.pipe()

    def write():
        with contextlib.suppress(BrokenPipeError), open(there, "wb") as file:
            content(file) if callable(content) else file.write(content)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield here
    finally:
        os.close(here)
        thread.join()


@contextlib.contextmanager
def stdin(content):
    """This process's standard input is a pipe with that content."""
    with writer(content) as here, open(here, closefd=False) as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", file)
        yield


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(piped, "WAIT", 0.1)


def test_standard_input_is_read_once_and_is_there_again_and_again():
    with stdin("\ufeffhé\r\nho".encode()):
        corpus = load_corpus("-")
    assert (corpus.name, corpus.once, corpus.notes) == ("stdin", True, ())
    first, second = corpus.pieces(), corpus.pieces()  # two at once
    assert ("".join(first), "".join(second), corpus.text, corpus.characters) == ("hé\nho", "hé\nho", "hé\nho", 5)


def test_its_copy_has_no_name_and_little_of_it_is_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    block = b"some words\n" * (BLOCK // 11)

    def write(file):
        for _ in range(60):
            file.write(block)

    tracemalloc.start()
    try:
        with stdin(write):
            corpus = load_corpus("-")
        assert corpus.characters == 60 * len(block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16e6
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_of_the_shell(tmp_path):
    """`<(...)` is a name of an open descriptor; the program behind it may be slow."""

    def slowly(file):
        for part in (b"sl", b"ow", b"ly"):
            time.sleep(0.15)
            file.write(part)
            file.flush()

    with writer(slowly) as here, pytest.MonkeyPatch.context() as patch:
        patch.setattr(piped, "WAIT", 0.05)
        corpus = load_corpus(f"/dev/fd/{here}")
    assert (corpus.name, corpus.text) == ("pipe", "slowly")


def test_a_named_pipe(tmp_path):
    os.mkfifo(tmp_path / "p")
    thread = threading.Thread(target=lambda: (tmp_path / "p").write_text("through a pipe"))
    thread.start()
    assert load_corpus(str(tmp_path / "p")).text == "through a pipe"
    thread.join()


def test_a_pipe_that_nobody_writes_into_is_not_waited_for(tmp_path, fast):
    os.mkfifo(tmp_path / "p")
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"/p: no program writes into this pipe; start the writing program first"):
        load_corpus(str(tmp_path / "p"))
    assert time.perf_counter() - start < 2


def test_standard_input_that_does_not_block_is_waited_for():
    def slowly(file):
        time.sleep(0.1)
        file.write(b"a ")
        file.flush()
        time.sleep(0.1)
        file.write(b"text")

    with stdin(slowly):
        fcntl.fcntl(sys.stdin.fileno(), fcntl.F_SETFL, os.O_NONBLOCK)
        assert load_corpus("-").text == "a text"


def test_standard_input_without_text(monkeypatch):
    for content, message in {
        b"": "is empty; pipe a text into it: cat FILE",
        b"\xff": "not UTF-8 text",
        b"ab\0": "a binary file",
    }.items():
        with stdin(content), pytest.raises(DataError, match=f"standard input.*{message}"):
            load_corpus("-")
    endless = open("/dev/zero")  # noqa: SIM115
    monkeypatch.setattr(sys, "stdin", endless)
    with endless, pytest.raises(DataError, match="a binary file"):
        load_corpus("-")
    with pytest.raises(DataError, match="standard input is closed; pipe a text"):
        load_corpus("-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DataError, match="standard input is closed; pipe a text"):
        load_corpus("-")
    ours, theirs = os.openpty()
    with open(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with pytest.raises(DataError, match="standard input is a terminal; pipe a text"):
            load_corpus("-")
    os.close(ours)


def test_no_room_for_its_copy(monkeypatch):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "wb", 0))  # noqa: SIM115
    with (
        stdin(b"a text"),
        pytest.raises(DataError, match=r"copied into a temporary file: No space left on device; give"),
    ):
        load_corpus("-")


def test_no_place_for_temporary_files(monkeypatch):
    def nowhere(**_):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", nowhere)
    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with stdin(b"a text"), pytest.raises(DataError, match=r"standard input: .*: No usable temporary directory found"):
        load_corpus("-")


class Slow(io.FileIO):
    """A disk that takes a few bytes at a time, as one does that is nearly full."""

    def write(self, content):
        return super().write(content[:7])


def test_a_disk_that_takes_a_part_of_what_it_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Slow(tmp_path / "copy", "w+"))
    with stdin(b"a text of more than seven letters"):
        assert load_corpus("-").text == "a text of more than seven letters"


TEXT = "A text that is long enough to be trained on. " * 30


def test_a_run_on_standard_input(tmp_path, capsys):
    """It is trained, resumed, evaluated and replayed with the same text given again, by any name; without it, it says so."""
    out = tmp_path / "run"
    train = ["train", "--out", str(out), *SMALL]
    with writer(TEXT.encode()) as here:
        assert main([*train, "--data", f"/dev/fd/{here}"]) == 0
    assert f"gpt2 eval {out} --data -" in capsys.readouterr().out
    assert json.loads((out / "config.json").read_text())["training"]["data"] == "-"
    gone = "its text came through a pipe and was not kept: give it again with --data"
    with stdin(TEXT.encode()):  # not taken for the text unless it is named
        for command in (
            ["eval", "--run", str(out)],
            ["eval", "--run", str(out), "--memorised"],
            ["train", "--out", str(out), "--resume"],
            ["replay", str(out), "--step", "3"],
        ):
            assert main(command) == 2
            assert gone in capsys.readouterr().err
    (tmp_path / "same.txt").write_text(TEXT)
    with writer(TEXT.encode()) as here, stdin(TEXT.encode()):
        for name in ("/dev/stdin", f"/dev/fd/{here}", str(tmp_path / "same.txt")):
            assert main(["train", "--no-plots", "--out", str(out), "--resume", "--data", name]) == 0
    capsys.readouterr()
    with stdin(b"another text"):
        assert main(["train", "--out", str(out), "--resume", "--data", "-"]) == 2
    assert "--data - is another text: its sha256 is" in capsys.readouterr().err
    with stdin(TEXT.encode()):
        assert main(["replay", str(out), "--step", "3", "--data", "-"]) == 0
    assert "equal to the log, bit for bit" in capsys.readouterr().out
    with stdin(TEXT.encode()):
        assert main(["eval", "--run", str(out), "--data", "-", "--memorised", "--tokens", "5"]) == 0
    assert main(["eval", "--run", str(out)]) == 0  # the file with the same text has become the one that the run has noted


def test_a_tokenizer_from_a_pipe(tmp_path, capsys):
    with stdin(TEXT.encode()):
        assert main(["tokenize", "--train", "-", "--vocab-size", "270", "--out", str(tmp_path / "t.json"), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["data"], about["characters"]) == ("stdin", len(TEXT))


LONG = "".join(f"line {i} of a long text, é and 日\n" for i in range(20_000))
"""Several hundred kilobytes, more than any buffer on the way has room for."""


def rarely(*names):
    return [pytest.param(name, marks=pytest.mark.exhaustive) for name in names]


@pytest.mark.parametrize("name", ["/dev/stdin", *rarely("-", "/dev/fd/0", "/proc/self/fd/0")])
@pytest.mark.parametrize("kind", ["pipe", *rarely("file")])
def test_every_name_of_standard_input_gives_all_of_it(tmp_path, name, kind):
    """Every byte once, however it is called; and the run notes that it cannot have it again."""
    (tmp_path / "my.txt").write_text(LONG)
    script = f"{sys.executable} -m gpt2 tokenize --train {name} --vocab-size 257 --out {tmp_path}/t.json --json"
    feed = f"cat {tmp_path}/my.txt | " if kind == "pipe" else ""
    into = f" < {tmp_path}/my.txt" if kind == "file" else ""
    done = subprocess.run(["bash", "-c", feed + script + into], capture_output=True, text=True, timeout=120)
    about = json.loads(done.stdout)
    assert (about["data"], about["characters"], about["bytes"]) == ("stdin", len(LONG), len(LONG.encode())), done.stderr


def test_standard_input_that_was_begun_elsewhere(tmp_path):
    """A shell's `read` has taken the first line: the rest is the text, by every name alike."""
    (tmp_path / "my.txt").write_text(LONG)
    for name in ("-", "/dev/stdin", "/dev/fd/0"):
        with open(tmp_path / "my.txt") as file, pytest.MonkeyPatch.context() as patch:
            os.lseek(file.fileno(), 1000, os.SEEK_SET)
            patch.setattr(sys, "stdin", file)
            assert load_corpus(name).text == LONG.encode()[1000:].decode()


@pytest.mark.parametrize("command", ["resume", "tokenize", *rarely("eval", "replay")])
@pytest.mark.parametrize("way", ["descriptor", "named pipe"])
def test_a_long_text_through_a_pipe_reaches_every_command_whole(tmp_path, run_on_long, capsys, command, way):
    run, evaluated = run_on_long
    shutil.copytree(run, tmp_path / "run")
    with contextlib.ExitStack() as stack:
        if way == "descriptor":
            data = f"/dev/fd/{stack.enter_context(writer(LONG.encode()))}"
        else:
            data = str(tmp_path / "p")
            os.mkfifo(data)
            thread = threading.Thread(target=lambda: (tmp_path / "p").write_text(LONG))
            thread.start()
            stack.callback(thread.join)
        commands = {
            "eval": ["eval", "--run", str(run), "--data", data, "--json"],
            "resume": ["train", "--no-plots", "--resume", "--out", str(tmp_path / "run"), "--data", data],
            "replay": ["replay", str(run), "--step", "3", "--data", data],
            "tokenize": ["tokenize", "--train", data, "--vocab-size", "257", "--out", str(tmp_path / "t.json"), "--json"],
        }
        assert main(commands[command]) == 0
    said = capsys.readouterr().out
    assert {"eval": '"tokens": ', "resume": "validation loss", "replay": "equal to the log, bit for bit", "tokenize": "{"}[
        command
    ] in said
    if command == "eval":
        assert json.loads(said)["loss"] == evaluated
    if command == "tokenize":
        assert json.loads(said)["characters"] == len(LONG)


@pytest.fixture(scope="module")
def run_on_long(tmp_path_factory):
    """A run on the long text, and the loss of its model on all of it."""
    folder = tmp_path_factory.mktemp("long")
    (folder / "my.txt").write_text(LONG)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        shape = [*SMALL, "--eval-windows", "10", "--no-plots"]
        assert main(["train", "--data", str(folder / "my.txt"), "--out", str(folder / "run"), *shape]) == 0
        out.truncate(out.seek(0))
        assert main(["eval", "--run", str(folder / "run"), "--data", str(folder / "my.txt"), "--json"]) == 0
    return folder / "run", json.loads(out.getvalue())["loss"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train --config {pipe}", "--config {pipe}: it is a pipe, and not a file"),
        ("tokenize a --tokenizer {pipe}", "{pipe}: it is a pipe, and not a file"),
        ("train --tokenizer {pipe} --data {text}", "{pipe}: it is a pipe, and not a file"),
        ("eval --run {pipe}", "{pipe}: no such folder"),
    ],
)
def test_what_cannot_be_a_pipe_takes_nothing_from_one(tmp_path, capsys, command, message):
    (tmp_path / "my.txt").write_text(TEXT)
    with writer(b"a text") as here:
        pipe = f"/dev/fd/{here}"
        assert main(command.format(pipe=pipe, text=tmp_path / "my.txt").split()) == 2
        assert message.format(pipe=pipe) in capsys.readouterr().err
        assert os.read(here, 100) == b"a text"


def test_of_several_ranks_none_takes_anything_from_a_pipe(tmp_path, monkeypatch):
    """Each would get a part of it."""
    two = comm.Comm()
    two.size = 2
    monkeypatch.setattr(comm, "current", lambda: two)
    with writer(b"a text") as here:
        for name in ("-", "/dev/stdin", f"/dev/fd/{here}"):
            with pytest.raises(ConfigError, match=f"--data {name}: only one rank could read it; give a file"):
                train.run(_parser().parse_args(["train", "--data", name, "--out", str(tmp_path / "run")]))
        assert os.read(here, 100) == b"a text"
    assert not (tmp_path / "run").exists()


def test_nothing_through_any_name(fast):
    for name in ("-", "/dev/stdin", "/dev/fd/0"):
        with stdin(b""), pytest.raises(DataError, match="standard input is empty"):
            load_corpus(name)
    with writer(b"") as here, pytest.raises(DataError, match="the pipe is empty; check whether the program"):
        load_corpus(f"/dev/fd/{here}")


def test_a_shell(tmp_path):
    """The real thing."""
    script = f'{sys.executable} -m gpt2 tokenize --train <(printf "a text") --vocab-size 260 --out {tmp_path}/t.json --json'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert json.loads(done.stdout)["data"] == "pipe", done.stderr
