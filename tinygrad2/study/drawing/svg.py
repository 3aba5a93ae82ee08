"""A picture as an SVG file, in which a click opens and closes a module."""

from __future__ import annotations

import json
import re
from html import escape
from importlib.resources import files

import numpy as np

from tinygrad2.errors import counted
from tinygrad2.study.drawing.graph import Node
from tinygrad2.study.drawing.layout import Layout, S, two_lines


def svg(layout: Layout) -> str:
    """The picture, with all of it that is hidden now and the script that shows it, if there are modules."""
    graph, here = layout.graph, files(__package__)
    output, leaves = graph.output, graph.of("l")
    sizes = f"{counted(len(graph.of('o')), 'op')}, {len(leaves)} {'leaf' if len(leaves) == 1 else 'leaves'}"
    what = _text(f"{output.full_name} {output.array.shape}: {sizes}")
    names = {key: _text(_fit(node.name, 38)) for key, node in graph.nodes.items()}
    templates = _templates(layout)
    edges = (templates[edge.how].format(**vars(edge), name=names[edge.origin]) for edge in layout.edges)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{layout.width}" height="{layout.height}" '
        f'viewBox="{layout.x} 0 {layout.width} {layout.height}" role="group" aria-label="{what}">',
        f"<style>\n{(here / 'style.css').read_text('utf-8')}</style>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0.5L8 4L0 7.5z"/></marker></defs>',
        f'<rect id="paper" class="paper" x="{layout.x}" y="0" width="{layout.width}" height="{layout.height}"/>',
        f'<text x="0" y="22" class="title">{what}</text><text x="0" y="38" class="muted">{_legend(layout)}</text>',
        *(_frame(layout, module) for module in graph.of("g")),
        f'<g id="edges">{"".join(edges)}</g>',
        *(_chip(layout, node) for node in [*leaves, *graph.of("c")]),
        *(_op(layout, node) for node in graph.of("o")),
        *(_module(layout, node) for node in graph.of("g")),
    ]
    if graph.of("g"):
        nodes = {
            key: {"around": node.around, "inside": node.inside, "name": names[key], **layout.rows[key]._asdict()}
            for key, node in graph.nodes.items()
        }
        data = {"S": S._asdict(), "left": layout.left, "right": layout.right, "templates": templates}
        data |= {"nodes": nodes, "outermost": graph.outermost, "open": sorted(layout.opened)}
        parts.append(f'<script id="graph" type="application/json">{escape(json.dumps(data), quote=False)}</script>')
        parts.append(f"<script><![CDATA[{{\n{(here / 'script.js').read_text('utf-8')}}}]]></script>")
    return "\n".join([*parts, "</svg>\n"])


def _templates(layout: Layout) -> dict[str, str]:
    """Of every kind of edge how it is drawn, with the fields of an Edge in braces; the script shares them."""
    chip, middle, out = S.chip + S.chip_width, S.box + S.box_width // 2, S.box + S.box_width
    name = f'<text class="muted" x="{S.chip + 8}" y="{{at}}" dy="-4">{{name}}</text>'

    def template(kind: str, d: str, x: int, dy: int = -4) -> str:
        path = f'<path class="edge {kind}" d="{d}" data-from="{{source}}" data-to="{{target}}"/>'
        return f'{path}<text class="shape" x="{x}" y="{{at}}" dy="{dy}">{{shape}}</text>'

    return {
        "straight": template("op", f"M{middle} {{start}}V{{at}}", middle + 8, -8),
        "right": template("op", f"M{out} {{start}}H{{lane}}V{{at}}H{out}", layout.right + 6),
        "left": template("leaf", f"M{{x}} {{start}}H{{lane}}V{{at}}H{S.box}", chip + 6) + name,
        **{kind: template(kind, f"M{chip} {{at}}H{S.box}", chip + 6) for kind in ("leaf", "constant")},
    }


def _legend(layout: Layout) -> str:
    parts = []
    if layout.graph.has_numbers:
        of = "" if np.size(layout.graph.output.array) == 1 else "the sum of "
        parts.append(f'value: numbers, or mean ± deviation <tspan class="gradient">∇ gradient of {of}the output</tspan>')
    if layout.graph.of("g"):
        parts.append("Click a module, or Tab and Enter, to open or close it")
    return " · ".join(parts)


def _node(layout: Layout, node: Node, kind: str, about: str, content: str, more: str = "") -> str:
    """A box or a chip, which is seen if it has a place."""
    x, width = (S.box, S.box_width) if node.key[0] in "og" else (S.chip, S.chip_width)
    shown, height = _shown(layout, node.key, x)
    return (
        f'<g id="{node.key}" class="node {kind}" {shown}{more}><rect width="{width}" height="{height}" rx="6"/>'
        f"<title>{_text(about)}</title>{content}{_numbers(node)}</g>"
    )


def _chip(layout: Layout, node: Node) -> str:
    kind, style = ("leaf", "title") if node.value else ("constant", "muted")
    return _node(layout, node, kind, f"{node.name} {np.shape(node.array)}", _line(node.title, 10, 15, style, 30))


def _op(layout: Layout, node: Node) -> str:
    module, _, name = node.title.rpartition(".")
    source = node.value.source if node.value else ""
    title = _text(_fit(module, 20)) + " " if module else ""
    content = f'<text x="10" y="16" class="title">{title}<tspan class="op">{_text(_fit(name, 24))}</tspan></text>'
    return _node(layout, node, "box", f"{node.name} {node.array.shape} {source}", content)


def _module(layout: Layout, node: Node) -> str:
    size = layout.graph.size(node)
    content = _line("▸ " + node.title, 10, 16, "title", 16)
    content += f'<text x="{S.box_width - 8}" y="16" class="muted" text-anchor="end">{size}</text>'
    return _node(layout, node, "group toggle", f"{node.name}: {size}", content, _button(node, "false"))


def _frame(layout: Layout, node: Node) -> str:
    """What is drawn around what is in an open module: its name is a button."""
    shown, height = _shown(layout, f"f{node.key[1:]}", 0)
    inset = S.inset * (layout.depth - len(node.around))
    x, width = S.chip - inset, S.box + S.box_width + 2 * inset - S.chip
    return (
        f'<g id="f{node.key[1:]}" class="around toggle" {shown}{_button(node, "true")}>'
        f'<rect class="frame" x="{x}" width="{width}" height="{height}" rx="8"/>'
        f'<rect class="name" x="{x}" width="{width}" height="24"/>{_line("▾ " + node.title, x + 8, 16, "title", 40)}</g>'
    )


def _shown(layout: Layout, key: str, x: int) -> tuple[str, int]:
    """Attributes by which something is seen if it has a place, and its height."""
    y, height = layout.places.get(key, (0, 0))
    return f'display="inline" transform="translate({x} {y})"' if height else 'display="none"', height


def _button(node: Node, expanded: str) -> str:
    about = f'aria-label="{_text(node.name)}" data-module="{node.key}"'
    return f' tabindex="0" role="button" aria-expanded="{expanded}" {about}'


def _numbers(node: Node) -> str:
    value, gradient = map(_text, node.numbers)
    y = 32 if node.key[0] in "og" else 28
    x, below = (10, y + S.line) if two_lines(node) else (10 + 3 * node.room, y)
    first = f'<text class="numbers" x="10" y="{y}">{value}</text>' if value else ""
    return first + (f'<text class="numbers gradient" x="{x}" y="{below}">{gradient}</text>' if gradient else "")


def _line(text: str, x: int, y: int, kind: str, room: int) -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{_text(_fit(text, room))}</text>'


def _fit(text: str, room: int) -> str:
    return text if len(text) <= room else "…" + text[len(text) - room + 1 :]


def _text(text: str) -> str:
    """As XML, without control characters, which cannot be in it."""
    return escape(re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text))
