"""`gpt2 --version` says which program this is and what computes, whatever the environment asks for."""

from importlib import metadata

import numpy as np
import pytest

import gpt2
from gpt2.cli import main
from gpt2.commands import version
from tinygrad2 import __version__


def said(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    return capsys.readouterr().out.splitlines()


def test_the_program_and_what_computes(capsys, monkeypatch):
    monkeypatch.delenv("TINYGRAD2_PRODUCTS", raising=False)
    first, python, computes, *_ = said(capsys)
    assert first == f"gpt2 {__version__}, of tinygrad2, in {gpt2.__path__[0]}"
    assert f"NumPy {np.__version__}" in python
    assert "kernels: n" in computes
    assert "numpy" in computes.split("matrix products: ")[1]


def test_a_wrong_variable_is_said_and_no_failure(capsys, monkeypatch):
    monkeypatch.setenv("TINYGRAD2_PRODUCTS", "abacus")
    assert "kernels: TINYGRAD2_PRODUCTS='abacus': it is one of" in said(capsys)[2]


def test_extras_are_those_of_which_all_is_there(monkeypatch):
    monkeypatch.setattr(
        metadata,
        "requires",
        lambda _: [
            "numpy>=2.3",
            "numpy>=2; extra == 'one'",
            "nothing-like-this; extra == 'two'",
            "numpy; extra == 'two'",
            "numpy; python_version > '3' and extra == \"three-x\"",
            "numpy; extra == 'lint'",
        ],
    )
    assert version.extras() == {name: [f"numpy {np.__version__}"] for name in ("one", "three-x")}


def test_a_checkout_that_is_not_installed_has_no_extras(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert version.extras() == {}
