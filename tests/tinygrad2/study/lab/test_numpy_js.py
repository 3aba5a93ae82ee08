"""The NumPy of the lab page against NumPy itself, and its verdicts on mistakes made on purpose, in a real browser."""

import ast
import html
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from browsers import chromium
from op_samples import SAMPLES, bound

import tinygrad2
from tinygrad2.ops.indexing import Scatter
from tinygrad2.study.lab import SCRIPTS

LAB = Path(tinygrad2.__file__).parent / "study" / "lab"
PAGE = """<!doctype html><meta charset="utf-8"><body></body>
<script>const complaints = [];
onerror = (message) => complaints.push(message);
console.error = (...parts) => complaints.push(parts.join(" "));</script>
<script>%s</script>
<script type="application/json" id="cases">%s</script>
<script>
const number = (x) => (typeof x === "string" ? { nan: NaN, inf: Infinity, "-inf": -Infinity }[x] : x);
const spelled = (x) => (Number.isFinite(x) ? x : Number.isNaN(x) ? "nan" : x < 0 ? "-inf" : "inf");
const inward = (x) => {
  if (x === null || typeof x !== "object") return x;
  if (x.array) {
    const array = NumPy.array(x.array[0], x.array[1].map(number));
    return Object.assign(array, x.array[2] ? { bool: true } : {}, x.name ? { name: x.name } : {});
  }
  if (x.list) return NumPy.list(x.list.map(inward));
  if (x.tuple) return x.tuple.map(inward);
  if (x.slice) return NumPy.slice(...x.slice);
  if (x.number) return number(x.number);
  return Object.fromEntries(Object.entries(x.names).map(([name, value]) => [name, inward(value)]));
};
const outward = (x) => (x && x.data ? { shape: x.shape, data: [...x.data].map(spelled) } : x);
const functions = { evaluate: (...args) => NumPy.evaluate(...args).map(outward), verdict, verdictShape, verdictNumber };
const run = ({ call, args }) => {
  try {
    return { value: functions[call](...args.map(inward)) };
  } catch (error) {
    return error instanceof NumPy.Error ? { error: error.message } : { broken: String(error.stack) };
  }
};
const cases = JSON.parse(document.getElementById("cases").textContent);
const answers = {};
for (const [group, all] of Object.entries(cases)) answers[group] = all.map(run);
document.body.textContent = JSON.stringify({ answers, complaints });
</script>"""


def encoded(x):
    """A value as the page reads it."""
    if isinstance(x, np.ndarray | np.generic):
        data = [v if math.isfinite(v) else str(v) for v in np.asarray(x, float).ravel().tolist()]
        return {"array": [list(x.shape), data, x.dtype == bool]}
    if isinstance(x, dict):
        return {"names": {name: encoded(value) for name, value in x.items()}}
    if isinstance(x, slice):
        return {"slice": [x.start, x.stop, x.step]}
    if isinstance(x, list | tuple):
        return {type(x).__name__: [encoded(item) for item in x]}
    return {"number": str(x)} if isinstance(x, float) and not math.isfinite(x) else x


def decoded(x):
    return None if x is None else np.array([float(v) for v in x["data"]]).reshape(x["shape"])


def flat(value):
    """The items of a tuple or of a list of arrays; a list of numbers is an array."""
    if isinstance(value, list) and all(isinstance(item, int | float | list | tuple) for item in value):
        return [np.array(value, float)]
    return [x for item in value for x in flat(item)] if isinstance(value, list | tuple) else [value]


def results(source, space):
    """What the expressions of a text give, by Python itself: arrays, or None."""
    space = {name: x.copy() if isinstance(x, np.ndarray) else x for name, x in space.items()}
    found = []
    with np.errstate(all="ignore"):
        for statement in ast.parse(source).body:
            if isinstance(statement, ast.Expr):
                found.extend(flat(tuple(eval(f"[{ast.unparse(statement)}]", space))))
            else:
                exec(ast.unparse(statement), space)
    return found


rng = np.random.default_rng(0)
X, W, B, G = (rng.standard_normal(shape) for shape in [(3, 4), (4, 5), (5,), (3, 5)])
LEARNER = {
    "x": X,
    "w": W,
    "b": B,
    "g": G,
    "q": rng.standard_normal((2, 3, 4)),
    "p": rng.uniform(0.5, 2, (3, 4)),
    "s": np.array(0.75),
    "n": 3,
    "eps": 1e-5,
    "square": rng.standard_normal((3, 3)),
    "ids": np.array([2, 0, 2]),
    "none": None,
    "heads": 2,
    "text": "ij,jk->ik",
}

EXPRESSIONS = """
-x**2; 2**-1; -2**2; 2**3**2; +x; - -x; 2 * -x; x**2 ** 0.5
x @ w + b; g @ w.T; x.T @ g; g.sum(axis=0); g.sum(0); x @ w @ b; 2 * x @ w; -x @ w; x @ -w; x[0] @ w; q @ w; w.T @ q[0].T
q @ q.swapaxes(-1, -2); q @ np.swapaxes(q, 1, 2); np.matmul(q, w); np.dot(x, w); np.dot(q, w); x.dot(w); np.dot(b, b)
np.dot(2, x)
np.dot(x, q.transpose(0, 2, 1)); np.dot(3, 4)
x[0]; x[-1]; x[:, 1]; x[1:, ::2]; x[::-1]; x[:, ::-1]; x[..., 0]; x[..., None]; x[None]; x[:, None, 1]; x[5:]; x[-2:, :-1]
x[2:0:-1]; x[1:-9:-1]; q[:, [0, 1], None, [0, 2]]
x[[0, 2]]; x[:, [1, 1, 3]]; x[ids]; x[[0, 1], [2, 3]]; x[ids, 1]; x[ids[:, None], [0, 3]]; q[0, :, [0, 2]]; q[:, 0, [0, 2]]
q[[0, 1], :, 1]
q[..., ids]; q[:, ids][0]; x[x > 0]; x[x[:, 0] > 0]; x[~(x > 0)]; q[q[..., 0] > 0]; q[:, x > 0]; q[q > 0]; x[(0, 1)]
x[np.argmax(x[:, 0])]; x[ids == 2]; x[:, b[:4] > 0]
x[0, 0]; q[1][2][3]; q[1, 2, 3]; x[ids.shape[0] - 1]; q[..., 1:3, None]; q[0, ..., 0]; x[np.arange(3), ids]
x > 0; x >= s; x == x; x != 0; (x > 0) & (x < 1); (x > 0) | (x < -1); (x > 0) ^ (x > 1); ~(x > 0); (x > 0) + (x < 1)
(x > 0) * g[:, :4]
1 < n < 5; 1 < n > 7; 5 < n < 9; n == 3 and n > 1; not n; none is None; none is not None; n is None; 0 or 5; n and 4
1 if n else 2; 4 > n > 3.5
2 in (1, 2); 5 not in [1]
(x > 0).sum(); (x > 0).mean(axis=0); np.where(x > 0, x, 0); np.where(x > 0, g[:, :4], -1); np.where(x > 0, True, False)
x * (x > 0)
np.sum(x); x.sum(); x.sum(axis=1, keepdims=True); np.sum(q, axis=(0, 2)); q.mean(axis=-1); q.max(axis=(1, 2)); q.min(0)
x.var(axis=1); x.std(ddof=1)
np.mean(x, -1, keepdims=True); x - x.mean(axis=-1, keepdims=True); np.prod(x, axis=0); x.argmax(); x.argmax(axis=1)
np.argmin(x, axis=0)
np.any(x > 0, axis=1); np.all(x > 0); np.cumsum(x); np.cumsum(x, axis=1); np.argsort(x); np.argsort(x, axis=0); np.sort(x)
x.argsort(axis=-1); np.sort(np.log(x)); np.cumsum(q, axis=0)
np.exp(x); np.log(p); np.sqrt(p); np.tanh(x); np.sin(x) + np.cos(x); np.abs(x); abs(x); np.sign(x); np.square(x)
np.power(p, 1.5); p ** x; 2 ** x
np.maximum(x, 0); np.minimum(x, p); np.clip(x, -0.5, 0.5); x.clip(0, None); np.add(x, 1); np.subtract(1, x); np.multiply(x, p)
np.divide(x, p)
x // 0.5; x % 0.5; -7 // 2; -7 % 3; 7 % -3; 7.5 // 2; x % -0.7; np.mod(x, p); np.floor(x); np.ceil(x); np.round(x, 1)
np.round(2.5); np.round(-0.5)
np.zeros((2, 3)); np.ones(4); np.zeros_like(x); np.ones_like(x); np.full((2, 2), 7.0); np.arange(5); np.arange(2, 9, 3)
np.arange(1, 0, -0.25)
np.eye(3); np.eye(2, 3); np.eye(3, k=1); np.tri(3); np.tri(3, 4, -1); np.eye(5)[ids]; np.tril(x); np.triu(q, 1); np.diag(b)
np.diag(square)
x.reshape(4, 3); x.reshape(-1); x.reshape((2, -1)); np.reshape(x, (6, 2)); q.reshape(-1, q.shape[-1]); x.ravel(); np.ravel(q)
q.reshape(2, 12).T
x.T; q.T; q.transpose(0, 2, 1); q.transpose((2, 0, 1)); np.transpose(q, (1, 0, 2)); np.transpose(x); np.swapaxes(q, 0, -1)
np.moveaxis(q, 0, -1)
np.squeeze(x[:1]); np.squeeze(x[:, None], 1); np.expand_dims(x, 1); np.expand_dims(x, (0, -1)); np.broadcast_to(b, (3, 5))
np.flip(x, 1); np.flip(q)
np.concatenate([x, p]); np.concatenate((x, g), axis=1); np.stack([x, p]); np.stack((x, p), axis=-1); np.split(x, 2, axis=1)
np.split(b, [1, 3])
np.outer(b, b); b[:, None] * b; np.einsum('ij,jk->ik', x, w); np.einsum("ij,ij->i", x, p); np.einsum('ij->j', x)
np.einsum('ij->', x); np.einsum('ij', x)
np.einsum('ii->i', square); np.einsum('ii', square); np.einsum(text, x, w); np.einsum('...ij,jk->...ik', q, w)
np.einsum('ba,bc', x, g); np.take(x, [0, 2], 1)
np.repeat(x, 2, axis=0); np.repeat(b, 3); np.tile(b, (2, 2)); np.tile(x, 2); np.take(x, 5); np.array([1, 2, 3]) * 2
np.array([[1, 2], [3, 4]]) @ [1, -1]
x.shape; x.ndim; x.size; x.shape[-1]; x.shape[:-1]; (*q.shape[:-1], 6); x.shape + (1,); 2 * (1,); len(x); x.shape == (3, 4)
q.shape[0] * q.shape[1]
np.pi; np.e; np.inf; -np.inf; np.nan; math.sqrt(n); math.pi; np.newaxis; x[np.newaxis].shape; 1e-5; .5; 2.; 1_000; 1.5e3
0.1 + 0.2; 7 / 2; True + True
[a % n for a in range(-2, 3)]; [a * b for a in (1, 2) for b in (3, 4)]; [a for a in range(6) if a % 2]; sum([x, p])
sum(a for a in (1, 2)); [i for i, _ in enumerate(b)]
(lambda a: a * 2)(x); (lambda a, k=2: a * k)(x, k=3); (lambda *all: len(all))(1, 2); np.sum(*[x, 1]); max(1, 2); min([3, 2])
int(2.7); float(n); abs(-2); len([])
x.astype(float); (x > 0).astype(float) - 1; x.astype(int); np.eye(2, dtype=bool); np.zeros(2, dtype=bool)
np.tri(2, dtype=bool); x.dot(w).shape; x.sum().item()
s * x; s + 1; x / s; x * eps; np.float64(2) * x; x - 1; 1 - x; 1 / p; x.copy(); np.isfinite(p / 0); p / 0; np.log(0 * p)
np.logaddexp(0, x); np.expm1(x)
np.allclose(x, x + 1e-12); np.array_equal(x, p); np.logical_and(x > 0, p > 1); np.logical_not(x > 0); np.isnan(x)
np.reciprocal(p)
"""
PROGRAMS = [
    "h = x @ w; np.tanh(h); g * (1 - np.tanh(h) ** 2)",
    "mean = lambda a: np.mean(a, axis=-1, keepdims=True)\nc = x - mean(x)\nc / np.sqrt(mean(c * c) + eps)",
    "dz = g * 2  # the chain rule\n\ndw = x.T @ dz;  # a comment; with a semicolon\ndw\ndz.sum(axis=0)",
    "a, c = x, p; a * c",
    "t = (1,\n     2,\n     3)\nt[1:]",
    "m = np.max(x, axis=-1, keepdims=True); e = np.exp(x - m); e / e.sum(axis=-1, keepdims=True)",
    "total = 0 * x; total += x; total *= 2; total -= p; total **= 2; total",
    "k = 2\nf = lambda a: a * k\nk = 3\nf(x)",
    "None; g; None",
    "*[x[i] for i in range(3)], g",
    "x; p,",
    "",
    "\n\n",
    "None if x.shape[0] != 3 else x[0], p",
    "y = x \\\n  + 1; y",
    "[[1, 2], [3, 4]]",
    "(\n x\n +\n 1 # inside\n)",
]
"""Texts that a learner may type; each piece of EXPRESSIONS is one of its own, cut at "; "."""


def texts():
    pieces = [piece.strip() for line in EXPRESSIONS.strip().splitlines() for piece in line.split("; ")]
    return pieces + PROGRAMS


EVERY = [
    (op, number, i) for op, number in SAMPLES for i, x in enumerate(bound(op, number)[0]) if x is not None and op.formula(i)
]
"""Every formula of every sample."""
NOT_THERE = re.compile(r"linalg|correlate|cofactors|inverse|right_side|vectors|svd|\bfactors\(|sinc_slope")
LACKING = [case for case in EVERY if NOT_THERE.search(case[0].formula(case[2]).code)]
"""Those that need linear algebra, or a series, which the page does not have."""
FORMULAS = [case for case in EVERY if case not in LACKING]


def formula_case(op, number, i):
    """The names that a formula sees, and what Python makes of it."""
    arrays, params, names = bound(op, number)
    out, _ = op.run(arrays, params)
    own = {**names, "g": np.random.default_rng(3).standard_normal(out.shape), "out": out}
    (found,) = results(op.formula(i).code, {**vars(sys.modules[op.__module__]), **own, "np": np})
    if isinstance(found, Scatter):
        whole = np.zeros(arrays[i].shape)
        found.add_to(whole)
        found = whole
    return {name: value for name, value in own.items() if not isinstance(value, type)}, [found]


class Fuzz:
    """Random expressions: of floats, or masks."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def floats(self, depth):
        if depth == 0:
            return self.pick("x", "x", "p", "p", "s", "x[0]", "q[1]", "x[:, :1]", "square[:, :1]", "q", "g", "w", "b", "x.T")
        a, b, fold = self.floats(depth - 1), self.floats(depth - 1), self.pick("sum", "mean", "max", "min")
        return self.pick(
            f"({a} {self.pick('+', '-', '*', '/')} {b})",
            f"({a} @ {b})",
            f"np.{self.pick('tanh', 'sin', 'cos', 'abs', 'square', 'sign', 'negative')}({a})",
            f"np.{self.pick('maximum', 'minimum', 'multiply')}({a}, {b})",
            f"np.{fold}({a}, axis={self.pick(None, 0, -1, 1, (0, 1))}, keepdims={self.pick(True, False)})",
            f"np.where({self.mask(depth - 1)}, {a}, {b})",
            f"({a}){self.pick('.T', '[0]', '[..., -1]', '[:, None]', '[::-1]', '[None]', '.reshape(-1)', '[[0, 1]]')}",
            f"({a})[{self.pick('x', 'b', 'square[0]', 'q')} > 0]",
            f"-{a}**2",
            f"np.swapaxes({a}, {self.pick(0, 1)}, -1)",
        )

    def mask(self, depth):
        a, b = self.floats(max(depth - 1, 0)), self.floats(0)
        one = f"({a} {self.pick('>', '<', '>=', '!=')} {b})"
        return self.pick(one, one, f"~{one}", f"({one} {self.pick('&', '|', '^')} ({b} > 0))")


def fuzz_cases():
    cases = []
    for seed in range(800):
        source = Fuzz(seed).floats(1 + seed % 3)
        try:
            cases.append((source, results(source, {**LEARNER, "np": np})))
        except (ValueError, IndexError, TypeError, AttributeError):
            cases.append((source, None))
    return cases


def evaluation(source, names):
    return {"call": "evaluate", "args": [source, encoded(names)]}


ERRORS = {
    "x @ g": "matmul: (3, 4) @ (3, 5): inner dimensions 4 and 3 differ",
    "b @ x": "matmul: (5,) @ (3, 4): inner dimensions 5 and 3 differ",
    "s @ x": "matmul: () @ (3, 4): a single number has no axis to sum over; multiply it with *",
    "x + b": "operands of shapes (3, 4) and (5,) do not broadcast",
    "x2 + 1": "x2 is not defined; there are x, b, g, s",
    "y = x; z": "z is not defined; there are y, x, b, g, s",
    "exp(x)": "exp is not defined; did you mean np.exp?",
    "np.softmax(x)": "np has no 'softmax' here",
    "x.grad": "an array has no attribute 'grad' here; it has T, shape, ndim, size, sum, mean, reshape, transpose and more",
    "x + (1, 2)": "+ does not work on a tuple",
    "x + None": "+ does not work on None; ask with: is None",
    "(x + 1))": "unexpected ')' at column 8",
    "*(x, b)": "a * is only possible in a list, a tuple or the arguments of a call",
    "x +": "unexpected end at column 4",
    "x + * b": "unexpected '*' at column 5",
    "2x": "unexpected 'x' at column 2",
    "y = 1\nx $ y": "unexpected $ at line 2, column 3",
    "(x + 1": "the '(' at column 1 is never closed",
    "x[0] = 1": "what is assigned to at column 1 must be a name; arrays are not changed in place here",
    "def f(x): x": "unexpected 'def' at column 1",
    "2(x)": "a number is not a function and cannot be called; is a * missing?",
    "x[3]": "index 3 is out of bounds for axis 0 with size 3",
    "x[0, 1, 2]": "too many indices: the array is 2-dimensional, but 3 were indexed",
    "x[b > 0]": "boolean index of shape (5,) does not match (3,)",
    "x[0.5]": "only whole numbers, slices, None, ... and integer or boolean arrays are valid indices",
    "x.reshape(5, 2)": "cannot reshape array of shape (3, 4), size 12, into shape (5, 2)",
    "x.sum(axis=2)": "axis 2 is out of bounds for array of dimension 2",
    "x.sum(axes=0)": "sum() has no argument 'axes'; it takes x, axis, keepdims",
    "np.where(x)[2]": "index 2 is out of range: a tuple of 2",
    "1 if x > 0 else 2": "the truth value of an array of shape (3, 4) is ambiguous: use np.where, or & and | between masks",
    "x ^ 2": "^ is for masks, like (x > 0) ^ (x < 1); a power is written **",
    "-(x > 0)": "- does not work on booleans; use ~ to turn them around",
    "(x > 0) - (b[0] > 0)": "- does not work on two arrays of booleans; use ^ or .astype(float)",
    "1 / 0": "division by zero",
    "max(())": "there is nothing to choose from",
    "len()": "len() needs items",
    "np.diag(s)": "diag: the array has shape (); it takes one or two axes",
    "np.add.at(x, 0, 1)": "np.add.at changes an array in place, which this page cannot; use scatter(g, x.shape, index)",
    "np.zeros((10000, 1000))": "an array of shape (10000, 1000) has 10000000 entries; the most here is 4000000",
    "np.ones((2000, 1)) * np.ones(3000)": "an array of shape (2000, 3000) has 6000000 entries; the most here is 4000000",
    "f = lambda n: f(n + 1); f(0)": "this nests too deeply, or calls itself without end",
    "f = lambda n: n if n < 1 else f(n - 1) + f(n - 1); f(60)": "this is more work than a page should do; try smaller arrays",
    "np.ones((1500, 1500)) @ np.ones((1500, 1500))": "this is more work than a page should do; try smaller arrays",
    "(" * 500 + "x" + ")" * 500: "this nests too deeply",
    "np.sum": "this gives the function sum, not an array; call it",
    "constructor": "constructor is not defined; there are x, b, g, s",
    "__proto__": "__proto__ is not defined; there are x, b, g, s",
    "np.constructor": "np has no 'constructor' here",
    "np.sum.constructor": "the function sum has no attribute 'constructor'",
    "x.shape.length": "a tuple has no attribute 'length'",
    "x.data": "an array has no attribute 'data' here; it has T, shape, ndim, size, sum, mean, reshape, transpose and more",
    "'a'.length": "a text has no attribute 'length'",
    "np.einsum('ij,jk', x)": "einsum: 'ij,jk' names 2 operands, but 1 are given",
}

A, C, Q, V = X, rng.standard_normal((3, 4)), LEARNER["q"], rng.standard_normal(4)
MASK = A > 0
PARTS = [rng.standard_normal((3, 4)) for _ in range(3)]
TWO_ROWS = np.where(np.arange(3)[:, None] < 2, A, C)
ONE_COLUMN = np.where(np.arange(4) == 1, A, C)
NOT_A_NUMBER = np.where(np.arange(4) == 1, np.nan, A)
VERDICTS = [  # an answer, the truth, about, the kind, and words of the text
    (A, A, {}, "right", "Right."),
    (A.astype(np.float32), A, {}, "right", "Right."),
    (A * (1 + 5e-5), A, {}, "right", "Right."),
    (A * (1 + 5e-5), A, {"tolerance": 1e-6}, "factor", "1.00005 times"),
    (0 * A, 0 * A, {}, "right", "Right."),
    (0 * A + 1e-17, 0 * A, {}, "right", "Right."),
    (None, None, {}, "right", "no gradient"),
    (np.zeros((0, 3)), np.zeros((0, 3)), {}, "right", "Right."),
    (NOT_A_NUMBER, NOT_A_NUMBER, {}, "right", "Right."),
    (A, None, {}, "wrong", "None"),
    (None, A, {}, "wrong", "of shape (3, 4)"),
    (NOT_A_NUMBER, A, {}, "wrong", "not a number at [0, 1]"),
    (A, NOT_A_NUMBER, {}, "partly", "9 of 12"),
    (A.T, A, {}, "transposed", "shape (4, 3), the gradient (3, 4)"),
    (A[:, :3].T, A[:, :3], {}, "transposed", "It is transposed."),
    (-A[:, :3].T, A[:, :3], {}, "transposed", "and the sign is wrong"),
    (2 * A.T, A, {}, "transposed", "and then it is 2 times what it should be"),
    (Q.swapaxes(1, 2), Q, {}, "transposed", "last two axes"),
    (Q.T, Q, {}, "transposed", "all axes reversed"),
    (Q, Q.sum((0, 1)), {}, "unsummed", "axes 0 and 1 must be summed over"),
    (Q, Q.sum((0, 1)), {"before": Q}, "unsummed", "before broadcasting is undone: axes 0 and 1"),
    (A, A.sum(1, keepdims=True), {}, "unsummed", "axis 1 must be summed over"),
    (A, A.sum(1), {}, "unsummed", "axis 1 must be summed over"),
    (A, A.sum(), {}, "unsummed", "axes 0 and 1 must be summed over"),
    (-A, A.sum(0), {}, "unsummed", "axis 0 must be summed over, and the sign is wrong"),
    (A / 3, A.sum(0), {}, "unsummed", "1/3 times what it should be"),
    (-A, A, {}, "sign", "minus the gradient"),
    (2 * A, A, {}, "factor", "is 2 times"),
    (A / 7, A, {}, "factor", "1/7 times"),
    (A / 8, A, {}, "factor", "1/8 times"),
    (-A / 2, A, {}, "factor", "-1/2 times"),
    (A * np.sqrt(8), A, {}, "factor", "sqrt(8) times"),
    (A / np.sqrt(5), A, {}, "factor", "1/sqrt(5) times"),
    (A * 2 / 3, A, {}, "factor", "2/3 times"),
    (A * 3.2718, A, {}, "factor", "3.272 times"),
    (A.mean(0), A.sum(0), {"before": A}, "factor", "1/3 times what it should be. 3 is the length of axis 0"),
    (Q.mean((0, 1)), Q.sum((0, 1)), {"before": Q}, "factor", "6 is the length of axes 0 and 1 together"),
    (PARTS[0], sum(PARTS), {"parts": PARTS}, "accumulate", "from use 1. There are 2 more uses"),
    (PARTS[0] + PARTS[2], sum(PARTS), {"parts": PARTS}, "accumulate", "from use 1 and use 3. There is one more use"),
    (A, 2 * A, {"parts": [A, A]}, "accumulate", "There is one more use"),
    (2 * A, 2 * A, {"parts": [A, A]}, "right", "Right."),
    (TWO_ROWS, A, {}, "partly", "8 of 12 entries agree: rows 0 and 1. The first that differs"),
    (ONE_COLUMN, A, {}, "partly", "3 of 12 entries agree: column 1. The first that differs: you have"),
    (A, A * MASK, {}, "partly", f"{MASK.sum()} of 12 entries agree"),
    (C, A, {}, "wrong", "No entry agrees"),
    (C * MASK, A * MASK, {}, "wrong", f"The {(~MASK).sum()} zeros are in place, the others not right"),
    (0 * A, A, {}, "wrong", "0 everywhere"),
    (A[0, 0] * 1.37, A[0, 0], {}, "wrong", "You have 0.1723, and it is 0.1257."),
    (A[0, 0] * 2, A[0, 0], {}, "factor", "2 times"),
    (A, Q, {}, "shape", "shape (3, 4), the gradient (2, 3, 4)"),
    (C, A.T, {}, "shape", "shape (3, 4), the gradient (4, 3)"),
    (V[None], V, {}, "shape", "numbers are right, but in shape (1, 4)"),
    (A.reshape(2, 6), A, {}, "shape", "numbers are right, but in shape (2, 6)"),
    (A.sum(0), A, {}, "shape", "Summed too far"),
    (V, np.ones((3, 1)) * V, {}, "shape", "repeat them along axis 0"),
]
SHAPES = [
    ((3, 4), (3, 4), "right", "Right."),
    ((), (), "right", "Right."),
    ((4, 3), (3, 4), "transposed", "another order"),
    ((2, 3, 4), (4,), "unsummed", "axes 0 and 1 must be summed over"),
    ((3, 4), (3, 1), "unsummed", "axis 1 must be summed over"),
    ((4,), (1, 4), "wrong", "axes of length 1"),
    ((3,), (3, 4), "wrong", "1 axis; it should have 2"),
    ((3, 5), (3, 4), "wrong", "wrong in axis 1"),
    ((2.5,), (2,), "wrong", "whole numbers"),
]
NUMBERS = [
    ("0.31", 0.3127, {}, "right", "0.3127"),
    ("0.313", 0.3127, {}, "right", "0.3127"),
    ("3.1e-1", 0.3127, {}, "right", "0.3127"),
    (0.3127, 0.3127, {}, "right", "Right."),
    (np.float64(0.3127), 0.3127, {}, "right", "Right."),
    ("-12", -12, {}, "right", "Right."),
    ("0", 0, {}, "right", "Right."),
    ("0.5", 0.5, {}, "right", "Right."),
    ("0.3", 0.3127, {}, "partly", "at least two"),
    ("0.312", 0.3127, {}, "partly", "last digit"),
    ("-0.31", 0.3127, {}, "sign", "sign"),
    ("0.63", 0.3127, {}, "factor", "2 times"),
    ("-0.156", 0.3127, {}, "factor", "-1/2 times"),
    ("0.21", 0.3127, {"parts": [0.21, 0.1027]}, "accumulate", "1 of the 2 contributions"),
    ("0.44", 0.3127, {}, "wrong", "0.44"),
    ("00", 0.3127, {}, "wrong", "00"),
    ("a third", 0.3127, {}, "wrong", "'a third' is not a number"),
    ("", 0.3127, {}, "wrong", "not a number"),
]

TEXTS, FUZZED = texts(), fuzz_cases()
ERROR_NAMES = {name: LEARNER[name] for name in ("x", "b", "g", "s")}


def all_cases():
    """What the page is to compute, by group."""
    return {
        "formulas": [evaluation(op.formula(i).code, formula_case(op, number, i)[0]) for op, number, i in FORMULAS],
        "lacking": [evaluation(op.formula(i).code, formula_case(op, number, i)[0]) for op, number, i in LACKING],
        "texts": [evaluation(source, LEARNER) for source in TEXTS],
        "fuzz": [evaluation(source, LEARNER) for source, _ in FUZZED],
        "errors": [evaluation(source, ERROR_NAMES) for source in ERRORS],
        "verdicts": [{"call": "verdict", "args": [encoded(x) for x in case[:3]]} for case in VERDICTS],
        "shapes": [{"call": "verdictShape", "args": [encoded(x) for x in case[:2]]} for case in SHAPES],
        "numbers": [
            {"call": "verdictNumber", "args": [encoded(a), encoded(t), encoded(about)]} for a, t, about, _, _ in NUMBERS
        ],
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """What the browser made of all cases."""
    folder = tmp_path_factory.mktemp("lab")
    names = [name for name in SCRIPTS if name.startswith("numpy/") or name == "verdict.js"]
    script = "\n".join((LAB / name).read_text() for name in names)
    (folder / "page.html").write_text(PAGE % (script, json.dumps(all_cases()).replace("<", "\\u003c")))
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --virtual-time-budget=60000 --dump-dom"
    )
    command = [chromium(), *flags.split(), f"--user-data-dir={folder / 'profile'}", (folder / "page.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return json.loads(html.unescape(dom[dom.index("<body>") + 6 : dom.index("</body>")]))


def check(answer, expected, rtol, atol):
    assert "value" in answer, answer
    found = [decoded(x) for x in answer["value"]]
    assert len(found) == len(expected)
    for x, right in zip(found, expected, strict=True):
        if right is None:
            assert x is None
        else:
            right = np.asarray(right, float)
            assert x.shape == right.shape
            np.testing.assert_allclose(x, right, rtol=rtol, atol=atol)


def test_the_page_has_no_complaints(page):
    assert page["complaints"] == []
    assert not [answer for group in page["answers"].values() for answer in group if "broken" in answer]


@pytest.mark.parametrize("number", range(len(FORMULAS)), ids=[f"{op.name}({op.samples[n]}), {i}" for op, n, i in FORMULAS])
def test_formulas_give_what_python_makes_of_them(page, number):
    check(page["answers"]["formulas"][number], formula_case(*FORMULAS[number])[1], 1e-12, 1e-13)


def test_what_the_page_lacks_it_says(page):
    missing = "cofactors|inverse|for_right_side|sinc_slope|halved"
    names = rf"^(np has no '(linalg|sinc|correlate)'|({missing}) is not defined|what is assigned to)"
    answers = page["answers"]["lacking"]
    assert [answer for answer in answers if not re.match(names, answer.get("error", ""))] == []


@pytest.mark.parametrize("number", range(len(TEXTS)), ids=TEXTS)
def test_what_a_learner_types_gives_what_python_makes_of_it(page, number):
    check(page["answers"]["texts"][number], results(TEXTS[number], {**LEARNER, "np": np, "math": math}), 1e-12, 1e-13)


def test_random_expressions_give_what_python_makes_of_them(page):
    wrong = {}
    for (source, expected), answer in zip(FUZZED, page["answers"]["fuzz"], strict=True):
        try:
            if expected is None:
                assert "error" in answer, answer
            else:
                check(answer, expected, 1e-9, 1e-11)
        except AssertionError as error:
            wrong[source] = str(error)
    assert not wrong
    assert sum(expected is not None for _, expected in FUZZED) > 250
    assert sum(expected is None for _, expected in FUZZED) > 50


@pytest.mark.parametrize(("number", "source"), list(enumerate(ERRORS)), ids=[source[:60] for source in ERRORS])
def test_what_is_wrong_is_said_in_one_sentence(page, number, source):
    assert page["answers"]["errors"][number] == {"error": ERRORS[source]}


@pytest.mark.parametrize(("group", "cases"), [("verdicts", VERDICTS), ("shapes", SHAPES), ("numbers", NUMBERS)])
def test_verdicts_name_the_mistake(page, group, cases):
    wrong = []
    for answer, (*case, kind, words) in zip(page["answers"][group], cases, strict=True):
        found = answer.get("value", {"kind": "", "text": answer})
        if found["kind"] != kind or words not in found["text"] or found["right"] != (kind == "right"):
            wrong.append((kind, words, found, case))
    assert not wrong
