"""NumPy functions that a Tensor answers without a gradient, those that would write into it, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _functions(names: str) -> set[Callable[..., Any]]:
    """Those of these functions that this version of NumPy has."""
    return {getattr(np, name) for name in names.split() if hasattr(np, name)}


PLAIN = _functions(
    """
    equal not_equal less less_equal greater greater_equal isclose allclose array_equal array_equiv isin all any count_nonzero
    logical_and logical_or logical_not logical_xor isfinite isnan isinf isneginf isposinf isnat isreal iscomplex signbit
    bitwise_and bitwise_or bitwise_xor bitwise_count invert left_shift right_shift gcd lcm packbits unpackbits
    floor ceil rint trunc fix round around floor_divide spacing imag
    argmax argmin nanargmax nanargmin argsort argpartition lexsort searchsorted digitize nonzero argwhere flatnonzero
    ravel_multi_index unravel_index ix_ diag_indices_from tril_indices_from triu_indices_from
    shape ndim size zeros_like ones_like empty_like result_type can_cast common_type min_scalar_type iscomplexobj isrealobj
    may_share_memory shares_memory einsum_path array2string array_repr array_str save savetxt savez savez_compressed
    """
) | {np.linalg.matrix_rank}
"""Their derivative is zero or meaningless: computed on the arrays, never recorded. What has a rule is not among them."""

IN_PLACE = _functions("copyto put place putmask fill_diagonal put_along_axis")
"""They write into an array, and what was recorded with it would no longer be true."""

INSTEAD = {
    "piecewise": "np.select",
    **dict.fromkeys(("unique_all", "unique_counts", "unique_inverse", "unique_values"), "np.unique"),
    **dict.fromkeys(("apply_along_axis", "apply_over_axes"), "functions with axis="),
    **dict.fromkeys(("eig", "eigvals"), "np.linalg.eigh, of a symmetric matrix, since complex numbers have no gradient here"),
    **dict.fromkeys(("logspace", "geomspace"), "np.exp of np.linspace"),
    "trim_zeros": "a slice",
    "lstsq": "np.linalg.pinv(a) @ b, or np.linalg.solve(a.T @ a, a.T @ b)",
    "cumulative_sum": "np.cumsum",
    "cumulative_prod": "np.cumprod",
    "sliding_window_view": "an index of arrays",
}
"""By the name of a function that is refused in a graph: what does the same and is recorded."""
