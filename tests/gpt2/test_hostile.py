"""Some of the hostile tries of hostile.py, so that every row of its tables is in one; make hostile makes all of them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_hostile_tries_hold():
    """One worker, for the other core has tests of its own."""
    command = [sys.executable, str(Path(__file__).with_name("hostile.py")), "--covering", "--workers", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    tries = re.search(r"^(\d+) tries .* 0 failed, 0 changed", ended.stdout, re.M)
    assert tries
    assert int(tries[1]) >= 100
