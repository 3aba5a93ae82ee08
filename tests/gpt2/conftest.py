"""Small trainings do not draw: two pictures take longer than the training. Where they matter, run_once(..., draws=True)."""

from unittest.mock import patch

import pytest


@pytest.fixture(scope="session", autouse=True)
def undrawn():
    with patch.multiple("gpt2.training", plot_loss=lambda *_: None, plot_training=lambda *_: None):
        yield
