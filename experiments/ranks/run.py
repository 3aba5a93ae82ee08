"""Measure a step of `baby` on 1, 2 and 4 ranks, and sums over them; write result.json and the tables of docs/many-machines.md.

python -m experiments.ranks.run            # about ten minutes on two cores; needs the extra mpi
python -m experiments.ranks.run --table    # measure nothing: result.json again to the tables
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from experiments.ranks.cost import Network, fitted, memory, reduction, ring, step, tree
from gpt2.config import GPT2Config
from gpt2.insight.info import describe

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "many-machines.md"
START, END = "<!-- tables: written by experiments/ranks/run.py -->", "<!-- end of the tables -->"
BABY = "--vocab-size=65 --max-seq-len=256 --num-layers=6 --num-heads=6 --d-model=384 --batch-size=16"
ROUNDS, STEPS = 5, 3
NETWORKS = {"10 Gbit/s Ethernet": Network(50e-6, 1.25e9), "100 Gbit/s InfiniBand": Network(2e-6, 12.5e9)}  # assumed
SIZES = {"small": 8, "medium": 8, "large": 4}  # and the sequences of 1,024 tokens that each machine takes per step
MACHINES = [1, 4, 16, 64]


def on_ranks(n: int, *command: str) -> dict[str, Any]:
    """What a Python program prints as JSON, on n ranks."""
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if mpiexec is None:
        raise SystemExit("there is no mpiexec: pip install -e '.[mpi]'")
    start = [mpiexec, "-n", str(n)] if n > 1 else []
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([*start, sys.executable, "-m", *command], capture_output=True, text=True, check=True, env=env)
    return json.loads(done.stdout)


def measure() -> dict[str, Any]:
    """Medians over alternating rounds."""
    arms = {"2 threads": (1, 2), "1 rank": (1, 1), "2 ranks": (2, 1), "4 ranks": (4, 1)}
    rows: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    for _ in tqdm(range(ROUNDS), desc="rounds"):
        for arm, (n, threads) in arms.items():
            bench = ["gpt2", "bench", "--json", f"--steps={STEPS}", "--warmup=2", f"--threads={threads}", *BABY.split()]
            rows[arm].append(on_ranks(n, *bench))
    names = ("step_ms", "tokens_per_s", "communication")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "steps": {arm: {name: statistics.median(row[name] for row in of) for name in names} for arm, of in rows.items()},
        "ratio": statistics.median(
            two["tokens_per_s"] / one["tokens_per_s"] for one, two in zip(rows["2 threads"], rows["2 ranks"], strict=True)
        ),
        "sums": [on_ranks(n, "experiments.ranks.messages") for n in (2, 4)],
    }


def tables(result: dict[str, Any]) -> str:
    """All that is measured, predicted and projected, as Markdown."""
    baby = describe(GPT2Config(**_shape(BABY)))
    size, flops = 4.0 * baby["num_parameters"], float(baby["training_flops_per_token"] * 16 * 256)
    points = [(of["ranks"], float(s), t) for of in result["sums"] for s, t in of["seconds"].items() if float(s) >= 1e5]
    here = fitted(points)
    steps = result["steps"]
    rate = flops / steps["1 rank"]["step_ms"] * 1e3
    lines = [
        f"One rank on one core makes {rate / 1e9:.1f} GFLOP/s of `baby`'s step. The sums of 100 kB and more fit a ring with a "
        f"latency of {here.latency * 1e6:.0f} us and a bandwidth of {here.bandwidth / 1e9:.2f} GB/s.",
        "",
        f"| `baby` on {result['cores']} cores | step, measured | communication, measured | step, predicted | error |",
        "|---|---|---|---|---|",
    ]
    for arm, row in steps.items():
        n = int(arm[0]) if "rank" in arm else 0
        if n > 1:
            predicted = 1e3 * step(n, flops, rate * min(1, result["cores"] / n), size, here)
            more = f"{predicted:,.0f} ms | {predicted / row['step_ms'] - 1:+.0%}"
        else:
            more = "(gives the rate) | " if n else " | "
        lines.append(f"| {arm} | {row['step_ms']:,.0f} ms | {row['communication']:.1%} | {more} |")
    lines += [
        "",
        f"Two ranks of one thread make {result['ratio']:.2f} times the tokens per second of two threads (median of {ROUNDS} "
        "alternating rounds).",
        "",
        "| | machines | sum by ring | by tree | step | efficiency | memory per machine, ZeRO off / on |",
        "|---|---|---|---|---|---|---|",
    ]
    rate = flops / steps["2 threads"]["step_ms"] * 1e3
    for preset, sequences in SIZES.items():
        about = describe(GPT2Config.preset(preset))
        p = about["num_parameters"]
        work = float(about["training_flops_per_token"] * sequences * 1024)
        for name, network in NETWORKS.items():
            for n in MACHINES:
                seconds = work / rate + (reduction(n, 4.0 * p, network) if n > 1 else 0)
                sums = [f"{by(n, 4.0 * p, network):.2f} s" if n > 1 else "" for by in (ring, tree)]
                held = " / ".join(f"{memory(p, n, zero) / 1e9:.1f}" for zero in (False, True))
                cells = [
                    f"`{preset}`, {name}",
                    str(n),
                    *sums,
                    f"{seconds:,.1f} s",
                    f"{work / rate / seconds:.1%}",
                    f"{held} GB",
                ]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _shape(flags: str) -> dict[str, int]:
    """The settings of a model among some flags."""
    pairs = (flag.removeprefix("--").replace("-", "_").split("=") for flag in flags.split())
    return {name: int(value) for name, value in pairs if name != "batch_size"}


def write(result: dict[str, Any]) -> None:
    """The tables into the page."""
    before, _, rest = PAGE.read_text("utf-8").partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n{tables(result)}{END}{after}", "utf-8")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.ranks.run")
    parser.add_argument("--table", action="store_true", help="measure nothing: write the tables again")
    path = HERE / "result.json"
    result = json.loads(path.read_text("utf-8")) if parser.parse_args().table else measure()
    path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    write(result)


if __name__ == "__main__":
    main()
