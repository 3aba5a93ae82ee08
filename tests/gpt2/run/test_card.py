"""The README.md of an exported run: what it says is so, and nothing of a run breaks its form."""

import json
import os
import re

import pytest

from gpt2.cli import main
from gpt2.run.card import card
from gpt2.run.folder import Run
from gpt2.run.metrics import history

SIZES = ["--d-model", "8", "--num-layers", "1", "--num-heads", "1", "--max-seq-len", "8", "--batch-size", "2"]
ODD = "a | b `c` --- <script>"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    text = folder / f"{ODD}.txt".replace("/", "")
    text.write_text("the cat sat on the mat, and ran. " * 500, "utf-8")
    words = ["--steps", "6", "--eval-every", "2", "--no-plots", "--sample-tokens", "0"]
    assert main(["train", "--data", str(text), "--out", str(folder / "run"), *SIZES, *words]) == 0
    return Run(folder / "run")


def exported(run, tmp_path, *words):
    assert main(["export", str(run.folder), "--out", str(tmp_path / "out"), *words]) == 0
    return (tmp_path / "out" / "README.md").read_text("utf-8")


def test_its_numbers_are_those_of_the_run(run, tmp_path):
    text = exported(run, tmp_path)
    rows = [row for row in history(run.metrics) if "val_loss" in row]
    per_byte = rows[-1]["val_tokens"] / rows[-1]["val_bytes"] * 1.4426950408889634
    assert f"| validation | {rows[-1]['val_loss']:.3f} | {rows[-1]['val_loss'] * per_byte:.3f} |" in text
    for name, value in rows[-1]["baselines"].items():
        assert f"| {name} | {value:.3f} | {value * per_byte:.3f} |" in text
    about = run.read_config()
    assert f"{about.parameters:,} parameters, trained from the beginning" in text
    assert f"16,500 characters, sha256 `{about.corpus.sha256}`" in text
    assert "1 block of width 8, 1 head, context 8" in text
    assert f"from_pretrained('{tmp_path / 'out'}')" in text


def test_of_the_best_weights_it_has_the_best_loss(run, tmp_path, monkeypatch):
    rows = [row for row in history(run.metrics) if "val_loss" in row]
    made = [{**row, "val_loss": loss} for row, loss in zip(rows, (3.0, 1.5, 2.0, 2.5), strict=True)]
    monkeypatch.setattr("gpt2.run.card.history", lambda path: iter(made))
    tokenizer = run.load_model()[1]
    assert "| validation | 1.500 |" in card(run, "out", tokenizer, best=True)
    assert "after step 2," in card(run, "out", tokenizer, best=True)
    assert "| validation | 2.500 |" in card(run, "out", tokenizer)


def test_int8_is_for_this_program(run, tmp_path):
    text = exported(run, tmp_path, "--weights", "int8")
    assert 'library_name: "tinygrad2"' in text
    assert "from_pretrained" not in text
    assert f"gpt2 sample {tmp_path / 'out'}" in text


def test_a_name_of_the_run_is_no_markdown(run, tmp_path):
    text = exported(run, tmp_path)
    (row,) = [line for line in text.splitlines() if line.startswith("| text |")]
    assert len(re.findall(r"(?<!\\\\)\|", row)) == 3
    assert "`a / b 'c' --- <script>`" in row
    assert text.startswith("---\n")
    assert text.count("\n---\n") == 1  # the end of the head


def test_a_name_of_the_log_is_no_markdown(run, monkeypatch):
    odd = "x |\n\n<img src=x onerror=y> [a](b)"
    row = {"step": 1, "val_loss": 1.0, "val_tokens": 2, "val_bytes": 2, "baselines": {odd: 2.0, "bigram": 3.0}}
    monkeypatch.setattr("gpt2.run.card.history", lambda path: iter([row]))
    text = card(run, "out", run.load_model()[1])
    (line,) = [line for line in text.splitlines() if "img" in line]
    assert line.startswith("| `x /")
    assert line.endswith("` | 2.000 | 2.885 |")
    assert "| bigram | 3.000 |" in text


def test_a_loss_that_is_no_number_is_not_the_best(run, monkeypatch):
    made = [{"step": i, "val_loss": loss} for i, loss in enumerate((1.0, float("nan"), 2.0))]
    monkeypatch.setattr("gpt2.run.card.history", lambda path: iter(made))
    assert "after step 0," in card(run, "out", run.load_model()[1], best=True)


def test_the_head_is_what_a_hub_reads(run, tmp_path):
    text = exported(run, tmp_path)
    head = dict(line.split(": ", 1) for line in text.split("---\n")[1].splitlines())
    assert {name: json.loads(value) for name, value in head.items()} == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["gpt2", "tinygrad2"],
    }


@pytest.mark.oracle
def test_huggingface_hub_reads_it(run, tmp_path):
    try:
        from huggingface_hub import ModelCard
    except ImportError:
        if os.environ.get("REQUIRE_ORACLE"):
            raise
        pytest.skip("no huggingface_hub")
    found = ModelCard(exported(run, tmp_path))
    assert (found.data.library_name, found.data.pipeline_tag) == ("transformers", "text-generation")
    assert found.data.tags == ["gpt2", "tinygrad2"]
    assert found.text.lstrip().startswith("# `run`")


def test_a_model_of_hugging_faces_kind_gets_none(run, tmp_path):
    exported(run, tmp_path)
    assert main(["export", str(tmp_path / "out"), "--out", str(tmp_path / "again")]) == 0
    assert not (tmp_path / "again" / "README.md").exists()
