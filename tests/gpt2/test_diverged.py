"""A run that diverged: what computes no numbers is refused, and what is too large for one is said as JSON can say it."""

import json
import math

import numpy as np
import pytest
from small_runs import run_once

from gpt2.cli import main
from gpt2.errors import NonFiniteError
from gpt2.insight.evaluation import Evaluation, coloured
from gpt2.run.metrics import Log, as_line
from gpt2.tokenizers import ByteTokenizer
from gpt2.training.loop import Training


def changed(folder, text, change, **settings):
    """A run whose last weights are others."""
    run, _, _ = run_once(folder, text, **settings)
    model, _ = run.load_model()
    change(model)
    run.save_model(model, 30)
    return run.folder


def to_infinity(model):
    """Every weight is a finite number, and the logits are infinite or no numbers at all."""
    model.ln_f.weight.data[:] = 3e38
    model.lm_head.weight.data *= 1e3


def far_off(model):
    model.lm_head.bias.data[:] = np.linspace(0, 1e6, len(model.lm_head.bias.data))


@pytest.fixture(scope="module")
def diverged(tmp_path_factory, text):
    return changed(tmp_path_factory.mktemp("diverged") / "run", text, to_infinity)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory, text):
    """A run with a loss of hundreds of thousands of nats, and the file it was trained on."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "my.txt").write_text(text[:4000])
    return changed(folder / "run", text, far_off), folder / "my.txt"


COMMANDS = {
    "sample": "sample --run {run} --prompt the",
    "greedy": "sample --run {run} --prompt the --temperature 0",
    "explain": "sample --run {run} --prompt the --explain",
    "several": "sample --run {run} --prompt the --samples 2",
    "eval": "eval --run {run} --data {data}",
    "per token": "eval --run {run} --data {data} --per-token --json",
    "inspect": "inspect {run} --prompt the --out {out}",
    "lab": "lab {run} --out {out}",
    "lab of a text": "lab {run} --prompt thethe --out {out}",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_what_computes_no_numbers_is_refused(diverged, tmp_path, text, capsys, command):
    (tmp_path / "my.txt").write_text(text[:300])
    assert main(command.format(run=diverged, data=tmp_path / "my.txt", out=tmp_path / "out.html").split()) == 2
    said = capsys.readouterr()
    assert said.out in ("", "the\n") or said.out.startswith("P is the model's probability")
    assert "its training diverged (see gpt2 health)\n" in said.err
    assert "Warning" not in said.err
    assert not (tmp_path / "out.html").exists()


def test_so_it_is_in_python(diverged):
    from gpt2.run.folder import load_model

    model, _ = load_model(diverged)
    for settings in ({}, {"temperature": 1.0}, {"temperature": 1.0, "top_k": 3}, {"use_cache": False}):
        with pytest.raises(NonFiniteError, match="the logits of this model are not finite numbers"):
            model.generate([1, 2], 3, **settings)


def test_a_training_goes_on_without_a_sample(tmp_path, text, monkeypatch):
    """Whether it may go on is for the loss of its next step to say, and for --on-nonfinite."""
    evaluate = Training.evaluate

    def diverge(self, row):
        kept = self.model.ln_f.weight.data
        if row["step"] == 10:
            self.model.ln_f.weight.data = kept * np.float32(np.inf)
        try:
            with np.errstate(all="ignore"):
                evaluate(self, row)
        finally:
            self.model.ln_f.weight.data = kept

    monkeypatch.setattr(Training, "evaluate", diverge)
    run, result, rows = run_once(tmp_path / "run", text)
    assert result.steps == 30
    samples = run.samples.read_text().split("--- step ")
    assert "(nothing: the logits of this model are not finite numbers" in samples[2]
    assert "nothing" not in samples[3]
    assert [math.isnan(row["val_loss"]) for row in rows if "val_loss" in row] == [False, True, False, False]


def test_health_says_so(tmp_path, text, capsys):
    """Also of a run that never took a step."""
    run, _, _ = run_once(tmp_path / "a", text, steps=2, eval_every=2)
    for rows, healthy in (([0.0, 2.0], True), ([0.0, math.nan], False), ([math.nan], False), ([math.inf, 2.0], True)):
        run.metrics.unlink()
        with Log(run.metrics) as log:
            for step, loss in enumerate(rows):
                log.append(as_line({"step": step, "val_loss": loss + 2 * (step == 0)}))
        main(["health", str(run.folder), "--json"])
        verdicts = {found["name"]: found for found in strictly(capsys.readouterr().out)["verdicts"]}
        assert ("diverged" in verdicts) != healthy
        assert healthy or verdicts["diverged"]["seen"] == f"validation loss nan at step {len(rows) - 1}"


def too_large(model):
    """The logits are numbers, and the squares of what is inside are none."""
    for block in model.h:
        block.mlp.c_fc.weight.data *= 1e21


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("command", ["inspect {run} --prompt the", "lab {run} --prompt thethe", "lab {run} --tokens 2"])
def test_what_overflows_is_said_once(tmp_path, text, capsys, command):
    run = changed(tmp_path / "run", text, too_large)
    assert main(command.format(run=run).split()) == 0
    said = capsys.readouterr()
    assert said.err == (
        "gpt2: note: some numbers of this model are too large to compute with: its training diverged (see gpt2 health)\n"
    )


# -- JSON


def strictly(text):
    """JSON as every program reads it."""

    def refuse(name):
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_perplexity_beyond_all_numbers(wrong, capsys):
    run, data = wrong
    command = ["eval", "--run", str(run), "--data", str(data)]
    assert main([*command, "--json"]) == 0
    about = strictly(capsys.readouterr().out)
    assert about["loss"] > 710
    assert about["perplexity"] is None
    assert main(command) == 0
    assert "perplexity inf," in capsys.readouterr().out
    assert Evaluation(np.zeros(2), np.array([709.0]), 1).perplexity == pytest.approx(math.exp(709))


def test_the_colour_of_a_loss_that_is_infinite():
    shown = "".join(coloured(ByteTokenizer(), Evaluation(np.array([65, 66, 67]), np.array([math.inf, math.nan]), 2)))
    assert shown.count("48;5;160m") == 2


def test_the_log_of_a_run_is_json(tmp_path):
    row = {"step": 1, "train_loss": math.nan, "update_ratios": {"wte.weight": -math.inf}, "grad_norm": math.inf}
    assert strictly(as_line(row)) == {
        "step": 1,
        "train_loss": "nan",
        "update_ratios": {"wte.weight": "-inf"},
        "grad_norm": "inf",
    }


def test_all_that_commands_say_as_json_is_json(tmp_path, text, capsys):
    run, _, _ = run_once(tmp_path / "runs" / "a", text, model={"d_model": 8})
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    rows[-1] |= {"val_loss": math.nan, "train_loss": math.inf, "grad_norm": math.nan}
    rows[-1]["update_ratios"] = dict.fromkeys(rows[-1]["update_ratios"], -math.inf)
    run.metrics.unlink()
    with Log(run.metrics) as log:
        for row in rows:
            log.append(as_line(row))
    assert main(["runs", str(tmp_path / "runs"), "--json"]) == 0
    (about,) = strictly(capsys.readouterr().out)
    assert about["last val"] is None
    assert about["best val"] > 0
    main(["health", str(run.folder), "--json"])
    assert strictly(capsys.readouterr().out)["step"] == 30
    assert main(["runs", str(tmp_path / "runs")]) == 0
    assert "nan" in capsys.readouterr().out
