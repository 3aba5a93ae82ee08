"""An array in a few letters: its numbers, or what is typical of them."""

from __future__ import annotations

from typing import Any

import numpy as np


def summary(array: Any, room: int) -> str:
    """All numbers if there are up to six and they fit in that many letters, or their mean and standard deviation."""
    x = np.asarray(array)
    if x.size == 0:
        return "empty"
    if x.size <= 6:
        text = ", ".join(_number(float(a)) for a in x.reshape(-1))
        if len(text) <= room:
            return text
    with np.errstate(all="ignore"):
        mean, deviation = float(np.mean(x, dtype=np.float64)), float(np.std(x, dtype=np.float64))
    return f"{_number(0.0 if abs(mean) < 1e-4 * deviation else mean)} ± {_number(deviation, 2)}"


def _number(x: float, digits: int = 3) -> str:
    """1.23, or 1.2e−5 where that is shorter."""
    text = f"{x:.{digits}g}" if x == 0 or abs(x) >= 1e-3 else f"{x:.{digits - 1}e}"
    mantissa, _, exponent = text.partition("e")
    return (f"{float(mantissa):g}e{int(exponent)}" if exponent else text).replace("-", "−")
