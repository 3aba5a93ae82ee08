"""Several texts: one after another, in the order in which they are given, and found again by who has their run."""

import json
import os
import shutil

import numpy as np
import pytest

from gpt2.cli import main
from gpt2.config import TrainConfig
from gpt2.errors import ConfigError, DataError
from gpt2.text.corpora import Corpus, Document, load_corpus
from gpt2.text.encoding import prepare
from gpt2.tokenizers import CharTokenizer

TINY = (  # noqa: SIM905
    "--d-model=16 --num-layers=1 --num-heads=2 --max-seq-len=16 --sample-tokens=0 --steps=2 --eval-every=2 --save-every=1"
    " --no-plots --threads=1 --shards=1"
).split()


def documents(corpus):
    return ["".join(document.pieces) for document in corpus.documents()]


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """Three files with names that a list in a string would stumble over, and a folder."""
    monkeypatch.chdir(tmp_path)
    names = ["a b.txt", "c,d;'\".txt", "[e]*.txt"]
    for i, name in enumerate(names):
        (tmp_path / name).write_text(f"text {i} is long enough to be trained on. " * 20)
    (tmp_path / "folder").mkdir()
    for name in "xy":
        (tmp_path / "folder" / f"{name}.txt").write_text(f"document {name}. " * 20)
    return names


def test_they_follow_one_another_in_their_order(texts):
    alone = [documents(load_corpus(name)) for name in [*texts, "folder"]]
    together = load_corpus([*texts, "folder"])
    assert documents(together) == [text for texts in alone for text in texts]
    assert documents(together) == [text for texts in alone for text in texts]  # again
    assert documents(load_corpus(["folder", texts[0]])) == alone[3] + alone[0]
    assert together.name == "a b+c,d;'\"+[e]* and 1 more"
    assert load_corpus(texts[:2]).name == "a b+c,d;'\""
    digests = {load_corpus(order).sha256 for order in (texts, texts[::-1], texts[:2], texts[:1])}
    assert len(digests) == 4
    assert load_corpus(["folder/x.txt", "folder/y.txt"]).sha256 == load_corpus("folder").sha256
    assert load_corpus(texts[:1]).sha256 == load_corpus(texts[0]).sha256


def test_what_is_to_be_known_of_each_is_said(texts, tmp_path):
    (tmp_path / "folder" / "image.png").write_bytes(b"\x89PNG\0")
    notes = load_corpus(["folder", texts[0], texts[0]]).notes
    assert len(notes) == 2
    assert "image.png" in notes[0]
    assert notes[1] == "a b.txt is given more than once"
    with pytest.raises(DataError, match=r"nope\.txt: no such file"):
        load_corpus([texts[0], "nope.txt"])
    with pytest.raises(DataError, match="no text is named; give a file"):
        load_corpus([])


@pytest.mark.parametrize("known", [(True, True), (True, False), (False, True), (False, False)])
def test_a_perfect_model_is_known_where_the_source_of_all_is(known):
    text = "some letters that are known by their source " * 20
    made = [Document([text], np.full(len(text), i + 0.5) if is_known else None) for i, is_known in enumerate(known)]
    corpus = Corpus("both", lambda: made)
    costs = prepare(corpus, CharTokenizer.train(text), TrainConfig(), 16, lambda _: None).costs()
    assert (costs is None) if known != (True, True) else (costs == 1.5).all()


def test_a_setting_that_may_be_several():
    assert TrainConfig(data=["a"]) == TrainConfig(data=("a",)) == TrainConfig(data="a")
    assert TrainConfig(data=["a", "b"]).data == ("a", "b")
    assert hash(TrainConfig(data=["a", "b"])) is not None
    for wrong, message in (
        ([1], "data = 1 is int; it must be str"),
        (["a", "\0"], "without NUL"),
        (3, "data = 3 is int"),
    ):
        with pytest.raises(ConfigError, match=message):
            TrainConfig(data=wrong)
    with pytest.raises(ConfigError, match=r"schedule = \['cosine'\] is list; it must be str"):
        TrainConfig(schedule=["cosine"])


def test_a_run_on_several(texts, tmp_path, capsys, monkeypatch):
    given = [word for name in texts for word in ("--data", name)]
    assert main(["train", *given, "--out", "run", *TINY]) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training"]["data"] == texts
    (tmp_path / "c.toml").write_text(f"data = {json.dumps(texts)}\n")
    assert main(["train", "--config", "c.toml", "--out", "same", *TINY]) == 0
    capsys.readouterr()
    for command in (
        ["train", "--resume", "--out", "run", "--no-plots"],
        ["train", "--resume", "--out", "run", *given, "--no-plots"],
        ["eval", "--run", "run"],
        ["replay", "run", "--step", "2"],
        ["replay", "same", "--step", "2", *given],
        ["eval", "--run", "run", "--data", texts[0], "--data", texts[1], "--json"],
        ["tokenize", "--train", texts[0], "--train", texts[1], "--vocab-size", "260", "--out", "t.json"],
        ["runs", "."],
    ):
        assert main(command) == 0, command
    assert "a b.txt, c,d;'\".txt, [e]*.txt" in capsys.readouterr().out
    other = ["--data", texts[1], "--data", texts[0], "--data", texts[2]]
    assert main(["replay", "run", "--step", "2", *other]) == 2
    assert "is another text" in capsys.readouterr().err
    (tmp_path / "moved").mkdir()
    os.rename(texts[1], "moved/x.txt")
    assert main(["eval", "--run", "run"]) == 2
    said = capsys.readouterr().err
    assert f"{texts[1]!r} is at none of these places: {tmp_path / texts[1]}" in said
    assert texts[0] not in said.partition("; ")[0]
    assert f"; {texts[0]!r}, {texts[2]!r} are found; --data FILE" in said
    assert "--data FILE, once for each of its texts in their order, says where it is now" in said
    moved = [word for name in (texts[0], "moved/x.txt", texts[2]) for word in ("--data", name)]
    assert main(["replay", "run", "--step", "2", *moved]) == 0
    os.rename("moved/x.txt", texts[1])
    monkeypatch.chdir("moved")
    assert main(["eval", "--run", "../run"]) == 0  # from elsewhere
    monkeypatch.chdir(tmp_path)
    for name in (*texts, "run"):  # all of it somewhere else
        shutil.move(name, "moved")
    assert main(["replay", "moved/run", "--step", "2"]) == 0


def test_one_of_them_through_a_pipe(texts, tmp_path, capsys, monkeypatch):
    with open(texts[1]) as file:
        monkeypatch.setattr("sys.stdin", file)
        assert main(["train", "--data", texts[0], "--data", "/dev/stdin", "--out", "run", *TINY]) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training"]["data"] == [texts[0], "-"]
    capsys.readouterr()
    assert main(["eval", "--run", "run"]) == 2
    assert "not kept: give all of its texts, in their order, again with" in capsys.readouterr().err
    assert main(["replay", "run", "--step", "2", "--data", texts[0], "--data", texts[1]]) == 0
