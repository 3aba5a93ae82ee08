"""Where everything is in a picture, in SVG units."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import NamedTuple

from tinygrad2.study.drawing.graph import Graph, Node


class Sizes(NamedTuple):
    """Lengths in SVG units, which the script in the picture shares."""

    chip: int = 0  # from the left: what no op has made
    chip_width: int = 270
    box: int = 378  # from the left: ops and closed modules
    box_width: int = 330
    top: int = 52
    gap: int = 24  # between boxes
    between: int = 6  # chips
    line: int = 14  # of numbers
    enter: int = 22  # from the top of a chip to its edge
    leave: int = 17  # from the top of a chip to what goes around from it
    reference: int = 22  # for an edge from a chip that is elsewhere
    port: int = 14  # between edges that arrive from the right
    label: int = 96  # for their shapes
    lane: int = 12  # between edges that go around
    head: int = 30  # of the frame of an open module
    foot: int = 10
    inset: int = 8  # from a frame to the next one


S = Sizes()


class Input(NamedTuple):
    """What enters a row.

    how      from the row above ("straight"), around on the "right", from a "leaf" or a "constant" beside it, or around on
             the "left", from a leaf that is elsewhere
    at       where, from the top of the row
    """

    how: str
    source: str
    shape: str
    at: int


class Row(NamedTuple):
    """A box or a chip, and what enters it: all of it is the same whatever is open elsewhere."""

    height: int
    inputs: list[Input]


def rows(graph: Graph) -> dict[str, Row]:
    """The row of every node."""
    return {key: _row(graph, node) for key, node in graph.nodes.items()}


def two_lines(node: Node) -> bool:
    """Whether its value and its gradient do not fit beside each other."""
    return bool(node.numbers[1]) and max(map(len, node.numbers)) > node.room // 2


def _row(graph: Graph, node: Node) -> Row:
    inputs: list[Input] = []
    left, ports, met = 0, 0, set[str]()
    for source, shape in node.inputs:
        if source == f"o{node.first - 1}" and source not in met:  # whatever is open, the row above ends with that op
            inputs.append(Input("straight", source, shape, 0))
        elif source[0] == "o":
            ports += 1
            inputs.append(Input("right", source, shape, S.port * ports))
        elif graph.nodes[source].first >= node.first and source not in met:
            how = "leaf" if source[0] == "l" else "constant"
            inputs.append(Input(how, source, shape, left + S.enter))
            left += _height(graph.nodes[source]) + S.between
        else:
            left += S.reference
            inputs.append(Input("left", source, shape, left - 8))
        met.add(source)
    below = 14 if node.key[0] == "g" else -S.between
    return Row(max(_height(node), left + below, S.port * ports + 20), inputs)


def _height(node: Node) -> int:
    return (40 if node.key[0] in "og" else 34) + S.line * two_lines(node)


@dataclass
class Edge:
    """A line: `origin` is what it comes from, and `source` what that is seen in.

    x, start   where it leaves
    lane       where it goes down, if it goes around
    at         where it arrives
    """

    how: str
    origin: str
    target: str
    shape: str
    at: int
    source: str = ""
    x: int = 0
    start: int = 0
    lane: int = 0


class Layout:
    """Where everything is when some of the modules are open. The script in the picture does the same, line by line.

    places   of what is seen, by key: y and height. The frame of an open module g0 is f0
    """

    def __init__(self, graph: Graph, rows: dict[str, Row], opened: Set[str]) -> None:
        self.graph, self.rows, self.opened = graph, rows, opened
        self.places: dict[str, tuple[int, int]] = {}
        self.edges: list[Edge] = []
        self.depth = max(len(op.around) for op in graph.of("o"))
        self.left = S.chip - S.inset * (self.depth + 1)
        self.right = S.box + S.box_width + S.inset * (self.depth + 1)
        self.height = self._place(graph.outermost, S.top) + S.gap
        for edge in self.edges:
            edge.source = graph.seen(edge.origin, opened)
            y, height = self.places[edge.source]
            chip = edge.source[0] in "lc"
            edge.x, edge.start = (S.chip, y + S.leave) if chip else (S.box, y + height - 6)
        self.x = _lanes((edge for edge in self.edges if edge.how == "left"), self.left - S.lane, -S.lane)
        end = _lanes((edge for edge in self.edges if edge.how == "right"), self.right + S.label, S.lane)
        self.width = end + S.lane - self.x

    def _place(self, keys: list[str], y: int) -> int:
        """Gives these a place, from y on; where the next one is."""
        for key in keys:
            top = y
            if key in self.opened:
                y = self._place(self.graph.nodes[key].inside, top + S.head) + S.foot
                self.places[f"f{key[1:]}"] = top, y - S.gap - top
                continue
            row = self.rows[key]
            for how, source, shape, at in row.inputs:
                self.edges.append(Edge(how, source, key, shape, top + at))
                if how in ("leaf", "constant"):
                    self.places[source] = top + at - S.enter, self.rows[source].height
            self.places[key] = top, row.height
            y += row.height + S.gap
        return y


def _lanes(edges: Iterable[Edge], x: int, step: int) -> int:
    """Gives each edge a lane, from x on, in which it meets no other; short ones are nearest. The next lane that is free."""
    placed: list[Edge] = []
    for edge in sorted(edges, key=lambda edge: edge.at - edge.start):
        edge.lane = x
        while any(other.lane == edge.lane and other.start <= edge.at and edge.start <= other.at for other in placed):
            edge.lane += step
        placed.append(edge)
    return x + step * len({edge.lane for edge in placed})
