"""Every op: what is written to between forward and backward gives the gradient of what was, or an error."""

import numpy as np
import pytest
from op_samples import OPS, arguments, sample

from tinygrad2 import Tensor
from tinygrad2.errors import GraphError

each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


def cotangent(out):
    return np.random.default_rng(2).standard_normal(out.shape)


@each_op
def test_arrays_that_were_lent_may_be_written_to(op):
    for number in range(len(op.samples)):
        lent_arrays_may_be_written_to(op, number)


def lent_arrays_may_be_written_to(op, number):
    args, settings = arguments(op, number)
    for i, x in enumerate(args[: op.arity]):
        if not isinstance(x, np.ndarray) or x.dtype != float:
            continue
        gradients = []
        for write in (False, True):
            given, _ = arguments(op, number)  # arrays of its own each time
            given = list(given)
            t = given[i] = Tensor(x, requires_grad=True)
            out = op.call(*given, **settings)
            for lent in given if write else ():
                if isinstance(lent, np.ndarray):
                    lent[...] = 0
            if out.requires_grad:
                out.backward(cotangent(out))
            gradients.append(t.grad)
        if gradients[0] is not None:
            np.testing.assert_array_equal(gradients[0].data, gradients[1].data)


@each_op
@pytest.mark.parametrize("change", ["in place", "replaced"])
def test_a_result_that_was_changed_is_refused_or_not_needed(op, change):
    for number in range(len(op.samples)):
        a_changed_result_is_refused_or_not_needed(op, number, change)


def a_changed_result_is_refused_or_not_needed(op, number, change):
    f, inputs = sample(op, number)
    gradients = []
    for write in (False, True):
        tensors = [Tensor(x.copy(), requires_grad=True) for x in inputs]
        out = f(*tensors)
        if write and change == "in place":
            if not out.data.flags.writeable or any(np.shares_memory(out.data, x.data) for x in tensors):
                return  # a view of an input, whose numbers would change with it
            out.data *= 3
        elif write:
            out.data = out.data * 3
        try:
            out.backward(cotangent(out))
        except GraphError as error:
            assert "changed after it was computed" in str(error)  # noqa: PT017  (either is right)
            assert write
            return
        gradients.append([x.grad for x in tensors])
    for before, after in zip(*gradients, strict=True):
        np.testing.assert_array_equal(before.data, after.data)
