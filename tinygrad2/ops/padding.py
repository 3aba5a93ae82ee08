"""np.pad with what is in the array: its places are padded, and its entries taken from there."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad2.errors import UnsupportedError
from tinygrad2.ops import shape  # noqa: F401  (whose rule for constants is the one below)
from tinygrad2.ops.op import RULES, refuse_tensors

MODES = ("reflect", "symmetric", "edge", "wrap")
_constant = RULES[np.pad]


def pad(
    array: Any,
    pad_width: Any,
    mode: Any = "constant",
    *,
    constant_values: Any = 0,
    end_values: Any = None,
    stat_length: Any = None,
    reflect_type: str = "even",
) -> Any:
    """Padded by a constant, or in one of the other modes by its own entries; their gradients come back to these."""
    refuse_tensors("pad", {"pad_width": pad_width})
    if mode == "constant":
        return _constant(array, pad_width, mode, constant_values)
    if mode not in MODES or reflect_type != "even":
        how = f", reflect_type={reflect_type!r}" * (reflect_type != "even")
        raise UnsupportedError(f"pad: mode {mode!r}{how} has no rule here; 'constant' has, and {', '.join(map(repr, MODES))}")
    widths = pad_width
    if isinstance(pad_width, dict):
        widths = [pad_width.get(i, pad_width.get(i - array.ndim, 0)) for i in range(array.ndim)]
        widths = [np.broadcast_to(width, 2) for width in widths]
    for axis, width in enumerate(np.broadcast_to(widths, (array.ndim, 2))):
        if width.any():
            array = np.take(array, np.pad(np.arange(array.shape[axis]), width, mode=mode), axis=axis)
    return array


RULES[np.pad] = pad
