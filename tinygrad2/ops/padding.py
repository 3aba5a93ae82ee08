"""np.pad: by a constant, or by what is in the array, whose places are padded and whose entries are taken from there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from tinygrad2.errors import UnsupportedError
from tinygrad2.ops.op import RULES, primitive, refuse_tensors

MODES = ("reflect", "symmetric", "edge", "wrap")


def inside(shape: tuple[int, ...], pad_width: Any) -> tuple[slice, ...]:
    """Where an array of this shape is after padding."""
    widths = np.broadcast_to(pad_width, (len(shape), 2))
    return tuple(slice(int(before), int(before) + n) for n, (before, _) in zip(shape, widths, strict=True))


Pad = primitive(  # `pad_width` is a number, a pair, or a pair per axis
    lambda x, *, pad_width, constant_values=0: np.pad(x, pad_width, constant_values=constant_values),
    lambda g, out, x, *, pad_width, constant_values=0: g[inside(x.shape, pad_width)],
    name="pad",
    samples="normal(2, 3), ((1, 0), (2, 1)); normal(3), 2; normal(2, 2), (1, 0), constant_values=7.0; "
    "normal(0, 2), 1; normal(1, 1), 1",
)


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
    widths = pad_width
    if isinstance(pad_width, dict):
        given: dict[int, Any] = {normalize_axis_index(axis, array.ndim): width for axis, width in pad_width.items()}
        widths = [np.broadcast_to(given.get(i, 0), 2) for i in range(array.ndim)]
    if mode == "constant":
        return Pad.call(array, pad_width=widths, constant_values=constant_values)
    if mode not in MODES or reflect_type != "even":
        how = f", reflect_type={reflect_type!r}" * (reflect_type != "even")
        raise UnsupportedError(f"pad: mode {mode!r}{how} has no rule here; 'constant' has, and {', '.join(map(repr, MODES))}")
    for axis, width in enumerate(np.broadcast_to(widths, (array.ndim, 2))):
        if width.any():
            array = np.take(array, np.pad(np.arange(array.shape[axis]), width, mode=mode), axis=axis)
    return array


RULES[np.pad] = pad
