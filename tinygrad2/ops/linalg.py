"""Products of matrices: matmul with every rank that NumPy allows, and einsum."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2.errors import ShapeError, UnsupportedError
from tinygrad2.ops.op import RULES, Array, Op


class Matmul(Op, of=np.matmul):
    """a @ b. A vector counts as a row on the left and as a column on the right; leading axes broadcast."""

    formula = (
        "A, B, G = as_matrices(a, b, g); G @ np.swapaxes(B, -1, -2); "
        "np.squeeze(np.swapaxes(A, -1, -2) @ G, () if b.ndim > 1 else -1)"
    )
    samples = (
        "normal(2, 3, 4), normal(4, 5)",
        "normal(4), normal(4)",
        "normal(4), normal(2, 4, 3)",
        "normal(2, 3, 4), normal(4)",
        "normal(2, 1, 3, 4), normal(5, 4, 2)",
        "normal(3, 0), normal(0, 2)",
        "normal(0, 3), normal(3, 2)",
        "normal(1, 1), normal(1, 1)",
    )

    @staticmethod
    def forward(a: Array, b: Array) -> Array:
        if np.ndim(a) and np.ndim(b):
            inner = a.shape[-1], b.shape[-2 if b.ndim > 1 else 0]
            if inner[0] != inner[1]:
                raise ShapeError(f"matmul: {a.shape} @ {b.shape}: inner dimensions {inner[0]} and {inner[1]} differ")
        return np.matmul(a, b)

    @staticmethod
    def vjp(g: Array, out: Array, a: Array, b: Array) -> tuple[Array, Array]:
        A, B, G = as_matrices(a, b, g)
        for_b = np.swapaxes(A, -1, -2) @ G
        return G @ np.swapaxes(B, -1, -2), for_b if b.ndim > 1 else for_b[..., 0]


def as_matrices(a: Any, b: Any, g: Any) -> tuple[Any, Any, Any]:
    """The operands and the cotangent of a product, a vector on the left as a row and on the right as a column."""
    row, column = a.ndim == 1, b.ndim == 1
    return (
        np.expand_dims(a, 0) if row else a,
        np.expand_dims(b, -1) if column else b,
        np.expand_dims(g, (-2,) * row + (-1,) * column),
    )


class Einsum(Op):
    """Products of named axes, summed over those that the result does not have."""

    formula = "*einsum_vjp(g, arrays, subscripts)"
    samples = (
        "normal(2, 3), normal(3, 4), subscripts='ij,jk->ik'",
        "normal(2, 3), normal(3), normal(2), subscripts='ij,j,i->'",
        "normal(2, 3, 4), subscripts='ijk->ki'",
        "normal(2, 3, 4), normal(2, 4, 5), subscripts='...ij,...jk->...ik'",
        "normal(1, 3, 4), normal(2, 4, 5), subscripts='...ij,...jk->...ik'",
        "normal(0, 3), normal(3), subscripts='ij,j->i'",
        "normal(), normal(2), subscripts=',i->i'",
    )

    @staticmethod
    def forward(*arrays: Array, subscripts: str) -> Array:
        return np.asarray(np.einsum(_explicit(subscripts, arrays), *arrays))

    @staticmethod
    def vjp(g: Array, out: Array, *arrays: Array, subscripts: str) -> tuple[Array, ...]:
        return tuple(einsum_vjp(g, arrays, subscripts))


def einsum_vjp(g: Any, arrays: Any, subscripts: str) -> list[Any]:
    """For each operand: the product of `g` with the others, in its own axes; an axis it alone had is repeated."""
    terms, result = _explicit(subscripts, arrays).split("->")
    operands = terms.split(",")
    found = []
    for i, (axes, x) in enumerate(zip(operands, arrays, strict=True)):
        others = [term for j, term in enumerate(operands) if j != i]
        known = "".join(a for a in axes if a in "".join(others) + result)
        rest = [y for j, y in enumerate(arrays) if j != i]
        product = np.einsum(f"{','.join([result, *others])}->{known}", g, *rest)
        lengths = dict(zip(known, product.shape, strict=True))
        product = np.reshape(product, tuple(lengths.get(a, 1) for a in axes))
        full = tuple(max(lengths.get(a, 1), n) if n else 0 for a, n in zip(axes, x.shape, strict=True))
        found.append(np.broadcast_to(product, full))
    return found


def _explicit(subscripts: str, arrays: Any) -> str:
    """The subscripts with `->` and with letters for `...`."""
    terms, arrow, result = subscripts.replace(" ", "").partition("->")
    operands = terms.split(",")
    if len(operands) != len(arrays):
        raise ShapeError(f"einsum: {subscripts!r} names {len(operands)} operands, but {len(arrays)} are given")
    if not arrow:
        once = sorted(a for a in set(terms) - set(",.") if terms.count(a) == 1)
        result = ("..." if "..." in terms else "") + "".join(once)
    spare = [a for a in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if a not in subscripts]
    counts = [
        np.ndim(x) - len(term.replace("...", "")) if "..." in term else 0 for term, x in zip(operands, arrays, strict=True)
    ]
    operands = [term.replace("...", "".join(reversed(spare[:n]))) for term, n in zip(operands, counts, strict=True)]
    for term in operands:
        if len(set(term)) < len(term):
            raise UnsupportedError(f"einsum: {term!r} of {subscripts!r} repeats an axis; take the diagonal first")
    return f"{','.join(operands)}->{result.replace('...', ''.join(reversed(spare[: max(counts)])))}"


def _einsum(subscripts: str, *arrays: Any) -> Any:
    return Einsum.call(*arrays, subscripts=subscripts)


matmul = Matmul.call
RULES[np.einsum] = _einsum
