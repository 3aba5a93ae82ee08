"""No false verdict: all samples of the ops, as NumPy pairs, and PyTorch's own samples of its functions through the adapter.

`pytest -s -m exhaustive` of this file takes all samples, a second at most each, and prints what it found.
"""

import collections
import signal
import warnings

import numpy as np
import pytest
from op_samples import SAMPLES, sample

from tinygrad2 import Tensor, autograd
from tinygrad2.errors import TinygradError
from tinygrad2.gradcheck import gradcheck

pytestmark = pytest.mark.slow


def as_pair(f):
    """A function of Tensors as one of arrays, and its rule."""

    def rule(g, *inputs):
        tensors = [Tensor(x.copy(), requires_grad=True) for x in inputs]
        found = autograd.grad([f(*tensors)], tensors, [np.asarray(g)], allow_unused=True)
        return [np.zeros(x.shape) if c is None else c.data for c, x in zip(found, inputs, strict=True)]

    return lambda *inputs: np.asarray(f(*inputs)), rule


def verdicts_of_samples(which, **how):
    count = collections.Counter()
    for op, number, seed in which:
        f, inputs = sample(op, number, seed)
        if not any(x.size for x in inputs) or not np.size(f(*inputs)):
            continue
        value, rule = as_pair(f)
        result = gradcheck(value, inputs, vjp=rule, **how)
        assert result.verdict in ("right", "undecidable"), f"{op.name} {number} {seed}\n{result}"
        count[result.verdict] += 1
        if result.verdict == "undecidable":
            print(f"undecidable: {op.name}({op.samples[number]}): {result.diagnosis}")
    return count


@pytest.mark.filterwarnings("ignore")
def test_samples_of_the_ops_as_pairs():
    assert verdicts_of_samples([(*pair, 0) for pair in SAMPLES[::4]], fast=True)["undecidable"] <= 2
    assert verdicts_of_samples([(*pair, 0) for pair in SAMPLES[2::8]])["undecidable"] <= 2


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")
def test_all_samples_of_the_ops_as_pairs():
    count = verdicts_of_samples([(*pair, seed) for pair in SAMPLES for seed in range(3)])
    print("\nthe ops, as NumPy pairs:", dict(count))
    assert count["right"] >= 1000
    assert count["undecidable"] <= 0.01 * count["right"]


# -- PyTorch's samples

KNOWN = {"nn.functional.hardsigmoid": "the gradient uses 1/6 as float32 has it, in float64 too"}
"""Functions of PyTorch that are found wrong, and are."""


def says_itself(torch, op):
    """Whether PyTorch leaves the gradient of a function out of its own checks."""
    marks = [mark for mark in (*op.skips, *op.decorators) if hasattr(mark, "cls_name")]
    return any(
        mark.cls_name in ("TestBwdGradients", "TestGradients")
        and mark.test_name in (None, "test_fn_grad")
        and (not mark.dtypes or torch.float64 in mark.dtypes)
        and mark.device_type in (None, "cpu")
        for mark in marks
    )


def tensors_in(torch, value):
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else []
    return [x for part in parts for x in tensors_in(torch, part)]


def swapped(torch, value, new):
    """The same arguments with other Tensors in their places."""
    if isinstance(value, torch.Tensor):
        return new.get(id(value), value)
    if isinstance(value, dict):
        return {key: swapped(torch, part, new) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [swapped(torch, part, new) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def as_function(torch, op, given):
    """(f, inputs) of a sample; None where its inputs are no plain leaves, or too many numbers."""
    arguments = (given.input, given.args, given.kwargs)
    inputs = [x for x in tensors_in(torch, arguments) if x.requires_grad]
    plain = all(x.is_leaf and x.layout == torch.strided and x.dtype == torch.float64 for x in inputs)
    if not inputs or not plain or sum(x.numel() for x in inputs) > 200:
        return None

    def f(*xs):
        first, args, kwargs = swapped(torch, arguments, dict(zip(map(id, inputs), xs, strict=True)))
        out = op.gradcheck_wrapper(op.op, first, *args, **kwargs)
        return given.output_process_fn_grad(out) if given.output_process_fn_grad is not None else out

    return f, inputs


class LateError(BaseException):
    """A second is over. No Exception: those of a function at a step are taken as the end of its domain."""


def verdicts_of_pytorch(torch, limit, step):
    """How many of each verdict, with at most so many samples of each function, of every so-manieth of these."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    count, wrong = collections.Counter(), []

    def late(*_):
        raise LateError

    before = signal.signal(signal.SIGALRM, late)
    try:
        for op in op_db[::step]:
            if torch.float64 not in op.supported_dtypes("cpu") or not op.supports_autograd:
                continue
            if says_itself(torch, op):
                count["functions that PyTorch does not check itself"] += 1
                continue
            torch.manual_seed(0)
            samples = list(op.sample_inputs("cpu", torch.float64, requires_grad=True))
            for given in samples[:: max(1, len(samples) // limit)]:
                made = as_function(torch, op, given)
                if made is None:
                    count["large, or not of plain leaves"] += 1
                    continue
                name = f"{op.name} {op.variant_test_name}"
                try:
                    signal.setitimer(signal.ITIMER_REAL, 1.0)
                    result = gradcheck(*made)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except LateError:
                    count["more than a second"] += 1
                    continue
                except TinygradError as error:
                    count["nothing to check"] += "nothing to check" in str(error)
                    if "nothing to check" not in str(error):
                        raise
                    continue
                except RuntimeError as error:
                    if "setStorage" not in str(error):  # of a view that is made of the memory of another array
                        raise
                    continue
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                count[result.verdict] += 1
                if result.verdict == "wrong" and op.name not in KNOWN:
                    wrong.append(f"{name}: {given.summary()[:200]}\n{result}")
                if result.verdict != "right":
                    print(f"{result.verdict}: {name}: {result.diagnosis}")
    finally:
        signal.signal(signal.SIGALRM, before)
    return count, wrong


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_some_samples_of_pytorch(torch):
    pytest.importorskip("expecttest", reason="pip install -e '.[oracle]'")
    count, wrong = verdicts_of_pytorch(torch, 1, 20)
    assert not wrong, "\n".join(wrong)
    assert count["right"] >= 10
    assert count["undecidable"] <= 3


@pytest.mark.oracle
@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")
def test_the_samples_of_pytorch(torch):
    pytest.importorskip("expecttest", reason="pip install -e '.[oracle]'")
    count, wrong = verdicts_of_pytorch(torch, 8, 1)
    print("\nPyTorch:", dict(count))
    assert not wrong, "\n".join(wrong)
    assert count["right"] >= 2000
    assert count["undecidable"] <= 0.01 * count["right"]
