"""The commands as a user meets them: what they print, what they return, and one clear line for bad input."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from gpt2 import GPT2
from gpt2.cli import main
from gpt2.commands import bench
from gpt2.config import PRESETS, GPT2Config, TrainConfig
from gpt2.insight import benchmark

SHAPE = ["--d-model=16", "--num-layers=1", "--num-heads=2", "--max-seq-len=16"]
TINY = [*SHAPE, "--steps=6", "--eval-every=3", "--eval-windows=0", "--sample-tokens=10"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "my.txt").write_text(text)
    assert main(["train", "--no-plots", "--data", str(folder / "my.txt"), "--out", str(folder / "run"), *TINY]) == 0
    return folder / "run"


def test_train_ends_with_the_losses_the_folder_and_what_to_do_next(tmp_path, text, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.txt").write_text(text)
    for folder in ("runs/tiny-my", "runs/tiny-my-2"):
        assert main(["train", "--no-plots", "--data", "my.txt", *TINY]) == 0
        out = capsys.readouterr().out
        assert out.count("--- step") == 3
        for line in ("validation loss", "bigram baseline", "ln V", f"run folder: {folder}", f"gpt2 sample {folder}"):
            assert line in out
    command = next(line for line in out.splitlines() if "gpt2 sample" in line)
    assert subprocess.run(f"{sys.executable} -m {command}", shell=True, capture_output=True).returncode == 0


def test_sample_is_repeatable_and_goes_on_from_the_prompt(run, capsys):
    texts = []
    for seed in "001":
        assert main(["sample", "--run", str(run), "--prompt", "The ", "--tokens", "40", "--seed", seed]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith("The ")
    assert len(texts[0]) == 4 + 40 + 1


def test_a_prompt_longer_than_the_context_is_said_so(run, capsys):
    assert main(["sample", "--run", str(run), "--prompt", "The statement and the expression", "--tokens", "5"]) == 0
    assert "the prompt has 32 tokens: the model sees only the last 16, its context" in capsys.readouterr().err


def test_eval(run, tmp_path, text, capsys):
    assert main(["eval", "--run", str(run), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert about["loss"] == pytest.approx(rows[-1]["val_loss"], rel=1e-6)
    assert about["bigram"] < about["uniform"]
    (tmp_path / "other.txt").write_text(text[:500])
    assert main(["eval", "--run", str(run), "--data", str(tmp_path / "other.txt")]) == 0
    assert "499 tokens, 499 bytes, in all 32 windows of 16" in capsys.readouterr().out


def test_info(capsys):
    assert main(["info", "--preset", "small"]) == 0
    assert "163,087,441" in capsys.readouterr().out
    assert main(["info", "--preset", "small", "--tie-embeddings", "true", "--head-bias", "false", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_parameters"] == 124_439_808


@pytest.mark.parametrize("preset", ["tiny", pytest.param("gpt2", marks=pytest.mark.exhaustive)])
def test_gradcheck(capsys, preset):
    assert main(["gradcheck", "--preset", preset, "--d-model", "4", "--vocab-size", "5", "--max-seq-len", "3"]) == 0
    out = capsys.readouterr().out
    assert "h.1.mlp.c_proj.weight" in out
    assert float(out.split("worst relative error ")[1].split()[0]) <= 1e-6


def test_gradcheck_fast_is_faster_and_says_what_it_compared(capsys, monkeypatch):
    """At the same sizes, a fixed number of directions and not every entry."""
    loss, calls = GPT2.loss, []
    monkeypatch.setattr(GPT2, "loss", lambda *args: (calls.append(1), loss(*args))[1])
    evaluations = []
    for flags in (["--fast"], []):
        calls.clear()
        assert main(["gradcheck", "--num-layers", "1", *flags]) == 0
        evaluations.append(len(calls))
        first, *_, last = capsys.readouterr().out.splitlines()
        assert first.startswith("tiny at 1 layers, 2 heads, d_model 8, context 5, vocabulary 11; float64, ")
        what = "18 random directions through 1,115 entries" if flags else "1,115 entries"
        assert last.startswith(f"right: {what}, worst relative error ")
    assert evaluations[0] < evaluations[1] / 10
    assert main(["gradcheck", "--fast", "--num-layers", "1", "--d-model", "32", "--vocab-size", "65"]) == 0
    assert "(65, 32)" in capsys.readouterr().out


def test_gradcheck_fails_when_a_gradient_is_wrong(capsys, monkeypatch):
    from tinygrad2.kernels import reference

    right = reference.gelu_vjp
    monkeypatch.setattr(reference, "gelu_vjp", lambda g, tanh, x: right(g, tanh, x) * 1.001)
    assert main(["gradcheck", "--d-model", "2", "--vocab-size", "3", "--max-seq-len", "2", "--num-layers", "1"]) == 1
    assert "<- wrong at" in capsys.readouterr().out


def test_settings_come_from_a_file_and_flags_win(tmp_path, text, capsys):
    (tmp_path / "my.txt").write_text(text)
    (tmp_path / "my.toml").write_text('preset = "nanogpt-cpu"\nsteps = 99\nnum_heads = 1\n')
    arguments = ["--config", str(tmp_path / "my.toml"), "--data", str(tmp_path / "my.txt"), "--out", str(tmp_path / "run")]
    assert main(["train", "--no-plots", *arguments, *TINY]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["training"]["steps"] == 6
    assert config["model"]["tie_embeddings"] is True
    assert config["model"]["num_heads"] == 2


BAD = {
    "unknown command": ("fly", "there is no command 'fly'"),
    "unknown flag": ("train --stepz 3", "unknown argument '--stepz'; did you mean --steps?"),
    "unknown preset": ("train --preset huge", "invalid choice: 'huge'"),
    "wrong type": ("train --steps many", "'many' must be a whole number"),
    "not a boolean": ("train --tie-embeddings=maybe", "'maybe' must be true or false"),
    "heads": ("train --d-model 100 --num-heads 3", "d_model = 100 is not divisible by num_heads = 3"),
    "missing data": ("train --data {tmp}/nope.txt", "nope.txt: no such file"),
    "empty data": ("train --data {tmp}/empty.txt", "the file is empty"),
    "binary data": ("train --data {tmp}/binary.txt", "not UTF-8 text"),
    "short data": ("train --data {tmp}/short.txt", "5 tokens, 4 to train on and 1 to validate on"),
    "unwritable out": ("train --out {tmp}/short.txt/run", "short.txt is a file; give a folder"),
    "out holds a run": ("train --out {run}", "already holds a run"),
    "small vocabulary": ("train --vocab-size 3", "vocab_size = 3, but the text has"),
    "no such run": ("sample --run {tmp}/nope --prompt x", "no such folder"),
    "no model": ("sample --run {tmp}/half --prompt x", "holds no trained model: model.safetensors is missing"),
    "damaged model": ("eval --run {tmp}/damaged", "model.safetensors is not a safetensors file, or damaged"),
    "damaged config": ("eval --run {tmp}/config", "config.json is damaged"),
    "unknown character": ("sample --run {run} --prompt aé", "'é' (U+00E9) is not among the {characters} characters"),
    "empty prompt": ("sample --run {run} --prompt=", "is empty"),
    "temperature": ("sample --run {run} --prompt a --temperature -1", "temperature = -1.0 must not be negative"),
    "tokens": ("info --tokens 0", "--tokens 0 must be in 1..max_seq_len = 1024"),
    "tokens for the loss": ("eval --run {run} --tokens 5", "--tokens 5: is for --memorised"),
    "no tokens": ("eval --run {run} --memorised --tokens 0", "--tokens 0: must be at least 1"),
    "stride of copies": ("eval --run {run} --memorised --stride 3", "--memorised takes no --per-token and no --stride"),
    "empty stop": ("sample --run {run} --prompt a --stop=", '--stop "" is empty'),
    "empty prompt of the lab": ("lab {run} --prompt= --out {tmp}/lab.html", "give more text"),
    "no special token": ("sample {run} --prompt <|endoftext|> --special", "this tokenizer has no token <|endoftext|>"),
    "a run as a text": ("train {run}", "run is a run, not a text: --resume --out"),
    "a run as a text of its own": ("train {run} --resume --out {run}", "run is a run, not a text: --resume --out"),
    "runs as a text": ("train {tmp}/runs", "/runs/a), not texts: gpt2 runs "),
    "a folder of runs": ("eval {tmp}/runs", "runs: is not a run; it holds "),
    "a folder of runs to sample": ("sample {tmp}/runs --prompt x", "runs: is not a run; it holds "),
    "settings as a text": ("train {run}/config.json", "config.json holds settings, not a text: --config"),
    "model of a run": ("info {run} --d-model 8", "its model has its own settings: leave out d_model, or the run"),
    "config": ("train --config {tmp}/short.txt", "is not TOML"),
}


@pytest.mark.parametrize(("command", "message"), BAD.values(), ids=BAD)
def test_bad_input_gets_one_line_and_exit_code_2(command, message, tmp_path, run, text, capsys):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "short.txt").write_text("short")
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)) * 20)
    for name, file, content in [("half", None, b""), ("damaged", "model.safetensors", b"{"), ("config", "config.json", b"{")]:
        shutil.copytree(run, tmp_path / name)
        if file is None:
            (tmp_path / name / "model.safetensors").unlink()
            shutil.rmtree(tmp_path / name / "checkpoints")
        else:
            (tmp_path / name / file).write_bytes(content)
    shutil.copytree(run, tmp_path / "runs" / "a")
    (tmp_path / "runs" / "runs.png").touch()
    capsys.readouterr()
    try:
        code = main(command.format(tmp=tmp_path, run=run).split())
    except SystemExit as end:
        code = end.code
    assert code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert message.replace("{characters}", str(len(set(text)))) in output.err  # another Python's documentation has others


def test_info_of_a_run_is_that_of_its_model(run, capsys):
    for words in ([str(run)], ["--run", str(run)]):
        assert main(["info", *words, "--json"]) == 0
        about = json.loads(capsys.readouterr().out)
        config = json.loads((run / "config.json").read_text())
        assert about["config"] == config["model"]
        assert about["num_parameters"] == config["parameters"]


def test_a_pipe_that_closes_early_is_no_error():
    command = f"{sys.executable} -m gpt2 info --preset small | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env={**os.environ})
    assert done.stdout.startswith("small: 12 layers")
    assert done.stderr == ""


def test_help_shows_defaults(capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", "--help"])
    assert end.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "--weight-decay FLOAT AdamW: weight decay of the matrices (default 0.1)" in out


# -- values that begin with a dash


def test_a_text_that_begins_with_a_dash(run, tmp_path, capsys):
    """As every option that takes a value takes it, in one word or in two."""
    commands = {
        "prompt": ["sample", "--run", str(run), "--prompt", "-the", "--tokens", "3"],
        "words": ["sample", "--run", str(run), "--prompt", "--the -- cat", "--tokens", "3"],
        "only dashes": ["sample", "--run", str(run), "--prompt", "--", "--tokens", "3"],
        "a flag of argparse": ["sample", "--run", str(run), "--prompt", "-help", "--tokens", "3"],
        "stop": ["sample", "--run", str(run), "--stop", "-x", "--prompt", "the", "--stop", "--", "--tokens", "3"],
        "inspect": ["inspect", str(run), "--prompt", "-the", "--json"],
        "lab": ["lab", str(run), "--prompt", "-the", "--tokens", "2", "--out", str(tmp_path / "a.html")],
        "tokenize": ["tokenize", "--tokenizer", "byte", "--", "-the"],
    }
    for name, command in commands.items():
        assert main(command) == 0, name
        said = capsys.readouterr().out
        assert said.startswith(("-", "{")) or name in ("stop", "lab"), name


def test_files_that_begin_with_a_dash(run, tmp_path, text, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-my.txt").write_text(text[:3000])
    assert main(["train", "--no-plots", "--data", "-my.txt", "--out", "-run", *TINY]) == 0
    out = capsys.readouterr().out
    assert "gpt2 sample ./-run --prompt" in out
    assert "gpt2 eval ./-run\n" in out
    assert main(["eval", "--run", "-run", "--data", "-my.txt"]) == 0
    assert main(["tokenize", "--train", "-my.txt", "--vocab-size", "260", "--out", "-t.json"]) == 0
    assert main(["tokenize", "low", "--tokenizer", "-t.json"]) == 0
    assert main(["plot", str(run), "--out", "-p.png"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"-my.txt", "-run", "-t.json", "-p.png"}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sample --run {run} --prompt --tokens 5", "argument --prompt: expected one argument"),
        ("sample --run {run} --prompt --tokens=5", "argument --prompt: expected one argument"),
        ("sample --prompt x --run", "argument --run: expected one argument"),
        ("sample --run {run} --prompt x --seed -1", "'-1' must be a whole number"),
        ("sample --run {run} --prompt x --top-p -inf", "top_p = -inf must be in (0, 1]"),
        ("train --steps --data x", "argument --steps: expected one argument"),
        ("train --resume --stepz", "unknown argument '--stepz'; did you mean --steps?"),
        ("tokenize -the", "unknown argument '-the' (see gpt2 tokenize --help)"),
    ],
)
def test_a_value_that_is_missing_is_missed(run, command, message, capsys):
    try:
        code = main(command.format(run=run).split())
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    ["sample {run} --prompt-file=", "plot {run} --out=", "plot {run} --tensorboard=", "export {run} --out="]
    + [f"{verb} {{run}} --prompt low --out={value}" for verb in ("inspect", "lab") for value in ("", " ")],
)
def test_a_place_without_a_name_is_refused(run, command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main([word.replace("{run}", str(run)) for word in command.split(" ", 5)])
    assert "it is empty: give a name, or leave it out" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_run_by_two_names_is_one(run, capsys):
    assert main(["sample", str(run), "--run", f"{run}/", "--prompt", "low", "--tokens", "1"]) == 0


def test_more_samples_than_fit_are_refused(run, capsys):
    assert main(["sample", str(run), "--prompt", "low", "--samples", str(10**11)]) == 2
    assert "--samples 100000000000 takes more than " in capsys.readouterr().err


# -- the defaults that --help shows


def shown(command, capsys):
    """By flag, the default in the help of a command."""
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    parts = re.split(r" --([\w-]+) ", " ".join(capsys.readouterr().out.partition("options:")[2].split()))
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {name: default[1] for name, text in found.items() if (default := re.search(r"\(default ([^)]*)\)", text))}


@pytest.mark.parametrize("preset", PRESETS)
def test_help_shows_the_defaults_of_the_preset_that_is_given(preset, capsys):
    found, small = shown(f"train --preset {preset}", capsys), shown(f"gradcheck --preset {preset}", capsys)
    for kind in (GPT2Config, TrainConfig):
        for name, value in kind.of_preset(preset).items():
            assert name == "vocab_size" or found[name.replace("_", "-")] in (str(value), str(value).lower()), name
    assert small["num-layers"] == "2"
    assert small["tie-embeddings"] == found["tie-embeddings"]


def test_help_has_the_common_settings_first_in_the_width_that_there_is(capsys, monkeypatch):
    for columns in (80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit):
            main(["train", "--help"])
        out = capsys.readouterr().out
        assert max(map(len, out.splitlines())) < columns
        assert out.index("common settings:") < out.index("--learning-rate") < out.index("other settings of the model:")


def test_every_setting_that_info_offers_shows(capsys):
    """And no other is offered: dropout and init change nothing that it says."""
    other = {"vocab-size": "9", "max-seq-len": "9", "d-model": "24", "num-layers": "1", "num-heads": "1", "d-ff": "7"}
    other["architecture"] = "modern"
    offered = shown("info", capsys).keys() - {"tokens", "preset"}
    assert main(["info"]) == 0
    plain = capsys.readouterr().out
    for name in offered:
        value = other.get(name, "true" if name == "tie-embeddings" else "false")
        assert main(["info", "--preset", "small", f"--{name}", value]) == 0
        assert capsys.readouterr().out != plain, name
    assert offered == {*other, "bias", "tie-embeddings", "head-bias"}


def test_bench_offers_what_a_step_reads(capsys, monkeypatch):
    """Some of it only where a step goes wrong, or there are several processes."""
    names, read = {f.name for f in dataclasses.fields(TrainConfig)}, set()
    offered = {name.replace("-", "_") for name in shown("bench", capsys)} & names

    def spied(config, training, *rest):
        get = TrainConfig.__getattribute__
        monkeypatch.setattr(TrainConfig, "__getattribute__", lambda self, name: read.add(name) or get(self, name))
        with monkeypatch.context() as patch:
            patch.setattr(benchmark, "MATRIX", 8)
            return real(config, training, *rest)

    real = bench.benchmark
    monkeypatch.setattr(bench, "benchmark", spied)
    assert main("bench --steps 1 --warmup 0 --d-model 4 --num-heads 1 --num-layers 1 --max-seq-len 4".split()) == 0  # noqa: SIM905
    assert read & names <= offered
    assert offered - read == {
        "on_nonfinite",
        "on_spike",
        "distributed",
        "rank_timeout",
        "reduction",
        "wire",
    }


@pytest.mark.parametrize(
    ("flags", "optimizer", "rate"), [("", "muon", 8e-3), ("--zero true", "adamw", 2e-3), ("--optimizer adamw", "adamw", 2e-3)]
)
def test_bench_takes_the_step_that_a_training_with_the_same_flags_takes(flags, optimizer, rate, monkeypatch, capsys):
    taken = []
    monkeypatch.setattr(bench, "benchmark", lambda config, training, *rest: taken.append(training) or {})
    assert main(["bench", "--json", *flags.split()]) == 0
    assert (taken[0].optimizer, taken[0].learning_rate) == (optimizer, rate)


def test_help_shows_the_defaults_that_are_taken(tmp_path, text, capsys):
    """Of the preset that a command begins with, and of its own."""
    assert main(["gradcheck", "--num-layers", "1", "--d-model", "4", "--vocab-size", "3"]) == 0
    capsys.readouterr()
    found = shown("gradcheck", capsys)
    for name, value in {"vocab-size": 11, "max-seq-len": 5, "d-model": 8, "num-layers": 2, "num-heads": 2}.items():
        assert found[name] == str(value)
    found = shown("train", capsys)
    for name, value in {"steps": 2000, "batch-size": 12, "learning-rate": 0.008, "d-model": 128, "num-layers": 4}.items():
        assert found[name] == str(value)
    assert shown("bench", capsys)["steps"] == "20"
    assert shown("info", capsys)["d-model"] == "768"
    (tmp_path / "my.txt").write_text(text)
    train = ["train", "--no-plots", "--data", str(tmp_path / "my.txt"), "--out", str(tmp_path / "run"), *TINY]
    assert main(train) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    for name, value in (config["training"] | config["model"]).items():
        flag = name.replace("_", "-")
        others = ("data", "vocab_size", "init_from", "d_ff", "warmup_steps", "save_every")  # the last follow what is in TINY
        if not any(word.startswith(f"--{flag}=") for word in TINY) and name not in others:
            assert found[flag] == (str(value).lower() if isinstance(value, bool) else str(value)), name


@pytest.mark.parametrize(
    ("flags", "optimizer", "rate", "init"),
    [
        ((), "muon", 8e-3, "zero"),
        (("--optimizer", "muon"), "muon", 8e-3, "zero"),
        (("--optimizer", "adamw"), "adamw", 2e-3, "xavier"),
        (("--optimizer", "sgd"), "sgd", 2e-3, "xavier"),
        (("--zero", "true"), "adamw", 2e-3, "xavier"),
        (("--init-from", "before"), "adamw", 2e-3, "zero"),
        (("--init-from", "before", "--preset", "tiny"), "muon", 8e-3, "zero"),
        (("--preset", "tiny", "--optimizer", "adamw"), "adamw", 8e-3, "zero"),
    ],
)
def test_the_settings_that_are_not_given_go_with_the_optimizer(tmp_path, text, monkeypatch, flags, optimizer, rate, init):
    """Rates at which Muon learns are too high for AdamW, and for weights that have learned already."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.txt").write_text(text)
    if "before" in flags:
        assert main(["train", "my.txt", "--no-plots", "--out", "before", *TINY]) == 0
    sizes = [flag for flag in TINY if not flag.startswith(("--d-model", "--num-", "--max-seq"))] if "before" in flags else TINY
    assert main(["train", "my.txt", "--no-plots", "--out", "run", *sizes, *flags]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    found = config["training"]["optimizer"], config["training"]["learning_rate"], config["model"]["init"]
    assert found == (optimizer, rate, init)
