"""Arrays, tables and pages as HTML, for what shows itself in a notebook; to be read on a light page and on a dark one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from typing import Any

import numpy as np

from tinygrad2.errors import counted
from tinygrad2.types import Array

SIDE, MATRICES = 12, 4
"""Of an array at most so many rows and columns of so many matrices are shown."""

ROWS = 60
"""Of a table at most so many rows."""

NUMBER = re.compile(r"[-+\d.,e%/ ×()]+|-?inf|nan")
"""A cell that is flush right."""

POSITIVE, NEGATIVE, NO_NUMBER = "37,99,235", "234,88,12", "220,38,38"
"""Blue, orange and red. The paper shows through them, whatever its colour."""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], title: str = "", note: str = "") -> str:
    """Cells of text, with what is said above and below them. Only the first ROWS rows are shown, and how many follow."""
    rows = list(rows)
    body = [[_cell(text) for text in row] for row in rows[:ROWS]]
    if len(rows) > ROWS:
        body.append([f'<td colspan="{len(heads)}">… and {counted(len(rows) - ROWS, "row")} more</td>'])
    head = "".join(f'<th style="text-align:left">{escape(text)}</th>' for text in heads)
    return _framed(_table([f"<tr>{head}</tr>", *(f"<tr>{''.join(cells)}</tr>" for cells in body)]), title, note)


def heat_map(array: Array, title: str = "") -> str:
    """The numbers of an array of any shape, coloured by their sign and by how large they are beside the largest.

    The axes before the last two are told by their index. Of a large array the first rows and columns of the first matrices are
    shown, and its least, mean and largest number.
    """
    matrices = array.reshape((1,) * (2 - array.ndim) + array.shape)
    leading, (height, width) = matrices.shape[:-2], matrices.shape[-2:]
    is_cut = height > SIDE or width > SIDE or math.prod(leading) > MATRICES
    coloured = array.dtype.kind in "fiub" and array.size > 1
    finite = array[np.isfinite(array)] if array.dtype.kind in "fc" else array
    scale = max(abs(float(finite.max())), abs(float(finite.min()))) if coloured and finite.size else 0.0
    parts = []
    for index in islice(np.ndindex(leading), MATRICES) if array.size else ():
        rows = ["".join(_entry(x, scale) for x in row[:SIDE]) + "<td>…</td>" * (width > SIDE) for row in matrices[index][:SIDE]]
        rows += ["<td>⋮</td>" * min(width, SIDE)] * (height > SIDE)
        name = f"[{', '.join(map(str, index))}]" if leading else ""
        parts.append(_framed(_table(f"<tr>{row}</tr>" for row in rows), name))
    notes = [f"the first of {counted(array.size, 'entry')}"] * is_cut
    if is_cut and coloured and finite.size:
        mean = float(np.mean(finite, dtype=np.float64))
        notes.append(f"least {_number(finite.min())}, mean {_number(mean)}, largest {_number(finite.max())}")
    if finite.size < array.size:
        notes.append(f"{array.size - finite.size:,} not finite")
    return _framed("".join(parts), title, "; ".join(notes))


def frame(page: str, height: int) -> str:
    """A page of its own within the notebook, with its scripts, which reach nothing outside of it."""
    style = f"width:100%;height:{height}px;border:0"
    return f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" style="{style}"></iframe>'


def _framed(content: str, title: str = "", note: str = "") -> str:
    above, below = (f"<div>{text}</div>" if text else "" for text in (f"<b>{escape(title)}</b>" * bool(title), escape(note)))
    return f'<div style="margin:2px 0">{above}{content}{below}</div>'


def _table(rows: Iterable[str]) -> str:
    return f'<table style="border-collapse:collapse;font-variant-numeric:tabular-nums;margin:2px 0">{"".join(rows)}</table>'


def _cell(text: str) -> str:
    style = "text-align:right;white-space:nowrap" if NUMBER.fullmatch(text) else "text-align:left"
    return f'<td style="{style}">{escape(text)}</td>'


def _entry(x: Any, scale: float) -> str:
    style = ""
    if x.dtype.kind in "fc" and not np.isfinite(x):
        style = f' style="background:rgba({NO_NUMBER},.7)"'
    elif scale and x:
        style = f' style="background:rgba({POSITIVE if x > 0 else NEGATIVE},{0.65 * abs(float(x) / scale):.2f})"'
    return f"<td{style}>{escape(_number(x))}</td>"


def _number(x: Any) -> str:
    """Four digits of one that is not whole by its type; -0.5 and not -0.5000."""
    return f"{x:.4g}" if np.asarray(x).dtype.kind in "fc" else str(x)
