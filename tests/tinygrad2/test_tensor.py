"""Tensor as a NumPy array: operators, functions, dtypes, odd shapes."""

import copy
import pickle

import numpy as np
import pytest

from tinygrad2 import Tensor, nn, no_grad
from tinygrad2.errors import GraphError, UnsupportedError


def test_numpy_on_either_side_gives_a_tensor():
    t = Tensor([1.0, 2.0], requires_grad=True)
    array = np.array([3.0, 4.0])
    for result, expected in [
        (2 / t, [2, 1]),
        (array - t, [2, 2]),
        (array @ t, 11),
        (np.float64(2) * t, [2, 4]),
        (t**2, [1, 4]),
        (np.concatenate([array, t]), [3, 4, 1, 2]),
        (-t, [-1, -2]),
        (t.mean(), 1.5),
    ]:
        assert type(result) is Tensor
        assert result.requires_grad
        np.testing.assert_allclose(result.data, expected)


def test_dtype_promotion_is_numpys():
    t = Tensor([1.0], dtype=np.float32, requires_grad=True)
    assert (t * 2.5).dtype == np.float32
    assert (2 / t + 1).dtype == np.float32
    assert (t**2).dtype == np.float32
    assert (t.sum() * 0.5).dtype == np.float32
    assert t.mean().dtype == np.float32
    assert (t + np.ones(1)).dtype == np.float64
    assert Tensor([1.0]).dtype == np.float64
    assert Tensor([1]).dtype == np.int64


def test_a_gradient_has_the_dtype_of_its_leaf():
    t = Tensor([1.0], dtype=np.float32, requires_grad=True)
    (t * np.array([3.0])).sum().backward()
    assert t.grad.dtype == np.float32


@pytest.mark.parametrize(
    "x",
    [np.array(2.0), np.ones((0, 3)), np.ones((1, 1)), np.arange(12.0).reshape(3, 4)[:, ::2], np.arange(5.0)[::-1]],
    ids=["0-d", "empty", "size 1", "strided", "reversed"],
)
def test_odd_arrays_have_gradients(x):
    t = Tensor(x, requires_grad=True)
    (t * t + np.exp(t)).sum().backward()
    assert t.grad.shape == x.shape
    np.testing.assert_allclose(t.grad.data, 2 * x + np.exp(x))


def test_augmented_assignment_makes_a_new_tensor():
    x = Tensor([1.0], requires_grad=True)
    y = x
    y += 1
    y *= y
    y.backward()
    np.testing.assert_array_equal(x.data, [1])
    np.testing.assert_array_equal(x.grad.data, [4])


def test_comparisons_are_plain():
    t = Tensor([1.0, 3.0], requires_grad=True)
    above = t > 2
    assert above.dtype == bool
    assert not above.requires_grad
    np.testing.assert_array_equal(np.where(above, t, 0).data, [0, 3])
    assert len({t, t, Tensor([1.0])}) == 2


def test_what_has_no_rule_is_refused_by_name():
    t = Tensor([1.0], requires_grad=True)
    with pytest.raises(UnsupportedError, match=r"np\.i0 has no differentiable rule"):
        np.i0(t)
    with pytest.raises(UnsupportedError, match=r"np\.add with out="):
        np.add(t, 1, out=t)
    with pytest.raises(UnsupportedError, match=r"np\.add with \.reduce"):
        np.add.reduce(t)
    with pytest.raises(UnsupportedError, match="not an array of numbers"):
        Tensor(object())


def test_an_array_is_not_taken_out_of_a_graph_silently():
    t = Tensor([1.0], requires_grad=True)
    with pytest.raises(GraphError, match=r"\.numpy\(\)"):
        np.asarray(t)
    np.testing.assert_array_equal(t.numpy(), [1])
    np.testing.assert_array_equal(np.asarray(t.detach()), [1])


def test_repr_and_numbers():
    assert repr(Tensor([1.0, 2.0])) == "Tensor([1., 2.])"
    assert repr(Tensor(1, dtype=np.float32, requires_grad=True)) == "Tensor(1., dtype=float32, requires_grad=True)"
    assert Tensor(2.5).item() == float(Tensor(2.5)) == 2.5
    assert len(Tensor([[1], [2]])) == 2
    assert bool(Tensor(1.0) > 0)


def test_a_long_array_is_shown_in_part():
    assert "..." not in repr(Tensor(np.zeros(50)))
    assert "..." in repr(Tensor(np.zeros(51)))


def test_methods_are_numpys_functions():
    array = np.random.default_rng(0).standard_normal((2, 3, 4))
    t = Tensor(array)
    for result, expected in [
        (t.sum(), array.sum()),
        (t.sum((0, 2)), array.sum((0, 2))),
        (t.sum(1, keepdims=True), array.sum(1, keepdims=True)),
        (t.mean(1), array.mean(1)),
        (t.mean(-1, keepdims=True), array.mean(-1, keepdims=True)),
        (t.max(2), array.max(2)),
        (t.max(0, keepdims=True), array.max(0, keepdims=True)),
        (t.reshape(6, 4), array.reshape(6, 4)),
        (t.reshape((4, -1)), array.reshape(4, -1)),
        (t.reshape(-1), array.reshape(-1)),
        (t.T, array.T),
        (t.transpose(), array.T),
        (t.transpose(1, 2, 0), array.transpose(1, 2, 0)),
        (t.transpose((2, 0, 1)), array.transpose(2, 0, 1)),
        (t[0].transpose(1, 0), array[0].T),
        (t.swapaxes(0, 2), array.swapaxes(0, 2)),
    ]:
        assert result.shape == expected.shape
        np.testing.assert_allclose(result.data, expected, rtol=1e-14)


def test_a_leaf_can_be_frozen_and_thawed():
    x = Tensor([1.0, 2.0], requires_grad=True)
    x.sum().backward()
    x.requires_grad = True  # as it is: nothing is forgotten
    np.testing.assert_array_equal(x.grad.data, [1, 1])
    x.requires_grad = False
    assert not (x * 2).requires_grad
    x.requires_grad = True
    assert (x * 2).requires_grad
    assert x.grad is None


def test_iteration_gives_the_rows_and_ends():
    t = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    first, second = t
    (first * second).sum().backward()
    np.testing.assert_array_equal(t.grad.data, [[3, 4], [1, 2]])
    with pytest.raises(TypeError):
        list(Tensor(1.0))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_are_leaves_of_their_own(copied):
    original = nn.Linear(2, 2, rng=np.random.default_rng(0))
    twin = copied(original)
    assert type(twin.weight) is nn.Parameter
    x = np.ones((1, 2), np.float32)
    (original(x) * twin(x)).sum().backward()  # both in one graph
    np.testing.assert_array_equal(original.weight.grad.data, twin.weight.grad.data)
    twin.weight.data += 1
    assert (original.weight.data != twin.weight.data).all()
    with pytest.raises(GraphError, match="inside a graph"):
        copied(original(x))


def test_an_index_may_be_a_tensor():
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    x[Tensor([2, 0, 2])].backward([1.0, 10.0, 100.0])
    np.testing.assert_array_equal(x.grad.data, [10, 0, 101])
    np.testing.assert_array_equal(x[x > 1].data, [2, 3])


@pytest.mark.parametrize("make", [lambda x: x, lambda x: x * 1], ids=["leaf", "result"])
def test_a_hook_may_be_there_twice_and_is_removed_once(make):
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = make(x)

    def double(g):
        return g * 2

    removers = [y.register_hook(double) for _ in range(3)]

    def factor():
        x.grad = None
        (y * [1.0, 3.0]).sum().backward(retain_graph=True)
        np.testing.assert_array_equal(x.grad.data[1], x.grad.data[0] * 3)
        return x.grad.data[0]

    assert factor() == 8
    removers[1]()
    removers[1]()  # again, which changes nothing
    assert factor() == 4
    removers[0]()
    assert factor() == 2
    y.register_hook(double)
    removers[2]()
    assert factor() == 2


@pytest.mark.parametrize("make", [Tensor, nn.Parameter, lambda t: Tensor(t, requires_grad=True)])
def test_a_tensor_made_of_one_in_a_graph_would_cut_it(make):
    t = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(GraphError, match=r"is part of a graph, which would be cut here; say .detach\(\) to cut it"):
        make(t * 2)
    with no_grad():
        make(t * 2)
    assert make((t * 2).detach()).shape == make(t).shape == (2,)


def test_a_sum_of_two_dtypes_is_numpys():
    a, b = np.full((2, 3), 1 / 3, np.float32), np.full((2, 3), 1 / 3)
    for left, right in ((a, b), (b, a)):
        total = Tensor(left, requires_grad=True) + right
        assert total.dtype == np.float64
        np.testing.assert_array_equal(total.data, left + right)
