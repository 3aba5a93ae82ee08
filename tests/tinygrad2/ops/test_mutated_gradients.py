"""The checker's own score: every rule, corrupted in every systematic way, is caught; and nothing healthy is accused.

STRESS=1 pytest tests/tinygrad2/ops/test_mutated_gradients.py also has the fast check look at every sample of every op.
"""

import itertools
import os

import numpy as np
import pytest
from op_samples import NAMES, OPS, SAMPLES, arguments, sample

from tinygrad2 import Tensor, autograd, gradcheck
from tinygrad2.ops.indexing import Scatter

pytestmark = pytest.mark.slow


def one_entry(c):
    changed = c.copy()
    changed.flat[np.argmax(np.abs(c))] *= 1.01
    return changed


CORRUPTIONS = {
    "sign": lambda c: -c,
    "x1.001": lambda c: 1.001 * c,
    "dropped": lambda c: 0 * c,
    "transposed": lambda c: c.swapaxes(-1, -2) if c.ndim > 1 and c.shape[-1] == c.shape[-2] else c,
    "reversed": lambda c: c[..., ::-1] if c.ndim else c,
    "one entry": one_entry,
}


def changed(c, change):
    """A cotangent, changed."""
    if isinstance(c, Scatter):
        return Scatter(c.index, change(np.asarray(c.values)), c.shape)
    return change(np.asarray(c)) if c is not None and np.size(c) else c


def plant(planted, op, position, change):
    """Corrupt what an op gives one of its inputs: in its own rule, or in the function that gives all at once."""
    rules, vjp = op.rules, op.vjp
    if rules is not None:
        wrong = [
            (lambda *args, **settings: changed(rules[position](*args, **settings), change)) if i == position else rule
            for i, rule in enumerate(rules)
        ]
        planted.setattr(op, "rules", tuple(wrong))
    else:
        planted.setattr(
            op,
            "vjp",
            staticmethod(
                lambda *args, **settings: [
                    changed(c, change) if i == position else c for i, c in enumerate(vjp(*args, **settings))
                ]
            ),
        )


def gradients_of(f, inputs):
    tensors = [Tensor(x.copy(), requires_grad=True) for x in inputs]
    out = f(*tensors)
    g = np.random.default_rng(0).standard_normal(out.shape)
    return [x.data for x in autograd.grad([out], tensors, [g])]


def differ(a, b):
    """By more than another order of summation would explain."""
    return not all(np.allclose(x, y, rtol=1e-9, atol=1e-12) for x, y in zip(a, b, strict=True))


def corruptions(op, number, monkeypatch, known=()):
    """Plants one corruption after another, and yields which: all that change a gradient of a sample, but for those `known`."""
    f, inputs = sample(op, number)
    if any(x.size for x in inputs) and f(*inputs).size:
        true = gradients_of(f, inputs)
        for (name, change), position in itertools.product(
            CORRUPTIONS.items(), range(op.arity or len(arguments(op, number)[0]))
        ):
            if (name, position) in known:
                continue
            with monkeypatch.context() as planted:
                plant(planted, op, position, change)
                if differ(gradients_of(f, inputs), true):  # otherwise it is no corruption: a zero has no sign
                    yield name, position


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_corruption_of_every_rule_is_caught(op, monkeypatch):
    """Each on the first sample where it changes anything, in turns along every direction and along a random one."""
    caught = set()
    for number in range(len(op.samples)):
        f, inputs = sample(op, number)
        for corruption in corruptions(op, number, monkeypatch, caught):
            fast = (OPS.index(op) + len(caught)) % 2 == 1
            assert gradcheck(f, inputs, fast=fast).verdict == "wrong", (number, corruption, fast)
            caught.add(corruption)
    assert {"sign", "x1.001", "dropped", "one entry"} <= {name for name, _ in caught} or op.name == "sign"  # which sends zeros


FAST = [pair for pair in SAMPLES if pair[1] == 0 or os.environ.get("STRESS")]
"""What is also checked along one random direction: the first sample of each op, or all."""
CHECKS = [(*pair, False) for pair in SAMPLES] + [(*pair, True) for pair in FAST]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("op", "number", "fast"), CHECKS, ids=lambda value: getattr(value, "name", value))
def test_every_corruption_of_every_rule_is_caught_on_every_sample(op, number, fast, monkeypatch):
    f, inputs = sample(op, number)
    caught = 0
    for corruption in corruptions(op, number, monkeypatch):
        assert gradcheck(f, inputs, fast=fast).verdict == "wrong", corruption
        caught += 1
    if not any(x.size for x in inputs) or not f(*inputs).size:
        return
    assert caught or not any(x.any() for x in gradients_of(f, inputs))


@pytest.mark.parametrize(("op", "number"), SAMPLES, ids=NAMES)
def test_a_missing_sum_over_broadcast_axes_is_caught(op, number, monkeypatch):
    f, inputs = sample(op, number)
    if not any(x.size for x in inputs) or not f(*inputs).size:
        return
    true, fit = gradients_of(f, inputs), autograd.unbroadcast

    def first_only(g, x, op=None):
        while g.ndim > x.ndim:
            g = np.asarray(g[0])
        for axis, n in enumerate(x.shape):
            if n == 1 and g.shape[axis] > 1:
                g = np.take(g, [0], axis)
        return fit(g, x, op)

    monkeypatch.setattr(autograd, "unbroadcast", first_only)
    if differ(gradients_of(f, inputs), true):
        assert gradcheck(f, inputs).verdict == "wrong"


def test_one_thousand_healthy_checks_raise_no_alarm():
    undecided = 0
    for seed in range(1000):
        op, number = SAMPLES[seed % len(SAMPLES)]
        f, inputs = sample(op, number, seed)
        if any(x.size for x in inputs) and f(*inputs).size:
            result = gradcheck(f, inputs, fast=bool(seed % 2), complex_step=seed % 3 == 0, seed=seed)
            assert result.verdict != "wrong", f"{op.name} {number} {seed}\n{result}"
            undecided += result.verdict == "undecidable"
    assert undecided <= 10
