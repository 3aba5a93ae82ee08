"""A recorded graph as a picture: SVG whose modules open and close, and DOT for Graphviz.

One row an op, or a module that is closed, in the order in which they ran. What no op has made enters from the left, beside
the first op that uses it. What skips a row goes around on the right, where the shape is written as it arrives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tinygrad2.errors import GraphError
from tinygrad2.files import write_atomically
from tinygrad2.html import frame
from tinygrad2.study.drawing.dot import dot
from tinygrad2.study.drawing.graph import Graph
from tinygrad2.study.drawing.layout import Layout, rows
from tinygrad2.study.drawing.svg import svg
from tinygrad2.study.trace import Trace
from tinygrad2.tensor import Tensor


@dataclass(frozen=True)
class Drawing:
    """A picture of a graph, as the text of an SVG file and of a DOT file."""

    svg: str
    dot: str

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        """In a notebook: a page of its own, in which a click opens and closes modules as in the file."""
        height = int(self.svg.split(' height="', 1)[1].split('"', 1)[0])
        return frame(f'<!doctype html><meta charset="utf-8"><body style="margin:0">{self.svg}', min(height + 20, 640))


def draw(
    loss: Tensor | Trace, path: str | Path | None = None, *, open: Iterable[str] | bool | None = None, values: bool = True
) -> Drawing:
    """What a recorded result was computed from, with the shape on every edge and, in every node, its value and gradient (∇).

    path     a file to write: `.svg`, in which a click, or Tab and Enter, opens and closes a module, or `.dot`
    open     the modules to draw open, by path ("h.0.attn" opens "h.0" too); True is all of them, False none. Left out, it
             is all of them in a graph of up to 40 ops
    values   whether to show the numbers: all if there are few, or mean ± standard deviation; gradients are those of the sum

    Raises GraphError for a Tensor that was not recorded, another ending, a module that the graph has not, or a file that
    cannot be written.
    """
    ending = Path(path).suffix if path is not None else ".svg"
    if ending not in (".svg", ".dot"):
        raise GraphError(f"draw: {str(path)!r} ends in {ending!r}; a drawing is written as .svg or .dot")
    graph = Graph(loss if isinstance(loss, Trace) else Trace(loss), values)
    layout = Layout(graph, rows(graph), graph.opened(open))
    drawing = Drawing(svg(layout), dot(layout))
    if path is not None:
        try:
            write_atomically(Path(path), (drawing.svg if ending == ".svg" else drawing.dot).encode())
        except OSError as error:
            raise GraphError(f"draw: {path} cannot be written: {error}") from error
    return drawing
