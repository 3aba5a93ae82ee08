"""The page of the lab in a real browser, from its file, with every host blocked: what a learner does, done by a script."""

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from lab_pages import Page, answer, question_of

from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, study
from tinygrad2.ops.op import Op
from tinygrad2.study.__main__ import main
from tinygrad2.study.lab import SIZE

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[4] / "docs"


def digits(x):
    """A number as the page should show it: three digits."""
    if x == 0:
        return "0"
    if abs(x) >= 1e4 or abs(x) < 1e-3:
        mantissa, exponent = f"{x:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{x:.{max(0, 2 - int(np.floor(np.log10(abs(x)))))}f}"


def shown(array):
    """The first 6 x 8 or 12 x 12 of an array, of at most four matrices, in the order in which the page shows them."""
    rows, columns = (1, 1, *np.shape(array))[-2:]
    cut = np.reshape(array, (-1, rows, columns))[:4, : rows if rows <= 12 else 6, : columns if columns <= 12 else 8]
    return cut.ravel().tolist()


def test_it_opens_without_a_network_and_without_complaint(page):
    page.open(anew=True)
    assert page.one("#check").get_attribute("class") == ""
    edges = len(page.data["edges"])
    assert page.text("#check") == f"✓ checked here: {edges} receipts add up, {edges} rules give the same result"
    for mode in ("watch", "predict", "diagnose"):
        page.open(mode=mode)
        assert page.all("#card h2")[0].text
        assert page.browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert page.errors() == []


def test_keys_visit_the_ops_in_reverse_topological_order(page):
    from selenium.webdriver.common.keys import Keys

    page.open()
    ops = {number: value for number, value in enumerate(page.trace.values) if not value.is_leaf}
    visited = [page.here]
    for _ in range(len(ops) - 1):
        page.press(Keys.ARROW_RIGHT)
        visited.append(page.here)
    assert sorted(visited) == sorted(ops)
    place = {ops[number]: i for i, number in enumerate(visited)}
    for op, i in place.items():
        assert all(place[user] < i for user, _ in page.trace.consumers(op)), op
    page.press(Keys.ARROW_RIGHT)  # there is nothing after the last
    assert page.here == visited[-1]
    page.press(Keys.ARROW_LEFT)
    assert page.here == visited[-2]
    assert page.state["step"] == str(len(ops) - 2)


def test_receipts_add_up_to_the_gradients_of_numpy(page):
    gradients = page.trace.backward().gradients
    for step, number in enumerate(page.data["steps"]):
        page.open(mode="watch", step=step)
        op = page.trace.values[number]
        ((texts, behind),) = page.numbers(".upstream .total")
        assert behind == shown(gradients[op])
        assert texts == [digits(x) for x in shown(gradients[op])]
        received = page.numbers(".upstream .received")
        if received:
            sums = np.sum([numbers for _, numbers in received], axis=0)
            np.testing.assert_allclose(sums, behind, rtol=1e-5, atol=1e-7 * max(map(abs, behind)))


def test_what_leaves_get_is_their_grad(page):
    found = {}
    for step in range(len(page.data["steps"])):
        page.open(mode="watch", step=step)
        for send in page.all(".send"):
            edge = page.data["edges"][int(send.get_attribute("data-edge"))]
            name = page.data["values"][edge["target"]]["name"]
            shown_last = page.numbers(f'.send[data-edge="{send.get_attribute("data-edge")}"] figure')[-1]
            found[name] = shown_last[0]  # the last that is added completes it
    for name, leaf in page.leaves.items():
        assert found[name] == [digits(x) for x in shown(leaf.grad.data)], name


def solve(page, case):
    """Win a case as a learner could: halve the suspects with each probe. Returns what was accused."""
    edges, steps = page.data["edges"], page.data["steps"]
    reach = {}
    for op in steps:  # an op and what is between it and the loss
        users = [edge["user"] for edge in edges if edge["target"] == op]
        reach[op] = {op}.union(*(reach[user] for user in users))
    page.open(mode="diagnose", case=case)
    suspects = {*steps, "healthy"}
    while len(suspects) > 1:
        op = min(steps, key=lambda op: max(len(suspects & reach[op]), len(suspects - reach[op])))
        page.click(f"op {op}")
        page.click("probe")
        agrees = "= agree" in page.text(f'[data-probe="{op}"]')
        suspects = suspects - reach[op] if agrees else suspects & reach[op]
    (culprit,) = suspects
    if culprit != "healthy":
        page.click(f"op {culprit}")
    page.click("healthy" if culprit == "healthy" else "accuse")
    return culprit


def test_a_script_wins_every_case_within_its_budget(page):
    cases = page.data["diagnose"]["cases"]
    assert len(cases) >= 8
    assert len({case["title"] for case in cases}) >= 7
    for number, case in enumerate(cases):
        culprit = solve(page, number)
        assert culprit == ("healthy" if case["culprit"] is None else case["culprit"])
        assert page.one(".verdict").get_attribute("data-kind") == "won"
        assert len(page.all("[data-probe]")) <= case["budget"]


def test_accusing_the_healthy_loses_and_so_does_calling_the_sick_healthy(network):
    cases = network.data["diagnose"]["cases"]
    control = next(i for i, case in enumerate(cases) if case["culprit"] is None)
    network.open(mode="diagnose", case=control)
    network.click("accuse")
    assert "No probe disagrees so far." in network.text(".verdict.sure")  # it asks once
    assert network.text('[data-key="accuse"]') == "yes, accuse it"
    network.click("accuse")
    assert network.one(".verdict").get_attribute("data-kind") == "lost"
    faulty = next(i for i, case in enumerate(cases) if case["culprit"] is not None)
    network.open(mode="diagnose", case=faulty)
    network.click("healthy")
    assert "There was no probe yet." in network.text(".verdict.sure")
    network.click("probe")  # another thing to do takes the question back
    assert not network.all(".verdict.sure")
    network.open(mode="diagnose", case=faulty, sure="healthy")
    network.click("healthy")
    assert network.one(".verdict").get_attribute("data-kind") == "lost"
    network.open(mode="diagnose", case=faulty, op=next(op for op in network.data["steps"] if op != cases[faulty]["culprit"]))
    network.click("accuse")
    network.click("accuse")
    assert network.one(".verdict").get_attribute("data-kind") == "lost"


def test_a_case_has_no_more_probes_than_its_budget(expression):
    expression.open(mode="diagnose", case=0)
    for op in expression.data["steps"][: expression.data["diagnose"]["cases"][0]["budget"]]:
        expression.click(f"op {op}")
        expression.click("probe")
    expression.click(f"op {expression.data['steps'][-1]}")
    assert not expression.one('[data-key="probe"]').is_enabled()
    assert "0 probes left" in expression.text("#card")


def test_the_address_brings_everything_back(expression):
    edge = question_of(expression, "add", "b")
    answer(expression, "type", "g", edge)
    seen = [(expression.browser.current_url, expression.text("#card"))]
    solve(expression, 1)
    seen.append((expression.browser.current_url, expression.text("#card")))
    expression.open(mode="watch", step=3)
    expression.click("next")
    seen.append((expression.browser.current_url, expression.text("#card")))
    for url, text in seen:
        expression.browser.get("about:blank")
        expression.browser.get(url)
        assert expression.text("#card") == text
    assert "add" in seen[2][1] or "tanh" in seen[2][1]


@pytest.mark.parametrize("what", ["an array", "a probe", "a formula"])
def test_one_wrong_number_in_the_page_turns_the_check_red(expression, tmp_path, what):
    text = expression.path.read_text()
    if what == "an array":
        longest = max(re.findall(r'"d":"([^"]{20,})"', text), key=len)
        wrong = text.replace(longest, longest[:9] + ("A" if longest[9] != "A" else "B") + longest[10:])
    elif what == "a probe":
        slope = re.search(r'"measured":\{"\d+":(-?[\d.e-]+)', text)[1]
        wrong = text.replace(slope, slope[:-1] + ("1" if slope[-1] != "1" else "2"), 1)
    else:
        wrong = text.replace('"code":"g"', '"code":"-g"', 1)
    assert wrong != text
    (tmp_path / "lab.html").write_text(wrong)
    page = Page(expression.browser, tmp_path / "lab.html").open()
    assert page.one("#check").get_attribute("class") == "red"
    assert page.text("#check").startswith("✗ self-check: ")


def test_numbers_that_were_changed_with_their_checksum_do_not_add_up(expression, tmp_path):
    import base64
    import html
    import zlib

    text = expression.path.read_text()
    old = re.search(r'<script type="application/json" id="data" data-crc="(\d+)">(.*?)</script>', text, re.S)
    data = json.loads(old[2])
    entry = data["arrays"][data["edges"][-1]["part"]]
    array = np.frombuffer(base64.b64decode(entry["d"]), "f8").copy()
    array.flat[0] *= 1.001
    entry["d"] = base64.b64encode(array.tobytes()).decode()
    new = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    head = old[0].replace(old[1], str(zlib.crc32(new.encode()))).replace(old[2], new)
    (tmp_path / "lab.html").write_text(text.replace(old[0], head))
    page = Page(expression.browser, tmp_path / "lab.html").open()
    assert page.one("#check").get_attribute("class") == "red"
    assert "does not add up" in html.unescape(page.text("#check")) or "something else" in page.text("#check")


def test_what_a_screen_reader_says_and_what_the_tab_key_reaches(network):
    from selenium.webdriver.common.keys import Keys

    network.open()
    said = network.browser.execute_script("return document.getElementById('said').textContent")
    assert said.startswith(f"Step 1 of {len(network.data['steps'])}: lm_head.linear_cross_entropy. It sends gradients to ")
    assert said.endswith("lm_head.reshape, wte.weight.")
    active = lambda: network.browser.switch_to.active_element  # noqa: E731
    reached = []
    for _ in range(10):
        network.press(Keys.TAB) if not reached else active().send_keys(Keys.TAB)
        reached.append(active().get_attribute("data-key"))
    assert "next" in reached[:9]  # and the list of ops is one stop, in which the arrows lead on
    network.one("#map .here").send_keys(Keys.ARROW_DOWN)
    for _ in range(60):
        active().send_keys(Keys.ARROW_UP)
        reached.append(active().get_attribute("data-key"))
    assert {"module h.0", "leaves"} <= set(reached)
    unnamed = network.browser.execute_script(
        "return [...document.querySelectorAll('button, input')].filter((x) => !(x.textContent || x.ariaLabel).trim()).length"
    )
    assert unnamed == 0


def test_modules_open_and_close(network):
    network.open(step=0)
    summary = network.one('[data-key="module h.0"]')
    rows = len([row for row in network.all("#map .op") if row.is_displayed()])
    summary.click()
    fewer = len([row for row in network.all("#map .op") if row.is_displayed()])
    assert fewer < rows
    network.press("n")  # and it stays closed
    assert len([row for row in network.all("#map .op") if row.is_displayed()]) == fewer


def test_attention_is_open(browser, tmp_path):
    """What is inside its rule is what plain NumPy computes, with the tokens beside it."""
    assert main(["lab", "gpt2", "--out", str(tmp_path / "lab.html")]) == 0
    page = Page(browser, tmp_path / "lab.html").open(anew=True)
    step = next(i for i, op in enumerate(page.data["steps"]) if page.data["values"][op]["op"] == "causal_attention")
    page.open(mode="watch", step=step)
    browser.execute_script("document.querySelector('details.inside').open = true")
    page.wait("document.querySelector('details.inside figure')")
    titles = [figure.text.split(" ")[0] for figure in page.all(".inside figcaption")]
    found = dict(zip(titles, (behind for _, behind in page.numbers(".inside figure")), strict=True))
    op = page.data["steps"][step]
    script = """const value = values[arguments[0]];
        return [values[value.inputs[0].value].array, value.gradient].map((number) => [...arrays[number].data]);"""
    qkv, g = (np.reshape(x, (3, -1)) for x in browser.execute_script(script, op))
    heads = [np.split(part, 2, axis=1) for part in np.split(qkv, 3, axis=1)]
    q, k, v = (np.stack(part) for part in heads)
    h = np.stack(np.split(g, 2, axis=1))
    scores = np.einsum("hid,hjd->hij", q, k) / 2
    weights = np.exp(scores) * np.tri(3)
    weights /= weights.sum(-1, keepdims=True)
    dp = np.einsum("hid,hjd->hij", h, v)
    ds = weights * (dp - (dp * weights).sum(-1, keepdims=True)) / 2
    expected = {
        "q": q, "k": k, "v": v, "h": h, "scores": scores, "weights": weights, "dv": np.einsum("hij,hid->hjd", weights, h),
        "dp": dp, "ds": ds, "dq": np.einsum("hij,hjd->hid", ds, k), "dk": np.einsum("hij,hid->hjd", ds, q),
    }  # fmt: skip
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array.ravel(), rtol=1e-6, atol=1e-9, err_msg=name)
    labels = "return [...arguments[0].querySelectorAll('th')].map((x) => x.textContent)"
    figures = dict(zip(titles, page.all(".inside figure"), strict=True))
    words = ["to", "be", "or"]
    assert browser.execute_script(labels, figures["weights"]) == 4 * words
    assert browser.execute_script(labels, figures["q"]) == 2 * words
    adds = next(i for i, e in enumerate(page.data["edges"]) if page.data["values"][e["target"]]["name"] == "wpe")
    page.open(mode="watch", step=page.data["steps"].index(page.data["edges"][adds]["user"]))
    own, gradient = page.all(f'.send[data-edge="{adds}"] figure')  # its rows are positions, as many as there are tokens
    assert browser.execute_script(labels, own) == []
    assert browser.execute_script(labels, gradient) == words  # that is g of the same tokens


class Halves(Op):
    """What a loop gives has no formula."""

    @staticmethod
    def forward(x):
        return x / 4

    @staticmethod
    def vjp(g, out, x):
        for _ in range(2):
            g = g / 2
        return (g,)


def test_an_op_without_a_formula_is_shown_without_it_and_can_be_predicted(browser, tmp_path):
    x = Tensor([[0.5, -1.5, 2.0]], requires_grad=True)
    with study.record():
        loss = np.sum(Halves.call(np.tanh(x)) * np.array([1.0, 4.0, 2.0]))
    study.lab(loss, tmp_path / "lab.html")
    page = Page(browser, tmp_path / "lab.html")
    page.open(anew=True)
    assert page.text("#check") == "✓ checked here: 4 receipts add up, 3 rules give the same result"
    step = next(i for i, op in enumerate(page.data["steps"]) if page.data["values"][op]["variable"] == "halves")
    page.open(mode="watch", step=step)
    assert "Its formula is not shown" in page.text(".send")
    assert page.numbers(".send .part")[0][1] == [0.25, 1.0, 0.5]
    edge = question_of(page, "halves", "tanh")
    page.open(mode="predict", question=edge)
    assert "Not here: pick the rule; the formula of this rule is not shown." in page.text(".ask")
    assert page.one('[data-key="kind pick"]').get_attribute("disabled")
    page.open(mode="predict", question=edge, kind="pick", said="7")  # an address that somebody typed
    assert page.one(".verdict").get_attribute("class") == "verdict wrong"
    assert answer(page, "type", "g / 4", edge)[0] == "right"
    assert answer(page, "type", "-g / 4", edge)[0] == "sign"
    assert answer(page, "shape", "1, 3", edge)[0] == "right"
    page.click("next")
    assert len(page.data["diagnose"]["cases"]) > 2
    culprits = {case["culprit"] for case in page.data["diagnose"]["cases"]}
    for number in range(len(page.data["diagnose"]["cases"])):
        assert solve(page, number) in culprits | {"healthy"}
        assert page.one(".verdict").get_attribute("data-kind") == "won"
    assert page.errors() == []


class Particular(Halves):
    """Takes no other numbers than those of the test."""

    @staticmethod
    def forward(x):
        if (x != 1).any():
            raise ValueError("all must be 1")
        return x / 4


def test_a_rule_without_a_formula_is_judged_however_large_and_one_that_cannot_be_is_not_asked(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[study.lab.__module__], "LIMITS", (0,))
    x = Tensor(np.ones((15, 15)), requires_grad=True)
    with study.record():
        loss = np.sum(Particular.call(Halves.call(x) * 4))
    study.lab(loss, tmp_path / "lab.html")
    page = Page(browser, tmp_path / "lab.html")
    assert answer(page, "type", "g / 4", question_of(page, "halves", "x"))[0] == "right"
    assert answer(page, "type", "g / 5", question_of(page, "halves", "x"))[0] == "factor"
    page.open(mode="predict", question=question_of(page, "particular", "multiply"), kind="type")
    assert "Not here: type the rule; this op takes no other numbers than those here" in page.text(".ask")
    assert not page.all('[data-key="answer"][aria-label^="NumPy"]')  # it asks for the shape instead
    assert page.one('[data-key="kind type"]').get_attribute("disabled")


def test_a_page_stays_within_its_size(browser, tmp_path):
    config = GPT2Config(65, 16, 192, 2, 4, 768, dropout=0.0)
    model = GPT2(config, seed=0)
    assert model.num_parameters() * 4 > SIZE
    ids = np.arange(7)[None]
    with study.record():
        loss = model.loss(ids[:, :-1], ids[:, 1:])
    size = study.lab(loss, tmp_path / "lab.html", "wide", inside="h.1.attn")
    assert size == (tmp_path / "lab.html").stat().st_size <= SIZE
    page = Page(browser, tmp_path / "lab.html").open()
    assert page.one("#check").get_attribute("class") == ""
    values = {value["name"]: value for value in page.data["values"]}
    cut = {name: "w" in page.data["arrays"][value["array"]] for name, value in values.items()}
    assert cut["h.0.mlp.c_fc.weight"]
    assert not cut["h.1.attn.c_proj.weight"]
    edge = question_of(page, "h_0_mlp_c_fc_linear", "h_0_ln_2_layer_norm")
    assert answer(page, "type", "g @ w.T", edge)[0] == "right"
    assert answer(page, "type", "g @", edge)[0] == "error"
    assert "answers" not in page.state  # what cannot be computed is not counted
    assert page.errors() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screenshots(browser, tmp_path, scheme):
    """A picture in each scheme of what `study lab gpt2` makes; where SCREENSHOTS is set one of each mode, in `docs/`."""
    from PIL import Image  # which matplotlib brings

    assert main(["lab", "gpt2", "--out", str(tmp_path / "lab.html")]) == 0
    page = Page(browser, tmp_path / "lab.html")
    browser.set_window_size(1400, 1050)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    names = [page.data["values"][op]["variable"] for op in page.data["steps"]]
    question = question_of(page, "linear", "layer_norm")
    case = next(i for i, case in enumerate(page.data["diagnose"]["cases"]) if case["culprit"] is not None)
    states = {
        "watch": {"step": names.index("causal_attention")},
        "predict": {"question": question, "kind": "type", "said": "g @ w"},
        "diagnose": {"case": case, f"probed{case}": ".".join(map(str, page.data["steps"][2:12:4]))},
    }
    for mode, state in list(states.items())[: None if os.environ.get("SCREENSHOTS") else 1]:
        page.open(mode=mode, **state)
        browser.execute_script("scrollTo(0, 0)")
        if mode == "watch":
            browser.execute_script("document.querySelector('details.inside').open = true")
            page.wait("document.querySelector('details.inside figure')")
            browser.execute_script("document.querySelector('details.inside').scrollIntoView({ block: 'center' })")
        path = tmp_path / f"lab-{mode}.png"
        browser.save_screenshot(str(path))
        picture = np.asarray(Image.open(path).convert("RGB"))
        assert (picture.mean() > 128) == (scheme == "light")
        assert len(np.unique(picture.reshape(-1, 3) // 16, axis=0)) > 50
        if os.environ.get("SCREENSHOTS") and scheme == "light":
            Image.open(path).convert("RGB").quantize(160).save(DOCS / path.name, optimize=True)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.set_window_size(400, 300)
