"""A gradient, split by the ways it came: what each use of a value has added to it.

A value that is used several times gets the sum of what comes back from each use. The token embedding of a GPT-2 with a tied
head is looked up and is the matrix of the head; the residual stream is read by a branch and goes on past it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad2.errors import GraphError
from tinygrad2.fonts import legible
from tinygrad2.study.recording import Value
from tinygrad2.study.trace import Backward, Contribution, Trace
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array

BARS = 40
"""So many rows of a parameter are in a picture: those with the largest gradients."""


@dataclass(eq=False)
class Part:
    """What one use of a value has added to a gradient.

    name           where it came from: "wte.embedding"; "h.1.attn (through ln_1)"; "skip" if the value went on unchanged
    contribution   what it added, and the op that used the value
    is_skip        whether it is the whole gradient of the result, as of `x` in `x + f(x)`
    """

    name: str
    contribution: Contribution
    is_skip: bool

    @property
    def array(self) -> Array:
        """What was added, in the shape of the target."""
        return self.contribution.array


class Split:
    """A gradient and its parts; see `split`.

    target   the value whose gradient it is
    whole    the gradient, as backward has it
    parts    what was added, in the order in which it was
    """

    def __init__(self, target: Value, backward: Backward, uses: dict[Value, list[Part]] | None = None) -> None:
        self.target, self._backward = target, backward
        self.whole = backward.gradients[target]
        self._uses = uses or {target: _parts(target, backward)}  # of the target, and of what it goes on as
        self.parts = _numbered(self._ends())

    def expanded(self) -> Split:
        """The same gradient with each skip replaced by the parts beyond it, for as long as the value goes on unchanged.

        Of the residual stream: a part for each later branch, and one for the way past all of them.
        """
        uses = dict(self._uses)
        waiting = list(uses.values())
        while waiting:
            for part in waiting.pop():
                user = part.contribution.user
                if part.is_skip and user not in uses and user in self._backward.contributions:
                    uses[user] = _parts(user, self._backward)
                    waiting.append(uses[user])
        return Split(self.target, self._backward, uses)

    def total(self) -> Array:
        """The parts added up as the engine added them, those beyond a skip first on their own: its gradient, bit for bit."""
        sums: dict[Value, Array] = {}
        for value in sorted(self._uses, key=lambda value: -value.number):
            total: Array | None = None
            for part in self._uses[value]:
                if self._goes_on(part):
                    beyond = sums[part.contribution.user]
                    total = beyond if total is None else np.asarray(total + beyond)
                else:
                    total = part.contribution.added_to(total)
            assert total is not None
            sums[value] = total
        return sums[self.target]

    def by_token(self) -> Array:
        """The norm of each part at each token (row): (parts, *shape[:-1]), float64. Of an embedding, the rows are its own.

        The norms of the parts do not add up to that of the whole; what does is `along`.
        """
        return np.array([np.linalg.norm(_rows(part.array), axis=-1) for part in self.parts])

    def along(self) -> Array:
        """How far each part goes in the direction of the whole at each token (row): (parts, *shape[:-1]), float64.

        The sum over the parts is the norm of the whole there. What works against the whole is negative.
        """
        whole = _rows(self.whole)
        norm = np.linalg.norm(whole, axis=-1, keepdims=True)
        direction = whole / np.where(norm == 0, 1, norm)
        return np.array([np.sum(_rows(part.array) * direction, axis=-1) for part in self.parts])

    def table(self) -> str:
        """Text, a line for each part: its shape, in how many rows it is not zero, its norm, its share, and its cosine.

        The share is that of its component along the whole, so shares add up to 100%; the cosine is that with the whole.
        """
        rows = self._cells()
        width = max(len(row[0]) for row in rows[1:]) + 2
        return "\n".join(
            f"{name:<{width}}{shape:<18}{count:>13}{norm:>11}{share:>9}{cosine:>8}"
            for name, shape, count, norm, share, cosine in rows
        )

    def _repr_html_(self) -> str:
        """In a notebook: the same table."""
        from tinygrad2.html import table

        heads, *rows = self._cells()
        return table(heads, rows, f"the gradient of {self.target.full_name}, by the way it came")

    def _cells(self) -> list[tuple[str, ...]]:
        """The table, its heads first."""
        rows: list[tuple[str, ...]] = [("part", "shape", "rows", "norm", "share", "cosine")]
        for name, array in [*((part.name, part.array) for part in self.parts), ("whole", self.whole)]:
            norm, share, cosine = _compared(array, self.whole)
            touched = np.any(_rows(array), axis=-1)
            count = f"{np.count_nonzero(touched)}/{touched.size}"
            rows.append((name, str(array.shape), count, f"{norm:.4g}", f"{share:.1%}", f"{cosine:.3f}"))
        return rows

    @legible
    def plot(self, path: str | Path, labels: Sequence[str] | None = None) -> None:
        """A picture: how large each part is, and what each adds to the gradient of each token.

        Tokens of several sequences are averaged by position; of a parameter, the rows with the largest gradients are shown.
        `labels` names the rows of a parameter, or the positions.
        """
        from matplotlib.figure import Figure

        colors = _colors([part.name for part in self.parts])
        height = max(4.5, 1.5 + 0.26 * len(self.parts))
        figure = Figure(figsize=(13, height), dpi=110, layout="constrained")
        figure.suptitle(f"Gradient of {self.target.full_name} {self.whole.shape}, by the way it came")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.7))
        self._plot_parts(left, colors)
        self._plot_tokens(right, colors, labels)
        figure.savefig(path)

    def _plot_parts(self, axes: Any, colors: list[Any]) -> None:
        """A bar for each part, in the order of addition from the top."""
        found = [_compared(part.array, self.whole) for part in self.parts]
        names = [part.name for part in self.parts]
        norms = [*(norm for norm, _, _ in found), np.linalg.norm(_rows(self.whole))]
        axes.barh([*names, "whole"], norms, color=[*colors, "0.2"])
        axes.invert_yaxis()
        for i, (norm, share, cosine) in enumerate(found):
            text = f"{share:.0%}, cos {cosine:.2f}"
            axes.annotate(text, (norm, i), (3, 0), textcoords="offset points", va="center", fontsize=8)
        axes.margins(x=0.3)
        axes.set_xlim(left=0)
        axes.set_title("norm; share of the whole; cosine with it", fontsize=10)
        axes.grid(axis="x", alpha=0.25)

    def _plot_tokens(self, axes: Any, colors: list[Any], labels: Sequence[str] | None) -> None:
        """For each row a stack of what the parts add along the whole gradient: up, or down where they work against it."""
        along = self.along().reshape(len(self.parts), -1, self.whole.shape[-2] if self.whole.ndim > 1 else 1)
        batch, along = along.shape[1], along.mean(1)
        whole = along.sum(0)
        shown = np.arange(len(whole))
        what = "position" + (f" (mean of {batch} sequences)" if batch > 1 else "")
        if self.target.is_leaf:
            shown = np.argsort(-whole, kind="stable")[:BARS]
            what = "row" if len(whole) <= BARS else f"row: the {BARS} of {len(whole)} with the largest gradients"
        at = np.arange(len(shown))
        up, down = np.zeros(len(shown)), np.zeros(len(shown))
        for color, heights in zip(colors, along[:, shown], strict=True):
            axes.bar(at, heights, 0.9, bottom=np.where(heights >= 0, up, down), color=color)
            up, down = up + np.maximum(heights, 0), down + np.minimum(heights, 0)
        axes.plot(at, whole[shown], "o", color="0.1", markersize=3)
        axes.axhline(0, color="0.3", linewidth=0.8)
        if labels is not None or self.target.is_leaf:
            axes.set_xticks(at, [labels[i] if labels is not None else str(i) for i in shown.tolist()], fontsize=8)
        else:
            axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel=what, ylabel="along the whole gradient", xlim=(-0.7, len(shown) - 0.3))
        axes.set_title("what each part adds to the norm of the gradient (dots), row by row", fontsize=10)
        axes.grid(axis="y", alpha=0.25)

    def _goes_on(self, part: Part) -> bool:
        """Whether it stands for the parts beyond it."""
        return part.is_skip and part.contribution.user in self._uses

    def _ends(self) -> list[Part]:
        """The parts that do not stand for others, in the order in which they are added."""
        found, waiting = [], self._uses[self.target][::-1]
        while waiting:
            part = waiting.pop()
            if self._goes_on(part):
                waiting += self._uses[part.contribution.user][::-1]
            else:
                found.append(part)
        return found


def split(loss: Tensor, target: Tensor | Value | str) -> Split:
    """The gradient of a recorded loss for `target`, by the ways it came; `target` is what `Trace.find` takes.

    A part is what one use of the target has added, such as each branch that reads the residual stream, and its going on past
    them ("skip"), which `expanded` follows. Raises GraphError as `Trace` does, and for a value that gets no gradient.

    >>> from tinygrad2 import Tensor, study
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> with study.record():
    ...     loss = (x + x * x).sum()
    >>> [(part.name, part.array) for part in split(loss, x).parts]
    [('skip', array([1., 1.])), ('multiply', array([1., 2.])), ('multiply 2', array([1., 2.]))]
    """
    trace = Trace(loss)
    value = trace.find(target)
    backward = trace.backward()
    if value not in backward.contributions:
        why = "is what backward starts from" if value is trace.output else "gets no gradient"
        raise GraphError(f"split: {value.full_name} {why}; choose a value from which the loss was computed")
    return Split(value, backward)


def _parts(value: Value, backward: Backward) -> list[Part]:
    """What each use of a value has added to its gradient."""
    parts = []
    for contribution in backward.contributions[value]:
        is_skip = _passes(contribution, backward)
        name = "skip" if is_skip else _branch(contribution.user, backward)
        parts.append(Part(name, contribution, is_skip))
    return parts


def _passes(contribution: Contribution, backward: Backward) -> bool:
    """Whether an op has handed on its own gradient, once and as it is: the way past a branch, and the end of a branch."""
    g, target = backward.gradients[contribution.user], contribution.target
    uses = sum(x is target for x in contribution.user.inputs)
    return contribution.raw is g and uses == 1 and (g.shape, g.dtype) == (target.array.shape, target.array.dtype)


def _branch(user: Value, backward: Backward) -> str:
    """A name for the ops from `user` on, up to where they are added to something or are used several times."""
    chain = [user]
    while len(onward := backward.contributions.get(chain[-1], [])) == 1 and not _passes(onward[0], backward):
        chain.append(onward[0].user)
    if len(chain) == 1:
        return user.full_name
    first = _components(user)
    rest = _shared(*map(_components, chain[1:]))
    shared = len(_shared(first, rest))
    if shared in (len(first), len(rest)):  # inside of one module
        return user.full_name
    return f"{'.'.join(rest)} (through {'.'.join(first[shared:])})"


def _components(value: Value) -> list[str]:
    return value.path.split(".") if value.path else []


def _shared(*paths: list[str]) -> list[str]:
    """What all of them begin with."""
    return [names[0] for names in takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False))]


def _numbered(parts: list[Part]) -> list[Part]:
    """With a number after a name that has been there before."""
    count: Counter[str] = Counter()
    found = []
    for part in parts:
        count[part.name] += 1
        found.append(part if count[part.name] == 1 else replace(part, name=f"{part.name} {count[part.name]}"))
    return found


def _rows(x: Array) -> Array:
    """As float64, with at least one axis."""
    return np.atleast_1d(x).astype(np.float64)


def _compared(part: Array, whole: Array) -> tuple[float, float, float]:
    """The norm of a part, its component along the whole as a share of that, and the cosine of the two; 0 where undefined."""
    a, b = _rows(part).ravel(), _rows(whole).ravel()
    norm, of_whole, dot = float(np.linalg.norm(a)), float(np.linalg.norm(b)), float(a @ b)
    return norm, dot / of_whole**2 if of_whole else 0.0, dot / norm / of_whole if norm and of_whole else 0.0


def _colors(names: list[str]) -> list[Any]:
    """A hue for each kind of branch, and its shades for the blocks, darker for later ones."""
    from matplotlib import colormaps

    kinds = [re.sub(r"\.\d+\b|^\d+\.| \d+$", "", name) for name in names]
    hues = ("Blues", "Oranges", "Greens", "Purples", "Reds", "Greys")
    hue = {kind: colormaps[hues[i % len(hues)]] for i, kind in enumerate(sorted(set(kinds)))}
    blocks = {kind: sorted((n for n, k in zip(names, kinds, strict=True) if k == kind), key=_by_number) for kind in hue}
    return [hue[k](0.4 + 0.5 * (blocks[k].index(n) + 1) / (len(blocks[k]) + 1)) for n, k in zip(names, kinds, strict=True)]


def _by_number(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]
