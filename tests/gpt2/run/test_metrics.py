"""metrics.jsonl as a stranger may have written it: read in blocks, every field checked, and only the rows that count."""

import json
import os
import socket
import subprocess
import sys

import pytest

from gpt2.errors import RunError
from gpt2.run import metrics
from gpt2.run.metrics import history, read_metrics

BLOCK = {"in_std": 1, "out_std": 1, "dead": 0, "off": 0, "entropy": {"0": 1}, "sink": {"0": 1}, "attention_error": 0}


@pytest.fixture
def log(tmp_path):
    """Writes lines, and gives the path of their log."""
    path = tmp_path / "metrics.jsonl"

    def write(*lines, end=b"\n"):
        content = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        path.write_bytes(b"\n".join(content) + end)
        return path

    return write


def steps(path, **what):
    return [row["step"] for row in history(path, **what)]


def test_one_row_for_each_step_the_last_that_was_written(log):
    path = log(*({"step": step, "train_loss": loss} for loss, step in enumerate([0, 1, 2, 3, 2, 3, 4])))
    assert [(row["step"], row["train_loss"]) for row in history(path)] == [(0, 0), (1, 1), (2, 4), (3, 5), (4, 6)]
    assert len(read_metrics(path)) == 7


@pytest.mark.parametrize(
    ("written", "counted"),
    [
        ([0, 1, 2, 3, 4, 2], [0, 1, 2]),  # what came after step 2 was taken back, and not yet taken again
        ([0, 1, 2, 3, "4", 2], [0, 1, 2]),
        ([0, 1, 2, 3, "2"], [0, 1]),  # a batch that was skipped says as well where the training stood
        ([0, 1, "2", 2, "3", "3", 3], [0, 1, 2, 3]),
        ([0, 1, 2, 3, 2, 3, 1, 2, 5, 4], [0, 1, 2, 4]),
        ([0, 10, 20, 30, 15, 40, 35], [0, 10, 15, 35]),
        ([5, 5, 5], [5]),
        (["0", "0"], []),
        ([], []),
    ],
)
def test_what_was_taken_back_does_not_count(log, written, counted):
    rows = [{"step": int(s), "skipped": "spike"} if isinstance(s, str) else {"step": s} for s in written]
    path = log(*rows, end=b"\n" * bool(rows))
    assert steps(path) == counted
    found = [row["step"] for row in history(path, skipped=True) if "skipped" in row]
    assert found == [int(s) for s in written if isinstance(s, str)]


def test_numbers_that_are_not_finite_and_fields_that_nobody_knows(log):
    path = log({"step": 1, "train_loss": "nan", "update_ratios": {"a": "-inf", "b": -3}, "new": {"deep": [1, None, "é"]}})
    (row,) = history(path)
    assert str(row) == "{'step': 1, 'train_loss': nan, 'update_ratios': {'a': -inf, 'b': -3.0}}"


def test_blocks_do_not_show(log, monkeypatch):
    rows = [{"step": step, "train_loss": step / 3, "skipped": "é" * (step % 5)} for step in range(300)]
    path = log(*rows)
    for size in (1, 7, 64, 1 << 20):
        monkeypatch.setattr(metrics, "BLOCK", size)
        assert read_metrics(path) == rows
        assert len(list(history(path, skipped=True))) == 300


def test_a_torn_last_line_is_no_row_and_what_is_written_meanwhile_is_not_read(log):
    path = log({"step": 0}, b'{"step": 1', end=b"")
    assert steps(path) == [0]
    rows = history(log({"step": 0}, {"step": 1}))
    assert next(rows)["step"] == 0
    with open(path, "a") as file:
        file.write('{"step": 0}\n')
    assert [row["step"] for row in rows] == [1]


WRONG = {
    "an empty line": b"",
    "two rows in a line": b'{"step": 1}{"step": 2}',
    "a row in two lines": b'{"step":\n1}',
    "no object": b"[1]",
    "no step": {"train_loss": 1.0},
    "a step that is none": {"step": 2**63},
    "a large step": {"step": 10**12 + 1},
    "a negative step": {"step": -1},
    "a step of text": {"step": "1"},
    "a step that is true": {"step": True},
    "half a step": {"step": 1.5},
    "a loss of text": {"step": 1, "train_loss": "low"},
    "a loss in a list": {"step": 1, "val_loss": [1.0]},
    "a loss that is none": {"step": 1, "val_loss": None},
    "too large for a float": b'{"step": 1, "val_loss": 1e999}',
    "JSON has no NaN": b'{"step": 1, "val_loss": NaN}',
    "why not": {"step": 1, "skipped": 3},
    "a long reason": {"step": 1, "skipped": "x" * 2000},
    "no tokens": {"step": 1, "val_loss": 1.0, "val_tokens": 0},
    "norms without names": {"step": 1, "grad_norms": [1.0]},
    "norms of text": {"step": 1, "grad_norms": {"h.0": "x"}},
    "a long name": {"step": 1, "grad_norms": {"h" * 300: 1.0}},
    "many names": {"step": 1, "update_ratios": dict.fromkeys(map(str, range(20_000)), 1.0)},
    "ratios that are none": {"step": 1, "update_ratios": None},
    "baselines of text": {"step": 1, "baselines": "unigram"},
    "diagnostics without blocks": {"step": 1, "diagnostics": {}},
    "half a block": {"step": 1, "diagnostics": {"blocks": {"h.0": {"in_std": 1.0}}}},
    "a block without heads": {"step": 1, "diagnostics": {"blocks": {"h.0": {**BLOCK, "entropy": {}}}}},
    "offsets of text": {"step": 1, "diagnostics": {"blocks": {}, "offsets": {"0": "x"}}},
    "deep": b'{"step": 1, "new": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "not UTF-8": b'{"step": 1, "new": "\xff"}',
    "a long line": b'{"step": 1, "new": "' + b"x" * (5 << 20) + b'"}',
    "a long line without end": b"x" * (5 << 20),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_damage_is_named_by_file_and_line(log, wrong):
    path = log(
        *({"step": step} for step in range(50)), WRONG[wrong], end=b"" if "without end" in wrong else b'\n{"step": 51}\n'
    )
    with pytest.raises(RunError, match=r"metrics.jsonl, line 51 is damaged: .") as raised:
        list(history(path))
    assert len(str(raised.value)) < 500


def test_damage_behind_the_first_block(log):
    path = log(*({"step": step, "new": "x" * 100} for step in range(30_000)), {"step": -1})
    with pytest.raises(RunError, match="line 30001 is damaged"):
        list(history(path))


def test_one_that_goes_back_for_ever(log):
    path = log(*(b'{"step": %d}\n{"step": %d}' % (2 * step + 3, step) for step in range(metrics.MOST_RETURNS + 10)))
    with pytest.raises(RunError, match="its steps went back more than 100,000 times"):
        list(history(path))


def place(path, kind):
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)  # a name of at most 107 bytes
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a symbolic link":
        (path.parent / "other").write_text('{"step": 0}\n')
        path.symlink_to("other")


@pytest.mark.parametrize("kind", ["a pipe", "a socket", "a folder", "a symbolic link"])
def test_what_is_no_file_is_not_read(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    place(tmp_path / "metrics.jsonl", kind)
    with pytest.raises(RunError, match=f"metrics.jsonl: cannot be read: it is {kind}, and not a file"):
        list(history(tmp_path / "metrics.jsonl"))


def test_ten_gigabytes_of_nothing_and_a_million_rows_need_no_memory(tmp_path):
    with open(tmp_path / "zeros", "wb") as file:
        file.truncate(10 << 30)
    with open(tmp_path / "rows", "w") as file:
        file.writelines(f'{{"step":{step}}}\n' for step in range(1_000_000))
    script = """
import resource, sys
from pathlib import Path
from gpt2.errors import RunError
from gpt2.run.metrics import history
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    sum(1 for _ in history(Path("zeros")))
except RunError as error:
    print(error)
print(sum(1 for _ in history(Path("rows"))))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    refused, count, grown = done.stdout.splitlines()
    assert refused == "zeros, line 1 is damaged: it has more than 4,194,304 bytes"
    assert count == "1000000"
    assert float(grown) < 80
