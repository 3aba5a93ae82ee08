"""A folder of a learner in which everything is solved."""

import pytest
from solved import folder_of, modules


@pytest.fixture
def folder(tmp_path):
    """All solutions; what is imported from there is forgotten afterwards."""
    with modules():
        yield folder_of(tmp_path)
