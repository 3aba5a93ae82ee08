"""Every way in which kernels can run here: implementation, library of products, and number of threads."""

import contextlib
import itertools
import sys

from threadpoolctl import threadpool_limits

from tinygrad2 import kernels
from tinygrad2.kernels.fast import products, threads

LIBRARIES = ["numpy", "mkl"] if products.mkl() else ["numpy"]
PAIRS = list(itertools.product(kernels.IMPLEMENTATIONS, LIBRARIES))
SETTINGS = list(itertools.product(kernels.IMPLEMENTATIONS, LIBRARIES, (1, 2, 3)))


def name(setting):
    """Of a test's parameters."""
    return "-".join(map(str, setting))


def use(patch, implementation, library):
    """From now on these kernels run, and these products."""
    patch.setattr(kernels, "current", kernels.load(implementation))
    if library == "numpy":
        for module in ("tinygrad2.kernels.fast.products", "tinygrad2.kernels.fast.compiled.attention"):
            if module in sys.modules:
                patch.setattr(sys.modules[module], "mkl", lambda: None)


@contextlib.contextmanager
def pool(count):
    """Threads, as training has them."""
    with threadpool_limits(1, user_api="blas"), threads.pool(count):
        yield
