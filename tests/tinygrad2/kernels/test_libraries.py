"""Libraries of matrix products: each one's numbers, whether threads may call it at once, and how one is chosen."""

import os
import subprocess
import sys

import numpy as np
import pytest
from kernel_settings import MKL

from tinygrad2 import kernels
from tinygrad2.errors import UnsupportedError
from tinygrad2.kernels.fast import libraries, products
from tinygrad2.kernels.fast.threads import pool

HERE = {name: library for name, library in (("openblas", libraries.of_numpy()), ("mkl", products.mkl())) if library}


@pytest.fixture(params=HERE)
def library(request):
    with pool(2):  # so that NumPy's has one thread, as in a training
        yield HERE[request.param]


def test_the_library_of_numpy_is_found():
    """A NumPy whose library has none of these names multiplies as ever; wheels of NumPy have one."""
    built_with = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    assert "openblas" in HERE or built_with not in ("scipy-openblas", "openblas", "accelerate")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
def test_a_product_has_every_digit_of_its_type(library, dtype, transposed):
    rng = np.random.default_rng(0)
    m, k, n = 37, 65, 43
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    a = np.asfortranarray(a) if "a" in transposed else a
    b = np.asfortranarray(b) if "b" in transposed else b
    out = rng.standard_normal((m, n)).astype(dtype)
    expected = out + a.astype(np.longdouble) @ b.astype(np.longdouble)
    assert library.call(a, b, out, True) is not None
    library.product(a, b, out, True)
    assert np.abs(out - expected).max() < 300 * np.finfo(dtype).eps


def test_an_out_that_no_library_can_write_is_numpys(library):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((31, 7), np.float32), rng.standard_normal((7, 12), np.float32)
    out = np.zeros((31, 12), np.float32)[::-1]
    assert library.call(a, b, out, False) is None
    np.testing.assert_allclose(out, a.astype(float) @ b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtypes", [("i8", "i8", "i8"), ("f4", "f8", "f8"), (">f4", ">f4", "f4"), ("f4", "f4", "f8")])
def test_what_a_library_does_not_know_is_numpys(library, dtypes):
    a, b, out = (np.full((3, 3), i + 1).astype(dtype) for i, dtype in enumerate(dtypes))
    library.product(a, b, out, False)
    assert (out == 6).all()


@pytest.mark.parametrize(("b", "out"), [((4, 5), (3, 5)), ((7, 5), (3, 4)), ((7, 5), (5, 3))])
def test_shapes_that_do_not_meet_are_refused(library, b, out):
    with pytest.raises(ValueError, match=r"mismatch|broadcast"):
        library.product(np.ones((3, 7), np.float32), np.ones(b, np.float32), np.ones(out, np.float32), False)


def test_a_result_that_must_not_be_written_is_refused(library):
    out = np.ones((3, 3), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        library.product(np.ones((3, 3), np.float32), np.ones((3, 3), np.float32), out, False)


def test_larger_than_a_library_can_count_is_numpys(library, monkeypatch):
    monkeypatch.setattr(libraries, "MOST", 6)
    a, b, out = np.ones((3, 7), np.float32), np.ones((7, 2), np.float32), np.empty((3, 2), np.float32)
    assert library.call(a, b, out, False) is None
    assert (out == 7).all()


def test_threads_may_call_these_libraries_at_once(library):
    assert library.is_right_on_threads(3)


def test_a_library_that_threads_may_not_call_at_once_is_noticed(library):
    """One with a single buffer for all."""
    import time

    buffer = np.empty(1 << 16, np.float32)

    class Shared(libraries.Library):
        def product(self, a, b, out, add):
            inside = buffer[: out.size].reshape(out.shape)
            super().product(a, b, inside, add)
            time.sleep(1e-4)
            out[...] = inside

    assert not Shared(library._functions).is_right_on_threads(3)


# -- which one


def running(**environment):
    code = "from tinygrad2 import kernels; print(kernels.running()['products'])"
    environment = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("wanted", ["openblas", "mkl", "numpy"])
def test_the_environment_decides(wanted):
    compiled = "numba" in kernels.IMPLEMENTATIONS and "openblas" in HERE
    found = running(TINYGRAD2_PRODUCTS=wanted)
    if wanted == "mkl" and not MKL:
        assert found.endswith("pip install 'tinygrad2[mkl]' adds mkl")
    else:
        assert found == (wanted if compiled or wanted != "openblas" else "numpy")  # from Python, that is np.matmul


@pytest.mark.parametrize("wanted", ["atlas", " mkl", "MKL"])
def test_a_name_that_nobody_knows_is_refused(wanted):
    found = running(TINYGRAD2_PRODUCTS=wanted)
    assert f"TINYGRAD2_PRODUCTS={wanted!r}: it is one of openblas, mkl, numpy, of which there is " in found


@pytest.mark.parametrize("wanted", ["", "openblas", "numpy"])
def test_the_kernels_of_numpy_have_its_products(wanted):
    assert running(TINYGRAD2_KERNELS="numpy", TINYGRAD2_PRODUCTS=wanted) == "numpy"


def test_what_is_chosen_is_used_if_it_is_there_and_no_longer(monkeypatch):
    monkeypatch.delenv("TINYGRAD2_PRODUCTS", raising=False)
    before = products.running()
    with products.using("numpy"):
        assert products.running() == "numpy"
        with products.using("of another machine"):
            assert products.running() == before
        monkeypatch.setenv("TINYGRAD2_PRODUCTS", "nonsense")
        with pytest.raises(UnsupportedError, match="'nonsense'"):
            products.running()
        monkeypatch.delenv("TINYGRAD2_PRODUCTS")
    assert products.running() == before


def test_a_processor_is_known_by_what_does_not_change():
    """Its clock and its load do."""
    words = products.processor().lower()
    assert "mhz" not in words
    assert "bogomips" not in words
    assert not words or "vendor_id" in words or "cpu" in words
