"""How much memory there is left, for those who ask for too much of it."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

from gpt2.config import GPT2Config, TrainConfig
from gpt2.errors import ConfigError
from gpt2.model import GPT2
from gpt2.training.shards import effective_shards
from tinygrad2.errors import counted


def free_bytes() -> dict[str, int]:
    """Bytes that are left, by what limits them; only what this system tells."""
    left: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
        left["on this machine"] = int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError, ImportError):
        import resource  # not on every system

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            left["under ulimit -v"] = max(0, limit - used)
    for limit_name, used_name, stat_name, cached_name in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        with contextlib.suppress(OSError, ValueError, KeyError):  # not there, or "max"
            of = Path("/sys/fs/cgroup")
            cached = int(dict(line.split() for line in (of / stat_name).read_text().splitlines())[cached_name])
            used = int((of / used_name).read_text()) - cached  # what was read of files, and can be forgotten
            left["in this container"] = max(0, int((of / limit_name).read_text()) - used)
    return left


def free_memory() -> str:
    """In words, by the narrowest limit: `1,500 MiB are free on this machine`."""
    left = free_bytes()
    if not left:
        return "the free memory is unknown here"
    where = min(left, key=lambda name: left[name])
    return f"{left[where] / 2**20:,.0f} MiB are free {where}"


KEPT = 8
"""Numbers that a block keeps for backward of each token and feature, at least: of its layer norms, Q, K, V and what follows."""


def checkpoint_bytes(parameters: int, training: TrainConfig) -> int:
    """How large a checkpoint is, but for what is small."""
    return 4 * parameters * (1 + _moments(training) + (training.ema_decay > 0))


def _moments(training: TrainConfig) -> int:
    """For each parameter, at least; Muon keeps a second one of those that it leaves to AdamW."""
    return 1 if training.optimizer in ("sgd", "muon") else 2


def check_fits(config: GPT2Config, training: TrainConfig) -> None:
    """Raise ConfigError for a training that cannot fit: all that it needs is more than what is counted here."""
    parameters = sum(math.prod(shape) for _, shape in GPT2.shapes(config))
    shards = effective_shards(training.threads, training.shards, training.batch_size, parameters)
    tokens = -(-training.batch_size // shards) * config.max_seq_len  # that are under way at once, at least
    batch = 24 * training.batch_size * config.max_seq_len  # its ids, as they are drawn
    needed = 4 * parameters * (2 + _moments(training)) + 4 * KEPT * tokens * config.d_model * config.num_layers + batch
    if needed > min(free_bytes().values(), default=needed):
        batch_of = f"{counted(training.batch_size, 'sequence')} of {counted(config.max_seq_len, 'token')}"
        raise ConfigError(
            f"to train {parameters:,} parameters on {batch_of} takes more than {needed / 2**20:,.0f} MiB, and {free_memory()}: "
            "choose a smaller model, a smaller --batch-size or more --shards"
        )
