"""What counts as the same result: numbers in a list, a tuple or an array, of the dtype and shape that is expected."""

import numpy as np
import pytest

from tinygrad2.study.course.comparing import first_difference
from tinygrad2.study.course.exercise import Call
from tinygrad2.study.course.transcript import Observation, Transcript


def said(ours, theirs):
    """What is said of a result; None where it is the expected one."""
    a, b = (Transcript([Observation("f()", value, Call(print))], None) for value in (ours, theirs))
    found = first_difference(a, b, 1e-9)
    return found and found.said.en


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ((1.0, 2.0), [1.0, 2.0]),
        ((np.array(1.0), np.array(2.0)), [1.0, np.float64(2.0)]),
        ([1.0, 2.0], (1.0, 2.0)),
        ([1.0, 2.0], [np.array(1.0), 2.0]),
        ([1.0, 2.0], np.array([1.0, 2.0])),
        (np.array([1.0, 2.0]), [1.0, 2.0]),
        ({"a": (1.0, 2.0)}, {"a": [1.0, 2.0]}),
        (([1.0, 2.0], 3.0), [(1.0, 2.0), 3.0]),
    ],
)
def test_the_same_numbers_in_another_container(ours, theirs):
    assert said(ours, theirs) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ((1.0, 2.0), [1.0, 2.5], "[1]: is 2.5; expected 2"),
        ((1.0, 2.0), [1.0, 2.0, 3.0], "it gives 3 numbers; expected 2 numbers"),
        ((1.0, 2.0), 1.0, "it gives a number; expected 2 numbers"),
        ([1.0, 2.0], (1.0, 2.0, 3.0), "the shape is (3,); expected (2,)"),
        ([1.0, 2.0], ([1.0], [2.0, 3.0]), "it is of type tuple; expected numbers"),
        ((1.0, (2.0, 3.0)), [1.0, 2.0], "it gives 2 numbers; expected (a number, 2 numbers)"),
    ],
)
def test_other_numbers(ours, theirs, expected):
    assert said(ours, theirs) == expected
