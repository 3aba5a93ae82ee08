"""The README, the pages beside it and those of docs/ are true: code runs and prints what they show; quotations, links and
commands are real; the scripts of docs/ run.

On a page, a ```python block is executed, and a ```text block right after it is what it prints; the blocks of a page of docs/
go on from one another, those of the others each stand alone. A picture that they make is the one of that name beside the page.
A block marked ```python needs=PACKAGE is executed where that package is, and one marked ```python file=PATH is a part of that
file. In a ```sh block each line is a command. The Chinese pages have the same code, which tests/test_translations.py compares.
"""

from __future__ import annotations

import re
import runpy
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.image
import numpy as np
import pytest

from gpt2.cli import _parser
from tinygrad2 import gradcheck, ops

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CHINESE = sorted({*ROOT.glob("*.zh.md"), *ROOT.glob("docs/zh/*.md"), *ROOT.glob("experiments/*/*.zh.md")})
PAGES = [*sorted({*ROOT.glob("*.md")} - {*CHINESE}), *sorted((ROOT / "docs").glob("*.md"))]


class Block(NamedTuple):
    """A fenced block: what stands behind the backticks, its text, and the number of its first line."""

    page: Path
    info: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found = re.finditer(r"^```([^\n`]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Block(page, m[1], m[2], text.count("\n", 0, m.start(2)) + 1) for m in found]


BLOCKS = [block for page in PAGES for block in blocks(page)]


def run(block: Block, names: dict[str, Any]) -> None:
    """Execute it as a part of its page, so that tracebacks and `study` show the page's lines."""
    exec(compile("\n" * (block.line - 1) + block.text, str(block.page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_runs_and_prints_what_the_page_shows(page, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    of_page = blocks(page)
    for block, following in zip(of_page, [*of_page, None][1:], strict=True):
        needed = block.info.removeprefix("python needs=")
        if block.info != "python" and (needed == block.info or find_spec(needed) is None):
            continue
        names = {} if page.parent == ROOT else names
        run(block, names)
        printed = capsys.readouterr().out
        if following is not None and following.info == "text" and _adjacent(block, following):
            assert _told(printed) == _told(following.text), f"{following} is not what {block} prints"
    for made in [*tmp_path.glob("*.svg"), *tmp_path.glob("*.png")]:
        assert _is_picture(made, page.parent / made.name), f"{page.name} has an older {made.name} than its code makes"


def _is_picture(made: Path, shown: Path) -> bool:
    """Whether a page's picture is what its code makes: of a drawing all of it; of a plot what one sees from afar, since
    versions of matplotlib put things a few pixels apart."""
    if not shown.is_file() or made.suffix == ".svg":
        return shown.is_file() and made.read_text("utf-8") == shown.read_text("utf-8")
    return float(np.mean((_from_afar(made) - _from_afar(shown)) ** 2)) < 0.001


def _from_afar(picture: Path) -> Any:
    """The mean colours (12, 30, 3) of its parts."""
    rows = np.array_split(matplotlib.image.imread(picture)[..., :3], 12)
    return np.array([[part.mean((0, 1)) for part in np.array_split(row, 30, axis=1)] for row in rows])


def _told(text: str) -> str:
    """Without what differs from machine to machine: of a gradient check that finds only rounding, which entry is worst."""
    number, rounding = r" +-?\d\.\d{6}e[+-]\d\d", r"(?:\d\.\de-1\d|0\.0e\+00)"
    text = re.sub(rf"{number}{number} +{rounding}", " (rounding)", text)
    return re.sub(rf"worst relative error {rounding} in .*", "worst relative error (rounding)", text)


def _adjacent(first: Block, second: Block) -> bool:
    """Whether nothing but an empty line is between two blocks."""
    return second.line - (first.line + first.text.count("\n")) <= 3


@pytest.mark.parametrize("block", [b for b in BLOCKS if " file=" in b.info], ids=str)
def test_a_quotation_is_in_its_file(block):
    path = ROOT / block.info.partition(" file=")[2]
    assert block.text in path.read_text("utf-8"), f"{block}: {path.name} has no such lines"


@pytest.mark.parametrize("page", PAGES + CHINESE, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        if "://" not in link and (not target.exists() or (heading and heading not in _headings(target))):
            broken.append(link)
    assert not broken, f"{page.name}: {broken}"


def _headings(page: Path) -> list[str]:
    """As links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def commands() -> list[Any]:
    return [
        pytest.param(shlex.split(line, comments=True), id=f"{block}: {line.strip()[:60]}")
        for block in BLOCKS
        if block.info == "sh"
        for whole in block.text.replace("\\\n", " ").splitlines()
        for line in whole.split("&&")
        if shlex.split(line, comments=True)
    ]


@pytest.mark.parametrize("words", commands())
def test_a_command_is_accepted(words):
    while "=" in words[0]:  # a variable of the environment
        words = words[1:]
    if words[0] == "mpiexec":
        words = words[words.index("gpt2") :]
    match words:
        case ["gpt2", *arguments]:
            _, unknown = _parser().parse_known_args([word for word in arguments if word not in ("...", "--help")])
            assert not unknown
        case ["make", target, *_]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.M)
        case ["python", "-m", module, *_]:
            assert find_spec(module)
        case ["python", path, *_]:
            assert (ROOT / path).is_file()
        case ["pytest", *arguments]:
            assert all((ROOT / word).is_file() for word in arguments if word.endswith(".py"))
        case [program, *_]:
            assert program in ("pip", "python3", ".", "pre-commit")


def test_the_op_of_the_readme_passes_its_check(capsys):
    (softsign,) = [block for block in blocks(README) if "Softsign = " in block.text]
    run(softsign, {})
    assert "right: 3 entries" in capsys.readouterr().out


def test_the_measured_table_is_that_of_the_experiment():
    rows = re.findall(r"^\|.*\|$", (ROOT / "docs" / "how-it-is-made-fast.md").read_text("utf-8"), re.MULTILINE)
    measured = (ROOT / "experiments" / "speed" / "README.md").read_text("utf-8").splitlines()
    assert len(rows) > 12
    assert set(rows) <= set(measured)


def test_xor_is_solved_and_its_gradient_is_right(capsys):
    page = runpy.run_path(str(ROOT / "docs" / "xor.py"))
    assert capsys.readouterr().out.endswith("\n4 of 4 answers are right\n")
    net, x, y = page["Net"](np.random.default_rng(1)).to(np.float64), page["x"].astype(np.float64), page["y"]
    gradcheck(lambda *_: page["loss"](net, x, y), net.parameters()).assert_right()


def test_the_moons_are_told_apart_and_the_gradient_is_right(capsys):
    page = runpy.run_path(str(ROOT / "docs" / "two_moons.py"))
    printed, _, accuracy = capsys.readouterr().out.strip().rpartition(": ")
    assert printed.endswith("accuracy on points it has not seen")
    assert float(accuracy) == pytest.approx(page["accuracy"], abs=1e-3)
    assert float(accuracy) >= 0.97
    net, x, y = page["Net"](np.random.default_rng(1)).to(np.float64), page["x"][:8].astype(np.float64), page["y"][:8]
    gradcheck(lambda *_: ops.cross_entropy(net(x), y), net.parameters()).assert_right()


def test_the_modules_that_have_moved_are_where_the_changelog_says():
    moved = re.findall(r"^\| `([\w.]+)` \| `([\w.]+)`", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert len(moved) > 35
    assert not [now for _, now in moved if find_spec(now) is None]
