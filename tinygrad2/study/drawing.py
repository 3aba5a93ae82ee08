"""A recorded graph as a picture: SVG whose modules open and close, and DOT for Graphviz.

One row an op, or a module that is closed, in the order in which they ran. What no op has made enters from the left, beside
the first op that uses it. What skips a row goes around on the right, where the shape is written as it arrives.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad2.errors import GraphError
from tinygrad2.ops.op import Array
from tinygrad2.study.recording import Value
from tinygrad2.study.trace import Trace
from tinygrad2.tensor import Tensor

MANY = 40
"""A graph of more ops is drawn with its modules closed, unless it is said which are open."""

SIZES = {
    **{"chip": 0, "chip_width": 270, "line": 14, "between": 6, "reference": 22, "port": 14, "gap": 24},
    **{"box": 378, "box_width": 330, "head": 30, "foot": 10, "inset": 8, "lane": 12, "top": 52},
}
"""Lengths in SVG units, which the script in the picture shares."""

BOX_ROOM, CHIP_ROOM = 50, 41
"""Letters in a line of numbers."""


@dataclass(frozen=True)
class Drawing:
    """A picture of a graph, as the text of an SVG file and of a DOT file."""

    svg: str
    dot: str

    def _repr_svg_(self) -> str:
        return self.svg


def draw(
    loss: Tensor | Trace, path: str | Path | None = None, *, open: Iterable[str] | bool | None = None, values: bool = True
) -> Drawing:
    """What a recorded result was computed from, with the shape on every edge and, in every node, its value and gradient (∇).

    path     a file to write: `.svg`, in which a click, or Tab and Enter, opens and closes a module, or `.dot`
    open     the modules to draw open, by path ("h.0.attn" opens "h.0" too); True is all of them, False none. Left out, it
             is all of them in a graph of up to 40 ops
    values   whether to show the numbers: all if there are few, or mean ± standard deviation; gradients are those of the sum

    Raises GraphError for a Tensor that was not recorded, another ending, or a module that the graph has not.
    """
    ending = Path(path).suffix if path is not None else ".svg"
    if ending not in (".svg", ".dot"):
        raise GraphError(f"draw: {str(path)!r} ends in {ending!r}; a drawing is written as .svg or .dot")
    trace = loss if isinstance(loss, Trace) else Trace(loss)
    graph = _Graph(trace, trace.backward(np.ones_like(trace.output.array)).gradients if values else None)
    opened = graph.opened(open)
    drawing = Drawing(_svg(graph, opened), _dot(graph, opened))
    if path is not None:
        _write(Path(path), drawing.svg if ending == ".svg" else drawing.dot)
    return drawing


@dataclass
class _Group:
    """One call of a module: the ops from `first` to before `end`."""

    path: str
    title: str
    parent: int
    first: int
    end: int
    count: str = ""


@dataclass
class _Op:
    """An op; `inputs` are ("op" | "leaf" | "constant", its number, its shape), `groups` those around it from the outside in."""

    value: Value
    groups: list[int]
    title: str = ""
    inputs: list[tuple[str, int, str]] = field(default_factory=list)


@dataclass
class _Leaf:
    """A leaf or, without a value, a constant, and the groups that it disappears in when they are closed."""

    title: str
    array: Any
    value: Value | None = None
    homes: list[int] = field(default_factory=list)

    @property
    def full_name(self) -> str:
        """Of a parameter with its module's path."""
        return self.value.full_name if self.value else self.title


class _Graph:
    """The ops of a trace by number, with what they use and the calls of modules that they are in."""

    def __init__(self, trace: Trace, gradients: dict[Value, Array] | None) -> None:
        self.trace, self.gradients = trace, gradients
        self.groups: list[_Group] = []
        self.ops = self._grouped(trace.results)
        self.leaves: list[_Leaf] = []
        self.constants: list[_Leaf] = []
        self._connect()
        for i, group in enumerate(self.groups):
            inside = [leaf for leaf in self.leaves if i in leaf.homes and leaf.value]
            group.count = f"{group.end - group.first} ops"
            if inside:
                group.count += f", {len(inside)} parameters: {sum(np.size(leaf.array) for leaf in inside):,}"
        self.texts = self._texts()

    def _grouped(self, results: list[Value]) -> list[_Op]:
        ops: list[_Op] = []
        stack: list[int] = []
        for number, value in enumerate(results):
            paths = _modules(value.path)
            while stack and self.groups[stack[-1]].path not in paths:
                self.groups[stack.pop()].end = number
            for path in paths[len(stack) :]:
                calls = sum(group.path == path for group in self.groups)
                outer = self.groups[stack[-1]].path if stack else ""
                title = _within(path, outer) + (f" (call {calls + 1})" if calls else "")
                self.groups.append(_Group(path, title, stack[-1] if stack else -1, number, len(results)))
                stack.append(len(self.groups) - 1)
            ops.append(_Op(value, list(stack)))
        return self._without_single(ops)

    def _without_single(self, ops: list[_Op]) -> list[_Op]:
        """A module of one op is no box of its own: its name is in the title of the op."""
        kept = [i for i, group in enumerate(self.groups) if group.end - group.first > 1]
        number = {old: new for new, old in enumerate(kept)} | {-1: -1}
        self.groups = [self.groups[i] for i in kept]
        for group in self.groups:
            group.parent = number[group.parent]
        for op in ops:
            op.groups = [number[i] for i in op.groups if i in number]
            op.title = _within(op.value.full_name, self.groups[op.groups[-1]].path if op.groups else "")
        return ops

    def _connect(self) -> None:
        numbers = {op.value: i for i, op in enumerate(self.ops)}
        leaves: dict[Value, int] = {}
        last: dict[Value, int] = {}
        for i, op in enumerate(self.ops):
            for x, array in zip(op.value.inputs, op.value.arrays, strict=True):
                if x in numbers:
                    op.inputs.append(("op", numbers[x], str(x.array.shape)))
                elif x is not None:
                    last[x] = i
                    if x not in leaves:
                        leaves[x] = len(self.leaves)
                        self.leaves.append(_Leaf("", x.array, x, list(op.groups)))
                    op.inputs.append(("leaf", leaves[x], str(x.array.shape)))
                elif array is not None:
                    op.inputs.append(("constant", len(self.constants), f"{np.shape(array)} {np.asarray(array).dtype}"))
                    self.constants.append(_Leaf("constant", array, None, list(op.groups)))
        for x, j in leaves.items():
            leaf = self.leaves[j]
            around = self.groups[leaf.homes[-1]].path if leaf.homes else ""
            leaf.title = _within(x.full_name, around)
            leaf.homes = [i for i in leaf.homes if _inside(x.path, self.groups[i].path) or last[x] < self.groups[i].end]

    def opened(self, which: Iterable[str] | bool | None) -> list[bool]:
        """For every group whether it is open."""
        if which is None or isinstance(which, bool):
            return [len(self.ops) <= MANY if which is None else which] * len(self.groups)
        names = [which] if isinstance(which, str) else list(which)
        known = {group.path for group in self.groups}
        for name in names:
            if name not in known:
                raise GraphError(f"draw: there is no module {name!r} to open; there is {', '.join(sorted(known)) or 'none'}")
        return [any(_inside(name, group.path) for name in names) for group in self.groups]

    def _texts(self) -> dict[str, tuple[str, str]]:
        """Of every box and chip the value and the gradient (∇) in words."""
        shown: dict[str, tuple[Value | None, Any, int]] = {}
        shown |= {f"o{i}": (op.value, op.value.array, BOX_ROOM) for i, op in enumerate(self.ops)}
        shown |= {f"g{i}": (self.result(i), self.result(i).array, BOX_ROOM) for i in range(len(self.groups))}
        shown |= {key: (leaf.value, leaf.array, CHIP_ROOM) for key, leaf in self.chips().items()}
        texts: dict[str, tuple[str, str]] = {}
        for key, (value, array, room) in shown.items():
            if self.gradients is None:
                texts[key] = "", ""
            else:
                gradient = self.gradients.get(value) if value is not None else None
                texts[key] = _summary(array, room), "" if gradient is None else "∇ " + _summary(gradient, room - 2)
        return texts

    def chips(self) -> dict[str, _Leaf]:
        """Leaves, l0, and constants, c0."""
        return {f"l{j}": x for j, x in enumerate(self.leaves)} | {f"c{j}": x for j, x in enumerate(self.constants)}

    def height(self, key: str) -> int:
        """Of a box or a chip; more where its numbers take two lines."""
        low, room = (40, BOX_ROOM) if key[0] in "og" else (34, CHIP_ROOM)
        return low + SIZES["line"] * _two_lines(self.texts[key], room)

    def result(self, group: int) -> Value:
        """The value that a module ends with."""
        return self.ops[self.groups[group].end - 1].value

    def box_of(self, op: int, opened: Sequence[bool]) -> str:
        """The box that an op is seen in: its own, o3, or that of the outermost closed group around it, g1."""
        return next((f"g{i}" for i in self.ops[op].groups if not opened[i]), f"o{op}")

    def seen(self, opened: Sequence[bool]) -> dict[str, list[tuple[str, int, str]]]:
        """The boxes in order, with what enters each of them: of a closed group every value once."""
        boxes: dict[str, list[tuple[str, int, str]]] = {}
        for i, op in enumerate(self.ops):
            box = self.box_of(i, opened)
            inputs = boxes.setdefault(box, [])
            for kind, j, shape in op.inputs:
                if box[0] == "g":
                    hidden = kind == "op" and self.box_of(j, opened) == box
                    home = kind != "op" and int(box[1:]) in (self.leaves if kind == "leaf" else self.constants)[j].homes
                    if hidden or home or (kind, j, shape) in inputs:
                        continue
                inputs.append((kind, j, shape))
        return boxes


@dataclass
class _Edge:
    """A line: its path, the shape and where that is written, from what to what, and the name of a leaf that comes from afar."""

    d: str
    label: str
    x: int
    y: int
    source: str
    target: str
    kind: str
    name: str = ""


class _Layout:
    """Where everything is when some of the groups are open. The script in the picture does the same, line by line."""

    def __init__(self, graph: _Graph, opened: Sequence[bool]) -> None:
        self.graph, self.opened = graph, opened
        self.boxes: dict[str, tuple[int, int]] = {}
        self.chips: dict[str, tuple[int, int]] = {}
        self.frames: dict[int, tuple[int, int]] = {}
        self.edges: list[_Edge] = []
        self._seen = graph.seen(opened)
        self._left: list[tuple[str, str, str, int]] = []
        self._right: list[tuple[str, str, str, int]] = []
        self.right = SIZES["box"] + SIZES["box_width"] + SIZES["inset"] * (_depth(graph) + 1)
        self.left = SIZES["chip"] - SIZES["inset"] * (_depth(graph) + 1)
        self._place()
        lanes = self._route()
        self.x = self.left - SIZES["lane"] * (lanes[0] + 1)
        self.width = self.right + 96 + SIZES["lane"] * (lanes[1] + 1) - self.x

    def _place(self) -> None:
        y, stack, previous = SIZES["top"], list[int](), ""
        for i, op in enumerate(self.graph.ops):
            box = self.graph.box_of(i, self.opened)
            if box in self.boxes:
                continue
            around = [g for g in op.groups if self.opened[g]]
            around = around if box[0] == "o" else [g for g in around if g in op.groups[: op.groups.index(int(box[1:]))]]
            while stack and stack[-1] not in around:
                y = self._close(stack.pop(), y)
            for g in around[len(stack) :]:
                self.frames[g] = (y, 0)
                stack.append(g)
                y += SIZES["head"]
            height = self._row(box, y, previous)
            self.boxes[box] = (y, height)
            previous = box
            y += height + SIZES["gap"]
        while stack:
            y = self._close(stack.pop(), y)
        self.height = y + SIZES["gap"]

    def _close(self, group: int, y: int) -> int:
        self.frames[group] = (self.frames[group][0], y - SIZES["gap"] + SIZES["foot"])
        return y + SIZES["foot"]

    def _row(self, box: str, y: int, previous: str) -> int:
        """Places what is to the left of a box, and notes the edges that go around; the height of the row."""
        offset, ports, straight = 0, 0, False
        middle = SIZES["box"] + SIZES["box_width"] // 2
        for kind, j, shape in self._seen[box]:
            key = ("l" if kind == "leaf" else "c") + str(j)
            if kind == "op":
                source = self.graph.box_of(j, self.opened)
                if source == previous and not straight:
                    straight = True
                    start = sum(self.boxes[source])
                    self.edges.append(_Edge(f"M{middle} {start}V{y}", shape, middle + 8, y - 8, source, box, kind))
                else:
                    ports += 1
                    self._right.append((source, box, shape, y + SIZES["port"] * ports))
            elif key in self.chips or (kind == "leaf" and self._hidden(j)):
                offset += SIZES["reference"]
                self._left.append((key, box, shape, y + offset - 8))
            else:
                self.chips[key] = (y + offset, self.graph.height(key))
                line = y + offset + 22
                path = f"M{SIZES['chip'] + SIZES['chip_width']} {line}H{SIZES['box']}"
                self.edges.append(_Edge(path, shape, SIZES["chip"] + SIZES["chip_width"] + 6, line - 4, key, box, kind))
                offset += self.graph.height(key) + SIZES["between"]
        below = 14 if box[0] == "g" else -SIZES["between"]
        return max(self.graph.height(box), offset + below, SIZES["port"] * ports + 20)

    def _hidden(self, leaf: int) -> bool:
        return any(not self.opened[g] for g in self.graph.leaves[leaf].homes)

    def _holder(self, leaf: str) -> str:
        """The box of the closed group that a leaf is hidden in."""
        homes = self.graph.leaves[int(leaf[1:])].homes
        return f"g{next(g for g in homes if not self.opened[g])}"

    def _route(self) -> tuple[int, int]:
        """The edges that go around; how many lanes they take on each side."""
        left = []
        for key, _, _, end in self._left:
            start = self.chips[key][0] + 17 if key in self.chips else sum(self.boxes[self._holder(key)]) - 6
            left.append((start, end))
        for (key, box, shape, end), (start, _), lane in zip(self._left, left, _lanes(left), strict=True):
            x = self.left - SIZES["lane"] * (lane + 1)
            out, source = (SIZES["chip"], key) if key in self.chips else (SIZES["box"], self._holder(key))
            label = SIZES["chip"] + SIZES["chip_width"] + 6
            path = f"M{out} {start}H{x}V{end}H{SIZES['box']}"
            name = _fit(self.graph.leaves[int(key[1:])].full_name, 38)
            self.edges.append(_Edge(path, shape, label, end - 4, source, box, "leaf", name))
        right = [(sum(self.boxes[source]) - 6, end) for source, _, _, end in self._right]
        for (source, box, shape, end), (start, _), lane in zip(self._right, right, _lanes(right), strict=True):
            x = self.right + 96 + SIZES["lane"] * lane
            out = SIZES["box"] + SIZES["box_width"]
            self.edges.append(_Edge(f"M{out} {start}H{x}V{end}H{out}", shape, self.right + 6, end - 4, source, box, "op"))
        return max(_lanes(left), default=-1) + 1, max(_lanes(right), default=-1) + 1


def _lanes(spans: Sequence[tuple[int, int]]) -> list[int]:
    """For each a lane in which it meets no other; short ones are nearest."""
    lanes = [-1] * len(spans)
    for i in sorted(range(len(spans)), key=lambda i: (spans[i][1] - spans[i][0], i)):
        start, end = spans[i]
        taken = {lane for lane, (a, b) in zip(lanes, spans, strict=True) if lane >= 0 and a <= end and start <= b}
        lanes[i] = next(lane for lane in range(len(spans)) if lane not in taken)
    return lanes


def _depth(graph: _Graph) -> int:
    return max((len(op.groups) for op in graph.ops), default=0)


def _modules(path: str) -> list[str]:
    """The modules of a path, from the outside in: h.0 and h.0.attn of h.0.attn. A number belongs to the name before it."""
    found: list[str] = []
    parts = path.split(".") if path else []
    for i, part in enumerate(parts):
        if part.isdigit() and found:
            found.pop()
        found.append(".".join(parts[: i + 1]))
    return found


def _inside(path: str, module: str) -> bool:
    return path == module or path.startswith(module + ".")


def _within(name: str, module: str) -> str:
    return name[len(module) + 1 :] if module and _inside(name, module) else name


def _summary(array: Any, room: int) -> str:
    """All numbers if there are up to six and they fit in that many letters, or their mean and standard deviation."""
    x = np.asarray(array)
    if x.size == 0:
        return "empty"
    if x.size <= 6:
        text = ", ".join(_number(float(a)) for a in x.reshape(-1))
        if len(text) <= room:
            return text
    with np.errstate(all="ignore"):
        mean, deviation = float(np.mean(x, dtype=np.float64)), float(np.std(x, dtype=np.float64))
    return f"{_number(0.0 if abs(mean) < 1e-4 * deviation else mean)} ± {_number(deviation, 2)}"


def _number(x: float, digits: int = 3) -> str:
    """1.23, or 1.2e−5 where that is shorter."""
    text = f"{x:.{digits}g}" if x == 0 or abs(x) >= 1e-3 else f"{x:.{digits - 1}e}"
    mantissa, _, exponent = text.partition("e")
    return (f"{float(mantissa):g}e{int(exponent)}" if exponent else text).replace("-", "−")


STYLE = """
svg { --ink: #1c2330; --muted: #667085; --paper: #ffffff; --box: #f2f5fa; --line: #98a2b3; --grad: #b54708; --leaf: #ecf6ee;
  --leafline: #7fb08b; --frame: #5b7bb40f; --frameline: #a9bbdc; --group: #e4ecfb; background: var(--paper);
  font-family: system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; font-size: 12px; fill: var(--ink) }
@media (prefers-color-scheme: dark) { svg { --ink: #e6e9ef; --muted: #98a2b3; --paper: #14171c; --box: #222833; --line: #667085;
  --grad: #f7a54a; --leaf: #1b2c22; --leafline: #4e7d5b; --frame: #7d9fe014; --frameline: #44557a; --group: #26334f } }
.paper { fill: var(--paper) }
.box rect { fill: var(--box); stroke: var(--line) }
.group rect { fill: var(--group); stroke: var(--frameline); stroke-width: 1.5 }
.leaf rect { fill: var(--leaf); stroke: var(--leafline) }
.constant rect { fill: none; stroke: var(--line); stroke-dasharray: 3 3 }
.frame { fill: var(--frame); stroke: var(--frameline); pointer-events: none }
.name { fill: transparent; stroke: none !important }
.title { font-weight: 600 }
.muted { fill: var(--muted) }
.op { font-weight: 400 }
.shape, .numbers { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 10px }
.shape { fill: var(--muted) }
.gradient { fill: var(--grad) }
.edge { fill: none; stroke: var(--line); stroke-width: 1.3; marker-end: url(#arrow) }
.edge.leaf { stroke: var(--leafline) }
.edge.constant { stroke-dasharray: 3 3 }
#arrow path { fill: var(--line) }
.toggle { cursor: pointer; outline: none }
.toggle:hover rect, .toggle:focus-visible rect { stroke: var(--grad); stroke-width: 2 }
.toggle:hover .title, .toggle:focus-visible .title { fill: var(--grad) }
"""

SCRIPT = """
const svg = document.currentScript.closest("svg");
const get = id => svg.querySelector("#" + id);
const {S, heights, ops, leaves, constants, depth, opened} = JSON.parse(get("graph").textContent);
const right = S.box + S.box_width + S.inset * (depth + 1), left = S.chip - S.inset * (depth + 1);
const boxOf = i => { const g = ops[i].groups.find(g => !opened[g]); return g === undefined ? "o" + i : "g" + g; };
const homesOf = (kind, j) => kind === "op" ? [] : (kind === "leaf" ? leaves : constants)[j].homes;

function seen() {
  const boxes = new Map();
  ops.forEach((op, i) => {
    const box = boxOf(i);
    if (!boxes.has(box)) boxes.set(box, []);
    const inputs = boxes.get(box);
    for (const [kind, j, shape] of op.inputs) {
      const hidden = kind === "op" && boxOf(j) === box, home = homesOf(kind, j).includes(+box.slice(1));
      if (box[0] === "g" && (hidden || home || inputs.some(x => x[0] === kind && x[1] === j && x[2] === shape))) continue;
      inputs.push([kind, j, shape]);
    }
  });
  return boxes;
}

function lanes(spans) {
  const found = spans.map(() => -1), length = i => spans[i][1] - spans[i][0];
  for (const i of spans.map((_, i) => i).sort((a, b) => length(a) - length(b) || a - b)) {
    const meets = j => found[j] >= 0 && spans[j][0] <= spans[i][1] && spans[i][0] <= spans[j][1];
    const taken = new Set(found.filter((_, j) => meets(j)));
    found[i] = spans.findIndex((_, lane) => !taken.has(lane));
  }
  return found;
}

function layout() {
  const boxes = new Map(), chips = new Map(), frames = new Map(), edges = [], around = {left: [], right: []}, inputs = seen();
  const end = box => boxes.get(box)[0] + boxes.get(box)[1], middle = S.box + Math.floor(S.box_width / 2);
  const add = (d, label, x, y, source, target, kind, name = "") => edges.push({d, label, x, y, source, target, kind, name});
  function row(box, y, previous) {
    let offset = 0, ports = 0, straight = false;
    for (const [kind, j, shape] of inputs.get(box)) {
      const key = (kind === "leaf" ? "l" : "c") + j;
      if (kind === "op" && boxOf(j) === previous && !straight) {
        straight = true;
        add(`M${middle} ${end(previous)}V${y}`, shape, middle + 8, y - 8, previous, box, kind);
      } else if (kind === "op") {
        ports += 1;
        around.right.push([boxOf(j), box, shape, y + S.port * ports]);
      } else if (chips.has(key) || (kind === "leaf" && leaves[j].homes.some(g => !opened[g]))) {
        offset += S.reference;
        around.left.push([key, box, shape, y + offset - 8]);
      } else {
        chips.set(key, [y + offset, heights[key]]);
        const line = y + offset + 22, x = S.chip + S.chip_width;
        add(`M${x} ${line}H${S.box}`, shape, x + 6, line - 4, key, box, kind);
        offset += heights[key] + S.between;
      }
    }
    return Math.max(heights[box], offset + (box[0] === "g" ? 14 : -S.between), S.port * ports + 20);
  }
  let y = S.top, previous = "";
  const stack = [];
  const close = () => { const g = stack.pop(); frames.set(g, [frames.get(g)[0], y - S.gap + S.foot]); y += S.foot; };
  ops.forEach((op, i) => {
    const box = boxOf(i);
    if (boxes.has(box)) return;
    const shut = op.groups.findIndex(g => !opened[g]), open = shut < 0 ? op.groups : op.groups.slice(0, shut);
    while (stack.length && !open.includes(stack.at(-1))) close();
    for (const g of open.slice(stack.length)) { frames.set(g, [y, 0]); stack.push(g); y += S.head; }
    const height = row(box, y, previous);
    boxes.set(box, [y, height]);
    previous = box;
    y += height + S.gap;
  });
  while (stack.length) close();
  const holder = key => "g" + leaves[+key.slice(1)].homes.find(g => !opened[g]);
  const l = around.left.map(([key, , , at]) => [chips.has(key) ? chips.get(key)[0] + 17 : end(holder(key)) - 6, at]);
  const r = around.right.map(([source, , , at]) => [end(source) - 6, at]);
  lanes(l).forEach((lane, i) => {
    const [key, box, shape, at] = around.left[i], x = left - S.lane * (lane + 1), own = chips.has(key);
    const path = `M${own ? S.chip : S.box} ${l[i][0]}H${x}V${at}H${S.box}`, name = leaves[+key.slice(1)].name;
    add(path, shape, S.chip + S.chip_width + 6, at - 4, own ? key : holder(key), box, "leaf", name);
  });
  lanes(r).forEach((lane, i) => {
    const [source, box, shape, at] = around.right[i], x = right + 96 + S.lane * lane, out = S.box + S.box_width;
    add(`M${out} ${r[i][0]}H${x}V${at}H${out}`, shape, right + 6, at - 4, source, box, "op");
  });
  const x = left - S.lane * (Math.max(-1, ...lanes(l)) + 2);
  return {boxes, chips, frames, edges, x, width: right + 96 + S.lane * (Math.max(-1, ...lanes(r)) + 2) - x, height: y + S.gap};
}

function element(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

function show() {
  const at = layout();
  for (const node of svg.querySelectorAll(".node")) {
    const place = at.boxes.get(node.id) || at.chips.get(node.id);
    node.setAttribute("display", place ? "inline" : "none");
    if (place) node.setAttribute("transform", `translate(${/[og]/.test(node.id[0]) ? S.box : S.chip} ${place[0]})`);
    if (place) node.querySelector("rect").setAttribute("height", place[1]);
  }
  for (const node of svg.querySelectorAll(".around")) {
    const place = at.frames.get(+node.id.slice(1));
    node.setAttribute("display", place ? "inline" : "none");
    if (place) node.setAttribute("transform", `translate(0 ${place[0]})`);
    if (place) node.querySelector("rect").setAttribute("height", place[1] - place[0]);
  }
  get("edges").replaceChildren(...at.edges.flatMap(e => [
    element("path", {class: `edge ${e.kind}`, d: e.d, "data-from": e.source, "data-to": e.target}),
    element("text", {class: "shape", x: e.x, y: e.y}, e.label),
    ...(e.name ? [element("text", {class: "muted", x: S.chip + 8, y: e.y}, e.name)] : []),
  ]));
  get("paper").setAttribute("x", at.x);
  get("paper").setAttribute("width", at.width);
  get("paper").setAttribute("height", at.height);
  svg.setAttribute("viewBox", `${at.x} 0 ${at.width} ${at.height}`);
  svg.setAttribute("width", at.width);
  svg.setAttribute("height", at.height);
}

function toggle(node) {
  const g = +node.dataset.group;
  opened[g] = !opened[g];
  show();
  svg.querySelector(`${opened[g] ? "#f" : "#g"}${g}`).focus();
}

for (const node of svg.querySelectorAll(".toggle")) {
  node.addEventListener("click", () => toggle(node));
  node.addEventListener("keydown", event => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    toggle(node);
  });
}
"""


def _svg(graph: _Graph, opened: Sequence[bool]) -> str:
    at = _Layout(graph, opened)
    output = graph.trace.output
    what = f"{output.full_name} {output.array.shape}: {len(graph.ops)} ops, {len(graph.leaves)} leaves"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{at.width}" height="{at.height}" '
        f'viewBox="{at.x} 0 {at.width} {at.height}" role="group" aria-label="{_text(what)}">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0.5L8 4L0 7.5z"/></marker></defs>',
        f'<rect id="paper" class="paper" x="{at.x}" y="0" width="{at.width}" height="{at.height}"/>',
        f'<text x="0" y="22" class="title">{_text(what)}</text>' + _legend(graph),
        *(_frame(graph, g, at) for g in range(len(graph.groups))),
        f'<g id="edges">{"".join(_edge(edge) for edge in at.edges)}</g>',
        *(_chip(graph, key, leaf, at) for key, leaf in graph.chips().items()),
        *(_op_box(graph, i, at) for i in range(len(graph.ops))),
        *(_group_box(graph, g, at) for g in range(len(graph.groups))),
    ]
    data = {
        **{"S": SIZES, "depth": _depth(graph), "opened": list(opened)},
        "heights": {key: graph.height(key) for key in graph.texts},
        "ops": [{"groups": op.groups, "inputs": op.inputs} for op in graph.ops],
        "leaves": [{"homes": x.homes, "name": _printable(_fit(x.full_name, 38))} for x in graph.leaves],
        "constants": [{"homes": x.homes} for x in graph.constants],
    }
    if graph.groups:
        parts.append(f'<script id="graph" type="application/json">{_text(json.dumps(data))}</script>')
        parts.append(f"<script><![CDATA[{{{SCRIPT}}}]]></script>")
    return "\n".join([*parts, "</svg>\n"])


def _legend(graph: _Graph) -> str:
    parts = []
    if graph.gradients is not None:
        of = "" if np.size(graph.trace.output.array) == 1 else "the sum of "
        parts.append(f'value: numbers, or mean ± deviation <tspan class="gradient">∇ gradient of {of}the output</tspan>')
    if graph.groups:
        parts.append("Click a module, or Tab and Enter, to open or close it")
    return f'<text x="0" y="38" class="muted">{" · ".join(parts)}</text>'


def _edge(edge: _Edge) -> str:
    path = f'<path class="edge {edge.kind}" d="{edge.d}" data-from="{edge.source}" data-to="{edge.target}"/>'
    name = f'<text class="muted" x="{SIZES["chip"] + 8}" y="{edge.y}">{_text(edge.name)}</text>' if edge.name else ""
    return f'{path}<text class="shape" x="{edge.x}" y="{edge.y}">{_text(edge.label)}</text>{name}'


def _node(identity: str, kind: str, x: int, width: int, place: tuple[int, int] | None, content: str, more: str = "") -> str:
    """A box that is seen if it has a place: y and height."""
    y, height = place or (0, 0)
    shown = f'display="inline" transform="translate({x} {y})"' if place else 'display="none"'
    return f'<g id="{identity}" class="node {kind}" {shown}{more}><rect width="{width}" height="{height}" rx="6"/>{content}</g>'


def _chip(graph: _Graph, identity: str, leaf: _Leaf, at: _Layout) -> str:
    kind = "leaf" if leaf.value else "constant"
    about = f"{leaf.full_name} {np.shape(leaf.array)}"
    content = f"<title>{_text(about)}</title>" + _line(leaf.title, 10, 15, "title" if leaf.value else "muted", 30)
    content += _numbers(graph.texts[identity], 28, CHIP_ROOM)
    return _node(identity, kind, SIZES["chip"], SIZES["chip_width"], at.chips.get(identity), content)


def _op_box(graph: _Graph, i: int, at: _Layout) -> str:
    op = graph.ops[i]
    module, _, name = op.title.rpartition(".")
    content = f"<title>{_text(f'{op.value.full_name} {op.value.array.shape} {op.value.source}')}</title>"
    title = _text(_fit(module, 20)) + " " if module else ""
    content += f'<text x="10" y="16" class="title">{title}<tspan class="op">{_text(_fit(name, 24))}</tspan></text>'
    content += _numbers(graph.texts[f"o{i}"], 32, BOX_ROOM)
    return _node(f"o{i}", "box", SIZES["box"], SIZES["box_width"], at.boxes.get(f"o{i}"), content)


def _group_box(graph: _Graph, g: int, at: _Layout) -> str:
    group = graph.groups[g]
    more = f' tabindex="0" role="button" aria-expanded="false" aria-label="{_text(group.path)}" data-group="{g}"'
    content = f"<title>{_text(f'{group.path}: {group.count}')}</title>" + _line("▸ " + group.title, 10, 16, "title", 16)
    content += f'<text x="{SIZES["box_width"] - 8}" y="16" class="muted" text-anchor="end">{group.count}</text>'
    content += _numbers(graph.texts[f"g{g}"], 32, BOX_ROOM)
    return _node(f"g{g}", "group toggle", SIZES["box"], SIZES["box_width"], at.boxes.get(f"g{g}"), content, more)


def _frame(graph: _Graph, g: int, at: _Layout) -> str:
    """What is drawn around the ops of an open group: its name is a button."""
    group, place = graph.groups[g], at.frames.get(g)
    top, bottom = place or (0, 0)
    inset = SIZES["inset"] * (_depth(graph) - _level(graph, g))
    x, width = SIZES["chip"] - inset, SIZES["box"] + SIZES["box_width"] + 2 * inset - SIZES["chip"]
    shown = f'display="inline" transform="translate(0 {top})"' if place else 'display="none"'
    return (
        f'<g id="f{g}" class="around toggle" {shown} tabindex="0" role="button" aria-expanded="true" '
        f'aria-label="{_text(group.path)}" data-group="{g}"><rect class="frame" x="{x}" width="{width}" '
        f'height="{bottom - top}" rx="8"/><rect class="name" x="{x}" width="{width}" height="24"/>'
        f"{_line('▾ ' + group.title, x + 8, 16, 'title', 40)}</g>"
    )


def _level(graph: _Graph, g: int) -> int:
    parent = graph.groups[g].parent
    return 0 if parent < 0 else 1 + _level(graph, parent)


def _numbers(pair: tuple[str, str], y: int, room: int) -> str:
    value, gradient = (_text(text) for text in pair)
    x, below = (10, y + SIZES["line"]) if _two_lines(pair, room) else (10 + 3 * room, y)
    first = f'<text class="numbers" x="10" y="{y}">{value}</text>' if value else ""
    return first + (f'<text class="numbers gradient" x="{x}" y="{below}">{gradient}</text>' if gradient else "")


def _two_lines(pair: tuple[str, str], room: int) -> bool:
    """Whether a value and a gradient do not fit beside each other."""
    return bool(pair[1]) and max(map(len, pair)) > room // 2


def _line(text: str, x: int, y: int, kind: str, room: int) -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{_text(_fit(text, room))}</text>'


def _fit(text: str, room: int) -> str:
    return text if len(text) <= room else "…" + text[len(text) - room + 1 :]


def _text(text: str) -> str:
    """As XML."""
    return escape(_printable(text))


def _printable(text: str) -> str:
    """Without control characters, which cannot be in XML."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def _dot(graph: _Graph, opened: Sequence[bool]) -> str:
    lines = [
        "digraph {",
        "  node [shape=box, style=rounded, fontname=Helvetica];",
        "  edge [fontname=Helvetica, fontsize=10];",
    ]
    seen, at = graph.seen(opened), _Layout(graph, opened)
    stack, written = list[int](), set[str]()
    for box in seen:
        i = int(box[1:])
        groups = graph.ops[i].groups if box[0] == "o" else graph.ops[graph.groups[i].first].groups[: _level(graph, i)]
        while stack and stack[-1] not in groups:
            stack.pop()
            lines.append("  " * len(stack) + "  }")
        for g in groups[len(stack) :]:
            lines.append("  " * len(stack) + f"  subgraph cluster_{g} {{ label={_quoted(graph.groups[g].title)};")
            stack.append(g)
        indent = "  " * len(stack) + "  "
        title = graph.ops[i].title if box[0] == "o" else f"{graph.groups[i].title}\n{graph.groups[i].count}"
        lines.append(f"{indent}{box} [label={_quoted(title, *graph.texts[box])}];")
        for kind, j, _ in seen[box]:
            key = ("l" if kind == "leaf" else "c") + str(j)
            if kind != "op" and key in at.chips and key not in written:
                written.add(key)
                leaf = (graph.leaves if kind == "leaf" else graph.constants)[j]
                style = "" if kind == "leaf" else ", style=dashed"
                lines.append(f"{indent}{key} [label={_quoted(leaf.title, *graph.texts[key])}{style}];")
    lines += ["  " * n + "}" for n in range(len(stack), 0, -1)]
    lines += [f"  {edge.source} -> {edge.target} [label={_quoted(edge.label)}];" for edge in at.edges]
    return "\n".join([*lines, "}\n"])


def _quoted(*lines: str) -> str:
    """A string of DOT, a line each."""
    text = "\n".join(line for line in lines if line).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\n", "\\n") + '"'


def _write(path: Path, text: str) -> None:
    """The whole file or nothing."""
    try:
        descriptor, name = tempfile.mkstemp(suffix=".tmp", prefix=path.name + ".", dir=path.parent)
    except OSError as error:
        raise GraphError(f"draw: {path} cannot be written: {error}") from error
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        os.replace(name, path)
    except OSError as error:
        raise GraphError(f"draw: {path} cannot be written: {error}") from error
    finally:
        Path(name).unlink(missing_ok=True)
