"""A sample of the hostile tries of hostile.py; with STRESS=1, all of them."""

import os
import re
import subprocess
import sys
from pathlib import Path

SAMPLE = () if os.environ.get("STRESS") else ("--sample", "150")


def test_hostile_tries_hold():
    """One worker, for the other core has tests of its own."""
    command = [sys.executable, str(Path(__file__).with_name("hostile.py")), *SAMPLE]
    workers = "2" if os.environ.get("STRESS") else "1"
    ended = subprocess.run([*command, "--workers", workers], capture_output=True, text=True, timeout=1500)
    print("\n" + ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = re.search(r"(\d+) tries .* 0 failed, 0 changed", ended.stdout)
    assert found
    assert int(found[1]) >= (1000 if os.environ.get("STRESS") else 150)
