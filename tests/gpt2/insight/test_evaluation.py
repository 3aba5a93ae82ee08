"""How well a model predicts: per token, in overlapping windows, per byte; what it repeats; and models that come and go."""

import hashlib
import json
import math
import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2 import GPT2, GPT2Config
from gpt2.cli import main
from gpt2.insight.evaluation import Evaluation, coloured, evaluate, longest_match
from gpt2.run.folder import load_model
from gpt2.tokenizers import ByteTokenizer
from gpt2.training.shards import Shards
from tinygrad2 import ops

TINY = "--steps=6 --eval-every=3 --d-model=16 --num-layers=1 --num-heads=2 --max-seq-len=16 --sample-tokens=0".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def model():
    return GPT2(GPT2Config(vocab_size=257, max_seq_len=8, d_model=8, num_layers=1, num_heads=2)).eval()


@pytest.mark.parametrize("stride", [1, 3, 8])
@pytest.mark.parametrize("length", [2, 8, 9, 10, 30])
def test_every_token_is_predicted_once_from_the_window_it_is_first_in(model, rng, stride, length):
    ids = rng.integers(0, 257, length)
    with Shards(1, 1, 1) as shards:
        found = evaluate(model, ByteTokenizer(), ids, stride, shards)
    assert found.losses.shape == (length - 1,)
    for t in range(1, length):
        k = max(0, math.ceil((t - 8) / stride))  # the first window k that reaches target t
        logits = model(ids[k * stride : t]).data[-1:]
        assert found.losses[t - 1] == pytest.approx(ops.cross_entropy(logits, ids[t : t + 1]).item(), rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(found.losses.mean()))


def test_bits_per_byte_count_bytes_of_text():
    ids = np.array([65, *"é€".encode(), 256, 66])
    lengths = 2 + 3 + 0 + 1  # end-of-text is no text
    with Shards(1, 1, 1) as shards:
        model = GPT2(GPT2Config(vocab_size=257, max_seq_len=8, d_model=8, num_layers=1, num_heads=2)).eval()
        found = evaluate(model, ByteTokenizer(), ids, 8, shards)
    assert found.bytes == lengths
    assert found.bits_per_byte == pytest.approx(found.losses.sum() / math.log(2) / lengths)


def test_colours_are_those_of_the_losses_and_the_text_is_whole():
    ids = np.array(list("aé\n€".encode()))
    shown = "".join(coloured(ByteTokenizer(), Evaluation(ids, np.array([9.0, 0.1, 0.1, 9.0, 9.0, 2.5]), 6)))
    plain = shown
    for colour in (22, 130, 160):
        plain = plain.replace(f"\033[97;48;5;{colour}m", "")
    assert plain.replace("\033[0m", "") == "aé\n€"
    assert "\033[97;48;5;22mé" in shown
    assert "\033[97;48;5;130m€" in shown
    assert "m\n" in shown  # no colour runs over the end of a line


@given(st.text("ab", max_size=12), st.lists(st.text("ab", max_size=9), max_size=6))
def test_the_longest_match(sample, pieces):
    text = "".join(pieces)
    parts = {sample[i:j] for i in range(len(sample) + 1) for j in range(i, len(sample) + 1)}
    found = longest_match(sample, pieces)
    assert found in text
    assert found in sample
    assert len(found) == max(len(part) for part in parts if part in text)


# -- the commands


@pytest.fixture(scope="module")
def trained(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "my.txt").write_text(text[:6000])
    assert main(["train", "--no-plots", "--data", str(folder / "my.txt"), "--out", str(folder / "run"), *TINY]) == 0
    openai = ["--tie-embeddings=true", "--head-bias=false", "--init=gpt2", "--tokenizer=bpe", "--vocab-size=300"]
    assert main(["train", "--no-plots", "--data", str(folder / "my.txt"), "--out", str(folder / "bpe"), *TINY, *openai]) == 0
    return folder


def test_eval_as_json_and_in_words(trained, capsys):
    command = ["eval", "--run", str(trained / "bpe"), "--data", str(trained / "my.txt")]
    assert main([*command, "--json", "--per-token"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert main([*command, "--json", "--stride", "4"]) == 0
    overlapping = json.loads(capsys.readouterr().out)
    assert whole["tokens"] == overlapping["tokens"] == len(whole["per_token"])
    assert whole["loss"] != overlapping["loss"]
    assert np.mean([nats for _, nats in whole["per_token"]]) == pytest.approx(whole["loss"], rel=1e-4)
    assert whole["bits_per_byte"] == pytest.approx(whole["loss"] * whole["tokens"] / whole["bytes"] / math.log(2))
    assert main(command) == 0
    assert f"{whole['bits_per_byte']:.4f} bits per byte" in capsys.readouterr().out
    assert main([*command, "--per-token"]) == 0  # no terminal: lines
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == whole["tokens"]
    assert float(lines[0].split("\t")[0]) == pytest.approx(whole["per_token"][0][1], abs=1e-4)
    assert main([*command, "--stride", "17"]) == 2
    assert "--stride 17 must be in 1..16" in capsys.readouterr().err


def test_another_text_stands_beside_baselines_too(trained, tmp_path, capsys):
    """Those of the text that the run learned from, as long as it is there; else what any model has to beat."""
    shutil.copytree(trained / "run", tmp_path / "run")
    (tmp_path / "other.txt").write_text((trained / "my.txt").read_text()[3000:3400])
    command = ["eval", str(tmp_path / "run"), "--data", str(tmp_path / "other.txt")]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert found["uniform"] == pytest.approx(math.log(config["model"]["vocab_size"]))
    assert found["bigram"] < found["unigram"] < found["uniform"]
    assert main(command) == 0
    assert f"bigram baseline {found['bigram']:.4f}\n" in capsys.readouterr().out
    config["training"]["data"] = config["corpus"]["path"] = "nowhere.txt"
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    assert main([*command, "--json"]) == 0
    left = json.loads(capsys.readouterr().out)
    of_the_text = {"unigram", "bigram", "trigram", "gzip", "xz"}
    assert left == {name: value for name, value in found.items() if name not in of_the_text}


def test_what_the_model_repeats(trained, capsys):
    assert main(["eval", "--run", str(trained / "run"), "--memorised", "--tokens", "40", "--json"]) == 0
    text = (trained / "my.txt").read_text()
    samples = json.loads(capsys.readouterr().out)["samples"]
    assert len(samples) == 5
    assert all(0 < len(sample["match"]) <= sample["characters"] == 40 and sample["match"] in text for sample in samples)


def test_a_text_that_has_changed_is_not_the_runs(trained, tmp_path, capsys, text):
    shutil.copytree(trained / "run", run := tmp_path / "run")
    (tmp_path / "my.txt").write_text(text[:6000])
    about = json.loads((run / "config.json").read_text())
    about["training"]["data"] = about["corpus"]["path"] = str(tmp_path / "my.txt")
    (run / "config.json").write_text(json.dumps(about))
    assert main(["eval", "--run", str(run)]) == 0
    (tmp_path / "my.txt").write_text(text[:5998] + text[5999] + text[5998])
    now = hashlib.sha256((tmp_path / "my.txt").read_bytes()).hexdigest()
    capsys.readouterr()
    for flags in ([], ["--best"], ["--memorised"], ["--memorised", "--data", str(tmp_path / "my.txt")]):
        assert main(["eval", "--run", str(run), *flags]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"its sha256 is {now}, and was {about['corpus']['sha256']}; " in line
        given = "--data" in flags  # one fix
        assert line.endswith("evaluates another text, without --memorised" if given else "; --data FILE says where it is now")
        assert line.count("--data") == 1 + given
    assert main(["eval", "--run", str(run), "--data", str(tmp_path / "my.txt")]) == 0
    assert main(["eval", "--run", str(run), "--memorised", "--tokens", "5", "--data", str(trained / "my.txt")]) == 0
    capsys.readouterr()
    assert main(["eval", "--run", str(run), "--data", ""]) == 2
    assert "is not a text" in capsys.readouterr().err


def test_an_exported_model_is_the_model(trained, tmp_path, capsys):
    assert main(["export", "--run", str(trained / "bpe"), "--out", str(tmp_path / "hf")]) == 0
    names = {
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
        "merges.txt",
    }
    assert {path.name for path in (tmp_path / "hf").iterdir()} == names
    (model, tokenizer), (other, other_tokenizer) = load_model(trained / "bpe"), load_model(tmp_path / "hf")
    ids = tokenizer.encode("The statement")
    np.testing.assert_array_equal(other_tokenizer.encode("The statement"), ids)
    np.testing.assert_allclose(other(ids).data, model(ids).data, atol=1e-5)
    assert main(["export", "--run", str(trained / "bpe"), "--out", str(tmp_path / "hf")]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert main(["sample", "--run", str(tmp_path / "hf"), "--prompt", "The", "--tokens", "5", "--samples", "2"]) == 0
    out = capsys.readouterr().out
    assert "--- seed 0\nThe" in out
    assert "--- seed 1\nThe" in out
    assert main(["eval", "--run", str(tmp_path / "hf")]) == 2
    assert "is not a run, and names no text: give --data\n" in capsys.readouterr().err
    assert main(["eval", str(tmp_path / "hf"), "--memorised", "--data", str(trained / "my.txt")]) == 2
    assert "does not say what it was trained on: leave it out\n" in capsys.readouterr().err
    assert main(["eval", str(tmp_path / "hf"), "--data", str(trained / "my.txt")]) == 0
    assert "  uniform baseline " in capsys.readouterr().out


def test_a_head_bias_is_not_dropped_silently(trained, tmp_path, capsys):
    assert main(["export", "--run", str(trained / "run"), "--out", str(tmp_path / "hf")]) == 0
    assert "the head's bias is now part of its matrix" in capsys.readouterr().out
    (model, tokenizer), (other, _) = load_model(trained / "run"), load_model(tmp_path / "hf")
    ids = tokenizer.encode("The statement")
    assert model.lm_head.bias.data.any()
    assert not other.config.head_bias
    np.testing.assert_allclose(other(ids).data, model(ids).data, atol=1e-5)


def test_training_goes_on_from_another_model(trained, tmp_path, capsys):
    flags = ["--init-from", str(trained / "bpe"), "--data", str(trained / "my.txt"), "--steps=2", "--sample-tokens=0"]
    assert main(["train", "--no-plots", "--out", str(tmp_path / "run"), *flags]) == 0
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    last = json.loads((trained / "bpe" / "metrics.jsonl").read_text().splitlines()[-1])
    assert first["val_loss"] == pytest.approx(last["val_loss"], rel=1e-5)
    assert main(["train", "--out", str(tmp_path / "x"), *flags, "--d-model", "32"]) == 2
    assert "d_model = 16, not 32" in capsys.readouterr().err
    assert main(["train", "--out", str(tmp_path / "x"), *flags, "--tokenizer", "byte"]) == 2
    assert "brings its tokenizer" in capsys.readouterr().err


def test_sample_explains_and_stops(trained, capsys):
    command = ["sample", "--run", str(trained / "run"), "--prompt", "The ", "--tokens", "12"]
    assert main([*command, "--explain", "--top-k", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13
    for line in lines[1:]:
        assert "from     3 of" in line
        assert len(re.findall(r"\d%", line)) == 3 + 5
        assert len(re.findall(r"\d%\)", line)) == 2
    assert main(command) == 0
    text = capsys.readouterr().out
    stop = text[8:10]
    assert main([*command, "--stop", stop]) == 0
    assert capsys.readouterr().out == text[: text.index(stop, 4)] + "\n"
