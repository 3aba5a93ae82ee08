"""Measure our training step beside PyTorch's, and write what was found into the folder of this machine.

    python -m experiments.speed.run                                  # every workload, five rounds
    python -m experiments.speed.run --workloads char,mid --rounds 5  # some of them
    python -m experiments.speed.run --scaling                        # other contexts, batch sizes and numbers of threads
    python -m experiments.speed.run --table                          # measure nothing: every machine's rows.jsonl again

An interrupted run goes on where it stopped: rows.jsonl has every measurement from the moment it was made.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

# Nothing large is imported before the measurements (no NumPy, no matplotlib): on Linux the peak memory that a process
# reports begins with that of the process that started it.
from experiments.speed.contenders import CONTENDERS, ROOT, WORKLOADS, Row, Workload, measure, sweeps, wait_for_quiet
from experiments.speed.machine import machine, slug
from experiments.speed.results import END, START, ratios, read_rows, rounds_of, summarise, tables, undisturbed, with_table

HERE = Path(__file__).parent
DOCS = ROOT / "docs" / "how-it-is-made-fast.md"
QUICK = ROOT / "runs" / "speed-quick"


def measure_all(workloads: Sequence[Workload], rounds: int, passes: int, wait: float, path: Path) -> None:
    """Append rows to a file until every workload has `rounds` complete and undisturbed rounds, or after `passes` rounds.

    A round takes every contender of a workload once; the next begins with the next contender, so that none always comes
    first. The rounds of the workloads alternate, so that a noisy hour does not fall on one of them. Before each process, up
    to `wait` seconds are spent waiting for other programs to end.
    """
    with tqdm(unit="process", disable=None) as progress:
        for _ in range(passes):
            rows = read_rows(path)
            left = {w.name: rounds - len(undisturbed(rounds_of(rows, w.name))) for w in workloads}
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


def write_results(folder: Path) -> None:
    """A machine's result.json and pictures, from its rows.jsonl."""
    result = summarise(read_rows(folder / "rows.jsonl"))
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    from experiments.speed.figures import draw_scaling, draw_workloads

    if result["workloads"]:
        draw_workloads(result["workloads"], folder / "figure.png")
    if result["scaling"]:
        draw_scaling(result["scaling"], folder / "scaling.png")


def write_tables(home: Path, docs: Path) -> None:
    """The tables of README.md and of a page of the docs, from every machine's result.json."""
    results = {path.parent.name: json.loads(path.read_text("utf-8")) for path in sorted(home.glob("machines/*/result.json"))}
    for page, text in ((home / "README.md", tables(results)), (docs, ratios(results))):
        before = page.read_text("utf-8") if page.exists() else f"{START}\n{END}\n"
        page.write_text(with_table(before, text), "utf-8")


def start_session(path: Path, fresh: Sequence[Workload], command: str, here: Mapping[str, Any]) -> None:
    """Note the machine and the command; forget the rows of workloads that start afresh. Exits where versions have changed."""
    forgotten = {workload.name for workload in fresh}
    lines = [row for row in read_rows(path) if row.get("workload") not in forgotten]
    if not any("workload" in row for row in lines):
        lines = []
    for row in lines:
        if "session" in row and row["session"]["machine"] != here:
            sys.exit(
                f"{path} was measured otherwise ({_changes(row['session']['machine'], here)}): move it away to start again"
            )
    lines.append({"session": {"command": command, "started": time.strftime("%Y-%m-%d %H:%M:%S"), "machine": here}})
    path.write_text("".join(json.dumps(row) + "\n" for row in lines), "utf-8")


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What was another on a machine."""
    before, after = ({**one, **one["versions"], "versions": None} for one in (then, now))
    return ", ".join(f"{k} was {before.get(k)} and is {after.get(k)}" for k in before | after if before.get(k) != after.get(k))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = ",".join(WORKLOADS)
    parser.add_argument("--workloads", nargs="+", type=named, metavar="NAME,NAME", help=f"default: {names}")
    parser.add_argument("--scaling", action="store_true", help="the sweeps, instead of the workloads or besides those named")
    # The first results were published with the name --pairs.
    parser.add_argument("--rounds", "--pairs", type=int, default=5, help="each of every contender once (default 5)")
    parser.add_argument("--steps", type=int, help="timed steps in a process (default: char 100, baby and mid 5, others 3)")
    parser.add_argument("--warmup", type=int, help="steps before those (default: char 10, others 2, of the sweeps 1)")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured of these workloads and begin anew")
    parser.add_argument(
        "--quick", action="store_true", help=f"does it work? One round of three steps, of char unless told, into {QUICK.name}/"
    )
    parser.add_argument("--table", action="store_true", help="measure nothing; write the outputs of every machine again")
    return parser.parse_args()


def named(words: str) -> list[Workload]:
    """The workloads of these names, between commas."""
    unknown = [word for word in words.split(",") if word not in WORKLOADS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    return [WORKLOADS[word] for word in words.split(",")]


def chosen(args: argparse.Namespace, here: Mapping[str, Any]) -> list[Workload]:
    """The workloads that the command line asks for, with the contenders that this machine has. Says which it lacks."""
    default = [] if args.scaling else [WORKLOADS["char"]] if args.quick else list(WORKLOADS.values())
    workloads = [*itertools.chain(*args.workloads or [default]), *(sweeps() if args.scaling else ())]
    steps, warmup = (args.steps or 3, args.warmup or 1) if args.quick else (args.steps, args.warmup)
    given = {key: value for key, value in (("steps", steps), ("warmup", warmup)) if value is not None}
    missing = {name: why for name, contender in CONTENDERS.items() if (why := contender.missing(here))}
    for name, why in missing.items():
        print(f"{name} is left out: {why} (it needs {', '.join(CONTENDERS[name].needs)})")
    return [
        dataclasses.replace(workload, contenders=tuple(name for name in workload.contenders if name not in missing), **given)
        for workload in workloads
    ]


def main() -> None:
    """Measure what is missing, then write the outputs and say where they are."""
    args = arguments()
    home, docs = (QUICK, QUICK / DOCS.name) if args.quick else (HERE, DOCS)
    if args.table:
        folders = sorted(path.parent for path in home.glob("machines/*/rows.jsonl"))
    else:
        folders = [home / "machines" / slug(machine())]
        measure_here(folders[0], args)
    for folder in folders:
        write_results(folder)
    write_tables(home, docs)
    print(f"written: {', '.join(str(path) for path in (home / 'README.md', docs, *folders))}")


def measure_here(folder: Path, args: argparse.Namespace) -> None:
    """Append to the rows of this machine what the command line asks for and is not there yet."""
    here, rows = machine(), folder / "rows.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    workloads = chosen(args, here)
    command = shlex.join(["python", "-m", "experiments.speed.run", *sys.argv[1:]])
    start_session(rows, workloads if args.fresh or args.quick else [], command, here)
    try:
        if args.quick:
            measure_all(workloads, rounds=1, passes=1, wait=0, path=rows)
        else:
            measure_all(workloads, args.rounds, passes=2 * args.rounds, wait=600, path=rows)
    except KeyboardInterrupt:
        sys.exit("interrupted; without --fresh the same command goes on, and --table shows what there is")


if __name__ == "__main__":
    main()
