"""A picture for Graphviz."""

from __future__ import annotations

from tinygrad2.study.drawing.graph import Node
from tinygrad2.study.drawing.layout import Layout


def dot(layout: Layout) -> str:
    """What the SVG shows, as a digraph; open modules are clusters."""
    head = ["digraph {", "  node [shape=box, style=rounded, fontname=Helvetica];", "  edge [fontname=Helvetica, fontsize=10];"]
    edges = [f"  {edge.source} -> {edge.target} [label={_quoted(edge.shape)}];" for edge in layout.edges]
    return "\n".join([*head, *_nodes(layout, layout.graph.outermost, "  "), *edges, "}\n"])


def _nodes(layout: Layout, keys: list[str], indent: str) -> list[str]:
    lines = []
    for node in (layout.graph.nodes[key] for key in keys):
        if node.key in layout.opened:
            lines.append(f"{indent}subgraph cluster_{node.key} {{ label={_quoted(node.title)};")
            lines += [*_nodes(layout, node.inside, indent + "  "), indent + "}"]
            continue
        size = layout.graph.size(node) if node.inside else ""
        lines.append(f"{indent}{node.key} [label={_label(node, size)}];")
        for how, source, _, _ in layout.rows[node.key].inputs:
            if how in ("leaf", "constant"):
                style = ", style=dashed" if how == "constant" else ""
                lines.append(f"{indent}{source} [label={_label(layout.graph.nodes[source])}{style}];")
    return lines


def _label(node: Node, size: str = "") -> str:
    return _quoted("\n".join(line for line in (node.title, size, *node.numbers) if line))


def _quoted(text: str) -> str:
    """A string of DOT."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
