"""The table of runs: as wide as the terminal at most, and only losses that compare in one column."""

import json
import os
import re
import shutil

import pytest
from small_runs import run_once

from gpt2.cli import main
from gpt2.commands.runs import _cut
from tinygrad2.language import width_of

NAMES = {"a": {}, "b": {"seed": 1, "learning_rate": 1e-3, "schedule": "linear"}, f"{'long-' * 15}end": {}, "名前" * 20: {}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("table") / "runs"
    for name, settings in NAMES.items():
        run_once(folder / name, text[:6000], steps=3, sample_tokens=0, **settings)
    return folder


def lines_of(folder, capsys, monkeypatch, width=None):
    with monkeypatch.context() as patch:
        if width:
            patch.setattr("sys.stdout.isatty", lambda: True, raising=False)
            patch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((width, 24)))
        assert main(["runs", str(folder)]) == 0
    return capsys.readouterr()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(runs, capsys, monkeypatch, width):
    lines = lines_of(runs, capsys, monkeypatch, width).out.splitlines()
    assert max(map(width_of, lines)) <= width
    assert all(name in lines[0] for name in ("run", "steps", "best val"))
    assert ("parameters" in lines[0]) == (width >= 120)
    whole = " ".join("\n".join(lines).split())
    assert "learning_rate 0.001" in whole
    assert "seed 1" in whole or "seed" in lines[0]


def test_elsewhere_each_run_is_one_line_with_everything(runs, capsys, monkeypatch):
    lines = lines_of(runs, capsys, monkeypatch).out.splitlines()
    assert len(lines) == 5
    assert all(any(line.startswith(name) for line in lines) for name in NAMES)
    assert "differs in" in lines[0]
    about = {line.split()[0]: line for line in lines}
    assert {name for name, line in about.items() if "learning_rate" in line} == {"b"}
    assert not any(line.endswith(",") or ", ," in line for line in lines)
    assert "..." not in "".join(lines)


def test_a_setting_that_some_runs_leave_open_is_shown_of_the_others(tmp_path, text, capsys, monkeypatch):
    for name, every in {"a": 0, "b": 2, "c": 0}.items():
        run_once(tmp_path / name, text[:6000], steps=2, sample_tokens=0, eval_every=every)
    a, b, c = lines_of(tmp_path, capsys, monkeypatch).out.splitlines()[1:]
    assert ["eval_every" in line for line in (a, b, c)] == [False, True, False]


def test_two_runs_both_show_what_differs_and_nothing_is_none(runs, tmp_path, capsys, monkeypatch):
    shutil.copytree(runs / "a", tmp_path / "a")
    shutil.copytree(runs / "a", tmp_path / "b")
    path = tmp_path / "b" / "config.json"
    about = json.loads(path.read_text())
    about["training"]["init_from"] = "x"
    path.write_text(json.dumps(about))
    a, b = lines_of(tmp_path, capsys, monkeypatch).out.splitlines()[1:]
    assert (a.endswith("  init_from none"), b.endswith("  init_from x")) == (True, True)


@pytest.mark.parametrize("width", [60, 120])
def test_a_loss_from_before_the_first_step_is_not_the_best_without_a_word(runs, tmp_path, capsys, monkeypatch, width):
    shutil.copytree(runs / "a", tmp_path / "a")
    path = tmp_path / "a" / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    assert " at step 0" in lines_of(tmp_path, capsys, monkeypatch, width).out


def test_losses_of_different_tokenizers_are_in_bits_per_byte(runs, tmp_path, text, capsys, monkeypatch):
    shutil.copytree(runs / "a", tmp_path / "a")
    alone = lines_of(tmp_path, capsys, monkeypatch)
    assert ("best val" in alone.out, alone.err) == (True, "")
    run_once(tmp_path / "bytes", text[:6000], steps=3, sample_tokens=0, tokenizer="bpe")
    both = lines_of(tmp_path, capsys, monkeypatch, 80)
    assert "bits/byte" in both.out
    assert max(map(width_of, both.err.splitlines())) <= 80
    assert "best val" not in both.out
    assert "compare bits per byte, not nats per token" in both.err
    assert main(["runs", str(tmp_path), "--json"]) == 0
    a, b = json.loads(capsys.readouterr().out)
    assert a["bits/byte"] != b["bits/byte"]
    assert "unusual" not in a
    assert a["whole val"] is None  # an evaluation takes all windows
    for found in (a, b):
        assert f"{found['bits/byte']:.4g}" in both.out
        assert f"{found['best val']:.4g}" not in both.out
    for name in ("a", "bytes"):  # runs of an older version
        path = tmp_path / name / "metrics.jsonl"
        path.write_text(path.read_text().replace('"val_bytes"', '"other"'))
    old = lines_of(tmp_path, capsys, monkeypatch)
    assert "best val" in old.out
    assert "losses in nats per token cannot be compared" in old.err


def test_a_run_is_no_folder_of_runs(runs, capsys):
    assert main(["runs", str(runs / "a")]) == 2
    assert f"a: is a run; give the folder that holds it: {runs}" in capsys.readouterr().err


def test_a_long_name_keeps_both_ends():
    assert _cut("a-name", 6) == "a-name"
    assert _cut("one-long-name-1e-3", 9) == "one-…1e-3"
    assert width_of(_cut("名前" * 20, 11)) <= 11


def test_a_run_of_an_older_version_differs_in_what_was_chosen(runs, tmp_path, text, capsys, monkeypatch):
    for name in ("a", "b"):
        shutil.copytree(runs / name, tmp_path / name)
    run_once(tmp_path / "bytes", text[:6000], steps=3, sample_tokens=0, tokenizer="bpe")
    old = tmp_path / "a" / "config.json"
    about = json.loads(old.read_text())
    for name in ("encoding", "text_field"):
        del about["training"][name]
    old.write_text(json.dumps(about))
    rows = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    rows = [{name: value for name, value in row.items() if name != "val_bytes"} for row in rows]
    (tmp_path / "a" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = lines_of(tmp_path, capsys, monkeypatch)
    assert "seed 1" in told.out or "seed" in told.out
    assert "encoding" not in told.out
    assert "text_field" not in told.out
    assert "an older version that counted no bytes: a\n" in told.err


def test_a_cut_goes_through_no_character():
    escaped = "\\x1b[2J\\u202e\\udcff" * 5
    for width in range(4, 40):
        kept = _cut(escaped, width)
        assert width_of(kept) <= width
        assert re.fullmatch(r"(\\x1b|\[|2|J|\\u202e|\\udcff|…)*", kept)
    marked = "e\u0301" * 30
    assert width_of(marked) == 30
    assert _cut(marked, 30) == marked
    assert not any(part.startswith("\u0301") for part in _cut(marked, 11).split("…"))
