"""Series that stay short."""

import numpy as np
import pytest

from gpt2.run.series import BATCH, Bins, Thinned


def filled(count, most):
    bins = Bins(columns=2, most=most)
    for step in range(count):
        bins.add(step, step**1.5)
    return bins


@pytest.mark.parametrize("count", [0, 1, BATCH, 4 * BATCH - 1])
def test_few_rows_are_kept_as_they_are(count):
    bins = filled(count, 4 * BATCH)
    assert bins.width == 1
    np.testing.assert_array_equal(bins.table(), np.array([[s, s**1.5] for s in range(count)]).reshape(-1, 2))


@pytest.mark.parametrize(
    ("count", "most"), [(4 * BATCH, 4 * BATCH), (10_000, 4 * BATCH), (70_001, 4 * BATCH), (2_000_001, BATCH)]
)
def test_of_many_there_are_means_of_equal_numbers(count, most):
    bins = filled(count, most)
    table = bins.table()
    assert most / 2 <= len(table) < most + BATCH
    steps = np.arange(count)
    starts = range(0, count, bins.width)
    expected = [[min(start + bins.width, count) - 1, np.mean(steps[start : start + bins.width] ** 1.5)] for start in starts]
    np.testing.assert_allclose(table, expected, rtol=1e-12)
    assert len(bins._new) < 2 * max(BATCH, 2 * bins.width)


def test_a_value_that_is_no_number_stays_in_its_bin():
    bins = Bins(columns=2, most=BATCH)
    for step in range(10 * BATCH):
        bins.add(step, np.nan if step == 5000 else 1.0)
    values = bins.table()[:, 1]
    assert np.isnan(values).sum() == 1
    assert np.nanmax(values) == 1


@pytest.mark.parametrize("most", [1, 2, 5, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 8, 9, 17, 100, 1001])
def test_a_thinned_list_is_spread_evenly_and_has_the_first_and_the_last(most, count):
    found = Thinned(most)
    for value in range(count):
        found.add(value)
    kept = found.values()
    assert len(kept) <= most + 1
    if count <= most:
        assert kept == list(range(count))
    else:
        assert (kept[0], kept[-1]) == (0, count - 1)
        assert len(kept) > most / 2
        assert len(set(np.diff(kept[:-1]))) <= 1
