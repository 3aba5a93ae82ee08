"""The numbered experiments: each finding holds in a small form, fails without its cause, and is what the README says."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # experiments are run from the repository, and not installed

from experiments.__main__ import main
from experiments.harness import BEGIN, END, ROOT, experiments, interval

EXPERIMENTS = experiments()
each = pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.folder.name)


@pytest.mark.experiments
@each
def test_the_finding_holds(experiment):
    failed = [claim.text for claim in experiment.claims(experiment.measure(quick=True, quiet=True)) if not claim.holds]
    assert not failed


@pytest.mark.experiments
@each
def test_the_finding_fails_without_its_cause(experiment):
    assert not all(claim.holds for claim in experiment.claims(experiment.measure(quick=True, control=True, quiet=True)))


@each
def test_what_is_published_holds(experiment):
    claims = experiment.claims(experiment.stored())
    assert claims
    assert all(claim.holds for claim in claims)


@each
def test_the_readme_has_the_finding_of_the_result(experiment):
    text = (experiment.folder / "README.md").read_text("utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0].strip() == experiment.finding(experiment.stored())
    assert text.startswith(f"# {experiment.question}\n")
    for part in (
        "**What to expect.**",
        "(figure.png)",
        "**Exercise.**",
        "<details>",
        f"python -m experiments {experiment.number}",
    ):
        assert part in text
    assert (experiment.folder / "figure.png").stat().st_size > 10_000


def numbers(x):
    """Every number of a result."""
    if isinstance(x, dict):
        return [n for item in x.values() for n in numbers(item)]
    if isinstance(x, list):
        return [n for item in x for n in numbers(item)]
    return [float(x)] if isinstance(x, (int, float)) else []


@each
def test_every_decimal_number_of_the_readme_is_in_the_result(experiment):
    """What is said around the finding: decimals outside of code must be numbers of the result, rounded."""
    text = (experiment.folder / "README.md").read_text("utf-8")
    around = text.partition(BEGIN)[0] + text.partition(END)[2]
    prose = re.sub(r"`[^`]*`|```.*?```|<details>.*?</details>", "", around, flags=re.DOTALL)
    known = numbers(experiment.stored())
    for found in re.findall(r"(?<![\w.])\d+\.\d+(?:e-?\d+)?", prose):
        digits = len(found.split(".")[1].split("e")[0])
        assert any(f"{x:.{digits}f}" == found or f"{x:.{digits}e}" == found for x in known), found


def test_an_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = [low <= 0 <= high for low, high in (interval(rng.standard_normal(30), draws=1000) for _ in range(400))]
    assert 0.91 < np.mean(hits) < 0.97


def test_they_are_found_run_and_refused(capsys):
    assert main([]) == 0
    assert [line[:2] for line in capsys.readouterr().out.splitlines()] == [experiment.number for experiment in EXPERIMENTS]
    before = (ROOT / "02_accumulation" / "result.json").read_text()
    assert main(["2", "--quick"]) == 0
    assert "holds: With 1 to 8 uses" in capsys.readouterr().out
    assert main(["02", "--control"]) == 0
    assert "FAILS" in capsys.readouterr().out
    assert (ROOT / "02_accumulation" / "result.json").read_text() == before
    assert main(["77"]) == 2
    assert "there is no experiment '77'" in capsys.readouterr().err
