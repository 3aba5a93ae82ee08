"""What is damaged never reaches the parameters: a loss, a gradient or a batch, found in the step that meets it.

STRESS=1 pytest tests/gpt2/run/test_damage.py damages 200 steps in each way of each test.
"""

import os

import numpy as np
import pytest
from small_runs import run_once, without_speed

from gpt2 import GPT2, GPT2Config, TrainConfig
from gpt2.errors import GPT2Error
from gpt2.run.folder import Run
from gpt2.run.metrics import read_metrics
from gpt2.text import batches
from gpt2.training.shards import Shards
from gpt2.training.state import state
from gpt2.training.step import Trainer
from tinygrad2.errors import TinygradError

COUNT = 200 if os.environ.get("STRESS") else 18
DAMAGED = range(1, 2 * COUNT, 2)
"""Places in the data: every second batch is damaged, in each way in turn."""


def contents(trainer):
    """Everything that a step may change, but its place in the data: parameters, moments, average, what is known of spikes."""
    now = state(trainer)
    return {name: array.tobytes() for name, array in now.arrays.items()}, {**now.about, "position": None}


@pytest.mark.parametrize("what", ["loss", "gradient", "batch"])
def test_what_is_not_finite_never_reaches_the_parameters(tmp_path, text, monkeypatch, what):
    """A batch can bring what is not a number only by an id whose row holds it."""
    right, step = Shards.loss_and_gradients, Trainer.step
    seen = []

    def value_at(position):
        return (np.nan, np.inf, -np.inf)[position // 2 % 3]

    def poisoned(self, model, batch, seed, position, smoothing=0.0):
        loss, grads = right(self, model, batch, seed, position, smoothing)
        if position in DAMAGED and what == "gradient":
            grad = grads[position % len(grads)]
            grad.flat[position % grad.size] = value_at(position)
        return value_at(position) if position in DAMAGED and what == "loss" else loss, grads

    def watched(self, measure):
        position, before, steps = self.position, contents(self), self.steps
        if position not in DAMAGED:
            return step(self, measure)
        ids, table = self.batch()[0], self.model.wte.weight.data
        place = ids.flat[position % ids.size], position % table.shape[1]
        good = table[place]
        if what == "batch":
            table[place] = value_at(position)
        row = step(self, measure)
        table[place] = good
        assert contents(self) == before
        assert row["step"] == steps + 1
        seen.append((value_at(position), row))
        return row

    monkeypatch.setattr(Shards, "loss_and_gradients", poisoned)
    monkeypatch.setattr(Trainer, "step", watched)
    settings = {"steps": COUNT + 1, "eval_every": 1000, "ema_decay": 0.9, "shards": 2, "on_nonfinite": "skip"}
    run, result, rows = run_once(tmp_path / "a", text, **settings)
    assert result.steps - 1 == len(seen) == COUNT
    for value, row in seen:
        named = {"loss": f"loss is {value}", "gradient": f"gradient norm is {abs(value)}", "batch": "loss is nan"}[what]
        assert row["skipped"] == named
    logged = [row for row in rows if "skipped" in row]
    assert repr(without_speed(logged)) == repr(without_speed(row for _, row in seen))  # nan is not equal to itself
    assert all(np.isfinite(p.data).all() for p in run.load_model()[0].parameters())


# -- ids that the vocabulary does not have


@pytest.fixture
def put(monkeypatch):
    """What a batch gets for a damaged id: {place in the data: (0 for its inputs or 1 for its targets, the id)}."""
    damage, right = {}, batches.batch

    def batch(ids, batch_size, seq_len, seed, step):
        parts = [part.copy() for part in right(ids, batch_size, seq_len, seed, step)]
        if step in damage:
            part, bad = damage[step]
            parts[part].flat[step % parts[part].size] = bad
        return tuple(parts)

    monkeypatch.setattr(batches, "batch", batch)
    return damage


@pytest.fixture
def trainers(text):
    """Two of one kind, of a text with a vocabulary of V; and V."""
    letters, ids = np.unique(list(text[:2000]), return_inverse=True)
    shape = GPT2Config(vocab_size=len(letters), max_seq_len=8, d_model=8, num_layers=1, num_heads=2)
    config = TrainConfig(batch_size=4, warmup_steps=3, steps=2 * COUNT, ema_decay=0.9, on_nonfinite="skip")
    with Shards(threads=1, shards=2, batch_size=4) as shards:
        yield *(Trainer(GPT2(shape, seed=0), config, ids, shards) for _ in range(2)), len(letters)


def bad_ids(vocab_size):
    """By place in the data: part and id, just outside and far away on both sides."""
    kinds = [(part, bad) for bad in (vocab_size, -1, 10**6, -vocab_size, -(10**6)) for part in (0, 1)]
    return {position: kinds[position // 2 % len(kinds)] for position in DAMAGED}


def test_an_id_outside_the_vocabulary_never_reaches_the_parameters(put, trainers):
    """Once the id is right again the training goes on as if nothing had been."""
    damaged, right, vocab_size = trainers
    for position, (part, bad) in bad_ids(vocab_size).items():
        for trainer in (damaged, right):
            while trainer.position < position:
                trainer.step()
        before = contents(damaged)
        put[position] = part, bad
        with pytest.raises((GPT2Error, TinygradError), match=rf"(?<![\d-]){bad}\b"):
            damaged.step()
        del put[position]
        assert contents(damaged) == before
        assert damaged.position == position
    assert damaged.step()["train_loss"] == right.step()["train_loss"]
    assert contents(damaged) == contents(right)


def test_the_step_that_meets_such_an_id_is_named(put, trainers):
    trainer, _, vocab_size = trainers
    for _ in range(3):
        trainer.step()
    put[3] = 1, vocab_size
    with pytest.raises(GPT2Error, match=rf"step 4: .*\b{vocab_size}\b"):
        trainer.step()


def test_a_run_that_met_such_an_id_goes_on_from_its_checkpoint_as_if_it_had_not(put, tmp_path, text):
    settings = {"steps": 12, "eval_every": 5, "save_every": 5}
    expected, _, rows = run_once(tmp_path / "right", text, **settings)
    put[7] = 0, 10**6
    with pytest.raises((GPT2Error, TinygradError), match=r"\b1000000\b"):
        run_once(tmp_path / "a", text, **settings)
    assert without_speed(read_metrics(Run(tmp_path / "a").metrics)) == without_speed(rows[:8])
    put.clear()
    run, _, resumed = run_once(tmp_path / "a", text, resume=True, **settings)
    assert without_speed(resumed) == without_speed(rows)
    assert run.model.read_bytes() == expected.model.read_bytes()
