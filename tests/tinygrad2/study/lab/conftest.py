"""A browser for the tests of the lab, and pages in it."""

import numpy as np
import pytest
from browsers import opened
from lab_pages import Page, page_of_a_network

from tinygrad2 import Tensor, study


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium without a window and without a network."""
    with opened(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def expression(browser, tmp_path_factory):
    """A page, and the trace, of an expression that broadcasts, and uses a value twice."""
    rng = np.random.default_rng(0)
    x, w, b = (Tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((3, 4), (4, 2), (2,)))
    with study.record():
        h = x @ w + b
        loss = np.mean(np.tanh(h) * h) + 0.5 * np.sum(w * w)
    path = tmp_path_factory.mktemp("expression") / "lab.html"
    study.lab(loss, path, "np.mean(np.tanh(h) * h) + 0.5 * np.sum(w * w)", "h = x @ w + b")
    page = Page(browser, path)
    page.trace, page.leaves = study.Trace(loss), {"x": x, "w": w, "b": b}
    loss.backward()
    return page


@pytest.fixture(scope="module")
def network(browser, tmp_path_factory):
    """Of one layer: it has every kind of op, and a page takes longer to draw the more ops there are."""
    return page_of_a_network(browser, tmp_path_factory.mktemp("network") / "lab.html", 1)


@pytest.fixture(scope="module")
def deep(browser, tmp_path_factory):
    return page_of_a_network(browser, tmp_path_factory.mktemp("deep") / "lab.html", 2)


@pytest.fixture(params=["expression", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("network", "deep"))])
def page(request):
    return request.getfixturevalue(request.param)
