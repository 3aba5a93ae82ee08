"""What is written for TensorBoard is what was recorded, read back by TensorBoard itself."""

import json
import math
import os
import shutil
import sys

import numpy as np
import pytest
from small_runs import run_once

from gpt2.cli import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory, text):
    """Two runs, the second with a spike that was rolled back and numbers that are not finite."""
    folder = tmp_path_factory.mktemp("runs")
    run_once(folder / "a", text)
    shutil.copytree(folder / "a", folder / "b")
    row = {"train_loss": "inf", "learning_rate": 0.25, "grad_norm": "nan", "update_ratios": {"wte.weight": "-inf"}}
    skipped = {"step": 31, **row, "skipped": "loss is inf"}
    again = {"step": 30, **row, "train_loss": 1e-3, "val_loss": 2.5}
    with open(folder / "b" / "metrics.jsonl", "a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in (skipped, again, {"step": 31, **row})) + '{"step": 32, "tra')
    return folder


@pytest.fixture
def read():
    """TensorBoard's own reader: from a folder to {name: {step: float32}}, with each step once."""
    if os.environ.get("REQUIRE_ORACLE"):
        import tensorboardX  # noqa: F401
        from tensorboard.backend.event_processing import event_accumulator
    else:
        pytest.importorskip("tensorboardX", reason="pip install -e '.[tensorboard]'")
        name = "tensorboard.backend.event_processing.event_accumulator"
        event_accumulator = pytest.importorskip(name, reason="pip install -e '.[oracle]'")

    def read(folder):
        found = event_accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
        points = {
            name: [(event.step, np.float32(event.value)) for event in found.Scalars(name)] for name in found.scalars.Keys()
        }
        assert all(len(dict(own)) == len(own) for own in points.values())
        return {name: dict(own) for name, own in points.items()}

    return read


def recorded(path):
    """The same from metrics.jsonl, of the rows that count."""

    def numbers(value, name):
        if isinstance(value, dict):
            return [pair for key, inner in value.items() for pair in numbers(inner, f"{name}/{key}")]
        return [(name[1:], np.float32(value))]

    lines = path.read_bytes().split(b"\n")[:-1]
    rows = {row["step"]: row for row in map(json.loads, lines) if "skipped" not in row}
    found = {}
    for step, row in rows.items():
        for name, value in numbers({key: value for key, value in row.items() if key != "step"}, ""):
            found.setdefault(name, {})[step] = value
    return found


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, points in expected.items():
        assert found[name].keys() == points.keys()
        np.testing.assert_array_equal(list(found[name].values()), [points[step] for step in found[name]], err_msg=name)


@pytest.mark.oracle
def test_every_number_is_there_once_however_often_it_is_written(runs, read, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [str(runs / name) for name in "ab"]
    for given in (names, names, names[1:]):
        assert main(["plot", *given, "--tensorboard", "events"]) == 0
        for name in "ab":
            assert_same(read(tmp_path / "events" / name), recorded(runs / name / "metrics.jsonl"))
    found = read(tmp_path / "events" / "b")
    assert {"train_loss", "val_loss", "learning_rate", "grad_norm", "grad_norms/h.1"} < found.keys()
    assert "diagnostics/blocks/h.1/entropy/0" in found
    assert found["val_loss"][30] == 2.5
    assert math.isinf(found["train_loss"][31])
    assert [path.name for path in tmp_path.iterdir()] == ["events"]  # and no picture, where none was asked for
    assert f"{len(recorded(runs / 'b' / 'metrics.jsonl')['train_loss']) + 1} steps" in capsys.readouterr().out


@pytest.mark.oracle
def test_a_picture_can_be_drawn_as_well_and_what_else_is_in_the_folder_stays(runs, read, tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("notes.txt", "events.tmp"):
        (tmp_path / "a" / name).write_text("mine")
    assert main(["plot", str(runs / "a"), "--tensorboard", str(tmp_path), "--out", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name: path.read_bytes()[:4] for path in (tmp_path / "a").iterdir() if "tfevents" not in path.name} == {
        "notes.txt": b"mine", "events.tmp": b"mine",
    }  # fmt: skip
    assert read(tmp_path / "a")


@pytest.mark.oracle
def test_what_cannot_be_written(runs, read, tmp_path, capsys):
    shutil.copytree(runs / "a", tmp_path / "other" / "a")
    (tmp_path / "file").touch()
    for given, message in [
        ([str(runs / "a"), str(tmp_path / "other" / "a"), "--tensorboard", str(tmp_path / "new")], "two runs are called a"),
        ([str(runs / "a"), "--tensorboard", str(tmp_path / "file")], "cannot be written: Not a directory"),
    ]:
        assert main(["plot", *given]) == 2
        output = capsys.readouterr()
        assert (output.out, output.err.count("\n")) == ("", 1)
        assert message in output.err
    assert not (tmp_path / "new").exists()


def test_without_the_package_the_error_says_what_to_install(runs, tmp_path, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboardX"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert main(["plot", str(runs / "a"), "--tensorboard", str(tmp_path / "new")]) == 2
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert "pip install 'tinygrad2[tensorboard]'" in output.err
    assert not (tmp_path / "new").exists()
