"""What is measured of a model at an evaluation: against computations made another way, and without any trace."""

import math

import numpy as np
import pytest
from small_runs import MODEL, run_once, without_speed

from gpt2 import GPT2, GPT2Config, TrainConfig
from gpt2.training import loop
from gpt2.training.measurements import diagnose, probe_windows
from gpt2.training.shards import Shards
from gpt2.training.state import state
from gpt2.training.step import Trainer
from tinygrad2 import ops

IDS = np.random.default_rng(0).integers(0, 11, 600).astype(np.uint16)


@pytest.fixture
def trainer():
    """In float64, after three steps, with dropout."""
    model = GPT2(GPT2Config(vocab_size=11, dropout=0.3, **MODEL), dtype=np.float64)
    with Shards(1, 2, 12) as shards:
        trainer = Trainer(model, TrainConfig(learning_rate=1e-2, warmup_steps=1), IDS, shards)
        trainer.row = [trainer.step(measure=True) for _ in range(3)][-1]
        trainer.windows = probe_windows(IDS, 16, 2)
        yield trainer


def test_the_batch_is_spread_over_the_text_and_has_a_sequence_for_each_shard():
    windows = probe_windows(np.arange(10_000), 64, 2)
    assert windows.shape == (16, 65)
    assert windows[0, 0] == 0
    assert windows[-1, -1] == 9_999
    assert probe_windows(np.arange(2000), 1024, 5).shape == (5, 1025)
    assert (probe_windows(np.arange(17), 16, 3) == np.arange(17)).all()


def test_it_leaves_no_trace(trainer):
    before = {name: array.copy() for name, array in state(trainer).arrays.items()}
    data = [p.data for p in trainer.parameters]
    diagnose(trainer, trainer.row, trainer.windows)
    assert all(p.data is array for p, array in zip(trainer.parameters, data, strict=True))
    assert all(p.grad is None for p in trainer.parameters)
    assert all((array == before[name]).all() for name, array in state(trainer).arrays.items())
    assert trainer.model.training
    assert not any(module._forward_hooks for module in trainer.model.modules())


def test_a_training_is_the_same_without_it(tmp_path, text, monkeypatch):
    dropout = {"model": {"dropout": 0.2}}
    runs = [run_once(tmp_path / "a", text, **dropout)]
    monkeypatch.setattr(loop, "diagnose", lambda *_: {"blocks": {}})
    monkeypatch.setattr(loop.Monitor, "add", lambda *_: None)
    runs.append(run_once(tmp_path / "b", text, **dropout))
    assert runs[0][0].model.read_bytes() == runs[1][0].model.read_bytes()
    with_it, without = (without_speed(rows) for _, _, rows in runs)
    assert all(row.pop("diagnostics", None) for row in with_it if "val_loss" in row)
    for row in without:
        row.pop("diagnostics", None)
    assert with_it == without


def test_it_agrees_with_a_computation_by_hand(trainer):
    found = diagnose(trainer, trainer.row, trainer.windows)
    model, x = trainer.model.eval(), trainer.windows[:, :-1]
    h = model.wte(x) + model.wpe(np.arange(16))
    for i, block in enumerate(model.h):
        own = found["blocks"][f"h.{i}"]
        assert own["in_std"] == pytest.approx(h.data.std(), rel=1e-4)
        qkv = block.attn.c_attn(block.ln_1(h)).data
        for head in range(2):
            q, k = (qkv[..., 16 * part + 8 * head : 16 * part + 8 * head + 8] for part in (0, 1))
            scores = np.einsum("bid,bjd->bij", q, k) / math.sqrt(8)
            entropies = []
            weights = np.zeros_like(scores)
            for t in range(16):
                row = np.exp(scores[:, t, : t + 1])
                weights[:, t, : t + 1] = row = row / row.sum(-1, keepdims=True)
                if t:
                    entropies.append(-(row * np.log(row)).sum(-1) / math.log(t + 1))
            assert own["entropy"][str(head)] == pytest.approx(np.mean(entropies), rel=1e-4)
            assert own["sink"][str(head)] == pytest.approx(max(weights[:, 8:, j].mean() for j in range(16)), rel=1e-4)
        h = h + block.attn(block.ln_1(h))
        units = block.mlp.c_fc(block.ln_2(h)).data
        assert own["off"] == pytest.approx((units < -3).mean())
        h = h + block.mlp(block.ln_2(h))
        assert own["out_std"] == pytest.approx(h.data.std(), rel=1e-4)
    logits = model(x).data
    for k in range(2):
        loss = ops.cross_entropy(logits[:, :15], trainer.windows[:, k : k + 15]).item()
        assert found["offsets"][str(k)] == pytest.approx(loss, rel=1e-4)
    assert found["future"] == 0
    assert found["slope"] == pytest.approx(1, abs=1e-3)
    assert found["update_scale"] == pytest.approx(1, abs=1e-3)


def test_units_that_are_off_everywhere_are_dead(trainer):
    biases = trainer.model.h[1].mlp.c_fc.bias.data
    biases[:16] = -50  # a quarter
    found = diagnose(trainer, {}, trainer.windows)["blocks"]
    assert (found["h.0"]["dead"], found["h.1"]["dead"]) == (0, 0.25)
    assert found["h.1"]["off"] >= 0.25


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_the_size_of_an_update_is_that_of_the_formula(optimizer):
    model = GPT2(GPT2Config(vocab_size=11, **MODEL))
    config = TrainConfig(optimizer=optimizer, weight_decay=0.5, learning_rate=1e-2, warmup_steps=5)
    with Shards(1, 1, 12) as shards:
        trainer = Trainer(model, config, IDS, shards)
        for _ in range(4):
            row = trainer.step(measure=True)
            assert diagnose(trainer, row, IDS[None, :17].astype(int))["update_scale"] == pytest.approx(1, abs=2e-3)
        wrong = {**row, "learning_rate": row["learning_rate"] * 2}
        assert diagnose(trainer, wrong, IDS[None, :17].astype(int))["update_scale"] == pytest.approx(0.5, abs=0.05)


def test_without_a_step_there_is_no_update_to_judge(trainer):
    assert "update_scale" not in diagnose(trainer, {"step": 0}, trainer.windows)


def test_weights_that_are_not_numbers_give_strings_in_the_log_and_no_error(trainer):
    trainer.parameters[0].data[:] = np.nan
    found = diagnose(trainer, {}, trainer.windows)
    assert math.isnan(found["slope"])
    assert math.isnan(found["blocks"]["h.0"]["in_std"])


@pytest.mark.parametrize("length", [1, 2])
def test_a_context_of_one_or_two_tokens(length):
    model = GPT2(GPT2Config(**{"vocab_size": 11, **MODEL, "max_seq_len": length}))
    with Shards(1, 1, 12) as shards:
        trainer = Trainer(model, TrainConfig(), IDS, shards)
        found = diagnose(trainer, {}, probe_windows(IDS, length, 1))
    assert found["future"] == 0
    assert len(found["offsets"]) == (0 if length == 1 else 3)
