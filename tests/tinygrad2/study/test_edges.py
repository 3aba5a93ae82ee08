"""Gradients by the way they came: the parts against finite differences and an untied model, their sum against the engine."""

import colorsys
import doctest
import itertools
import sys

import numpy as np
import pytest

from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, autograd, nn, study
from tinygrad2.errors import GraphError
from tinygrad2.observer import Observer
from tinygrad2.study import edges
from tinygrad2.study.edges import split

SMALL = {"vocab_size": 11, "max_seq_len": 8, "d_model": 8, "num_layers": 2, "num_heads": 2, "d_ff": 16}
IDS = np.array([[1, 2, 3, 4], [3, 3, 1, 0]])
LATER = ["lm_head (through ln_f)", "h.1.mlp (through ln_2)", "h.1.attn (through ln_1)", "h.0.mlp (through ln_2)"]


def recorded_loss(dtype=np.float32, **settings):
    model = GPT2(GPT2Config(**{**SMALL, **settings}), seed=0, dtype=dtype)
    with study.record(), nn.dropout_rng(np.random.default_rng(0)):
        return model.loss(IDS, IDS[:, ::-1].copy())


def engine(loss, value):
    """What the engine says the gradient is."""
    return autograd.backpropagate([(loss, None)], {value.node}, retain=True)[value.node]


@pytest.mark.parametrize("tied", [True, False])
def test_the_parts_sum_to_the_gradient_of_the_engine_bit_for_bit(implementation, tied):
    loss = recorded_loss(tie_embeddings=tied, dropout=0.1)
    trace = study.Trace(loss)
    several = 0
    for value in trace.values[:-1]:
        found = split(loss, value)
        expanded = found.expanded()
        assert len(expanded.parts) >= len(found.parts)
        several += len(found.parts) > 1
        for total in (found.total(), expanded.total(), found.whole):
            assert np.array_equal(total, engine(loss, value)), value
    assert several == 4 + tied


def test_in_float64_in_any_order():
    loss = recorded_loss(np.float64, tie_embeddings=True)
    for target in ("drop", "h_0_add"):
        found = split(loss, "add" if target == "drop" else target).expanded()
        orders = list(itertools.permutations([part.array for part in found.parts]))
        assert len(orders) in (24, 120)
        for order in orders:
            np.testing.assert_allclose(sum(order), found.whole, rtol=0, atol=1e-12 * np.abs(found.whole).max())


def test_parts_are_named_by_the_module_they_came_from():
    loss = recorded_loss(tie_embeddings=True)

    def names(found):
        return [part.name for part in found.parts]

    assert names(split(loss, "wte.weight")) == ["lm_head.linear_cross_entropy", "wte.embedding"]
    assert names(split(loss, "h_0_add")) == ["skip", "h.0.mlp (through ln_2)"]
    assert names(split(loss, "h_0_add_2")) == ["skip", "h.1.attn (through ln_1)"]
    assert names(split(loss, "h_1_add_2")) == ["lm_head (through ln_f)"]
    assert names(split(loss, "h_0_add").expanded()) == LATER
    assert names(split(loss, "wte_embedding").expanded()) == [*LATER, "h.0.attn (through ln_1)"]
    assert names(split(loss, "wpe.weight")) == ["wpe.embedding"]
    assert names(split(loss, "h.1.attn.c_attn.linear")) == ["h.1.attn.causal_attention"]
    assert names(split(loss, "h.1.mlp.c_fc.weight")) == ["h.1.mlp.c_fc.linear"]


@pytest.mark.parametrize("target", ["wte.weight", "h_0_add", "wte_embedding"])
def test_each_part_is_what_a_change_seen_by_that_way_alone_does(target):
    loss = recorded_loss(np.float64, tie_embeddings=True)
    trace, found = study.Trace(loss), split(loss, target)
    direction = np.random.default_rng(1).standard_normal(found.whole.shape)
    for part in (*found.parts, *found.expanded().parts):
        way = part.contribution
        up, down = (
            trace.forward(inputs={(way.user, way.index): way.target.array + step * direction})[trace.output]
            for step in (1e-5, -1e-5)
        )
        np.testing.assert_allclose((up - down) / 2e-5, np.sum(part.array * direction), rtol=1e-6, err_msg=part.name)


def test_the_parts_of_a_tied_embedding_are_the_gradients_of_an_untied_one(implementation):
    tied = GPT2(GPT2Config(**SMALL, tie_embeddings=True), seed=0)
    untied = GPT2(GPT2Config(**SMALL), seed=0)
    untied.load_state_dict({**untied.state_dict(), **tied.state_dict(), "lm_head.weight": tied.wte.weight.data})
    with study.record():
        loss = tied.loss(IDS, IDS[:, ::-1].copy())
    untied.loss(IDS, IDS[:, ::-1].copy()).backward()
    head, lookup = split(loss, tied.wte.weight).parts
    np.testing.assert_array_equal(head.array, untied.lm_head.weight.grad.data)
    np.testing.assert_array_equal(lookup.array, untied.wte.weight.grad.data)


def test_by_token():
    loss = recorded_loss(tie_embeddings=True)
    stream = split(loss, "h_0_add").expanded()
    norms = stream.by_token()
    assert norms.shape == (4, 2, 4)
    np.testing.assert_allclose(norms[1, 1, 2], np.sqrt(np.sum(stream.parts[1].array[1, 2].astype(float) ** 2)), rtol=1e-14)
    np.testing.assert_allclose(stream.along().sum(0), np.linalg.norm(stream.whole.astype(float), axis=-1), rtol=1e-5)
    rows = split(loss, "wte.weight").by_token()
    assert rows.shape == (2, 11)
    assert np.all(rows[0] > 0)
    assert set(np.flatnonzero(rows[1])) == set(IDS.ravel())  # what was not looked up got nothing there


def recorded(f, *arrays):
    inputs = [Tensor(np.asarray(x, float), requires_grad=True) for x in arrays]
    with study.record():
        return inputs, f(*inputs)


def test_along_and_table_by_hand():
    (x,), loss = recorded(lambda x: np.sum(x * [[3.0, 0.0], [0.0, 0.0]] + x * [[0.0, 4.0], [-1.0, 0.0]]), np.ones((2, 2)))
    found = split(loss, x)
    assert [part.name for part in found.parts] == ["multiply", "multiply 2"]
    np.testing.assert_allclose(found.by_token(), [[4, 1], [3, 0]])
    np.testing.assert_allclose(found.along(), [[16 / 5, 1], [9 / 5, 0]])
    head, first, second, whole = (line.split() for line in found.table().splitlines())
    assert head == ["part", "shape", "rows", "norm", "share", "cosine"]
    assert first == ["multiply", "(2,", "2)", "2/2", "4.123", "65.4%", "0.809"]  # sqrt(17), 17 / 26, sqrt(17 / 26)
    assert second == ["multiply", "2", "(2,", "2)", "1/2", "3", "34.6%", "0.588"]
    assert whole == ["whole", "(2,", "2)", "2/2", "5.099", "100.0%", "1.000"]


def test_what_cancels_has_no_direction():
    (x,), loss = recorded(lambda x: np.sum(np.sin(x)) - np.sum(np.sin(x)), [1.0])
    found = split(loss, x)
    assert np.array_equal(found.along(), [0, 0])
    assert [line.split()[-2:] for line in found.table().splitlines()[1:]] == [["0.0%", "0.000"]] * 3


def test_only_what_goes_on_unchanged_is_a_skip():
    def names(f, *arrays):
        (x, *_), loss = recorded(f, *arrays)
        found = split(loss, x).expanded()
        assert np.array_equal(found.total(), engine(loss, study.Trace(loss).find(x)))
        return [part.name for part in found.parts]

    two, row = np.ones((2, 3)), np.ones(3)
    assert names(lambda x, y: np.sum(np.sin(x + y)), two, two) == ["sin"]
    assert names(lambda x, y: np.sum(np.sin(x + y)), row, two) == ["add"]  # it was repeated for every row
    assert names(lambda x, y: np.sum(np.sin(x - y)), two, two) == ["sin"]
    assert names(lambda x, y: np.sum(np.sin(y - x)), two, two) == ["subtract"]
    assert names(lambda x: np.sum(np.sin(x + x)), two) == ["add", "add 2"]
    assert names(lambda x, y: x + np.exp(x) + y, 1.0, 1.0) == ["skip", "exp"]  # to the output itself
    assert names(lambda x: np.sum(np.cos(x + 1)) + np.sum(np.sin(x + 1)), two) == ["sin", "cos"]


def test_what_is_beyond_a_skip_is_added_up_on_its_own():
    def f(x):
        inner = x + np.sin(x)
        return np.sum(np.sin(x) * 0.3) + np.sum(np.exp(inner) * 0.1 + np.cos(inner) * 0.7)

    different = 0
    for seed in range(20):
        (x,), loss = recorded(f, np.random.default_rng(seed).standard_normal(10))
        found = split(loss, x).expanded()
        assert np.array_equal(found.total(), engine(loss, study.Trace(loss).find(x)))
        different += not np.array_equal(sum(part.array for part in found.parts), found.total())
    assert different  # so the order of addition has mattered


def test_repeated_entries_are_added_one_by_one_to_what_is_there():
    index = [0, 1, 0, 0, 2, 0, 1, 0, 1]
    different = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        (x, _), loss = recorded(lambda x, w: np.sum(x[index] * w) + np.sum(np.sin(x)), rng.random(3), rng.random(9))
        found = split(loss, x)
        assert [part.name for part in found.parts] == ["sin", "get_item"]
        assert np.array_equal(found.total(), engine(loss, study.Trace(loss).find(x)))
        different += not np.array_equal(sum(part.array for part in found.parts), found.total())
    assert different


def test_a_thousand_blocks(monkeypatch):
    monkeypatch.setattr(Observer, "line", lambda self, besides=(): (sys._getframe(), ""))  # which takes the time

    def f(x):
        for _ in range(1000):
            x = x + np.sin(x)
        return np.sum(x)

    (x,), loss = recorded(f, [0.5, 1.0])
    found = split(loss, x).expanded()
    assert len(found.parts) == 1001
    assert np.array_equal(found.total(), engine(loss, study.Trace(loss).find(x)))


def test_what_cannot_be_split():
    loss = recorded_loss()
    with pytest.raises(GraphError, match=r"split: lm_head.linear_cross_entropy is what backward starts from; choose a value"):
        split(loss, loss)
    with pytest.raises(GraphError, match="'h_7_add' is not a value of this computation"):
        split(loss, "h_7_add")
    (x, _), loss = recorded(lambda x, y: np.sum(np.where(x, y, 0)), [1.0, 0.0], [2.0, 3.0])
    with pytest.raises(GraphError, match="split: x gets no gradient"):
        split(loss, x)


def test_the_example():
    assert doctest.testmod(edges) == (0, 4)


def drawn(found, monkeypatch, **how):
    """The two panels of the picture."""
    from matplotlib.figure import Figure

    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: seen.append(figure))
    found.plot("split.png", **how)
    return seen[0].axes


def test_the_picture_of_the_stream_has_a_stack_for_each_position(monkeypatch):
    found = split(recorded_loss(), "h_0_add").expanded()
    left, right = drawn(found, monkeypatch)
    assert [label.get_text() for label in left.get_yticklabels()] == [*LATER, "whole"]
    norms = [np.linalg.norm(part.array) for part in found.parts]
    np.testing.assert_allclose([bar.get_width() for bar in left.patches], [*norms, np.linalg.norm(found.whole)], rtol=1e-6)
    heights = np.array([bar.get_height() for bar in right.patches]).reshape(4, 4)
    np.testing.assert_allclose(heights, found.along().mean(1))
    colors = [bar.get_facecolor() for bar in right.patches][::4]
    assert len(set(colors)) == 4
    head, later_mlp, attn, mlp = (colorsys.rgb_to_hsv(*color[:3])[0] for color in colors)
    assert abs(later_mlp - mlp) < 0.05 < 0.1 < min(abs(head - mlp), abs(attn - mlp), abs(head - attn))
    assert colors == [bar.get_facecolor() for bar in left.patches][:4]
    assert right.get_xlabel() == "position (mean of 2 sequences)"


def test_in_a_picture_what_works_against_the_whole_hangs_below(monkeypatch):
    (x,), loss = recorded(lambda x: np.sum(x * 3 + x * -1 + x * 2), [[1.0]])
    _, right = drawn(split(loss, x), monkeypatch)
    assert [(bar.get_y(), bar.get_height()) for bar in right.patches] == [(0, 2), (0, -1), (2, 3)]


def test_the_picture_of_an_embedding_has_its_largest_rows(monkeypatch):
    model = GPT2(GPT2Config(**{**SMALL, "vocab_size": 50}, tie_embeddings=True), seed=0)
    with study.record():
        loss = model.loss(IDS, IDS[:, ::-1].copy())
    found = split(loss, "wte.weight")
    _, right = drawn(found, monkeypatch, labels=[f"<{i}>" for i in range(50)])
    order = np.argsort(-np.linalg.norm(found.whole.astype(float), axis=1))[:40]
    assert [label.get_text() for label in right.get_xticklabels()] == [f"<{i}>" for i in order]
    heights = np.array([bar.get_height() for bar in right.patches]).reshape(2, 40)
    np.testing.assert_allclose(heights, found.along()[:, order])
    bottoms = np.array([bar.get_y() for bar in right.patches]).reshape(2, 40)
    np.testing.assert_array_equal(bottoms, [np.zeros(40), np.where((heights[0] >= 0) == (heights[1] >= 0), heights[0], 0)])
    assert right.get_xlabel() == "row: the 40 of 50 with the largest gradients"


@pytest.mark.parametrize("target", ["ln_f.bias", "wte.weight"])
def test_a_picture_of_any_shape(tmp_path, target):
    split(recorded_loss(), target).plot(tmp_path / "split.png")
    assert (tmp_path / "split.png").read_bytes().startswith(b"\x89PNG")
