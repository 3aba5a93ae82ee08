"""What tests share."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from tinygrad2 import kernels

# A shell lets what it starts in the background ignore Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Slow files first: where files are shared out among processes, small ones fill what is left of the time."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def rng():
    """The same random numbers in every run."""
    return np.random.default_rng(0)


@pytest.fixture(params=kernels.IMPLEMENTATIONS)
def implementation(request, monkeypatch):
    """Runs a test once on every implementation of the kernels."""
    monkeypatch.setattr(kernels, "current", kernels.load(request.param))
    return request.param


@pytest.fixture(scope="session")
def torch():
    """PyTorch as an oracle. Without it the test is skipped or, where REQUIRE_ORACLE is set, fails."""
    if os.environ.get("REQUIRE_ORACLE"):
        import torch
    else:
        torch = pytest.importorskip("torch", reason="pip install -e '.[oracle]'")
    return torch


@pytest.fixture(scope="session")
def text():
    """Some real English."""
    from gpt2.text.corpora import pydocs

    return pydocs()[:30_000]


@pytest.fixture(scope="session")
def shakespeare():
    """The path of tiny Shakespeare: in `data/`, or in the folder that SHARED_DATA names."""
    folder = Path(os.environ.get("SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    path = folder / "tinyshakespeare.txt"
    if not path.exists():
        pytest.skip(f"no {path}")
    return path
