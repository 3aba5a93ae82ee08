"""Which windows are evaluated: few enough, always the same, and all at the end where that takes little."""

import dataclasses

import msgspec
import numpy as np
import pytest
from small_runs import run_once, without_speed

from gpt2 import GPT2, TrainConfig
from gpt2.commands.train import _report
from gpt2.run.checkpoints import Progress
from gpt2.text import batches
from gpt2.text.corpora import Corpus
from gpt2.text.corpora.generated import addition
from gpt2.text.encoding import prepare
from gpt2.tokenizers import ByteTokenizer
from gpt2.training.shards import Shards
from gpt2.training.validation import Validation, count


def validation(text, context=16, **settings):
    config = TrainConfig(**settings)
    return Validation(prepare(Corpus.of_text("x", text), ByteTokenizer(), config, context), config, context)


def starts(windows):
    return [row.tobytes() for inputs, _ in windows for row in inputs]


def test_the_windows_are_a_function_of_the_seed(text):
    found = [starts(validation(text, steps=120, seed=seed).some) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert len(found[0]) == TrainConfig(steps=120).eval_windows == 48
    assert set(found[0]) < set(starts(validation(text, eval_windows=0).some))


def test_a_short_text_is_evaluated_as_a_whole(text):
    short = validation(text[:4000], steps=2000)
    assert short.some is short.all
    assert not short.ends_with_all  # it has no more
    assert short.plan == ""


def test_all_are_evaluated_at_the_end_where_that_takes_little(text):
    windows = count(validation(text).all).windows
    for steps, cheap in ((int(windows / 0.15 / 12) - 1, False), (int(windows / 0.15 / 12) + 2, True)):
        found = validation(text, steps=steps, eval_windows=20)
        assert found.ends_with_all == cheap
        assert found.plan == "an evaluation predicts 320 of these, always the same" + "; the last one predicts all" * cheap


def mean_loss(model, val, chosen=None):
    """Over windows of 16 that follow one another, one at a time."""
    losses = []
    for i in range((len(val) - 1) // 16) if chosen is None else chosen:
        window = val[16 * i : 16 * i + 17].astype(int)
        losses.append(model.loss(window[None, :-1], window[None, 1:]).item())
    return np.mean(losses)


def test_the_series_is_of_some_windows_and_the_result_of_all(tmp_path, text):
    text = text[:6000]
    run, result, rows = run_once(tmp_path / "a", text, eval_windows=10, steps=60, eval_every=20)
    model, tokenizer = run.load_model()
    _, val = batches.split(tokenizer.encode(text), 0.1, 16)
    evaluated = [row for row in rows if "val_loss" in row]
    assert [(row["step"], row["val_tokens"]) for row in evaluated] == [(step, 160) for step in (0, 20, 40, 60)]
    assert result.val_loss == pytest.approx(mean_loss(model, val), rel=1e-5)
    assert (result.val_step, result.windows, result.all_windows, result.val_tokens) == (60, 37, 37, 37 * 16)
    wholes = [(row["step"], row["whole_val_loss"], row["whole_val_tokens"]) for row in rows if "whole_val_loss" in row]
    assert wholes == [(60, result.val_loss, 37 * 16)]
    everywhere = np.arange(37)
    some = [i for i in everywhere if val[16 * i : 16 * i + 16].tobytes() in set(_chosen(text, tokenizer))]
    assert len(some) == 10
    assert evaluated[-1]["val_loss"] == pytest.approx(mean_loss(model, val, some), rel=1e-5)


def _chosen(text, tokenizer):
    config = TrainConfig(eval_windows=10, seed=0)
    chosen = Validation(prepare(Corpus.of_text("x", text), tokenizer, config, 16), config, 16).some
    return [row.astype(np.int64).tobytes() for inputs, _ in chosen for row in inputs]


def test_evaluating_fewer_windows_changes_no_step(tmp_path, text):
    runs = [run_once(tmp_path / str(n), text, eval_windows=n)[2] for n in (0, 3, -1)]
    assert len({tuple(row.get("train_loss") for row in rows) for rows in runs}) == 1
    assert len({rows[0]["val_tokens"] for rows in runs}) == 3


def test_patience_ends_with_all_windows_too(tmp_path, text):
    settings = {"steps": 400, "eval_every": 10, "patience": 3, "learning_rate": 0.02, "batch_size": 8, "eval_windows": 2}
    _, result, rows = run_once(tmp_path / "a", text[:2000], **settings)
    assert result.stopped_early
    assert [row["step"] for row in rows if "whole_val_loss" in row] == [result.steps]
    assert result.windows == result.all_windows


def test_a_perfect_model_is_that_of_the_windows_it_is_compared_on():
    config = TrainConfig(steps=300, eval_windows=3)
    prepared = prepare(addition(count=400), ByteTokenizer(), config, 24)
    found = Validation(prepared, config, 24)
    costs = prepared.costs()
    whole = (len(costs) - 1) // 24 * 24
    assert found.perfect[1] == pytest.approx(costs[1 : whole + 1].mean())
    assert found.perfect[0] != found.perfect[1]


def test_a_finished_run_that_is_resumed_evaluates_and_says_nothing_again(tmp_path, text, monkeypatch):
    settings = {"eval_windows": 5, "steps": 200, "eval_every": 100}
    run, result, rows = run_once(tmp_path / "a", text[:3000], **settings)
    samples = run.samples.read_text()
    monkeypatch.setattr(Shards, "evaluate", lambda *_: pytest.fail("evaluated again"))
    said = []
    _, again, same = run_once(tmp_path / "a", text[:3000], resume=True, say=said.append, **settings)
    assert (again.steps_now, again.train_loss, result.steps_now) == (0, None, 200)
    assert again == dataclasses.replace(result, seconds=again.seconds, steps_now=0, train_loss=None)
    assert (same, run.samples.read_text()) == (rows, samples)
    assert "it has already ended, after step 200: --steps 400 trains longer" in said
    assert not any("--- step" in line or "step 200/" in line for line in said)


def test_more_steps_change_nothing_of_what_was_recorded(tmp_path, text):
    flags = {"eval_every": 0, "save_every": 0, "warmup_steps": -1, "eval_windows": -1}
    run, _, rows = run_once(tmp_path / "a", text, **flags)
    first = run.read_config().training
    longer = dataclasses.replace(first, steps=60)
    assert (longer.eval_every, longer.warmup_steps, longer.eval_windows) == (10, 1, first.eval_windows)
    _, _, more = run_once(tmp_path / "a", text, resume=True, **dataclasses.asdict(longer))
    assert without_speed(more[: len(rows)]) == without_speed(rows)
    assert [row["val_tokens"] for row in more if "val_loss" in row] == [first.eval_windows * 16] * 7


def test_log_lines_have_a_validation_loss_where_it_is_new(tmp_path, text):
    said = []
    _, _, rows = run_once(tmp_path / "a", text, steps=60, eval_every=25, sample_tokens=0, say=said.append)
    lines = {int(line.split("/")[0].removeprefix("step ")): line for line in said if line.startswith("step ")}
    assert set(lines) == {*range(3, 61, 3), 25, 50}
    assert {step for step, line in lines.items() if "val " in line} == {25, 50, 60}
    assert f"val {rows[25]['val_loss']:.3f}" in lines[25]


def test_a_sample_costs_little_more_than_its_tokens(tmp_path, text, monkeypatch):
    """Not a whole context for each token, once the context is full: half of it, once in so many tokens."""
    fed = []
    next_logits = GPT2.next_logits
    monkeypatch.setattr(
        GPT2, "next_logits", lambda self, ids, cache: (fed.append(ids.shape[1]), next_logits(self, ids, cache))[1]
    )
    run_once(tmp_path / "a", text, steps=1, sample_tokens=40)
    assert len(fed) == 80
    assert sum(fed) < 2 * 80


def test_a_checkpoint_of_an_older_version_does_not_say_after_which_step(text, tmp_path, capsys):
    _, result, _ = run_once(tmp_path / "run", text, steps=2, eval_every=2)
    progress = msgspec.convert({"val_loss": 2.0, "best_loss": 2.0, "best_step": 10, "stale": 0, "pending": None}, Progress)
    about = {"val_loss": progress.val_loss, "val_step": progress.val_step}
    _report(dataclasses.replace(result, steps=13, planned=20, signal=2, **about), tmp_path)
    assert "2.0000 nats per token\n" in capsys.readouterr().out


def test_the_summary_says_of_which_step_a_loss_is_and_what_evaluates_now(text, tmp_path, capsys):
    _, result, _ = run_once(tmp_path / "run", text, steps=2, eval_every=2)

    def said(**about):
        _report(dataclasses.replace(result, planned=500, **about), tmp_path)
        return capsys.readouterr().out

    stopped = said(signal=2, steps=63, steps_now=43, val_loss=7.5, val_step=0, train_loss=2.67)
    assert "interrupted after 63 of 500 steps, 43 of them now, in" in stopped
    assert stopped.index("2.6700 nats per token, of the batch of step 63") < stopped.index("7.5000 nats per token")
    assert f"7.5000 nats per token, after step 0; gpt2 eval {tmp_path} evaluates it now" in stopped
    assert "is logged when" not in stopped
    assert "step 63 is logged when the run goes on" in said(signal=2, steps=63, in_evaluation=True, val_step=0)
    assert "is logged when" not in said(signal=2, steps=0, in_evaluation=True, val_step=None)
    ended = said(windows=10, all_windows=40)
    assert f"10 of 40 windows, {result.val_tokens:,} tokens; gpt2 eval {tmp_path} evaluates all" in ended
    assert "training loss" not in ended
    assert "gpt2 eval" not in said() + said(windows=40, all_windows=40)
    assert "2 steps in" in said()


def test_a_run_that_patience_ended_says_how_it_goes_on(tmp_path, text):
    settings = {"steps": 400, "eval_every": 10, "patience": 3, "learning_rate": 0.02, "batch_size": 8, "eval_windows": 2}
    run_once(tmp_path / "a", text[:2000], **settings)
    said = []
    run_once(tmp_path / "a", text[:2000], resume=True, say=said.append, **settings)
    (line,) = (line for line in said if "already ended" in line)
    assert line.endswith(": the validation loss stopped falling; --patience 0 --accept-changes trains on")
