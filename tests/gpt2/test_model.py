"""The model: its sizes, its causality, its gradients, and that it is the same function as PyTorch's."""

from contextlib import nullcontext

import numpy as np
import pytest
from torch_gpt2 import torch_loss

from gpt2 import GPT2, GPT2Config, TrainConfig
from gpt2.errors import DataError
from gpt2.generation import Sampling, steps
from gpt2.insight.evaluation import evaluate
from gpt2.insight.inspection import inspect
from gpt2.tokenizers import ByteTokenizer
from gpt2.training.measurements import diagnose
from gpt2.training.shards import Shards
from gpt2.training.step import Trainer
from tinygrad2 import Tensor, nn, ops, optim

SMALL = {"vocab_size": 17, "max_seq_len": 8, "d_model": 16, "num_layers": 2, "num_heads": 4}
VARIANTS = {
    "source document": {},
    "openai": {"tie_embeddings": True, "head_bias": False, "init": "gpt2"},
    "no biases": {"bias": False, "head_bias": False},
    "tied with head bias": {"tie_embeddings": True},
    "wide": {"d_ff": 40},
}


def build(dtype=np.float64, seed=0, **overrides):
    """A small model whose biases are not zero and gains not one."""
    model = GPT2(GPT2Config(**{**SMALL, **overrides}), seed, dtype)
    rng = np.random.default_rng(seed + 1)
    for p in model.parameters():
        p.data = (p.data + 0.2 * rng.standard_normal(p.shape)).astype(dtype)
    return model


def batch(rng, model, size=3):
    ids = rng.integers(0, model.config.vocab_size, (size, model.config.max_seq_len + 1))
    return ids[:, :-1], ids[:, 1:]


def test_every_part_is_where_the_architecture_says(rng):
    """Pre-LN blocks, added positions, a final norm, and a head: the forward pass written out with the parts."""
    model = build()
    ids, _ = batch(rng, model)
    x = model.wte.weight.data[ids] + model.wpe.weight.data[: ids.shape[1]]
    for block in model.h:
        x = x + block.attn(block.ln_1(Tensor(x))).data
        x = x + block.mlp(block.ln_2(Tensor(x))).data
    h = model.ln_f(Tensor(x)).data
    np.testing.assert_allclose(model(ids).data, h @ model.lm_head.weight.data.T + model.lm_head.bias.data, rtol=1e-10)


def test_changing_a_token_changes_no_logit_before_it(rng):
    model = build(np.float32)
    ids, _ = batch(rng, model)
    before = model(ids).data
    for t in range(1, ids.shape[1]):
        changed = ids.copy()
        changed[:, t] = (changed[:, t] + 1) % model.config.vocab_size
        after = model(changed).data
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert (after[:, t:] != before[:, t:]).any(axis=-1).all()


def test_a_loss_has_no_gradient_to_later_embeddings(rng, monkeypatch):
    model = build()
    ids, targets = batch(rng, model, 1)
    embedded = []
    monkeypatch.setattr(model, "drop", lambda x: embedded.append(Tensor(x.data, requires_grad=True)) or embedded[-1])
    for t in range(ids.shape[1]):
        logits = model(ids)
        ops.cross_entropy(logits[:, t], targets[:, t]).backward()
        g = embedded[-1].grad.data
        assert (g[:, t + 1 :] == 0).all()
        assert (np.abs(g[:, : t + 1]).max(axis=-1) > 0).all()


@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS)
def test_shorter_sequences_and_single_ones(overrides, rng):
    model = build(**overrides)
    ids, _ = batch(rng, model)
    logits = model(ids).data
    assert logits.shape == (3, 8, 17)
    np.testing.assert_allclose(model(ids[:, :5]).data, logits[:, :5], rtol=1e-10)
    np.testing.assert_allclose(model(ids[1]).data, logits[1], rtol=1e-10)


@pytest.mark.parametrize("ids", [np.zeros((1, 9), int), np.zeros((2, 0), int), np.array(3)])
def test_too_long_or_empty_sequences_are_refused(ids):
    with pytest.raises(DataError, match="1 to max_seq_len = 8 tokens"):
        build()(ids)


def test_initialisation_of_openai():
    model = GPT2(GPT2Config(**{**SMALL, "d_model": 256, "tie_embeddings": True, "head_bias": False, "init": "gpt2"}))
    std = {name: p.data.std() for name, p in model.named_parameters() if p.ndim == 2}
    assert std["wte.weight"] == pytest.approx(0.02, rel=0.05)
    assert std["wpe.weight"] == pytest.approx(0.01, rel=0.05)
    assert std["h.1.attn.c_attn.weight"] == pytest.approx(0.02, rel=0.02)
    assert std["h.0.attn.c_proj.weight"] == pytest.approx(0.02 / np.sqrt(4), rel=0.02)
    assert std["h.1.mlp.c_proj.weight"] == pytest.approx(0.02 / np.sqrt(4), rel=0.02)
    assert "lm_head.weight" not in std


def test_a_fresh_openai_model_guesses_uniformly(rng):
    model = GPT2(GPT2Config(**{**SMALL, **VARIANTS["openai"]}))
    assert model.loss(*batch(rng, model, 30)).item() == pytest.approx(np.log(17), rel=0.02)


def test_the_untied_head_represents_the_tied_one(rng):
    tied = build(tie_embeddings=True, head_bias=False)
    untied = build(seed=5)
    state = tied.state_dict()
    untied.load_state_dict({**state, "lm_head.weight": state["wte.weight"], "lm_head.bias": np.zeros(17)})
    ids, _ = batch(rng, tied)
    np.testing.assert_array_equal(untied(ids).data, tied(ids).data)


def test_the_seed_decides_the_weights():
    a, b, c = (GPT2(GPT2Config(**SMALL), seed) for seed in (0, 0, 1))
    for (name, p), q, r in zip(a.named_parameters(), b.parameters(), c.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)
        assert p.ndim < 2 or (p.data != r.data).all(), name


def test_overfits_one_batch(rng):
    model = GPT2(GPT2Config(**{**SMALL, "d_model": 32}))
    ids = rng.integers(0, 17, (2, 9))
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01
    np.testing.assert_array_equal(model.generate(ids[0, :1], 8), ids[0])


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("small", 163_087_441),
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
    ],
)
def test_published_parameter_counts(preset, count):
    with nn.init.shapes_only():
        assert GPT2(GPT2Config.preset(preset)).num_parameters() == count


def test_untied_small_without_head_bias():
    with nn.init.shapes_only():
        assert GPT2(GPT2Config.preset("small", head_bias=False)).num_parameters() == 163_037_184


# -- the same model in PyTorch


@pytest.mark.oracle
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)], ids=["float64", "float32"])
@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS)
def test_logits_and_all_gradients_as_pytorch(torch, rng, overrides, dtype, tolerance, implementation):
    model = build(dtype, **overrides)
    ids, targets = batch(rng, model)
    state = {name: torch.tensor(a.copy(), requires_grad=True) for name, a in model.state_dict().items()}
    logits, expected = torch_loss(torch, model.config, state, ids, targets)
    expected.backward()
    loss = model.loss(ids, targets)
    loss.backward()
    ours, theirs = model(ids).data, logits.detach().numpy()
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()
    assert loss.item() == pytest.approx(expected.item(), rel=tolerance)
    for name, p in model.named_parameters():
        g = state[name].grad.numpy()
        assert np.abs(p.grad.data - g).max() <= tolerance * max(np.abs(g).max(), 1e-2), name


@pytest.mark.oracle
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)], ids=["float64", "float32"])
@pytest.mark.parametrize("overrides", [{}, VARIANTS["openai"]], ids=["source document", "openai"])
def test_ten_adamw_steps_as_pytorch(torch, rng, overrides, dtype, tolerance):
    model = build(dtype, **overrides)
    ids, targets = batch(rng, model)
    state = {name: torch.tensor(a.copy(), requires_grad=True) for name, a in model.state_dict().items()}
    matrices = [t for t in state.values() if t.dim() > 1]
    vectors = [t for t in state.values() if t.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95))
    optimizer = optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1)
    for _ in range(10):
        _, expected = torch_loss(torch, model.config, state, ids, targets)
        loss = model.loss(ids, targets)
        assert loss.item() == pytest.approx(expected.item(), rel=tolerance)
        for o, value in ((reference, expected), (optimizer, loss)):
            o.zero_grad()
            value.backward()
        torch.nn.utils.clip_grad_norm_(list(state.values()), 1.0)
        optim.clip_grad_norm(model.parameters(), 1.0)
        reference.step()
        optimizer.step()


@pytest.mark.oracle
def test_label_smoothing_is_that_of_torch(torch, rng):
    model = build()
    ids, targets = batch(rng, model)
    logits = torch.tensor(model(ids).data, requires_grad=True)
    theirs = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor(targets.ravel()), label_smoothing=0.3)
    assert model.loss(ids, targets, label_smoothing=0.3).item() == pytest.approx(theirs.item(), rel=1e-10)


IDS = np.arange(40)
USES = {
    "generate": lambda model, _: model.generate(np.zeros(1, int), 3),
    "steps, closed early": lambda model, _: next(steps(model, np.zeros((1, 1), int), 3, Sampling())),
    "inspect": lambda model, _: inspect(model, IDS[:8]),
    "evaluate": lambda model, shards: evaluate(model, ByteTokenizer(), IDS, 8, shards),
    "validate": lambda model, shards: shards.evaluate(model, [(IDS[None, :8], IDS[None, 1:9])]),
    "diagnose": lambda model, shards: diagnose(Trainer(model, TrainConfig(), IDS, shards), {}, IDS[None, :9]),
}


@pytest.mark.parametrize("fails", [False, True], ids=["ends", "fails"])
@pytest.mark.parametrize("use", USES)
def test_who_evaluates_a_model_leaves_every_mode_as_it_was(use, fails):
    model = build(vocab_size=257, dropout=0.5)
    model.h[1].attn.eval()
    modes, inside = [module.training for module in model.modules()], []

    def look(*_):
        inside.extend(module.training for module in model.modules())
        if fails:
            raise ZeroDivisionError

    model.ln_f.register_forward_hook(look)
    with Shards(1, 1, 1) as shards, pytest.raises(ZeroDivisionError) if fails else nullcontext():
        USES[use](model, shards)
    assert inside
    assert not any(inside)
    assert [module.training for module in model.modules()] == modes


def test_a_preset_prints_on_a_screen():
    with nn.init.shapes_only():
        model = GPT2(GPT2Config.preset("small", tie_embeddings=True))
    lines = repr(model).splitlines()
    assert len(lines) < 50
    assert lines[0] == f"GPT2, {model.num_parameters():,} parameters"
    assert "  h.0 to h.11 (12 times), each: Block, 7,087,872 parameters" in lines
    assert "    weight: the same as wte.weight" in lines
