"""What all numbered experiments share: how they are found, run and written down, and the statistics of their claims.

`experiments/NN_name/run.py` has a docstring whose first line is the question, and
    measure(track, quick, control) -> dict    numbers by name, as JSON; `track` puts a progress bar around what is iterated
    claims(result) -> list[Claim]             what was found, in sentences with the numbers, and whether it holds
    draw(result, figure)                      the picture
    table(result) -> str                      if there is one: the numbers in Markdown
`quick` asks for a small form of a few seconds; `control` for one from which the cause is taken away, so that a claim fails.
The README holds the claims between two marks; a full run writes them there, with result.json and figure.png.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).parent
BEGIN, END = "<!-- finding: written by the run -->", "<!-- end of the finding -->"

Result = dict[str, Any]
Track = Callable[[Iterable[Any]], Iterable[Any]]


class Claim(NamedTuple):
    """A sentence with its numbers, and whether they bear it out."""

    text: str
    holds: bool


class Experiment:
    """A folder with a question."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = folder.name[:2]
        self._module: Any = None

    @property
    def module(self) -> Any:
        """Its run.py."""
        if self._module is None:
            self._module = importlib.import_module(f"experiments.{self.folder.name}.run")
        return self._module

    @property
    def question(self) -> str:
        """The first line of run.py."""
        return str(self.module.__doc__).strip().splitlines()[0]

    def measure(self, quick: bool = False, control: bool = False, quiet: bool = False) -> Result:
        """Its numbers, as JSON has them."""
        from tqdm import tqdm

        def track(items: Iterable[Any]) -> Iterable[Any]:
            return tqdm(items, leave=False, disable=quiet or None)

        return json.loads(json.dumps(self.module.measure(track, quick, control), allow_nan=False))

    def claims(self, result: Result) -> list[Claim]:
        """What its numbers say."""
        return self.module.claims(result)

    def stored(self) -> Result:
        """The result of the last full run."""
        return json.loads((self.folder / "result.json").read_text("utf-8"))

    def write(self, result: Result) -> None:
        """result.json, figure.png, and the finding in README.md."""
        from matplotlib.figure import Figure

        (self.folder / "result.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
        self.module.draw(result, figure)
        figure.savefig(self.folder / "figure.png")
        readme = self.folder / "README.md"
        text = readme.read_text("utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        readme.write_text(f"{before}{BEGIN}\n{self.finding(result)}\n{END}{after}", "utf-8")

    def finding(self, result: Result) -> str:
        """The claims, as the README lists them, and the table."""
        lines = [f"- {claim.text}" + ("" if claim.holds else " **(does not hold)**") for claim in self.claims(result)]
        return "\n".join([*lines, "", self.module.table(result)] if hasattr(self.module, "table") else lines)


def experiments() -> list[Experiment]:
    """All of them, by number."""
    return [Experiment(folder) for folder in sorted(ROOT.glob("[0-9][0-9]_*")) if (folder / "run.py").is_file()]


def as_they_end(
    processes: int, f: Callable[..., Any], jobs: Iterable[tuple[Any, ...]]
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The arguments and the result of f(*arguments) for each job, on so many processes of one thread each.

    They come in the order in which they end. Where one fails, or nobody wants more, those that have not begun are given up.
    """
    os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")  # which they read when they start
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(f, *arguments): arguments for arguments in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def interval(values: Sequence[float], seed: int = 0, draws: int = 10_000) -> tuple[float, float]:
    """The 95% bootstrap interval of the mean (Efron, 1979): the middle 95% of the means of samples with replacement."""
    x = np.asarray(values, float)
    means = x[np.random.default_rng(seed).integers(0, len(x), (draws, len(x)))].mean(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def with_interval(values: Sequence[float], digits: int = 3) -> str:
    """Mean and interval in words: 0.123 (0.101 to 0.144)."""
    low, high = interval(values)
    return f"{np.mean(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
