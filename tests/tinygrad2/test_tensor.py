"""Tensor as a NumPy array: operators, functions, dtypes, odd shapes."""

import copy
import math
import pickle

import numpy as np
import pytest

from tinygrad2 import Tensor, grad, hvp, jvp, nn, no_grad, ops, vjp
from tinygrad2.errors import DtypeError, GraphError, ShapeError, UnsupportedError


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
    with pytest.raises(GraphError, match=r"is part of a graph, which would be cut here; call .detach\(\) to cut it"):
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


# -- leaving the graph


@pytest.mark.parametrize(
    "leave",
    [
        float,
        math.sin,
        complex,
        lambda x: math.hypot(x, 1.0),
        lambda x: np.zeros(2).__setitem__(0, x),
        lambda x: np.zeros(2).__setitem__(slice(None), x),
        lambda x: np.full(2, x),
        lambda x: np.array([x, 1.0]),
        lambda x: np.float32(x),
        lambda x: math.floor(x),
    ],
)
@pytest.mark.parametrize("make", [lambda x: x, lambda x: x * 2], ids=["leaf", "result"])
def test_a_number_is_not_taken_out_of_a_graph_silently(leave, make):
    x = make(Tensor(1.25, requires_grad=True))
    with pytest.raises((GraphError, ValueError, TypeError)) as caught:
        leave(x)
    shown = caught.value if isinstance(caught.value, GraphError) else caught.value.__cause__ or caught.value.__context__
    assert isinstance(shown, GraphError)
    assert "part of a graph" in str(shown)
    with no_grad():
        leave(x)
    leave(x.detach())


def test_what_needs_no_gradient_is_answered():
    x = Tensor(2.75, requires_grad=True) * 1
    assert int(x) == 2
    assert bool(x)
    assert f"{x:.1f}" == "2.8"
    assert f"{x}" == str(x) == "Tensor(2.75, requires_grad=True)"
    assert f"{Tensor([[3.0]]):05.1f}" == "003.0"
    assert [10, 20, 30][Tensor(1)] == 20
    assert list(range(Tensor(2))) == [0, 1]
    with pytest.raises(TypeError, match="format string"):
        f"{Tensor([1.0, 2.0]):.1f}"
    with pytest.raises(TypeError, match="integer"):
        [1, 2][Tensor(1.0)]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.absolute(np.exp(1j * x) + x),
        lambda x: x * 1j,
        lambda x: x.astype(complex),
        lambda x: x @ np.array([1j, 2]),
        lambda x: np.where(np.array([True, False]), x, 1j),
        lambda x: np.concatenate([x, np.array([1j])]),
        lambda x: np.power(x, 1j),
    ],
)
def test_complex_numbers_in_between_are_refused(f):
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(DtypeError, match="complex numbers have no gradient here"):
        f(x)
    with no_grad():
        f(x)


# -- what is changed meanwhile


@pytest.mark.parametrize("f", [np.tan, np.exp, np.sqrt, np.reciprocal, ops.softmax, lambda x: np.max(x, axis=0, keepdims=True)])
@pytest.mark.parametrize("change", ["multiplied", "replaced"])
def test_a_result_that_was_changed_is_refused_where_its_gradient_needs_the_old_value(f, change):
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = f(x)
    if change == "multiplied":
        y.data *= 3
    else:
        y.data = y.data * 3
    with pytest.raises(GraphError, match="was changed after it was computed"):
        y.backward(np.ones(y.shape) * 0.5)


def test_a_result_that_was_changed_may_be_used_where_the_old_value_is_not_needed():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x + np.array([1.0, 1.0])
    y.data *= 3
    (y * y).backward(np.array([1.0, 3.0]))
    np.testing.assert_array_equal(x.grad.data, [12, 54])  # that of y as it was used
    z, x.grad = np.tanh(x), None
    z.data *= 3
    z.backward(np.array([1.0, 3.0]))
    np.testing.assert_allclose(x.grad.data, [1, 3] / np.cosh([1, 2]) ** 2)


@pytest.mark.parametrize(
    ("f", "given"),
    [
        (lambda x, i: x[i], lambda: np.array([0, 1, 1])),
        (lambda x, i: x[i], lambda: [0, 1, 1]),
        (lambda x, i: x[:, i], lambda: np.array([0, 2, 2])),
        (lambda x, i: x[i], lambda: np.eye(3) > 0),
        (lambda x, i: np.take(x, i, axis=1), lambda: np.array([0, 2])),
        (lambda x, i: np.take_along_axis(x, i, axis=1), lambda: np.array([[0], [2], [1]])),
        (ops.embedding, lambda: np.array([0, 1, 1])),
        (lambda x, i: ops.cross_entropy(x, i), lambda: np.array([0, 1, 1])),
        (lambda x, c: x * c, lambda: np.array([1.0, 2.0, 3.0])),
        (lambda x, c: c @ x, lambda: np.arange(9.0).reshape(3, 3)),
        (lambda x, c: np.where(c > 1, x, c), lambda: np.array([1.0, 2.0, 3.0])),
        (lambda x, c: x**c, lambda: np.array([1.0, 2.0, 3.0])),
        (lambda x, c: np.einsum("ij,j->i", x, c), lambda: np.array([1.0, 2.0, 3.0])),
        (lambda x, c: np.clip(x, c, 3.0), lambda: np.array([1.0, 2.0, 3.0])),
        (lambda x, c: ops.linear(x, Tensor(c)), lambda: np.arange(9.0).reshape(3, 3)),
    ],
)
def test_what_backward_reads_may_be_written_to(f, given):
    """Arrays, indices and lists of the caller: the gradient is that of what they were."""
    value = np.random.default_rng(0).uniform(0.5, 3, (3, 3))
    gradients = []
    for write in (False, True):
        x, c = Tensor(value, requires_grad=True), given()
        y = f(x, c)
        if write:
            c[:] = [0] * len(c) if isinstance(c, list) else 0
        y.backward(np.random.default_rng(1).standard_normal(y.shape))
        gradients.append(x.grad.data)
    np.testing.assert_array_equal(*gradients)


# -- gradients that are set


@pytest.mark.parametrize("shape", [(2,), (1, 3), (), (3, 3)])
def test_a_gradient_of_another_shape_is_refused_where_it_is_set(shape):
    p = Tensor(np.ones(3, np.float32), requires_grad=True)
    for wrap in (Tensor, np.array):
        with pytest.raises(ShapeError, match=r"a gradient of shape .* for a tensor of shape \(3,\)"):
            p.grad = wrap(np.ones(shape, np.float32))
    assert p.grad is None


def test_a_gradient_takes_the_dtype_of_its_tensor():
    p = Tensor(np.ones(3, np.float32), requires_grad=True)
    for g in (np.array([1, 2, 3]), np.array([1.0, 2, 3]), Tensor([1.0, 2, 3])):
        p.grad = g
        assert p.grad.dtype == np.float32
        np.testing.assert_array_equal(p.grad.data, [1, 2, 3])
    with pytest.raises(DtypeError, match="a gradient of complex128 for a tensor of float32"):
        p.grad = np.array([1, 2, 3j])


def test_a_gradient_is_not_added_to_one_of_another_shape():
    p = Tensor(np.ones(3), requires_grad=True)
    np.sum(p * p).backward()
    p.data = np.ones(1)
    with pytest.raises(ShapeError, match=r"of shape \(1,\) cannot be added to a \.grad of shape \(3,\)"):
        np.sum(p * p).backward()


@pytest.mark.parametrize("dtype", [">f8", ">f4", "<f8", ">i4"])
def test_the_byte_order_of_an_array_does_not_matter(dtype):
    array = np.arange(6.0).reshape(2, 3).astype(dtype)
    t = Tensor(array)
    assert t.dtype.isnative
    np.testing.assert_array_equal(t.data, array)
    other = Tensor(np.ones((2, 3)), requires_grad=True)
    other.data = array.astype(array.dtype.str.replace("i4", "f8"))
    assert other.dtype.isnative
    (other @ array.T).backward(np.arange(4.0).reshape(2, 2))
    np.testing.assert_array_equal(other.grad.data, np.arange(4.0).reshape(2, 2) @ np.arange(6.0).reshape(2, 3))


def test_constants_up_to_a_mebibyte_are_copied():
    x = Tensor(1.0, requires_grad=True)
    for count, copied in ((1 << 17, True), ((1 << 17) + 1, False)):
        c = np.ones(count)
        for given in (c, Tensor(c)):
            y = x * given
            assert np.shares_memory(y.node.primals[1], c) is not copied


def test_an_array_may_be_changed_by_what_is_in_no_graph():
    w = np.ones(3)
    parameter = Tensor(np.ones(3), requires_grad=True)
    parameter.grad = np.array([1.0, 2.0, 3.0])
    w -= 0.1 * parameter.grad
    np.testing.assert_allclose(w, [0.9, 0.8, 0.7])
    parameter.data -= 0.1 * parameter.grad
    np.testing.assert_allclose(parameter.data, w)
    with pytest.raises(UnsupportedError, match=r"np\.subtract with out= cannot be differentiated"):
        w -= parameter
    with pytest.raises(UnsupportedError, match="with out= cannot"):
        np.add(w, 1, out=parameter.detach())
    with pytest.raises(UnsupportedError, match=r"cannot be written into; make a new one, as in np\.where"):
        parameter[~np.tri(3, dtype=bool)[0]] = 0
    np.testing.assert_allclose(parameter.data, w)
    with pytest.raises(UnsupportedError, match=r"np\.add with \.reduce cannot be differentiated; write np\.sum"):
        np.add.reduce(parameter)
    assert round(Tensor(2.75)) == 3
    assert round(parameter, 1).data.tolist() == [0.9, 0.8, 0.7]


# -- what is no array of real numbers


MASKED = np.ma.array([1.0, 2.0], mask=[True, False])


@pytest.mark.parametrize(
    "attempt",
    [
        lambda x: Tensor(MASKED),
        lambda x: setattr(x, "data", MASKED),
        lambda x: setattr(x, "grad", MASKED),
        lambda x: (x * 1).backward(MASKED),
        lambda x: grad(np.sum)(MASKED),
        lambda x: ops.relu(x) @ MASKED,
        lambda x: x[np.ma.array([True, False], mask=[True, False])],
    ],
)
def test_a_mask_is_not_lost(attempt):
    with pytest.raises(UnsupportedError, match="mask would be lost"):
        attempt(Tensor([1.0, 2.0], requires_grad=True))


@pytest.mark.parametrize(
    "data", [np.array([1, 2]), [True, False], np.array([1j, 2]), "abc", np.array([None, 2.0]), np.array(["a", "b"])], ids=repr
)
def test_the_data_of_a_leaf_stays_floating_point(data):
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises((DtypeError, UnsupportedError)):
        x.data = data
    np.testing.assert_array_equal(x.data, [1, 2])


@pytest.mark.parametrize(
    "attempt",
    [
        lambda x, c: (x * 2).backward(c),
        lambda x, c: vjp(lambda a: a**2, x)[1](c),
        lambda x, c: jvp(lambda a: a**3, [x], [c]),
        lambda x, c: hvp(lambda a: np.sum(a**3), [x], [c]),
        lambda x, c: Tensor(c, dtype=float),
        lambda x, c: np.multiply(x, c),
        lambda x, c: np.concatenate([x, c]),
    ],
)
@pytest.mark.parametrize(
    "given", [np.array([1j, 2]), np.array([1, 2], "m8[s]"), np.array(["1", "2"])], ids=lambda c: str(c.dtype)
)
def test_what_is_no_real_number_is_refused(attempt, given):
    with pytest.raises((DtypeError, UnsupportedError, TypeError)):
        attempt(Tensor([1.0, 2.0], requires_grad=True), given)


@pytest.mark.parametrize(
    ("f", "given", "other"),
    [
        (np.transpose, [2, 0, 1], [0, 1, 2]),
        (lambda x, axes: x.transpose(axes), np.array([2, 0, 1]), np.array([0, 1, 2])),
        (np.pad, [[1, 1], [0, 1], [2, 0]], [[0, 2], [1, 0], [0, 2]]),
        (np.flip, np.array(0), np.array(1)),
        (lambda x, k: np.tril(x, k=k), np.array(0), np.array(-1)),
        (lambda x, axis: ops.softmax(x, axis=axis), np.array(0), np.array(2)),
        (lambda x, i: x[:, (i, i)], [0, 1], [1, 1]),
    ],
)
def test_settings_may_be_written_to(f, given, other):
    value = np.random.default_rng(0).standard_normal((2, 2, 2))
    gradients = []
    for write in (False, True):
        x, setting = Tensor(value, requires_grad=True), copy.deepcopy(given)
        y = f(x, setting)
        if write:
            setting.__setitem__(... if isinstance(setting, np.ndarray) else slice(None), other)
        g = np.random.default_rng(1).standard_normal(y.shape)
        y.backward(g)
        gradients.append(x.grad.data)
    np.testing.assert_array_equal(*gradients)


def test_what_a_node_keeps():
    x = Tensor([1.0, 2.0], requires_grad=True)
    assert not x.astype(int).requires_grad
    product = x * Tensor([3.0, 4.0], requires_grad=True)
    assert product.node.primals[0] is x.data  # no copy of what is recorded
    power = x ** np.array([2.0, 3.0])
    assert power.node.primals[0] is x.data
    listed = ops.matmul([[1.0, 2.0], [3.0, 4.0]], x)
    assert isinstance(listed.node.primals[0], np.ndarray)
    listed.backward(np.array([1.0, 10.0]))
    np.testing.assert_array_equal(x.grad.data, [31, 42])
