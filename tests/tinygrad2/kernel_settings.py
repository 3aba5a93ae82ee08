"""Every way in which kernels can run here: implementation, library of products, and number of threads."""

import numpy as np
import pytest

from tinygrad2 import kernels
from tinygrad2.kernels.fast import products

MKL = ["mkl"] if products.mkl() else []
OPENBLAS = ["openblas"] if products.named("openblas") else []
LIBRARIES = {"numpy": ["numpy", *MKL], "numba": ["numpy", *OPENBLAS, *MKL]}
PAIRS = [(made_with, library) for made_with in kernels.IMPLEMENTATIONS for library in LIBRARIES[made_with]]
needs_mkl = pytest.mark.skipif(not MKL, reason="pip install -e '.[mkl]'")
SETTINGS = [(*pair, threads) for pair in PAIRS for threads in (1, 2, 3)]


def name(setting):
    """Of a test's parameters."""
    return "-".join(map(str, setting))


def use(patch, implementation, library):
    """From now on these kernels run, and these products."""
    patch.setattr(kernels, "current", kernels.load(implementation))
    patch.setenv("TINYGRAD2_PRODUCTS", library)


def with_kept_keys(qkv, heads, part):
    """Attention over queries, keys and values (B, T, 3C) in parts of T, each seeing what was kept before: (B, T, C)."""
    B, T, columns = qkv.shape
    keys, values = np.zeros((2, B, heads, T, columns // (3 * heads)), np.float32)
    return np.concatenate([kernels.cached_attention(qkv[:, i : i + part], keys, values, i) for i in range(0, T, part)], axis=1)
