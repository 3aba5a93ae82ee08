"""Linear algebra: np.linalg on matrices (..., M, N), and the diagonals of arrays.

What NumPy reads of a symmetric matrix, its lower triangle, is what gets the gradient: that of both halves together. Where a
derivative does not exist, as that of eigenvectors of equal eigenvalues, a rule raises LinAlgError, of which the way back makes
a GraphError that names the op. A function with several results is one op whose result has them side by side, and slices of it:
so one rule has the cotangents of all.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinygrad2.errors import MatrixError, ShapeError, UnsupportedError
from tinygrad2.ops.indexing import PutItem
from tinygrad2.ops.op import RULES, as_array, primitive, real, refuse_tensors, values
from tinygrad2.ops.reductions import product_of_others
from tinygrad2.types import Array

SQUARES = "3 * np.eye(2) + normal(2, 1, 2, 2) / 2; positive(1, 1); normal(0, 2, 2); normal(0, 0)"


def rounding(x: Array, longest: int, axis: Any = -1) -> Array:
    """What rounding may make of 0, along an axis: ten times what np.linalg.matrix_rank takes as 0."""
    precision = 10 * longest * np.finfo(x.dtype).eps
    return np.asarray(precision * np.max(np.abs(x), axis=axis, keepdims=True, initial=0))


def sides(a: Any, who: str) -> tuple[int, int]:
    """The rows and columns of matrices."""
    if a.ndim < 2:
        raise MatrixError(f"{who}: an array of shape {a.shape} is not a matrix; give it two axes with np.reshape")
    rows, columns = a.shape[-2:]
    return rows, columns


def as_numpys(function: Any, *parts: Any) -> Any:
    """Several results, in the named tuple that NumPy's function gives."""
    return type(function(np.eye(1)))(*parts)


def inverse(a: Any) -> Any:
    """The inverse of a matrix that a rule needs."""
    if (np.linalg.slogdet(values(a)).sign == 0).any():
        raise np.linalg.LinAlgError(
            "the matrix is singular (its determinant is 0), and has no gradient there; a small multiple of np.eye, added to "
            "it, makes it regular"
        )
    return np.linalg.inv(a)


def cofactors(a: Any) -> Any:
    """det(a) times the transposed inverse, also where there is no inverse: the determinants of what is left without i and j."""
    array, n = values(a), a.shape[-1]
    finite = np.isfinite(array).all((-2, -1), keepdims=True)
    if not finite.all():  # the others of the batch keep theirs
        return np.where(finite, cofactors(np.where(finite, a, np.eye(n, dtype=a.dtype))), np.nan)
    if not array.size or np.max(np.linalg.cond(array)) < 1e6:
        return np.expand_dims(np.linalg.det(a), (-2, -1)) * np.swapaxes(np.linalg.inv(a), -1, -2)
    if array is not a:  # a kink of the smallest singular value would be in the way of another derivative
        others = np.array([[j for j in range(n) if j != i] for i in range(n)], int).reshape(n, n - 1)
        left = a[..., others[:, None, :, None], others[None, :, None, :]]
        return np.linalg.det(left) * (-1.0) ** np.add.outer(np.arange(n), np.arange(n)).astype(a.dtype)
    u, s, vh = np.linalg.svd(a)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    return np.expand_dims(sign, (-2, -1)) * (u * np.expand_dims(product_of_others(s, -1), -2)) @ vh


Inv = primitive(
    np.linalg.inv, lambda g, out, a: -np.swapaxes(out, -1, -2) @ g @ np.swapaxes(out, -1, -2), samples=SQUARES, takes=real
)
Det = primitive(
    np.linalg.det,
    lambda g, out, a: np.expand_dims(g, (-2, -1)) * cofactors(a),
    samples=SQUARES + "; np.outer(positive(2), positive(2))",
    takes=real,
)
LogDet = primitive(
    lambda a: np.linalg.slogdet(a).logabsdet,
    lambda g, out, a: np.expand_dims(g, (-2, -1)) * np.swapaxes(inverse(a), -1, -2),
    name="slogdet",
    samples=SQUARES,
    takes=real,
)


def slogdet(a: Any) -> Any:
    """The sign, which has no gradient, and the logarithm of the determinant."""
    log, (sign, _) = LogDet.call(a), np.linalg.slogdet(np.asarray(real(values(a))))
    return as_numpys(np.linalg.slogdet, np.zeros_like(log) + sign.astype(log.dtype), log)


def as_columns(x: Any, b: Any) -> Any:
    """What belongs to the right side of a system: a vector as one column."""
    return np.expand_dims(x, -1) if b.ndim == 1 else x


def for_right_side(g: Any, a: Any, b: Any) -> Any:
    """The cotangent of the right side, as columns."""
    return np.linalg.solve(np.swapaxes(a, -1, -2), as_columns(g, b))


Solve = primitive(
    np.linalg.solve,
    lambda g, out, a, b: -for_right_side(g, a, b) @ np.swapaxes(as_columns(out, b), -1, -2),
    lambda g, out, a, b: np.squeeze(for_right_side(g, a, b), -1 if b.ndim == 1 else ()),
    samples="3 * np.eye(2) + normal(2, 2) / 2, normal(2); 3 * np.eye(2) + normal(4, 2, 2) / 2, normal(2); "
    "3 * np.eye(2) + normal(2, 1, 2, 2) / 2, normal(3, 2, 1); "
    "positive(1, 1), normal(1); normal(0, 2, 2), normal(0, 2, 1)",
    takes=real,
)


def halved(x: Any) -> Any:
    """The lower triangle, with half of the diagonal."""
    return 0.5 * (np.tril(x) + np.tril(x, -1))


def for_cholesky(g: Any, out: Any, a: Any) -> Any:
    """L^-T halved(L^T g) L^-1 (Murray, 2016, eq. 10), of which the lower triangle has both halves."""
    transposed = np.swapaxes(out, -1, -2)
    half = np.linalg.solve(transposed, halved(transposed @ g))
    s = np.linalg.solve(transposed, np.swapaxes(half, -1, -2))
    return halved(s + np.swapaxes(s, -1, -2))


Cholesky = primitive(
    lambda a: np.linalg.cholesky(a),
    for_cholesky,
    name="cholesky",
    samples="5.2 * np.eye(3) - 1.2 + normal(3, 3) / 9; 5.2 * np.eye(2) - 1.2 + normal(2, 2, 2) / 9; 4 + positive(1, 1); "
    "normal(0, 2, 2)",
    takes=real,
)


def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """The lower factor of the lower triangle or, with `upper`, the upper factor of the upper one."""
    return np.swapaxes(Cholesky.call(np.swapaxes(a, -1, -2)), -1, -2) if upper else Cholesky.call(a)


# -- eigenvalues and singular values


def one_over_gaps(x: Any, for_x: Any, for_vectors: Any, turning: Any, longest: int) -> Any:
    """1 / (x[j] - x[i]), and 0 where the two are equal but for rounding.

    `turning` is how the result changes as their vectors turn into each other. Raises LinAlgError where such values or their
    vectors are asked for one by one.
    """
    array, wanted = values(x), values(for_x)

    def between(v: Any) -> Any:
        return np.expand_dims(v, -2) - np.expand_dims(v, -1)

    close = np.abs(between(array)) <= rounding(array, longest)[..., None]
    split = np.abs(between(wanted)) > rounding(wanted, longest)[..., None]
    split |= np.abs(values(turning)) > rounding(values(for_vectors), longest, (-2, -1))
    refused = np.argwhere(close & split & ~np.eye(array.shape[-1], dtype=bool))
    if len(refused):
        *batch, i, j = refused[0]
        pair = [float(array[(*batch, k)]) for k in (i, j)]
        raise np.linalg.LinAlgError(
            f"the values {pair[0]:.6g} and {pair[1]:.6g} are equal (but for rounding), so they and their vectors have "
            "no derivative one by one; use what is the same for every choice of these, such as a sum"
        )
    return np.where(close, 0, 1 / np.where(close, 1, between(x)))


def values_and_vectors(packed: Any) -> tuple[Any, Any]:
    """(..., M + 1, M) as (..., M) and (..., M, M)."""
    return packed[..., 0, :], packed[..., 1:, :]


def on_diagonal(x: Any) -> Any:
    """(..., M) as diagonal matrices."""
    return np.expand_dims(x, -1) * np.eye(x.shape[-1], dtype=x.dtype)


def _eigh(a: Array, *, UPLO: Any = "L") -> Array:
    w, v = np.linalg.eigh(a, UPLO)
    return np.concatenate([w[..., None, :], v], axis=-2)


def triangle(lower: Any, UPLO: Any) -> Any:
    """A lower triangle where "L" is read, and the upper one that is its transpose where "U" is."""
    return lower if UPLO == "L" else np.swapaxes(lower, -1, -2)


def for_eigh(g: Any, out: Any, a: Any, *, UPLO: Any = "L") -> Any:
    """V (diag(g_w) + (V^T g_V) / (w_j - w_i)) V^T (Giles, 2008, sec. 3.1); the triangle that is read has both halves."""
    (w, v), (for_w, for_v) = values_and_vectors(out), values_and_vectors(g)
    turned = np.swapaxes(v, -1, -2) @ for_v
    inner = turned * one_over_gaps(w, for_w, for_v, turned - np.swapaxes(turned, -1, -2), w.shape[-1])
    s = v @ (inner + on_diagonal(for_w)) @ np.swapaxes(v, -1, -2)
    return triangle(halved(s + np.swapaxes(s, -1, -2)), UPLO)


Eigh = primitive(
    _eigh, for_eigh, name="eigh", samples="normal(3, 3); normal(2, 2, 2), UPLO='U'; normal(1, 1); normal(0, 2, 2)", takes=real
)


def eigh(a: Any, UPLO: Any = "L") -> Any:
    """Eigenvalues and eigenvectors of symmetric matrices."""
    return as_numpys(np.linalg.eigh, *values_and_vectors(Eigh.call(a, UPLO=UPLO.upper())))


def parts_of_svd(packed: Any, rows: int) -> tuple[Any, Any, Any]:
    """(..., M + 1 + N, K) as U (..., M, K), the singular values (..., K), and V (..., N, K)."""
    return packed[..., :rows, :], packed[..., rows, :], packed[..., rows + 1 :, :]


def _svd(a: Array) -> Array:
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return np.concatenate([u, s[..., None, :], np.swapaxes(vh, -1, -2)], axis=-2)


def outside(for_u: Any, u: Any, s: Any, v: Any, zero: Array) -> Any:
    """What turns a narrow U out of the space of its columns gives the matrix."""
    rest = for_u - u @ (np.swapaxes(u, -1, -2) @ for_u)
    zero = np.expand_dims(zero, -2)
    if (zero & (values(rest) != 0)).any():
        raise np.linalg.LinAlgError(
            "a singular value is 0 (but for rounding), so its vectors have no derivative, since the matrix is not square; "
            "use only the vectors of the others"
        )
    return np.where(zero, 0, rest / np.where(zero, 1, np.expand_dims(s, -2))) @ np.swapaxes(v, -1, -2)


def for_svd(g: Any, out: Any, a: Any) -> Any:
    """Of all three results together (Townsend, 2016). A singular value that is 0 has a kink: its slope is taken as 0."""
    (u, s, v), (for_u, for_s, for_v) = parts_of_svd(out, a.shape[-2]), parts_of_svd(g, a.shape[-2])
    in_u, in_v = np.swapaxes(u, -1, -2) @ for_u, np.swapaxes(v, -1, -2) @ for_v
    in_u, in_v = in_u - np.swapaxes(in_u, -1, -2), in_v - np.swapaxes(in_v, -1, -2)
    longest, for_vectors = max(a.shape[-2:]), np.concatenate([for_u, for_v], axis=-2)
    zero = np.asarray(values(s) <= rounding(values(s), longest))
    both = np.expand_dims(zero, -2) & np.expand_dims(zero, -1)
    sums = np.where(both, np.inf, np.expand_dims(s, -2) + np.expand_dims(s, -1))
    # in_u s_j + s_i in_v over s_j^2 - s_i^2, in two parts: where two values are equal, the second is still there
    alike, apart = (in_u + in_v) / 2, (in_u - in_v) / 2
    inner = alike * one_over_gaps(s, for_s, for_vectors, np.abs(alike) + both * np.abs(apart), longest) + apart / sums
    inside = u @ (inner + on_diagonal(np.where(zero, 0, for_s))) @ np.swapaxes(v, -1, -2)
    taller = outside(for_u, u, s, v, zero) if a.shape[-2] > s.shape[-1] else 0
    wider = np.swapaxes(outside(for_v, v, s, u, zero), -1, -2) if a.shape[-1] > s.shape[-1] else 0
    return inside + taller + wider


Svd = primitive(
    _svd,
    for_svd,
    name="svd",
    samples="normal(3, 3); normal(4, 2); normal(2, 3); normal(2, 3, 2); positive(1, 1); normal(0, 3, 2)",
    takes=real,
)


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """U, the singular values, and V^T; with `compute_uv=False` the singular values."""
    if hermitian:
        raise UnsupportedError("svd: hermitian=True has no rule here; leave it out, or use eigh")
    rows, columns = sides(a, "svd")
    if full_matrices and compute_uv and rows != columns:
        raise UnsupportedError(
            f"svd: full_matrices=True of {rows} x {columns} matrices adds vectors without a derivative; say full_matrices=False"
        )
    u, s, v = parts_of_svd(Svd.call(a), rows)
    return as_numpys(np.linalg.svd, u, s, np.swapaxes(v, -1, -2)) if compute_uv else s


def for_pinv(g: Any, out: Any, a: Any, *, rcond: Any = None) -> Any:
    """While the rank stays (Golub & Pereyra, 1973, eq. 4.12)."""
    across = np.swapaxes(out, -1, -2)
    left, right = np.swapaxes(g, -1, -2) @ out, out @ np.swapaxes(g, -1, -2)
    return across @ (right - right @ out @ a) + (left - a @ (out @ left)) @ across - across @ g @ across


Pinv = primitive(
    lambda a, *, rcond=None: np.linalg.pinv(a, rcond),
    for_pinv,
    name="pinv",
    samples="normal(4, 2); normal(2, 3); 3 * np.eye(2) + normal(2, 2, 2) / 2; positive(1, 1); normal(0, 2, 3)",
    takes=real,
)


def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """The pseudo-inverse, of all singular values but those that are 0 within rounding."""
    if hermitian:
        raise UnsupportedError("pinv: hermitian=True has no rule here; leave it out")
    if rcond is not None and rtol is not None:
        raise ValueError("pinv: rcond= and rtol= mean the same; give one")
    cut = rtol if rcond is None else rcond
    refuse_tensors("pinv", {"rcond": cut})
    if cut is not None and values(a).size:
        s = np.linalg.svd(real(values(a)), compute_uv=False)
        left_out = (s <= np.asarray(cut)[..., None] * s.max(axis=-1, keepdims=True)) & (s > rounding(s, max(a.shape[-2:])))
        if left_out.any():
            raise UnsupportedError(
                f"pinv: rcond={cut} leaves out singular values such as {s[left_out][0]:.6g}, and what is left has no rule; "
                "leave rcond out, or take np.linalg.svd"
            )
    return Pinv.call(a, rcond=cut)


def factors(packed: Any, rows: int) -> tuple[Any, Any]:
    """(..., M + N, N) as Q (..., M, N) and R (..., N, N)."""
    return packed[..., :rows, :], np.swapaxes(packed[..., rows:, :], -1, -2)


def _qr(a: Array) -> Array:
    q, r = np.linalg.qr(a)
    return np.concatenate([q, np.swapaxes(r, -1, -2)], axis=-2)


def for_qr(g: Any, out: Any, a: Any) -> Any:
    """(g_Q + Q (M, its lower triangle on both sides)) R^-T, M = R g_R^T - g_Q^T Q (Walter & Lehmann, 2010)."""
    (q, r), (for_q, for_r) = factors(out, a.shape[-2]), factors(g, a.shape[-2])
    m = np.tril(r @ np.swapaxes(for_r, -1, -2) - np.swapaxes(for_q, -1, -2) @ q)
    both = m + np.swapaxes(np.tril(m, -1), -1, -2)
    return (for_q + q @ both) @ np.swapaxes(inverse(r), -1, -2)


Qr = primitive(
    _qr,
    for_qr,
    name="qr",
    samples="3 * np.eye(3) + normal(3, 3) / 2; normal(4, 2); 3 * np.eye(2) + normal(2, 2, 2) / 2; positive(1, 1); "
    "normal(0, 3, 2)",
    takes=real,
)


def qr(a: Any, mode: str = "reduced") -> Any:
    """Q and R of matrices that are not wider than tall; with mode "r" only R."""
    rows, columns = sides(a, "qr")
    if mode not in ("reduced", "r") or rows < columns:
        raise UnsupportedError(
            f"qr: mode {mode!r} of {rows} x {columns} matrices has no rule here; 'reduced' and 'r' have, for at "
            "least as many rows as columns"
        )
    q, r = factors(Qr.call(a), rows)
    return r if mode == "r" else as_numpys(np.linalg.qr, q, r)


def matrix_power(a: Any, n: int) -> Any:
    """The product of n matrices; for n < 0 of -n inverses."""
    rows, columns = sides(a, "matrix_power")
    if rows != columns:
        raise MatrixError(f"matrix_power: {rows} x {columns} matrices are not square, so they have no product with themselves")
    if not hasattr(n, "__index__"):
        raise UnsupportedError(f"matrix_power: n={n!r} is not an integer; give one, such as 2 or -1")
    n = operator.index(n)
    if n < 0:
        return matrix_power(np.linalg.inv(a), -n)
    if n == 0:
        return np.where(True, np.eye(a.shape[-1], dtype=a.dtype), a)
    half = matrix_power(a, n // 2) if n > 1 else None
    square = a if half is None else half @ half
    return square @ a if n % 2 and n > 1 else square


def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse of what np.tensordot over the last axes does."""
    if ind < 1:
        raise ValueError(f"ind={ind} is below 1")
    first, last = a.shape[:ind], a.shape[ind:]
    return np.reshape(np.linalg.inv(np.reshape(a, (math.prod(first), -1))), (*last, *first))


def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """x of np.tensordot(a, x, x.ndim) == b; `axes` are first moved to the end."""
    a = as_array(a)
    if axes is not None:
        moved = list(normalize_axis_tuple(axes, a.ndim))
        a = np.transpose(a, [i for i in range(a.ndim) if i not in moved] + moved)
    x = np.linalg.solve(np.reshape(a, (np.size(b), -1)), np.reshape(b, (-1,)))
    return np.reshape(x, a.shape[np.ndim(b) :])


def cond(x: Any, p: Any = None) -> Any:
    """The largest singular value over the smallest or, with `p`, a norm of the matrix times that of its inverse."""
    rows, columns = sides(x, "cond")
    if not rows * columns or (rows != columns and p not in (None, 2, -2)):
        raise MatrixError(
            f"cond: {rows} x {columns} matrices have no condition number; give square ones or, with p=2, any but empty ones"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        if p in (None, 2, -2):
            s, infinite = np.linalg.svdvals(x), np.False_
            found = s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
        else:
            infinite = np.linalg.slogdet(np.asarray(real(values(x)))).sign == 0
            regular = np.where(np.expand_dims(infinite, (-2, -1)), np.eye(rows, dtype=x.dtype), x)
            found = np.linalg.norm(x, p, axis=(-2, -1)) * np.linalg.norm(np.linalg.inv(regular), p, axis=(-2, -1))
    return np.where(infinite | (np.isnan(values(found)) & ~np.isnan(values(x)).any((-2, -1))), np.inf, found)


# -- diagonals


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The entries of two axes whose places differ by the offset; they are the last axis of the result."""
    if a.ndim < 2:
        raise ShapeError(f"diagonal: an array of shape {a.shape} has no two axes")
    first, second = normalize_axis_tuple((axis1, axis2), a.ndim)
    last = np.transpose(a, [i for i in range(a.ndim) if i not in (first, second)] + [first, second])
    rows, columns = last.shape[-2:]
    places = np.arange(max(0, min(rows + min(offset, 0), columns - max(offset, 0))))
    return last[..., places - min(offset, 0), places + max(offset, 0)]


def diag(v: Any, k: int = 0) -> Any:
    """A matrix from its diagonal, or the diagonal of a matrix."""
    if v.ndim not in (1, 2):
        raise ShapeError(f"diag: an array of shape {v.shape}; it takes one or two axes")
    if v.ndim == 2:
        return diagonal(v, k)
    places, n = np.arange(len(v)), len(v) + abs(k)
    return PutItem.call(v, shape=(n, n), index=(places - min(k, 0), places + max(k, 0)))


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of a diagonal."""
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1)


RULES |= {
    np.linalg.slogdet: slogdet,
    np.linalg.cholesky: cholesky,
    np.linalg.eigh: eigh,
    np.linalg.eigvalsh: lambda a, UPLO="L": eigh(a, UPLO)[0],
    np.linalg.svd: svd,
    np.linalg.svdvals: lambda x, /: svd(x, compute_uv=False),
    np.linalg.pinv: pinv,
    np.linalg.qr: qr,
    np.linalg.matrix_power: matrix_power,
    np.linalg.tensorinv: tensorinv,
    np.linalg.tensorsolve: tensorsolve,
    np.linalg.cond: cond,
    np.diagonal: diagonal,
    np.linalg.diagonal: lambda x, /, *, offset=0: diagonal(x, offset, -2, -1),
    np.diag: diag,
    np.diagflat: lambda v, k=0: diag(np.reshape(v, (-1,)), k),
    np.trace: trace,
    np.linalg.trace: lambda x, /, *, offset=0: trace(x, offset, -2, -1),
}
