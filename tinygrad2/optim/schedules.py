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


def warmup_constant(step: int, peak: float, warmup: int, total: int, final: float = 0.0) -> float:
    """Rise linearly to `peak` over the first `warmup` steps, and stay there; `total` and `final` change nothing."""
    return peak * min(1.0, (step + 1) / max(1, warmup))


def warmup_stable_decay(step: int, peak: float, warmup: int, total: int, final: float = 0.0) -> float:
    """Rise linearly to `peak`, stay there, and fall linearly to `final` over the last fifth of the steps.

    (Hu et al., 2024, "MiniCPM", sec. 4.2; the linear fall is that of Hägele et al., 2024.)
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return final + (peak - final) * (1 - _progress(step, max(warmup, total - total // 5), total))


def _progress(step: int, warmup: int, total: int) -> float:
    return min(1.0, max(0, step - warmup) / max(1, total - warmup))
