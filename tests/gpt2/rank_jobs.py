"""What tests of several ranks share: a small training, and whether two runs are the same."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from gpt2.run.metrics import read_metrics
from gpt2.weights.safetensors import read_weights

MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
RANK = str(Path(__file__).with_name("rank.py"))
SMALL = (
    "--preset=tiny-adamw --d-model=16 --num-layers=2 --num-heads=2 --max-seq-len=16 --batch-size=8 --shards=4 --threads=1 "
    "--warmup-steps=5"
)
OFTEN = "--steps=50 --save-every=5 --eval-every=25 --eval-windows=20 --sample-tokens=5 --dropout=0.1"
WITHIN = 60.0
"""Seconds after which a job hangs."""


def require_mpiexec():
    """Skip where there is none or, where REQUIRE_MPI is set, fail."""
    if MPIEXEC is None:
        (pytest.fail if os.environ.get("REQUIRE_MPI") else pytest.skip)("there is no mpiexec: pip install -e '.[mpi]'")


def weights(run):
    return {name: entry.read() for name, entry in read_weights(run / "model.safetensors")[0].items()}


def losses(run):
    return [row["train_loss"] for row in read_metrics(run / "metrics.jsonl") if "train_loss" in row and "skipped" not in row]


def same(a, b):
    """Whether two runs have the same losses and weights, in every bit."""
    x, y = weights(a), weights(b)
    return losses(a) == losses(b) and all(np.array_equal(x[name], y[name]) for name in x)


def assert_close(a, b):
    """Two runs that differ by rounding only."""
    np.testing.assert_allclose(losses(a), losses(b), rtol=1e-6)
    x, y = weights(a), weights(b)
    whole = np.sqrt(sum(np.sum(w.astype(float) ** 2) for w in y.values()))
    # But for the biases of keys: their gradient is 0 but for rounding, and Adam makes steps of it.
    for name in y:
        if name.endswith("c_attn.bias"):
            x[name], y[name] = (np.delete(w, np.s_[16:32]) for w in (x[name], y[name]))
    assert np.sqrt(sum(np.sum((x[name] - y[name]).astype(float) ** 2) for name in y)) < 1e-6 * whole
