"""The code in the README runs."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0])
def test_code_block(block, capsys):
    exec(compile(block, "README.md", "exec"), {})


def test_the_custom_op_of_the_readme_passes_its_check(capsys):
    exec(next(block for block in BLOCKS if "Softsign" in block), {})
    assert "right: 3 entries" in capsys.readouterr().out


def test_every_file_it_names_exists():
    for path in re.findall(r"\]\(([^)#]+)\)", README):
        assert (Path(__file__).parents[1] / path).exists(), path
