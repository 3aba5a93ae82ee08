"""A step again, of a run that skipped batches, went back, or went on with other settings; and what might have been."""

import json
import math
import shutil

import pytest
from small_runs import MODEL

from gpt2.cli import main
from gpt2.run.metrics import history, read_metrics
from gpt2.training.shards import Shards

SHAPE = [f"--{name.replace('_', '-')}={value}" for name, value in MODEL.items()]
COMMON = [*SHAPE, "--no-plots", "--sample-tokens=0", "--eval-windows=2", "--batch-size=2", "--dropout=0.1", "--warmup-steps=5"]
GUARDED = ["--steps=34", "--spike-threshold=20", "--spike-window=20", "--save-every=10", "--eval-every=10", "--keep-every=10"]


def spiked(patch, positions, loss=100.0):
    """Batches at some positions have that loss, whoever computes it."""
    right = Shards.loss_and_gradients

    def wrong(self, model, batch, seed, position, smoothing=0.0):
        found, grads = right(self, model, batch, seed, position, smoothing)
        return loss if position in positions else found, grads

    patch.setattr(Shards, "loss_and_gradients", wrong)


@pytest.fixture(scope="module")
def begun(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("turns")
    (folder / "my.txt").write_text(text)
    return folder


@pytest.fixture(scope="module")
def plain(begun):
    """A short run of which nothing is to be said."""
    run = begun / "plain"
    assert main(["train", *COMMON, "--data", str(begun / "my.txt"), "--steps=8", "--on-nonfinite=skip", "--out", str(run)]) == 0
    return run


@pytest.fixture(scope="module", params=["skip", "rollback"])
def guarded(request, begun, tmp_path_factory):
    """A run of which two batches are spikes; its replays see them too."""
    with pytest.MonkeyPatch.context() as patch:
        spiked(patch, (25, 28, 29))
        run = tmp_path_factory.mktemp(request.param) / "run"
        data = ["--data", str(begun / "my.txt"), "--out", str(run)]
        assert main(["train", *COMMON, *GUARDED, *data, "--on-spike", request.param]) == 0
        assert sum("skipped" in row for row in read_metrics(run / "metrics.jsonl")) == 3
        yield run


def replayed(run, capsys, *flags):
    """What replay says of a step as JSON; it must be that of the log."""
    assert main(["replay", str(run), "--json", *map(str, flags)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["bit_for_bit"] is True
    return found


@pytest.mark.parametrize("step", [3, 20, 21, 24, 26, 27, 29, 30, 31, 34])
def test_a_step_after_batches_that_were_skipped_or_after_going_back(guarded, capsys, step):
    row = next(row for row in history(guarded / "metrics.jsonl") if row["step"] == step)
    found = replayed(guarded, capsys, "--step", step)["row"]
    assert [found[name] for name in ("train_loss", "grad_norm", "learning_rate")] == [
        row[name] for name in ("train_loss", "grad_norm", "learning_rate")
    ]


def test_a_step_that_is_skipped_now_is_no_reason_to_go_on_for_ever(plain, monkeypatch, capsys):
    """As on another machine."""
    spiked(monkeypatch, range(3, 1000), math.nan)
    for step in (4, 7):
        assert main(["replay", str(plain), "--step", str(step)]) == 2
        assert "step 4 was taken in the run, and is skipped now: loss is nan" in capsys.readouterr().err


# -- other settings on the way


@pytest.fixture(scope="module")
def changed(begun):
    """A run that was stopped by its steps, twice, and went on with other settings; few of its checkpoints are left."""
    run = begun / "changed"
    flags = ["--steps=8", "--eval-every=4", "--save-every=4", "--data", str(begun / "my.txt"), "--schedule=linear"]
    assert main(["train", *COMMON, *flags, "--out", str(run)]) == 0
    again = ["train", "--no-plots", "--resume", "--accept-changes", "--out", str(run)]
    assert main([*again, "--steps=16", "--learning-rate=0.02", "--shards=1"]) == 0
    assert main([*again, "--steps=20", "--save-every=5", "--batch-size=3"]) == 0
    return run


@pytest.mark.parametrize("step", [1, 7, 8, 9, 12, 16, 17, 20])
def test_a_step_has_the_settings_that_were_in_force(changed, capsys, step):
    """Also where the replay has to begin before settings changed."""
    for checkpoint in sorted((changed / "checkpoints").iterdir())[:-1]:
        checkpoint.unlink()
    replayed(changed, capsys, "--step", step)


def test_a_run_without_a_record_of_changes_is_read(changed, tmp_path, capsys):
    """As they were before there was one: all of its steps had the settings that it says."""
    shutil.copytree(changed, tmp_path / "x")
    about = json.loads((tmp_path / "x" / "config.json").read_text())
    assert [part["until"] for part in about.pop("before")] == [8, 16]
    (tmp_path / "x" / "config.json").write_text(json.dumps(about))
    assert main(["replay", str(tmp_path / "x"), "--step", "5"]) == 1
    assert "an older version that did not record" in capsys.readouterr().out
    assert main(["train", "--no-plots", "--resume", "--out", str(tmp_path / "x")]) == 0


def test_changes_that_no_step_was_taken_with_leave_no_trace(begun, tmp_path, capsys):
    run = tmp_path / "run"
    flags = ["--steps=4", "--save-every=2", "--keep-every=2"]
    assert main(["train", *COMMON, *flags, "--data", str(begun / "my.txt"), "--out", str(run)]) == 0
    again = ["train", "--no-plots", "--resume", "--accept-changes", "--out", str(run)]
    parts = lambda: json.loads((run / "config.json").read_text())["before"]  # noqa: E731
    assert main(again) == 0
    assert parts() == []
    for rate in (0.1, 0.2):
        assert main([*again, "--steps=4", f"--learning-rate={rate}"]) == 0
        assert [(part["until"], part["training"]["learning_rate"]) for part in parts()] == [(4, 8e-3)]
    assert main([*again, "--learning-rate=0.008"]) == 0
    assert parts() == []  # all is as it was
    assert main([*again, "--steps=8", "--learning-rate=0.3"]) == 0
    for name in ("step-00000008", "step-00000006"):  # lost: it goes on from before
        (run / "checkpoints" / f"{name}.safetensors").unlink()
    assert main([*again, "--steps=6", "--learning-rate=0.4"]) == 0
    assert [(part["until"], part["training"]["learning_rate"]) for part in parts()] == [(4, 8e-3)]
    replayed(run, capsys, "--step", 5)


def test_another_text_on_the_way(begun, tmp_path, text, capsys):
    """Each part of the run can be taken again with its text, where nothing before it is needed."""
    run, mine, other = tmp_path / "run", tmp_path / "mine.txt", tmp_path / "other.txt"
    mine.write_text(text)
    other.write_text(text[::-1])
    flags = ["--steps=4", "--save-every=2", "--keep-every=2"]
    assert main(["train", *COMMON, *flags, "--data", str(mine), "--out", str(run)]) == 0
    mine.write_text(text[::-1])  # the same name, and no setting is another one
    assert main(["train", "--no-plots", "--resume", "--accept-changes", "--steps=4", "--out", str(run)]) == 0
    assert main(["train", "--no-plots", "--resume", "--steps=4", "--out", str(run)]) == 0  # that is the text now
    assert main(["train", "--no-plots", "--resume", "--accept-changes", "--steps=8", "--out", str(run)]) == 0
    capsys.readouterr()
    replayed(run, capsys, "--step", 6)
    assert main(["replay", str(run), "--step", "3"]) == 2
    assert "has changed: its sha256 is" in capsys.readouterr().err
    mine.write_text(text)
    replayed(run, capsys, "--step", 3)


def test_a_text_that_has_moved_is_where_the_run_was_told_last(begun, tmp_path, text, capsys):
    run = tmp_path / "run"
    for name, flags in (("a", ["--steps=4", *COMMON]), ("b", ["--steps=8", *COMMON[-1:]])):
        (tmp_path / name).write_text(text)
        command = ["train", "--no-plots", "--resume", "--accept-changes", "--data", str(tmp_path / name), "--out", str(run)]
        assert main([*command, *flags]) == 0
        (tmp_path / "a").unlink(missing_ok=True)
    assert [part["training"]["data"] for part in json.loads((run / "config.json").read_text())["before"]] == [
        str(tmp_path / "a")
    ]
    for step in (2, 6):
        replayed(run, capsys, "--step", step)


# -- what might have been


@pytest.mark.parametrize("guarded", ["skip"], indirect=True)
def test_batches_that_are_skipped_are_no_steps(guarded, capsys):
    """As many steps are shown as were asked for, and what is skipped says so."""
    rows = replayed(guarded, capsys, "--step", 24, "--steps", 8, "--set", "lr=0.001")["changed"]
    assert [row["step"] for row in rows] == [24, 25, 26, 26, 27, 28, 28, 28, 29, 30, 31]
    assert main(["replay", str(guarded), "--step", "24", "--steps", "8", "--set", "lr=0.001"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.split()[:2] == ["26", "skipped:"]]
    assert "robust standard deviations" in line
    taken = [line.split() for line in lines[-len(rows) :] if "skipped" not in line]
    assert [int(words[0]) for words in taken] == [*range(24, 32)]
    assert all(float(words[3]) == 0 for words in taken[:1])


@pytest.mark.parametrize(
    ("guarded", "change"), [("skip", "on_spike=rollback"), ("rollback", "lr=0.0006")], indirect=["guarded"]
)
def test_going_back_ends_it_and_says_so(guarded, capsys, change):
    found = replayed(guarded, capsys, "--step", 18, "--steps", 12, "--set", change)
    assert [row["step"] for row in found["changed"]] == [*range(18, 27)]
    assert "would roll back" in found["ended"]
    assert main(["replay", str(guarded), "--step", "18", "--steps", "12", "--set", change]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("it ends here: step 26: the training would roll back")


def test_what_leads_nowhere_ends(plain, monkeypatch, capsys):
    spiked(monkeypatch, range(4, 1000), math.nan)
    for policy, count in (("skip", 21), ("stop", 0), ("rollback", 1)):
        found = replayed(plain, capsys, "--step", 4, "--steps", 8, "--set", f"on_nonfinite={policy}")
        assert len(found["changed"]) == 1 + count
        assert "loss is nan" in found["ended"]


def test_a_smaller_batch_has_fewer_shards(plain, capsys):
    rows = replayed(plain, capsys, "--step", 4, "--steps", 3, "--set", "batch_size=1")["changed"]
    assert len(rows) == 3


def test_a_batch_that_does_not_fit_is_refused(plain, monkeypatch, capsys):
    monkeypatch.setattr("gpt2.training.memory.free_bytes", lambda: {"in this test": 50 << 20})
    assert main(["replay", str(plain), "--step", "3", "--set", "batch_size=100000"]) == 2
    assert "100,000 sequences of 16 tokens takes more than" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--set preset=3", "--set preset=3: 'preset' cannot change in the middle of a run"),
        ("--set __init__=3", "'__init__' cannot change in the middle of a run"),
        ("--set shards=1", "'shards' cannot change in the middle of a run"),
        ("--set threads=2", "'threads' cannot change in the middle of a run"),
        ("--set zero=false", "'zero' cannot change in the middle of a run"),
        ("--set ema_decay=0.5", "'ema_decay' cannot change in the middle of a run"),
        ("--set eval_every=5", "'eval_every' cannot change in the middle of a run"),
        ("--set lr", "--set lr: is not NAME=VALUE"),
        ("--set batch_size=0", "batch_size = 0 must be at least 1"),
        ("--set batch_size=1.5", "--set batch_size=1.5: '1.5' must be a whole number"),
        ("--set lr=1 --set learning-rate=2", "--set learning-rate=2: learning_rate is set twice"),
        ("--set lr=nan", "learning_rate = nan must be a finite number"),
        ("--set on_spike=stop", "on_spike = 'stop' must be skip or rollback"),
        ("--set lr=0.1 --steps 0", "--steps 0: must be at least 1"),
        ("--steps 5", "--steps 5: is for --set"),
        ("--out=", "--out is empty"),
    ],
)
def test_what_cannot_be_set(plain, capsys, arguments, message):
    assert main(["replay", str(plain), "--step", "3", *arguments.split()]) == 2
    assert message in capsys.readouterr().err
