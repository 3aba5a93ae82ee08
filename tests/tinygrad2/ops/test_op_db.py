"""PyTorch's own samples of its functions (op_db) for all that have a NumPy spelling: values, gradients and second derivatives.

`pytest -s -m oracle` of this file prints how many samples were compared, refused and skipped, by name. What is refused here is
so by name, and is compared once there is a rule.
"""

import collections
import functools
import inspect
import math
import re
import warnings

import numpy as np
import pytest

from tinygrad2 import Tensor, autograd, ops
from tinygrad2.errors import ShapeError, UnsupportedError

pytestmark = [pytest.mark.oracle, pytest.mark.slow]

TOLERANCE = 1e-9
COUNTS = collections.defaultdict(collections.Counter)


class LackingError(Exception):
    """What a sample asks for is nothing that NumPy's function does."""


def lacking(condition, what):
    if condition:
        raise LackingError(what)


def axes(dim):
    return None if dim is None or (isinstance(dim, (list, tuple)) and not dim) else tuple(dim) if isinstance(dim, list) else dim


def fold(f):
    return lambda input, dim=None, keepdim=False: f(input, axis=axes(dim), keepdims=keepdim)


def row_of(f):
    """A fold with its indices in PyTorch, or of two arrays: here the values."""
    both = {np.max: np.maximum, np.min: np.minimum}[f]

    def spelled(input, dim=None, keepdim=False, *, other=None):
        second = other if other is not None else dim
        if isinstance(second, (Tensor, np.ndarray)):
            return both(input, second)
        return f(input, axis=dim, keepdims=keepdim)

    return spelled


def running(f):
    def spelled(input, dim):
        lacking(not input.ndim, "a single number, which NumPy makes a row")
        return f(input, axis=dim)

    return spelled


def softmax(f, sign=1):
    def spelled(input, dim):
        lacking(not input.ndim, "an axis of a single number")
        return f(sign * input, axis=dim)

    return spelled


def spread(f):
    def spelled(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        ddof = correction if correction is not None else int(unbiased is not False)
        axis = axes(dim)
        n = math.prod(np.shape(input)[a] for a in (range(np.ndim(input)) if axis is None else np.atleast_1d(axis)))
        lacking(n <= ddof, "as few entries as ddof")
        return f(input, axis=axis, ddof=ddof, keepdims=keepdim)

    return spelled


def padded(input, pad, mode="constant", value=None):
    width = [(0, 0)] * (input.ndim - len(pad) // 2) + [tuple(pad[i : i + 2]) for i in range(0, len(pad), 2)][::-1]
    lacking(min(pad, default=0) < 0, "negative widths")
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    return np.pad(input, width, modes[mode], **({"constant_values": value or 0} if mode == "constant" else {}))


def quantiles(input, q, dim=None, keepdim=False, *, interpolation="linear"):
    lacking(isinstance(q, Tensor) and q.requires_grad, "a gradient for q")
    q = q.data if isinstance(q, Tensor) else q
    return np.quantile(input, q, axis=dim, keepdims=keepdim, method=interpolation)


def vectors(f):
    """Of symmetric matrices, without the signs that a library chooses."""

    def spelled(input, UPLO="L"):
        w, v = f(input + np.swapaxes(input, -1, -2), UPLO)
        return np.abs(w), np.abs(v)

    return spelled


def singular(input, some=True, compute_uv=True):
    """torch.svd, which has V and not its transpose."""
    u, s, vh = np.linalg.svd(input, full_matrices=not some)
    return np.abs(u), s, np.abs(np.swapaxes(vh, -1, -2))


def divided(input, other, *, rounding_mode=None):
    return {None: np.divide, "floor": np.floor_divide, "trunc": lambda a, b: np.trunc(np.divide(a, b))}[rounding_mode](
        input, other
    )


def tensors_of(f):
    def spelled(tensors, dim=0):
        lacking(len({np.ndim(t) for t in tensors}) > 1, "numbers of axes that differ")
        return f(tensors, axis=dim)

    return spelled


def of_each(f):
    return lambda *tensors: f(*(tensors[0] if isinstance(tensors[0], (list, tuple)) else tensors))


def product(a, b):
    return a @ b


def scaled(input, product, beta=1, alpha=1):
    return beta * input + alpha * product


def index_of(input, dim, index):
    return (slice(None),) * (dim % max(1, input.ndim)) + (index,)


def narrow(input, dim, start, length):
    start = int(start) + (input.shape[dim] if start < 0 else 0)
    return input[index_of(input, dim, slice(start, start + length))]


def of_shape(f):
    """With indices or a mask that have the shape of the array but for the axis, or 1 there."""

    def spelled(input, *args, **kwargs):
        (index,) = [x for x in (*args, *kwargs.values()) if isinstance(x, np.ndarray)]
        lacking(not input.ndim or index.ndim != input.ndim or index.size == 0, "indices of another number of axes")
        lacking(index.dtype == bool and index.shape != input.shape, "a mask of another shape")
        axis = [x % input.ndim for x in (*args, *kwargs.values()) if isinstance(x, int)]
        for i, (a, b) in enumerate(zip(index.shape, input.shape, strict=True)):
            lacking(axis and i not in axis and a not in (1, b), "indices of a part of the axes")
        return f(input, *args, **kwargs)

    return spelled


def flattened(input, start_dim=0, end_dim=-1):
    start, end = start_dim % max(1, input.ndim), end_dim % max(1, input.ndim)
    return np.reshape(input, (*input.shape[:start], -1, *input.shape[end + 1 :]))


def of_two(f):
    return lambda input, other: f(input, other)


def solve(a, b, *, left=True):
    lacking(not left or (b.ndim > 1 and b.ndim == a.ndim - 1), "left=False, and a batch of vectors")
    return np.linalg.solve(a, b)


def tensordot(a, b, dims=2):
    pairs = [] if isinstance(dims, int) else zip(*dims, strict=True)
    lacking(any(a.shape[i] != b.shape[j] for i, j in pairs), "axes of length 1 that are repeated")
    return np.tensordot(a, b, dims)


def gradient(input, *, spacing=None, dim=None, edge_order=1):
    apart = () if spacing is None else spacing if isinstance(spacing, (list, tuple)) else (spacing,)
    return np.gradient(input, *apart, axis=axes(dim), edge_order=edge_order)


def norm(input, p="fro", dim=None, keepdim=False):
    lacking(isinstance(p, str) and dim is not None and len(np.atleast_1d(dim)) == 1, "a matrix norm of vectors")
    if p == "fro" and dim is None:
        return np.linalg.vector_norm(input, keepdims=keepdim)
    axis = axes(dim)
    return np.linalg.norm(input, p, axis, keepdim) if isinstance(p, str) else vector_norm(input, p, axis, keepdim)


def vector_norm(x, ord=2, dim=None, keepdim=False):
    return np.linalg.vector_norm(x, axis=axes(dim), keepdims=keepdim, ord=ord)


def linalg_norm(A, ord=None, dim=None, keepdim=False):
    if A.size and A.ndim > 1 and ord in ("nuc", 2, -2) and (dim is None or np.size(dim) == 2):
        s = np.linalg.svdvals(A.data)
        flat = not {"nuc": s.all(), 2: s.max(), -2: s.min()}[ord]
        lacking(flat, "the slope of a singular value that is 0: 0 here, and that of U V^T there")
    return np.linalg.norm(A, ord, axes(dim), keepdim)


def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False):
    return np.linalg.norm(A, ord, tuple(dim), keepdim)


def splits(input, split_size_or_sections, dim=0):
    n = split_size_or_sections
    cuts = range(n, input.shape[dim], n) if isinstance(n, int) else np.cumsum(n)[:-1]
    return np.split(input, list(cuts), axis=dim)


def gelu(input, *, approximate="none"):
    return ops.gelu(input) if approximate == "tanh" else ops.gelu_erf(input)


def softplus(input, beta=1, threshold=20):
    lacking(beta != 1 or threshold != 20, "beta, threshold")
    return ops.softplus(input)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    lacking(len(normalized_shape) != 1, "several normalised axes")
    ones = np.ones(normalized_shape)
    return ops.layer_norm(input, ones if weight is None else weight, 0 * ones if bias is None else bias, eps)


def cross_entropy(input, target, reduction="mean"):
    lacking(reduction != "mean" or input.ndim > 2 or target.dtype.kind != "i", "classes elsewhere, or shares of them")
    return ops.cross_entropy(input, target)


def medians(input, dim=None, keepdim=False):
    n = input.size if dim is None else input.shape[dim] if input.ndim else 1
    lacking(n % 2 == 0, "the lower of two middles, where NumPy takes their mean")
    return np.median(input, axis=dim, keepdims=keepdim)


def inner(f):
    return lambda input, tensor: f(input, tensor)


def unit(f):
    return lambda input: f(input)


SAME = ["exp", "exp2", "expm1", "log", "log10", "log1p", "log2", "sqrt", "square", "sin", "cos", "tan", "sinh", "cosh", "tanh"]
SAME += ["sinc", "reciprocal", "sign", "positive", "floor", "ceil", "trunc", "deg2rad", "rad2deg", "abs"]
UNARY = {
    **{name: getattr(np, name) for name in SAME},
    **{"a" + name: getattr(np, "arc" + name) for name in ["sin", "cos", "tan", "sinh", "cosh", "tanh"]},
    **{"neg": np.negative, "sgn": np.sign, "real": np.real, "conj": np.conj, "conj_physical": np.conjugate, "i0": np.i0},
    **{"angle": np.angle, "fliplr": np.fliplr, "flipud": np.flipud, "clone": np.copy},
    **{"ravel": np.ravel, "trace": np.trace, "msort": lambda x: np.sort(x, axis=0), "sigmoid": ops.sigmoid, "erf": ops.erf},
    **{"T": np.transpose, "t": np.transpose, "t_copy": np.transpose, "mT": lambda x: np.swapaxes(x, -1, -2), "H": np.transpose},
    **{"mH": lambda x: np.swapaxes(x, -1, -2), "erfc": lambda x: 1 - ops.erf(x), "rsqrt": lambda x: 1 / np.sqrt(x)},
    **{"frac": lambda x: x - np.trunc(x), "logdet": lambda x: np.linalg.slogdet(x)[1], "corrcoef": np.corrcoef},
    **{"linalg.det": np.linalg.det, "linalg.inv": np.linalg.inv, "linalg.svdvals": np.linalg.svdvals, "diagflat": np.diagflat},
    **{
        "linalg.slogdet": np.linalg.slogdet,
        "isfinite": np.isfinite,
        "isnan": np.isnan,
        "isinf": np.isinf,
        "signbit": np.signbit,
    },
    **{"alias_copy": np.copy},
    **{"nn.functional.relu6": lambda x: np.clip(x, 0, 6), "nn.functional.softsign": lambda x: x / (1 + np.abs(x))},
    **{"nn.functional.tanhshrink": lambda x: x - np.tanh(x), "nn.functional.logsigmoid": lambda x: -ops.softplus(-x)},
    **{"nn.functional.mish": lambda x: x * np.tanh(ops.softplus(x)), "special.ndtr": lambda x: 0.5 * (1 + ops.erf(x / 2**0.5))},
}
BINARY = {
    **{"mul": np.multiply, "true_divide": np.divide, "maximum": np.maximum, "minimum": np.minimum, "fmax": np.fmax},
    **{
        "fmin": np.fmin,
        "fmod": np.fmod,
        "remainder": np.remainder,
        "hypot": np.hypot,
        "atan2": np.arctan2,
        "copysign": np.copysign,
    },
    **{
        "logaddexp": np.logaddexp,
        "logaddexp2": np.logaddexp2,
        "float_power": np.float_power,
        "inner": np.inner,
        "kron": np.kron,
    },
    **{"floor_divide": np.floor_divide, "nextafter": np.nextafter, "matmul": np.matmul, "xlogy": lambda a, b: a * np.log(b)},
    **{
        "__radd__": lambda a, b: b + a,
        "__rmul__": lambda a, b: b * a,
        "__rsub__": lambda a, b: b - a,
        "__rdiv__": lambda a, b: b / a,
    },
    **{"__rpow__": lambda a, b: b**a, "__rmod__": lambda a, b: b % a, "__rmatmul__": lambda a, b: b @ a, "vdot": np.vdot},
    **{"dot": np.dot, "mv": np.dot, "mm": np.matmul, "bmm": np.matmul, "outer": np.outer, "linalg.vecdot": np.vecdot},
}
SPELLINGS = {
    **{name: unit(f) for name, f in UNARY.items()},
    **{name: lambda a, b, f=f: f(a, b) for name, f in BINARY.items()},
    "add": lambda input, other, *, alpha=1: input + alpha * other,
    "sub": lambda input, other, *, alpha=1: input - alpha * other,
    "rsub": lambda input, other, *, alpha=1: other - alpha * input,
    "div": divided,
    "pow": lambda input, exponent: np.power(input, exponent),
    "ldexp": lambda input, other: np.multiply(input, np.exp2(other)),
    "heaviside": lambda input, values: np.heaviside(input, values),
    "lerp": lambda input, end, weight: input + weight * (end - input),
    "where": lambda input, condition, other: np.where(condition, input, other),
    "clamp": lambda input, min=None, max=None: np.clip(input, min, max),
    "clamp_min": lambda input, min: np.maximum(input, min),
    "clamp_max": lambda input, max: np.minimum(input, max),
    "addcmul": lambda input, tensor1, tensor2, *, value=1: input + value * tensor1 * tensor2,
    "addcdiv": lambda input, tensor1, tensor2, *, value=1: input + value * tensor1 / tensor2,
    "addmm": lambda input, a, b, *, beta=1, alpha=1: scaled(input, a @ b, beta, alpha),
    "addmv": lambda input, a, b, *, beta=1, alpha=1: scaled(input, np.dot(a, b), beta, alpha),
    "addr": lambda input, a, b, *, beta=1, alpha=1: scaled(input, np.outer(a, b), beta, alpha),
    "baddbmm": lambda input, a, b, *, beta=1, alpha=1: scaled(input, a @ b, beta, alpha),
    "addbmm": lambda input, a, b, *, beta=1, alpha=1: scaled(input, np.sum(a @ b, axis=0), beta, alpha),
    "tensordot": tensordot,
    "einsum": lambda tensors, equation: np.einsum(equation, *tensors),
    "cross": lambda input, other, dim=-1: np.cross(input, other, axis=dim),
    "linalg.cross": lambda input, other, *, dim=-1: np.linalg.cross(input, other, axis=dim),
    "linalg.multi_dot": lambda tensors: np.linalg.multi_dot(tensors),
    "dist": lambda input, other, p=2: np.linalg.vector_norm(input - other, ord=p),
    # folds
    "sum": fold(np.sum),
    "mean": fold(np.mean),
    "prod": fold(np.prod),
    "amax": fold(np.max),
    "amin": fold(np.min),
    "max": row_of(np.max),
    "min": row_of(np.min),
    "aminmax": lambda input, dim=None, keepdim=False: (
        np.min(input, axis=dim, keepdims=keepdim),
        np.max(input, axis=dim, keepdims=keepdim),
    ),
    "nansum": fold(np.nansum),
    "nanmean": fold(np.nanmean),
    "std": spread(np.std),
    "var": spread(np.var),
    "std_mean": lambda input, *args, **kwargs: (
        spread(np.std)(input, *args, **kwargs),
        np.mean(input, axis=axes(kwargs.get("dim")), keepdims=kwargs.get("keepdim", False)),
    ),
    "var_mean": lambda input, *args, **kwargs: (
        spread(np.var)(input, *args, **kwargs),
        np.mean(input, axis=axes(kwargs.get("dim")), keepdims=kwargs.get("keepdim", False)),
    ),
    "logsumexp": lambda input, dim, keepdim=False: ops.logsumexp(input, axis=axes(dim), keepdims=keepdim),
    "softmax": softmax(ops.softmax),
    "log_softmax": lambda input, dim: ops.log_softmax(input, axis=dim),
    "nn.functional.softmin": softmax(ops.softmax, -1),
    "cumsum": running(np.cumsum),
    "cumprod": running(np.cumprod),
    "logcumsumexp": lambda input, dim: np.logaddexp.accumulate(input, axis=dim),
    "diff": lambda input, n=1, dim=-1, prepend=None, append=None: np.diff(
        input, n, dim, **{k: v for k, v in (("prepend", prepend), ("append", append)) if v is not None}
    ),
    "trapezoid": lambda y, x=None, dim=-1, dx=1.0: np.trapezoid(y, x, dx, dim),
    "trapz": lambda y, x=None, dim=-1, dx=1.0: np.trapezoid(y, x, dx, dim),
    "gradient": gradient,
    "cov": lambda input, *, correction=1, fweights=None, aweights=None: np.cov(
        input, ddof=correction, fweights=fweights, aweights=aweights
    ),
    "median": medians,
    "nanmedian": medians,
    "quantile": quantiles,
    "nanquantile": lambda input, q, dim=None, keepdim=False, *, interpolation="linear": np.nanquantile(
        input, q.data if isinstance(q, Tensor) else q, axis=dim, keepdims=keepdim, method=interpolation
    ),
    "sort": lambda input, dim=-1, *, stable=None: np.sort(input, axis=dim, stable=stable) if input.ndim else input * 1,
    "norm": norm,
    # axes and pieces
    "reshape": lambda input, shape: np.reshape(input, shape),
    "view": lambda input, *shape: np.reshape(input, shape[0] if len(shape) == 1 else shape),
    "view_copy": lambda input, *shape: np.reshape(input, shape[0] if len(shape) == 1 else shape),
    "unflatten": lambda input, dim, sizes: np.reshape(
        input, (*input.shape[: dim % input.ndim], *sizes, *input.shape[dim % input.ndim + 1 :])
    ),
    "flatten": flattened,
    "permute": lambda input, dims: np.transpose(input, dims),
    "permute_copy": lambda input, dims: np.transpose(input, dims),
    "transpose": lambda input, dim0, dim1: np.swapaxes(input, dim0, dim1) if input.ndim else input * 1,
    "transpose_copy": lambda input, dim0, dim1: np.swapaxes(input, dim0, dim1) if input.ndim else input * 1,
    "movedim": lambda input, source, destination: np.moveaxis(input, source, destination),
    "squeeze": lambda input, dim=None: np.squeeze(
        input, None if dim is None else tuple(a for a in np.atleast_1d(dim).tolist() if input.ndim and input.shape[a] == 1)
    ),
    "unsqueeze": lambda input, dim: np.expand_dims(input, dim),
    "unsqueeze_copy": lambda input, dim: np.expand_dims(input, dim),
    "expand": lambda input, shape: np.broadcast_to(
        input, tuple(input.shape[i - len(shape)] if n == -1 else n for i, n in enumerate(shape))
    ),
    "broadcast_to": lambda input, shape: np.broadcast_to(input, shape),
    "broadcast_tensors": lambda *tensors: np.broadcast_arrays(*tensors),
    "atleast_1d": of_each(np.atleast_1d),
    "atleast_2d": of_each(np.atleast_2d),
    "atleast_3d": of_each(np.atleast_3d),
    "meshgrid": lambda *tensors, indexing="ij": np.meshgrid(
        *(tensors[0] if isinstance(tensors[0], (list, tuple)) else tensors), indexing=indexing
    ),
    "tile": lambda input, dims: np.tile(input, dims),
    "repeat": lambda input, repeats: np.tile(input, repeats),
    "repeat_interleave": lambda input, repeats, dim=None: np.repeat(input, repeats, axis=dim),
    "roll": lambda input, shifts, dims=None: np.roll(input, shifts, dims if dims != () else None),
    "rot90": lambda input, k=1, dims=(0, 1): np.rot90(input, k, dims),
    "flip": lambda input, dims: np.flip(input, tuple(dims) if isinstance(dims, (list, tuple)) else dims),
    "cat": tensors_of(np.concatenate),
    "stack": tensors_of(np.stack),
    "hstack": lambda tensors: np.hstack(tensors),
    "vstack": lambda tensors: np.vstack(tensors),
    "dstack": lambda tensors: np.dstack(tensors),
    "column_stack": lambda tensors: np.column_stack(tensors),
    "split": splits,
    "split_with_sizes": splits,
    "tensor_split": lambda input, indices_or_sections, dim=0: np.array_split(
        input,
        indices_or_sections.tolist() if isinstance(indices_or_sections, np.ndarray) else indices_or_sections,
        axis=dim,
    ),
    "hsplit": lambda input, n: np.hsplit(input, n),
    "vsplit": lambda input, n: np.vsplit(input, n),
    "dsplit": lambda input, n: np.dsplit(input, n),
    "unbind": lambda input, dim=0: np.unstack(input, axis=dim),
    "diag": lambda input, diagonal=0: np.diag(input, diagonal),
    "diagonal": lambda input, offset=0, dim1=0, dim2=1: np.diagonal(input, offset, dim1, dim2),
    "diagonal_copy": lambda input, offset=0, dim1=0, dim2=1: np.diagonal(input, offset, dim1, dim2),
    "tril": lambda input, diagonal=0: np.tril(input, diagonal),
    "triu": lambda input, diagonal=0: np.triu(input, diagonal),
    "nn.functional.pad": padded,
    "constant_pad_nd": lambda input, pad, value=0: padded(input, pad, "constant", value),
    "__getitem__": lambda input, index: input[index],
    "index_select": lambda input, dim, index: (
        np.take(input, index, axis=dim) if input.ndim else np.reshape(input, (1,))[index][0]
    ),
    "take": lambda input, index: np.take(input, index),
    "take_along_dim": of_shape(
        lambda input, indices, dim=None: np.take_along_axis(input, indices if dim is not None else indices.ravel(), axis=dim)
    ),
    "gather": of_shape(lambda input, dim, index: np.take_along_axis(input, index, axis=dim)),
    "select": lambda input, dim, index: input[index_of(input, dim, index)],
    "narrow": narrow,
    "masked_fill": lambda input, mask, value: np.where(mask, value, input),
    "masked_select": of_shape(lambda input, mask: input[mask]),
    "nan_to_num": lambda input, nan=None, posinf=None, neginf=None: np.nan_to_num(input, True, nan or 0.0, posinf, neginf),
    # linear algebra
    "linalg.cholesky": lambda a, *, upper=False: np.linalg.cholesky(a + np.swapaxes(a, -1, -2), upper=upper),
    "cholesky": lambda a, upper=False: np.linalg.cholesky(a + np.swapaxes(a, -1, -2), upper=upper),
    "linalg.eigh": vectors(np.linalg.eigh),
    "linalg.eigvalsh": lambda a, UPLO="L": np.linalg.eigvalsh(a + np.swapaxes(a, -1, -2), UPLO),
    "linalg.svd": lambda a, full_matrices=True: [np.abs(x) for x in np.linalg.svd(a, full_matrices)],
    "svd": singular,
    "linalg.pinv": lambda a, *, rcond=None, rtol=None, hermitian=False: np.linalg.pinv(a, rcond, hermitian, rtol=rtol),
    "pinverse": lambda a, rcond=1e-15: np.linalg.pinv(a, rcond),
    "linalg.qr": lambda a, mode="reduced": [np.abs(x) for x in np.linalg.qr(a, mode)],
    "qr": lambda a, some=True: [np.abs(x) for x in np.linalg.qr(a, "reduced" if some else "complete")],
    "linalg.solve": solve,
    "linalg.matrix_power": lambda a, n: np.linalg.matrix_power(a, n),
    "linalg.norm": linalg_norm,
    "linalg.matrix_norm": matrix_norm,
    "linalg.vector_norm": vector_norm,
    "linalg.cond": lambda a, p=None: np.linalg.cond(a, p),
    "linalg.diagonal": lambda a, *, offset=0, dim1=-2, dim2=-1: np.diagonal(a, offset, dim1, dim2),
    "linalg.tensorinv": lambda a, ind=2: np.linalg.tensorinv(a, ind),
    "linalg.tensorsolve": lambda a, b, dims=None: np.linalg.tensorsolve(a, b, dims),
    # those that NumPy has not
    "nn.functional.relu": lambda input, inplace=False: ops.relu(input),
    "nn.functional.silu": lambda input, inplace=False: ops.silu(input),
    "nn.functional.gelu": gelu,
    "nn.functional.softplus": softplus,
    "nn.functional.hardtanh": lambda input, min_val=-1.0, max_val=1.0: np.clip(input, min_val, max_val),
    "nn.functional.linear": lambda input, weight, bias=None: ops.linear(input, weight.T, bias),
    "nn.functional.layer_norm": layer_norm,
    "nn.functional.embedding": lambda weight, ids: ops.embedding(weight, ids),
    "nn.functional.cross_entropy": cross_entropy,
    "nn.functional.mse_loss": lambda input, target, reduction="mean": (
        np.mean((input - target) ** 2) if reduction == "mean" else lacking(True, "reduction")
    ),
}
SYMMETRIC = ("linalg.cholesky", "cholesky", "linalg.eigh", "linalg.eigvalsh")
SIGNS = ("linalg.eigh", "linalg.svd", "svd", "linalg.qr", "qr")
"""What a library may choose the signs of: absolute values are compared."""


def leaves(value):
    """The torch tensors in nested arguments, in order."""
    import torch

    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, (list, tuple)) else []


def ours(value, made):
    """The same arguments with Tensors and arrays; the Tensors that want a gradient join `made`."""
    import torch

    if isinstance(value, torch.Tensor):
        array = value.detach().numpy().copy()
        if not value.dtype.is_floating_point:
            return array
        tensor = Tensor(array, requires_grad=value.requires_grad)
        made += [tensor] * value.requires_grad
        return tensor
    if isinstance(value, dict):
        return {key: ours(part, made) for key, part in value.items()}
    return type(value)(ours(part, made) for part in value) if type(value) in (list, tuple) else value


def results(found):
    """The floating-point arrays of a result."""
    return [x for part in found for x in results(part)] if isinstance(found, (list, tuple)) else [found]


def weights(out, seed):
    return np.random.default_rng(seed).standard_normal(tuple(out.shape))


def derivatives(torch, outs, inputs):
    """Gradients, and the gradients of a weighted sum of these, of PyTorch: None where there are none."""
    outs = [out for out in outs if out.requires_grad]
    if not outs or not inputs:
        return [], None
    total = sum((out * torch.tensor(weights(out, i))).sum() for i, out in enumerate(outs))
    first = torch.autograd.grad(total, inputs, create_graph=True, allow_unused=True)
    again = [(i, g) for i, g in enumerate(first) if g is not None and g.requires_grad]
    try:
        second = (
            torch.autograd.grad(sum((g * torch.tensor(weights(g, 100 + i))).sum() for i, g in again), inputs, allow_unused=True)
            if again
            else [None] * len(inputs)
        )
    except RuntimeError:  # it has no second derivative there
        second = None
    return first, second


def our_derivatives(outs, inputs, torchs):
    """The same here."""
    pairs = [(out, i) for i, out in enumerate(o for o, t in zip(outs, torchs, strict=True) if t.requires_grad)]
    pairs = [(out, i) for out, i in pairs if isinstance(out, Tensor) and out.requires_grad]
    if not pairs or not inputs:
        return [None] * len(inputs), [None] * len(inputs)
    total = functools.reduce(np.add, [np.sum(out * weights(out, i)) for out, i in pairs])
    first = autograd.grad([total], inputs, create_graph=True, allow_unused=True)
    again = [np.sum(g * weights(g, 100 + i)) for i, g in enumerate(first) if g is not None and g.requires_grad]
    second = (
        autograd.grad([functools.reduce(np.add, again)], inputs, allow_unused=True, retain_graph=True)
        if again
        else [None] * len(inputs)
    )
    plain = autograd.grad(
        [functools.reduce(np.add, [np.sum(out * weights(out, i)) for out, i in pairs])], inputs, allow_unused=True
    )
    for a, b in zip(first, plain, strict=True):
        close("the gradient that is recorded, and the one that is not,", a, b)
    return plain, second


def close(what, a, b):
    a, b = (0.0 if x is None else x.data if isinstance(x, Tensor) else np.asarray(x) for x in (a, b))
    scale = np.abs(b)[np.isfinite(b)].max(initial=1.0) if np.size(b) else 1.0
    np.testing.assert_allclose(*np.broadcast_arrays(a, b), rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=what)


def compare(torch, op, sample, spelled, count):
    """One sample. Raises AssertionError where the two differ."""
    values = (sample.input, sample.args, sample.kwargs)
    made = []
    input_, args, kwargs = ours(values, made)
    inputs = [x for x in leaves(values) if x.requires_grad]
    try:
        inspect.signature(spelled).bind(input_, *args, **kwargs)
    except TypeError as error:
        raise LackingError(str(error)) from None
    try:
        found = results(spelled(input_, *args, **kwargs))
    except UnsupportedError as error:
        count["refused: " + str(error).split(";")[0].split(" has no ")[0][:60]] += 1
        return
    except (ShapeError, np.exceptions.AxisError) as error:
        lacking(op.name == "tensordot" and "the lengths differ" in str(error), "an axis of length 1 that is broadcast")
        lacking(re.search(r"axis -?\d is out of bounds for array of dimension 0", str(error)), "an axis of a single number")
        raise
    theirs = op.gradcheck_wrapper(op.op, sample.input, *sample.args, **sample.kwargs)
    theirs = [x.abs() if op.name in SIGNS and x.ndim else x for x in results(theirs)]
    theirs = [x for x in theirs if x.dtype.is_floating_point][: len(found)]
    found = found[: len(theirs)]
    for a, b in zip(found, theirs, strict=True):
        assert np.shape(a) == tuple(b.shape)
        close("value", a, b.numpy(force=True))
    first, second = derivatives(torch, theirs, inputs)
    mine, again = our_derivatives(found, made, theirs)
    for a, b in zip(mine, first, strict=False):
        close("gradient", a, None if b is None else b.numpy(force=True))
    count["compared"] += 1
    if second is not None:
        for a, b in zip(again, second, strict=False):
            b = None if b is None else b.numpy(force=True)
            if b is not None and np.isnan(b).any():  # at a kink, where the slope that is taken is 0 and so is what it changes
                count["second derivatives that are NaN in PyTorch"] += 1
                continue
            close("second derivative", a, b)
        count["second derivatives"] += 1


@pytest.fixture(scope="session")
def op_db(torch):
    """By name, all that PyTorch has samples of; a name may be there in several variants."""
    pytest.importorskip("expecttest", reason="pip install -e '.[oracle]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    found = collections.defaultdict(list)
    for op in op_db:
        found[op.name].append(op)
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SPELLINGS)
def test_samples_of_pytorch(torch, op_db, name):
    count, wrong = COUNTS[name], []
    torch.manual_seed(0)
    for op in op_db[name]:
        if torch.float64 not in op.supported_dtypes("cpu"):
            continue
        for sample in op.sample_inputs("cpu", torch.float64, requires_grad=op.supports_autograd):
            try:
                compare(torch, op, sample, SPELLINGS[name], count)
            except LackingError as reason:
                count["skipped: " + str(reason)] += 1
            except Exception as error:
                wrong.append((op.variant_test_name, sample.summary()[:300], type(error).__name__, str(error)[:300]))
    assert op_db[name], "there is no function of that name in op_db"
    assert not wrong, f"{len(wrong)} of {count['compared'] + len(wrong)}: " + "\n".join(map(str, wrong[:4]))


def test_how_many_were_compared():
    if len(COUNTS) < len(SPELLINGS):
        pytest.skip("a part of them ran here")
    total = collections.Counter()
    for name, count in COUNTS.items():
        print(f"{name:30}", dict(count))
        for reason, n in count.items():
            total[reason.split(":")[0]] += n
    print(len(COUNTS), "functions:", dict(total))
    assert total["compared"] >= 2300
