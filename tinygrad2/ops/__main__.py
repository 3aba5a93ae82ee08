"""Which functions of NumPy a Tensor answers, and how: `python -m tinygrad2.ops > docs/numpy.md`."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from tinygrad2.ops import RULES
from tinygrad2.ops.plain import IN_PLACE, PLAIN

KINDS = {
    "With a gradient": """They are recorded. Arguments are NumPy's, by position and by name; one that has no rule here is
        refused by its name, and so is `out=`.""",
    "Without a gradient": "Their derivative is zero or meaningless: they are computed on the arrays, and never recorded.",
    "Outside a graph": """A Tensor that is part of a graph is refused by the name of the function. So it is by what NumPy has
        in other places: `np.fft`, `np.polynomial`, `np.char`, `np.strings`. Any other Tensor is computed with as an array:
        say `t.detach()`, or `with no_grad():`. For a gradient, write the function in those of the first list, or give it
        a rule ([how to add an op](../CONTRIBUTING.md#how-to-add-an-op)).""",
    "Never": """They write into an array, and what was recorded with it would no longer be true. `np.where(mask, new, old)`
        makes a new one. So do `t += u` and its kin; `out=` and `np.add.at` are refused.""",
    "Not asked": """NumPy does not say to a Tensor that these are called: they take its array through `np.asarray`, which a
        Tensor that is part of a graph refuses, or they take no array at all. Instead of `np.array([t, u])` and
        `np.r_[t, u]` write `np.stack([t, u])` and `np.concatenate([t, u])`.""",
}


def kind(function: Any) -> str:
    """The list of the page that a function of NumPy stands in."""
    if function in RULES:
        return "With a gradient"
    if function in PLAIN:
        return "Without a gradient"
    if function in IN_PLACE:
        return "Never"
    return "Outside a graph" if isinstance(function, (np.ufunc, type(np.sum))) else "Not asked"


def functions() -> dict[str, Any]:
    """All public functions of np and np.linalg by name; classes are not among them."""
    found = {f"np.{name}": getattr(np, name) for name in dir(np)}
    found |= {f"np.linalg.{name}": getattr(np.linalg, name) for name in dir(np.linalg)}
    return {name: f for name, f in found.items() if callable(f) and not isinstance(f, type) and "._" not in name}


def page() -> str:
    """The lists as Markdown."""
    kinds = {name: kind(function) for name, function in functions().items()}
    parts = [
        "# NumPy's functions with a Tensor",
        "[中文](zh/numpy.md)",
        "What a Tensor makes of the functions of `np` and `np.linalg`. "
        f"`python -m tinygrad2.ops` prints this page; here it is for NumPy {np.__version__}.",
    ]
    for title, text in KINDS.items():
        names = [f"`{name}`" for name in kinds if kinds[name] == title]
        parts += [f"## {title}", " ".join(text.split()), ", ".join(names) + "."]
    return "\n\n".join(textwrap.fill(part, 128, break_long_words=False, break_on_hyphens=False) for part in parts)


if __name__ == "__main__":
    print(page())
