"""Int8 weights: how much is lost, what is refused, and that a folder of them gives the same bits."""

import json

import numpy as np
import pytest
import safetensors.numpy
from small_runs import run_once

import gpt2
from gpt2 import GPT2, GPT2Config
from gpt2.cli import main
from gpt2.errors import DamagedError, NonFiniteError, RunError
from gpt2.insight.evaluation import evaluate
from gpt2.tokenizers import ByteTokenizer
from gpt2.training.shards import Shards
from gpt2.weights import int8
from gpt2.weights.int8 import Int8Linear, Rows, quantized
from tinygrad2 import Tensor, nn, no_grad
from tinygrad2.errors import GraphError, ShapeError

SHAPE = {"vocab_size": 65, "max_seq_len": 32, "d_model": 16, "num_layers": 2, "num_heads": 2}
KINDS = {
    "default": {},
    "tied": {"tie_embeddings": True, "head_bias": False},
    "tied with a head bias": {"tie_embeddings": True},
    "no bias": {"bias": False, "head_bias": False},
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def random_model(rng, **settings):
    model = GPT2(GPT2Config(**{**SHAPE, **settings})).eval()
    for p in model.parameters():
        p.data = rng.normal(0, 0.3, p.shape).astype(np.float32)
    return model


@pytest.fixture(scope="module")
def run(tmp_path_factory, text):
    """One that has learned something."""
    folder = tmp_path_factory.mktemp("int8") / "run"
    run_once(folder, text, steps=200, eval_every=100, model={"d_model": 32})
    return folder


@pytest.fixture
def folder(rng, tmp_path):
    quantized(random_model(rng)).save_pretrained(tmp_path / "int8")
    return tmp_path / "int8"


# -- rounding


@pytest.mark.parametrize("size", [1, 1e-3, 1e-20, 1e-30, 1e30, 3e38])
def test_every_entry_is_within_half_a_scale(rng, size):
    matrix = (rng.uniform(-1, 1, (50, 70)) * size).astype(np.float32)
    codes, scale = Rows.of("w", matrix)
    assert codes.dtype == np.int8
    assert scale.dtype == np.float32
    assert (abs(codes.astype(int)).max(axis=1) == 127).all()
    error = abs(codes * scale[:, None].astype(float) - matrix)
    assert (error <= scale[:, None] * 0.500001).all()


def test_rows_of_zeros_and_of_almost_nothing_are_zeros():
    matrix = np.zeros((3, 4), np.float32)
    matrix[1], matrix[2, 0] = 1e-40, 1
    codes, scale = Rows.of("w", matrix)
    assert scale.tolist() == [0, 0, np.float32(1 / 127)]
    assert codes.tolist() == [[0] * 4, [0] * 4, [127, 0, 0, 0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(rng, bad):
    model = random_model(rng)
    model.h[1].mlp.c_fc.weight.data[3, 5] = bad
    with pytest.raises(NonFiniteError, match=r"h.1.mlp.c_fc.weight has entries that are NaN or infinite, in row 5"):
        quantized(model)


# -- a model


@kinds
def test_logits_are_those_of_the_rounded_matrices(rng, kind):
    """Each part computes with the rows that it stands for: the float32 model with these matrices gives the same."""
    model = random_model(rng, **kind)
    rounded, ids = quantized(model), rng.integers(0, 65, (2, 20))
    for name, p in model.named_parameters():
        if int8.is_matrix(name, p.shape):
            codes, scale = Rows.of(name, p.data.T if int8.by_columns(name) else p.data)
            p.data = (codes * scale[:, None]).T if int8.by_columns(name) else codes * scale[:, None]
    with no_grad():
        np.testing.assert_allclose(rounded(ids).data, model(ids).data, atol=1e-4)
        np.testing.assert_allclose(
            rounded.loss(ids[:, :-1], ids[:, 1:]).data, model.loss(ids[:, :-1], ids[:, 1:]).data, rtol=1e-5
        )
    for use_cache in (True, False):
        settings = {"use_cache": use_cache, "temperature": 0.7, "slide": 5}
        np.testing.assert_array_equal(rounded.generate(ids, 30, **settings), model.generate(ids, 30, **settings))


def test_what_stays_float32_is_shared_and_the_model_is_left_alone(rng):
    model = random_model(rng)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    rounded = quantized(model)
    assert rounded.ln_f.weight is model.ln_f.weight
    assert type(model.h[0].attn.c_attn) is nn.Linear
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_the_perplexity_of_a_trained_model(run, text):
    trained = gpt2.load(run)
    ids = trained.tokenizer.encode(text)
    found = []
    for model in (trained.model, quantized(trained.model)):
        with Shards(1, 0, 1) as shards:
            found.append(evaluate(model, trained.tokenizer, ids, 16, shards).perplexity)
    assert found[0] < 0.5 * trained.tokenizer.vocab_size
    assert found[0] != found[1]
    assert abs(found[1] / found[0] - 1) < 0.003


def test_an_id_that_there_is_not(rng):
    with pytest.raises(ShapeError, match="65"), no_grad():
        quantized(random_model(rng))([65])


# -- no gradients


def test_a_gradient_is_refused(rng):
    model = quantized(random_model(rng))
    with pytest.raises(GraphError, match="int8 weights have no gradient"):
        model.loss([1, 2], [2, 3])
    with pytest.raises(GraphError, match="train the float32 model"):
        model.h[0].attn.c_attn(Tensor(np.zeros((1, 16), np.float32), requires_grad=True))


def test_training_from_int8_weights_is_refused(tmp_path, text, capsys):
    (tmp_path / "my.txt").write_text(text)
    quantized(GPT2(GPT2Config(**{**SHAPE, "vocab_size": 257}))).save_pretrained(tmp_path / "bytes", ByteTokenizer())
    command = ["train", str(tmp_path / "my.txt"), "--init-from", str(tmp_path / "bytes"), "--out", str(tmp_path / "run")]
    assert main(command) == 2
    assert "its weights are int8, which cannot be trained" in capsys.readouterr().err


# -- files


@kinds
def test_a_folder_gives_the_same_bits(rng, tmp_path, kind):
    model, ids = quantized(random_model(rng, **kind)), rng.integers(0, 65, (2, 20))
    model.save_pretrained(tmp_path / "one")
    again = GPT2.from_pretrained(tmp_path / "one")
    again.save_pretrained(tmp_path / "two")
    with no_grad():
        np.testing.assert_array_equal(again(ids).data, model(ids).data)
    np.testing.assert_array_equal(again.generate(ids, 20), model.generate(ids, 20))
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_folder_takes_little_more_than_a_byte_for_a_weight():
    with nn.init.shapes_only():
        shapes = dict(GPT2.shapes(GPT2Config.preset("gpt2")))
    matrices = {name: shape for name, shape in shapes.items() if int8.is_matrix(name, shape)}
    rest = sum(int(np.prod(shape)) for name, shape in shapes.items() if name not in matrices)
    scales = sum(shape[1 if int8.by_columns(name) else 0] for name, shape in matrices.items())
    assert sum(int(np.prod(shape)) for shape in matrices.values()) + 4 * (rest + scales) < 140e6


def test_other_programs_are_told(folder):
    with safetensors.safe_open(folder / "model.safetensors", framework="numpy") as file:
        assert file.metadata()["format"] == "gpt2-int8"
    about = json.loads((folder / "config.json").read_text())
    assert about["model_type"] == "gpt2-int8"
    assert about["architectures"] == []


@pytest.mark.oracle
def test_transformers_refuses_it(transformers, folder):
    with pytest.raises(ValueError, match="gpt2-int8"):
        transformers.AutoModelForCausalLM.from_pretrained(folder)


def rewritten(folder, change):
    """The weights with a change, and a fingerprint that fits."""
    from gpt2.weights.safetensors import write_weights

    path = folder / "model.safetensors"
    weights = dict(safetensors.numpy.load_file(path))
    change(weights)
    write_weights(path, weights, {"format": "gpt2-int8", "n_head": "2"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("transformer.h.0.mlp.c_fc.scale"), r"missing h.0.mlp.c_fc.scale \(64,\)"),
        (
            lambda w: w.update({"transformer.h.0.attn.c_proj.weight": np.zeros((16, 16), np.float32)}),
            r"h.0.attn.c_proj.weight is \('F32', \(16, 16\)\), needs \('I8', \(16, 16\)\)",
        ),
        (lambda w: w.update({"transformer.h.1.odd": np.zeros(3, np.int8)}), r"unexpected h.1.odd \(3,\)"),
        (lambda w: w.update({"transformer.wte.scale": np.full(64, 1, np.float32)}), r"wte.scale is .*\(64,\).*needs.*\(65,\)"),
    ],
)
def test_what_does_not_fit_is_named(folder, change, message):
    rewritten(folder, change)
    with pytest.raises(RunError, match=message):
        GPT2.from_pretrained(folder)


def test_a_damaged_file_is_refused(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match="its content has sha256"):
        GPT2.from_pretrained(folder)


def test_a_file_without_a_fingerprint_is_refused(folder):
    path = folder / "model.safetensors"
    safetensors.numpy.save_file(dict(safetensors.numpy.load_file(path)), path)
    with pytest.raises(DamagedError, match="it has no sha256 of its content"):
        GPT2.from_pretrained(folder)


def test_float32_weights_that_are_called_int8(rng, tmp_path):
    random_model(rng).save_pretrained(tmp_path / "hf")
    path = tmp_path / "hf" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "gpt2-int8"}))
    with pytest.raises(RunError, match=r"the weights have|needs \('I8'"):
        GPT2.from_pretrained(tmp_path / "hf")


def test_int8_weights_that_are_called_float32(folder):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "gpt2"}))
    with pytest.raises(RunError, match=r"the weights have|is I8, which is not among"):
        GPT2.from_pretrained(folder)


# -- commands


def test_commands(run, tmp_path, text, capsys):
    said = {}
    (tmp_path / "my.txt").write_text(text)
    for weights in ([], ["--weights", "int8"]):
        assert main(["sample", str(run), "--prompt", "The ", "--tokens", "30", *weights]) == 0
        assert main(["eval", str(run), "--json", "--data", str(tmp_path / "my.txt"), *weights]) == 0
        *text, row = capsys.readouterr().out.splitlines()
        said[len(weights)] = json.loads(row), "\n".join(text)
    assert said[0][0]["loss"] != said[2][0]["loss"]
    assert abs(said[2][0]["perplexity"] / said[0][0]["perplexity"] - 1) < 0.003

    out = tmp_path / "small"
    assert main(["export", str(run), "--weights", "int8", "--out", str(out)]) == 0
    assert "its weights are int8, which transformers does not read" in capsys.readouterr().out
    for again in ([], ["--weights", "int8"]):  # it is int8 already
        assert main(["sample", str(out), "--prompt", "The ", "--tokens", "30", *again]) == 0
        assert capsys.readouterr().out.rstrip("\n") == said[2][1]
    assert main(["info", str(out)]) == 0
    assert "d_model 32" in capsys.readouterr().out


def test_other_weights_are_refused(run, capsys):
    with pytest.raises(SystemExit):
        main(["sample", str(run), "--weights", "int4"])
    assert "int4" in capsys.readouterr().err


# -- the step of a block


def test_a_hook_sees_every_token(rng):
    model, seen = random_model(rng), []
    model._laid_out_to_read()
    plain = model.generate([1], 5)
    model.h[0].attn.c_attn.register_forward_hook(lambda module, inputs, out: seen.append(inputs[0].shape))
    np.testing.assert_array_equal(model.generate([1], 5), plain)
    assert seen == [(1, 1, 16)] * 5


def test_a_layer_of_another_kind_is_called(rng):
    class Negated(Int8Linear):
        def forward(self, x, targets=None):
            return -super().forward(x, targets)

    model = quantized(random_model(rng))
    layer = model.h[0].mlp.c_fc
    with no_grad():
        before = model.next_logits([[1, 2]], model.new_cache(1)).data
        model.h[0].mlp.c_fc = Negated(layer.rows, layer.bias)
        found = model.next_logits([[1, 2]], model.new_cache(1)).data
        np.testing.assert_allclose(found, model.next_logits([[1, 2]]).data, atol=1e-4)
    assert abs(found - before).max() > 0.1
