"""How *Predict* judges: on other numbers than the page has, by name, each rule once; done by a script in a real browser."""

import numpy as np
import pytest
from lab_pages import Page, answer, question_of

from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, ops, study
from tinygrad2.study.__main__ import main

pytestmark = pytest.mark.slow


def page_of(browser, folder, loss, **settings):
    path = folder / "lab.html"
    study.lab(loss, path, **settings)
    page = Page(browser, path)
    page.trace = study.Trace(loss)
    return page.open(anew=True)


@pytest.fixture(scope="module")
def softmax(browser, tmp_path_factory):
    """The first example of the docs: g is all ones where the sum sends it."""
    rng = np.random.default_rng(0)
    x, w, t = (Tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((3, 4), (4, 2), (3, 2)))
    with study.record():
        loss = np.sum(ops.softmax(x @ w) * t)
    return page_of(browser, tmp_path_factory.mktemp("softmax"), loss)


@pytest.fixture(scope="module")
def run(browser, tmp_path_factory):
    """Of a real run the arrays are too large for the page."""
    model = GPT2(GPT2Config(65, 64, 128, 4, 4, 512, dropout=0.0), seed=0)
    ids = np.array([[3, 1, 4, 1, 5, 9, 2]])
    with study.record():
        loss = model.loss(ids[:, :-1], ids[:, 1:])
    return page_of(browser, tmp_path_factory.mktemp("run"), loss, inside="h.0")


TYPE = """
const [question, texts] = arguments;
return texts.map((text) => {
  go({ mode: "predict", question, kind: "type", said: null, answers: null });
  const field = document.querySelector('[data-key="answer"]');
  field.value = text;
  field.form.requestSubmit();
  const verdict = document.querySelector(".verdict");
  return { kind: verdict.dataset.kind, right: verdict.classList.contains("right"), text: verdict.textContent };
});"""


def judged(page, question, texts):
    """The verdicts on rules that are typed into the form and submitted, in one call of the browser."""
    return page.open().browser.execute_script(TYPE, question, list(texts))


@pytest.fixture(scope="module")
def small(browser, tmp_path_factory):
    """The page of `study lab gpt2`."""
    path = tmp_path_factory.mktemp("small") / "lab.html"
    assert main(["lab", "gpt2", "--out", str(path)]) == 0
    return Page(browser, path).open(anew=True)


PAGES = ["expression", "softmax", "small"]
WITH_RUN = [*PAGES, pytest.param("run", marks=pytest.mark.exhaustive)]


def without_g(code):
    """Rules that are right where g is 1, and only there."""
    head, _, last = code.rpartition("; ")
    lead = f"{head}; " if head else ""
    return [
        f"g = np.ones_like(g); {code}",
        f"g = g * g; {code}",
        f"{lead}({last}) * np.mean(g)",
        f"g = g ** 3; {code}",
        f"g = np.abs(g); {code}",
    ]


@pytest.mark.parametrize("name", WITH_RUN)
def test_rules_that_are_right_only_where_g_is_1_are_not_right(request, name):
    page = request.getfixturevalue(name)
    tried = 0
    for number, question in enumerate(page.data["questions"]):
        texts = without_g(question["right"])
        for text, found in zip(texts, judged(page, number, texts), strict=True):
            assert not found["right"], (question["right"], text, found)
            tried += 1
    assert tried >= 5 * len(page.data["questions"])


def spelled(code):
    """A rule as others would write it."""
    head, _, last = code.rpartition("; ")
    lead = f"{head}; " if head else ""
    yield code
    yield f"{lead}answer = {last}; answer"
    yield f"{lead}0 + 1.0 * ({last})"
    yield code.replace(".T", ".transpose()").replace("np.sum(g, axis=(0, 1))", "g.sum((0, 1))").replace(" ** 2", "**2")


@pytest.mark.parametrize("name", WITH_RUN)
def test_right_rules_are_right_in_every_spelling(request, name):
    page = request.getfixturevalue(name).open()
    assert page.browser.execute_script("return data.questions.map((question) => Judge.hindrance(question))") == [None] * len(
        page.data["questions"]
    )
    for number, question in enumerate(page.data["questions"]):
        texts = list(spelled(question["right"]))
        for text, found in zip(texts, judged(page, number, texts), strict=True):
            assert found["right"], (text, found)


ATTENTION = (
    "q, k, v = [np.swapaxes(part.reshape(3, 2, 4), 0, 1) for part in np.split(qkv, 3, axis=-1)]; "
    "e = np.exp(q @ k.transpose(0, 2, 1) / 2) * np.tril(np.ones((3, 3))); p = e / e.sum(-1, keepdims=True); "
    "dz = g.reshape(3, 2, 4).swapaxes(0, 1); dv = np.einsum('hij,hid->hjd', p, dz); dp = np.einsum('hid,hjd->hij', dz, v); "
    "ds = (dp - (dp * p).sum(-1, keepdims=True)) * p / np.sqrt(4); "
    "np.concatenate([d.swapaxes(0, 1).reshape(3, 8) for d in (ds @ k, ds.transpose(0, 2, 1) @ q, dv)], axis=-1)"
)
PAPER = {  # as they are derived on paper, not as the engine writes them
    "linear": ["np.einsum('ij,kj->ik', g, w)", "np.einsum('ij,ik->jk', x, g)", "np.ones(len(g)) @ g"],
    "gelu": [
        "u = 0.7978845608028654 * (x + 0.044715 * x**3); du = 0.7978845608028654 * (1 + 0.134145 * x * x); "
        "g * (0.5 + 0.5 * np.tanh(u) + 0.5 * x * du / np.cosh(u)**2)"
    ],
    "layer_norm": [
        "n = 8; std = x.std(-1, keepdims=True); y = (x - x.mean(-1, keepdims=True)) / np.sqrt(std**2 + 1e-5); d = g * gain; "
        "{}(n * d - d.sum(-1, keepdims=True) - y * (d * y).sum(-1, keepdims=True)) / (n * np.sqrt(std**2 + 1e-5))",
        "y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps); (y * g).sum(axis=0)",
        "g.T.sum(axis=1)",
    ],
    "linear_cross_entropy": [
        "z = np.exp(h @ w.T); z = z / z.sum(1, keepdims=True); g / len(h) * (z - np.eye(len(w))[targets]) @ w",
        "z = np.exp(h @ w.T); z = z / z.sum(1, keepdims=True); g / len(h) * (z - np.eye(len(w))[targets]).T @ h",
    ],
    "causal_attention": [ATTENTION],
    "embedding": ["{}np.eye(len(table))[ids].T @ g"],
    "add": ["1 * g", "g.copy()"],
    "reshape": ["g.reshape(3, 8)"],
}


def test_rules_from_paper_are_right(small):
    questions, values, edges = (small.data[name] for name in ("questions", "values", "edges"))
    settled = set()
    for number, question in enumerate(questions):
        op = values[edges[question["uses"][0]]["user"]]["op"]
        before = "before + " if "before" in question["right"] else ""
        for found, text in zip(judged(small, number, [text.format(before) for text in PAPER[op]]), PAPER[op], strict=True):
            if found["right"]:
                settled.add(number)
                assert not before or "{}" in text
    assert [q["right"] for i, q in enumerate(questions) if i not in settled] == []


@pytest.mark.parametrize(
    ("user", "target", "texts"),
    [
        ("multiply", "t", ["a", "np.ones_like(g) * a", "g**2 * a"]),
        ("sum", "multiply", ["np.ones((3, 2))", "[[1, 1], [1, 1], [1, 1]]", "g**2 * np.ones((3, 2))"]),
    ],
)
def test_what_is_right_by_chance_is_called_so(softmax, user, target, texts):
    for text in texts:
        kind, said = answer(softmax, "type", text, question_of(softmax, user, target))
        assert (kind, "Right only because g is 1 here." in said) == ("chance", True), said


def test_numbers_copied_from_the_page_are_no_rule(softmax):
    question = question_of(softmax, "matmul", "x")
    edge = softmax.data["questions"][question]["uses"][0]
    number = softmax.data["edges"][edge]["after"]
    values = softmax.browser.execute_script("return [...arrays[arguments[0]].data]", number)
    literal = str(np.reshape(values, softmax.data["arrays"][number]["s"]).tolist())
    (found,) = judged(softmax, question, [literal])
    assert found["kind"] == "chance"
    assert "Right for the numbers of this page only." in found["text"]


SMALL = [  # the user, the target, what is typed, the kind of the verdict, and words of it
    ("matmul", "x", "g @ b.T", "right", ""),
    ("matmul", "x", "g @ b.transpose()", "right", ""),
    ("matmul", "x", "(g @ b.T).T", "transposed", "transposed"),
    ("matmul", "x", "-g @ b.T", "named", "the sign is wrong"),
    ("matmul", "x", "2 * (g @ b.T)", "named", "twice"),
    ("matmul", "x", "g @ b", "named", "not transposed: matmul: (3, 2) @ (4, 2): inner dimensions 2 and 4 differ."),
    ("matmul", "x", "b @ g.T @ g", "shape", ""),
    ("matmul", "x", "a.T @ g", "named", "this is the gradient of b"),
    ("matmul", "x", "before + g", "error", "Nothing came from other uses so far"),
    ("matmul", "x", "g.T @ b", "named", "the other factor is the one to transpose: "),
    ("matmul", "x", "a @ b @ g", "error", "inner dimensions"),
    ("matmul", "x", "g @", "error", "unexpected end"),
    ("matmul", "w", "before + a.T @ g", "right", ""),
    ("matmul", "w", "a.T @ g", "named", "forgot to accumulate"),
    ("matmul", "w", "-a.T @ g", "named", "forgot to accumulate: what came from other uses of the value is lost. And the sign"),
    ("add", "b", "g.sum(axis=0)", "right", ""),
    ("add", "b", "g", "named", "not summed"),
    ("add", "b", "g[0]", "named", "first row"),
    ("add", "b", "-np.sum(g, axis=0)", "named", "the sign is wrong"),
    ("add", "b", "np.mean(g, axis=0)", "named", "a mean instead of a sum"),
    ("add", "b", "3 * g.sum(0)", "factor", "3 times"),
    ("tanh", "add", "before + g * (1 - out**2)", "right", ""),
    ("tanh", "add", "before + g / np.cosh(x)**2", "right", ""),
    ("tanh", "add", "g * (1 - out**2)", "named", "forgot to accumulate"),
    ("tanh", "add", "before", "accumulate", "You have what came from before"),
    ("tanh", "add", "before + g * out", "named", "tanh itself"),
    ("tanh", "add", "before + g * (1 - x**2)", "named", "square the output, not the input"),
    ("tanh", "add", "before + g * (1 - out)", "named", "derivative of an elementary function"),
    ("tanh", "add", "before + (1 - out**2)", "named", "the gradient that arrives is missing"),
    ("tanh", "add", "before - g * (1 - out**2)", "named", "the sign is wrong"),
]


@pytest.mark.parametrize(("user", "target", "text", "kind", "words"), SMALL)
def test_a_typed_rule_gets_its_verdict(expression, user, target, text, kind, words):
    question = question_of(expression, user, target)
    given, said = answer(expression, "type", text, question)
    assert (given, words in said) == (kind, True), (given, said)
    letter = {"right": "r", "error": "."}.get(kind, "x")  # what cannot be computed is no answer
    assert expression.state.get("answers", "").ljust(question + 1, ".")[question] == letter
    assert bool(expression.all(".send")) == (kind == "right")  # the receipt is shown when it is found


NAMED = [  # wrong rules as people type them, and words of what is said
    ("softmax", "g * out * (1 - out)", "diagonal"),
    ("softmax", "out * g", "left out the sum over the row"),
    ("softmax", "out * (g - g.sum(axis=-1, keepdims=True))", "lacks the weights"),
    ("softmax", "out * (g - np.sum(g * out))", "summed over everything"),
    ("softmax", "out * (1 - np.sum(out, axis=-1, keepdims=True))", ""),
    ("layer_norm", "g * gain", "gain alone"),
    ("layer_norm", "g * gain / np.sqrt(x.var(-1, keepdims=True) + eps)", "mean and standard deviation as constants"),
    ("gelu", "g * (x > 0)", "relu"),
    ("gelu", "g * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))", "only its first term"),
    ("linear", "g @ w.T * 2", "twice"),
    ("causal_attention", "g", "gradient"),
]


@pytest.mark.parametrize(("op", "text", "words"), NAMED)
def test_mistakes_are_named(request, op, text, words):
    page = request.getfixturevalue("softmax" if op == "softmax" else "run")
    found = []
    for number, question in enumerate(page.data["questions"]):
        edge = page.data["edges"][question["uses"][0]]
        if page.data["values"][edge["user"]]["op"] == op and "before" not in question["right"]:
            found += judged(page, number, [text])
    assert not any(verdict["right"] for verdict in found)
    assert any(words in verdict["text"] for verdict in found), found


def test_what_is_too_large_for_the_page_is_tried_on_small_arrays(run):
    question = next(i for i, q in enumerate(run.data["questions"]) if q["right"] == "g @ w.T")
    kind, said = answer(run, "type", "g @ w.T", question)
    assert kind == "right", said
    kind, said = answer(run, "type", "g @ w.T * 1.3", question)
    assert "It is tried on small arrays: " in said
    assert "w (" in said


def test_each_rule_is_asked_once_and_the_short_ones_first(run):
    questions = run.data["questions"]
    assert sorted(use for question in questions for use in question["uses"]) == list(range(len(run.data["edges"])))
    ops = [run.data["values"][run.data["edges"][q["uses"][0]]["user"]]["op"] for q in questions]
    assert len({(op, q["right"]) for op, q in zip(ops, questions, strict=True)}) == len(questions) < 20 < len(run.data["edges"])
    lengths = [len(q["right"]) for q in questions]
    assert np.corrcoef(np.argsort(np.argsort(lengths)), np.arange(len(lengths)))[0, 1] > 0.9


def test_the_right_choice_is_not_told_by_its_form(request):
    chosen = {"longest": [], "shortest": [], "longest without a minus": [], "first": []}
    for name in (*PAGES, "run"):
        for question in request.getfixturevalue(name).data["questions"]:
            programs = [question["right"], *(text for text, _ in question["wrong"])]
            offered = [programs[n] for n in question["choices"]]
            assert len(offered) == len(set(offered)) == 4, offered
            plain = [text for text in offered if not text.rpartition("; ")[2].startswith("-")] or offered
            chosen["longest"].append(max(offered, key=len) == question["right"])
            chosen["shortest"].append(min(offered, key=len) == question["right"])
            chosen["longest without a minus"].append(max(plain, key=len) == question["right"])
            chosen["first"].append(offered[0] == question["right"])
    assert {name: rate for name, right in chosen.items() if (rate := np.mean(right)) > 0.45} == {}


def test_one_of_the_offered_rules_is_right_and_the_others_say_what_is_wrong(page):
    for number, question in enumerate(page.data["questions"]):
        page.open(mode="predict", question=number)
        verdicts = []
        for i, n in enumerate(question["choices"]):
            page.click(f"choice {i}")
            verdict = page.one(".verdict")
            verdicts.append("right" in verdict.get_attribute("class").split())
            assert n == 0 or question["wrong"][n - 1][1] in verdict.text
        assert sum(verdicts) == 1


def test_shapes_and_cells_get_verdicts_too(expression):
    question = question_of(expression, "add", "b")
    gradient = expression.leaves["b"].grad.data
    assert answer(expression, "shape", "(2,)", question)[0] == "right"
    assert "answers" not in expression.state or expression.state["answers"].strip(".") == ""  # a shape settles no rule
    assert answer(expression, "shape", "3, 2", question)[0] == "unsummed"
    assert answer(expression, "shape", "(4, 3)", question_of(expression, "matmul", "x"))[0] == "transposed"
    largest = gradient[np.argmax(np.abs(gradient))]
    assert answer(expression, "cell", f"{largest:.3g}", question)[0] == "right"
    assert answer(expression, "cell", f"{-largest:.3g}", question)[0] == "sign"
    assert answer(expression, "cell", f"{3 * largest + 1:.3g}", question)[0] in ("wrong", "factor")


def test_wrong_first_and_shown_are_counted_apart_and_the_end_says_so(expression):
    question = question_of(expression, "matmul", "x")
    expression.open(mode="predict", question=question)
    choices = expression.data["questions"][question]["choices"]
    expression.click(f"choice {choices.index(1) if 1 in choices else choices.index(max(choices))}")
    expression.click(f"choice {choices.index(0)}")
    expression.click("next" if question + 1 < len(expression.data["questions"]) else "before")
    expression.click("show")
    count = len(expression.data["questions"])
    assert expression.text(".score").startswith(f"0 at once, 1 later, 1 shown, {count - 2} to go")
    expression.open(mode="predict", answers="r" * (count - 1) + "s")
    assert f"All {count} rules: {count - 1} at once, 0 later, 1 shown." in expression.text(".finished")
    expression.click("again")
    assert expression.text(".score").startswith("0 at once, 0 later, 0 shown")


def test_what_numpy_does_not_have_is_explained(small):
    for number, question in enumerate(small.data["questions"]):
        small.open(mode="predict", question=number, kind="type")
        assert ("scatter(g, shape, index): " in small.text(".ask")) == ("scatter(" in question["right"])
        assert ("softmax = lambda x, axis=-1: " in small.text(".ask")) == ("Softmax.spec(" in question["right"])


def test_the_caret_stays_behind_what_was_typed(expression):
    answer(expression, "type", "g @ ", question_of(expression, "matmul", "x"))
    active = expression.browser.switch_to.active_element
    assert active.get_attribute("data-key") == "answer"
    active.send_keys("b.T")
    assert active.get_attribute("value").replace(" ", "") == "g@b.T"


def test_one_trial_of_every_op(browser, tmp_path):
    """Logarithms, roots, powers and indices find inputs that suit them."""
    rng = np.random.default_rng(1)
    x, y = Tensor(rng.uniform(1.5, 2.0, (3, 4)), requires_grad=True), Tensor(rng.uniform(0.2, 0.9, (3, 4)), requires_grad=True)
    with study.record():
        loss = np.sum(
            np.log(x) * np.sqrt(y) + np.arcsin(y) + np.arccosh(x) + x**3 + np.max(x, axis=0) + x[np.array([0, 0, 1])] / y
            + np.swapaxes(np.reshape(np.transpose(y), (2, 6)), 0, 1).reshape(3, 4) + np.var(x) + np.concatenate([x, y])[:3]
        )  # fmt: skip
    page = page_of(browser, tmp_path, loss)
    assert [q for q in page.data["questions"] if len(q["trials"]) != 2] == []
    why = page.browser.execute_script("return data.questions.map((q) => Judge.hindrance(q)).filter((why) => why)")
    assert why == []
    for number, question in enumerate(page.data["questions"]):
        (found,) = judged(page, number, [question["right"]])
        assert found["right"], (question["right"], found)
    assert page.errors() == []
