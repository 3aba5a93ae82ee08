"""`gpt2 bench`: how fast a training step is on this machine."""

from __future__ import annotations

import argparse
from typing import Any

from gpt2.commands.parser import natural
from gpt2.commands.settings import PRESET, add_settings, given_settings, part_of, take_preset
from gpt2.config import GPT2Config, TrainConfig
from gpt2.files import strict_json
from gpt2.insight.benchmark import benchmark
from gpt2.training.mpi import comm
from tinygrad2.errors import counted

HELP = "time a training step: milliseconds, tokens per second, memory, and the share of what the machine can do"
STEPS = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    parser.add_argument("--warmup", type=natural, default=3, help="steps to take before the timed ones (default 3)")
    parser.add_argument("--profile", action="store_true", help="also show the time that each op takes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser, PRESET, GPT2Config, TrainConfig, without=("data", "split", "minutes"), steps=STEPS)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    given = given_settings(args)
    preset = take_preset(given)
    config = GPT2Config.preset(preset, **part_of(GPT2Config, given))
    training = TrainConfig.preset(preset, **{"steps": STEPS, **part_of(TrainConfig, given)})
    found = benchmark(config, training, training.steps, args.warmup, args.profile)
    together = comm.current()
    if not together.is_main:
        return 0
    if args.json:
        print(strict_json(found))
        return 0
    tokens = training.batch_size * config.max_seq_len
    print(
        f"a step of {tokens:,} tokens: {found['step_ms']:,.1f} ms (median of {training.steps}; fastest {found['min_ms']:,.1f})"
    )
    print(f"  {found['tokens_per_s']:,.0f} tokens/s, {found['peak_mb']:,} MiB at most, loss {found['loss']}")
    print(f"  {found['mfu']:.0%} of the {found['matrix_gflops']:,.0f} GFLOP/s that large matrix products reach here")
    parts = f"{counted(found['threads'], 'thread')}, {counted(found['shards'], 'shard')}"
    print(f"  {parts}; kernels: {found['kernels']}; products: {found['products']}")
    rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in found["libraries"].items())
    print(f"  products of this step, GFLOP/s on one thread: {rates}")
    if together.size > 1:
        print(f"  {together.size} ranks: {found['communication']:.1%} of the step goes into communication, waiting included")
    if "profile" in found:
        _show(found["profile"])
    return 0


def _show(profile: dict[str, Any]) -> None:
    print(f"\n{'op':34}{'ms':>9}{'share':>8}{'calls':>7}{'GFLOP/s':>9}{'MiB':>10}")
    for row in profile["ops"]:
        rate = f"{row['gflops']:,.0f}" if row["gflops"] else ""
        print(f"{row['op']:34}{row['ms']:9,.2f}{row['share']:8.1%}{row['calls']:7}{rate:>9}{row['mb']:10,.1f}")
    print(f"{'outside of ops and kernels':34}{'':9}{profile['outside']:8.1%}")
