"""What people write in place of a rule, and what is wrong then: to choose from, and to hold a typed rule against."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

import numpy as np

from tinygrad2.study.formulas import code
from tinygrad2.study.lab.catalogue import CATALOGUE
from tinygrad2.study.lab.specialise import replaced, specialised, statements, with_instead
from tinygrad2.study.lab.trials import Trial
from tinygrad2.types import Array

MOST = 36
"""Mutants of a rule."""

FAULTS = {fault.key: fault.title for fault in CATALOGUE}

MISSING_G = "the gradient that arrives is missing: this is the local derivative alone"

TYPED = {
    "tanh": {
        "g * (1 - x ** 2)": "tanh' is 1 - tanh(x)^2: square the output, not the input",
        "g * (1 + out ** 2)": "a sign is wrong: tanh' is 1 - tanh^2",
        "g * out": "this multiplies with tanh itself; its derivative is 1 - tanh^2",
        "g / (1 - out ** 2)": "divided by the derivative instead of multiplied",
    },
    "sigmoid": {
        "g * x * (1 - x)": "s (1 - s) is of the output s, not of the input",
        "g * (1 - out)": "half of s (1 - s): the factor s is missing",
        "g * out * (1 + out)": "a sign is wrong: it is s (1 - s)",
    },
    "softmax": {
        "g * out * (1 - out)": "this is the diagonal of softmax's Jacobian: raising one score also lowers the other outputs",
        "out * (g - np.sum(g, axis=-1, keepdims=True))": "the sum over the row lacks the weights: it is the sum of g * out",
        "out * (g - np.mean(g * out, axis=-1, keepdims=True))": "a mean for a sum over the row",
        "out * (g - np.sum(g * out))": "summed over everything instead of along the axis of the softmax",
    },
    "log_softmax": {"g - np.exp(out) * g": FAULTS["softmax_row_sum"], "g * (1 - np.exp(out))": FAULTS["softmax_row_sum"]},
    "exp": {"g * x": "exp' is exp: multiply with the output, not with the input"},
    "log": {
        "g / out": "log' is 1 / x: divide by the input, not by the output",
        "-g / x ** 2": "this is the derivative of 1 / x",
    },
    "sqrt": {
        "g / (2 * x)": "divided by the input: the derivative of sqrt is 1 / (2 sqrt(x))",
        "0.5 * g * out": "multiplied with the root instead of divided by it",
    },
    "square": {"2 * g * out": "2 x is of the input, not of the output"},
    "power": {
        "g * b * out": "the exponent was not lowered by one",
        "g * a ** (b - 1)": "the exponent did not come down as a factor",
        "g * out * np.log(a)": "this is the gradient of the exponent",
    },
    "divide": {
        "g * a / b": "one division by b is missing",
        "g * a / b ** 2": "the sign is wrong: 1 / b falls where b rises",
        "-g * a / b": "one division by b is missing",
        "-g / b ** 2": "the factor a is missing",
        "g * b": "multiplied with b instead of divided by it",
    },
    "multiply": {"g * out": "multiplied with the product instead of with the other factor"},
    "gelu": {"g * (x > 0)": "this is the rule of relu", "g * sigmoid(1.702 * x)": FAULTS["gelu_second_term"]},
    "layer_norm": {
        "g * gain": "the gain alone: the normalisation has a derivative too",
        "g * gain / np.std(x, axis=-1, keepdims=True)": FAULTS["layer_norm_both_means"],
        "g * out": "out is after gain and bias; the gain multiplies what is normalised alone",
        "g * gain * out": "the gain is multiplied with the normalised input, not with itself",
    },
    "mean": {"np.broadcast_to(g, x.shape)": FAULTS["mean_count"], "np.ones_like(x) / x.size": MISSING_G},
    "sum": {"np.broadcast_to(g, x.shape) / x.size": "each entry of a sum has all of g: this is the rule of the mean"},
    "relu": {"g * x": "multiplied with the input: relu's slope is 1 where it is positive", "g": FAULTS["relu_open"]},
    "max": {"np.where(x == out, 1, 0)": MISSING_G},
}
"""By the name of an op: whole rules that are typed from memory."""


def whole(code: str, summed: str | None, accumulate: bool) -> str:
    """A rule with what the engine does with it: the sum that undoes broadcasting, and the one over uses."""
    *steps, last = statements(code)
    last = summed.format(last) if summed else last
    return "; ".join([*steps, *statements(f"before + ({last})" if accumulate else last)])


def mutants(original: str, rule: str, summed: str | None, accumulate: bool, trials: Sequence[Trial]) -> dict[str, str]:
    """Programs that are wrong in a way of their own, and what the mistake is; those that people make come first.

    `original` is the source of the rule and `rule` what is shown of it.
    """
    right = whole(rule, summed, accumulate)
    truths = [trial.truth + (trial.before if accumulate else 0) for trial in trials]
    known = [truths]
    found: dict[str, str] = {}
    for text, mistake in _all(original, rule, summed, accumulate, trials):
        if len(found) == MOST:
            break
        if text == right or text in found:
            continue
        try:
            answers = [trial.run(text) for trial in trials]
        except Exception:  # a mutant need not make sense; then it is none
            continue
        finite = all(np.isfinite(a).all() for a in answers)
        if finite and not any(all(map(_alike, answers, others)) for others in known):
            found[text] = mistake
            known.append(answers)
    return found


def _all(original: str, rule: str, summed: str | None, accumulate: bool, trials: Sequence[Trial]) -> Iterator[tuple[str, str]]:
    value, index = trials[0].value, trials[0].index
    assert value.op is not None
    if summed:
        yield whole(rule, None, accumulate), "not summed: this has the shape from before broadcasting was undone"
        yield whole(rule, summed.replace("np.sum", "np.mean"), accumulate), FAULTS["mean_for_sum"]
        shape = value.arrays[index].shape
        lead = "0, " * (np.ndim(trials[0].g) - len(shape))
        if lead:
            yield whole(rule, f"({{}})[{lead.rstrip(', ')}]", accumulate), FAULTS["first_row"]
    if accumulate:
        yield whole(rule, summed, False), "forgot to accumulate: what came from other uses of the value is lost"
    for fault in CATALOGUE:
        pair = fault.codes(value).get(index)
        if pair is not None and code(value, index) == original:
            yield whole(specialised(pair[1], trials), summed, accumulate), fault.title
    for text, mistake in TYPED.get(value.op.name, {}).items():
        yield whole(text, summed, accumulate), mistake
    *steps, last = statements(rule)
    root = ast.parse(rule)
    for node, parent, name, place in replaced(root):
        for instead, mistake in _mistaken(node):
            yield whole(with_instead(root, parent, name, place, instead), summed, accumulate), mistake
    yield whole("; ".join([*steps, f"-({last})"]), summed, accumulate), "the sign is wrong"
    if summed:
        for text, mistake in _axes(summed):
            yield whole(rule, text, accumulate), mistake
    for more, mistake in {
        "* out": "a factor too much: out",
        "/ len(g)": "divided by a length: a mean where nothing is averaged",
        "* 2": "twice what it should be",
        "+ out": "a term too much: out",
    }.items():
        yield whole("; ".join([*steps, f"({last}) {more}"]), summed, accumulate), mistake


def _axes(summed: str) -> Iterator[tuple[str, str]]:
    for axis in ("0", "1", "-1", "(0, 1)"):
        yield f"np.sum({{}}, axis={axis})", f"summed over axis {axis}, which is not what was broadcast"


def _alike(a: Array, b: Array) -> bool:
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-3, atol=1e-9)


PAIRS = {
    "x": ("out", "g"),
    "out": ("x",),
    "a": ("b", "out"),
    "b": ("a", "out"),
    "q": ("k",),
    "k": ("q",),
    "unit": ("x", "out"),
    "dp": ("ds",),
}
"""Names that are taken for one another."""


def _mistaken(node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """What people write instead of an expression, and what is wrong then."""
    match node:
        case ast.BinOp():
            yield from _mistaken_operation(node.left, node.op, node.right)
        case ast.UnaryOp(ast.USub(), x):
            yield x, "the sign is wrong"
        case ast.Attribute(value, "T") | ast.Call(ast.Attribute(attr="swapaxes"), [value, *_]):
            yield value, "not transposed"
        case ast.Call(ast.Attribute(ast.Name("np"), "sum" | "mean" as name), args, keywords):
            instead = "mean" if name == "sum" else "sum"
            yield ast.Call(ast.Attribute(ast.Name("np"), instead), args, keywords), f"a {instead} for a {name}"
            yield args[0], f"the {name} is missing"
            if any(k.arg == "axis" for k in keywords):
                along = [ast.keyword("axis", ast.Constant(0)) if k.arg == "axis" else k for k in keywords]
                yield ast.Call(node.func, args, along), "along the wrong axis"
        case ast.Call(ast.Attribute(ast.Name("np"), "where"), [test, a, b]):
            yield ast.Call(node.func, [test, b, a], []), "the two cases are exchanged"
        case ast.Name("g"):
            yield ast.Call(ast.Attribute(ast.Name("np"), "ones_like"), [node], []), MISSING_G
            yield ast.BinOp(node, ast.Mult(), node), "g comes twice"
            for name in ("out", "a", "x"):
                yield ast.Name(name), f"{name} stands where g belongs"
        case ast.Name(name) if name in PAIRS:
            for instead in PAIRS[name]:
                yield ast.Name(instead), f"{instead} stands where {name} belongs"


def _mistaken_operation(left: ast.expr, op: ast.operator, right: ast.expr) -> Iterator[tuple[ast.expr, str]]:
    texts = ast.unparse(left), ast.unparse(right)
    match op:
        case ast.MatMult():
            yield ast.BinOp(right, op, left), "the factors of the matrix product are in the wrong order"
            match left, right:
                case ast.Attribute(plain, "T"), _:
                    yield ast.BinOp(plain, op, ast.Attribute(right, "T")), "the other factor is the one to transpose"
                case _, ast.Attribute(plain, "T"):
                    yield ast.BinOp(ast.Attribute(left, "T"), op, plain), "the other factor is the one to transpose"
        case ast.Mult():
            for kept, lost in ((left, texts[1]), (right, texts[0])):
                yield kept, MISSING_G if lost == "g" else f"a factor is missing: {lost}"
            yield ast.BinOp(left, ast.Div(), right), f"divided by {texts[1]} instead of multiplied with it"
        case ast.Div():
            yield left, f"a factor is missing: 1 / {texts[1]}"
            yield ast.BinOp(left, ast.Mult(), right), f"multiplied with {texts[1]} instead of divided by it"
        case ast.Sub() | ast.Add():
            yield left, f"a term is missing: {texts[1]}"
            turned = ast.Add() if isinstance(op, ast.Sub) else ast.Sub()
            yield ast.BinOp(left, turned, right), f"a sign is wrong: that of {texts[1]}"
        case ast.Pow():
            yield left, f"{texts[0]} has lost its power"
