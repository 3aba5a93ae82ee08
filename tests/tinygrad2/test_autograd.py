"""The backward pass: accumulation, freeing, depth, threads, and the errors people run into."""

import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

from tinygrad2 import Tensor, autograd, grad, no_grad, ops, study
from tinygrad2.errors import DtypeError, GraphError, ShapeError
from tinygrad2.ops.op import Identity, Op


def leaf(*values):
    return Tensor(np.array(values, float), requires_grad=True)


def test_a_worked_example():
    a, b = leaf(2.0), leaf(-3.0)
    loss = (a * b + np.exp(a)).sum()
    loss.backward()
    np.testing.assert_allclose(a.grad.data, [-3 + np.exp(2)])
    np.testing.assert_allclose(b.grad.data, [2])


def test_uses_of_one_value_add_up():
    x = leaf(3.0)
    (x + x * x + np.sin(x) + x).sum().backward()
    np.testing.assert_allclose(x.grad.data, [2 + 2 * 3 + np.cos(3)])


def test_backward_accumulates_and_zeroing_starts_afresh():
    x = leaf(1.0, 2.0)
    for expected in (1, 2, 3):
        (x * 5).sum().backward()
        np.testing.assert_array_equal(x.grad.data, [5 * expected] * 2)
    x.grad = None
    (x * 5).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [5, 5])


def test_gradients_of_two_leaves_never_share_memory():
    x, y, bias = leaf(1.0, 2.0), leaf(3.0, 4.0), leaf(1.0, 1.0)
    (x + y + bias).backward(np.array([1.0, 2.0]))
    x.grad.data *= 100
    np.testing.assert_array_equal(y.grad.data, [1, 2])
    np.testing.assert_array_equal(bias.grad.data, [1, 2])


def test_the_given_cotangent_is_not_written_to():
    x, g = leaf(1.0, 2.0), np.array([1.0, 2.0])
    (x + x + x).backward(g)
    np.testing.assert_array_equal(g, [1, 2])
    np.testing.assert_array_equal(x.grad.data, [3, 6])
    x.grad.data *= 2
    np.testing.assert_array_equal(g, [1, 2])


def test_what_is_recorded_for_study_is_not_added_to():
    """The gradient of the table is among what the head has saved; the rows of the lookup are added to a copy."""
    table, ids = Tensor(np.random.default_rng(0).standard_normal((5, 3)), requires_grad=True), np.array([1, 4, 1])
    with study.record():
        loss = ops.linear_cross_entropy(ops.embedding(table, ids), table, None, np.array([4, 1, 0]))
    found = [study.Trace(loss).backward().gradients[study.Trace(loss).leaves[0]] for _ in (0, loss.backward())]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], table.grad.data)


def test_an_input_without_gradient_does_not_end_the_others():
    t, a = leaf(0.0, 1.0), leaf(3.0, 5.0)
    np.where(t, a, 2 * a).backward([1.0, 10.0])
    np.testing.assert_array_equal(a.grad.data, [2, 10])
    assert t.grad is None


def test_a_cotangent_takes_the_dtype_of_its_value():
    x = Tensor(np.ones((3, 2), np.float32), requires_grad=True)
    for given in (Tensor(np.ones((2, 2))), Tensor(np.ones((2, 2), int)), np.ones((2, 2))):
        x.grad = None
        x[[0, 2]].backward(given)
        assert x.grad.dtype == np.float32
    picked = x[[0, 2]]
    picked.register_hook(lambda g: Tensor(np.full(g.shape, 2.0)))
    x.grad = None
    picked.backward(np.ones((2, 2)))
    assert x.grad.dtype == np.float32


def test_the_variable_of_a_transform_outlives_a_backward_inside_of_it():
    w = Tensor(2.0, requires_grad=True)
    assert grad(lambda x: autograd.grad(x * w, [w])[0] * x)(3.0).item() == 3

    def f(x):
        w.grad = None
        (x * w).backward()
        return x * x * w.grad.detach()

    assert grad(f)(3.0).item() == 18


def test_no_gradient_is_an_array_of_the_caller():
    """Not the given cotangent, not what a hook gave: a step in place on a gradient would change those."""
    x, given, kept = leaf(1.0, 2.0), np.array([1.0, 2.0]), np.array([3.0, 4.0])
    x.backward(given)
    x.grad.data *= 100
    y = x * 2
    autograd.grad([y, y], [x], [given, given])
    np.testing.assert_array_equal(given, [1, 2])
    x.grad = None
    x.register_hook(lambda g: kept)
    (x * 1).backward(given)
    x.grad.data *= 100
    np.testing.assert_array_equal(kept, [3, 4])


def test_a_cotangent_that_is_passed_on_is_not_written_to():
    """Identity hands on the very array that `b` has received too: what else arrives at `a` must not reach `b`."""
    a, b = leaf(1.0, 2.0), leaf(1.0, 2.0)
    earlier = a * 10
    (earlier + (Identity.call(a) + b)).backward(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(a.grad.data, [11, 22])
    np.testing.assert_array_equal(b.grad.data, [1, 2])


def test_what_a_rule_made_is_kept_without_a_copy_and_added_to_in_place():
    made = []

    class Keeps(Op):
        @staticmethod
        def forward(x):
            return 2 * x

        @staticmethod
        def vjp(g, out, x):
            made.append(2 * g)
            return (made[-1],)

    x = leaf(1.0, 2.0)
    (x * 3 + Keeps.call(x)).backward([1.0, 10.0])  # the highest number first: what Keeps made arrives, then the product
    assert x.grad.data is made[0]
    np.testing.assert_array_equal(x.grad.data, [5, 50])


def test_one_number_spread_over_nothing_has_a_gradient_of_zero():
    x = leaf(5.0)
    (x + np.zeros((3, 0))).backward(np.zeros((3, 0)))
    np.testing.assert_array_equal(x.grad.data, [0])


@pytest.mark.parametrize(("shape", "into"), [((1, 1), (1, 4, 1)), ((1, 3), (2, 4, 3)), ((3, 1, 2), (3, 5, 2)), ((), (2, 3))])
def test_broadcast_axes_are_summed_and_no_others(shape, into):
    x, g = Tensor(np.ones(shape), requires_grad=True), np.arange(np.prod(into), dtype=float).reshape(into)
    (x + np.zeros(into)).backward(g)
    expected = np.zeros(shape)
    for at in np.ndindex(into):
        tail = at[len(at) - len(shape) :]
        expected[tuple(i if n > 1 else 0 for i, n in zip(tail, shape, strict=True))] += g[at]
    np.testing.assert_array_equal(x.grad.data, expected)


def test_slices_are_added_into_one_buffer_in_any_order():
    x = leaf(1.0, 2.0, 3.0)
    (x[0] * 2 + x[[0, 0, 2]].sum() + (x * 10).sum() + x[::-1][0]).backward()
    np.testing.assert_array_equal(x.grad.data, [14, 10, 12])


def test_a_chain_of_100_000_ops_needs_no_recursion():
    x = y = leaf(1.0)
    for _ in range(100_000):
        y = y + 1e-9
    y.backward()
    np.testing.assert_array_equal(x.grad.data, [1])


def test_a_diamond_of_1_000_levels_is_walked_once():
    x = y = leaf(1.0)
    for _ in range(1_000):
        y = (y + y) * 0.5
    y.backward()
    np.testing.assert_array_equal(x.grad.data, [1])


def test_an_abandoned_long_graph_is_freed_without_recursion():
    y = leaf(1.0)
    for _ in range(100_000):
        y = y + 1.0
    del y


def test_nothing_of_the_graph_is_alive_after_backward():
    x = leaf(1.0, 2.0)
    hidden = np.exp(x)
    loss = (hidden * hidden).sum()
    nodes = [weakref.ref(hidden.node), weakref.ref(loss.node)]
    arrays = [weakref.ref(hidden.data)]
    gc.disable()
    try:
        loss.backward()
        del hidden, loss
        assert [ref() for ref in nodes + arrays] == [None] * 3
    finally:
        gc.enable()


def test_memory_after_backward_is_that_of_the_gradients():
    x = Tensor(np.ones((200, 500)), requires_grad=True)

    def step():
        h = x
        for _ in range(20):
            h = np.tanh(h) * 1.5
        h.sum().backward()

    step()
    x.grad = None
    tracemalloc.start()
    step()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1.05 * x.data.nbytes  # its gradient and nothing else
    assert peak > 20 * x.data.nbytes  # it was needed in between


def test_a_second_backward_says_what_to_do():
    x = leaf(1.0)
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(GraphError, match=r"freed by an earlier backward.*retain_graph=True"):
        loss.backward()
    np.testing.assert_array_equal(x.grad.data, [2])


def test_backpropagate_frees_the_graph_unless_told_otherwise():
    x = leaf(2.0)
    loss = x * x
    for _ in range(2):
        found = autograd.backpropagate([(loss, None)], retain=True)
        np.testing.assert_array_equal(found[x.node], [4])
    autograd.backpropagate([(loss, None)])
    with pytest.raises(GraphError, match="freed"):
        autograd.backpropagate([(loss, None)])


def test_retain_graph_allows_a_second_backward():
    x = leaf(3.0)
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    np.testing.assert_array_equal(x.grad.data, [12])


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda x: (x * 2).backward(), GraphError, r"shape \(2,\), not one number"),
        (
            lambda x: (x * 2).backward(np.ones(3)),
            ShapeError,
            r"^backward: a cotangent of shape \(3,\) was given for a value of shape \(2,\)",
        ),
        (lambda x: Tensor([1.0]).sum().backward(), GraphError, "nothing was recorded"),
        (lambda x: autograd.grad(x.sum(), [leaf(1.0)]), GraphError, r"input 0, of shape \(1,\), is not used"),
        (lambda x: autograd.grad(x.sum(), [Tensor([1.0])]), GraphError, "input 0 does not require a gradient"),
        (lambda x: Tensor([1, 2], requires_grad=True), DtypeError, "int64 numbers have no gradient"),
        (lambda x: Tensor([True], requires_grad=True), DtypeError, "bool numbers have no gradient"),
        (lambda x: setattr(x * 2, "requires_grad", False), GraphError, "only a leaf"),
    ],
)
def test_mistakes_get_a_clear_error(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt(leaf(1.0, 2.0))


def test_grad_touches_no_grad_and_reaches_inner_values():
    x = leaf(2.0)
    y = x * x
    z = np.exp(y)
    gx, gy, gz = autograd.grad(z.sum(), [x, y, z])
    np.testing.assert_allclose(gx.data, 4 * np.exp(4))
    np.testing.assert_allclose(gy.data, np.exp(4))
    np.testing.assert_array_equal(gz.data, [1])
    assert not any(g.requires_grad for g in (gx, gy, gz))  # only create_graph records
    assert x.grad is None


def test_unused_input_may_be_allowed():
    x, y = leaf(1.0), leaf(1.0)
    found = autograd.grad((x * 3).sum(), [x, y], allow_unused=True)
    np.testing.assert_array_equal(found[0].data, [3])
    assert found[1] is None


def test_several_outputs_with_their_cotangents():
    x = leaf(1.0, 2.0)
    (g,) = autograd.grad([x * 2, x * x], [x], [np.array([1.0, 10.0]), np.array([100.0, 1000.0])])
    np.testing.assert_array_equal(g.data, [2 + 200, 20 + 4000])
    with pytest.raises(ValueError, match="shorter"):
        autograd.grad([x * 2, x * x], [x], [np.ones(2)])


def test_third_derivative():
    x = leaf(0.7)
    y = np.sin(x) * np.exp(x)
    for _ in range(3):
        (y,) = autograd.grad(y.sum(), [x], create_graph=True)
    np.testing.assert_allclose(y.data, np.exp(0.7) * (2 * np.cos(0.7) - 2 * np.sin(0.7)), rtol=1e-12)


def test_create_graph_records_even_inside_no_grad():
    x = leaf(3.0)
    y = x * x * x
    with no_grad():
        (slope,) = autograd.grad(y, [x], create_graph=True)
    (curvature,) = autograd.grad(slope, [x])
    np.testing.assert_array_equal(curvature.data, [18])


def test_create_graph_through_backward():
    x = leaf(3.0)
    (x * x * x).sum().backward(create_graph=True)
    first = x.grad
    x.grad = None
    first.sum().backward()
    np.testing.assert_allclose(x.grad.data, [18])


def test_no_grad_records_nothing_and_ends():
    x = leaf(1.0)
    with no_grad():
        assert not (x * 2).requires_grad
        with no_grad():
            pass
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad

    @no_grad()
    def f(n):
        return f(n - 1) if n else x * 2

    assert not f(3).requires_grad
    assert (x * 2).requires_grad


def test_no_grad_holds_for_its_own_thread_only():
    x, seen = leaf(1.0), []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


def test_threads_differentiate_over_the_same_parameters():
    w = Tensor(np.random.default_rng(0).standard_normal((20, 20)), requires_grad=True)
    inputs = [np.random.default_rng(i).standard_normal((5, 20)) for i in range(8)]

    def slope(x):
        return autograd.grad(np.sum(np.tanh(np.tanh(x @ w) @ w)), [w])[0].data

    expected = [slope(x) for x in inputs]
    found = [None] * 8
    threads = [
        threading.Thread(target=lambda i=i: [found.__setitem__(i, slope(inputs[i])) for _ in range(20)]) for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert w.grad is None


def test_what_a_retained_graph_keeps_is_not_added_to():
    """A tied head: its gradient is computed forward and kept, and the embedding's is added to it."""
    h = Tensor(np.array([[1.0, 2.0], [0.5, -1.0]]), requires_grad=True)
    w = Tensor(np.array([[0.1, 0.2], [0.3, -0.4], [0.0, 0.5]]), requires_grad=True)
    loss = ops.linear_cross_entropy(h + ops.embedding(w, np.array([0, 2])), w, None, np.array([1, 0]))
    loss.backward(retain_graph=True)
    once = w.grad.data.copy()
    w.grad = None
    loss.backward()
    np.testing.assert_array_equal(w.grad.data, once)


def test_a_gradient_is_ready_as_soon_as_its_uses_are_done():
    """The deeper leaf is told of while the way back has not reached the other; what is given is the array of the result."""
    first, twice = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    told = []
    h = first * 2
    h.register_hook(lambda g: told.append("h"))
    y = (np.sin(h) * twice + h * twice).sum()
    grads = autograd.grad([y], [first, twice], ready=told.append)
    assert told[1] == "h"
    assert told[0] is grads[1].data
    assert told[2] is grads[0].data
    np.testing.assert_allclose(grads[1].data, np.sin([2.0, 4.0]) + np.array([2.0, 4.0]))


def test_no_gradient_is_ready_that_a_hook_may_change():
    x = Tensor([1.0, 2.0], requires_grad=True)
    x.register_hook(lambda g: g * 10)
    told = []
    (g,) = autograd.grad([(x * 3).sum()], [x], ready=told.append)
    assert not told
    assert g.data.tolist() == [30, 30]


def test_a_ready_gradient_may_be_changed_in_place():
    """As a sum over machines does: nothing else has the array, and the result has what was written."""
    x = Tensor([1.0, 2.0], requires_grad=True)
    cotangent = np.array([1.0, 1.0])

    def double(g):
        g *= 2

    (g,) = autograd.grad([x + 0], [x], [cotangent], ready=double)
    assert g.data.tolist() == [2, 2]
    assert cotangent.tolist() == [1, 1]


def test_recorded_gradients_share_no_memory_with_what_was_given():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    g = np.array([1.0, 5.0])
    found = autograd.grad(x + y, [x, y], g, create_graph=True)
    g[0] = 50
    found[0].data *= 2
    np.testing.assert_array_equal(found[0].data, [2, 10])
    np.testing.assert_array_equal(found[1].data, [1, 5])


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda x: autograd.grad([], [x]), "no outputs were given"),
        (lambda x: autograd.grad(x.sum(), [np.ones(2)]), "input 0 is a ndarray; give Tensors"),
        (lambda x: autograd.grad(np.ones(1), [x]), "output 0 is a ndarray; give Tensors"),
        (lambda x: autograd.grad(x * 2, [x], [1.0, 2.0]), "the list of cotangents is longer than the list of outputs: 2 for 1"),
    ],
)
def test_what_is_no_list_of_tensors_is_named(attempt, message):
    with pytest.raises((GraphError, ShapeError), match=message):
        attempt(leaf(1.0, 2.0))
