"""Pages of the lab in a browser: what a learner sees and does there."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import numpy as np

from gpt2 import GPT2, GPT2Config
from tinygrad2 import study


class Page:
    """A page in the browser: what a learner can see and do."""

    def __init__(self, browser, path):
        self.browser, self.path = browser, path
        self.data = json.loads(re.search(r'<script type="application/json".*?>(.*?)</script>', path.read_text(), re.S)[1])

    def open(self, anew=False, **state):
        """Show the page in a state; `anew` loads it again."""
        url = self.path.as_uri() + "#" + "&".join(f"{name}={value}" for name, value in state.items())
        if anew or self.browser.current_url.partition("#")[0] != self.path.as_uri():
            self.browser.get("about:blank")
            self.browser.get(url)
        else:
            self.browser.execute_script("history.replaceState(null, '', arguments[0]); show();", url)
        return self

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def one(self, selector):
        (element,) = self.all(selector)
        return element

    def text(self, selector):
        return self.one(selector).text

    def press(self, key):
        self.one("body").send_keys(key)

    def click(self, key):
        """Click what is called so."""
        script = """const [found, ...others] = document.querySelectorAll(`[data-key="${arguments[0]}"]`);
            if (!found || others.length) throw new Error(`one of ${arguments[0]}`);
            found.click()"""
        self.browser.execute_script(script, key)

    def wait(self, condition, *args):
        """Wait for what the browser does in its own time: until a JavaScript expression is true."""
        script = f"""const done = arguments[arguments.length - 1];
            const look = () => ({condition}) ? done() : setTimeout(look, 20);
            look();"""
        self.browser.execute_async_script(script, *args)

    @property
    def here(self):
        """The number of the op that is shown."""
        return int(self.one("#map .op.here").get_attribute("data-value"))

    @property
    def state(self):
        return {name: value for name, (value,) in parse_qs(urlsplit(self.browser.current_url).fragment).items()}

    def numbers(self, selector):
        """The matrices that fit a selector: what is shown, and what is behind it, both as flat lists."""
        script = """return [...document.querySelectorAll(arguments[0])].map((figure) => {
            const cells = [...figure.querySelectorAll("tbody td")];
            return [cells.map((cell) => cell.textContent), cells.map((cell) => Number(cell.title))]; })"""
        return self.browser.execute_script(script, selector)

    def errors(self):
        return [entry["message"] for entry in self.browser.get_log("browser")]


def page_of_a_network(browser, path, layers):
    """A page, and the trace, of the loss of a small GPT-2 whose head is tied."""
    config = GPT2Config(11, 8, 8, layers, 2, 16, dropout=0.0, tie_embeddings=True, head_bias=False)
    model = GPT2(config, seed=0)
    ids = np.array([[1, 2, 3, 4, 2]])
    with study.record():
        loss = model.loss(ids[:, :-1], ids[:, 1:])
    title = f"A {'one' if layers == 1 else 'two'}-layer GPT-2"
    study.lab(loss, path, title, "4 tokens, width 8, a tied head", tokens=["one", "two", "three", "four"])
    page = Page(browser, path)
    page.trace, page.leaves = study.Trace(loss), dict(model.named_parameters())
    loss.backward()
    return page


def answer(page, kind, text, question):
    """Give an answer; what the verdict says."""
    page.open(mode="predict", question=question, kind=kind)
    field = page.one('[data-key="answer"]')
    field.send_keys(text)
    field.submit()
    verdict = page.one(".verdict")
    return verdict.get_attribute("data-kind"), verdict.text


def question_of(page, user, target):
    """The number of the question about a use of a value, by the variable names of its ends."""
    names = [value["variable"] for value in page.data["values"]]
    edge = next(i for i, e in enumerate(page.data["edges"]) if (names[e["user"]], names[e["target"]]) == (user, target))
    return next(i for i, question in enumerate(page.data["questions"]) if edge in question["uses"])
