"""A training that is refused leaves nothing behind, and what a long preparation would be for nothing is said before it."""

import shutil

import pytest

from gpt2.cli import main
from gpt2.errors import DataError, RunError
from gpt2.text.corpora.reading import TextFile
from gpt2.tokenizers import BPETokenizer
from gpt2.training.shards import Shards
from gpt2.training.step import Trainer

TINY = "--steps=2 --d-model=8 --num-layers=1 --num-heads=2 --max-seq-len=8 --sample-tokens=0 --no-plots".split()  # noqa: SIM905


def fail(error):
    def call(*_, **__):
        raise error

    return call


def no_mkl(patch):
    patch.setattr("tinygrad2.kernels.fast.products.mkl", lambda: None)


def no_space(patch):
    patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))


NOTHING = {
    "bfloat16": ("--dtype bfloat16", no_mkl, "bfloat16 products need MKL"),
    "vocabulary": ("--tokenizer gpt2", lambda p: p.setattr(BPETokenizer, "gpt2", fail(DataError("no merges"))), "no merges"),
    "tokenizer": ("--tokenizer nope.json", None, "'nope.json' is neither char"),
    "config": ("--config nope.toml", None, "nope.toml: No such file"),
    "run as config": ("--config nope/config.json", None, "nope/config.json: cannot be read"),
    "init-from": ("--init-from nope", None, "nope: no such folder"),
    "memory": ("--d-model 65536 --num-layers 900", None, "choose a smaller model"),
    "disk": ("", no_space, "a checkpoint takes 0.0 MB, and only 0.0 MB are free; make room"),
    "first evaluation": ("", lambda p: p.setattr(Shards, "evaluate", fail(RunError("no"))), "no"),
    "optimizer": ("", lambda p: p.setattr(Trainer, "__init__", fail(MemoryError())), "memory is used up"),
}


@pytest.mark.parametrize("out", [None, "x", "a/b/x"])
@pytest.mark.parametrize(("flags", "breaks", "message"), NOTHING.values(), ids=NOTHING)
def test_no_folder_is_left(tmp_path, text, monkeypatch, capsys, flags, breaks, message, out):
    (tmp_path / "my.txt").write_text(text[:3000])
    monkeypatch.chdir(tmp_path)
    command = ["train", "--data", "my.txt", *TINY, *flags.split(), *(["--out", out] if out else [])]
    with monkeypatch.context() as patch:
        if breaks:
            breaks(patch)
        assert main(command) == 2
    assert message in capsys.readouterr().err
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "my.txt"]
    assert not (tmp_path / (out or "runs/tiny-my")).exists()


def test_what_another_training_has_left_stays(tmp_path, text, monkeypatch, capsys):
    """A folder that was there, even an empty one, is not removed; and nothing is, once something is recorded."""
    (tmp_path / "my.txt").write_text(text[:3000])
    (tmp_path / "empty").mkdir()
    command = ["train", "--data", str(tmp_path / "my.txt"), *TINY, "--out"]
    with monkeypatch.context() as patch:
        patch.setattr(Shards, "evaluate", fail(RunError("no")))
        assert main([*command, str(tmp_path / "empty")]) == 2
    assert not list((tmp_path / "empty").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", fail(RunError("no")))
        assert main([*command, str(tmp_path / "begun")]) == 2
    assert (tmp_path / "begun" / "checkpoints" / "step-00000000.safetensors").exists()
    before = sorted(tmp_path.rglob("*"))
    assert main([*command, str(tmp_path / "begun")]) == 2
    with monkeypatch.context() as patch:
        patch.setattr(Shards, "evaluate", fail(RunError("no")))
        assert main([*command, str(tmp_path / "begun"), "--resume"]) == 2
    assert sorted(tmp_path.rglob("*")) == before
    assert main([*command, str(tmp_path / "begun"), "--resume"]) == 0


def test_where_a_run_cannot_be_is_said_before_the_text_is_read(tmp_path, text, monkeypatch, capsys):
    (tmp_path / "my.txt").write_text(text[:3000])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    monkeypatch.setattr(TextFile, "__iter__", fail(AssertionError("the text is read")))
    for out, message in {
        tmp_path / "my.txt": "it is a file; give a folder",
        tmp_path / "my.txt" / "x": f"{tmp_path / 'my.txt'} is a file; give a folder",
        tmp_path / "full": "is not empty (it holds 'mine')",
    }.items():
        assert main(["train", "--data", str(tmp_path / "my.txt"), *TINY, "--out", str(out)]) == 2
        assert f"--out {out}: {message}" in capsys.readouterr().err


def test_where_nothing_may_be_written(tmp_path, text, unprivileged):
    (tmp_path / "my.txt").write_text(text[:3000])
    (tmp_path / "closed").mkdir(mode=0o555)
    code = "import sys; from gpt2.cli import main; sys.exit(main(sys.argv[1:]))"
    done = unprivileged(code, "train", "--data", tmp_path / "my.txt", *TINY, "--out", tmp_path / "closed" / "a" / "b")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "cannot be written: Permission denied" in done.stderr
