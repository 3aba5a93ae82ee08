"""What people write in place of a rule, and what is wrong then: to choose from, and to hold a typed rule against."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from tinygrad2.study.formulas import argument_names, code
from tinygrad2.study.lab.catalogue import CATALOGUE
from tinygrad2.study.lab.specialise import replaced, settled, specialised, statements, with_instead
from tinygrad2.study.lab.trials import Trial
from tinygrad2.study.lab.typed import FAULTS, MISSING_G, TYPED
from tinygrad2.types import Array

MOST = 48
"""Mutants of a rule."""

WITHIN = 30
"""Of these, so many with a mistake inside of it."""


def whole(code: str, summed: str | None, accumulate: bool) -> str:
    """A rule with what the engine does with it: the sum that undoes broadcasting, and the one over uses."""
    *steps, last = statements(code)
    last = summed.format(last) if summed else last
    return "; ".join([*steps, *statements(f"before + ({last})" if accumulate else last)])


def mutants(rule: str, summed: str | None, accumulate: bool, trials: Sequence[Trial]) -> tuple[dict[str, str], dict[str, str]]:
    """Programs that are wrong in a way of their own, and what the mistake is; and such in which the shapes do not fit.

    Those that people make come first.
    """
    right = whole(rule, summed, accumulate)
    known = [[trial.truth + (trial.before if accumulate else 0) for trial in trials]]
    found: dict[str, str] = {}
    misfits: dict[str, str] = {}
    for text, mistake in _all(rule, summed, accumulate, trials):
        if len(found) == MOST:
            break
        if text == right or text in found:
            continue
        try:
            answers = [trial.run(text) for trial in trials]
        except ValueError:
            misfits.setdefault(text, mistake)
            continue
        except Exception:  # a mutant need not make sense; then it is none
            continue
        finite = all(np.isfinite(a).all() for a in answers)
        if finite and not any(all(map(_alike, answers, others)) for others in known):
            found[text] = mistake
            known.append(answers)
    return found, misfits


def _all(rule: str, summed: str | None, accumulate: bool, trials: Sequence[Trial]) -> Iterator[tuple[str, str]]:
    value, index = trials[0].value, trials[0].index
    assert value.op is not None
    if summed:
        yield whole(rule, None, accumulate), "not summed: this has the shape from before broadcasting was undone"
        yield whole(rule, summed.replace("np.sum", "np.mean"), accumulate), FAULTS["mean_for_sum"]
        lead = "0, " * (np.ndim(trials[0].g) - value.arrays[index].ndim)
        if lead:
            yield whole(rule, f"({{}})[{lead.rstrip(', ')}]", accumulate), FAULTS["first_row"]
    if accumulate:
        yield whole(rule, summed, False), "forgot to accumulate: what came from other uses of the value is lost"
    for fault in CATALOGUE:
        pair = fault.codes(value).get(index)
        if pair is not None:
            yield whole(specialised(pair[1], trials), summed, accumulate), fault.title
    for text, mistake in dict(enumerate(TYPED.get(value.op.name, ()))).get(index, {}).items():
        yield whole(settled(text, trials[0]), summed, accumulate), mistake
        if accumulate:
            yield whole(settled(text, trials[0]), None, False), mistake
    for other, name in enumerate(argument_names(value)):
        source = code(value, other) if other != index and value.inputs[other] is not None else None
        if source:
            yield whole(specialised(source, trials), None, accumulate), f"this is the gradient of {name}"
            yield whole(specialised(source, trials), None, False), f"this is the gradient of {name}"
    for text, mistake in islice(_within(rule), WITHIN):
        yield whole(text, summed, accumulate), mistake
    *steps, last = statements(rule)
    for text, mistake in _beside(last):
        yield whole("; ".join([*steps, text]), summed, accumulate), mistake
    for axis in ("0", "1", "-1", "(0, 1)") if summed else ():
        yield whole(rule, f"np.sum({{}}, axis={axis})", accumulate), f"summed over axis {axis}, which is not what was broadcast"


def _within(rule: str) -> Iterator[tuple[str, str]]:
    """With one mistake at one place of the program."""
    root = ast.parse(rule)
    for node, parent, name, place in replaced(root):
        for instead, mistake in _mistaken(node):
            yield with_instead(root, parent, name, place, instead), mistake


def _beside(last: str) -> Iterator[tuple[str, str]]:
    """With one thing too much, or another rule in its place."""
    yield f"-({last})", "the sign is wrong"
    for name in ("out", "x", "a"):
        yield f"({last}) * {name}", f"a factor too much: {name}"
        yield f"g * {name}", f"g is multiplied with {name}, which is not the derivative"
    yield f"({last}) / len(g)", "divided by a length: a mean where nothing is averaged"
    yield f"({last}) * 2", "twice what it should be"
    yield f"({last}) + out", "a term too much: out"


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
        case ast.Call(ast.Attribute(ast.Name("np"), "where"), [test, a, b]):
            yield ast.Call(node.func, [test, b, a], []), "the two cases are exchanged"
        case ast.Call(ast.Attribute(_, name), [x, *_], keywords) if any(k.arg == "axis" for k in keywords):
            instead = {"sum": "mean", "mean": "sum"}.get(name)
            if instead:
                yield ast.Call(ast.Attribute(ast.Name("np"), instead), node.args, keywords), f"a {instead} for a {name}"
            yield x, f"the {'softmax' if name == 'spec' else name} is missing"
            along = [ast.keyword("axis", ast.Constant(0)) if k.arg == "axis" else k for k in keywords]
            yield ast.Call(node.func, node.args, along), "along the wrong axis"
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
