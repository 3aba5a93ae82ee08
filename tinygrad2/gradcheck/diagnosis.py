"""What a wrong Jacobian looks like, and where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygrad2.gradcheck.subject import Flat
from tinygrad2.types import Array


@dataclass(frozen=True)
class Findings:
    """All that a check has found out: of each input the two Jacobians, (outputs, entries), and where they disagree."""

    flat: Flat
    base: Array
    analytic: list[Array]
    numeric: list[Array]
    wrong: list[Array]


def diagnosis(findings: Findings, k: int) -> str:
    """The usual mistake that a wrong Jacobian, (outputs, entries), looks like."""
    analytic, numeric, shape = findings.analytic[k], findings.numeric[k], findings.flat.case.inputs[k].shape

    def same(a: Array, b: Array) -> bool:
        return bool(np.allclose(a, b, rtol=1e-4, atol=1e-6 * np.abs(numeric).max()))

    if not np.isfinite(analytic).all():
        return "not finite"
    if not analytic.any():
        return "always zero: nothing arrives here"
    if same(analytic, -numeric):
        return "the sign is wrong"
    if len(shape) == 2 and shape[0] == shape[1]:
        turned = analytic.reshape(-1, *shape).swapaxes(1, 2).reshape(analytic.shape)
        if same(turned, numeric):
            return "transposed"
    ratio = float(np.sum(analytic * numeric) / np.sum(numeric * numeric)) if numeric.any() else 0.0
    if ratio and same(analytic, ratio * numeric):
        parts = round(1 / ratio) if abs(1 / ratio - round(1 / ratio)) < 1e-3 and abs(ratio) < 0.9 else 0
        hint = f": as if one of {parts} uses were kept, = for +=, or a mean for a sum" if parts > 1 else ""
        return f"off by a factor of {ratio:.6g}{hint}"
    there = np.abs(analytic) > 1e-12 * np.abs(numeric).max()
    if same(np.where(there, numeric, 0), analytic):
        return "some contributions are missing: not accumulated, or a sum over an axis left out"
    wrong = ~np.isclose(analytic, numeric, rtol=1e-4, atol=1e-6 * np.abs(numeric).max())
    return f"{int(wrong.sum())} of {wrong.size} derivatives differ"
