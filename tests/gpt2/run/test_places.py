"""Pages and pictures go where the run is, and take the place of nothing that was made of something else."""

import shutil

import matplotlib.figure
import numpy as np
import pytest
from small_runs import run_once

from gpt2.cli import main
from gpt2.run.metrics import Log, as_line, bits_per_byte, history

PAGES = {"inspect.html": "inspect {run} --prompt as", "lab.html": "lab {run} --tokens 2"}


@pytest.fixture(scope="module")
def made(tmp_path_factory, text):
    """Four runs: two with the tokens of one tokenizer, and two others."""
    folder = tmp_path_factory.mktemp("places") / "runs"
    text = text.replace("e", "é")
    for name, settings in {"a": {}, "b": {"seed": 1}, "bytes": {"tokenizer": "byte"}, "bpe": {"tokenizer": "bpe"}}.items():
        run_once(folder / name, text[:6000], steps=12, eval_every=4, sample_tokens=0, **settings)
    run_once(folder.parent / "elsewhere" / "a", text[:6000], steps=2, sample_tokens=0)
    return folder


@pytest.fixture
def runs(made, tmp_path, monkeypatch):
    shutil.copytree(made.parent, tmp_path / "made")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "made" / "runs"


@pytest.fixture
def drawn(monkeypatch):
    figures, save = [], matplotlib.figure.Figure.savefig
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda f, *a, **k: (figures.append(f), save(f, *a, **k)))
    return figures


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_in_the_folder_of_its_run(runs, tmp_path, capsys, name):
    command = PAGES[name].format(run=runs / "a").split()
    for _ in range(2):  # it takes the place of its own kind
        assert main(command) == 0
        assert capsys.readouterr().out.startswith(str(runs / "a" / name))
    assert not list((tmp_path / "here").iterdir())
    page = (runs / "a" / name).read_bytes()
    (runs / "a" / name).write_bytes(b"<!doctype html>\n<p>notes of mine")
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "a file made in another way has that name, and is not overwritten" in error
    assert "; --out FILE writes it elsewhere" in error
    assert main([*command, "--out", "page.html"]) == 0
    assert (tmp_path / "here" / "page.html").read_bytes() == page
    for other, words in PAGES.items():
        if other != name:  # the page of another command
            assert main([*words.format(run=runs / "a").split(), "--out", "page.html"]) == 2
    assert main(["health", str(runs / "a")]) in (0, 1)  # a page in its folder does not disturb
    assert main(["train", "--out", str(runs / "a")]) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_the_page_of_a_model_that_is_no_run_is_here(runs, tmp_path, capsys):
    run_once(tmp_path / "tied", "a text. " * 300, {"tie_embeddings": True, "head_bias": False}, tokenizer="bpe", steps=1)
    assert main(["export", "--run", str(tmp_path / "tied"), "--out", str(tmp_path / "hf")]) == 0
    before = sorted(path.name for path in (tmp_path / "hf").iterdir())
    for name, command in PAGES.items():
        assert main(command.format(run=tmp_path / "hf").split()) == 0
        assert (tmp_path / "here" / name).exists()
    assert sorted(path.name for path in (tmp_path / "hf").iterdir()) == before
    capsys.readouterr()
    for command in ("health {run}", "plot {run}", "replay {run} --step 1", "train --resume --out {run}"):
        assert main(command.format(run=tmp_path / "hf").split()) == 2
        assert "hf: is a Hugging Face model, not a run: sample, inspect" in capsys.readouterr().err
    (tmp_path / "hf").rename(runs / "hf")
    assert main(["runs", str(runs)]) == 0
    assert "hf: is a Hugging Face model, not a run" in capsys.readouterr().err


def test_plot_of_one_run_draws_its_pictures_again(runs, tmp_path, drawn, capsys):
    assert main(["plot", str(runs / "a")]) == 0
    made = [runs / "a" / name for name in ("loss.png", "training.png", "report.html")]
    assert capsys.readouterr().out.split() == [str(path) for path in made]
    assert sorted(path.name for path in (runs / "a").glob("*.png")) == ["loss.png", "training.png"]
    (axes,) = drawn[0].axes
    assert axes.get_title().startswith("test: ")
    assert [text.get_text().split(" (")[0] for text in axes.texts] == [
        "ln V: every token equally likely",
        "unigram",
        "bigram",
        "trigram with back-off",
    ]
    assert not list((tmp_path / "here").iterdir())


def test_plot_of_several_is_in_the_folder_that_holds_them(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(runs.parent)
    assert main(["plot", "runs/a", "runs/b"]) == 0
    assert main(["plot", "runs/a", "elsewhere/a"]) == 0
    monkeypatch.chdir(runs)
    assert main(["plot", "a", "b"]) == 0
    assert capsys.readouterr().out.splitlines() == ["runs/runs.png", str(runs.parent / "runs.png"), "runs.png"]
    shutil.copy("a/tokenizer.json", "runs.png")
    assert main(["plot", "a", "b"]) == 2
    figure = matplotlib.figure.Figure()
    figure.savefig("runs.png")
    theirs = (runs / "runs.png").read_bytes()
    assert main(["plot", "a", "b"]) == 2
    assert "runs.png: cannot be written: a file made in another way has that name" in capsys.readouterr().err
    assert main(["plot", "a", "b", "--out", "runs.png"]) == 2
    assert (runs / "runs.png").read_bytes() == theirs
    (runs / "runs.png").unlink()
    assert [main(["plot", "a", "b", "--out", name]) for name in ["x", "x.svg", "x.svg", "x.pdf", "x.pdf", "x.png"]] == [0] * 6


# -- different tokenizers


def test_losses_of_different_tokenizers_are_compared_in_bits_per_byte(runs, drawn, capsys):
    assert main(["plot", *(str(runs / name) for name in ("a", "bytes", "bpe"))]) == 0
    (axes,) = drawn[0].axes
    assert axes.get_ylabel().startswith("validation loss (bits per byte")
    assert len(axes.lines) == 3
    for line, name in zip(axes.lines, ("a", "bytes", "bpe"), strict=True):
        rows = [row for row in history(runs / name / "metrics.jsonl") if "val_loss" in row]
        expected = [row["val_loss"] / np.log(2) * row["val_tokens"] / row["val_bytes"] for row in rows]
        np.testing.assert_allclose(line.get_ydata(), expected)
        ratio = rows[0]["val_bytes"] / rows[0]["val_tokens"]
        assert ratio == 1 if name == "bytes" else 1 < ratio < (1.2 if name == "a" else 9)
    assert main(["plot", str(runs / "a"), str(runs / "b")]) == 0
    (axes,) = drawn[1].axes
    assert axes.get_ylabel().startswith("validation loss (nats per token")
    old = [{key: value for key, value in row.items() if key != "val_bytes"} for row in history(runs / "bpe" / "metrics.jsonl")]
    (runs / "bpe" / "metrics.jsonl").write_text("".join(map(as_line, old)))
    capsys.readouterr()
    assert main(["plot", str(runs / "a"), str(runs / "bpe")]) == 2
    assert "bpe: an older version trained it without counting bytes" in capsys.readouterr().err


def test_bits_per_byte_of_a_row():
    row = {"step": 1, "val_loss": 3 * np.log(2), "val_tokens": 10, "val_bytes": 15}
    assert bits_per_byte(row) == pytest.approx(2)
    for missing in ("val_loss", "val_bytes"):
        assert bits_per_byte({key: value for key, value in row.items() if key != missing}) is None
    assert bits_per_byte({**row, "val_bytes": 0}) is None


def test_a_run_that_diverged_hides_no_other(runs, drawn, capsys):
    rows = list(history(runs / "b" / "metrics.jsonl"))
    (runs / "b" / "metrics.jsonl").unlink()
    with Log(runs / "b" / "metrics.jsonl") as log:
        for row in rows:
            scale = 10.0 ** row["step"]
            log.append(as_line({**row, **{name: row[name] * scale for name in ("train_loss", "val_loss") if name in row}}))
    assert main(["plot", str(runs / "a"), str(runs / "b")]) == 0
    assert main(["plot", str(runs / "b")]) == 0
    (both,), (alone,) = drawn[0].axes, drawn[1].axes
    assert both.get_ylim()[1] < 10
    assert "are not shown" in both.get_title()
    assert alone.get_yscale() == "log"
    assert alone.get_ylim()[1] > 1e9


# -- names that are not there


def test_the_nearest_name_is_suggested(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(runs.parent)
    for command in (
        "health {}",
        "plot {} runs/a",
        "sample --run {} --prompt a",
        "replay {} --step 2",
        "lab {}",
        "eval --run {}",
    ):
        for wrong in ("runs/byte", "bytes", "runs/byts"):
            assert main(command.format(wrong).split()) == 2
            assert f"{wrong}: no such folder; did you mean runs/bytes?" in capsys.readouterr().err
    assert main(["health", "runs/nothing-like-it"]) == 2
    assert capsys.readouterr().err.endswith("no such folder\n")
