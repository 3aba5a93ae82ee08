"""The page of the lab and a drawing, in the frame in which a notebook shows them: all that a click does works there, too."""

import numpy as np
import pytest

from tinygrad2 import Tensor, nn, study

pytestmark = pytest.mark.slow


class Bent(nn.Module):
    def forward(self, x):
        return np.tanh(x * x)


class Outer(nn.Module):
    def __init__(self):
        self.inner = Bent()

    def forward(self, x):
        return self.inner(x).sum()


def opened(browser, shown, path):
    """Inside the frame of what shows itself."""
    path.write_text(f'<!doctype html><meta charset="utf-8">{shown._repr_html_()}', encoding="utf-8")
    browser.get(path.as_uri())
    browser.get_log("browser")
    browser.switch_to.frame(0)


def test_every_mode_of_the_lab_opens(browser, tmp_path):
    x = Tensor([[0.5, -1.5, 2.0]], requires_grad=True)
    with study.record():
        loss = (np.tanh(x) * x).mean()
    opened(browser, study.lab(loss), tmp_path / "notebook.html")
    texts = set()
    for mode in ("Diagnose", "Predict", "Watch"):
        script = "[...document.querySelectorAll('button')].find(b => b.textContent === arguments[0]).click()"
        browser.execute_script(script, mode)
        texts.add(browser.execute_script("return document.querySelector('main').innerText"))
    assert len(texts) == 3
    assert browser.execute_script("return location.hash") == "#mode=watch"
    assert browser.get_log("browser") == []


def test_a_module_of_a_drawing_opens(browser, tmp_path):
    with study.record():
        loss = Outer()(Tensor([0.5, -1.5], requires_grad=True))
    opened(browser, study.draw(loss, open=False), tmp_path / "notebook.html")
    count = "return [...document.querySelectorAll('.node')].filter(n => getComputedStyle(n).display !== 'none').length"
    before = browser.execute_script(count)
    closed = "[...document.querySelectorAll('[aria-expanded=false]')].find(n => getComputedStyle(n).display !== 'none')"
    browser.execute_script(f"{closed}.dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
    assert browser.execute_script(count) > before
    assert browser.get_log("browser") == []
