"""Every case has one faulty op by finite differences made here, every mistake can be planted, and the search finds it."""

import functools
import itertools

import numpy as np
import pytest
from op_samples import OPS, arguments

from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, nn, ops, study
from tinygrad2.errors import GraphError
from tinygrad2.ops.op import Op
from tinygrad2.study.lab import diagnose
from tinygrad2.study.lab.catalogue import CATALOGUE
from tinygrad2.study.lab.diagnose import Diagnosis
from tinygrad2.study.trace import contributed

FAULTS = {fault.key: fault for fault in CATALOGUE}
OP = {op.name: op for op in OPS}


def of_gpt2(**settings):
    shape = {"vocab_size": 11, "max_seq_len": 6, "d_model": 16, "num_layers": 2, "num_heads": 2, "d_ff": 32}
    model = GPT2(GPT2Config(**{**shape, **settings}), seed=0)
    ids = np.random.default_rng(0).integers(0, 11, (2, 6))
    with study.record(), nn.dropout_rng(np.random.default_rng(1)):
        return study.Trace(model.loss(ids, ids[:, ::-1].copy()))


def by_hand():
    """A network of primitives: an attention with a mask of -inf, slices, a maximum, broadcasting in every way."""
    rng = np.random.default_rng(0)
    x, w, gain, v = (Tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((3, 4, 5), (5, 5), (4, 1), (3, 4, 5)))
    with study.record():
        h = np.tanh(x @ w) * gain
        mask = np.where(np.tri(4, dtype=bool), 0.0, -np.inf)
        p = np.exp(h @ np.swapaxes(h, -1, -2) + mask)
        mixed = ops.relu((p / np.sum(p, axis=-1, keepdims=True)) @ v) - x
        parts = np.reshape(np.transpose(mixed, (0, 2, 1)), (15, 4))
        top = np.max(parts, axis=-1) * np.mean(parts * parts, axis=1)
        return study.Trace((np.maximum(top[3:], 0.1) * np.square(top[:-3])).mean())


GRAPHS = {
    "gpt2": lambda: of_gpt2(tie_embeddings=False, head_bias=True),
    "tied, with dropout": lambda: of_gpt2(tie_embeddings=True, dropout=0.2),
    "by hand": by_hand,
}


@functools.cache
def diagnosis(name):
    return Diagnosis(GRAPHS[name]())


@functools.cache
def case_list(name):
    return diagnosis(name).cases(12)


def off_by_differences(backward):
    """How far each op's contributions, as the sums show them, are from differences of its forward."""
    found = {}
    sums = {}
    rng = np.random.default_rng(99)
    for op in backward.order:
        parts = [part for parts in backward.contributions.values() for part in parts if part.user is op]
        for part in sorted(parts, key=lambda part: part.index):
            before = sums.get(part.target)
            sums[part.target] = after = part.added_to(before)
            added = after - (0 if before is None else before)
            x = op.arrays[part.index]
            direction = rng.standard_normal(x.shape) * 0.3
            outs = [
                op.op.run((*op.arrays[: part.index], x + t * direction, *op.arrays[part.index + 1 :]), op.settings)[0]
                for t in (1e-6, -1e-6)
            ]
            where = np.isfinite(outs[0])
            expected = np.sum(backward.gradients[op] * (np.where(where, outs[0], 0) - np.where(where, outs[1], 0))) / 2e-6
            size = max(0.3 * np.sqrt(np.sum(added**2)), abs(expected), 1e-6)
            found[op] = max(found.get(op, 0), abs(np.sum(added * direction) - expected) / size)
    for value, total in sums.items():
        np.testing.assert_array_equal(total, backward.gradients[value])
    return found


def between(trace, op):
    """An op and those between it and the loss."""
    found, waiting = {op}, [op]
    while waiting:
        for user, _ in trace.consumers(waiting.pop()):
            if user not in found:
                found.add(user)
                waiting.append(user)
    return found


@pytest.mark.parametrize("name", GRAPHS)
def test_exactly_one_op_is_faulty_and_none_in_a_control(name):
    for case in case_list(name):
        off = off_by_differences(case.backward)
        assert {op for op, amount in off.items() if amount > 1e-4} == ({case.culprit} if case.culprit else set()), case.key
        assert set(off) == set(diagnosis(name).ops)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_probe_disagrees_from_the_culprit_down_and_nowhere_else(name):
    game = diagnosis(name)
    for op in game.ops:
        assert game.reach[op] == between(game.trace, op)
    for case in case_list(name):
        for op in game.ops:
            a, b = game.measured[op], case.predicted[op]
            distance = abs(a - b) / max(abs(a), abs(b), 1e-300)
            assert distance > 1e-2 if case.culprit in between(game.trace, op) else distance < 1e-5, (case.key, op)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_search_wins_every_case_within_the_budget(name):
    game = diagnosis(name)
    most = 0
    for culprit in [*game.ops, None]:  # also those for which there is no case
        accused, probes = game.search.run(lambda op, culprit=culprit: culprit not in between(game.trace, op))
        assert accused is culprit
        most = max(most, len(probes))
    assert game.budget == most + 1
    assert most < 2 * np.log2(len(game.ops) + 1)
    for case in case_list(name):
        accused, probes = game.solve(case)
        assert case.is_right(accused)
        assert len(probes) < case.budget


def test_only_the_culprit_is_right_and_nobody_in_a_control():
    game = diagnosis("gpt2")
    for case in case_list("gpt2"):
        assert [op for op in [*game.ops, None] if case.is_right(op)] == [case.culprit]


@pytest.mark.parametrize("name", GRAPHS)
def test_cases_are_varied(name):
    cases, game = case_list(name), diagnosis(name)
    assert len(cases) == 12
    assert len({case.key for case in cases}) == 12
    assert [case.culprit is None for case in cases].count(True) == 1  # two of them would show the same
    assert len({case.fault for case in cases}) == 12
    depths = [4 * game.ops.index(case.culprit) // len(game.ops) for case in cases if case.culprit]
    assert min(depths.count(quarter) for quarter in range(4)) >= (1 if name == "by hand" else 2)
    assert len({case.culprit for case in cases}) >= 8
    assert all((case.fault is None) == (case.culprit is None) for case in cases)


@pytest.mark.parametrize("count", [1, 2, 5, 60])
def test_no_two_cases_show_the_same(count):
    rng = np.random.default_rng(2)
    x, w = (Tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((3, 4), (4, 2)))
    with study.record():
        h = x @ w
        loss = np.sum(np.tanh(h) * h) + np.sum(h * h)
    cases = diagnose.cases(study.Trace(loss), count)
    assert len(cases) == count if count < 60 else 5 < len(cases) < 60  # then there are no more
    assert count > 1 or cases[0].culprit is not None
    pictures = [tuple(np.round(case.backward.gradients[v], 9).tobytes() for v in case.backward.order) for case in cases]
    parts = [tuple(np.round(part, 9).tobytes() for part in diagnose.shown(case.backward).values()) for case in cases]
    assert len(set(zip(pictures, parts, strict=True))) == len(cases)


def test_the_same_seed_gives_the_same_cases():
    trace = by_hand()
    first, again, other = (diagnose.cases(trace, 8, seed) for seed in (3, 3, 4))
    assert [case.key for case in first] == [case.key for case in again]
    assert [list(case.predicted.values()) for case in first] == [list(case.predicted.values()) for case in again]
    assert [case.key for case in first] != [case.key for case in other]
    controls = [[case.key for case in diagnose.cases(trace, 4, seed)].index("healthy") for seed in range(5)]
    assert len(set(controls)) > 1  # a control may be anywhere


@pytest.mark.parametrize("key", FAULTS)
def test_every_mistake_can_be_planted(key):
    assert any(diagnosis(name).planted(FAULTS[key], op) for name in GRAPHS for op in diagnosis(name).ops)


SQUARE = {
    "linear": ("normal(3, 4), normal(4, 4), None",),
    "matmul": ("normal(3, 4, 4), normal(4, 4)",),
    "linear_cross_entropy": ("normal(3, 4), normal(4, 4), None, np.array([1, 2, 0])",),
}
"""Arguments with a square weight, which the samples do not have."""


@pytest.mark.parametrize(("key", "name"), [(fault.key, name) for fault in CATALOGUE for name in fault.edits])
def test_every_wrong_formula_is_of_its_op_and_wrong(key, name, monkeypatch):
    """On the samples of the op alone: the text is in the formula, can be evaluated, and the proof finds it."""
    fault, op = FAULTS[key], OP[name]
    formulas = [op.formula(i) for i in range(op.arity)]
    assert any(fault.edits[name][0] in formula.code for formula in formulas if formula)
    monkeypatch.setattr(op, "samples", (*SQUARE.get(name, ()), *op.samples))
    for number in range(len(op.samples)):
        args, params = arguments(op, number)
        arrays = [
            Tensor(a, requires_grad=True) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in args[: op.arity]
        ]
        with study.record():
            out = op.call(*arrays, *args[len(arrays) :], **params)
            loss = np.sum(out * np.random.default_rng(5).standard_normal(out.shape))
        if out.size == 0:
            continue
        game = Diagnosis(study.Trace(loss))
        (value,) = [value for value in game.ops if value.op is op and value.inputs[0] is not None and value.inputs[0].is_leaf]
        case = game.planted(fault, value)
        if case is not None:
            assert case.culprit is value
            assert all(right != wrong for right, wrong in fault.codes(value).values())
            return
    pytest.fail("on no sample")


def test_mistakes_in_the_sum_are_what_they_say():
    x, b = Tensor(np.arange(6.0).reshape(3, 2) / 7 + 0.3, requires_grad=True), Tensor([0.2, 0.4], requires_grad=True)
    weights = np.array([[1.0, 2.0], [4.0, 8.0], [16.0, 32.0]])
    with study.record():
        loss = np.sum(np.sin(x + b) * weights) + np.sum(b * b * b)
    game = Diagnosis(study.Trace(loss))
    value, add = game.trace.find("b"), game.trace.find("add")
    slope = np.cos(x.data + b.data) * weights
    own = 3 * b.data**2

    def gradient(key, op):
        return game.planted(FAULTS[key], op).backward.gradients[value]

    np.testing.assert_allclose(game.healthy.backward.gradients[value], slope.sum(0) + own)
    np.testing.assert_allclose(gradient("first_row", add), slope[0] + own)
    np.testing.assert_allclose(gradient("mean_for_sum", add), slope.mean(0) + own)
    np.testing.assert_allclose(gradient("overwrite", add), slope.sum(0))  # it comes last
    np.testing.assert_allclose(gradient("lost_use", add), own)
    np.testing.assert_allclose(gradient("stale_gradient", add), slope.sum(0) + own)  # b had something; x had not
    first = game.healthy.backward.contributions[value][0].user
    stale = gradient("stale_gradient", first) - slope.sum(0) - own
    older = game.healthy.older
    expected = (np.cos(older[game.trace.find("x")] + older[value]) * weights).sum(0) + 3 * older[value] ** 2
    np.testing.assert_allclose(stale, expected)
    assert np.abs(older[value] - b.data).max() > 0.01
    sine = game.trace.find("sin")
    wrong = game.planted(FAULTS["stale_activation"], sine).backward.gradients[game.trace.find("x")]
    np.testing.assert_allclose(wrong, np.cos(older[game.trace.find("x")] + older[value]) * weights)


def test_a_lost_branch_and_a_column_that_was_broadcast():
    x, c = Tensor([[0.3, 0.5, 0.8], [0.2, -0.4, 0.7]], requires_grad=True), Tensor([[0.6], [-0.9]], requires_grad=True)
    weights = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    with study.record():
        h = np.sin(x)
        loss = np.sum((h + np.tanh(h) * c) * weights)
    game = Diagnosis(study.Trace(loss))
    slope = weights * np.tanh(np.sin(x.data))
    column = game.planted(FAULTS["first_row"], game.trace.find("multiply")).backward.gradients[game.trace.find("c")]
    np.testing.assert_allclose(column, slope[:, :1])
    gradients = game.planted(FAULTS["skip_lost"], game.trace.find("add")).backward.gradients
    np.testing.assert_allclose(gradients[game.trace.find("multiply")], weights)
    np.testing.assert_allclose(gradients[game.trace.find("sin")], weights * c.data * (1 - np.tanh(np.sin(x.data)) ** 2))


def test_a_probe_measures_the_loss_where_all_that_enters_is_nudged():
    z, v = Tensor([0.3, -0.7], requires_grad=True), Tensor([1.5, 0.4], requires_grad=True)
    with study.record():
        loss = np.sum(np.tanh(z * 2.0) * v)
    game = Diagnosis(study.Trace(loss))
    tanh, product = game.trace.find("tanh"), game.trace.find("multiply_2")
    d, e = game.directions[tanh, 0], game.directions[product, 1]
    assert d.any()
    assert e.any()
    y = np.tanh(2 * z.data)
    assert game.measured[tanh] == pytest.approx(np.sum((1 - y**2) * d * v.data + y * e), rel=1e-6)
    assert game.measured[product] == pytest.approx(np.sum(game.directions[product, 0] * v.data + y * e), rel=1e-6)


def test_two_faulty_ops_are_no_case():
    game = diagnosis("gpt2")

    def doubled(*culprits):
        def contribute(op, g):
            return [
                study.Contribution(op, part.index, part.target, 2 * part.array) if op in culprits else part
                for part in contributed(op, g)
            ]

        return game.trace.backward(contribute=contribute)

    one, other = game.trace.find("h_1_mlp_gelu"), game.trace.find("h_0_attn_c_attn_linear")
    assert game.accusable(doubled(one)) == [one]
    assert game.proven("one", None, one, doubled(one)) is not None
    assert game.accusable(doubled(one, other)) == [one, other]
    for culprit in (one, other, None):
        assert game.proven("two", None, culprit, doubled(one, other)) is None
    assert game.proven("not this one", None, other, doubled(one)) is None
    assert game.proven("a control that is not", None, None, doubled(one)) is None


@pytest.mark.parametrize("sizes", [(2, 3, 1), (3, 1, 2), (1, 1, 1), (1, 2, 1)], ids=str)
@pytest.mark.parametrize("rows", [1, 2])
def test_lengths_of_one_give_cases_too(sizes, rows, rng):
    """A mistake whose array has another shape than the input, and would broadcast with it, is none that goes unnoticed."""
    layers = [nn.Linear(n, m, rng=rng) for n, m in itertools.pairwise(sizes)]
    x = Tensor(rng.standard_normal((rows, sizes[0])).astype("f"))
    with study.record():
        loss = np.sum(layers[1](np.tanh(layers[0](x))))
    found = diagnose.cases(study.Trace(loss), 20)
    assert any(case.culprit is not None for case in found)


@pytest.mark.parametrize("right", [True, False])
def test_an_op_of_the_users_own_must_be_right(right):
    class Cube(Op):  # without a formula
        @staticmethod
        def forward(x):
            return x**3

        @staticmethod
        def vjp(g, out, x):
            return (3 * g * x * x if right else 3 * g * x,)

    x = Tensor([1.0, 2.0], requires_grad=True)
    with study.record():
        loss = np.sum(Cube.call(Cube.call(x) * x) * 2.0)
    if right:
        assert "overwrite@cube" in [case.key for case in diagnose.cases(study.Trace(loss), 50)]
        return
    with pytest.raises(
        GraphError, match=r"do not agree with the healthy backward pass at cube_2 \(test_diagnose.py:.*, cube \("
    ):
        Diagnosis(study.Trace(loss))
