"""A training that has a time ends with it, whatever a step takes: on a clock that the test moves."""

import dataclasses
import os
import signal
from pathlib import Path

import pytest
from small_runs import run_once

from gpt2.cli import main
from gpt2.run.folder import Run
from gpt2.text.corpora import Corpus
from gpt2.training import budget
from gpt2.training.loop import Training
from gpt2.training.replay import replay
from gpt2.training.shards import Shards
from gpt2.training.step import Trainer


class Clock:
    """Seconds that pass when something says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """A step takes `clock.step(seconds so far)` seconds, each part of an evaluation 0.1, a checkpoint 0.1."""
    clock = Clock()
    clock.step = lambda _: 0.5
    monkeypatch.setattr(budget, "clock", clock)

    def taking(owner, name, seconds):
        right = getattr(owner, name)

        def slow(self, *args, **how):
            clock.now += seconds()
            return right(self, *args, **how)

        monkeypatch.setattr(owner, name, slow)

    taking(Trainer, "loss_and_gradients", lambda: clock.step(clock.now - 1000))
    taking(Shards, "evaluate", lambda: 0.1)
    taking(Training, "_save", lambda: 0.1)
    return clock


def ends(folder, text, clock, minutes=1.0, **how):
    """At which second a training ends, with its rows."""
    began = clock.now
    if how.get("resume"):
        how = {**dataclasses.asdict(Run(folder).read_config().training), "minutes": minutes, **how}
    run, result, rows = run_once(folder, text, began=began, **{"minutes": minutes, "steps": 2000, "eval_every": 0, **how})
    return clock.now - began, run, result, rows


@pytest.mark.parametrize(
    "step",
    [
        lambda t: 0.5,
        lambda t: 0.2 if t < 20 else 0.6,  # another program begins
        lambda t: 0.9 if t < 30 else 0.3,
        lambda t: 2.0 if t < 8 else 0.4,  # something is compiled
        lambda t: 0.4 * (1 + (int(t) % 3 == 0)),
        lambda t: 9.0,  # hardly any steps at all
    ],
    ids=["even", "slower", "faster", "first", "uneven", "few"],
)
def test_it_ends_with_its_time(tmp_path, text, clock, step):
    clock.step = step
    took, run, result, rows = ends(tmp_path / "a", text, clock)
    assert took == pytest.approx(60, abs=max(1.8, 1.1 * step(59)))
    assert run.read_config().training.steps == result.steps == rows[-1]["step"]
    rates = [row["learning_rate"] for row in rows if "learning_rate" in row]
    assert result.steps < 20 or rates[-1] < 0.1 * max(rates)
    assert "val_loss" in rows[-1]


@pytest.mark.parametrize("given", [{}, {"eval_every": 7}], ids=["follows", "given"])
def test_evaluations_take_a_tenth_of_the_time_unless_they_are_given(tmp_path, text, clock, monkeypatch, given):
    right = Training.evaluate

    def slow(self, row):
        clock.now += 3
        return right(self, row)

    monkeypatch.setattr(Training, "evaluate", slow)
    took, _, result, rows = ends(tmp_path / "a", text, clock, **given)
    assert took == pytest.approx(60, abs=4.5)
    evaluated = [row["step"] for row in rows if "val_loss" in row]
    assert result.steps > (80 if not given else 30)
    assert len(evaluated) <= 4 if not given else evaluated == [*range(0, result.steps, 7), result.steps][: len(evaluated)]


def test_pictures_are_a_part_of_the_time(tmp_path, text, clock):
    def draw(run):
        drawn.append(run.folder)
        clock.now += 5

    drawn = []
    took, run, _, _ = ends(tmp_path / "a", text, clock, draw=draw)
    assert drawn == [run.folder]
    assert took == pytest.approx(55, abs=1.8)  # so that there are 5 seconds for the last


def test_a_run_that_goes_on_has_the_rest_of_its_time(tmp_path, text, clock, monkeypatch):
    """However long it has stood still."""
    taken = []
    right = Trainer.step

    def stopped(self, measure=False):
        if len(taken) == 30:
            raise KeyboardInterrupt
        taken.append(clock.now)
        return right(self, measure)

    monkeypatch.setattr(Trainer, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        ends(tmp_path / "a", text, clock)
    monkeypatch.setattr(Trainer, "step", right)
    used = read_progress(tmp_path / "a")
    assert 5 < used < clock.now - 1000 + 1e-6
    clock.now += 10_000
    took, _, result, rows = ends(tmp_path / "a", text, clock, resume=True)
    assert used + took == pytest.approx(60, abs=1.8)
    assert [row["step"] for row in rows] == list(range(result.steps + 1))


def read_progress(folder):
    """The seconds of the last checkpoint."""
    return Run(folder).last_checkpoint(lambda _: None).about["progress"]["seconds"]


def test_replay_takes_a_step_again_whatever_the_plan_was(tmp_path, text, clock):
    clock.step = lambda t: 0.4 if t < 20 else 0.9
    _, run, _, rows = ends(tmp_path / "a", text, clock)
    plans = [part.training.steps for part in run.read_config().before]
    assert len(set(plans)) > 2
    for step in (len(rows) // 3, len(rows) - 2):
        found = replay(run, Corpus.of_text("test", text), step)
        assert {key: found.row[key] for key in ("train_loss", "learning_rate", "grad_norm")} == {
            key: rows[step][key] for key in ("train_loss", "learning_rate", "grad_norm")
        }


def test_steps_and_minutes_are_not_both_given(tmp_path, capsys):
    assert main(["train", "--steps", "5", "--minutes", "2", "--out", str(tmp_path / "a")]) == 2
    assert "--steps 5 and --minutes 2: one of them says how long; leave one out" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_what_has_ended_says_how_to_train_longer(tmp_path, text, clock):
    """Also where the last picture, which no checkpoint knows of, took some of the time."""

    def draw(_):
        clock.now += 4

    ends(tmp_path / "a", text, clock, draw=draw)
    said = []
    before = clock.now
    ends(tmp_path / "a", text, clock, resume=True, say=said.append)
    assert any("it has already ended" in line and "--minutes 2 trains longer" in line for line in said)
    assert clock.now - before < 2


def test_ctrl_c_while_it_plans_is_heard_where_a_checkpoint_can_be_saved(tmp_path, text, clock, monkeypatch):
    sent = []
    right = Trainer.loss_and_gradients

    def interrupted(self, drawn):
        if not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))
        return right(self, drawn)

    monkeypatch.setattr(Trainer, "loss_and_gradients", interrupted)
    _, run, result, _ = ends(tmp_path / "a", text, clock)
    assert (result.signal, result.steps) == (signal.SIGINT, 0)
    assert run.last_checkpoint(lambda _: None).step == 0


def test_twice_the_minutes_train_on(tmp_path, text, clock):
    _, _, first, _ = ends(tmp_path / "a", text, clock)
    took, _, second, _ = ends(tmp_path / "a", text, clock, minutes=2.0, resume=True)
    assert took == pytest.approx(60, abs=3.6)
    assert second.steps > 1.7 * first.steps


def test_a_plan_holds_after_a_rollback(tmp_path, text, clock, monkeypatch):
    """Replay takes the steps after it with the rate that they had, not with that of the plan before."""
    right, thrown = Training.finish_step, []

    def thrown_back(self):
        right(self)
        if self.trainer.steps == 42 and not thrown:
            thrown.append(self.saved)
            self.roll_back("for the test")

    monkeypatch.setattr(Training, "finish_step", thrown_back)
    clock.step = lambda t: 0.4 if t < 12 else 0.7  # so that plans differ
    _, run, _, rows = ends(tmp_path / "a", text, clock)
    rates = {row["step"]: row["learning_rate"] for row in rows if "learning_rate" in row}  # the last of each
    again = [thrown[0] + 1, 45]
    for step in again:
        assert replay(run, Corpus.of_text("test", text), step).row["learning_rate"] == rates[step]


def test_settings_of_length_that_contradict_a_run(tmp_path, text, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "text.txt"
    data.write_text(text, "utf-8")
    small = "--d-model 8 --num-layers 1 --num-heads 1 --max-seq-len 8 --sample-tokens 0 --no-plots".split()  # noqa: SIM905
    begin = ["train", str(data), *small, "--preset", "tiny", "--minutes", "0.02", "--out", "a"]
    assert main(begin) == 0
    assert main([*begin, "--resume"]) == 0  # the same command, with the steps of its preset
    capsys.readouterr()
    assert main(["train", "--resume", "--out", "a", "--steps", "99999"]) == 2
    assert "the length of the run was given in minutes: give --minutes" in capsys.readouterr().err
    assert main(["train", "--config", "a/config.json", "--steps", "3", "--no-plots", "--out", "b"]) == 0
    assert Run(Path("b")).read_config().training.minutes == 0
    assert main(["train", "--resume", "--out", "b", "--minutes", "1"]) == 2
    assert "the length of the run was given in steps: give --steps" in capsys.readouterr().err
    assert main(["train", "--config", "b/config.json", "--minutes", "0.01", "--no-plots", "--out", "c"]) == 0
