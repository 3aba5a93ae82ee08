"""A signal ends a training at once, wherever it is, and the run goes on as if nothing had happened."""

import os
import re
import signal
import subprocess
import sys
import threading

import pytest
from small_runs import run_once, without_speed

from gpt2 import GPT2
from gpt2.run.checkpoints import Checkpoints
from gpt2.training import interrupts, loop, measurements, step
from gpt2.training.average import Average
from gpt2.training.shards import Shards
from gpt2.training.step import Trainer
from tinygrad2 import autograd

SETTINGS = {"steps": 12, "eval_every": 4, "save_every": 3, "warmup_steps": 2, "threads": 2, "shards": 2, "eval_windows": 40}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, text):
    run, _, rows = run_once(tmp_path_factory.mktemp("whole") / "a", text, **SETTINGS)
    return without_speed(rows), run.samples.read_text(), run.model.read_bytes()


def at_call(monkeypatch, owner, name, number):
    """A signal comes in the n-th call of a function, in whichever thread that runs."""
    real, calls = getattr(owner, name), []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, interrupted)


MOMENTS = {
    "before anything": (Shards, "evaluate", 1, 0),
    "the first evaluation": (GPT2, "loss", 2, 0),
    "the first sample": (GPT2, "next_logits", 7, 0),
    "the first measurements": (measurements, "_future", 1, 0),
    "an evaluation": (Average, "in_use", 2, 4),
    "the gradients": (Shards, "loss_and_gradients", 8, 5),
    "backward": (autograd, "grad", 15, 5),
    "a forward of a step": (Trainer, "batch", 6, 5),
    "the update": (step, "learning_rate", 6, 6),
    "the end of the last evaluation": (loop, "as_line", 13, 12),
}


@pytest.mark.parametrize(("owner", "name", "number", "last"), MOMENTS.values(), ids=MOMENTS)
def test_wherever_a_signal_comes_it_ends_in_order_and_goes_on(
    tmp_path, text, monkeypatch, capfd, whole, owner, name, number, last
):
    with monkeypatch.context() as patch:
        at_call(patch, owner, name, number)
        run, result, rows = run_once(tmp_path / "a", text, **SETTINGS)
    assert result.signal == signal.SIGTERM
    assert result.steps == last
    assert result.in_evaluation == ([row["step"] for row in rows][-1:] != [last])
    assert Checkpoints(run.checkpoints).steps()[-1] == last
    assert capfd.readouterr().err == interrupts.SAID.decode()
    assert without_speed(rows) == whole[0][: len(rows)]
    run, result, rows = run_once(tmp_path / "a", text, resume=True, **SETTINGS)
    assert result.signal is None
    assert (without_speed(rows), run.samples.read_text(), run.model.read_bytes()) == whole


def test_what_is_given_up_is_given_up_at_once(tmp_path, text, monkeypatch):
    """Most windows are never begun."""
    at_call(monkeypatch, GPT2, "loss", 3)
    loss, begun = GPT2.loss, []
    monkeypatch.setattr(GPT2, "loss", lambda *about: (begun.append(1), loss(*about))[1])
    _, result, rows = run_once(tmp_path / "a", 30 * text, steps=5, eval_windows=0)
    assert (result.steps, rows, result.signal) == (0, [], signal.SIGTERM)
    assert len(begun) < result.all_windows // 64 // 2  # a few are, until the main thread has its turn


def test_nothing_stops_where_nothing_is_stoppable():
    with interrupts.Interrupts() as noted:
        os.kill(os.getpid(), signal.SIGTERM)
        assert (noted.signal, interrupts.requested()) == (signal.SIGTERM, signal.SIGTERM)
        with pytest.raises(interrupts.Interrupted), interrupts.stoppable():
            pytest.fail("it had been asked to stop before")
    assert interrupts.requested() == 0
    with interrupts.stoppable():
        pass


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.Interrupts() as noted:
            os.kill(os.getpid(), signal.SIGINT)
            assert noted.signal is None
            os.kill(os.getpid(), signal.SIGTERM)
            assert noted.signal == signal.SIGTERM
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_are_left_alone():
    """Python calls signal handlers in the main thread; what trains in another is not ended by them."""
    found = []

    def other():
        with interrupts.Interrupts(), interrupts.stoppable():
            found.append(interrupts.requested())

    with interrupts.Interrupts() as noted:
        thread = threading.Thread(target=other)
        os.kill(os.getpid(), signal.SIGTERM)
        thread.start()
        thread.join()
        assert (found, noted.stops) == ([0], False)


# -- from outside


def start(*arguments, **settings):
    return subprocess.Popen(
        [sys.executable, "-m", "gpt2", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        **settings,
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_evaluation_of_a_long_text_can_be_ended(tmp_path, text, number):
    """It would take half a minute."""
    (tmp_path / "my.txt").write_text(text * 200)
    process = start("train", "--data", tmp_path / "my.txt", "--out", tmp_path / "run", "--eval-windows", 0)
    for line in process.stdout:
        if "tokens to train on" in line:
            break
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert err == interrupts.SAID.decode()
    assert "interrupted after 0 of 2000 steps" in out
    assert "validation loss          not evaluated yet" in out
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps() == [0]
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == ""


ENCODING = """
import sys
from gpt2.text import encoding
from gpt2 import __main__ as entry
encoding.IN_MEMORY = 1000
class Slow:
    def __init__(self, bar): self.bar = bar
    def update(self, n): print("at work", flush=True); import time; time.sleep(60)
real = encoding.progress
from contextlib import contextmanager
@contextmanager
def progress(**about):
    yield Slow(None)
encoding.progress = progress
sys.exit(entry.main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_encoding_that_is_ended_leaves_nothing(tmp_path, text, number):
    (tmp_path / "my.txt").write_text(text)
    process = subprocess.Popen(
        [sys.executable, "-c", ENCODING, "train", "--data", tmp_path / "my.txt", "--out", tmp_path / "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TINYGRAD2_CACHE": str(tmp_path / "cache")},
    )
    assert process.stdout.readline() == "at work\n"
    process.send_signal(number)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 128 + number
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "my.txt"]
    assert not (tmp_path / "run").exists()


def test_the_first_signal_says_what_the_second_does():
    assert re.search(r"press Ctrl-C again to stop now", interrupts.SAID.decode())


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_ctrl_c_after_any_signal_waits_for_nothing(first, monkeypatch, capfd):
    monkeypatch.setattr(os, "_exit", lambda code: (_ for _ in ()).throw(SystemExit(code)))
    with interrupts.Interrupts():
        signal.raise_signal(first)
        with pytest.raises(SystemExit, match="130"):
            signal.raise_signal(signal.SIGINT)
    assert capfd.readouterr().err.count("press Ctrl-C again to stop now") == 1
