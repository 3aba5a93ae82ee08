"""A check of a PyTorch function, by this package and by torch.autograd.gradcheck, which take turns; full and fast.

    OMP_NUM_THREADS=1 python tests/benchmarks/gradcheck_speed.py [--size 1000] [--rounds 3]

Prints the least seconds of a few rounds of each, and their ratio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from tinygrad2.gradcheck import gradcheck


def least(rounds: int, *programs: Callable[[], object]) -> list[float]:
    """The least seconds of each of some programs that take turns."""
    found: list[list[float]] = [[] for _ in programs]
    for _ in range(rounds):
        for seconds, program in zip(found, programs, strict=True):
            start = time.perf_counter()
            assert program()
            seconds.append(time.perf_counter() - start)
    return [min(seconds) for seconds in found]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=1000, help="of the input and of the output (default 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="of the full checks; of the fast ones there are 20 times as many")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    w = torch.randn(args.size, args.size, dtype=torch.float64) / args.size**0.5
    x = torch.randn(args.size, dtype=torch.float64, requires_grad=True)
    functions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "tanh(W x)": lambda x: torch.tanh(w @ x),
        "softmax(x)": lambda x: torch.softmax(x, 0),
    }
    print(f"{args.size} inputs, {args.size} outputs {'PyTorch':>12} {'here':>12} {'ratio':>8}")
    for name, f in functions.items():
        for fast in (False, True):
            rounds = args.rounds * (20 if fast else 1)
            theirs, ours = least(
                rounds,
                lambda f=f, fast=fast: torch.autograd.gradcheck(f, [x], fast_mode=fast),  # type: ignore[misc]
                lambda f=f, fast=fast: gradcheck(f, [x], fast=fast),  # type: ignore[misc]
            )
            print(f"{name:12} {'fast' if fast else 'full':14} {theirs:10.4f} s {ours:10.4f} s {ours / theirs:8.2f}")


if __name__ == "__main__":
    main()
