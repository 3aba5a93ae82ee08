"""A child of fork trains and samples as its parent does, or says in words why not; it never hangs, and no signal ends it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygrad2 import kernels

CASES = [
    "after",
    "after_by_multiprocessing",
    "inside_another_begins",
    "inside_it_goes_on",
    "with_one_shard",
    "with_a_graph",
    "a_grandchild",
    "beside_a_thread_that_trains",
]
compiled = pytest.mark.skipif("numba" not in kernels.IMPLEMENTATIONS, reason="pip install -e '.[fast]'")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")]


def run(case, **environment):
    """Parent's and child's numbers, and what was said."""
    program = Path(__file__).parents[1] / "forking.py"
    paths = [str(program.parent), str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]
    try:
        done = subprocess.run(
            [sys.executable, str(program), case],
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environment,
        )
    except subprocess.TimeoutExpired as late:
        pytest.fail(f"{case} hangs: {(late.stderr or b'').decode()}")
    assert done.returncode == 0, done.stderr
    return *json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("case", CASES)
def test_a_child_has_the_numbers_of_its_parent(case):
    parent, child, _ = run(case, TINYGRAD2_KERNELS="numpy")
    assert child == parent


@compiled
@pytest.mark.parametrize("case", CASES)
def test_after_compiled_kernels_a_child_has_those_of_numpy(case):
    parent, child, said = run(case)
    np.testing.assert_allclose(child, parent, rtol=2e-3, atol=1e-4)
    assert "NumPy's compute instead" in said


@compiled
def test_compiled_kernels_by_name_are_refused_in_a_child():
    _, child, _ = run("after", TINYGRAD2_KERNELS="numba")
    assert "UnsupportedError" in child
    assert "spawn the process, or set TINYGRAD2_KERNELS=numpy" in child
