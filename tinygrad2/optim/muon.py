"""Muon: a matrix moves along its momentum made orthogonal, so that all of its directions move alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from tinygrad2.errors import TinygradError
from tinygrad2.kernels.fast import threads
from tinygrad2.optim.optimizers import AdamW, listed
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array

COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of s -> a s + b s^3 + c s^5, which takes singular values from 0.003 to 1 into 0.68 to 1.2 in five iterations (Jordan)."""


TOGETHER = 5
"""Iterations whose polynomials are multiplied before X is: what X X^T has lost to rounding grows by a^2 in each."""


def orthogonalised(g: Array, iterations: int = 5) -> Array:
    """Nearly U V^T of a matrix U S V^T: its directions kept, and its singular values all made about 1; (M, N) -> (M, N).

    Each Newton-Schulz iteration applies a polynomial to the singular values, by products of matrices alone (Jordan et al.,
    2024). X becomes P X with P = a + b X X^T + c (X X^T)^2, and so X X^T becomes P X X^T P: only the product of all P is
    multiplied by X. A matrix of zeros stays one.
    """
    largest = np.max(np.abs(g), initial=0)
    if not largest:
        return np.zeros_like(g)
    x = g / largest  # whose squares can be summed
    x = np.ascontiguousarray(x.T if g.shape[0] > g.shape[1] else x)  # the product of its rows is the smaller one
    x *= 1 / np.linalg.norm(x)
    for first in range(0, iterations, TOGETHER):
        x = _polynomials(x @ x.T, min(TOGETHER, iterations - first)) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def _polynomials(square: Array, iterations: int) -> Array:
    """The product of the P of some iterations, of X X^T (M, M) before the first one."""
    a, b, c = COEFFICIENTS
    product = None
    for left in reversed(range(iterations)):
        polynomial = c * (square @ square.T)
        polynomial += b * square
        polynomial.reshape(-1)[:: len(square) + 1] += a
        product = polynomial if product is None else polynomial @ product
        if left:
            square = polynomial @ square @ polynomial
    assert product is not None
    return product


class Muon(AdamW):
    """Muon for some matrices, and AdamW for all other parameters (Jordan et al., 2024).

    m = b m + (1 - b) g, u = (1 - b) g + b m, W = W - rate * (max(1, M / N)^0.5 orthogonalised(u) + decay * W), for a matrix W
    (M, N) that is multiplied from the left, x W, as that of a linear layer.

    Args:
        parameters: all that move.
        matrices: those of them that Muon moves; each has two axes. Of a pair (p, n), each of the n equal matrices that stand
            side by side in p is made orthogonal by itself, as those of queries, keys and values should be. Embeddings and the
            head are better left to AdamW.
        matrix_lr: their learning rate where that of the others is `lr`: when `lr` is set anew, theirs changes in proportion.
        momentum: b.
        iterations: of Newton-Schulz; fewer are cheaper, and leave small singular values smaller.
        lr, betas, eps: of AdamW.
        weight_decay: of all with two axes or more.

    Raises TinygradError for one of `matrices` that is not among the parameters or has other axes.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        matrices: Iterable[Tensor | tuple[Tensor, int]],
        lr: float = 1e-3,
        matrix_lr: float = 0.02,
        momentum: float = 0.95,
        iterations: int = 5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        given = [one if isinstance(one, tuple) else (one, 1) for one in listed("Muon", matrices, "matrices")]
        for pair in given:
            if len(pair) != 2:
                raise TinygradError(f"Muon: a tuple of {len(pair)} is among the matrices; give a matrix, or (matrix, how many)")
        pairs: list[tuple[Tensor, int]] = given
        self.side_by_side = {id(p): n for p, n in pairs}
        for i, (p, _) in enumerate(pairs):
            if any(p is other for other, _ in pairs[:i]):
                raise TinygradError(f"Muon: the matrix of shape {p.shape} is given twice; give each once")
        super().__init__(parameters, lr, betas, eps, weight_decay)
        known = set(map(id, self.parameters))
        for p, n in pairs:
            if id(p) not in known or p.ndim != 2:
                why = "does not have two axes: leave it to AdamW" if id(p) in known else "is not among the parameters"
                raise TinygradError(f"Muon: the matrix of shape {p.shape} {why}")
            if type(n) is not int or n < 1 or p.shape[1] % n:
                raise TinygradError(f"Muon: {n!r} equal matrices do not stand side by side in one of shape {p.shape}")
        if not (lr > 0 and matrix_lr > 0):
            raise TinygradError(f"Muon: lr={lr!r} and matrix_lr={matrix_lr!r} must be above 0; their proportion is kept")
        self.proportion, self.momentum, self.iterations = matrix_lr / lr, momentum, iterations

    def slots_of(self, p: Tensor) -> tuple[str, ...]:
        return ("momentum",) if id(p) in self.side_by_side else super().slots_of(p)

    def each(self, which: list[int], move: Callable[[int], None]) -> None:
        mine = [i for i in which if "momentum" in self.state[i]]
        super().each([i for i in which if "momentum" not in self.state[i]], move)
        threads.share(lambda part: super(Muon, self).each(mine[part], move), len(mine))

    def apply_single(self, p: Array, g: Array, state: dict[str, Array], *, i: int, scale: float) -> None:
        if "momentum" not in state:
            return super().apply_single(p, g, state, i=i, scale=scale)
        momentum, b, one = state["momentum"], self.momentum, self.parameters[i]
        fresh = (1 - b) * scale * g
        momentum *= b
        momentum += fresh
        parts = np.split((fresh + b * momentum).reshape(one.shape), self.side_by_side[id(one)], axis=1)
        update = np.concatenate([orthogonalised(part, self.iterations) for part in parts], axis=1)
        M, N = parts[0].shape
        rate = self.proportion * self.lr
        p *= 1 - rate * self.weight_decay
        p -= rate * math.sqrt(max(1, M / max(N, 1))) * update.reshape(-1)
        return None
