"""`gpt2 --version`: which program this is, where it is from, and what computes."""

from __future__ import annotations

import argparse
import platform
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import gpt2
from gpt2.terminal import one_line
from tinygrad2 import __version__, kernels
from tinygrad2.errors import UnsupportedError
from tinygrad2.kernels.fast import products

REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)[^;]*;.*extra == ['\"](?P<extra>[\w-]+)['\"]")
"""What an extra needs, as the metadata of a distribution say it."""

ABOUT_WORK = ("test", "lint", "oracle", "package", "docs", "mutation")
"""Extras for those who work on this program."""


class Version(argparse.Action):
    """The flag: it prints, and ends."""

    def __init__(self, option_strings: list[str], dest: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="show the version, and what computes here")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print, and end."""
        for line in lines():
            print(one_line(line))
        parser.exit()


def lines() -> Iterator[str]:
    """What is said."""
    yield f"gpt2 {__version__}, of tinygrad2, in {Path(gpt2.__file__).parent}"
    yield f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.system()} on {platform.machine()}"
    try:
        about = kernels.running()
        yield f"kernels: {about['kernels']}; matrix products: {', '.join(products.available())}; bfloat16: {about['unit']}"
    except UnsupportedError as error:  # a variable of the environment asks for what is not there
        yield f"kernels: {error}"
    if found := extras():
        yield "extras: " + ", ".join(f"{name} ({', '.join(parts)})" for name, parts in found.items())


def extras() -> dict[str, list[str]]:
    """Those of which all is installed, with what they consist of; none where the program is not installed itself."""
    found: dict[str, list[str]] = {}
    try:
        requirements = metadata.requires("tinygrad2") or []
    except metadata.PackageNotFoundError:
        return {}
    missing = set(ABOUT_WORK)
    for one in filter(None, map(REQUIREMENT.match, requirements)):
        try:
            found.setdefault(one["extra"], []).append(f"{one['name']} {metadata.version(one['name'])}")
        except metadata.PackageNotFoundError:
            missing.add(one["extra"])
    return {name: parts for name, parts in found.items() if name not in missing}
