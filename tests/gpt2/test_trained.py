"""Training, sampling and evaluation from Python: they give what the commands give."""

import json
import subprocess
import sys

import numpy as np
import pytest

import gpt2
from gpt2.cli import main
from gpt2.errors import ConfigError, DataError, RunError

SMALL = {"d_model": 16, "num_layers": 2, "num_heads": 2, "max_seq_len": 16, "threads": 1, "sample_tokens": 20, "no_plots": True}
TEXT = "The statement is a name, and it's here.\n\n" * 60


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    (folder / "my.txt").write_text(TEXT)
    return folder


@pytest.fixture(scope="module")
def run(here):
    return gpt2.train(data=here / "my.txt", out=here / "run", steps=20, eval_every=10, **SMALL)


def test_what_python_trains_is_what_the_command_trains(here, run, tmp_path, capsys):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items() if name != "no_plots"]
    flags += ["--data", str(here / "my.txt"), "--out", str(tmp_path / "run"), "--steps=20", "--eval-every=10", "--no-plots"]
    assert main(["train", *flags]) == 0
    for name, array in gpt2.load(tmp_path / "run").model.state_dict().items():
        np.testing.assert_array_equal(run.model.state_dict()[name], array)
    assert run.folder == here / "run"
    assert run.result.steps == 20
    assert f"{run.result.val_loss:.4f}" in capsys.readouterr().out


def test_several_paths_are_one_text(here, tmp_path):
    (tmp_path / "more.txt").write_text(TEXT)
    paths = [here / "my.txt", tmp_path / "more.txt"]
    assert gpt2.train(data=paths, out=tmp_path / "run", steps=2, **SMALL).result.steps == 2


@pytest.mark.parametrize("name", ["data", "out", "config", "preset", "steps"])
def test_a_setting_of_another_type_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=f"{name}.*5"):
        gpt2.train(**{"out": tmp_path / "run", **SMALL, name: 5 if name != "steps" else "5"})
    assert not (tmp_path / "run").exists()


def test_it_goes_on(here, run, tmp_path):
    out = tmp_path / "run"
    kept = {"data": str(here / "my.txt"), "out": out, "eval_every": 10, **SMALL}
    gpt2.train(steps=10, **kept)
    more = gpt2.train(steps=12, resume=True, accept_changes=True, **kept)
    assert more.result.steps == 12


def test_sampling_is_that_of_the_command(run, capsys):
    flags = ["--run", str(run.folder), "--prompt", "The ", "--tokens", "30"]
    for settings in ({}, {"seed": 3}, {"temperature": 0.0}, {"top_k": 3}, {"min_p": 0.2, "repetition_penalty": 1.2}):
        chosen = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        assert main(["sample", *flags, *chosen]) == 0
        assert capsys.readouterr().out == run.sample("The ", tokens=30, **settings) + "\n"
    assert "".join(run.stream("The ", 30)) == run.sample("The ", 30).removeprefix("The ")


def test_it_stops_at_a_text(run):
    whole = run.sample("The", 200)
    stop = whole[50:52]
    expected = "The" + whole[3:].partition(stop)[0]
    assert len(expected) <= 50
    assert run.sample("The", 200, stop=stop) == run.sample("The", 200, stop=["%", stop]) == expected


def test_evaluation_is_that_of_the_command(run, tmp_path, capsys):
    text = "it's a name, and here is the statement. " * 3
    (tmp_path / "other.txt").write_text(text)
    for stride in (None, 4):
        flags = [] if stride is None else ["--stride", str(stride)]
        assert main(["eval", "--run", str(run.folder), "--data", str(tmp_path / "other.txt"), "--json", *flags]) == 0
        about = json.loads(capsys.readouterr().out)
        found = run.evaluate(text, stride)
        assert (about["loss"], about["bits_per_byte"]) == (found.loss, found.bits_per_byte)
        assert len(found.losses) == about["tokens"] == len(text) - 1


def test_it_is_loaded_and_exported(run, tmp_path):
    run.save_pretrained(tmp_path / "hf")
    for found in (gpt2.load(run.folder), gpt2.load(str(run.folder), best=True), gpt2.load(tmp_path / "hf")):
        assert found.sample("The", 20, temperature=0) == run.sample("The", 20, temperature=0)
        assert found.result is None


def test_what_cannot_be_is_refused(run, here, tmp_path):
    for settings, message in (
        ({"step": 3}, "train has no setting 'step'; did you mean 'steps'?"),
        ({"zzz": 3}, r"train has no setting 'zzz'$"),
        ({"steps": "3"}, "steps = '3' is str; it must be int"),
        ({"preset": "huge"}, "preset 'huge' is unknown"),
        ({"optimizer": "lion"}, "optimizer = 'lion' must be"),
    ):
        with pytest.raises(ConfigError, match=message):
            gpt2.train(**{"data": here / "my.txt", "out": tmp_path / "new", **settings})
    assert not (tmp_path / "new").exists()
    with pytest.raises(DataError, match="the prompt is empty"):
        run.sample("")
    with pytest.raises(DataError, match="is not among"):
        run.sample("The é")
    with pytest.raises(ConfigError, match="must be at least 0"):
        run.sample("The", -1)
    with pytest.raises(DataError, match="the text 'T' has 1 token; give at least 2"):
        run.evaluate("T")
    with pytest.raises(DataError, match="no text"):
        run.evaluate("")
    with pytest.raises(ConfigError, match=r"stride = 17 must be in 1\.\.16"):
        run.evaluate("The", 17)
    with pytest.raises(RunError, match="no such folder"):
        gpt2.load(tmp_path / "nowhere")


def refused(call, name, *arguments, **settings):
    with pytest.raises((ConfigError, DataError), match=name):
        call(*arguments, **settings)


@pytest.mark.parametrize("value", [None, 3, b"", 1.5, {}, ["a.txt", 3], [None], object(), []])
def test_a_text_that_is_none_is_refused(value, tmp_path):
    refused(gpt2.train, "data|text", data=value, out=tmp_path / "new", **SMALL)
    assert not (tmp_path / "new").exists()


def test_settings_of_the_wrong_type_are_refused(run, here, tmp_path):
    for name in ("out", "resume", "config", "no_plots", "accept_changes", "preset", "steps", "learning_rate", "tokenizer"):
        for value in (3j, b"x", np.zeros(2), [1], *["no"] * (name not in ("out", "tokenizer")), *[None] * (name == "steps")):
            refused(gpt2.train, name, **{**SMALL, "data": here / "my.txt", "out": tmp_path / "new", name: value})
    refused(gpt2.train, "'lr'; did you mean 'learning_rate'", lr=1)
    refused(gpt2.train, "'epochs'; training is counted in updates", epochs=1)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("call", ["sample", "stream"])
def test_sampling_refuses_what_cannot_be_before_it_begins(run, call):
    write = getattr(run, call)
    for name, values in {
        "seed": (-1, 1.5, None, "1"),
        "tokens": (2.5, "5", -1, None, True),
        "slide": (0, 1.5, None),
        "temperature": (None, "x", -1, np.zeros(2)),
        "stop": (None, 3, "", b"x", [3], ["x", ""]),
        "special": ("yes", None),
        "top_k": (0, "3", 2.5),
        "top_p": ("x", 2),
        "repetition_penalty": (None, 0),
        "prompt": (3, None, b"The", ["The"]),
    }.items():
        for value in values:
            refused(write, f"{name} = ", **{"prompt": "The", name: value})
    for name, near in (("topk", "top_k"), ("max_new_tokens", "tokens"), ("vocab_size", ""), ("temp", "temperature"), ("z", "")):
        refused(write, f"no setting '{name}'.*{near}", "The", **{name: 3})


def test_evaluation_and_loading_refuse_what_is_none(run):
    for text in (3, None, b"The", "The \udcff", ["The"]):
        refused(run.evaluate, "text = |U\\+DCFF", text)
    for stride in (1.5, "3", 0, True):
        refused(run.evaluate, "stride = ", "The", stride)
    for folder in (3, None, "", " ", b"x", []):
        refused(gpt2.load, "folder = ", folder)
        refused(run.save_pretrained, "folder = ", folder)
    refused(gpt2.load, "best = ", run.folder, best="yes")


def test_numbers_of_numpy_are_taken(run, here, tmp_path):
    sizes = {name: np.int32(value) for name, value in SMALL.items() if type(value) is int}
    given = {**SMALL, **sizes, "steps": np.int64(2), "learning_rate": np.float32(0.01), "vocab_size": np.int64(40)}
    found = gpt2.train(data=here / "my.txt", out=tmp_path / "run", **given)
    assert found.result.steps == 2
    assert found.model.config.vocab_size == 40
    assert found.sample("The", np.int64(5), np.float32(0)) == found.sample("The", 5, 0)
    assert found.evaluate("The name", np.int64(4)).loss == found.evaluate("The name", 4).loss


def test_the_package_stays_light():
    """`import gpt2` loads next to nothing; what a name needs comes when it is used."""
    code = "import sys, gpt2; print({m.partition('.')[0] for m in sys.modules} & {'numpy', 'argparse', 'tinygrad2'})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
