"""Learning rates: plain functions of the step."""

from __future__ import annotations

import math


def warmup_cosine(step: int, peak: float, warmup: int, total: int, final: float = 0.0) -> float:
    """Rise linearly to `peak` over the first `warmup` steps, then fall along half a cosine to `final` at `total`.

    Steps count from 0 (Loshchilov & Hutter, 2017, eq. 5, with a warm-up).
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * _progress(step, warmup, total)))


def warmup_linear(step: int, peak: float, warmup: int, total: int, final: float = 0.0) -> float:
    """Rise linearly to `peak` over the first `warmup` steps, then fall linearly to `final` at `total`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return final + (peak - final) * (1 - _progress(step, warmup, total))


def _progress(step: int, warmup: int, total: int) -> float:
    return min(1.0, (step - warmup) / max(1, total - warmup))
