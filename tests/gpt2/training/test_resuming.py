"""A training that was stopped anywhere goes on as if it had not been.

STRESS=1 pytest tests/gpt2/training/test_resuming.py resumes at every step of every kind of run.
"""

import errno
import json
import os
import shutil

import numpy as np
import pytest
from small_runs import run_once, without_speed

import gpt2.run.metrics
import tinygrad2.files
from gpt2.cli import main
from gpt2.errors import RunError
from gpt2.run.checkpoints import Checkpoints
from gpt2.run.folder import Run
from gpt2.training import loop
from gpt2.training.shards import Shards
from gpt2.training.step import NonFiniteError, Trainer

pytestmark = pytest.mark.slow

STRESS = bool(os.environ.get("STRESS"))
STEPS = 50 if STRESS else 12
RUN = {
    "steps": STEPS,
    "save_every": 1,
    "keep_every": 1,
    "eval_every": 5,
    "warmup_steps": 3,
    "sample_tokens": 5,
    "ema_decay": 0.9,
}
KINDS = [
    (optimizer, dropout, shards)
    for optimizer in ("sgd", "adam", "adamw")
    for dropout in (0.0, 0.2)
    for shards in (1, 3)
    if STRESS or (optimizer, dropout, shards) in {("adamw", 0.2, 3), ("sgd", 0.0, 1)}
]


def settings(optimizer, dropout, shards):
    return {"model": {"dropout": dropout}, "optimizer": optimizer, "shards": shards, "threads": 1, **RUN}


def cut(source, folder, step):
    """The folder as it was when the checkpoint of `step` was the last one, with more in its logs, as after a crash."""
    shutil.copytree(source, folder)
    (folder / "model.safetensors").unlink()
    for later in Checkpoints(folder / "checkpoints").steps():
        if later > step:
            Checkpoints(folder / "checkpoints").path(later).unlink()
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 3, "train_lo')


def contents(run):
    """Everything that must be equal: parameters, optimizer, average, streams, log and samples."""
    checkpoint = Checkpoints(run.checkpoints).latest(pytest.fail)
    about = {key: checkpoint.about[key] for key in ("step", "position", "spikes", "progress")}
    return (
        checkpoint.arrays,
        about | {"pending": None},
        without_speed(gpt2.run.metrics.read_metrics(run.metrics)),
        run.samples.read_text(),
    )


def differences(one, other):
    (arrays, *rest), (other_arrays, *other_rest) = one, other
    assert arrays.keys() == other_arrays.keys()
    names = [name for name in arrays if arrays[name].tobytes() != other_arrays[name].tobytes()]
    for about in (rest[0], other_rest[0]):
        if about["progress"]["pending"]:
            about["progress"]["pending"].pop("tokens_per_s", None)
    return names + [str(i) for i, (a, b) in enumerate(zip(rest, other_rest, strict=True)) if a != b]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_resumed_at_any_step_it_ends_the_same(tmp_path, text, kind):
    run, _, _ = run_once(tmp_path / "whole", text, **settings(*kind))
    expected = contents(run)
    for step in range(STEPS + 1) if STRESS else (0, 1, 5, 11, 12):
        cut(run.folder, tmp_path / "cut", step)
        resumed, _, _ = run_once(tmp_path / "cut", text, resume=True, **settings(*kind))
        assert differences(contents(resumed), expected) == [], f"resumed at step {step}"
        assert resumed.model.read_bytes() == run.model.read_bytes()
        shutil.rmtree(tmp_path / "cut")


@pytest.mark.parametrize("lost", ["position", "optimizer", "average", "spikes"])
def test_what_would_be_noticed_if_it_were_lost(tmp_path, text, monkeypatch, lost):
    """The control: a resume that forgets one thing does differ."""
    kind = settings("adamw", 0.2, 3) | {"spike_threshold": 50.0}
    run, _, _ = run_once(tmp_path / "whole", text, **kind)
    cut(run.folder, tmp_path / "cut", 6)
    restore = loop.restore

    def forgetful(trainer, checkpoint):
        restore(trainer, checkpoint)
        if lost == "position":
            trainer.position = 0
        elif lost == "optimizer":
            for slots in trainer.optimizer.state:
                for array in slots.values():
                    array[...] = 0
        elif lost == "spikes":
            trainer.spikes.windows.clear()
        else:
            for array in trainer.average.weights.values():
                array[...] = 0

    monkeypatch.setattr(loop, "restore", forgetful)
    resumed, _, _ = run_once(tmp_path / "cut", text, resume=True, **kind)
    assert differences(contents(resumed), contents(run))


def test_a_damaged_checkpoint_is_passed_over(tmp_path, text):
    run, _, _ = run_once(tmp_path / "whole", text, **RUN)
    cut(run.folder, tmp_path / "cut", 8)
    path = Checkpoints(tmp_path / "cut" / "checkpoints").path(8)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    said = []
    resumed, _, _ = run_once(tmp_path / "cut", text, resume=True, say=said.append, **RUN)
    assert any("step-00000008.safetensors is damaged" in line for line in said)
    assert "continuing after step 7" in said
    assert differences(contents(resumed), contents(run)) == []


def test_only_the_last_two_the_best_and_every_nth_checkpoint_are_kept(tmp_path, text):
    run, _, rows = run_once(tmp_path / "a", text, steps=30, save_every=4, keep_every=12, eval_every=5)
    losses = {row["step"]: row["val_loss"] for row in rows if "val_loss" in row}
    best = min(losses, key=losses.get)
    assert set(Checkpoints(run.checkpoints).steps()) == {0, 12, 24, 28, 30, best}
    assert run.load_model(best=True)[0].config == run.load_model()[0].config


def test_early_stopping_keeps_the_best(tmp_path, text):
    result_run = run_once(tmp_path / "a", text[:800], steps=400, eval_every=10, patience=3, learning_rate=0.02, batch_size=8)
    run, result, rows = result_run
    losses = {row["step"]: row["val_loss"] for row in rows if "val_loss" in row}
    best = min(losses, key=losses.get)
    assert result.stopped_early
    assert result.steps == best + 30 < 400
    assert best in Checkpoints(run.checkpoints).steps()
    model, _ = run.load_model(best=True)
    assert (model.wte.weight.data != run.load_model()[0].wte.weight.data).any()


def test_the_average_of_the_weights_is_what_is_evaluated_and_kept(tmp_path, text):
    run, _, _ = run_once(tmp_path / "a", text, steps=12, ema_decay=0.8)
    checkpoint = Checkpoints(run.checkpoints).latest(pytest.fail)
    model, _ = run.load_model()
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(p.data, checkpoint.arrays[f"average.{name}"])
    assert any(
        (checkpoint.arrays[f"average.{n}"] != checkpoint.arrays[f"model.{n}"]).any() for n, _ in model.named_parameters()
    )


# -- one folder, one process


def test_two_processes_cannot_train_into_one_folder(tmp_path, text):
    run, _, _ = run_once(tmp_path / "a", text, steps=2)
    with run.locked(), pytest.raises(RunError, match=f"process {os.getpid()} is training into it"):
        run_once(tmp_path / "a", text, resume=True, steps=2)
    run_once(tmp_path / "a", text, resume=True, steps=2)  # the lock is free again


# -- resume refuses what has changed


@pytest.fixture(scope="module")
def begun(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("begun")
    (folder / "my.txt").write_text(text)
    tiny = ["--steps=4", "--d-model=8", "--num-layers=1", "--num-heads=2", "--max-seq-len=8", "--sample-tokens=0"]
    assert main(["train", "--no-plots", "--data", str(folder / "my.txt"), "--out", str(folder / "run"), *tiny]) == 0
    return folder


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--steps 6 --learning-rate 0.5", "run: learning_rate = 0.5, was 0.008; --accept-changes trains on with them"),
        ("--steps 3", "run: --steps 3: the run has 4 steps: give at least 4"),
        ("--d-model 16", "this cannot change within a run: d_model = 16, was 8"),
        ("--tokenizer byte", "tokenizer = 'byte', was 'char'"),
        (
            "--steps 6 --tokenizer byte --accept-changes",
            "cannot change within a run: tokenizer = 'byte', was 'char'; begin another",
        ),
        ("--init-from elsewhere --accept-changes", "cannot change within a run: init_from = 'elsewhere', was ''"),
        ("--preset small --accept-changes", "cannot change within a run: d_model = 768, was 8, num_layers = 12, was 1"),
        ("--optimizer sgd --accept-changes", "cannot change within a run: optimizer = 'sgd', was 'muon'; begin another"),
        ("--ema-decay 0.9 --accept-changes", "cannot change within a run: ema_decay = 0.9, was 0.0; begin another"),
        ("--preset tiny --d-model 8 --num-layers 1 --num-heads 2 --max-seq-len 8", "steps = 2000, was 4; --accept-changes"),
    ],
)
def test_other_settings_are_refused(begun, capsys, flags, message):
    before = (begun / "run" / "metrics.jsonl").read_bytes()
    assert main(["train", "--resume", "--out", str(begun / "run"), *flags.split()]) == 2
    assert message in capsys.readouterr().err
    assert (begun / "run" / "metrics.jsonl").read_bytes() == before


def test_a_preset_that_a_run_has_anyway_is_no_change(begun, tmp_path, capsys):
    """As where the command that began it is given again; and only a run that begins is called by it."""
    flags = ["train", "--no-plots", "--preset=nanogpt-cpu", "--steps=2", "--num-layers=1", "--d-model=8", "--sample-tokens=0"]
    flags += ["--data", str(begun / "my.txt"), "--resume", "--out", str(tmp_path / "a")]
    assert main(flags) == 0
    assert capsys.readouterr().out.startswith("nanogpt-cpu on my (")
    assert main(flags) == 0
    assert capsys.readouterr().out.startswith("my (")
    tuned = ["train", "--no-plots", "--preset=small", "--init-from", str(tmp_path / "a"), "--steps=2", "--sample-tokens=0"]
    tuned += ["--data", str(begun / "my.txt"), "--resume", "--out", str(tmp_path / "b")]
    assert [main(tuned), main(tuned)] == [0, 0]  # its sizes are those of the model that it began from
    assert capsys.readouterr().err.count("--preset small decides how the model of") == 1


def test_what_follows_from_the_steps_is_no_change(begun, tmp_path, capsys):
    """As where the command that began a run is given again, with the values that say that they follow from others."""
    flags = ["train", "--no-plots", "--steps=40", "--num-layers=1", "--d-model=8", "--num-heads=2", "--sample-tokens=0"]
    flags += ["--data", str(begun / "my.txt"), "--resume", "--out", str(tmp_path / "a"), "--max-seq-len=8"]
    flags += ["--eval-every=0", "--save-every=0", "--warmup-steps=-1", "--eval-windows=-1", "--d-ff=0"]
    assert [main(flags), main(flags), main([*flags, "--steps=41"])] == [0, 0, 0]
    capsys.readouterr()
    assert main([*flags, "--eval-every=5", "--d-ff=8"]) == 2
    assert "cannot change within a run: d_ff = 8, was 32" in capsys.readouterr().err
    assert main([*flags, "--steps=41", "--eval-every=5"]) == 2
    assert "eval_every = 5, was 10; --accept" in capsys.readouterr().err


def test_another_text_is_refused_and_changes_are_taken_when_accepted(begun, tmp_path, text, capsys):
    shutil.copytree(begun, tmp_path / "x")
    run = tmp_path / "x" / "run"
    config = json.loads((run / "config.json").read_text())
    config["corpus"]["sha256"] = "0" * 64
    (run / "config.json").write_text(json.dumps(config))
    assert main(["train", "--resume", "--out", str(run)]) == 2
    assert "has changed: its sha256 is" in capsys.readouterr().err
    assert main(["train", "--no-plots", "--resume", "--out", str(run), "--steps", "6", "--accept-changes"]) == 0
    assert "continuing after step 4" in capsys.readouterr().out
    assert gpt2.run.metrics.read_metrics(run / "metrics.jsonl")[-1]["step"] == 6
    assert main(["train", "--no-plots", "--resume", "--out", str(run), "--steps", "6"]) == 0  # that is how it is now


def test_resume_begins_what_is_not_there(tmp_path, begun, capsys):
    flags = [
        "--data",
        str(begun / "my.txt"),
        "--steps=2",
        "--d-model=8",
        "--num-layers=1",
        "--num-heads=2",
        "--sample-tokens=0",
    ]
    assert main(["train", "--no-plots", "--resume", "--out", str(tmp_path / "new"), *flags]) == 0
    assert main(["train", "--resume", *flags]) == 2
    assert "--resume needs --out" in capsys.readouterr().err
    assert main(["train", "--resume", str(tmp_path / "new")]) == 2
    assert f"--resume needs --out: the folder of the run to continue; did you mean --resume --out {tmp_path / 'new'}?" in (
        capsys.readouterr().err
    )


def test_a_misspelt_folder_begins_nothing_where_nothing_says_what_to_begin(tmp_path, begun, capsys):
    shutil.copytree(begun / "run", tmp_path / "shakespeare")
    wrong = tmp_path / "shakespaere"
    assert main(["train", "--resume", "--out", str(wrong)]) == 2
    err = capsys.readouterr().err
    assert f"--out {wrong}: no such folder; did you mean {tmp_path / 'shakespeare'}?" in err
    assert not wrong.exists()
    flags = ["--data", str(begun / "my.txt"), "--steps=1", "--d-model=8", "--num-layers=1", "--num-heads=2", "--no-plots"]
    assert main(["train", "--resume", "--out", str(wrong), *flags]) == 0
    assert "holds no run to resume: a new one begins; did you mean" in capsys.readouterr().out


@pytest.mark.parametrize("accepting", [[], ["--accept-changes"]])
def test_fewer_steps_than_were_taken_are_refused(tmp_path, begun, capsys, accepting):
    shutil.copytree(begun, tmp_path / "x")
    run = tmp_path / "x" / "run"
    config = (run / "config.json").read_text()
    command = ["train", "--no-plots", "--resume", "--out", str(run), *accepting, "--steps"]
    assert main([*command, "3"]) == 2
    assert "run: --steps 3: the run has 4 steps: give at least 4" in capsys.readouterr().err
    assert (run / "config.json").read_text() == config
    assert main([*command, "4"]) == 0


def test_a_fine_tuning_with_dropout_goes_on_bit_for_bit(begun, tmp_path):
    """Its model begins with the weights of another, laid out to be read, and with a dropout of its own."""
    flags = [
        "--init-from",
        str(begun / "run"),
        "--data",
        str(begun / "my.txt"),
        "--steps=6",
        "--dropout=0.3",
        "--sample-tokens=0",
    ]
    often = ["--save-every=1", "--keep-every=1", "--eval-every=3"]
    assert main(["train", "--no-plots", "--out", str(tmp_path / "whole"), *flags, *often]) == 0
    for step in (0, 2, 5):
        cut(tmp_path / "whole", tmp_path / "cut", step)
        assert main(["train", "--no-plots", "--resume", "--out", str(tmp_path / "cut")]) == 0
        assert differences(contents(Run(tmp_path / "cut")), contents(Run(tmp_path / "whole"))) == []
        shutil.rmtree(tmp_path / "cut")


def test_a_fine_tuning_goes_on_where_the_model_it_began_from_is_gone(begun, tmp_path, capsys):
    """A checkpoint has all that is needed; without one, it is said what is missing."""
    run, source = tmp_path / "run", tmp_path / "source"
    shutil.copytree(begun / "run", source)
    flags = ["--init-from", str(source), "--data", str(begun / "my.txt"), "--steps=4", "--save-every=2", "--keep-every=2"]
    assert main(["train", "--no-plots", "--out", str(run), *flags, "--sample-tokens=0"]) == 0
    shutil.rmtree(source)
    for step in (3, 4):
        (run / "checkpoints" / f"step-{step:08d}.safetensors").unlink(missing_ok=True)
    before = (run / "model.safetensors").read_bytes()
    assert main(["replay", str(run), "--step", "4"]) == 0
    assert main(["train", "--no-plots", "--resume", "--out", str(run)]) == 0
    assert (run / "model.safetensors").read_bytes() == before
    capsys.readouterr()
    shutil.rmtree(run / "checkpoints")
    for command in (["replay", str(run), "--step", "4"], ["train", "--resume", "--out", str(run)]):
        assert main(command) == 2
        assert f"error: {source}: no such folder" in capsys.readouterr().err


def test_a_cut_log_is_noticed(begun, tmp_path, capsys):
    shutil.copytree(begun, tmp_path / "x")
    (tmp_path / "x" / "run" / "metrics.jsonl").write_text("")
    assert main(["train", "--resume", "--out", str(tmp_path / "x" / "run")]) == 2
    assert "it was cut or replaced" in capsys.readouterr().err


# -- a disk that fails


class Failing:
    """Lets the n-th of the calls that reach the disk fail, and counts them."""

    def __init__(self, nth, number):
        self.left, self.number, self.count = nth, number, 0

    def __call__(self, what):
        self.count += 1
        self.left -= 1
        if self.left == 0:
            raise OSError(self.number, os.strerror(self.number), what)

    def patch(self, monkeypatch):
        fsync, replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", lambda fd: (self("fsync"), fsync(fd)))
        monkeypatch.setattr(os, "replace", lambda a, b: (self("rename"), replace(a, b)))
        for module in (tinygrad2.files, gpt2.run.metrics):
            monkeypatch.setattr(module, "open", self.open, raising=False)

    def open(self, *args, **kwargs):
        file = open(*args, **kwargs)  # noqa: SIM115
        return Writing(file, self) if file.writable() else file


class Writing:
    """A file whose writes are counted."""

    def __init__(self, file, fails):
        self._file, self._fails = file, fails

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def write(self, content):
        self._fails("write")
        return self._file.write(content)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_whatever_write_fails_the_last_checkpoint_loads(tmp_path, text, monkeypatch, number):
    short = {"steps": 6, "save_every": 2, "eval_every": 3, "sample_tokens": 2}
    with monkeypatch.context() as patch:
        counting = Failing(-1, number)
        counting.patch(patch)
        whole, _, _ = run_once(tmp_path / "whole", text, **short)
    assert counting.count > 40
    expected = contents(whole)
    last = 0
    for nth in range(1, counting.count + 1) if STRESS else range(1, counting.count + 1, 5):
        folder = tmp_path / f"{number}-{nth}"
        with monkeypatch.context() as patch:
            Failing(nth, number).patch(patch)
            with pytest.raises(RunError) as error:
                run_once(folder, text, **short)
        assert str(folder) in str(error.value)
        assert os.strerror(number) in str(error.value)
        run = Run(folder)
        if run.config.exists():
            found = Checkpoints(run.checkpoints).latest(pytest.fail)
            step = found.step if found else 0
            assert step >= last - 1  # what was complete when a later write failed is still there
            last = max(last, step)
            resumed, _, _ = run_once(folder, text, resume=True, **short)
            assert differences(contents(resumed), expected) == []
            assert not list(folder.rglob("*.tmp"))


def test_a_full_disk_is_said_before_anything_is_written(tmp_path, text, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(RunError, match=r"a checkpoint takes .* MB, and only 0.0 MB are free"):
        run_once(tmp_path / "a", text)
    assert not list((tmp_path / "a" / "checkpoints").iterdir())


# -- guards


def test_a_stop_names_the_op_and_can_be_resumed(tmp_path, text, monkeypatch):
    step = Trainer.step

    def poisoned(self, measure):
        if self.steps == 4:
            self.model.h[1].ln_2.weight.data[3] = np.inf
        return step(self, measure)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", poisoned)
        with np.errstate(all="ignore"), pytest.raises(NonFiniteError) as error:
            run_once(tmp_path / "a", text, steps=8)
    assert str(error.value).startswith("step 5: loss is nan")
    assert "h.1" in str(error.value)


def test_a_spike_is_skipped_or_rolled_back_past(tmp_path, text, monkeypatch):
    right = Shards.loss_and_gradients

    def spiked(self, model, batch, seed, position, smoothing=0.0):
        loss, grads = right(self, model, batch, seed, position, smoothing)
        return loss + 100 * (position == 25), grads

    monkeypatch.setattr(Shards, "loss_and_gradients", spiked)
    guarded = {"steps": 30, "spike_threshold": 20.0, "save_every": 10, "eval_every": 10}
    for policy in ("skip", "rollback"):
        said = []
        _, result, rows = run_once(tmp_path / policy, text, on_spike=policy, say=said.append, **guarded)
        steps = [row["step"] for row in rows]
        (bad,) = [row for row in rows if "skipped" in row]
        assert "robust standard deviations above" in bad["skipped"]
        assert result.steps == 30
        if policy == "skip":
            assert steps == [*range(26), 26, *range(26, 31)]
        else:
            assert steps == [*range(26), 26, *range(21, 31)]
            assert "rolled back to step 20" in said


def test_it_gives_up_when_nothing_but_bad_batches_come(tmp_path, text, monkeypatch):
    monkeypatch.setattr(Shards, "loss_and_gradients", lambda *_: (float("nan"), []))
    with pytest.raises(NonFiniteError, match="21 batches in a row were skipped"):
        run_once(tmp_path / "a", text, on_nonfinite="skip", grad_clip=0.0)
