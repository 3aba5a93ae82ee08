"""What the peers share: the flags of a shape, the clock, and the line of JSON. Needs the standard library alone."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable

LEARNING_RATE, BETAS, EPSILON, WEIGHT_DECAY, MAX_NORM = 3e-4, (0.9, 0.95), 1e-8, 0.1, 1.0
STD = 0.02
"""Of the initial weights, as OpenAI chose it."""


def arguments(doc: str | None, **choices: tuple[str, ...]) -> argparse.Namespace:
    """The command line: sizes, threads, steps, and a flag for each of `choices`, whose first word is its default."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    for size in ("vocab-size", "seq-len", "num-layers", "num-heads", "d-model", "batch-size"):
        parser.add_argument(f"--{size}", type=int, required=True)
    for name, words in choices.items():
        parser.add_argument(f"--{name}", choices=words, default=words[0], help=f"default: {words[0]}")
    parser.add_argument("--threads", type=int, default=0, help="default: as many as the library takes")
    parser.add_argument("--warmup", type=int, default=3, help="steps before those that are timed; default: 3")
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed; default: 10")
    return parser.parse_args()


def report(args: argparse.Namespace, step: Callable[[], float], threads: int) -> None:
    """Time a step that returns its loss, and print one JSON object.

    It has step_ms (median) and min_ms, milliseconds; tokens_per_s of the median step; peak_mb, the most memory that the process
    has held, in MiB; the loss of the last step, in nats per token; and the threads.
    """
    seconds = []
    for _ in range(args.warmup + args.steps):
        start = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds[args.warmup :])
    found = {
        "step_ms": round(1e3 * median, 2),
        "min_ms": round(1e3 * min(seconds[args.warmup :]), 2),
        "tokens_per_s": round(args.batch_size * args.seq_len / median, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "loss": round(loss, 4),
        "threads": threads,
    }
    print(json.dumps(found))
