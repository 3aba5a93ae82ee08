"""np.linalg, diagonals, norms: the values are NumPy's, the gradients those of differences, and what has none is refused."""

import numpy as np
import pytest
from op_samples import weigh

from tinygrad2 import Tensor, autograd, gradcheck
from tinygrad2.errors import GraphError, MatrixError, ShapeError, TinygradError, UnsupportedError

rng = np.random.default_rng(3)
A, B, TALL, WIDE = (rng.standard_normal(shape) for shape in ((3, 3), (2, 3, 3), (4, 2), (2, 4)))
S = A @ A.T + np.eye(3)
ROTATION = np.linalg.qr(rng.standard_normal((3, 3)))[0]
SOLVED = (rng.standard_normal((6, 6)) + 3 * np.eye(6)).reshape(2, 3, 3, 2)
CUBE = rng.standard_normal((2, 3, 4))


def symmetric(f):
    """Of a symmetric matrix, which NumPy's function takes it to be."""
    return lambda a: f(a + np.swapaxes(a, -1, -2))


CALLS = {
    "slogdet": (lambda a: np.linalg.slogdet(a).logabsdet, A),
    "slogdet, both": (lambda a: np.linalg.slogdet(a)[0] * np.exp(np.linalg.slogdet(a)[1]), B),
    "det": (np.linalg.det, B),
    "inv": (np.linalg.inv, B + 3 * np.eye(3)),
    "solve": (lambda a: np.linalg.solve(a + 3 * np.eye(3), A[0] * a[0, 0]), A),
    "cholesky": (symmetric(lambda a: np.linalg.cholesky(a + 9 * np.eye(3))), B),
    "cholesky, upper": (lambda a: np.linalg.cholesky(a, upper=True), S),
    "eigh": (lambda a: weigh(np.linalg.eigh(a).eigenvalues) + weigh(np.linalg.eigh(a).eigenvectors), B),
    "eigh, U": (lambda a: np.linalg.eigh(a, "u")[1], A),
    "eigh, a projector": (lambda a: weigh((v := np.linalg.eigh(a)[1][:, :1]) @ v.T), A),
    "eigvalsh": (np.linalg.eigvalsh, A),
    "eigvalsh, U": (lambda a: np.linalg.eigvalsh(a, UPLO="U"), A),
    "svd": (lambda a: sum(map(weigh, np.linalg.svd(a))), A),
    "svd, tall": (lambda a: sum(map(weigh, np.linalg.svd(a, full_matrices=False))), TALL),
    "svd, wide": (lambda a: sum(map(weigh, np.linalg.svd(a, False))), WIDE),
    "svd, no vectors": (lambda a: np.linalg.svd(a, compute_uv=False), TALL),
    "svdvals": (np.linalg.svdvals, B),
    "pinv": (np.linalg.pinv, TALL),
    "pinv, wide": (lambda a: np.linalg.pinv(a, rtol=1e-10), WIDE),
    "qr": (lambda a: weigh(np.linalg.qr(a).Q) + weigh(np.linalg.qr(a).R), TALL),
    "qr, r": (lambda a: np.linalg.qr(a, mode="r"), B),
    **{
        f"matrix_power, {n}": (lambda a, n=n: np.linalg.matrix_power(a, n), B + 3 * np.eye(3))
        for n in (-3, -1, 0, 1, 2, 3, 5, 8)
    },
    **{
        f"diagonal, {args}": (lambda a, args=args: np.diagonal(a, *args), CUBE)
        for args in ((), (1,), (-1, 1, 2), (0, 2, 0), (2, -1, -2))
    },
    **{f"trace, {args}": (lambda a, args=args: np.trace(a, *args), CUBE) for args in ((), (-1,), (1, 2, 1))},
    "linalg.diagonal": (lambda a: np.linalg.diagonal(a, offset=1), CUBE),
    "linalg.trace": (lambda a: np.linalg.trace(a, offset=-1), CUBE),
    "diagflat": (lambda a: np.diagflat(a, -1), TALL),
    **{f"diag, {k}": (lambda a, k=k: np.diag(a, k), A) for k in (0, 1, -2)},
    **{f"diag of a vector, {k}": (lambda a, k=k: np.diag(a, k), A[0]) for k in (0, 1, -2)},
    **{f"norm, {o}": (lambda a, o=o: np.linalg.norm(a, o), A[0]) for o in (None, 2, 1, 3, 0.5, -1.5, np.inf, -np.inf)},
    **{
        f"norm of a matrix, {o}": (lambda a, o=o: np.linalg.norm(a, o), A)
        for o in (None, "fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf)
    },
    **{
        f"norm, {kwargs}": (lambda a, kwargs=kwargs: np.linalg.norm(a, **kwargs), CUBE)
        for kwargs in (
            {},
            {"axis": 1},
            {"axis": -1, "ord": 3, "keepdims": True},
            {"axis": (0, 2)},
            {"axis": (2, 0), "ord": "nuc", "keepdims": True},
            {"axis": (-1, 0), "ord": 1},
            {"axis": (0, 1), "ord": np.inf, "keepdims": True},
            {"keepdims": True},
        )
    },
    **{f"cond, {p}": (lambda a, p=p: np.linalg.cond(a, p), B + np.eye(3)) for p in (None, 2, -2, "fro", 1, np.inf)},
    "tensorinv": (lambda a: np.linalg.tensorinv(np.reshape(a, (2, 3, 6))), rng.standard_normal((6, 6)) + 3 * np.eye(6)),
    "tensorsolve": (lambda a: np.linalg.tensorsolve(a, a[0, 0, :, 0] * np.ones((2, 1)) + a[:, 0, :, 0]), SOLVED),
    "tensorsolve, axes": (lambda a: np.linalg.tensorsolve(a, a[1, 2] + np.arange(6.0).reshape(3, 2), axes=(0, 1)), SOLVED),
    "vector_norm": (lambda a: np.linalg.vector_norm(a, axis=(0, 2), ord=4), CUBE),
    "matrix_norm": (lambda a: np.linalg.matrix_norm(a, ord=-2, keepdims=True), CUBE),
}


@pytest.mark.parametrize(("f", "x"), CALLS.values(), ids=CALLS)
def test_value_gradient_and_the_gradient_of_it(f, x):
    value = f(Tensor(x)).data
    np.testing.assert_allclose(value, f(x), rtol=1e-12, atol=1e-13, strict=True)
    gradcheck(f, [x]).assert_right()

    def slope(t):
        return weigh(autograd.grad([weigh(f(t))], [t], create_graph=True)[0]) + 0 * weigh(t)

    gradcheck(slope, [x], fast=True).assert_right()
    t = Tensor(x, requires_grad=True)
    (plain,), (recorded,) = (autograd.grad([weigh(f(t))], [t], create_graph=twice) for twice in (False, True))
    np.testing.assert_allclose(recorded.data, plain.data, rtol=1e-9, atol=1e-12)


def test_results_are_numpys_named_tuples():
    for f in (np.linalg.slogdet, np.linalg.eigh, np.linalg.svd, np.linalg.qr):
        found, right = f(Tensor(A)), f(A)
        assert type(found) is type(right)
        for a, b in zip(found, right, strict=True):
            np.testing.assert_allclose(a.data, b, rtol=1e-12, atol=1e-14, strict=True)


def test_the_determinant_of_a_singular_matrix_has_a_gradient():
    assert np.diagonal(Tensor(CUBE), 9).shape == (4, 0)
    for n, rank in ((1, 0), (2, 1), (3, 2), (4, 3), (5, 4)):
        a = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, n))
        gradcheck(np.linalg.det, [a]).assert_right()
        gradcheck(
            lambda t: weigh(autograd.grad([np.linalg.det(t)], [t], create_graph=True)[0]) + 0 * weigh(t), [a]
        ).assert_right()
    t = Tensor(np.ones((3, 3)), requires_grad=True)
    np.testing.assert_allclose(autograd.grad(np.linalg.det(t), t)[0].data, np.zeros((3, 3)), atol=1e-15)
    with pytest.raises(GraphError, match=r"^backward of slogdet: the matrix is singular .* a small multiple of np\.eye"):
        autograd.grad(np.linalg.slogdet(t)[1], t)


@pytest.mark.parametrize(
    ("f", "x", "match"),
    [
        (
            lambda a: weigh(np.linalg.eigh(a)[1]),
            np.eye(3),
            r"^backward of eigh: the values 1 and 1 are equal \(but for rounding\)",
        ),
        (lambda a: weigh(np.linalg.eigvalsh(a)), np.diag([2.0, 5.0, 2.0]), "the values 2 and 2 are equal"),
        (lambda a: weigh(np.linalg.svd(a)[0]), 3 * np.eye(2), "^backward of svd: the values 3 and 3 are equal"),
        (lambda a: weigh(np.linalg.svdvals(a)), np.eye(2), "the values 1 and 1 are equal"),
        (
            lambda a: weigh(np.linalg.svd(a, False)[0]),
            np.outer(TALL[:, 0], [1.0, 2.0]),
            "^backward of svd: a singular value is 0",
        ),
        (
            lambda a: weigh((svd := np.linalg.svd(a))[0] @ svd[2]),
            np.diag([2.0, 0.0, 0.0]),
            "^backward of svd: the values 0 and 0 are equal",
        ),
        (lambda a: weigh(np.linalg.qr(a)[1]), np.ones((2, 2)), "^backward of qr: the matrix is singular"),
        (lambda a: weigh(np.linalg.eigvalsh(a) * [[1], [1e-20]]), np.stack([np.diag([1.0, 2.0]), np.eye(2)]), "values 1 and 1"),
    ],
)
def test_what_is_not_differentiable_is_refused(f, x, match):
    t = Tensor(x, requires_grad=True)
    for twice in (False, True):
        with pytest.raises(GraphError, match=match):
            autograd.grad(f(t), t, create_graph=twice)


def test_what_is_the_same_for_every_choice_of_vectors_has_a_gradient():
    for f in (
        lambda a: np.sum(np.linalg.eigvalsh(a) ** 2),
        lambda a: weigh((v := np.linalg.eigh(a)[1]) @ v.T),
        lambda a: np.linalg.norm(a, "nuc"),
        lambda a: np.sum(np.linalg.svdvals(a) ** 3),
    ):
        gradcheck(f, [np.diag([2.0, 2.0, 5.0])]).assert_right()

    def polar(a):
        u, _, vh = np.linalg.svd(a, full_matrices=False)
        return u @ vh

    for x in (
        2 * np.eye(3),
        ROTATION @ np.diag([2.0, 2.0, 5.0]),
        3 * ROTATION[:, :2],
        3 * np.stack([ROTATION[:2], ROTATION[1:]]),
    ):
        gradcheck(polar, [x]).assert_right()


def test_the_slope_at_zero_is_zero():
    for f in (np.linalg.norm, lambda a: np.linalg.norm(a, "nuc"), lambda a: np.linalg.norm(a, 3, axis=0).sum()):
        t = Tensor(np.zeros((2, 3)), requires_grad=True)
        np.testing.assert_array_equal(autograd.grad(f(t), t)[0].data, np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: np.linalg.svd(Tensor(TALL, requires_grad=True)), "svd: full_matrices=True of 4 x 2 matrices adds vectors"),
        (lambda: np.linalg.svd(Tensor(A, requires_grad=True), hermitian=True), "svd: hermitian=True has no rule"),
        (lambda: np.linalg.pinv(Tensor(A, requires_grad=True), hermitian=True), "pinv: hermitian=True has no rule"),
        (lambda: np.linalg.qr(Tensor(WIDE, requires_grad=True)), "qr: mode 'reduced' of 2 x 4 matrices has no rule"),
        (lambda: np.linalg.qr(Tensor(A, requires_grad=True), "complete"), "qr: mode 'complete'"),
        (lambda: np.linalg.norm(Tensor(A, requires_grad=True), 3), "norm: ord=3 is not for matrices"),
        (lambda: np.linalg.vector_norm(Tensor(A, requires_grad=True), ord="fro"), "vector_norm: ord='fro' is for matrices"),
    ],
)
def test_what_has_no_rule_is_refused(call, match):
    with pytest.raises(UnsupportedError, match=match):
        call()
    for f in (np.linalg.svd, np.linalg.qr, np.linalg.svdvals, lambda a: np.linalg.matrix_power(a, 2), np.diagonal, np.trace):
        with pytest.raises((ShapeError, MatrixError), match=r"\(3,\)"):
            f(Tensor(A[0]))
    with pytest.raises(ShapeError, match=r"diag: an array of shape \(2, 3, 4\)"):
        np.diag(Tensor(CUBE))
    with pytest.raises(ValueError, match="repeated axis"):
        np.diagonal(Tensor(CUBE), 0, 1, -2)


NEAR = {  # what float32 tells apart, though its digits are few
    "singular values": (np.diag([1, 0.5, 1e-3]), ("nuc", -2, "last", "cond", "vectors")),
    "more rows": (np.eye(5, 3) * [1, 0.5, 1e-3], ("nuc", -2, "last", "cond", "vectors")),
    "more columns": (np.eye(3, 4) * [[1], [0.5], [1e-3]], ("nuc", "vectors")),
    "near singular values": (np.diag([1, 1.0008, 3]), ("last", "vectors")),
    "eigenvalues": (np.diag([1, 1.0008, 3]), ("eigenvalue", "eigenvectors")),
    "small": (np.diag([1e-23, 3e-23, 7e-23]), ("vectors", "eigenvectors", "nuc")),
}
OF_THEM = {
    "nuc": lambda a: np.linalg.norm(a, "nuc"),
    -2: lambda a: np.linalg.norm(a, -2),
    "last": lambda a: np.linalg.svdvals(a)[..., -1],
    "cond": np.linalg.cond,
    "vectors": lambda a: weigh((svd := np.linalg.svd(a, full_matrices=False))[0][:, :1] @ svd[2][:1]),
    "eigenvalue": lambda a: np.linalg.eigvalsh(a)[0],
    "eigenvectors": lambda a: weigh((v := np.linalg.eigh(a)[1][:, :1]) @ v.T),
}


@pytest.mark.parametrize(("near", "f"), [(near, f) for near, (_, names) in NEAR.items() for f in names])
@pytest.mark.parametrize("rotated", [False, True])
def test_what_float32_tells_apart_has_the_gradient_of_float64(near, f, rotated):
    x = NEAR[near][0]
    x = (ROTATION @ x if x.shape[0] == 3 else x) @ (ROTATION.T if x.shape[1] == 3 else np.eye(4)) if rotated else x
    x = x.astype(np.float32)
    for twice in (False, True):
        found, right = (
            autograd.grad(OF_THEM[f](t := Tensor(x.astype(d), requires_grad=True)), t, create_graph=twice)[0].data
            for d in (np.float32, np.float64)
        )
        assert np.abs(right).max() > 0
        np.testing.assert_allclose(found, right, atol=2e-3 * np.abs(right).max(), rtol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [2, 3, 7])
def test_what_is_equal_but_for_rounding_is_known(n, dtype):
    for seed in range(20):
        q, r = (np.linalg.qr(np.random.default_rng([n, seed, i]).standard_normal((n, n)))[0] for i in range(2))
        values = np.array([2.0] * (n - 1) + [5.0])
        t = Tensor(((q * values) @ q.T).astype(dtype), requires_grad=True)
        for f in (
            lambda a: np.linalg.eigvalsh(a)[0],
            lambda a: weigh(np.linalg.eigh(a)[1]),
            lambda a: np.linalg.svdvals(a)[-1],
        ):
            if n > 2:
                with pytest.raises(GraphError, match="are equal"):
                    autograd.grad(f(t), t)
        w = np.arange(1.0, n * n + 1).reshape(n, n).astype(dtype)
        projector = autograd.grad(np.sum((v := np.linalg.eigh(t)[1][:, :-1]) @ v.T * w), t)[0].data
        p = np.outer(q[:, -1], q[:, -1])  # of which the other is 1 - p: d(1 - p) = (1 - p) da p / (2 - 5) and its transpose
        s = (np.eye(n) - p) @ (w + w.T) @ p / -3
        np.testing.assert_allclose(projector + projector.T, s + s.T + 0, atol=2e-3 if dtype == np.float32 else 1e-11)
        same = Tensor((2 * q @ q.T).astype(dtype), requires_grad=True)
        level = autograd.grad(np.sum((v := np.linalg.eigh(same)[1]) @ v.T * w), same)[0].data  # of what is always np.eye
        np.testing.assert_array_equal(level, np.zeros((n, n)))
        values[0] = 0
        t = Tensor(((q * values) @ r).astype(dtype), requires_grad=True)
        np.testing.assert_allclose(
            autograd.grad(np.linalg.norm(t, "nuc"), t)[0].data, q[:, 1:] @ r[1:], atol=2e-6 if dtype == np.float32 else 1e-14
        )


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda t: np.linalg.inv(t(np.ones((2, 2)))), r"^inv of \(2, 2\): Singular matrix"),
        (lambda t: np.linalg.inv(t(WIDE)), "^inv of .* must be square"),
        (lambda t: np.linalg.solve(t(np.zeros((2, 2))), np.ones(2)), "^solve of .* Singular matrix"),
        (lambda t: np.linalg.cholesky(t(-np.eye(2))), "^cholesky of .* not positive definite"),
        (lambda t: np.linalg.svdvals(t(np.full((2, 2), np.nan))), "^svd of .* did not converge"),
        (lambda t: np.linalg.pinv(t(np.full((2, 2), np.nan))), "^pinv of .* did not converge"),
        (lambda t: np.linalg.tensorinv(t(np.ones((2, 2))), 1), "^inv of .* Singular matrix"),
        (lambda t: np.linalg.cond(t(np.ones((2, 0)))), "^cond: 2 x 0 matrices have no condition number"),
        (lambda t: np.linalg.cond(t(TALL), 1), "^cond: 4 x 2 matrices have no condition number"),
        (lambda t: np.linalg.cond(t(A[0])), r"^cond: an array of shape \(3,\) is not a matrix"),
        (lambda t: np.linalg.multi_dot([t(A), t(B), t(A)]), r"^multi_dot: shapes \[\(3, 3\), \(2, 3, 3\)"),
        (lambda t: np.linalg.multi_dot([t(A), t(A[0]), t(A)]), r"^multi_dot: shapes"),
        *(
            (lambda t, n=n, x=x: np.linalg.matrix_power(t(x), n), "^matrix_power: 2 x 4 matrices are not square")
            for n in (-1, 0, 1, 2)
            for x in (WIDE, np.stack([WIDE] * 2))
        ),
    ],
)
def test_a_matrix_that_numpy_refuses_is_refused_as_one(call, match):
    with pytest.raises(np.linalg.LinAlgError):
        call(np.asarray)
    with pytest.raises(np.linalg.LinAlgError, match=match) as caught:
        call(Tensor)
    assert isinstance(caught.value, TinygradError)
    assert not isinstance(caught.value, ShapeError)


def test_a_power_is_of_an_integer():
    for n in (1.0, 0.5, "2", None):
        with pytest.raises(UnsupportedError, match=r"^matrix_power: n=.* is not an integer"):
            np.linalg.matrix_power(Tensor(A), n)


def test_what_backward_cannot_solve_is_of_the_family():
    t = Tensor([[1.0, np.inf], [0.0, 1.0]], requires_grad=True)
    with pytest.raises(GraphError, match=r"^backward of solve: Singular matrix"):
        autograd.grad(weigh(np.linalg.solve(t, [1.0, 2.0])), t)


def test_nan_in_one_matrix_leaves_the_others_their_gradient():
    x = B.copy()
    x[0, 1, 1] = np.nan
    for twice in (False, True):
        t = Tensor(x, requires_grad=True)
        with np.errstate(invalid="ignore"):
            found = autograd.grad(weigh(np.linalg.det(t)), t, create_graph=twice)[0].data
        t = Tensor(B, requires_grad=True)
        right = autograd.grad(weigh(np.linalg.det(t)), t)[0].data
        np.testing.assert_allclose(found[1], right[1], rtol=1e-12)
        assert np.isnan(found[0]).all()


@pytest.mark.parametrize("p", [None, 2, -2, 1, -1, np.inf, -np.inf, "fro"])
def test_the_condition_of_singular_matrices_is_numpys(p):
    nan = np.array([[1, np.nan], [0, 1]])
    for x in (
        np.zeros((1, 1)),
        np.zeros((2, 2)),
        np.stack([2 * np.eye(2), np.zeros((2, 2))]),
        *([nan] if p in (1, "fro") else []),
    ):
        for dtype in (np.float64, np.float32):
            found, right = (
                np.linalg.cond(Tensor(x.astype(dtype), requires_grad=True), p).data,
                np.linalg.cond(x.astype(dtype), p),
            )
            np.testing.assert_allclose(found, right, rtol=1e-6)


def test_a_pseudo_inverse_that_leaves_values_out_is_refused():
    """Its derivative is not that of the pseudo-inverse of the matrix."""
    a = Tensor(np.diag([3.0, 1.0, 0.0]), requires_grad=True)
    for how in ({"rcond": 0.5}, {"rtol": 0.5}):
        with pytest.raises(UnsupportedError, match="leaves out singular values such as 1, and what is left has no rule"):
            np.linalg.pinv(a, **how)
    with pytest.raises(ValueError, match="mean the same"):
        np.linalg.pinv(a, 0.1, rtol=0.1)
    np.testing.assert_allclose(np.linalg.pinv(a, 1e-3).data, np.linalg.pinv(a.data), atol=1e-15)
