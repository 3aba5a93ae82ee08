"""What memory a computation keeps for its backward pass: which ops keep it, what for, and until when.

A recorded computation keeps everything, so this tells of the same computation when nobody observes it: what is `kept` of each
op then. The numbers are bytes of arrays. Not counted: the leaves, which would be there anyway, the gradients on their way back,
and Python's own objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from tinygrad2.errors import counted
from tinygrad2.ops.op import arrays_in
from tinygrad2.study.recording import Value
from tinygrad2.study.trace import Trace
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array

LARGEST = "largest arrays"


@dataclass(eq=False)
class Kept:
    """One piece of memory that is kept for backward; several ops may keep it, or views of it.

    name      of the value in it, such as "h_0_mlp_gelu"; else which op it belongs to: "saved by h_0_ln_1_layer_norm"
    array     what the first of them keeps
    readers   the ops whose rules receive it, in the order of the forward. It is kept from the moment the first one has run,
              and freed when the rule of that same op has run, which comes last in backward
    """

    name: str
    array: Array
    readers: list[Value]

    @property
    def nbytes(self) -> int:
        """Its size: all of it, even if the ops need a part only."""
        return _owner(self.array).nbytes


class Ledger:
    """All memory that is kept for the backward pass of a computation; see `ledger`.

    trace      the computation
    kept       each piece of memory once, in the order in which the forward came to keep it
    forward    bytes kept after each op, in the order in which the ops ran
    backward   bytes kept while the rule of each op runs, in the order of backward: the ops in reverse
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.kept = _kept(trace)
        self._step = {op: step for step, op in enumerate(reversed(trace.results))}
        of_op = self.by_op()
        self.forward = list(accumulate(of_op[op] for op in trace.results))
        self.backward = self.forward[::-1]  # an op is the first to keep what its rule is the last to need

    @property
    def total(self) -> int:
        """Bytes kept between forward and backward, when they are most."""
        return sum(piece.nbytes for piece in self.kept)

    def freed_after(self, piece: Kept) -> int:
        """The step of backward, from 0, after which a piece of memory is free."""
        return self._step[piece.readers[0]]

    def by_op(self) -> dict[Value, int]:
        """For each op the bytes that it adds to what is kept and that its rule frees: what several keep is the first one's."""
        added = dict.fromkeys(self.trace.results, 0)
        for piece in self.kept:
            added[piece.readers[0]] += piece.nbytes
        return added

    def by_kind(self) -> dict[str, int]:
        """The same for each kind of op, such as "linear", the largest first."""
        return _summed((op.name, nbytes) for op, nbytes in self.by_op().items())

    def by_module(self, depth: int = 3) -> dict[str, int]:
        """The same for each module, at most so many names below the model ("h.0.attn" is 3), the largest first."""
        return _summed((".".join(op.path.split(".")[:depth]), nbytes) for op, nbytes in self.by_op().items())

    def table(self, depth: int = 3, arrays: int = 12) -> str:
        """Text: bytes by module and by kind of op, and the largest arrays with their readers and when they are freed."""
        lines = [self._title()]
        modules, ops, largest = self._tables(depth, arrays)
        for rows in (modules, ops):
            lines += ["", *(f"{name:<32}{nbytes:>14}{share:>8}" for name, nbytes, share in rows)]
        wide = max([len(name) for name, *_ in largest[1:]], default=0) + 2
        for name, shape, dtype, nbytes, when, readers in largest:
            lines += [""] * (name == LARGEST) + [f"{name:<{wide}}{shape:<18}{dtype:<9}{nbytes:>12}  {when:<14}{readers}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """In a notebook: the same tables."""
        from tinygrad2.html import table

        first, *others = self._tables()
        return table(first[0], first[1:], self._title()) + "".join(table(rows[0], rows[1:]) for rows in others)

    def _title(self) -> str:
        kept = f"{counted(self.total, 'byte')} in {counted(len(self.kept), 'array')}, by {counted(len(self._step), 'op')}"
        return f"kept for backward: {kept}"

    def _tables(self, depth: int = 3, arrays: int = 12) -> list[list[tuple[str, ...]]]:
        """The cells of three tables, their heads first: bytes by module and by kind of op, and the largest arrays."""
        sums = {"module": self.by_module(depth), "op": self.by_kind()}
        tables: list[list[tuple[str, ...]]] = [
            [
                (title, "bytes", "share"),
                *((name or "(model)", f"{n:,}", f"{n / max(1, self.total):.1%}") for name, n in of.items()),
            ]
            for title, of in sums.items()
        ]
        largest: list[tuple[str, ...]] = [(LARGEST, "shape", "dtype", "bytes", "freed after", "kept for the rule of")]
        for piece in sorted(self.kept, key=lambda piece: -piece.nbytes)[:arrays]:
            about = str(piece.array.shape), str(piece.array.dtype), f"{piece.nbytes:,}"
            when = f"{self.freed_after(piece) + 1} of {len(self._step)}"
            largest.append((piece.name, *about, when, ", ".join(op.full_name for op in piece.readers)))
        return [*tables, largest]

    def plot(self, path: str | Path) -> None:
        """A picture: bytes kept, op by op through the forward and back, coloured by the kind of module that keeps them."""
        from matplotlib import colormaps
        from matplotlib.figure import Figure

        unit, name = _unit(self.total)
        n = len(self.forward)
        middle = n + 0.5
        figure = Figure(figsize=(11, 5.5), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        below = np.zeros(2 * n + 2)
        for i, (kind, kept) in enumerate(self._curves().items()):
            above = below + np.concatenate([kept, kept[::-1]]) / unit
            label = f"{kind} ({kept[-1] / max(1, self.total):.1%})"
            steps = np.arange(2 * n + 3) - 0.5
            axes.stairs(above, steps, baseline=below, fill=True, color=colormaps["tab20"](i % 20), label=label)
            below = above
        axes.axvline(middle, color="0.2", linestyle="--", linewidth=1)
        top = self.total / unit
        text = f" {top:.3g} {name} when the forward is done"
        axes.annotate(text, (middle, top), (5, 5), textcoords="offset points", va="bottom")
        axes.set_xticks(
            [n / 2, 3 * n / 2 + 1],
            [f"forward: {n} ops \N{RIGHTWARDS ARROW}", "backward: the same, last to first \N{RIGHTWARDS ARROW}"],
        )
        axes.tick_params("x", length=0)
        axes.set(
            ylabel=name, title="Memory kept for backward, by kind of module", ylim=(0, 1.1 * top or 1), xlim=(0, 2 * n + 1)
        )
        axes.grid(axis="y", alpha=0.25)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), reverse=True, frameon=False, title="share at the peak")
        figure.savefig(path)

    def _curves(self) -> dict[str, Array]:
        """For each kind of module the bytes it keeps before the first op and after each; what is too thin to see together."""
        added = self.by_op()
        paths = list(dict.fromkeys(_kind(op.path) for op in added))
        curves: dict[str, Array] = {}
        for path in paths:
            kept = np.cumsum([0, *(nbytes if _kind(op.path) == path else 0 for op, nbytes in added.items())])
            inner = any(other.startswith(f"{path}.") for other in paths)
            name = "others" if kept[-1] < 0.005 * self.total else f"{path or 'model'} itself" if inner or not path else path
            curves[name] = curves.get(name, 0) + kept
        if "others" in curves:
            curves["others"] = curves.pop("others")  # on top
        return curves


def ledger(loss: Tensor) -> Ledger:
    """What the computation of a recorded Tensor would keep for its backward pass if it were not recorded, in bytes.

    Memory that several ops keep, or views of it, counts once. The data of leaves does not count. What a rule passes on as
    a gradient, as that of linear_cross_entropy does, leaves the ledger there. Raises GraphError as `Trace` does.
    """
    return Ledger(Trace(loss))


def _kept(trace: Trace) -> list[Kept]:
    leaves = {id(_owner(leaf.array)) for leaf in trace.leaves}
    names: dict[int, str] = {}
    for value in trace.results:
        names.setdefault(id(_owner(value.array)), trace.names[value])
    found: dict[int, Kept] = {}
    for value in trace.results:
        assert value.op is not None
        primals, residuals = value.op.kept(value.arrays, value.residuals, tuple([x is not None for x in value.inputs]))
        held = {"input of": primals, "saved by": residuals, "setting of": value.settings}
        for what, array in ((what, array) for what, part in held.items() for array in arrays_in(part)):
            key = id(_owner(array))
            if key in leaves:
                continue
            piece = found.setdefault(key, Kept(names.get(key, f"{what} {trace.names[value]}"), array, []))
            if value not in piece.readers:
                piece.readers.append(value)
    return list(found.values())


def _owner(array: Array) -> Array:
    """The array whose memory this one is a view of."""
    owner, base = array, array.base
    while base is not None:
        owner = base if isinstance(base, np.ndarray) else owner
        base = getattr(base, "base", None)
    return owner


def _summed(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for name, nbytes in pairs:
        sums[name] = sums.get(name, 0) + nbytes
    return {name: nbytes for name, nbytes in sorted(sums.items(), key=lambda pair: -pair[1]) if nbytes}


def _kind(path: str) -> str:
    """Where a module is, the same for all blocks: "h.attn" for "h.3.attn.c_attn"."""
    return ".".join(re.sub(r"\.\d+", "", path).split(".")[:2])


def _unit(nbytes: int) -> tuple[int, str]:
    """A unit in which a number of bytes is easy to read."""
    units = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
    return next((unit for unit in units if nbytes >= unit[0]), (1, "bytes"))
