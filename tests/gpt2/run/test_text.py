"""The text of a run is found wherever it is now, and no other text is taken for it."""

import json
import os
import shutil
from pathlib import Path

import pytest

from gpt2.cli import main
from gpt2.run.metrics import read_metrics

TINY = "--steps=4 --warmup-steps=1 --eval-every=2 --d-model=8 --num-layers=1 --num-heads=2 --max-seq-len=8".split()  # noqa: SIM905
COMMANDS = {
    "eval": "eval --run {run}",
    "memorised": "eval --run {run} --memorised --tokens 3",
    "resume": "train --no-plots --resume --out {run}",
    "replay": "replay {run} --step 3",
}
KINDS = {"file": "my.txt", "folder": "texts", "glob": "texts/*.txt"}


@pytest.fixture(scope="module")
def made(tmp_path_factory, text):
    """A folder with texts and a run of each kind, all called by relative names."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "texts").mkdir()
    (folder / "my.txt").write_text(text[:3000])
    for i in range(3):
        (folder / "texts" / f"{i}.txt").write_text(text[1000 * i : 1000 * i + 1000])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for kind, data in KINDS.items():
            assert main(["train", "--no-plots", "--data", data, "--out", kind, *TINY]) == 0
            about = json.loads((folder / kind / "config.json").read_text())
            assert (about["training"]["data"], about["corpus"]["path"]) == (data, str(folder / data))
    return folder


@pytest.fixture(params=KINDS)
def project(request, made, tmp_path, monkeypatch):
    """A folder with a text and a run of it; and what was given as --data."""
    folder = tmp_path / "project"
    shutil.copytree(made, folder, ignore=shutil.ignore_patterns(*KINDS))
    shutil.copytree(made / request.param, folder / "runs" / "a")
    config = folder / "runs" / "a" / "config.json"
    config.write_text(config.read_text().replace(str(made), str(folder)))  # as if it had been trained here
    monkeypatch.chdir(folder)
    return folder, KINDS[request.param]


def all_work(run, *flags, names=COMMANDS):
    for name in names:
        assert main([*COMMANDS[name].format(run=run).split(), *flags]) == 0, name


def test_from_another_working_directory(project, tmp_path, monkeypatch):
    folder, _ = project
    about = json.loads((folder / "runs/a/config.json").read_text())
    (tmp_path / "my.txt").write_text("another text of the same name")
    monkeypatch.chdir(tmp_path)
    all_work(folder / "runs/a")
    assert json.loads((folder / "runs/a/config.json").read_text()) == about


def test_the_run_of_an_older_version_has_no_path(project, tmp_path, monkeypatch, capsys):
    folder, data = project
    about = json.loads((folder / "runs/a/config.json").read_text())
    del about["corpus"]["path"]
    (folder / "runs/a/config.json").write_text(json.dumps(about))
    all_work("runs/a", names=["eval", "memorised", "replay"])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    all_work(folder / "runs/a")  # and the text is recorded now, where it is
    assert json.loads((folder / "runs/a/config.json").read_text())["corpus"]["path"] == str(folder / data)


def test_moved_together_with_its_runs(project, tmp_path, monkeypatch):
    folder, _ = project
    folder.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    all_work("moved/runs/a")


@pytest.mark.parametrize("where", ["beside", "named"])
def test_moved_without_it(project, tmp_path, monkeypatch, capsys, where):
    folder, data = project
    monkeypatch.chdir(tmp_path)
    shutil.move(folder / "runs" / "a", tmp_path / "a")
    if where == "named":
        folder.rename(tmp_path / "away")
        capsys.readouterr()
        for command in COMMANDS.values():
            assert main(command.format(run="a").split()) == 2
            (error,) = capsys.readouterr().err.splitlines()
            for place in (folder / data, tmp_path / data, tmp_path / os.path.basename(data)):
                assert str(place) in error or "*" in data
            assert error.endswith("--data FILE says where it is now")
        (tmp_path / "away" / "my.txt").rename(tmp_path / "away" / "renamed.txt")
        all_work("a", "--data", str(tmp_path / "away" / data.replace("my", "renamed")))
    elif "*" not in data:
        shutil.move(folder / data, tmp_path / data)
        all_work("a")


def test_only_a_text_with_the_same_sha256_is_taken(project, tmp_path, monkeypatch, capsys):
    folder, data = project
    for path in (folder / "my.txt", folder / "texts" / "0.txt"):
        path.write_text(path.read_text()[:-1])
    sha256 = json.loads((folder / "runs/a/config.json").read_text())["corpus"]["sha256"]
    capsys.readouterr()
    for command in COMMANDS.values():
        for flags in ([], ["--data", str(folder / data)]):
            if flags and command == COMMANDS["eval"]:
                continue  # which takes any
            assert main([*command.format(run="runs/a").split(), *flags]) == 2
            (error,) = capsys.readouterr().err.splitlines()
            assert str(folder / data) in error
            assert f", and was {sha256}; " in error
            assert "/./" not in error
    all_work("runs/a", "--accept-changes", "--steps=6", names=["resume"])
    assert [row["step"] for row in read_metrics(folder / "runs/a/metrics.jsonl")] == list(range(7))


def test_eval_of_its_own_text_is_of_what_validates(project, capsys):
    folder, data = project
    capsys.readouterr()
    found = []
    for flags in ([], ["--data", str(folder / data)]):
        assert main(["eval", "--run", "runs/a", "--json", *flags]) == 0
        said = capsys.readouterr()
        assert ("only its validation part" in said.err) == bool(flags)
        found.append(json.loads(said.out))
    assert found[0] == found[1]
    assert found[0]["tokens"] < 300


@pytest.mark.parametrize("project", ["file"], indirect=True)
def test_longer(project, capsys):
    """More steps need no --accept-changes, and it is said what becomes of the learning rate; another change still does."""
    capsys.readouterr()
    command = ["train", "--no-plots", "--resume", "--out", "runs/a", "--steps", "8"]
    assert main([*command, "--batch-size", "2"]) == 2
    assert "a: batch_size = 2, was 12; --accept-changes" in capsys.readouterr().err
    assert main(command) == 0
    out = capsys.readouterr().out
    rates = {row["step"]: row.get("learning_rate") for row in read_metrics(project[0] / "runs/a/metrics.jsonl")}
    assert "8 steps instead of 4: the linear schedule now ends at step 8; the learning rate of step 5 is " in out
    assert f" is {rates[5]:.2g}, and would have been " in out
    assert set(rates) == set(range(9))
    for step in (3, 5):
        assert main(["replay", "runs/a", "--step", str(step)]) == 0
        assert "equal to the log, bit for bit" in capsys.readouterr().out
    assert main(command) == 0
    assert "instead of" not in capsys.readouterr().out


# -- another run with the same settings


def settings_of(folder):
    about = json.loads((folder / "config.json").read_text())
    return {**about["model"], **about["training"]}


@pytest.mark.parametrize("project", ["file"], indirect=True)
def test_a_run_begins_with_the_settings_of_another(project, tmp_path, text, monkeypatch, capsys):
    folder, _ = project
    config = str(folder / "runs/a/config.json")
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--no-plots", "--config", config, "--seed", "3"]) == 0
    (new,) = (tmp_path / "runs").iterdir()
    assert new.name == "a-my"
    assert settings_of(new) == settings_of(folder / "runs/a") | {"seed": 3, "data": str(folder / "my.txt")}
    (tmp_path / "other.txt").write_text(text[:4000] + "\u2603")
    wider = ["--data", "other.txt", "--d-model", "16", "--out", "wider", "--init", "gpt2"]
    assert main(["train", "--no-plots", "--config", config, *wider]) == 0
    found = settings_of(tmp_path / "wider")
    assert (found["d_model"], found["d_ff"], found["vocab_size"]) == (16, 64, len(set(text[:4000])) + 1)
    assert main(["train", "--no-plots", "--config", config, "--init-from", str(new), "--out", "tuned"]) == 2
    assert main(["train", "--no-plots", "--init-from", str(new), "--data", "other.txt", "--out", "tuned", "--steps=2"]) == 2
    tuned = ["train", "--no-plots", "--init-from", str(new), "--data", str(folder / "my.txt"), "--steps=2", "--sample-tokens=0"]
    assert main([*tuned, "--out", "tuned"]) == 0
    assert main(["train", "--no-plots", "--config", "tuned/config.json", "--out", "tuned-2"]) == 0
    assert settings_of(tmp_path / "tuned-2") == settings_of(tmp_path / "tuned")
    assert main(["train", "--no-plots", "--resume", "--out", str(folder / "runs/a"), "--config", config]) == 0
    capsys.readouterr()
    (folder / "my.txt").unlink()
    for flags, message in (
        ([], f"its text is at none of these places: {folder / 'my.txt'}, "),
        (["--preset", "small"], "--preset small: "),
        (["--config", "nope.json"], "nope.json: cannot be read: No such file"),
    ):
        assert main(["train", "--config", config, *flags, "--out", "none"]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("project", ["file"], indirect=True)
def test_what_follows_from_others_is_not_taken_over(project, tmp_path, capsys):
    """A shorter run does not warm up to its end, and another text is not read in the form of the first."""
    flags = ["train", "--no-plots", "--sample-tokens=0", "--max-seq-len=8", "--d-model=8", "--num-layers=1", "--num-heads=2"]
    (tmp_path / "first.txt").write_bytes(("schön, " * 400).encode("latin-1"))
    form = ["--encoding", "latin-1", "--save-every", "7"]
    assert main([*flags, "--data", str(tmp_path / "first.txt"), *form, "--steps=200", "--out", "first"]) == 0
    follow = ["train", "--no-plots", "--config", "first/config.json"]
    assert main([*follow, "--steps=20", "--out", "second"]) == 0
    names = ("encoding", "steps", "warmup_steps", "eval_every", "save_every")
    assert [settings_of(Path("second"))[name] for name in names] == ["latin-1", 20, 1, 10, 7]
    (tmp_path / "other.txt").write_text("schön, " * 400)
    assert main([*follow, "--steps=2", "--data", str(tmp_path / "other.txt"), "--out", "third"]) == 0
    assert settings_of(Path("third"))["encoding"] == "utf-8"
    assert "ö" in json.loads(Path("third/tokenizer.json").read_text())["characters"]


def test_a_folder_with_a_config_of_its_own_is_a_text(tmp_path, text, monkeypatch):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "config.json").write_text('{"name": "page"}')
    (tmp_path / "page" / "page.txt").write_text(text[:2000])
    monkeypatch.chdir(tmp_path)
    assert main(["train", "page", "--no-plots", "--out", "run", *TINY]) == 0
