"""Products of matrices: matmul with every rank that NumPy allows, and einsum."""

from __future__ import annotations

import operator
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad2.errors import ShapeError
from tinygrad2.ops.op import RULES, as_array, primitive, wide
from tinygrad2.types import Array

LETTERS = string.ascii_uppercase + string.ascii_lowercase
"""The names of axes, in the order that NumPy gives them numbers."""


def _matmul(a: Array, b: Array) -> Array:
    if np.ndim(a) and np.ndim(b):
        inner = a.shape[-1], b.shape[-2 if b.ndim > 1 else 0]
        if inner[0] != inner[1]:
            raise ShapeError(f"matmul: {a.shape} @ {b.shape}: inner dimensions {inner[0]} and {inner[1]} differ")
    return np.matmul(a, b)


def row(a: Any) -> Any:
    """The left factor of a product as a matrix: a vector is a row."""
    return np.expand_dims(a, 0) if a.ndim == 1 else a


def column(b: Any) -> Any:
    """The right factor of a product as a matrix: a vector is a column."""
    return np.expand_dims(b, -1) if b.ndim == 1 else b


def matrix(g: Any, a_ndim: int, b_ndim: int) -> Any:
    """The cotangent of a product of such factors, as one of the product of their matrices."""
    return np.expand_dims(g, (-2,) * (a_ndim == 1) + (-1,) * (b_ndim == 1))


Matmul = primitive(
    _matmul,
    lambda g, out, a, b: matrix(g, a.ndim, b.ndim) @ np.swapaxes(column(b), -1, -2),
    lambda g, out, a, b: np.squeeze(np.swapaxes(row(a), -1, -2) @ matrix(g, a.ndim, b.ndim), () if b.ndim > 1 else -1),
    name="matmul",
    samples="normal(2, 3, 4), normal(4, 5); normal(4), normal(4); normal(4), normal(2, 4, 3); "
    "normal(2, 3, 4), normal(4); normal(2, 1, 3, 4), normal(5, 4, 2); normal(3, 0), normal(0, 2); "
    "normal(0, 3), normal(3, 2); normal(1, 1), normal(1, 1)",
    of=np.matmul,
)


def _einsum(*arrays: Array, subscripts: str, optimize: Any = False) -> Array:
    return np.asarray(np.einsum(_explicit(subscripts, arrays), *arrays, optimize=optimize))


Einsum = primitive(  # products of named axes, summed over those that the result does not have
    _einsum,
    lambda g, out, i, *arrays, subscripts, optimize=False: einsum_vjp(g, i, arrays, subscripts),
    takes=wide,
    name="einsum",
    samples="normal(2, 3), normal(3, 4), subscripts='ij,jk->ik'; "
    "normal(2, 3), normal(3), normal(2), subscripts='ij,j,i->'; normal(2, 3, 4), subscripts='ijk->ki'; "
    "normal(2, 3, 4), normal(2, 4, 5), subscripts='...ij,...jk->...ik'; "
    "normal(1, 3, 4), normal(2, 4, 5), subscripts='...ij,...jk->...ik'; "
    "normal(0, 3), normal(3), subscripts='ij,j->i'; normal(), normal(2), subscripts=',i->i'",
)


def einsum_vjp(g: Any, i: int, arrays: Any, subscripts: str) -> Any:
    """For operand `i`: the product of `g` with the others, in its own axes; an axis it alone had is repeated."""
    terms, result = _explicit(subscripts, arrays).split("->")
    operands = terms.split(",")
    axes, x = operands[i], arrays[i]
    others = operands[:i] + operands[i + 1 :]
    known = "".join(a for a in axes if a in "".join(others) + result)
    product = np.einsum(f"{','.join([result, *others])}->{known}", g, *arrays[:i], *arrays[i + 1 :], optimize=len(arrays) > 2)
    lengths = dict(zip(known, product.shape, strict=True))
    product = np.reshape(product, tuple(lengths.get(a, 1) for a in axes))
    return np.broadcast_to(product, tuple(max(lengths.get(a, 1), n) if n else 0 for a, n in zip(axes, x.shape, strict=True)))


def _explicit(subscripts: str, arrays: Any) -> str:
    """The subscripts with `->` and with letters for `...`."""
    terms, arrow, result = subscripts.replace(" ", "").partition("->")
    operands = terms.split(",")
    if len(operands) != len(arrays):
        raise ShapeError(f"einsum: {subscripts!r} names {len(operands)} operands, but {len(arrays)} are given")
    if not arrow:
        once = sorted(a for a in set(terms) - set(",.") if terms.count(a) == 1)
        result = ("..." if "..." in terms else "") + "".join(once)
    spare = [a for a in reversed(LETTERS) if a not in subscripts]
    counts = [
        np.ndim(x) - len(term.replace("...", "")) if "..." in term else 0 for term, x in zip(operands, arrays, strict=True)
    ]
    operands = [term.replace("...", "".join(reversed(spare[:n]))) for term, n in zip(operands, counts, strict=True)]
    return f"{','.join(operands)}->{result.replace('...', ''.join(reversed(spare[: max(counts)])))}"


def _in_letters(operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """The subscripts and the arrays of einsum(a, [0, 1], b, [1, 2], [0, 2])."""

    def term(numbers: Any) -> str:
        return "".join(["..." if i is Ellipsis else LETTERS[operator.index(i)] for i in numbers])

    pairs = len(operands) // 2
    terms = ",".join(map(term, operands[1 : 2 * pairs : 2]))
    result = f"->{term(operands[-1])}" if len(operands) % 2 else ""
    return terms + result, list(operands[: 2 * pairs : 2])


def _diagonal(x: Any, term: str) -> tuple[Any, str]:
    """An operand without repeated axes: where a letter comes again, only the entries with equal indices are used."""
    for letter in dict.fromkeys(term):
        places = [i for i, a in enumerate(term) if a == letter]
        if len(places) > 1:
            n = {x.shape[i] for i in places}
            if len(n) > 1:
                raise ShapeError(f"einsum: the axes {letter!r} of {term!r} have lengths {sorted(n)} in shape {x.shape}")
            x = np.transpose(x, [*places, *(i for i in range(x.ndim) if i not in places)])[(np.arange(*n),) * len(places)]
            term = letter + term.replace(letter, "")
    return x, term


def _called_einsum(*operands: Any, optimize: Any = False) -> Any:
    subscripts, arrays = (operands[0], operands[1:]) if isinstance(operands[0], str) else _in_letters(operands)
    arrays = [as_array(x) for x in arrays]
    terms, result = _explicit(subscripts, arrays).split("->")
    pairs = [_diagonal(x, term) for x, term in zip(arrays, terms.split(","), strict=True)]
    if any(term != new for term, (_, new) in zip(terms.split(","), pairs, strict=True)):
        arrays, subscripts = [x for x, _ in pairs], f"{','.join(term for _, term in pairs)}->{result}"
    return Einsum.call(*arrays, subscripts=subscripts, optimize=optimize)


matmul = Matmul.call
RULES[np.einsum] = _called_einsum
