"""Names of texts and folders that mean something to who draws or prints them: dollars, underscores, and no UTF-8."""

import json
import os
import shutil
import sys

import matplotlib.figure
import pytest
from small_runs import run_once

from gpt2.cli import main
from gpt2.terminal import printable

SMALL = "--steps=4 --eval-every=2 --d-model=8 --num-layers=1 --num-heads=2 --max-seq-len=16 --sample-tokens=5".split()  # noqa: SIM905


@pytest.fixture
def drawn(monkeypatch):
    """The texts in the figures that were saved, as they are shown."""
    texts, save = [], matplotlib.figure.Figure.savefig

    def kept(self, path, *args, **kwargs):
        result = save(self, path, *args, **kwargs)
        for text in self.findobj(matplotlib.text.Text):
            shown, is_formula = text._preprocess_math(text.get_text())
            assert not is_formula or shown.startswith("$\\mathdefault{"), shown  # the labels of an axis
            texts.append(shown)
        return result

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", kept)
    return texts


NAMES = ["from_$5_to_$9", "$\\frac{", "a$b", "\\$x$", "$$", "_hidden", "__", "100%_{x}^y", "\\alpha $\\alpha$ \\$"]


@pytest.mark.parametrize("name", ["from_$5_to_$9", "_\\$\\frac{$"])
def test_a_text_of_any_name_is_trained_on_and_drawn(tmp_path, text, drawn, name, capsys):
    (tmp_path / f"{name}.txt").write_text(text[:3000])
    assert main(["train", "--data", str(tmp_path / f"{name}.txt"), "--out", str(tmp_path / "run"), *SMALL]) == 0
    assert "is not drawn" not in capsys.readouterr().out
    assert [(tmp_path / "run" / f"{kind}.png").exists() for kind in ("loss", "training")] == [True, True]
    assert sum(title.strip().startswith(f"{name}: ") for title in drawn) >= 4  # as files, and on the page


def test_runs_of_any_name_are_in_one_picture(tmp_path, text, drawn, monkeypatch):
    """And in its legend."""
    monkeypatch.chdir(tmp_path)
    run, _, _ = run_once(tmp_path / "run", text[:3000], steps=4, eval_every=2)
    for name in NAMES:
        shutil.copytree(run.folder, tmp_path / name)
    for suffix in ("png", "svg", "pdf"):
        drawn.clear()
        assert main(["plot", *NAMES, "--out", f"all.{suffix}"]) == 0
        for name in NAMES:
            assert any(label.strip().startswith(f"{name}: ") for label in drawn), name


# -- names that are not UTF-8, as Python gives them


@pytest.fixture
def odd(tmp_path, text, monkeypatch, capsys):
    """Where there are a text and a run whose names are not UTF-8."""
    if sys.platform != "linux":
        pytest.skip("this system has no such names")
    monkeypatch.chdir(tmp_path)
    data, run = "te\udcffxt.txt", "ru\udcfen"
    with open(data, "w") as file:
        file.write(text[:3000])
    assert main(["train", "--data", data, "--out", run, *SMALL]) == 0
    assert f"open {printable(run)}/loss.png" in capsys.readouterr().out
    return data, run


def test_names_that_are_no_utf8(odd, tmp_path, capsys):
    data, run = odd
    assert {"loss.png", "training.png", "config.json"} <= set(os.listdir(run))
    assert json.loads((tmp_path / run / "config.json").read_text())["training"]["data"] == data
    commands = [
        ["train", "--resume", "--no-plots", "--out", run, "--data", data, *SMALL],
        ["train", "--no-plots", "--init-from", run, "--data", data, "--out", "on\udcff", "--steps=2", "--sample-tokens=0"],
        ["eval", "--run", run],
        ["eval", "--run", run, "--data", data, "--json"],
        ["eval", "--run", run, "--memorised", "--tokens", "5"],
        ["sample", "--run", run, "--prompt", "a", "--tokens", "3"],
        ["inspect", run, "--prompt", "the", "--out", "pa\udcffge.html"],
        ["inspect", run, "--prompt", "the", "--json"],
        ["lab", run, "--tokens", "2", "--out", "la\udcffb.html"],
        ["runs", "."],
        ["runs", ".", "--json"],
        ["plot", run, "--out", "pi\udcffc.png"],
        ["replay", run, "--step", "2", "--out", "gr\udcff.npz"],
        ["replay", run, "--step", "2", "--json"],
        ["tokenize", "--tokenizer", run, "a"],
        ["tokenize", "--tokenizer", run, "a", "--json"],
        ["tokenize", "--train", data, "--vocab-size", "260", "--out", "t\udcff.json"],
        ["tokenize", "--train", data, "--vocab-size", "260", "--out", "t\udcff.json", "--json"],
        ["train", "--no-plots", "--data", data, "--tokenizer", "t\udcff.json", "--out", "two", *SMALL],
        ["train", "--no-plots", "--data", "*", "--out", "three", *SMALL, "--tokenizer=byte"],
    ]
    for command in commands:
        capsys.readouterr()
        assert main(command) == 0, (command, capsys.readouterr().err)
        said = capsys.readouterr()
        said.out.encode(), said.err.encode()
        if "--json" in command:
            json.loads(said.out)
    main(["health", run, "--json"])
    assert json.loads(capsys.readouterr().out)["run"] == run
    page = (tmp_path / "pa\udcffge.html").read_text()
    assert '"run":"ru\\udcfen"' in page
    for name in ("la\udcffb.html", "pi\udcffc.png", "gr\udcff.npz", "t\udcff.json"):
        assert os.path.getsize(name)


WRONG = {
    "eval --run no\udcff": "no\\udcff: no such folder",
    "train --data no\udcff": "no\\udcff: no such file",
    "train --config no\udcff": "no\\udcff: No such file",
    "tokenize a --tokenizer no\udcff": "no\\udcff: no such file",
    "plot no\udcff": "no\\udcff",
    "sample --run ru\udcfen --prompt a\udcff": "U+DCFF",
    "inspect ru\udcfen --prompt a\udcff": "U+DCFF",
    "tokenize a\udcff --tokenizer byte": "U+DCFF at position 1 is half of a surrogate pair",
    "tokenize a\udcff --tokenizer byte --json": "U+DCFF at position 1 is half of a surrogate pair",
    "info --preset a\udcff": "a\\udcff",
    "fly\udcff": "fly\\udcff",
}


def test_what_is_wrong_with_them_is_one_line(odd, capsys):
    for command, message in WRONG.items():
        try:
            code = main(command.split())
        except SystemExit as end:
            code = end.code
        assert code == 2
        error = capsys.readouterr().err
        error.encode()
        assert error.count("\n") == 1
        assert message in error
