"""Measure our training step beside PyTorch's, and write what was found.

    python -m experiments.speed.run                          # every workload, five rounds
    python -m experiments.speed.run --workloads char baby    # some of them
    python -m experiments.speed.run --scaling                # other contexts, batch sizes and numbers of threads
    python -m experiments.speed.run --table                  # measure nothing: rows.jsonl again to tables and pictures

An interrupted run goes on where it stopped: rows.jsonl has every measurement from the moment it was made.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tqdm import tqdm

# Nothing large is imported before the measurements (no NumPy, no matplotlib): on Linux the peak memory that a process
# reports begins with that of the process that started it.
from experiments.speed.contenders import (
    CONTENDERS,
    CORES,
    ROOT,
    WORKLOADS,
    Row,
    Workload,
    measure,
    sweeps,
    wait_for_quiet,
)
from experiments.speed.results import END, START, read_rows, rounds_of, summarise, table, undisturbed, with_table

HERE = Path(__file__).parent
QUICK = ROOT / "runs" / "speed-quick"


def machine() -> dict[str, Any]:
    """Its processor and cores, and the versions that ran."""
    versions: dict[str, str | None] = {"Python": platform.python_version()}
    for name in ("numpy", "torch", "numba", "mkl"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
        facts = {key.strip(): value.strip() for key, _, value in lines}
    except OSError:
        facts = {}
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()]
    return {"cpu": facts.get("model name") or platform.processor(), "cores": CORES, "flags": flags, "versions": versions}


def measure_all(workloads: Sequence[Workload], pairs: int, passes: int, wait: float, path: Path) -> None:
    """Append rows to a file until every workload has `pairs` complete and undisturbed rounds, or after `passes` rounds.

    A round takes every contender of a workload once; the next begins with the next contender, so that none always comes
    first. The rounds of the workloads alternate, so that a noisy hour does not fall on one of them. Before each process, up
    to `wait` seconds are spent waiting for other programs to end.
    """
    with tqdm(unit="process", disable=None) as progress:
        for _ in range(passes):
            rows = read_rows(path)
            left = {w.name: pairs - len(undisturbed(rounds_of(rows, w.name))) for w in workloads}
            for workload in (w for w in workloads if left[w.name] > 0):
                last = max((row["round"] for row in rows if row.get("workload") == workload.name), default=-1)
                progress.total = progress.n + sum(n * len(w.contenders) for w in workloads if (n := left[w.name]) > 0)
                measure_round(workload, last + 1, path, wait, progress)
                left[workload.name] -= 1


def measure_round(workload: Workload, number: int, path: Path, wait: float, progress: tqdm) -> None:
    """Every contender of a workload once, each in a process of its own, when the machine is quiet."""
    first = number % len(workload.contenders)
    for name in workload.contenders[first:] + workload.contenders[:first]:
        progress.set_description("waiting for a quiet machine")
        wait_for_quiet(wait)
        progress.set_description(f"{workload.name}, {name}")
        append(path, {"round": number, "of": len(workload.contenders), **measure(workload, CONTENDERS[name])})
        progress.update()


def append(path: Path, row: Row) -> None:
    """One line more, on disk before the next is measured."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def write_outputs(folder: Path) -> str:
    """result.json, README.md's table and the pictures, from rows.jsonl. Returns the table."""
    result = summarise(read_rows(folder / "rows.jsonl"))
    text, readme = table(result), folder / "README.md"
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    page = readme.read_text("utf-8") if readme.exists() else f"{START}\n{END}\n"
    readme.write_text(with_table(page, text), "utf-8")
    from experiments.speed.figures import draw_scaling, draw_workloads

    if result["workloads"]:
        draw_workloads(result["workloads"], folder / "figure.png")
    if result["scaling"]:
        draw_scaling(result["scaling"], folder / "scaling.png")
    return text


def start_session(path: Path, fresh: Sequence[Workload], command: str) -> None:
    """Note the machine and the command; forget the rows of workloads that start afresh. Exits where the machine is another."""
    forgotten = {workload.name for workload in fresh}
    lines = [row for row in read_rows(path) if row.get("workload") not in forgotten]
    here = machine()
    if not any("workload" in row for row in lines):
        lines = []
    elif any(row["session"]["machine"] != here for row in lines if "session" in row):
        sys.exit(f"{path.name} was measured on another machine or with other versions: move it away to start again")
    lines.append({"session": {"command": command, "started": time.strftime("%Y-%m-%d %H:%M:%S"), "machine": here}})
    path.write_text("".join(json.dumps(row) + "\n" for row in lines), "utf-8")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, metavar="NAME", help=f"default: {' '.join(WORKLOADS)}")
    parser.add_argument("--scaling", action="store_true", help="the sweeps, instead of the workloads or besides those named")
    parser.add_argument("--pairs", type=int, default=5, help="rounds, each of every contender once (default 5)")
    parser.add_argument("--steps", type=int, help="timed steps in a process (default: char 100, baby 5, others 3)")
    parser.add_argument("--warmup", type=int, help="steps before those (default: char 10, others 2)")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured of these workloads and begin anew")
    parser.add_argument(
        "--quick", action="store_true", help=f"does it work? One round of three steps, of char unless told, into {QUICK.name}/"
    )
    parser.add_argument("--table", action="store_true", help="measure nothing; write the outputs again from rows.jsonl")
    return parser.parse_args()


def chosen(args: argparse.Namespace) -> list[Workload]:
    """The workloads that the command line asks for."""
    names = args.workloads or ([] if args.scaling else ["char"] if args.quick else list(WORKLOADS))
    workloads = [WORKLOADS[name] for name in names] + (sweeps() if args.scaling else [])
    steps, warmup = (args.steps or 3, args.warmup or 1) if args.quick else (args.steps, args.warmup)
    given = {key: value for key, value in (("steps", steps), ("warmup", warmup)) if value is not None}
    return [dataclasses.replace(workload, **given) for workload in workloads]


def main() -> None:
    """Measure what is missing, then write the outputs and print the table."""
    args = arguments()
    folder = QUICK if args.quick else HERE
    folder.mkdir(parents=True, exist_ok=True)
    rows = folder / "rows.jsonl"
    if not args.table:
        workloads = chosen(args)
        command = shlex.join(["python", "-m", "experiments.speed.run", *sys.argv[1:]])
        start_session(rows, workloads if args.fresh or args.quick else [], command)
        try:
            if args.quick:
                measure_all(workloads, pairs=1, passes=1, wait=0, path=rows)
            else:
                measure_all(workloads, args.pairs, passes=2 * args.pairs, wait=600, path=rows)
        except KeyboardInterrupt:
            sys.exit("interrupted; without --fresh the same command goes on, and --table shows what there is")
    print(write_outputs(folder))


if __name__ == "__main__":
    main()
