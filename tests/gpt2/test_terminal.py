"""What reaches a terminal is printable, a training outlives the place where it is shown, and a failure is one line."""

import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

import gpt2.__main__
from gpt2 import terminal
from gpt2.cli import main
from gpt2.text import batches
from gpt2.training import interrupts, memory

pytestmark = pytest.mark.slow

HOSTILE = "\x1b]0;title\x07\x1b[2J\rgone\u202eevil\x9b2J\x7f\u200b"
"""Renames the window, clears the screen, hides what stands before it, turns the line around, and so on."""

SMALL = [
    "--d-model=16",
    "--num-layers=1",
    "--num-heads=2",
    "--max-seq-len=16",
    "--sample-tokens=5",
    "--steps=20",
    "--eval-every=10",
    "--save-every=5",
    "--threads=1",
    "--shards=1",
]

ENVIRONMENT = os.environ | {"TINYGRAD2_KERNELS": "numpy", "PYTHONUNBUFFERED": ""}
"""So that it starts fast, and what is written is held back as usual."""

SPACES = dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000])


def is_plain(text):
    return all(c.isprintable() or c in "\n\t" for c in text.translate(SPACES))


def start(*arguments, **settings):
    settings = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "env": ENVIRONMENT,
    } | settings
    return subprocess.Popen([sys.executable, "-m", "gpt2", *map(str, arguments)], **settings)


# -- only printable text


def test_what_is_not_to_be_seen_is_spelled_out():
    assert terminal.printable(HOSTILE + "\udcff") == r"\x1b]0;title\x07\x1b[2J\rgone\u202eevil\x9b2J\u007f\u200b\udcff"
    assert is_plain(terminal.printable("".join(map(chr, range(sys.maxunicode + 1)))))
    for text in ("plain\n\ttext ~", "naïve — 日本　語 😀 é", ""):
        assert terminal.printable(text) == text
    assert terminal.one_line("a\nb\tc\x1b") == r"a\nb\tc\x1b"


def test_a_long_text_takes_no_time():
    for text in ("The quick brown fox\n" * 50_000, "Съешь ещё этих мягких\n" * 50_000):
        begin = time.perf_counter()
        assert terminal.printable(text) == text
        assert time.perf_counter() - begin < 1.0  # 1 MB; measured: 0.002 s and 0.06 s


def test_json_stays_the_same_object():
    text = json.dumps({"token": HOSTILE + "\udcff"})
    assert json.loads(terminal.printable(text)) == json.loads(text)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16"])
def test_what_a_stream_cannot_encode_is_spelled_out(encoding, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    monkeypatch.setattr(sys, "stdout", out)
    with terminal.guarded():
        print("é—日\udcff")
        terminal.styled("é—日\udcff")
    first, second = out.buffer.getvalue().decode(encoding).splitlines()
    assert first == second
    for c in "é—日":
        assert (c in first) != (ascii(c)[1:-1] in first)
    assert first.endswith("\\udcff")


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """A folder with a run whose name, text, tokens and samples all mean harm."""
    folder = tmp_path_factory.mktemp("evil")
    data = folder / f"{HOSTILE}\n.txt"
    data.write_text((HOSTILE + "\n") * 200)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        assert (
            main(
                [
                    "train",
                    "--no-plots",
                    "--data",
                    str(data),
                    "--out",
                    str(folder / f"run{HOSTILE}\n"),
                    *SMALL,
                    "--sample-tokens=40",
                ]
            )
            == 0
        )
    return folder, data, folder / f"run{HOSTILE}\n", out.getvalue()


def test_what_a_training_says_is_printable(evil):
    _, _, run, said = evil
    assert "\x1b" in (run / "samples.txt").read_text()  # the model does write it
    assert is_plain(said)
    assert r"\x1b]0;title\x07" in said
    assert next(line for line in said.splitlines() if line.startswith("run folder: ")).endswith("\\n")


COMMANDS = {
    "sample": "sample --run {run} --prompt \x1b --tokens 30",
    "samples": "sample --run {run} --prompt \x1b --tokens 9 --samples 2",
    "explain": "sample --run {run} --prompt \x1b --tokens 5 --explain",
    "eval": "eval --run {run}",
    "eval --data": "eval --run {run} --data {data}",
    "per token": "eval --run {run} --per-token",
    "memorised": "eval --run {run} --memorised --tokens 20",
    "json": "eval --run {run} --per-token --json",
    "tokenize": "tokenize {data} --tokenizer byte",
    "runs": "runs {folder}",
    "health": "health {run}",
    "plot": "plot {run} --out {folder}/{data.name}.png",
    "replay": "replay {run} --step 7",
    "learn": "tokenize --train {data} --vocab-size 270 --out {folder}/t.json",
    "no such run": "eval --run {run}{run}",
    "bad choice": "info --preset {data}",
    "unknown flag": "info --{data}",
    "unknown verb": "{data}",
}


@pytest.mark.filterwarnings("ignore:Glyph")  # pictures have no sign for some
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_says_printable_text_only(evil, capsys, command):
    folder, data, run, _ = evil
    try:
        code = main([part.format(folder=folder, data=data, run=run) for part in command.split(" ")])
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    assert is_plain(said.out + said.err)
    assert code in (0, 1, 2)
    if code == 2:
        assert said.err.count("\n") == 1
    elif "--json" in command:
        assert "\x1b" in [token for token, _ in json.loads(said.out)["per_token"]]
    elif command.startswith("runs"):
        assert len(said.out.splitlines()) == 2


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize("command", ["eval --run {run} --per-token", "tokenize \u202e|\x1b --show --tokenizer {bpe}"])
def test_our_colours_are_shown_and_those_of_others_are_not(evil, tmp_path, monkeypatch, command):
    _, data, run, _ = evil
    bpe = tmp_path / "bpe.json"
    main(["tokenize", "--train", str(data), "--vocab-size", "257", "--out", str(bpe), "--json"])
    monkeypatch.setattr(sys, "stdout", Screen())
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main([part.format(run=run, bpe=bpe) for part in command.split(" ")]) == 0
    shown = sys.stdout.getvalue()
    ours = r"\x1b\[[0-9;]*m"
    assert re.search(ours, shown)
    assert is_plain(re.sub(ours, "", shown))


def test_a_special_token_is_not_painted_as_it_is(tmp_path, monkeypatch):
    from gpt2.commands import tokenize

    word = {"special": True, "start": ["<|\x1b]0;t\x07|>"], "merges": [], "word": ""}
    assert list(tokenize._word_lines(word, False)) == [r"<|\x1b]0;t\x07|>  a special token: never cut, never merged"]


def test_bars_are_shown_and_lines_stand_above_them(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", screen)
    with terminal.guarded(), terminal.progress(total=3, desc="working", delay=0, leave=True) as bar:
        bar.update(2)
        terminal.say("a line\x1b")
    assert "\rworking" in screen.getvalue()
    assert "\ra line\\x1b\n" in screen.getvalue()  # the bar was wiped before
    with terminal.guarded(), terminal.progress(True, total=3) as bar:
        assert bar.disable


PARTS = [(0, "loss 1.632"), (2, "val 1.706"), (3, "lr 1.1e-03"), (4, "grad norm 0.53"), (1, "11,585 tokens/s")]


@pytest.mark.parametrize(("columns", "kept"), [(0, 5), (140, 5), (110, 5), (90, 4), (80, 3), (60, 2), (20, 1)])
@pytest.mark.parametrize("steps", [4000, 10**9])
def test_a_bar_keeps_the_loss_and_the_rate(monkeypatch, columns, kept, steps):
    monkeypatch.setattr(sys, "stderr", Screen())
    with terminal.progress(total=steps, initial=steps // 2, ncols=columns or None, bar_format=terminal.BAR) as bar:
        text = terminal.fitting(PARTS, terminal.room(bar))
        bar.set_postfix_str(text)
        drawn = str(bar)
    important = [part for number, part in PARTS if number < kept]
    if steps == 4000:
        assert text.split(", ") == important
    assert text.startswith("loss 1.632")
    if columns >= 80:
        assert len(drawn) <= columns
        assert text in drawn


# -- output that is not there any more


def ended(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, (out or b"").decode(), (err or b"").decode()


def check_whole(run):
    assert (run / "model.safetensors").exists()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(21))
    assert (run / "samples.txt").read_text().count("--- step") == 3


@pytest.fixture
def train(tmp_path, text):
    (tmp_path / "my.txt").write_text(text)
    return ["train", "--data", tmp_path / "my.txt", "--out", tmp_path / "run", *SMALL]


def test_a_training_goes_on_when_its_reader_has_gone(train, tmp_path):
    with start(*train) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read().decode()
    assert process.returncode == 0
    assert err == "gpt2: note: nothing more is shown: standard output cannot be written: Broken pipe\n"
    check_whole(tmp_path / "run")


def test_a_training_goes_on_when_nothing_can_be_written(train, tmp_path):
    with open("/dev/full", "w") as full:
        assert ended(start(*train, stdout=full, stderr=full)) == (0, "", "")
    check_whole(tmp_path / "run")


def test_a_training_goes_on_without_any_streams(train, tmp_path):
    def close_all():
        for number in range(3):
            os.close(number)

    assert ended(start(*train, stdout=None, stderr=None, preexec_fn=close_all)) == (0, "", "")
    check_whole(tmp_path / "run")
    code = """if True:
        import os, sys, gpt2.cli, gpt2.__main__
        def numbers():
            with open(sys.argv[1], "w") as file:
                print(file.fileno(), *[os.readlink(f"/proc/self/fd/{i}") for i in range(3)], file=file)
        gpt2.cli.main = numbers
        gpt2.__main__.main()
    """  # a library that writes to number 2 must not write into a file of the run
    subprocess.run([sys.executable, "-c", code, tmp_path / "numbers"], preexec_fn=close_all, check=True)
    assert (tmp_path / "numbers").read_text() == "3 /dev/null /dev/null /dev/null\n"


def test_a_closed_standard_input_is_not_an_empty_text():
    code, out, err = ended(start("tokenize", "-", "--tokenizer", "byte", preexec_fn=lambda: os.close(0)))
    assert (code, out) == (2, "")
    assert err == "gpt2 tokenize: error: standard input cannot be read: Bad file descriptor\n"


def test_a_training_goes_on_when_its_terminal_has_gone(train, tmp_path):
    ours, theirs = pty.openpty()
    process = start(*train, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    assert b"into" in os.read(ours, 1000)
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    assert ended(process) == (0, "", "")
    check_whole(tmp_path / "run")


def test_of_other_commands_a_pipe_that_closes_is_no_error_and_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        for arguments in (["info"], ["--help"]):
            code, _, err = ended(start(*arguments, stdout=full))
            assert code == 2
            assert err.endswith("error: standard output cannot be written: No space left on device\n")
            assert err.count("\n") == 1
        assert ended(start("info", stdout=full, stderr=full))[0] == 2
    read, write = os.pipe()
    os.close(read)
    for arguments in (["info"], ["--help"]):
        assert ended(start(*arguments, stdout=write)) == (0, "", "")
    os.close(write)


def test_a_lost_stream_is_quiet_from_then_on(monkeypatch):
    class Broken(io.StringIO):
        def write(self, text):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stdout", Broken())
    monkeypatch.setattr(sys, "stderr", Broken())
    with terminal.guarded():
        print("never counts", file=sys.stderr)
        with pytest.raises(terminal.OutputError, match="standard output cannot be written: Input/output error"):
            print("once")
        print("again")
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), write_through=False))
    with terminal.guarded():
        print("the rest", end="", file=sys.stderr)
    assert sys.stderr.buffer.getvalue() == b"the rest"  # nothing waits for the interpreter's end
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    with terminal.guarded():
        print("nowhere")
        terminal.say("nowhere")
    assert sys.stdout is None


# -- Ctrl-C


def catches(process):
    """Whether a process has a handler of its own for SIGINT."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return bool(int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> (signal.SIGINT - 1) & 1)


def interrupted(seconds, *arguments):
    """A process that is sent SIGINT so long after our code has begun; what the interpreter does before that is not ours."""
    code = "import runpy, sys; print('up', flush=True); runpy.run_module('gpt2', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout.readline() == b"up\n"
        begin = time.perf_counter()
        while catches(process):
            assert time.perf_counter() - begin < 10, "Python's own handler, which shows a traceback, is still there"
            time.sleep(0.001)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, err.decode()


LATER = [pytest.param(seconds, marks=pytest.mark.exhaustive) for seconds in (0.05, 0.2, 0.3, 0.6)]


@pytest.mark.parametrize("seconds", [0, 0.02, 0.1, 0.45, *LATER])
def test_ctrl_c_shows_no_traceback(train, seconds):
    code, err = interrupted(seconds, *train, "--steps=100000")
    assert code in (130, -signal.SIGINT)
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_where_ctrl_c_is_ignored_it_stays_so():
    process = start("info", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 0


def test_ctrl_c_within_a_finaliser_is_not_lost(monkeypatch):
    killed = []
    monkeypatch.setattr(os, "kill", lambda *about: killed.append(about))
    monkeypatch.setattr(gpt2.__main__.signal, "signal", lambda *_: None)
    shown = []
    gpt2.__main__._report(KeyboardInterrupt, lambda: shown.append(1))
    assert killed == [(os.getpid(), signal.SIGINT)]
    assert not shown


def test_ctrl_c_that_somebody_swallowed_is_not_lost(monkeypatch):
    """In the middle of the import of a compiled module it becomes an ImportError, which whoever tries an extra expects."""
    monkeypatch.setattr(interrupts, "raised", False)
    monkeypatch.setattr(gpt2.__main__.signal, "signal", lambda *_: None)
    with interrupts.Interrupts(), pytest.raises(KeyboardInterrupt):
        gpt2.__main__._interrupt(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt), interrupts.Interrupts():
        pytest.fail("a training began")


def test_importing_gpt2_loads_nothing_until_a_name_is_used():
    code = (
        "import sys, gpt2; print({'numpy', 'tqdm', 'typing'} & set(sys.modules)); print(dir(gpt2)[-3:])\n"
        "print(gpt2.GPT2Config.__name__, gpt2.TrainConfig.__name__, gpt2.GPT2.__name__); gpt2.nothing"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}"], capture_output=True, text=True
    )
    assert done.stdout.startswith("set()\n")
    assert done.stdout.endswith("GPT2Config TrainConfig GPT2\n")
    assert "AttributeError: module 'gpt2' has no attribute 'nothing'" in done.stderr


# -- one line


ERRORS = {
    "file": (OSError(28, "No space left on device", "a\nb"), r"a\nb: No space left on device"),
    "system": (OSError(5, "Input/output error"), "Input/output error"),
    "memory": (MemoryError(), "memory is used up; "),
    "depth": (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
    "surrogate": (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), "not Unicode"),
    "nul": (ValueError("embedded null byte"), "NUL"),
    "threads": (RuntimeError("can't start new thread"), "no more threads can be started"),
}


@pytest.mark.parametrize("verb", ["info", "train"])
@pytest.mark.parametrize(("error", "said"), ERRORS.values(), ids=ERRORS)
def test_what_goes_wrong_around_us_is_one_line(monkeypatch, capsys, verb, error, said):
    def fail(_):
        raise error

    monkeypatch.setattr(f"gpt2.commands.{verb}.run", fail)
    assert main([verb]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"gpt2 {verb}: error: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("of ours"), RuntimeError("of ours"), KeyError("x"), AssertionError()])
def test_a_mistake_in_the_code_is_not_hidden(monkeypatch, error):
    def fail(_):
        raise error

    monkeypatch.setattr("gpt2.commands.info.run", fail)
    with pytest.raises(type(error)):
        main(["info"])


def test_memory_that_is_not_there_is_said_with_what_there_is(tmp_path, capsys, monkeypatch):
    """What the weights alone take is known before; what a batch takes, when it is asked for."""
    for flags, wanted, fix in (
        ("--d-model=1048576 --num-layers=1000", "takes more than", "choose a smaller model"),
        ("--max-seq-len=8", "Unable to allocate 7 TiB", "a smaller --batch-size"),
    ):
        monkeypatch.setattr(batches, "batch", Mock(side_effect=MemoryError("Unable to allocate 7 TiB")))
        tiny = "--num-heads=1 --d-model=8 --num-layers=1 --out"
        assert main(["train", *tiny.split(), str(tmp_path / "run"), *flags.split()]) == 2
        err = capsys.readouterr().err
        assert wanted in err
        assert "MiB are free" in err
        assert fix in err
        assert err.count("\n") == 1


def test_free_memory_is_that_of_the_narrowest_limit(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: {"on this machine": 3 << 30, "under ulimit -v": 5 << 20})
    assert memory.free_memory() == "5 MiB are free under ulimit -v"
    monkeypatch.setattr(memory, "free_bytes", dict)
    assert "is unknown" in memory.free_memory()


IMPOSSIBLE = {
    "bytes": "a\udcff",
    "surrogate": "a\ud800",
    "newline": "a\nb",
    "NUL": "a\0b",
    "longest": "a" * 255,
    "too long": "a" * 256,
    "too deep": "/".join(["d" * 50] * 100),
}
NAMED = """train --data NAME;train --config NAME;train --tokenizer NAME;train --resume --out NAME/x --steps x;eval --run NAME
runs NAME;health NAME;plot NAME;replay NAME --step 1;export --run NAME --out x;tokenize x --tokenizer NAME"""


@pytest.mark.parametrize("name", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
@pytest.mark.parametrize("command", re.split("[;\n]", NAMED))
def test_a_name_that_cannot_be_is_one_line(tmp_path, monkeypatch, capsys, name, command):
    monkeypatch.chdir(tmp_path)
    try:
        code = main([part.replace("NAME", name) for part in command.split()])
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert is_plain(said.err)
    assert list(tmp_path.iterdir()) == []
