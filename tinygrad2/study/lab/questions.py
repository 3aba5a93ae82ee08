"""What the lab asks of a learner: for every rule the right one, beside such as people mistake for it."""

from __future__ import annotations

import ast
import random
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad2.study.formulas import evaluate
from tinygrad2.study.trace import Contribution
from tinygrad2.types import Array

COUNT = 4
"""Rules to choose from."""


def unbroadcast_code(raw: tuple[int, ...], shape: tuple[int, ...]) -> str | None:
    """How a contribution of one shape is summed to another, as code with {} for the contribution; None if it need not be."""
    if raw == shape:
        return None
    extra = len(raw) - len(shape)
    stretched = [i + extra for i, n in enumerate(shape) if n == 1 and raw[i + extra] != 1]
    axes = [*range(extra), *stretched]
    axis = axes[0] if len(axes) == 1 else tuple(axes)
    if not stretched:
        return f"np.sum({{}}, axis={axis})"
    if not extra:
        return f"np.sum({{}}, axis={axis}, keepdims=True)"
    return f"np.reshape(np.sum({{}}, axis={axis}), {shape})"


def choices(part: Contribution, code: str, g: Array, before: Array | None) -> list[dict[str, Any]]:
    """Programs for the gradient of a value after one more use of it: the right one and up to three that are not.

    In each, `before` is what the value had got until then, if it had. A wrong one says what its mistake is.
    """
    target = part.target.array
    accumulate = before is not None
    summed = unbroadcast_code(np.shape(evaluate(code, part.user, g)), target.shape)
    wrong = []
    if summed:
        wrong.append((_whole(code, None, accumulate), "not summed: this has the shape from before broadcasting was undone"))
    if accumulate:
        wrong.append((_whole(code, summed, False), "forgot to accumulate: what came from other uses of the value is lost"))
    mutants = [(_whole(text, summed, accumulate), mistake) for text, mistake in _mutants(code)]
    random.Random(zlib.crc32(code.encode())).shuffle(mutants)
    right = _whole(code, summed, accumulate)
    found = {right: ""}
    answers: list[Array] = [part.added_to(before)]
    for text, mistake in [*wrong, *mutants]:
        if len(found) == COUNT:
            break
        try:
            with np.errstate(all="ignore"):
                answer = np.asarray(evaluate(text, part.user, g, before=before))
        except ValueError:
            found.setdefault(text, f"{mistake}; the shapes do not even fit")
        except Exception:  # a mutant need not make sense; then it is not offered
            continue
        else:
            known = any(a.shape == answer.shape and np.allclose(a, answer, rtol=1e-3, atol=1e-9) for a in answers)
            if not known and np.isfinite(answer).all():
                found.setdefault(text, mistake)
                answers.append(answer)
    offered = [{"code": text, "mistake": mistake or None} for text, mistake in found.items()]
    random.Random(zlib.crc32(f"{part.user.full_name} {part.index} {code}".encode())).shuffle(offered)
    return offered


def _whole(code: str, summed: str | None, accumulate: bool) -> str:
    """A rule with what the engine does with it: the sum that undoes broadcasting, and the one over uses."""
    *steps, last = _statements(code)
    last = summed.format(last) if summed else last
    return "; ".join([*steps, *_statements(f"before + ({last})" if accumulate else last)])


def _statements(code: str) -> list[str]:
    return [ast.unparse(statement) for statement in ast.parse(code).body]


def _mutants(code: str) -> Iterator[tuple[str, str]]:
    """The same program with one mistake, and what the mistake is."""
    parts = _statements(code)
    yield "; ".join([*parts[:-1], f"-({parts[-1]})"]), "the sign is wrong"
    for i, part in enumerate(parts):
        for node in ast.walk(ast.parse(part)):
            for instead, mistake in _mistaken(node):
                changed = ast.unparse(_Replaced(ast.unparse(node), instead).visit(ast.parse(part)))
                yield "; ".join([*parts[:i], changed, *parts[i + 1 :]]), mistake


class _Replaced(ast.NodeTransformer):
    """Puts another expression where the first of a certain text is."""

    def __init__(self, text: str, instead: ast.expr) -> None:
        self.text, self.instead, self.done = text, instead, False

    def visit(self, node: ast.AST) -> Any:
        is_value = isinstance(node, ast.expr) and not isinstance(getattr(node, "ctx", None), ast.Store)
        if not self.done and is_value and ast.unparse(node) == self.text:
            self.done = True
            return self.instead
        return self.generic_visit(node)


def _mistaken(node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """What people write instead of an expression, and what is wrong then."""
    match node:
        case ast.BinOp(left, ast.MatMult(), right):
            yield ast.BinOp(right, ast.MatMult(), left), "the factors of the matrix product are in the wrong order"
        case ast.BinOp(left, ast.Mult(), right):
            yield left, f"a factor is missing: {ast.unparse(right)}"
            yield right, f"a factor is missing: {ast.unparse(left)}"
        case ast.BinOp(left, ast.Div(), right):
            yield left, f"a factor is missing: 1 / {ast.unparse(right)}"
        case ast.BinOp(left, ast.Sub() | ast.Add(), right):
            yield left, f"a term is missing: {ast.unparse(right)}"
        case ast.Attribute(value, "T") | ast.Call(ast.Attribute(attr="swapaxes"), [value, *_]):
            yield value, "not transposed"
        case ast.Name("g"):
            ones = ast.Call(ast.Attribute(ast.Name("np"), "ones_like"), [node], [])
            yield ones, "the upstream gradient is missing: this is the local derivative alone"
