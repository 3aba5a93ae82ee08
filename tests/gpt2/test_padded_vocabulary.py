"""A model with more ids than its tokenizer has tokens: what it writes is tokens, whatever its logits say."""

import json

import numpy as np
import pytest
from small_runs import run_once

from gpt2.cli import main
from gpt2.errors import DataError
from gpt2.run.folder import load_model
from gpt2.tokenizers import BPETokenizer

SIZES = "--d-model 8 --num-layers 1 --num-heads 2 --max-seq-len 16 --eval-every 2 --no-plots --threads 1 --shards 1".split()  # noqa: SIM905


def towards_padding(model, tokens):
    """The ids that are no tokens are by far the likeliest."""
    model.lm_head.bias.data[tokens:] += 50


@pytest.fixture(scope="module")
def padded(tmp_path_factory, text):
    run, _, _ = run_once(tmp_path_factory.mktemp("padded") / "run", text, model={"vocab_size": 300, "max_seq_len": 32})
    model, tokenizer = run.load_model()
    towards_padding(model, tokenizer.vocab_size)
    run.save_model(model, 30)
    return run.folder


COMMANDS = {
    "sample": "sample --run {run} --prompt the --tokens 20",
    "greedy": "sample --run {run} --prompt the --tokens 20 --temperature 0",
    "cut": "sample --run {run} --prompt the --tokens 20 --top-k 2 --top-p 0.5 --min-p 0.1 --repetition-penalty 1.5",
    "several": "sample --run {run} --prompt the --tokens 20 --samples 2",
    "explain": "sample --run {run} --prompt the --tokens 20 --explain",
    "memorised": "eval --run {run} --memorised --tokens 10",
    "eval": "eval --run {run}",
    "inspect": "inspect {run} --prompt the --out {out}",
    "lab": "lab {run} --out {out}",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_writes_tokens(padded, tmp_path, text, command, monkeypatch, capsys):
    (tmp_path / "my.txt").write_text(text)
    monkeypatch.setattr("gpt2.commands.evaluate.text_of_run", lambda *_, **__: corpus(text))
    assert main(command.format(run=padded, out=tmp_path / "a.html").split()) == 0
    said = capsys.readouterr()
    assert "outside the vocabulary" not in said.out + said.err
    if "--explain" in command:  # what the model would rather have written is shown, as cut off
        assert said.out.count("(#") > 20


def corpus(text):
    from gpt2.text.corpora import Corpus

    return Corpus.of_text("test", text)


def test_in_python_too(padded):
    model, tokenizer = load_model(padded)
    ids = model.generate([0, 1], 50, temperature=1.0, vocab_size=tokenizer.vocab_size)
    assert ids.max() < tokenizer.vocab_size
    assert len(tokenizer.decode(ids)) == 52
    with pytest.raises(DataError, match="outside the vocabulary"):
        tokenizer.decode(model.generate([0, 1], 50, temperature=1.0))


def test_what_is_inspected_are_tokens(padded, tmp_path, capsys):
    assert main(["inspect", str(padded), "--prompt", "the", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    shown = [token for stage in about["lens"] for row in stage["likeliest"] for token, _ in row]
    assert shown
    assert not any(token.startswith("#") and len(token) > 1 for token in shown)
    assert all(0 <= p < 1e-10 for row in about["lens"][-1]["likeliest"] for _, p in row)  # as likely as they are, not more
    assert not any(found["token"].startswith("#1") for row in about["candidates"] for found in row)


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_a_vocabulary_that_is_larger_than_asked_for_is_trained_sampled_and_resumed(tmp_path, text, capsys, tokenizer):
    """By the same command, whether the text has as many tokens or not."""
    (tmp_path / "my.txt").write_text(text[:1500])
    out = tmp_path / "run"
    command = ["train", "--data", str(tmp_path / "my.txt"), "--out", str(out), "--tokenizer", tokenizer, *SIZES]
    command += ["--vocab-size", "2048", "--sample-tokens", "30"]
    assert main([*command, "--steps", "4"]) == 0
    said = capsys.readouterr()
    assert said.out.count("--- step") == 3
    assert ("the text has merges for" in said.err) == (tokenizer == "bpe")
    assert json.loads((out / "config.json").read_text())["model"]["vocab_size"] == 2048
    assert main([*command, "--steps", "6", "--resume", "--accept-changes"]) == 0
    assert main([*command, "--steps", "6", "--resume"]) == 0
    assert main(["sample", "--run", str(out), "--prompt", text[:2], "--tokens", "60"]) == 0
    assert (
        main(["train", "--init-from", str(out), *command[1:3], "--out", str(tmp_path / "on"), "--steps=2", "--no-plots"]) == 0
    )


def test_a_hugging_face_folder_with_a_padded_embedding(tmp_path, text, rng, capsys):
    """As it is made for a multiple of 64 rows."""
    tokenizer = BPETokenizer.train(text[:3000], 300)
    run, _, _ = run_once(
        tmp_path / "run",
        text[:3000],
        model={"vocab_size": 320, "tie_embeddings": True, "head_bias": False, "init": "gpt2"},
        tokenizer="byte",
    )
    model, _ = run.load_model()
    model.wte.weight.data[300:] = 40 * np.sign(model.ln_f.bias.data + rng.normal(0, 1e-3, model.config.d_model))
    model.ln_f.bias.data[:] = np.sign(model.wte.weight.data[300])
    model.save_pretrained(tmp_path / "hf")
    tokenizer.save_pretrained(tmp_path / "hf")
    (tmp_path / "my.txt").write_text(text[:3000])
    hf = str(tmp_path / "hf")
    capsys.readouterr()
    assert main(["sample", "--run", hf, "--prompt", "The ", "--tokens", "30", "--explain"]) == 0
    assert "(#3" in capsys.readouterr().out
    train = ["train", "--init-from", hf, "--data", str(tmp_path / "my.txt"), "--out", str(tmp_path / "on"), "--no-plots"]
    assert main([*train, "--steps=2", "--sample-tokens=30"]) == 0
