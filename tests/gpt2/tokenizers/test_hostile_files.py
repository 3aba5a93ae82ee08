"""Tokenizers' files of strangers: whatever they hold, they are a tokenizer or are refused in one short line."""

import copy
import json
import os
import random
import time

import pytest

from gpt2.cli import main
from gpt2.errors import GPT2Error, RunError
from gpt2.files import MOST_TOKENIZER
from gpt2.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer, load_tokenizer

pytestmark = pytest.mark.slow

TRIES = int(os.environ.get("DAMAGED_FILES", "0")) or 800


def nested(depth):
    found = []
    for _ in range(depth):
        found = [found]
    return found


NUMBERS = [None, True, False, 0, -1, 1, 10**9, 10**30, 1.5, 1e308, float("nan"), float("-inf")]
TEXTS = ["", "a", "a b", "\ud800", "<|endoftext|>", "\n", "é", "\x1b[2J", "n" * 100_000, "ByteLevel"]
OTHERS = [[], {}, [[]], ["a", "b"], ["a", 3], ["\ud800", "a"], {"a": 0}, {"a": None}, {"type": "ByteLevel"}, nested(300)]
MERGES = ["", " ", "  ", "a", "a b", "a b c", "a  b", "\r", "\x85", "\u2028", "#version", "<|endoftext|> a", "é é"]
GOOD = BPETokenizer.train("low lower lowest newest the cat " * 5, 270)


def places(value, path=()):
    """The paths of everything inside, outer ones first."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield (*path, key)
        yield from places(part, (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def damage(rng, saved):
    """Something inside is removed, replaced, moved or named in another way; what lies high as often as what lies deep."""
    paths = list(places(saved))
    depth = rng.choice(sorted({len(path) for path in paths}))
    *path, key = rng.choice([path for path in paths if len(path) == depth])
    parent = at(saved, path)
    match rng.randrange(4):
        case 0:
            del parent[key]
        case 1:
            parent[key] = copy.deepcopy(rng.choice(NUMBERS + TEXTS + OTHERS))
        case 2:
            parent[key] = copy.deepcopy(at(saved, rng.choice(paths)))
        case 3 if isinstance(parent, dict):
            parent[rng.choice(TEXTS)] = parent.pop(key)
        case _:
            parent.append(copy.deepcopy(rng.choice(NUMBERS + TEXTS + OTHERS)))


def used(tokenizer):
    """What commands do with one."""
    for text in ("low lowest <|endoftext|> é\n", "", "\0", "\ud800"):
        for special in (False, True):
            try:
                tokenizer.decode(tokenizer.encode(text, special))
            except GPT2Error:
                continue
    assert len(tokenizer.byte_lengths) == tokenizer.vocab_size
    return tokenizer.sha256, tokenizer.to_text()


@pytest.mark.parametrize("kind", ["json", "bytes", "two files"])
def test_a_damaged_file_is_refused_in_one_short_line(tmp_path, kind):
    rng = random.Random(kind)
    GOOD.save_pretrained(tmp_path)
    path, whole, merges = tmp_path / "tokenizer.json", GOOD.to_json(), (tmp_path / "merges.txt").read_text().split("\n")
    refusals, longest = [], 0.0
    for _ in range(TRIES):
        saved = copy.deepcopy(rng.choice([whole, whole, CharTokenizer("abc é\n").to_json(), ByteTokenizer().to_json()]))
        if kind == "two files":
            saved, path, lines = dict(whole["model"]["vocab"]), tmp_path / "vocab.json", list(merges)
            lines[rng.randrange(len(lines))] = rng.choice([*MERGES, *lines[:5]])
            (tmp_path / "merges.txt").write_text("\n".join(lines if rng.randrange(2) else merges))
        if kind != "bytes" and rng.randrange(10):
            damage(rng, saved)
        content = bytearray(json.dumps(saved).encode())
        for _ in range(rng.choice([1, 3, 20]) if kind == "bytes" else 0):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        start = time.perf_counter()
        try:
            used(load_tokenizer(path) if kind != "two files" else BPETokenizer.from_files(path, tmp_path / "merges.txt"))
        except RunError as error:
            refusals.append(str(error))
        longest = max(longest, time.perf_counter() - start)
    assert TRIES > len(refusals) > TRIES / 3
    assert max(map(len, refusals)) < 300 + 2 * len(str(path))
    assert "\n" not in "".join(refusals)
    assert longest < 2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "my.txt").write_text("A text that is long enough to be trained on. " * 20)
    tiny = ["--d-model=16", "--num-layers=1", "--num-heads=2", "--max-seq-len=16", "--sample-tokens=0", "--steps=2"]
    assert main(["train", "--no-plots", "--data", str(folder / "my.txt"), "--out", str(folder / "run"), *tiny]) == 0
    return folder / "run"


def huge(path):
    with open(path, "wb") as file:
        file.truncate(MOST_TOKENIZER + 1)


PUT = {
    "pipe": (os.mkfifo, "a pipe"),
    "folder": (os.mkdir, "a folder|No such file"),
    "device": (lambda path: os.symlink("/dev/zero", path), "a device|symbolic link"),
    "huge": (huge, "it has more than the 67,108,864 bytes that it may have"),
    "deep": (lambda path: path.write_bytes(b'{"model":' * 10**6), "nested too deeply"),
    "closed text": (lambda path: path.write_text('{"type": "char", "characters": "ab'), "Unterminated string"),
}


@pytest.mark.parametrize(("put", "message"), PUT.values(), ids=PUT)
def test_what_is_in_the_place_of_a_tokenizer(run, tmp_path, capsys, put, message):
    path = run / "tokenizer.json"
    whole = path.read_bytes()
    path.unlink()
    put(path)
    commands = [
        ["tokenize", "a", "--tokenizer", str(path)],
        ["tokenize", "a", "--tokenizer", str(run)],
        ["sample", "--run", str(run), "--prompt", "A"],
        ["eval", "--run", str(run)],
        ["train", "--tokenizer", str(path), "--data", str(run.parent / "my.txt"), "--out", str(tmp_path / "other")],
    ]
    try:
        for command in commands:
            start = time.perf_counter()
            assert main(command) == 2
            assert time.perf_counter() - start < 2
            (line,) = capsys.readouterr().err.splitlines()
            assert any(part in line for part in [*message.split("|"), "tokenizer.json is missing"]), command
            assert not (tmp_path / "other").exists()
    finally:
        path.rmdir() if path.is_dir() else path.unlink()
        path.write_bytes(whole)


def test_a_pair_that_comes_with_dos_lines(tmp_path):
    GOOD.save_pretrained(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(b"\n", b"\r\n"))
    assert BPETokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt").sha256 == GOOD.sha256


def test_folders_that_cannot_be_looked_into(tmp_path, unprivileged, monkeypatch):
    GOOD.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    monkeypatch.setenv("TINYGRAD2_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "gpt2").mkdir(parents=True)
    tmp_path.chmod(0)
    code = (
        "from gpt2.cli import main; from gpt2.tokenizers import vocabulary; vocabulary.PACKAGE = 'no_such_package'; "
        "vocabulary.URL = 'file:///nowhere/'; import sys; sys.exit(main(sys.argv[1:]))"
    )
    try:
        for name in (tmp_path, tmp_path / "tokenizer.json", "gpt2"):
            done = unprivileged(code, "tokenize", "a", "--tokenizer", name)
            assert done.returncode == 2
            assert done.stderr.startswith("gpt2 tokenize: error: ")
            assert len(done.stderr.splitlines()) == 1
    finally:
        tmp_path.chmod(0o700)
