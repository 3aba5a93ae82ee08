"""A sample of the hostile tries of hostile.py; make hostile makes all of them."""

import re
import subprocess
import sys
from pathlib import Path


def test_hostile_tries_hold():
    """One worker, for the other core has tests of its own."""
    command = [sys.executable, str(Path(__file__).with_name("hostile.py")), "--sample", "150", "--workers", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"150 tries .* 0 failed, 0 changed", ended.stdout)
