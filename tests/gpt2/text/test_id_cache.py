"""The cache of ids: nothing in it is believed that is not so, and no folder is used in which others can write."""

import hashlib
import json
import os
import time

import numpy as np
import pytest

from gpt2 import TrainConfig
from gpt2.text import encoding, id_cache
from gpt2.text.corpora import Corpus
from gpt2.text.encoding import prepare
from gpt2.text.id_cache import private_folder
from gpt2.tokenizers import ByteTokenizer

BY_DOCUMENT = TrainConfig(split="document", val_fraction=0.3)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of each test's own, for texts of any length."""
    monkeypatch.setenv("TINYGRAD2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(encoding, "IN_MEMORY", 10)
    return tmp_path / "cache" / "ids"


CORPUS = Corpus.of_text("long", *(f"document {i} of {i % 7}\n" * 5 for i in range(40)))


def ids(say=lambda message: pytest.fail(message)):
    found = prepare(CORPUS, ByteTokenizer(), BY_DOCUMENT, 8, say)
    return found.train.tolist(), found.val.tolist()


@pytest.fixture
def kept(cache):
    """The ids, and the paths of their file and its note."""
    expected = ids()
    (path,) = cache.glob("*.bin")
    return expected, path, path.with_suffix(".json")


def seal(path, note, **changes):
    """A note with changes and the hash that it then must have, as whoever knows how could write it."""
    found = id_cache.Note(**{**json.loads(note.read_text()), **changes})
    found.sha256 = found.sealed(hashlib.sha256(path.read_bytes()).digest())
    note.write_text(json.dumps({f: getattr(found, f) for f in found.__struct_fields__}))


NOTES = {
    "tokens": {"tokens": 100},
    "no token": {"tokens": 0},
    "too many": {"tokens": 10**18},
    "beyond": {"tokens": 10**30},
    "negative": {"tokens": -1},
    "text": {"tokens": "100"},
    "true": {"tokens": True},
    "a float": {"tokens": 100.0},
    "bytes": {"dtype": "uint8"},
    "wider": {"dtype": "uint32"},
    "signed": {"dtype": "int16"},
    "objects": {"dtype": "O"},
    "cut elsewhere": {"cut": 100},
    "cut behind": {"cut": 10**9},
    "cut before": {"cut": -1},
    "key": {"key": "0" * 64},
    "name": {"corpus": "another"},
    "list": {"corpus": []},
    "more": {"extra": 1},
    "hash": {"sha256": "0" * 64},
    "no hash": {"sha256": None},
}


@pytest.mark.parametrize("change", NOTES.values(), ids=NOTES)
def test_a_note_that_says_something_else_is_not_believed(kept, change):
    expected, _, note = kept
    note.write_text(json.dumps({**json.loads(note.read_text()), **change}))
    messages = []
    assert ids(messages.append) == expected
    assert len(messages) == 1
    assert "is damaged, so it is written again: " in messages[0]
    assert ids() == expected


@pytest.mark.parametrize("missing", ["key", "corpus", "dtype", "tokens", "cut", "sha256"])
def test_a_note_that_lacks_something(kept, missing):
    expected, _, note = kept
    note.write_text(json.dumps({k: v for k, v in json.loads(note.read_text()).items() if k != missing}))
    messages = []
    assert ids(messages.append) == expected
    assert "is damaged, so it is written again: " in messages[0]


NONSENSE = [b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"null", b" " * (1 << 21), b'{"key": "", "key": ""}']


@pytest.mark.parametrize("content", NONSENSE, ids=range(len(NONSENSE)))
def test_a_note_of_nonsense(kept, content):
    expected, _, note = kept
    note.write_bytes(content)
    messages = []
    assert ids(messages.append) == expected
    assert "is damaged, so it is written again: " in messages[0]


def test_a_note_that_was_sealed_again_must_still_be_possible(kept):
    expected, path, note = kept
    whole, about = path.read_bytes(), note.read_text()
    impossible = [
        ({"tokens": 100, "cut": 50}, whole),
        ({"dtype": "uint8", "tokens": len(whole)}, whole),
        ({"dtype": "uint32", "tokens": len(whole) // 4}, whole),
        ({"cut": len(whole)}, whole),
        ({"key": "0" * 64}, whole),
        ({}, np.frombuffer(whole, np.uint16).clip(257).tobytes()),  # no id of this tokenizer
        ({}, whole + b"\0"),
        ({}, b""),
    ]
    for changes, content in impossible:
        path.write_bytes(content)
        note.write_text(about)
        seal(path, note, **changes)
        messages = []
        assert ids(messages.append) == expected
        assert "is damaged, so it is written again: " in messages[0]
        assert ids() == expected


def test_ids_of_one_text_are_not_those_of_another(kept, cache):
    expected, path, note = kept
    (wrong := path.with_name("f" * 64 + ".bin")).write_bytes(path.read_bytes())
    wrong.with_suffix(".json").write_bytes(note.read_bytes())
    other = Corpus.of_text("other", *(f"{i} is another document" * 9 for i in range(40)))
    right = prepare(other, ByteTokenizer(), BY_DOCUMENT, 8).train.tolist()
    paths = {p for p in cache.glob("*.bin") if p not in (path, wrong)}
    (theirs,) = paths
    theirs.write_bytes(path.read_bytes())
    theirs.with_suffix(".json").write_bytes(note.read_bytes())
    messages = []
    assert prepare(other, ByteTokenizer(), BY_DOCUMENT, 8, messages.append).train.tolist() == right != expected[0]
    assert "is damaged, so it is written again: its .json file does not match it" in messages[0]


def linked(path, tmp_path):
    (tmp_path / "outside").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(tmp_path / "outside")


def pipe(path, tmp_path):
    path.unlink()
    os.mkfifo(path)


def folder(path, tmp_path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("which", [1, 2], ids=["ids", "note"])
@pytest.mark.parametrize("put", [linked, pipe, folder])
def test_something_else_in_the_place_of_a_file(kept, tmp_path, put, which):
    expected = kept[0]
    put(kept[which], tmp_path)
    messages = []
    assert ids(messages.append) == expected
    assert "is damaged, so it is written again: it is a" in messages[0]
    assert len(messages) == (1 if put is linked else 2)
    assert put is linked or "is not used (" in messages[1]
    assert put is not linked or (tmp_path / "outside").stat().st_size > 100  # what the link led to is as it was


@pytest.mark.parametrize("place", ["", "ids"])
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_folder_in_which_others_may_write_is_not_used(cache, place, mode):
    cache.mkdir(parents=True)
    (cache.parent / place).chmod(mode)
    messages = []
    expected = ids(messages.append)
    if mode & 0o1000 and not place:  # as /tmp: there they cannot replace what is not theirs
        assert messages == []
        assert len(list(cache.iterdir())) == 2
        return
    (message,) = messages
    assert f"others may write into {cache.parent / place}; chmod go-w" in message
    assert message.endswith("this time the ids go into a temporary file")
    assert list(cache.iterdir()) == []
    (cache.parent / place).chmod(0o755)
    assert ids() == expected
    assert len(list(cache.iterdir())) == 2


def test_what_a_stranger_left_there_is_not_read(kept, cache):
    expected, path, note = kept
    path.write_bytes(np.zeros(path.stat().st_size // 2, np.uint16).tobytes())
    seal(path, note)
    assert {i for side in ids() for i in side} == {0}  # so would a stranger choose what others train on
    cache.chmod(0o777)
    messages = []
    assert ids(messages.append) == expected
    assert len(messages) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_not_used(cache):
    cache.mkdir(parents=True)
    for place in (cache, cache.parent):
        os.chown(place, 12345, 12345)
        messages = []
        ids(messages.append)
        assert f"{place} belongs to another user; set TINYGRAD2_CACHE to a folder of yours" in messages[0]
        os.chown(place, 0, 0)
    assert list(cache.iterdir()) == []


def test_folders_are_made_for_oneself_alone(tmp_path):
    umask = os.umask(0)
    try:
        assert private_folder(tmp_path / "a" / "b") == tmp_path.resolve() / "a" / "b"
    finally:
        os.umask(umask)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b")] == [0o700, 0o700]


def test_a_link_to_a_folder_is_where_it_leads(tmp_path, cache, monkeypatch):
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "cache").symlink_to(tmp_path / "real")
    ids()
    assert len(list((tmp_path / "real" / "ids").iterdir())) == 2
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("TINYGRAD2_CACHE", str(tmp_path / "link"))
    (tmp_path / "link").symlink_to(tmp_path / "open" / "below")
    messages = []
    ids(messages.append)
    assert "others may write into" in messages[0]
    assert list((tmp_path / "open").iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "pipe", "circle", "nowhere", "device", "long"])
def test_a_cache_that_is_no_folder(tmp_path, monkeypatch, kind):
    place = {"device": "/dev/null", "long": "n" * 300}.get(kind, str(tmp_path / "x"))
    if kind == "file":
        (tmp_path / "x").touch()
    elif kind == "pipe":
        os.mkfifo(tmp_path / "x")
    elif kind == "circle":
        (tmp_path / "x").symlink_to(tmp_path / "x")
    elif kind == "nowhere":
        (tmp_path / "x").symlink_to("/proc/nowhere")
    monkeypatch.setenv("TINYGRAD2_CACHE", place)
    monkeypatch.chdir(tmp_path)
    messages = []
    first = ids(messages.append)
    assert len(messages) == 1
    assert "is not used (" in messages[0]
    assert len(first[0]) > 100


def test_only_its_own_leftovers_are_removed(cache):
    cache.mkdir(parents=True)
    cache.chmod(0o700)
    own = [".0123456789abcdef0123456789abcdef01234567.ids.abcd0123.tmp"]
    key = "0" * 40
    others = ["my.tmp", ".x.tmp", f".{key}.run.abcd1234.tmp", f".{key}.ids.abcd1234.tmp.bak", f"{key}.tmp", ".ids.abcd1234.tmp"]
    for name in own + others:
        (cache / name).write_text("x")
        os.utime(cache / name, (time.time() - 90_000,) * 2)
    (young := cache / f".{key}.ids.abcd1234.tmp").write_text("at work")
    (folder := cache / f".{key}.ids.abcd1235.tmp").mkdir()
    os.utime(folder, (time.time() - 90_000,) * 2)
    ids()
    assert {p.name for p in cache.iterdir() if p.suffix not in (".bin", ".json")} == {*others, young.name, folder.name}


def test_without_a_home_folder(tmp_path, monkeypatch):
    def nobody(_):
        raise KeyError("uid not found")

    monkeypatch.delenv("TINYGRAD2_CACHE")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ids()
    assert len(list((tmp_path / f"tinygrad2-{os.getuid()}" / "ids").iterdir())) == 2
