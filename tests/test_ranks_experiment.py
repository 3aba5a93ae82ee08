"""The measurements on several ranks: the model is what it says, and the page what was measured."""

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # experiments are run from the repository, and not installed

from experiments.ranks import cost, run


def test_the_page_on_many_machines_has_the_tables_of_the_result():
    tables = run.tables(json.loads((run.HERE / "result.json").read_text("utf-8")))
    assert run.PAGE.read_text("utf-8").partition(run.START)[2].partition(run.END)[0].strip() == tables.strip()


def test_the_cost_model():
    """By hand: 4 machines, 100 bytes, messages of 1 s and 10 bytes a second."""
    network = cost.Network(1.0, 10.0)
    assert cost.ring(4, 100, network) == 6 * (1 + 2.5)
    assert cost.tree(4, 100, network) == 4 * (1 + 10)
    assert cost.step(4, 80, 10, 100, network) == 2 + 21
    assert [cost.memory(10, 4, zero) for zero in (False, True)] == [160, 100]
    points = [(n, size, cost.ring(n, size, network)) for n in (2, 4) for size in (10.0, 1000.0)]
    np.testing.assert_allclose(cost.fitted(points), network)
