"""Weights in and out of Hugging Face folders, and what becomes of damaged files."""

import json
import os
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from gpt2 import GPT2, GPT2Config
from gpt2.cli import main
from gpt2.errors import RunError
from gpt2.run.folder import load_model

OPENAI = {"tie_embeddings": True, "head_bias": False, "init": "gpt2"}
SHAPE = {"vocab_size": 13, "max_seq_len": 8, "d_model": 8, "num_layers": 2, "num_heads": 2, **OPENAI}


def random_model(rng, **settings):
    model = GPT2(GPT2Config(**{**SHAPE, **settings})).eval()
    for p in model.parameters():
        p.data = rng.normal(0, 0.5, p.shape).astype(np.float32)
    return model


def rewrite(folder, change):
    """Replace the weights of a folder by `change` of them, with no fingerprint, as another program would."""
    path = folder / "model.safetensors"
    weights = dict(safetensors.numpy.load_file(path))
    safetensors.numpy.save_file(change(weights), path)


@pytest.fixture
def folder(tmp_path, rng):
    random_model(rng).save_pretrained(tmp_path / "hf")
    return tmp_path / "hf"


# -- against transformers


SIZES = [
    {"vocab_size": 99, "n_positions": 40, "n_embd": 48, "n_layer": 3, "n_head": 4},
    {"vocab_size": 7, "n_positions": 24, "n_embd": 16, "n_layer": 1, "n_head": 1},
    {"vocab_size": 300, "n_positions": 64, "n_embd": 40, "n_layer": 2, "n_head": 5, "n_inner": 56},
]


@pytest.mark.oracle
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("shards", [False, True])
def test_models_of_transformers_are_read(transformers, tmp_path, sizes, shards, rng):
    import torch

    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(bos_token_id=0, eos_token_id=0, **sizes)).eval()
    for p in theirs.parameters():
        p.data.normal_(0, 0.3)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB" if shards else "5GB")
    assert (tmp_path / "model.safetensors").exists() != (shards and sizes["n_embd"] > 16)
    ids = rng.integers(0, sizes["vocab_size"], (2, 20))
    expected = theirs(torch.tensor(ids)).logits.detach().numpy()
    written = theirs.generate(
        torch.tensor(ids[:, :4]),
        attention_mask=torch.ones(2, 4),
        max_new_tokens=20,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    for settings in ({}, {"tie_embeddings": False, "head_bias": True}):
        ours = GPT2.from_pretrained(tmp_path, **settings)
        np.testing.assert_allclose(ours(ids).data, expected, atol=1e-4)
        np.testing.assert_array_equal(ours.generate(ids[:, :4], 20), written.numpy())


@pytest.mark.oracle
@pytest.mark.parametrize(
    "settings", [{}, {"bias": False}, {"tie_embeddings": False}, {"d_ff": 24, "num_heads": 4, "dropout": 0.1}]
)
def test_transformers_reads_ours(transformers, tmp_path, rng, settings):
    import torch

    ours = random_model(rng, **settings)
    ours.save_pretrained(tmp_path)
    theirs, about = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(about.values()), about
    ids = rng.integers(0, 13, (2, 8))
    np.testing.assert_allclose(ours(ids).data, theirs.eval()(torch.tensor(ids)).logits.detach().numpy(), atol=1e-4)
    again = GPT2.from_pretrained(tmp_path)
    assert again.config == GPT2Config(**{**SHAPE, **settings, "bias": True})
    np.testing.assert_allclose(again(ids).data, ours(ids).data, atol=1e-5)


# -- what a folder may look like


def test_a_prefix_a_mask_and_a_copy_of_the_tied_head_make_no_difference(folder, rng):
    ids = rng.integers(0, 13, (2, 8))
    expected = GPT2.from_pretrained(folder)(ids).data

    def change(weights):
        weights = {name.removeprefix("transformer."): array for name, array in weights.items()}
        mask = {"h.0.attn.bias": np.ones((1, 1, 8, 8), np.float32), "h.1.attn.masked_bias": np.array(-1e4, np.float32)}
        return {**weights, **mask, "lm_head.weight": weights["wte.weight"].copy()}

    rewrite(folder, change)
    np.testing.assert_array_equal(GPT2.from_pretrained(folder)(ids).data, expected)


@pytest.mark.parametrize("kept", ["wte.weight", "lm_head.weight"])
@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_a_tied_matrix_is_there_under_either_of_its_names(folder, rng, kept, prefix):
    """safetensors.torch.save_model writes what two names share under one of them."""
    ids = rng.integers(0, 13, (2, 8))
    expected = GPT2.from_pretrained(folder)(ids).data

    def change(weights):
        weights = {prefix + name.removeprefix("transformer."): array for name, array in weights.items()}
        return {kept if name.endswith("wte.weight") and kept != "wte.weight" else name: a for name, a in weights.items()}

    rewrite(folder, change)
    np.testing.assert_array_equal(GPT2.from_pretrained(folder)(ids).data, expected)
    untied = GPT2.from_pretrained(folder, tie_embeddings=False, head_bias=True)
    np.testing.assert_allclose(untied(ids).data, expected, atol=1e-6)


def test_a_head_that_is_not_tied_is_no_embedding(folder):
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**about, "tie_word_embeddings": False}))
    rewrite(folder, lambda weights: {n.replace("transformer.wte", "lm_head"): array for n, array in weights.items()})
    with pytest.raises(RunError, match=r"holds no matrix wte\.weight"):
        GPT2.from_pretrained(folder)


@pytest.mark.oracle
@pytest.mark.parametrize("order", [("wte", "lm_head"), ("lm_head", "wte")])
def test_what_save_model_writes(tmp_path, torch, rng, order):
    """The file itself, with either of the two names in it."""
    from safetensors.torch import save_model

    ours = random_model(rng)
    ours.save_pretrained(tmp_path)

    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, array in ours.state_dict().items():
                if not name.startswith("lm_head"):
                    self.register_parameter(name.replace(".", "/"), torch.nn.Parameter(torch.tensor(array)))

        def state_dict(self, *args, **kwargs):
            found = {name.replace("/", "."): p.data for name, p in self.named_parameters()}
            shared = found.pop("wte.weight")
            return {**dict.fromkeys((f"{name}.weight" for name in order), shared), **found}

    save_model(Tied(), str(tmp_path / "model.safetensors"))
    names = set(safetensors.numpy.load_file(tmp_path / "model.safetensors"))
    assert len(names & {"wte.weight", "lm_head.weight"}) == 1
    ids = rng.integers(0, 13, (2, 8))
    np.testing.assert_allclose(GPT2.from_pretrained(tmp_path)(ids).data, ours(ids).data, atol=1e-6)


def test_float16_and_bfloat16_are_read_exactly(folder):
    original = dict(safetensors.numpy.load_file(folder / "model.safetensors"))
    half = {name: array.astype(np.float16) for name, array in original.items()}
    rewrite(folder, lambda _: half)
    np.testing.assert_array_equal(
        GPT2.from_pretrained(folder).wte.weight.data, half["transformer.wte.weight"].astype(np.float32)
    )

    bits = {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in original.items()}
    content = safetensors.numpy.save(bits)  # NumPy has no bfloat16 to save from, so the header is changed afterwards
    name_it = lambda h: {n: {**e, "dtype": "BF16"} for n, e in h.items()}  # noqa: E731
    (folder / "model.safetensors").write_bytes(edit_header(content, name_it))
    expected = (bits["transformer.wte.weight"].astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(GPT2.from_pretrained(folder).wte.weight.data, expected)


def test_everything_that_does_not_fit_is_said_at_once(folder):
    def change(weights):
        weights.pop("transformer.h.1.ln_2.weight")
        weights["transformer.h.0.attn.c_attn.weight"] = np.zeros((8, 25), np.float32)
        weights["transformer.ln_f.weight"] = np.ones(8, np.float64)
        weights["transformer.extra"] = np.ones(3, np.float32)
        return weights

    rewrite(folder, change)
    with pytest.raises(RunError) as error:
        GPT2.from_pretrained(folder)
    for part in (
        str(folder),
        "missing h.1.ln_2.weight (8,)",
        "h.0.attn.c_attn.weight has shape (8, 25), needs (8, 24)",
        "ln_f.weight is F64",
        "unexpected extra (3,)",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_layer": 3}, "n_layer = 3, but the weights have 2"),
        ({"n_layer": 10**9}, "n_layer = 1000000000, but the weights have 2"),
        (
            {"vocab_size": 10**30, "n_embd": 9},
            "vocab_size = 1000000000000000000000000000000, but the weights have 13; n_embd = 9",
        ),
        ({"n_head": 4}, "n_head = 4, but the weights are for 2"),
        ({"n_head": None}, "num_heads = None is NoneType"),
        ({"activation_function": "relu"}, "activation_function = 'relu'; only 'gelu_new' is supported"),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon = 1e-06"),
        ({"model_type": "llama"}, "model_type = 'llama'"),
        ({"tie_word_embeddings": False}, "missing lm_head.weight"),
    ],
)
def test_a_config_that_is_not_of_these_weights(folder, change, message):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(RunError) as error:
        GPT2.from_pretrained(folder)
    assert message in str(error.value)
    assert str(folder) in str(error.value)


def test_an_untied_head_needs_its_own_weights(folder):
    """A file may lack the head only where it is tied, or where the user asks for a copy of the embedding."""
    assert GPT2.from_pretrained(folder, tie_embeddings=False).lm_head.weight.shape == (13, 8)


def test_float64_is_not_silently_made_less(tmp_path, rng):
    with pytest.raises(RunError, match=r"wte.weight is float64.*np.float32"):
        random_model(rng).to(np.float64).save_pretrained(tmp_path)


def test_pickles_are_not_opened(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(RunError, match=r"pytorch_model.bin is a pickle"):
        GPT2.from_pretrained(folder)


def shard(folder, where):
    weights = safetensors.numpy.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    for file in ("a.safetensors", "b.safetensors"):
        safetensors.numpy.save_file({name: weights[name] for name in weights if where(name) == file}, folder / file)
    return {name: where(name) for name in weights}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m, None),
        (lambda m: {**m, "transformer.wte.weight": "../b.safetensors"}, "is not a file of this folder"),
        (lambda m: {**m, "more": "a.safetensors"}, "a.safetensors lacks more"),
        (lambda m: {**m, "transformer.ln_f.bias": "a.safetensors"}, "places in 'a.safetensors'"),
        (lambda m: {**m, "more": "c.safetensors"}, "c.safetensors: cannot be read"),
        (lambda m: [1], "does not name a file for every weight"),
    ],
)
def test_shards(folder, rng, change, message):
    ids = rng.integers(0, 13, (1, 8))
    expected = GPT2.from_pretrained(folder)(ids).data
    where = shard(folder, lambda name: "a.safetensors" if ".h." in name else "b.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": change(where)}))
    if message is None:
        np.testing.assert_array_equal(GPT2.from_pretrained(folder)(ids).data, expected)
    else:
        with pytest.raises(RunError, match=message):
            GPT2.from_pretrained(folder)


def test_a_name_needs_the_hub(monkeypatch, folder):
    import sys
    import types

    hub = types.SimpleNamespace(snapshot_download=lambda name, allow_patterns: {"someone/model": str(folder)}[name])
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert GPT2.from_pretrained("someone/model").config.vocab_size == 13
    with pytest.raises(RunError, match=r"nobody/model: no such folder, and it cannot be downloaded: 'nobody/model'"):
        GPT2.from_pretrained("nobody/model")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(RunError, match=r"pip install 'tinygrad2\[hub\]'"):
        GPT2.from_pretrained("someone/model")
    with pytest.raises(RunError, match=r"some/where/else: no such folder$"):
        GPT2.from_pretrained("some/where/else")


# -- damage

FILES = int(os.environ.get("DAMAGED_FILES", "300"))


def flip(content, rng, first, last):
    at = int(rng.integers(first, last))
    return content[:at] + bytes([content[at] ^ (1 << int(rng.integers(8)))]) + content[at + 1 :]


def edit_header(content, change):
    size = int.from_bytes(content[:8], "little")
    header = change(json.loads(content[8 : 8 + size]))
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + content[8 + size :]


def one(header, rng):
    return sorted(name for name in header if name != "__metadata__")[int(rng.integers(len(header) - 1))]


def changed(header, name, **values):
    return {**header, name: {**header[name], **values}}


def without(header, name):
    return {other: entry for other, entry in header.items() if other != name}


def duplicate(header, rng):
    name = one(header, rng)
    text = json.dumps(header)
    return (text[:-1] + f', "{name}": ' + json.dumps(header[name]) + "}").encode()


def damaged_weights(content, rng, kind):
    size = int.from_bytes(content[:8], "little")
    if kind == "header bit":
        return flip(content, rng, 0, 8 + size)
    if kind == "truncated":
        return content[: int(rng.integers(len(content)))]
    if kind == "longer":
        return content + bytes(int(rng.integers(1, 99)))
    if kind == "shape":
        return edit_header(content, lambda h: changed(h, n := one(h, rng), shape=[*h[n]["shape"], int(rng.integers(4))]))
    if kind == "overflow":
        huge = [int(rng.choice([2**31, 2**62, 2**63, 2**64]))] * int(rng.integers(1, 4))
        return edit_header(content, lambda h: changed(h, one(h, rng), shape=huge))
    if kind == "offsets":
        return edit_header(content, lambda h: changed(h, one(h, rng), data_offsets=[0, int(rng.choice([2**40, 2**63, -1]))]))
    if kind == "missing":
        return edit_header(content, lambda h: without(h, one(h, rng)))
    if kind == "twice":
        return edit_header(content, lambda h: duplicate(h, rng))
    if kind == "deep":
        return edit_header(content, lambda h: b'{"a":' * 5000 + b"1" + b"}" * 5000)
    if kind == "header size":
        return int(rng.choice([2**27, 2**40, 2**63])).to_bytes(8, "little") + content[8:]
    if kind == "noise":
        return rng.bytes(int(rng.integers(0, 999)))
    raise AssertionError(kind)


KINDS = ["header bit"] * 8 + ["truncated"] * 3
KINDS += ["longer", "shape", "overflow", "offsets", "missing", "twice", "deep", "header size", "noise"]


def refused_or_unharmed(load, expected, path):
    """Whether loading raises the one exception type, naming a file; else the model must be the one it was."""
    message = None
    try:
        model = load()
    except RunError as error:
        message = str(error)
    if message is not None:
        assert str(path.parent) in message
        return True
    assert model.config == expected.config
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, expected.state_dict()[name])
    return False


def test_damaged_weights_are_refused(folder, rng):
    """Files without a fingerprint, as other programs write them: every damage to the header shows."""
    rewrite(folder, lambda weights: weights)
    path = folder / "model.safetensors"
    whole, expected = path.read_bytes(), GPT2.from_pretrained(folder)
    unharmed = []
    for i in range(FILES):
        kind = KINDS[i % len(KINDS)]
        path.write_bytes(damaged_weights(whole, rng, kind))
        if not refused_or_unharmed(lambda: GPT2.from_pretrained(folder), expected, path):
            unharmed.append(kind)
    assert set(unharmed) <= {"header bit"}  # the padding after the header, and the bits that JSON ignores
    assert len(unharmed) <= FILES / 50


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_weights_that_are_not_numbers_are_refused(folder, value, dtype):
    def change(weights):
        weights["transformer.h.1.mlp.c_fc.weight"][3, 5] = value
        return {name: array.astype(dtype) for name, array in weights.items()}

    rewrite(folder, change)
    with pytest.raises(
        RunError, match=r"model.safetensors: .*h.1.mlp.c_fc.weight has 1 of 256 entries that are NaN or infinite"
    ):
        GPT2.from_pretrained(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("damage")
    (folder / "my.txt").write_text(text)
    tiny = ["--steps=2", "--d-model=8", "--num-layers=1", "--num-heads=2", "--max-seq-len=8", "--sample-tokens=0"]
    assert main(["train", "--no-plots", "--data", str(folder / "my.txt"), "--out", str(folder / "run"), *tiny]) == 0
    return folder / "run"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_run_notices_every_flipped_bit(trained, rng, name):
    """All of a run belongs together: a weight, a setting of the model, a character of the vocabulary."""
    path = trained / name
    whole, (expected, tokenizer) = path.read_bytes(), load_model(trained)
    unharmed = 0
    try:
        for i in range(FILES):
            path.write_bytes(flip(whole, rng, 0, len(whole)) if i % 4 else whole[: int(rng.integers(len(whole)))])
            if not refused_or_unharmed(lambda: load_model(trained)[0], expected, path):
                assert load_model(trained)[1].sha256 == tokenizer.sha256
                unharmed += 1
    finally:
        path.write_bytes(whole)
    if name != "config.json":  # most of which says how it was trained, not what it is
        assert unharmed <= FILES / 50


def test_reading_damaged_files_takes_little_memory(tmp_path, rng):
    model = random_model(rng, d_model=128, vocab_size=3000)
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    rewrite(tmp_path, lambda weights: weights)
    whole = path.read_bytes()
    for kind in sorted(set(KINDS)):
        path.write_bytes(damaged_weights(whole, rng, kind))
        tracemalloc.start()
        try:
            GPT2.from_pretrained(tmp_path)
        except RunError:
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 3 * len(whole), kind


def test_a_zip_bomb_is_not_unpacked(folder):
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("data.pkl", bytes(50_000_000))
    (folder / "bomb.zip").rename(folder / "model.safetensors")
    tracemalloc.start()
    with pytest.raises(RunError, match=r"model.safetensors is not a safetensors file"):
        GPT2.from_pretrained(folder)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
