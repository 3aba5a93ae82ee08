"""What a picture shows of a trace: its ops, the modules that they are in, what no op has made, and what enters what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from tinygrad2.errors import GraphError, counted
from tinygrad2.study.drawing.summary import summary
from tinygrad2.study.recording import Value
from tinygrad2.study.trace import Trace
from tinygrad2.types import Array

MANY = 40
"""A graph of more ops is drawn with its modules closed, unless it is said which are open."""


@dataclass
class Node:
    """An op (its key is o0), a call of a module (g0), a leaf (l0) or a constant (c0).

    name         with the module's path
    title        its name in the module that it is in
    first, end   the ops that it is, from which to before which; of a leaf, the first that uses it
    around       the modules that hide it while they are closed, from the outside in: a leaf, those that it is a parameter of
    value        of a module, its result; a constant has none
    inside       of a module, what is in it, in order
    inputs       what enters an op or a closed module, and its shape
    numbers      its value and its gradient (∇) in words
    """

    key: str
    name: str
    title: str
    first: int
    end: int
    around: list[str]
    value: Value | None
    array: Any
    inside: list[str] = field(default_factory=list)
    inputs: list[tuple[str, str]] = field(default_factory=list)
    numbers: tuple[str, str] = "", ""

    @property
    def room(self) -> int:
        """How many letters a line of its numbers has room for."""
        return 50 if self.key[0] in "og" else 41


class Graph:
    """The nodes of a trace by key, with `outermost` what is in no module."""

    def __init__(self, trace: Trace, numbers: bool) -> None:
        self.output, self.has_numbers = trace.output, numbers
        self.nodes: dict[str, Node] = {}
        self._results = trace.results
        self._paths = [_modules(value.path) for value in self._results]
        self._calls: Counter[str] = Counter()
        self.outermost = self._split(0, len(self._results), [])
        self._connect()
        for module in self.of("g"):
            used = (use for i in range(module.first, module.end) for use in self.nodes[f"o{i}"].inputs)
            module.inputs = list(dict.fromkeys(use for use in used if module.key not in self.nodes[use[0]].around))
        if numbers:
            self._write_numbers(trace.backward(np.ones_like(trace.output.array)).gradients)

    def of(self, kinds: str) -> list[Node]:
        """The nodes of these kinds, by the first letter of their keys."""
        return [node for node in self.nodes.values() if node.key[0] in kinds]

    def seen(self, key: str, opened: Set[str]) -> str:
        """What a node is seen in: the outermost closed module around it, or itself."""
        return next((g for g in self.nodes[key].around if g not in opened), key)

    def size(self, module: Node) -> str:
        """How many ops a module has, and parameters."""
        parameters = [leaf for leaf in self.of("l") if module.key in leaf.around]
        entries = sum(np.size(leaf.array) for leaf in parameters)
        shown = f", {counted(len(parameters), 'parameter')}: {entries:,}" if parameters else ""
        return counted(module.end - module.first, "op") + shown

    def opened(self, which: Iterable[str] | bool | None) -> set[str]:
        """The keys of the modules that are open."""
        modules = self.of("g")
        if which is None or isinstance(which, bool):
            everything = len(self._results) <= MANY if which is None else which
            return {module.key for module in modules if everything}
        names = [which] if isinstance(which, str) else list(which)
        known = {module.name for module in modules}
        for name in names:
            if name not in known:
                raise GraphError(f"draw: no module {name!r} to open; choose from {', '.join(sorted(known)) or 'none'}")
        return {module.key for module in modules if any(_inside(name, module.name) for name in names)}

    def _split(self, first: int, end: int, around: list[str]) -> list[str]:
        """Makes nodes of a stretch of ops: one for each call of a module, or for an op that is alone in it; their keys."""
        keys = []
        while first < end:
            path = self._paths[first][len(around) :]
            last = first + 1
            while path and last < end and self._paths[last][len(around) :][:1] == path[:1]:
                last += 1
            value = self._results[last - 1]
            single = last == first + 1
            key = f"o{first}" if single else f"g{len(self.of('g'))}"
            name = value.full_name if single else path[0]
            node = Node(key, name, self._title(name, around), first, last, around, value, value.array)
            self._calls.update(path if single else path[:1])
            if not single and self._calls[name] > 1:
                node.title += f" (call {self._calls[name]})"
            self.nodes[key] = node
            node.inside = [] if single else self._split(first, last, [*around, key])
            keys.append(key)
            first = last
        return keys

    def _connect(self) -> None:
        """Notes what enters the ops, and makes nodes of what no op has made."""
        keys = {value: f"o{i}" for i, value in enumerate(self._results)}
        leaves, constants = count(), count()
        for i, value in enumerate(self._results):
            op = self.nodes[f"o{i}"]
            for x, array in zip(value.inputs, value.arrays, strict=True):
                if x is not None:
                    if x not in keys:
                        key = keys[x] = f"l{next(leaves)}"
                        title = self._title(x.full_name, op.around)
                        own = [module for module in op.around if _inside(x.path, self.nodes[module].name)]
                        self.nodes[key] = Node(key, x.full_name, title, i, i + 1, own, x, x.array)
                    op.inputs.append((keys[x], str(x.array.shape)))
                elif array is not None:
                    key = f"c{next(constants)}"
                    self.nodes[key] = Node(key, "constant", "constant", i, i + 1, op.around, None, array)
                    op.inputs.append((key, f"{np.shape(array)} {np.asarray(array).dtype}"))

    def _title(self, name: str, around: list[str]) -> str:
        outer = self.nodes[around[-1]].name if around else ""
        return name[len(outer) + 1 :] if outer and _inside(name, outer) else name

    def _write_numbers(self, gradients: dict[Value, Array]) -> None:
        for node in self.nodes.values():
            gradient = None if node.value is None else gradients.get(node.value)
            below = "" if gradient is None else "∇ " + summary(gradient, node.room - 2)
            node.numbers = summary(node.array, node.room), below


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
