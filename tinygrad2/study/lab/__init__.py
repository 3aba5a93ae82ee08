"""The VJP Lab: one page, made from a recorded computation, in which its backward pass is watched, predicted and diagnosed."""

from __future__ import annotations

import html
import itertools
import json
import re
import zlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from tinygrad2.errors import GraphError
from tinygrad2.files import write_anew
from tinygrad2.html import frame
from tinygrad2.language import script
from tinygrad2.study.lab.contents import Arrays, Data, contents, games
from tinygrad2.study.lab.diagnose import Diagnosis
from tinygrad2.study.trace import Trace
from tinygrad2.tensor import Tensor

SIZE = 2_000_000
"""The most bytes of a page."""

LIMITS = (1 << 20, 1 << 16, 1 << 14, 1 << 12, 1 << 10, 1 << 8, 96)
"""Up to how many entries an array is in the page as a whole: the largest of these with which the page is small enough."""

HEIGHT = 820
"""Of the page in a notebook, in pixels."""

CASES = 12
"""Of *Diagnose*, where the computation has room for so many."""

NUMPY = ("arrays", "indexing", "products", "entries", "functions", "parser", "operators", "evaluator")
"""The files of `numpy/`, each after those that it builds on."""

SCRIPTS = (
    *(f"numpy/{name}.js" for name in NUMPY),
    *("verdict.js", "matrix.js", "judge.js", "map.js", "watch.js", "predict.js", "diagnose.js", "check.js", "lab.js"),
)


class Page(int):
    """The size of a page in bytes; in a notebook it shows the page."""

    html: str

    def __new__(cls, page: bytes) -> Page:
        made = super().__new__(cls, len(page))
        made.html = page.decode()
        return made

    def _repr_html_(self) -> str:
        return frame(self.html, HEIGHT)


def lab(
    loss: Tensor,
    path: str | Path | None = None,
    title: str = "a computation",
    about: str = "",
    inside: str | None = None,
    *,
    tokens: Sequence[str] = (),
    seed: int = 0,
    cases: int = CASES,
) -> Page:
    """The page of a recorded scalar, which is written to `path`, if one is given, and shows itself in a notebook.

    Returns its size in bytes, at most `SIZE`, as an integer whose `html` is the page.

    Arrays too large for that are cut to a window; those of the module at the path `inside` are the last to be. `tokens` stand
    beside the rows of arrays with as many rows; `seed` draws up to so many `cases` of *Diagnose*. Raises GraphError for a
    Tensor that was not recorded, is not a scalar, or has too many ops for a page, and for less than one case; and OSError.
    """
    if cases < 1:
        raise GraphError(f"lab: cases={cases}: must be at least 1")
    trace = Trace(loss)
    if trace.output.array.size != 1:
        raise GraphError(f"lab: the output has shape {trace.output.array.shape}; sum it to one number first")
    arrays = Arrays()
    data = contents(trace, arrays, lambda value: inside is not None and f"{value.full_name}.".startswith(f"{inside}."))
    data["tokens"] = list(tokens)
    try:
        diagnosis = Diagnosis(trace, seed)
        data["diagnose"] = games(diagnosis, diagnosis.cases(cases), arrays)
    except GraphError as error:  # finite differences cannot say what is right
        data["diagnose"] = {"cases": [], "why": str(error)}
    for limits in itertools.product(LIMITS, LIMITS):
        page = _page({**data, "arrays": arrays.packed(*limits)}, title, about)
        if len(page) <= SIZE:
            if path is not None:
                write_anew(Path(path), page, b" - VJP Lab</title>")
            return Page(page)
    cases = len(data["diagnose"]["cases"])
    raise GraphError(
        f"lab: {len(trace.results)} ops and {cases} cases of diagnose do not fit into a page of {SIZE} bytes; take fewer "
        "layers, a part of them, or fewer cases"
    )


def _page(data: Data, title: str, about: str) -> bytes:
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    here = files(__package__)
    parts = {
        "title": html.escape(title),
        "about": html.escape(about),
        "style": (here / "style.css").read_text("utf-8"),
        "script": "\n".join([script(__package__), *((here / name).read_text("utf-8") for name in SCRIPTS)]),
        "data": text,
        "crc": str(zlib.crc32(text.encode())),
    }
    page = (here / "page.html").read_text("utf-8")
    return re.sub(r"\{(\w+)\}", lambda found: parts[found[1]], page).encode()
