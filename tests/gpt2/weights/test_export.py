"""`gpt2 export`: what transformers loads from the folder writes the same text, whatever the model and the tokenizer are."""

import functools
import json
import re

import numpy as np
import pytest
from small_runs import run_once

import gpt2
from gpt2 import GPT2, GPT2Config
from gpt2.cli import main
from gpt2.errors import RunError
from gpt2.run.folder import load_model
from gpt2.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer
from gpt2.tokenizers.base import END_OF_TEXT

ODD = "\n\t  a\r\n é\u0301 \u200d🙂👩\u200d💻 中 \u2028'll \x00\x7f"
"""White space of many kinds, combining marks, a zero-width joiner, an emoji of three characters, a contraction, control."""

TEXT = "The statement is a name, and it's here.\n\n" * 60 + ODD

TOKENIZERS = {
    "char": lambda: CharTokenizer.train(TEXT),
    "byte": ByteTokenizer,
    "bpe": lambda: BPETokenizer.train(TEXT, 300),
    "gpt2": BPETokenizer.gpt2,
}
OPENAI = {"tie_embeddings": True, "head_bias": False}
MODELS = {"default": {}, "tied": OPENAI, "no bias": {"bias": False, "head_bias": False}, "padded": {"padding": 7}}
MORE = {
    "tied with a head bias": {"tie_embeddings": True},
    "a head bias alone": {"bias": False},
    "tied and padded": {**OPENAI, "padding": 7},
    "no head bias": {"head_bias": False},
}
CASES = [pytest.param(kind, model, id=f"{kind}-{name}") for kind in TOKENIZERS for name, model in MODELS.items()]
CASES += [pytest.param("char", model, id=f"char-{name}") for name, model in MORE.items()]


@functools.cache
def tokenizer_of(kind):
    return TOKENIZERS[kind]()


def model_of(tokenizer, padding=0, **settings):
    """Of random weights, whose head bias matters and, where there are ids without a token, prefers these."""
    shape = {"max_seq_len": 32, "d_model": 16, "num_layers": 2, "num_heads": 2}
    model = GPT2(GPT2Config(vocab_size=tokenizer.vocab_size + padding, **shape, **settings)).eval()
    rng = np.random.default_rng(1)
    for p in model.parameters():
        p.data = rng.normal(0, 0.5, p.shape).astype(np.float32)
    if padding and model.lm_head.bias is not None:
        model.lm_head.bias.data[-padding:] += 50
    return model


@pytest.mark.oracle
@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_transformers_writes_the_same_text(transformers, tmp_path, kind, settings, monkeypatch, capsys):
    import torch

    tokenizer = tokenizer_of(kind)
    ours, out = model_of(tokenizer, **settings), tmp_path / "out"
    monkeypatch.setattr("gpt2.commands.export.given_model", lambda args: (ours, tokenizer))
    monkeypatch.setattr("gpt2.commands.export.card", lambda *about: "")  # of no run
    assert main(["export", "--run", "run", "--out", str(out)]) == 0
    assert ("now part of its matrix" in capsys.readouterr().out) == ("head_bias" not in settings)
    reader = transformers.AutoTokenizer.from_pretrained(out)
    theirs, about = transformers.AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not any(about.values()), about
    assert theirs.config.vocab_size == len(reader) == tokenizer.vocab_size
    assert theirs.config.eos_token_id == reader.eos_token_id == theirs.generation_config.eos_token_id == tokenizer.end_of_text

    for text in (ODD, "The statement", " name,  and\n", "\n", " ", "T"):
        ids = tokenizer.encode(text).tolist()
        given = reader(text, return_tensors="pt")
        assert given["input_ids"].tolist() == [ids]
        assert set(given) == {"input_ids", "attention_mask"}
        assert reader.decode(ids) == text

    ids = tokenizer.encode("The st")
    logits = theirs(torch.tensor(ids)[None]).logits[0].detach().numpy()
    np.testing.assert_allclose(logits, ours(ids).data[:, : tokenizer.vocab_size], atol=2e-5)

    written = ours.generate(ids, 20, vocab_size=tokenizer.vocab_size)
    if tokenizer.end_of_text in written:
        written = written[: written.tolist().index(tokenizer.end_of_text) + 1]
    given = reader("The st", return_tensors="pt")
    found = theirs.generate(**given, max_new_tokens=20, do_sample=False, pad_token_id=0)[0].tolist()
    assert found == written.tolist()
    assert reader.decode(found) == tokenizer.decode(written)
    again, same = load_model(out)
    np.testing.assert_array_equal(again.generate(ids, 20), ours.generate(ids, 20, vocab_size=tokenizer.vocab_size))
    assert same.encode(ODD).tolist() == tokenizer.encode(ODD).tolist()


@pytest.mark.oracle
def test_theirs_stops_at_the_end_of_a_text(transformers, tmp_path):
    tokenizer = ByteTokenizer()
    ours = model_of(tokenizer)
    ours.lm_head.bias.data[tokenizer.end_of_text] = 50
    ours.save_pretrained(tmp_path, tokenizer)
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    found = theirs.generate(**reader("ab", return_tensors="pt"), max_new_tokens=20, do_sample=False, pad_token_id=0)
    assert found.tolist() == [[97, 98, 256]]
    assert reader.decode(found[0]) == "ab" + END_OF_TEXT
    assert reader.decode(found[0], skip_special_tokens=True) == "ab"
    assert reader("a" + END_OF_TEXT)["input_ids"] == tokenizer.encode("a" + END_OF_TEXT, special=True).tolist()


@pytest.mark.oracle
def test_a_character_that_is_not_in_the_vocabulary_is_an_error_there_too(transformers, tmp_path):
    model_of(tokenizer := CharTokenizer.train("abc")).save_pretrained(tmp_path, tokenizer)
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert reader("cab")["input_ids"] == [2, 0, 1]
    with pytest.raises(Exception, match="WordLevel error: Missing"):
        reader("cabd")
    reader.save_pretrained(tmp_path / "again")
    with pytest.raises(Exception, match="WordLevel error: Missing"):
        transformers.AutoTokenizer.from_pretrained(tmp_path / "again")("cabd")


# -- the head bias


@pytest.mark.parametrize("gains", [(1, 1, 1, 1), (1e-3, 2, -5, 40), (0, 1, 2, 3), (0, 0, -1, 2), (0, 0, 0, 0)])
@pytest.mark.parametrize("settings", [{}, {"tie_embeddings": True}, {"bias": False}])
def test_a_head_without_bias_gives_the_same_logits(tmp_path, rng, settings, gains):
    """For many more tokens than the model is wide: what no change of the layer norm alone can do."""
    model = GPT2(GPT2Config(vocab_size=90, max_seq_len=16, d_model=8, num_layers=2, num_heads=2, **settings)).eval()
    for p in model.parameters():
        p.data = rng.normal(0, 0.7, p.shape).astype(np.float32)
    model.ln_f.weight.data = np.array([*gains, *gains], np.float32)
    model.save_pretrained(tmp_path)
    again = GPT2.from_pretrained(tmp_path)
    assert not again.config.head_bias
    ids = rng.integers(0, 90, (4, 16))
    np.testing.assert_allclose(again(ids).data, model(ids).data, atol=5e-5, rtol=1e-5)
    assert abs(model.lm_head.bias.data).max() > 1


def test_a_bias_of_zero_leaves_the_head_tied(tmp_path):
    model = GPT2(GPT2Config(vocab_size=9, max_seq_len=4, d_model=4, num_layers=1, num_heads=1, tie_embeddings=True))
    model.save_pretrained(tmp_path)
    assert GPT2.from_pretrained(tmp_path).config.tie_embeddings


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["lm_head.bias", "lm_head.weight", "ln_f.bias", "ln_f.weight"])
def test_a_model_whose_training_diverged_is_refused(tmp_path, name, value):
    model = model_of(CharTokenizer.train("abc"))
    dict(model.named_parameters())[name].data[0] = value
    with pytest.raises(RunError, match="entries that are NaN or infinite"):
        model.save_pretrained(tmp_path)


def test_a_tokenizer_that_is_too_large_is_refused(tmp_path):
    model = model_of(CharTokenizer.train("abc"))
    with pytest.raises(RunError, match="the tokenizer has 257 tokens, the model only 3"):
        model.save_pretrained(tmp_path / "out", ByteTokenizer())
    assert not (tmp_path / "out").exists()


# -- the tokenizer of a character model


def hugging_face(tmp_path, **changes):
    saved = CharTokenizer.train("ab\n").to_hugging_face() | changes
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(saved))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "its 'normalizer' is {'type': 'Lowercase'}"),
        ({"pre_tokenizer": None}, "its 'pre_tokenizer' is None"),
        ({"added_tokens": [{"id": 3, "content": "x"}]}, "its 'added_tokens' is"),
        ({"model": {"type": "WordLevel", "vocab": {"a": 0, "bc": 1}, "unk_token": "a"}}, "its 'model' is"),
        ({"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 2}, "unk_token": "<|unknown|>"}}, "its 'model' is"),
        ({"model": {"type": "WordLevel", "vocab": {"a": "0"}, "unk_token": "<|unknown|>"}}, "its 'model' is"),
        ({"model": {"type": "WordLevel", "vocab": 3}}, "its vocabulary is not an object"),
        ({"model": {"type": "WordLevel", "vocab": {}, "unk_token": "<|unknown|>"}}, "no characters"),
    ],
)
def test_another_list_of_words_is_refused(tmp_path, changes, message):
    from gpt2.tokenizers import load_tokenizer

    path = hugging_face(tmp_path, **changes)
    with pytest.raises(RunError) as error:
        load_tokenizer(path)
    assert str(error.value).startswith(f"{path} is not a tokenizer: ")
    assert message in str(error.value)


# -- run folders


@pytest.mark.parametrize("settings", [{}, OPENAI, {"bias": False, "vocab_size": 90}])
def test_a_run_folder_is_read_like_any_other(tmp_path, settings):
    run, _, _ = run_once(tmp_path / "run", TEXT, settings, steps=2, eval_every=2, ema_decay=0.5)
    expected, _ = run.load_model()
    found = GPT2.from_pretrained(run.folder)
    assert found.config == expected.config
    for name, array in expected.state_dict().items():
        np.testing.assert_array_equal(found.state_dict()[name], array)
    assert GPT2.from_pretrained(run.folder, dropout=0.5).config.dropout == 0.5


def test_a_run_that_has_not_ended_is_not_read_in_silence(tmp_path):
    run, _, _ = run_once(tmp_path / "run", TEXT, steps=2, eval_every=2)
    run_once(run.folder, TEXT, steps=4, eval_every=2, resume=True)
    weights = run.model.read_bytes()
    GPT2.from_pretrained(run.folder)
    run_once(run.folder, TEXT, steps=6, eval_every=2, resume=True)
    run.model.write_bytes(weights)
    with pytest.raises(RunError, match=r"its training went on to step-00000006\.safetensors; gpt2\.load takes"):
        GPT2.from_pretrained(run.folder)
    run.model.unlink()
    with pytest.raises(RunError, match=r"its training has not ended"):
        GPT2.from_pretrained(run.folder)


@pytest.mark.parametrize("change", [{"num_heads": 1}, {"vocab_size": 10**9}, {"d_model": "x"}, {"what": 1}])
def test_a_run_whose_description_was_changed(tmp_path, change):
    run, _, _ = run_once(tmp_path / "run", TEXT, steps=1)
    about = json.loads(run.config.read_text())
    run.config.write_text(json.dumps({**about, "model": {**about["model"], **change}}))
    with pytest.raises(RunError, match=r"config\.json is (not the one|damaged)"):
        GPT2.from_pretrained(run.folder)


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["bpe", "gpt2"])
def test_transformers_reads_a_run_folder_of_their_architecture(transformers, tmp_path, kind):
    """Others lack what their config.json must have, so that they are refused."""
    tokenizer_of(kind).save(tmp_path / "tokenizer.json")
    kept = {"tokenizer": str(tmp_path / "tokenizer.json"), "steps": 2, "eval_every": 2, "sample_tokens": 0}
    run, _, _ = run_once(tmp_path / "run", TEXT, OPENAI, **kept)
    model, tokenizer = load_model(run.folder)
    reader = transformers.AutoTokenizer.from_pretrained(run.folder)
    theirs, about = transformers.AutoModelForCausalLM.from_pretrained(run.folder, output_loading_info=True)
    assert not any(about.values()), about
    given = reader("The st", return_tensors="pt")
    found = theirs.generate(**given, max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)[0].tolist()
    assert found == model.generate(tokenizer.encode("The st"), 8).tolist()
    assert theirs.config.eos_token_id == tokenizer.end_of_text
    for settings in ({}, {"tie_embeddings": True}, {**OPENAI, "bias": False}):
        other, _, _ = run_once(tmp_path / f"other{len(settings)}", TEXT, settings, steps=1, sample_tokens=0)
        with pytest.raises(ValueError, match="model_type"):
            transformers.AutoModelForCausalLM.from_pretrained(other.folder)


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_a_run_is_not_exported_into_itself(tmp_path, text, tokenizer):
    run, *_ = run_once(tmp_path / "run", text[:6000], steps=2, sample_tokens=0, tokenizer=tokenizer)
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    found = gpt2.load(run.folder)
    saves = (found.save_pretrained, found.model.save_pretrained, found.tokenizer.save_pretrained)
    for save in saves:
        with pytest.raises(RunError, match=re.escape(f"{run.folder}: is a run, which writing there would destroy")):
            save(run.folder)
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before
    for save in saves * 2:  # what was written so before is replaced
        save(tmp_path / "theirs")
