"""One table: every op, in both dtypes, in every kind of shape, memory and use. `pytest -s` prints it.

Each cell is one sample, or with `-m exhaustive` the worst of all samples.
"""

import numpy as np
import pytest
from op_samples import KINDS, OPS, gradients, sample

from tinygrad2 import Tensor, gradcheck

BUDGET = {"float64": 1e-6, "float32": 1e-4}


def error64(f, inputs, layout):
    """The worst relative error against finite differences."""
    out, grads = gradients(f, inputs)
    if not out.size or not any(x.size for x in inputs):
        return 0.0 if all(g.shape == x.shape for g, x in zip(grads, inputs, strict=True)) else np.inf
    return gradcheck(f, [Tensor(layout(x.copy()), requires_grad=True) for x in inputs]).worst.error


def error32(f, inputs, layout):
    """The worst error of float32 against float64, relative to the largest entry; infinite if float32 was left."""
    out, grads = gradients(f, inputs, np.float32, layout)
    exact_out, exact = gradients(f, [x.astype(np.float32).astype(float) for x in inputs])
    if any(g.dtype != np.float32 for g in grads) or out.dtype != np.float32:
        return np.inf
    pairs = [(out, exact_out), *zip(grads, exact, strict=True)]
    return max(np.abs(a.data - b.data).max(initial=0) / max(np.abs(b.data).max(initial=0), 1) for a, b in pairs)


def table(number):
    """(op, dtype) -> kind -> worst error, None where no sample is of that kind; of the first so many samples that are."""
    rows = {}
    for op in OPS:
        cases = [sample(op, number) for number in range(len(op.samples))]
        for dtype, error in (("float64", error64), ("float32", error32)):
            row = rows[op.name, dtype] = {}
            for kind, (change, layout) in KINDS.items():
                changed = [case for case in (change(f, inputs) for f, inputs in cases) if case is not None][:number]
                if op.name == "astype" and dtype == "float32":
                    changed = []  # it leaves float32 on purpose
                errors = [error(*case, layout) for case in changed]
                row[kind] = max(errors) if errors else None
    return rows


def as_text(rows):
    lines = [f"{'op':18}{'dtype':9}" + "".join(f"{kind:>10}" for kind in KINDS)]
    for (name, dtype), row in rows.items():
        cells = ("-" if e is None else f"{e:.0e}" for e in row.values())
        lines.append(f"{name:18}{dtype:9}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)


@pytest.mark.parametrize("number", [1, pytest.param(None, id="all", marks=pytest.mark.exhaustive)])
def test_every_cell_is_green(number):
    rows = table(number)
    print("\n" + as_text(rows))
    red = {
        (*key, kind): error
        for key, row in rows.items()
        for kind, error in row.items()
        if error is not None and not error <= BUDGET[key[1]]
    }
    assert not red
    empty = [kind for kind in KINDS if sum(row[kind] is not None for row in rows.values()) < len(rows) / 2]
    assert not empty, "columns that most ops have no sample for"
