"""Blame, forward and backward; locked arrays; changed leaves; hooks."""

import re
import threading

import numpy as np
import pytest

from gpt2 import GPT2, GPT2Config
from gpt2.training.shards import Shards
from tinygrad2 import Tensor, autograd, nn, no_grad, optim
from tinygrad2.errors import AnomalyError, GraphError, ShapeError


def leaf(*values):
    return Tensor(np.array(values, float), requires_grad=True)


def model():
    return GPT2(GPT2Config(vocab_size=7, max_seq_len=4, d_model=8, num_layers=2, num_heads=2), dtype=np.float64)


IDS = np.array([[1, 2, 3]])


def test_forward_blame_names_op_line_and_ranges():
    x = leaf(2.0, 0.0, 5.0)

    def f():
        y = np.exp(x)
        z = np.log(x - 3)  # the culprit
        return (y * z).sum()

    with autograd.detect_anomaly(), pytest.raises(AnomalyError) as caught:
        f()
    message = str(caught.value)
    assert "the forward of log made 2 nan of 3 entries" in message
    assert "test_anomaly.py" in message
    assert "z = np.log(x - 3)  # the culprit" in message
    assert "float64 (3,) from -3 to 2" in message


def test_an_infinity_is_blamed_too_but_not_what_follows_from_it():
    x = leaf(1.0, 0.0)
    with autograd.detect_anomaly(), pytest.raises(AnomalyError, match=r"forward of divide made 1 inf of 2 entries"):
        np.exp(-(1 / x))


def test_backward_blame_names_the_line_of_the_forward():
    x = leaf(4.0, 0.0)
    with autograd.detect_anomaly():
        y = np.sqrt(x)  # fine forward, infinite slope at 0
        loss = (y * 3).sum()
        with pytest.raises(AnomalyError) as caught:
            loss.backward()
    message = str(caught.value)
    assert "the backward of sqrt made 1 inf of 2 entries" in message
    assert "y = np.sqrt(x)" in message
    assert "cotangent: float64 (2,) from 3 to 3" in message


def test_a_nan_that_was_given_is_said_to_be_given():
    x = leaf(1.0, np.nan)
    with autograd.detect_anomaly(), pytest.raises(AnomalyError, match="multiply was given a NaN"):
        x * 2


def test_a_mask_of_infinities_is_no_anomaly():
    x = leaf(1.0, 2.0)
    with autograd.detect_anomaly():
        masked = np.where(np.array([True, False]), x, -np.inf)
        e = np.exp(masked)
        (e / e.sum()).sum().backward()
    assert np.isfinite(x.grad.data).all()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("h.1.mlp.c_fc.weight", "in h.1.mlp.c_fc"),
        ("h.0.attn.c_attn.weight", "in h.0.attn.c_attn"),
        ("lm_head.weight", "in lm_head"),
    ],
)
def test_blame_has_the_module_path(name, place):
    net = model()
    for path, p in net.named_parameters():
        if "ln_" in path and path.endswith("weight"):
            p.data[:] = 1e10
    dict(net.named_parameters())[name].data[0, 0] = 1e308  # times 1e10: too large
    with autograd.detect_anomaly(), pytest.raises(AnomalyError, match=re.escape(place)):
        net.loss(IDS, IDS)


def test_a_healthy_model_raises_nothing_and_is_unlocked_after():
    net = model()
    with autograd.detect_anomaly():
        loss = net.loss(IDS, IDS)
        loss.backward()
        optim.AdamW(net.parameters()).step()  # backward is done: parameters may be written again
        abandoned = net.loss(IDS, IDS)
    assert all(p.data.flags.writeable for p in net.parameters())
    assert autograd.observing() is None
    abandoned.backward()


def test_an_in_place_write_raises_at_the_line_that_writes():
    w = leaf(1.0, 2.0)
    with autograd.detect_anomaly():
        loss = (w * w).sum()
        with pytest.raises(ValueError, match="read-only"):
            w.data[0] = 5
        loss.backward()
        w.data[0] = 5
    np.testing.assert_array_equal(w.grad.data, [2, 4])


def test_what_was_recorded_before_is_not_blamed_for_what_it_has():
    x = leaf(np.nan, 1.0)
    y = np.exp(x)  # its rule reads its result alone, which is not finite
    with autograd.detect_anomaly():
        y.sum().backward()
    np.testing.assert_array_equal(x.grad.data, [np.nan, np.e])
    z = (leaf(0.0, 1.0) + leaf(1.0, 2.0)) * 10.0
    with (
        autograd.detect_anomaly(),
        pytest.raises(AnomalyError, match=r"the backward of multiply made 2 inf .* inputs: float64 \(2,\);"),
    ):
        z.backward([1e308, 1e308])


def test_what_a_rule_reads_of_a_result_cannot_be_written_to():
    with autograd.detect_anomaly():
        y = np.exp(leaf(1.0, 2.0))
        with pytest.raises(ValueError, match="read-only"):
            y.data[0] = 99
        y.sum().backward()
        y.data[0] = 99


def test_a_thread_of_ones_own_is_not_watched():
    seen = []
    with autograd.detect_anomaly():
        thread = threading.Thread(target=lambda: seen.append(autograd.observing()))
        thread.start()
        thread.join()
    assert seen == [None]


@pytest.mark.parametrize("count", [1, 2])
def test_shards_on_threads_are_watched_as_one_is(count):
    """The log of a negative number, in the second of two shards: the op, the module and the line are named."""
    net = model()
    net.ln_f.register_forward_hook(lambda module, inputs, out: np.log(out) if inputs[0].shape[1] == 2 else out)
    parts = [IDS, IDS[:, :2]]
    message = r"the forward of log made \d+ nan .* at test_anomaly.py:\d+: .*np.log\(out\)"
    with Shards(count, count, 2) as shards, autograd.detect_anomaly(), pytest.raises(AnomalyError, match=message):
        list(shards.map(lambda ids: net.loss(ids, ids), parts))
    assert all(p.data.flags.writeable for p in net.parameters())


def test_healthy_shards_on_threads_raise_nothing_and_are_unlocked_after():
    net = model()
    with Shards(2, 2, 2) as shards, autograd.detect_anomaly():
        losses = list(shards.map(lambda ids: net.loss(ids, ids), [IDS] * 6))
        list(shards.map(lambda loss: autograd.grad([loss], net.parameters()), losses))
    assert all(p.data.flags.writeable for p in net.parameters())


# -- a leaf that changes between forward and backward


def replaced(w):
    w.data = w.data + 1


def added(w):
    w.data += 1


def stepped(w):
    w.grad = np.ones(2)
    optim.SGD([w], 0.1).step()


@pytest.mark.parametrize("change", [replaced, added, stepped])
def test_a_leaf_changed_before_backward_is_refused(change):
    w = leaf(1.0, 2.0)
    loss = (w * w).sum()
    change(w)
    with pytest.raises(GraphError, match="a leaf that multiply used was changed after that"):
        loss.backward()
    (w * w).sum().backward()


def test_a_second_backward_after_a_step_is_refused():
    """The classic mistake: retain the graph, step, and go through it again."""
    net = nn.Linear(2, 1)
    loss = (net(np.ones((1, 2), np.float32)) ** 2).sum()
    loss.backward(retain_graph=True)
    optim.SGD(net.parameters(), 0.1).step()
    with pytest.raises(GraphError, match="changed after that"):
        loss.backward()


# -- hooks


def test_a_tensor_hook_sees_the_whole_gradient_once():
    x, seen = leaf(1.0, 2.0), []
    h = x * 3
    remove = h.register_hook(lambda g: seen.append(g.data.copy()))
    (h * h + h).sum().backward(retain_graph=True)
    np.testing.assert_array_equal(seen, [[2 * 3 + 1, 2 * 6 + 1]])
    remove()
    (h * 1).sum().backward()
    assert len(seen) == 1


@pytest.mark.parametrize("where", ["leaf", "inner"])
def test_a_tensor_hook_can_replace_the_gradient(where):
    x = leaf(1.0, 2.0)
    h = x * 3
    (x if where == "leaf" else h).register_hook(lambda g: g * 10)
    h.sum().backward()
    np.testing.assert_array_equal(x.grad.data, [30, 30])


def test_a_replaced_gradient_can_be_differentiated():
    x = leaf(2.0)
    x.register_hook(lambda g: g * x)
    (g,) = autograd.grad((x**3).sum(), [x], create_graph=True)
    assert g.item() == 24
    assert autograd.grad(g.sum(), [x])[0].item() == 36 * 2  # (3 x^3)' = 9 x^2 = 36, and its hook makes that 36 x


def test_a_hook_that_writes_into_what_it_sees_changes_nothing():
    x, y = leaf(1.0, 2.0), leaf(1.0, 2.0)
    x.register_hook(lambda g: g.data.fill(100))
    (x + y).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [1, 1])
    np.testing.assert_array_equal(y.grad.data, [1, 1])


def test_a_leaf_that_is_its_own_output_can_have_a_hook():
    p = nn.Parameter(np.ones(()))
    p.register_hook(lambda g: g * 3)
    p.backward()
    assert p.grad.item() == 3


def test_a_hook_of_the_wrong_shape_is_refused():
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: np.ones(3))
    with pytest.raises(ShapeError, match=r"^hook: a cotangent of shape \(3,\) was given for a value of shape \(2,\)"):
        (x * 1).sum().backward()
    with pytest.raises(GraphError, match="does not require a gradient"):
        Tensor([1.0]).register_hook(print)


def test_module_hooks_observe_and_replace():
    net, seen = model(), []
    block = net.h[1].mlp
    removers = [
        block.register_forward_hook(lambda m, inputs, out: seen.append((m, inputs[0].shape, out.shape))),
        block.register_backward_hook(lambda m, g: seen.append((m, g.shape)) or g * 0),
    ]
    with no_grad():
        net(IDS)  # nothing to hook into, and no error
    seen.clear()
    net.loss(IDS, IDS).backward()
    assert seen == [(block, (1, 3, 8), (1, 3, 8)), (block, (1, 3, 8))]
    assert (block.c_fc.weight.grad.data == 0).all()
    assert (net.h[1].attn.c_attn.weight.grad.data != 0).any()
    for remove in removers:
        remove()
    net.loss(IDS, IDS).backward()
    assert len(seen) == 2
    before = net(IDS).data
    remove = block.register_forward_hook(lambda m, inputs, out: out * 0)
    assert (net(IDS).data != before).any()
    remove()
    np.testing.assert_array_equal(net(IDS).data, before)


def test_modules_are_named_by_path():
    names = [name for name, _ in model().named_modules()]
    assert names[:4] == ["", "wte", "wpe", "drop"]
    assert "h.1.attn.c_attn" in names
