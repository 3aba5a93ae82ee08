"""What annotations say in many places."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad2.errors import DtypeError, UnsupportedError

Array = npt.NDArray[Any]
"""A NumPy array of any shape and dtype."""


def numbers(data: Any, dtype: Any = None) -> Array:
    """What is given as an array of numbers, in the byte order of this machine, which is the one that libraries compute in.

    Raises UnsupportedError for masked arrays and for what is no number, DtypeError for complex numbers as real ones.
    """
    if isinstance(data, np.ma.MaskedArray):
        raise UnsupportedError("a masked array: its mask would be lost; write np.where(mask, 0, array), or array.filled(0)")
    array = np.asarray(data)
    if array.dtype.kind in "OSUV":
        raise UnsupportedError(f"{type(data).__name__} is not an array of numbers: {data!r:.60}")
    if dtype is not None and array.dtype != dtype:
        if array.dtype.kind in "cmM" and np.dtype(dtype).kind != array.dtype.kind:
            raise DtypeError(f"{array.dtype} cannot become {np.dtype(dtype)} without a loss; give real numbers")
        array = array.astype(dtype)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
