"""What annotations say in many places."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
"""A NumPy array of any shape and dtype."""
