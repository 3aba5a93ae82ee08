"""Every elementwise op, and the rule of each of its inputs, to the last digits: within 4 ulp of mpmath over the whole range.

`python tests/tinygrad2/ops/test_ulp.py` prints the table: op, dtype, kernels, the worst of the forward and of the gradients and
where it is, and the error of PyTorch's float64 gradient at the same points. An ulp is the distance of the two floating-point
numbers around the right value.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import math
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[3]), str(Path(__file__).parents[1])]

from op_samples import OPS, arguments

from tinygrad2 import Tensor, autograd, kernels
from tinygrad2.kernels import reference
from tinygrad2.ops.op import Fused
from tinygrad2.ops.source import written

mpmath = pytest.importorskip("mpmath", reason="pip install -e '.[test]'")
mp = mpmath.mp

ULPS = 4
"""What is allowed where EXCEPTIONS says nothing else."""

PAGE = Path(__file__).parents[3] / "docs" / "tinygrad2.md"
SETTINGS = {"astype": [{"dtype": np.float64}], "bell": [{"by": 0.5}, {"by": 1.0}], "sinc_slope": [{"order": 1}, {"order": 2}]}
SETTINGS |= {"dropout": [{"keep": True, "scale": 1.25}]}


def sinc(z):
    return mp.sin(mp.pi * z) / (mp.pi * z)


def sinc_slope(z, order):
    s, c = mp.sin(mp.pi * z), mp.cos(mp.pi * z)
    if order == 1:
        return c / z - s / (mp.pi * z * z)
    return -mp.pi * s / z - 2 * c / z**2 + 2 * s / (mp.pi * z**3)


def sigmoid(z):
    return 1 / (1 + mp.exp(-z))


def erf(z):
    """Beyond 40 it is 1 to 700 digits, of which mpmath would compute each."""
    return mp.erf(z) if abs(mp.re(z)) < 40 else mp.sign(mp.re(z))


def normal_cdf(z):
    return mp.erfc(-z / mp.sqrt(2)) / 2 if abs(mp.re(z)) < 40 else mp.mpf(mp.re(z) > 0)


def logaddexp(a, b):
    high, low = sorted((a, b), key=mp.re, reverse=True)
    return high + mp.log1p(mp.exp(low - high))


def power(a, b):
    """Nothing for a negative number and between whole exponents; nor what no floating-point number is, and takes long."""
    if (mp.im(b) and mp.re(a) < 0) or abs(mp.re(b) * mp.log(abs(mp.re(a)))) > 1e4:
        return mp.nan
    return a**b


def by_sign(f, x):
    """A function that is odd: mpmath's is of positive numbers."""
    return f(x) if mp.re(x) >= 0 else -f(-x)


FUNCTIONS = {
    **{name: getattr(mp, name) for name in ("cos", "cosh", "exp", "expm1", "log", "log10", "log1p")},
    **{name: getattr(mp, name) for name in ("sin", "sinh", "sqrt", "tan", "tanh")},
    **{name: (lambda z, **_: z) for name in ("astype", "conjugate", "copy", "positive", "real")},
    **{name: (lambda z: z if mp.re(z) > 0 else -z) for name in ("absolute", "fabs")},
    **{name: (lambda a, b: max(a, b, key=mp.re)) for name in ("maximum", "fmax")},
    **{name: (lambda a, b: min(a, b, key=mp.re)) for name in ("minimum", "fmin")},
    **{name: (lambda z: z * 180 / mp.pi) for name in ("degrees", "rad2deg")},
    **{name: (lambda z: z * mp.pi / 180) for name in ("radians", "deg2rad")},
    "add": lambda a, b: a + b,
    "arccos": mp.acos,
    "arccosh": lambda z: mp.acosh(z) if mp.re(z) >= 1 else mp.j,
    "arcsin": mp.asin,
    "arcsinh": mp.asinh,
    "arctan": mp.atan,
    "arctan2": lambda a, b: mp.atan(a / b) if abs(mp.re(a)) < abs(mp.re(b)) else -mp.atan(b / a),  # but for a constant
    "arctanh": mp.atanh,
    "bell": lambda z, by: mp.exp(-by * z * z),
    "cbrt": lambda z: by_sign(mp.cbrt, z),
    "clip": lambda z, low, high: min(max(z, low, key=mp.re), high, key=mp.re),
    "copysign": lambda a, b: a if mp.re(a) * mp.re(b) > 0 else -a,
    "divide": lambda a, b: a / b,
    "dropout": lambda z, keep, scale: z * scale,
    "erf": erf,
    "exp2": lambda z: mp.exp(z * mp.log(2)),
    "fmod": lambda a, b: a - b * (mp.floor if mp.re(a / b) > 0 else mp.ceil)(mp.re(a / b)),
    "gelu": lambda z: z * sigmoid(2 * mp.sqrt(2 / mp.pi) * (z + mp.mpf("0.044715") * z**3)),
    "gelu_erf": lambda z: z * normal_cdf(z),
    "hypot": lambda a, b: mp.sqrt(a * a + b * b),
    "ldexp": lambda a, b: a * mp.mpf(2) ** b,
    "log2": lambda z: mp.log(z) / mp.log(2),
    "logaddexp": logaddexp,
    "logaddexp2": lambda a, b: logaddexp(a * mp.log(2), b * mp.log(2)) / mp.log(2),
    "multiply": lambda a, b: a * b,
    "negative": lambda z: -z,
    "normal_cdf": normal_cdf,
    "power": power,
    "reciprocal": lambda z: 1 / z,
    "relu": lambda z: z if mp.re(z) > 0 else 0 * z,
    "remainder": lambda a, b: a - b * mp.floor(mp.re(a / b)),
    "sech2": lambda z: mp.sech(z) ** 2,
    "sigmoid": sigmoid,
    "sign": lambda z: mp.sign(mp.re(z)),
    "silu": lambda z: z * sigmoid(z),
    "sinc": sinc,
    "sinc_slope": sinc_slope,
    "softplus": lambda z: mp.log1p(mp.exp(z)),
    "square": lambda z: z * z,
    "subtract": lambda a, b: a - b,
    "where": lambda condition, a, b: a if condition else b,
}
"""The ops in mpmath, of complex numbers near the real line. Their derivatives are not written here."""


class Place(NamedTuple):
    """Where an op was measured: its arguments, what is right, the dtype, and whether the compiled kernels ran."""

    op: str
    what: str
    x: list
    right: float
    dtype: type
    compiled: bool

    def ulp(self, y):
        return float(np.spacing(self.dtype(abs(y))))


class Exceptional(NamedTuple):
    """A row of the page: where more than ULPS is allowed, and `more`, which is how much more in units of the right value."""

    ops: str
    where: str
    bound: str
    why: str
    more: Callable[[Place], float]


def exponent(x):
    """2u, where GELU is x / (1 + exp(-2u))."""
    return 2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3) if abs(x) < 100 else math.copysign(1e6, x)


def logistic(x):
    return math.exp(-np.logaddexp(0, -x))


TERMS = {
    "silu": logistic,
    "gelu": lambda x: logistic(exponent(x)),
    "gelu_erf": lambda x: math.erfc(-x / math.sqrt(2)) / 2,
    "sinc": lambda x: 1 / max(abs(x), 0.1),
    "sinc_slope": lambda x: 10 / max(abs(x), 0.3),
}
"""The larger of the two terms that cancel where a slope has a root."""

EXCEPTIONS = (
    Exceptional(
        "silu gelu gelu_erf sinc",
        "the slope, near its roots",
        "4 ulp of the larger of its two terms",
        "The terms cancel there, and each has been rounded.",
        lambda at: ULPS * at.ulp(2 * TERMS[at.op](at.x[0])) / at.ulp(at.right) if at.what != "forward" or "_" in at.op else 0,
    ),
    Exceptional(
        "gelu",
        "x < 0",
        "2 \\|2u\\| ulp more, u = sqrt(2/pi) (x + 0.044715 x^3)",
        "The exponent 2u is rounded, and taking it in two parts would slow down a hot kernel.",
        lambda at: max(0, -2 * exponent(at.x[0])),
    ),
    Exceptional(
        "gelu",
        "below 2e-36 in float32, 1e-304 in float64",
        "that much",
        "exp(-2u) overflows a little before the slope is 0.",
        lambda at: (2e-36 if at.dtype == np.float32 else 1e-304) / at.ulp(at.right),
    ),
    Exceptional(
        "gelu, compiled",
        "below 1e-23 in float32",
        "that much",
        "The compiled exp is within 2e-7 and ends at e^-60: what follows of smaller numbers would be denormal, which is slow.",
        lambda at: 1e-23 / at.ulp(at.right) if at.compiled and at.dtype == np.float32 else 0,
    ),
    Exceptional(
        "silu gelu_erf",
        "where sigmoid, or the distribution function, is subnormal",
        "\\|x\\| times the smallest subnormal number",
        "It has been rounded to a few digits before it is multiplied.",
        lambda at: abs(at.x[0]) * float(np.finfo(at.dtype).smallest_subnormal) * 2 / at.ulp(at.right),
    ),
    Exceptional(
        "logaddexp",
        "the slopes",
        "\\|a - b\\| ulp more",
        "a - b is rounded before its exponential is taken.",
        lambda at: abs(at.x[0] - at.x[1]),
    ),
    Exceptional(
        "logaddexp2",
        "the slopes",
        "2.1 \\|a - b\\| ulp more",
        "a - b, ln 2 and their product are rounded before the exponential is taken.",
        lambda at: 3 * math.log(2) * abs(at.x[0] - at.x[1]),
    ),
    Exceptional(
        "cbrt",
        "the slope",
        "10 ulp",
        "NumPy's cbrt is the C library's on some processors, off by up to 3.1 ulp in float64, and the slope has its square.",
        lambda at: 6,
    ),
)


def allowed(at):
    """So many ulps."""
    named = at.op.replace("sinc_slope", "sinc")
    return ULPS + sum(row.more(at) for row in EXCEPTIONS if named in row.ops.replace(",", "").split())


def elementwise(op):
    """Whether an entry of the result is made of the entries of the inputs in the same place: these may change places."""
    for number in range(len(op.samples)):
        args, settings = arguments(op, number)
        arrays = [x for x in args if isinstance(x, np.ndarray)]
        with contextlib.suppress(ValueError):
            shape = np.broadcast_shapes(*[x.shape for x in arrays])
            out = op.call(*args, **settings)
            if arrays and out.shape == shape and out.size > 2:
                break
    else:
        return False
    order = np.random.default_rng(0).permutation(out.size)

    def moved(x):
        whole = isinstance(x, np.ndarray) and np.broadcast_shapes(x.shape, shape) == shape
        return np.broadcast_to(x, shape).reshape(-1)[order].reshape(shape) if whole else x

    try:
        again = op.call(*map(moved, args), **{name: moved(x) for name, x in settings.items()})
    except ValueError:
        return False
    return np.array_equal(again, moved(out))


ELEMENTWISE = [op for op in OPS if op.arity is not None and elementwise(op)]
CASES = [(op, settings) for op in ELEMENTWISE for settings in SETTINGS.get(op.name, [{}])]


def points(op, dtype, number):
    """Arguments for an op: of every size, near the origin, and near 1, where many functions end."""
    info, rng = np.finfo(dtype), np.random.default_rng(zlib.crc32(op.name.encode()))
    n, arrays = number // 5, []
    for name in op.arguments:
        far = np.exp2(rng.uniform(np.log2(float(info.tiny)), np.log2(float(info.max)), n)) * rng.choice([-1, 1], n)
        middle = rng.choice([-1, 1], 3 * n) * np.exp2(rng.uniform(-5, 10.5 if dtype == np.float64 else 7.5, 3 * n))
        edge = rng.choice([-1, 1], n) * (1 + rng.choice([-1, 1], n) * np.exp2(rng.uniform(-info.nmant, 0, n)))
        x = np.concatenate([far, middle, edge]).astype(dtype)
        x = x if op.arity == 1 else rng.permutation(x)
        x = x if name != "condition" else x > 0
        arrays.append(rng.integers(-8, 8, len(x)) if (op.name, name) == ("ldexp", "b") else x)
    if op.name in ("log", "log2", "log10", "sqrt"):
        arrays = [np.abs(x) for x in arrays]
    if op.name == "power":
        arrays[0] = np.where(np.arange(len(x)) % 3 > 0, np.abs(arrays[0]), arrays[0])
        arrays[1] = np.where(np.arange(len(x)) % 2 > 0, arrays[1] / 16, np.rint(arrays[1] % 64)).astype(dtype)
    if op.name in ("logaddexp", "logaddexp2", "remainder", "fmod", "hypot", "arctan2"):  # also where they are alike
        arrays[1] = np.where(np.arange(len(x)) % 2 > 0, arrays[1], arrays[0] * rng.uniform(0.1, 1, len(x))).astype(dtype)
    return arrays


def settled(f):
    """What a function gives with more and more digits, once they agree; None if they do not, as where it is 0."""
    before = None
    for digits in (50, 100, 200, 400, 800):
        with mp.workdps(digits):
            found = f(digits)
            if found is None or (before is not None and found and abs(found - before) < abs(found) * mp.mpf(10) ** -20):
                return found
            before = found
    return None


def value(f, args):
    def one(digits):
        found = f(*args)
        return None if mp.im(found) else mp.re(found)

    return settled(one)


def slope(f, args, i):
    """The derivative by a complex step: the imaginary part of f(x + ih) over h is that but for h^2, and nothing cancels."""

    def one(digits):
        h = (abs(args[i]) or 1) * mp.mpf(10) ** (-digits // 2)
        if mp.im(f(*args)):
            return None  # outside of where it is real
        return mp.im(f(*args[:i], mp.mpc(args[i], h), *args[i + 1 :])) / h

    return settled(one)


@functools.cache
def truth(op, number, dtype, count):
    """The points of a case, the cotangents, and what is right: of the forward, and by argument of the gradients."""
    settings = {k: mp.mpf(x) if isinstance(x, float) else x for k, x in CASES[number][1].items()}
    f, arrays = functools.partial(FUNCTIONS[op.name], **settings), points(op, dtype, count)
    g = np.random.default_rng(1).uniform(1, 2, len(arrays[0])).astype(dtype)
    rows = [[mp.mpf(float(x)) if x.dtype == dtype else x.item() for x in row] for row in zip(*arrays, strict=True)]
    right = {"forward": [value(f, row) for row in rows]}
    for i, x in enumerate(arrays):
        if x.dtype == dtype:
            slopes = [slope(f, row, i) for row in rows]
            with mp.workdps(50):
                right[op.arguments[i]] = [d if d is None else d * float(c) for d, c in zip(slopes, g, strict=True)]
    return arrays, g, right


def ours(op, settings, arrays, g):
    """What an op gives: the value, and the gradients by argument."""
    inputs = [Tensor(x, requires_grad=x.dtype == g.dtype) for x in arrays]
    settings = {k: np.full(len(g), x) if k == "keep" else x for k, x in settings.items()}
    with np.errstate(all="ignore"):
        out = op.call(*inputs, **settings)
        wanted = {name: x for name, x in zip(op.arguments, inputs, strict=True) if x.requires_grad}
        found = autograd.grad([out], list(wanted.values()), [g.astype(out.dtype)])
    return {"forward": out.data, **{name: x.data for name, x in zip(wanted, found, strict=True)}}


def errors(found, right, dtype):
    """(ulps, place, what is right) wherever that is a normal number of this dtype."""
    info = np.finfo(dtype)
    for k, (a, b) in enumerate(zip(found, right, strict=True)):
        if b is not None and float(info.tiny) < abs(b) <= float(info.max):
            with mp.workdps(50):
                ulp = mp.mpf(2) ** (mp.floor(mp.log(abs(b), 2)) - info.nmant)
                yield float(abs(mp.mpf(float(a)) - b) / ulp) if np.isfinite(a) else np.inf, k, b


def measured(op, number, dtype, count=40):
    """(place, ulps, ulps that are allowed there): the worst of each, compared with what is allowed."""
    settings = CASES[number][1]
    arrays, g, right = truth(op, number, dtype, count)
    found = ours(op, settings, arrays, g)
    if not written(op.forward).__module__.startswith("tinygrad2"):
        del found["forward"]  # it is NumPy's
    compiled = issubclass(op, Fused) and kernels.current is not reference
    for what in found:
        worst = None
        for ulps, k, b in errors(found[what], right[what], found[what].dtype):
            at = Place(op.name, what, [x[k].item() for x in arrays], float(b), dtype, compiled)
            most = allowed(at)
            if worst is None or ulps / most > worst[1] / worst[2]:
                worst = at, ulps, most
        if worst:
            yield worst


def implementations(op):
    """Those in which an op differs."""
    return kernels.IMPLEMENTATIONS if issubclass(op, Fused) or op.name == "add" else ["numpy"]


def check(number, monkeypatch, count):
    op = CASES[number][0]
    for dtype in (np.float64, np.float32):
        for implementation in implementations(op):
            monkeypatch.setattr(kernels, "current", kernels.load(implementation))
            for at, ulps, most in measured(op, number, dtype, count):
                assert ulps <= most, f"{at}: {ulps:.3g} ulp, and {most:.3g} are allowed"


each_case = pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{op.name}{s or ''}" for op, s in CASES])


@each_case
def test_an_op_and_its_rules_to_the_last_digits(number, monkeypatch):
    check(number, monkeypatch, 40)


@pytest.mark.exhaustive
@each_case
def test_an_op_and_its_rules_at_many_points(number, monkeypatch):
    check(number, monkeypatch, 600)


def test_every_elementwise_op_is_measured():
    assert {op.name for op in ELEMENTWISE} == set(FUNCTIONS)
    assert {"tanh", "gelu", "power", "where", "sinc_slope"} <= set(FUNCTIONS)


def test_the_page_has_the_exceptions():
    page = PAGE.read_text("utf-8")
    for row in EXCEPTIONS:
        assert table_row(row) in page, f"{PAGE.name} lacks: {table_row(row)}"


def test_a_rule_without_digits_is_seen(monkeypatch):
    """The rules that are in every textbook."""
    bad = {"tanh": lambda x: 1 - np.tanh(x) ** 2, "sigmoid": lambda x: (s := 1 / (1 + np.exp(-x))) * (1 - s)}
    for number, (op, _) in enumerate(CASES):
        if op.name in bad:
            (x,), g, right = truth(op, number, np.float64, 40)
            with np.errstate(over="ignore"):
                found = g * bad[op.name](x)
            assert max(ulps for ulps, _, _ in errors(found, right["x"], np.float64)) > 1e10


def table_row(row):
    return f"| {row.ops} | {row.where} | {row.bound} | {row.why} |"


def theirs(torch, twins, op, settings, arrays, g):
    """PyTorch's gradients of the same points, by argument."""
    inputs = [torch.tensor(x, requires_grad=x.dtype == g.dtype) for x in arrays]
    settings = {k: np.full(len(g), x) if k == "keep" else x for k, x in settings.items()}
    out = twins[op.name](*inputs, **settings)
    names = {name: x for name, x in zip(op.arguments, inputs, strict=True) if x.requires_grad}
    found = torch.autograd.grad(out, list(names.values()), torch.tensor(g), allow_unused=True)
    return {name: x.numpy() for name, x in zip(names, found, strict=True) if x is not None}


def main() -> None:
    count, *names = [*sys.argv[1:], "40"] if len(sys.argv) < 2 else sys.argv[1:]
    twins, torch = {}, None
    with contextlib.suppress(ImportError):
        import torch

        spec = importlib.util.spec_from_file_location("test_ops", Path(__file__).with_name("test_ops.py"))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        twins = module.torch_twins(torch)
    above = 0
    print(f"{'op':24}{'dtype':9}{'kernels':9}{'of':10}{'ulp':>9}{'allowed':>10}{'PyTorch':>10}  worst at")
    for number, (op, settings) in enumerate(CASES):
        if names and op.name not in names:
            continue
        for dtype in (np.float64, np.float32):
            arrays, g, right = truth(op, number, dtype, int(count))
            other = {}
            if twins.get(op.name) and dtype == np.float64:
                for name, found in theirs(torch, twins, op, settings, arrays, g).items():
                    other[name] = max((ulps for ulps, _, _ in errors(found, right[name], np.float64)), default=0)
            for implementation in implementations(op):
                kernels.current = kernels.load(implementation)
                for at, ulps, most in measured(op, number, dtype, int(count)):
                    above += ulps > most
                    said = f"{other[at.what]:10.3g}" if at.what in other else " " * 10
                    of = "forward" if at.what == "forward" else f"for {at.what}"
                    name = op.name + "".join(f" {k}={v}" for k, v in settings.items() if isinstance(v, float | int))
                    print(
                        f"{name:24}{dtype.__name__:9}{implementation:9}{of:10}{ulps:9.3g}{most:10.3g}{said}  {at.x}", flush=True
                    )
    print(f"{above} above what is allowed")


if __name__ == "__main__":
    main()
