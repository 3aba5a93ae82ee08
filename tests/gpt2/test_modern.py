"""The architecture `modern`: against PyTorch, with a cache, and through every command."""

import json

import numpy as np
import pytest
from small_runs import run_once

from gpt2 import GPT2, GPT2Config, TrainConfig
from gpt2.cli import main
from gpt2.errors import ConfigError, RunError
from gpt2.training.optimizer import make_optimizer
from gpt2.weights import int8
from tinygrad2 import autograd, nn, no_grad, ops, optim

SHAPE = {"vocab_size": 11, "max_seq_len": 12, "d_model": 16, "num_layers": 2, "num_heads": 2, "architecture": "modern"}


@pytest.fixture
def model():
    return GPT2(GPT2Config(**SHAPE), seed=3, dtype=np.float64)


@pytest.mark.oracle
def test_loss_and_gradients_are_pytorchs(torch, rng, model):
    F = torch.nn.functional
    for p in model.parameters():
        p.data = p.data + rng.normal(0, 0.1, p.shape)
    ids, targets = rng.integers(0, 11, (2, 3, 12))
    weights = {name: torch.tensor(p.data, requires_grad=True) for name, p in model.named_parameters()}
    linear = lambda x, name: x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]  # noqa: E731
    norm = lambda x, name: F.layer_norm(x, (16,), weights[f"{name}.weight"], weights[f"{name}.bias"])  # noqa: E731
    angles = torch.arange(12.0, dtype=torch.float64)[:, None] / 10_000 ** (torch.arange(0, 8, 2, dtype=torch.float64) / 8)

    def turned(x):  # (B, H, T, d_k)
        x = F.rms_norm(x, (8,), eps=1e-6)
        a, b = x[..., ::2], x[..., 1::2]
        cos, sin = angles.cos(), angles.sin()
        return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)

    x = weights["wte.weight"][torch.tensor(ids)]
    for i in range(2):
        q, k, v = (
            part.view(3, 12, 2, 8).transpose(1, 2) for part in linear(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn").chunk(3, -1)
        )
        y = F.scaled_dot_product_attention(1.7 * turned(q), turned(k), v, is_causal=True)
        x = x + linear(y.transpose(1, 2).reshape(3, 12, 16), f"h.{i}.attn.c_proj")
        x = x + linear(torch.relu(linear(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")) ** 2, f"h.{i}.mlp.c_proj")
    logits = norm(x, "ln_f") @ weights["lm_head.weight"].T + weights["lm_head.bias"]
    right = F.cross_entropy(logits.flatten(0, 1), torch.tensor(targets).flatten())
    loss = model.loss(ids, targets)
    assert loss.item() == pytest.approx(right.item(), rel=1e-12)
    right.backward()
    names = [name for name, _ in model.named_parameters()]
    for name, g in zip(names, autograd.grad([loss], model.parameters()), strict=True):
        np.testing.assert_allclose(g.data, weights[name].grad.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


def test_it_has_no_parameters_for_positions(model):
    names = dict(model.named_parameters())
    assert "wpe.weight" not in names
    same = GPT2(GPT2Config(**{**SHAPE, "architecture": "gpt2"}))
    assert {name: p.shape for name, p in same.named_parameters() if name != "wpe.weight"} == {
        name: p.shape for name, p in names.items()
    }
    assert dict(GPT2.shapes(model.config)) == {name: p.shape for name, p in names.items()}


def test_attention_sees_distances_only(rng):
    """Turned from any position on, all outputs are the same; each of queries and keys alone is not."""
    qkv = rng.standard_normal((5, 24))
    here, there = (ops.rotary(qkv, 2, start) for start in (0, 7))
    np.testing.assert_allclose(ops.causal_attention(here, 2), ops.causal_attention(there, 2), rtol=1e-12, atol=1e-12)
    mixed = np.concatenate([here[:, :8], there[:, 8:]], axis=-1)
    assert abs(ops.causal_attention(mixed, 2) - ops.causal_attention(here, 2)).max() > 1e-3


def test_a_cache_changes_nothing(rng, model):
    ids = rng.integers(0, 11, (2, 12))
    with no_grad():
        whole = model(ids).data
        cache = model.new_cache(2)
        parts = [model.hidden(ids[:, a:b], cache) for a, b in ((0, 5), (5, 6), (6, 7), (7, 12))]
        np.testing.assert_allclose(model.lm_head(np.concatenate(parts, axis=1)).data, whole, rtol=1e-9, atol=1e-12)
    written = [model.generate(ids[:, :3], 30, use_cache=use) for use in (True, False)]
    np.testing.assert_array_equal(*written)


def test_every_command_takes_it(tmp_path, text, capsys):
    data = tmp_path / "text.txt"
    data.write_text(text, "utf-8")
    run, result, rows = run_once(
        tmp_path / "a", text, model={"architecture": "modern", "init": "zero"}, optimizer="muon", data=str(data)
    )
    assert rows[-1]["val_loss"] < rows[0]["val_loss"] - 0.5
    assert rows[0]["val_loss"] == pytest.approx(result.baselines["uniform"], rel=1e-6)
    folder = str(run.folder)
    blocks = rows[-1]["diagnostics"]["blocks"]
    assert all(block["attention_error"] < 1e-4 for block in blocks.values())  # its formula, of what is multiplied
    for words in (
        ["sample", folder, "--prompt", text[:5], "--tokens", "5"],
        ["eval", folder, "--data", str(data)],
        ["health", folder],
        ["replay", folder, "--step", "5", "--data", str(data)],
        ["inspect", folder, "--prompt", text[:8], "--out", str(tmp_path / "page.html")],
        ["info", folder],
    ):
        assert main(words) in ((0, 1) if words[0] == "health" else (0,)), capsys.readouterr()
    out = capsys.readouterr().out
    assert "turned by position" in out
    assert "wpe" not in out
    for words, message in (
        (["export", folder, "--out", str(tmp_path / "b")], "no architecture 'modern'"),
        (["sample", folder, "--prompt", text[:5], "--weights", "int8"], "int8 weights are for the architecture gpt2"),
    ):
        assert main(words) in (1, 2)
        assert message in capsys.readouterr().err


def test_what_cannot_be_read_as_gpt2_is_refused(tmp_path, text, model):
    run, _, _ = run_once(tmp_path / "a", text, model={"architecture": "modern"}, steps=2)
    with pytest.raises(RunError, match=r"architecture is 'modern', and not GPT-2's; gpt2\.load reads it"):
        GPT2.from_pretrained(run.folder)
    with pytest.raises(ConfigError, match="for the architecture gpt2"):
        int8.quantized(model)
    with pytest.raises(ConfigError, match=r"d_model / num_heads = 3 must be even"):
        GPT2Config(d_model=6, num_heads=2, architecture="modern")


def test_older_runs_keep_the_text_of_their_settings():
    """It is in their weights: one more setting must not make them another model's."""
    assert "architecture" not in json.loads(GPT2Config().as_text())
    assert json.loads(GPT2Config(**SHAPE).as_text())["architecture"] == "modern"


def test_the_rate_of_muons_matrices_goes_with_the_other():
    p = nn.Parameter(np.diag([1.0, 2.0]))
    config = TrainConfig(optimizer="muon", learning_rate=0.01, muon_factor=3.0, weight_decay=0.0)
    optimizer = make_optimizer([p], config, [(p, 1)])
    optimizer.lr = 0.001
    optimizer.step([np.eye(2)])
    np.testing.assert_allclose(np.diag([1.0, 2.0]) - p.data, 0.003 * optim.orthogonalised(np.eye(2)), rtol=1e-9)
