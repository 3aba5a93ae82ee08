"""Drawings against the trace that they are of: what is there, what is joined to what, where, and what a click does."""

import json
import re
import subprocess
import xml.etree.ElementTree as ET
from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest
from browsers import chromium

from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, nn, study
from tinygrad2.errors import GraphError
from tinygrad2.study.drawing import draw

SVG = "{http://www.w3.org/2000/svg}"
SMALL = {"vocab_size": 11, "max_seq_len": 8, "d_model": 8, "num_layers": 2, "num_heads": 2, "d_ff": 16}
IDS = np.array([[1, 2, 3, 4], [3, 3, 1, 0]])


def gpt2(**settings):
    model = GPT2(GPT2Config(**{**SMALL, **settings}), seed=0)
    with study.record(), nn.dropout_rng(np.random.default_rng(0)):
        return model.loss(IDS, IDS[:, ::-1].copy())


def expression():
    x = Tensor(np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]]), requires_grad=True)
    w = Tensor(np.array([1.0, -2.0, 0.5]), requires_grad=True)
    with study.record():
        s = np.sin(x)
        return np.sum(s * s * 2.0 + x * w + x * x)


class Twice(nn.Module):
    """A layer with a name of any letters, used three times."""

    def __init__(self):
        super().__init__()
        setattr(self, 'a<"\\\x07&é', nn.Linear(2, 2))

    def forward(self, x):
        inner = getattr(self, 'a<"\\\x07&é')
        return np.sin(inner(x)) + inner(inner(x) * x)


class Root(nn.Module):
    """A module that is called on its own result."""

    def __init__(self):
        super().__init__()
        self.twice = Twice()

    def forward(self, x):
        return self.twice(self.twice(x) * x)


class Whole(nn.Module):
    """A module that begins and ends with one inside it."""

    def __init__(self):
        super().__init__()
        self.root = Root()

    def forward(self, x):
        return self.root(x)


def called_twice(model=Root):
    x = Tensor(np.ones((2, 2)), requires_grad=True)
    with study.record():
        return np.sum(model()(x))


GRAPHS = {
    "expression": expression,
    "untied": gpt2,
    "tied": lambda: gpt2(tie_embeddings=True, head_bias=False, dropout=0.1),
}
graphs = pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)


class Picture:
    """What is seen of an SVG text: nodes by id with their rectangles and texts, frames, edges."""

    def __init__(self, svg):
        self.root = ET.fromstring(svg)
        seen = [g for g in self.root.iter(f"{SVG}g") if g.get("display") == "inline"]
        self.nodes = {g.get("id"): g for g in seen if "node" in g.get("class")}
        self.frames = {g.get("id"): g for g in seen if "around" in g.get("class")}
        group = next(g for g in self.root.iter(f"{SVG}g") if g.get("id") == "edges")
        self.paths = group.findall(f"{SVG}path")
        labels = [text for text in group.findall(f"{SVG}text") if text.get("class") == "shape"]
        self.edges = [(p.get("data-from"), p.get("data-to"), t.text) for p, t in zip(self.paths, labels, strict=True)]

    def geometry(self):
        """Everything that depends on what is open."""
        groups = {**self.nodes, **self.frames}
        places = {key: (g.get("transform"), g.find(f"{SVG}rect").get("height")) for key, g in groups.items()}
        edges = [(sorted(x.attrib.items()), x.text or "") for x in self.root.find(f"{SVG}g[@id='edges']")]
        paper = self.root.find(f"{SVG}rect[@id='paper']").attrib
        return places, edges, paper, {name: self.root.get(name) for name in ("viewBox", "width", "height")}

    def rectangle(self, key):
        node = self.nodes[key]
        x, y = map(int, re.fullmatch(r"translate\((-?\d+) (\d+)\)", node.get("transform")).groups())
        rect = node.find(f"{SVG}rect")
        return x, y, x + int(rect.get("width")), y + int(rect.get("height"))

    def name(self, key):
        return self.nodes[key].find(f"{SVG}title").text.split()[0]

    def texts(self, key):
        return [" ".join("".join(text.itertext()).split()) for text in self.nodes[key].findall(f"{SVG}text")]


def dot_edges(dot):
    """The edges of a DOT text, after a check of its braces, quotes and names."""
    string = r'"(?:[^"\\\n]|\\["\\n])*"'
    bare = re.sub(string, '""', dot)
    assert '"' not in bare.replace('""', "")
    assert "\\" not in bare
    depth = np.cumsum([(c == "{") - (c == "}") for c in bare])
    assert depth[-1] == 0
    assert depth[:-3].min() >= 0
    nodes = re.findall(rf"^ *(\w+) \[label={string}", dot, re.M)
    nodes = [node for node in nodes if node not in ("node", "edge")]
    edges = re.findall(rf"^  (\w+) -> (\w+) \[label=({string})\];$", dot, re.M)
    assert len(edges) == bare.count("->")
    assert len(set(nodes)) == len(nodes)
    assert {end for a, b, _ in edges for end in (a, b)} <= set(nodes)
    return nodes, [(a, b, json.loads(label)) for a, b, label in edges]


@graphs
def test_all_open_there_is_every_value_once_and_an_edge_for_every_input(make):
    loss = make()
    trace, drawing = study.Trace(loss), draw(loss, open=True)
    picture = Picture(drawing.svg)
    keys = {value: f"o{i}" for i, value in enumerate(trace.results)}
    leaves = {picture.name(key): key for key in picture.nodes if key[0] == "l"}
    keys |= {leaf: leaves[leaf.full_name] for leaf in trace.leaves}
    assert Counter(picture.name(key) for key in picture.nodes if key[0] != "c") == Counter(v.full_name for v in trace.values)
    inputs = Counter(
        (keys[x], keys[value], str(x.array.shape)) for value in trace.results for x in value.inputs if x is not None
    )
    assert Counter(edge for edge in picture.edges if edge[0][0] != "c") == inputs
    constants = Counter(
        (keys[value], f"{np.shape(a)} {np.asarray(a).dtype}")
        for value in trace.results
        for x, a in zip(value.inputs, value.arrays, strict=True)
        if x is None and a is not None
    )
    assert Counter(edge[1:] for edge in picture.edges if edge[0][0] == "c") == constants
    nodes, edges = dot_edges(drawing.dot)
    assert sorted(nodes) == sorted(picture.nodes)
    assert Counter(edges) == Counter(picture.edges)


@pytest.mark.parametrize("tied", [True, False])
def test_a_closed_module_is_one_box_with_its_parameters_counted(tied):
    loss = gpt2(tie_embeddings=tied, head_bias=not tied)
    model = GPT2(GPT2Config(**SMALL, tie_embeddings=tied, head_bias=not tied), seed=0)
    drawing = draw(loss, open=False)
    picture = Picture(drawing.svg)
    (block,) = (key for key in picture.nodes if picture.texts(key)[0] == "▸ h.1")
    assert picture.texts(block)[1] == f"10 ops, 12 parameters: {sum(p.data.size for p in model.h[1].parameters()):,}"
    # The same picture from the names alone: every value is seen in the box of its module.
    trace = study.Trace(loss)
    closed = ("h.0", "h.1", "lm_head")

    def box(value):
        name = next((path for path in closed if value.full_name.startswith(path + ".")), None)
        return name or (value.full_name if value.is_leaf else value.number)

    def shown(key):
        title = picture.name(key).rstrip(":")
        return title if key[0] in "lg" else trace.results[int(key[1:])].number

    expected = {(box(x), box(v), str(x.array.shape)) for v in trace.results for x in v.inputs if x and box(x) != box(v)}
    assert Counter((shown(a), shown(b), shape) for a, b, shape in picture.edges if a[0] != "c") == Counter(expected)
    nodes, edges = dot_edges(drawing.dot)
    assert sorted(nodes) == sorted(picture.nodes)
    assert sorted(edges) == sorted(picture.edges)


def test_what_is_open():
    loss = gpt2()
    choices = {"one inside another": ["h.1.attn"], "a name alone": "lm_head", "few ops": None, "none": []}
    pictures = {name: Picture(draw(loss, open=which).svg) for name, which in choices.items()}
    frames = {name: sorted(g.get("aria-label") for g in picture.frames.values()) for name, picture in pictures.items()}
    assert frames["one inside another"] == ["h.1", "h.1.attn"]
    assert frames["a name alone"] == ["lm_head"]
    assert frames["few ops"] == ["h.0", "h.0.attn", "h.0.mlp", "h.1", "h.1.attn", "h.1.mlp", "lm_head"]
    assert frames["none"] == []
    assert Picture(draw(gpt2(num_layers=4)).svg).frames == {}
    eleven = Picture(draw(gpt2(num_layers=11), open=["h.10"]).svg)
    assert [g.get("aria-label") for g in eleven.frames.values()] == ["h.10"]
    inner = [eleven.texts(key) for key in eleven.nodes if eleven.texts(key)[0] in ("▸ attn", "▸ mlp")]
    assert [texts[1] for texts in inner] == ["3 ops, 4 parameters: 288", "3 ops, 4 parameters: 280"]
    with pytest.raises(GraphError, match=r"no module 'h.7' to open; choose from h.0, h.0.attn, "):
        draw(loss, open=["h.7"])


@graphs
@pytest.mark.parametrize("which", [True, False, ["h.0", "h.1.mlp"]], ids=str)
def test_nothing_is_on_top_of_another_and_texts_are_inside(make, which):
    loss = make()
    if which is not True and make is expression:
        which = False
    picture = Picture(draw(loss, open=which).svg)
    boxes = {key: picture.rectangle(key) for key in picture.nodes}
    for (one, a), (two, b) in combinations(boxes.items(), 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] + 5 < b[1] or b[3] + 5 < a[1], (one, two)
    x, y, width, height = map(int, picture.root.get("viewBox").split())
    for key, (left, top, right, bottom) in boxes.items():
        assert x <= left
        assert y <= top
        assert right <= x + width
        assert bottom <= height
        ends = [(0, 0)]
        for text in picture.nodes[key].findall(f"{SVG}text"):
            size = 6.1 if "numbers" in text.get("class") else 7.0
            long = size * len("".join(text.itertext()))
            start = int(text.get("x")) - (long if text.get("text-anchor") else 0)
            assert start + long <= right - left
            assert int(text.get("y")) <= bottom - top - 5
            assert all(start >= end for line, end in ends if line == text.get("y"))
            ends.append((text.get("y"), start + long))
    ways = [path.get("d") for path in picture.paths]
    assert len(set(ways)) == len(ways)
    straight = {ends[:2] for path, ends in zip(picture.paths, picture.edges, strict=True) if "H" not in path.get("d")}
    rows = sorted((key for key in boxes if key[0] in "og"), key=lambda key: boxes[key][1])
    assert straight == {ends[:2] for ends in picture.edges} & set(pairwise(rows))
    lines = []  # upright parts of what goes around: (x, from, to)
    for path in picture.paths:
        d = re.fullmatch(r"M(-?\d+) (\d+)H(-?\d+)V(\d+)H(-?\d+)", path.get("d"))
        if d:
            lines.append((int(d[3]), int(d[2]), int(d[4])))
            assert not any(a[0] <= int(d[3]) <= a[2] for a in boxes.values())
    assert all(a[0] != b[0] or a[2] < b[1] or b[2] < a[1] for a, b in combinations(lines, 2))
    for g in picture.frames.values():
        rect, top = g.find(f"{SVG}rect"), int(g.get("transform").split()[1][:-1])
        inside = [b for b in boxes.values() if top < b[1] and b[3] < top + int(rect.get("height"))]
        outside = [b for b in boxes.values() if b not in inside]
        assert inside
        assert all(int(rect.get("x")) < b[0] and b[2] < int(rect.get("x")) + int(rect.get("width")) for b in inside)
        assert all(b[3] < top or top + int(rect.get("height")) < b[1] for b in outside)


def in_browser(svg, script, tmp_path):
    """The picture after a script has run in it, opened as a file."""
    file = tmp_path / "clicked.svg"
    file.write_text(svg.replace("</svg>", f"<script><![CDATA[{script}]]></script></svg>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run([chromium(), *options, file.as_uri()], capture_output=True, timeout=60, check=True)
    return done.stdout.decode()


def test_clicks_and_keys_lead_to_the_same_picture_as_drawing_it_so(tmp_path):
    loss = gpt2(tie_embeddings=True, head_bias=False, dropout=0.1)
    script = """
const of = (kind, path) => document.querySelector(`.${kind}[aria-label="${path}"]`);
const click = x => x.dispatchEvent(new MouseEvent("click"));
const key = (x, key) => x.dispatchEvent(new KeyboardEvent("keydown", {key}));
click(of("node", "h.0")); click(of("around", "h.0"));                 // open and close
click(of("node", "h.1")); key(of("node", "h.1.attn"), "Enter"); key(of("node", "lm_head"), " "); key(of("node", "h.0"), "x");
document.documentElement.setAttribute("data-focus", document.activeElement.id);
document.documentElement.setAttribute("data-wide", [...document.querySelectorAll('.node[display="inline"]')].filter(node =>
  [...node.querySelectorAll("text")].some(text => {
    const inner = text.getBBox(), outer = node.querySelector("rect").getBBox();
    return inner.x < 0 || inner.x + inner.width > outer.width || inner.y < 0 || inner.y + inner.height > outer.height; })
).map(node => node.id));
"""
    after = Picture(in_browser(draw(loss, open=False).svg, script, tmp_path))
    assert after.geometry() == Picture(draw(loss, open=["h.1.attn", "lm_head"]).svg).geometry()
    head = next(key for key, g in after.frames.items() if g.get("aria-label") == "lm_head")
    assert after.root.get("data-focus") == head
    assert after.root.get("data-wide") == ""


def test_the_script_closes_what_was_drawn_open(tmp_path):
    loss = called_twice(Whole)
    script = "for (const x of [...document.querySelectorAll('.around')].reverse()) x.dispatchEvent(new MouseEvent('click'));"
    after = Picture(in_browser(draw(loss, open=True).svg, script, tmp_path))
    assert after.geometry() == Picture(draw(loss, open=False).svg).geometry()


def test_numbers():
    x = Tensor(np.array([1.0, -2.0]), requires_grad=True)
    y = Tensor(np.linspace(-3e-5, 7e-5, 8), requires_grad=True)
    with study.record():
        out = x * x.reshape(2) + np.sum(y * y)
    picture = Picture(draw(out).svg)
    texts = {picture.name(key): picture.texts(key) for key in picture.nodes}
    assert texts["x"] == ["x", "1, −2", "∇ 2, −4"]  # of the sum of both
    assert texts["y"] == ["y", "2e−5 ± 3.3e−5", "∇ 8e−5 ± 1.3e−4"]
    assert texts["add"][1:] == ["1, 4", "∇ 1, 1"]
    long = Tensor(np.linspace(-1.5e-5, -2.5e-5, 6), requires_grad=True)
    with study.record():
        out = np.sum(long)
    assert Picture(draw(out).svg).texts("l0") == ["long", "−2e−5 ± 3.4e−6", "∇ 1, 1, 1, 1, 1, 1"]
    z = Tensor(np.array([1.0, -1.0] * 5) + 1e-9, requires_grad=True)
    with study.record():
        out = np.sum(z * 1e6)
    picture = Picture(draw(out, values=True).svg)
    assert picture.texts("l0") == ["z", "0 ± 1", "∇ 1e6 ± 0"]
    bare = Picture(draw(out, values=False).svg)
    assert [bare.texts(key) for key in bare.nodes] == [["z"], ["constant"], ["multiply"], ["sum"]]


def test_names_of_any_letters_and_a_module_that_is_called_twice():
    loss = called_twice()
    for which in (True, False):
        drawing = draw(loss, open=which)
        picture = Picture(drawing.svg)
        nodes, edges = dot_edges(drawing.dot)
        assert sorted(nodes) == sorted(picture.nodes)
        assert sorted(edges) == sorted(picture.edges)
    assert Counter((a, b) for a, b, _ in edges)["g0", "g1"] == 2  # its weight and its bias, hidden in the first call
    assert [picture.texts(key)[0] for key in picture.nodes if key[0] == "g"] == ["▸ twice", "▸ twice (call 2)"]
    assert [picture.name(key) for key in picture.nodes if key[0] == "l"] == ["x"]  # used inside of the module and after it
    whole = Picture(draw(loss, open=True).svg)
    assert 'a<"\\\ufffd&é linear' in {picture_text for key in whole.nodes for picture_text in whole.texts(key)}
    leaf = next(key for key in whole.nodes if whole.name(key).endswith("weight"))
    assert sum(a == leaf for a, _, _ in whole.edges) == 6


def test_a_module_in_another_and_what_is_used_in_it_but_no_parameter_of_it():
    loss = called_twice(Whole)
    picture = Picture(draw(loss, open=["root"]).svg)
    assert [picture.texts(key)[0] for key in picture.nodes if key[0] == "g"] == ["▸ twice", "▸ twice (call 2)"]
    drawing = draw(loss, open=False)
    closed = Picture(drawing.svg)
    assert [closed.texts(key)[:2] for key in closed.nodes if key[0] == "g"] == [["▸ root", "13 ops, 2 parameters: 6"]]
    assert closed.edges == [("l0", "g0", "(2, 2)"), ("g0", "o13", "(2, 2)")] == dot_edges(drawing.dot)[1]
    assert closed.name("l0") == "x"


def test_files(tmp_path, monkeypatch):
    loss = expression()
    drawing = draw(loss, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == drawing.svg == drawing._repr_svg_()
    assert draw(loss, str(tmp_path / "a.dot")).dot == (tmp_path / "a.dot").read_text(encoding="utf-8") == drawing.dot
    with pytest.raises(GraphError, match=r"'graph\.png' ends in '\.png'; a drawing is written as \.svg or \.dot"):
        draw(loss, "graph.png")
    with pytest.raises(GraphError, match="cannot be written"):
        draw(loss, tmp_path / "nowhere" / "a.svg")
    before = sorted(tmp_path.iterdir())

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(GraphError, match=r"a\.svg cannot be written: no space left"):
        draw(gpt2(), tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == drawing.svg
    assert sorted(tmp_path.iterdir()) == before
