"""How calls of NumPy reach a Tensor: what is refused, what is computed without a gradient, and what others may answer."""

import inspect
import operator

import numpy as np
import pytest

from tinygrad2 import Tensor, nn, no_grad
from tinygrad2.errors import DtypeError, ShapeError, TinygradError, UnsupportedError
from tinygrad2.ops import RULES

MASK = np.array([[True, False, True], [False, True, True]])


def leaf(*shape, low=0.5):
    return Tensor(np.random.default_rng(1).uniform(low, 2.0, shape or (2, 3)), requires_grad=True)


def detached(x):
    return x.detach() if isinstance(x, Tensor) else x


def numbers(x):
    """What was given, with arrays in place of Tensors."""
    if isinstance(x, (list, tuple)):
        return [numbers(part) for part in x]
    return x.data if isinstance(x, Tensor) else x


PLAIN_CALLS = [
    lambda x, b: np.allclose(b, b=x),
    lambda x, b: np.allclose(a=b, b=x),
    lambda x, b: np.any(b, where=x > 1),
    lambda x, b: np.all(x > 0.1, axis=1, where=MASK),
    lambda x, b: np.isclose(b, x, rtol=detached(x[0, 0])),
    lambda x, b: np.array_equal(x, b - 0.125),
    lambda x, b: np.array_equiv(x, x[None]),
    lambda x, b: np.nonzero(x > 1),
    lambda x, b: np.argwhere(x > 1),
    lambda x, b: np.flatnonzero(x > 1),
    lambda x, b: np.where(x > 1),
    lambda x, b: np.count_nonzero(x > 1, axis=0),
    lambda x, b: np.lexsort((x[0], x[1])),
    lambda x, b: np.searchsorted(np.array([0.5, 1.0, 1.5]), v=x),
    lambda x, b: np.digitize(x, [0.5, 1.0]),
    lambda x, b: np.bincount((x > 1).ravel().astype(int)),
    lambda x, b: np.isin(x, [x[0, 0], 2.0]),
    lambda x, b: np.floor(x),
    lambda x, b: np.round(x, 1),
    lambda x, b: x.round(decimals=2),
    lambda x, b: np.around(x),
    lambda x, b: np.rint(x, dtype=np.float32, casting="same_kind"),
    lambda x, b: np.signbit(-x),
    lambda x, b: np.logical_xor(x > 1, b > 1),
    lambda x, b: ~(x > 1) & (b > 1) | (x > 1.5) ^ True,
    lambda x, b: (x > 1).astype(int) << 2 >> 1,
    lambda x, b: 3 << (x > 1).astype(int),
    lambda x, b: x // 0.3,
    lambda x, b: np.argpartition(x, 1),
    lambda x, b: np.result_type(x, np.float32),
    lambda x, b: np.can_cast(x.dtype, "f4"),
    lambda x, b: np.iscomplexobj(x),
    lambda x, b: np.empty_like(x).shape,
    lambda x, b: np.may_share_memory(x, x),
    lambda x, b: np.shares_memory(x, b),
    lambda x, b: np.histogram(detached(x), bins=3),
    lambda x, b: np.median(detached(x), axis=0),
    lambda x, b: np.fft.rfft(detached(x)),
    lambda x, b: np.poly(detached(x)[0]),
    lambda x, b: np.logical_and.reduce(x > 1, axis=1),
    lambda x, b: np.greater.outer(x, x[0]),
    lambda x, b: x.tolist(),
    lambda x, b: [x.argmax(), x.argmin(1), x.all(), x.any(0), x.argsort(), (x > 1).nonzero(), x[0].searchsorted(1.0)],
    lambda x, b: [x.nbytes, x.itemsize],
    lambda x, b: np.array_repr(detached(x)),
    lambda x, b: operator.index(np.ndim(x)),
]


@pytest.mark.parametrize("call", PLAIN_CALLS)
def test_what_has_no_gradient_is_computed_on_the_arrays(call):
    x = leaf()
    b = x.data + 0.125
    found, expected = call(x, b), call(x.data, b)
    flat = found if isinstance(found, (list, tuple)) else [found]
    assert not any(part.requires_grad for part in flat if isinstance(part, Tensor))
    for ours, numpys in zip(flat, expected if isinstance(expected, (list, tuple)) else [expected], strict=True):
        np.testing.assert_equal(numbers(ours), numpys)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: np.sum(x, out=np.zeros(())), r"np\.sum: \['out'\] is not supported here; it takes \['axis', 'keepdims'"),
        (lambda x: np.sum(x, 0, None, np.zeros(3)), r"np\.sum: \['out'\]"),
        (lambda x: np.add(x, 1, out=np.zeros((2, 3))), r"np\.add with out="),
        (lambda x: np.add(x, 1, where=MASK), r"np\.add: \['where'\] is not supported here; it takes .*'dtype'"),
        (lambda x: np.exp(x, order="F"), r"np\.exp: \['order'\]"),
        (lambda x: np.reshape(x, (3, 2), "F"), r"np\.reshape: \['order'\]"),
        (lambda x: np.var(x, mean=np.ones(())), r"np\.var: \['mean'\]"),
        (lambda x: np.std(x, where=MASK), r"np\.std: \['where'\]"),
        (lambda x: np.take(x, [0], out=np.zeros(1)), r"np\.take: \['out'\]"),
        (lambda x: np.concatenate([x, x], out=np.zeros((4, 3))), r"np\.concatenate: \['out'\]"),
        (lambda x: x.sum(axes=0), r"np\.sum: \['axes'\] is not supported here|np\.sum does not take"),
        (lambda x: x.sum(0, axis=1), r"np\.sum does not take"),
        (lambda x: x.take(), r"np\.take does not take"),
        (lambda x: x.sort(), r"np\.sort"),
        (lambda x: np.add.at(x, 0, 1), r"np\.add with \.at"),
        (lambda x: np.add.reduce(x), r"np\.add with \.reduce"),
        (lambda x: np.copyto(x, 1), r"np\.copyto writes into an array"),
        (lambda x: np.put(detached(x), 0, 1), r"np\.put writes into an array"),
        (lambda x: np.place(x, MASK, 1), r"np\.place writes"),
        (lambda x: np.fill_diagonal(x, 1), r"np\.fill_diagonal writes"),
        (lambda x: np.put_along_axis(x, np.array([[0], [1]]), 1, 1), r"np\.put_along_axis writes"),
        (lambda x: np.fft.fft(x), r"np\.fft\.fft has no differentiable rule here; complex numbers"),
        (lambda x: np.linalg.eig(x), r"np\.linalg\.eig has no differentiable rule here; write np\.linalg\.eigh"),
        (lambda x: np.unique_counts(x), r"np\.unique_counts has no differentiable rule here; write np\.unique, or take \.data"),
        (lambda x: np.polyfit(x[0], x[1], 1), r"np\.polyfit has no differentiable rule"),
        (lambda x: np.histogram(x), r"np\.histogram has no differentiable rule"),
        (lambda x: np.piecewise(x, [x > 1], [1, 2]), r"np\.piecewise has no differentiable rule"),
        (lambda x: np.add(x, np.ma.masked_array([1.0, 2, 3], [1, 0, 0])), r"mask"),
        (lambda x: np.ma.masked_array([1.0, 2, 3], [1, 0, 0]) + x, r"part of a graph|mask"),
        (lambda x: np.vdot(x, np.ma.masked_array(np.ones((2, 3)), MASK)), r"mask"),
        (lambda x: np.any(x, out=np.ones((), bool)), r"np\.any with out= writes into an array"),
        (lambda x: np.all(x, 0, x), r"np\.all with out= writes"),
        (lambda x: np.nanpercentile(x.detach(), 50, overwrite_input=True), r"np\.nanpercentile with overwrite_input= writes"),
        (lambda x: np.var(x, ddof=1, correction=2), r"np\.var: .*correction= and ddof="),
        (lambda x: np.clip(x, 0, 1, min=0.5), r"np\.clip: .*min= and a_min="),
        (lambda x: np.sum(x, where=x), r"where|bool"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(call, message):
    before = leaf().data
    x = leaf()
    with pytest.raises(TinygradError, match=message):
        call(x)
    np.testing.assert_array_equal(x.data, before)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.take(x, [0], axis=7),
        lambda x: np.take(x, [0], axis=-3),
        lambda x: np.take(x, [3], axis=1),
        lambda x: np.take(x, 6),
        lambda x: np.take(x[:, :0], [0], axis=1),
        lambda x: np.take(x, [0], mode="nearest"),
        lambda x: np.sum(x, axis=2),
        lambda x: np.sum(x, axis=(0, 0)),
        lambda x: np.mean(x, axis=-3),
        lambda x: np.var(x, axis=2),
        lambda x: np.max(x, where=MASK),
        lambda x: np.sum(x, where=MASK[None]),
        lambda x: np.sum(x, where=[True, False]),
        lambda x: np.cumsum(x, axis=2),
        lambda x: np.split(x, 2, axis=2),
        lambda x: np.split(x, 2, axis=1),
        lambda x: np.split(x, 0),
        lambda x: np.array_split(x, 0),
        lambda x: np.array_split(x, 2, axis=-3),
        lambda x: np.hsplit(x[0, 0], 1),
        lambda x: np.vsplit(x[0], 1),
        lambda x: np.dsplit(x, 1),
        lambda x: np.concatenate([x, x], axis=2),
        lambda x: np.concatenate([x, x[0]]),
        lambda x: np.concatenate([]) if isinstance(x, np.ndarray) else np.concatenate([x[0, 0]]),
        lambda x: np.stack([x, x[0]]),
        lambda x: np.stack([x, x], axis=3),
        lambda x: np.transpose(x, (0, 2)),
        lambda x: np.transpose(x, (0, 0)),
        lambda x: np.swapaxes(x, 0, 2),
        lambda x: np.flip(x, 2),
        lambda x: np.fliplr(x[0]),
        lambda x: np.flipud(x[0, 0]),
        lambda x: np.rot90(x[0]),
        lambda x: np.roll(x, 1, axis=2),
        lambda x: np.moveaxis(x, 0, 2),
        lambda x: np.moveaxis(x, [0, 1], [0]),
        lambda x: np.rollaxis(x, 2),
        lambda x: np.rollaxis(x, 0, 4),
        lambda x: np.matrix_transpose(x[0]),
        lambda x: np.repeat(x, [1, 2], axis=1),
        lambda x: np.repeat(x, 2, axis=2),
        lambda x: np.repeat(x, -1),
        lambda x: np.delete(x, 3, axis=1),
        lambda x: np.insert(x, 4, 1.0, axis=1),
        lambda x: np.append(x, [1.0], axis=0),
        lambda x: np.take_along_axis(x, np.array([0, 1]), 0),
        lambda x: np.take_along_axis(x, np.array([[0], [1], [0]]), 1),
        lambda x: np.take_along_axis(x, np.array([[0], [3]]), 1),
        lambda x: np.take_along_axis(x, np.array([[0.0], [1.0]]), 1),
        lambda x: np.take_along_axis(x, np.array([[True], [False]]), 1),
        lambda x: np.take_along_axis(x, np.array([[0], [1]]), 2),
        lambda x: np.take_along_axis(x, np.array([[0], [1]]), None),
        lambda x: np.dot(x, x),
        lambda x: np.inner(x, x[:, :2]),
        lambda x: np.vdot(x, x[0]),
        lambda x: np.tensordot(x, x, 1),
        lambda x: np.tensordot(x, x, ([0, 1], [1, 0])),
        lambda x: np.tensordot(x, x, ([0], [2])),
        lambda x: np.cross(x, x, axis=0) if not isinstance(x, np.ndarray) else np.cross(x[:1], x, axis=0),
        lambda x: np.cross(x[0, 0], x),
        lambda x: np.linalg.outer(x, x),
        lambda x: np.linalg.cross(x[:, :2], x[:, :2]),
        lambda x: np.vecdot(x, x[:, :1]),
        lambda x: np.matvec(x, x[:, :2]),
        lambda x: np.vecmat(x, x),
        lambda x: np.einsum("ij,jk", x, x),
        lambda x: np.einsum("ii->i", x),
        lambda x: np.einsum("ijk->i", x),
        lambda x: np.einsum("ij->ik", x),
        lambda x: np.einsum(x, [0, 1], x, [1, 2]),
        lambda x: np.diff(x, axis=2),
        lambda x: np.diff(x, -1),
        lambda x: np.diff(x[0, 0]),
        lambda x: np.gradient(x[:1]),
        lambda x: np.gradient(x[:, :2], edge_order=2),
        lambda x: np.gradient(x, edge_order=3),
        lambda x: np.gradient(x, [1, 2], axis=1),
        lambda x: np.average(x, weights=[1, 2, 3]),
        lambda x: np.average(x, 0, weights=[1, 2, 3]),
        lambda x: np.average(x, weights=np.zeros((2, 3))),
        lambda x: np.where(MASK, x),
        lambda x: np.where(MASK, x, [1, 2]),
        lambda x: np.select([MASK], [x, x]),
        lambda x: np.choose([0, 3, 0], [x[0], x[1]]),
        lambda x: np.compress([True, True, True], x, axis=0),
        lambda x: np.meshgrid(x[0], indexing="ji"),
        lambda x: np.broadcast_arrays(x, np.ones(2)),
        lambda x: np.broadcast_to(x, (2, 2)),
        lambda x: np.reshape(x, (4, 2)),
        lambda x: np.expand_dims(x, 3),
        lambda x: np.squeeze(x, 0),
        lambda x: np.unstack(x, axis=2),
        lambda x: np.convolve(x, x),
        lambda x: np.convolve(x[0], x[0, :0]),
        lambda x: np.convolve(x[0], x[0], "some"),
        lambda x: np.interp(1.0, x[0], x[0, :2]),
        lambda x: np.vander(x),
        lambda x: np.linspace(x, 1, -1),
        lambda x: np.cov(x[None]),
        lambda x: np.cov(x, dtype=int),
        lambda x: np.correlate(x, x[0]),
        lambda x: np.ediff1d(np.astype(x, int), to_end=1.5),
        lambda x: np.exp(x, dtype=int, casting="unsafe"),
        lambda x: np.pad(x, ((1, 1), (1, 1), (1, 1))),
        lambda x: np.tile(x, -1),
        lambda x: x @ [1.0, 2.0],
        lambda x: x - [1.0, 2.0],
        lambda x: x ** [[1, 2], [1]],
    ],
)
def test_what_numpy_refuses_is_refused(call):
    with pytest.raises((ValueError, IndexError, TypeError, ZeroDivisionError)):
        call(leaf().data)
    with pytest.raises((ShapeError, TypeError, ZeroDivisionError)):
        call(leaf())


def test_the_error_names_the_function_and_the_value():
    x = leaf()
    with pytest.raises(ShapeError, match=r"^np\.take: axis 7 is out of bounds for array of dimension 2$"):
        np.take(x, [0], axis=7)
    with pytest.raises(ShapeError, match=r"^np\.linalg\.outer: both must be vectors, not of shapes \(2, 3\) and \(2, 3\)"):
        np.linalg.outer(x, x)
    with pytest.raises(ShapeError, match=r"^np\.split: 3 entries along axis 1 do not divide into 2 equal parts"):
        np.split(x, 2, axis=1)


def test_what_is_left_out_is_numpys_default():
    for function, rule in RULES.items():
        if isinstance(function, np.ufunc):  # whose settings are its own
            continue
        op = getattr(rule, "__self__", None)
        ours = op.settings if op is not None else {p.name: p.default for p in inspect.signature(rule).parameters.values()}
        try:
            numpys = inspect.signature(function).parameters
        except ValueError:  # written in C
            continue
        for name in ours.keys() & numpys.keys():
            default = numpys[name].default
            if ours[name] is inspect.Parameter.empty:  # must be given
                continue
            assert default in (ours[name], np._NoValue), (function, name)
            assert default is not np._NoValue or not ours[name], (function, name)


def test_a_cast_that_numpy_does_not_make_is_refused():
    x = leaf()
    with pytest.raises(DtypeError, match=r"np\.add: float64 cannot become int64 with casting='same_kind'"):
        np.add(x, 1, dtype=np.int64)
    with pytest.raises(DtypeError, match=r"casting='safe'"):
        np.concatenate([x, x], dtype=np.float32, casting="safe")
    with pytest.raises(DtypeError, match=r"np\.mean does not compute in int64"):
        np.mean(x, dtype=np.int64)
    whole = np.sum(x, dtype=np.int64)  # which NumPy does make: as .astype(int), it has no gradient
    assert whole.data == np.sum(x.data, dtype=np.int64)
    assert not whole.requires_grad


def test_what_is_not_recorded_is_computed_whatever_it_is():
    x = leaf()
    with no_grad():
        np.testing.assert_array_equal(np.nanquantile(x, 0.3).data, np.nanquantile(x.data, 0.3))
    assert type(np.nanpercentile(detached(x), [1, 50])) is Tensor
    with pytest.raises(UnsupportedError, match="no differentiable rule"):
        np.nanpercentile(x, 5)


class Foreign:
    """A type of others that answers NumPy itself."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return f"{ufunc.__name__} of {[type(x).__name__ for x in inputs]}"

    def __array_function__(self, func, types, args, kwargs):
        return f"{func.__name__} of {len(args)}"


class Quantity(np.ndarray):
    """An array that answers NumPy itself."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return "a quantity"


class Refuses:
    __array_ufunc__ = None

    def __radd__(self, other):
        return "added by itself"


@pytest.mark.parametrize("x", [leaf(), nn.Parameter(np.ones((2, 3)))], ids=["Tensor", "Parameter"])
def test_a_foreign_operand_is_asked(x):
    other = Foreign()
    assert x * other == "multiply of ['Parameter', 'Foreign']".replace("Parameter", type(x).__name__)
    assert np.add(other, x).startswith("add of ['Foreign'")
    assert np.maximum(x, other, dtype=float).startswith("maximum of")
    assert (x > other).startswith("greater of")
    assert np.concatenate([x, other]) == "concatenate of 1"
    assert np.allclose(x, other) == "allclose of 2"
    assert x + np.ones((2, 3)).view(Quantity) == "a quantity"
    assert x + Refuses() == "added by itself"


def test_numbers_arrays_and_subclasses_of_tensor_are_not_foreign():
    class Mine(Tensor):
        __slots__ = ()

    x = leaf()
    matrix = np.ones((2, 3)).view(type("Sub", (np.ndarray,), {}))
    for other in (2, 2.0, True, np.float16(2), np.int8(2), np.bool_(True), np.ones((2, 3)), matrix, Mine(np.ones((2, 3)))):
        for result in (x + other, other + x, np.multiply(x, other, dtype=float), np.where(x > 1, x, other)):
            assert type(result) is Tensor
            assert result.requires_grad
    assert type(np.concatenate([Mine(np.ones((2, 3))), matrix, x])) is Tensor


def test_a_list_of_tensors_is_an_operand_and_recorded():
    a, b = Tensor(2.0, requires_grad=True), Tensor(3.0, requires_grad=True)
    y = np.stack([a, b]) * [b, a * a] + np.concatenate([np.stack([a]), np.stack([b])])
    np.testing.assert_array_equal(y.data, [8.0, 15.0])
    (y * [1.0, 10.0]).sum().backward()
    assert (a.grad.item(), b.grad.item()) == (3 + 120 + 1, 2 + 40 + 10)
    with pytest.raises(ShapeError):
        a * [[a, b], [a]]
    for made in (
        lambda: np.concatenate([[a], [b]]),
        lambda: np.array([a, b]),
        lambda: np.asarray([[a], [b]]),
        lambda: np.r_[a, 1.0],
        lambda: np.r_[y, y],
    ):
        with pytest.raises(TinygradError):
            made()


def test_in_place_operators_make_a_new_tensor():
    x = whole = Tensor([7, 6])
    whole //= 2
    whole <<= 1
    whole |= 1
    whole &= 6
    whole ^= 1
    whole >>= 1
    np.testing.assert_array_equal(whole.data, [3, 3])
    np.testing.assert_array_equal(x.data, [7, 6])


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.bool_])
def test_dtypes_are_numpys(dtype):
    x = np.array([[1, 0, 1], [1, 1, 0]], dtype)
    t = Tensor(x)
    for f in (
        lambda x: np.sum(x, dtype=np.float32),
        lambda x: np.sum(x, initial=2),
        lambda x: np.sum(x, 0, initial=2.5),
        lambda x: np.max(x, initial=0.5),
        lambda x: np.min(x, 1, initial=0.5, where=MASK),
        lambda x: np.prod(x, dtype=np.float64, initial=0.5),
        lambda x: np.concatenate([x, x], casting="unsafe"),
        lambda x: np.hstack([x, x], casting="safe"),
        lambda x: np.average(x, [0, 1]),
        lambda x: np.gradient(x, True, axis=1, edge_order=2) if dtype != np.bool_ else x,
        lambda x: np.sum(x, where=MASK),
        lambda x: np.mean(x, where=MASK),
        lambda x: np.mean(x, 0),
        lambda x: np.prod(x, 0, initial=3),
        lambda x: np.max(x, initial=True if dtype == np.bool_ else 2, where=MASK),
        lambda x: np.append(x, 1.0),
        lambda x: np.insert(x, 1, 2.5),
        lambda x: np.full_like(x, 2.5),
        lambda x: np.select([MASK], [x], 2.0),
        lambda x: np.average(x, 0),
        lambda x: np.average(x, 1, [1, 2, 3]),
        lambda x: np.tensordot(x, x),
        lambda x: np.kron(x, x),
        lambda x: np.inner(x, x),
        lambda x: np.dot(x, x.T),
        lambda x: np.block([x, x]),
        lambda x: np.tile(x, 2),
        lambda x: np.diff(x),
        lambda x: np.hstack([x, [[1], [2]]]),
        lambda x: np.where(MASK, x, 2),
        lambda x: np.unique(x),
        lambda x: np.gradient(x, 0.5, axis=1) if dtype != np.bool_ else x,
        lambda x: np.gradient(x, [0, 1, 3], axis=1, edge_order=2) if dtype != np.bool_ else x,
        lambda x: np.dot(2.0, x),
        lambda x: np.outer(x, [1.5, 2.5]),
        lambda x: np.trapezoid(x, dx=0.5) if dtype != np.bool_ else x,
        lambda x: np.modf(x)[0],
        lambda x: np.modf(x)[1],
        lambda x: np.ptp(x, 1) if dtype != np.bool_ else x,
        lambda x: np.diff(x, prepend=0.5),
        lambda x: np.clip(x, 0, 0.5),
        lambda x: np.cross(x, [1.5, 2, 3]),
        lambda x: np.average(x, 0, returned=True)[1],
        lambda x: np.choose([0, 1, 0], [x[0], [2.5, 2.5, 2.5]]),
        lambda x: np.stack([x, x], dtype=np.float64),
        lambda x: np.add(x, 1, dtype=np.float64),
        lambda x: np.var(x, correction=1),
        lambda x: np.vecdot(x, x),
        lambda x: np.vdot(x, x),
        lambda x: np.vecmat(x[:, 0], x),
        lambda x: np.matvec(x, x[0]),
        lambda x: np.correlate(x[0], x[1]),
        lambda x: np.resize(x, 8),
        lambda x: np.convolve(x[0], [1, 2]),
        lambda x: np.interp(x, [0, 2], [1, 2]),
        lambda x: np.linspace(x, 2.5, 3),
        lambda x: np.polyval([1, 2.5], x),
        lambda x: np.polyval(x[0], 2),
        lambda x: np.vander(x[0]),
        lambda x: np.cov(x),
        lambda x: np.cov(x, dtype=np.float32),
        lambda x: np.corrcoef(x, dtype=np.float64),
        lambda x: np.ediff1d(x, to_end=2) if dtype != np.bool_ else x,
        lambda x: np.conjugate(x) if dtype != np.bool_ else x,
    ):
        ours, numpys = f(t), f(x)
        assert ours.dtype == numpys.dtype
        np.testing.assert_allclose(ours.data, numpys, rtol=1e-3 if dtype == np.float16 else 1e-6)


SMALL = Tensor(np.array([-128, 1], np.int8))


@pytest.mark.parametrize("ord", [np.inf, -np.inf, 1.0, 2.0])
def test_norms_of_integers_are_numpys(ord):
    found, expected = np.linalg.norm(SMALL, ord), np.linalg.norm(SMALL.data, ord)
    assert (found.dtype, found.item()) == (expected.dtype, expected.item())


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.max(x, initial=-1),
        lambda x: np.max(x, initial=300),
        lambda x: np.min(x.astype(int), initial=np.nan),
        lambda x: np.prod(x.astype(int), initial=1j),
        lambda x: np.sum(x, axis=0, initial=[1, 2, 3]),
        lambda x: np.sum(x.astype("f4"), initial=1j),
    ],
)
def test_an_initial_value_that_does_not_fit_is_refused(call):
    x = np.array([1, 5], np.uint8)
    for given in (x, Tensor(x)):
        with pytest.raises((ValueError, TypeError, OverflowError)):
            call(given)


def test_a_mean_of_few_in_float16_is_numpys():
    for x, where in ((np.ones(70000, "f2"), np.arange(70000) < 1), (np.full(1000, 6e-8, "f2"), np.arange(1000) < 1)):
        found = np.mean(Tensor(x, requires_grad=True), where=where)
        assert (found.dtype, found.item()) == (np.float16, np.mean(x, where=where).item())


def test_the_place_of_a_rolled_axis_may_be_negative():
    x = np.arange(12.0).reshape(2, 2, 3)
    for axis in range(-3, 3):
        for start in range(-3, 4):
            np.testing.assert_array_equal(np.rollaxis(Tensor(x), axis, start).data, np.rollaxis(x, axis, start))
    with pytest.raises(ValueError, match="start"):
        np.rollaxis(Tensor(x), 0, 5)
