"""One training step: what it computes, and what it computes again to say where a number stopped being finite."""

import threading

import numpy as np
import pytest
from kernel_settings import needs_mkl
from small_runs import MODEL

from gpt2 import GPT2, GPT2Config, TrainConfig
from gpt2.training.shards import Shards
from gpt2.training.step import NonFiniteError, Trainer
from tinygrad2 import optim
from tinygrad2.kernels.fast import products

IDS = np.random.default_rng(0).integers(0, 11, 500)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=needs_mkl)])
@pytest.mark.parametrize(("threads", "shards"), [(1, 1), (1, 3), (2, 3)])
def test_the_blame_is_looked_for_in_what_was_computed(monkeypatch, threads, shards, dtype):
    """The same shards, dropout, label smoothing and precision: every loss of the step, once more and to the bit."""
    model = GPT2(GPT2Config(vocab_size=11, dropout=0.3, **MODEL))
    seen, loss, last = [], GPT2.loss, threading.local()
    model.ln_f.register_forward_hook(lambda _, inputs, out: setattr(last, "hidden", inputs[0].data.tobytes()))

    def recorded(self, x, y, smoothing=0.0):
        try:
            return loss(self, x, y, smoothing)
        finally:
            seen.append((x.tobytes(), y.tobytes(), smoothing, products.rounds(), last.hidden))

    config = TrainConfig(batch_size=7, threads=threads, shards=shards, label_smoothing=0.1, dtype=dtype)
    with Shards(threads, shards, 7) as together:
        trainer = Trainer(model, config, IDS, together)
        trainer.step()
        model.ln_f.weight.data[3] = np.inf
        monkeypatch.setattr(GPT2, "loss", recorded)
        with (
            np.errstate(all="ignore"),
            pytest.raises(NonFiniteError, match=r"step 2: .*cross_entropy made 1 nan.*lower --learning-rate"),
        ):
            trainer.step()
    first, again = sorted(seen[:shards]), sorted(seen[shards:])
    assert len(set(first)) == shards
    assert again == first
    assert {call[2:4] for call in seen} == {(0.1, dtype == "bfloat16")}


def test_a_step_is_the_update_of_its_gradients():
    """The optimizer, given the clipped gradients by hand in a model that has `.grad`, makes the same parameters.

    Of SGD, whose update is as large as the gradient: the first one of Adam does not depend on its size.
    """
    config = TrainConfig(batch_size=6, shards=2, grad_clip=0.05, warmup_steps=0, optimizer="sgd", learning_rate=0.1)
    models = [GPT2(GPT2Config(vocab_size=11, **MODEL), seed=3) for _ in range(2)]
    with Shards(1, 2, 6) as shards:
        trainer = Trainer(models[0], config, IDS, shards)
        batch = trainer.batch()
        row = trainer.step()
    models[1].loss(*batch).backward()
    parameters = models[1].parameters()
    norm = optim.clip_grad_norm(parameters, 0.05)
    assert row["grad_norm"] == pytest.approx(norm, rel=1e-5)
    assert norm > 0.05
    optim.SGD(parameters, row["learning_rate"], momentum=config.beta1).step()
    for a, b in zip(models[0].parameters(), parameters, strict=True):
        assert a.grad is None
        np.testing.assert_allclose(a.data, b.data, rtol=0, atol=1e-6)
    whole = np.concatenate([p.data.ravel() for p in parameters])
    start = np.concatenate([p.data.ravel() for p in GPT2(models[1].config, seed=3).parameters()])
    mine = np.concatenate([p.data.ravel() for p in models[0].parameters()])
    assert np.linalg.norm(mine - whole) < 1e-3 * np.linalg.norm(whole - start)
