"""Random calls of every function that NumPy asks a Tensor about: it answers what NumPy does, or refuses."""

import copy
import inspect
import random
import warnings

import numpy as np
import pytest
from numpy.exceptions import AxisError

from tinygrad2 import Tensor
from tinygrad2.errors import TinygradError
from tinygrad2.ops.__main__ import functions, kind

RNG = np.random.default_rng(0)
A, S, V = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 3)), RNG.standard_normal(4)
WHOLE = np.array([[0, 1, 2, 0], [1, 1, 0, 2], [2, 0, 0, 1]])
MASK = A > 0
ARGUMENTS = [A, S, V, np.array(1.5), WHOLE, MASK, [A, A], [V, V, V], [MASK], np.zeros((0, 3)), A.astype("f4")]
ARGUMENTS += [1, 0, -1, 2, 2.5, (0, 1), [0, 1], [1.0, 2.0], (3, 4), [[1, 2], [3, 4]]]
SETTINGS = {
    **{"axis": [0, 1, -1, None, (0, 1), 5], "keepdims": [True, False], "dtype": ["f4", "f8", int], "initial": [0.5]},
    **{"ddof": [1], "correction": [1], "mode": ["wrap", "clip", "same", "full", "valid"], "order": ["C", "F"], "copy": [True]},
    **{
        "axes": [1, (0, 1), (1, 0)],
        "k": [1, -1],
        "offset": [1, -1],
        "n": [2],
        "prepend": [0.0],
        "append": [V[0]],
        "where": [MASK],
    },
    **{"weights": [np.abs(A), V * V], "returned": [True], "a_min": [-0.5, V], "a_max": [0.5], "min": [0.0], "max": [0.2]},
    **{"decimals": [1], "indexing": ["ij"], "sparse": [True], "casting": ["unsafe", "safe"], "optimize": [True], "left": [0.0]},
    **{"num": [3], "endpoint": [False], "edge_order": [2], "rowvar": [False], "return_index": [True], "return_counts": [True]},
    **{"shift": [1], "default": [2.0], "fill_value": [1.5], "shape": [(4, 3)], "x": [A, V], "dx": [0.5]},
}
LEFT_OUT = {"empty_like", "may_share_memory", "shares_memory", "save", "savetxt", "savez", "savez_compressed", "einsum_path"}
LEFT_OUT |= {"array_repr", "array_str", "array2string", "apply_along_axis", "apply_over_axes", "piecewise", "trim_zeros"}
LEFT_OUT |= {"array_equal", "array_equiv"}  # NumPy itself says False where a list of arrays cannot be an array
NAMES = [name for name, f in functions().items() if kind(f) not in ("Not asked", "Never") and f.__name__ not in LEFT_OUT]


def has_array(x):
    return isinstance(x, np.ndarray) or (isinstance(x, list) and any(map(has_array, x)))


def tensors(x):
    """The same with Tensors for arrays, which want a gradient where they can."""
    if isinstance(x, list):
        return list(map(tensors, x))
    return Tensor(x.copy(), requires_grad=x.dtype.kind == "f") if isinstance(x, np.ndarray) else x


def assert_same(found, expected, single):
    if isinstance(expected, (tuple, list)):
        assert len(found) == len(expected)
        for ours, numpys in zip(found, expected, strict=True):
            assert_same(ours, numpys, single)
    elif isinstance(expected, (np.ndarray, np.generic)):
        found = found.data if isinstance(found, Tensor) else np.asarray(found)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        if expected.dtype.kind in "fc":
            close = 1e-5 if single or expected.dtype.itemsize < 8 else 1e-9
            np.testing.assert_allclose(found, expected, rtol=close, atol=close)
        else:
            np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


def outcome(function, args, settings):
    try:
        return function(*args, **settings), None
    except Exception as error:
        return None, error


def check(name, trials):
    function, rng = functions()[name], random.Random(name)
    names = ("dtype", "casting") if isinstance(function, np.ufunc) else parameters(function)
    for _ in range(trials):
        args = rng.choices(ARGUMENTS, k=rng.choice([1, 1, 1, 2, 2, 3]))
        chosen = rng.sample(names, min(len(names), rng.choice([0, 0, 1, 1, 2])))
        args, settings = copy.deepcopy((args, {key: rng.choice(SETTINGS[key]) for key in chosen}))  # some may be out=
        said = f"{name}({', '.join(map(str, args))}, {settings})"
        tensor_args, tensor_settings = list(map(tensors, args)), {key: tensors(x) for key, x in settings.items()}
        if not any(map(has_array, args)):
            continue
        with warnings.catch_warnings(action="ignore"):
            expected, numpys = outcome(function, args, settings)
            found, ours = outcome(function, tensor_args, tensor_settings)
        if ours is None and numpys is None:
            try:
                assert_same(found, expected, any(getattr(x, "dtype", None) == np.float32 for x in args))
            except AssertionError as error:
                raise AssertionError(f"{said}: {error}") from error
        elif numpys is None:
            assert isinstance(ours, (TinygradError, TypeError)), f"{said}: {ours!r}"
        elif ours is None:
            assert not isinstance(numpys, AxisError), f"{said}: {numpys!r}"
        else:
            assert isinstance(ours, (TinygradError, TypeError, ValueError, IndexError, type(numpys))), f"{said}: {ours!r}"


def parameters(function):
    """The names that the signature of a function has in common with SETTINGS."""
    try:
        return [name for name in inspect.signature(function).parameters if name in SETTINGS]
    except ValueError:  # written in C
        return []


@pytest.mark.parametrize("name", NAMES)
def test_a_call_means_what_it_means_for_arrays(name):
    check(name, 15)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NAMES)
def test_so_do_many_calls(name):
    check(name, 500)
