"""The rules that the lab shows and asks for: specialised without being changed, tried on inputs of which the truth is known."""

import re

import numpy as np
import pytest
from op_samples import NAMES, SAMPLES, arguments

from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, nn, ops, study
from tinygrad2.study.formulas import code, evaluate
from tinygrad2.study.lab.catalogue import CATALOGUE
from tinygrad2.study.lab.faults import put, summed
from tinygrad2.study.lab.mutants import mutants, whole
from tinygrad2.study.lab.questions import Rules, unbroadcast_code
from tinygrad2.study.lab.specialise import specialised
from tinygrad2.study.lab.trials import LONG, trials


def uses(loss):
    """Every use of a value in a computation, in float64."""
    trace = study.Trace(loss).to(np.float64)
    parts = [part for parts in trace.backward().contributions.values() for part in parts]
    return [part for part in parts if part.raw is not None]


def slope(trial):
    """The derivative of the output, weighed with g, along random directions; by central differences of the forward alone."""
    rng = np.random.default_rng(3)
    value, x = trial.value, trial.value.arrays[trial.index]
    for _ in range(3):
        direction = rng.standard_normal(x.shape)
        outs = []
        for t in (1e-6, -1e-6):
            moved = (*value.arrays[: trial.index], x + t * direction, *value.arrays[trial.index + 1 :])
            outs.append(value.op.run(moved, value.settings)[0])
        yield np.sum(trial.g * (outs[0] - outs[1])) / 2e-6, np.sum(trial.truth * direction)


def is_full(op, number):
    """Whether a sample has entries that get a gradient."""
    arrays = [a for a in arguments(op, number)[0] if isinstance(a, np.ndarray)]
    return all(a.size for a in arrays) and any(a.dtype.kind == "f" for a in arrays)


FULL = {name: pair for pair, name in zip(SAMPLES, NAMES, strict=True) if is_full(*pair)}


@pytest.mark.parametrize(("op", "number"), FULL.values(), ids=FULL)
def test_the_truth_of_a_trial_is_what_differences_say_and_the_shown_rule_gives_it(op, number):
    args, params = arguments(op, number)
    arrays = [Tensor(a, requires_grad=True) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in args]
    with study.record():
        out = op.call(*arrays, **params)
        loss = np.sum(out * np.random.default_rng(5).standard_normal(out.shape))
    found = [part for part in uses(loss) if part.user.op is op and out.size]
    for part in found:
        tried = trials(part.user, part.index)
        if op.name not in ("cholesky", "eigh"):  # of symmetric matrices alone, which are not drawn
            assert len(tried) == 2, op.name
        for trial in tried:
            assert not np.array_equal(trial.g, np.ones_like(trial.g))
            if op.name not in ("qr", "svd", "eigh"):
                for measured, given in slope(trial):
                    assert given == pytest.approx(measured, rel=1e-4, abs=1e-5 * (1 + np.abs(trial.truth).sum()))
        text = code(part.user, part.index)
        if text is None or not tried:
            continue
        shown = specialised(text, tried)
        assert len(shown) <= len(text) + 40
        for trial in tried:
            summed = unbroadcast_code(trial.run(shown).shape, trial.truth.shape)
            np.testing.assert_allclose(trial.run(whole(shown, summed, False)), trial.truth, rtol=1e-8, atol=1e-9)
            np.testing.assert_allclose(trial.run(whole(shown, summed, True)), trial.before + trial.truth, rtol=1e-8, atol=1e-9)


x, w, b = (Tensor(np.random.default_rng(len(s)).standard_normal(s), requires_grad=True) for s in [(3, 4), (4, 2), (2,)])
SHOWN = {
    "g @ b.T; a.T @ g": lambda: x @ w,
    "g; g": lambda: x @ w + b,
    "out * (g - np.sum(g * out, axis=-1, keepdims=True))": lambda: ops.softmax(x),
    "np.broadcast_to(g, x.shape)": lambda: np.sum(x, axis=0),
    "np.broadcast_to(g, x.shape) / x.shape[0]": lambda: np.mean(x, axis=0),
    "np.broadcast_to(g, x.shape) / x.size": lambda: np.mean(x),
    "g.T": lambda: np.transpose(x),
    "g * b * a ** (b - 1)": lambda: x**2.0,
    "np.where(x <= 0, 0, g)": lambda: ops.relu(x),
    "np.where(a == out, g, 0)": lambda: np.maximum(x, 0.1),
}


@pytest.mark.parametrize(("shown", "f"), list(SHOWN.items()), ids=list(SHOWN))
def test_a_rule_is_shown_without_what_does_not_concern_these_values(shown, f):
    with study.record():
        out = f()
        loss = np.sum(out * np.random.default_rng(5).standard_normal(out.shape))
    last = next(v for v in study.Trace(loss).to(np.float64).values if np.array_equal(v.array, out.data) and not v.is_leaf)
    texts = [specialised(code(last, i), trials(last, i)) for i, known in enumerate(last.inputs) if known is not None]
    assert "; ".join(texts) == shown


def loss_of(dropout=0.0, width=8, heads=2, vocabulary=11, **settings):
    model = GPT2(GPT2Config(vocabulary, 8, width, 1, heads, 2 * width, dropout=dropout, **settings), seed=0)
    ids = np.array([[1, 2, 3, 4, 2]])
    with study.record(), nn.dropout_rng(np.random.default_rng(1)):
        return model.loss(ids[:, :-1], ids[:, 1:])


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_branch_for_what_is_off_is_not_shown(dropout):
    loss = loss_of(dropout, head_bias=False, tie_embeddings=True)
    trace = study.Trace(loss)
    rules = Rules()
    backward = trace.backward()
    texts = {
        part.user.op.name: rules.code(part, backward.gradients[part.user])
        for parts in backward.contributions.values()
        for part in parts
    }
    assert bool(re.search(r"\bkeep\b", texts["causal_attention"])) == bool(dropout)
    assert not [text for text in texts.values() if " is None" in text]


@pytest.mark.parametrize(("width", "heads", "vocabulary"), [(96, 4, 65), (120, 12, 50257), (32, 2, 17)])
def test_large_ops_are_tried_on_small_arrays_of_the_same_rank(width, heads, vocabulary):
    for part in uses(loss_of(0.1, width, heads, vocabulary)):
        tried = trials(part.user, part.index)
        assert len(tried) == 2, part.user.full_name
        for trial in tried:
            shapes = [(np.shape(a), np.shape(b)) for a, b in zip(trial.value.arrays, part.user.arrays, strict=True)]
            assert all(len(a) == len(b) for a, b in shapes)
            assert sum(int(np.prod(a)) for a, _ in shapes) <= 1500, (part.user.full_name, shapes)
            assert all(m > 1 for a, b in shapes for m, n in zip(a, b, strict=True) if n > 1)
            assert all(m == n for a, b in shapes for m, n in zip(a, b, strict=True) if n <= LONG)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize(
    ("width", "heads", "length"), [(128, 4, 7), (128, 4, 65), (120, 12, 5), (768, 12, 65), (8, 4, 4), (96, 1, 30)]
)
def test_every_mistake_of_the_catalogue_is_seen_in_a_trial(width, heads, length, dropout):
    """What is wrong in the computation is wrong in its trials, however they are cut down."""
    model = GPT2(GPT2Config(65, length, width, 1, heads, 2 * width, dropout=dropout), seed=0)
    ids = np.random.default_rng(0).integers(0, 65, (1, length))
    with study.record(), nn.dropout_rng(np.random.default_rng(1)):
        loss = model.loss(ids[:, :-1], ids[:, 1:])
    for part in uses(loss):
        tried = trials(part.user, part.index)
        for fault in CATALOGUE:
            if part.index not in fault.codes(part.user):
                continue
            right, wrong = fault.codes(part.user)[part.index]
            g = np.random.default_rng(3).standard_normal(part.user.array.shape)
            more = {"put": put, "summed": summed}
            try:
                a, b = (evaluate(text, part.user, g, **more) for text in (right, wrong))
            except ValueError:  # it has no shape that fits
                continue
            if np.shape(a) != np.shape(b) or np.allclose(a, b, rtol=1e-3, atol=1e-12):
                continue
            seen = []
            for trial in tried:
                one, other = (evaluate(text, trial.value, trial.g, **more) for text in (right, wrong))
                seen.append(np.shape(one) != np.shape(other) or not np.allclose(one, other, rtol=1e-3))
            assert any(seen), (fault.key, part.user.full_name, [np.shape(x) for x in tried[0].value.arrays])


def test_no_mutant_is_right_and_each_is_another():
    for part in uses(loss_of()):
        text, tried = code(part.user, part.index), trials(part.user, part.index)
        rule = specialised(text, tried)
        summed = unbroadcast_code(tried[0].run(rule).shape, tried[0].truth.shape)
        found, misfits = mutants(rule, summed, True, tried)
        assert len(found) >= 5, rule
        for text in misfits:
            with pytest.raises(ValueError):
                [trial.run(text) for trial in tried]
        answers = [[trial.run(text) for trial in tried] for text in found]
        for i, one in enumerate(answers):
            truths = [trial.before + trial.truth for trial in tried]
            for other in [truths, *answers[:i]]:
                assert not all(a.shape == b.shape and np.allclose(a, b, rtol=1e-4) for a, b in zip(one, other, strict=True))
