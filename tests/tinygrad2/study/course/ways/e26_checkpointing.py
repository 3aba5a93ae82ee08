"""The gradient that arrives is handed over by an op of its own, and the inputs are copied."""

import numpy as np
from e08_tensor import Tensor, op


def checkpoint(f):
    def forward(*arrays):
        kept = [np.array(x) for x in arrays]
        return f(*map(Tensor, kept)).data, kept

    def backward(dout, kept):
        inputs = [Tensor(x) for x in kept]
        weigh = op(lambda y: (np.sum(y * dout), None), lambda g, _: g * dout)
        weigh(f(*inputs)).backward()
        return tuple(x.grad for x in inputs)

    return op(forward, backward)
