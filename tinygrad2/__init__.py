"""tinygrad2: a NumPy Tensor with reverse-mode automatic differentiation.

>>> import numpy as np
>>> from tinygrad2 import Tensor
>>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> np.sum(np.exp(x) * x).backward()
>>> np.allclose(x.grad, np.exp(x.data) * (1 + x.data))
True
"""

from tinygrad2 import autograd, nn, ops, optim
from tinygrad2.autograd import no_grad
from tinygrad2.gradcheck import gradcheck
from tinygrad2.recompute import checkpoint
from tinygrad2.tensor import Tensor
from tinygrad2.transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp

__version__ = "0.1.0"  # of the distribution, which holds both packages: pyproject.toml reads it here

__all__ = [
    "Tensor",
    "autograd",
    "checkpoint",
    "grad",
    "gradcheck",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "value_and_grad",
    "vjp",
]
