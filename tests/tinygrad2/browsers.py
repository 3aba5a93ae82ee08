"""A real browser for the tests of pages."""

import os
import shutil

import pytest


def chromium() -> str:
    """The path of Chromium or Chrome. Without one the test is skipped or, where REQUIRE_BROWSER is set, fails."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        missing = "no browser: install chromium"
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def driver_path() -> tuple[str, str]:
    """The paths of the browser and of what lets a script use it; as `chromium`, without one of them."""
    browser = chromium()
    driver = shutil.which("chromedriver")
    if driver is None:
        missing = "no chromedriver: install chromium-driver"
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail(missing)
        pytest.skip(missing)
    return browser, driver
