"""The version is written in tinygrad2/__init__.py; what else names it says the same."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import gpt2
import tinygrad2

ROOT = Path(__file__).parents[1]


def test_both_packages_have_the_version_of_the_distribution():
    assert re.fullmatch(r"\d+\.\d+\.\d+", tinygrad2.__version__)
    assert gpt2.__version__ == tinygrad2.__version__
    about = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert about["project"]["dynamic"] == ["version"]
    assert about["tool"]["hatch"]["version"] == {"path": "tinygrad2/__init__.py"}


def test_the_citation_names_it():
    (version,) = re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert version == tinygrad2.__version__


def test_a_checkout_that_is_not_installed_has_it_and_gpt2_loads_nothing_before_it_is_asked():
    code = (
        f"import sys; sys.path[:] = [{str(ROOT)!r}, *{sys.path!r}]; import gpt2; print('tinygrad2' in sys.modules)\n"
        "from importlib import metadata; metadata.version = None\n"
        "print(gpt2.__version__)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", tinygrad2.__version__]
