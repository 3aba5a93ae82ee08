"""Any step again, and runs side by side."""

import errno
import json
import os
import shutil
import socket

import numpy as np
import pytest
from small_runs import MODEL

from gpt2 import GPT2
from gpt2.cli import main
from gpt2.run.folder import Run
from gpt2.run.metrics import history
from tinygrad2.kernels.fast import products


@pytest.fixture(scope="module")
def folder(tmp_path_factory, text):
    """Two runs that differ in their seed and one setting."""
    folder = tmp_path_factory.mktemp("replay")
    (folder / "my.txt").write_text(text)
    shape = [f"--{name.replace('_', '-')}={value}" for name, value in MODEL.items()]
    common = [*shape, "--data", str(folder / "my.txt"), "--sample-tokens=0", "--steps=20", "--eval-every=10", "--dropout=0.1"]
    for name, extra in (("a", ["--save-every=4", "--keep-every=4"]), ("b", ["--seed=1", "--save-every=5", "--optimizer=sgd"])):
        assert main(["train", "--no-plots", "--out", str(folder / "runs" / name), *common, *extra]) == 0
    return folder


@pytest.mark.parametrize(
    ("step", "began"), [(1, "the beginning"), (4, "the beginning"), (5, "step 4"), (11, "step 8"), (20, "step 16")]
)
def test_a_step_again_is_the_step(folder, tmp_path, capsys, step, began):
    """Bit for bit, from the nearest checkpoint; and the gradients are those of that batch, before clipping."""
    run = Run(folder / "runs" / "a")
    assert main(["replay", str(run.folder), "--step", str(step), "--out", str(tmp_path / "g.npz")]) == 0
    out = capsys.readouterr().out
    assert began in out
    assert "equal to the log, bit for bit" in out
    row = next(row for row in history(run.metrics) if row["step"] == step)
    assert repr(row["train_loss"]) in out
    saved = np.load(tmp_path / "g.npz")
    assert saved["inputs"].shape == saved["targets"].shape == (12, 16)
    norm = np.sqrt(sum(np.sum(saved[name].astype(float) ** 2) for name in saved if name.startswith("grad.")))
    assert norm == pytest.approx(row["grad_norm"], rel=1e-4)


def test_a_replay_notices_another_log(folder, tmp_path, capsys):
    shutil.copytree(folder / "runs" / "a", tmp_path / "x")
    log = tmp_path / "x" / "metrics.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    rows[7]["train_loss"] += 1e-9
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["replay", str(tmp_path / "x"), "--step", "7"]) == 1
    assert "the log says" in capsys.readouterr().out


def test_one_thing_changed_from_a_step_on(folder, capsys):
    command = ["replay", str(folder / "runs" / "a"), "--step", "9", "--steps", "4", "--json"]
    rows = {row["step"]: row for row in history(folder / "runs" / "a" / "metrics.jsonl")}
    found = {}
    for change in ("lr=0.05", "lr=0.008"):
        assert main([*command, "--set", change]) == 0
        found[change] = [row["train_loss"] for row in json.loads(capsys.readouterr().out)["changed"]]
    was = [rows[step]["train_loss"] for step in range(9, 13)]
    assert found["lr=0.008"] == was  # what it was anyway: nothing changes
    assert found["lr=0.05"][0] == was[0]  # the loss of the step is that before its update
    assert all(a != b for a, b in zip(found["lr=0.05"][1:], was[1:], strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--step 21", "the run has steps 1 to 20"),
        ("--step 0", "the run has steps 1 to 20"),
        ("--step 3 --set speed=3", "'speed' cannot change in the middle of a run"),
        ("--step 3 --set lr=fast", "'fast' must be a number"),
        ("--step 3 --set optimizer=sgd", "'optimizer' cannot change in the middle of a run"),
    ],
)
def test_what_cannot_be_replayed(folder, capsys, arguments, message):
    assert main(["replay", str(folder / "runs" / "a"), *arguments.split()]) == 2
    assert message in capsys.readouterr().err


def test_a_step_on_a_machine_with_other_cores(folder, capsys, monkeypatch):
    """It is taken again in as many parts, and on as many threads, as then."""
    monkeypatch.setattr("gpt2.training.shards.cores", lambda: 7)
    assert main(["replay", str(folder / "runs" / "a"), "--step", "5"]) == 0
    assert "equal to the log, bit for bit" in capsys.readouterr().out
    assert main(["train", "--no-plots", "--resume", "--out", str(folder / "runs" / "a")]) == 2
    assert "threads = 7 on this machine, was" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["kernels", "products", "unit", "ranks"])
def test_what_only_another_machine_can_do_again(folder, tmp_path, capsys, name):
    """No option is named that there is not."""
    shutil.copytree(folder / "runs" / "a", tmp_path / "x")
    about = json.loads((tmp_path / "x" / "config.json").read_text())
    here = about["machine"][name]
    about["machine"][name] = {"ranks": 3, "kernels": "numpy" if here == "numba" else "abacus"}.get(name, "abacus")
    here = products.running() if name == "products" else here
    (tmp_path / "x" / "config.json").write_text(json.dumps(about))
    code = main(["replay", str(tmp_path / "x"), "--step", "5"])
    error = capsys.readouterr().err
    if name == "ranks":  # its work is divided among those that are here
        assert (code, error) == (0, "")
        return
    assert code == 2
    was = about["machine"][name]
    same = " (TINYGRAD2_KERNELS=numpy gives the same sums)" if was == "numpy" else ""
    assert f"{name} = {here} on this machine, was {was}{same}; so the step would differ" in error
    assert "--" not in error
    assert main(["train", "--no-plots", "--resume", "--out", str(tmp_path / "x")]) == 2
    assert f"{same}; --accept-changes trains on with them" in capsys.readouterr().err


def test_another_text_is_not_replayed(folder, tmp_path, text, capsys):
    (tmp_path / "other.txt").write_text(text[:-1])
    assert main(["replay", str(folder / "runs" / "a"), "--step", "5", "--data", str(tmp_path / "other.txt")]) == 2
    error = capsys.readouterr().err
    assert "other.txt is another text: its sha256 is" in error
    assert "; --data FILE names the text that it was trained on" in error
    assert "--accept-changes" not in error


def test_runs_side_by_side(folder, capsys):
    assert main(["runs", str(folder / "runs")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "optimizer muon" in lines[1]
    assert "optimizer sgd" in lines[2]
    assert "save_every 5" in lines[2]
    assert main(["runs", str(folder / "runs"), "--json"]) == 0
    a, b = json.loads(capsys.readouterr().out)
    losses = {row["step"]: row["val_loss"] for row in history(folder / "runs" / "a" / "metrics.jsonl") if "val_loss" in row}
    assert (a["best val"], a["last val"]) == (min(losses.values()), losses[20])
    assert a["parameters"] == GPT2.num_parameters(Run(folder / "runs" / "a").load_model()[0])
    assert b["seed"] == 1
    assert main(["runs", str(folder)]) == 2
    assert "holds no run folder" in capsys.readouterr().err


def test_runs_in_one_picture(folder, tmp_path, capsys):
    runs = [str(folder / "runs" / name) for name in "ab"]
    assert main(["plot", *runs, "--out", str(tmp_path / "both.png")]) == 0
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    assert main(["plot", *runs, "--out", str(tmp_path / "nowhere" / "both.png")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_what_replay_writes_is_whole_or_not_there(folder, tmp_path, monkeypatch, capsys):
    command = ["replay", str(folder / "runs" / "a"), "--step", "1", "--out", str(tmp_path / "g")]

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert main(command) == 2
    assert "g.npz: cannot be written: No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "g.npz").symlink_to("mine")
    assert main(command) == 0
    assert f"batch and gradients: {tmp_path / 'g.npz'}" in capsys.readouterr().out
    assert "grad.wte.weight" in np.load(tmp_path / "g.npz")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_step_without_a_loss_in_the_log(folder, tmp_path, capsys):
    shutil.copytree(folder / "runs" / "a", tmp_path / "x")
    (tmp_path / "x" / "metrics.jsonl").write_text('{"step": 0}\n{"step": 1}\n{"step": 2, "train_loss": 1.0}\n')
    assert main(["replay", str(tmp_path / "x"), "--step", "1"]) == 2
    assert "the log has no training loss of step 1" in capsys.readouterr().err


ODD = {
    "a-cut-config": lambda run: (run / "config.json").write_text('{"model": {'),
    "b-empty-config": lambda run: (run / "config.json").write_text("{}"),
    "c-config-is-a-pipe": lambda run: replaced(run / "config.json", os.mkfifo),
    "d-config-is-a-folder": lambda run: replaced(run / "config.json", os.mkdir),
    "e-config-is-a-link": lambda run: replaced(run / "config.json", lambda path: os.symlink("tokenizer.json", path)),
    "f-config-leads-nowhere": lambda run: replaced(run / "config.json", lambda path: os.symlink("nowhere", path)),
    "g-huge-config": lambda run: os.truncate(run / "config.json", 10 << 30),
    "h-log-is-a-pipe": lambda run: replaced(run / "metrics.jsonl", os.mkfifo),
    "i-log-is-a-socket": lambda run: replaced(run / "metrics.jsonl", bound),
    "j-log-is-a-link": lambda run: replaced(run / "metrics.jsonl", lambda path: os.symlink("/dev/zero", path)),
    "k-huge-log": lambda run: os.truncate(run / "metrics.jsonl", 10 << 30),
    "l-damaged-log": lambda run: (run / "metrics.jsonl").write_text('{"step": 9223372036854775808}\n'),
    "m-a-link-in-it": lambda run: os.symlink("/etc", run / "notes"),
}


def replaced(path, make):
    path.unlink()
    make(path)


def bound(path):
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)  # a name of at most 107 bytes
    finally:
        os.chdir(here)


def test_one_odd_folder_does_not_hide_the_others(folder, tmp_path, capsys):
    """Each is named, with the reason, in a line of its own; and a folder that is no run is none of them."""
    for name in ("good", *ODD, "z-good"):
        shutil.copytree(folder / "runs" / "a", tmp_path / name)
    for name, spoil in ODD.items():
        spoil(tmp_path / name)
    (tmp_path / "no-run").mkdir()
    (tmp_path / "no-run" / "link").symlink_to("/etc")
    (tmp_path / "file").touch()
    shutil.copytree(folder / "runs" / "a", tmp_path / "not-begun")
    (tmp_path / "not-begun" / "metrics.jsonl").unlink()
    assert main(["runs", str(tmp_path), "--json"]) == 0
    output = capsys.readouterr()
    assert [(about["run"], about["steps"]) for about in json.loads(output.out)] == [
        ("good", 20), ("not-begun", 0), ("z-good", 20),
    ]  # fmt: skip
    notes = output.err.splitlines()
    assert len(notes) == len(ODD)
    for note, name in zip(notes, ODD, strict=True):
        assert note.startswith(f"gpt2: note: left out: {tmp_path / name}")
        assert len(note) < 400
    for name in ("good", "not-begun", "z-good"):
        shutil.rmtree(tmp_path / name)
    assert main(["runs", str(tmp_path)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines()[:-1] == notes
    assert "holds no run folder that can be read" in output.err


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("command", ["plot", "health", "replay", "eval"])
def test_an_odd_folder_is_refused_in_one_line(folder, tmp_path, capsys, command, name):
    shutil.copytree(folder / "runs" / "a", tmp_path / name)
    ODD[name](tmp_path / name)
    run = str(tmp_path / name)
    given = {"plot": ["--out", str(tmp_path / "x.png")], "replay": ["--step", "1"], "eval": ["--best"]}.get(command, [])
    assert main([command, *(["--run"] if command == "eval" else []), run, *given]) == 2
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert not (tmp_path / "x.png").exists()
