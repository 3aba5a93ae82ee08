"""What is compared, on what, and how one measurement is made: a fresh process, and one row of facts from it."""

from __future__ import annotations

import json
import math
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
LIMIT = 1800
"""Seconds after which a contender counts as hanging."""

DISTURBED = 0.1
"""Share of all cores busy with something else, above which a measurement tells little.

PyTorch's threads wait for each other by spinning: beside a program that takes one core of two, its step takes ten times as
long, and ours would seem that much faster.
"""

Row = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """The sizes of a model and its batch, by the names of their flags."""

    vocab_size: int
    seq_len: int
    num_layers: int
    num_heads: int
    d_model: int
    batch_size: int

    def flags(self) -> list[str]:
        """As on a command line."""
        return [word for name, size in asdict(self).items() for word in (f"--{name.replace('_', '-')}", str(size))]


@dataclass(frozen=True)
class Contender:
    """A program that times a training step of a given shape and prints JSON; the packages without which it is another."""

    name: str
    dtype: str
    words: tuple[str, ...]
    needs: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Is it this repository's?"""
        return self.name.startswith("ours")

    @property
    def peer(self) -> bool:
        """Is it what the others are compared with?"""
        return self.name.startswith("PyTorch")

    def missing(self, machine: Mapping[str, Any]) -> str | None:
        """Why a machine leaves it out, or None: a package, or a unit for bfloat16.

        Without one ours only rounds, and PyTorch's step takes some thirty times as long as in float32.
        """
        if any(machine["versions"].get(name, "unknown") is None for name in self.needs):
            return "not installed"
        if self.dtype == "bfloat16" and not {"avx512_bf16", "amx_bf16"} & set(machine["flags"]):
            return "no bfloat16 unit"
        return None

    def is_what_ran(self, found: Row) -> bool:
        """Are the kernels and products those of the name? `gpt2 bench` takes others where it cannot have those."""
        if not self.ours:
            return True
        compiled, mkl = found["kernels"] == "numba", "mkl" in found["products"]
        return compiled == ("numba" in self.needs) and ("mkl" in self.needs or not mkl)


SETTINGS = "--tie-embeddings true --head-bias false --init gpt2 --dropout 0 --learning-rate 3e-4 --beta2 0.95"
OURS = ("-m", "gpt2", "bench", "--json", *SETTINGS.split())
TORCH = ("experiments/speed/torch_gpt2.py", "--mode")
CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("ours, NumPy", "float32", OURS, environment={"TINYGRAD2_KERNELS": "numpy"}),
        Contender("ours, fast", "float32", OURS, ("numba",), {"TINYGRAD2_PRODUCTS": "openblas"}),
        Contender("ours, fast+mkl", "float32", OURS, ("numba", "mkl")),
        Contender("PyTorch eager", "float32", (*TORCH, "eager"), ("torch",)),
        Contender("PyTorch compile", "float32", (*TORCH, "compile"), ("torch",)),
        Contender("JAX jit", "float32", ("experiments/speed/jax_gpt2.py",), ("jax",)),
        Contender("ours, mkl bf16", "bfloat16", OURS, ("numba", "mkl")),
        Contender("PyTorch eager bf16", "bfloat16", (*TORCH, "eager"), ("torch",)),
        Contender("PyTorch compile bf16", "bfloat16", (*TORCH, "compile"), ("torch",)),
    )
}


@dataclass(frozen=True)
class Workload:
    """What is measured, how often within a process, and by whom."""

    name: str
    shape: Shape
    steps: int
    warmup: int
    study: str = "workloads"
    threads: int = CORES
    contenders: tuple[str, ...] = tuple(CONTENDERS)


WORKLOADS = {
    "char": Workload("char", Shape(65, 64, 4, 4, 128, 12), steps=100, warmup=10),
    "baby": Workload("baby", Shape(65, 256, 6, 6, 384, 16), steps=5, warmup=2),
    "mid": Workload("mid", Shape(4096, 256, 6, 8, 512, 8), steps=5, warmup=2),
    "small64": Workload("small64", Shape(50257, 64, 12, 12, 768, 4), steps=3, warmup=2),
    "small1k": Workload("small1k", Shape(50257, 1024, 12, 12, 768, 1), steps=3, warmup=2),
}


def sweeps() -> list[Workload]:
    """`baby` with other contexts at 4,096 tokens a batch, with other batch sizes, and on fewer threads."""
    points = [(T, 4096 // T, CORES) for T in (64, 256, 1024)]
    points += [(256, B, CORES) for B in (1, 4, 32)]
    points += [(256, 16, 2**i) for i in range(CORES.bit_length()) if 2**i < CORES]
    three = ("ours, NumPy", "ours, fast", "PyTorch eager")
    return [Workload(f"T {T}, B {B}, threads {n}", Shape(65, T, 6, 6, 384, B), 3, 1, "scaling", n, three) for T, B, n in points]


def measure(workload: Workload, contender: Contender) -> Row:
    """One process of a contender: what it printed under `found`, or why it failed under `error`.

    Raises nothing for a contender that fails. `others` is the share of all cores that something else kept busy meanwhile.
    """
    words = [*contender.words, *workload.shape.flags(), "--dtype", contender.dtype, "--threads", str(workload.threads)]
    words += ["--steps", str(workload.steps), "--warmup", str(workload.warmup)]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TINYGRAD2_") and not k.endswith("_NUM_THREADS")}
    row: Row = {
        "study": workload.study,
        "workload": workload.name,
        "contender": contender.name,
        "shape": asdict(workload.shape),
        "threads": workload.threads,
        "command": shlex.join([*(f"{k}={v}" for k, v in contender.environment.items()), "python", *words]),
    }
    before, start = _busy_seconds(), time.monotonic()
    with tempfile.TemporaryDirectory() as empty:
        # Which library multiplies is kept in the cache: what was found at another time shall not decide.
        environment = {**inherited, **contender.environment, "TINYGRAD2_CACHE": empty}
        try:
            done = subprocess.run(
                [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT
            )
            row |= _read(done, contender)
        except subprocess.TimeoutExpired:
            row["error"] = f"nothing after {LIMIT} seconds"
    return {**row, "seconds": round(time.monotonic() - start, 1), "others": _others(before, start)}


def _read(done: subprocess.CompletedProcess[str], contender: Contender) -> Row:
    """What a process that has ended found, or why it did not."""
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        last = said[-1] if said else f"exit code {done.returncode}, without a word"
        return {"error": last.replace(str(ROOT), ".").replace(sys.prefix, "PREFIX").replace(str(Path.home()), "~")}
    try:
        found = json.loads(done.stdout.splitlines()[-1])
        if not math.isfinite(found["loss"]) or not found["tokens_per_s"] > 0:
            return {"error": f"loss {found['loss']} at {found['tokens_per_s']} tokens/s"}
        if not contender.is_what_ran(found):
            return {"error": f"what ran is another: kernels {found['kernels']}, products {found['products']}"}
    except (IndexError, KeyError, TypeError, ValueError) as error:
        return {"error": f"its last line is no result: {error!r}"}
    return {"found": found}


def wait_for_quiet(limit: float) -> None:
    """Return when nothing else keeps the cores busy, or after so many seconds."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        before, start = _busy_seconds(), time.monotonic()
        time.sleep(2)
        if _others(before, start) <= DISTURBED:
            return


def _others(before: float, start: float) -> float:
    """The share of all cores that was busy since, with what is not ours."""
    return round(max(0.0, _busy_seconds() - before) / (CORES * (time.monotonic() - start)), 3)


def _busy_seconds() -> float:
    """Core-seconds of work since the machine started, less those of our own finished children. 0 where not on Linux."""
    try:
        user, nice, system, _, _, irq, soft, steal, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    except (OSError, ValueError):
        return 0.0
    ours = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK") - ours.ru_utime - ours.ru_stime
