"""The array arithmetic of the hot ops, behind one set of signatures.

`reference` is plain NumPy and always there. Nothing above this package knows which implementation runs: ops say
`kernels.gelu(x)`. `TINYGRAD2_KERNELS=numpy` in the environment forces the reference.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

from tinygrad2.errors import UnsupportedError
from tinygrad2.kernels import reference

IMPLEMENTATIONS: dict[str, ModuleType] = {"numpy": reference}


def _choose(name: str) -> ModuleType:
    if name not in IMPLEMENTATIONS:
        raise UnsupportedError(f"TINYGRAD2_KERNELS={name!r}: there is {', '.join(IMPLEMENTATIONS)}")
    return IMPLEMENTATIONS[name]


current = _choose(os.environ.get("TINYGRAD2_KERNELS", "numpy"))


def __getattr__(name: str) -> Any:
    """A kernel of the implementation in use: `kernels.softmax` is `kernels.current.softmax`."""
    return getattr(current, name)


def running() -> dict[str, str]:
    """What computes: `kernels` names the implementation in use, `products` the library of the matrix products."""
    return {"kernels": next(name for name, module in IMPLEMENTATIONS.items() if module is current), "products": "numpy"}
