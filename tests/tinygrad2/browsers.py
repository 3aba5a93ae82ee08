"""A real browser for the tests of pages."""

import os
import shutil
from pathlib import Path
from typing import Any

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


def started(profile: Path) -> Any:
    """A driver of Chromium without a window and without a network, whose files are in that folder; as `driver_path`."""
    path = driver_path()
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = path[0]
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-ipc-flooding-protection",  # a script clicks faster than Chrome lets anybody navigate
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "host-resolver-rules=MAP * ~NOTFOUND",
        "force-color-profile=srgb",
        "hide-scrollbars",
        "window-size=400,300",  # a third less to compute than at the size of a screen
        f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(path[1]))
