"""The page by keyboard, by touch and by screen reader; axe-core looks at it where it is installed (npm install axe-core)."""

import pytest
from browsers import axe, violations
from lab_pages import Page

from tinygrad2.study.__main__ import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small(browser, tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "lab.html"
    assert main(["lab", "gpt2", "--out", str(path)]) == 0
    return Page(browser, path).open(anew=True)


def states(page):
    """A page in each mode, with what appears on the way."""
    count = len(page.data["questions"])
    cases = page.data["diagnose"]["cases"]
    faulty = next(i for i, case in enumerate(cases) if case["culprit"] is not None)
    attention = next(i for i, op in enumerate(page.data["steps"]) if page.data["values"][op]["op"] == "causal_attention")
    last = page.data["steps"][-1]
    over = {f"accused{i}": "healthy" for i in range(len(cases))}
    yield {"mode": "watch"}
    yield {"mode": "watch", "step": attention}
    yield {"mode": "watch", "step": len(page.data["steps"]) - 1}
    yield {"mode": "predict"}
    yield {"mode": "predict", "question": count - 1, "kind": "type", "said": "g"}
    yield {"mode": "predict", "question": 2, "answers": "r" * count, "kind": "shape", "said": "(3,)"}
    yield {"mode": "diagnose", "case": faulty, f"probed{faulty}": last, "sure": "healthy"}
    yield {"mode": "diagnose", "case": faulty, **over}


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (1400, "dark"), (390, "light"), (390, "dark")])
def test_axe_finds_nothing_serious(small, width, scheme):
    script = axe()
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    small.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    small.browser.set_window_size(width, 900)
    small.browser.execute_script(script)
    found = []
    try:
        for state in states(small):
            small.open(**state)
            small.browser.execute_script("document.querySelectorAll('details').forEach((x) => (x.open = true))")
            found += [(state["mode"], *violation) for violation in violations(small.browser)]
    finally:
        small.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        small.browser.set_window_size(400, 300)
    assert found == []


CONTRAST = """
const channels = (text) => {
  const canvas = document.createElement("canvas").getContext("2d");
  return (colour, under) => {
    canvas.globalCompositeOperation = "source-over";
    canvas.fillStyle = `rgb(${under})`;
    canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
};
const paint = channels();
const light = (rgb) => {
  const [r, g, b] = rgb.map((x) => ((x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const under = (element) => {
  const above = [];
  for (let at = element; at; at = at.parentElement) above.unshift(getComputedStyle(at).backgroundColor);
  return above.reduce((rgb, colour) => paint(colour, rgb), [255, 255, 255]);
};
const found = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || element.closest(":disabled, .unseen, .skip, script, style") || !element.checkVisibility()) continue;
  const back = under(element);
  const [a, b] = [light(paint(getComputedStyle(element).color, back)), light(back)];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.push([ratio.toFixed(2), element.outerHTML.slice(0, 100)]);
}
return found;"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(small, scheme):
    """A contrast of at least 4.5 : 1 (WCAG 2.1, 1.4.3), computed here from the colours of the browser."""
    small.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    try:
        for state in states(small):
            small.open(**state)
            assert small.browser.execute_script(CONTRAST) == [], state
    finally:
        small.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_few_stops_of_the_tab_key_lead_to_what_is_done_next(small):
    from selenium.webdriver.common.keys import Keys

    for state, key in [({"mode": "watch"}, "next"), ({"mode": "predict"}, "next"), ({"mode": "diagnose"}, "probe")]:
        small.open(anew=True, **state)
        reached = []
        for _ in range(20):
            active = small.browser.switch_to.active_element
            active.send_keys(Keys.TAB)
            reached.append(small.browser.switch_to.active_element.get_attribute("data-key"))
            if reached[-1] == key:
                break
        assert reached[-1] == key
        assert len(reached) < 10, reached


def test_skipping_to_the_step_keeps_where_one_is(small):
    from selenium.webdriver.common.keys import Keys

    small.open(anew=True, mode="predict", question="3")
    small.one("body").send_keys(Keys.TAB)
    active = small.browser.switch_to.active_element
    assert active.get_attribute("class") == "skip"
    active.send_keys(Keys.ENTER)
    assert small.state == {"mode": "predict", "question": "3"}
    assert small.browser.switch_to.active_element.get_attribute("id") == "card"
    assert "question 4 of" in small.text(".top")


@pytest.mark.parametrize("mode", ["watch", "predict", "diagnose"])
def test_home_end_and_the_arrows_do_what_the_footer_says(small, mode):
    from selenium.webdriver.common.keys import Keys

    small.open(mode=mode)
    first = small.text("#card")
    small.press(Keys.END)
    last = small.text("#card")
    small.press(Keys.ARROW_RIGHT)
    assert small.text("#card") == last != first
    small.press(Keys.ARROW_LEFT)
    assert small.text("#card") not in (first, last)
    small.press(Keys.HOME)
    assert small.text("#card") == first


def test_the_arrows_in_a_matrix_scroll_it_and_do_not_turn_the_page(small):
    from selenium.webdriver.common.keys import Keys

    wide = next(i for i, op in enumerate(small.data["steps"]) if small.data["values"][op]["variable"] == "linear")
    small.open(mode="watch", step=wide)
    small.browser.set_window_size(500, 500)  # the narrowest window there is
    small.open(mode="watch", step=wide)
    box = small.browser.execute_script("return document.querySelector('.matrix[tabindex]')")
    assert box, "nothing scrolls"
    small.browser.execute_script("arguments[0].focus()", box)
    for _ in range(3):
        box.send_keys(Keys.ARROW_RIGHT)
    small.wait("arguments[0].scrollLeft > 0", box)
    assert small.state["step"] == str(wide)
    small.browser.set_window_size(400, 300)


def test_a_pager_leads_through_a_wide_array(small):
    wide = next(i for i, op in enumerate(small.data["steps"]) if small.data["values"][op]["variable"] == "linear")
    small.open(mode="watch", step=wide)
    behind = small.numbers(".upstream .total")[0][1]
    whole = small.browser.execute_script("return [...arrays[values[steps[arguments[0]]].gradient].data]", wide)
    later = "document.querySelector('.upstream .total .pager [aria-label=\"later columns\"]')"
    seen = [behind]
    for _ in range(2):
        small.browser.execute_script(f"{later}.click()")
        seen.append(small.numbers(".upstream .total")[0][1])
    assert small.browser.execute_script(f"return {later}.disabled")
    assert sorted(x for part in seen for x in part) == sorted(whole)
    assert "columns 16 to 23 of 24" in small.text(".upstream .total .pager")


def test_rows_to_touch_are_tall_enough(small):
    small.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        for state in states(small):
            small.open(**state)
            low = small.browser.execute_script(
                "return [...document.querySelectorAll('button, summary, input')].filter((x) => x.checkVisibility())"
                ".map((x) => [x.getBoundingClientRect().height, x.textContent]).filter(([height]) => height && height < 40)"
            )
            assert low == [], state
            assert small.browser.execute_script("return document.documentElement.scrollWidth <= innerWidth"), state
    finally:
        small.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
