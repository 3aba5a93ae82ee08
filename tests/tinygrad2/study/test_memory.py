"""The memory ledger, against what NumPy itself reports of the same computation when nobody observes it: to the byte."""

import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest

from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, autograd, nn, ops, study
from tinygrad2.kernels.fast import products
from tinygrad2.study.memory import ledger

SMALL = {"vocab_size": 11, "max_seq_len": 8, "d_model": 8, "num_layers": 2, "num_heads": 2, "d_ff": 16}
IDS = np.array([[1, 2, 3, 4], [3, 3, 1, 0]])
ARRAYS = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
NOT_OF_BACKWARD = tracemalloc.Filter(False, autograd.__file__, all_frames=True)


def a_model(**settings):
    model = GPT2(GPT2Config(**{**SMALL, **settings}), seed=0)
    with nn.dropout_rng(np.random.default_rng(0)):
        model.loss(IDS, IDS).backward()  # what is made once, such as masks, is there
    model.zero_grad()
    return model


def loss_of(model, label_smoothing=0.0, fused=True):
    """A loss of ids and targets that nothing else holds."""
    with nn.dropout_rng(np.random.default_rng(0)):
        if not fused:
            return ops.cross_entropy(model(IDS.copy()), IDS[:, ::-1].copy())
        return model.loss(IDS.copy(), IDS[:, ::-1].copy(), label_smoothing)


@contextmanager
def traced():
    tracemalloc.start(12)  # frames: those of the engine are near the allocation
    try:
        yield
    finally:
        tracemalloc.stop()


def held():
    """Bytes of arrays that were made while tracing, but not by the backward pass, and are still there."""
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([ARRAYS, NOT_OF_BACKWARD]).traces)


def predicted_and_measured(model, **how):
    """Bytes that a loss keeps, by the ledger and by NumPy, but for the number that the loss is."""
    with study.record():
        loss = loss_of(model, **how)
    predicted = ledger(loss)
    with traced():
        again = loss_of(model, **how)
        kept = any(piece.array is loss.data for piece in predicted.kept)
        return predicted.total, held() - (0 if kept else again.data.nbytes)


@pytest.mark.parametrize("how", [{}, {"label_smoothing": 0.1}, {"fused": False}], ids=["", "smoothed", "all logits"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("tied", [True, False])
def test_predicted_and_measured_agree_to_the_byte(implementation, tied, dropout, how):
    predicted, measured = predicted_and_measured(
        a_model(tie_embeddings=tied, head_bias=not tied, dropout=dropout, bias=tied), **how
    )
    assert predicted == measured


@pytest.mark.skipif(products.mkl() is None, reason="bfloat16 products need MKL")
def test_in_bfloat16_too(implementation):
    model = a_model()
    whole, _ = predicted_and_measured(model)
    with products.bfloat16(p.data for p in model.parameters()):
        predicted, measured = predicted_and_measured(model)
    assert predicted == measured < whole


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_memory_is_freed_step_by_step_as_predicted(implementation, monkeypatch, dropout):
    model = a_model(dropout=dropout)
    with study.record():
        loss = loss_of(model, fused=False)
    predicted = ledger(loss)
    steps = predicted.trace.results[::-1]
    measured = {}
    add, needed, current = autograd._Backward.add, autograd._Backward.needed, [-1]

    def adding(*args):  # is called when a rule has run, while the engine still holds what it read
        measured.setdefault(current[0], held())
        return add(*args)

    def counting(*args):  # is called for every op once
        current[0] += 1
        return needed(*args)

    monkeypatch.setattr(autograd._Backward, "add", adding)
    monkeypatch.setattr(autograd._Backward, "needed", counting)
    with traced():
        again = loss_of(model, fused=False)
        again.backward()
        end = held()
    assert current[0] == len(steps) - 1
    assert len(measured) == len(steps) + 1
    assert measured.pop(-1) - again.data.nbytes == predicted.total
    # The engine may hold on to the setting of an op, which is a mask, until the end.
    masks = np.cumsum([0] + [sum(a.nbytes for a in op.settings.values() if isinstance(a, np.ndarray)) for op in steps])
    for step, there in measured.items():
        assert 0 <= there - again.data.nbytes - predicted.backward[step] <= masks[step], steps[step]
    assert end == again.data.nbytes


def test_gradients_made_in_the_forward_are_all_that_is_left():
    model = a_model(tie_embeddings=False)
    with study.record():
        predicted = ledger(loss_of(model))
    with traced():
        loss = loss_of(model)
        loss.backward()
        assert held() == loss.data.nbytes + model.lm_head.weight.data.nbytes + model.lm_head.bias.data.nbytes
    saved = [piece for piece in predicted.kept if piece.name == "saved by lm_head_linear_cross_entropy"]
    assert sum(piece.nbytes for piece in saved) == 4 * (8 * 8 + 11 * 8 + 11)
    assert {predicted.freed_after(piece) for piece in saved} == {0}


def test_by_hand():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    w = Tensor(np.ones((3, 4)), requires_grad=True)
    with study.record():
        a = x @ w  # keeps its inputs, which are leaves
        b = np.sin(a)  # keeps a: 64 bytes
        c = b.reshape(8) * b.reshape(8)  # views of b: 64 more
        loss = c.sum()  # keeps nothing
    found = ledger(loss)
    assert found.trace.find(loss) is found.trace.output
    assert [op.name for op in found.by_op()] == ["matmul", "sin", "reshape", "reshape", "multiply", "sum"]
    assert found.forward == [0, 64, 64, 64, 128, 128]
    assert found.backward == [128, 128, 64, 64, 64, 0]
    assert found.total == 128
    assert {piece.name: (piece.nbytes, [op.name for op in piece.readers]) for piece in found.kept} == {
        "matmul": (64, ["sin"]),
        "sin": (64, ["multiply"]),
    }
    assert [found.freed_after(piece) for piece in found.kept] == [4, 1]


def test_what_no_rule_reads_is_not_kept():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    with study.record():
        found = ledger(np.cos(np.exp(x) * 2 + np.ones(3)))  # exp reads its result; the product only 2; the sum nothing
    assert {piece.name: piece.nbytes for piece in found.kept} == {"exp": 48, "add": 48}


def test_a_part_of_an_array_keeps_all_of_it():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    with study.record():
        found = ledger(np.sin(x * np.ones((100, 3))[:2]))
    assert {piece.name: piece.nbytes for piece in found.kept} == {"input of multiply": 2400, "multiply": 48}


def test_sums_and_text():
    with study.record():
        found = ledger(loss_of(a_model(dropout=0.1)))
    for sums in (found.by_op(), found.by_kind(), found.by_module(), found.by_module(1)):
        assert sum(sums.values()) == found.total == found.forward[-1]
    assert {"h.0.attn", "h.1.mlp", "wte"} <= set(found.by_module())
    assert found.by_module(1)["h"] == sum(n for name, n in found.by_module().items() if name.startswith("h."))
    text = found.table()
    assert text.startswith(f"kept for backward: {found.total:,} bytes in {len(found.kept)} arrays, by 31 ops\n")
    (row,) = (line.split() for line in text.splitlines() if line.startswith("h_1_mlp_gelu "))
    assert row == ["h_1_mlp_gelu", "(2,", "4,", "16)", "float32", "512", "6", "of", "31", "h.1.mlp.c_proj.linear"]


def test_the_picture_has_a_colour_for_each_kind_of_module(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: seen.append(figure))
    with study.record():
        found = ledger(loss_of(a_model()))
    found.plot(tmp_path / "memory.png")
    (axes,) = seen[0].axes
    tops = {patch.get_label().partition(" (")[0]: patch.get_data().values for patch in axes.patches}
    assert {"wte", "h.attn", "h.mlp", "h.ln_1", "h.ln_2", "ln_f", "lm_head", "others"} == set(tops)
    unit = 1024
    np.testing.assert_allclose(tops["others"], np.array([0, *found.forward, *found.backward, 0]) / unit)
