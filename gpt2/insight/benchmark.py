"""How long a training step takes: exactly the step of `gpt2 train`, on random tokens."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from gpt2.config import GPT2Config, TrainConfig
from gpt2.insight.info import describe
from gpt2.insight.profiling import Profile
from gpt2.model import GPT2
from gpt2.training.choice import choose
from gpt2.training.mpi import comm
from gpt2.training.shards import Shards
from gpt2.training.step import Trainer
from tinygrad2 import kernels
from tinygrad2.kernels.fast import products
from tinygrad2.kernels.fast.memory import keep_freed_memory, peak_memory
from tinygrad2.kernels.fast.threads import share
from tinygrad2.optim import Muon

TEXT = 100_000
"""Tokens that batches are drawn from, at least."""

MATRIX = 2048
"""Rows and columns of the product whose rate a step is compared with."""


def benchmark(config: GPT2Config, training: TrainConfig, steps: int, warmup: int, profile: bool = False) -> dict[str, Any]:
    """Time `steps` training steps after `warmup` others.

    step_ms, min_ms     the median and the fastest step, in milliseconds
    tokens_per_s        of the median step
    peak_mb             the most memory that the process has held so far, in MiB
    matrix_gflops       the rate of large matrix products, measured here in the same process on as many threads
    mfu                 model FLOP utilisation: the model's operations (`gpt2 info`) per second, over that rate
                        (Chowdhery et al., 2022, appendix B)
    libraries           the rate of the products of this step on one thread, in GFLOP/s, by library: see `training.choice`
    loss                of the last step
    communication       the share of a step in which rank 0 waits for the others or for messages: 0 without MPI
    profile             if it is asked for: as many steps more, by op (`profiling.Profile.table`)
    """
    keep_freed_memory()
    rng = np.random.default_rng(training.seed)
    model = GPT2(config, training.seed)
    ids = rng.integers(0, config.vocab_size, max(TEXT, config.max_seq_len + 1))
    seconds, waits = [], []
    choice = choose(config, training, model.num_parameters(), timed=True)
    library = comm.current().broadcast(choice.name, "the choice of a library")
    with products.using(library), Shards.of(training, model.num_parameters()) as shards:
        trainer = Trainer(model, training, ids, shards)
        for step in range(warmup + steps):
            start, waited = time.perf_counter(), shards.comm.waited
            row = trainer.step()
            if step >= warmup:
                seconds.append(time.perf_counter() - start)
                waits.append((shards.comm.waited - waited) / seconds[-1])
        peak = peak_memory()
        table = profiled(trainer, steps) if profile else {}
        rate = matrix_rate(shards.threads)
    median = statistics.median(seconds)
    tokens = training.batch_size * config.max_seq_len
    flops = describe(config)["training_flops_per_token"] * tokens
    return {
        "step_ms": round(1e3 * median, 2),
        "min_ms": round(1e3 * min(seconds), 2),
        "tokens_per_s": round(tokens / median, 1),
        "peak_mb": round(peak / 2**20),
        "mfu": round(flops / median / rate, 4),
        "matrix_gflops": round(rate / 1e9, 1),
        "loss": round(row["train_loss"], 4),
        "libraries": choice.rates,
        "ranks": shards.comm.size,
        "communication": round(statistics.median(waits), 4),
        "threads": shards.threads,
        "shards": shards.count,
        **kernels.running(),
        "products": products.running(library),
        **table,
    }


def profiled(trainer: Trainer, steps: int) -> dict[str, Any]:
    """`steps` more, and what was called in the median one of them."""
    found = []
    for _ in range(steps):
        profile = Profile()
        with profile.watching():
            start = time.perf_counter()
            trainer.step()
            found.append((time.perf_counter() - start, profile))
    seconds, profile = sorted(found, key=lambda pair: pair[0])[len(found) // 2]
    shards, threads = trainer.shards.count, trainer.shards.threads
    matrices = len(trainer.optimizer.side_by_side) if isinstance(trainer.optimizer, Muon) else 1
    return {"profile": profile.table(seconds, min(shards, threads), min(matrices, threads))}


def matrix_rate(threads: int, rounds: int = 5) -> float:
    """Floating-point operations per second of square matrix products on all threads: the median of a few."""
    rng = np.random.default_rng(0)
    a, b = rng.random((2, threads, MATRIX, MATRIX), np.float32)
    out = np.empty_like(a)
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        share(lambda part: [products.matmul(a[i], b[i], out[i]) for i in range(part.start, part.stop)], threads)
        found.append(time.perf_counter() - start)
    return 2 * MATRIX**3 * threads / statistics.median(found)
