"""How the time of backward grows with the graph: long chains, and diamonds whose paths double at every level.

Prints a table, with PyTorch beside it where it is installed, and the exponent p of time = c n^p, fitted on the logarithms:
1 is linear. A walk over paths instead of nodes would not end on the smallest diamond.

    python tests/benchmarks/linear_time.py
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad2 import Tensor

CHAINS = (12_500, 25_000, 50_000, 100_000, 200_000)  # ops
DIAMONDS = (125, 250, 500, 1_000, 2_000)  # levels of two ops
Leaf = Callable[[], Any]


def chain(leaf: Leaf, n: int) -> Any:
    """n ops, each on the result of the one before."""
    y = leaf()
    for _ in range(n):
        y = y + 1e-9
    return y


def diamond(leaf: Leaf, n: int) -> Any:
    """n levels, each using the one below twice: 2n ops and 2^n paths."""
    y = leaf()
    for _ in range(n):
        y = (y + y) * 0.5
    return y


def libraries() -> dict[str, Leaf]:
    """A leaf of one number, in each library that is here."""
    found: dict[str, Leaf] = {"tinygrad2": lambda: Tensor(1.0, requires_grad=True)}
    if importlib.util.find_spec("torch"):
        import torch

        found["PyTorch"] = lambda: torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    return found


def seconds(build: Callable[[Leaf, int], Any], leaf: Leaf, n: int) -> float:
    """One backward through a new graph; building it is not counted."""
    out = build(leaf, n)
    gc.collect()
    begin = time.perf_counter()
    out.backward()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="the median of so many is shown (default: 7)")
    repeats = parser.parse_args().repeats
    leaves = libraries()
    for title, build, sizes, ops in (("chain", chain, CHAINS, 1), ("diamond", diamond, DIAMONDS, 2)):
        for leaf in leaves.values():
            seconds(build, leaf, sizes[0])  # the first one also warms up
        # One repeat of everything at a time, so that a busy moment of the machine falls on all sizes alike.
        runs = [[[seconds(build, leaf, n) for n in sizes] for leaf in leaves.values()] for _ in range(repeats)]
        times = np.median(runs, axis=0)  # (libraries, sizes)
        print(f"{title:>8}" + f"{'ops':>10}" + "".join(f"{f'{name} ms':>15}{'us per op':>12}" for name in leaves))
        for n, row in zip(sizes, times.T, strict=True):
            print(f"{n:8,}{ops * n:10,}" + "".join(f"{1e3 * t:15.2f}{1e6 * t / (ops * n):12.2f}" for t in row))
        exponents = [np.polyfit(np.log(sizes), np.log(row), 1)[0] for row in times]
        print(f"{'exponent':>18}" + "".join(f"{p:15.3f}{'':12}" for p in exponents) + "\n")


if __name__ == "__main__":
    main()
