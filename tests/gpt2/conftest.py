"""A user who may not read everything."""

import os
import shutil
import subprocess
import sys

import pytest

SETPRIV = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


@pytest.fixture
def unprivileged():
    """Runs Python code in a process that may read only what its user may, also where that is root."""
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root may read everything, and there is no setpriv")

    def run(code, *arguments):
        command = [*(SETPRIV if os.geteuid() == 0 else []), sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture(scope="session")
def transformers():
    if not os.environ.get("REQUIRE_ORACLE"):
        pytest.importorskip("torch", reason="pip install -e '.[oracle]'")
        pytest.importorskip("transformers", reason="pip install -e '.[oracle]'")
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers
