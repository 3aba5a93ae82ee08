"""What annotations say in many places."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
"""A NumPy array of any shape and dtype."""


def native(array: Array) -> Array:
    """The same numbers in the byte order of this machine, which is the one that kernels and libraries compute in."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
