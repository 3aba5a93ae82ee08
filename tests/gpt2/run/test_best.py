"""`--best`: the weights with the lowest validation loss instead of the last ones."""

import json
import shutil

import numpy as np
import pytest

from gpt2 import GPT2
from gpt2.cli import main
from gpt2.run.checkpoints import Checkpoints
from gpt2.run.folder import Run

TINY = {
    "preset": "gpt2",
    "d-model": 16,
    "num-layers": 1,
    "num-heads": 2,
    "max-seq-len": 16,
    "batch-size": 6,
    "tokenizer": "char",
}
GETS_WORSE = {
    "steps": 24,
    "eval-every": 6,
    "learning-rate": 1,
    "warmup-steps": 24,
    "schedule": "constant",
    "sample-tokens": 0,
    "eval-windows": 0,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose last weights are worse than its best ones, which are neither the first nor the last."""
    folder = tmp_path_factory.mktemp("best")
    (folder / "my.txt").write_text("The quick brown fox jumps over the lazy dog. " * 600)  # in every Python the same
    flags = [f"--{name}={value}" for name, value in {**TINY, **GETS_WORSE}.items()]
    assert main(["train", "--no-plots", "--data", str(folder / "my.txt"), "--out", str(folder / "run"), *flags]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def losses(run):
    """Validation losses by step."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["val_loss"] for row in rows if "val_loss" in row}


@pytest.fixture(scope="module")
def best(losses):
    """The step with the lowest."""
    step = min(losses, key=losses.get)
    assert step not in (0, 24)
    assert losses[24] > losses[step] + 0.05
    return step


def test_eval_gives_the_loss_of_the_best_or_of_the_last(run, losses, best, capsys):
    for flags, step in (["--best"], best), ([], 24):
        assert main(["eval", "--run", str(run), "--json", *flags]) == 0
        assert json.loads(capsys.readouterr().out)["loss"] == pytest.approx(losses[step], rel=1e-6)


def test_export_writes_the_best_weights(run, best, tmp_path):
    assert main(["export", "--run", str(run), "--best", "--out", str(tmp_path / "best")]) == 0
    exported = GPT2.from_pretrained(tmp_path / "best").state_dict()
    saved = Checkpoints(run / "checkpoints").load(best).arrays
    assert exported.keys() == {name.removeprefix("model.") for name in saved if name.startswith("model.")}
    for name, array in exported.items():
        np.testing.assert_array_equal(array, saved[f"model.{name}"])


def test_sample_writes_with_the_best_weights(run, best, tmp_path, capsys):
    def written(folder, *flags):
        assert main(["sample", "--run", str(folder), "--prompt", "The ", "--tokens", "60", *flags]) == 0
        return capsys.readouterr().out

    assert main(["export", "--run", str(run), "--best", "--out", str(tmp_path / "best")]) == 0
    capsys.readouterr()
    model, tokenizer = GPT2.from_pretrained(tmp_path / "best"), Run(run).load_model()[1]
    ids = model.generate(tokenizer.encode("The "), 60, temperature=0.8, seed=0)
    assert written(run, "--best") == tokenizer.decode(ids) + "\n" != written(run)


def test_what_has_no_best_is_refused_in_one_line(run, best, tmp_path, capsys):
    assert main(["export", "--run", str(run), "--out", str(tmp_path / "exported")]) == 0
    for name in ("unevaluated", "pruned"):
        shutil.copytree(run, tmp_path / name)
    (tmp_path / "unevaluated" / "metrics.jsonl").write_text('{"step": 1, "train_loss": 4.0}\n')
    Checkpoints(tmp_path / "pruned" / "checkpoints").path(best).unlink()
    capsys.readouterr()
    messages = {
        "nowhere": "nowhere: no such folder",
        "exported": "exported is not a run folder: leave --best out",
        "unevaluated": "the run has no evaluation yet, so it has no best step",
        "pruned": f"--best: step {best} has the lowest validation loss, and",
    }
    for verb, flags in {"sample": ["--prompt", "a"], "eval": [], "export": ["--out", str(tmp_path / "new")]}.items():
        for name, message in messages.items():
            assert main([verb, "--run", str(tmp_path / name), "--best", *flags]) == 2
            output = capsys.readouterr()
            assert output.out == ""
            assert output.err.count("\n") == 1
            assert message in output.err
    assert not (tmp_path / "new").exists()
