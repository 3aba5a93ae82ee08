"""The array arithmetic of the hot ops, behind one set of signatures.

`reference` is plain NumPy and always there; `compiled` needs the `fast` extra. Nothing above this package knows which one
runs: ops say `kernels.gelu(x)`, and so do kernels that are made of others. It is chosen when the first kernel is called,
because loading compiled ones takes a while. A process that is forked after that has the reference: OpenMP's threads stay with
its parent. One that is spawned has all.
`TINYGRAD2_KERNELS=numpy` in the environment forces the reference, and NumPy's own products of matrices, unless
TINYGRAD2_PRODUCTS names another library (see fast/products.py).
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from tinygrad2.errors import UnsupportedError

MODULES = {"numpy": "reference", "numba": "fast.compiled"}
"""Implementations, by what they are made with."""

IMPLEMENTATIONS = [name for name in MODULES if find_spec(name)]
"""Those that can be used here."""


KERNELS = frozenset(
    [
        "add",
        "add_to_rows",
        "adamw",
        "block",
        "cached_attention",
        "causal_attention",
        "causal_attention_vjp",
        "column_sums",
        "cross_entropy",
        "gelu",
        "gelu_vjp",
        "layer_norm",
        "layer_norm_vjp",
        "linear",
        "linear_cross_entropy",
        "linear_vjp",
        "product",
        "rotary",
        "rotary_vjp",
        "rounding",
        "scaled_linear",
        "softmax",
        "softmax_vjp",
        "square_sum",
        "to_gradients",
        "COMPILED",
        "SPREADS",
    ]
)
"""What every implementation has."""


FORKED = "the compiled kernels have no threads in a forked process"
forked = False
"""Whether the compiled kernels of this process have their threads in the one it was forked from."""


def _leave_threads() -> None:
    """In a process that was forked: OpenMP ends one that asks for its threads, or makes it wait for them without end."""
    global forked
    compiled = sys.modules.get("tinygrad2.kernels.fast.compiled")
    forked = forked or getattr(compiled, "SPREADS", compiled is not None)  # it may be half loaded
    if forked and globals().get("current") is compiled:
        globals()["current"] = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_threads)


def load(name: str) -> ModuleType:
    """An implementation. Raises UnsupportedError for one that there is not."""
    if name not in IMPLEMENTATIONS:
        hint = "; pip install 'tinygrad2[fast]' adds numba" if name == "numba" else ""
        raise UnsupportedError(f"TINYGRAD2_KERNELS={name!r}: choose from {', '.join(IMPLEMENTATIONS)}{hint}")
    if forked and name != "numpy":
        raise UnsupportedError(f"TINYGRAD2_KERNELS={name!r}: {FORKED}; spawn the process, or set TINYGRAD2_KERNELS=numpy")
    return importlib.import_module(f"tinygrad2.kernels.{MODULES[name]}")


def running() -> dict[str, str]:
    """What computes: `kernels` is made with, `products` is the library of matrix products, `unit` multiplies in bfloat16."""
    name = next(name for name in IMPLEMENTATIONS if load(name) is __getattr__("current"))
    products = importlib.import_module("tinygrad2.kernels.fast.products")
    return {"kernels": name, "products": products.running(), "unit": products.unit()}


def __getattr__(name: str) -> Any:
    """A kernel of the implementation in use: `kernels.softmax` is `kernels.current.softmax`."""
    if name != "current" and name not in KERNELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    current = globals().get("current")
    if current is None:
        wanted = os.environ.get("TINYGRAD2_KERNELS")
        if forked and wanted is None:
            warnings.warn(
                f"{FORKED}: NumPy's compute instead; spawn it for the compiled ones",
                RuntimeWarning,
                stacklevel=3,
            )
        current = globals()["current"] = load(wanted or IMPLEMENTATIONS[0 if forked else -1])
    return current if name == "current" else getattr(current, name)
