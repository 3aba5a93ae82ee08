"""What a stranger, a broken disk or a slip of the hand can put before gpt2, as a table of tries; and how each is tried.

python tests/gpt2/hostile.py [--sample N] [--covering] [--only TEXT] [--workers N]

A try makes a fresh folder: `work`, where the command runs, with a good run in it that is then damaged; and `victim`, a tree
beside it that is nobody's business. Whatever the try is, it holds if

- the command ends by itself within SECONDS and MEGABYTES, without a traceback and with an exit code of 0, 1 or 2;
- nothing in `victim` has changed, and if it was refused (2) nothing in `work` either;
- what it printed is printable, and a refusal is one line that names the command.

To add tries, add a row to one of the tables: COMMANDS, KINDS, VALUES, OUTS, DATA, STREAMS, SPECIAL.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.update(OPENBLAS_NUM_THREADS="1", TINYGRAD2_KERNELS="numpy", PYTHONWARNINGS="ignore")

SECONDS, MEGABYTES = 30, 600
SMALL = (
    "--d-model 16 --num-layers 1 --num-heads 2 --max-seq-len 16 --sample-tokens 5 --steps 20 --eval-every 10 --save-every 5 "
    "--threads 1 --shards 1"
)
EVIL = "\x1b]0;owned\x07\x1b[2J\u202e\r\x9b31m"
"""What takes over a terminal that shows it."""

COMMANDS = {
    "resume": "train --resume --out run",
    "go on": "train --resume --out run --steps 22 --accept-changes",
    "fine-tune": "train --init-from run --data my.txt --out new --steps 2 --eval-every 2 --sample-tokens 2 --threads 1",
    "sample": "sample --run run --prompt The --tokens 3",
    "eval": "eval --run run",
    "eval --best": "eval --run run --best",
    "inspect": "inspect run --prompt The",
    "lab": "lab run --tokens 2",
    "health": "health run",
    "runs": "runs .",
    "plot": "plot run",
    "replay": "replay run --step 12",
    "export": "export --run run --out exported",
    "tokenize": "tokenize --tokenizer run The",
}
OPENS_A_RUN = set(COMMANDS) - {"runs", "tokenize"}
"""Those that must refuse a folder with a link in it: `runs` names it beside the others, and `tokenize` reads one file."""

NAMES = (
    "config.json",
    "tokenizer.json",
    "model.safetensors",
    "metrics.jsonl",
    "samples.txt",
    "lock",
    "loss.png",
    "training.png",
    "checkpoints",
    "checkpoints/step-00000020.safetensors",
    "checkpoints/step-00000030.safetensors",
)
"""Of a run folder; the last is not there, as yet."""


# -- kinds of things in the place of a file


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def linked(to: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(Path(os.path.relpath(path.parents[path.parts[::-1].index("work")], path.parent), to))


def a_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket is short
    socket.socket(socket.AF_UNIX).bind(path.name)
    os.chdir(here)


def a_hole(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


KINDS: dict[str, Callable[[Path], None]] = {
    "link to a file": linked("victim/bashrc"),
    "link to a folder": linked("victim/checkpoints"),
    "link to nothing": linked("victim/nothing"),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "hard link": lambda path: path.hardlink_to(path.parents[path.parts[::-1].index("work")] / "victim" / "bashrc"),
    "pipe": os.mkfifo,
    "socket": a_socket,
    "device": lambda path: os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5)),  # /dev/zero
    "folder": lambda path: path.mkdir(),
    "nothing": lambda path: None,
    "empty": lambda path: path.touch(),
    "a terabyte of zeros": a_hole,
    "noise": lambda path: path.write_bytes(random.Random(0).randbytes(5000)),
    "one long line": lambda path: path.write_bytes(b'{"step": 1, "x": "' + b"x" * 40_000_000 + b'"}\n'),
    "deep json": lambda path: path.write_text('{"step":' * 100_000),
    "a list": lambda path: path.write_text("[1, 2]\n"),
    "invisible": lambda path: path.write_text(json.dumps({EVIL: EVIL})),
}

VALUES = (-1, 0, 10**9, 2**63, 1e308, 10**400, "x", EVIL, None, [], {}, True, float("nan"), [[0]] * 3)
"""In the place of a field."""


def leaves(value: object, path: tuple = ()) -> Iterator[tuple]:
    """The places of all fields in nested objects; of many alike (heads, layers), the first."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            if not (str(key).isdecimal() and key != "0"):
                yield from leaves(value[key], (*path, key))


def put(value: dict, path: tuple, new: object) -> dict:
    changed = json.loads(json.dumps(value))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return changed


# -- places for what a command writes, and texts it reads

WRITERS = {
    "train": f"train --data my.txt {SMALL} --out {{}}",
    "train --resume": f"train --resume --data my.txt {SMALL} --out {{}}",
    "export": "export --run run --out {}",
    "tokenize --train": "tokenize --train my.txt --vocab-size 260 --out {}",
    "plot": "plot run --out {}",
    "plot --tensorboard": "plot run --tensorboard {}",
    "inspect": "inspect run --prompt The --out {}",
    "lab": "lab run --tokens 2 --out {}",
    "replay": "replay run --step 3 --out {}",
}
OUTS = {
    "where it runs": ".",
    "above": "..",
    "the run": "run",
    "a file": "my.txt/x",
    "a folder of somebody": "mine",
    "a folder of links": "links",
    "link to a file": "to_file",
    "link to a folder": "to_folder",
    "dangling": "to_nothing",
    "pipe": "pipe",
    "full": "/dev/full",
    "null": "/dev/null",
    "long": "n" * 255,
    "too long": "n" * 256,
    "deep": "/".join(["d" * 200] * 25),
    "newline": "a\nb",
    "escape": "a" + EVIL,
    "surrogate": "a\udc80",
    "zero": "a\0b",
    "nothing": "",
    "no parent": "no/parent/at all.png",
    "readonly": "/proc/gpt2",
}
DATA = {
    "pipe": "pipe",
    "socket": "a_socket",
    "device": "/dev/zero",
    "null": "/dev/null",
    "nothing": "",
    "blank": "  ",
    "here": "odd",
    "binary": "noise",
    "latin-1": "latin",
    "missing": "missing" + EVIL,
    "link to itself": "loop",
    "pattern": "odd/**/*",
    "terabyte": "hole",
    "deep": "d/" * 3000,
    "zero": "a\0b",
    "surrogate": "a\udc80",
    "stdin": "-",
    "empty": "empty",
}
READERS = {
    "train": f"train {SMALL} --out new --data {{}}",
    "eval": "eval --run run --data {}",
    "tokenize --train": "tokenize --vocab-size 260 --out new.json --train {}",
    "--config": f"train {SMALL} --data my.txt --out new --config {{}}",
    "--tokenizer": f"train {SMALL} --data my.txt --out new --tokenizer {{}}",
}
STREAMS = ("stdout closed", "stderr closed", "all closed", "no reader", "stdout full", "all full", "ascii", "latin-1", "cp1252")

RIGHTS = {"unreadable": 0o000, "read-only": 0o555, "not to be entered": 0o666}
PLACES = (".", "run", "run/checkpoints", "run/config.json", "run/metrics.jsonl", "run/model.safetensors", "run/lock", "my.txt")


@dataclass
class Try:
    """`prepare` is given the folder `work` and damages it; then `command` runs there."""

    name: str
    of: tuple[str, ...]
    """The rows of tables that it is made of."""
    command: list[str]
    prepare: Callable[[Path], object] = lambda work: None
    refused: bool = False
    """Whether nothing but a refusal is right."""
    streams: str = ""
    all_rights: bool = True
    """Whether it is run by the superuser, if the tests are: to whom everything is readable."""
    signal: tuple[int, float] = (0, 0.0)


def tries() -> list[Try]:
    """All of them, in the same order each time."""
    found = []
    turn = itertools.cycle(COMMANDS)
    for kind, name in itertools.product(KINDS, NAMES):
        some = COMMANDS if "link" in kind else [next(turn) for _ in range(4)]
        for command, words in ((c, COMMANDS[c]) for c in some):
            link = kind.startswith("link") or kind in ("pipe", "socket", "device")
            replaced = replacing(name, KINDS[kind])
            found.append(
                Try(
                    f"{command}: {name} is {kind}",
                    (command, name, kind),
                    words.split(),
                    replaced,
                    link and command in OPENS_A_RUN,
                )
            )
    about = json.loads((BASE / "run" / "config.json").read_text())
    for path, value in itertools.product(leaves(about), VALUES):
        found.append(
            Try(
                f"{(c := next(turn))}: config {path} = {value!r:.20}",
                ("config", repr(value)),
                COMMANDS[c].split(),
                writing("run/config.json", put(about, path, value)),
            )
        )
    lines = (BASE / "run" / "metrics.jsonl").read_text().splitlines()
    for number, value in itertools.product((0, 11), VALUES):
        for path in leaves(json.loads(lines[number])):
            damaged = "\n".join(
                [*lines[:number], json.dumps(put(json.loads(lines[number]), path, value)), *lines[number + 1 :], ""]
            )
            command = next(turn)
            found.append(
                Try(
                    f"{command}: row {number} {path} = {value!r:.20}",
                    (f"row {number}", repr(value)),
                    COMMANDS[command].split(),
                    writing("run/metrics.jsonl", damaged),
                )
            )
    for path, value in itertools.product((("type",), ("characters",)), VALUES):
        saved = json.loads((BASE / "run" / "tokenizer.json").read_text())
        found.append(
            Try(
                f"sample: tokenizer {path} = {value!r:.20}",
                ("tokenizer", repr(value)),
                COMMANDS["sample"].split(),
                writing("run/tokenizer.json", put(saved, path, value)),
                True,
            )
        )
    bpe = json.loads((BASE / "bpe.json").read_text())
    for path, value in itertools.product(
        [p for p in leaves(bpe) if p[:2] != ("model", "vocab") or len(p) == 2] + [("model", "vocab", "a")], VALUES
    ):
        found.append(
            Try(
                f"tokenize: bpe {path} = {value!r:.20}",
                ("bpe", repr(value)),
                ["tokenize", "--tokenizer", "bpe.json", "The", "--show"],
                writing("bpe.json", put(bpe, path, value)),
            )
        )
    theirs = json.loads((BASE / "hf" / "config.json").read_text())
    for path, value in itertools.product(leaves(theirs), VALUES):
        found.append(
            Try(
                f"sample: Hugging Face {path} = {value!r:.20}",
                ("Hugging Face", repr(value)),
                ["sample", "--run", "hf", "--prompt", "a", "--tokens", "2"],
                writing("hf/config.json", put(theirs, path, value)),
            )
        )
    others = itertools.cycle(("replay", "sample"))
    for path, value in itertools.product(leaves(header(BASE / "run")), VALUES):
        if path[:2] != ("progress", "pending") or len(path) < 4:
            for command in ("resume", next(others)):
                found.append(
                    Try(
                        f"{command}: checkpoint {path} = {value!r:.20}",
                        (f"{command}: checkpoint", repr(value)),
                        COMMANDS[command].split(),
                        lambda work, p=path, v=value: sign(work / "run", p, v),
                    )
                )
    for kind, make in KINDS.items():
        words = WRITERS["train"].format("new").split()
        found.append(Try(f"train into a folder whose lock is {kind}", ("lock",), words, lambda work, m=make: begun(work, m)))
    for (writer, words), (where, out) in itertools.product(WRITERS.items(), OUTS.items()):
        if (writer, where) == ("plot --tensorboard", "link to a folder"):  # which is asked for: a sub-folder of one's own
            continue
        found.append(
            Try(
                f"{writer} --out {where}",
                (f"{writer} --out", f"--out {where}"),
                [w.format(out) for w in words.split()],
                occupied,
            )
        )
    for (reader, words), (what, data) in itertools.product(READERS.items(), DATA.items()):
        found.append(
            Try(f"{reader} of {what}", (f"{reader} of", f"of {what}"), [w.format(data) for w in words.split()], occupied)
        )
    for (right, mode), place, (command, words) in itertools.product(RIGHTS.items(), PLACES, COMMANDS.items()):
        found.append(
            Try(
                f"{command}: {place} is {right}",
                (right, f"{place} and its rights"),
                words.split(),
                lambda w, p=place, m=mode: (w / p).chmod(m),
                all_rights=False,
            )
        )
    for streams, (command, words) in itertools.product(STREAMS, COMMANDS.items()):
        found.append(Try(f"{command}: {streams}", (streams,), words.split(), streams=streams))
    for number, (command, words) in itertools.product(
        (signal.SIGINT, signal.SIGTERM, signal.SIGHUP), {**COMMANDS, "train": f"train --data my.txt {SMALL} --out new"}.items()
    ):
        for seconds in (0.1, 0.5, 1.0):
            name = f"{command}: {number.name} after {seconds} s"
            found.append(Try(name, (number.name,), words.split(), signal=(number, seconds)))
    return found + SPECIAL


# -- single ones


def layers(work: Path) -> None:
    """A header of 200,000 layers, all of them empty."""
    entries = {f"h.{i}.ln_1.bias": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(200_000)}
    text = json.dumps(entries).encode()
    (work / "hf" / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    theirs = json.loads((work / "hf" / "config.json").read_text())
    (work / "hf" / "config.json").write_text(json.dumps({**theirs, "n_layer": 200_000}))


def flipped(work: Path) -> None:
    """One bit of every checkpoint."""
    for path in (work / "run" / "checkpoints").iterdir():
        content = bytearray(path.read_bytes())
        content[-3] ^= 4
        path.write_bytes(content)


def without_checkpoints(work: Path) -> None:
    shutil.rmtree(work / "run" / "checkpoints")
    (work / "run" / "checkpoints").mkdir()


def foreign(work: Path) -> None:
    """A folder of somebody's whose names are those of a run."""
    (work / "new" / "checkpoints").mkdir(parents=True)
    for name in (
        "model.safetensors",
        "samples.txt",
        "metrics.jsonl",
        "a.tmp",
        "checkpoints/step-00000001.safetensors",
        "checkpoints/b.tmp",
    ):
        (work / "new" / name).write_text("mine")


def changed_text(work: Path) -> None:
    (work / "my.txt").write_text((work / "my.txt").read_text()[::-1])


SPECIAL = [
    Try("200,000 empty layers", ("200,000 empty layers",), ["sample", "--run", "hf", "--prompt", "a"], layers, True),
    Try(
        "resume with one flipped bit in every checkpoint",
        ("resume with one flipped bit in every checkpoint",),
        COMMANDS["resume"].split(),
        flipped,
        True,
    ),
    Try("resume without checkpoints", ("resume without checkpoints",), COMMANDS["resume"].split(), without_checkpoints, True),
    Try(
        "train into a folder of somebody",
        ("train into a folder of somebody",),
        f"train --data my.txt {SMALL} --out new".split(),
        foreign,
        True,
    ),
    Try(
        "train --resume into a folder of somebody",
        ("train --resume into a folder of somebody",),
        f"train --resume --data my.txt {SMALL} --out new".split(),
        foreign,
        True,
    ),
    Try("eval of a text that has changed", ("eval of a text that has changed",), COMMANDS["eval"].split(), changed_text, True),
    Try(
        "resume with a text that has changed",
        ("resume with a text that has changed",),
        COMMANDS["resume"].split(),
        changed_text,
        True,
    ),
    Try(
        "replay with a text that has changed",
        ("replay with a text that has changed",),
        COMMANDS["replay"].split(),
        changed_text,
        True,
    ),
    *(
        Try(
            f"{command}: a model that writes escapes",
            ("a model that writes escapes",),
            words.replace("run", "evil").replace("evils", "runs").replace("The", "a").split(),
        )
        for command, words in COMMANDS.items()
    ),
    Try(
        "more layers than memory",
        ("more layers than memory",),
        ["train", "--data", "my.txt", "--out", "new", "--num-layers", "1000", "--d-model", "8192"],
        refused=True,
    ),
]


def replacing(name: str, kind: Callable[[Path], object]) -> Callable[[Path], None]:
    def prepare(work: Path) -> None:
        remove(work / "run" / name)
        kind(work / "run" / name)

    return prepare


def begun(work: Path, lock: Callable[[Path], object]) -> None:
    (work / "new").mkdir()
    lock(work / "new" / "lock")


def writing(name: str, content: object) -> Callable[[Path], object]:
    text = content if isinstance(content, str) else json.dumps(content)
    return lambda work: (work / name).write_text(text)


def header(run: Path) -> dict:
    """What else the last checkpoint holds."""
    from gpt2.run.checkpoints import Checkpoints

    return Checkpoints(run / "checkpoints").load(20).about


def sign(run: Path, path: tuple, value: object) -> None:
    """The last checkpoint with another field, its fingerprint right; it is the only one, and there is no model."""
    from gpt2.run.checkpoints import Checkpoints
    from gpt2.weights.safetensors import write_weights

    found = Checkpoints(run / "checkpoints").load(20)
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    about = json.dumps(put(found.about, path, value))
    write_weights(run / "checkpoints" / "step-00000020.safetensors", found.arrays, {"about": about})
    (run / "model.safetensors").unlink()


def occupied(work: Path) -> None:
    """The places that OUTS and DATA name."""
    for folder in ("mine", "links", "odd", "odd/inside"):
        (work / folder).mkdir()
    (work / "mine" / "notes.txt").write_text("mine")
    (work / "links" / "model.safetensors").symlink_to("../../victim/bashrc")
    for name, to in (
        ("to_file", "../victim/bashrc"),
        ("to_folder", "../victim/checkpoints"),
        ("to_nothing", "../victim/nothing"),
        ("loop", "loop"),
    ):
        (work / name).symlink_to(to)
    os.mkfifo(work / "pipe")
    a_socket(work / "a_socket")
    os.mkfifo(work / "odd" / "pipe")
    a_socket(work / "odd" / "a_socket")
    (work / "odd" / "inside" / "up").symlink_to("..")
    (work / "odd" / "inside" / "t.txt").write_text("a text of some length " * 100)
    (work / "odd" / f"{EVIL[:4]}\n.txt").write_text("another one " * 100)
    (work / "noise").write_bytes(random.Random(0).randbytes(5000))
    (work / "latin").write_bytes("é".encode("latin-1") * 1000)
    (work / "empty").touch()
    a_hole(work / "hole")


# -- trying


OUTSIDE = "changed what is outside of its folder"


def digest(folder: Path) -> str:
    """Of all names in a tree, what each is, and its content; a hole is not read."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        found.update(os.fsencode(path.relative_to(folder)) + f"{stat.S_IFMT(about.st_mode)} {about.st_size}".encode())
        if stat.S_ISLNK(about.st_mode):
            found.update(os.fsencode(os.readlink(path)))
        elif stat.S_ISREG(about.st_mode) and about.st_size < 1 << 30:
            found.update(path.read_bytes())
    return found.hexdigest()


def child(one: Try, work: Path) -> None:
    """The command, in the process that this is; it does not return."""
    os.chdir(work)
    os.environ["TINYGRAD2_CACHE"] = str(work / "cache")
    for number, name in ((0, "/dev/null"), (1, "../stdout"), (2, "../stderr")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from gpt2.cli import main

    try:
        code = main(one.command)
    except SystemExit as error:
        code = error.code
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 99
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def start(one: Try, work: Path) -> int:
    """The number of a process that runs the command."""
    rights = []
    if not one.all_rights and os.geteuid() == 0:
        rights = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    if not one.streams and not one.signal[0] and not rights:
        return os.fork() or child(one, work)
    environment = {**os.environ, "TINYGRAD2_CACHE": str(work / "cache")}
    if one.streams in ("ascii", "latin-1", "cp1252"):
        environment["PYTHONIOENCODING"] = one.streams
    ends = {
        "no reader": "| true",
        "stdout closed": ">&-",
        "stderr closed": "2>&-",
        "all closed": "<&- >&- 2>&-",
        "stdout full": ">/dev/full",
        "all full": ">/dev/full 2>&1",
    }
    end = ends.get(one.streams, "")
    script = f'"$@" {end}; exit ${{PIPESTATUS[0]}}' if "|" in end else f'exec "$@" {end}'
    shell = ["bash", "-c", f"exec <../null >../stdout 2>../stderr; {script}", "-"]
    command = [*shell, *rights, sys.executable, "-m", "gpt2", *one.command]
    (work.parent / "null").touch()
    return subprocess.Popen(command, cwd=work, env=environment, start_new_session=True).pid


def attempt(one: Try) -> tuple[str, str, float, float]:
    """How it ended (held, refused, or failed), why, its seconds and its megabytes."""
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    try:
        for name in ("work", "victim"):
            shutil.copytree(
                BASE / name if name == "victim" else BASE, folder / name, symlinks=True, ignore=shutil.ignore_patterns("victim")
            )
        work = folder / "work"
        for config in work.glob("*/config.json"):  # a run knows where its text was
            config.write_text(config.read_text().replace(json.dumps(f"{BASE}/")[1:-1], json.dumps(f"{work}/")[1:-1]))
        try:
            one.prepare(work)
        except (PermissionError, FileExistsError) as error:
            return "skipped", f"could not be prepared: {error}", 0.0, 0.0
        before, outside = digest(work), digest(folder / "victim")
        began = time.monotonic()
        process = start(one, work)
        status = usage = None
        sent = False
        while status is None:
            done, code, usage = os.wait4(process, os.WNOHANG)
            spent = time.monotonic() - began
            if done:
                status = os.waitstatus_to_exitcode(code)
            elif one.signal[0] and not sent and spent > one.signal[1]:
                os.kill(process, one.signal[0])
                sent = True
            elif spent > SECONDS:
                os.kill(process, signal.SIGKILL)
                os.wait4(process, 0)
                return "failed", f"did not end in {SECONDS} s", spent, 0.0
            else:
                time.sleep(0.005)
        out, err = (
            (folder / name).read_bytes().decode("utf-8", "surrogateescape") if (folder / name).exists() else ""
            for name in ("stdout", "stderr")
        )
        wrong = judge(one, status, out, err, usage.ru_maxrss / 1024)
        if digest(folder / "victim") != outside:
            wrong.append(OUTSIDE)
        if status == 2 and digest(work) != before and not one.streams:
            wrong.append("was refused, and changed something all the same")
        ended = "failed" if wrong else "refused" if status == 2 else "held"
        return ended, "; ".join(wrong) + (f": {err.strip()[-300:]!r}" if wrong else ""), spent, usage.ru_maxrss / 1024
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def judge(one: Try, status: int, out: str, err: str, megabytes: float) -> list[str]:
    """What is wrong with how a command ended."""
    wrong = []
    codes = (0, 1, 2) if not one.signal[0] else (0, 1, 2, -one.signal[0], 128 + one.signal[0])
    if status not in codes:
        wrong.append(f"exit code {status}")
    if "Traceback" in err or "Exception ignored" in err:
        wrong.append("a traceback")
    if one.refused and status != 2:
        wrong.append(f"exit code {status}, and not refused")
    if megabytes > MEGABYTES:
        wrong.append(f"{megabytes:.0f} MB")
    if strange := [
        c
        for c in out + err
        if not (c.isprintable() or c in "\n\t") and not (one.streams in ("latin-1", "cp1252") and "\udc80" <= c <= "\udcff")
    ]:
        wrong.append(f"printed {strange[0]!r}")
    said = [line for line in err.splitlines() if ": note: " not in line]
    if status == 2 and not one.streams and not (len(said) == 1 and said[0].startswith(f"gpt2 {one.command[0]}: error: ")):
        wrong.append("was refused, and not in one line")
    if len(err) > 20_000:
        wrong.append(f"{len(err):,} characters of error")
    return wrong


def quietly(folder: Path, words: list[str]) -> None:
    """A command, in the process that this is."""
    from gpt2.cli import main

    os.chdir(folder)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        sys.exit(main(words))


def make_base(folder: Path) -> None:
    """Good runs of two texts, a tokenizer, a Hugging Face folder, and the tree that nobody may touch."""
    from gpt2.text.corpora import pydocs

    (folder / "victim" / "checkpoints").mkdir(parents=True)
    for name in (
        "bashrc",
        "notes.tmp",
        "checkpoints/step-00000001.safetensors",
        "checkpoints/step-00000020.safetensors",
        "checkpoints/x.tmp",
    ):
        (folder / "victim" / name).write_text("do not touch\n")
    text = pydocs()[:4000]
    (folder / "my.txt").write_text(text)
    (folder / "evil.txt").write_text("".join(f"a{c}" for c in EVIL) * 200, newline="")
    commands = [
        f"train --data my.txt --out run {SMALL}",
        f"train --data evil.txt --out evil {SMALL} --sample-tokens 50",
        "tokenize --train my.txt --vocab-size 270 --out bpe.json",
        f"train --data my.txt --out tied {SMALL} --tokenizer bpe.json --tie-embeddings true --head-bias false --steps 2",
        "export --run tied --out hf",
    ]
    for command in commands:
        process = multiprocessing.get_context("fork").Process(target=quietly, args=(folder, command.split()))
        process.start()
        process.join()
        assert process.exitcode == 0, command
    shutil.rmtree(folder / "tied")


BASE = Path()


def covering(found: list[Try]) -> list[Try]:
    """A few, at random, in which every row of every table is; trainings, which take longest, only for rows of their own."""
    seen: set[str] = set()
    mixed = sorted(random.Random(0).sample(found, len(found)), key=lambda one: "train" in one.command)
    return [one for one in mixed if not seen.issuperset(one.of) and not seen.update(one.of)]


def main() -> int:
    """Try, say what failed, and the sums."""
    global BASE
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", type=int, default=0, help="only so many, chosen at random; 0 for all")
    parser.add_argument("--covering", action="store_true", help="only so many that every row of every table is in one of them")
    parser.add_argument("--only", default="", help="those with this in their name")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    import matplotlib.figure  # noqa: F401 (what takes long to load is loaded once, before all processes that are forked)

    import gpt2.cli  # noqa: F401
    import tinygrad2.study  # noqa: F401

    with tempfile.TemporaryDirectory(prefix="hostile-base-") as folder:
        BASE = Path(folder)
        make_base(BASE)
        chosen = [one for one in tries() if args.only in one.name]
        if not chosen:
            parser.error(f"no try has {args.only!r} in its name")
        if args.covering:
            chosen = covering(chosen)
        if args.sample:
            chosen = random.Random(0).sample(chosen, min(args.sample, len(chosen)))
        CHOSEN[:] = chosen
        began = time.monotonic()
        with multiprocessing.get_context("fork").Pool(args.workers) as pool:
            results = []
            for i, result in enumerate(pool.imap(number, range(len(chosen)), chunksize=4)):
                results.append(result)
                if result[0] == "failed":
                    print(f"failed: {chosen[i].name}: {result[1]}", flush=True)
    ends = Counter(ended for ended, *_ in results)
    outside = sum(OUTSIDE in why for _, why, _, _ in results)
    spent, memory = max(seconds for *_, seconds, _ in results), max(megabytes for *_, megabytes in results)
    print(
        f"{len(results)} tries in {time.monotonic() - began:.0f} s: {ends['held']} held, {ends['refused']} refused, "
        f"{ends['skipped']} not possible here, {ends['failed']} failed, {outside} changed what is outside; "
        f"the longest {spent:.1f} s, the largest {memory:.0f} MB"
    )
    return int(ends["failed"] > 0)


CHOSEN: list[Try] = []


def number(i: int) -> tuple[str, str, float, float]:
    """The try of that number, in a process of the pool."""
    return attempt(CHOSEN[i])


if __name__ == "__main__":
    sys.exit(main())
