"""A run folder of somebody else does nothing outside of itself, and no command destroys what it did not make.

tests/gpt2/hostile.py tries thousands of these; here are the kinds, each by itself.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_runs import run_once, without_speed

import gpt2.files
import gpt2.weights.safetensors
from gpt2 import GPT2, GPT2Config
from gpt2.cli import main
from gpt2.errors import RunError
from gpt2.run.checkpoints import Checkpoints
from gpt2.run.folder import FILES, Run
from gpt2.run.metrics import read_metrics
from gpt2.tokenizers import BPETokenizer
from gpt2.training.shards import Shards
from gpt2.training.step import NonFiniteError, Trainer
from gpt2.weights.safetensors import read_weights, write_weights

pytestmark = pytest.mark.slow

SHORT = [
    "--steps=4",
    "--d-model=8",
    "--num-layers=1",
    "--num-heads=2",
    "--max-seq-len=8",
    "--sample-tokens=3",
    "--save-every=2",
]
NAMES = (*FILES, "checkpoints")

PROGRESS = {"val_loss": 1.0, "best_loss": 1.0, "best_step": 0, "stale": 0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("trained")
    (folder / "my.txt").write_text(text[:3000])
    assert main(["train", "--no-plots", "--data", str(folder / "my.txt"), "--out", str(folder / "run"), *SHORT]) == 0
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    """A run of one's own, and `victim` beside it."""
    shutil.copytree(trained / "run", tmp_path / "run")
    (tmp_path / "victim").mkdir()
    for name in ("bashrc", "x.tmp", "step-00000001.safetensors"):
        (tmp_path / "victim" / name).write_text("mine")
    return tmp_path


def everything(folder):
    """What is in a tree, by name: the content of files, and where links lead."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def resumed(run):
    return main(["train", "--no-plots", "--resume", "--out", str(run)])


# -- links


@pytest.mark.parametrize("name", NAMES)
def test_a_run_folder_with_a_link_is_refused_by_name(folder, capsys, name):
    path = folder / "run" / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to("../victim" if name == "checkpoints" else "../victim/bashrc")
    before = everything(folder)
    for command in (
        ["train", "--resume"],
        ["sample", "--prompt", "a"],
        ["eval"],
        ["eval", "--best"],
        ["export", "--out", str(folder / "x")],
    ):
        where = "--out" if command[0] == "train" else "--run"
        assert main([*command[:1], where, str(folder / "run"), *command[1:]]) == 2
        assert f"{path} is a symbolic link" in capsys.readouterr().err
    for command in ("health", "plot", "lab", "replay"):
        assert main([command, str(folder / "run"), *(["--step", "1"] if command == "replay" else [])]) == 2
        assert f"{path} is a symbolic link" in capsys.readouterr().err
    assert everything(folder) == before


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.txt", "lock"])
def test_nothing_is_written_into_a_file_that_has_another_name(folder, capsys, name):
    (folder / "run" / name).unlink()
    (folder / "run" / name).hardlink_to(folder / "victim" / "bashrc")
    before = everything(folder)
    assert resumed(folder / "run") == 2
    assert f"{name} is a hard link" in capsys.readouterr().err
    assert everything(folder) == before


def test_links_among_the_checkpoints_are_refused_and_nothing_behind_them_is_removed(folder, capsys):
    (folder / "run" / "checkpoints" / "step-00000009.safetensors").symlink_to("../../victim/bashrc")
    before = everything(folder)
    assert resumed(folder / "run") == 2
    assert "step-00000009.safetensors is a symbolic link" in capsys.readouterr().err
    assert everything(folder) == before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "metrics.jsonl", "model.safetensors", "lock"])
def test_a_pipe_is_not_waited_for(folder, capsys, name):
    (folder / "run" / name).unlink()
    os.mkfifo(folder / "run" / name)
    for command in (["train", "--resume", "--out"], ["sample", "--prompt", "a", "--run"], ["health"], ["plot"]):
        assert main([*command, str(folder / "run")]) == 2
        assert f"{name}" in capsys.readouterr().err


# -- sizes and fields


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        ("model", "num_layers", 10**9, "num_layers = 1000000000 must be at most 1,000"),
        ("model", "num_layers", 1000, "config.json"),
        ("model", "vocab_size", 2**31 - 1, "config.json"),
        ("model", "d_model", "8", "Expected `int`, got `str` - at `$.model.d_model`"),
        ("model", "magic", 1, "its 'model' has 'magic', which this version does not know"),
        ("training", "steps", 2**63, "steps = 9223372036854775808 must be at most"),
        ("training", "seed", None, "Expected `int`, got `null` - at `$.training.seed`"),
        ("corpus", "sha256", "x" * 64, "at `$.corpus.sha256`"),
        ("machine", "threads", [], "at `$.machine[...]`"),
    ],
)
def test_every_field_of_the_configuration_is_checked_where_it_is_read(folder, capsys, part, field, value, message):
    path = folder / "run" / "config.json"
    about = json.loads(path.read_text())
    about[part][field] = value
    path.write_text(json.dumps(about))
    before = everything(folder)
    for command in (["sample", "--prompt", "a", "--run"], ["train", "--resume", "--out"], ["eval", "--best", "--run"]):
        assert main([*command, str(folder / "run")]) == 2
        assert message in capsys.readouterr().err
    assert everything(folder) == before


def test_sizes_are_believed_only_where_the_weights_have_them(folder, capsys):
    """Also if all that is signed says so: a model of 1,000 layers is not built before the weights of its layers are seen."""
    run = Run(folder / "run")
    about = json.loads(run.config.read_text())
    about["model"]["num_layers"] = 1000
    run.config.write_text(json.dumps(about))
    stored, metadata = read_weights(run.model)
    config = GPT2Config(**about["model"]).as_text()
    write_weights(run.model, {name: entry.read() for name, entry in stored.items()}, {**metadata, "config": config})
    assert main(["sample", "--prompt", "a", "--run", str(run.folder)]) == 2
    assert "h.1.ln_1.weight is missing; it must have shape (8,)" in capsys.readouterr().err


def test_a_header_of_200_000_layers_is_refused_before_it_is_read(tmp_path):
    entries = {f"h.{i}.ln_1.bias": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(200_000)}
    header = json.dumps(entries).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(RunError, match=r"its header has [\d,]+ bytes, above the limit of 8,388,608"):
        read_weights(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 2**63}, "at `$.step`"),
        ({"step": 2}, "it says that it is of step 2"),
        ({"position": -1}, "at `$.position`"),
        ({"spikes": {"loss": ["x"]}}, "at `$.spikes[...][0]`"),
        ({"progress": None}, "at `$.progress`"),
        ({"progress": {**PROGRESS, "pending": {}}}, "missing required field `step`"),
        ({"progress": {**PROGRESS, "pending": {"step": 3}}}, "its row is of step 3"),
        ({"progress": {**PROGRESS, "pending": {"step": 4, "train_loss": "x"}}}, "at `$.train_loss`"),
        ({"progress": {**PROGRESS, "pending": {"step": 4, "train_loss": 1.0}}}, "its row has no grad_norm"),
        ({"files": {"metrics": 1.5, "samples": 0}}, "at `$.files.metrics`"),
        ({"files": {"metrics": 1}}, "missing required field `samples` - at `$.files`"),
    ],
)
def test_every_field_of_a_checkpoint_is_checked_where_it_is_read(folder, change, message):
    checkpoints = Checkpoints(folder / "run" / "checkpoints")
    found = checkpoints.load(4)
    write_weights(checkpoints.path(4), found.arrays, {"about": json.dumps(found.about | change)})
    with pytest.raises(RunError) as error:
        checkpoints.load(4)
    assert message in str(error.value)


# -- what a command did not make


def test_a_folder_that_is_neither_empty_nor_a_run_is_refused(tmp_path, trained, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "w"
    (mine / "checkpoints").mkdir(parents=True)
    for name in ("model.safetensors", "samples.txt", "x.tmp", "checkpoints/step-00000001.safetensors", "checkpoints/y.tmp"):
        (mine / name).write_text("mine")
    before = everything(tmp_path)
    for out in ("w", "."):
        for resume in ([], ["--resume"]):
            assert main(["train", *resume, "--data", str(trained / "my.txt"), "--out", out, *SHORT]) == 2
            found = "holds checkpoints but no config.json" if out == "w" else "is not empty (it holds 'w'), and not a run"
            assert f"--out {out}: {found}" in capsys.readouterr().err
    assert everything(tmp_path) == before
    (tmp_path / "empty").mkdir()
    assert main(["train", "--no-plots", "--data", str(trained / "my.txt"), "--out", "empty", *SHORT]) == 0


def test_a_folder_in_which_a_run_was_killed_before_it_had_begun_can_be_used(tmp_path, trained, capsys):
    out = tmp_path / "run"
    out.mkdir()
    (out / "lock").write_bytes(b"run 0123456789abcdef\n1")
    (out / "tokenizer.json").write_text("half")
    (out / ".config.json.0123456789abcdef.abcdef01.tmp").write_text("half")
    assert main(["train", "--no-plots", "--resume", "--data", str(trained / "my.txt"), "--out", str(out), *SHORT]) == 0
    assert not list(out.rglob("*.tmp"))
    assert (out / "lock").read_bytes().startswith(b"run 0123456789abcdef\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "tokenizer.json").write_text("mine")  # without the mark of a run
    assert main(["train", "--data", str(trained / "my.txt"), "--out", str(tmp_path / "other"), *SHORT]) == 2


def test_leftovers_are_removed_only_with_the_mark_of_the_run(folder):
    run = folder / "run"
    mark = run.joinpath("lock").read_text().split()[1]
    own = [run / f".config.json.{mark}.abcd0123.tmp", run / "checkpoints" / f".step-00000002.safetensors.{mark}.01234567.tmp"]
    others = [run / "notes.tmp", run / "model.safetensors.abcdefgh.tmp", run / ".config.json.0123456789abcdef.abcdef01.tmp"]
    for path in own + others:
        path.write_text("x")
    assert resumed(run) == 0
    assert [path.exists() for path in own + others] == [False] * len(own) + [True] * len(others)


def flipped(run):
    """One bit of every checkpoint."""
    for path in (run / "checkpoints").iterdir():
        content = bytearray(path.read_bytes())
        content[-3] ^= 4
        path.write_bytes(content)


DAMAGES = {
    "flipped": flipped,
    "gone": lambda run: shutil.rmtree(run / "checkpoints"),
    "not mounted": lambda run: [path.unlink() for path in (run / "checkpoints").iterdir()],
    "cut log": lambda run: (run / "metrics.jsonl").write_text(""),
    "cut samples": lambda run: (run / "samples.txt").unlink(),
    "another text": lambda run: (run / "tokenizer.json").write_text("{}"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_resume_that_is_refused_changes_nothing_at_all(folder, capsys, damage):
    """And when what was missing is back, it goes on."""
    run = folder / "run"
    whole = shutil.copytree(run, folder / "whole")
    DAMAGES[damage](run)
    (run / "lock").unlink()  # which is made only by who goes on
    before = everything(run)
    assert resumed(run) == 2
    said = capsys.readouterr().err
    assert str(run) in said
    if damage in ("flipped", "gone", "not mounted"):
        assert "holds steps, but no checkpoint to continue from" in said
        assert "begin another run in a new --out" in said
    assert everything(run) == before
    shutil.rmtree(run)
    shutil.copytree(whole, run)
    assert resumed(run) == 0
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_folder_of_checkpoints_that_cannot_be_read_is_not_taken_for_an_empty_one(folder, capsys, monkeypatch):
    def listdir(path):
        if Path(path).name == "checkpoints":
            raise PermissionError(13, "Permission denied", str(path))
        return names(path)

    names = os.listdir
    monkeypatch.setattr(os, "listdir", listdir)
    before = everything(folder)
    assert resumed(folder / "run") == 2
    assert "checkpoints: cannot be read: Permission denied" in capsys.readouterr().err
    assert everything(folder) == before


def test_of_two_checkpoints_one_may_be_damaged(folder, capsys):
    """By default: the run takes the one before, and ends bit for bit as it did."""
    run = folder / "run"
    steps = Checkpoints(run / "checkpoints").steps()
    assert steps[-2:] == [2, 4]
    weights = (run / "model.safetensors").read_bytes()
    path = Checkpoints(run / "checkpoints").path(4)
    path.write_bytes(path.read_bytes()[:-1])
    assert resumed(run) == 0
    assert "continuing after step 2" in capsys.readouterr().out
    assert (run / "model.safetensors").read_bytes() == weights


def test_a_run_folder_of_before_goes_on(folder, capsys):
    """Its lock held the number of a process only, and its leftovers no mark."""
    (folder / "run" / "lock").write_text("12345")
    assert resumed(folder / "run") == 0
    assert (folder / "run" / "lock").read_bytes().startswith(b"run ")


# -- it ends, and says why


def test_a_step_that_fails_each_time_ends_the_training(tmp_path, text, monkeypatch):
    """The steps before it are good each time."""
    right = Shards.loss_and_gradients

    def failing(self, model, batch, seed, position, smoothing=0.0):
        loss, grads = right(self, model, batch, seed, position, smoothing)
        return float("nan") if trainings and trainings[-1].steps == 7 else loss, grads

    trainings = []
    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda self, measure=False: (trainings.append(self), step(self, measure))[1])
    monkeypatch.setattr(Shards, "loss_and_gradients", failing)
    with pytest.raises(NonFiniteError, match=r"rolled back to step 5 11 times; the last: loss is nan"):
        run_once(tmp_path / "a", text, steps=12, save_every=5, on_nonfinite="rollback")
    assert trainings[-1].steps == 5
    monkeypatch.setattr(Shards, "loss_and_gradients", right)
    _, result, rows = run_once(tmp_path / "a", text, resume=True, steps=12, save_every=5, on_nonfinite="rollback")
    assert result.steps == 12
    assert np.isfinite([row["train_loss"] for row in rows if "train_loss" in row and "skipped" not in row]).all()


def test_a_run_folder_that_is_moved_away_is_not_made_anew(tmp_path, text):
    """The error names the path, and in the folder that was moved the last checkpoint is whole."""
    moved = tmp_path / "elsewhere"

    def say(message):
        if message.startswith("--- step 10") and not moved.exists():
            (tmp_path / "a").rename(moved)

    with pytest.raises(RunError, match=rf"{tmp_path / 'a'}.*: cannot be (read|written): No such file"):
        run_once(tmp_path / "a", text, say=say, save_every=5)
    assert not (tmp_path / "a").exists()
    expected, _, rows = run_once(tmp_path / "whole", text, save_every=5)
    run, _, again = run_once(moved, text, resume=True, save_every=5)
    assert without_speed(again) == without_speed(rows)
    assert run.model.read_bytes() == expected.model.read_bytes()
    assert len(read_metrics(run.metrics)) == 31


def test_a_hugging_face_folder_may_hold_links_as_their_cache_does(tmp_path, capsys):
    """Nothing is ever written into one. Where there is no file behind them, the name is said."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    tokenizer = BPETokenizer.train("a text, a text", 260)
    config = GPT2Config(tokenizer.vocab_size, 8, 8, 1, 2, head_bias=False, tie_embeddings=True)
    GPT2(config).save_pretrained(blobs)
    tokenizer.save(blobs / "tokenizer.json")
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(path)
    assert main(["sample", "--run", str(snapshot), "--prompt", "a", "--tokens", "2"]) == 0
    (blobs / "model.safetensors").unlink()
    assert main(["sample", "--run", str(snapshot), "--prompt", "a", "--tokens", "2"]) == 2
    assert "model.safetensors: cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "inspect {run} --prompt a --out {file}",
        "lab {run} --tokens 2 --out {file}",
        "plot {run} --out {file}.png",
        "replay {run} --step 2 --out {file}.npz",
        "tokenize --train {text} --vocab-size 260 --out {file}",
    ],
)
def test_what_a_command_writes_takes_the_place_only_of_a_file_of_its_kind(folder, trained, capsys, command):
    """A text of one's own or the configuration of the run stays; what the command wrote itself is written anew."""
    mine = folder / "mine"
    words = [word.format(run=folder / "run", file=mine, text=trained / "my.txt") for word in command.split()]
    path = Path(words[-1])
    path.write_text('{"model": "mine"}')
    before = everything(folder)
    assert main(words) == 2
    assert f"{path}: cannot be written: a file of another format has that name" in capsys.readouterr().err
    assert everything(folder) == before
    path.unlink()
    assert [main(words), main(words)] == [0, 0]


def test_a_bpe_of_a_text_with_fewer_merges_than_asked_for_is_said(trained, tmp_path, capsys):
    """The model has the size that was asked for, and writes tokens only."""
    flags = ["--data", str(trained / "my.txt"), "--tokenizer", "bpe", "--vocab-size", "5000", "--out", str(tmp_path / "run")]
    assert main(["train", "--no-plots", *flags, *SHORT, "--sample-tokens", "100"]) == 0
    assert "--vocab-size 5000: the text has merges for" in capsys.readouterr().err
    assert main(["eval", "--run", str(tmp_path / "run")]) == 0


def test_a_folder_of_ones_own_in_a_run_folder_harms_nobody(folder):
    """Also if it has the name of the run."""
    (folder / "run" / "run").mkdir()
    (folder / "run" / "notes").mkdir()
    assert main(["health", str(folder / "run")]) in (0, 1)
    assert resumed(folder / "run") == 0


def test_who_looks_at_a_run_is_not_disturbed_by_the_training_that_writes_it(folder, monkeypatch):
    """What was listed may be gone when it is looked at."""
    scandir = os.scandir

    def vanishing(path):
        entries = list(scandir(path))
        for entry in entries:
            if entry.name.endswith(".tmp"):
                os.unlink(entry.path)
        return entries

    (folder / "run" / ".x.tmp").write_text("half")
    monkeypatch.setattr(os, "scandir", vanishing)
    Run.open(folder / "run")


@pytest.mark.parametrize("content", [b"", b"123", b"run 0123456789abcdef\n123"])
def test_whatever_the_lock_held_when_a_run_was_killed_before_it_had_begun(tmp_path, trained, content):
    """It is empty from the moment that it is made until the training begins; before there were marks it held a number."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").write_bytes(content)
    assert (
        main(["train", "--no-plots", "--resume", "--data", str(trained / "my.txt"), "--out", str(tmp_path / "run"), *SHORT])
        == 0
    )


def test_a_resume_that_cannot_write_leaves_the_model_of_the_end(folder, capsys):
    """Also if it goes back to an earlier checkpoint, as the last is damaged."""
    run = folder / "run"
    model = (run / "model.safetensors").read_bytes()
    path = Checkpoints(run / "checkpoints").path(4)
    path.write_bytes(path.read_bytes()[:-1])
    command = [sys.executable, "-B", "-m", "gpt2", "train", "--resume", "--out", str(run)]  # -B, or its bytecode would be cut
    ended = subprocess.run(["bash", "-c", 'ulimit -f 4; exec "$@"', "-", *command], capture_output=True, text=True)
    assert ended.returncode == 2
    assert "cannot be written: File too large" in ended.stderr
    assert (run / "model.safetensors").read_bytes() == model
    assert main(["eval", "--run", str(run)]) == 0


def test_of_a_run_that_went_on_after_its_end_the_later_weights_are_used(folder, trained, capsys):
    run = Run(folder / "run")
    assert main(["train", "--no-plots", "--resume", "--out", str(run.folder), "--steps", "6", "--accept-changes"]) == 0
    expected = run.load_model()[0].wte.weight.data
    ended = trained / "run" / "model.safetensors"
    shutil.copy(ended, run.model)  # as if it had been killed before its second end
    assert (run.load_model()[0].wte.weight.data == expected).all()
    shutil.rmtree(run.checkpoints)
    assert (run.load_model()[0].wte.weight.data == Run(trained / "run").load_model()[0].wte.weight.data).all()


def test_damaged_checkpoints_of_later_steps_push_out_none_that_is_new(folder):
    checkpoints = Checkpoints(folder / "run" / "checkpoints")
    for step in (50, 60):
        shutil.copy(checkpoints.path(4), checkpoints.path(step))
    checkpoints.prune(best=2, now=4)
    assert checkpoints.steps() == [2, 4, 50, 60]
    checkpoints.prune(best=4, now=60)
    assert checkpoints.steps() == [4, 50, 60]


def test_a_checkpoint_that_cannot_be_read_is_not_taken_for_a_damaged_one(folder, capsys, monkeypatch):
    def opened(path, links=True):
        if Path(path).name == "step-00000004.safetensors":
            raise PermissionError(13, "Permission denied", str(path))
        return gpt2.files.open_regular(path, links)

    monkeypatch.setattr(gpt2.weights.safetensors, "open_regular", opened)
    before = everything(folder)
    assert resumed(folder / "run") == 2
    assert "step-00000004.safetensors: cannot be read: Permission denied" in capsys.readouterr().err
    assert everything(folder) == before


def test_two_trainings_of_one_folder_are_two_runs(tmp_path, text):
    """Also if both have looked at it before one began."""
    late = Run.create(tmp_path / "a")
    run, _, rows = run_once(tmp_path / "a", text, steps=4)
    with pytest.raises(RunError, match="already holds a run"), late.locked():
        late.check_new()
    assert read_metrics(run.metrics) == rows
    with pytest.raises(RunError, match="already holds a run"):
        run_once(tmp_path / "a", text, steps=4)


def test_a_batch_that_memory_cannot_hold_is_refused_before_it_is_drawn(folder, capsys):
    path = folder / "run" / "config.json"
    about = json.loads(path.read_text())
    about["training"]["batch_size"] = 2**24
    about["training"]["shards"] = about["machine"]["shards"] = 1
    path.write_text(json.dumps(about))
    assert main(["replay", str(folder / "run"), "--step", "2"]) == 2
    assert resumed(folder / "run") == 2
    assert capsys.readouterr().err.count("on 16,777,216 sequences of 8 tokens takes more than") == 2


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    with pytest.raises(RunError, match=r"a has 1 of 2 entries that are NaN or infinite"):
        write_weights(tmp_path / "x.safetensors", {"a": np.array([1, np.inf], np.float32)}, {})
    assert not list(tmp_path.iterdir())
