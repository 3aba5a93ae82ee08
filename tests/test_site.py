"""The site of `make docs`, as a reader without a network sees it, in a real browser; skipped where it is not built."""

import inspect
import os
import re
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from browsers import opened

SITE = Path(__file__).parents[1] / "build" / "site"
ROOT = SITE.parents[1]


@pytest.fixture(scope="module", autouse=True)
def _built():
    if not (SITE / "README.html").is_file():
        if os.environ.get("REQUIRE_SITE"):
            pytest.fail("make docs has built no site")
        pytest.skip("no site: make docs")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


class Links(HTMLParser):
    """What a page leads to, what it loads, and what can be led to in it."""

    def __init__(self, path):
        super().__init__()
        self.to, self.loaded, self.ids = [], [], set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[name] for name in ("id", "name") if attrs.get(name)}
        if tag == "a" and attrs.get("href"):
            self.to.append(attrs["href"])
        elif tag != "a" and (attrs.get("src") or attrs.get("href")):
            self.loaded.append(attrs.get("src") or attrs["href"])


@pytest.fixture(scope="module")
def pages():
    return {path.resolve(): Links(path) for path in sorted(SITE.rglob("*.html"))}


def test_every_link_leads_somewhere(pages):
    wrong = []
    for page, links in pages.items():
        if page.relative_to(SITE).parts[0] == "_modules":  # of a name that two pages describe, its source leads to neither
            continue
        for link in links.to + links.loaded:
            parts = urlsplit(link)
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            there = target.is_file() and (
                not parts.fragment or target not in pages or unquote(parts.fragment) in pages[target].ids
            )
            if not parts.scheme and not there:
                wrong.append(f"{page.relative_to(SITE)}: {link}")
    assert not wrong, "\n".join(wrong[:20])


def test_nothing_is_loaded_from_another_host(pages):
    loaded = {link for links in pages.values() for link in links.loaded if urlsplit(link).scheme or link.startswith("//")}
    assert {link for link in loaded if not link.startswith("data:")} == set()


def test_all_pages_are_there_in_their_language():
    pages = [page for pattern in ("*.md", "docs/*.md", "docs/zh/*.md", "experiments/*/*.md") for page in ROOT.glob(pattern)]
    assert len(pages) > 40
    for page in pages:
        text = (SITE / page.relative_to(ROOT)).with_suffix(".html").read_text("utf-8")
        chinese = page.parent.name == "zh" or page.name.endswith(".zh.md")
        assert re.search('<html[^>]* lang="(.*?)"', text)[1] == ("zh-CN" if chinese else "en"), page


def test_the_reference_has_every_public_name(pages):
    """Each in `__all__` of the packages that it describes."""
    packages = [
        import_module(name)
        for name in ("tinygrad2", "tinygrad2.ops", "tinygrad2.nn", "tinygrad2.optim", "tinygrad2.study", "gpt2")
    ]
    reference = "".join(path.read_text("utf-8") for path in (SITE / "docs" / "reference").glob("*.html"))
    for package in packages:
        for name in package.__all__:
            value = getattr(package, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                assert re.search(rf'id="(tinygrad2|gpt2)[\w.]*\.{re.escape(name)}"', reference), f"{package.__name__}.{name}"


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("gradcheck", "docs/reference/tinygrad2.gradcheck"),
        ("accumulating gradients", "experiments/02_accumulation/README"),
        ("梯度", "docs/zh/what-a-step-is"),
        ("链式法则", "docs/zh/the-chain-rule"),
    ],
)
def test_search_finds_words_of_both_languages(browser, words, page):
    browser.get(f"{(SITE / 'search.html').as_uri()}?q={quote(words)}")
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(lambda browser: "finished" in browser.find_element("id", "search-results").text)
    found = [a.get_attribute("href") for a in browser.find_elements("css selector", "#search-results li a")]
    assert any(f"/{page}.html" in link for link in found), found


@pytest.mark.parametrize("page", ["README", "docs/zh/the-chain-rule", "docs/deriving-the-rules", "docs/reference/tinygrad2"])
@pytest.mark.parametrize("width", [1400, 1024, 390])
def test_a_page_fits_and_says_no_error(browser, page, width):
    browser.set_window_size(width, 900)
    browser.get_log("browser")
    browser.get((SITE / f"{page}.html").as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_mathematics_is_drawn(browser):
    browser.get((SITE / "docs" / "deriving-the-rules.html").as_uri())
    sizes = browser.execute_script("return [...document.querySelectorAll('math')].map((m) => m.getBoundingClientRect().width)")
    assert len(sizes) > 20
    assert min(sizes) > 5


def test_what_is_opened_first_leads_to_the_readme(browser):
    browser.get((SITE / "index.html").as_uri())
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(lambda browser: browser.current_url.endswith("README.html"))
