"""A real browser for the tests of pages."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


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


@contextlib.contextmanager
def opened(profile, *flags):
    """Chromium without a window and without a network, driven by a script; as `driver_path`, without one."""
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
        *flags,
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(path[1]))
    try:
        yield driver
    finally:
        driver.quit()


def axe():
    """The text of axe-core; without it the test is skipped."""
    places = [os.environ.get("AXE_CORE"), ROOT / "node_modules" / "axe-core" / "axe.min.js"]
    for place in places:
        if place and Path(place).is_file():
            return Path(place).read_text()
    pytest.skip("no axe-core: npm install axe-core, or AXE_CORE=path/to/axe.min.js")


def violations(driver):
    """What axe-core, which the page has loaded, finds that is not minor: the rule, how many elements, and some of them."""
    found = driver.execute_async_script(
        "const done = arguments[0]; axe.run(document, {rules: {}}).then((found) => done(found.violations))"
    )
    for violation in found:
        if violation["impact"] in ("serious", "critical", "moderate"):
            nodes = [f"{node['html'][:120]} {node['any'][0]['message'] if node['any'] else ''}" for node in violation["nodes"]]
            yield violation["id"], len(nodes), nodes[:3]
