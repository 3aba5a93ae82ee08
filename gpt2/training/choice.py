"""Which library multiplies in a training: measured once for each machine and shape of a step, and kept."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from gpt2.config import GPT2Config, TrainConfig
from gpt2.files import read_regular
from gpt2.training.shards import cores, effective_shards
from tinygrad2 import kernels
from tinygrad2.files import cache_folder, private_folder, write_atomically
from tinygrad2.kernels.fast import products
from tinygrad2.kernels.fast.threads import ONE_BLAS_THREAD

SECONDS = 0.4
"""For which products are timed, in all; each is at least twice."""

MARGIN = 1.03
"""How many times faster a library has to be than the one that comes first."""

CLOCK = time.thread_time if time.get_clock_info("thread_time").resolution < 1e-5 else time.perf_counter
"""Seconds of this thread alone, so that what else runs here decides little; not where that clock ticks too rarely."""

SIDE = 512
"""The most rows, columns or terms of a product that is timed: of larger ones the rate is the same."""

Size = tuple[int, int, int]
"""Of a product: rows, columns and terms of each sum."""


@dataclass(frozen=True)
class Choice:
    """What multiplies, and how fast each that can be taken is: GFLOP/s of one thread, over the products of a step."""

    name: str
    rates: dict[str, float]
    new: bool
    """Whether it was measured now."""

    def __str__(self) -> str:
        rates = ", ".join(f"{name} {rate:.0f}" for name, rate in self.rates.items())
        return f"matrix products: {self.name} (GFLOP/s on one thread here: {rates})"


def choose(model: GPT2Config, config: TrainConfig, parameters: int, timed: bool = False) -> Choice:
    """The library for the steps of a training.

    One that several threads may not call at once is not taken: that is tried. What is measured is kept in the cache folder.
    `timed`: it is measured now, also where there is only one.
    """
    names = [*products.available()]
    if config.dtype == "bfloat16":
        names = ["mkl"]
    elif kernels.COMPILED and len(names) > 1:
        names.remove("numpy")  # it is one of the others, called by Python
    shards, threads = effective_shards(config.threads, config.shards, config.batch_size, parameters), config.threads or cores()
    counts = step_products(model, -(-config.batch_size // shards), threads if shards == 1 else 1)
    facts = [products.processor(), _version("numpy"), _version("mkl"), names, sorted(counts.items())]
    path = cache_folder() / "products" / (hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16] + ".json")
    rates = {} if timed else _kept(path)
    if rates.keys() <= {*names, "numpy"} and min(rates.values(), default=0) > 0:
        return Choice(_fastest(rates), rates, False)
    with ONE_BLAS_THREAD:
        safe = [name for name in names if (library := products.named(name)) is None or library.is_right_on_threads(3)]
        safe = safe or ["numpy"]
        if len(safe) == 1 and not timed:
            return Choice(safe[0], {}, False)
        rates = measure(safe, counts)
    with contextlib.suppress(OSError):  # or it is measured again next time
        private_folder(path.parent)
        write_atomically(path, json.dumps(rates).encode())
    return Choice(_fastest(rates), rates, True)


def _fastest(rates: dict[str, float]) -> str:
    """The first, unless another is faster by more than what the clock is wrong by: so that the same machine gives the same."""
    first, best = next(iter(rates)), max(rates, key=lambda name: rates[name])
    return best if rates[best] > MARGIN * rates[first] else first


def _kept(path: Path) -> dict[str, float]:
    """The rates that were kept; none where that cannot be read."""
    try:
        return msgspec.json.decode(read_regular(path, 1 << 16), type=dict[str, float])
    except (OSError, ValueError):
        return {}


def step_products(model: GPT2Config, sequences: int, threads: int) -> dict[Size, int]:
    """How often a thread makes a product of each size, in a step of so many sequences whose products threads share.

    Those of attention are so small that here, where Python calls, they would say little of the library.
    """
    C, V, L, rows = model.d_model, model.vocab_size, model.num_layers, sequences * model.max_seq_len
    found: dict[Size, int] = {}
    matrices = [(3 * C, C, L), (C, C, L), (model.d_ff, C, L), (C, model.d_ff, L), (V, C, 1)]
    for n, k, count in matrices:
        for size in ((rows, n, k), (rows, k, n), (k, n, rows)):  # forward, and the cotangents of input and matrix
            part = (-(-size[0] // threads), *size[1:]) if size[0] >= size[1] else (size[0], -(-size[1] // threads), size[2])
            found[part] = found.get(part, 0) + count
    return found


def measure(names: list[str], counts: dict[Size, int]) -> dict[str, float]:
    """GFLOP/s of each on one thread, over all products; the fastest of some rounds, which alternate."""
    best: dict[tuple[str, Size], float] = {}
    calls = {size: list(_calls(names, size)) for size in counts}
    end = time.perf_counter() + SECONDS
    for turn in itertools.count():
        for size, by_name in calls.items():
            for name, call in by_name:
                start = CLOCK()
                call()
                seconds = CLOCK() - start
                if turn:  # a first call may be slower
                    best[name, size] = min(best.get((name, size), math.inf), max(seconds, 1e-7))
        if turn and time.perf_counter() > end:
            break
    flops = {size: 2.0 * math.prod(size) * count for size, count in counts.items()}
    rates = {}
    for name in names:
        seconds = sum(flops[size] / (2.0 * math.prod(_capped(size))) * best[name, size] for size in counts)
        rates[name] = round(sum(flops.values()) / seconds / 1e9, 2)
    return rates


def _capped(size: Size) -> list[int]:
    return [max(1, min(side, SIDE)) for side in size]


def _calls(names: list[str], size: Size) -> Iterator[tuple[str, Callable[[], Any]]]:
    m, n, k = _capped(size)
    a, b, out = np.ones((m, k), np.float32), np.ones((k, n), np.float32), np.empty((m, n), np.float32)
    for name in names:
        library = products.named(name)
        yield name, partial(np.matmul, a, b, out) if library is None else partial(library.product, a, b, out, False)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
