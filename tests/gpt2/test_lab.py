"""`gpt2 lab`: the page of a run."""

import json
import re

import pytest
from small_runs import run_once

from gpt2.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory, text):
    """A run folder, trained for a moment."""
    return run_once(tmp_path_factory.mktemp("lab") / "run", text)[0].folder


def test_the_page_of_a_run(run, tmp_path, capsys):
    path = tmp_path / "lab.html"
    assert main(["lab", str(run), "--prompt", "the cat", "--tokens", "4", "--out", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    data = json.loads(re.search(r'<script type="application/json".*?>(.*?)</script>', path.read_text(), re.S)[1])
    names = [value["name"] for value in data["values"]]
    assert {"wte.weight", "h.0.attn.c_attn.linear", "lm_head.linear_cross_entropy"} <= set(names)
    stream = data["values"][names.index("h.0.add")]
    assert data["arrays"][stream["array"]]["s"][:2] == [1, 4]
    assert data["tokens"] == ["t", "h", "e", "␣"]
    assert "&#x27;the c&#x27;" in path.read_text() or "'the c'" in path.read_text()


def test_without_a_prompt_the_model_writes_one(run, tmp_path):
    first, second = tmp_path / "a.html", tmp_path / "b.html"
    assert main(["lab", str(run), "--out", str(first)]) == main(["lab", str(run), "--out", str(second)]) == 0
    assert first.read_text() == second.read_text()


def test_the_seed_draws_other_cases(run, tmp_path):
    found = []
    for seed in ("0", "1"):
        path = tmp_path / f"{seed}.html"
        assert main(["lab", str(run), "--prompt", "the cat", "--out", str(path), "--seed", seed, "--cases", "4"]) == 0
        data = json.loads(re.search(r'<script type="application/json".*?>(.*?)</script>', path.read_text(), re.S)[1])
        found.append([case["key"] for case in data["diagnose"]["cases"]])
    assert [len(keys) for keys in found] == [4, 4]
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--prompt", "a"], "fewer than 2 tokens"),
        (["--tokens", "0"], "--tokens 0: must be 1 to max_seq_len"),
        (["--tokens", "9999"], "--tokens 9999: must be 1 to max_seq_len"),
        (["--cases", "0"], "--cases 0: must be at least 1"),
        (["--special"], "--special is for a prompt: give --prompt, or leave it out"),
        (["--skip-unknown"], "--skip-unknown is for a prompt: give --prompt, or leave it out"),
        (["--encoding", "cp1252"], "--encoding is for --prompt-file"),
        (["--inside", "h.9"], "--inside h.9: no such module"),
        (["--out", "/no/such/folder/lab.html"], "/no/such/folder/lab.html: cannot be written"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, args, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["lab", str(run), *args]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
