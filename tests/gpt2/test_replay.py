"""Any step again, and runs side by side."""

import json

import numpy as np
import pytest
from small_runs import MODEL

from gpt2 import GPT2
from gpt2.cli import main
from gpt2.metrics import history
from gpt2.runs import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory, text):
    """Two runs that differ in their seed and one setting."""
    folder = tmp_path_factory.mktemp("replay")
    (folder / "my.txt").write_text(text)
    shape = [f"--{name.replace('_', '-')}={value}" for name, value in MODEL.items()]
    common = [*shape, "--data", str(folder / "my.txt"), "--sample-tokens=0", "--steps=20", "--eval-every=10", "--dropout=0.1"]
    for name, extra in (("a", ["--save-every=4", "--keep-every=4"]), ("b", ["--seed=1", "--save-every=5", "--optimizer=sgd"])):
        assert main(["train", "--out", str(folder / "runs" / name), *common, *extra]) == 0
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
    assert saved["inputs"].shape == saved["targets"].shape == (6, 16)
    norm = np.sqrt(sum(np.sum(saved[name].astype(float) ** 2) for name in saved if name.startswith("grad.")))
    assert norm == pytest.approx(row["grad_norm"], rel=1e-4)


def test_a_replay_notices_another_log(folder, tmp_path, capsys):
    import shutil

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
    for change in ("lr=0.05", "lr=0.002"):
        assert main([*command, "--set", change]) == 0
        found[change] = [row["train_loss"] for row in json.loads(capsys.readouterr().out)["changed"]]
    was = [rows[step]["train_loss"] for step in range(9, 13)]
    assert found["lr=0.002"] == was  # what it was anyway: nothing changes
    assert found["lr=0.05"][0] == was[0]  # the loss of the step is that before its update
    assert all(a != b for a, b in zip(found["lr=0.05"][1:], was[1:], strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--step 21", "the run has steps 1 to 20"),
        ("--step 0", "the run has steps 1 to 20"),
        ("--step 3 --set speed=3", "'speed' is not a setting that can change"),
        ("--step 3 --set lr=fast", "'fast' must be float"),
        ("--step 3 --set optimizer=sgd", "cannot change in the middle"),
    ],
)
def test_what_cannot_be_replayed(folder, capsys, arguments, message):
    assert main(["replay", str(folder / "runs" / "a"), *arguments.split()]) == 2
    assert message in capsys.readouterr().err


def test_runs_side_by_side(folder, capsys):
    assert main(["runs", str(folder / "runs")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "optimizer adamw" in lines[1]
    assert "optimizer sgd" in lines[2]
    assert "save_every 5" in lines[2]
    assert main(["runs", str(folder / "runs"), "--json"]) == 0
    a, b = json.loads(capsys.readouterr().out)
    losses = {row["step"]: row["val_loss"] for row in history(folder / "runs" / "a" / "metrics.jsonl") if "val_loss" in row}
    assert (a["best val"], a["last val"]) == (min(losses.values()), losses[20])
    assert a["parameters"] == GPT2.num_parameters(Run(folder / "runs" / "a").load_model()[0])
    assert b["seed"] == 1
    assert main(["runs", str(folder)]) == 2
    assert "holds no run folders" in capsys.readouterr().err


def test_runs_in_one_picture(folder, tmp_path, capsys):
    runs = [str(folder / "runs" / name) for name in "ab"]
    assert main(["plot", *runs, "--out", str(tmp_path / "both.png")]) == 0
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    assert main(["plot", *runs, "--out", str(tmp_path / "nowhere" / "both.png")]) == 2
    assert "cannot be written" in capsys.readouterr().err
