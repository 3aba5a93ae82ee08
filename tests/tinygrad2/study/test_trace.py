"""What is recorded, and the backward pass taken again from it: the engine's numbers, bit for bit."""

import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, autograd, nn, study
from tinygrad2.errors import GraphError
from tinygrad2.study.trace import contributed, pulled

SMALL = {"vocab_size": 11, "max_seq_len": 8, "d_model": 8, "num_layers": 2, "num_heads": 2, "d_ff": 16}
IDS = np.array([[1, 2, 3, 4], [3, 3, 1, 0]])


def model_and_loss(**settings):
    """A small GPT-2 and a recorded loss of it."""
    model = GPT2(GPT2Config(**{**SMALL, **settings}), seed=0)
    with study.record(), nn.dropout_rng(np.random.default_rng(0)):
        loss = model.loss(IDS, IDS[:, ::-1].copy())
    return model, loss


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("before", [True, False], ids=["after backward", "before backward"])
def test_the_trace_has_the_gradients_of_the_engine_bit_for_bit(implementation, tied, before):
    model, loss = model_and_loss(tie_embeddings=tied, head_bias=not tied, dropout=0.1)
    if before:
        loss.backward()
    trace = study.Trace(loss)
    backward = trace.backward()
    if not before:
        loss.backward()
    parameters = dict(model.named_parameters())
    assert {leaf.full_name for leaf in trace.leaves} == set(parameters)
    for leaf in trace.leaves:
        assert np.array_equal(backward.gradients[leaf], parameters[leaf.full_name].grad.data), leaf


def test_contributions_are_what_the_sum_is_made_of():
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    w = Tensor(np.array([1.0, -2.0, 0.5]), requires_grad=True)
    with study.record():
        y = np.sum(np.sin(x) * w + x)
    trace = study.Trace(y)
    backward = trace.backward()
    first, second = backward.contributions[trace.find(x)]
    assert [first.user.name, second.user.name] == ["add", "sin"]
    np.testing.assert_array_equal(first.array, np.ones((2, 3)))
    np.testing.assert_allclose(second.array, np.cos(x.data) * w.data, rtol=1e-15)
    (part,) = backward.contributions[trace.find("w")]
    assert part.raw.shape == (2, 3)  # before broadcasting is undone
    np.testing.assert_allclose(part.array, np.sin(x.data).sum(0), rtol=1e-15)
    assert [value.name for value in backward.order] == ["sum", "add", "multiply", "sin", "w", "x"]


def test_names_say_where_a_value_is_and_which():
    _, loss = model_and_loss(dropout=0.1)
    trace = study.Trace(loss)
    names = list(trace.by_name)
    assert len(set(names)) == len(trace.values)
    assert all(name.isidentifier() for name in names)
    assert {"wte_weight", "h_1_attn_c_attn_weight", "h_1_attn_c_attn_linear", "h_1_add", "h_1_add_2"} <= set(names)
    assert trace.find("h.1.attn.c_attn.weight") is trace.find("h_1_attn_c_attn_weight")
    source = trace.find("h_0_mlp_gelu").source
    assert source.startswith("feed_forward.py:")
    assert source.endswith("return self.dropout(self.c_proj(ops.gelu(self.c_fc(x))))")
    with pytest.raises(GraphError, match="'h_7_add' is not a value of this computation; choose from wte_weight, "):
        trace.find("h_7_add")


def test_operators_and_variables_are_found_in_the_code_of_the_user():
    x = Tensor([1.0, 2.0], requires_grad=True)
    with study.record():
        y = (x * x).sum()
    assert [v.full_name for v in study.Trace(y).values] == ["x", "multiply", "sum"]
    assert study.Trace(y).results[0].source.endswith("y = (x * x).sum()")


def test_the_forward_again_and_with_something_else():
    _, loss = model_and_loss()
    trace = study.Trace(loss)
    again = trace.forward(dtype=np.float32)
    assert all(np.array_equal(again[value], value.array) for value in trace.values)
    # What one use of a value is worth: move what that op alone sees of it.
    backward = trace.backward()
    stream = trace.find("h_0_add")
    moved = trace.forward(dtype=np.float64)
    for part in backward.contributions[stream]:
        direction = np.random.default_rng(1).standard_normal(stream.array.shape)
        up, down = (
            trace.forward(inputs={(part.user, part.index): moved[stream] + s * direction}, dtype=np.float64)[trace.output]
            for s in (1e-5, -1e-5)
        )
        np.testing.assert_allclose((up - down) / 2e-5, np.sum(part.array * direction), rtol=1e-3, atol=1e-6)
    everywhere = trace.forward(instead={stream: moved[stream] + 1e-5 * direction}, dtype=np.float64)[trace.output]
    there = everywhere - moved[trace.output]
    np.testing.assert_allclose(there / 1e-5, np.sum(backward.gradients[stream] * direction), rtol=1e-3, atol=1e-6)


def test_another_rule_and_another_cotangent():
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    with study.record():
        y = x * 3
    trace = study.Trace(y)
    with pytest.raises(GraphError, match=r"the output has shape \(2,\); give a cotangent"):
        trace.backward()
    value = trace.find(x)
    np.testing.assert_array_equal(trace.backward([1.0, 10.0]).gradients[value], [3, 30])
    wrong = trace.backward([1.0, 10.0], lambda y, g: [study.Contribution(y, 0, value, -pulled(y, g)[0])])
    np.testing.assert_array_equal(wrong.gradients[value], [-3, -30])


def test_a_contribution_that_is_added_in_another_way():
    class Overwrites(study.Contribution):
        def added_to(self, before):
            return self.array

    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    with study.record():
        y = (x * x).sum()
    trace = study.Trace(y)
    backward = trace.backward(contribute=lambda y, g: [Overwrites(**vars(part)) for part in contributed(y, g)])
    np.testing.assert_array_equal(backward.gradients[trace.find(x)], [1, 2])
    assert len(backward.contributions[trace.find(x)]) == 2


def test_in_float64_it_is_the_same_computation_by_the_same_names():
    model = GPT2(GPT2Config(**SMALL, dropout=0.1), seed=0)
    with study.record(), nn.dropout_rng(np.random.default_rng(0)):
        loss = model.loss(IDS, IDS[:, ::-1].copy()) + np.sum(model.ln_f.bias.astype(np.float32) * np.float32(2))
    trace = study.Trace(loss)
    fine = trace.to(np.float64)
    assert [fine.names[v] for v in fine.values] == [trace.names[v] for v in trace.values]
    assert not set(fine.values) & set(trace.values)
    assert {v.array.dtype for v in fine.values} == {np.dtype(np.float64)}
    assert fine.find(model.ln_f.bias) is fine.by_name["ln_f_bias"]
    forward = trace.forward(dtype=np.float64)
    for value, wide in zip(trace.values, fine.values, strict=True):
        np.testing.assert_allclose(wide.array, value.array, rtol=1e-4, atol=1e-6)
        if value.op is not None and value.op.name != "astype" and value is not trace.output:
            np.testing.assert_allclose(wide.array, forward[value], rtol=1e-12, atol=1e-14)
    backward, wide = trace.backward(), fine.backward()
    for leaf, again in zip(trace.leaves, fine.leaves, strict=True):
        assert wide.gradients[again].dtype == np.float64
        np.testing.assert_allclose(wide.gradients[again], backward.gradients[leaf], rtol=1e-3, atol=1e-5)


def test_nothing_is_noted_outside():
    x = Tensor([1.0], requires_grad=True)
    y = x * 2
    assert y.node.observed is None
    with pytest.raises(GraphError, match="not computed inside"):
        study.Trace(y)
    with study.record(), pytest.raises(GraphError, match="made by a multiply before recording began"):
        y * 2
    with pytest.raises(GraphError, match="is a leaf"):
        study.Trace(x)


def test_a_leaf_of_two_recordings_is_one():
    x = Tensor([1.0, 2.0], requires_grad=True)
    with study.record():
        first = (x * x).sum()
    with study.record():
        second = (x * 3).sum() + first
    trace = study.Trace(second)
    assert [leaf.full_name for leaf in trace.leaves] == ["x"]
    np.testing.assert_array_equal(trace.backward().gradients[trace.find(x)], [5, 7])


def test_one_observer_at_a_time():
    with autograd.detect_anomaly(), pytest.raises(GraphError, match="already being observed"), study.record():
        pass
    with study.record(), pytest.raises(GraphError, match="already being observed"), study.record():
        pass


def test_a_step_that_the_optimizer_has_taken_is_gone():
    model, loss = model_and_loss()
    model.ln_f.bias.data += 1
    with pytest.raises(GraphError, match=r"ln_f\.bias was changed after"):
        study.Trace(loss)


class Scale(nn.Module):
    """`inner(x) * w`; it makes a layer and a parameter of its own when it is called, if it is to grow."""

    def __init__(self, inner=None, grows=False):
        self.inner, self.grows, self.w = inner, grows, nn.Parameter(np.array(2.0))

    def forward(self, x):
        if self.grows:
            self.late, self.w = Scale(), nn.Parameter(np.array(3.0))
            x = self.late(x)
        return (self.inner(x) if self.inner else x) * self.w


def test_a_module_is_named_by_its_path_in_the_outermost_which_is_walked_once(monkeypatch):
    shared = Scale()
    net = nn.Module()
    net.a, net.b, net.list = Scale(shared), Scale(Scale(shared)), [Scale(grows=True)]
    net.forward = lambda x: net.list[0](net.b(net.a(x)))
    walks, walk = [], nn.Module.named_modules
    monkeypatch.setattr(nn.Module, "named_modules", lambda self, prefix="": walks.append(self) or walk(self, prefix))
    with study.record():
        trace = study.Trace(net(np.array(1.0)))
        outside = study.Trace(shared(np.array(1.0)))
    paths = ["a.inner", "a", "a.inner", "b.inner", "b", "list.0.late", "list.0"]
    assert [value.path for value in trace.results] == paths
    assert sorted(leaf.full_name for leaf in trace.leaves) == sorted({f"{path}.w" for path in paths})
    assert [value.full_name for value in outside.values] == ["a.inner.w", "multiply"]
    assert walks == [net, net, shared]  # the second for what has been made since


def test_each_thread_has_the_path_of_its_own_call():
    net = Scale(Scale(Scale()))
    meet = threading.Barrier(4, timeout=10)

    def call(module):
        meet.wait()
        return [[value.path for value in study.Trace(module(np.ones(()))).results] for _ in range(50)]

    with study.record(), ThreadPoolExecutor(4) as pool:
        modules = [net, net.inner, net, net.inner.inner]
        waiting = [pool.submit(contextvars.copy_context().run, call, module) for module in modules]
        found = [each.result() for each in waiting]
    whole = ["inner.inner", "inner", ""]
    assert found == [[whole] * 50, [["inner", ""]] * 50, [whole] * 50, [[""]] * 50]
