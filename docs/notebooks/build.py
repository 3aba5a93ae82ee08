"""Makes the notebooks of this folder and runs them: NAME.ipynb in English and NAME.zh.ipynb in Chinese, in build/notebooks.

A source is one file in Jupytext's percent format, whose code stands there once. Each text cell says its language and is
followed by its twin: `# %% [markdown] lang="en"`, then `# %% [markdown] lang="zh"`. A cell that fails, or a twin that is
missing, is exit code 1. With --keep-empty nothing is run.

    python docs/notebooks/build.py              # all, in both languages
    python docs/notebooks/build.py 01 05        # those whose names begin so
"""

import argparse
import re
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from itertools import groupby, product
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from traitlets.config import Config

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "build" / "notebooks"
LANGUAGES = ("en", "zh")
JOINED = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef“”])\n(?=[^\s\d#*$-])")
"""The end of a line in Chinese, which a browser would show as a space, unless a list, a heading or a formula follows."""

SECONDS = 120
"""That one cell may take."""


def sources(begins):
    """The files whose names begin with one of these; all, if there are none. Raises SystemExit where one fits nothing."""
    every = sorted(HERE.glob("[0-9]*.py"))
    for begin in begins:
        if not any(path.name.startswith(begin) for path in every):
            sys.exit(f"no notebook begins with {begin!r}; there are {', '.join(path.stem for path in every)}")
    return [path for path in every if not begins or path.name.startswith(tuple(begins))]


def edition(text, language):
    """The notebook of a source in one language. Raises ValueError for a text without its twin, and for Chinese in the code."""
    both = jupytext.reads(text, "py:percent")
    for is_text, run in groupby(both.cells, lambda cell: cell.cell_type == "markdown"):
        cells = list(run)
        if is_text and [cell.metadata.get("lang") for cell in cells] != [*LANGUAGES] * (len(cells) // 2):
            raise ValueError(f"a text cell has no twin, first en and then zh: {cells[0].source[:60]!r}")
        if not is_text and not all(cell.source.isascii() for cell in cells):
            raise ValueError(f"the code of both editions is the same, so it is plain ASCII: {cells[0].source[:60]!r}")
    one = nbformat.v4.new_notebook()
    one.cells = [deepcopy(cell) for cell in both.cells if cell.metadata.pop("lang", language) == language]
    one.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for i, cell in enumerate(one.cells):
        cell.id = f"cell-{i}"  # the same file each time
        cell.metadata.clear()
        if cell.cell_type == "markdown":
            cell.source = JOINED.sub("", cell.source)
    return one


def made(path, language, is_run):
    """Write one edition, with its outputs if it is run; what went wrong, if anything did."""
    name = f"{path.stem}.ipynb" if language == "en" else f"{path.stem}.{language}.ipynb"
    try:
        notebook = edition(path.read_text("utf-8"), language)
    except ValueError as error:
        return f"{path.name}: {error}"
    failure = ""
    if is_run:
        with tempfile.TemporaryDirectory() as folder:  # where it may write
            sockets = {"transport": "ipc", "ip": f"{folder}/socket"}  # files of its own, since there may be no network
            about, config = {"metadata": {"path": folder}}, Config({"ConnectionFileMixin": sockets})
            client = NotebookClient(
                notebook, timeout=SECONDS, kernel_name="python3", coalesce_streams=True, resources=about, config=config
            )
            try:
                client.execute()
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                failure = f"{name}: {error}"
    OUT.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, OUT / name)
    return failure


def main():
    """All that were asked for, two at a time."""
    parser = argparse.ArgumentParser(description="make the notebooks, and run them")
    parser.add_argument("names", nargs="*", help="how their names begin; all, if none is given")
    parser.add_argument("--language", choices=LANGUAGES, help="one of the editions, not both")
    parser.add_argument("--keep-empty", action="store_true", help="do not run them")
    args = parser.parse_args()
    jobs = list(product(sources(args.names), [args.language] if args.language else LANGUAGES))
    failures = 0
    with ProcessPoolExecutor(2) as pool:
        results = pool.map(made, *zip(*jobs, strict=True), [not args.keep_empty] * len(jobs))
        for (path, language), failure in zip(jobs, results, strict=True):
            print(failure or f"{path.stem} {language}: ok", flush=True)
            failures += bool(failure)
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
