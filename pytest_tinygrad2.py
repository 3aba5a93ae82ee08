"""The pytest plugin of tinygrad2.gradcheck: a fixture `gradcheck`, and the option --gradcheck-seed.

It is a file of its own, outside of the package, so that pytest can load it without NumPy; the rest is imported where the
fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tinygrad2.gradcheck import GradcheckResult


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option."""
    group = parser.getgroup("tinygrad2")
    group.addoption("--gradcheck-seed", type=int, default=0, metavar="N", help="decides the random directions of gradcheck")


@pytest.fixture
def gradcheck(request: pytest.FixtureRequest) -> Callable[..., GradcheckResult]:
    """tinygrad2.gradcheck, which fails the test, with the table, unless the verdict is *right*.

    With `expect="wrong"`, or another verdict, it fails unless that is the verdict. Returns the result.
    """
    from tinygrad2.errors import TinygradError
    from tinygrad2.gradcheck import gradcheck as check
    from tinygrad2.gradcheck.verdicts import ORDER

    def checked(f: Any, inputs: Any, *, expect: str = "right", **how: Any) -> GradcheckResult:
        __tracebackhide__ = True
        if expect not in ORDER:
            raise TinygradError(f"gradcheck: expect={expect!r} is no verdict; there are {', '.join(ORDER)}")
        seed = how.pop("seed", request.config.getoption("--gradcheck-seed"))
        result = check(f, inputs, seed=seed, **how)
        if result.verdict != expect:
            wanted = "" if expect == "right" else f" (expected: {expect})"
            pytest.fail(f"gradcheck: {result.verdict}{wanted}, with --gradcheck-seed {seed}\n{result}")
        return result

    return checked
